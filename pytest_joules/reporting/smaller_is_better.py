"""``customSmallerIsBetter`` of github-action-benchmark (its README: "Custom benchmarks")."""

from __future__ import annotations

from pytest_joules.model import RunResult
from pytest_joules.reporting.escape import LONGEST_NAME, unique, visible
from pytest_joules.reporting.json import to_text
from pytest_joules.reporting.rows import Row, series
from pytest_joules.units import format_joules, format_percent


def render(run: RunResult) -> str:
    """JSON: a list of ``{name, unit, value, range, extra}``, in J per unit of work; the range is of 98 %."""
    found = series(run)
    several = len({row.sku for row in found}) > 1
    return to_text(_entry(row, several) for row in found) + "\n"


def _entry(row: Row, several: bool) -> dict[str, str | float]:
    assert row.joules_per_unit is not None
    name = f"{row.name}, J/{row.unit}" + (f" on {row.sku}" if several else "")
    entry: dict[str, str | float] = {
        "name": _in_its_comments(name),
        "unit": _in_its_comments(f"J/{row.unit}"),
        "value": row.joules_per_unit,
    }
    if row.low is not None and row.high is not None:
        entry["range"] = f"± {(row.high - row.low) / 2:.6g}"
    entry["extra"] = "\n".join(
        visible(line)
        for line in (
            f"verdict: {row.verdict.value}",
            f"device: {', '.join(dict.fromkeys(row.devices))}" if row.devices else "",
            f"power: {row.watts:.0f} W" if row.watts is not None else "",
            f"baseline: {format_joules(row.baseline)}" if row.baseline is not None else "",
            f"change: {format_percent(row.ratio - 1, signed=True)}" if row.ratio is not None else "",
        )
        if line
    )
    return entry


def _in_its_comments(text: str) -> str:
    """The action writes names into code spans of a table in its comments, as they are."""
    return unique(visible(text), LONGEST_NAME).replace("`", "'").replace("|", "¦")
