"""The HTML report: one file that needs nothing else, to open, to mail or to keep as a build's artifact.

The page works offline and under a strict content security policy (W3C "Content
Security Policy Level 3"): every script and style that may act is named by its
hash, and nothing may be fetched.  Text is rendered here, through Jinja2's
autoescape; charts are drawn by Plotly from numbers, when a test is opened.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pytest_joules.codec import without_garbage_collection
from pytest_joules.frontier import Frontier, Placed, Standing, configurations, interval_of
from pytest_joules.model import (
    Conditions,
    Device,
    Diagnosis,
    Measurement,
    PowerTrace,
    Rates,
    RunResult,
    VerdictKind,
    WindowKind,
)
from pytest_joules.reporting import advice, costs, frontier, terminal
from pytest_joules.reporting import diagnosis as why
from pytest_joules.reporting.escape import short, visible
from pytest_joules.reporting.rows import SEVERITY, Row, finite, rows, worst_first
from pytest_joules.signals import CONDITIONS, SIGNALS, shown
from pytest_joules.slo import latency_called
from pytest_joules.units import (
    format_bytes,
    format_count,
    format_joules,
    format_percent,
    format_rate,
    format_seconds,
    plural,
    significant,
)
from pytest_joules.workloads.settings import UNSET

LONGEST_TEXT = 4000
"""Characters of one text that are shown; a parametrized id may have a hundred thousand, in every line that names it."""

MOST_TESTS = 1000
"""Tests that have a page of their own, the worst first; the others have their line in the table.  A browser takes its
time for more, and the JSON report has all."""

MOST_REASONS, MOST_ALIKE = 6, 12
"""Reasons why budgets moved or failed that the overview tells, and budgets named with each; the table has all."""

DASH = "–"

MARKS = {
    VerdictKind.PASS: "✓",
    VerdictKind.IMPROVED: "↓",
    VerdictKind.REGRESSED: "↑",
    VerdictKind.OVER_LIMIT: "▲",
    VerdictKind.INVALID: "!",
    VerdictKind.NO_BASELINE: "○",
    VerdictKind.INCONCLUSIVE: "?",
    VerdictKind.UNMEASURED: "∅",
}
"""A verdict is never told by its colour alone."""

MEANINGS = {
    VerdictKind.PASS: "Level: a rise of twice the tolerance is excluded, or the limit is kept.",
    VerdictKind.IMPROVED: "Surely lower than the baseline, by more than the tolerance.",
    VerdictKind.REGRESSED: "Surely higher than the baseline, and by more than the tolerance.",
    VerdictKind.OVER_LIMIT: "Surely over the limit.",
    VerdictKind.INCONCLUSIVE: "Not decided: the noise leaves room for a pass and for a failure.",
    VerdictKind.NO_BASELINE: "Nothing is stored to compare it with.",
    VerdictKind.INVALID: "Measured, but the number cannot be trusted.",
    VerdictKind.UNMEASURED: "The test ended without measuring.",
}

_SIGNALS = {known.name: known for known in (*CONDITIONS, *SIGNALS)}

_WRAP = re.compile(r"(?<=[/_:\[])(?=[^/_:\[])")
"""Where a line of a node id may end."""

_PREFIXES = ((1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))

_JSON_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}

_NO_METER = "No meter was opened: nothing was measured."

_EMPTY_STYLE = ""
"""Plotly makes one empty style element and adds its rules through the object model, which a policy does not touch."""


@without_garbage_collection()
def render(run: RunResult, frontiers: Sequence[Frontier] | None = None) -> str:
    """The page; deterministic for one result and one version of Plotly.

    Args:
        run: What it is drawn from.
        frontiers: What its sweeps come to; ``None`` for all of them under the run's own conditions.
    """
    found = worst_first(rows(run))
    named = list(zip(_identities(found), found, strict=True))
    whole, others = named[:MOST_TESTS], named[MOST_TESTS:]
    frontiers = frontier.frontiers(run) if frontiers is None else frontiers
    sweeps = [_sweep(number, found, run.rates) for number, found in enumerate(frontiers, 1)]
    style, script = _asset("report.css"), _asset("report.js")
    library, packed = _library()
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)} {library}",
            f"style-src {_hash(style)} {_hash(_EMPTY_STYLE)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return _template().render(
        policy=Markup(policy),
        style=Markup(style),
        script=Markup(script),
        library=Markup(packed),
        data=Markup(
            _json({name: _data(row) for name, row in whole} | {s.id: _frontier_data(s.frontier) for s in sweeps})
        ),
        sweeps=sweeps,
        run=run,
        overview=_overview(run, found),
        notable=_notable(whole, run),
        most_reasons=MOST_REASONS,
        most_alike=MOST_ALIKE,
        tests=[_test(name, row, run) for name, row in whole],
        others=[_line(name, row) for name, row in others],
    )


# -- the page's parts --


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    return environment.from_string(_asset("report.html.j2"))


def _shown(value: object) -> object:
    """Every text on its way into the page: what cannot be seen is spelled out, before Jinja2 escapes it."""
    return value if isinstance(value, Markup) else short(visible(str(value), keep="\n"), LONGEST_TEXT)


def _asset(name: str) -> str:
    text = files("pytest_joules.reporting").joinpath("page", name).read_text(encoding="utf-8")
    return text.replace("\r", "")


@lru_cache(maxsize=1)
def _library() -> tuple[str, str]:
    """Plotly's hash, and Plotly packed: half of the time that a page takes to make."""
    text = get_plotlyjs().removeprefix("\ufeff")
    return _hash(text), base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: object) -> str:
    """JSON that no HTML parser takes for anything else; ASCII, so that no separator of lines is in it."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).translate(_JSON_ESCAPES)


def _identities(found: Iterable[Row]) -> list[str]:
    """A stable name for each row, for links: what it is called does not go into it as it is."""
    seen: Counter[str] = Counter()
    names = []
    for row in found:
        told = json.dumps([row.test, row.window, row.unit, row.declared])
        seen[told] += 1
        digest = hashlib.sha256(f"{told}{seen[told]}".encode()).hexdigest()[:16]
        names.append(f"t-{digest}")
    return names


@dataclass(frozen=True, slots=True)
class _Overview:
    """What stands above the table."""

    banners: Sequence[str]
    summary: str
    counts: Sequence[tuple[VerdictKind, str, int]]
    joules: str
    seconds: str
    watts: str
    origin: str
    devices: Sequence[tuple[str, str]]
    told: Sequence[tuple[str, Sequence[str]]]
    created: str
    budgets: int
    bar: Sequence[tuple[str, float, float]]


def _overview(run: RunResult, found: Sequence[Row]) -> _Overview:
    declared = Counter(row.verdict for row in found if row.declared)
    # Several budgets may speak of one window; its joules were spent once.
    measured = {(row.test, row.window): row for row in found if row.joules is not None and row.seconds is not None}
    joules = sum(row.joules or 0.0 for row in measured.values())
    seconds = sum(row.seconds or 0.0 for row in measured.values())
    devices = terminal.device_label(run.meter.devices) if run.meter else ""
    created = run.created.replace("T", " ").replace("+00:00", " UTC")
    total, at, bar = sum(declared.values()), 0.0, []
    for kind in SEVERITY:
        if declared[kind]:
            share = 100 * declared[kind] / total
            bar.append((kind.value, at, share))
            at += share
    return _Overview(
        banners=_banners(run),
        summary=terminal.summary_line(run.results).removeprefix("energy: "),
        counts=[(kind, MARKS[kind], count) for kind in SEVERITY if (count := sum(r.verdict is kind for r in found))],
        joules=format_joules(joules) if joules else DASH,
        seconds=format_seconds(seconds) if seconds else DASH,
        watts=f"{joules / seconds:.0f} W" if seconds else DASH,
        origin=", ".join(part for part in (devices, f"commit {run.commit}" if run.commit else "", created) if part),
        devices=_devices(run.meter.devices if run.meter else ()),
        told=_of_baselines(run),
        created=created,
        budgets=total,
        bar=bar,
    )


def _of_baselines(run: RunResult) -> list[tuple[str, list[str]]]:
    """What the run says of baselines, beside the verdicts."""
    told = [("Baselines written", terminal.changes(run.changes)), ("Stale baselines", terminal.stale(run))]
    if run.review is not None:
        title = terminal.review_title(run.review)
        told.insert(0, (f"{title[0].upper()}{title[1:]}", terminal.reviewed(run.review, run.results) or ["no change"]))
    return [(title, [line.strip() for line in lines]) for title, lines in told if lines]


def _banners(run: RunResult) -> list[str]:
    told = []
    if run.meter is None:
        published = bool(run.sweeps) and all(point.source for sweep in run.sweeps for point in sweep.points)
        told.append("Published numbers: nothing was measured." if published else _NO_METER)
    elif run.meter.replayed:
        told.append("Replayed: an earlier run's reads were played back, nothing was measured anew.")
    if run.meter is not None and run.meter.simulated:
        told.append("Simulated: no real device was measured. These joules say nothing of hardware.")
    return told


def _devices(devices: Iterable[Device]) -> list[tuple[str, str]]:
    """Each device's name, and what is known of it."""
    told = []
    for device in devices:
        about = [f"GPU {device.index}" if device.scope == "gpu" else device.scope, device.identity]
        about += [f"driver {device.driver}"] if device.driver else []
        about += [f"power limit {device.power_limit_watts:.0f} W"] if device.power_limit_watts is not None else []
        about += [f"{name} {value}" for name, value in device.settings.items()]
        told.append((device.name, ", ".join(about)))
    return told


