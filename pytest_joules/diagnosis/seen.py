"""Every signal before and after.  Pure."""

from __future__ import annotations

from pytest_joules.model import Conditions, SignalChange
from pytest_joules.signals import CONDITIONS, SIGNALS

_CONDITIONS = frozenset(signal.name for signal in CONDITIONS)
_KNOWN = tuple(signal.name for signal in (*CONDITIONS, *SIGNALS))


def signal_changes(before: Conditions, after: Conditions) -> tuple[SignalChange, ...]:
    """All that :mod:`pytest_joules.signals` names, known or not, then those that only the sessions know."""
    own = {*before.signals, *after.signals}.difference(_KNOWN)
    names = [*_KNOWN, *sorted(own)]
    return tuple(SignalChange(name, told(before, name), told(after, name)) for name in names)


def told(conditions: Conditions, name: str) -> float | None:
    """A signal of either kind; ``None`` is "unavailable"."""
    if name in _CONDITIONS:
        value: float | None = getattr(conditions, name)
        return value
    return conditions.signals.get(name)
