# SPDX-License-Identifier: MIT
"""Values into the bytes of a record: exactly, or not at all.

A field takes every value that it can hold unchanged, whatever its type in Python: 3.0
fits into u8, 2**53 + 1 does not fit into f64. The one exception: a float is rounded to
the nearest one into f32, unless it would become infinite. Records are matched by the
names of their fields. Everything else raises TypeError, ValueError or OverflowError,
with the field, what came, and what the field takes.
"""

from __future__ import annotations

import array
import collections.abc
import dataclasses
import math
import operator
import struct
import sys
from typing import Any, Callable, Dict, NoReturn, Optional, Tuple, Type, Union

from ._layouts import KINDS, PLAIN_TYPES, Layout, is_ctype, of_ctype

_RANGES = {
    kind: (0 if kind[0] == "u" else -(2 ** (8 * size - 1)), 2 ** (8 * size - (kind[0] == "i")) - 1)
    for kind, (size, _) in KINDS.items()
    if kind[0] in "iu"
}
_PACKERS = {kind: struct.Struct("=" + code) for kind, (_, code) in KINDS.items()}
# Largest integer below which every integer is one of the kind's numbers.
_ALL_INTEGERS_UP_TO = {"f32": 2**24, "f64": 2**53}


# ---- refusals ----------------------------------------------------------------------


def _takes(layout: Layout) -> str:
    if layout.is_text:
        return f"bytes, {layout.dims[0]} at most, not ending in a zero byte"
    if layout.dims:
        shape = ", ".join(map(str, layout.dims))
        return f"an array of shape ({shape}{',' if len(layout.dims) == 1 else ''})"
    if not layout.kind:
        return f"a record with the fields {', '.join(field.name for field in layout.fields)}"
    if layout.kind in _RANGES:
        return "whole numbers from %d to %d" % _RANGES[layout.kind]
    return {"bool": "True or False, 1 or 0", "char": "one byte"}.get(layout.kind, "numbers")


