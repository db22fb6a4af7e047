"""A run as comma-separated values (RFC 4180, with LF): a row for each budget and window."""

from __future__ import annotations

import csv
import io

from pytest_joules.latency import TIMED
from pytest_joules.model import RunResult
from pytest_joules.reporting.escape import csv as cell
from pytest_joules.reporting.rows import Row, rows

COLUMNS = {
    "test": "test",
    "window": "window",
    "unit": "unit",
    "sku": "sku",
    "verdict": "verdict",
    "declared": "declared",
    "failed": "failed",
    "joules_per_unit": "joules_per_unit",
    "joules_per_unit_low": "low",
    "joules_per_unit_high": "high",
    "baseline_joules_per_unit": "baseline",
    "limit_joules_per_unit": "limit",
    "ratio": "ratio",
    "ratio_low": "ratio_low",
    "ratio_high": "ratio_high",
    "published_joules_per_unit": "published",
    "over_published": "over_published",
    "tolerance": "tolerance",
    "detectable": "detectable",
    "watts": "watts",
    "seconds_per_unit": "seconds_per_unit",
    "joules": "joules",
    "seconds": "seconds",
    "blocks": "blocks",
    "baseline_sessions": "sessions",
    "simulated": "simulated",
}
"""Columns, and the fields of :class:`~pytest_joules.reporting.rows.Row` in them; a few more come behind, and then
those latencies that some window has."""


def render(run: RunResult) -> str:
    """A header, then the rows in the run's order; joules per unit in J, times in s, shares as fractions."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    found = rows(run)
    timed = [name for name in TIMED if any(name in row.latencies for row in found)]
    writer.writerow([*COLUMNS, "device", "reason", "file", "line", "commit", "created", *timed])
    for row in found:
        values = [*_values(row, run), *(row.latencies.get(name) for name in timed)]
        writer.writerow([_cell(value) for value in values])
    return written.getvalue()


def _values(row: Row, run: RunResult) -> list[object]:
    place = row.place
    return [
        *(getattr(row, name) for name in COLUMNS.values()),
        ", ".join(dict.fromkeys(row.devices)),
        row.result.verdict.reason,
        place.file if place else "",
        place.line if place else None,
        run.commit or "",
        run.created,
    ]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return cell(str(getattr(value, "value", value)))
    return "" if value is None else repr(value)