@dataclass(frozen=True, slots=True)
class _Cause:
    """A mechanism as the page tells it."""

    claim: str
    evidence: Sequence[str]
    more: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Why:
    """A diagnosis as the page tells it."""

    level: bool
    opening: Sequence[str]
    causes: Sequence[_Cause]
    splits: Sequence[Sequence[tuple[str, str]]]
    left: str
    missing: Sequence[str]
    moved: Sequence[tuple[str, str, str]]
    stayed: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class _Line:
    """One budget, or one window without a budget, as the table tells it."""

    id: str
    row: Row
    name: str
    file: Sequence[str]
    rest: Sequence[str]
    mark: str
    verdict: str
    value: str
    baseline: str
    change: str
    interval: str
    watts: str
    seconds: str
    forest: Mapping[str, float] | None
    keys: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Notable:
    """Why budgets failed or moved, in brief: the worst of them, and those with the same cause."""

    line: _Line
    what: str
    reason: str
    steps: Sequence[str]
    alike: Sequence[_Line]


@dataclass(frozen=True, slots=True)
class _Test:
    """The same on a page of its own."""

    line: _Line
    row: Row
    meaning: str
    headline: str
    reason: str
    steps: Sequence[str]
    figures: Sequence[tuple[str, str]]
    why: _Why | None
    notes: Sequence[str]
    conditions: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    charts: Sequence[tuple[str, str, str]]
    extra: str


