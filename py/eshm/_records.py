# SPDX-License-Identifier: MIT
"""Record types: the layout of a message's fields, and values to bytes and back.

A record type is made from a numpy dtype, a ctypes.Structure or a dataclass of
plain numbers. Its canonical text gives name, kind and offset of every field, as
in `Pose{x:f64@0,y:f64@8,id:u32@16}24`. The text's FNV-1a fingerprint is stored
in the segment, so that a process in C++ or Python with another layout is
refused, and the error shows both texts.
"""

from __future__ import annotations

import dataclasses
import re
import struct
import sys
import typing
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

# kind: (bytes, code of the struct module)
_KINDS = {
    "i8": (1, "b"),
    "i16": (2, "h"),
    "i32": (4, "i"),
    "i64": (8, "q"),
    "u8": (1, "B"),
    "u16": (2, "H"),
    "u32": (4, "I"),
    "u64": (8, "Q"),
    "f32": (4, "f"),
    "f64": (8, "d"),
    "bool": (1, "?"),
    "char": (1, "s"),
}


def fingerprint_of(text: str) -> int:
    """FNV-1a, 64 bits, of the canonical text."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


# ---- layouts ---------------------------------------------------------------------


class _Layout(NamedTuple):
    """A scalar kind or a struct's fields; with `dims`, an array of them."""

    kind: str  # "" for a struct
    fields: Tuple[_Field, ...]
    dims: Tuple[int, ...]
    element_size: int
    alignment: int
    cls: Any = None  # the dataclass of a struct

    @property
    def size(self) -> int:
        size = self.element_size
        for count in self.dims:
            size *= count
        return size

    @property
    def text(self) -> str:
        inner = self.kind
        if not inner:
            inner = "{%s}" % ",".join(
                f"{field.name}:{field.layout.text}@{field.offset}" for field in self.fields
            )
        return inner + "".join(f"[{count}]" for count in self.dims)


class _Field(NamedTuple):
    name: str
    layout: _Layout
    offset: int


def _scalar(kind: str, dims: Tuple[int, ...] = ()) -> _Layout:
    size = _KINDS[kind][0]
    return _Layout(kind, (), dims, size, size)


def _of_dtype(dtype: Any) -> _Layout:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        inner = _of_dtype(base)
        return inner._replace(dims=tuple(shape) + inner.dims)
    if dtype.names is not None:
        fields = tuple(
            _Field(name, _of_dtype(dtype.fields[name][0]), dtype.fields[name][1])
            for name in dtype.names
        )
        return _Layout("", fields, (), dtype.itemsize, dtype.alignment)
    if dtype.kind == "S" and dtype.itemsize > 0:
        return _scalar("char", () if dtype.itemsize == 1 else (dtype.itemsize,))
    if dtype.kind not in "iufb" or not dtype.isnative:
        raise TypeError(f"{dtype!r} is not a plain number of this machine")
    kind = "bool" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize * 8}"
    if kind not in _KINDS:
        raise TypeError(f"{dtype!r} is not a kind of number that C++ shares")
    return _scalar(kind)


def _of_ctype(ctype: Any) -> _Layout:
    import ctypes

    if issubclass(ctype, ctypes.Array):
        inner = _of_ctype(ctype._type_)
        return inner._replace(dims=(ctype._length_, *inner.dims))
    if issubclass(ctype, ctypes.Structure):
        fields = []
        for entry in ctype._fields_:
            if len(entry) != 2:
                raise TypeError(f"{ctype.__name__}.{entry[0]} is a bit field")
            offset = getattr(ctype, entry[0]).offset
            fields.append(_Field(entry[0], _of_ctype(entry[1]), offset))
        size, alignment = ctypes.sizeof(ctype), ctypes.alignment(ctype)
        return _Layout("", tuple(fields), (), size, alignment)
    code = getattr(ctype, "_type_", None)
    if code == "?":
        return _scalar("bool")
    if code == "c":
        return _scalar("char")
    size = ctypes.sizeof(ctype)
    if code in ("f", "d"):
        return _scalar(f"f{size * 8}")
    if isinstance(code, str) and code in "bhilq":
        return _scalar(f"i{size * 8}")
    if isinstance(code, str) and code in "BHILQ":
        return _scalar(f"u{size * 8}")
    raise TypeError(f"{ctype!r} is not a plain number")


