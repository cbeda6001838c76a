# SPDX-License-Identifier: MIT
"""A link that nothing refers to is closed by the collector; a closed one keeps nothing."""

import asyncio
import gc
import glob
import os
import subprocess
import sys
import threading
import weakref

import eshm
import pytest
from eshm import ESHM, Channel, Delivery, ESHMRole, Receiver, Sender

numpy = pytest.importorskip("numpy")

LINKS = int(os.environ.get("ESHM_LEAK_LINKS", 10_000 if os.environ.get("ESHM_SOAK") else 1_300))


class Node:
    """What users write: it has its link, its frame and its callbacks."""

    def __init__(self, name, role=ESHMRole.MASTER):
        self.link = ESHM(name, role, stale_threshold_ms=10_000)
        self.link.on_event(self.handler)
        self.frame = None

    def handler(self, link, event):
        pass


def bound_method(name):
    Node(name)


def function_that_refers_to_the_link(name):
    link = ESHM(name)
    link.on_event(lambda _, event: link.name)


def closed_with_a_callback(name):
    node = Node(name)
    node.link.close()


def peers(name):
    return ESHM(name, "master", stale_threshold_ms=10_000), ESHM(
        name, "slave", stale_threshold_ms=10_000
    )


def view_in_a_cycle(name):
    master = ESHM(name, "master", stale_threshold_ms=10_000)
    node = Node(name, ESHMRole.SLAVE)
    master.write(b"x" * 64)
    node.frame = numpy.frombuffer(node.link.borrow(), "u1")


def array_that_refers_to_the_borrow(name):
    master = ESHM(name, "master", stale_threshold_ms=10_000)
    node = Node(name, ESHMRole.SLAVE)
    master.write(b"x" * 64)
    node.frame = numpy.ndarray(64, "u1", node.link.borrow())


def loan_in_a_cycle(name):
    node = Node(name)
    node.frame = node.link.loan(64)


def entered_loan_in_a_cycle(name):
    node = Node(name)
    node.frame = node.link.loan(64).__enter__()


def borrow_in_a_cycle(name):
    master = ESHM(name, "master", stale_threshold_ms=10_000)
    node = Node(name, ESHMRole.SLAVE)
    master.write(b"x")
    node.frame = node.link.borrow()


def generator_that_waits(name):
    master, slave = peers(name)
    master.write(b"x")
    messages = iter(slave)
    assert next(messages) == b"x"
    slave.on_event(lambda link, event: messages)


def async_iterator_that_waits(name):
    master, slave = peers(name)

    async def main():
        master.write(b"x")
        messages = slave.messages()
        assert await messages.__anext__() == b"x"
        slave.on_event(lambda link, event: messages)

    asyncio.run(main())


def read_that_was_given_up(name):
    master, slave = peers(name)

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(slave.read_async(), 0.001)

    asyncio.run(main())


def typed_ends(name):
    kind = numpy.dtype(("u1", 64))
    sender = Sender(name, kind, stale_threshold_ms=10_000)
    receiver = Receiver(name, kind, stale_threshold_ms=10_000)
    sender.send(numpy.zeros(64, "u1"))
    receiver.frame = receiver.view()
    receiver.link.on_event(lambda link, event: receiver)
    sender.link.on_event(lambda link, event: sender)


def exception_that_refers_to_the_link(name):
    link = ESHM(name)
    try:
        link.read(timeout_ms=0)
    except eshm.Timeout as error:
        link.on_event(lambda _, event: error)


WAYS = [
    bound_method,
    function_that_refers_to_the_link,
    closed_with_a_callback,
    view_in_a_cycle,
    array_that_refers_to_the_borrow,
    loan_in_a_cycle,
    entered_loan_in_a_cycle,
    borrow_in_a_cycle,
    generator_that_waits,
    async_iterator_that_waits,
    read_that_was_given_up,
    typed_ends,
    exception_that_refers_to_the_link,
]


def resident_kib():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