def _line(name: str, row: Row) -> _Line:
    shown_name = short(visible(row.name))
    file, colons, rest = shown_name.partition("::") if "::" in shown_name else ("", "", shown_name)
    return _Line(
        id=name,
        row=row,
        name=shown_name,
        file=_WRAP.split(file + colons),
        rest=_WRAP.split(rest),
        mark=MARKS[row.verdict],
        verdict=row.verdict.value if row.declared else f"({row.verdict.value})",
        value=format_joules(row.joules_per_unit) if row.joules_per_unit is not None else DASH,
        baseline=format_joules(row.baseline) if row.baseline is not None else DASH,
        change=_change(row.ratio) if row.ratio is not None else DASH,
        interval=_interval(row),
        watts=f"{row.watts:.0f} W" if row.watts is not None else DASH,
        seconds=format_seconds(row.seconds_per_unit) if row.seconds_per_unit is not None else DASH,
        forest=_forest(row),
        keys=_sort_keys(row),
    )


def _is_notable(row: Row) -> bool:
    return row.failed or (row.declared and row.verdict not in (VerdictKind.PASS, VerdictKind.UNMEASURED))


def _notable(named: Iterable[tuple[str, Row]], run: RunResult) -> list[_Notable]:
    """One for each cause, the worst first."""
    groups: dict[tuple[object, ...], list[tuple[str, Row]]] = {}
    for name, row in named:
        if _is_notable(row):
            found = row.result.diagnosis
            causes = tuple(cause.text for cause in found.causes) if found is not None else ()
            groups.setdefault((row.verdict, causes or _why_in_brief(row)), []).append((name, row))
    return [
        _Notable(
            line=_line(name, row),
            what=_what_moved(row),
            reason=_why_in_brief(row),
            steps=advice.steps(row.result, run),
            alike=[_line(*other) for other in others],
        )
        for (name, row), *others in groups.values()
    ]


