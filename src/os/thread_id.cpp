// SPDX-License-Identifier: MIT
#include "os/thread_id.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/fd.h"

namespace eshm::os {
namespace {

uint32_t ask_kernel() { return uint32_t(syscall(SYS_gettid)); }

#ifdef __GLIBC__
// The C library notes the owner in a mutex of this kind. A thread that has forbidden
// itself all other system calls can still learn its id so.
uint32_t ask_c_library() {
  pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  pthread_mutex_lock(&mutex);
  const uint32_t owner = uint32_t(mutex.__data.__owner);
  pthread_mutex_unlock(&mutex);
  pthread_mutex_destroy(&mutex);
  return owner;
}
#else
uint32_t ask_c_library() { return 0; }
#endif

}  // namespace

__thread uint32_t known_thread_id = 0;

uint32_t learn_thread_id() {
  count_forks();  // a forked child forgets it
  // Tried once in a process, in case another release keeps the owner elsewhere.
  static const bool is_right = ask_c_library() == ask_kernel();
  return known_thread_id = is_right ? ask_c_library() : ask_kernel();
}

}  // namespace eshm::os
