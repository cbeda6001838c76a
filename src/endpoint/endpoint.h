// One end of a link: what an ESHMHandle is.
//
// Three kinds of threads meet here. Callers write and read, under a lock of
// their direction. One tender (the service thread; without threads the calls
// themselves) watches the peer, retries and moves to another segment; it holds
// both directions' locks while it exchanges the attachment, so none is taken
// away while a call is inside.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "endpoint/attachment.h"
#include "endpoint/handle.h"
#include "endpoint/liveness.h"
#include "endpoint/log.h"
#include "endpoint/role_seeker.h"
#include "os/event_fd.h"
#include "os/name_watch.h"
#include "os/word_lock.h"

namespace eshm::endpoint {

// So long a good-bye waits for others who are at the roles.
constexpr uint64_t kUnlinkPatienceNs = 1'000 * os::kNsPerMs;

// A message that was read or borrowed. Of one that was too large: its size alone.
struct Taken {
  channel::Message message;
  uint64_t missed = 0;  // since the one before
  uint32_t sender = 0;  // grows with each sender that this end has read from
};

class Endpoint : public Handle {
 public:
  // Waits as eshm_init says. On success `out` is tended from then on.
  static Failure open(Settings settings, std::unique_ptr<Endpoint>& out);
  // Says good-bye, removes the name where that is this end's duty.
  Failure close();
  ~Endpoint();

  // The data path answers codes; explain() has the sentence for each.
  int write(const void* data, size_t size, uint32_t timeout_ms);
  int read(void* buffer, size_t buffer_bytes, Taken& taken, uint32_t timeout_ms);
  int loan(size_t size, void*& data);
  int publish(void* data, size_t size);
  int discard(void* data);
  int borrow(ESHMView& view, uint32_t timeout_ms);
  void tell(const Taken& taken, ESHMMessageInfo& info) const;
  int release(const ESHMView& view);
  Failure explain(int code, size_t size, uint32_t timeout_ms) const;
  // A descriptor that polls readable while is_ready().
  Failure get_event_fd(int& descriptor);
  Failure explain_no_room(uint32_t timeout_ms) const;  // the TIMEOUT of a write

  ESHMRole role() const { return role_; }
  ESHMPeerState peer_state();
  void beat();
  void get_stats(ESHMStats& stats);
  void get_stats_ex(ESHMStatsEx& stats);
  void set_event_callback(ESHMHandle* handle, ESHMEventCallback callback, void* context);

  // ---- for whoever waits for many ----

  const Settings& settings() const { return settings_; }
  // A read would answer something other than NO_DATA. `thorough` as in
  // LatestReader::read; what only such a look finds, the next read finds too.
  bool is_ready(bool thorough);
  // The word that is rung for a reader, and what keeps it mapped.
  struct Bell {
    std::shared_ptr<Attachment> link;
    const std::atomic<uint32_t>* word = nullptr;
    uint32_t key = 0;
  };
  Bell bell() const;
  // Announces, then looks once more. True: it is ready. `word` is for the kernel
  // alone: it may be unmapped when the link moves, after a ring.
  bool announce(const std::atomic<uint32_t>*& word, uint32_t& key);
  // Where it stood in the last wait for many: a guess, to be checked.
  std::atomic<uint32_t>& place_in_wait() { return place_in_wait_; }
  const std::atomic<uint32_t>& place_in_wait() const { return place_in_wait_; }
  uint64_t spin_budget_ns() const;
  void learn_wait(uint64_t waited_ns);
  void tend_without_thread();

  // ---- for the waiter threads, under their mutex ----

  std::atomic<bool>& is_waited_for() { return is_waited_for_; }
  bool has_event_fd() const { return event_fd_.is_open(); }
  int open_event_fd(int& descriptor);
  void set_event_fd() { event_fd_.set(); }

  // ---- for the tender ----

