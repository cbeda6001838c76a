# SPDX-License-Identifier: MIT
"""What users type: arguments, names, help, errors, asyncio, observers, loans of records."""

import asyncio
import copy
import ctypes
import dataclasses
import inspect
import multiprocessing
import pathlib
import pickle
import subprocess
import sys
import threading
import time
import typing

import eshm
import pytest
from eshm import ESHM, Backend, Channel, Delivery, ESHMRole, Receiver, RecordType, Sender

numpy = pytest.importorskip("numpy")
OPTIONS = {"stale_threshold_ms": 10_000}


@dataclasses.dataclass
class Pose:
    x: float
    y: float


# ---- arguments -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [-2, -5, 2**32 - 1, 2**40])
def test_a_time_out_below_minus_one_is_refused_by_every_call(pair, number):
    master, slave = pair
    calls = [
        lambda: slave.read(timeout_ms=number),
        lambda: slave.read_msg(number),
        lambda: slave.read_into(bytearray(1), number),
        lambda: slave.borrow(number),
        lambda: master.write(b"", number),
        lambda: eshm.wait_any([slave], number),
        lambda: asyncio.run(slave.read_async(number)),
        lambda: asyncio.run(slave.write_async(b"", number)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"timeout_ms takes .*-1.*{number}"):
            call()


@pytest.mark.parametrize("wrong", ["100", 1.5, [1], b"1"], ids=repr)
def test_a_number_of_another_type_is_refused_by_name(pair, wrong):
    master, slave = pair
    with pytest.raises(TypeError, match="timeout_ms takes whole milliseconds"):
        slave.read(timeout_ms=wrong)
    with pytest.raises(TypeError, match="buffer_size takes a number of bytes"):
        slave.read(wrong)
    with pytest.raises(TypeError, match="size takes a number of bytes"):
        master.loan(wrong)


def test_numbers_of_numpy_are_accepted_everywhere(name):
    five = numpy.int64(5)
    options = {
        "stale_threshold_ms": numpy.int64(10_000),
        "reconnect_wait_ms": five,
        "spin_us": five,
        "auto_cleanup": numpy.bool_(True),
        "m2s": Channel(max_message_size=numpy.uint32(64), max_borrows=five, max_loans=five),
    }
    with ESHM(name, "master", **options) as master, ESHM(name, "slave", **options) as slave:
        master.write(b"12345", five)
        assert slave.read(five, five) == b"12345"
        for read in (slave.read_msg, slave.borrow):
            with pytest.raises(eshm.Timeout):
                read(five)
        master.loan(five).discard()
        assert master.m2s.max_borrows == 5


WRONG_OPTIONS = {
    "shm_name": 5,
    "role": 1.5,
    "disconnect_behavior": None,
    "stale_threshold_ms": "100",
    "reconnect_wait_ms": 1.5,
    "reconnect_retry_interval_ms": None,
    "max_reconnect_attempts": "50",
    "auto_cleanup": "no",
    "use_threads": 2,
    "backend": [],
    "m2s": {},
    "s2m": "queue",
    "spin_us": 0.5,
    "permissions": "rw",
    "flags": None,
    "thread_cpus": 2,
    "thread_policy": "FIFO",
    "thread_priority": 1.0,
}


@pytest.mark.parametrize("argument", WRONG_OPTIONS)
def test_a_wrong_option_is_refused_at_the_call_by_name(name, argument):
    options = {"shm_name": name, argument: WRONG_OPTIONS[argument]}
    with pytest.raises(TypeError, match=f"{argument} takes .*not "):
        ESHM(**options)


def test_every_option_is_among_the_wrong_ones():
    assert list(inspect.signature(ESHM).parameters) == list(WRONG_OPTIONS)


@pytest.mark.parametrize(
    "argument, wrong",
    [
        ("delivery", 1.5),
        ("max_message_size", "1"),
        ("queue_capacity", 1.0),
        ("max_borrows", True),
        ("max_loans", None),
        ("type", "no type"),
    ],
)
def test_a_wrong_option_of_a_channel_is_refused_at_the_call(argument, wrong):
    with pytest.raises(TypeError):
        Channel(**{argument: wrong})
    if argument.startswith("max_"):
        for number in (-1, 2**40):
            with pytest.raises(ValueError, match=f"{argument} takes"):
                Channel(**{argument: number})


@pytest.mark.parametrize("wrong", [5, "handler", []], ids=repr)
def test_a_callback_that_cannot_be_called_is_refused_at_the_call(pair, wrong):
    with pytest.raises(TypeError, match="callback takes a callable"):
        pair[0].on_event(wrong)


def test_roles_and_enums_are_taken_by_name_and_by_number(name):
    for role in ("master", "MASTER", "Master", 0, ESHMRole.MASTER, numpy.int64(0)):
        with ESHM(name, role, "never", backend="posix") as link:
            assert link.get_role() is ESHMRole.MASTER
    assert Channel("queue").delivery is Delivery.QUEUE
    with ESHM(name, "master", backend="SysV"):
        pass
    with pytest.raises(ValueError, match="role takes one of MASTER, SLAVE, AUTO, OBSERVER"):
        ESHM(name, "boss")
    with pytest.raises(ValueError, match="77"):
        ESHM(name, 77)
    with Sender(name, Pose, "master", delivery="queue", **OPTIONS) as sender:
        assert sender.link.m2s.delivery is Delivery.QUEUE


# ---- reading ---------------------------------------------------------------------------


def test_a_buffer_size_that_was_meant_as_a_time_out_is_explained(pair):
    with pytest.raises(eshm.Timeout, match="100 was taken for buffer_size.*timeout_ms="):
        pair[1].read(100)
    with pytest.raises(eshm.Timeout) as caught:
        pair[1].read(100, 10)
    assert "buffer_size" not in str(caught.value)


def test_a_message_too_large_names_the_way_out(pair):
    master, slave = pair
    master.write(bytes(100))
    for read in (lambda: slave.read(10), lambda: slave.try_read(10)):
        with pytest.raises(eshm.MessageTooLarge, match="without buffer_size="):
            read()
    with pytest.raises(eshm.MessageTooLarge, match=r"read_msg\(\)"):
        slave.read_into(bytearray(10))
    assert len(slave.read()) == 100


# ---- untyped writes ----------------------------------------------------------------------


class WithPointer(ctypes.Structure):
    _fields_ = [("number", ctypes.c_int), ("next", ctypes.c_void_p)]


class WithObject(ctypes.Structure):
    _fields_ = [("object", ctypes.py_object)]


class OP(ctypes.Structure):
    """Names that read like the codes of objects and pointers."""

    _fields_ = [("O", ctypes.c_int), ("P", ctypes.c_double), ("z", ctypes.c_char * 3)]


POINTERS = {
    "object array": numpy.array([1, "a", None], dtype=object),
    "object field": numpy.zeros(2, [("a", "i4"), ("b", "O")]),
    "object field beside datetime64": numpy.zeros(2, [("a", "M8[s]"), ("b", "O")]),
    "pointer field": WithPointer(),
    "Python object": WithObject(1),
    "pointer array": (ctypes.c_void_p * 2)(),
    "char pointers": (ctypes.c_char_p * 2)(),
    "wide pointers": (ctypes.c_wchar_p * 2)(),
    "typed pointers": (ctypes.POINTER(ctypes.c_int) * 2)(),
    "functions": (ctypes.CFUNCTYPE(None) * 2)(),
    "view of objects": memoryview(numpy.array([1, None], dtype=object)),
}


@pytest.mark.parametrize("data", POINTERS.values(), ids=POINTERS)
def test_pointers_and_objects_are_not_written(pair, data):
    with pytest.raises(TypeError, match="pointers or objects"):
        pair[0].write(data)
    assert pair[1].try_read() is None


IN_C_ORDER = {
    "datetime64": numpy.array(["2020-01-01"], "M8[s]"),
    "complex": numpy.array([1j, 2], "c16"),
    "complex64": numpy.array([1j, 2], "c8"),
    "structure": OP(1, 2, b"abc"),
    "record array": numpy.zeros(3, [("O", "i4"), ("P", "f8"), ("z", "S3")]),
    "three dimensions": numpy.arange(24.0).reshape(2, 3, 4),
    "no dimensions": numpy.array(1.5),
    "big-endian": numpy.array([1, 2], ">i4"),
    "text": numpy.array(["ab"]),
    "read-only": numpy.frombuffer(b"abcd", "u1"),
    "part in C order": numpy.arange(24).reshape(4, 6)[1:3],
    "float16": numpy.ones(3, "f2"),
}


@pytest.mark.parametrize("data", IN_C_ORDER.values(), ids=IN_C_ORDER)
def test_arrays_in_c_order_are_written(pair, data):
    pair[0].write(data)
    assert pair[1].read() == (data.tobytes() if hasattr(data, "tobytes") else bytes(data))


OTHER_ORDERS = {
    "Fortran": numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
    "transposed": numpy.arange(6).reshape(2, 3).T,
    "strided": numpy.arange(6)[::2],
    "reversed": numpy.arange(6)[::-1],
    "a column": numpy.arange(6).reshape(2, 3)[:, 1],
    "a field": numpy.zeros(3, [("a", "i4"), ("b", "i4")])["a"],
    "datetime64": numpy.zeros((2, 3), "M8[s]").T,
    "view": memoryview(b"abcdef")[::2],
}


@pytest.mark.parametrize("data", OTHER_ORDERS.values(), ids=OTHER_ORDERS)
def test_arrays_in_another_order_are_refused_with_the_way_out(pair, data):
    with pytest.raises(ValueError, match=r"numpy.ascontiguousarray\(\)"):
        pair[0].write(data)
    assert pair[1].try_read() is None
    pair[0].write(numpy.ascontiguousarray(data))
    assert pair[1].read() == data.tobytes()


@pytest.mark.parametrize("shape", [0, (0, 3), (3, 0)])
@pytest.mark.parametrize("order", "CF")
def test_an_array_without_elements_is_a_message_of_0_bytes(pair, shape, order):
    pair[0].write(numpy.zeros(shape, order=order))
    assert pair[1].read() == b""


def test_a_mask_is_not_lost(pair):
    with pytest.raises(TypeError, match="mask"):
        pair[0].write(numpy.ma.masked_array([1, 2], mask=[0, 1]))


# ---- what the peer decided, and what print shows ------------------------------------------


def test_a_link_shows_the_channels_that_the_segment_has(name):
    m2s = Channel("queue", 100, queue_capacity=1 << 16, max_borrows=3, max_loans=4)
    with ESHM(name, "master", m2s=m2s) as master:
        with ESHM(name, "slave", s2m=Channel(max_message_size=7)) as slave:
            observer = ESHM(name, "observer")
            for link in (master, slave, observer):
                seen = link.m2s
                assert (seen.delivery, seen.max_message_size) == (Delivery.QUEUE, 100)
                assert (seen.queue_capacity, seen.max_borrows, seen.max_loans) == (1 << 16, 3, 4)
                assert link.s2m.max_message_size == 4096
            observer.close()
    assert slave.s2m.max_message_size == 7  # closed: what was asked for


def test_an_observer_without_a_segment_shows_the_defaults(name):
    with ESHM(name, "observer") as observer:
        assert observer.m2s.max_message_size == 4096
        assert "NEVER_SEEN" in repr(observer)


def test_repr_tells_name_role_peer_and_sizes(name):
    with ESHM(name, "master", **OPTIONS) as master:
        assert repr(master) == (
            f"<ESHM {name!r} MASTER, peer NEVER_SEEN, writes up to 4096 bytes, "
            "reads up to 4096 bytes>"
        )
        with Receiver(name, Pose, s2m=None, **OPTIONS) as receiver:
            while master.get_remote_state() is not eshm.PeerState.ALIVE:
                time.sleep(0.001)
            assert "peer ALIVE" in repr(master)
            assert repr(receiver).startswith("<Receiver of Pose{x:f64@0,y:f64@8}16, <ESHM ")
    assert repr(master) == f"<ESHM {name!r} closed>"


def test_repr_of_views_tells_size_and_state(pair):
    master, slave = pair
    loan = master.loan(8)
    assert repr(loan) == "<eshm.Loan of 8 bytes>"
    loan.publish()
    assert repr(loan) == "<eshm.Loan of 8 bytes, finished>"
    borrowed = slave.borrow()
    assert repr(borrowed) == "<eshm.Borrow of 8 bytes, sequence 1>"
    borrowed.release()
    assert repr(borrowed) == "<eshm.Borrow of 8 bytes, sequence 1, released>"


# ---- names and help ------------------------------------------------------------------------


def test_dir_shows_the_public_names_and_no_others():
    names = {name for name in dir(eshm) if not name.startswith("_")}
    assert names == set(eshm.__all__)
    assert {"Sender", "Receiver", "RecordType"} <= names
    for name in names:
        getattr(eshm, name)
    with pytest.raises(AttributeError):
        eshm.no_such_name


def test_ends_are_generic():
    assert typing.get_args(Sender[Pose]) == (Pose,)
    assert typing.get_args(Receiver[Pose]) == (Pose,)
    assert typing.get_origin(Sender[Pose]) is Sender


@pytest.mark.parametrize(
    "kind", [ESHM, Channel, Sender, Receiver, RecordType], ids=lambda k: k.__name__
)
def test_help_says_what_every_public_call_is_for(kind):
    assert kind.__doc__
    for name, member in inspect.getmembers(kind):
        if not name.startswith("_") and callable(member):
            assert inspect.getdoc(member), name
            assert inspect.signature(member) is not None, name


def test_help_states_units_and_defaults():
    assert "milliseconds" in ESHM.read.__doc__ and "1000 ms" in ESHM.read.__doc__
    assert "in bytes" in Channel.__doc__
    for argument in inspect.signature(ESHM).parameters:
        assert argument in ESHM.__doc__, argument


def test_a_record_type_of_a_dtype_says_that_numpy_is_needed():
    code = """
import sys
sys.modules["numpy"] = None
import eshm
try:
    eshm.RecordType.of("f8")
except TypeError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install eshm[numpy]" in result.stdout, result.stderr


# ---- copies, pickles, processes --------------------------------------------------------------


@pytest.mark.parametrize(
    "copying", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda c: c.__name__
)
def test_a_copy_of_a_link_is_refused_with_the_way_out(name, copying):
    with ESHM(name) as link:
        with pytest.raises(TypeError, match="[Hh]and its name over"):
            copying(link)
    sender = Sender(name, Pose)
    with sender, pytest.raises(TypeError, match="[Hh]and its name over"):
        pickle.dumps(sender)


def test_a_link_handed_to_another_process_is_refused_with_the_way_out(name):
    context = multiprocessing.get_context("spawn")
    with ESHM(name) as link:
        with pytest.raises(TypeError, match="[Hh]and its name over"):
            context.Process(target=print, args=(link,)).start()


# ---- a notebook's cell that runs twice -------------------------------------------------------


def test_a_session_that_would_become_its_own_slave_is_warned(name, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    link = ESHM(name, **OPTIONS)
    with pytest.warns(RuntimeWarning, match=r"this process has the master.*close\(\)"):
        again = ESHM(name, **OPTIONS)
    again.close()
    with ESHM(name, "slave", **OPTIONS):
        pass  # said so: no warning
    link.close()
    with ESHM(name, **OPTIONS) as fresh:
        assert fresh.get_role() is ESHMRole.MASTER


def test_a_program_may_open_both_ends_without_a_warning(name):
    with ESHM(name, **OPTIONS), ESHM(name, **OPTIONS) as second:
        assert second.get_role() is ESHMRole.SLAVE


# ---- asyncio -----------------------------------------------------------------------------------


def test_opening_a_slave_does_not_block_the_loop(name):
    async def main():
        opening = asyncio.ensure_future(
            ESHM.open_async(name, "slave", reconnect_wait_ms=0, max_reconnect_attempts=0, **OPTIONS)
        )
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not opening.done()
        with ESHM(name, "master", **OPTIONS) as master:
            async with _closing(await opening) as slave:
                master.write(b"x")
                assert await slave.read_async() == b"x"

    asyncio.run(main())


class _closing:
    def __init__(self, link):
        self.link = link

    async def __aenter__(self):
        return self.link

    async def __aexit__(self, *_):
        self.link.close()


def test_an_opening_that_fails_raises_in_the_coroutine(name):
    with pytest.raises(eshm.Timeout):
        asyncio.run(ESHM.open_async(name, "slave", max_reconnect_attempts=1))
    with pytest.raises(TypeError, match="m2s takes"):
        asyncio.run(ESHM.open_async(name, m2s={}))


def test_a_cancelled_opening_ends_and_leaves_nothing(name):
    async def main():
        opening = ESHM.open_async(name, "slave", reconnect_wait_ms=0, max_reconnect_attempts=0)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(opening, 0.02)

    asyncio.run(main())
    while any(thread.name == "eshm-open" for thread in threading.enumerate()):
        time.sleep(0.005)
    with ESHM(name, "master", **OPTIONS), ESHM(name, "slave", **OPTIONS):
        pass


def test_a_subclass_opens_as_itself(name):
    class Mine(ESHM):
        pass

    link = asyncio.run(Mine.open_async(name, "master"))
    assert type(link) is Mine
    link.close()


def test_an_awaited_write_waits_for_room(name):
    queue = Channel("queue", max_message_size=64, queue_capacity=4096)

    async def main(master, slave):
        written = 0

        async def write_all():
            nonlocal written
            for number in range(500):
                await master.write_async(number.to_bytes(8, "little"))
                written += 1

        writing = asyncio.ensure_future(write_all())
        await asyncio.sleep(0.05)
        assert 0 < written < 500
        got = [int.from_bytes(await slave.read_async(), "little") for _ in range(500)]
        await writing
        return got

    with (
        ESHM(name, "master", m2s=queue, **OPTIONS) as master,
        ESHM(name, "slave", **OPTIONS) as slave,
    ):
        assert asyncio.run(main(master, slave)) == list(range(500))


def test_an_awaited_write_times_out_and_loses_nothing(name):
    queue = Channel("queue", max_message_size=64, queue_capacity=4096)
    with (
        ESHM(name, "master", m2s=queue, **OPTIONS) as master,
        ESHM(name, "slave", **OPTIONS) as slave,
    ):
        count = 0
        with pytest.raises(eshm.QueueFull):
            while True:
                master.write(bytes(64))
                count += 1
        began = time.monotonic()
        with pytest.raises(eshm.Timeout, match="50 ms"):
            asyncio.run(master.write_async(bytes(64), 50))
        assert time.monotonic() - began >= 0.05
        assert sum(1 for _ in iter(slave.try_read, None)) == count


# ---- typed ends ---------------------------------------------------------------------------------


def test_typed_ends_take_every_option_of_a_channel(name):
    options = {"delivery": "queue", "queue_capacity": 1 << 14, "max_borrows": 3, "max_loans": 5}
    with Sender(name, Pose, **options, **OPTIONS) as sender, Receiver(name, Pose) as receiver:
        seen = receiver.link.m2s
        assert seen.delivery is Delivery.QUEUE
        assert (seen.queue_capacity, seen.max_borrows, seen.max_loans) == (1 << 14, 3, 5)
        assert sender.link.m2s.max_message_size == 16
    channel = set(inspect.signature(Channel).parameters) - {"type", "max_message_size"}
    assert channel <= set(inspect.signature(Sender).parameters)
    assert channel <= set(inspect.signature(Receiver).parameters)


def test_typed_ends_refuse_what_they_cannot_do(name):
    with pytest.raises(TypeError, match="m2s is the direction that is typed"):
        Sender(name, Pose, m2s=Channel())
    for role in ("auto", "observer"):
        with pytest.raises(ValueError, match="role takes MASTER"):
            Sender(name, Pose, role)
    with pytest.raises(TypeError, match="link takes"):
        Sender(5, Pose)
    with pytest.raises(TypeError, match="no_such"):
        Sender(name, Pose, no_such=1)
    with ESHM(name) as link, pytest.raises(TypeError, match="has its options already"):
        Sender(link, Pose, max_borrows=7)


def test_an_observer_receives_the_records_of_its_type(name):
    with Receiver(name, Pose, "observer") as early, Sender(name, Pose, **OPTIONS) as sender:
        with ESHM(name, "slave", **OPTIONS) as slave, Receiver(name, Pose, "observer") as late:
            slave.write(b"of the other direction")
            sender.send(Pose(1, 2))
            for receiver in (early, late):
                assert receiver.receive() == Pose(1, 2)
                assert receiver.try_receive() is None
                with pytest.raises(eshm.Timeout):
                    receiver.receive(20)


def test_an_observer_of_another_type_is_refused(name):
    with Sender(name, Pose, **OPTIONS) as sender:
        with pytest.raises(eshm.TypeMismatch, match="neither direction.*record"):
            Receiver(name, float, "observer")
        with ESHM(name, "observer") as link, pytest.raises(eshm.TypeMismatch):
            Receiver(link, float)
        with Receiver(sender.link.name + "_other", float, "observer"):
            pass  # nothing is there yet


def test_a_receiver_on_an_open_link_sees_the_type_of_the_segment(name):
    with Sender(name, Pose, **OPTIONS), ESHM(name, "slave", **OPTIONS) as slave:
        assert Receiver(slave, Pose).try_receive() is None
        with pytest.raises(eshm.TypeMismatch):
            Receiver(slave, float)


def test_a_record_is_written_in_place(name, backend):
    kind = numpy.dtype(("u1", (4, 6)))
    options = {"backend": backend, **OPTIONS}
    with Sender(name, kind, **options) as sender, Receiver(name, kind, **options) as receiver:
        with sender.loan() as loan:
            loan.value[:] = 3
            loan.value[1, 2] = 4
        got = receiver.receive()
        assert got[1, 2] == 4 and got.sum() == 3 * 24 + 1
        with sender.loan() as loan:
            loan.value = numpy.full((4, 6), 9.0)
        assert (receiver.receive() == 9).all()
        with pytest.raises(OverflowError), sender.loan() as loan:
            loan.value = numpy.full((4, 6), 300)
        assert receiver.try_receive() is None
        with pytest.raises(BufferError), sender.loan() as loan:
            kept = loan.value
        assert receiver.try_receive() is None
        del kept
        with pytest.raises(ValueError, match="with sender.loan"):
            loan.value


def test_a_structure_is_written_in_place(name):
    class Point(ctypes.Structure):
        _fields_ = [("x", ctypes.c_double), ("n", ctypes.c_int)]

    with Sender(name, Point, **OPTIONS) as sender, Receiver(name, Point, **OPTIONS) as receiver:
        with sender.loan() as loan:
            loan.value.x = 1.5
            loan.value.n = 7
        got = receiver.receive()
        assert (got.x, got.n) == (1.5, 7)


def test_a_dataclass_is_set_in_place(name):
    with Sender(name, Pose, **OPTIONS) as sender, Receiver(name, Pose, **OPTIONS) as receiver:
        with sender.loan() as loan:
            loan.value = Pose(1, 2)
            with pytest.raises(TypeError, match="set loan.value"):
                loan.value
        assert receiver.receive() == Pose(1, 2)


# ---- the rows of surprises, as they were reported --------------------------------------------


def test_what_was_changed_in_silence_arrives_or_is_refused(name):
    kind = numpy.dtype([("x", "f8"), ("y", "f8"), ("yaw", "f8")])
    turned = numpy.array((3, 1, 2), [("yaw", "f8"), ("x", "f8"), ("y", "f8")])
    with Sender(name, kind, **OPTIONS) as sender, Receiver(name, kind, **OPTIONS) as receiver:
        sender.send(turned)
        got = receiver.receive()
        assert (got["x"], got["y"], got["yaw"]) == (1, 2, 3)
        for wrong in (None, b"123", "42"):
            with pytest.raises(TypeError):
                sender.send(wrong)
        assert receiver.try_receive() is None


def test_an_image_of_floats_or_of_large_numbers_is_refused(name):
    image = numpy.dtype(("u1", (4, 4)))
    with Sender(name, image, **OPTIONS) as sender, Receiver(name, image, **OPTIONS) as receiver:
        with pytest.raises(ValueError, match="0.5"):
            sender.send(numpy.full((4, 4), 0.5))
        with pytest.raises(OverflowError, match="300"):
            sender.send(numpy.full((4, 4), 300))
        assert receiver.try_receive() is None


# ---- type checkers ---------------------------------------------------------------------------


def test_type_checkers_are_content_with_everyday_code(tmp_path):
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(
        """\
import asyncio
import dataclasses
import eshm


@dataclasses.dataclass
class Pose:
    x: float


async def main() -> None:
    link = await eshm.ESHM.open_async("a", "slave")
    await link.write_async(b"x", 10)
    size: int = link.m2s.max_message_size
    print(size)


with eshm.Sender("pose", Pose) as sender, eshm.Receiver("pose", Pose) as receiver:
    sender.send(Pose(1.0))
    got: Pose = receiver.receive()
    with sender.loan() as loan:
        loan.value = got
    both: tuple[eshm.Sender[Pose], eshm.Receiver[Pose]] = (sender, receiver)
asyncio.run(main())
"""
    )
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        """\
import eshm
import dataclasses


@dataclasses.dataclass
class Pose:
    x: float


eshm.Sender("pose", Pose).send(5)
"""
    )
    package = pathlib.Path(eshm.__file__).parent.parent
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-incremental",
        "--cache-dir",
        "/dev/null",
    ]
    environment = {"PATH": "/usr/bin:/bin"}
    if package.name != "site-packages":  # mypy finds what is installed, and refuses it twice
        environment["MYPYPATH"] = str(package)
    for path, code in ((program, 0), (wrong, 1)):
        result = subprocess.run(
            [*command, str(path)], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        assert result.returncode == code, result.stdout
    assert "Pose" in result.stdout
