# SPDX-License-Identifier: MIT
"""What a record takes: each cell of the table in py/README.md.

Each test sends a value of one kind into a field, through a record type of each kind,
and expects the value itself, or the error of the table with the field's name.
"""

import array
import collections
import ctypes
import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import struct
import types

import pytest
from eshm import RecordType

numpy = pytest.importorskip("numpy")
Annotated = pytest.importorskip("typing").Annotated

KINDS = "i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 bool char".split()
DTYPES = {
    **{kind: kind[0] + str(int(kind[1:]) // 8) for kind in KINDS[:10]},
    "bool": "?",
    "char": "S1",
}
CTYPES = {
    **{f"i{bits}": getattr(ctypes, f"c_int{bits}") for bits in (8, 16, 32, 64)},
    **{f"u{bits}": getattr(ctypes, f"c_uint{bits}") for bits in (8, 16, 32, 64)},
    "f32": ctypes.c_float,
    "f64": ctypes.c_double,
    "bool": ctypes.c_bool,
    "char": ctypes.c_char,
}


def split(kind):
    """'f32[2][3]': 'f32', (2, 3)"""
    name, *dims = kind.replace("]", "").split("[")
    return name, tuple(map(int, dims))


def as_dtype(kind):
    name, dims = split(kind)
    if name == "char" and dims:
        return (f"S{dims[-1]}", dims[:-1])
    return (DTYPES[name], dims)


def as_ctype(kind):
    name, dims = split(kind)
    made = CTYPES[name]
    for count in reversed(dims):
        made = made * count
    return made


def numpy_record(kind):
    return RecordType.of(numpy.dtype([("before", "u1"), ("field", *as_dtype(kind))], align=True))


def ctypes_record(kind):
    fields = [("before", ctypes.c_uint8), ("field", as_ctype(kind))]
    return RecordType.of(type("record", (ctypes.Structure,), {"_fields_": fields}))


def dataclass_record(kind):
    fields = [("before", Annotated[int, "u8"]), ("field", Annotated[object, kind])]
    return RecordType.of(dataclasses.make_dataclass("record", fields))


def nested_record(kind):
    inner = dataclasses.make_dataclass("Inner", [("field", Annotated[object, kind])])
    return RecordType.of(dataclasses.make_dataclass("record", [("inner", inner)]))


def plain_record(kind):
    return RecordType.of(numpy.dtype(as_dtype(kind)))


RECORDS = {
    "dtype": numpy_record,
    "ctypes": ctypes_record,
    "dataclass": dataclass_record,
    "nested": nested_record,
    "plain": plain_record,
}
every_record = pytest.mark.parametrize("record", RECORDS)


def listed(value):
    """Arrays of every kind as nested lists, numbers as Python's own."""
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return value.tolist()
    if isinstance(value, ctypes.Array):
        if value._type_ is ctypes.c_char:
            return bytes(value).rstrip(b"\0")
        return [listed(item) for item in value]
    return value


def trip(record, kind, value):
    """What arrives of a value that is sent in a field of this kind."""
    made = RECORDS[record](kind)
    if record == "plain":
        return listed(made.unpack(bytes(memoryview(made.pack(value)))))
    if record == "nested":
        got = made.unpack(bytes(made.pack({"inner": {"field": value}}))).inner
    else:
        got = made.unpack(bytes(made.pack({"before": 200, "field": value})))
        assert (got["before"] if record == "dtype" else got.before) == 200
    return listed(got["field"] if record == "dtype" else got.field)


def refused(error, record, kind, value):
    with pytest.raises((TypeError, ValueError, OverflowError)) as caught:
        trip(record, kind, value)
    assert caught.type is error, caught.value
    text = str(caught.value)
    assert "takes" in text and kind.split("[")[0] in text
    if record != "plain":
        assert "field" in text
    return text


# ---- numbers that fit ----------------------------------------------------------------


class Number(enum.IntEnum):
    SEVEN = 7


class Index:
    def __index__(self):
        return 7


SEVENS = {
    "int": 7,
    "float": 7.0,
    "enum": Number.SEVEN,
    "index": Index(),
    "numpy int8": numpy.int8(7),
    "numpy uint64": numpy.uint64(7),
    "numpy float16": numpy.float16(7),
    "numpy float64": numpy.float64(7),
    "numpy longdouble": numpy.longdouble(7),
    "array of no dimensions": numpy.array(7),
    "array of an object": numpy.array(7, dtype=object),
    "big-endian array": numpy.array(7, dtype=">i4"),
    "ctypes": ctypes.c_int(7),
    "ctypes double": ctypes.c_double(7),
}


@every_record
@pytest.mark.parametrize("kind", KINDS[:10])
@pytest.mark.parametrize("value", SEVENS.values(), ids=SEVENS)
def test_a_number_that_fits_arrives(record, kind, value):
    assert trip(record, kind, value) == 7


@every_record
@pytest.mark.parametrize("kind", KINDS[:8])
def test_the_ends_of_a_range_arrive_and_what_lies_beyond_is_refused(record, kind):
    low, high = (int(getattr(numpy.iinfo(DTYPES[kind]), end)) for end in ("min", "max"))
    for value in (low, high):
        assert trip(record, kind, value) == value
    for value in (low - 1, high + 1, 10**30, -(10**30)):
        text = refused(OverflowError, record, kind, value)
        assert str(low) in text and str(high) in text and str(value) in text
    refused(OverflowError, record, kind, 1e300)


@every_record
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] == "u"])
def test_negative_into_unsigned_is_refused(record, kind):
    for value in (-1, -1.0, numpy.int8(-1)):
        refused(OverflowError, record, kind, value)


