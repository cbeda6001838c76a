// SPDX-License-Identifier: MIT
// The one loop that every wait of this library runs in.
#pragma once

#include <atomic>
#include <cstdint>

#include "endpoint/failure.h"
#include "endpoint/settings.h"
#include "eshm_data.h"
#include "os/clock.h"
#include "os/cpu.h"

namespace eshm::endpoint {

// The upkeep of a link that has no service thread: its calls do it.
class InCallUpkeep {
 public:
  virtual void run_in_call() = 0;

 protected:
  ~InCallUpkeep() = default;
};

// Where the kernel cannot wait for many words, or no thread can be had.
constexpr uint64_t kPollIntervalNs = os::kNsPerMs;
// A spinning wait reads the clock once in this many polls.
constexpr uint32_t kPollsPerClock = 16;

// How a piece of a wait ended, as far as the loop must know.
enum class PieceEnd { kQuiet, kSignal };

// Waits in pieces until one answers something other than `nothing`, which is the
// answer; TIMEOUT at the deadline; INTERRUPTED when the application asks for it.
//   is_interrupted()             asks the hook; called at once, after each signal
//                                and each kInterruptIntervalMs, if `has_hook`
//   piece(now_ns, until, end)    waits at most until `until`, then polls
template <class IsInterrupted, class Piece>
int wait_in_pieces(int nothing, os::Deadline deadline, bool has_hook,
                   const IsInterrupted& is_interrupted, const Piece& piece) {
  uint64_t next_interrupt_ns = 0;
  for (;;) {
    const uint64_t now = os::monotonic_ns();
    os::Deadline until = deadline;
    if (has_hook) {
      if (now >= next_interrupt_ns) {
        if (is_interrupted()) return ESHM_ERROR_INTERRUPTED;
        next_interrupt_ns = now + kInterruptIntervalMs * os::kNsPerMs;
      }
      until = until.or_earlier(os::Deadline::at(next_interrupt_ns));
    }
    PieceEnd end = PieceEnd::kQuiet;
    const int code = piece(now, until, end);
    if (end == PieceEnd::kSignal) next_interrupt_ns = 0;
    if (code != nothing) return code;
    if (deadline.has_passed()) return ESHM_ERROR_TIMEOUT;
  }
}

// The same for the hook of one link.
template <class Piece>
int wait_in_pieces(int nothing, os::Deadline deadline, const Interrupt& interrupt,
                   const Piece& piece) {
  return wait_in_pieces(
      nothing, deadline, interrupt.is_set(), [&] { return interrupt.requested(); }, piece);
}

// Polls without a pause until there is an answer or the deadline has passed.
template <class Poll>
int spin(int nothing, os::Deadline until, const Poll& poll) {
  for (uint32_t polls = 0;; ++polls) {
    const int code = poll();
    if (code != nothing) return code;
    if (polls % kPollsPerClock == 0 && until.has_passed()) return code;
    os::relax();
  }
}

// Sleeps for a random time below a millisecond, so that racers do not stay in step.
void pause_out_of_step();

// Why a wait ended, for eshm_last_error.
Failure interrupted(const Settings& settings);

// How long waits spin before they park.
class SpinTime {
 public:
  explicit SpinTime(uint32_t spin_us) : spin_us_(spin_us) {}

  uint64_t budget_ns() const;
  // Before anything is known about how long waits take.
  uint64_t first_budget_ns() const;
  // Any thread, at any time: the budget adapts to the reported waits.
  void learn(uint64_t waited_ns);

 private:
  const uint32_t spin_us_;  // ESHMConfig::spin_us
  std::atomic<uint64_t> usual_wait_ns_{0};
};

}  // namespace eshm::endpoint
