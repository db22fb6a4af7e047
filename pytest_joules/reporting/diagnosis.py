"""A diagnosis on the terminal: three lines of it, all of it, or one line.

Every percentage is a factor on joules per unit, less one: causes and parts
multiply to the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_joules.model import Cause, Diagnosis, SignalChange, Split
from pytest_joules.signals import CONDITIONS, SIGNALS, shown
from pytest_joules.units import format_percent

KEY_EVIDENCE = 3
"""So much evidence is shown where a cause has one line."""

KEY_SPLITS = ("watts and time", "static and dynamic")
"""The splits that are shown where they have one line."""

LARGEST_CHANGE = 50.0
"""Difference of logs beyond which a stored report makes no sense, and a float would overflow."""

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
    told = [*opening(diagnosis)]
    for number, cause in enumerate(diagnosis.causes, 1):
        told += [f"{number}. {claim(cause, diagnosis)}", *(f"   {text}" for text in particulars(cause, diagnosis))]
    left = [f"{span(*diagnosis.left)} unexplained", *diagnosis.missing]
    return [*_lines("why", told), *splits(diagnosis), *_lines("left", left), *signals(diagnosis)]


def splits(diagnosis: Diagnosis) -> list[str]:
    """One line a split, and every part in it."""
    return _lines("split", [f"{split.name}: {_parts(split)}" for split in diagnosis.splits])


def signals(diagnosis: Diagnosis) -> list[str]:
    """One line a signal that moved; one for all others; then those that neither side has."""
    told: list[str] = []
    level: list[str] = []
    lacking: dict[str, list[str]] = {}
    for change in diagnosis.signals:
        known = _KNOWN.get(change.name)
        name, before, after = named(change)
        if known is not None and change.before is None and change.after is None:
            lacking.setdefault(known.enable, []).append(name)
        elif before == after:
            level.append(f"{name} {after}")
        else:
            told.append(signal(change))
    told += [f"level: {', '.join(level)}"] if level else []
    told += [f"unavailable: {', '.join(names)} (needs {enable})" for enable, names in lacking.items()]
    return _lines("signals", told)


def signal(change: SignalChange) -> str:
    """``SM active: 93% -> 55%``; what one side does not know is unavailable there."""
    name, before, after = named(change)
    return f"{name}: {before} -> {after}"


def named(change: SignalChange) -> tuple[str, str, str]:
    """A signal's name, and what it was before and after, in words."""
    known = _KNOWN.get(change.name)
    before, after = (
        "unavailable" if value is None else shown(known, value) if known else f"{value:.4g}"
        for value in (change.before, change.after)
    )
    return known.text if known else change.name, before, after


def why(diagnosis: Diagnosis) -> str:
    """The first cause in one line, with what it explains and its key evidence."""
    told = [*opening(diagnosis)]
    for cause in diagnosis.causes[:1]:
        evidence = "; ".join(_key_evidence(cause, diagnosis))
        told.append(claim(cause, diagnosis) + (f" ({evidence})" if evidence else ""))
    return "; ".join(told)


def evidence(diagnosis: Diagnosis, verbose: bool) -> Sequence[str]:
    """What :func:`whole`, or else a single line, shows as evidence."""
    if verbose:
        return [line for cause in diagnosis.causes for line in cause.evidence]
    return [line for cause in diagnosis.causes[:1] for line in _key_evidence(cause, diagnosis)]


def is_level(diagnosis: Diagnosis) -> bool:
    """Whether noise alone makes such a change."""
    return abs(diagnosis.change) <= diagnosis.noise


def _key_evidence(cause: Cause, diagnosis: Diagnosis) -> Sequence[str]:
    """The first of what speaks for a cause, but for what the splits say anyway."""
    split = {name for split in diagnosis.splits for name in split.parts}
    telling = [line for line in cause.evidence if line.partition(":")[0] not in split]
    return telling[:KEY_EVIDENCE]


def opening(diagnosis: Diagnosis) -> list[str]:
    """What is said before any cause, or where there is none."""
    if diagnosis.incomparable:
        return [f"the two are not the same thing measured twice: {'; '.join(diagnosis.incomparable)}"]
    change = percent(diagnosis.change)
    if diagnosis.causes:
        return []
    if is_level(diagnosis):
        return [f"nothing to explain: {change} is within the noise of {percent(diagnosis.noise).removeprefix('+')}"]
    return [f"no known mechanism fits the {change}"]


def _left(diagnosis: Diagnosis) -> str:
    """What the first cause leaves, and what would tell more."""
    left = f"{span(*diagnosis.left)} unexplained"
    others = len(diagnosis.causes) - 1
    if others > 0:
        left += f" after {others} more cause{'s' if others > 1 else ''} (-v)"
    if diagnosis.missing:
        more = f" (and {len(diagnosis.missing) - 1} more with -v)" if len(diagnosis.missing) > 1 else ""
        left += f"; {diagnosis.missing[0]}{more}"
    return left


def claim(cause: Cause, diagnosis: Diagnosis) -> str:
    """A mechanism, and how much of the change it explains: a number where one was measured, else its range."""
    bounds = diagnosis.accountable(cause)
    if bounds is None:
        return f"{cause.text}; how much it explains is not known"
    may = "may explain" if percent(bounds[0]) == percent(0.0) else "explains"
    return f"{cause.text}; it {may} {span(*bounds)} of {percent(diagnosis.change)}"


def span(least: float, most: float) -> str:
    """``+1.0% to +2.5%``, of differences of logs."""
    low, high = percent(least), percent(most)
    return high if low == high else f"up to {high}" if low == percent(0.0) else f"{low} to {high}"


def particulars(cause: Cause, diagnosis: Diagnosis) -> list[str]:
    """A cause's evidence, what to expect of it, what to do, and which rule says so."""
    advice = [f"do: {cause.advice}"] if cause.advice else []
    return [*cause.evidence, *expected(cause, diagnosis), *advice, origin(cause)]


def expected(cause: Cause, diagnosis: Diagnosis) -> list[str]:
    """What to expect of a cause, where that is not what it explains here."""
    if cause.low is None or cause.high is None:
        return []
    ends = sorted((cause.low, cause.high), key=abs)
    told = {*map(percent, ends)} - {*map(percent, diagnosis.accountable(cause) or ())}
    return [f"to expect of it: {span(ends[0], ends[1])}"] if told else []


def origin(cause: Cause) -> str:
    """Which rule says so, and from where it is."""
    return f"rule: {cause.rule}" + (f"; source: {cause.source}" if cause.source else "")


def _parts(split: Split) -> str:
    return ", ".join(f"{name} {percent(part)}" for name, part in split.parts.items())


def percent(change: float) -> str:
    """A difference of logs as a signed percentage."""
    return format_percent(math.expm1(min(change, LARGEST_CHANGE)), signed=True)


def _line(name: str, text: str) -> str:
    return f"  {name:<10} {text}"


def _lines(name: str, texts: Sequence[str]) -> list[str]:
    return [_line("" if number else name, text) for number, text in enumerate(texts)]
