"""A sweep's points as a table, and what to choose in words: on the terminal and, by the same words, on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_joules.costs import cost_of
from pytest_joules.frontier import Frontier, Interval, Placed, Recommendation, Standing, Step
from pytest_joules.model import Estimate, Rates, SweepPoint
from pytest_joules.reporting import costs, tables
from pytest_joules.statistics import student_quantile
from pytest_joules.units import format_joules, format_percent, format_seconds

DASH = "-"

SURELY = 0.975
"""Quantile at the upper end of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Line:
    """A point in words.

    Attributes:
        name: Its configuration.
        joules: J per unit, with half the width of its 95 % interval.
        latency: Its latency, likewise.
        throughput: Units/s.
        watts: Mean power.
        standing: Whether it is on the frontier, and else why not.
    """

    name: str
    joules: str
    latency: str
    throughput: str
    watts: str
    standing: str


def report(frontier: Frontier, rates: Rates) -> list[str]:
    """Everything of one sweep, line by line."""
    told = [f"  {label:<11} {text}" for label, text in words(frontier, rates)]
    return [f"{title(frontier)}:", *table(frontier), "", *told]


def title(frontier: Frontier) -> str:
    """``chat decode: J/token against itl_p95, of 12 points``."""
    sweep = frontier.sweep
    points = "1 point" if len(frontier.points) == 1 else f"{len(frontier.points)} points"
    return f"{sweep.group}: J/{sweep.unit} against {sweep.latency}, {points}"


def headings(frontier: Frontier) -> tuple[str, ...]:
    """Headings of the columns that :class:`Line` has."""
    unit = frontier.sweep.unit
    return ("configuration", f"J/{unit}", frontier.sweep.latency, f"{unit}s/s", "watts", "standing")


def table(frontier: Frontier) -> list[str]:
    """All points by latency."""
    found = lines(frontier)
    rows = [[row.name, row.joules, row.latency, row.throughput, row.watts, row.standing] for row in found]
    return tables.table(headings(frontier), rows)


def lines(frontier: Frontier) -> list[Line]:
    """The points in words, in the frontier's order."""
    names = configurations([placed.point for placed in frontier.points])
    return [
        Line(
            name=names[placed.point.name],
            joules=DASH if placed.joules is None else f"{format_joules(placed.joules.value)}{_spread(placed.joules)}",
            latency=DASH
            if placed.latency is None
            else f"{format_seconds(placed.latency.value)}{_spread(placed.latency)}",
            throughput=DASH if placed.throughput is None else f"{placed.throughput:.4g}",
            watts=DASH if placed.watts is None else f"{placed.watts:.0f}",
            standing=", ".join([*roles(placed, frontier), _standing(placed, names)]),
        )
        for placed in frontier.points
    ]


def configurations(points: Sequence[SweepPoint]) -> dict[str, str]:
    """What tells each point from the others, by its name: its settings, or the name where they do not."""
    told = {point.name: configuration(point.settings) for point in points}
    return told if "" not in told.values() and len({*told.values()}) == len(told) else {name: name for name in told}


