"""From what the tests of a group measured to a :class:`~pytest_joules.model.Sweep`.  Pure functions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_joules.baselines.keys import sku_key
from pytest_joules.decision import standard_error
from pytest_joules.frontier import next_point
from pytest_joules.grouping import Member
from pytest_joules.history import log_mean, log_seconds
from pytest_joules.judging import listed, natural_unit
from pytest_joules.model import Measurement, Pass, Sweep, SweepPoint
from pytest_joules.recorder import MAIN
from pytest_joules.slo import Condition

FEWEST_FURTHER = 4
"""Measurements after the first pass that a sweep without a time has at least: two are for the winner and runner-up."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The windows that one run of one test measured.

    Attributes:
        test: Its node id.
        windows: In order.
    """

    test: str
    windows: Sequence[Measurement]


def affordable(runs: Sequence[int], spent: float, seconds: float | None) -> int:
    """How many more measurements a sweep may take.

    Args:
        runs: How often each of its points has run.
        spent: What all runs took, s, with set-up and teardown.
        seconds: Most seconds of the whole sweep; ``None`` for as many further measurements as it has points.
    """
    if seconds is None:
        return max(len(runs), FEWEST_FURTHER) - sum(max(count - 1, 0) for count in runs)
    return math.floor((seconds - spent) * sum(runs) / spent)


def planned(sweep: Sweep, conditions: Sequence[Condition], many: int, most: int) -> list[str]:
    """The points that are worth measuring one after the other, ``most`` of them, if each comes out as before.

    Args:
        sweep: What is known so far.
        conditions: What is asked of a configuration.
        many: How many more measurements the time allows.
        most: How far to look ahead.
    """
    names: list[str] = []
    while len(names) < most and (name := next_point(sweep, conditions, affordable=many - len(names))) is not None:
        names.append(name)
        sweep = replace(sweep, points=tuple(_again(at) if at.name == name else at for at in sweep.points))
    return names


def _again(point: SweepPoint) -> SweepPoint:
    return replace(point, passes=(*point.passes, *point.passes[-1:]))


def sweep_of(
    members: Sequence[Member],
    attempts: Sequence[Attempt],
    faults: Mapping[str, str],
    *,
    seed: int | None = None,
    spent_seconds: float | None = None,
    commit: str | None = None,
    notes: Sequence[str] = (),
) -> Sweep:
    """One group's sweep.

    Args:
        members: Its tests, in their order.
        attempts: What they measured, in the order of the measuring; a test may come again.
        faults: What became of a test that makes its point invalid, by node id.
        seed: What the order was drawn from.
        spent_seconds: What it all took.
        commit: The repository's commit.
        notes: What a reader must know.
    """
    marked = members[0].marked
    windows = [(attempt.test, _window(attempt.windows, marked.window)) for attempt in attempts]
    counted = {} if marked.unit else _counted(members, windows, faults)
    unit = marked.unit or next(iter(counted.values()), "call")
    mixed = _mixed({test: own for test, own in counted.items() if not faults.get(test)})
    found: defaultdict[str, list[tuple[Measurement | str, Pass | str]]] = defaultdict(list)
    for order, (test, window) in enumerate(windows):
        found[test].append((window, pass_of(window, unit, order)))
    wrong = {test: faults.get(test) or mixed.get(test, "") for test in found.keys() | faults.keys()}
    points = [_point(member, found[member.test], wrong, commit) for member in members]
    return Sweep(members[0].group, unit, marked.latency, tuple(points), seed, spent_seconds, tuple(notes))


def _counted(
    members: Sequence[Member], windows: Sequence[tuple[str, Measurement | str]], faults: Mapping[str, str]
) -> dict[str, str]:
    """The unit that each test counts of itself: in the members' order, whatever ran first, those without a fault first.

    Only of tests that have a sound window.
    """
    first: dict[str, str] = {}
    for test, window in windows:
        if isinstance(window, Measurement) and not window.invalid:
            first.setdefault(test, natural_unit(window))
    tests = sorted((member.test for member in members), key=lambda test: bool(faults.get(test)))
    return {test: first[test] for test in tests if test in first}


def _mixed(counted: Mapping[str, str]) -> dict[str, str]:
    """Why no point of a group can be chosen whose tests count different units, by node id; empty if all count one."""
    tests: defaultdict[str, list[str]] = defaultdict(list)
    for test, unit in counted.items():
        tests[unit].append(test)
    if len(tests) < 2:
        return {}
    told = {unit: f"{unit!r} like {named[0]}" for unit, named in tests.items()}
    return {
        test: f"counts {unit!r}, others of the group {' and '.join(told[other] for other in told if other != unit)}: "
        "give energy_sweep(unit=...), or a group each"
        for test, unit in counted.items()
    }


def _point(
    member: Member, found: Sequence[tuple[Measurement | str, Pass | str]], faults: Mapping[str, str], commit: str | None
) -> SweepPoint:
    wrong = [told for _, told in found if isinstance(told, str)]
    devices = [window.devices for window, _ in found if isinstance(window, Measurement) and window.devices]
    return SweepPoint(
        name=member.test,
        settings=dict(member.settings),
        passes=tuple(told for _, told in found if isinstance(told, Pass)),
        default=member.marked.default > 0,
        invalid=faults.get(member.test, "") or next(iter(wrong), "" if found else "nothing was measured"),
        sku=sku_key(devices[-1]) if devices else None,
        commit=commit,
    )


def _window(windows: Sequence[Measurement], wanted: str | None) -> Measurement | str:
    """The window that counts: the one that is named, else the main one, else the only one; or why there is none."""
    named = {window.window: window for window in windows}
    if wanted is None and MAIN not in named and len(windows) == 1:
        return windows[0]
    if (found := named.get(wanted or MAIN)) is not None:
        return found
    return f"measured {listed(named)}, not {wanted or MAIN!r}: say which counts with energy_sweep(window=...)"


def pass_of(window: Measurement | str, unit: str, order: int) -> Pass | str:
    """One measurement of one point; or why its window is no good."""
    if isinstance(window, str) or window.invalid:
        return window if isinstance(window, str) else window.invalid
    if unit not in window.blocks:
        return f"counted {listed(window.blocks)}, not the group's {unit!r}: count it, or give energy_sweep(unit=...)"
    blocks, conditions = window.blocks[unit], window.conditions
    means = {"unit": math.exp(log_seconds(blocks))}
    if "call" in window.blocks:
        means["call"] = math.exp(log_seconds(window.blocks["call"]))
    told = {name: each for name, each in window.latencies.items() if math.isfinite(each) and each > 0}
    return Pass(
        joules_per_unit=math.exp(log_mean(blocks)),
        error=standard_error(blocks, window.kind),
        seconds={**means, **told},
        watts=window.joules / window.seconds,
        memory_bytes=conditions.signals.get("memory_used_bytes"),
        temperature_celsius=conditions.temperature_celsius,
        order=order,
    )
