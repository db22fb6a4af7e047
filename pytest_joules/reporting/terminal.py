"""The terminal report: header, table, one line per failure, and the line that counts every budget."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pytest_joules.facts import IN_BASELINE
from pytest_joules.latency import TIMED
from pytest_joules.model import (
    BaselineChange,
    BaselineReview,
    BudgetResult,
    Device,
    EntryChange,
    Rates,
    Rename,
    RunResult,
    Verdict,
    VerdictKind,
)
from pytest_joules.options import COLUMNS
from pytest_joules.reporting import costs, diagnosis, references, tables
from pytest_joules.reporting.rows import MAIN, SEVERITY, latencies, seconds_per_unit, watts
from pytest_joules.terms import widened_text
from pytest_joules.units import format_joules, format_joules_range, format_percent, format_seconds, plural

DASH = "-"

_SUMMARY_WORDS = {
    VerdictKind.PASS: "passed",
    VerdictKind.IMPROVED: "improved",
    VerdictKind.REGRESSED: "regressed",
    VerdictKind.OVER_LIMIT: "over limit",
    VerdictKind.INVALID: "invalid",
    VerdictKind.NO_BASELINE: "without baseline",
    VerdictKind.INCONCLUSIVE: "inconclusive",
    VerdictKind.UNMEASURED: "unmeasured",
}
_ALWAYS_COUNTED = (VerdictKind.PASS, VerdictKind.REGRESSED, VerdictKind.INCONCLUSIVE, VerdictKind.UNMEASURED)

_MOVED = (VerdictKind.REGRESSED, VerdictKind.IMPROVED)


def summary_line(results: Sequence[BudgetResult]) -> str:
    """``energy: 12 passed, 1 regressed, 1 inconclusive, 0 unmeasured``; every declared budget is in it."""
    return f"energy: {counted(result.verdict.kind for result in results if result.declared)}"


def counted(kinds: Iterable[VerdictKind]) -> str:
    """``12 passed, 1 regressed, 1 inconclusive, 0 unmeasured``."""
    counts = Counter(kinds)
    return ", ".join(
        f"{counts[kind]} {word}" for kind, word in _SUMMARY_WORDS.items() if counts[kind] or kind in _ALWAYS_COUNTED
    )


def device_label(devices: Sequence[Device]) -> str:
    """``2x NVIDIA H200 (simulated)``."""
    names = Counter(device.name + (" (simulated)" if device.simulated else "") for device in devices)
    return ", ".join(f"{count}x {name}" if count > 1 else name for name, count in names.items())


def headline(result: BudgetResult) -> str:
    """One line: what the number is, against what, and what that came to."""
    verdict = result.verdict
    simulated = "simulated " if result.measurement and any(d.simulated for d in result.measurement.devices) else ""
    if verdict.joules_per_unit is None or result.key is None:
        return f"{verdict.kind.value}: {verdict.reason}"
    today = f"{simulated}{format_joules(verdict.joules_per_unit)}/{result.key.unit}"
    if verdict.kind is VerdictKind.OVER_LIMIT or verdict.ratio is None or verdict.baseline_joules_per_unit is None:
        return f"{verdict.kind.value}: {today}" + (f": {verdict.reason}" if verdict.reason else "")
    known = verdict.ratio_low is not None and verdict.ratio_high is not None
    interval = f", 98% interval {verdict.ratio_low:.4f} to {verdict.ratio_high:.4f}" if known else ""
    baseline = f"{_against(verdict)}'s {format_joules(verdict.baseline_joules_per_unit)}"
    because = f": {verdict.reason}" if verdict.kind is VerdictKind.INCONCLUSIVE else ""
    return (
        f"{verdict.kind.value}: {today} is {format_percent(verdict.ratio - 1, signed=True)} against the {baseline} "
        f"(ratio {verdict.ratio:.4f}{interval}"
        + (f", tolerance {format_percent(result.tolerance)})" if result.tolerance is not None else ")")
        + because
    )


def expected(result: BudgetResult) -> str:
    """``41-47 mJ/token (from nvidia-h100 through 9 shared tests, 90% interval)``; empty if nobody can tell."""
    found = result.expected
    if found is None or result.key is None:
        return ""
    interval = format_joules_range(found.low, found.high)
    return f"{interval}/{result.key.unit} (from {found.sku} through {found.tests} shared tests, 90% interval)"


def details(
    result: BudgetResult, baselines: str, update_command: str, rates: Rates, *, verbose: bool = False
) -> list[str]:
    """The headline, then what was measured, on what, against what, why, and what to do; verbose, what it costs."""
    lines = [headline(result)]
    verdict, measurement = result.verdict, result.measurement
    if measurement is not None and measurement.any_blocks:
        blocks = measurement.any_blocks
        lines.append(
            f"  measured   window {measurement.window!r}: {plural(len(blocks), 'block')}, {measurement.seconds:.1f} s "
            f"after {measurement.warmup_seconds:.1f} s of warm-up, {measurement.joules / measurement.seconds:.0f} W"
        )
        lines.append(f"  device     {_device_state(result)}")
        lines += _latency(result) if verbose else []
    if told := expected(result):
        lines.append(f"  expected   {told}")
    if result.diagnosis is not None:
        # Its split tells what moved.
        lines += diagnosis.whole(result.diagnosis) if verbose else diagnosis.brief(result.diagnosis)
    elif verdict.ratio is not None and verdict.seconds_ratio is not None:
        lines.append(
            f"  moved      watts {format_percent(verdict.ratio / verdict.seconds_ratio - 1, signed=True)}, "
            f"seconds per unit {format_percent(verdict.seconds_ratio - 1, signed=True)}"
        )
    if verdict.kind is VerdictKind.OVER_LIMIT and verdict.joules_per_unit is not None and result.diagnosis is not None:
        # The diagnosis is against the baseline, whatever the limit is.
        then = format_joules(verdict.joules_per_unit / math.exp(result.diagnosis.change))
        lines.append(
            f"  baseline   {then}, in {baselines}/{result.sku}.json; why is against this, not against the limit"
        )
    if verdict.baseline_sessions:
        stored = f"{plural(verdict.baseline_sessions, 'session')} in {baselines}/{result.sku}.json"
        lines.append(f"  {_against(verdict):<10} {stored}")
    if verdict.kind is VerdictKind.REGRESSED:
        lines.append(f"  because    {verdict.reason}")
    lines += _published(result)
    lines += costs.lines(result, rates) if verbose else []
    lines += [f"  note       {note}" for note in notes(result, verbose)]
    if verdict.kind in (VerdictKind.REGRESSED, VerdictKind.NO_BASELINE):
        why = "if this is intended" if verdict.kind is VerdictKind.REGRESSED else "record one"
        lines.append(f"  next       {why}: {update_command}")
    return lines


def table(results: Sequence[BudgetResult], columns: Sequence[str], sort: str) -> list[str]:
    """One row per measured budget or window.

    Unless columns are picked, windows stand behind their tests; a SKU that all share is left out, and published numbers
    that no test names.
    """
    rows = sorted((r for r in results if r.measurement is not None), key=_sort_key(sort))
    if not rows:
        return []
    if tuple(columns) == COLUMNS:
        alike = len({row.sku for row in rows if row.sku}) < 2
        idle = {"window", *(["sku"] if alike else []), *([] if any(r.reference for r in rows) else ["reference"])}
        columns = [column for column in columns if column not in idle]
    told = _COLUMNS if "window" in columns else {**_COLUMNS, "test": (tables.TEST, _name)}
    cells = [[told[column][1](row) for column in columns] for row in rows]
    return tables.table([told[column][0] for column in columns], cells)


def changes(written: Sequence[BaselineChange]) -> list[str]:
    """Old to new, with percent, for every stored series that an update touched."""
    lines = []
    for change in written:
        new = f"{format_joules(change.new)}/{change.key.unit}"
        if not change.old:
            what = f"new, {new}"
        else:
            percent = format_percent(change.new / change.old - 1, signed=True, digits=2)
            what = f"{format_joules(change.old)} -> {new} ({percent}{', replaced' if change.replaced else ''})"
        pinned = f", {change.pinned} pinned" if change.pinned else ""
        moved = ", anchor moved" if change.anchor_moved else ""
        wider = "".join(f", {widened_text(term, change.key.unit)}" for term in change.widened)
        series = f"{change.sku}: {change.key.test} [{change.key.window}]"
        lines.append(f"  {series}: {what}, {plural(change.sessions, 'session')}{pinned}{moved}{wider}")
    return lines


def unchanged(run: RunResult) -> str:
    """What an update says that stored nothing."""
    why = "" if any(result.declared for result in run.results) else ": no test that ran carries an energy_budget"
    return f"baselines: nothing was written{why}"


def stale(run: RunResult) -> list[str]:
    """Stored series whose test was not collected, and those that seem to be a test under its former name."""
    renamed = {rename.old for rename in run.renames}
    lines = [f"stored but not collected: {key}" for key in run.not_collected if key not in renamed]
    for rename in run.renames:
        agrees = format_percent(rename.ratio - 1, signed=True, digits=2)
        lines.append(f"renamed? {rename.old} is stored but not collected, and {rename.new} agrees with it ({agrees}):")
        lines.append(f"  {rename_command(rename)}")
    return list(dict.fromkeys(lines))


def rename_command(rename: Rename) -> str:
    """The command that gives a stored series its test's new name."""
    return shlex.join(["pytest-joules", "rename", rename.old.test, rename.new.test])


