"""What is kept of a configuration: values of known shapes, so that none names a path, a host, a person or a device."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum

LONGEST = 80
"""Characters of a value."""

UNSET = "unset"
"""What is kept of a setting that nobody gave a value, where that is known: turned on, it differs from this."""

_ITEM = r"(?:-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[kKmMgG]?|[A-Za-z0-9_][A-Za-z0-9_-]*)"
_SHAPE = re.compile(rf"{_ITEM}(?:[+,]{_ITEM})*")
"""Numbers and words, joined by ``+`` or ``,``: a path has slashes, a host dots or colons, a person an ``@``."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}", re.IGNORECASE)


def kept(settings: Mapping[str, object]) -> dict[str, str]:
    """The settings that are known, as short text; a value of another shape is left out, not cut to fit."""
    shown = {name: text_of(value) for name, value in settings.items() if value is not None}
    return {name: text for name, text in shown.items() if fits(text)}


def fits(text: str) -> bool:
    """Whether a value is of a shape that is kept."""
    return len(text) <= LONGEST and bool(_SHAPE.fullmatch(text)) and not _UUID.search(text)


def text_of(value: object) -> str:
    """A value as it is kept: an enumeration's own text or else its name, a type of numbers without its library."""
    if isinstance(value, Enum):
        value = value.value if isinstance(value.value, str) and fits(value.value) else value.name
    return str(value).removeprefix("torch.")


def joined(values: Iterable[object]) -> str | None:
    """Each value once, in order, joined; ``None`` if there is none."""
    return "+".join(dict.fromkeys(text_of(value) for value in values if value not in (None, ""))) or None
