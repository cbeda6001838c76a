// Calls that wait: without the interpreter's lock, and ended by signal handlers
// and by close().
#ifndef ESHM_PY_WAITING_H
#define ESHM_PY_WAITING_H

#include "native.h"

namespace eshm_py {

// A wait of this thread, for one link or several. A signal handler that runs in
// it may close any of them; then the wait itself gives that link back. Handlers
// may wait, too.
class Waiting {
 public:
  Waiting(Link* const* links, size_t count) : links_(links), count_(count), outer_(innermost) {
    innermost = this;
  }
  ~Waiting() { innermost = outer_; }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  static bool on(const Link* link);

 private:
  static thread_local const Waiting* innermost;

  Link* const* const links_;
  const size_t count_;
  const Waiting* const outer_;
};

// The exception for a wait's code; always NULL.
PyObject* raise_of_wait(const Link* link, int code);

// A call that waits: code of the call; an exception is set where it was cut short by
// a signal handler, or by a close in another thread.
template <class Call>
int wait(Link* link, Call call) {
  const Waiting waiting(&link, 1);
  Released released(link);
  const int code = call(link->handle);
  released.reacquire();
  if (code == ESHM_SUCCESS || code == ESHM_ERROR_NO_DATA || code == ESHM_ERROR_BUFFER_TOO_SMALL) {
    return code;
  }
  raise_of_wait(link, code);
  return code;
}

}  // namespace eshm_py

#endif  // ESHM_PY_WAITING_H