@every_record
@pytest.mark.parametrize("kind", KINDS[:8])
@pytest.mark.parametrize(
    "value", [0.5, math.nan, math.inf, -math.inf, numpy.float32(0.5)], ids=repr
)
def test_a_float_that_is_no_integer_is_refused_by_integers(record, kind, value):
    refused(ValueError, record, kind, value)


@every_record
@pytest.mark.parametrize("kind, digits", [("f32", 24), ("f64", 53)])
def test_an_integer_that_a_float_would_round_is_refused(record, kind, digits):
    assert trip(record, kind, 2**digits) == 2**digits
    assert trip(record, kind, 2**60) == 2**60
    refused(ValueError, record, kind, 2**digits + 1)
    refused(ValueError, record, kind, numpy.int64(-(2**digits) - 1))
    refused(OverflowError, record, kind, 10**400)


@every_record
def test_a_float_is_rounded_to_the_nearest_into_f32(record):
    assert trip(record, "f32", 0.1) == struct.unpack("f", struct.pack("f", 0.1))[0]
    assert trip(record, "f32", math.inf) == math.inf
    assert math.isnan(trip(record, "f32", math.nan))
    for value in (1e39, -1e39, numpy.float64(1e300)):
        refused(OverflowError, record, "f32", value)


@every_record
def test_a_float_arrives_exactly_in_f64(record):
    for value in (0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf):
        got = trip(record, "f64", value)
        assert (got, math.copysign(1, got)) == (value, math.copysign(1, value))
    assert math.isnan(trip(record, "f64", math.nan))
    if numpy.finfo(numpy.longdouble).nmant > 52:
        refused(ValueError, record, "f64", numpy.longdouble(1) / 3)


@every_record
def test_bool_takes_what_is_equal_to_true_or_false(record):
    for value in (True, False, 1, 0, 1.0, numpy.bool_(True), numpy.int8(0), numpy.array(True)):
        assert trip(record, "bool", value) is bool(value)
    for value in (2, -1, 0.5, math.nan):
        refused(ValueError, record, "bool", value)


@every_record
@pytest.mark.parametrize("kind", KINDS[:10])
def test_true_arrives_as_one(record, kind):
    assert trip(record, kind, True) == 1
    assert trip(record, kind, numpy.bool_(True)) == 1


# ---- what is no number -----------------------------------------------------------------


