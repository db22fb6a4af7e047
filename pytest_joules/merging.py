"""Baselines and results of several machines of one SKU, as one baseline file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_joules.baselines.keys import sku_key
from pytest_joules.baselines.lines import Entries, Held
from pytest_joules.baselines.store import BaselineError, BaselineFile, as_held, kept, parse, read, render, same
from pytest_joules.explaining import RunError, is_baseline
from pytest_joules.files import missing
from pytest_joules.model import BaselineKey, Session
from pytest_joules.options import Options
from pytest_joules.rejudging import ResultError, check_storable, read_result, still_fails
from pytest_joules.updating import storable, stored_session


class MergeError(Exception):
    """Files that do not merge; the message names them and the fault."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one file gives.

    Attributes:
        name: The file.
        file: Its sessions; those of a result are one each.
        left_out: What of a result no update would store: one line each.
    """

    name: str
    file: BaselineFile
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Merged:
    """One file of several.

    Attributes:
        file: The merged sessions.
        sessions: How many there are.
        devices: How many devices, or sets of them, they are from.
        duplicates: How many sessions were in more than one of the files.
        dropped: How many were too many to be kept.
    """

    file: BaselineFile
    sessions: int
    devices: int
    duplicates: int
    dropped: int


def read_part(path: Path) -> Part:
    """Read a baseline file, or a report of ``--energy-json``.

    Raises:
        MergeError: if it is neither, holds nothing to merge, or is a report of several SKUs.
    """
    if fault := missing(path):
        raise MergeError(f"{path}: {fault}")
    try:
        if not is_baseline(path):
            return _of_result(path)
        file = read(path)
    except (BaselineError, ResultError, RunError) as error:
        raise MergeError(str(error)) from error
    assert file is not None, "it is a file"
    if file.simulated != file.sku.startswith("simulated-"):
        raise MergeError(f"{path}: 'simulated' contradicts the SKU's name; simulated and real joules never mix")
    return Part(str(path), file)


def _of_result(path: Path) -> Part:
    run, update = read_result(path), Options(enabled=True, update=True)
    try:
        check_storable([run])
    except ResultError as error:
        raise MergeError(f"{path}: {error}") from error
    results = [replace(result, failed=still_fails(result, update)) for result in run.results]
    fit = storable(results, update)
    left_out = [result for result in results if result.declared and result.failed]
    entries: dict[str, dict[BaselineKey, tuple[Session, ...]]] = {}
    names: dict[str, tuple[str, bool]] = {}
    for result in fit:
        if result.key is None or (measurement := result.measurement) is None:
            continue
        sku, device = sku_key(measurement.devices), measurement.devices[0]
        if result.key.unit not in measurement.blocks:
            raise MergeError(f"{path}: {result.key}: no such unit was counted; measure it again")
        names[sku] = (device.name, device.simulated)
        entries.setdefault(sku, {})[result.key] = (stored_session(result, measurement, result.key.unit, run),)
    if len(entries) != 1:
        what = f"results of {', '.join(entries)}: merge them by accepting each" if entries else "nothing to merge"
        raise MergeError(f"{path}: {what}")
    ((sku, found),) = entries.items()
    told = tuple(f"{path}: {result.test}: {result.verdict.kind.value}" for result in left_out)
    return Part(str(path), BaselineFile(sku, *names[sku], found), told)


def merge_parts(parts: Sequence[Part]) -> Merged:
    """All sessions of all parts, oldest first, each once; of every series those that a store keeps.

    Raises:
        MergeError: if they are of different SKUs.
    """
    first, *others = parts
    for other in others:
        if other.file.sku != first.file.sku:
            raise MergeError(
                f"{first.name} is of {first.file.sku}, and {other.name} of {other.file.sku}: "
                "joules of different SKUs do not mix"
            )
    entries: dict[BaselineKey, Held] = {}
    devices: set[tuple[str, ...]] = set()
    count = duplicates = dropped = 0
    for key in dict.fromkeys(key for part in parts for key in part.file.entries):
        known = [(part.file.sessions(key), part.file.held.get(key)) for part in parts]
        given = [session for sessions, _ in known for session in sessions]
        distinct = _distinct(given)
        series = kept(sorted(distinct, key=lambda session: (session.recorded, session.devices)))
        entries[key] = as_held(series, known)
        devices |= {session.devices for session in series}
        count += len(series)
        duplicates += len(given) - len(distinct)
        dropped += len(distinct) - len(series)
    return Merged(replace(first.file, entries=Entries(entries)), count, len(devices), duplicates, dropped)


def _distinct(sessions: Sequence[Session]) -> list[Session]:
    """Each session once, pinned if it is pinned anywhere."""
    found: list[Session] = []
    for session in sessions:
        at = next((number for number, other in enumerate(found) if same(session, other)), None)
        if at is None:
            found.append(session)
        elif session.anchor:
            found[at] = replace(found[at], anchor=True)
    return found


def text_of(merged: Merged, name: str) -> str:
    """The file's text, which reads back as it is.

    Raises:
        MergeError: if some number is none that a baseline file holds.
    """
    text = render(merged.file)
    try:
        parse(text.encode(), name)
    except (BaselineError, UnicodeEncodeError) as error:
        raise MergeError(str(error)) from error
    return text
