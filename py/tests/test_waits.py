# SPDX-License-Identifier: MIT
"""Threads, signals and closing, while something waits."""

import os
import signal
import threading
import time

import eshm
import pytest
from eshm import ESHM, Channel, Delivery, ESHMRole


def in_thread(call):
    """A thread that runs call(); join() gives its result or raises."""

    class Runner(threading.Thread):
        def run(self):
            try:
                self.result = call()
            except BaseException as error:
                self.result = error

        def join(self, timeout=None):
            super().join(timeout)
            if isinstance(self.result, BaseException):
                raise self.result
            return self.result

    runner = Runner()
    runner.start()
    return runner


def until_inside(link):
    """Until another thread waits in the library: it has slept once, or polls."""
    time.sleep(0.05)


@pytest.mark.parametrize(
    "wait",
    [
        lambda link: link.read(timeout_ms=-1),
        lambda link: link.read_msg(-1).data,
        lambda link: next(iter(link)),
    ],
    ids=["read", "read_msg", "iter"],
)
def test_other_threads_run_while_one_waits(pair, wait):
    master, slave = pair
    waiting = in_thread(lambda: wait(slave))
    until_inside(slave)
    master.write(b"at last")  # would never be reached with the lock held
    assert waiting.join() == b"at last"


@pytest.fixture
def full_queue(make_pair):
    """A pair whose master has no room left to write."""
    master, slave = make_pair(m2s=Channel(Delivery.QUEUE, queue_capacity=1 << 16))
    with pytest.raises(eshm.QueueFull):
        while True:
            master.write(bytes(1000))
    return master, slave


@pytest.mark.parametrize(
    "wait",
    [
        lambda link: link.read(timeout_ms=-1),
        lambda link: link.borrow(-1),
        lambda link: eshm.wait_any([link], -1),
        lambda link: link.write(bytes(1000), -1),
    ],
    ids=["read", "borrow", "wait_any", "write"],
)
def test_close_ends_the_waits_of_other_threads(full_queue, wait):
    master = full_queue[0]  # it has nothing to read
    waiting = [in_thread(lambda: wait(master)) for _ in range(3)]
    until_inside(master)
    master.close()
    for thread in waiting:
        with pytest.raises(eshm.Closed):
            thread.join()


def test_many_threads_share_one_link(pair):
    master, slave = pair
    stop = threading.Event()
    good = [0]

    def read():
        while not stop.is_set():
            data = slave.try_read()
            if data is not None:
                assert data == data[:1] * 64
                good[0] += 1

    def write(letter):
        for _ in range(5000):
            master.write(letter * 64)

    readers = [in_thread(read) for _ in range(2)]
    writers = [in_thread(lambda letter=letter: write(letter)) for letter in (b"a", b"b")]
    for thread in writers:
        thread.join()
    while not good[0]:  # the newest stays until somebody has read it
        time.sleep(0.001)
    stop.set()
    for thread in readers:
        thread.join()
    assert slave.get_stats()["m2s_write_count"] == 10_000


# ---- signals ---------------------------------------------------------------------

# The child says that it waits, gets SIGINT, and must come out of the wait with
# KeyboardInterrupt.
INTERRUPTED = """
    import asyncio, sys
    import eshm
    from eshm import ESHM, Channel, ESHMRole, Receiver, Sender
    name, what = sys.argv[1:]
    queue = Channel(eshm.Delivery.QUEUE, queue_capacity=1 << 16, type="u8")
    calm = {"stale_threshold_ms": 10000}
    if what != "constructor":
        master = ESHM(name, ESHMRole.MASTER, m2s=queue, **calm)
        slave = ESHM(name, ESHMRole.SLAVE, **calm)
    def fill():
        while True:
            master.write(bytes(8), -1)
    def send():
        sender = Sender(master, "u8")
        while True:
            sender.send(1, -1)
    def say_so():
        print("waiting", flush=True)
    async def await_read():
        say_so()
        await slave.read_async()
    async def await_message():
        say_so()
        async for data in slave.messages():
            pass
    def iterate():
        for data in slave:
            pass
    waits = {
        "constructor": lambda: ESHM(name, ESHMRole.SLAVE, reconnect_wait_ms=0,
                                    max_reconnect_attempts=0),
        "read": lambda: slave.read(timeout_ms=-1),
        "read_msg": lambda: slave.read_msg(-1),
        "read_into": lambda: slave.read_into(bytearray(64), -1),
        "borrow": lambda: slave.borrow(-1),
        "iteration": iterate,
        "wait_any of one": lambda: eshm.wait_any([slave], -1),
        "wait_any of two": lambda: eshm.wait_any([slave, master], -1),
        "write into a full queue": fill,
        "send into a full queue": send,
        "receive": lambda: Receiver(slave, "u8").receive(-1),
        "view": lambda: Receiver(slave, "u8").view(-1),
    }
    # A runner must have its handler before the signal comes.
    awaits = {"read_async": await_read, "messages": await_message}
    try:
        if what in awaits:
            asyncio.run(awaits[what]())
        say_so()
        waits[what]()
    except KeyboardInterrupt:
        print("KeyboardInterrupt")
"""
WAITS = (
    "constructor;read;read_msg;read_into;borrow;iteration;wait_any of one;wait_any of two;"
    "write into a full queue;send into a full queue;receive;view;read_async;messages"
).split(";")


