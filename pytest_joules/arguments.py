"""Arguments of markers: what those of budgets and of sweeps are checked for alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class MarkerError(ValueError):
    """A marker that says nothing we can do, or markers that do not go together; the message names the fix."""


def by_name(args: Sequence[Any], kwargs: Mapping[str, Any], first: str, others: Sequence[str]) -> dict[str, Any]:
    """A marker's arguments by their names.

    Args:
        args: Those by position.
        kwargs: Those by keyword.
        first: The only one that may come by position.
        others: All that there are beside it.

    Raises:
        MarkerError: for one that is not known, or given twice.
    """
    unknown = [name for name in kwargs if name not in (first, *others)]
    if unknown:
        raise MarkerError(f"unknown argument {unknown[0]!r}; use {', '.join((first, *others))}")
    if len(args) > 1 or (args and first in kwargs):
        raise MarkerError(f"only one positional argument, the {first}, is allowed")
    return {**({first: args[0]} if args else {}), **kwargs}


def name_of(argument: str, value: object) -> str | None:
    """A name, or ``None`` where there is none.

    Raises:
        MarkerError: if it is anything else.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise MarkerError(f"{argument}={value!r} must be a name of printable characters")
    return value


def truth_of(argument: str, value: object) -> bool:
    """Yes or no.

    Raises:
        MarkerError: if it is anything else.
    """
    if not isinstance(value, bool):
        raise MarkerError(f"{argument}={value!r} must be True or False")
    return value