def _of_kind_text(text: str) -> _Layout:
    match = re.fullmatch(r"(\w+)((?:\[[1-9][0-9]*\])*)", text)
    if match is None or match.group(1) not in _KINDS:
        raise TypeError(f"{text!r} is not a kind: one of {', '.join(_KINDS)}, perhaps with [N]")
    return _scalar(match.group(1), tuple(int(n) for n in re.findall(r"\d+", match.group(2))))


def _of_annotation(annotation: Any) -> _Layout:
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, str):
            return _of_kind_text(extra)
    plain = {bool: "bool", int: "i64", float: "f64"}
    if annotation in plain:
        return _scalar(plain[annotation])
    if dataclasses.is_dataclass(annotation):
        return _of_dataclass(annotation)
    if _is_ctype(annotation) and isinstance(getattr(annotation, "_type_", None), str):
        return _of_ctype(annotation)
    raise TypeError(
        f'{annotation!r} is not a plain number: bool, int, float, Annotated[int, "u32"], '
        "a ctypes number or another such dataclass"
    )


def _of_dataclass(cls: Any) -> _Layout:
    """The layout that a C compiler gives a struct of these fields."""
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = []
    end, alignment = 0, 1
    for field in dataclasses.fields(cls):
        layout = _of_annotation(hints[field.name])
        offset = -(-end // layout.alignment) * layout.alignment
        fields.append(_Field(field.name, layout, offset))
        end = offset + layout.size
        alignment = max(alignment, layout.alignment)
    size = -(-end // alignment) * alignment
    return _Layout("", tuple(fields), (), size, alignment, cls)


def _is_ctype(thing: Any) -> bool:
    ctypes = sys.modules.get("ctypes")
    # _SimpleCData, Structure and Array share a base class without a public name.
    return ctypes is not None and isinstance(thing, type) and hasattr(thing, "from_buffer_copy")


# ---- values and bytes ------------------------------------------------------------


class _Codec:
    """Converts dataclass values to bytes and back by one struct.Struct."""

    def __init__(self, layout: _Layout) -> None:
        codes: List[str] = []
        end = self._collect(layout, 0, 0, codes)
        self._struct = struct.Struct("=" + "".join(codes) + f"{layout.size - end}x")
        self._layout = layout

    def _collect(self, layout: _Layout, offset: int, end: int, codes: List[str]) -> int:
        if layout.kind:
            codes.append(f"{offset - end}x")
            count = layout.size // layout.element_size
            codes.append(f"{count}{_KINDS[layout.kind][1]}")
            return offset + layout.size
        for field in layout.fields:
            end = self._collect(field.layout, offset + field.offset, end, codes)
        return end

    def pack(self, value: Any) -> bytes:
        flat: List[Any] = []
        self._flatten(self._layout, value, flat)
        return self._struct.pack(*flat)

    def _flatten(self, layout: _Layout, value: Any, flat: List[Any]) -> None:
        if not layout.kind:
            for field in layout.fields:
                self._flatten(field.layout, getattr(value, field.name), flat)
        elif layout.kind == "char" or not layout.dims:
            flat.append(value)
        else:
            self._flatten_array(layout.dims, value, flat)

    def _flatten_array(self, dims: Tuple[int, ...], value: Any, flat: List[Any]) -> None:
        if len(value) != dims[0]:
            raise ValueError(f"an array of {dims[0]} is wanted, not of {len(value)}")
        for item in value:
            if len(dims) > 1:
                self._flatten_array(dims[1:], item, flat)
            else:
                flat.append(item)

    def unpack(self, data: Any) -> Any:
        return self._build(self._layout, iter(self._struct.unpack(data)))

    def _build(self, layout: _Layout, flat: Iterator[Any]) -> Any:
        if not layout.kind:
            values = {f.name: self._build(f.layout, flat) for f in layout.fields}
            return layout.cls(**values)
        if layout.kind == "char" or not layout.dims:
            return next(flat)
        return self._build_array(layout.dims, flat)

    def _build_array(self, dims: Tuple[int, ...], flat: Iterator[Any]) -> List[Any]:
        if len(dims) == 1:
            return [next(flat) for _ in range(dims[0])]
        return [self._build_array(dims[1:], flat) for _ in range(dims[0])]


class _CtypesCodec:
    """A ctypes value is its own bytes: only its class is checked."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls

    def pack(self, value: Any) -> Any:
        if not isinstance(value, self._cls):
            raise TypeError(f"a {self._cls.__name__} is wanted, not {type(value).__name__}")
        return value

    def unpack(self, data: Any) -> Any:
        return self._cls.from_buffer_copy(data)


class _NumpyCodec:
    """Arrays and array scalars of one dtype."""

    def __init__(self, dtype: Any) -> None:
        import numpy

        self._dtype: Any
        self._shape: Tuple[int, ...]
        self._dtype, self._shape = dtype.subdtype or (dtype, ())
        self._ndarray, self._contiguous = numpy.ndarray, numpy.ascontiguousarray

    def pack(self, value: Any) -> Any:
        array = self._contiguous(value, dtype=self._dtype)
        if array.shape != self._shape and not (self._shape == () and array.shape == (1,)):
            raise ValueError(f"an array of {self._shape} is wanted, not of {array.shape}")
        return array

    def unpack(self, data: Any) -> Any:
        # Makes one object. frombuffer and reshape make three, which costs a
        # reader that has just woken, with cold caches, another 5 us.
        array = self._ndarray(self._shape or (1,), self._dtype, data)
        return array if self._shape else array[0]


class RecordType:
    """The type of a channel's messages: canonical text, fingerprint, size."""

    __slots__ = ("text", "fingerprint", "size", "_codec")

    text: str
    fingerprint: int
    size: int

    def __init__(self, name: str, layout: _Layout, codec: Any) -> None:
        if not name.isidentifier():
            raise ValueError(f"{name!r} cannot name a record type")
        if layout.kind or layout.dims:
            # An array alone has the layout of `struct name { ... data; }` in C++.
            layout = _Layout("", (_Field("data", layout, 0),), (), layout.size, layout.alignment)
        self.text = f"{name}{layout.text}{layout.size}"
        self.fingerprint = fingerprint_of(self.text)
        self.size = layout.size
        self._codec = codec

    @classmethod
    def of(cls, thing: Any, name: Optional[str] = None) -> RecordType:
        """name: the C++ struct's name; default: the class's own, or "record" for a dtype."""
        if isinstance(thing, RecordType):
            return thing
        if isinstance(thing, type) and dataclasses.is_dataclass(thing):
            layout = _of_dataclass(thing)
            return cls(name or thing.__name__, layout, _Codec(layout))
        if _is_ctype(thing):
            return cls(name or thing.__name__, _of_ctype(thing), _CtypesCodec(thing))
        import numpy

        dtype = numpy.dtype(thing)
        return cls(name or "record", _of_dtype(dtype), _NumpyCodec(dtype))

    def pack(self, value: Any) -> Any:
        """An object with the buffer protocol that holds the record's bytes."""
        return self._codec.pack(value)

    def unpack(self, data: Any) -> Any:
        """The record whose bytes `data` holds; numpy types may refer to `data`."""
        return self._codec.unpack(data)

    def __repr__(self) -> str:
        return f"<RecordType {self.text}>"
