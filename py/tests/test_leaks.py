# SPDX-License-Identifier: MIT
"""No call leaks: neither references nor memory nor descriptors."""

import asyncio
import contextlib
import ctypes
import dataclasses
import functools
import gc
import os
import sys
import tracemalloc

import eshm
import pytest
from eshm import ESHM, ESHMRole, Receiver, RecordType, Sender

numpy = pytest.importorskip("numpy")

CALLS = int(os.environ.get("ESHM_LEAK_CALLS", 100_000 if os.environ.get("ESHM_SOAK") else 20_000))


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
        except (eshm.Error, eshm.Timeout, TypeError, ValueError, AttributeError, BufferError):
            pass

    return attempt


@dataclasses.dataclass
class Pair:
    left: int
    right: float


class Structure(ctypes.Structure):
    _fields_ = [("left", ctypes.c_uint64), ("right", ctypes.c_double)]


def zero_copy_calls(master, slave):
    def loan_and(end):
        loan = master.loan(64)
        with memoryview(loan) as room:
            room[0] = 1
        end(loan)

    def loan_twice():
        with master.loan(64):
            master.loan(64)

    def keep_part_of_a_loan():
        with master.loan(64) as room:
            part = room[:32]
        part.release()

    def borrow(take):
        master.write(b"x" * 64)
        with take() as view:
            view[0]

    def take_by_array():
        master.write(b"x" * 64)
        numpy.frombuffer(slave.borrow(), "u1").sum()

    def take_by_reference():
        master.write(b"x" * 64)
        numpy.ndarray(64, "u1", slave.borrow()).sum()
        master.write(b"x" * 64)
        with slave.borrow() as view:
            array = numpy.ndarray(64, "u1", view)
        array.sum()

    def look_at_borrow():
        master.write(b"x" * 64)
        borrowed = slave.borrow()
        for name in dir(borrowed):
            getattr(borrowed, name)
        borrowed.release()

    def shrink_loan():
        loan = master.loan(64)
        loan.size = 32
        fail_softly(lambda: setattr(loan, "size", 64))()
        assert (loan.size, loan.finished) == (32, False)
        loan.publish()

    def take_by_dlpack():
        master.write(b"x" * 64)
        slave.borrow().__dlpack__(max_version=(1, 0))

    return {
        "loan, publish": lambda: loan_and(eshm.Loan.publish),
        "loan, shrink": shrink_loan,
        "a loan itself as room": fail_softly(lambda: numpy.ndarray(64, "u1", master.loan(64))),
        "loan, discard": lambda: loan_and(eshm.Loan.discard),
        "loan, forget": lambda: master.loan(64),
        "one loan too many": fail_softly(loan_twice),
        "a loan seen at its end": fail_softly(keep_part_of_a_loan),
        "borrow": lambda: borrow(slave.borrow),
        "try_borrow": lambda: borrow(slave.try_borrow),
        "try_borrow nothing": master.try_borrow,
        "a borrow's attributes": look_at_borrow,
        "borrow into an array": take_by_array,
        "borrow, referred to by an array": take_by_reference,
        "borrow by dlpack": take_by_dlpack,
    }


def waiting_calls(master, slave, loop):
    iterator, messages = iter(slave), slave.messages()

    def ask_any():
        master.write(b"x" * 64)
        eshm.wait_any([slave], -1)
        slave.read()

    def take_next():
        master.write(b"x" * 64)
        next(iterator)

    async def take_late_message():
        taking = asyncio.ensure_future(messages.__anext__())
        await asyncio.sleep(0)
        master.write(b"x" * 64)
        await taking

    def run(make, *arguments):
        return lambda: loop.run_until_complete(make(*arguments))

    def listen():
        master.on_event(lambda link, event: None)
        master.on_event(None)

    async def read_late_message():
        reading = asyncio.ensure_future(slave.read_async())
        await asyncio.sleep(0)
        master.write(b"x" * 64)
        await reading

    return {
        "fileno": slave.fileno,
        "wait_any": ask_any,
        "wait_any nothing": fail_softly(lambda: eshm.wait_any([slave], 0)),
        "iter": take_next,
        "messages": run(take_late_message),
        "read_async": run(read_late_message),
        "write_async": run(lambda: master.write_async(b"x")),
        "read_async nothing": fail_softly(run(slave.read_async, 0)),
        "on_event": listen,
    }


