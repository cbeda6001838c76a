# SPDX-License-Identifier: MIT
"""Delivers the library's events and log lines to Python callbacks.

The library reports them on its service thread, which writes the heartbeats of
all links and must not wait for the interpreter's lock. The extension puts them
into a queue, and one daemon thread here takes them out. The first callback or
logger starts that thread.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Callable, Optional

from . import _native
from ._enums import Event

if TYPE_CHECKING:
    import logging

# By the link's id, which is never used again. The callback is kept by the link alone:
# what refers to both must not live as long as this module.
_links: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_logger: Optional[logging.Logger] = None
_thread: Optional[threading.Thread] = None
_started_in = 0  # PID: a forked child does not have the thread
_starting = threading.Lock()


def _run() -> None:
    while True:
        notice = _native.next_notice()
        if notice is None:
            return
        kind, number, link_id, text = notice
        try:
            if kind == "log":
                _deliver_log_line(number, text)
            else:
                _deliver_event(link_id, number)
        except Exception:
            _report_exception()


def _deliver_log_line(level: int, text: str) -> None:
    logger = _logger
    if logger is not None:
        # The library's levels are 0 .. 3, those of logging 10 .. 40.
        logger.log((level + 1) * 10, "%s", text)


def _deliver_event(link_id: int, event: int) -> None:
    link = _links.get(link_id)
    callback = None if link is None else link._callback
    if callback is not None:
        callback(link, Event(event))


def _report_exception() -> None:
    """Reports as for an exception that ends a thread; but this thread continues."""
    import sys

    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


def _start() -> None:
    global _thread, _started_in
    with _starting:
        if _started_in != os.getpid():
            _started_in = os.getpid()
            _thread = threading.Thread(target=_run, name="eshm-notices", daemon=True)
            _thread.start()


def set_callback(link: Any, callback: Optional[Callable[[Any, Event], object]]) -> None:
    if callback is None:
        link._listen(False)
        _links.pop(link._id, None)
        link._callback = None
        return
    _start()
    former, link._callback = link._callback, callback
    _links[link._id] = link
    try:
        link._listen(True)
    except BaseException:
        link._callback = former
        raise


def set_logger(logger: Optional[logging.Logger]) -> None:
    global _logger
    _logger = logger
    if logger is not None:
        _start()
    _native.listen_to_log(logger is not None)


def stop() -> None:
    """Ends the thread before the interpreter exits, which would cut its wait off."""
    if _thread is not None and _started_in == os.getpid():
        _native.listen_to_log(False)
        _native.stop_notices()
        _thread.join(timeout=1.0)  # limited, because a callback may hang
