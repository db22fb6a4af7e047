"""A sweep's points as a table, and what to choose in words: on the terminal and, by the same words, on the page."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_joules.codec import encode
from pytest_joules.costs import cost_of
from pytest_joules.frontier import (
    Frontier,
    Interval,
    Placed,
    Recommendation,
    Standing,
    Step,
    configurations,
    frontier_of,
    interval_of,
    told_apart,
)
from pytest_joules.model import Estimate, Rates, RunResult
from pytest_joules.reporting import costs, tables
from pytest_joules.reporting import json as json_report
from pytest_joules.slo import parse_slo
from pytest_joules.units import format_joules, format_percent, format_rate, format_seconds, plural

DASH = "-"

MOST_POINTS = 24
"""Points that the terminal tells all of; of more, those that are dominated and nothing else are counted."""

WIDTH = 126
"""Columns that words are wrapped to."""

BRIEF = ("recommended", "saves")
"""The lines of a recommendation that a short report tells."""

SCHEMA_VERSION = 1
"""Version of the JSON file; its names are those of :class:`~pytest_joules.frontier.Frontier`."""


def write_json(frontiers: Sequence[Frontier], rates: Rates, path: Path) -> None:
    """Write them as data; degrees of freedom without an end are ``null``."""
    data = {"schema": SCHEMA_VERSION, "rates": encode(rates), "frontiers": _ended(encode(frontiers))}
    json_report.write_data(data, path)


def _ended(data: Any) -> Any:
    """JSON has no infinity."""
    if isinstance(data, dict):
        return {name: _ended(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_ended(value) for value in data]
    return None if data == math.inf else data


def frontiers(run: RunResult) -> list[Frontier]:
    """What the sweeps of a run come to, under the conditions that it was run with."""
    conditions = parse_slo(run.slo) if run.slo else ()
    return [frontier_of(sweep, conditions) for sweep in run.sweeps]


def brief(frontiers: Iterable[Frontier], rates: Rates) -> list[str]:
    """What to choose of each sweep, and what that saves: a few lines for a short report."""
    return [
        line
        for frontier in frontiers
        for line in (
            f"{title(frontier)}:",
            *_told((label, text) for label, text in words(frontier, rates) if label in BRIEF),
        )
    ]


def report(frontier: Frontier, rates: Rates) -> list[str]:
    """Everything of one sweep, line by line."""
    return [f"{title(frontier)}:", *table(frontier), "", *_told(words(frontier, rates))]


def _told(said: Iterable[tuple[str, str]]) -> list[str]:
    """Labels in a column, with their texts beside them, wrapped."""
    wrapper = textwrap.TextWrapper(WIDTH, subsequent_indent=" " * 14, break_long_words=False, break_on_hyphens=False)
    lines = []
    for label, text in said:
        wrapper.initial_indent = f"  {label:<11} "
        lines += wrapper.wrap(text)
    return lines


def title(frontier: Frontier) -> str:
    """``chat decode: J/token against itl_p95, 12 points``."""
    sweep = frontier.sweep
    return f"{sweep.group}: J/{sweep.unit} against {sweep.latency}, {plural(len(frontier.points), 'point')}"


def table(frontier: Frontier) -> list[str]:
    """The points by latency; of many, those that matter."""
    few = len(frontier.points) <= MOST_POINTS
    shown = [few or _matters(placed, frontier) for placed in frontier.points]
    rows = [row for row, wanted in zip(cells(frontier), shown, strict=True) if wanted]
    left = shown.count(False)
    more = f"{plural(left, 'point')} more, each dominated by another (JSON and HTML have all)"
    return [*tables.table(headings(frontier), rows), *([more] if left else [])]


def _matters(placed: Placed, frontier: Frontier) -> bool:
    return placed.standing is not Standing.DOMINATED or bool(roles(placed, frontier))


def headings(frontier: Frontier) -> list[str]:
    """Headings of what :func:`cells` gives."""
    unit = frontier.sweep.unit
    return [
        "#",
        *(_knobs(frontier) or [tables.TEST]),
        f"J/{unit}",
        frontier.sweep.latency,
        f"{unit}s/s",
        "W",
        "standing",
    ]


def cells(frontier: Frontier) -> list[list[str]]:
    """A row of text for each point, in the frontier's order; rows are numbered, and name each other by number."""
    knobs = _knobs(frontier)
    named = numbers(frontier)
    return [
        [
            named[placed.point.name].removeprefix("#"),
            *([placed.point.settings.get(knob, DASH) for knob in knobs] or [placed.point.name]),
            DASH if placed.joules is None else f"{format_joules(placed.joules.value)}{_spread(placed.joules)}",
            DASH if placed.latency is None else f"{format_seconds(placed.latency.value)}{_spread(placed.latency)}",
            DASH if placed.throughput is None else format_rate(placed.throughput),
            DASH if placed.watts is None else f"{placed.watts:.0f}",
            ", ".join([*roles(placed, frontier), standing(placed, named)]),
        ]
        for placed in frontier.points
    ]


