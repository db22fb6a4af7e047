"""The paired comparison: two sides measured in turns, by pairs of runs.  Pure functions.

Of each run and series ``y`` is the mean of ``ln(joules per unit)`` over the
blocks, and of each pair ``y_head - y_base``, measured one right after the
other.  Base and head take turns in being first (base, head, head, base, ...),
so that a drift that is linear in time cancels over every two pairs.  ``d`` is
the mean of the ``n`` differences, and::

    h = t(df) * c * sqrt(variance / n)

with the variance of one difference pooled from this series' differences, the
prior of two sessions on one device, and the other series' differences.  The
rule on ``d`` and ``h`` is that of :mod:`pytest_joules.decision`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from pytest_joules.decision import (
    HalfWidths,
    classify,
    half_widths,
    latency_notes,
    noise_reason,
    rise_reason,
)
from pytest_joules.diagnosis.explain import explain
from pytest_joules.diagnosis.observation import Observation
from pytest_joules.facts import differences
from pytest_joules.model import (
    TEST_FAILED,
    BudgetResult,
    Conditions,
    Diagnosis,
    Measurement,
    MeterInfo,
    RunResult,
    VerdictKind,
    WindowKind,
)
from pytest_joules.statistics import (
    SAME_DEVICE_SD,
    Spread,
    autocorrelation_inflation,
    between_sessions,
    combine,
    spread_of,
)
from pytest_joules.units import format_percent

LOOKS = (2, 4, 6, 8)
"""Numbers of pairs at which the verdict is tried; two pairs are the least that cancel a drift."""

LOOKS_CORRECTION = 1.17
"""Widening for looking four times: Pocock's constant bound for :data:`LOOKS` at one-sided 1 % over the single look's
(``benchmarks/looks.py``)."""

ONE_SHOT_PAIRS = 4
"""A single shot's error is known from its differences alone, so it takes this many."""

WORK_CHANGE = 0.01
"""A change of the work per call that is told; generated texts differ a little in length."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one process measured of one series.

    Attributes:
        observed: What a unit cost, and what is known of how.
        units_per_call: Work of one call.
        log_variance: Variance of ``ln(joules_per_unit)`` as the scatter of the blocks tells it.
        devices: Identities of the devices whose joules are summed.
    """

    observed: Observation
    units_per_call: float
    log_variance: float
    devices: tuple[str, ...]

    @classmethod
    def of(cls, measurement: Measurement, unit: str) -> Reading:
        """Read ``unit`` of a valid measurement.

        Raises:
            KeyError: if the measurement did not count ``unit``.
        """
        blocks = measurement.blocks[unit]
        logs = [math.log(block.joules_per_unit) for block in blocks]
        return cls(
            observed=Observation.of_measurement(measurement, unit),
            units_per_call=sum(block.units for block in blocks) / measurement.calls,
            log_variance=spread_of(logs).variance * autocorrelation_inflation([logs]) / len(logs),
            devices=tuple(device.identity for device in measurement.devices),
        )

    @property
    def joules_per_unit(self) -> float:
        """J per unit, geometric mean of the blocks."""
        return self.observed.joules_per_unit

    @property
    def seconds_per_unit(self) -> float:
        """s per unit, geometric mean of the blocks."""
        return self.observed.seconds_per_unit

    @property
    def kind(self) -> WindowKind:
        """How the window was measured."""
        assert self.observed.kind is not None
        return self.observed.kind

    @property
    def conditions(self) -> Conditions:
        """What the number holds under."""
        return self.observed.conditions


