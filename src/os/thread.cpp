// SPDX-License-Identifier: MIT
#include "os/thread.h"

#include <link.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "os/memory.h"
#include "os/process.h"
#include "os/shm_object.h"

namespace eshm::os {
namespace {

constexpr int kSchedDeadline = 6;  // linux/sched.h, SCHED_DEADLINE

class Attributes {
 public:
  Attributes() { failure_ = pthread_attr_init(&attributes_); }
  ~Attributes() { pthread_attr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;

  // Calls call(attributes, values...), unless an earlier call failed.
  template <class Call, class... Values>
  void set(Call call, Values... values) {
    if (failure_ == 0) failure_ = call(&attributes_, values...);
  }
  int failure() const { return failure_; }
  const pthread_attr_t* get() const { return &attributes_; }

 private:
  pthread_attr_t attributes_;
  int failure_;
};

// Bytes of thread-local variables of the program and its libraries: glibc takes them out
// of a thread's stack. Those of libraries loaded with dlopen are counted, too, though
// most of them are elsewhere.
size_t thread_local_bytes() {
  size_t bytes = 0;
  const auto add = [](dl_phdr_info* object, size_t, void* sum) {
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const auto& header = object->dlpi_phdr[i];
      if (header.p_type == PT_TLS) *static_cast<size_t*>(sum) += header.p_memsz + header.p_align;
    }
    return 0;
  };
  dl_iterate_phdr(add, &bytes);
  return bytes;
}

size_t whole_stack_bytes(size_t for_calls) {
  const size_t bytes = for_calls + thread_local_bytes();
  const size_t least = size_t(std::max(sysconf(_SC_THREAD_STACK_MIN), 0l));
  const size_t page = page_bytes();
  return (std::max(bytes, least) + page - 1) / page * page;
}

unsigned long long limit_of(decltype(RLIMIT_NPROC) resource) {
  rlimit limit;
  return getrlimit(resource, &limit) == 0 ? limit.rlim_cur : 0;
}

std::string limit_text(unsigned long long limit) {
  return limit == RLIM_INFINITY ? "unlimited" : std::to_string(limit);
}

// The CPUs of this process's cpuset that are online. A thread that requests all CPUs gets
// exactly these.
CpuSet usable_cpus() {
  const auto all = CpuSet::parse("0-" + std::to_string(CpuSet::kernel_capacity() - 1));
  CpuSet usable;
  Thread thread;
  thread.start({"eshm", 65536, {}, {}}, [&] {
    try {
      sched_setaffinity(0, all->bytes(), all->data());
      usable = CpuSet::of_calling_thread();
    } catch (const std::bad_alloc&) {
    }
  });
  thread.join();
  return usable;
}

std::string why_not_permitted(const Scheduling& scheduling) {
  const unsigned long long limit = limit_of(RLIMIT_RTPRIO);
  const std::string priority = std::to_string(scheduling.priority);
  const std::string text =
      std::string(policy_name(scheduling.policy)) + " with priority " + priority;
  if (limit >= unsigned(scheduling.priority)) {
    return text + " is not permitted, though RLIMIT_RTPRIO is " + limit_text(limit) +
           ": the control group has no real-time budget, or a seccomp filter forbids it";
  }
  return text + " needs CAP_SYS_NICE or an RLIMIT_RTPRIO of " + priority +
         " or more; RLIMIT_RTPRIO is " + limit_text(limit);
}

std::string why_no_room(size_t stack_bytes) {
  const int failure = try_to_map(stack_bytes);
  if (failure != 0) {
    return "its stack of " + std::to_string(stack_bytes) + " bytes " + why_not_mapped(failure);
  }
  if (sched_getscheduler(0) == kSchedDeadline) {
    return "a thread with SCHED_DEADLINE and without SCHED_FLAG_RESET_ON_FORK cannot start another";
  }
  return "RLIMIT_NPROC is " + limit_text(limit_of(RLIMIT_NPROC)) +
         "; pids.max of the control group and kernel.threads-max are limits, too";
}

}  // namespace

const char* policy_name(int policy) {
  switch (policy) {
    case SCHED_FIFO:
      return "SCHED_FIFO";
    case SCHED_RR:
      return "SCHED_RR";
    default:
      return "SCHED_OTHER";
  }
}

struct Thread::Attempt {
  Scheduling scheduling;
  size_t stack_bytes;             // 0: the process's default
  bool inherits_policy = false;  // of the calling thread, and its priority
};

int Thread::start(const ThreadAttributes& attributes, std::function<void()> body) {
  body_ = std::move(body);
  try {
    const int failure = start(attributes);
    if (failure != 0) return failure;
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  is_running_ = true;
  // Here, and not by the thread itself: the name is there when this returns.
  pthread_setname_np(thread_, attributes.name);
  return 0;
}

int Thread::start(const ThreadAttributes& attributes) {
  Attempt attempt = {attributes.scheduling, whole_stack_bytes(attributes.stack_bytes)};
  CpuSet& cpus = attempt.scheduling.cpus;
  const bool requests_cpus = !cpus.is_empty();
  // Pinned only if that changes something: a thread that was never pinned follows later
  // changes of its cpuset.
  if (!requests_cpus && attributes.default_cpus != CpuSet::of_calling_thread()) {
    cpus = attributes.default_cpus;
  }
  int failure = create(attempt);
  if (failure == EINVAL) {
    // The tunable glibc.rtld.optional_static_tls enlarges glibc's part of each stack.
    attempt.stack_bytes = 0;
    failure = create(attempt);
  }
  if (!requests_cpus && !cpus.is_empty() && (failure == EINVAL || failure == EPERM)) {
    attempt = {attributes.scheduling, whole_stack_bytes(attributes.stack_bytes)};
    failure = create(attempt);
  }
  // Even SCHED_OTHER can be forbidden: an unprivileged thread with SCHED_IDLE cannot leave
  // that policy, and a seccomp filter may forbid the system call.
  if (failure == EPERM && attempt.scheduling.policy == SCHED_OTHER) {
    attempt.inherits_policy = true;
    failure = create(attempt);
  }
  return failure;
}

int Thread::create(const Attempt& attempt) {
  const Scheduling& scheduling = attempt.scheduling;
  sched_param parameters = {};
  parameters.sched_priority = scheduling.priority;
  Attributes all;
  if (attempt.stack_bytes != 0) all.set(pthread_attr_setstacksize, attempt.stack_bytes);
#ifdef __GLIBC__
  if (!scheduling.cpus.is_empty()) {
    all.set(pthread_attr_setaffinity_np, scheduling.cpus.bytes(), scheduling.cpus.data());
  }
#endif
  if (!attempt.inherits_policy) {
    all.set(pthread_attr_setinheritsched, PTHREAD_EXPLICIT_SCHED);
    all.set(pthread_attr_setschedpolicy, scheduling.policy);
    all.set(pthread_attr_setschedparam, &parameters);
  }
  if (all.failure() != 0) return all.failure();
  const ScopedSignalBlock no_signals;  // inherited by the thread
#ifndef __GLIBC__
  // musl has no such attribute: the thread inherits the CPUs that this one has meanwhile.
  const CpuSet own_cpus = CpuSet::of_calling_thread();
  if (!scheduling.cpus.is_empty() &&
      sched_setaffinity(0, scheduling.cpus.bytes(), scheduling.cpus.data()) != 0) {
    return errno;
  }
  const int failure = pthread_create(&thread_, all.get(), enter, this);
  if (!scheduling.cpus.is_empty()) sched_setaffinity(0, own_cpus.bytes(), own_cpus.data());
  return failure;
#else
  return pthread_create(&thread_, all.get(), enter, this);
#endif
}

void* Thread::enter(void* self) {
  static_cast<Thread*>(self)->body_();
  return nullptr;
}

void Thread::join() {
  if (!std::exchange(is_running_, false)) return;
  pthread_join(thread_, nullptr);
}

std::string why_not_started(int error_number, const ThreadAttributes& attributes) {
  const Scheduling& requested = attributes.scheduling;
  switch (error_number) {
    case EPERM:
      if (requested.policy != SCHED_OTHER) return why_not_permitted(requested);
      break;
    case EINVAL:
      if (!requested.cpus.is_empty()) {
        return "the process may use none of the CPUs " + requested.cpus.text() +
               ": its cpuset and the CPUs that are online leave it " + usable_cpus().text();
      }
      break;
    case EAGAIN:
      return why_no_room(whole_stack_bytes(attributes.stack_bytes));
  }
  return std::strerror(error_number);
}

}  // namespace eshm::os