def review(found: BaselineReview, results: Sequence[BudgetResult]) -> list[str]:
    """What the work tree does to the base's baselines and to the terms that they were stored under."""
    lines = reviewed(found, results) or ["no change"]
    return [f"{review_title(found)}:", *(f"  {line}" for line in lines)]


def review_title(found: BaselineReview) -> str:
    """``baselines against origin/main (1a2b3c4d5e6f)``."""
    return f"baselines against {found.ref} ({found.commit[:12]})"


def reviewed(found: BaselineReview, results: Sequence[BudgetResult]) -> list[str]:
    """Below that, a line for each thing, for any report; empty if nothing is changed."""
    return [
        *map(_entry, found.changes),
        *(
            f"wider here, where the base's counts: {result.test}: {widened_text(change, result.key.unit)}"
            for result in results
            if result.key is not None
            for change in result.widened
        ),
        *(f"stored there, and judged no more: {key}" for key in found.unjudged),
        *(f"cannot be compared: {problem}" for problem in found.problems),
    ]


def _entry(change: EntryChange) -> str:
    unit = change.key.unit
    old, new = (None if joules is None else format_joules(joules) for joules in (change.old, change.new))
    if old is None or new is None:
        what = [f"removed, {old}/{unit}" if new is None else f"new, {new}/{unit}"]
    else:
        assert change.old is not None
        assert change.new is not None
        percent = f" ({format_percent(change.new / change.old - 1, signed=True, digits=2)})" if change.old else ""
        what = [f"{old} -> {new}/{unit}{percent}"]
    counts = (("added", change.added), ("removed", change.removed), ("rewritten", change.rewritten))
    what += [f"{plural(count, 'session')} {word}" for word, count in counts if count]
    what += [f"renamed from {change.renamed_from.test}"] if change.renamed_from else []
    what += ["anchor moved"] if change.anchor_moved else []
    what += [widened_text(wider, unit) for wider in change.widened]
    return f"{change.sku}: {change.key.test} [{change.key.window}]: {', '.join(what)}"


