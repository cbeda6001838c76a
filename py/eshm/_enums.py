# SPDX-License-Identifier: MIT
"""The enums of eshm_data.h, with the names there less the prefix."""

from enum import IntEnum, IntFlag


class ESHMRole(IntEnum):
    MASTER = 0
    SLAVE = 1
    AUTO = 2
    OBSERVER = 3


class ESHMDisconnectBehavior(IntEnum):
    """What a slave does when it has lost its master."""

    IMMEDIATELY = 0
    ON_TIMEOUT = 1
    NEVER = 2


class ESHMError(IntEnum):
    SUCCESS = 0
    INVALID_PARAM = -1
    SHM_CREATE = -2
    SHM_ATTACH = -3
    SHM_DETACH = -4
    SHM_DELETE = -5
    MUTEX_INIT = -6
    MUTEX_LOCK = -7
    MUTEX_UNLOCK = -8
    NO_DATA = -9
    TIMEOUT = -10
    MASTER_STALE = -11
    BUFFER_FULL = -12
    BUFFER_TOO_SMALL = -13
    NOT_INITIALIZED = -14
    ROLE_MISMATCH = -15
    CORRUPT = -16
    SUPERSEDED = -17
    INTERRUPTED = -18
    TYPE_MISMATCH = -19
    PERMISSION = -20
    UNSUPPORTED = -21


class Backend(IntEnum):
    """Where the bytes of the messages are."""

    POSIX = 0
    SYSV = 1


class Delivery(IntEnum):
    """What happens to an unread message when the next one is written."""

    LATEST = 0
    QUEUE = 1


class Unread(IntEnum):
    """What becomes of unread queue messages that do not fit a new master's configuration."""

    KEEP = 0
    DROP = 1


class PeerState(IntEnum):
    NEVER_SEEN = 0
    ALIVE = 1
    STALE = 2
    DEAD = 3
    LEFT = 4


class Event(IntEnum):
    CONNECTED = 0
    STALE = 1
    ALIVE = 2
    DEAD = 3
    LEFT = 4
    RECONNECTED = 5
    SUPERSEDED = 6
    GAVE_UP = 7
    RENEWED = 8


class Flag(IntFlag):
    TIMESTAMPS = 1
    ALIGN_PAYLOAD = 2
    LOCK_MEMORY = 4
    PREFAULT = 8
    HUGE_PAGES = 16
    NO_UPKEEP_IN_CALLS = 32
