# SPDX-License-Identifier: MIT
"""Reading in asyncio, by the descriptor of eshm_get_fd."""

from __future__ import annotations

import asyncio
import os
from typing import Optional, Protocol

from ._errors import NoData, Timeout
from ._native import Message

# The descriptor polls readable when a message arrives. The end of a retry policy
# and a close in this process are noticed at the next check.
_CHECK_INTERVAL_S = 0.1


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


async def read(link: AsyncLink, timeout_ms: Optional[int]) -> bytes:
    """The next message's bytes; None and negative numbers wait without limit."""
    loop = asyncio.get_running_loop()
    limited = timeout_ms is not None and timeout_ms >= 0
    deadline = loop.time() + (timeout_ms or 0) / 1000
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
