# SPDX-License-Identifier: MIT
"""Checks of arguments: the error names the argument, what it takes and what came."""

from __future__ import annotations

import operator
import sys
from enum import IntEnum
from typing import Any, NoReturn, Type, TypeVar

from ._errors import InvalidParameter

_Enum = TypeVar("_Enum", bound=IntEnum)


def refuse(name: str, takes: str, value: Any) -> NoReturn:
    raise TypeError(f"{name} takes {takes}, not {type(value).__name__} {value!r}")


def text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        refuse(name, "a str", value)
    return value


def member(name: str, kind: Type[_Enum], value: Any) -> _Enum:
    """The member of an enum; it may also be given by its name or its number."""
    if isinstance(value, kind):
        return value
    takes = f"one of {', '.join(kind.__members__)}, as a member of {kind.__name__} or by its name"
    if isinstance(value, str):
        found = kind.__members__.get(value.upper())
        if found is not None:
            return found
        raise InvalidParameter(f"{name} takes {takes}, not {value!r}")
    if isinstance(value, (bool, float)):
        refuse(name, takes, value)
    try:
        number = operator.index(value)
    except TypeError:
        refuse(name, takes, value)
    try:
        return kind(number)
    except ValueError:
        raise InvalidParameter(f"{name} takes {takes}, not {value!r}") from None


def whole(name: str, value: Any, unit: str, most: int = 2**32 - 1, least: int = 0) -> int:
    takes = f"{unit}, a whole number from {least} to {most}"
    if isinstance(value, bool):
        refuse(name, takes, value)
    try:
        number = operator.index(value)
    except TypeError:
        refuse(name, takes, value)
    if not least <= number <= most:
        raise InvalidParameter(f"{name} takes {takes}, not {value!r}")
    return number


def switch(name: str, value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    if isinstance(value, bool) or (numpy is not None and isinstance(value, numpy.bool_)):
        return bool(value)
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    refuse(name, "True or False", value)