@dataclass(frozen=True, slots=True)
class Series:
    """One test, window and unit on both sides, and what the comparison came to.

    Attributes:
        test: The test's node id, or its budget's explicit key.
        window: The window's name; empty if it was never measured.
        unit: The unit of work; empty if it was never measured.
        declared: Whether a budget was declared for it, on the head's side if it is there.
        gate: Whether a bad verdict fails the comparison.
        tolerance: The accepted relative rise.
        kind: The verdict.
        reason: One plain sentence: why, and what would help.
        failed: Whether it fails the comparison.
        base: The base's readings, in the order of the pairs.
        head: The head's readings, in the order of the pairs.
        ratio: Head over base, of joules per unit.
        ratio_low: Lower end of the ratio's 98 % interval.
        ratio_high: Upper end of the ratio's 98 % interval.
        seconds_ratio: Head over base, of seconds per unit; watts moved by ``ratio / seconds_ratio``.
        notes: What a reader of the number must know.
        diagnosis: Why the two sides differ; ``None`` before there is an interval.
    """

    test: str
    window: str
    unit: str
    declared: bool
    gate: bool
    tolerance: float
    kind: VerdictKind
    reason: str = ""
    failed: bool = False
    base: tuple[Reading, ...] = ()
    head: tuple[Reading, ...] = ()
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    seconds_ratio: float | None = None
    notes: tuple[str, ...] = ()
    diagnosis: Diagnosis | None = None

    @property
    def differences(self) -> list[float]:
        """Log ratio head over base of each pair."""
        return [
            math.log(head.joules_per_unit / base.joules_per_unit)
            for base, head in zip(self.base, self.head, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs right after each other."""

    base: RunResult
    head: RunResult


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that one A/B found out; the table and the JSON file are drawn from it.

    Attributes:
        created: UTC time at which the last run ended, ISO 8601 to the second.
        version: Version of pytest-joules.
        meter: Where the joules came from.
        base_ref: What the user called the base.
        base_commit: The commit that this was.
        head_commit: The commit of the user's tree, marked if the tree differs from it.
        pairs: How many pairs were measured.
        most_pairs: How many might have been.
        series: One per test, window and unit, in the order of the head's tests.
    """

    created: str
    version: str
    meter: MeterInfo | None
    base_ref: str
    base_commit: str | None
    head_commit: str | None
    pairs: int
    most_pairs: int
    series: tuple[Series, ...]

    @property
    def failed(self) -> bool:
        """Whether any series fails it."""
        return any(series.failed for series in self.series)


def compare(pairs: Sequence[Pair], tolerance: float) -> tuple[Series, ...]:
    """The verdict on every series after so many pairs.

    Args:
        pairs: What was measured so far, in order.
        tolerance: The accepted relative rise where the head's budget gives none.
    """
    base, head = _Side.of("base", [pair.base for pair in pairs]), _Side.of("head", [pair.head for pair in pairs])
    keys = dict.fromkeys([*head.readings, *base.readings])
    silent = dict.fromkeys(key for side in (head, base) for key in side.without_any(keys))
    found = [_series(key, base, head, tolerance) for key in (*keys, *silent)]
    family = sum(series.declared for series in found)
    judged = [_judged(series, found, family) for series in found]
    return tuple(replace(series, failed=_fails(series, base, head)) for series in judged)


def decided(series: Sequence[Series]) -> bool:
    """Whether no declared budget needs another pair."""
    return all(s.kind is not VerdictKind.INCONCLUSIVE for s in series if s.declared)


def variance_of_difference(own: Sequence[float], others: Iterable[Sequence[float]], kind: WindowKind) -> Spread:
    """The variance of one pair's difference.

    Pooled from the series' own differences, those of the others (worth
    ``POOL_DF`` at most) and the prior of two sessions on one device, as
    between sessions: a series that stands out of the others leaves them.
    Single shots have no prior, and only their own differences count.

    Args:
        own: The series' log ratios, one a pair.
        others: Those of the other series that were measured in the same way.
        kind: How they were measured.
    """
    if kind is WindowKind.ONE_SHOT:
        return spread_of(own)
    pool = combine(spread_of(differences) for differences in others)
    return between_sessions(spread_of(own), pool, math.sqrt(2) * SAME_DEVICE_SD)


def width_of(variance: Spread, pairs: int, family: int) -> HalfWidths:
    """The half-widths of the mean of so many differences, each of ``variance``, at any of :data:`LOOKS`."""
    return half_widths(Spread(LOOKS_CORRECTION**2 * variance.variance / pairs, variance.df), family)


_Key = tuple[str, str, str]
"""Test, window and unit; no unit where nothing was measured, and then perhaps no window."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A result without a usable number, and in which run it was."""

    run: int
    result: BudgetResult

    @property
    def window(self) -> str:
        """The window that it is about; empty if it may be any of the test's."""
        measurement = self.result.measurement
        return self.result.budget.window or (measurement.window if measurement else "")


@dataclass(frozen=True, slots=True)
class _Side:
    """What the runs of one side hold.

    Attributes:
        name: ``base`` or ``head``.
        readings: Of every series, a reading for each run; ``None`` where the run has none.
        budgets: Of every series, the results that the readings are from.
        troubles: Of every test, its results without a usable number.
    """

    name: str
    readings: Mapping[_Key, Sequence[Reading | None]]
    budgets: Mapping[_Key, Sequence[BudgetResult]]
    troubles: Mapping[str, Sequence[_Trouble]]

    @classmethod
    def of(cls, name: str, runs: Sequence[RunResult]) -> _Side:
        readings: dict[_Key, list[Reading | None]] = {}
        budgets: dict[_Key, list[BudgetResult]] = {}
        troubles: dict[str, list[_Trouble]] = {}
        for number, run in enumerate(runs):
            for result in run.results:
                test, measurement = result.budget.key or result.test, result.measurement
                found = troubles.setdefault(test, [])
                if measurement is None or measurement.invalid or result.key is None:
                    found.append(_Trouble(number, result))
                    continue
                key = (test, result.key.window, result.key.unit)
                budgets.setdefault(key, []).append(result)
                readings.setdefault(key, [None] * len(runs))[number] = Reading.of(measurement, result.key.unit)
        return cls(name, readings, budgets, troubles)

    def about(self, test: str, window: str) -> list[_Trouble]:
        """Troubles of ``test`` that are, or may be, about ``window``."""
        return [t for t in self.troubles.get(test, ()) if not window or t.window in ("", window)]

    def without_any(self, measured: Iterable[_Key]) -> Iterator[_Key]:
        """Keys for the troubles that are about no measured series."""
        windows: dict[str, set[str]] = {}
        for test, window, _ in measured:
            windows.setdefault(test, {""}).add(window)
        for test, troubles in self.troubles.items():
            for trouble in troubles:
                if trouble.window not in windows.get(test, ()):
                    yield test, trouble.window, ""


def _series(key: _Key, base: _Side, head: _Side, tolerance: float) -> Series:
    test, window, unit = key
    results = (
        head.budgets.get(key)
        or base.budgets.get(key)
        or [trouble.result for side in (head, base) for trouble in side.about(test, window)]
    )
    declared = [result for result in results if result.declared]
    given = [result.tolerance for result in declared or results if result.tolerance is not None]
    kind, reason = _obstacle(key, base, head)
    return Series(
        test=test,
        window=window,
        unit=unit,
        declared=bool(declared),
        gate=any(result.budget.gate for result in declared),
        tolerance=min(given, default=tolerance),
        kind=kind,
        reason=reason,
        base=_known(base.readings.get(key, ())),
        head=_known(head.readings.get(key, ())),
    )


def _known(readings: Sequence[Reading | None]) -> tuple[Reading, ...]:
    return tuple(reading for reading in readings if reading is not None)


def _obstacle(key: _Key, base: _Side, head: _Side) -> tuple[VerdictKind, str]:
    """Why the two sides cannot be compared; INCONCLUSIVE without a reason if they can."""
    test, window, unit = key
    troubles = [
        (trouble.run, side.name, trouble.result.verdict)
        for side in (base, head)
        for trouble in side.about(test, window)
    ]
    if troubles:
        run, name, verdict = min(troubles, key=lambda trouble: trouble[0])
        return VerdictKind.INVALID if unit else verdict.kind, f"pair {run + 1}, {name}: {verdict.reason}"
    for side, kind in ((base, VerdictKind.NO_BASELINE), (head, VerdictKind.UNMEASURED)):
        if key not in side.readings:
            what = f"window {window!r} in J/{unit}" if test in side.troubles else "the test"
            return kind, f"the {side.name} does not have {what}: nothing to compare"
        if None in side.readings[key]:
            return VerdictKind.INVALID, f"pair {side.readings[key].index(None) + 1}, {side.name}: not measured"
    both = [reading for side in (base, head) for reading in _known(side.readings[key])]
    if len(devices := dict.fromkeys("+".join(reading.devices) for reading in both)) > 1:
        named = " and ".join(devices)
        return VerdictKind.INVALID, f"measured on different devices ({named}): pin one with CUDA_VISIBLE_DEVICES"
    if len({reading.kind for reading in both}) > 1:
        return VerdictKind.INVALID, "measured by repeated calls on one side and as one shot on the other"
    bases, heads = ([reading.conditions for reading in _known(side.readings[key])] for side in (base, head))
    facts, settings = [at.facts for at in bases], [at.configuration for at in bases]
    for at in heads:
        if other := differences(at.facts, facts, at.configuration, settings, against="base").other_work:
            return VerdictKind.INVALID, other
    return VerdictKind.INCONCLUSIVE, ""


def _judged(series: Series, everything: Sequence[Series], family: int) -> Series:
    if series.kind is not VerdictKind.INCONCLUSIVE:
        return series
    kind = series.head[0].kind
    own = series.differences
    others = [
        other.differences
        for other in everything
        if other is not series and other.kind is VerdictKind.INCONCLUSIVE and other.head[0].kind is kind
    ]
    d, t = fmean(own), math.log1p(series.tolerance)
    seconds = math.exp(
        fmean(math.log(h.seconds_per_unit / b.seconds_per_unit) for b, h in zip(series.base, series.head, strict=True))
    )
    compared = replace(series, ratio=math.exp(d), seconds_ratio=seconds, notes=_work_notes(series))
    least = ONE_SHOT_PAIRS if kind is WindowKind.ONE_SHOT else LOOKS[0]
    if len(own) < least:
        return replace(compared, reason=f"it takes {least} pairs, and there are {len(own)}")
    variance = variance_of_difference(own, others, kind)
    # The other series lend their quiet only as far as this one's own blocks allow.
    floor = fmean(reading.log_variance for reading in series.base) + fmean(r.log_variance for r in series.head)
    variance = Spread(max(variance.variance, floor), variance.df)
    width = width_of(variance, len(own), family)
    best = width_of(variance, LOOKS[-1], family)
    verdict = classify(d, t, width)
    base, head = (Observation.mean([reading.observed for reading in side]) for side in (series.base, series.head))
    return replace(
        compared,
        kind=verdict,
        reason=_reason(verdict, d, t, width, classify(d, t, best)),
        ratio_low=math.exp(d - width.plain),
        ratio_high=math.exp(d + width.plain),
        notes=(*compared.notes, *latency_notes(verdict, seconds)),
        diagnosis=explain(base, head, width.plain),
    )


def _reason(kind: VerdictKind, d: float, t: float, width: HalfWidths, best: VerdictKind) -> str:
    if kind is VerdictKind.REGRESSED:
        return rise_reason(d, t)
    if kind is VerdictKind.IMPROVED:
        return f"joules per unit fell by {format_percent(-math.expm1(d))}"
    if kind is VerdictKind.PASS:
        return ""
    if best is not VerdictKind.INCONCLUSIVE:
        return f"{noise_reason(d, width)}; more pairs would settle it (--pairs {LOOKS[-1]})"
    return f"{noise_reason(d, width)}; {LOOKS[-1]} pairs would not settle it: widen the tolerance"


def _work_notes(series: Series) -> tuple[str, ...]:
    before, after = (fmean(reading.units_per_call for reading in side) for side in (series.base, series.head))
    if abs(after / before - 1) <= WORK_CHANGE:
        return ()
    return (f"work changed: {before:.4g} -> {after:.4g} {series.unit} per call; the ratio is per unit",)


def _fails(series: Series, base: _Side, head: _Side) -> bool:
    if not (series.declared and series.gate):
        return False
    if series.kind is VerdictKind.UNMEASURED and not series.unit:
        # Skipped on both sides is no failure; a test that failed, or forgot to measure, is.
        results = [trouble.result for side in (base, head) for trouble in side.about(series.test, series.window)]
        return any(result.failed or result.verdict.reason.startswith(TEST_FAILED) for result in results)
    return series.kind in (VerdictKind.REGRESSED, VerdictKind.INVALID, VerdictKind.UNMEASURED)
