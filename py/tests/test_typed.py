# SPDX-License-Identifier: MIT
"""Record types: canonical texts, fingerprints, values; and ends that differ."""

import ctypes
import dataclasses
import os
import subprocess
from typing import List

import eshm
import pytest
from eshm import ESHM, Channel, ESHMRole, Receiver, RecordType, Sender
from eshm.typed import fingerprint_of

numpy = pytest.importorskip("numpy")
Annotated = pytest.importorskip("typing").Annotated


@dataclasses.dataclass
class Pose:
    x: float
    y: float
    id: Annotated[int, "u32"]


class PoseStructure(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double), ("id", ctypes.c_uint32)]


POSE_DTYPE = numpy.dtype([("x", "f8"), ("y", "f8"), ("id", "u4")], align=True)
POSE_TEXT = "Pose{x:f64@0,y:f64@8,id:u32@16}24"
POSE_FINGERPRINT = 0xEA6FD83F4B7657FD


@dataclasses.dataclass
class Everything:
    flag: bool
    pose: Pose
    small: ctypes.c_int8
    grid: Annotated[List[List[float]], "f32[2][3]"]
    label: Annotated[bytes, "char[5]"]
    big: Annotated[int, "u64"]


# test/typed_end.cpp has the same.
EXAMPLES = {
    "Pose": Pose(1.5, -2.5, 7),
    "Everything": Everything(
        True, Pose(1.5, -2.5, 7), -3, [[1, 2, 3], [4, 5, 6]], b"label", 2**64 - 1
    ),
}


def test_the_fingerprint_is_fnv_1a():
    assert fingerprint_of("") == 0xCBF29CE484222325
    assert fingerprint_of("a") == 0xAF63DC4C8601EC8C
    assert fingerprint_of("foobar") == 0x85944171F73967E8


@pytest.mark.parametrize(
    "kind",
    [RecordType.of(Pose), RecordType.of(PoseStructure, "Pose"), RecordType.of(POSE_DTYPE, "Pose")],
)
def test_three_ways_to_say_one_struct(kind):
    assert kind.text == POSE_TEXT
    assert kind.size == 24
    assert kind.fingerprint == fingerprint_of(POSE_TEXT) == POSE_FINGERPRINT


def test_the_layout_is_a_c_compilers():
    kind = RecordType.of(Everything)
    assert kind.text == (
        "Everything{flag:bool@0,pose:{x:f64@0,y:f64@8,id:u32@16}@8,small:i8@32,"
        "grid:f32[2][3]@36,label:char[5]@60,big:u64@72}80"
    )


def test_a_dataclass_comes_back_equal():
    kind = RecordType.of(Everything)
    value = EXAMPLES["Everything"]
    data = kind.pack(value)
    assert len(data) == kind.size
    assert kind.unpack(data) == value


def test_arrays_by_themselves_are_a_struct_with_one_field():
    assert RecordType.of(numpy.dtype(("u1", (2, 3))), "Frame").text == "Frame{data:u8[2][3]@0}6"


@pytest.mark.parametrize(
    "wrong", [numpy.dtype("O"), numpy.dtype("U4"), numpy.dtype(">f8"), numpy.dtype("c16")]
)
def test_what_is_no_plain_number_is_refused(wrong):
    with pytest.raises(TypeError):
        RecordType.of(wrong)


def test_a_wrong_annotation_is_refused_in_words():
    @dataclasses.dataclass
    class Wrong:
        text: str

    with pytest.raises(TypeError, match="str"):
        RecordType.of(Wrong)


@pytest.mark.parametrize(
    "kind, value",
    [
        (Pose, Pose(1, 2, 3)),
        (PoseStructure, PoseStructure(1, 2, 3)),
        (POSE_DTYPE, numpy.array((1, 2, 3), POSE_DTYPE)),
        (numpy.dtype(("f4", (2, 2))), numpy.array([[1, 2], [3, 4]], "f4")),
    ],
    ids=["dataclass", "ctypes", "dtype", "array"],
)
def test_records_travel(name, kind, value):
    options = {"stale_threshold_ms": 10_000}
    with Sender(name, kind, **options) as sender, Receiver(name, kind, **options) as receiver:
        sender.send(value)
        got = receiver.receive()
        if kind is PoseStructure:
            got, value = bytes(got), bytes(value)
        assert numpy.array_equal(got, value) if hasattr(value, "dtype") else got == value
        assert receiver.try_receive() is None
        with pytest.raises(eshm.Timeout):
            receiver.receive(0)


