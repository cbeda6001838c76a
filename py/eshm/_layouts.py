# SPDX-License-Identifier: MIT
"""Layouts of record types: what a declaration in Python says about every byte.

A declaration is a numpy dtype, a ctypes.Structure, a dataclass of plain numbers, or a
plain number. Its layout gives name, kind and offset of each field, and the size. What
has no counterpart in a C++ struct of plain numbers is refused here, before a link is
opened: pointers, objects, unions, bit fields, another byte order, fields that overlap.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import typing
from typing import Any, Iterable, List, NamedTuple, NoReturn, Tuple

# kind: (bytes, code of the struct module)
KINDS = {
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

PLAIN_TYPES = {bool: "bool", int: "i64", float: "f64"}


class Layout(NamedTuple):
    """A scalar kind or a struct's fields; with `dims`, an array of them."""

    kind: str  # "" for a struct
    fields: Tuple[Field, ...]
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

    @property
    def element(self) -> Layout:
        """One element of the first dimension of an array."""
        return self._replace(dims=self.dims[1:])

    @property
    def is_text(self) -> bool:
        """Whether this is one array of characters, which holds a bytes object."""
        return self.kind == "char" and len(self.dims) == 1


class Field(NamedTuple):
    name: str
    layout: Layout
    offset: int


def _refuse(where: str, what: str) -> NoReturn:
    raise TypeError(f"field {where!r}: {what}" if where else what)


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def scalar(kind: str, dims: Tuple[int, ...] = ()) -> Layout:
    size = KINDS[kind][0]
    return Layout(kind, (), dims, size, size)


def _struct(
    fields: Iterable[Field], size: int, alignment: int, where: str, cls: Any = None
) -> Layout:
    """Refuses what no C++ struct has: other names, the same name twice, shared bytes."""
    fields = tuple(fields)
    seen = set()
    for field in fields:
        if not field.name.isidentifier():
            _refuse(where, f"{field.name!r} cannot be the name of a field in C++")
        if field.name in seen:
            _refuse(_inside(where, field.name), "two fields have this name")
        seen.add(field.name)
    end = 0
    for field in sorted(fields, key=lambda field: field.offset):
        if field.offset < end:
            _refuse(_inside(where, field.name), "it overlaps another field; a union has no type")
        end = field.offset + field.layout.size
    if not fields or size == 0 or end > size:
        _refuse(where, "a record without fields has no type")
    return Layout("", fields, (), size, alignment, cls)


# ---- numpy -------------------------------------------------------------------------


def of_dtype(dtype: Any, where: str = "") -> Layout:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        if 0 in shape:
            _refuse(where, f"{dtype!r} has no elements")
        inner = of_dtype(base, where)
        return inner._replace(dims=tuple(shape) + inner.dims)
    if dtype.names is not None:
        fields = (
            Field(
                name,
                of_dtype(dtype.fields[name][0], _inside(where, name)),
                dtype.fields[name][1],
            )
            for name in dtype.names
        )
        return _struct(fields, dtype.itemsize, dtype.alignment, where)
    if dtype.kind == "S" and dtype.itemsize > 0:
        return scalar("char", () if dtype.itemsize == 1 else (dtype.itemsize,))
    if not dtype.isnative:
        _refuse(
            where, f"{dtype!r} has another byte order than this machine; use .newbyteorder('=')"
        )
    kind = "bool" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize * 8}"
    if dtype.kind not in "iufb" or kind not in KINDS:
        _refuse(where, f"{dtype!r} is not a plain number: one of {', '.join(KINDS)}")
    return scalar(kind)


# ---- ctypes ------------------------------------------------------------------------


def is_ctype(thing: Any) -> bool:
    ctypes = sys.modules.get("ctypes")
    # _SimpleCData, Structure and Array share a base class without a public name.
    return ctypes is not None and isinstance(thing, type) and hasattr(thing, "from_buffer_copy")