def _why_in_brief(row: Row) -> str:
    found = row.result.diagnosis
    return why.why(found) if found is not None and not why.is_level(found) else _reason(row)


def _what_moved(row: Row) -> str:
    """``5.003 mJ -> 52.12 mJ/token``."""
    if row.joules_per_unit is None:
        return ""
    today = format_joules(row.joules_per_unit) + (f"/{row.unit}" if row.unit else "")
    if row.verdict is VerdictKind.OVER_LIMIT and row.limit is not None:
        return f"{today}, limit {format_joules(row.limit)}"
    return today if row.baseline is None else f"{format_joules(row.baseline)} -> {today}"


def _reason(row: Row) -> str:
    """What the verdict says of itself beyond its numbers."""
    verdict = row.result.verdict
    return "" if verdict.kind is VerdictKind.REGRESSED and not verdict.crept else verdict.reason


def _test(name: str, row: Row, run: RunResult) -> _Test:
    result, measurement = row.result, row.result.measurement
    extra = run.extra_info.get(row.test)
    return _Test(
        line=_line(name, row),
        row=row,
        meaning=MEANINGS[row.verdict],
        headline=terminal.headline(result).partition(": ")[2],
        reason=_reason(row),
        steps=advice.steps(result, run),
        figures=_figures(row, run.rates),
        why=_why(result.diagnosis) if result.diagnosis is not None else None,
        notes=[*result.verdict.notes, *(measurement.notes if measurement else ())],
        conditions=_conditions(measurement) if measurement else (),
        charts=_charts(row),
        extra=json.dumps(extra, indent=1, ensure_ascii=False, default=str) if extra else "",
    )


def _sort_keys(row: Row) -> dict[str, str]:
    """What the table sorts by; what is unknown is empty, and comes last."""
    numbers = {"joules": row.joules_per_unit, "ratio": row.ratio, "watts": row.watts, "seconds": row.seconds_per_unit}
    return {name: "" if number is None else f"{number:.9g}" for name, number in numbers.items()}


def _interval(row: Row) -> str:
    if row.ratio_low is None or row.ratio_high is None:
        return ""
    return f"{_change(row.ratio_low)} to {_change(row.ratio_high)}"


def _change(ratio: float) -> str:
    """A ratio as a signed percentage."""
    return format_percent(ratio - 1, signed=True)


FOREST_HALF = 50.0
"""Half the width of the drawing of a ratio, in its own units."""


def _forest(row: Row) -> dict[str, float] | None:
    """A ratio's place on a line of logs, with the baseline at the middle; ``None`` if there is none to show."""
    if row.ratio is None or row.ratio_low is None or row.ratio_high is None:
        return None
    ratios = (row.ratio_low, row.ratio, row.ratio_high)
    if min(ratios) <= 0:
        return None
    tolerance = math.log1p(row.tolerance) if row.tolerance is not None and row.tolerance > 0 else 0.0
    logs = [math.log(ratio) for ratio in ratios]
    widest = max(2.5 * tolerance, *map(abs, logs), 0.005)
    low, point, high = (FOREST_HALF * (1 + log / widest) for log in logs)
    band = FOREST_HALF * tolerance / widest
    return {"low": low, "point": point, "width": max(high - low, 0.5), "band": band}


