"""What every report says of one budget, as plain numbers: a :class:`Row`.

Renderers print rows and do no arithmetic of their own.  A number that is not
there is ``None``, never zero, and none is infinite, whatever a stored file says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_joules.latency import TIMED
from pytest_joules.model import BudgetResult, Place, RunResult, VerdictKind

MAIN = "main"
"""The window that goes without its name."""

NORMAL_98 = 2.326
"""Standard errors to each side of a 98 % interval."""

SEVERITY = (
    VerdictKind.REGRESSED,
    VerdictKind.OVER_LIMIT,
    VerdictKind.INVALID,
    VerdictKind.UNMEASURED,
    VerdictKind.NO_BASELINE,
    VerdictKind.INCONCLUSIVE,
    VerdictKind.IMPROVED,
    VerdictKind.PASS,
)
"""Verdicts, the worst first."""


@dataclass(frozen=True, slots=True)
class Row:
    """One budget, or one window without a budget.

    Attributes:
        result: Where it comes from.
        test: The test's node id.
        window: The window's name; empty if nothing was measured.
        unit: What the joules are divided by; empty if nothing was judged.
        sku: The baseline file that it belongs to; empty if nothing was judged.
        devices: Names of the devices that were charged.
        simulated: Whether one of them is simulated.
        verdict: The verdict.
        declared: Whether a marker said so.
        failed: Whether the verdict fails the test or the run.
        joules_per_unit: Today's value, J per unit.
        low: Lower end of its 98 % interval: against the baseline's where there is one, else of the blocks alone.
        high: Upper end.
        baseline: What the baseline predicts, J per unit.
        limit: The absolute limit, J per unit.
        ratio: Today over baseline.
        ratio_low: Lower end of its 98 % interval.
        ratio_high: Upper end.
        tolerance: The accepted rise, as a fraction.
        detectable: The smallest rise that would have been called REGRESSED, as a fraction.
        watts: Mean power.
        seconds_per_unit: Time per unit.
        joules: Joules of all blocks.
        seconds: Seconds of all blocks.
        blocks: How many blocks there are.
        sessions: How many stored sessions it was judged by.
        place: Where the test is written.
        latencies: Of the window, s, by the names of :data:`pytest_joules.latency.TIMED`.
        published: The published joules that its marker names, J per unit.
        over_published: Today over those.
    """

    result: BudgetResult
    test: str
    window: str
    unit: str
    sku: str
    devices: tuple[str, ...]
    simulated: bool
    verdict: VerdictKind
    declared: bool
    failed: bool
    joules_per_unit: float | None
    low: float | None
    high: float | None
    baseline: float | None
    limit: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    tolerance: float | None
    detectable: float | None
    watts: float | None
    seconds_per_unit: float | None
    joules: float | None
    seconds: float | None
    blocks: int
    sessions: int
    place: Place | None
    latencies: Mapping[str, float]
    published: float | None
    over_published: float | None

    @property
    def name(self) -> str:
        """The test, and the window if it has a name of its own."""
        return self.test if self.window in ("", MAIN) else f"{self.test} [{self.window}]"


def rows(run: RunResult) -> list[Row]:
    """One row a result, in the run's order."""
    return [row(result) for result in run.results]


def worst_first(found: Iterable[Row]) -> list[Row]:
    """Failures first, then by verdict, then by how much more it costs; windows without a budget come last."""
    return sorted(
        found, key=lambda r: (not r.failed, not r.declared, SEVERITY.index(r.verdict), -(r.ratio or 0.0), r.test)
    )


def series(run: RunResult) -> list[Row]:
    """Rows that have a number, one for each test, window, unit and SKU: what is drawn over time."""
    found: dict[tuple[str, str, str, str], Row] = {}
    for told in rows(run):
        if told.joules_per_unit is not None and told.unit:
            found.setdefault((told.test, told.window, told.unit, told.sku), told)
    return list(found.values())


def row(result: BudgetResult) -> Row:
    """The numbers of one result."""
    verdict, measurement = result.verdict, result.measurement
    unit = result.key.unit if result.key else ""
    limit = result.budget.limit
    low, high = _interval(result)
    devices = measurement.devices if measurement else ()
    blocks = measurement.any_blocks if measurement else ()
    return Row(
        result=result,
        test=result.test,
        window=measurement.window if measurement else result.key.window if result.key else result.budget.window or "",
        unit=unit,
        sku=result.sku or "",
        devices=tuple(device.name for device in devices),
        simulated=any(device.simulated for device in devices),
        verdict=verdict.kind,
        declared=result.declared,
        failed=result.failed,
        joules_per_unit=finite(verdict.joules_per_unit),
        low=low,
        high=high,
        baseline=finite(verdict.baseline_joules_per_unit),
        limit=finite(limit.joules) if limit else None,
        ratio=finite(verdict.ratio),
        ratio_low=finite(verdict.ratio_low),
        ratio_high=finite(verdict.ratio_high),
        tolerance=finite(result.tolerance),
        detectable=finite(verdict.detectable),
        watts=watts(result),
        seconds_per_unit=seconds_per_unit(result),
        joules=finite(measurement.joules) if measurement and blocks else None,
        seconds=finite(measurement.seconds) if measurement and blocks else None,
        blocks=len(blocks),
        sessions=verdict.baseline_sessions,
        place=result.place,
        latencies=latencies(result),
        published=finite(result.reference.joules.get(unit)) if result.reference else None,
        over_published=finite(result.over_reference),
    )


def watts(result: BudgetResult) -> float | None:
    """Mean power over the blocks, in W."""
    measurement = result.measurement
    seconds = measurement.seconds if measurement else 0.0
    return finite(measurement.joules / seconds) if measurement and seconds > 0 else None


def seconds_per_unit(result: BudgetResult) -> float | None:
    """Time per unit of work over the blocks, in s."""
    measurement = result.measurement
    if measurement is None or result.key is None or result.key.unit not in measurement.blocks:
        return None
    units = sum([block.units for block in measurement.blocks[result.key.unit]])
    return finite(measurement.seconds / units) if units > 0 else None


def latencies(result: BudgetResult) -> dict[str, float]:
    """Latencies (s) of its window, in the order of their names; those that only another version knows are left out."""
    told = result.measurement.latencies if result.measurement else {}
    known = {name: finite(told.get(name)) for name in TIMED}
    return {name: seconds for name, seconds in known.items() if seconds is not None}


def worst(results: Sequence[BudgetResult]) -> VerdictKind | None:
    """The worst verdict among those that a marker asked for, or else among all."""
    kinds = {r.verdict.kind for r in results if r.declared} or {r.verdict.kind for r in results}
    return next((kind for kind in SEVERITY if kind in kinds), None)


def finite(value: float | None) -> float | None:
    """The number, unless it is none that JSON can write."""
    return value if value is not None and math.isfinite(value) else None


def _interval(result: BudgetResult) -> tuple[float | None, float | None]:
    verdict = result.verdict
    value, baseline = verdict.joules_per_unit, verdict.baseline_joules_per_unit
    if value is None:
        return None, None
    if baseline is not None and verdict.ratio_low is not None and verdict.ratio_high is not None:
        return finite(baseline * verdict.ratio_low), finite(baseline * verdict.ratio_high)
    if verdict.uncertainty is None:
        return None, None
    spread = NORMAL_98 * verdict.uncertainty
    return finite(value * (1 - spread)), finite(value * (1 + spread))
