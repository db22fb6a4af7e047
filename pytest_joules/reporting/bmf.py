"""Bencher Metric Format (Bencher's reference: "Bencher Metric Format (BMF)"), for ``bencher run --adapter json``.

A benchmark is a test's window, its measures are what was counted in it; the GPU is Bencher's testbed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pytest_joules.model import RunResult
from pytest_joules.reporting.escape import identifier, unique, visible
from pytest_joules.reporting.json import to_text
from pytest_joules.reporting.rows import Row, series

LONGEST_BENCHMARK, LONGEST_MEASURE = 1024, 64
"""Characters that Bencher takes for the names of a benchmark and of a measure."""

IGNORED = "-bencher-ignore"
"""Bencher raises no alert for a benchmark whose name ends so; a test must not get around its gate by its name."""


def render(run: RunResult) -> str:
    """JSON: ``{benchmark: {measure: {value, lower_value, upper_value}}}``, in J, s and W; the ends are of 98 %."""
    found = series(run)
    several = len({row.sku for row in found}) > 1
    benchmarks: dict[str, dict[str, dict[str, float]]] = {}
    for row in found:
        measures = benchmarks.setdefault(_name(row, several), {})
        for name, metric in _measures(row):
            measures.setdefault(name, metric)
    return to_text(benchmarks) + "\n"


def _name(row: Row, several: bool) -> str:
    name = visible(f"{row.name} on {row.sku}" if several else row.name) or "?"
    return unique(f"{name}." if name.endswith(IGNORED) else name, LONGEST_BENCHMARK)


def _measures(row: Row) -> Iterator[tuple[str, dict[str, Any]]]:
    unit = re.sub("_+", "-", identifier(row.unit)).strip("-").lower() or "unit"
    metric = {"value": row.joules_per_unit, "lower_value": row.low, "upper_value": row.high}
    yield _slug(f"joules-per-{unit}"), {name: value for name, value in metric.items() if value is not None}
    if row.seconds_per_unit is not None:
        yield _slug(f"seconds-per-{unit}"), {"value": row.seconds_per_unit}
    if row.watts is not None:
        yield "watts", {"value": row.watts}


def _slug(text: str) -> str:
    return unique(text, LONGEST_MEASURE)
