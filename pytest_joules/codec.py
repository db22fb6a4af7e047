"""Value objects to plain JSON data and back, by their type annotations."""

from __future__ import annotations

import contextlib
import gc
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, TypeVar

T = TypeVar("T")

DEEPEST = 50
"""Levels of free-form data, such as what a test puts into ``extra_info``, that are taken from a file."""

_PLAIN = frozenset((str, float, int, bool, NoneType))
_Decoder = Callable[[Any], Any]


class CodecError(ValueError):
    """Data that does not fit the type; the message names the place."""


class _Misfit(Exception):
    """The same before all of the place is known: each level on the way out adds its step."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self.steps: list[str] = []

    def within(self, step: str) -> _Misfit:
        self.steps.append(step)
        return self


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """A large file is a million objects and no cycle; looking for one takes more time than reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def shown(text: str, longest: int = 200) -> str:
    """What somebody else wrote, as part of one printable line."""
    text = text if len(text) <= longest else text[: longest - 3] + "..."
    return text if text.isprintable() else ascii(text)[1:-1]


def one_line(text: str) -> str:
    """What somebody else wrote, without line breaks and characters that cannot be printed."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def encode(value: Any) -> Any:
    """Turn dataclasses, enums, tuples and mappings into dicts, lists and scalars."""
    kind: Any = type(value)
    if kind in _PLAIN:
        return value
    if names := _field_names(kind):
        return {name: encode(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return list(value) if _PLAIN.issuperset(map(type, value)) else [encode(item) for item in value]
    return value


def decode(kind: type[T], data: Any) -> T:
    """Build a ``kind`` from what :func:`encode` made of one.

    Raises:
        CodecError: naming the place where the data does not fit.
    """
    of: Any = kind
    try:
        decoded: T = _decoder(of)(data)
    except _Misfit as misfit:
        raise CodecError(f"{shown(kind.__name__ + ''.join(reversed(misfit.steps)))}: {misfit}") from misfit
    return decoded


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


@cache
def _decoder(kind: Any) -> _Decoder:
    """What makes a ``kind`` of data; it raises :class:`_Misfit`.  Made once: a report holds a million values."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return _free
    if kind is float:
        return _float
    if origin in (typing.Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return _optional(_decoder(inner))
    if origin is tuple:
        return _tuple(arguments[0])
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(arguments[1])
    if issubclass(kind, Enum):
        return _enum(kind)
    return _dataclass(kind) if is_dataclass(kind) else _scalar(kind)


def _misfit(wanted: str, data: Any) -> _Misfit:
    return _Misfit(f"expected {wanted}, found {shown(str(data), 60)!r}")


def _float(data: Any) -> float:
    if not isinstance(data, (float, int)) or isinstance(data, bool):
        raise _misfit("float", data)
    try:
        number = float(data)
    except OverflowError:
        raise _Misfit(f"a number of {len(str(data))} digits is too large") from None
    if not math.isfinite(number):
        raise _misfit("a finite number", data)
    return number


def _free(data: Any, depth: int = 0) -> Any:
    """Free-form data, within what JSON can hold and what can be walked."""
    if depth > DEEPEST:
        raise _Misfit(f"nested deeper than {DEEPEST} levels")
    if isinstance(data, dict):
        for item in data.values():
            _free(item, depth + 1)
    elif isinstance(data, list):
        for item in data:
            _free(item, depth + 1)
    elif type(data) is float and not math.isfinite(data):
        raise _misfit("a finite number", data)
    return data


def _scalar(kind: type) -> _Decoder:
    def decoded(data: Any) -> Any:
        if type(data) is kind:
            return data
        if not isinstance(data, kind) or isinstance(data, bool):
            raise _misfit(kind.__name__, data)
        return kind(data)

    return decoded


def _optional(inner: _Decoder) -> _Decoder:
    return lambda data: None if data is None else inner(data)


def _enum(kind: type[Enum]) -> _Decoder:
    members = {member.value: member for member in kind}

    def decoded(data: Any) -> Enum:
        if not isinstance(data, str) or data not in members:
            raise _misfit(f"one of {[*members]}", data)
        return members[data]

    return decoded


def _tuple(kind: Any) -> _Decoder:
    inner = _decoder(kind)

    def decoded(data: Any) -> tuple[Any, ...]:
        if not isinstance(data, (list, tuple)):
            raise _misfit("a list", data)
        if (column := _column(kind, data)) is not None:
            return column
        items: list[Any] = []
        try:
            for item in data:
                items.append(inner(item))
        except _Misfit as misfit:
            raise misfit.within(f"[{len(items)}]") from None
        return tuple(items)

    return decoded


def _column(kind: Any, data: Sequence[Any]) -> tuple[Any, ...] | None:
    """Numbers, texts or flags at once, since there are many; ``None`` if some item is to be looked at."""
    if kind in (str, bool, int):
        return tuple(data) if {*map(type, data)} <= {kind} else None
    if kind in (float, float | None) and {*map(type, data)} <= ({float} if kind is float else {float, NoneType}):
        if not all(map(math.isfinite, filter(None, data))):
            return None
        # A clock or a temperature that stays is one number, not one a point of time.
        seen: dict[Any, Any] = {}
        return tuple([seen.setdefault(item, item) for item in data])
    return None


def _mapping(kind: Any) -> _Decoder:
    inner = _decoder(kind)

    def decoded(data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise _misfit("an object", data)
        members: dict[str, Any] = {}
        key = ""
        try:
            for key, item in data.items():
                members[key] = inner(item)
        except _Misfit as misfit:
            raise misfit.within(f".{key}") from None
        return members

    return decoded


def _dataclass(kind: Any) -> _Decoder:
    members = {name: _decoder(hint) for name, hint in typing.get_type_hints(kind).items()}

    def decoded(data: Any) -> Any:
        if not isinstance(data, dict):
            raise _misfit("an object", data)
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, item in data.items():
                values[name] = members[name](item)
        except _Misfit as misfit:
            raise misfit.within(f".{name}") from None
        except KeyError:
            raise _Misfit(f"expected no key {shown(str(name), 60)!r}, found it") from None
        try:
            return kind(**values)
        except TypeError as error:
            raise _Misfit(str(error)) from None

    return decoded
