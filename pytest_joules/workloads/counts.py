"""What a call produced: counts of work that make sense, and results that are not still to be made.

Tests without ``--energy`` load this, so that it needs nothing but the standard library.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping

from pytest_joules.units import LARGEST_NUMBER, SMALLEST_NUMBER


class WindowError(ValueError):
    """A window or a work count that makes no sense; the message says what to write instead."""


def checked_counts(work: object, source: str = "work") -> dict[str, float]:
    """``work`` as counts by unit; ``source`` says in messages where they come from.

    Raises:
        WindowError: if it is not a mapping of units' names to zero or to numbers that a baseline file holds.
    """
    if not isinstance(work, Mapping):
        raise WindowError(
            f"{source} must be a mapping like {{'token': 512}}, or a function that returns one; got {_short(work)}"
        )
    return {unit: _checked_count(unit, count, source) for unit, count in work.items()}


def _checked_count(unit: object, count: object, source: str) -> float:
    where = f"{source} {{{unit!r}: {_short(count)}}}"
    if not isinstance(unit, str) or not unit.isidentifier():
        raise WindowError(f"{where} is not a unit's name with a number")
    if unit == "call":
        raise WindowError(f"{where}: a call always counts as one 'call'; name another unit")
    try:
        number = float(count) if hasattr(count, "__float__") else None
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise WindowError(f"{where} is not a unit's name with a number")
    if not (math.isfinite(number) and number >= 0):
        raise WindowError(f"{where} must be a finite number, not below zero")
    if number and not SMALLEST_NUMBER <= number <= LARGEST_NUMBER:
        raise WindowError(f"{where} must be 0, or lie between {SMALLEST_NUMBER:g} and {LARGEST_NUMBER:g}")
    return number


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits.
        return "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}..."


def refuse_undone(result: object) -> None:
    """Refuse the result of a call that has not done its work yet.

    Raises:
        WindowError: for a generator, another iterator, or something to await: nothing ran, so nothing can be measured.
    """
    if isinstance(result, (Iterator, AsyncIterator)):
        raise WindowError(
            f"the call gave {_kind(result)}, whose work is done only where it is consumed: consume it in fn, "
            "as in energy.repeat(lambda: list(fn()))"
        )
    if isinstance(result, Awaitable):
        raise WindowError(f"the call gave {_kind(result)}, whose work is done only where it is awaited: await it in fn")


def _kind(result: object) -> str:
    name = type(result).__name__.replace("_", " ")
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
