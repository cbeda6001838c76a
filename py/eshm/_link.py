# SPDX-License-Identifier: MIT
"""ESHM: one end of a link."""

from __future__ import annotations

import sys
import weakref
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Callable,
    Dict,
    Iterator,
    Optional,
    Sequence,
    Type,
    TypeVar,
    Union,
)

from . import _native
from ._arguments import member, refuse, switch, text, whole
from ._defaults import CHANNEL, LINK
from ._enums import (
    Backend,
    Delivery,
    ESHMDisconnectBehavior,
    ESHMRole,
    Event,
    PeerState,
    Unread,
)
from ._errors import Closed, Error

if TYPE_CHECKING:
    from ._aio import Waiters
    from ._records import RecordType

_Link = TypeVar("_Link", bound="ESHM")


class Channel:
    """One direction of a link, as the process that creates the segment wants it.

    delivery: Delivery.LATEST (the newest value wins) or QUEUE (every message), or its name.
    max_message_size: in bytes, 1 to 2**31 - 1; the default is the record's size, or
    MAX_DATA_SIZE for a channel without a type.
    queue_capacity: of a queue, in bytes.
    max_borrows, max_loans: how many messages may be borrowed, or loaned, at once, 0 to 120.
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
        delivery: Union[Delivery, str] = Delivery(CHANNEL["delivery"]),
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
        self.delivery = member("delivery", Delivery, delivery)
        self.max_message_size = whole("max_message_size", max_message_size, "bytes", 2**31 - 1, 1)
        self.queue_capacity = whole("queue_capacity", queue_capacity, "bytes", 2**63 - 1)
        self.max_borrows = whole("max_borrows", max_borrows, "messages", 120)
        self.max_loans = whole("max_loans", max_loans, "messages", 120)
        self.type: Optional[RecordType] = type

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

# By name: the links of this process that AUTO would find as masters.
_masters: weakref.WeakValueDictionary[str, ESHM] = weakref.WeakValueDictionary()


def _plain_name(name: str) -> str:
    return name[1:] if name.startswith("/") else name


def _channel(name: str, value: Any) -> Channel:
    if value is None:
        return _DEFAULT_CHANNEL
    if not isinstance(value, Channel):
        refuse(name, "a Channel or None", value)
    return value


class ESHM(_native.Link):
    """One end of a link; the other is in another process, in C, C++ or Python.

    A context manager. Any number of threads may use it. After a fork the
    child's calls raise Closed; the child must open its own link. A link that
    nothing refers to any more is closed when it is collected.

    shm_name: 1 to 200 bytes.
    role: ESHMRole, or its name: "AUTO" is master if there is none, else slave.
    disconnect_behavior: what a slave does that has lost its master.
    stale_threshold_ms: a peer whose heartbeat stops for this time is stale.
    reconnect_wait_ms, reconnect_retry_interval_ms, max_reconnect_attempts: how long, how
    often and how many times a slave tries to reach its master; 0: no limit (not of the
    interval).
    auto_cleanup: a master removes the segment's name when it closes.
    use_threads: False: no thread; the link's calls do its work.
    backend: where the messages are. m2s, s2m: the Channel from master to slave, and back.
    spin_us: microseconds that a wait polls before it sleeps; SPIN_ADAPTIVE: while it pays.
    permissions: mode of the segment. flags: members of Flag.
    unread_policy: what a master does with the former processes' unread queue messages that
    do not fit: Unread.KEEP: SegmentError, and they stay; Unread.DROP: it drops them.
    thread_cpus, thread_policy, thread_priority: of the library's threads; CPUs as "2,4-7".
    Raises RoleTaken, Timeout (no master), TypeMismatch, PermissionDenied, SegmentError,
    InvalidParameter, TypeError.
    """

    __slots__ = ("name", "_m2s", "_s2m", "_waiters", "_callback")

    def __init__(
        self,
        shm_name: str,
        role: Union[ESHMRole, str] = ESHMRole(LINK["role"]),
        disconnect_behavior: Union[ESHMDisconnectBehavior, str] = ESHMDisconnectBehavior(
            LINK["disconnect_behavior"]
        ),
        stale_threshold_ms: int = LINK["stale_threshold_ms"],
        reconnect_wait_ms: int = LINK["reconnect_wait_ms"],
        reconnect_retry_interval_ms: int = LINK["reconnect_retry_interval_ms"],
        max_reconnect_attempts: int = LINK["max_reconnect_attempts"],
        auto_cleanup: bool = LINK["auto_cleanup"],
        use_threads: bool = LINK["use_threads"],
        *,
        backend: Union[Backend, str] = Backend(LINK["backend"]),
        m2s: Optional[Channel] = None,
        s2m: Optional[Channel] = None,
        spin_us: int = LINK["spin_us"],
        permissions: int = LINK["permissions"],
        flags: int = LINK["flags"],
        unread_policy: Union[Unread, str] = Unread(LINK["unread_policy"]),
        thread_cpus: Optional[str] = LINK["thread_cpus"],
        thread_policy: int = LINK["thread_policy"],
        thread_priority: int = LINK["thread_priority"],
    ) -> None:
        self.name = text("shm_name", shm_name)
        self._m2s = _channel("m2s", m2s)
        self._s2m = _channel("s2m", s2m)
        self._waiters: Optional[Waiters] = None  # tasks that wait in asyncio
        # Kept here, so that the collector sees a callback that refers to the link.
        self._callback: Optional[Callable[[Any, Event], object]] = None
        role = member("role", ESHMRole, role)
        if role is ESHMRole.AUTO and hasattr(sys, "ps1"):  # a notebook, or another session
            self._warn_of_own_master()
        super().__init__(
            shm_name,
            role,
            member("disconnect_behavior", ESHMDisconnectBehavior, disconnect_behavior),
            whole("stale_threshold_ms", stale_threshold_ms, "milliseconds"),
            whole("reconnect_wait_ms", reconnect_wait_ms, "milliseconds"),
            whole("reconnect_retry_interval_ms", reconnect_retry_interval_ms, "milliseconds"),
            whole("max_reconnect_attempts", max_reconnect_attempts, "attempts"),
            switch("auto_cleanup", auto_cleanup),
            switch("use_threads", use_threads),
            member("backend", Backend, backend),
            self._m2s._as_tuple(),
            self._s2m._as_tuple(),
            whole("spin_us", spin_us, "microseconds"),
            whole("permissions", permissions, "a mode as 0o600", 0o7777),
            whole("flags", flags, "members of Flag"),
            member("unread_policy", Unread, unread_policy),
            None if thread_cpus is None else text("thread_cpus", thread_cpus),
            whole("thread_policy", thread_policy, "os.SCHED_OTHER, SCHED_FIFO or SCHED_RR", 99),
            whole("thread_priority", thread_priority, "a priority", 99),
        )
        if super().get_role() == ESHMRole.MASTER:
            _masters[_plain_name(self.name)] = self

    def _warn_of_own_master(self) -> None:
        """A notebook's cell that runs again finds, as its master, what it opened before."""
        master = _masters.get(_plain_name(self.name))
        if master is None or master.closed:
            return
        import warnings

        warnings.warn(
            f"this process has the master of {self.name!r} open, so AUTO makes this link its "
            "slave. close() the other one first; or say role=ESHMRole.SLAVE if both are wanted",
            RuntimeWarning,
            stacklevel=3,
        )

    @classmethod
    async def open_async(cls: Type[_Link], *args: Any, **options: Any) -> _Link:
        """As ESHM(...), without blocking the event loop while a slave waits for its master.

        Cancelling it ends the wait, within 50 ms.
        """
        from . import _aio

        return await _aio.open_link(cls, args, options)

    def close(self) -> None:
        """Leaves the link, and forgets its callback.

        Waits of other threads end with eshm.Closed. Arrays of borrowed messages keep the
        memory, and the role, until the last one is deleted.
        """
        try:
            super().close()
        finally:
            self._callback = None
            self._waiters = None

    def __exit__(self, *args: object) -> None:
        self.close()

    @property
    def m2s(self) -> Channel:
        """The channel from master to slave, as the process that created the segment chose it."""
        return self._actual(0, self._m2s)

    @property
    def s2m(self) -> Channel:
        """The channel from slave to master, as the process that created the segment chose it."""
        return self._actual(1, self._s2m)

    def _actual(self, direction: int, asked: Channel) -> Channel:
        try:
            shape = self._get_channel(direction)
        except Error:  # closed
            shape = None
        if shape is None:
            return asked
        delivery, size, capacity, borrows, loans, _ = shape
        is_queue = delivery == Delivery.QUEUE
        actual = Channel(
            Delivery(delivery), size, capacity if is_queue else asked.queue_capacity, borrows, loans
        )
        actual.type = asked.type
        return actual

    def __repr__(self) -> str:
        try:
            role = self.get_role()
            stats = self.get_stats_ex()
        except Error:
            return f"<ESHM {self.name!r} closed>"
        peer = "master" if role == ESHMRole.OBSERVER else "peer"
        sizes = f"reads up to {stats['max_read_size']} bytes"
        if role != ESHMRole.OBSERVER:
            sizes = f"writes up to {stats['max_write_size']} bytes, {sizes}"
        state = PeerState(stats["peer_state"]).name
        return f"<ESHM {self.name!r} {role.name}, {peer} {state}, {sizes}>"

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
        """Calls callback(link, event) on a thread of the package; None removes it.

        The link keeps the callback until it is closed or collected.
        """
        if callback is not None and not callable(callback):
            refuse("callback", "a callable of (link, event), or None", callback)
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

    async def write_async(self, data: Any, timeout_ms: Optional[int] = None) -> None:
        """As write in asyncio: waits for room in a queue; None waits without limit."""
        from . import _aio

        await _aio.write(self, data, timeout_ms)

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
    """The index of a link with a message to read; None waits 1000 ms, -1 without limit.

    Raises Timeout; TypeError for what is no ESHM.
    """
    return _native.wait_any(links, timeout_ms)