class Pandas:
    """As pandas' and torch's objects: no numpy.ndarray, but it can make one."""

    def __init__(self, values):
        self.values = values

    def __array__(self, *arguments, **options):
        return numpy.array(self.values)

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter(self.values)

    def __float__(self):
        return float(self.values[0])


NO_NUMBERS = {
    "None": None,
    "str": "42",
    "complex": 1 + 0j,
    "numpy complex": numpy.complex64(1),
    "datetime64": numpy.datetime64("2020-01-01"),
    "timedelta64": numpy.timedelta64(1, "s"),
    "datetime": datetime.datetime(2020, 1, 1),
    "Decimal": decimal.Decimal(1),
    "Fraction": fractions.Fraction(1),
    "object": object(),
    "pointer": ctypes.c_void_p(1),
    "char pointer": ctypes.c_char_p(b"1"),
    "list": [1],
    "tuple": (1,),
    "dict": {"field": 1},
    "pandas or torch": Pandas([1]),
    "masked": numpy.ma.masked,
    "array of one": numpy.array([1]),
}


@every_record
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused(record, kind, value):
    if record == "plain" and kind == "char" and value is numpy.ma.masked:
        value = None
    refused(TypeError, record, kind, value)


@every_record
@pytest.mark.parametrize("kind", KINDS[:11])
def test_bytes_are_no_number(record, kind):
    refused(TypeError, record, kind, b"123")
    refused(TypeError, record, kind, bytearray(b"1"))


# ---- characters ------------------------------------------------------------------------


@every_record
def test_char_takes_one_byte(record):
    for value in (b"x", bytearray(b"x"), numpy.bytes_(b"x"), ctypes.c_char(b"x")):
        assert trip(record, "char", value) == b"x"
    for value in (b"", b"xy"):
        refused(ValueError, record, "char", value)
    for value in (1, 1.0, True):
        refused(TypeError, record, "char", value)


@every_record
def test_a_text_arrives_and_a_longer_one_is_refused(record):
    inside = () if record == "ctypes" else (b"a\0b",)  # which .field of a structure hides
    for value in (b"", b"ab", b"abcd", *inside, bytearray(b"ab"), numpy.bytes_(b"ab")):
        assert trip(record, "char[4]", value) == bytes(value)
    assert trip(record, "char[4]", (ctypes.c_char * 4)(*b"ab")) == b"ab"
    for value in (b"abcde", b"ab\0"):
        refused(ValueError, record, "char[4]", value)
    for value in (1, None, [b"a"], 1.5):
        refused(TypeError, record, "char[4]", value)
    assert "encode" in refused(TypeError, record, "char[4]", "ab")


@every_record
def test_arrays_of_texts_arrive(record):
    assert trip(record, "char[2][3]", [b"ab", b"c"]) == [b"ab", b"c"]
    assert trip(record, "char[2][3]", numpy.array([b"ab", b"c"])) == [b"ab", b"c"]
    refused(ValueError, record, "char[2][3]", [b"ab"])
    assert "[1]" in refused(ValueError, record, "char[2][3]", [b"ab", b"cdef"])


# ---- arrays ----------------------------------------------------------------------------