def configuration(settings: Mapping[str, str]) -> str:
    """``max_num_seqs=256, gpu=B200``."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def bounds(estimate: Estimate) -> tuple[float, float]:
    """The 95 % interval; of a number without an error that number."""
    half = _half(estimate)
    return estimate.value * math.exp(-half), estimate.value * math.exp(half)


def _half(estimate: Estimate) -> float:
    return student_quantile(estimate.freedom, SURELY) * estimate.error if estimate.error else 0.0


def _spread(estimate: Estimate) -> str:
    half = _half(estimate)
    return f" ±{format_percent(math.expm1(half))}" if half else ""


def roles(placed: Placed, frontier: Frontier) -> list[str]:
    """What a point is beside its standing: recommended, the runner-up, the fastest, the default."""
    found, name = frontier.recommendation, placed.point.name
    return [
        role
        for role, holds in (
            ("recommended", found is not None and found.name == name),
            ("default", placed.point.default),
            ("runner-up", found is not None and found.runner_up == name),
            ("fastest", found is not None and found.fastest == name),
        )
        if holds
    ]


def _standing(placed: Placed, names: Mapping[str, str]) -> str:
    other = names.get(placed.dominated_by, placed.dominated_by)
    told = {
        Standing.FRONTIER: "frontier",
        Standing.TIED: f"tied with {other}",
        Standing.DOMINATED: f"dominated by {other}{_above(placed)}",
        Standing.EXCLUDED: "excluded",
    }[placed.standing]
    return f"{told}: {placed.reason}" if placed.reason else told


def _above(placed: Placed) -> str:
    parts = [
        f"{format_percent(value, signed=True)} {what}"
        for what, value in (("joules", placed.joules_above), ("latency", placed.latency_above))
        if value is not None
    ]
    return f" ({', '.join(parts)})" if parts else ""


def words(frontier: Frontier, rates: Rates) -> list[tuple[str, str]]:
    """What to choose and what it is worth, each line with what it tells."""
    asked = " and ".join(map(str, frontier.conditions))
    found = frontier.recommendation
    if found is None:
        return [("recommended", f"nothing: {frontier.nothing}"), *(("note", note) for note in _notes(frontier))]
    placed = {each.point.name: each for each in frontier.points}
    names = configurations([each.point for each in frontier.points])
    chosen = placed[found.name]
    told = [("recommended", f"{names[found.name]}: {_numbers(chosen, frontier)}{f', for {asked}' if asked else ''}")]
    told += _savings(found, chosen, frontier, names, rates)
    if found.runner_up and found.ahead is not None:
        told.append(("ahead", f"of the runner-up, {names[found.runner_up]}, by {_interval(found.ahead)}"))
    if not found.confirmed:
        told.append(
            ("unconfirmed", "chosen by the same numbers that it is told by, which flatter it: measure it again")
        )
    told += [("next", _step(step, names, frontier)) for step in found.steps]
    return [*told, *(("note", note) for note in _notes(frontier))]


def _numbers(placed: Placed, frontier: Frontier) -> str:
    sweep = frontier.sweep
    told = []
    if placed.joules is not None:
        told.append(f"{format_joules(placed.joules.value)}/{sweep.unit}")
        told.append(costs.throughput_per_watt(placed.joules.value, sweep.unit))
    if placed.latency is not None:
        told.append(f"{sweep.latency} {format_seconds(placed.latency.value)}")
    return ", ".join(told)


def _savings(
    found: Recommendation, chosen: Placed, frontier: Frontier, names: Mapping[str, str], rates: Rates
) -> list[tuple[str, str]]:
    defaults = [each.point.name for each in frontier.points if each.point.default]
    against = [
        ("the default", defaults[0] if defaults else "", found.over_default),
        ("the fastest", found.fastest, found.over_fastest),
    ]
    told = []
    for what, name, saving in against:
        if saving is None or chosen.joules is None:
            continue
        told.append(("saves", f"{_interval(saving)} against {what}, {names.get(name, name)}"))
        # A saving is a share of the other's joules.
        saved = cost_of(chosen.joules.value * saving.value / (1 - saving.value), frontier.sweep.unit, rates)
        told.append(("", f"which is {costs.words(saved)} for {costs.amount(saved)}"))
    return [*told, ("counted", costs.method(rates))] if told else []


def _interval(interval: Interval) -> str:
    """``44.0% (42.8% to 45.1%)``; published numbers come without one."""
    value, low, high = (format_percent(each) for each in (interval.value, interval.low, interval.high))
    return value if low == high else f"{value} ({low} to {high})"


def _step(step: Step, names: Mapping[str, str], frontier: Frontier) -> str:
    changes = ", ".join(f"{name} {before} -> {after}" for name, (before, after) in step.changes.items())
    what = f"would save {_interval(step.saving)}"
    if step.saving.value < 0:
        lost = Interval(-step.saving.value, -step.saving.high, -step.saving.low)
        what = f"would cost {_interval(lost)}"
    latency = "" if step.latency is None else f", at {frontier.sweep.latency} {format_seconds(step.latency)}"
    return f"{changes or names.get(step.to, step.to)} {what}{latency}{'' if step.allowed else ': not within the limit'}"


def _notes(frontier: Frontier) -> list[str]:
    return list(dict.fromkeys((*frontier.notes, *frontier.sweep.notes)))
