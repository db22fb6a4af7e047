"""An A/B comparison on the terminal and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from pytest_joules.codec import encode
from pytest_joules.model import VerdictKind
from pytest_joules.pairing import Comparison, Reading, Series
from pytest_joules.reporting import json as json_report
from pytest_joules.reporting import terminal
from pytest_joules.reporting.diagnosis import brief
from pytest_joules.reporting.tables import table
from pytest_joules.units import format_joules, format_percent

SCHEMA_VERSION = 2
"""Version of the JSON file; its names are those of :class:`~pytest_joules.pairing.Comparison`."""

HEADERS = ("test", "base", "head", "ratio", "moved", "verdict")


def report(comparison: Comparison) -> list[str]:
    """A heading, the table, one line for every series that did not pass, and the line that counts."""
    device = terminal.device_label(comparison.meter.devices) if comparison.meter else "no device"
    base = f"{comparison.base_ref} ({comparison.base_commit})" if comparison.base_commit else comparison.base_ref
    lines = [
        f"energy: {comparison.head_commit or 'head'} against {base} on {device}, {comparison.pairs} pairs",
        "",
        *table(HEADERS, [_row(series) for series in comparison.series]),
        "",
    ]
    for s in comparison.series:
        if s.kind is not VerdictKind.PASS and (s.declared or not s.unit):
            lines.append(f"{_name(s)}: {s.kind.value}: {s.reason}")
            lines += brief(s.diagnosis) if s.diagnosis is not None else []
    lines += [f"{_name(s)}: {note}" for s in comparison.series for note in s.notes]
    lines.append(f"energy: {terminal.counted(s.kind for s in comparison.series if s.declared)}")
    return lines


def write_json(comparison: Comparison, path: Path) -> None:
    """Write the comparison as data, every run's values with it."""
    json_report.write_data({"schema": SCHEMA_VERSION, **encode(comparison)}, path)


def _name(series: Series) -> str:
    return f"{series.test} [{series.window}]" if series.window not in ("", "main") else series.test


def _row(series: Series) -> tuple[str, ...]:
    verdict = series.kind.value if series.declared else f"({series.kind.value})"
    joules = (_joules(side, series.unit) for side in (series.base, series.head))
    return (_name(series), *joules, _ratio(series), _moved(series), verdict)


def _joules(readings: Sequence[Reading], unit: str) -> str:
    if not readings:
        return terminal.DASH
    mean = math.exp(fmean(math.log(reading.joules_per_unit) for reading in readings))
    return f"{format_joules(mean)}/{unit}"


def _ratio(series: Series) -> str:
    if series.ratio is None or series.ratio_high is None:
        return terminal.DASH
    return f"{series.ratio:.4f} ±{series.ratio_high - series.ratio:.4f}"


def _moved(series: Series) -> str:
    """The two factors of the ratio: watts, and seconds per unit."""
    if series.ratio is None or series.seconds_ratio is None:
        return terminal.DASH
    watts, seconds = series.ratio / series.seconds_ratio - 1, series.seconds_ratio - 1
    return f"W {format_percent(watts, signed=True)} x s {format_percent(seconds, signed=True)}"
