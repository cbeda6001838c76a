# SPDX-License-Identifier: MIT
"""Sender and Receiver: records instead of bytes."""

from __future__ import annotations

import time
from typing import Any, Generic, Iterator, Optional, Type, TypeVar, Union, overload

from . import _native
from ._arguments import member, refuse
from ._defaults import CHANNEL
from ._enums import Delivery, ESHMRole
from ._errors import Closed, Timeout, TypeMismatch
from ._link import ESHM, Channel
from ._records import RecordType, fingerprint_of

T = TypeVar("T")
_Record = TypeVar("_Record")
_Self = TypeVar("_Self", bound="_End[Any]")

_MISMATCH = -19


class _End(Generic[T]):
    """A link with the record type of one of its directions."""

    _writes: bool

    def _open(
        self,
        link: Union[str, ESHM],
        type: Any,
        role: Union[ESHMRole, str, None],
        channel: dict[str, Any],
        options: dict[str, Any],
    ) -> None:
        self.type = RecordType.of(type)
        if isinstance(link, ESHM):
            known: dict[str, Any] = {**CHANNEL}
            if role is not None or options or any(channel[name] != known[name] for name in channel):
                raise TypeError("a link that is open has its options already")
            self.link = link
            self._check()
            return
        if not isinstance(link, str):
            refuse("link", "a link's name or an ESHM", link)
        # By default the sender is the master, which can send before a receiver exists.
        role = (
            (ESHMRole.MASTER if self._writes else ESHMRole.SLAVE)
            if role is None
            else member("role", ESHMRole, role)
        )
        if role == ESHMRole.AUTO or (self._writes and role == ESHMRole.OBSERVER):
            raise ValueError(
                "role takes MASTER, SLAVE or (of a Receiver) OBSERVER, not "
                f"{role.name}: it says which direction is typed"
            )
        if role != ESHMRole.OBSERVER:
            direction = "m2s" if self._writes == (role == ESHMRole.MASTER) else "s2m"
            if direction in options:
                raise TypeError(
                    f"{direction} is the direction that is typed: its options are those of "
                    f"{self.__class__.__name__}, as max_borrows="
                )
            options[direction] = Channel(type=self.type, **channel)
        self.link = ESHM(link, role, **options)
        try:
            self._check()
        except TypeMismatch:
            self.link.close()
            raise

    def _check(self) -> None:
        role = self.link.get_role()
        if role == ESHMRole.OBSERVER:
            if self._writes:
                raise ValueError("an observer does not send")
            self._observed(None)
            return
        is_m2s = self._writes == (role == ESHMRole.MASTER)
        channel = self.link.m2s if is_m2s else self.link.s2m
        if channel.type is not None and channel.type.fingerprint != self.type.fingerprint:
            raise TypeMismatch(
                f"the link was opened for {channel.type.text}, not {self.type.text}", _MISMATCH
            )
        shape = self.link._get_channel(0 if is_m2s else 1)
        if shape is not None and shape[-1] not in (0, self.type.fingerprint):
            raise TypeMismatch(
                f"{'m2s' if is_m2s else 's2m'} of {self.link.name!r} carries another type than "
                f"{self.type.text}",
                _MISMATCH,
            )

    def _observed(self, direction: Optional[str]) -> bool:
        """Whether an observer finds this type in the direction; None: in either.

        Raises TypeMismatch if neither direction carries it.
        """
        shapes = [self.link._get_channel(0), self.link._get_channel(1)]
        if None in shapes:  # no segment yet
            return False
        fits = [shape is not None and shape[-1] == self.type.fingerprint for shape in shapes]
        if not any(fits):
            raise TypeMismatch(
                f"neither direction of {self.link.name!r} carries {self.type.text}", _MISMATCH
            )
        return fits[direction == "s2m"]

    def close(self) -> None:
        """Closes the link."""
        self.link.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return self.link.__reduce__()  # refuses, in words

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} of {self.type.text}, {self.link!r}>"


class RecordLoan(Generic[T]):
    """Room for one record in the segment: the end of `with` publishes it.

    An exception discards it. What the room holds at first is not defined.
    """

    def __init__(self, loan: _native.Loan, type: RecordType) -> None:
        self._loan = loan
        self._type = type
        self._room: Optional[memoryview] = None

    @property
    def value(self) -> T:
        """The record in the segment: an array or a ctypes structure, to be written in place.

        Do not keep it: the end raises BufferError and publishes nothing if it still exists.
        It may be set to any value that send() takes. Of a dataclass it can only be set.
        """
        return self._type._codec.view(self._memory())  # type: ignore[no-any-return]

    @value.setter
    def value(self, value: T) -> None:
        self._memory()[:] = memoryview(self._type.pack(value)).cast("B")

    def _memory(self) -> memoryview:
        if self._room is None:
            raise ValueError("a record is loaned inside of `with sender.loan() as loan:`")
        return self._room

    def __enter__(self) -> RecordLoan[T]:
        self._room = self._loan.__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self._room = None
        self._loan.__exit__(*args)

    def __repr__(self) -> str:
        return f"<RecordLoan of {self._type.text}, {self._loan!r}>"