  // Does what is due. Must not run twice at once (tend_lock_ sees to it).
  void tend(uint64_t now_ns, bool woken);
  // The peer's bell rang: the next look asks the kernel, whatever the beats say.
  void bell_rang() { must_probe_ = true; }
  // Tells the callbacks what is due; no lock of the tender's may be held.
  void deliver_events();
  bool has_events() const { return has_events_.load(std::memory_order_acquire); }
  uint64_t next_due_ns() const { return next_due_ns_; }
  // Where the heart of this end beats; changes only inside tend().
  std::atomic<uint64_t>* beats() const { return beats_; }
  // Whom to ring for: peer's process, as far as a bell can be had for it.
  const os::ProcessIdentity& bell_identity() const { return bell_identity_; }
  bool wants_name_watch() const { return retry_.is_running(); }
  // Whether the application has left this link's descriptor alone; one system
  // call. Where it has not, the next tend() fences the link.
  bool find_lock_file();

 private:
  Endpoint(Settings settings, std::unique_ptr<Attachment> attachment);
  static Failure begin(const Settings& settings, std::unique_ptr<Attachment> attachment,
                       std::unique_ptr<Endpoint>& out);

  // Data path.
  // What a read does with the message: copies it, or borrows it in place. Two
  // words, which pass in registers.
  class Request {
   public:
    static Request to_copy(void* buffer, size_t bytes) {
      return Request(buffer, bytes < kBorrows ? bytes : kBorrows - 1);
    }
    static Request to_borrow(channel::Borrowed& borrowed) { return Request(&borrowed, kBorrows); }

    bool borrows() const { return bytes_ == kBorrows; }
    channel::Borrowed& borrowed() const { return *static_cast<channel::Borrowed*>(to_); }
    void* buffer() const { return to_; }
    size_t bytes() const { return bytes_; }

   private:
    static constexpr size_t kBorrows = SIZE_MAX;
    Request(void* to, size_t bytes) : to_(to), bytes_(bytes) {}

    void* to_;
    size_t bytes_;
  };
  // A segment that was left while something of it was still wanted.
  struct Retired {
    std::shared_ptr<Attachment> attachment;
    Ends ends;
    bool is_unread = false;   // its queue is to be read dry; under read_lock_
    bool is_carried = false;  // our queue's rest is on its way to the new one; under write_lock_
    uint64_t cursor = 0;      // how far that is
  };
  int refuse_to_write() const;
  int refuse_under_mark() const;
  void wake_reader();
  int finish_write();
  int code_of(channel::WriteResult result);
  int write_locked(const void* data, size_t size);
  int write_now(const void* data, size_t size);
  int write_waiting(const void* data, size_t size, uint32_t timeout_ms);
  channel::WriteResult carry_over();
  int take_from(ReadEnd& in, Request request, bool thorough, Taken& taken);
  int take_from_former(Request request, Taken& taken);
  int take_after_leaving(Request request, Taken& taken);
  int take_message(Request request, bool thorough, Taken& taken);
  int take_locked(Request request, bool thorough, Taken& taken);
  int take_under_mark(Request request, bool thorough, Taken& taken);
  int answer_without_message() const;
  int answer_under_mark() const;
  bool is_ready_locked(bool thorough);
  uint32_t announce_locked();
  void settle_event_fd();
  int take_now(Request request, Taken& taken);
  int take(Request request, uint32_t timeout_ms, Taken& taken);
  int take_waiting(Request request, uint32_t timeout_ms, Taken& taken);
  template <class Look, class LookThenPark>
  int wait_until(int nothing, os::Deadline deadline, uint64_t spin_end, const Look& look,
                 const LookThenPark& look_then_park);
  template <class Look>
  int spin(int nothing, os::Deadline until, const Look& look);
  template <class Look>
  int announce_and_park(int nothing, os::WordLock& guard, layout::WakeLine* const& line,
                        os::Deadline until, os::FutexWait& end, const Look& look);
  void note_message(const ReadEnd& in, Taken& taken);
  void tend_retired();

  // Tending.
  void tend_role(uint64_t now_ns, bool woken);
  void look_at_own_role();
  void look_at_peer(uint64_t now_ns);
  void hang_bell();
  void follow_retry_policy(uint64_t now_ns, bool woken);
  void try_to_move();
  void move_to(std::shared_ptr<Attachment> next);
  void keep_what_was_written(Retired& former);
  void keep_what_is_unread(Retired& former);
  void give_up();
  void leave_seat();
  void give_seat_back();
  void settle_verdicts();
  void free_reserved_seat();
  void fence(int code);
  void tell(ESHMEvent event);
  void say(ESHMLogLevel level, const std::string& text);
  void wake_own_waiters();
  bool has_lost_master() const;
  Failure remove_name(uint64_t patience_ns) const;
  std::shared_ptr<Attachment> current() const;