def numbers(frontier: Frontier) -> dict[str, str]:
    """``#3``, by each point's name: what its row is called."""
    return {placed.point.name: f"#{number}" for number, placed in enumerate(frontier.points, 1)}


def _knobs(frontier: Frontier) -> list[str]:
    """Settings, where they tell the points apart; else none, and names have to."""
    points = frontier.sweep.points
    if told_apart(points):
        return list(dict.fromkeys(knob for point in points for knob in point.settings))
    return []


def _spread(estimate: Estimate) -> str:
    low, high = interval_of(estimate)
    return f" ±{format_percent(math.sqrt(high / low) - 1)}" if high > low else ""


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


def standing(placed: Placed, names: Mapping[str, str]) -> str:
    """``dominated by #3 (+9.3% J, +40.4% s)``, and why it cannot be chosen."""
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
        for what, value in (("J", placed.joules_above), ("s", placed.latency_above))
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
    names = configurations(frontier.sweep.points)
    chosen = placed[found.name]
    told = [("recommended", f"{names[found.name]}: {_numbers(chosen, frontier)}{f', for {asked}' if asked else ''}")]
    told += _savings(found, placed, frontier, names, rates)
    if found.runner_up and found.ahead is not None:
        told.append(("ahead", f"of the runner-up, {names[found.runner_up]}, by {_interval(found.ahead)}"))
    told += [("next", _step(step, names, frontier)) for step in _next(found, chosen)]
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
    found: Recommendation, placed: Mapping[str, Placed], frontier: Frontier, names: Mapping[str, str], rates: Rates
) -> list[tuple[str, str]]:
    chosen = placed[found.name]
    default = next((name for name, each in placed.items() if each.point.default), "")
    against = [("the default", default, found.over_default), ("the fastest", found.fastest, found.over_fastest)]
    if default == found.fastest:
        against = [("the default, which is the fastest", default, found.over_default)]
    told = []
    for what, name, saving in against:
        if saving is None or chosen.joules is None:
            continue
        saves = saving.value >= 0
        share = f"{_interval(saving)} against" if saves else f"{_interval(_turned(saving))} more than"
        # A configuration that misses the limit may take less: it is no alternative.
        other = "" if placed[name].meets else f", which cannot be chosen: {placed[name].reason}"
        told.append(("saves" if saves else "costs", f"{share} {what}, {names.get(name, name)}{other}"))
        # A saving is a share of the other's joules.
        moved = abs(chosen.joules.value * saving.value / (1 - saving.value))
        cost = cost_of(moved, frontier.sweep.unit, rates)
        told.append(("", f"that is {costs.words(cost)} for {costs.amount(cost)}"))
    return [*told, ("counted", costs.method(rates))] if told else []


def _turned(interval: Interval) -> Interval:
    """A saving as a loss, and the other way round."""
    return Interval(-interval.value, -interval.high, -interval.low)


def _interval(interval: Interval) -> str:
    """``44.0% (42.8% to 45.1%)``; published numbers come without one."""
    value, low, high = (format_percent(each) for each in (interval.value, interval.low, interval.high))
    return value if low == high else f"{value} ({low} to {high})"


def _next(found: Recommendation, chosen: Placed) -> list[Step]:
    """Of each knob the step that is worth most, else the next beyond the limit; and what a looser limit is worth."""
    best: dict[frozenset[str], Step] = {}
    for step in sorted((step for step in found.steps if _is_worth_telling(step, chosen)), key=_rank):
        best.setdefault(frozenset(step.changes), step)
    beyond = [] if found.beyond is None else [found.beyond]
    return [*best.values(), *(step for step in beyond if all(step.to != other.to for other in best.values()))]


def _is_worth_telling(step: Step, chosen: Placed) -> bool:
    """Whether it saves joules or, within the conditions, time."""
    faster = step.latency is not None and chosen.latency is not None and step.latency < chosen.latency.value
    return step.saving.value > 0 or (step.allowed and faster)


def _rank(step: Step) -> tuple[int, float]:
    if step.saving.value <= 0:
        return 2, -step.saving.value
    return (0, -step.saving.value) if step.allowed or step.latency is None else (1, step.latency)


def _step(step: Step, names: Mapping[str, str], frontier: Frontier) -> str:
    changes = ", ".join(f"{name} {before} -> {after}" for name, (before, after) in step.changes.items())
    saves = step.saving.value >= 0
    what = f"would save {_interval(step.saving)}" if saves else f"would cost {_interval(_turned(step.saving))} more"
    latency = "" if step.latency is None else f", at {frontier.sweep.latency} {format_seconds(step.latency)}"
    return f"{changes or names.get(step.to, step.to)} {what}{latency}{'' if step.allowed else ': not within the limit'}"


def _notes(frontier: Frontier) -> list[str]:
    return list(dict.fromkeys((*frontier.notes, *frontier.sweep.notes)))
