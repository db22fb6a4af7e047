"""OpenMetrics text (OpenMetrics 1.0): for GitLab's metrics reports, and for whatever else reads Prometheus' formats.

GitLab compares a merge request's metrics with those of its target branch, as text and by name and labels.  So the
labels are what stays the same from run to run, and numbers have no more digits than mean something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from pytest_joules.model import RunResult
from pytest_joules.reporting.escape import openmetrics
from pytest_joules.reporting.rows import SEVERITY, Row, series
from pytest_joules.reporting.rows import rows as all_rows

_FAMILIES: tuple[tuple[str, str, str, Callable[[Row], float | None]], ...] = (
    ("energy_per_unit_joules", "joules", "Joules per unit of work.", lambda r: r.joules_per_unit),
    ("energy_baseline_per_unit_joules", "joules", "What the baseline predicts.", lambda r: r.baseline),
    ("energy_limit_per_unit_joules", "joules", "The absolute limit.", lambda r: r.limit),
    ("energy_over_baseline_ratio", "ratio", "Joules per unit over the baseline.", lambda r: r.ratio),
    ("energy_power_watts", "watts", "Mean power.", lambda r: r.watts),
    ("energy_time_per_unit_seconds", "seconds", "Seconds per unit of work.", lambda r: r.seconds_per_unit),
)
"""Name, unit (the end of the name, as the format wants it), help, and where the number comes from."""


LATENCY = "energy_latency_seconds"
"""The gauge of all latencies, which its label ``latency`` tells apart."""


def render(run: RunResult) -> str:
    """A gauge for each number of each series, and one that counts the budgets of each verdict."""
    return "\n".join([*_gauges(run), *_counts(run), "# EOF"]) + "\n"


def _gauges(run: RunResult) -> Iterator[str]:
    # Two names may be one when what cannot be seen is spelled out, and a reader takes a series once.
    found: dict[str, Row] = {}
    for row in series(run):
        found.setdefault(_labels(row), row)
    for name, unit, told, number in _FAMILIES:
        samples = {labels: value for labels, row in found.items() if (value := number(row)) is not None}
        if samples:
            yield from (f"# TYPE {name} gauge", f"# UNIT {name} {unit}", f"# HELP {name} {told}")
            yield from (f"{name}{{{labels}}} {value:.6g}" for labels, value in samples.items())
    timed = [(labels, *told) for labels, row in found.items() for told in row.latencies.items()]
    if timed:
        yield f"# TYPE {LATENCY} gauge"
        yield f"# UNIT {LATENCY} seconds"
        yield f"# HELP {LATENCY} Latencies of calls and requests, means and percentiles."
        yield from (f'{LATENCY}{{{labels},latency="{name}"}} {seconds:.6g}' for labels, name, seconds in timed)


def _counts(run: RunResult) -> Iterator[str]:
    counts = Counter(row.verdict for row in all_rows(run) if row.declared)
    yield from ("# TYPE energy_budgets gauge", "# HELP energy_budgets Budgets by verdict.")
    yield from (f'energy_budgets{{verdict="{kind.value}"}} {counts[kind]}' for kind in SEVERITY)


def _labels(row: Row) -> str:
    named = {"test": row.test, "window": row.window, "unit": row.unit, "sku": row.sku}
    return ",".join(f'{name}="{openmetrics(value)}"' for name, value in named.items())