def refuse(error: Type[Exception], layout: Layout, where: str, came: str) -> NoReturn:
    subject = f"field {where!r}" if where else "the value"
    kind = f"{layout.kind or 'record'}{''.join(f'[{n}]' for n in layout.dims)}"
    raise error(f"{subject} ({kind}) takes {_takes(layout)}, not {came}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse_type(layout: Layout, where: str, value: Any) -> NoReturn:
    came = f"{type(value).__name__} {_shown(value)}"
    if isinstance(value, str) and layout.kind == "char":
        came += "; .encode() makes bytes of it"
    elif hasattr(value, "__array__") and type(value).__module__.partition(".")[0] != "numpy":
        came += "; numpy.asarray() makes an array of it"  # of pandas and torch objects
    refuse(TypeError, layout, where, came)


# ---- single numbers ----------------------------------------------------------------

_ROUNDED = object()  # in place of a numpy.longdouble that no float is equal to


def _plain(value: Any) -> Any:
    """The bool, int, float or bytes that the value is equal to; None if it is neither."""
    kind = type(value)
    if kind in PLAIN_TYPES or kind is bytes:
        return value
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return _plain_of_numpy(value, numpy)
    if isinstance(value, float):
        return float.__pos__(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if is_ctype(kind) and isinstance(getattr(kind, "_type_", None), str):
        try:
            of_ctype(kind)
        except TypeError:  # a pointer
            return None
        return value.value
    try:
        return operator.index(value)
    except Exception:  # whatever a foreign __index__ raises
        return None


def _is_masked(value: Any, numpy: Any) -> bool:
    if not isinstance(value, numpy.ma.MaskedArray):
        return False
    return bool(numpy.any(numpy.ma.flatten_mask(numpy.ma.getmaskarray(value))))


def _plain_of_numpy(value: Any, numpy: Any) -> Any:
    if isinstance(value, numpy.ndarray):
        if value.ndim != 0 or _is_masked(value, numpy):
            return None
        value = value[()]
        if not isinstance(value, numpy.generic):  # of an object array
            return None if isinstance(value, numpy.ndarray) else _plain(value)
    if isinstance(value, numpy.timedelta64):  # a numpy.integer, too
        return None
    if isinstance(value, numpy.bool_):
        return bool(value)
    if isinstance(value, numpy.integer):
        return int(value)
    if isinstance(value, numpy.floating):
        as_float = float(value)
        return as_float if as_float == value or as_float != as_float else _ROUNDED
    return bytes(value) if isinstance(value, numpy.bytes_) else None


def _number(layout: Layout, value: Any, where: str) -> Union[int, float]:
    number = _plain(value)
    if number is _ROUNDED:
        refuse(ValueError, layout, where, f"{_shown(value)}, which it cannot hold exactly")
    if not isinstance(number, (int, float)):
        _refuse_type(layout, where, value)
    return number


def _to_integer(layout: Layout, value: Any, where: str) -> int:
    number = _number(layout, value, where)
    if isinstance(number, float):
        if not number.is_integer():  # neither infinity nor NaN is one
            refuse(ValueError, layout, where, _shown(value))
        number = int(number)
    low, high = _RANGES[layout.kind]
    if not low <= number <= high:
        refuse(OverflowError, layout, where, _shown(value))
    return int(number)


def _to_float(layout: Layout, value: Any, where: str) -> float:
    number = _number(layout, value, where)
    if isinstance(number, int):
        try:
            as_float = float(number)
            packed = _PACKERS[layout.kind].pack(as_float)
            if int(_PACKERS[layout.kind].unpack(packed)[0]) == number:
                return as_float
        except OverflowError:
            refuse(OverflowError, layout, where, f"{_shown(value)}, which it cannot hold")
        refuse(ValueError, layout, where, f"{_shown(value)}, which it cannot hold exactly")
    if layout.kind == "f32":
        try:
            _PACKERS["f32"].pack(number)
        except OverflowError:
            refuse(OverflowError, layout, where, f"{_shown(value)}, which would become infinite")
    return number


def _to_bool(layout: Layout, value: Any, where: str) -> bool:
    number = _number(layout, value, where)
    if number not in (0, 1):
        refuse(ValueError, layout, where, _shown(value))
    return bool(number)


def _to_char(layout: Layout, value: Any, where: str) -> bytes:
    text = _plain(value)
    if not isinstance(text, bytes):
        _refuse_type(layout, where, value)
    if text == b"" and type(value).__module__ == "numpy":
        return b"\0"  # which numpy shows so
    if len(text) != 1:
        refuse(ValueError, layout, where, _shown(value))
    return text


def _to_text(layout: Layout, value: Any, where: str) -> bytes:
    text = _plain(value)
    if not isinstance(text, bytes):
        if is_ctype(type(value)) and getattr(type(value), "_type_", None) is not None:
            text = _text_of_ctypes(layout, value)
        if not isinstance(text, bytes):
            _refuse_type(layout, where, value)
    if len(text) > layout.dims[0] or text.endswith(b"\0"):
        refuse(ValueError, layout, where, f"{_shown(value)}, which has {len(text)}")
    return text


def _text_of_ctypes(layout: Layout, value: Any) -> Optional[bytes]:
    try:
        theirs = of_ctype(type(value))
    except TypeError:
        return None
    return bytes(value).rstrip(b"\0") if theirs.is_text else None


_SCALARS: Dict[str, Callable[[Layout, Any, str], Any]] = {
    **dict.fromkeys(_RANGES, _to_integer),
    "f32": _to_float,
    "f64": _to_float,
    "bool": _to_bool,
    "char": _to_char,
}


# ---- arrays ------------------------------------------------------------------------


def _put_array(layout: Layout, value: Any, room: bytearray, offset: int, where: str) -> None:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        if _is_masked(value, numpy):
            refuse(ValueError, layout, where, "an array with masked elements")
        if isinstance(value, numpy.ma.MaskedArray):
            value = value.data
        shape = layout.dims[:-1] if layout.kind == "char" else layout.dims
        if value.shape != shape:
            refuse(ValueError, layout, where, f"an array of shape {value.shape}")
        if layout.kind not in ("", "char"):
            exact = exact_array(layout.kind, value)
            if exact is not None:
                room[offset : offset + layout.size] = exact.tobytes()
                return
    else:
        _check_sequence(layout, value, where)
        if len(layout.dims) == 1 and _pack_list(layout, value, room, offset):
            return
    inner = layout.element
    for index, item in enumerate(value):
        put(inner, item, room, offset + index * inner.size, f"{where}[{index}]")


def _check_sequence(layout: Layout, value: Any, where: str) -> None:
    is_sequence = (
        isinstance(value, (list, tuple, range, array.array))
        or (isinstance(value, (bytes, bytearray)) and layout.kind == "u8" and len(layout.dims) == 1)
        or (is_ctype(type(value)) and hasattr(value, "_length_"))
    )
    if not is_sequence:
        _refuse_type(layout, where, value)
    if len(value) != layout.dims[0]:
        refuse(ValueError, layout, where, f"{type(value).__name__} of {len(value)}")


_LISTED = {"f": {float}, "i": {int}, "u": {int}, "b": {bool}}


def _pack_list(layout: Layout, value: Any, room: bytearray, offset: int) -> bool:
    """Packs a list of the kind's own numbers in one step; False if something does not fit."""
    if type(value) not in (list, tuple) or set(map(type, value)) != _LISTED.get(layout.kind[:1]):
        return False
    try:
        struct.pack_into(f"={len(value)}{KINDS[layout.kind][1]}", room, offset, *value)
    except (struct.error, OverflowError):
        return False
    return True


def exact_array(kind: str, array_: Any) -> Any:
    """The numpy array in C order with the kind's dtype and equal elements; or None.

    None means that an element has to be looked at by itself: perhaps it does not fit.
    """
    import numpy

    target = numpy.dtype("?" if kind == "bool" else kind[0] + str(KINDS[kind][0]))
    source = array_.dtype
    if source == target:
        return array_
    if source.kind not in "biuf":
        return None
    if array_.size and not _fits(kind, array_, target, numpy):
        return None
    with numpy.errstate(all="ignore"):
        return array_.astype(target)


def _fits(kind: str, array_: Any, target: Any, numpy: Any) -> bool:
    """Whether astype(target) keeps every element's value."""
    source = array_.dtype
    if kind == "bool":
        return bool(((array_ == 0) | (array_ == 1)).all())
    if source.kind == "f" and target.kind == "f":
        if source.itemsize > 8:
            return False
        with numpy.errstate(all="ignore"):
            became_infinite = numpy.isinf(array_.astype(target)) & ~numpy.isinf(array_)
        return not became_infinite.any()
    if source.kind == "f" and not (numpy.isfinite(array_) & (array_ == numpy.trunc(array_))).all():
        return False
    low, high = int(array_.min()), int(array_.max())
    if target.kind == "f":
        return -_ALL_INTEGERS_UP_TO[kind] <= low and high <= _ALL_INTEGERS_UP_TO[kind]
    return _RANGES[kind][0] <= low and high <= _RANGES[kind][1]


# ---- records -----------------------------------------------------------------------


def _members(value: Any) -> Optional[Tuple[Any, Callable[[str], Any]]]:
    """The names of a record's fields, and what gives one's value; None if it is no record."""
    if isinstance(value, collections.abc.Mapping):
        return value.keys(), value.__getitem__
    kind: Any = type(value)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return names, lambda name: getattr(value, name)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.void)):
        names = value.dtype.names
        if names is None or value.shape != () or _is_masked(value, numpy):
            return None
        return names, lambda name: value[name]
    if is_ctype(kind) and hasattr(value, "_fields_"):
        return _ctypes_members(value)
    return None


