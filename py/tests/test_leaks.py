"""No call leaks: neither references nor memory nor descriptors."""

import gc
import os
import sys
import tracemalloc

import eshm
import pytest
from eshm import ESHM, ESHMRole

CALLS = int(os.environ.get("ESHM_LEAK_CALLS", 100_000))


def grown_by(call, count):
    """Python memory blocks left behind by `count` calls."""
    for _ in range(100):
        call()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(count):
        call()
    gc.collect()
    return sys.getallocatedblocks() - before


def fail_softly(call):
    def attempt():
        try:
            call()
        except (eshm.Error, eshm.Timeout, TypeError, ValueError):
            pass

    return attempt


def calls_of(master, slave):
    room = bytearray(64)

    def exchange(read):
        def both():
            master.write(b"x" * 64)
            read()

        return both

    too_large = b"x" * 5000
    return {
        "write": lambda: master.write(b"x" * 64),
        "write a buffer": lambda: master.write(room),
        "write too much": fail_softly(lambda: master.write(too_large)),
        "write no buffer": fail_softly(lambda: master.write("text")),
        "read": exchange(slave.read),
        "try_read": exchange(slave.try_read),
        "try_read nothing": master.try_read,
        "read_msg": exchange(slave.read_msg),
        "read_into": exchange(lambda: slave.read_into(room)),
        "read nothing": fail_softly(lambda: master.read(timeout_ms=0)),
        "read too little": exchange(fail_softly(lambda: slave.read(1))),
        "wrong arguments": fail_softly(lambda: slave.read(nonsense=1)),
        "get_stats": master.get_stats,
        "get_stats_ex": master.get_stats_ex,
        "get_role": master.get_role,
        "is_remote_alive": master.is_remote_alive,
        "get_remote_state": master.get_remote_state,
        "update_heartbeat": master.update_heartbeat,
        "repr": lambda: repr(master),
        "enter": master.__enter__,
        "reduce": fail_softly(lambda: master.__reduce__()),
        "error_string": lambda: eshm.error_string(-1),
    }


@pytest.mark.parametrize(
    "call",
    [
        "write",
        "write a buffer",
        "write too much",
        "write no buffer",
        "read",
        "try_read",
        "try_read nothing",
        "read_msg",
        "read_into",
        "read nothing",
        "read too little",
        "wrong arguments",
        "get_stats",
        "get_stats_ex",
        "get_role",
        "is_remote_alive",
        "get_remote_state",
        "update_heartbeat",
        "repr",
        "enter",
        "reduce",
        "error_string",
    ],
)
def test_a_hundred_thousand_calls_leave_nothing(name, call):
    with ESHM(name, ESHMRole.MASTER, stale_threshold_ms=10_000) as master:
        with ESHM(name, ESHMRole.SLAVE, stale_threshold_ms=10_000) as slave:
            assert grown_by(calls_of(master, slave)[call], CALLS) < 100


def test_opening_and_closing_leaves_nothing(name):
    def once():
        with ESHM(name):
            with ESHM(name):
                pass

    for _ in range(5):
        once()
    descriptors = len(os.listdir("/proc/self/fd"))
    assert grown_by(once, 200) < 100
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_traced_memory_does_not_grow_with_large_messages(name):
    channel = eshm.Channel(max_message_size=1 << 20)
    with ESHM(name, ESHMRole.MASTER, m2s=channel, stale_threshold_ms=10_000) as master:
        with ESHM(name, ESHMRole.SLAVE, stale_threshold_ms=10_000) as slave:
            data = b"x" * (1 << 20)
            tracemalloc.start()
            for _ in range(50):
                master.write(data)
                assert len(slave.read(1 << 20)) == 1 << 20
            assert tracemalloc.get_traced_memory()[0] < 1 << 20
            tracemalloc.stop()
