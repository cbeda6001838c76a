# SPDX-License-Identifier: MIT
"""ESHM: two processes on one host, linked through shared memory.

with eshm.ESHM("cam0") as link:
    link.write(b"hello")
    print(link.read())
"""

from __future__ import annotations

import atexit as _atexit
from typing import TYPE_CHECKING, Any, List, Optional

from . import _native
from ._enums import (
    Backend,
    Delivery,
    ESHMDisconnectBehavior,
    ESHMError,
    ESHMRole,
    Event,
    Flag,
    PeerState,
    Unread,
)
from ._errors import (
    Closed,
    Corrupt,
    Error,
    Interrupted,
    InvalidParameter,
    MessageTooLarge,
    NoData,
    PeerGone,
    PermissionDenied,
    QueueFull,
    RoleTaken,
    SegmentError,
    Superseded,
    Timeout,
    TypeMismatch,
    Unsupported,
    make_error as _make_error,
)
from ._link import ESHM, Channel, wait_any
from ._links import list_links, remove_link
from ._native import MAX_DATA_SIZE, SPIN_ADAPTIVE, Borrow, Loan, Message

if TYPE_CHECKING:
    import logging

    from ._records import RecordType
    from .typed import Receiver, Sender

__all__ = [
    "ESHM",
    "ESHMDisconnectBehavior",
    "ESHMError",
    "ESHMRole",
    "Backend",
    "Borrow",
    "Channel",
    "Closed",
    "Corrupt",
    "Delivery",
    "Error",
    "Event",
    "Flag",
    "Interrupted",
    "InvalidParameter",
    "Loan",
    "MAX_DATA_SIZE",
    "Message",
    "MessageTooLarge",
    "NoData",
    "PeerGone",
    "PeerState",
    "PermissionDenied",
    "QueueFull",
    "Receiver",
    "RecordType",
    "RoleTaken",
    "SPIN_ADAPTIVE",
    "SegmentError",
    "Sender",
    "Superseded",
    "Timeout",
    "TypeMismatch",
    "Unread",
    "Unsupported",
    "enable_logging",
    "error_string",
    "list_links",
    "remove_link",
    "wait_any",
]

__version__ = _native.version()

_native.set_error_factory(_make_error)


def enable_logging(logger: Optional[logging.Logger] = None) -> None:
    """Sends the library's log lines to this logger; default: the one named "eshm"."""
    import logging

    from . import _notices

    _notices.set_logger(logger or logging.getLogger("eshm"))


def error_string(code: int) -> str:
    """A short text for an error code."""
    return _native.error_string(code)


def __getattr__(name: str) -> Any:
    # Imported on first use: a program that sends bytes does not pay for records.
    if name in ("Sender", "Receiver", "RecordType"):
        from . import typed

        return getattr(typed, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> List[str]:
    return sorted([*__all__, "__all__", "__doc__", "__file__", "__name__", "__version__"])


def _at_exit() -> None:
    _native.close_all()
    import sys

    notices = sys.modules.get(__name__ + "._notices")
    if notices is not None:
        notices.stop()


_atexit.register(_at_exit)
