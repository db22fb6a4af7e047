"""Why two runs differ, on the terminal and as JSON."""

from __future__ import annotations

import math
from pathlib import Path

from pytest_joules.codec import encode
from pytest_joules.explaining import Explained, Explanation
from pytest_joules.reporting import diagnosis
from pytest_joules.reporting import json as json_report
from pytest_joules.units import format_joules, format_percent

SCHEMA_VERSION = 1
"""Version of the JSON file; its names are those of :class:`~pytest_joules.explaining.Explanation`."""


def report(explanation: Explanation) -> list[str]:
    """A block of lines a series, and what was not compared; level series take one line."""
    blocks = [_block(series) for series in explanation.series]
    left_out = [
        *dict.fromkeys(f"left out: {text}" for text in explanation.skipped),
        *(f"only in {explanation.before}: {key}" for key in explanation.only_before),
        *(f"only in {explanation.after}: {key}" for key in explanation.only_after),
    ]
    lines = [f"energy: {explanation.before} -> {explanation.after}"]
    for block in (*blocks, left_out):
        # Level series stand together.
        lines += ["", *block] if len(block) > 1 and lines[-1] else block
        lines += [""] if len(block) > 1 else []
    return lines


def _block(series: Explained) -> list[str]:
    found, noise = series.diagnosis, format_percent(math.expm1(series.diagnosis.noise))
    if diagnosis.is_level(found) and not found.incomparable:
        return ["; ".join([f"{_headline(series)}, level: noise {noise}", *_beside(series)])]
    return [_headline(series), f"  {'noise':<10} {noise}: {series.noise}", *diagnosis.whole(found)]


def _beside(series: Explained) -> list[str]:
    """What a reader of a level series must know: nothing of it is lost in the noise without a word."""
    shown = series.settings[: diagnosis.KEY_EVIDENCE]
    more = len(series.settings) - len(shown)
    told = [f"other settings: {', '.join(shown)}" + (f" and {more} more (--json)" if more else "")] if shown else []
    devices = "other devices, which makes the noise: runs on the same ones would tell more"
    return [*told, *([devices] if series.other_devices else [])]


def write_json(explanation: Explanation, path: Path) -> None:
    """Write the diagnoses as data."""
    json_report.write_data({"schema": SCHEMA_VERSION, **encode(explanation)}, path)


def _headline(series: Explained) -> str:
    before, after = series.before_joules_per_unit, series.after_joules_per_unit
    name = str(series.after) if series.before == series.after else f"{series.before} -> {series.after}"
    moved = format_percent(after / before - 1, signed=True)
    return f"{name}: {format_joules(before)} -> {format_joules(after)}, {moved}"