@pytest.mark.parametrize("what", WAITS)
def test_ctrl_c_ends_the_wait(name, start_child, what):
    child = start_child(INTERRUPTED, name, what)
    assert child.line() == "waiting"
    time.sleep(0.2)
    os.kill(child.pid, signal.SIGINT)
    assert child.end() == (0, "KeyboardInterrupt\n", "")


def test_a_handler_that_returns_does_not_end_the_wait(pair):
    master, slave = pair
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            slave.read(timeout_ms=300)
        assert time.monotonic() - began >= 0.3
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(seen) > 1


def test_what_a_handler_raises_comes_out_of_the_wait(pair):
    class Raised(Exception):
        pass

    def handler(*_):
        raise Raised

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Raised):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            pair[1].read(timeout_ms=-1)
    finally:
        signal.signal(signal.SIGALRM, before)
    pair[0].write(b"unharmed")
    assert pair[1].read() == b"unharmed"


@pytest.mark.parametrize(
    "wait",
    [
        lambda slave, master: slave.read(timeout_ms=-1),
        lambda slave, master: slave.borrow(-1),
        lambda slave, master: eshm.wait_any([master, slave], -1),
    ],
    ids=["read", "borrow", "wait_any"],
)
def test_a_handler_may_close_the_link_that_is_waited_on(pair, wait):
    master, slave = pair
    before = signal.signal(signal.SIGALRM, lambda *_: slave.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(eshm.Closed):
            wait(slave, master)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert slave.closed
    with ESHM(master.name, ESHMRole.SLAVE, stale_threshold_ms=10_000) as successor:
        master.write(b"the seat is free")
        assert successor.read() == b"the seat is free"


def test_a_handler_of_a_wait_within_a_wait_may_close_the_outer_link(pair):
    master, slave = pair
    depth = []

    def handler(*_):
        depth.append(1)
        if len(depth) == 1:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(TimeoutError):
                master.read(timeout_ms=300)
        else:
            slave.close()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(eshm.Closed):
            slave.read(timeout_ms=-1)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(depth) == 2


# ---- events and log lines --------------------------------------------------------


def test_events_reach_the_callback(name):
    seen = []
    with ESHM(name, ESHMRole.MASTER, stale_threshold_ms=10_000) as master:
        arrived = threading.Event()
        left = threading.Event()

        def callback(link, event):
            assert link is master
            seen.append(event)
            {eshm.Event.CONNECTED: arrived, eshm.Event.LEFT: left}[event].set()

        master.on_event(callback)
        slave = ESHM(name, ESHMRole.SLAVE, stale_threshold_ms=10_000)
        arrived.wait()
        slave.close()
        left.wait()
        master.on_event(None)
        with ESHM(name, ESHMRole.SLAVE, stale_threshold_ms=10_000):
            time.sleep(0.1)
    assert seen == [eshm.Event.CONNECTED, eshm.Event.LEFT]


def test_log_lines_reach_the_logging_module(name, start_child):
    child = start_child(
        """
        import logging, sys, threading
        import eshm
        told = threading.Event()
        class Handler(logging.Handler):
            def emit(self, record):
                assert record.name == "eshm" and sys.argv[1] in record.getMessage()
                told.set()
        logging.getLogger().addHandler(Handler())
        logging.getLogger().setLevel(logging.DEBUG)
        eshm.enable_logging()
        with eshm.ESHM(sys.argv[1], eshm.ESHMRole.MASTER):
            slave = eshm.ESHM(sys.argv[1], eshm.ESHMRole.SLAVE)
            told.wait()
            slave.close()
        print("told")
        """,
        name,
    )
    assert child.end() == (0, "told\n", "")


def test_nothing_is_printed_unasked(name, start_child):
    child = start_child(
        """
        import sys, eshm
        with eshm.ESHM(sys.argv[1]) as link:
            with eshm.ESHM(sys.argv[1]):
                link.write(b"x")
        """,
        name,
    )
    assert child.end() == (0, "", "")


def test_held_heartbeat_hides_this_side_until_it_is_shown_again(name):
    def wait_for(slave, state):
        while slave.get_remote_state() != state:
            time.sleep(0.001)

    with ESHM(name, ESHMRole.MASTER) as master, ESHM(name, ESHMRole.SLAVE) as slave:
        master.hold_heartbeat(True)
        wait_for(slave, eshm.PeerState.STALE)
        master.write(b"a call is hidden, too")
        time.sleep(0.05)
        assert slave.get_remote_state() == eshm.PeerState.STALE
        master.hold_heartbeat(False)
        wait_for(slave, eshm.PeerState.ALIVE)