def _figures(row: Row, rates: Rates) -> list[tuple[str, str]]:
    """The numbers of a budget, each with what it is."""
    result, verdict, measurement = row.result, row.result.verdict, row.result.measurement
    per = f" / {row.unit}" if row.unit else ""
    told: list[tuple[str, str]] = []
    if row.joules_per_unit is not None:
        error = finite(verdict.uncertainty)
        spread = f" ± {format_percent(error, digits=2)}" if error is not None else ""
        told.append(("Today", f"{format_joules(row.joules_per_unit)}{per}{spread}"))
    if row.baseline is not None:
        own = f", {verdict.own_sessions} from this device" if verdict.own_sessions else ""
        what = "Anchor" if verdict.crept else "Baseline"
        told.append((what, f"{format_joules(row.baseline)}{per} ({plural(row.sessions, 'session')}{own})"))
    if expected := terminal.expected(result):
        told.append(("Expected", expected))
    if row.ratio is not None:
        told.append(("Ratio", f"{row.ratio:.4f} ({format_percent(row.ratio - 1, signed=True, digits=2)})"))
    if row.ratio_low is not None and row.ratio_high is not None:
        told.append(("98% interval", f"{row.ratio_low:.4f} to {row.ratio_high:.4f}"))
    if row.tolerance is not None:
        told.append(("Tolerance", format_percent(row.tolerance)))
    if row.limit is not None:
        told.append(("Limit", f"{format_joules(row.limit)}{per}"))
    if (reference := result.reference) is not None and row.published is not None and row.over_published is not None:
        origin = f"{reference.source}, {reference.date}, {reference.gpu}"
        told.append(("Published", f"{format_joules(row.published)}{per} ({origin})"))
        told.append(("Yours / published", f"{row.over_published:.3f}"))
    if row.detectable is not None:
        told.append(("Would catch", f"a rise of {format_percent(row.detectable)}"))
    if (moved := finite(verdict.seconds_ratio)) is not None:
        told.append(("Time per unit", f"{_change(moved)} against the baseline"))
    if row.watts is not None and row.joules is not None and row.seconds is not None and measurement is not None:
        told.append(("Power", f"{row.watts:.0f} W"))
        if row.seconds_per_unit is not None:
            told.append((f"Seconds{per}", format_seconds(row.seconds_per_unit)))
        blocks = plural(row.blocks, "block")
        told.append(("Measured", f"{format_joules(row.joules)} in {format_seconds(row.seconds)}, {blocks}"))
        if measurement.warmup_seconds:
            told.append(("Warm-up", format_seconds(measurement.warmup_seconds)))
        what = "requests" if measurement.kind is WindowKind.STEADY else "calls"
        calls = f", {measurement.calls:.3g} {what} in its blocks" if measurement.calls else ""
        told.append(("Window", f"{measurement.window}, {measurement.kind.value}{calls}"))
    told += costs.told(result, rates)
    if row.sku:
        told.append(("Baseline file", f"{row.sku}.json"))
    if result.key is not None and result.key.test != row.test:
        told.append(("Stored under", result.key.test))
    if row.place is not None:
        told.append(("Written in", row.place.file + (f":{row.place.line}" if row.place.line is not None else "")))
    return told


