// Threads that sleep on behalf of others: for the descriptors of event loops,
// and for a wait on more handles than one thread can sleep for.
//
// A thread of these sleeps on the bells of up to 127 handles and on a word of
// its own, by which it is told of changes. It never announces itself: rings
// come for whoever did, and it hands each ring on, to the handle's descriptor
// and to those who wait for many.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "endpoint/endpoint.h"
#include "os/futex.h"

namespace eshm::endpoint {

// A thread is started when a handle finds no room with the others, and ends
// with the last of its handles. In a forked child there is none.
//
// Locks: lifecycle_mutex_, then mutex_, then an endpoint's read lock.
class Waiters {
 public:
  // Somebody who sleeps until one of many handles is rung.
  struct Caller {
    Endpoint* const* endpoints;
    size_t count;
    std::atomic<uint32_t> rings{0};  // the word that is slept on
    std::atomic<size_t> last_rung{0};

    size_t index_of(const Endpoint& endpoint) const;  // or count
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

  // Rings of that handle are handed on from now on. Returns 0 or the errno of
  // starting a thread.
  static int listen_to(Endpoint& endpoint);
  // The same, and to the handle's descriptor. 0 or an errno.
  static int open_event_fd(Endpoint& endpoint, int& descriptor);
  // The handle's bell is another one now.
  static void moved(Endpoint& endpoint);
  // After this returns no thread here touches the endpoint, or what it mapped.
  static void remove(Endpoint& endpoint);

 private:
  struct Place {
    Endpoint* endpoint;
    Endpoint::Bell bell;  // key: of the last ring that was handed on
    uint32_t unheeded = 0;
  };
  // One thread and whom it sleeps for.
  struct Watch {
    std::thread thread;
    std::vector<Place> places;
    std::atomic<uint32_t> version{0};  // of `places`; also the word that the thread is told by
    uint32_t listed_version = 0;       // that the thread sleeps with
    bool is_over = false;

    // The thread's own.
    std::vector<os::FutexWaiter> words;
    std::vector<std::shared_ptr<Attachment>> held;  // keeps the words mapped
    std::vector<std::atomic<uint32_t>*> to_wake;
    bool has_told = false;  // somebody of a ring, since it last slept
    uint64_t look_interval_ns = 0;  // 0: nobody has a descriptor
    uint64_t next_look_ns = 0;
  };
  // Where a handle is listened to.
  struct Found {
    Watch* watch = nullptr;
    Place* place = nullptr;
  };

  static Waiters& instance();
  Found find(const Endpoint& endpoint);
  int start_listening(Endpoint& endpoint);
  void join_ended();
  static void change(Watch& watch);
  void run(Watch& watch);
  static void wake_those_told(Watch& watch);
  static os::FutexWait sleep(const Watch& watch, size_t& woken);
  void list(Watch& watch);
  void hand_on(Watch& watch, size_t index);
  void hand_on_all_rung(Watch& watch);
  static void look_again(Watch& watch);
  void forget_unheeded(Watch& watch);

  std::mutex lifecycle_mutex_;  // starting and joining threads

  std::mutex mutex_;  // guards what follows
  std::condition_variable listed_;
  std::vector<std::unique_ptr<Watch>> watches_;
  std::vector<Caller*> callers_;
};

}  // namespace eshm::endpoint
