# SPDX-License-Identifier: MIT
"""Sender and Receiver: records instead of bytes."""

from __future__ import annotations

from typing import Any, Iterator, Optional, Union

from ._defaults import CHANNEL
from ._enums import Delivery, ESHMRole
from ._errors import Closed, TypeMismatch
from ._link import ESHM, Channel
from ._records import RecordType, fingerprint_of


class _End:
    """A link with the record type of one of its directions."""

    _writes: bool

    def __init__(
        self,
        link: Union[str, ESHM],
        type: Any,
        role: Optional[ESHMRole] = None,
        *,
        delivery: Delivery = Delivery(CHANNEL["delivery"]),
        **options: Any,
    ) -> None:
        self.type = RecordType.of(type)
        if isinstance(link, ESHM):
            if role is not None or options:
                raise TypeError("a link that is open has its options already")
            self._check(link)
            self.link = link
            return
        # By default the sender is the master, which can send before a receiver exists.
        role = (ESHMRole.MASTER if self._writes else ESHMRole.SLAVE) if role is None else role
        if role not in (ESHMRole.MASTER, ESHMRole.SLAVE):
            raise ValueError("which direction is typed depends on the role: MASTER or SLAVE")
        direction = "m2s" if self._writes == (role == ESHMRole.MASTER) else "s2m"
        options[direction] = Channel(delivery, type=self.type)
        self.link = ESHM(link, role, **options)

    def _check(self, link: ESHM) -> None:
        is_master = link.get_role() == ESHMRole.MASTER
        channel = link.m2s if self._writes == is_master else link.s2m
        if channel.type is not None and channel.type.fingerprint != self.type.fingerprint:
            raise TypeMismatch(
                f"the link was opened for {channel.type.text}, not {self.type.text}", -19
            )

    def close(self) -> None:
        self.link.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


class Sender(_End):
    """Sends records."""

    _writes = True

    def send(self, value: Any, timeout_ms: int = 0) -> None:
        self.link.write(self.type.pack(value), timeout_ms)


class Receiver(_End):
    """Receives records; iterating gives them one after the other."""

    _writes = False

    def receive(self, timeout_ms: Optional[int] = None) -> Any:
        data = self.link.read_msg(timeout_ms).data
        return self._unpack(data, len(data))

    def try_receive(self) -> Any:
        """As receive, without waiting; None if there is no unread record."""
        data = self.link.try_read(self.type.size)
        return None if data is None else self._unpack(data, len(data))

    def view(self, timeout_ms: Optional[int] = None) -> Any:
        """numpy types: the array in the segment, read-only, without a copy. The
        message stays in place while the array, or one made from it, exists."""
        borrowed = self.link.borrow(timeout_ms)
        return self._unpack(borrowed, borrowed.size)

    async def receive_async(self, timeout_ms: Optional[int] = None) -> Any:
        data = await self.link.read_async(timeout_ms)
        return self._unpack(data, len(data))

    def _unpack(self, data: Any, size: int) -> Any:
        if size != self.type.size:
            raise TypeMismatch(
                f"a message of {size} bytes came, {self.type.text} has {self.type.size}", -19
            )
        return self.type.unpack(data)

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                value = self.receive(-1)
            except Closed:
                return
            yield value


__all__ = ["Receiver", "RecordType", "Sender", "fingerprint_of"]