def state():
    gc.collect()
    with open("/proc/self/maps") as maps:
        mappings = sum("eshm" in line for line in maps)
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "tasks": len(os.listdir("/proc/self/task")),
        "mappings": mappings,
    }


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_dropped_link_frees_its_role(name, way):
    way(name)
    gc.collect()
    assert glob.glob(f"/dev/shm/*{name}*") == []
    with ESHM(name, ESHMRole.MASTER):
        pass


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_many_dropped_links_leave_nothing(name, way):
    count = LINKS // len(WAYS)

    def use(count):
        for number in range(count):
            way(f"{name}_{number % 5}")
            if number % 5 == 4:
                gc.collect()
        gc.collect()

    with ESHM(name + "_keeps_the_service_thread"):
        use(20)
        before, blocks, kib = state(), sys.getallocatedblocks(), resident_kib()
        use(count)
        after = state()
        assert after == before
        assert sys.getallocatedblocks() - blocks < 200
        assert resident_kib() - kib < 4096


def test_a_closed_link_keeps_neither_its_callback_nor_a_descriptor(name):
    class Handler:
        def __call__(self, link, event):
            pass

    handler = Handler()
    gone = weakref.ref(handler)
    link = ESHM(name)
    link.on_event(handler)
    del handler
    assert gone() is not None
    link.close()
    gc.collect()
    assert gone() is None


def test_a_callback_lives_as_long_as_its_link(name):
    came = threading.Event()
    with ESHM(name, "master", stale_threshold_ms=10_000) as master:
        master.on_event(lambda link, event: came.set())
        gc.collect()
        with ESHM(name, "slave", stale_threshold_ms=10_000):
            came.wait()


def test_an_array_outlives_the_link_and_keeps_the_memory(name):
    master, slave = peers(name)
    master.write(b"kept")
    frame = numpy.frombuffer(slave.borrow(), "u1")
    del slave
    gc.collect()
    master.write(b"next")
    assert bytes(frame) == b"kept"
    master.close()
    assert bytes(frame) == b"kept"
    del frame


def test_a_loan_outlives_the_link_and_can_be_published(name):
    master, slave = peers(name)
    loan = master.loan(4)
    del master
    gc.collect()
    with loan as room:
        room[:] = b"last"
    assert slave.read() == b"last"
    slave.close()


def test_a_link_dropped_by_another_thread_than_its_own_is_closed(name):
    box = [Node(name)]
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert glob.glob(f"/dev/shm/*{name}*") == []


def test_a_loop_that_rebinds_its_variable_works_with_the_defaults(name, backend):
    options = {"stale_threshold_ms": 10_000, "backend": backend}
    with ESHM(name, "master", **options) as master, ESHM(name, "slave", **options) as slave:
        for number in range(50):
            master.write(bytes([number]) * 64)
            frame = numpy.frombuffer(slave.borrow(), "u1")
            assert (frame == number).all()
        del frame


def test_a_loop_over_views_works_with_the_defaults(name, backend):
    kind = numpy.dtype(("u1", (4, 4)))
    options = {"stale_threshold_ms": 10_000, "backend": backend}
    with Sender(name, kind, **options) as sender, Receiver(name, kind, **options) as receiver:
        for number in range(50):
            sender.send(numpy.full((4, 4), number, "u1"))
            frame = receiver.view()
            assert (frame == number).all()
        del frame


def test_a_default_link_takes_72_kib_at_most(name, backend):
    with ESHM(name, backend=backend) as link:
        assert link.get_stats_ex()["segment_bytes"] <= 72 * 1024


def test_room_that_is_out_names_its_setting(name):
    queue = Channel(Delivery.QUEUE, max_message_size=64, queue_capacity=4096, max_borrows=1)
    with ESHM(name, "master", m2s=queue) as master, ESHM(name, "slave") as slave:
        loan = master.loan(8)
        with pytest.raises(eshm.QueueFull, match="max_loans is 1"):
            master.loan(8)
        loan.discard()
        master.write(b"x")
        master.write(b"y")
        borrowed = slave.borrow()
        with pytest.raises(eshm.QueueFull, match="max_borrows is 1.*release"):
            slave.borrow()
        borrowed.release()
        with pytest.raises(eshm.MessageTooLarge, match="max_message_size"):
            master.write(bytes(65))
        with pytest.raises(eshm.QueueFull, match="queue_capacity.*timeout_ms="):
            while True:
                master.write(bytes(64))


def test_nothing_is_left_at_exit_in_development_mode(name):
    code = f"""
import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
import test_lifetimes
for way in test_lifetimes.WAYS:
    way({name!r} + way.__name__)
"""
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