def report(
    run: RunResult,
    columns: Sequence[str],
    sort: str,
    storing: Callable[[BudgetResult], str],
    *,
    verbose: bool = False,
    told: bool = False,
) -> list[str]:
    """Everything below the ``energy`` heading, line by line.

    Args:
        run: The run.
        columns: Columns of the table.
        sort: What it is sorted by.
        storing: What stores a result as it is: a command, or who does.
        verbose: Whether to print every verdict in full.
        told: Whether failures are told above, and left out here.
    """
    lines: list[str] = []
    if rows := table(run.results, columns, sort):
        lines += [*rows, ""]
    notable = [r for r in run.results if r.declared and (verbose or r.failed or r.verdict.kind is not VerdictKind.PASS)]
    left_out: dict[str, dict[str, None]] = {}
    for result in sorted(notable, key=_sort_key("verdict")):
        if result.failed and told:
            continue
        if result.verdict.kind is VerdictKind.UNMEASURED and not (result.failed or verbose):
            left_out.setdefault(headline(result), {})[result.test] = None
        else:
            lines += [f"{result.test}: {headline(result)}", *_why(result, verbose), *_published(result)]
            lines += _latency(result) if verbose else []
            lines += costs.lines(result, run.rates) if verbose and not result.failed else []
            # A level that nobody stores is no gate: the saving could be lost again, and every run would pass.
            if result.verdict.kind is VerdictKind.IMPROVED and not run.changes:
                lines.append(f"  next       hold the new level: {storing(result)}")
    # Of a hundred deselected tests one line is enough.
    lines += [f"{_several(tests)}: {why}" for why, tests in left_out.items()]
    noted: dict[str, dict[str, None]] = {}
    for result in run.results:
        for note in () if result.failed and told else notes(result, verbose):
            noted.setdefault(note, {})[result.test] = None
    lines += [f"{_several(tests)}: {note}" for note, tests in noted.items()]
    lines += stale(run)
    if run.review is not None:
        lines += review(run.review, run.results)
    if run.changes:
        lines += ["baselines written:", *changes(run.changes)]
    if run.sweeps:
        # Not before there is one to tell of.
        from pytest_joules.reporting import frontier

        for found in frontier.frontiers(run):
            lines += [*([""] if lines and lines[-1] else []), *frontier.report(found, run.rates)]
    return lines


