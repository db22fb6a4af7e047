"""The JSON report: a :class:`RunResult` as data, with a published, versioned schema.

The schema is written from the same classes that :mod:`pytest_joules.codec` reads by, so that reading a report is
checking it against the schema, a hundred times faster; a test holds the two against each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from msgspec import DecodeError
from msgspec.json import decode as quick
from msgspec.json import format as indented

from pytest_joules.codec import CodecError, decode, encode, shown
from pytest_joules.files import write_whole
from pytest_joules.model import BudgetResult, RunResult
from pytest_joules.units import LARGEST_NUMBER, SMALLEST_NUMBER

SCHEMA_VERSION = 1
LARGEST_FILE = 512 * 1024 * 1024

LARGEST_CHANGE = 100.0
"""Of log joules per unit; its exponential is still a number."""

_RATIOS = ("joules_per_unit", "baseline_joules_per_unit", "ratio", "ratio_low", "ratio_high", "seconds_ratio")


class ReportError(Exception):
    """A file that is not a JSON report; the message names it and the fault."""


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the report."""
    loaded: dict[str, Any] = json.loads(files("pytest_joules.reporting").joinpath("schema.json").read_text())
    return loaded


def to_data(run: RunResult) -> dict[str, Any]:
    """The report as JSON values."""
    return {"schema": SCHEMA_VERSION, **encode(run)}


def write(run: RunResult, path: Path) -> None:
    """Write the report whole, or not at all."""
    write_data(to_data(run), path)


def write_data(data: Mapping[str, Any], path: Path) -> None:
    """Write JSON values whole, or not at all."""
    write_whole(to_text(data) + "\n", path)


def to_text(data: Mapping[str, Any]) -> str:
    """JSON values as text, a value a line."""
    text = json.dumps(data, allow_nan=False, default=str)
    try:
        return indented(text, indent=1)  # six times faster than the library's own way
    except DecodeError:
        # Half a pair of surrogates, as names of files that are no text have them.
        return json.dumps(data, allow_nan=False, default=str, indent=1)


def read(path: Path) -> RunResult:
    """Read a report.

    Raises:
        ReportError: if it is not one, or was written by a newer pytest-joules.
    """
    try:
        data = _parsed(_bytes(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"{path}: not a readable JSON report: {shown(str(error))}") from error
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise ReportError(f"{path}: not a report of pytest --energy-json: no 'schema' number")
    if data["schema"] > SCHEMA_VERSION:
        raise ReportError(f"{path}: schema {data['schema']} is newer than this pytest-joules knows; upgrade it")
    if data["schema"] < SCHEMA_VERSION:
        raise ReportError(f"{path}: there is no schema {data['schema']}; the first is 1")
    try:
        run = decode(RunResult, {name: value for name, value in data.items() if name != "schema"})
    except CodecError as error:
        raise ReportError(f"{path}: {error}; it does not fit the report's schema") from error
    for number, result in enumerate(run.results):
        if fault := unsound(result):
            raise ReportError(f"{path}: RunResult.results[{number}].{fault}; no run of pytest measures that")
    return run


def unsound(result: BudgetResult) -> str:
    """What of a result fits the schema, but no arithmetic: place and complaint, empty if nothing does."""
    measurement, verdict = result.measurement, result.verdict
    for name in _RATIOS:
        if (value := getattr(verdict, name)) is not None and not SMALLEST_NUMBER <= value <= LARGEST_NUMBER:
            return f"verdict.{name}: {value:g} is out of bounds"
    if result.diagnosis is not None and not abs(result.diagnosis.change) <= LARGEST_CHANGE:
        return f"diagnosis.change: {result.diagnosis.change:g} is out of bounds"
    if measurement is None:
        return ""
    if not measurement.devices:
        return "measurement.devices: there is none"
    for unit, blocks in measurement.blocks.items():
        for block in blocks:
            if not (SMALLEST_NUMBER <= block.seconds <= LARGEST_NUMBER and 0 <= block.joules <= LARGEST_NUMBER):
                return f"measurement.blocks.{shown(unit)}: {block} is out of bounds"
    if result.key is None:
        return ""
    counted = measurement.blocks.get(result.key.unit)
    if not counted:
        return f"measurement.blocks: none in the unit of its key, {shown(result.key.unit)!r}"
    if not all(min(b.joules, b.units) >= SMALLEST_NUMBER and b.units <= LARGEST_NUMBER for b in counted):
        return f"measurement.blocks.{shown(result.key.unit)}: one is out of bounds"
    return ""


def _bytes(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise OSError("not a regular file")
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise OSError(f"{size} bytes is too large for a report")
    return path.read_bytes()


def _parsed(data: bytes) -> Any:
    try:
        return quick(data)
    except DecodeError:
        # Half a pair of surrogates is in order here: file names that are no text have them.
        return json.loads(data.decode("utf-8"))
