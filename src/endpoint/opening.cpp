// SPDX-License-Identifier: MIT
#include "endpoint/opening.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "endpoint/retry_policy.h"
#include "endpoint/role_seeker.h"
#include "endpoint/waiting.h"
#include "os/name_watch.h"
#include "os/shm_object.h"

namespace eshm::endpoint {
namespace {

using Verdict = RoleSeeker::Verdict;

// How long changes that others make, which pass within microseconds, and room that is on
// its way back are waited for.
constexpr uint64_t kChangePatienceNs = 30'000 * os::kNsPerMs;
constexpr uint64_t kRoomPatienceNs = 1'000 * os::kNsPerMs;

// How long to try again in a row after such a verdict.
uint64_t patience_ns(Verdict verdict, const Settings& settings) {
  switch (verdict) {
    case Verdict::kTryAgain:
      return kChangePatienceNs;
    case Verdict::kNoRoom:
      return kRoomPatienceNs;
    case Verdict::kWaitingForExit:
      return settings.reconnect_wait_ms == 0 ? UINT64_MAX
                                             : settings.reconnect_wait_ms * os::kNsPerMs;
    default:  // kComparing and kNoMaster have waits of their own
      return kChangePatienceNs;
  }
}

class Opening {
 public:
  explicit Opening(const Settings& settings)
      : settings_(settings),
        seeker_(settings),
        // eshm_init has these limits whatever the behaviour.
        retry_(retry_limits(settings, ESHM_DISCONNECT_ON_TIMEOUT)),
        name_(os::object_path(settings.name)) {}

  Failure run(std::unique_ptr<Attachment>& out);

 private:
  bool may_go_on(bool after_signal);
  Failure pause_after(RoleSeeker::Step& step);
  Failure wait_for_master(Failure no_master);
  int wait_for_name(uint64_t until_ns);

  const Settings& settings_;
  RoleSeeker seeker_;
  RetryPolicy retry_;
  os::NameWatch name_;
  uint64_t began_ns_ = 0;
  uint64_t passing_since_ns_ = 0;  // since when each step was to be tried again
  uint64_t longest_step_ns_ = 0;
  uint64_t next_question_ns_ = 0;  // when the hook is asked next
  bool must_stop_ = false;         // its answer
};

Failure Opening::run(std::unique_ptr<Attachment>& out) {
  began_ns_ = passing_since_ns_ = os::monotonic_ns();
  retry_.begin(began_ns_);
  retry_.advise(began_ns_);  // the step below is the first attempt
  const os::Meanwhile between_steps_of_allocation(
      [](void* self, bool after_signal) {
        return static_cast<Opening*>(self)->may_go_on(after_signal);
      },
      this);
  for (;;) {
    (void)name_.has_changed();  // from here on a change is worth another step
    const uint64_t step_began_ns = os::monotonic_ns();
    next_question_ns_ = step_began_ns + kInterruptIntervalMs * os::kNsPerMs;
    RoleSeeker::Step step = seeker_.step();
    longest_step_ns_ = std::max(longest_step_ns_, os::monotonic_ns() - step_began_ns);
    if (step.verdict == Verdict::kTaken) {
      out = std::move(step.attachment);
      return success();
    }
    if (must_stop_) return interrupted(settings_);
    if (step.verdict == Verdict::kRefused) return std::move(step.failure);
    if (Failure failure = pause_after(step)) return failure;
    if (settings_.interrupt.requested()) return interrupted(settings_);
  }
}

// Asks the hook as a wait does.
bool Opening::may_go_on(bool after_signal) {
  if (!settings_.interrupt.is_set()) return true;
  const uint64_t now = os::monotonic_ns();
  if (!after_signal && now < next_question_ns_) return true;
  next_question_ns_ = now + kInterruptIntervalMs * os::kNsPerMs;
  must_stop_ = settings_.interrupt.requested();
  return !must_stop_;
}

// Waits until the next step is worth it. A failure: no further step is.
Failure Opening::pause_after(RoleSeeker::Step& step) {
  const uint64_t now = os::monotonic_ns();
  if (step.verdict == Verdict::kNoMaster) {
    passing_since_ns_ = now;
    return wait_for_master(std::move(step.failure));
  }
  if (step.verdict == Verdict::kComparing) {
    passing_since_ns_ = now;
    os::sleep_until(os::Deadline::after_ns(RoleSeeker::kCompareIntervalNs));
    return success();
  }
  uint64_t patience = patience_ns(step.verdict, settings_);
  // Another process's allocation takes about as long as this one's did.
  if (step.verdict == Verdict::kNoRoom) patience += 2 * longest_step_ns_;
  if (now - passing_since_ns_ >= patience) {
    if (step.failure) return std::move(step.failure);
    return fail(ESHM_ERROR_SHM_ATTACH, about(settings_) + "its roles change all the time");
  }
  pause_out_of_step();
  return success();
}

Failure Opening::wait_for_master(Failure no_master) {
  for (;;) {
    const RetryPolicy::Advice advice = retry_.advise(os::monotonic_ns());
    if (advice == RetryPolicy::Advice::kAttempt) return success();
    if (advice == RetryPolicy::Advice::kGiveUp) {
      const uint64_t waited_ms = (os::monotonic_ns() - began_ns_) / os::kNsPerMs;
      no_master.text += "; gave up after " + std::to_string(waited_ms) + " ms";
      return no_master;
    }
    const int code = wait_for_name(retry_.next_change_ns());
    if (code == ESHM_ERROR_INTERRUPTED) return interrupted(settings_);
    if (code == ESHM_SUCCESS) return success();
  }
}

// SUCCESS: the name means another file. TIMEOUT, INTERRUPTED.
int Opening::wait_for_name(uint64_t until_ns) {
  return wait_in_pieces(
      ESHM_ERROR_NO_DATA, os::Deadline::at(until_ns), settings_.interrupt,
      [this](uint64_t now, os::Deadline until, PieceEnd& end) {
        const os::Deadline next_look = os::Deadline::at(now + kPollIntervalNs);
        if (os::poll_until(nullptr, 0, until.or_earlier(next_look)) < 0) end = PieceEnd::kSignal;
        return int(name_.has_changed() ? ESHM_SUCCESS : ESHM_ERROR_NO_DATA);
      });
}

}  // namespace

Failure wait_for_role(const Settings& settings, std::unique_ptr<Attachment>& out) {
  return Opening(settings).run(out);
}

}  // namespace eshm::endpoint
