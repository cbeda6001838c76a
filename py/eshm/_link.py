# SPDX-License-Identifier: MIT
"""ESHM: one end of a link."""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Callable,
    Dict,
    Iterator,
    Optional,
    Sequence,
)

from . import _native
from ._defaults import CHANNEL, LINK
from ._enums import (
    Backend,
    Delivery,
    ESHMDisconnectBehavior,
    ESHMRole,
    Event,
    PeerState,
)
from ._errors import Closed

if TYPE_CHECKING:
    from ._aio import Waiters


class Channel:
    """One direction of a link, as the process that creates the segment wants it.

    max_message_size: in bytes; the default is the record's size, or MAX_DATA_SIZE
    for a channel without a type.
    type: a numpy dtype, a ctypes.Structure, a dataclass of plain numbers, or a
    RecordType made from one; a process with another type is then refused.
    """

    __slots__ = (
        "delivery",
        "max_message_size",
        "queue_capacity",
        "max_borrows",
        "max_loans",
        "type",
    )

    def __init__(
        self,
        delivery: Delivery = Delivery(CHANNEL["delivery"]),
        max_message_size: Optional[int] = None,
        queue_capacity: int = CHANNEL["queue_capacity"],
        max_borrows: int = CHANNEL["max_borrows"],
        max_loans: int = CHANNEL["max_loans"],
        type: Any = None,
    ) -> None:
        if type is not None:
            from ._records import RecordType

            type = RecordType.of(type)
        if max_message_size is None:
            max_message_size = CHANNEL["max_message_size"] if type is None else type.size
        self.delivery = delivery
        self.max_message_size = max_message_size
        self.queue_capacity = queue_capacity
        self.max_borrows = max_borrows
        self.max_loans = max_loans
        self.type = type

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Channel({', '.join(fields)})"

    def _as_tuple(self) -> tuple[object, ...]:
        text = None if self.type is None else (self.type.text, self.type.fingerprint)
        return (
            int(self.delivery),
            self.max_message_size,
            self.queue_capacity,
            self.max_borrows,
            self.max_loans,
            text,
        )


_DEFAULT_CHANNEL = Channel()


class ESHM(_native.Link):
    """One end of a link; the other is in another process, in C, C++ or Python.

    A context manager. Any number of threads may use it. After a fork the
    child's calls raise Closed; the child must open its own link.
    """

    # m2s and s2m are what this process asked for; an existing segment may differ.
    __slots__ = ("name", "m2s", "s2m", "_waiters")

    def __init__(
        self,
        shm_name: str,
        role: ESHMRole = ESHMRole(LINK["role"]),
        disconnect_behavior: ESHMDisconnectBehavior = ESHMDisconnectBehavior(
            LINK["disconnect_behavior"]
        ),
        stale_threshold_ms: int = LINK["stale_threshold_ms"],
        reconnect_wait_ms: int = LINK["reconnect_wait_ms"],
        reconnect_retry_interval_ms: int = LINK["reconnect_retry_interval_ms"],
        max_reconnect_attempts: int = LINK["max_reconnect_attempts"],
        auto_cleanup: bool = LINK["auto_cleanup"],
        use_threads: bool = LINK["use_threads"],
        *,
        backend: Backend = Backend(LINK["backend"]),
        m2s: Optional[Channel] = None,
        s2m: Optional[Channel] = None,
        spin_us: int = LINK["spin_us"],
        permissions: int = LINK["permissions"],
        flags: int = LINK["flags"],
        thread_cpus: Optional[str] = LINK["thread_cpus"],
        thread_policy: int = LINK["thread_policy"],
        thread_priority: int = LINK["thread_priority"],
    ) -> None:
        self.name = shm_name
        self.m2s = m2s or _DEFAULT_CHANNEL
        self.s2m = s2m or _DEFAULT_CHANNEL
        self._waiters: Optional[Waiters] = None  # tasks that wait in asyncio
        super().__init__(
            shm_name,
            role,
            disconnect_behavior,
            stale_threshold_ms,
            reconnect_wait_ms,
            reconnect_retry_interval_ms,
            max_reconnect_attempts,
            auto_cleanup,
            use_threads,
            backend,
            self.m2s._as_tuple(),
            self.s2m._as_tuple(),
            spin_us,
            permissions,
            flags,
            thread_cpus,
            thread_policy,
            thread_priority,
        )

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.get_role().name
        return f"<ESHM {self.name!r} {state}>"

    def get_role(self) -> ESHMRole:
        """MASTER, SLAVE or OBSERVER; never AUTO."""
        return ESHMRole(super().get_role())

    def get_remote_state(self) -> PeerState:
        """The peer's state: never seen, alive, stale, dead or left."""
        return PeerState(super().get_remote_state())

    def get_stats_ex(self) -> Dict[str, int]:
        """ESHMStatsEx as a dict: more than get_stats, whose keys are frozen."""
        stats = super().get_stats_ex()
        stats["peer_state"] = PeerState(stats["peer_state"])
        return stats

    def on_event(self, callback: Optional[Callable[[ESHM, Event], object]]) -> None:
        """Calls callback(link, event) on a thread of the package; None removes it."""
        from ._notices import set_callback

        set_callback(self, callback)

    def __iter__(self) -> Iterator[bytes]:
        """The messages as they arrive, until this process closes the link."""
        while True:
            try:
                data = self.read_msg(-1).data
            except Closed:
                return
            yield data

    async def read_async(self, timeout_ms: Optional[int] = None) -> bytes:
        """As read_msg(timeout_ms).data in asyncio; None waits without limit."""
        from . import _aio

        return await _aio.read(self, timeout_ms)

    async def messages(self) -> AsyncIterator[bytes]:
        """The messages as they arrive, in asyncio, until this process closes the link."""
        from . import _aio

        while True:
            try:
                data = await _aio.read(self, None)
            except Closed:
                return
            yield data


def wait_any(links: Sequence[ESHM], timeout_ms: Optional[int] = None) -> int:
    """The index of a link with a message to read; None waits 1000 ms, -1 without limit."""
    return _native.wait_any(links, timeout_ms)
