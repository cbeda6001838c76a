// SPDX-License-Identifier: MIT
#include "endpoint/peer_view.h"

namespace eshm::endpoint {

using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

ESHMRole peer_of(const Attachment& attachment) {
  return attachment.role() == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
}

}  // namespace

PeerView::PeerView(const Settings& settings, ESHMRole own_role)
    : watch_(settings.stale_threshold_ms * os::kNsPerMs, own_role == ESHM_ROLE_SLAVE,
             silence_of(settings, !settings.use_threads)) {}

PeerView::Events PeerView::check(const Attachment& attachment, uint64_t now_ns) {
  const bool must_probe = must_probe_.exchange(false, memory_order_relaxed);
  const Events events = see(attachment, watch_, now_ns, must_probe);
  show(events, attachment);
  return events;
}

PeerView::Events PeerView::check_until_gone(const Attachment& former, uint64_t now_ns) {
  const Sighting sighting = sight_holder(former.segment(), peer_of(former), watch_, now_ns, false);
  if (!sighting.holds_lock) return {};
  const Events events = feed(watch_, sighting);
  show(events, former);
  return events;
}

PeerView::Ahead PeerView::check_ahead(const Attachment& next) const {
  Ahead ahead{watch_, {}, false};
  ahead.watch.forget_segment();
  // Attaching may have taken long: the time is read again.
  ahead.events = see(next, ahead.watch, os::monotonic_ns(), false);
  ahead.is_lost = is_lost(ahead.watch, next);
  return ahead;
}

PeerView::Events PeerView::take_over(const Ahead& ahead, const Attachment& next) {
  watch_ = ahead.watch;
  show(ahead.events, next);
  return ahead.events;
}

PeerView::Events PeerView::see(const Attachment& attachment, PeerWatch& watch, uint64_t now_ns,
                               bool must_probe) {
  return feed(watch, sight_holder(attachment.segment(), peer_of(attachment), watch, now_ns,
                                  must_probe));
}

PeerView::Events PeerView::feed(PeerWatch& watch, const Sighting& sighting) {
  Events events;
  for (auto& event : events) event = watch.see(sighting);
  return events;
}

bool PeerView::is_lost(const PeerWatch& watch, const Attachment& attachment) {
  return watch.state() == ESHM_PEER_DEAD || watch.state() == ESHM_PEER_LEFT ||
         attachment.segment().is_superseded();
}

void PeerView::show(const Events& events, const Attachment& attachment) {
  for (const auto& event : events) {
    if (event == ESHM_EVENT_STALE) stale_reports_.fetch_add(1, memory_order_relaxed);
    if (event == ESHM_EVENT_RECONNECTED) reconnects_.fetch_add(1, memory_order_relaxed);
  }
  // After the counts: a thread that loads the state finds it counted.
  state_.store(watch_.state(), memory_order_release);
  if (events[0]) choose_exit_watch(attachment);
}

// A pidfd can be had for a process of our own PID and time namespace.
void PeerView::choose_exit_watch(const Attachment& attachment) {
  exit_watch_ = {};
  if (!watch_.is_there()) return;
  const os::ProcessIdentity peer = read_record(attachment.peer_record()).process;
  const os::ProcessIdentity self = os::self();
  const bool is_comparable = peer.pid_namespace == self.pid_namespace &&
                             peer.time_namespace == self.time_namespace && peer.start_time != 0;
  if (is_comparable && peer.pid != self.pid) exit_watch_ = peer;
}

}  // namespace eshm::endpoint