def _why(result: BudgetResult, verbose: bool) -> list[str]:
    """What the summary says of why, where the test's own text does not."""
    found = result.diagnosis
    if result.failed:
        return []
    if found is None:
        return [f"  expected   {told}"] if (told := expected(result)) else []
    level = diagnosis.is_level(found)
    if verbose:
        return diagnosis.splits(found) if level else diagnosis.whole(found)
    return [] if level or result.verdict.kind not in _MOVED else [diagnosis.first(found)]


def _published(result: BudgetResult) -> list[str]:
    line = references.beside(result)
    return [f"  reference  {line}"] if line else []


def _several(tests: Iterable[str]) -> str:
    first, *others = tests
    return f"{first} and {len(others)} more" if others else first


def _against(verdict: Verdict) -> str:
    return "anchor" if verdict.crept else "baseline"


def notes(result: BudgetResult, verbose: bool = False) -> Sequence[str]:
    """What is to be known beside the verdict, but for differences from the baseline that its diagnosis tells of."""
    found, known = result.diagnosis, (*result.verdict.notes, *(result.measurement.notes if result.measurement else ()))
    if found is None or not (result.failed or _why(result, verbose)):
        return known
    told = {line.partition(":")[0] for line in diagnosis.evidence(found, verbose)}
    return [note for note in known if IN_BASELINE not in note or note.partition(":")[0] not in told]


