"""Records of PyTorch's benchmark database, which its HUD and the vLLM dashboards draw from.

The format is that of "PyTorch OSS benchmark infra" in PyTorch's wiki; what the uploading action knows by itself
(repository, commit, workflow, runners) is not in it.  Values of ``extra_info`` are text, as the database has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_joules.model import RunResult
from pytest_joules.reporting.escape import identifier, visible
from pytest_joules.reporting.json import to_text
from pytest_joules.reporting.rows import Row, finite, series

LARGEST_VALUE = 3.4e38
"""The database holds 32-bit floats."""


def render(run: RunResult) -> str:
    """JSON: a list of records, one for each number; joules and seconds per unit have a value for every block."""
    return to_text(record for row in series(run) for record in _records(row, run)) + "\n"


def _records(row: Row, run: RunResult) -> Iterator[dict[str, Any]]:
    measurement = row.result.measurement
    blocks = measurement.blocks.get(row.unit, ()) if measurement else ()
    sound = [block for block in blocks if block.units > 0 and block.seconds > 0]
    per = f"per_{identifier(row.unit)}"
    target = row.limit if row.baseline is None else row.baseline
    yield from _record(row, run, f"joules_{per}(J)", [block.joules_per_unit for block in sound], target)
    yield from _record(row, run, f"seconds_{per}(s)", [block.seconds_per_unit for block in sound], None)
    yield from _record(row, run, "power(W)", [block.watts for block in sound], None)


def _record(
    row: Row, run: RunResult, metric: str, values: list[float], target: float | None
) -> Iterator[dict[str, Any]]:
    known = [value for value in values if finite(value) is not None and abs(value) < LARGEST_VALUE]
    if not known:
        return
    measurement = row.result.measurement
    conditions = measurement.conditions if measurement else None
    record: dict[str, Any] = {
        "benchmark": {
            "name": "pytest-joules",
            "mode": "inference",
            "extra_info": _texts(
                {
                    # What the HUD shows as device and architecture where no runner is named.
                    "device": "cpu" if row.sku == "cpu" else "gpu",
                    "arch": ", ".join(dict.fromkeys(row.devices)),
                    "sku": row.sku,
                    "simulated": str(row.simulated).lower(),
                    "version": run.version,
                    "measured": run.created,
                    **(conditions.configuration if conditions else {}),
                }
            ),
        },
        "model": {"name": visible(row.name), "type": "pytest", "origins": ["pytest-joules"]},
        "metric": {
            "name": metric,
            "benchmark_values": known,
            "extra_info": _texts({"verdict": row.verdict.value, "ratio": _number(row.ratio), "window": row.window}),
        },
    }
    if target is not None and abs(target) < LARGEST_VALUE:
        record["metric"]["target_value"] = target
    if conditions and conditions.versions:
        record["dependencies"] = {
            visible(name): {"version": visible(version)} for name, version in conditions.versions.items()
        }
    yield record


def _texts(named: Mapping[str, str]) -> dict[str, str]:
    return {visible(name): visible(value) for name, value in named.items() if value}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
