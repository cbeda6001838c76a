"""Reading in asyncio, by the descriptor that the library gives."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Optional

from ._errors import NoData, Timeout

if TYPE_CHECKING:
    from ._link import ESHM

# The descriptor tells of messages. That a retry policy is spent, or that the
# link was closed here, is seen at the next look.
_LOOK_EVERY_S = 0.1


class _Waiters:
    """Who waits for one link in one loop; a loop takes one reader a descriptor."""

    def __init__(self, link: ESHM, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # Its own copy: the link's number may be another file's after a close.
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
        # Level-triggered: without this it would be called again before they have read.
        self.loop.remove_reader(self._fd)
        woken, self._futures = self._futures, set()
        for future in woken:
            if not future.done():
                future.set_result(None)


async def read(link: ESHM, timeout_ms: Optional[int]) -> bytes:
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
            link._waiters = _Waiters(link, loop)
        rest = deadline - loop.time() if limited else _LOOK_EVERY_S
        await link._waiters.wait(max(0.0, min(rest, _LOOK_EVERY_S)))
