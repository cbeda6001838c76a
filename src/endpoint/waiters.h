// SPDX-License-Identifier: MIT
// Threads that sleep on behalf of others: for the descriptors of event loops,
// and for a wait on more handles than one thread can sleep for.
//
// Each of these threads sleeps on the doorbells of up to 127 handles and on a word
// of its own, which changes when its list does. It never announces itself: a
// writer rings for a reader that has announced itself, and the thread hands each
// ring on, to the handle's descriptor and to the calls that wait for many.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "endpoint/settings.h"
#include "os/futex.h"
#include "os/mutex.h"
#include "os/thread.h"

namespace eshm::endpoint {

// A thread is started when a handle finds no room with the others, and ends
// with the last of its handles. In a forked child there is none.
//
// Locks: lifecycle_mutex_, then mutex_, then a handle's read lock.
class Waiters {
 public:
  // The word that a writer rings for a reader, and what keeps it mapped.
  struct Doorbell {
    std::shared_ptr<const void> mapped;
    const std::atomic<uint32_t>* word = nullptr;
    uint32_t key = 0;  // the word's value when it was last read
  };

  // A handle that these threads listen for.
  class Listened {
   public:
    virtual Doorbell doorbell() const = 0;
    virtual bool is_ready(bool thorough) = 0;
    // How long a ring may fail to come, if its writer is stopped before it rings.
    virtual uint64_t longest_wait_ns() const = 0;
    virtual bool has_event_fd() const = 0;
    virtual int open_event_fd(int& descriptor) = 0;
    virtual void set_event_fd() = 0;
    // Has the scheduling of a thread that is started for this handle.
    virtual const Settings& settings() const = 0;

    // Its index in the last wait for many: a guess, to be checked.
    std::atomic<uint32_t>& place_in_wait() { return place_in_wait_; }
    const std::atomic<uint32_t>& place_in_wait() const { return place_in_wait_; }
    bool is_listened_to() const { return is_listened_to_.load(std::memory_order_acquire); }

   protected:
    ~Listened() = default;

   private:
    friend class Waiters;
    std::atomic<uint32_t> place_in_wait_{0};
    std::atomic<bool> is_listened_to_{false};
  };

  // A call that sleeps until one of many handles is rung.
  struct Caller {
    Listened* const* handles;
    size_t count;
    std::atomic<uint32_t> rings{0};  // the word that the call sleeps on
    std::atomic<size_t> last_rung{0};

    size_t index_of(const Listened& handle) const;  // or count
  };
  // Rings are handed on to the caller for the lifetime of this.
  class Presence {
   public:
    explicit Presence(Caller& caller);
    ~Presence();
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;

   private:
    Caller& caller_;
  };

  // From now on rings of that handle are handed on. Returns 0 or the errno of
  // starting a thread.
  static int listen_to(Listened& handle);
  // The same, and to the handle's descriptor. 0 or an errno.
  static int open_event_fd(Listened& handle, int& descriptor);
  // Why open_event_fd() failed.
  static std::string why_no_event_fd(const Listened& handle, int error_number);
  // The handle has another doorbell now.
  static void moved(Listened& handle);
  // After this returns no thread here touches the handle, or what it mapped.
  static void remove(Listened& handle);

 private:
  struct Place {
    Listened* handle;
    Doorbell doorbell;  // its key is that of the last ring that was handed on
    uint32_t unheeded = 0;
  };
  // One thread and the handles that it sleeps for.
  struct Watch {
    os::Thread thread;
    std::vector<Place> places;
    std::atomic<uint32_t> version{0};  // of `places`; the thread sleeps on it, too
    uint32_t listed_version = 0;       // that the thread sleeps with
    bool is_over = false;

    // The thread's own.
    std::vector<os::FutexWaiter> words;
    std::vector<std::shared_ptr<const void>> held;  // keeps the words mapped
    std::vector<std::atomic<uint32_t>*> to_wake;
    bool has_handed_on = false;  // a ring, since it last slept
    uint64_t poll_interval_ns = 0;  // 0: no handle has a descriptor
    uint64_t next_poll_ns = 0;
  };
  // The place of a handle.
  struct Found {
    Watch* watch = nullptr;
    Place* place = nullptr;
  };

  static Waiters& instance();
  Found find(const Listened& handle);
  int start_listening(Listened& handle);
  int listen_with_room(Listened& handle);
  void join_ended();
  static void change(Watch& watch);
  void run(Watch& watch);
  static void wake_callers(Watch& watch);
  static os::FutexWait sleep(const Watch& watch, size_t& woken);
  void list(Watch& watch);
  void hand_on(Watch& watch, size_t index);
  void hand_on_all_rung(Watch& watch);
  static void poll_if_due(Watch& watch);
  void forget_unheeded(Watch& watch);

  os::Mutex lifecycle_mutex_;  // starting and joining threads

  os::Mutex mutex_;  // guards what follows
  os::Condition listed_;
  std::vector<std::unique_ptr<Watch>> watches_;
  std::vector<Caller*> callers_;
};

}  // namespace eshm::endpoint
