"""One exception for each thing that a program may want to tell apart.

All have `code`, an ESHMError, and their text is the library's sentence: which
segment, whose PID, what was expected and what was found. A time-out is a
TimeoutError, everything else a RuntimeError.
"""

from __future__ import annotations

from ._enums import ESHMError


class _Coded(Exception):
    """What both families share: pickled with its code, as multiprocessing does."""

    code: ESHMError

    def __init__(self, text: str, code: int = ESHMError.INVALID_PARAM) -> None:
        super().__init__(text)
        self.code = ESHMError(code)

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (str(self), int(self.code))


class Error(_Coded, RuntimeError):
    """Base of all but the time-outs."""


class Timeout(_Coded, TimeoutError):
    """Nothing came in time; or a write while the master is away."""


class NoData(Timeout):
    """Nothing unread, and the call was not to wait."""


class InvalidParameter(Error, ValueError):
    """An argument that cannot be."""


class SegmentError(Error):
    """The segment could not be created, attached, detached or removed."""


class PeerGone(Error):
    """The master is gone and the retry policy is spent."""


class QueueFull(Error):
    """The queue has no room now."""


class MessageTooLarge(Error):
    """Larger than the channel's messages, or than the buffer: then it is kept."""


class Closed(Error):
    """The link is closed, or belongs to the process that this one was forked from."""


class RoleTaken(Error):
    """Another process has the role; the text names its PID."""


class Corrupt(Error):
    """The segment holds what no healthy peer writes."""


class Superseded(Error):
    """Another process has taken this one's role over."""


class Interrupted(Error):
    """The wait was ended from outside."""


class TypeMismatch(Error):
    """The two ends speak of different message types."""


class PermissionDenied(Error):
    """Owner or mode forbid it."""


class Unsupported(Error):
    """This release, kernel or handle cannot do it."""


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
