"""Value objects to plain JSON data and back, by their type annotations."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType
from typing import Any, TypeVar

T = TypeVar("T")


class CodecError(ValueError):
    """Data that does not fit the type; the message names the place."""


def shown(text: str, longest: int = 200) -> str:
    """What somebody else wrote, as part of one printable line."""
    text = text if len(text) <= longest else text[: longest - 3] + "..."
    return text if text.isprintable() else ascii(text)[1:-1]


def encode(value: Any) -> Any:
    """Turn dataclasses, enums, tuples and mappings into dicts, lists and scalars."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    return value


def decode(kind: type[T], data: Any) -> T:
    """Build a ``kind`` from what :func:`encode` made of one.

    Raises:
        CodecError: naming the place where the data does not fit.
    """
    decoded: T = _decode(kind, data, kind.__name__)
    return decoded


def _decode(kind: Any, data: Any, place: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _decode(inner, data, place)
    if origin is tuple:
        _expect(isinstance(data, list), "a list", data, place)
        if (column := _column(arguments[0], data)) is not None:
            return column
        return tuple(_decode(arguments[0], item, f"{place}[{index}]") for index, item in enumerate(data))
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(data, dict), "an object", data, place)
        return {key: _decode(arguments[1], item, f"{place}.{key}") for key, item in data.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        _expect(data in [member.value for member in kind], f"one of {[m.value for m in kind]}", data, place)
        return kind(data)
    if is_dataclass(kind):
        return _decode_dataclass(kind, data, place)
    accepted = (int, float) if kind is float else kind
    _expect(isinstance(data, accepted) and (kind is bool or not isinstance(data, bool)), kind.__name__, data, place)
    try:
        return kind(data)
    except OverflowError as error:
        raise CodecError(f"{place}: a number of {len(str(data))} digits is too large") from error


def _column(kind: Any, data: list[Any]) -> tuple[Any, ...] | None:
    """A tuple of numbers, texts or flags at once, since there are many; ``None`` if some item is to be looked at."""
    found = {*map(type, data)}
    if kind == float | None:
        kind = float
        if NoneType in found:
            return tuple(data) if found == {float, NoneType} else None
    if kind is float and found <= {float, int}:
        return tuple(map(float, data))
    return tuple(data) if kind in (str, bool, int) and found <= {kind} else None


def _decode_dataclass(kind: Any, data: Any, place: str) -> Any:
    _expect(isinstance(data, dict), "an object", data, place)
    hints = _hints(kind)
    unknown = [name for name in data if name not in hints]
    _expect(not unknown, f"no key {unknown[0]!r}" if unknown else "", data, place)
    values = {name: _decode(hints[name], item, f"{place}.{name}") for name, item in data.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise CodecError(f"{place}: {error}") from error


@lru_cache(maxsize=64)
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _expect(fits: bool, wanted: str, data: Any, place: str) -> None:
    if not fits:
        raise CodecError(f"{place}: expected {wanted}, found {str(data)[:60]!r}")
