"""Stored runs judged again: by other baselines or other options, and by the code that judges a run of pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path

from pytest_joules.codec import shown
from pytest_joules.gathering import GatherError, Part, gathered
from pytest_joules.judging import Bar, explained, judge
from pytest_joules.model import (
    DESELECTED,
    SKIPPED,
    XFAILED,
    BaselineKey,
    BudgetResult,
    MeterInfo,
    Rates,
    RunResult,
    Sweep,
    VerdictKind,
)
from pytest_joules.options import Options
from pytest_joules.policy import fails
from pytest_joules.references.lookup import with_reference
from pytest_joules.reporting import json as json_report
from pytest_joules.units import LARGEST_NUMBER, SMALLEST_NUMBER, format_time
from pytest_joules.updating import claimed_tolerance

CLOCKS_DIFFER = timedelta(days=1)
"""How far a machine's clock may be ahead of this one's; a session of the far future would stay the newest for good."""


class ResultError(Exception):
    """A stored run that cannot be judged; the message names the file, what is at fault, and the fix."""


def read_result(path: Path) -> RunResult:
    """Read a report of ``--energy-json`` whose numbers some run can have measured.

    Raises:
        ResultError: if there is none, it is not one, or it holds numbers that no run measures.
    """
    try:
        run = json_report.read(path)
    except json_report.ReportError as error:
        raise ResultError(str(error)) from error
    try:
        created = datetime.fromisoformat(run.created)
        timed = format_time(created) == run.created and created < datetime.now(timezone.utc) + CLOCKS_DIFFER
    except (ValueError, OverflowError):
        timed = False
    if not timed:
        raise ResultError(f"{path}: 'created' is {run.created[:60]!r}, and no time of a run's: measure it again")
    for result in run.results:
        if fault := _fault(result, run.meter):
            raise ResultError(f"{path}: {shown(result.test)}: {fault}; no run measures that: measure it again")
    return run


def _fault(result: BudgetResult, meter: MeterInfo | None) -> str:
    """What of a result is sound for a reader, and yet cannot be judged; empty if nothing is."""
    budget, measurement = result.budget, result.measurement
    for tolerance in (budget.tolerance, result.tolerance, claimed_tolerance(result)):
        if tolerance is not None and not 0 < tolerance < 1:
            return f"a tolerance of {tolerance:g}"
    if budget.limit is not None and not SMALLEST_NUMBER <= budget.limit.joules <= LARGEST_NUMBER:
        return f"a limit of {budget.limit.joules:g} J"
    if measurement is None and result.verdict.kind not in (VerdictKind.UNMEASURED, VerdictKind.INVALID):
        return f"{result.verdict.kind.value} without a measurement"
    if measurement is None or measurement.invalid:
        return ""
    kinds = {device.simulated for device in measurement.devices} | ({meter.simulated} if meter else set())
    if len(kinds) > 1:
        return "simulated and real devices together"
    conditions = measurement.conditions
    told = (conditions.facts, conditions.signals, {"idle power": conditions.idle_watts or 0.0})
    for name, value in ((name, value) for numbers in told for name, value in numbers.items()):
        if not 0 <= value <= LARGEST_NUMBER:
            return f"{name} of {value:g}"
    return ""


def family_of(results: Iterable[BudgetResult]) -> int:
    """How many budgets share the error rate: those of tests that were to run."""
    return sum(result.declared and result.verdict.reason != DESELECTED for result in results)


Counting = Callable[[Sequence[BudgetResult]], Iterable[BudgetResult]]
"""Goes through results, and tells how far it is."""


Wanted = Callable[[BudgetResult], bool]
"""Whether somebody will read why a result came out as it did: that takes as long as judging it."""


def judged_again(
    run: RunResult,
    bar: Bar,
    *,
    tolerance: bool = False,
    explain: Wanted = lambda result: True,
    counting: Counting = iter,
) -> RunResult:
    """The run as it would have ended by another bar; nothing is written.

    Args:
        run: A run, as it was read.
        bar: What its windows are now held to.
        tolerance: Whether the bar's options give the tolerance of budgets without one; else that of the run stays.
        explain: Which results to explain.
        counting: Goes through the results.

    Raises:
        ResultError: if a window's numbers are beyond arithmetic.
    """
    return replace(
        run, results=tuple(_again(result, bar, tolerance, explain) for result in counting(run.results)), changes=()
    )


def _again(result: BudgetResult, bar: Bar, tolerance: bool, explain: Wanted) -> BudgetResult:
    measurement = result.measurement
    if measurement is None:
        return replace(result, failed=still_fails(result, bar.options))
    claimed = None if tolerance else claimed_tolerance(result)
    if claimed is not None and claimed != bar.options.tolerance:
        bar = replace(bar, options=replace(bar.options, tolerance=claimed))
    name = result.key.test if result.key else result.budget.key or result.test
    try:
        judged = judge(result.test, result.budget, measurement, name, bar, declared=result.declared)
        judged = replace(judged, place=result.place, broken=result.broken)
        judged = explained(judged, bar) if explain(judged) else judged
        judged = with_reference(judged, result.reference)
    except (ArithmeticError, ValueError) as error:
        raise ResultError(f"{shown(result.test)}: {error}; no run measures that: measure it again") from error
    return replace(judged, failed=fails(judged, bar.options))


def still_fails(result: BudgetResult, options: Options) -> bool:
    """Whether a verdict fails its test, or a test that came to no verdict its run.

    A test that failed was red in its own run, and is no silent pass here.
    """
    if result.measurement is None and result.verdict.kind is VerdictKind.UNMEASURED:
        return result.declared and result.budget.gate and (options.strict or not unwanted(result))
    return fails(result, options)


def unwanted(result: BudgetResult) -> bool:
    """Whether nobody wanted the test to tell: it was skipped, not selected, or failed as it was expected to."""
    verdict = result.verdict
    return verdict.kind is VerdictKind.UNMEASURED and verdict.reason.startswith((SKIPPED, XFAILED, DESELECTED))


def check_storable(runs: Sequence[RunResult]) -> None:
    """See that somebody may store what the runs measured.

    Raises:
        ResultError: if one was replayed, or simulated and real joules would mix.
    """
    meters = [run.meter for run in runs if run.meter is not None]
    if any(meter.replayed for meter in meters):
        raise ResultError("replayed joules are stored already or were not meant to be: give the run that measured them")
    _check_kind(meters)


def _check_kind(meters: Sequence[MeterInfo]) -> None:
    if len({meter.simulated for meter in meters}) > 1:
        raise ResultError("some of the results are simulated and some are real: give one kind at a time")


def only(run: RunResult, text: str) -> RunResult:
    """The results whose test, window and unit hold ``text``."""
    return replace(run, results=tuple(result for result in run.results if text in _name(result)))


def _name(result: BudgetResult) -> str:
    window = result.measurement.window if result.measurement else result.budget.window or "main"
    return str(result.key) if result.key else f"{result.test} [{window}]"


def together(runs: Sequence[RunResult]) -> RunResult:
    """Several runs as one, such as the parts of a suite that ran on several machines.

    A test that one of them did not select counts where another one ran it.

    Raises:
        ResultError: if simulated and real joules would mix, or sweeps do not compare.
    """
    meters = [run.meter for run in runs if run.meter is not None]
    _check_kind(meters)
    commits = {run.commit for run in runs}
    measured = {result.key.test for run in runs for result in run.results if result.key}
    return RunResult(
        created=max(run.created for run in runs),
        version=version("pytest-joules"),
        meter=_meter(meters),
        commit=commits.pop() if len(commits) == 1 else None,
        results=_parts(runs),
        extra_info={test: info for run in runs for test, info in run.extra_info.items()},
        not_collected=_not_collected(runs, measured),
        sweeps=_sweeps(runs),
        slo=runs[0].slo if len({run.slo for run in runs}) == 1 else "",
        rates=_rates(runs),
    )


def _parts(runs: Sequence[RunResult]) -> tuple[BudgetResult, ...]:
    results = [result for run in runs for result in run.results]
    ran = {result.test for result in results if not unwanted(result)}
    idle = {(result.test, result.budget): result for result in results if result.test not in ran}
    return (*(result for result in results if not unwanted(result)), *idle.values())


def _meter(meters: Sequence[MeterInfo]) -> MeterInfo | None:
    if not meters:
        return None
    return MeterInfo(
        description="; ".join(dict.fromkeys(meter.description for meter in meters)),
        simulated=meters[0].simulated,
        devices=tuple(dict.fromkeys(device for meter in meters for device in meter.devices)),
        replayed=any(meter.replayed for meter in meters),
    )


def _sweeps(runs: Sequence[RunResult]) -> tuple[Sweep, ...]:
    try:
        return gathered([Part(f"result {number}", run.sweeps) for number, run in enumerate(runs, 1)])
    except GatherError as error:
        raise ResultError(str(error)) from error


def _rates(runs: Sequence[RunResult]) -> Rates:
    """What all of them say that energy costs; where they differ, nobody does."""
    return runs[0].rates if len({run.rates for run in runs}) == 1 else Rates()


def _not_collected(runs: Sequence[RunResult], measured: set[str]) -> tuple[BaselineKey, ...]:
    keys = dict.fromkeys(key for run in runs for key in run.not_collected)
    return tuple(key for key in keys if key.test not in measured)