SIX = [[1, 2, 3], [4, 5, 6]]
SIXES = {
    "lists": SIX,
    "tuples": tuple(map(tuple, SIX)),
    "floats": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
    "int64 array": numpy.array(SIX),
    "float64 array": numpy.array(SIX, "f8"),
    "float16 array": numpy.array(SIX, "f2"),
    "uint8 array": numpy.array(SIX, "u1"),
    "big-endian array": numpy.array(SIX, ">i4"),
    "big-endian floats": numpy.array(SIX, ">f8"),
    "object array": numpy.array(SIX, object),
    "Fortran order": numpy.asfortranarray(SIX),
    "transposed": numpy.array(SIX).T.copy().T,
    "strided": numpy.repeat(SIX, 2, axis=1)[:, ::2],
    "reversed": numpy.array(SIX)[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": numpy.frombuffer(bytes([1, 2, 3, 4, 5, 6]), "u1").reshape(2, 3),
    "masked, nothing masked": numpy.ma.masked_array(SIX),
    "list of arrays": [numpy.array(row) for row in SIX],
    "array.array": [array.array("d", row) for row in SIX],
    "ctypes array": ((ctypes.c_int * 3) * 2)(*map(tuple, SIX)),
    "ranges": [range(1, 4), range(4, 7)],
}


@every_record
@pytest.mark.parametrize("kind", KINDS[:10])
@pytest.mark.parametrize("value", SIXES.values(), ids=SIXES)
def test_an_array_of_the_shape_arrives(record, kind, value):
    assert trip(record, f"{kind}[2][3]", value) == SIX


OTHER_SHAPES = {
    "shorter": [[1, 2], [3, 4]],
    "fewer rows": [[1, 2, 3]],
    "more rows": [*SIX, [7, 8, 9]],
    "flat array": numpy.arange(6),
    "turned array": numpy.array(SIX).T,
    "deeper array": numpy.array([SIX]),
    "no dimensions": numpy.array(1),
    "empty array": numpy.zeros((0, 3)),
    "ragged": [[1, 2, 3], [4, 5]],
    "masked": numpy.ma.masked_array(SIX, mask=[[0, 0, 0], [0, 0, 1]]),
}


@every_record
@pytest.mark.parametrize("kind", ["u8", "f32", "f64", "bool"])
@pytest.mark.parametrize("value", OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_an_array_of_another_shape_is_refused(record, kind, value):
    if kind == "bool":
        value = numpy.ma.minimum(value, 1) if isinstance(value, numpy.ma.MaskedArray) else value
    with pytest.raises(ValueError, match="takes"):
        trip(record, f"{kind}[2][3]", value)


NO_ARRAYS = {
    "number": 1,
    "None": None,
    "str": "ab",
    "bytes": b"ab",
    "set": {1, 2},
    "dict": {0: 1, 1: 2},
    "generator": (x for x in (1, 2)),
    "pandas or torch": Pandas([1, 2]),
}


@every_record
@pytest.mark.parametrize("value", NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_what_is_no_array_is_refused(record, value):
    text = refused(TypeError, record, "f64[2]", value)
    assert "numpy.asarray" in text or not isinstance(value, Pandas)


@every_record
def test_bytes_are_an_array_of_u8_alone(record):
    assert trip(record, "u8[3]", b"abc") == list(b"abc")
    assert trip(record, "u8[3]", bytearray(b"abc")) == list(b"abc")
    refused(TypeError, record, "i8[3]", b"abc")
    refused(ValueError, record, "u8[3]", b"ab")


@every_record
@pytest.mark.parametrize("kind", KINDS[:8])
@pytest.mark.parametrize("make", [list, tuple, numpy.array], ids=["list", "tuple", "array"])
def test_an_element_that_does_not_fit_is_named(record, kind, make):
    for value in (0.5, math.nan, math.inf):
        assert "[1]" in refused(ValueError, record, f"{kind}[3]", make([1, value, 3]))
    beyond = int(numpy.iinfo(DTYPES[kind]).max) + 1
    assert "[1]" in refused(OverflowError, record, f"{kind}[3]", make([1, beyond, 3]))


@every_record
@pytest.mark.parametrize("make", [list, numpy.array], ids=["list", "array"])
def test_an_element_that_f32_would_make_infinite_is_named(record, make):
    assert trip(record, "f32[2]", make([0.5, math.inf])) == [0.5, math.inf]
    assert "[1]" in refused(OverflowError, record, "f32[2]", make([0.5, 1e39]))


@every_record
@pytest.mark.parametrize("kind, digits", [("f32", 24), ("f64", 53)])
@pytest.mark.parametrize("make", [list, numpy.array], ids=["list", "array"])
def test_an_integer_element_that_a_float_would_round_is_named(record, kind, digits, make):
    assert trip(record, f"{kind}[2]", make([1, 2**62])) == [1, 2**62]
    assert "[1]" in refused(ValueError, record, f"{kind}[2]", make([1, 2**digits + 1]))


@every_record
def test_large_unsigned_elements_arrive_exactly(record):
    values = [2**64 - 1, 2**63]
    assert trip(record, "u64[2]", values) == values
    assert trip(record, "u64[2]", numpy.array(values, "u8")) == values
    assert trip(record, "u64[2]", numpy.array([2.0**63, 0])) == [2**63, 0]
    refused(OverflowError, record, "i64[2]", numpy.array(values, "u8"))
    refused(OverflowError, record, "i64[2]", numpy.array([2.0**63, 0]))


NO_NUMBER_ARRAYS = {
    "objects": numpy.array([1, "a", None], object)[:2],
    "datetime64": numpy.array(["2020", "2021"], "M8[s]"),
    "timedelta64": numpy.array([1, 2], "m8[s]"),
    "complex": numpy.array([1, 2], "c16"),
    "str": numpy.array(["1", "2"]),
    "bytes": numpy.array([b"1", b"2"]),
}


@every_record
@pytest.mark.parametrize("kind", ["i64", "f64", "bool"])
@pytest.mark.parametrize("value", NO_NUMBER_ARRAYS.values(), ids=NO_NUMBER_ARRAYS)
def test_an_array_of_no_numbers_is_refused(record, kind, value):
    refused(TypeError, record, f"{kind}[2]", value)


# ---- records ---------------------------------------------------------------------------


@dataclasses.dataclass
class Place:
    x: float
    y: float
    yaw: float


@dataclasses.dataclass
class Turned:
    yaw: float
    x: float
    y: float


class PlaceStructure(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in ("x", "y", "yaw")]


class TurnedStructure(ctypes.Structure):
    _fields_ = [("yaw", ctypes.c_float), ("x", ctypes.c_double), ("y", ctypes.c_int16)]


PLACE = numpy.dtype([(name, "f8") for name in ("x", "y", "yaw")])
TURNED = numpy.dtype([("yaw", ">f8"), ("x", "i2"), ("y", "f4")])
PLACES = {"dataclass": Place, "ctypes": PlaceStructure, "dtype": PLACE}
every_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)


def coordinates(got):
    names = ("x", "y", "yaw")
    return tuple(
        float(got[name] if isinstance(got, (numpy.void, numpy.ndarray)) else getattr(got, name))
        for name in names
    )


def send_place(place, value):
    made = RecordType.of(place)
    return coordinates(made.unpack(bytes(memoryview(made.pack(value)))))


SAME_NAMES = {
    "dict": {"yaw": 3, "x": 1, "y": 2},
    "mapping": types.MappingProxyType({"yaw": 3, "x": 1, "y": 2}),
    "ordered dict": collections.OrderedDict(yaw=3.0, x=1.0, y=2.0),
    "dataclass": Place(1, 2, 3),
    "dataclass, other order": Turned(3, 1, 2),
    "ctypes": PlaceStructure(1, 2, 3),
    "ctypes, other order and kinds": TurnedStructure(3, 1, 2),
    "numpy record": numpy.array((1, 2, 3), PLACE)[()],
    "array of no dimensions": numpy.array((1, 2, 3), PLACE),
    "other order, kinds and byte order": numpy.array((3, 1, 2), TURNED),
    "record of other order": numpy.array([(3, 1, 2)], TURNED)[0],
    "record array": numpy.rec.array([(3, 1, 2)], TURNED)[0],
    "padded": numpy.array(
        (1, 2, 3),
        numpy.dtype({"names": ["x", "y", "yaw"], "formats": ["f8"] * 3, "offsets": [8, 24, 40]}),
    ),
}


@every_place
@pytest.mark.parametrize("value", SAME_NAMES.values(), ids=SAME_NAMES)
def test_fields_are_matched_by_name(place, value):
    assert send_place(place, value) == (1, 2, 3)


def test_an_array_of_one_record_is_a_record_of_a_dtype():
    assert send_place(PLACE, numpy.array([(1, 2, 3)], PLACE)) == (1, 2, 3)
    assert send_place(PLACE, numpy.array([(3, 1, 2)], TURNED)) == (1, 2, 3)


@dataclasses.dataclass
class Higher(Place):
    z: float


@dataclasses.dataclass
class Flat:
    x: float
    y: float


class HigherStructure(PlaceStructure):
    _fields_ = [("z", ctypes.c_double)]


OTHER_NAMES = {
    "missing in a dict": ({"x": 1, "y": 2}, "yaw"),
    "one more in a dict": ({"x": 1, "y": 2, "yaw": 3, "z": 4}, "z"),
    "another name": ({"x": 1, "y": 2, "Yaw": 3}, "yaw"),
    "missing in a dataclass": (Flat(1, 2), "yaw"),
    "one more in a dataclass": (Higher(1, 2, 3, 4), "z"),
    "one more in a structure": (HigherStructure(1, 2, 3, 4), "z"),
    "missing in a dtype": (numpy.zeros((), [("x", "f8"), ("y", "f8")]), "yaw"),
    "one more in a dtype": (numpy.zeros((), [*PLACE.descr, ("z", "f8")]), "z"),
}


@every_place
@pytest.mark.parametrize("value, field", OTHER_NAMES.values(), ids=OTHER_NAMES)
def test_a_missing_or_extra_field_is_refused_by_name(place, value, field):
    with pytest.raises(TypeError, match=f"(without|with).*{field}"):
        send_place(place, value)


NO_RECORDS = {
    "None": None,
    "bytes": b"123",
    "str": "42",
    "number": 1,
    "tuple": (1, 2, 3),
    "list": [1, 2, 3],
    "plain array": numpy.arange(3.0),
    "array of two": numpy.zeros(2, PLACE),
    "class": Place,
    "object with the attributes": types.SimpleNamespace(x=1, y=2, yaw=3),
    "named tuple": collections.namedtuple("Named", "x y yaw")(1, 2, 3),
    "masked record": numpy.ma.masked_array([(1, 2, 3)], [(1, 0, 0)], PLACE)[0],
    "pandas or torch": Pandas([1, 2, 3]),
}


@every_place
@pytest.mark.parametrize("value", NO_RECORDS.values(), ids=NO_RECORDS)
def test_what_is_no_record_is_refused(place, value):
    with pytest.raises(TypeError, match="takes a record with the fields x, y, yaw"):
        send_place(place, value)


@every_place
def test_a_wrong_field_is_named(place):
    for wrong, error in ((None, TypeError), ("1", TypeError), (2**53 + 1, ValueError)):
        with pytest.raises(error, match="'y'"):
            send_place(place, {"x": 1, "y": wrong, "yaw": 3})


def test_a_wrong_attribute_of_a_dataclass_is_named():
    with pytest.raises(TypeError, match="'y'"):
        send_place(Place, Place(1, "2", 3))
    value = Place(1, 2, 3)
    del value.y
    with pytest.raises(TypeError, match="without y"):
        send_place(Place, value)


def test_a_nested_record_is_matched_by_name():
    @dataclasses.dataclass
    class Robot:
        place: Place
        id: int

    made = RecordType.of(Robot)
    for place in (Place(1, 2, 3), Turned(3, 1, 2), {"yaw": 3, "x": 1, "y": 2}):
        assert made.unpack(made.pack(Robot(place, 7))) == Robot(Place(1, 2, 3), 7)
    with pytest.raises(TypeError, match="'place'.*with z"):
        made.pack(Robot(Higher(1, 2, 3, 4), 7))
    with pytest.raises(OverflowError, match="'id'"):
        made.pack(Robot(Place(1, 2, 3), 2**63))


def test_arrays_of_records_are_matched_by_name():
    made = RecordType.of(numpy.dtype((PLACE, (2,))))
    values = numpy.array([(3, 1, 2), (6, 4, 5)], TURNED)
    got = made.unpack(bytes(made.pack(values)))
    assert [coordinates(one) for one in got] == [(1, 2, 3), (4, 5, 6)]
    assert made.unpack(bytes(made.pack([Place(1, 2, 3), Turned(6, 4, 5)]))).tolist() == got.tolist()
    with pytest.raises(TypeError, match=r"\[1\]"):
        made.pack([Place(1, 2, 3), Flat(4, 5)])


def test_a_value_of_another_type_leaves_no_trace_of_padding():
    made = RecordType.of(numpy.dtype([("a", "u1"), ("b", "u4")], align=True))
    assert bytes(made.pack({"a": 255, "b": 1})) == b"\xff\0\0\0\1\0\0\0"


# ---- declarations ----------------------------------------------------------------------


def structure(base=ctypes.Structure, **attributes):
    return type("record", (base,), attributes)


class Bits(ctypes.Structure):
    _fields_ = [("wide", ctypes.c_int, 3), ("rest", ctypes.c_int, 29)]


class Either(ctypes.Union):
    _fields_ = [("whole", ctypes.c_int), ("part", ctypes.c_short)]


@dataclasses.dataclass
class Text:
    text: str


@dataclasses.dataclass
class Made:
    x: float
    y: float = dataclasses.field(init=False, default=0.0)


@dataclasses.dataclass
class Needs:
    x: float
    scale: dataclasses.InitVar[float]


@dataclasses.dataclass
class Empty:
    pass


DECLARATIONS = {
    "big-endian dtype": numpy.dtype(">f8"),
    "big-endian field": numpy.dtype([("field", ">i4")]),
    "object": numpy.dtype("O"),
    "object field": numpy.dtype([("field", "O")]),
    "str": numpy.dtype("U4"),
    "complex": numpy.dtype("c16"),
    "datetime64": numpy.dtype("M8[s]"),
    "timedelta64": numpy.dtype("m8[s]"),
    "float16": numpy.dtype("f2"),
    "longdouble": numpy.dtype("g"),
    "void": numpy.dtype("V8"),
    "no elements": numpy.dtype(("f4", (0,))),
    "no fields": numpy.dtype([]),
    "overlap": numpy.dtype({"names": ["a", "b"], "formats": ["u4", "u2"], "offsets": [0, 2]}),
    "no name for C++": numpy.dtype([("a:u8@0,b", "u1")]),
    "None": None,
    "big-endian structure": structure(ctypes.BigEndianStructure, _fields_=[("x", ctypes.c_int)]),
    "big-endian number": structure(_fields_=[("field", ctypes.c_int.__ctype_be__)]),
    "bit field": Bits,
    "union": Either,
    "union within": structure(_fields_=[("field", Either)]),
    "pointer": structure(_fields_=[("field", ctypes.c_void_p)]),
    "typed pointer": structure(_fields_=[("field", ctypes.POINTER(ctypes.c_int))]),
    "char pointer": structure(_fields_=[("field", ctypes.c_char_p)]),
    "function": structure(_fields_=[("field", ctypes.CFUNCTYPE(None))]),
    "Python object": structure(_fields_=[("field", ctypes.py_object)]),
    "wide character": structure(_fields_=[("field", ctypes.c_wchar)]),
    "long double": structure(_fields_=[("field", ctypes.c_longdouble)]),
    "empty structure": structure(_fields_=[]),
    "array without elements": structure(_fields_=[("field", ctypes.c_int * 0)]),
    "inherited bit field": structure(Bits, _fields_=[("field", ctypes.c_int)]),
    "the same name twice": structure(PlaceStructure, _fields_=[("x", ctypes.c_int)]),
    "dataclass of str": Text,
    "dataclass with a field that is made": Made,
    "dataclass that needs more": Needs,
    "dataclass without fields": Empty,
}


@pytest.mark.parametrize("declaration", DECLARATIONS.values(), ids=DECLARATIONS)
def test_a_declaration_without_a_counterpart_in_cpp_is_refused(declaration):
    with pytest.raises(TypeError) as caught:
        RecordType.of(declaration)
    assert len(str(caught.value)) > 10


def test_a_refused_declaration_names_its_field():
    within = numpy.dtype([("outer", [("inner", ">f8")])])
    with pytest.raises(TypeError, match="'outer.inner'.*byte order"):
        RecordType.of(within)
    with pytest.raises(TypeError, match="'field'.*pointer|'field'.*plain"):
        RecordType.of(DECLARATIONS["pointer"])


def test_a_text_describes_inherited_fields_padding_and_packing():
    class Packed(ctypes.Structure):
        _pack_ = 1
        _layout_ = "ms"
        _fields_ = [("a", ctypes.c_uint8), ("b", ctypes.c_uint32)]

    class Base(ctypes.Structure):
        _fields_ = [("a", ctypes.c_uint8)]

    class Derived(Base):
        _fields_ = [("b", ctypes.c_uint32)]

    loose = numpy.dtype([("a", "u1"), ("b", "u4")], align=True)
    tight = numpy.dtype([("a", "u1"), ("b", "u4")])
    long = numpy.dtype(
        {"names": ["a", "b"], "formats": ["u1", "u4"], "offsets": [0, 4], "itemsize": 12}
    )
    texts = [RecordType.of(one, "R").text for one in (Packed, tight, Derived, loose, long)]
    assert texts == [
        "R{a:u8@0,b:u32@1}5",
        "R{a:u8@0,b:u32@1}5",
        "R{a:u8@0,b:u32@4}8",
        "R{a:u8@0,b:u32@4}8",
        "R{a:u8@0,b:u32@4}12",
    ]


def test_inherited_fields_travel():
    made = RecordType.of(HigherStructure)
    got = made.unpack(bytes(made.pack(HigherStructure(1, 2, 3, 4))))
    assert (got.x, got.y, got.yaw, got.z) == (1, 2, 3, 4)


@pytest.mark.parametrize("kind, text", [(bool, "bool@0}1"), (int, "i64@0}8"), (float, "f64@0}8")])
def test_a_python_type_is_a_record_of_one_number(kind, text):
    made = RecordType.of(kind)
    assert made.text == "record{data:" + text
    got = made.unpack(bytes(made.pack(1)))
    assert got == 1 and type(got) is kind
    with pytest.raises(TypeError):
        made.pack("1")


def test_two_declarations_of_unlike_bytes_never_have_one_text():
    declared = [
        numpy.dtype([("a", "u1"), ("b", "u1")]),
        numpy.dtype([("b", "u1"), ("a", "u1")]),
        numpy.dtype([("a", "u1"), ("b", "i1")]),
        numpy.dtype([("a", "u1"), ("b", "?")]),
        numpy.dtype([("a", "u1"), ("b", "S1")]),
        numpy.dtype([("a", "u1", (2,))]),
        numpy.dtype([("a", "S2")]),
        numpy.dtype([("a", "u2")]),
        numpy.dtype([("a", [("b", "u1"), ("c", "u1")])]),
        numpy.dtype([("a", "u1"), ("b", "u1", (1,))]),
    ]
    texts = {RecordType.of(one).text for one in declared}
    assert len(texts) == len(declared)


# ---- the objects of other packages -----------------------------------------------------


def test_pandas_objects_are_refused_and_their_arrays_taken():
    pandas = pytest.importorskip("pandas")
    series = pandas.Series([1.0, 2.0])
    assert "asarray" in refused(TypeError, "dtype", "f64[2]", series)
    assert trip("dtype", "f64[2]", series.to_numpy()) == [1, 2]
    with pytest.raises(TypeError):
        send_place(PLACE, pandas.DataFrame({"x": [1], "y": [2], "yaw": [3]}))


def test_torch_objects_are_refused_and_their_arrays_taken():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([1.0, 2.0])
    assert "asarray" in refused(TypeError, "dtype", "f64[2]", tensor)
    assert trip("dtype", "f64[2]", tensor.numpy()) == [1, 2]
