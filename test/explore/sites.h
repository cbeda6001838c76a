// SPDX-License-Identifier: MIT
// Where in the library's sources an operation on shared memory stands, by which
// label of docs/PROTOCOL.md, and what it is weakened to for a counter-proof.
#pragma once

#include <string>
#include <vector>

namespace explore {

struct Where {
  const char* file;
  int line;
  const char* function;
};

enum class Weakening {
  kNone,
  kRelaxed,    // the order; a fence is left out
  kNotSeqCst,  // a fence only acquires and releases
  kLeftOut,    // a store
  kLate,       // a store comes only behind the next operation of label `until`
  kRepeated,   // a load gives what its thread loaded or stored there last
  kZero,       // a load gives 0
};

// Statements of the library: by the label that the comment on them begins with,
// by function, by a piece of their text. What is empty fits all.
struct Choice {
  std::string label;
  std::string function;
  std::string text;
};

struct Change {
  Choice sites;
  Weakening weakening;
  std::string until;
};

struct Site {
  Where where;
  std::string text;                 // of the statement, in one line
  std::vector<std::string> labels;  // that its comments begin with
  const Change* change = nullptr;
  bool is_copy = false;  // of a payload, word by word

  bool has_label(const std::string& label) const;
  bool is_among(const Choice& choice) const;
  std::string name() const;
};

// The statement around a line, with what its comments say.
Site site_at(const Where& where);

class Sites {
 public:
  Site& at(const Where& where);
  // From now on; `changes` stay where they are.
  void weaken(const std::vector<Change>& changes);
  // Whether an operation of each change was reached so far.
  bool are_known(const std::vector<Change>& changes) const;
  const std::vector<Site*>& reached() const { return all_; }

 private:
  void choose_change(Site& site) const;

  static constexpr size_t kPlaces = 1024;  // a power of two
  Site* known_[kPlaces] = {};
  std::vector<Site*> all_;  // kept for the whole run
  const std::vector<Change>* changes_ = nullptr;
};

}  // namespace explore