  Settings settings_;
  const ESHMRole role_;

  // Both locks guard attachment_ and retired_: hold either to use them, both to
  // change them. Each also guards its end of a channel.
  alignas(64) mutable os::WordLock write_lock_;
  alignas(64) mutable os::WordLock read_lock_;
  std::shared_ptr<Attachment> attachment_;
  Ends ends_;  // of attachment_
  std::vector<Retired> retired_;  // oldest first
  uint32_t unread_segments_ = 0;   // of retired_; under read_lock_
  bool drains_ = false;  // left a segment that was superseded before; under read_lock_
  uint32_t carried_segments_ = 0;  // of retired_; under write_lock_
  uint64_t written_elsewhere_ = 0;  // messages, in segments before this one; under write_lock_
  uint32_t sender_count_ = 0;       // how many senders were read from; under read_lock_
  uint32_t sender_generation_ = 0;  // of the last one, in the segment of this incarnation:
  uint64_t sender_segment_ = 0;
  uint64_t messages_read_ = 0;
  uint64_t messages_missed_ = 0;
  bool must_read_thoroughly_ = false;  // a message was seen that a mere look does not find
  // Changes under read_lock_ and the waiters' mutex, used under either.
  os::EventFd event_fd_;
  std::atomic<uint32_t> place_in_wait_{0};
  std::atomic<bool> is_waited_for_{false};  // by a waiter thread, which the tender tells of moves

  // What a call answers instead of going on; 0: it goes on. Tender stores.
  std::atomic<int> read_verdict_{0};
  std::atomic<int> write_verdict_{0};
  std::atomic<ESHMPeerState> peer_state_{ESHM_PEER_NEVER_SEEN};
  std::atomic<bool> has_left_{false};       // tender stores, after the verdicts
  std::atomic<uint64_t> idle_beats_{0};     // what beats after that
  std::atomic<bool> found_corrupt_{false};  // readers store, the tender fences
  std::atomic<uint64_t> usual_wait_ns_{0};  // of blocking reads, for the adaptive spin
  std::atomic<uint64_t> parks_{0};
  std::atomic<uint64_t> wakes_{0};
  std::atomic<uint64_t> stale_reports_{0};
  std::atomic<uint32_t> reconnects_{0};
  std::mutex stats_mutex_;
  uint64_t last_beats_[2] = {0, 0};  // of the get_stats before

  // The tender's own.
  std::mutex tend_mutex_;
  PeerWatch watch_;
  RetryPolicy retry_;
  std::unique_ptr<RoleSeeker> seeker_;
  bool must_probe_ = false;
  bool lost_lock_file_ = false;
  bool must_look_again_ = false;  // a move met something half-way
  bool gave_up_ = false;
  bool left_seat_ = false;  // gave up on a lost master for good
  uint64_t leaving_since_ns_ = 0;
  int fence_code_ = ESHM_SUCCESS;
  uint64_t next_due_ns_ = 0;
  uint64_t next_look_ns_ = 0;
  uint64_t look_interval_ns_;
  std::atomic<uint64_t>* beats_ = nullptr;
  os::ProcessIdentity bell_identity_;
  uint64_t last_beat_ns_ = 0;  // without threads

  // What is to be told. callback_mutex_ is held while a callback runs.
  struct Notice {
    std::optional<ESHMEvent> event;
    ESHMLogLevel level = ESHM_LOG_INFO;
    std::string line;  // "": for the event callback alone
  };
  void queue(Notice notice);
  void remember_untold(ESHMEvent event);
  std::mutex events_mutex_;
  std::vector<Notice> notices_;
  std::vector<ESHMEvent> untold_;  // what the first event callback has missed
  bool had_callback_ = false;
  std::atomic<bool> has_events_{false};
  std::mutex callback_mutex_;
  std::atomic<std::thread::id> telling_{};
  ESHMHandle* handle_ = nullptr;
  ESHMEventCallback callback_ = nullptr;
  void* callback_context_ = nullptr;
};

// This thread is inside a callback of the application.
bool is_in_callback();

}  // namespace eshm::endpoint