class Sender(_End[T]):
    """Sends records of one type: the master of a link of its own, unless role= says SLAVE.

    link: a name, or an ESHM that is open. type: see RecordType.of.
    delivery, queue_capacity (bytes), max_borrows, max_loans: as those of Channel.
    options: further arguments of ESHM.
    Raises what ESHM and RecordType.of raise; TypeMismatch.
    """

    _writes = True

    @overload
    def __init__(
        self: Sender[_Record],
        link: Union[str, ESHM],
        type: Type[_Record],
        role: Union[ESHMRole, str, None] = None,
        *,
        delivery: Union[Delivery, str] = ...,
        queue_capacity: int = ...,
        max_borrows: int = ...,
        max_loans: int = ...,
        **options: Any,
    ) -> None: ...

    @overload
    def __init__(
        self: Sender[Any],
        link: Union[str, ESHM],
        type: Any,
        role: Union[ESHMRole, str, None] = None,
        *,
        delivery: Union[Delivery, str] = ...,
        queue_capacity: int = ...,
        max_borrows: int = ...,
        max_loans: int = ...,
        **options: Any,
    ) -> None: ...

    def __init__(
        self,
        link: Union[str, ESHM],
        type: Any,
        role: Union[ESHMRole, str, None] = None,
        *,
        delivery: Union[Delivery, str] = Delivery(CHANNEL["delivery"]),
        queue_capacity: int = CHANNEL["queue_capacity"],
        max_borrows: int = CHANNEL["max_borrows"],
        max_loans: int = CHANNEL["max_loans"],
        **options: Any,
    ) -> None:
        channel = {
            "delivery": delivery,
            "queue_capacity": queue_capacity,
            "max_borrows": max_borrows,
            "max_loans": max_loans,
        }
        self._open(link, type, role, channel, options)
        self._write = self.link._write_record
        self._pack = self.type.pack_function

    def send(self, value: T, timeout_ms: int = 0) -> None:
        """Publishes one record, exactly; waits timeout_ms for room in a queue, -1 without limit.

        Fields are matched by name. Raises TypeError, ValueError or OverflowError, which name
        the field, for what the record cannot hold; and what ESHM.write raises.
        """
        self._write(self._pack(value), timeout_ms)

    def loan(self) -> RecordLoan[T]:
        """Room for a record in the segment, as a context manager: see RecordLoan."""
        return RecordLoan(self.link.loan(self.type.size), self.type)


class Receiver(_End[T]):
    """Receives records of one type: the slave of a link of its own, unless role= says else.

    Iterating gives them one after the other. An OBSERVER gets the records of the
    directions that carry the type. Arguments and errors as those of Sender.
    """

    _writes = False

    @overload
    def __init__(
        self: Receiver[_Record],
        link: Union[str, ESHM],
        type: Type[_Record],
        role: Union[ESHMRole, str, None] = None,
        *,
        delivery: Union[Delivery, str] = ...,
        queue_capacity: int = ...,
        max_borrows: int = ...,
        max_loans: int = ...,
        **options: Any,
    ) -> None: ...

    @overload
    def __init__(
        self: Receiver[Any],
        link: Union[str, ESHM],
        type: Any,
        role: Union[ESHMRole, str, None] = None,
        *,
        delivery: Union[Delivery, str] = ...,
        queue_capacity: int = ...,
        max_borrows: int = ...,
        max_loans: int = ...,
        **options: Any,
    ) -> None: ...

    def __init__(
        self,
        link: Union[str, ESHM],
        type: Any,
        role: Union[ESHMRole, str, None] = None,
        *,
        delivery: Union[Delivery, str] = Delivery(CHANNEL["delivery"]),
        queue_capacity: int = CHANNEL["queue_capacity"],
        max_borrows: int = CHANNEL["max_borrows"],
        max_loans: int = CHANNEL["max_loans"],
        **options: Any,
    ) -> None:
        channel = {
            "delivery": delivery,
            "queue_capacity": queue_capacity,
            "max_borrows": max_borrows,
            "max_loans": max_loans,
        }
        self._open(link, type, role, channel, options)
        self._is_observer = self.link.get_role() == ESHMRole.OBSERVER

    def receive(self, timeout_ms: Optional[int] = None) -> T:
        """The newest record not yet received (of a queue: the next).

        timeout_ms: milliseconds; None waits 1000 ms, -1 without limit.
        Raises Timeout; TypeMismatch for a message that is no such record.
        """
        if self._is_observer:
            return self._observe(1000 if timeout_ms is None else timeout_ms)
        data = self.link.read(None, timeout_ms)
        return self._unpack(data, len(data))

    def try_receive(self) -> Optional[T]:
        """As receive, without waiting; None if there is no unread record."""
        if self._is_observer:
            try:
                return self._observe(0)
            except Timeout:
                return None
        data = self.link.try_read()
        return None if data is None else self._unpack(data, len(data))

    def view(self, timeout_ms: Optional[int] = None) -> T:
        """numpy types: the array in the segment, read-only, without a copy.

        The message stays in place while the array, or one made from it, exists. As receive
        otherwise; QueueFull when max_borrows messages are in use.
        """
        borrowed = self.link.borrow(timeout_ms)
        return self._unpack(borrowed, borrowed.size)

    async def receive_async(self, timeout_ms: Optional[int] = None) -> T:
        """As receive in asyncio; None waits without limit."""
        data = await self.link.read_async(timeout_ms)
        return self._unpack(data, len(data))

    def _observe(self, timeout_ms: int) -> T:
        """The next message of a direction that carries the type."""
        deadline = time.monotonic() + timeout_ms / 1000
        remaining = timeout_ms
        while True:
            message = self.link.read_msg(remaining)
            if self._observed(message.direction):
                return self._unpack(message.data, len(message.data))
            if timeout_ms >= 0:
                remaining = max(0, int((deadline - time.monotonic()) * 1000))

    def _unpack(self, data: Any, size: int) -> T:
        if size != self.type.size:
            raise TypeMismatch(
                f"a message of {size} bytes came, {self.type.text} has {self.type.size}", _MISMATCH
            )
        return self.type.unpack(data)  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                value = self.receive(-1)
            except Closed:
                return
            yield value


__all__ = ["Receiver", "RecordLoan", "RecordType", "Sender", "fingerprint_of"]
