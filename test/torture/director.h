// SPDX-License-Identifier: MIT
// Who forks, kills, stops and replaces the processes of one link, and knows
// which messages that may cost.
#pragma once

#include <optional>
#include <random>
#include <string>
#include <vector>

#include "support/child.h"
#include "torture/life.h"

namespace torture {

// What was done, to be told at the end.
struct Deeds {
  uint64_t kills = 0;
  uint64_t stops = 0;
  uint64_t clean_ends = 0;
  uint64_t replaced = 0;
  uint64_t reads = 0;
};

class Director {
 public:
  // Everything random follows from the seed, but for what the kernel does.
  Director(const std::string& name, ESHMBackend backend, uint64_t seed);
  // One of the next writers sins.
  void tempt(Sin sin) { sin_ = sin; }
  // Of a queue both ways, or of none.
  void set_delivery(ESHMDelivery m2s, ESHMDelivery s2m);

  // Something happens to somebody. False: a promise is broken, and told.
  bool step();
  // All ends come, hear each other, and leave; the name is free then.
  bool finish();

  const Deeds& deeds() const { return deeds_; }
  const std::string& complaint() const { return complaint_; }

 private:
  enum Place { kMaster, kSlave, kFirstObserver, kPlaces = 4 };
  struct Actor {
    std::optional<test::Child> child;
    Life* life = nullptr;
    uint64_t number = 0;
    bool is_ending = false;  // killed, or told to leave
    uint64_t peer = 0;       // who was open on the other side then
    int expected_code = 0;

    bool is_there() const { return child.has_value(); }
    bool is_staying() const { return is_there() && !is_ending; }
    bool is_open() const { return is_staying() && life->is_open; }
  };

  uint64_t below(uint64_t sides) { return dice_() % sides; }
  ESHMConfig config_for(Place place);
  Life* free_life();

  void start(Place place);
  void kill(Place place);
  // Whether nobody is there; the kernel may take seconds to see one off.
  bool is_empty(Place place);
  void stop_for_a_while(Place place);
  void dismiss(Place place);
  void begin_end(Place place, int expected_code);
  void replace_master();
  void see_replaced(size_t index);
  void await_ends();

  void learn();
  void ended(Place place, bool was_killed, bool had_peer);
  uint64_t peer_of(Place place) const;  // 0: nobody who is open
  void forget(Actor& actor);
  void fail(const std::string& what);
  bool has_failed();
  template <class Condition>
  void await(const char* what, Condition condition);
  void await_open(Place place);
  void await_exchange();
  void note(const std::string& what);
  void note_threads(const Actor& actor);
  void keep_evidence();

  const std::string name_;
  const ESHMBackend backend_;
  const uint64_t seed_;
  std::mt19937_64 dice_;
  ESHMConfig shape_;
  SharedRecord record_;
  Actor actors_[kPlaces];
  std::vector<Actor> replaced_;  // masters that have still to see it
  std::vector<test::Child> dying_;  // of those
  uint64_t lives_ = 0;
  Sin sin_ = Sin::kNone;

  // Of the slave that lives: it has come to the present master's segment; and
  // everything of former segments has come to its readers. Both stay true from
  // a dead master to the one that adopts its segment.
  bool is_attached_ = false;
  bool is_settled_ = false;

  Deeds deeds_;
  std::string complaint_;
  std::vector<std::string> log_;
};

}  // namespace torture
