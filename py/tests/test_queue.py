# SPDX-License-Identifier: MIT
"""Queues: nothing lost, order kept, full said."""

import threading

import eshm
import pytest
from eshm import ESHM, Channel, Delivery


@pytest.fixture
def queue(make_pair):
    return make_pair(m2s=Channel(Delivery.QUEUE, queue_capacity=1 << 16))


def test_every_message_comes_in_order(queue):
    sender, receiver = queue
    for number in range(100):
        sender.write(b"%d" % number)
    assert [receiver.read() for _ in range(100)] == [b"%d" % n for n in range(100)]
    assert receiver.try_read() is None


def test_a_full_queue_says_so_and_loses_nothing(queue):
    sender, receiver = queue
    count = 0
    with pytest.raises(eshm.QueueFull) as caught:
        while True:
            sender.write(count.to_bytes(4, "little") + bytes(1000))
            count += 1
    assert caught.value.code is eshm.ESHMError.BUFFER_FULL
    with pytest.raises(eshm.Timeout):
        sender.write(bytes(1004), timeout_ms=20)
    got = [int.from_bytes(receiver.read()[:4], "little") for _ in range(count)]
    assert got == list(range(count))
    assert receiver.try_read() is None


def test_a_write_waits_for_room(queue):
    sender, receiver = queue
    received = []

    def read_all():
        while len(received) < 2000:
            received.append(int.from_bytes(receiver.read(timeout_ms=60_000)[:4], "little"))

    reader = threading.Thread(target=read_all)
    reader.start()
    for number in range(2000):
        sender.write(number.to_bytes(4, "little") + bytes(1000), timeout_ms=-1)
    reader.join()
    assert received == list(range(2000))


def test_wait_any_names_a_link_with_something_to_read(make_pair, name):
    master, slave = make_pair()
    with ESHM(name + "_2", stale_threshold_ms=10_000) as other_master:
        with ESHM(name + "_2", stale_threshold_ms=10_000) as other_slave:
            with pytest.raises(eshm.Timeout):
                eshm.wait_any([slave, other_slave], 20)
            other_master.write(b"x")
            assert eshm.wait_any([slave, other_slave], -1) == 1
            assert other_slave.read() == b"x"
            threading.Timer(0.05, master.write, [b"y"]).start()
            assert eshm.wait_any([slave, other_slave], -1) == 0
            assert slave.read() == b"y"