def typed_calls(master, slave, loop):
    def make_ends():
        with contextlib.suppress(eshm.TypeMismatch):
            Sender(master, Pair), Receiver(slave, Pair)

    def describe_types():
        for kind in (Pair, Structure, numpy.dtype(("f8", 8))):
            repr(RecordType.of(kind))
        fail_softly(lambda: RecordType.of("no type"))()

    calls = {"Sender and Receiver": make_ends, "record types": describe_types}
    kinds = {
        "dataclass": (Pair, Pair(1, 2.0)),
        "ctypes": (Structure, Structure(1, 2.0)),
        "numpy": (numpy.dtype(("f8", 8)), numpy.ones(8)),
    }
    for word, (kind, value) in kinds.items():
        sender, receiver = Sender(master, kind), Receiver(slave, kind)

        def exchange(take, sender=sender, value=value):
            sender.send(value)
            take()

        calls[f"{word} receive"] = functools.partial(exchange, receiver.receive)
        calls[f"{word} try_receive"] = functools.partial(exchange, receiver.try_receive)
        calls[f"{word} view"] = functools.partial(exchange, receiver.view)
        calls[f"{word} iter"] = functools.partial(exchange, functools.partial(next, iter(receiver)))

        def await_one(receiver=receiver):
            loop.run_until_complete(receiver.receive_async())

        calls[f"{word} receive_async"] = functools.partial(exchange, await_one)
        def write_in_place(sender=sender, value=value):
            with sender.loan() as loan:
                loan.value = value

        calls[f"{word} loan"] = write_in_place
        calls[f"{word} repr"] = functools.partial(repr, sender)
        calls[f"{word} wrong"] = fail_softly(functools.partial(sender.send, "text"))
    return calls


def calls_of(master, slave):
    room = bytearray(64)

    def exchange(read):
        def both():
            master.write(b"x" * 64)
            read()

        return both

    def look_at_message():
        master.write(b"x" * 64)
        message = slave.read_msg()
        for name in dir(message):
            getattr(message, name)
        repr(message)

    def hold_and_let_go():
        master.hold_heartbeat(True)
        master.hold_heartbeat(False)

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
        "a message's attributes": look_at_message,
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
        "hold_heartbeat": hold_and_let_go,
        "repr": lambda: repr(master),
        "attributes": lambda: (master.closed, master.name, master.m2s, master.s2m),
        "enter": master.__enter__,
        "reduce": fail_softly(lambda: master.__reduce__()),
        "error_string": lambda: eshm.error_string(-1),
    }


def all_calls(master, slave, loop):
    return {
        **calls_of(master, slave),
        **zero_copy_calls(master, slave),
        **waiting_calls(master, slave, loop),
        **typed_calls(master, slave, loop),
    }


@contextlib.contextmanager
def world(name):
    loop = asyncio.new_event_loop()
    loop.set_debug(False)  # which python -X dev turns on: it takes a hundred times as long
    with ESHM(name, ESHMRole.MASTER, stale_threshold_ms=10_000) as master:
        with ESHM(name, ESHMRole.SLAVE, stale_threshold_ms=10_000) as slave:
            yield all_calls(master, slave, loop)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def names_of_calls():
    with world(f"pytest_{os.getpid()}_names") as calls:
        return list(calls)


def public_methods():
    """As the profiler names them: those in C with their class."""
    for kind in (ESHM, eshm.Loan, eshm.Borrow, Sender, Receiver, RecordType):
        for name in dir(kind):
            method = getattr(kind, name)
            if callable(method) and not name.startswith("_"):
                is_python = hasattr(method, "__code__")
                yield name if is_python else f"{kind.__name__}.{name}"


def test_every_public_method_is_among_the_calls(name):
    # test_opening_and_closing_leaves_nothing, and test_lifetimes.py
    called = {"ESHM.close", "close", "open_async"}

    def note(frame, event, callee):
        if event == "call":
            called.add(frame.f_code.co_name)
        elif event == "c_call":
            called.add(callee.__qualname__)

    with world(name) as calls:
        sys.setprofile(note)
        try:
            for call in calls.values():
                call()
        finally:
            sys.setprofile(None)
    assert set(public_methods()) - called == set()


@pytest.mark.parametrize("call", names_of_calls())
def test_many_calls_leave_nothing(name, call):
    with world(name) as calls:
        assert grown_by(calls[call], CALLS) < 100


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
