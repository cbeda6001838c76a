# SPDX-License-Identifier: MIT
"""Links in asyncio: opening, writing, and reading by the descriptor of eshm_get_fd."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any, Dict, Optional, Protocol, Tuple, Type, TypeVar

from ._arguments import whole
from ._errors import NoData, QueueFull, Timeout
from ._native import Link, Message

# The descriptor polls readable when a message arrives. The end of a retry policy
# and a close in this process are noticed at the next check.
_CHECK_INTERVAL_S = 0.1
# No descriptor tells of room in a queue: a write looks again, ever later.
_SHORTEST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.01

_Link = TypeVar("_Link", bound=Link)


class AsyncLink(Protocol):
    """The part of ESHM that this module uses; ESHM itself is in a higher module."""

    _waiters: Optional[Waiters]

    def fileno(self) -> int: ...

    def read_msg(self, timeout_ms: Optional[int] = None) -> Message: ...


class Waiters:
    """The tasks of one event loop that wait for one link.

    They share one reader, since a loop takes only one for each descriptor.
    """

    def __init__(self, link: AsyncLink, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # A duplicate, since another file may get the link's number after a close.
        self._fd = os.dup(link.fileno())
        self._futures: set[asyncio.Future[None]] = set()

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    async def wait(self, seconds: float) -> None:
        future = self.loop.create_future()
        if not self._futures:
            self.loop.add_reader(self._fd, self._wake)
        self._futures.add(future)
        try:
            await asyncio.wait((future,), timeout=seconds)
        finally:
            self._futures.discard(future)
            if not self._futures:
                self.loop.remove_reader(self._fd)

    def _wake(self) -> None:
        # The loop polls level-triggered: it would call this again until a task has read.
        self.loop.remove_reader(self._fd)
        woken, self._futures = self._futures, set()
        for future in woken:
            if not future.done():
                future.set_result(None)


def _deadline(loop: asyncio.AbstractEventLoop, timeout_ms: Optional[int]) -> Tuple[bool, float]:
    """Whether there is one, and when, on the loop's clock."""
    if timeout_ms is None:
        return False, 0.0
    wait_ms = whole("timeout_ms", timeout_ms, "milliseconds or -1 (no limit)", 2**32 - 2, -1)
    return wait_ms >= 0, loop.time() + wait_ms / 1000


async def read(link: AsyncLink, timeout_ms: Optional[int]) -> bytes:
    """The next message's bytes; None and -1 wait without limit."""
    loop = asyncio.get_running_loop()
    limited, deadline = _deadline(loop, timeout_ms)
    while True:
        try:
            return link.read_msg(0).data
        except NoData as nothing:
            if limited and loop.time() >= deadline:
                raise Timeout(f"nothing came in {timeout_ms} ms", -10) from nothing
        if link._waiters is None or link._waiters.loop is not loop:
            link._waiters = Waiters(link, loop)
        remaining = deadline - loop.time() if limited else _CHECK_INTERVAL_S
        await link._waiters.wait(max(0.0, min(remaining, _CHECK_INTERVAL_S)))


async def write(link: Link, data: Any, timeout_ms: Optional[int]) -> None:
    """Publishes a message; waits for room in a queue, None and -1 without limit."""
    loop = asyncio.get_running_loop()
    limited, deadline = _deadline(loop, timeout_ms)
    pause = _SHORTEST_PAUSE_S
    while True:
        try:
            return link.write(data, 0)
        except QueueFull as full:
            if limited and loop.time() >= deadline:
                raise Timeout(f"the queue was full for {timeout_ms} ms", -10) from full
        await asyncio.sleep(min(pause, deadline - loop.time()) if limited else pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


async def open_link(cls: Type[_Link], args: Tuple[Any, ...], options: Dict[str, Any]) -> _Link:
    """Opens a link on a thread of its own, which may wait for a master for ever."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[None] = loop.create_future()
    link = cls.__new__(cls)

    def settle(error: Optional[BaseException]) -> None:
        if opened.done():
            return
        if error is None:
            opened.set_result(None)
        else:
            opened.set_exception(error)

    def run() -> None:
        error = None
        try:
            link.__init__(*args, **options)  # type: ignore[misc]
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, error)
        except RuntimeError:  # the loop is closed
            Link.close(link)

    threading.Thread(target=run, name="eshm-open", daemon=True).start()
    try:
        await opened
    except asyncio.CancelledError:
        Link.close(link)
        raise
    return link
