"""The JSON report: a :class:`RunResult` as data, with a published, versioned schema.

The schema is written from the same classes that :mod:`pytest_joules.codec` reads by, so that reading a report is
checking it against the schema, a hundred times faster; a test holds the two against each other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pytest_joules.codec import CodecError, decode, encode
from pytest_joules.files import write_whole
from pytest_joules.model import RunResult

SCHEMA_VERSION = 1


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
    text = json.dumps(data, indent=1, allow_nan=False, default=str)
    write_whole(text + "\n", path)


def read(path: Path) -> RunResult:
    """Read a report.

    Raises:
        ReportError: if it is not one, or was written by a newer pytest-joules.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("not a regular file")
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_number, parse_float=_number)
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"{path}: not a readable JSON report: {error}") from error
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise ReportError(f"{path}: not a report of pytest --energy-json: no 'schema' number")
    if data["schema"] > SCHEMA_VERSION:
        raise ReportError(f"{path}: schema {data['schema']} is newer than this pytest-joules knows; upgrade it")
    if data["schema"] < SCHEMA_VERSION:
        raise ReportError(f"{path}: there is no schema {data['schema']}; the first is 1")
    try:
        return decode(RunResult, {name: value for name, value in data.items() if name != "schema"})
    except CodecError as error:
        raise ReportError(f"{path}: {error}; it does not fit the report's schema") from error


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number that a report holds")
    return value
