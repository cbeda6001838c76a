// SPDX-License-Identifier: MIT
// Calls that wait. They release the interpreter's lock; an exception from a signal
// handler ends them, and so does close().
#ifndef ESHM_PY_WAITING_H
#define ESHM_PY_WAITING_H

#include "native.h"

namespace eshm_py {

// A wait of this thread for one or several links. A signal handler that runs during
// the wait may close any of them; the handle is then destroyed when the wait ends.
// A handler may also wait: waits of one thread are nested.
class Waiting {
 public:
  Waiting(Link* const* links, size_t count) : links_(links), count_(count), outer_(innermost) {
    innermost = this;
  }
  ~Waiting() { innermost = outer_; }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  static bool on(const Core* core);

 private:
  static thread_local const Waiting* innermost;

  Link* const* const links_;
  const size_t count_;
  const Waiting* const outer_;
};

// Sets the exception for a wait's code. Always returns NULL.
PyObject* raise_wait_error(const Link* link, int code);

// Runs a call that waits and returns its code. On SUCCESS, NO_DATA and
// BUFFER_TOO_SMALL no exception is set; on any other code one is.
template <class Call>
int wait(Link* link, Call call) {
  const Waiting waiting(&link, 1);
  Released released(link);
  const int code = call(link->core->handle);
  released.reacquire();
  if (code == ESHM_SUCCESS || code == ESHM_ERROR_NO_DATA || code == ESHM_ERROR_BUFFER_TOO_SMALL) {
    return code;
  }
  raise_wait_error(link, code);
  return code;
}

}  // namespace eshm_py

#endif  // ESHM_PY_WAITING_H