def of_ctype(ctype: Any, where: str = "") -> Layout:
    import ctypes

    if issubclass(ctype, ctypes.Array):
        if ctype._length_ == 0:
            _refuse(where, f"{ctype.__name__} has no elements")
        inner = of_ctype(ctype._type_, where)
        return inner._replace(dims=(ctype._length_, *inner.dims))
    if issubclass(ctype, ctypes.Union):
        _refuse(where, f"{ctype.__name__} is a union, which has no type")
    if issubclass(ctype, ctypes.Structure):
        if hasattr(ctype, "_swappedbytes_"):
            _refuse(where, f"{ctype.__name__} has another byte order than this machine")
        return _struct(
            _ctypes_fields(ctype, where), ctypes.sizeof(ctype), ctypes.alignment(ctype), where
        )
    native = getattr(ctype, f"__ctype_{sys.byteorder[0]}e__", ctype)
    if native is not ctype:
        _refuse(where, f"{ctype.__name__} has another byte order than this machine")
    code = getattr(ctype, "_type_", None)
    size = ctypes.sizeof(ctype)
    if code == "?":
        return scalar("bool")
    if code == "c":
        return scalar("char")
    if code in ("f", "d"):
        return scalar(f"f{size * 8}")
    if isinstance(code, str) and code in "bhilq":
        return scalar(f"i{size * 8}")
    if isinstance(code, str) and code in "BHILQ":
        return scalar(f"u{size * 8}")
    _refuse(where, f"{ctype.__name__} is not a plain number: one of {', '.join(KINDS)}")


def _ctypes_fields(ctype: Any, where: str) -> List[Field]:
    """The fields of the class and of those that it inherits from, in memory order."""
    fields = []
    for base in reversed(ctype.__mro__):
        for name, kind, *bits in vars(base).get("_fields_", ()):
            if bits:
                _refuse(_inside(where, name), "it is a bit field, which has no type")
            offset = vars(base)[name].offset
            fields.append(Field(name, of_ctype(kind, _inside(where, name)), offset))
    return fields


# ---- dataclasses -------------------------------------------------------------------


def _of_kind_text(text: str, where: str) -> Layout:
    match = re.fullmatch(r"(\w+)((?:\[[1-9][0-9]*\])*)", text, re.ASCII)
    if match is None or match.group(1) not in KINDS:
        _refuse(where, f"{text!r} is not a kind: one of {', '.join(KINDS)}, perhaps with [N]")
    return scalar(match.group(1), tuple(int(n) for n in re.findall(r"\d+", match.group(2))))


def _of_annotation(annotation: Any, where: str) -> Layout:
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, str):
            return _of_kind_text(extra, where)
    if isinstance(annotation, type) and annotation in PLAIN_TYPES:
        return scalar(PLAIN_TYPES[annotation])
    if dataclasses.is_dataclass(annotation):
        return of_dataclass(annotation, where)
    if is_ctype(annotation) and isinstance(getattr(annotation, "_type_", None), str):
        return of_ctype(annotation, where)
    _refuse(
        where,
        f'{annotation!r} is not a plain number: bool, int, float, Annotated[int, "u32"], '
        "a ctypes number or another such dataclass",
    )


def of_dataclass(cls: Any, where: str = "") -> Layout:
    """The layout that a C compiler gives a struct of these fields."""
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = []
    end, alignment = 0, 1
    for field in dataclasses.fields(cls):
        layout = _of_annotation(hints[field.name], _inside(where, field.name))
        offset = -(-end // layout.alignment) * layout.alignment
        fields.append(Field(field.name, layout, offset))
        end = offset + layout.size
        alignment = max(alignment, layout.alignment)
    _check_that_a_receiver_can_make(cls, fields, where)
    size = -(-end // alignment) * alignment
    return _struct(fields, size, alignment, where, cls)


def _check_that_a_receiver_can_make(cls: Any, fields: List[Field], where: str) -> None:
    import inspect

    names = [field.name for field in fields]
    try:
        inspect.signature(cls).bind(**dict.fromkeys(names))
    except TypeError as error:
        _refuse(
            where,
            f"a receiver cannot make {cls.__name__} of its fields {', '.join(names)}: {error}",
        )