def test_both_directions_of_one_link_may_be_typed(name):
    channels = {"m2s": Channel(type=Pose), "s2m": Channel(type=Everything)}
    with ESHM(name, ESHMRole.MASTER, **channels) as master:
        with ESHM(name, ESHMRole.SLAVE, **channels) as slave:
            Sender(master, Pose).send(Pose(1, 2, 3))
            assert Receiver(slave, Pose).receive() == Pose(1, 2, 3)
            with pytest.raises(eshm.TypeMismatch):
                Sender(slave, Pose)


def test_ends_of_unlike_types_refuse_each_other_by_name(name):
    @dataclasses.dataclass
    class Twist:
        x: float
        y: float
        z: float

    with Sender(name, Pose):
        with pytest.raises(eshm.TypeMismatch, match="Pose.*Twist|Twist.*Pose") as caught:
            Receiver(name, Twist, max_reconnect_attempts=1)
        assert caught.value.code is eshm.ESHMError.TYPE_MISMATCH


def test_an_untyped_end_is_let_in(name):
    with Sender(name, Pose) as sender:
        with ESHM(name, ESHMRole.SLAVE) as slave:
            sender.send(Pose(1, 2, 3))
            assert len(slave.read()) == 24


def test_an_array_is_seen_in_the_segment(name):
    kind = numpy.dtype(("u1", (480, 640)))
    with Sender(name, kind) as sender, Receiver(name, kind) as receiver:
        sender.send(numpy.full((480, 640), 7, "u1"))
        frame = receiver.view()
        assert frame.shape == (480, 640) and not frame.flags.writeable
        sender.send(numpy.full((480, 640), 8, "u1"))
        assert (frame == 7).all()
        del frame
        assert (receiver.view() == 8).all()


# ---- the other end in C++ ------------------------------------------------------------


@pytest.fixture
def cpp_end(name, backend):
    """cpp_end(verb, record): test/typed_end.cpp, which has told its record's text."""
    if "ESHM_TYPED_END" not in os.environ:
        pytest.skip("ESHM_TYPED_END names no C++ end")
    running = []

    def start(verb, record):
        process = subprocess.Popen(
            [os.environ["ESHM_TYPED_END"], verb, record, name, backend.name.lower()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout.readline() == RecordType.of(type(EXAMPLES[record])).text + "\n"
        return process

    yield start
    for process in running:
        with process:
            process.stdin.close()
            if process.wait() not in (0, 3):
                raise AssertionError(f"typed_end ended with {process.returncode}")


@dataclasses.dataclass
class FlatPose:
    """What another build may take for a Pose."""

    x: float
    y: Annotated[float, "f32"]
    id: Annotated[int, "u32"]


FLAT_POSE = RecordType.of(FlatPose, "Pose")
OPTIONS = {"stale_threshold_ms": 10_000, "max_reconnect_attempts": 1}


@pytest.mark.parametrize("record", EXAMPLES)
def test_a_record_of_cpp_arrives_in_python(name, backend, cpp_end, record):
    sender = cpp_end("send", record)
    assert sender.stdout.readline() == "sent\n"
    value = EXAMPLES[record]
    with Receiver(name, type(value), backend=backend, **OPTIONS) as receiver:
        assert receiver.receive(-1) == value


@pytest.mark.parametrize("record", EXAMPLES)
def test_a_record_of_python_arrives_in_cpp(name, backend, cpp_end, record):
    value = EXAMPLES[record]
    with Sender(name, type(value), backend=backend, **OPTIONS) as sender:
        sender.send(value)
        receiver = cpp_end("receive", record)
        assert receiver.stdout.readline() == "equal\n"
        assert receiver.wait() == 0


@pytest.mark.parametrize(
    "theirs, ours",
    [("Pose", Everything), ("Everything", Pose), ("Pose", FLAT_POSE)],
    ids=["larger", "smaller", "same name"],
)
def test_cpp_and_python_refuse_unlike_types_by_name(name, backend, cpp_end, theirs, ours):
    ours = RecordType.of(ours)
    both = [RecordType.of(type(EXAMPLES[theirs])).text, ours.text]

    def names_both(sentence):
        return all(text in sentence for text in both)

    with Sender(name, ours, backend=backend, **OPTIONS):
        receiver = cpp_end("receive", theirs)
        assert names_both(receiver.stdout.readline())
        assert receiver.wait() == 3
    sender = cpp_end("send", theirs)
    assert sender.stdout.readline() == "sent\n"
    with pytest.raises(eshm.TypeMismatch) as caught:
        Receiver(name, ours, backend=backend, **OPTIONS)
    assert names_both(str(caught.value))