def _why(found: Diagnosis) -> _Why:
    signals = [why.named(change) for change in found.signals if (change.before, change.after) != (None, None)]
    return _Why(
        level=why.is_level(found) and not found.causes,
        opening=why.opening(found),
        causes=[
            _Cause(why.claim(cause, found), cause.evidence, [*why.expected(cause, found), why.origin(cause)])
            for cause in found.causes
        ],
        splits=[[(name, why.percent(part)) for name, part in split.parts.items()] for split in found.splits],
        left=f"{why.span(*found.left)} unexplained",
        missing=found.missing,
        moved=[told for told in signals if told[1] != told[2]],
        stayed=[told for told in signals if told[1] == told[2]],
    )


def _conditions(measurement: Measurement) -> list[tuple[str, list[tuple[str, str]]]]:
    """What the number holds under, in groups that are there."""
    at = measurement.conditions
    groups = [
        ("Devices", _devices(measurement.devices)),
        ("State", _state(at)),
        ("Latencies", [(name, format_seconds(value)) for name, value in measurement.latencies.items()]),
        ("The work", _told((name, _fact(name, value), _fact(name, 0.0)) for name, value in at.facts.items())),
        ("Versions", list(at.versions.items())),
        ("Settings", [(name, value) for name, value in at.configuration.items() if value != UNSET]),
    ]
    return [(title, list(told)) for title, told in groups if told]


