"""A diagnosis on the terminal: three lines of it, all of it, or one line.

Every percentage is a factor on joules per unit, less one: causes and parts
multiply to the whole.
"""

from __future__ import annotations

import math

from pytest_joules.model import Cause, Diagnosis, SignalChange, Split
from pytest_joules.signals import CONDITIONS, SIGNALS, shown
from pytest_joules.units import format_percent

KEY_EVIDENCE = 3
"""So much evidence is shown where a cause has one line."""

KEY_SPLITS = ("watts and time", "static and dynamic")
"""The splits that are shown where they have one line."""

_KNOWN = {known.name: known for known in (*CONDITIONS, *SIGNALS)}


def brief(diagnosis: Diagnosis) -> list[str]:
    """Three lines: the first cause, the exact splits, and what is left."""
    return [
        _line("why", why(diagnosis)),
        _line("split", "; ".join(_parts(split) for split in diagnosis.splits if split.name in KEY_SPLITS)),
        _line("left", _left(diagnosis)),
    ]


def first(diagnosis: Diagnosis) -> str:
    """The first cause as a line of its own; without one, what moved."""
    moved = "" if diagnosis.causes or not diagnosis.splits else f" ({_parts(diagnosis.splits[0])})"
    return _line("why", why(diagnosis) + moved)


def whole(diagnosis: Diagnosis) -> list[str]:
    """Every cause with its evidence, every split and every signal."""
    lines = [_line("why", _verdict(diagnosis))] if diagnosis.incomparable or not diagnosis.causes else []
    for number, cause in enumerate(diagnosis.causes, 1):
        lines.append(_line("why" if not lines else "", f"{number}. {cause.text}: {_explains(cause, diagnosis)}"))
        lines += [_line("", f"   {text}") for text in _told(cause)]
    lines += splits(diagnosis)
    lines.append(_line("left", f"{_percent(diagnosis.unexplained)} unexplained"))
    lines += [_line("", f"to tell more: {text}") for text in diagnosis.missing]
    return lines + signals(diagnosis)


def splits(diagnosis: Diagnosis) -> list[str]:
    """One line a split, and every part in it."""
    return [
        _line("" if number else "split", f"{split.name}: {_parts(split)}")
        for number, split in enumerate(diagnosis.splits)
    ]


def signals(diagnosis: Diagnosis) -> list[str]:
    """One line a signal, before and after; then those that neither side has, with what makes them available."""
    told: list[str] = []
    lacking: dict[str, list[str]] = {}
    for change in diagnosis.signals:
        known = _KNOWN.get(change.name)
        if known is not None and change.before is None and change.after is None:
            lacking.setdefault(known.enable, []).append(known.text)
        else:
            told.append(signal(change))
    told += [f"unavailable: {', '.join(names)} (needs {enable})" for enable, names in lacking.items()]
    return [_line("" if number else "signals", text) for number, text in enumerate(told)]


def signal(change: SignalChange) -> str:
    """``SM active: 93% -> 55%``; what one side does not know is unavailable there."""
    known = _KNOWN.get(change.name)
    before, after = (
        "unavailable" if value is None else shown(known, value) if known else f"{value:.4g}"
        for value in (change.before, change.after)
    )
    return f"{known.text if known else change.name}: {before} -> {after}"


def why(diagnosis: Diagnosis) -> str:
    """The first cause in one line, with what it explains and its key evidence."""
    if diagnosis.incomparable or not diagnosis.causes:
        return _verdict(diagnosis)
    first = diagnosis.causes[0]
    evidence = "; ".join(first.evidence[:KEY_EVIDENCE])
    return f"{first.text}: {_explains(first, diagnosis)}" + (f" ({evidence})" if evidence else "")


def is_level(diagnosis: Diagnosis) -> bool:
    """Whether noise alone makes such a change."""
    return abs(diagnosis.change) <= diagnosis.noise


def _verdict(diagnosis: Diagnosis) -> str:
    """What is said where no cause is."""
    if diagnosis.incomparable:
        return f"the two do not compare: {'; '.join(diagnosis.incomparable)}"
    change = _percent(diagnosis.change)
    if is_level(diagnosis):
        return f"nothing to explain: {change} is within the noise of {format_percent(math.expm1(diagnosis.noise))}"
    return f"no known mechanism fits the {change}"


def _left(diagnosis: Diagnosis) -> str:
    """What the first cause leaves, and what would tell more."""
    left = f"{_percent(diagnosis.unexplained)} unexplained"
    others = len(diagnosis.causes) - 1
    if others > 0:
        left += f" after {others} more cause{'s' if others > 1 else ''} (-v)"
    if diagnosis.missing:
        more = f" (and {len(diagnosis.missing) - 1} more with -v)" if len(diagnosis.missing) > 1 else ""
        left += f"; to tell more: {diagnosis.missing[0]}{more}"
    return left


def _explains(cause: Cause, diagnosis: Diagnosis) -> str:
    if cause.explains is None:
        return f"of the {_percent(diagnosis.change)} it explains a share that is not known"
    return f"explains {_percent(cause.explains)} of {_percent(diagnosis.change)}"


def _told(cause: Cause) -> list[str]:
    told = list(cause.evidence)
    if cause.low is not None and cause.high is not None:
        told.append(f"size to expect: {_percent(cause.low)} to {_percent(cause.high)}")
    told += [f"do: {cause.advice}"] if cause.advice else []
    told += [f"rule: {cause.rule}" + (f", from {cause.source}" if cause.source else "")]
    return told


def _parts(split: Split) -> str:
    return ", ".join(f"{name} {_percent(part)}" for name, part in split.parts.items())


def _percent(change: float) -> str:
    """A difference of logs as a signed percentage; what rounds to nothing has no minus."""
    return format_percent(round(math.expm1(change), 3) + 0.0, signed=True)


def _line(name: str, text: str) -> str:
    return f"  {name:<10} {text}"
