"""The JSON report: a :class:`RunResult` as data, with a published, versioned schema.

The schema is written from the same classes that :mod:`pytest_joules.codec` reads by, so that reading a report is
checking it against the schema, a hundred times faster; a test holds the two against each other.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec import DecodeError, Raw, to_builtins
from msgspec.json import decode as quick
from msgspec.json import format as indented

from pytest_joules.codec import CodecError, decode, encode, shown, without_garbage_collection
from pytest_joules.costs import unsound as unsound_rates
from pytest_joules.files import missing, write_whole
from pytest_joules.model import BudgetResult, History, PowerTrace, RunResult, Sweep
from pytest_joules.signals import SHARE_SLACK, SHARES
from pytest_joules.slo import SloError, parse_slo
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


@without_garbage_collection()
def write(run: RunResult, path: Path) -> None:
    """Write the report whole, or not at all."""
    write_whole(chain(_pieces(run), "\n"), path)


def render(run: RunResult) -> str:
    """The report as text, a value a line."""
    return "".join(_pieces(run))


def _pieces(run: RunResult) -> Iterator[str]:
    """A result at a time: JSON values of all of them, or their text, take more room than they do."""
    before = "{\n"
    for name, value in to_data(replace(run, results=())).items():
        yield f"{before} {_dumped(name)}: "
        yield from _listed(map(_data, run.results), 1) if name == "results" else (_nested(value, 1),)
        before = ",\n"
    yield "\n}"


def _data(result: BudgetResult) -> Any:
    try:
        return to_builtins(result)  # three times faster than our own way, to the same
    except TypeError:
        return encode(result)  # a number of another library's type, or a mapping of another kind


def write_data(data: Mapping[str, Any], path: Path) -> None:
    """Write JSON values whole, or not at all."""
    write_whole(to_text(data) + "\n", path)


def to_text(data: Mapping[str, Any] | Iterable[Any]) -> str:
    """An object, or a list that may be made on the way, as text, a value a line."""
    return _nested(data, 0) if isinstance(data, Mapping) else "".join(_listed(data, 0))


def _listed(values: Iterable[Any], depth: int) -> Iterator[str]:
    before = "["
    for value in values:
        yield f"{before}\n{' ' * (depth + 1)}{_nested(value, depth + 1)}"
        before = ","
    yield "[]" if before == "[" else f"\n{' ' * depth}]"


def _nested(value: Any, depth: int) -> str:
    """A value as text that stands within others."""
    return _indented(_dumped(value)).replace("\n", "\n" + " " * depth)


def _dumped(data: Any) -> str:
    return _ENCODER.encode(data)


_ENCODER = json.JSONEncoder(allow_nan=False, default=str)


def _indented(text: str) -> str:
    try:
        return indented(text, indent=1)  # six times faster than the library's own way
    except DecodeError:
        # Half a pair of surrogates, as names of files that are no text have them.
        return json.dumps(json.loads(text), indent=1)


@without_garbage_collection()
def read(path: Path) -> RunResult:
    """Read a report.

    Raises:
        ReportError: if it is not one, or was written by a newer pytest-joules.
    """
    if fault := missing(path):
        raise ReportError(f"{path}: {fault}")
    try:
        text = _bytes(path)
        with contextlib.suppress(DecodeError, UnicodeDecodeError):
            return _run(_members(text), path)
        # It is no report, or holds half a pair of surrogates, which names of files that are no text have.
        return _run(json.loads(text.decode("utf-8")), path)
    except (OSError, ValueError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ReportError(f"{path}: not a readable JSON report: {shown(said)}") from error


def _run(data: Any, path: Path) -> RunResult:
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise ReportError(f"{path}: not a report of pytest --energy-json: no 'schema' number")
    if {"sku", "entries"} <= data.keys():
        raise ReportError(f"{path}: a baseline file, and no report: give what pytest --energy --energy-json wrote")
    if data["schema"] > SCHEMA_VERSION:
        raise ReportError(f"{path}: schema {data['schema']} is newer than this pytest-joules knows; upgrade it")
    if data["schema"] < SCHEMA_VERSION:
        raise ReportError(f"{path}: there is no schema {data['schema']}; the first is 1")
    try:
        run = decode(RunResult, {name: value for name, value in data.items() if name != "schema"})
    except CodecError as error:
        raise ReportError(f"{path}: {error}; it does not fit the report's schema") from error
    for result in run.results:
        if fault := unsound(result):
            raise ReportError(f"{path}: {shown(result.test)}: {fault}; no run measures that: measure it again")
    for sweep in run.sweeps:
        if fault := unsound_sweep(sweep):
            raise ReportError(f"{path}: sweep {shown(sweep.group)!r}: {fault}; no run measures that: measure it again")
    if fault := unsound_rates(run.rates):
        raise ReportError(f"{path}: rates: {fault}; nobody can have given that: measure it again")
    try:
        parse_slo(run.slo) if run.slo else ()
    except SloError as error:
        raise ReportError(f"{path}: slo: {shown(str(error))}") from error
    return run


def unsound_sweep(sweep: Sweep) -> str:
    """What of a sweep fits the schema, but not the arithmetic of a frontier; empty if nothing does."""
    if twins := [name for name, count in Counter(point.name for point in sweep.points).items() if count > 1]:
        return f"two points named {shown(twins[0])!r}"
    if len(defaults := [point.name for point in sweep.points if point.default]) > 1:
        return f"{shown(defaults[0])!r} and {shown(defaults[1])!r} are both the default"
    for point in sweep.points:
        for told in point.passes:
            positive = {"joules_per_unit": told.joules_per_unit, **told.seconds}
            least = {"error": told.error, "watts": told.watts, "memory_bytes": told.memory_bytes}
            for name, value in positive.items():
                if not SMALLEST_NUMBER <= value <= LARGEST_NUMBER:
                    return f"{shown(point.name)}: {shown(name)} of {value:g}"
            for name, other in least.items():
                if other is not None and not 0 <= other <= LARGEST_NUMBER:
                    return f"{shown(point.name)}: {name} of {other:g}"
    return ""


def unsound(result: BudgetResult) -> str:
    """What of a result fits the schema, but not the arithmetic of any report; empty if nothing does."""
    measurement, verdict = result.measurement, result.verdict
    for columns in (result.history, measurement.trace if measurement else None):
        if columns is not None and len({len(getattr(columns, name)) for name in _columns(columns)}) > 1:
            return f"columns of a {type(columns).__name__} of unequal length"
    for name in _RATIOS:
        if (value := getattr(verdict, name)) is not None and not SMALLEST_NUMBER <= value <= LARGEST_NUMBER:
            return f"{name} of {value:g}"
    if (reference := result.reference) is not None:
        for name, value in {**reference.joules, **reference.seconds}.items():
            if not SMALLEST_NUMBER <= value <= LARGEST_NUMBER:
                return f"published {shown(name)} of {value:g}"
    if result.diagnosis is not None and not abs(result.diagnosis.change) <= LARGEST_CHANGE:
        return f"a change of {result.diagnosis.change:g}"
    expected = result.expected
    if expected is not None and not 0 < expected.low <= expected.joules_per_unit <= expected.high:
        return f"an expectation of {expected.joules_per_unit:g}, from {expected.low:g} to {expected.high:g}"
    if measurement is None:
        return ""
    if not measurement.devices:
        return "no device"
    told = {"power_cap_share": measurement.conditions.power_cap_share, **measurement.conditions.signals}
    for name in SHARES:
        share = told.get(name)
        if share is not None and not -SHARE_SLACK <= share <= 1 + SHARE_SLACK:
            return f"signal {name} of {share:g}, a share"
    for block in (block for blocks in measurement.blocks.values() for block in blocks):
        if not (SMALLEST_NUMBER <= block.seconds <= LARGEST_NUMBER and 0 <= block.joules <= LARGEST_NUMBER):
            return f"a block of {block.seconds:g} s and {block.joules:g} J"
    if result.key is None:
        return ""
    counted = measurement.blocks.get(result.key.unit, ())
    for unit, blocks in {result.key.unit: counted, **measurement.blocks}.items():
        if not blocks:
            return f"no block of {shown(unit)!r}"
    for value in (number for block in counted for number in (block.joules, block.units)):
        if not SMALLEST_NUMBER <= value <= LARGEST_NUMBER:
            return f"a block of {value:g}"
    return ""


def _columns(columns: History | PowerTrace) -> list[str]:
    return [field.name for field in fields(columns) if field.name != "block_seconds"]


def _bytes(path: Path) -> bytes:
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise OSError(f"{size} bytes is too large for a report")
    return path.read_bytes()


class _OneByOne(list[Raw]):
    """Results that are parsed when it is their turn: a tree of all takes twice the room of what is made of it."""

    def __iter__(self) -> Iterator[Any]:
        return map(quick, super().__iter__())


def _members(data: bytes) -> dict[str, Any]:
    members: dict[str, Any] = quick(data, type=dict[str, Raw])
    for name, raw in members.items():
        many = name == "results" and bytes(memoryview(raw)[:1]) == b"["
        members[name] = _OneByOne(quick(raw, type=list[Raw])) if many else quick(raw)
    return members