def _told(known: Iterable[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """Names with values, and below them in one line the names of all that are nothing.

    Args:
        known: Names, values in words, and what nothing would be in words.
    """
    told, nothing = [], []
    for name, value, zero in known:
        if value == zero:
            nothing.append(name)
        else:
            told.append((name, value))
    return [*told, *([("nothing of", ", ".join(nothing))] if nothing else [])]


def _fact(name: str, value: float) -> str:
    """A number of the work: large ones as people say them."""
    if name.startswith("bytes_"):
        return format_bytes(value)
    return format_count(value) if value >= 1e6 else f"{value:.6g}"


def _state(at: Conditions) -> list[tuple[str, str]]:
    known = {signal.name: getattr(at, signal.name) for signal in CONDITIONS} | dict(at.signals)
    return _told(
        (_SIGNALS[name].text, shown(_SIGNALS[name], value), shown(_SIGNALS[name], 0.0))
        if name in _SIGNALS
        else (name, f"{value:.4g}", "0")
        for name, value in known.items()
        if value is not None and math.isfinite(value)
    )


# -- sweeps --


@dataclass(frozen=True, slots=True)
class _Point:
    """One configuration of a sweep, as its table tells it."""

    cells: Sequence[str]
    roles: Sequence[str]
    standing: str


@dataclass(frozen=True, slots=True)
class _Sweep:
    """One sweep: what to choose, and all points."""

    id: str
    frontier: Frontier
    title: str
    asked: str
    words: Sequence[tuple[str, str]]
    caption: str
    headings: Sequence[str]
    points: Sequence[_Point]


def _sweep(number: int, found: Frontier, rates: Rates) -> _Sweep:
    names = frontier.numbers(found)
    return _Sweep(
        id=f"s-{number}",
        frontier=found,
        title=found.sweep.group,
        asked=" and ".join(map(str, found.conditions)),
        words=_joined(frontier.words(found, rates)),
        caption=_frontier_in_words(found),
        headings=frontier.headings(found)[:-1],
        points=[
            _Point(cells[:-1], frontier.roles(placed, found), frontier.standing(placed, names))
            for cells, placed in zip(frontier.cells(found), found.points, strict=True)
        ],
    )


def _joined(words: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """A line without a label of its own belongs to the one before it."""
    told: list[tuple[str, str]] = []
    for label, text in words:
        told[-1:] = [(told[-1][0], f"{told[-1][1]}; {text}")] if not label and told else [*told[-1:], (label, text)]
    return [(f"{label[0].upper()}{label[1:]}", text) for label, text in told]


def _frontier_in_words(found: Frontier) -> str:
    sweep = found.sweep
    told = f"{sweep.latency} and J/{sweep.unit} of {plural(len(found.points), 'point')}: less is better"
    if not all(placed.point.source for placed in found.points):
        told += "; bars are 95% intervals"
    line = [placed for placed in found.points if placed.standing is Standing.FRONTIER]
    ends = [placed.joules for placed in line if placed.joules is not None]
    if len(ends) > 1:
        most, least = (format_joules(end.value) for end in (ends[0], ends[-1]))
        told += f"; {plural(len(line), 'point')} on the frontier, from {most} to {least}"
    return f"{told}."


def _frontier_data(found: Frontier) -> dict[str, Any]:
    """The numbers that a frontier's chart is made of, in units that read well."""
    sweep, numbers = found.sweep, frontier.numbers(found)
    names = configurations(sweep.points)
    latencies = {name for point in sweep.points for measured in point.passes for name in measured.seconds}
    known = [(p, p.joules, p.latency) for p in found.points if p.joules is not None and p.latency is not None]
    joules, prefix = _scale(min((j.value for _, j, _ in known), default=None))
    seconds, thousandth = _scale(min((s.value for _, _, s in known), default=None))
    return {
        "y": visible(f"{prefix}J/{sweep.unit}"),
        "x": visible(f"{sweep.latency}, {thousandth}s"),
        "limits": [
            [significant(condition.bound / seconds), str(condition)]
            for condition in found.conditions
            if latency_called(condition.metric, latencies) == latency_called(sweep.latency, latencies)
        ],
        "points": [
            {
                "x": [significant(value / seconds) for value in (latency.value, *interval_of(latency))],
                "y": [significant(value / joules) for value in (energy.value, *interval_of(energy))],
                "standing": placed.standing.value,
                "meets": placed.meets,
                "roles": frontier.roles(placed, found),
                "text": [
                    short(visible(text))
                    for text in (
                        f"{numbers[placed.point.name]} {names[placed.point.name]}",
                        *_of_point(placed, found, numbers),
                    )
                ],
            }
            for placed, energy, latency in known
        ],
    }


def _of_point(placed: Placed, found: Frontier, numbers: Mapping[str, str]) -> list[str]:
    """What a point is, beside its name."""
    unit = found.sweep.unit
    told = [f"{format_joules(placed.joules.value)}/{unit}"] if placed.joules is not None else []
    told += [f"{found.sweep.latency} {format_seconds(placed.latency.value)}"] if placed.latency is not None else []
    told += [f"{format_rate(placed.throughput)} {unit}s/s"] if placed.throughput is not None else []
    told += [f"{placed.watts:.0f} W"] if placed.watts is not None else []
    return [*told, frontier.standing(placed, numbers)]


# -- charts --


def _charts(row: Row) -> list[tuple[str, str, str]]:
    """The charts that there is something to draw for: what is drawn, its title, and what it shows in words."""
    result = row.result
    told = []
    blocks = _blocks(row)
    if blocks:
        told.append(("blocks", "Blocks against the baseline", _blocks_in_words(row, blocks)))
    trace = result.measurement.trace if result.measurement else None
    if trace is not None and trace.seconds:
        told.append(("power", "Power over time", f"{_power_in_words(trace)}; {_before(row)} before the blocks."))
    if row.joules_per_unit is not None and result.history is not None and result.history.recorded:
        told.append(("history", "History", _history_in_words(row)))
    return told


def _blocks(row: Row) -> list[float]:
    """Joules per unit of each block, as far as they are numbers."""
    measurement = row.result.measurement
    found = measurement.blocks.get(row.unit, ()) if measurement and row.unit else ()
    return [b.joules / b.units for b in found if b.units > 0 and math.isfinite(b.joules) and math.isfinite(b.units)]


def _blocks_in_words(row: Row, blocks: Sequence[float]) -> str:
    per = f"/{row.unit}"
    span = f"from {format_joules(min(blocks))} to {format_joules(max(blocks))}{per}" if len(blocks) > 1 else ""
    told = f"{len(blocks)} blocks {span}" if span else f"One block of {format_joules(blocks[0])}{per}"
    if row.baseline is not None:
        told += f"; the baseline predicts {format_joules(row.baseline)}{per}"
        if row.tolerance is not None:
            told += f", and up to {format_joules(row.baseline * (1 + row.tolerance))}{per} is within the tolerance"
    return f"{told}; the limit is {format_joules(row.limit)}{per}." if row.limit is not None else f"{told}."


def _power_in_words(trace: PowerTrace) -> str:
    told = f"{_between(trace.watts, 'W')} over {format_seconds(trace.seconds[-1])}"
    clocks = [value for value in trace.sm_clock_mhz if value is not None]
    degrees = [value for value in trace.temperature_celsius if value is not None]
    told += f"; SM clock {_between(clocks, 'MHz')}" if clocks else ""
    told += f"; {_between(degrees, '°C')}" if degrees else ""
    if trace.block_seconds:
        told += f"; blocks from {trace.block_seconds[0]:.1f} s to {trace.block_seconds[-1]:.1f} s"
    return told


def _before(row: Row) -> str:
    """What a window's time before its blocks is."""
    measurement = row.result.measurement
    return "idle" if measurement is not None and measurement.kind is WindowKind.ONE_SHOT else "warm-up"


def _between(values: Sequence[float], unit: str) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _history_in_words(row: Row) -> str:
    history = row.result.history
    assert history is not None
    values, count = history.joules_per_unit, len(history.recorded)
    told = f"{plural(count, 'stored session')} since {history.recorded[0][:10]}"
    if values:
        told += f", from {format_joules(min(values))} to {format_joules(max(values))}/{row.unit}"
    assert row.joules_per_unit is not None
    return f"{told}; today {format_joules(row.joules_per_unit)}/{row.unit}."


def _data(row: Row) -> dict[str, Any]:
    """The numbers that a row's charts and their tables are made of, in a unit that reads well."""
    scale, prefix = _scale(row.joules_per_unit)
    data: dict[str, Any] = {"unit": visible(f"{prefix}J/{row.unit}" if row.unit else "J")}
    if blocks := _blocks(row):
        data["blocks"] = [significant(value / scale) for value in blocks]
    for name, value in (("today", row.joules_per_unit), ("baseline", row.baseline), ("limit", row.limit)):
        if value is not None:
            data[name] = significant(value / scale)
    if row.tolerance is not None:
        data["tolerance"] = row.tolerance
    if row.low is not None and row.high is not None:
        data["interval"] = [significant(row.low / scale), significant(row.high / scale)]
    measurement, history = row.result.measurement, row.result.history
    if measurement is not None and measurement.trace is not None and measurement.trace.seconds:
        trace = measurement.trace
        limits = [device.power_limit_watts for device in measurement.devices]
        data["power"] = {
            "s": _column(trace.seconds),
            "w": _column(trace.watts),
            "mhz": _column(trace.sm_clock_mhz),
            "c": _column(trace.temperature_celsius),
            "blocks": [] if len(trace.block_seconds) < 2 else [finite(value) for value in trace.block_seconds],
            "before": _before(row),
            "limit": None if None in limits else sum(limit or 0.0 for limit in limits),
        }
    if history is not None and history.recorded:
        data["history"] = {
            "t": [visible(time)[:25] for time in history.recorded],
            "j": [None if finite(value) is None else significant(value / scale) for value in history.joules_per_unit],
            "sd": _column(history.spread),
            "s": _column(history.seconds_per_unit),
            "commit": [visible(commit)[:7] if commit else None for commit in history.commits],
            "own": [int(own) for own in history.same_devices],
            "anchor": [int(anchor) for anchor in history.anchors],
        }
    return data


def _column(values: Sequence[float | None]) -> list[float | None] | float | None:
    """A column of numbers; one that never changes is a single number."""
    found = [int(value) if value is not None and value.is_integer() else value for value in map(finite, values)]
    return found[0] if len(found) > 1 and len(set(found)) == 1 else found


def _scale(value: float | None) -> tuple[float, str]:
    return next(((s, prefix) for s, prefix in _PREFIXES if value is not None and abs(value) >= s), (1.0, ""))