def _ctypes_members(value: Any) -> Optional[Tuple[Any, Callable[[str], Any]]]:
    try:
        theirs = of_ctype(type(value))
    except TypeError:
        return None
    data = memoryview(bytes(value))
    fields = {field.name: field for field in theirs.fields}

    def member(name: str) -> Any:
        # An array of characters, asked for by its attribute, ends at its first zero byte.
        field = fields[name]
        if field.layout.is_text:
            part = data[field.offset : field.offset + field.layout.size]
            return bytes(part).rstrip(b"\0")
        return getattr(value, name)

    return fields, member


def _put_record(layout: Layout, value: Any, room: bytearray, offset: int, where: str) -> None:
    members = _members(value)
    if members is None:
        _refuse_type(layout, where, value)
    names, member = members
    ours = {field.name for field in layout.fields}
    missing = [field.name for field in layout.fields if field.name not in names]
    extra = [str(name) for name in names if name not in ours]
    if missing or extra:
        came = f"{type(value).__name__}"
        if missing:
            came += f" without {', '.join(missing)}"
        if extra:
            came += f" with {', '.join(extra)}"
        refuse(TypeError, layout, where, came)
    for field in layout.fields:
        inside = f"{where}.{field.name}" if where else field.name
        try:
            item = member(field.name)
        except AttributeError:
            refuse(TypeError, layout, where, f"{type(value).__name__} without {field.name}")
        put(field.layout, item, room, offset + field.offset, inside)


def put(layout: Layout, value: Any, room: bytearray, offset: int, where: str) -> None:
    """Puts the value's bytes into the room, at the offset; `where` names it in an error."""
    if layout.is_text:
        text = _to_text(layout, value, where)
        room[offset : offset + len(text)] = text
    elif layout.dims:
        _put_array(layout, value, room, offset, where)
    elif layout.kind:
        number = _SCALARS[layout.kind](layout, value, where)
        _PACKERS[layout.kind].pack_into(room, offset, number)
    else:
        _put_record(layout, value, room, offset, where)


def to_bytes(layout: Layout, value: Any) -> bytearray:
    """The record's bytes; padding is zero."""
    room = bytearray(layout.size)
    put(layout, value, room, 0, "")
    return room
