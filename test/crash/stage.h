// SPDX-License-Identifier: MIT
// A link on which a change of roles is about to begin, in a stepped process,
// and what must hold for those who are left when it dies there.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "crash/stepper.h"
#include "support/child.h"
#include "support/link.h"

namespace test {

enum class Change {
  kBirth,
  kAttach,
  kAdopt,
  kInherit,
  kCarry,  // to a segment of another shape
  kReplace,
  kFollow,  // a slave goes over to its master's successor
  kMasterLeaves,
  kSlaveLeaves,
  kLastMasterLeaves,
  kLastSlaveLeaves,
};
constexpr Change kChanges[] = {
    Change::kBirth,        Change::kAttach,           Change::kAdopt,
    Change::kInherit,      Change::kCarry,            Change::kReplace,
    Change::kFollow,       Change::kMasterLeaves,     Change::kSlaveLeaves,
    Change::kLastMasterLeaves, Change::kLastSlaveLeaves,
};
const char* name_of(Change change);

class Stage {
 public:
  // `name` is the link's. The stepped process stands at its mark then, right
  // before the change.
  Stage(Change change, const std::string& name, ESHMBackend backend);
  Stepper& child() { return *child_; }
  // Both roles are to be had, a message passes each way, what a slave that lives
  // has not read comes first, and a master that was replaced knows it. Then all
  // leave. What did not hold, in words; empty: all did.
  std::string heal();
  // A text that nobody wrote: it must be missed.
  void expect_besides(const std::string& text) { unread_.push_back(text); }

 private:
  ESHMConfig config(ESHMRole role) const;
  Child obedient(ESHMRole role) const;
  void step(const std::function<void(Link&)>& prepare, const std::function<void(Link&)>& change);
  void open_slave();
  void keep_if_memory_is_there();
  std::string pass_messages();

  const Change change_;
  const std::string name_;
  const ESHMBackend backend_;
  std::unique_ptr<Child> hung_;
  Link master_;
  Link slave_;
  std::unique_ptr<Stepper> child_;
  // What the slave reads first.
  std::vector<std::string> unread_;
  bool may_be_gone_ = false;  // read by the dead one, or removed with the name
  bool is_wider_ = false;     // the configuration asks for another shape than before
};

}  // namespace test
