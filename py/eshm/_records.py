# SPDX-License-Identifier: MIT
"""Record types: a declaration's canonical text and fingerprint, values to bytes and back.

The canonical text gives name, kind and offset of every field, as in
`Pose{x:f64@0,y:f64@8,id:u32@16}24`. The text's FNV-1a fingerprint is stored in the
segment, so that a process in C++ or Python with another layout is refused, and the
error shows both texts.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
import struct
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

from ._layouts import (
    KINDS,
    PLAIN_TYPES,
    Field,
    Layout,
    is_ctype,
    of_ctype,
    of_dataclass,
    of_dtype,
    scalar,
)
from ._values import exact_array, to_bytes


def fingerprint_of(text: str) -> int:
    """FNV-1a, 64 bits, of the canonical text."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


# ---- values and bytes ------------------------------------------------------------


class _Leaf(NamedTuple):
    """A scalar, a text or an array of them in a dataclass."""

    path: str  # as for operator.attrgetter
    layout: Layout
    offset: int


def _leaves(layout: Layout, path: str = "", offset: int = 0) -> Iterator[_Leaf]:
    for field in layout.fields:
        inside = path + field.name
        if field.layout.kind:
            yield _Leaf(inside, field.layout, offset + field.offset)
        else:
            yield from _leaves(field.layout, inside + ".", offset + field.offset)


def _nested(layout: Layout, path: str = "") -> Iterator[Tuple[str, Any]]:
    """Path and class of each dataclass within."""
    for field in layout.fields:
        if not field.layout.kind:
            yield path + field.name, field.layout.cls
            yield from _nested(field.layout, f"{path}{field.name}.")


def _getter(paths: List[str]) -> Any:
    """Gives the attributes with these paths as a tuple."""
    if len(paths) == 1:
        get = operator.attrgetter(paths[0])
        return lambda value: (get(value),)
    return operator.attrgetter(*paths) if paths else lambda value: ()


_ELEMENTS = {"f": float, "i": int, "u": int, "b": bool}
_TYPES = {**_ELEMENTS, "c": bytes}


class _Unseen:
    """What dataclasses and plain numbers have in common: no view into the segment."""

    def view(self, room: Any) -> Any:
        raise TypeError(
            "only numpy and ctypes records can be written in place; set loan.value to a record"
        )


