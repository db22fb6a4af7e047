"""The terms that a budget is held to: those that its base recorded, where its own are wider.  Pure functions.

A pull request cannot raise its own budget: it is judged by the sessions of its base, and by the terms (tolerance,
limit, gate) that the base's last session was stored under.
"""

from __future__ import annotations

from pytest_joules.model import Session, Widened
from pytest_joules.units import format_joules

CLOSE = 1e-6
"""Relative difference of two terms that is none: files keep seven digits."""


def widened(base: Session, tolerance: float | None, limit: float | None, gate: bool) -> tuple[Widened, ...]:
    """Which of a budget's terms are wider than those that the base's session was stored under.

    A session that was stored without terms, by an older pytest-joules, holds nobody to any.
    """
    found = []
    for term, then, here in (("tolerance", base.tolerance, tolerance), ("limit", base.limit, limit)):
        if then is not None and (here is None or here > then * (1 + CLOSE)):
            found.append(Widened(term, then, here))
    if base.gate and not gate and (base.tolerance is not None or base.limit is not None):
        found.append(Widened("gate"))
    return tuple(found)


def widened_since(base: Session, here: Session) -> tuple[Widened, ...]:
    """Which terms a later session was stored under that are wider than an earlier one's."""
    return widened(base, here.tolerance, here.limit, here.gate)


def widened_text(change: Widened, unit: str) -> str:
    """``tolerance 2% -> 10%``, from the base's to what it is here."""
    if change.term == "gate":
        return "gate on -> off"
    then, now = ("none" if term is None else _term(change.term, term, unit) for term in (change.base, change.here))
    return f"{change.term} {then} -> {now}"


def _term(name: str, value: float, unit: str) -> str:
    # A tolerance as it was written, not rounded.
    return f"{100 * value:g}%" if name == "tolerance" else f"{format_joules(value)}/{unit}"
