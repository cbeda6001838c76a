# SPDX-License-Identifier: MIT
"""Random record types and values: one text in every language, and no value that changes.

The types are declared as numpy dtype, ctypes.Structure, dataclass and C++ struct. A C++
program that is compiled for them reads the bytes as its own structs and prints them.
"""

import ctypes
import dataclasses
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess

import pytest
from eshm import RecordType

numpy = pytest.importorskip("numpy")
hypothesis = pytest.importorskip("hypothesis")
Annotated = pytest.importorskip("typing").Annotated
from hypothesis import strategies as st  # noqa: E402

LONG = "ESHM_SOAK" in os.environ
EXAMPLES = 100_000 if LONG else 1_500
TYPES = 120 if LONG else 25
SEED = int(os.environ.get("ESHM_SEED", "20"))
INCLUDE = pathlib.Path(__file__).resolve().parents[2] / "include"
SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not LONG,
    suppress_health_check=list(hypothesis.HealthCheck),
)

BITS = (8, 16, 32, 64)
SCALARS = [f"{letter}{bits}" for letter in "iu" for bits in BITS] + ["f32", "f64", "bool"]
CPP = {
    **{f"i{bits}": f"std::int{bits}_t" for bits in BITS},
    **{f"u{bits}": f"std::uint{bits}_t" for bits in BITS},
    "f32": "float",
    "f64": "double",
    "bool": "bool",
    "char": "char",
}
CTYPES = {
    **{f"i{bits}": getattr(ctypes, f"c_int{bits}") for bits in BITS},
    **{f"u{bits}": getattr(ctypes, f"c_uint{bits}") for bits in BITS},
    "f32": ctypes.c_float,
    "f64": ctypes.c_double,
    "bool": ctypes.c_bool,
    "char": ctypes.c_char,
}
DTYPES = {kind: kind[0] + str(int(kind[1:]) // 8) for kind in SCALARS if kind != "bool"}
DTYPES["bool"] = "?"

# A field: (name, kind, dims). The kind of a struct is a tuple of fields. The last
# dimension of a char is a text's.


def random_fields(pick, depth=0):
    fields = []
    for number in range(pick.randint(1, 5)):
        name = f"f{number}" if pick.random() < 0.8 else f"_Field{number}"
        if depth < 2 and pick.random() < 0.2:
            fields.append((name, random_fields(pick, depth + 1), ()))
        elif pick.random() < 0.15:
            fields.append((name, "char", (pick.randint(2, 6),)))
        else:
            dims = tuple(pick.randint(1, 3) for _ in range(pick.choice((0, 0, 0, 1, 2))))
            fields.append((name, pick.choice(SCALARS), dims))
    return tuple(fields)


def kind_text(kind, dims):
    return kind + "".join(f"[{count}]" for count in dims)


def as_dtype(fields):
    described = []
    for name, kind, dims in fields:
        if isinstance(kind, tuple):
            described.append((name, as_dtype(kind)))
        elif kind == "char":
            described.append((name, f"S{dims[-1]}"))
        else:
            described.append((name, DTYPES[kind], dims))
    return numpy.dtype(described, align=True)


def as_structure(fields):
    described = []
    for name, kind, dims in fields:
        made = as_structure(kind) if isinstance(kind, tuple) else CTYPES[kind]
        for count in reversed(dims):
            made = made * count
        described.append((name, made))
    return type("Record", (ctypes.Structure,), {"_fields_": described})


def as_dataclass(fields):
    described = [
        (name, as_dataclass(kind))
        if isinstance(kind, tuple)
        else (name, Annotated[object, kind_text(kind, dims)])
        for name, kind, dims in fields
    ]
    return dataclasses.make_dataclass("Record", described)


def record_types(fields):
    return {
        "dtype": RecordType.of(as_dtype(fields), "Record"),
        "ctypes": RecordType.of(as_structure(fields), "Record"),
        "dataclass": RecordType.of(as_dataclass(fields), "Record"),
    }


# ---- the C++ reader ----------------------------------------------------------------------


def cpp_structs(fields, name, out):
    members = []
    for member, kind, dims in fields:
        made = CPP.get(kind) if isinstance(kind, str) else f"{name}_{member}"
        if isinstance(kind, tuple):
            cpp_structs(kind, made, out)
        members.append(f"  {made} {member}{''.join(f'[{count}]' for count in dims)};")
    out.append(f"struct {name} {{\n" + "\n".join(members) + "\n};")
    out.append(f"ESHM_DESCRIBE({name}, {', '.join(field[0] for field in fields)});")
    prints = "".join(f"  print(value.{member});\n" for member, _, _ in fields)
    out.append(f"inline void print(const {name}& value) {{\n{prints}}}")


def cpp_program(types):
    out = []
    cases = []
    for number, fields in enumerate(types):
        body = []
        cpp_structs(fields, "Record", body)
        out.append(f"namespace type{number} {{\nusing ::print;\n" + "\n".join(body) + "\n}")
        cases.append(f"    case {number}: serve<type{number}::Record>(is_text); break;")
    return PROGRAM.replace("STRUCTS", "\n".join(out)).replace("CASES", "\n".join(cases))


PROGRAM = r"""\
#include <cinttypes>
#include <cstdio>
#include <cstdint>
#include "eshm_types.hpp"
inline void print(bool value) { std::printf("%d ", value ? 1 : 0); }
inline void print(float value) { std::printf("%a ", double(value)); }
inline void print(double value) { std::printf("%a ", value); }
inline void print(std::int64_t value) { std::printf("%" PRId64 " ", value); }
inline void print(std::uint64_t value) { std::printf("%" PRIu64 " ", value); }
inline void print(std::int8_t value) { print(std::int64_t{value}); }
inline void print(std::int16_t value) { print(std::int64_t{value}); }
inline void print(std::int32_t value) { print(std::int64_t{value}); }
inline void print(std::uint8_t value) { print(std::uint64_t{value}); }
inline void print(std::uint16_t value) { print(std::uint64_t{value}); }
inline void print(std::uint32_t value) { print(std::uint64_t{value}); }
inline void print(char value) { print(std::uint64_t(static_cast<unsigned char>(value))); }
template <class T, std::size_t count>
void print(const T (&values)[count]) { for (const T& value : values) print(value); }
template <class T>
void serve(bool is_text) {
  if (is_text) {
    std::printf("%.*s", int(eshm::type_text<T>.size()), eshm::type_text<T>.data());
  } else {
    T value;
    if (std::fread(&value, sizeof value, 1, stdin) != 1) return;
    print(value);
  }
  std::puts("");
  std::fflush(stdout);
}
STRUCTS
int main() {
  int number;
  char what;
  while (std::scanf("%d%c", &number, &what) == 2) {
    const bool is_text = what == 't';
    switch (number) {
CASES
    }
  }
}
"""


class Reader:
    def __init__(self, program):
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.answers = self.process.stdout

    def ask(self, number, what, data=b""):
        self.process.stdin.write(b"%d%c" % (number, what) + data)
        line = b""
        while not line.endswith(b"\n"):
            line += self.answers.read(65536)
        return line.decode().strip()

    def close(self):
        with self.process:
            self.process.stdin.close()


@pytest.fixture(scope="module")
def types():
    pick = random.Random(SEED)
    return [random_fields(pick) for _ in range(TYPES)]


@pytest.fixture(scope="module")
def reader(types, tmp_path_factory):
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None or not INCLUDE.exists():
        pytest.skip("no C++ compiler, or no header beside the tests")
    folder = tmp_path_factory.mktemp("reader")
    (folder / "reader.cpp").write_text(cpp_program(types))
    subprocess.run(
        [
            compiler,
            "-std=c++17",
            "-O0",
            f"-I{INCLUDE}",
            "-o",
            folder / "reader",
            folder / "reader.cpp",
        ],
        check=True,
    )
    running = Reader(folder / "reader")
    yield running
    running.close()


# ---- values --------------------------------------------------------------------------------

INTERESTING = [
    0,
    1,
    -1,
    127,
    128,
    255,
    256,
    -128,
    -129,
    2**15,
    2**16,
    2**24 + 1,
    2**31,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    -(2**63),
    -(2**63) - 1,
    10**40,
]
numbers = st.one_of(
    st.sampled_from(INTERESTING),
    st.integers(-(2**70), 2**70),
    st.integers(-300, 300),
    st.floats(),
    st.floats(width=32),
    st.integers(-300, 300).map(float),
    st.booleans(),
    st.integers(-128, 127).map(numpy.int8),
    st.integers(0, 2**64 - 1).map(numpy.uint64),
    st.floats(width=32).map(numpy.float32),
    st.floats(width=16).map(numpy.float16),
    st.booleans().map(numpy.bool_),
    st.integers(-9, 9).map(numpy.array),
)
others = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.complex_numbers(max_magnitude=9),
    st.just(numpy.datetime64("2020-01-01")),
    st.just(numpy.timedelta64(1, "s")),
    st.just([]),
)


def fitting(kind):
    """Values that fit, mostly."""
    if kind == "bool":
        return st.booleans()
    if kind == "f32":
        return st.floats(width=32)
    if kind == "f64":
        return st.floats()
    bits = int(kind[1:])
    low = -(2 ** (bits - 1)) if kind[0] == "i" else 0
    return st.integers(low, low + 2**bits - 1)


def scalars(kind, wild):
    if not wild:
        return fitting(kind)
    return st.one_of(fitting(kind), fitting(kind), fitting(kind), numbers, others)


def arrays(kind, dims, wild):
    if not dims:
        return scalars(kind, wild)
    nested = st.lists(arrays(kind, dims[1:], wild), min_size=dims[0], max_size=dims[0])
    as_array = st.sampled_from(["f8", "f4", "i8", "u8", "i2", ">i4", ">f8", "?"]).flatmap(
        lambda dtype: st.lists(
            st.integers(0, 200), min_size=math.prod(dims), max_size=math.prod(dims)
        ).map(lambda flat: numpy.array(flat).reshape(dims).astype(dtype))
    )
    return st.one_of(nested, as_array) if wild else nested


def values(fields, wild):
    members = {}
    for name, kind, dims in fields:
        if isinstance(kind, tuple):
            members[name] = values(kind, wild)
        elif kind == "char":
            members[name] = st.binary(max_size=dims[-1] + (1 if wild else 0))
        else:
            members[name] = arrays(kind, dims, wild)
    made = st.fixed_dictionaries(members)
    # In any order: fields are matched by name.
    return made.flatmap(lambda one: st.permutations(list(one.items())).map(dict))


# ---- what should arrive ---------------------------------------------------------------------


class Refused(Exception):
    pass


def expected_scalar(kind, value):
    """An oracle that works on exact numbers alone."""
    if isinstance(value, numpy.ndarray) and value.shape == ():
        value = value[()]
    if isinstance(value, numpy.timedelta64):
        raise Refused
    if isinstance(value, (numpy.bool_, bool)):
        value = int(value)
    if isinstance(value, numpy.integer):
        value = int(value)
    if isinstance(value, (numpy.floating, float)):
        value = float(value)
    if not isinstance(value, (int, float)):
        raise Refused
    if kind in ("f32", "f64"):
        if isinstance(value, float):
            if kind == "f64" or not math.isfinite(value):
                return value
            try:
                return struct.unpack("f", struct.pack("f", value))[0]
            except OverflowError:
                raise Refused from None
        digits = 24 if kind == "f32" else 53
        odd = abs(value)
        while odd and odd % 2 == 0:
            odd //= 2
        if odd.bit_length() > digits or abs(value) >= 2 ** (128 if kind == "f32" else 1024):
            raise Refused
        return float(value)
    if isinstance(value, float) and (not math.isfinite(value) or value != math.floor(value)):
        raise Refused
    value = int(value)
    bits, signed = (1, False) if kind == "bool" else (int(kind[1:]), kind[0] == "i")
    low = -(2 ** (bits - 1)) if signed else 0
    if not low <= value < low + 2**bits:
        raise Refused
    return value


def expected_array(kind, dims, value):
    if not dims:
        return [expected_scalar(kind, value)]
    if isinstance(value, numpy.ndarray):
        if value.shape != dims:
            raise Refused
    elif not isinstance(value, (list, tuple)) or len(value) != dims[0]:
        raise Refused
    return [one for item in value for one in expected_array(kind, dims[1:], item)]


def expected(fields, value):
    flat = []
    for name, kind, dims in fields:
        if isinstance(kind, tuple):
            flat += expected(kind, value[name])
        elif kind == "char":
            if len(value[name]) > dims[-1] or value[name].endswith(b"\0"):
                raise Refused
            flat += list(value[name].ljust(dims[-1], b"\0"))
        else:
            flat += expected_array(kind, dims, value[name])
    return flat


def same(ours, theirs):
    if isinstance(ours, float) and math.isnan(ours):
        return math.isnan(float.fromhex(theirs))
    if isinstance(ours, float):
        got = float.fromhex(theirs)
        return (got, math.copysign(1, got)) == (ours, math.copysign(1, ours))
    return int(theirs) == ours


def as_list(item):
    return (item if isinstance(item, numpy.ndarray) else numpy.array(item, object)).reshape(-1)


def flattened(fields, value):
    """What a received record holds, as `expected` lists it."""
    flat = []
    for name, kind, dims in fields:
        is_numpy = isinstance(value, (numpy.void, numpy.ndarray))
        item = value[name] if is_numpy else getattr(value, name)
        if isinstance(kind, tuple):
            flat += flattened(kind, item)
        elif kind == "char":
            flat += list(bytes(item).ljust(dims[-1], b"\0"))
        else:
            flat += [
                one.item() if isinstance(one, numpy.generic) else one
                for one in (as_list(item) if dims else [item])
            ]
    return flat


def judge(fields, value, check_bytes):
    try:
        wanted = expected(fields, value)
    except Refused:
        wanted = None
    for word, made in record_types_of(fields).items():
        if wanted is None:
            with pytest.raises((TypeError, ValueError, OverflowError), match="takes"):
                made.pack(value)
            continue
        data = bytes(memoryview(made.pack(value)).cast("B"))
        assert len(data) == made.size
        check_bytes(data, wanted)
        got = made.unpack(data)
        if word != "ctypes":  # whose texts end, when they are looked at, at the first zero byte
            for ours, theirs in zip(wanted, flattened(fields, got)):
                assert ours == theirs or (ours != ours and theirs != theirs)
        # The received record, sent on, gives the same bytes, whatever the type of the sender.
        check_bytes(bytes(memoryview(made.pack(got)).cast("B")), wanted)


_MADE = {}


def record_types_of(fields):
    if fields not in _MADE:
        _MADE[fields] = record_types(fields)
    return _MADE[fields]


# ---- the properties --------------------------------------------------------------------------


def test_random_types_have_one_text_in_every_language(types, reader):
    for number, fields in enumerate(types):
        texts = {word: made.text for word, made in record_types_of(fields).items()}
        assert set(texts.values()) == {reader.ask(number, ord("t"))}, fields


@SETTINGS
@hypothesis.given(st.randoms(use_true_random=False))
def test_random_types_have_one_text_in_python(pick):
    texts = {made.text for made in record_types(random_fields(pick)).values()}
    assert len(texts) == 1


def test_random_values_arrive_in_cpp_exactly_or_are_refused(types, reader):
    arrived = refused = 0

    @SETTINGS
    @hypothesis.given(st.data())
    def check(data):
        nonlocal arrived, refused
        number = data.draw(st.integers(0, len(types) - 1))
        fields = types[number]
        value = data.draw(values(fields, wild=data.draw(st.booleans())))
        seen = {}

        def check_bytes(raw, wanted):
            if raw not in seen:
                seen[raw] = reader.ask(number, ord("v"), raw).split()
            theirs = seen[raw]
            assert len(theirs) == len(wanted)
            assert all(map(same, wanted, theirs)), (fields, value, theirs)

        judge(fields, value, check_bytes)
        arrived, refused = arrived + bool(seen), refused + (not seen)

    check()
    # Both happen, or nothing was seen.
    assert arrived > EXAMPLES // 20 and refused > EXAMPLES // 20, (arrived, refused)
