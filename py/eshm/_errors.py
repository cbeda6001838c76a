# SPDX-License-Identifier: MIT
"""One exception for each failure that a program may want to handle separately.

Each has `code`, an ESHMError. Its text is the library's message: the segment, the
other process's PID, what was expected and what was found. A time-out is a
TimeoutError, every other failure a RuntimeError.
"""

from __future__ import annotations

from ._enums import ESHMError


class _Coded(Exception):
    """Base of all: keeps `code`, also when it is pickled, as multiprocessing does."""

    code: ESHMError

    def __init__(self, text: str, code: int = ESHMError.INVALID_PARAM) -> None:
        super().__init__(text)
        self.code = ESHMError(code)

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (str(self), int(self.code))


class Error(_Coded, RuntimeError):
    """Base of all except the time-outs."""


class Timeout(_Coded, TimeoutError):
    """No message came in time, or a write found the master gone."""


class NoData(Timeout):
    """There is no unread message, and the call does not wait."""


class InvalidParameter(Error, ValueError):
    """An argument is out of range or does not fit the others."""


class SegmentError(Error):
    """The segment could not be created, attached, detached or removed."""


class PeerGone(Error):
    """The master is gone and the retry policy is spent."""


class QueueFull(Error):
    """The queue has no room for the message."""


class MessageTooLarge(Error):
    """A message exceeds the channel's limit, or the buffer: then it stays unread."""


class Closed(Error):
    """The link is closed, or belongs to the process that this one was forked from."""


class RoleTaken(Error):
    """Another process has the role; the text names its PID."""


class Corrupt(Error):
    """The segment holds bytes that no healthy process writes."""


class Superseded(Error):
    """Another process has taken over this one's role."""


class Interrupted(Error):
    """The wait was interrupted."""


class TypeMismatch(Error):
    """The two ends use different message types."""


class PermissionDenied(Error):
    """The segment's owner or mode forbids it."""


class Unsupported(Error):
    """This release, kernel or link does not support the call."""


_BY_CODE: dict[int, type[Error] | type[Timeout]] = {
    ESHMError.INVALID_PARAM: InvalidParameter,
    ESHMError.SHM_CREATE: SegmentError,
    ESHMError.SHM_ATTACH: SegmentError,
    ESHMError.SHM_DETACH: SegmentError,
    ESHMError.SHM_DELETE: SegmentError,
    ESHMError.NO_DATA: NoData,
    ESHMError.TIMEOUT: Timeout,
    ESHMError.MASTER_STALE: PeerGone,
    ESHMError.BUFFER_FULL: QueueFull,
    ESHMError.BUFFER_TOO_SMALL: MessageTooLarge,
    ESHMError.NOT_INITIALIZED: Closed,
    ESHMError.ROLE_MISMATCH: RoleTaken,
    ESHMError.CORRUPT: Corrupt,
    ESHMError.SUPERSEDED: Superseded,
    ESHMError.INTERRUPTED: Interrupted,
    ESHMError.TYPE_MISMATCH: TypeMismatch,
    ESHMError.PERMISSION: PermissionDenied,
    ESHMError.UNSUPPORTED: Unsupported,
}


def make_error(code: int, text: str) -> Error | Timeout:
    return _BY_CODE.get(code, Error)(text, code)