def _device_state(result: BudgetResult) -> str:
    measurement = result.measurement
    assert measurement is not None
    state = [f"{device_label(measurement.devices)}"]
    at = measurement.conditions
    if at.temperature_celsius is not None:
        state.append(f"{at.temperature_celsius:.0f} °C")
    if at.sm_clock_mhz is not None:
        state.append(f"SM {at.sm_clock_mhz:.0f} MHz")
    if at.power_cap_share:
        state.append(f"power-capped {at.power_cap_share:.0%} of the time")
    return ", ".join(state)


def _latency(result: BudgetResult) -> list[str]:
    """All latencies of a window in one line, if there are any: ``call 1.20 s, p50 1.19 s; itl p50 11.9 ms``."""
    told: dict[str, list[str]] = {}
    for name, seconds in latencies(result).items():
        timed, _, percentile = name.partition("_")
        told.setdefault(timed, []).append(f"{percentile} {format_seconds(seconds)}".lstrip())
    line = "; ".join(f"{timed} {', '.join(each)}" for timed, each in told.items())
    return [f"  latency    {line}"] if line else []


def _window(result: BudgetResult) -> str:
    return result.measurement.window if result.measurement else DASH


def _name(result: BudgetResult) -> str:
    window = _window(result)
    return result.test if window == MAIN else f"{result.test} [{window}]"


def _joules(result: BudgetResult) -> str:
    verdict = result.verdict
    if verdict.joules_per_unit is None or result.key is None:
        return DASH
    uncertainty = f" ±{format_percent(verdict.uncertainty, digits=2)}" if verdict.uncertainty is not None else ""
    return f"{format_joules(verdict.joules_per_unit)}/{result.key.unit}{uncertainty}"


def _ratio(result: BudgetResult) -> str:
    verdict = result.verdict
    if verdict.ratio is None or verdict.ratio_high is None:
        return DASH
    return f"{verdict.ratio:.3f} ±{verdict.ratio_high - verdict.ratio:.3f}"


def _timed(name: str, result: BudgetResult) -> str:
    return _shown(latencies(result).get(name), format_seconds)


def _shown(value: float | None, form: Callable[[float], str]) -> str:
    return DASH if value is None else form(value)


_COLUMNS: dict[str, tuple[str, Callable[[BudgetResult], str]]] = {
    **{name: (name, partial(_timed, name)) for name in TIMED},
    "test": (tables.TEST, lambda r: r.test),
    "window": ("window", _window),
    "sku": ("SKU", lambda r: r.sku or DASH),
    "joules": ("joules", _joules),
    "watts": ("watts", lambda r: _shown(watts(r), lambda w: f"{w:.0f}")),
    "seconds": ("s/unit", lambda r: _shown(seconds_per_unit(r), format_seconds)),
    "baseline": ("baseline", lambda r: _shown(r.verdict.baseline_joules_per_unit, format_joules)),
    "ratio": ("ratio", _ratio),
    "reference": ("/ published", lambda r: _shown(r.over_reference, lambda ratio: f"{ratio:.3f}")),
    "verdict": ("verdict", lambda r: r.verdict.kind.value if r.declared else f"({r.verdict.kind.value})"),
    "detectable": ("would catch", lambda r: _shown(r.verdict.detectable, lambda d: format_percent(d, signed=True))),
}


def _sort_key(sort: str) -> Callable[[BudgetResult], tuple[float, str]]:
    def key(result: BudgetResult) -> tuple[float, str]:
        rank: float | None = 0.0
        if sort == "verdict":
            rank = SEVERITY.index(result.verdict.kind)
        elif sort == "ratio":
            rank = -result.verdict.ratio if result.verdict.ratio is not None else None
        elif sort == "joules":
            rank = -result.verdict.joules_per_unit if result.verdict.joules_per_unit is not None else None
        elif sort == "watts":
            rank = -power if (power := watts(result)) is not None else None
        elif sort == "seconds":
            rank = -each if (each := seconds_per_unit(result)) is not None else None
        return (math.inf if rank is None else rank, result.test)

    return key