class _DataclassCodec(_Unseen):
    """Converts dataclass values to bytes and back by one struct.Struct.

    The common case is fast: each attribute has the very type of its field, and the
    struct module checks the ranges. Everything else, to_bytes decides.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._cls = layout.cls
        leaves = list(_leaves(layout))
        codes: List[str] = []
        end = 0
        for leaf in leaves:
            count = leaf.layout.size // leaf.layout.element_size
            if leaf.layout.kind == "char" and len(leaf.layout.dims) > 1:
                count = leaf.layout.dims[-1]
                codes.append(f"{leaf.offset - end}x")
                codes += [f"{count}s"] * (leaf.layout.size // count)
            else:
                codes.append(f"{leaf.offset - end}x{count}{KINDS[leaf.layout.kind][1]}")
            end = leaf.offset + leaf.layout.size
        self._struct = struct.Struct("=" + "".join(codes) + f"{layout.size - end}x")
        self._flat = _getter([leaf.path for leaf in leaves])
        self._types = tuple(
            list if leaf.layout.dims and not leaf.layout.is_text else _TYPES[leaf.layout.kind[0]]
            for leaf in leaves
        )
        nested = list(_nested(layout))
        self._nested = _getter([path for path, _ in nested]) if nested else None
        self._nested_types = tuple(cls for _, cls in nested)
        # Those leaves that struct alone would pad, cut or refuse: (index, dims, type of the
        # elements); without a type, one text of up to dims[0] bytes.
        self._special: List[Tuple[int, Tuple[int, ...], Optional[type]]] = [
            (index, leaf.layout.dims, _ELEMENTS.get(leaf.layout.kind[0]))
            for index, leaf in enumerate(leaves)
            if leaf.layout.dims or leaf.layout.kind == "char"
        ]
        self._make = _maker(layout)

    def pack(self, value: Any) -> Any:
        if type(value) is self._cls:
            try:
                flat = self._flat(value)
                if tuple(map(type, flat)) == self._types and (
                    self._nested is None
                    or tuple(map(type, self._nested(value))) == self._nested_types
                ):
                    return self._struct.pack(*(self._expanded(flat) if self._special else flat))
            except (struct.error, OverflowError, AttributeError):
                pass
        return to_bytes(self._layout, value)

    def _expanded(self, flat: Tuple[Any, ...]) -> List[Any]:
        """With the elements of arrays in their place; () if struct must not pack them."""
        values: List[Any] = []
        done = 0
        for index, dims, kind in self._special:
            values += flat[done:index]
            done = index + 1
            item = flat[index]
            if kind is not None:
                if not _collect(dims, kind, item, values):
                    return []
                continue
            if len(dims) > 1 or (
                len(item) > dims[0] or item[-1:] == b"\0" if dims else len(item) != 1
            ):
                return []
            values.append(item)
        values += flat[done:]
        return values

    def unpack(self, data: Any) -> Any:
        return self._make(iter(self._struct.unpack(data)))


def _maker(layout: Layout) -> Callable[[Iterator[Any]], Any]:
    """What makes a value of the numbers and bytes objects that come next."""
    if layout.kind and not layout.dims:
        return next
    if layout.is_text:
        return lambda flat: next(flat).rstrip(b"\0")
    if layout.kind:
        count = layout.dims[0]
        if len(layout.dims) == 1:
            return lambda flat: list(itertools.islice(flat, count))
        inner = _maker(layout.element)
        return lambda flat: [inner(flat) for _ in range(count)]
    cls = layout.cls
    names = [field.name for field in layout.fields]
    makers = [_maker(field.layout) for field in layout.fields]
    if not _takes_positions(cls, names):
        return lambda flat: cls(**{name: make(flat) for name, make in zip(names, makers)})
    if all(make is next for make in makers):
        fields = len(names)
        return lambda flat: cls(*itertools.islice(flat, fields))
    return lambda flat: cls(*[make(flat) for make in makers])


def _takes_positions(cls: Any, names: List[str]) -> bool:
    import inspect

    parameters = list(inspect.signature(cls).parameters.values())[: len(names)]
    return [p.name for p in parameters] == names and all(
        p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters
    )


_LIST = {list}


def _collect(dims: Tuple[int, ...], kind: type, item: Any, values: List[Any]) -> bool:
    """Appends the elements of nested lists; False where they are not of the shape and kind."""
    if type(item) is not list or len(item) != dims[0]:
        return False
    for count in dims[1:]:
        if set(map(type, item)) != _LIST or set(map(len, item)) != {count}:
            return False
        item = list(itertools.chain.from_iterable(item))
    if set(map(type, item)) != {kind}:
        return False
    values += item
    return True


class _PlainCodec(_Unseen):
    """bool, int and float."""

    def __init__(self, layout: Layout, kind: type) -> None:
        self._layout = layout
        self._kind = kind
        self._struct = struct.Struct("=" + KINDS[layout.kind][1])

    def pack(self, value: Any) -> Any:
        return to_bytes(self._layout, value)

    def unpack(self, data: Any) -> Any:
        return self._struct.unpack(data)[0]


class _CtypesCodec:
    """A value of the very class is its own bytes."""

    def __init__(self, layout: Layout, cls: Any) -> None:
        self._layout = layout
        self._cls = cls

    def pack(self, value: Any) -> Any:
        return value if type(value) is self._cls else to_bytes(self._layout, value)

    def unpack(self, data: Any) -> Any:
        return self._cls.from_buffer_copy(data)

    def view(self, room: Any) -> Any:
        return self._cls.from_buffer(room)


class _NumpyCodec:
    """Arrays and array scalars of one dtype."""

    def __init__(self, layout: Layout, dtype: Any) -> None:
        import numpy

        self._layout = layout
        self._dtype: Any
        self._shape: Tuple[int, ...]
        self._dtype, self._shape = dtype.subdtype or (dtype, ())
        self._kind = layout.kind
        self._numpy = numpy
        self._ndarray = numpy.ndarray
        self._void: Any = numpy.void if dtype.names is not None else None

    def pack(self, value: Any) -> Any:
        kind = type(value)
        if kind is self._ndarray:
            if value.shape == self._shape and value.dtype == self._dtype:
                return value if value.flags.c_contiguous else value.copy()
            # An array of one record is how numpy users write a record.
            if value.shape == (1,) and not self._shape and value.dtype.names is not None:
                return value if value.dtype == self._dtype else self.pack(value.reshape(()))
            if value.dtype.names is not None and self._dtype.names is not None:
                return self._pack_fields(value)
        elif kind is self._void and value.dtype == self._dtype:
            return self._numpy.array(value)
        return to_bytes(self._layout, value)

    def _pack_fields(self, value: Any) -> Any:
        """Field by field, by name; to_bytes where one is not of plain numbers or does not fit."""
        if value.shape != self._shape or set(value.dtype.names) != set(self._dtype.names):
            return to_bytes(self._layout, value)
        record: Any = self._numpy.zeros(self._shape, self._dtype)
        for field in self._layout.fields:
            if field.layout.kind in ("", "char"):
                return to_bytes(self._layout, value)
            column, ours = value[field.name], record[field.name]
            exact = exact_array(field.layout.kind, column) if column.shape == ours.shape else None
            if exact is None:
                return to_bytes(self._layout, value)
            ours[...] = exact
        return record

    def unpack(self, data: Any) -> Any:
        # Makes one object. frombuffer and reshape make three, which costs a
        # reader that has just woken, with cold caches, another 5 us.
        array = self._ndarray(self._shape or (1,), self._dtype, data)
        return array if self._shape else array[0]

    def view(self, room: Any) -> Any:
        return self._numpy.frombuffer(room, self._dtype).reshape(self._shape)


class RecordType:
    """The type of a channel's messages.

    text: the canonical text, which both ends compare; fingerprint: FNV-1a of it;
    size: of a record, in bytes.
    """

    __slots__ = ("text", "fingerprint", "size", "_codec")

    text: str
    fingerprint: int
    size: int

    def __init__(self, name: str, layout: Layout, codec: Any) -> None:
        if not name.isidentifier():
            raise ValueError(f"{name!r} cannot name a record type")
        if layout.kind or layout.dims:
            # An array alone has the layout of `struct name { ... data; }` in C++.
            layout = Layout("", (Field("data", layout, 0),), (), layout.size, layout.alignment)
        self.text = f"{name}{layout.text}{layout.size}"
        self.fingerprint = fingerprint_of(self.text)
        self.size = layout.size
        self._codec = codec

    @classmethod
    def of(cls, thing: Any, name: Optional[str] = None) -> RecordType:
        """The record type of a declaration.

        thing: a numpy dtype, a ctypes.Structure, a dataclass of plain numbers, bool, int,
        float, or a RecordType. name: the C++ struct's name; default: the class's own, or
        "record" for a dtype or a plain number.
        Raises TypeError, which names the field, for what has no counterpart in C++.
        """
        if isinstance(thing, RecordType):
            return thing
        if isinstance(thing, type) and dataclasses.is_dataclass(thing):
            layout = of_dataclass(thing)
            return cls(name or thing.__name__, layout, _DataclassCodec(layout))
        if is_ctype(thing):
            layout = of_ctype(thing)
            return cls(name or thing.__name__, layout, _CtypesCodec(layout, thing))
        if isinstance(thing, type) and thing in PLAIN_TYPES:
            layout = scalar(PLAIN_TYPES[thing])
            return cls(name or "record", layout, _PlainCodec(layout, thing))
        if thing is None:  # which numpy takes for float64
            raise TypeError("a record type is wanted, not None")
        try:
            import numpy
        except ImportError as error:
            raise TypeError(
                f"{thing!r} is neither a dataclass nor a ctypes.Structure; for a numpy dtype, "
                "numpy must be installed: pip install eshm[numpy]"
            ) from error
        dtype = numpy.dtype(thing)
        layout = of_dtype(dtype)
        return cls(name or "record", layout, _NumpyCodec(layout, dtype))

    def pack(self, value: Any) -> Any:
        """An object with the buffer protocol that holds the record's bytes.

        Fields are matched by name. Raises TypeError, ValueError or OverflowError, with the
        field's name, unless the record holds exactly the value.
        """
        return self._codec.pack(value)

    @property
    def pack_function(self) -> Callable[[Any], Any]:
        """pack, less one call."""
        return self._codec.pack  # type: ignore[no-any-return]

    def unpack(self, data: Any) -> Any:
        """The record whose bytes `data` holds; numpy types may refer to `data`."""
        return self._codec.unpack(data)

    def __repr__(self) -> str:
        return f"<RecordType {self.text}>"
