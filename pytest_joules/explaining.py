"""Any two runs or sessions: their series matched, and each explained.

A run is a JSON report (``--energy-json``) or a baseline file.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgspec import DecodeError, Raw
from msgspec.json import decode

from pytest_joules.baselines.keys import power_limit
from pytest_joules.baselines.store import BaselineError
from pytest_joules.baselines.store import read as read_baselines
from pytest_joules.diagnosis.explain import explain, settings_that_differ
from pytest_joules.diagnosis.noise import noise_between
from pytest_joules.diagnosis.observation import Observation
from pytest_joules.files import missing
from pytest_joules.history import session_of
from pytest_joules.hostbound import recognise
from pytest_joules.model import (
    BaselineKey,
    BudgetResult,
    Device,
    Diagnosis,
    Measurement,
    Session,
    VerdictKind,
)
from pytest_joules.reporting.json import ReportError, read

AT = "@"
"""Between a baseline file's name and the beginning of a session's time or commit."""


class RunError(Exception):
    """A file or a session that cannot be explained; the message names it and the fault."""


@dataclass(frozen=True, slots=True)
class Series:
    """What one file knows of one window and unit.

    Attributes:
        sessions: One of a report, the chosen ones of a baseline file.
        measurement: A report's measurement, which knows more of the devices.
        sku: Of which SKU they are; empty if nobody tells.
        device: A baseline file's device.
        simulated: Whether it is a simulated one.
    """

    sessions: tuple[Session, ...]
    measurement: Measurement | None = None
    sku: str = ""
    device: str = ""
    simulated: bool | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One file, or one session of it.

    Attributes:
        name: As it was given.
        series: What can be compared.
        skipped: What cannot, by its name, and why: one line each.
    """

    name: str
    series: Mapping[BaselineKey, Series]
    skipped: tuple[tuple[str, str], ...] = ()

    def only(self, text: str) -> Side:
        """The series whose name holds ``text``."""
        return Side(
            self.name,
            {key: found for key, found in self.series.items() if text in str(key)},
            tuple((name, line) for name, line in self.skipped if text in name),
        )


@dataclass(frozen=True, slots=True)
class Explained:
    """One series of two files, and why its numbers differ.

    Attributes:
        before: The series' name in the first file.
        after: Its name in the second; another one only where each file has just one series.
        before_joules_per_unit: Geometric mean over the first file's sessions, J per unit.
        after_joules_per_unit: The same of the second.
        noise: Where the diagnosis' noise comes from, in words.
        diagnosis: Why they differ.
        settings: Those that differ, each as ``name: before -> after``, whatever they account for.
        other_devices: Whether no device is in both files.
    """

    before: BaselineKey
    after: BaselineKey
    before_joules_per_unit: float
    after_joules_per_unit: float
    noise: str
    diagnosis: Diagnosis
    settings: tuple[str, ...] = ()
    other_devices: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """Two files, series by series.

    Attributes:
        before: The first file, as it was given.
        after: The second.
        series: What both have.
        skipped: What was left out, and why: one line each.
        only_before: Series of the first file alone.
        only_after: Series of the second alone.
    """

    before: str
    after: str
    series: tuple[Explained, ...]
    skipped: tuple[str, ...] = ()
    only_before: tuple[BaselineKey, ...] = ()
    only_after: tuple[BaselineKey, ...] = ()


def file_of(text: str) -> tuple[Path, str]:
    """The file of ``FILE`` or ``FILE@SESSION``, and the beginning of the session's name."""
    if AT not in text or Path(text).is_file():
        return Path(text), ""
    name, _, chosen = text.rpartition(AT)
    return Path(name), chosen


def read_side(text: str) -> Side:
    """Read ``FILE`` or ``FILE@SESSION``.

    Raises:
        RunError: if there is no such file or session, or it is neither a report nor a baseline file.
    """
    path, chosen = file_of(text)
    if fault := missing(path):
        raise RunError(f"{path}: {fault}")
    try:
        if not is_baseline(path):
            if chosen:
                raise RunError(f"{text}: {path} is a report, which is one session: drop {AT}{chosen}")
            return _of_report(text, path)
        stored = read_baselines(path)
    except (ReportError, BaselineError) as error:
        raise RunError(str(error)) from error
    assert stored is not None, "it is a file"
    entries: Mapping[BaselineKey, Sequence[Session]] = stored.entries
    if chosen:
        entries = _chosen(entries, chosen, text)
    series = {
        key: Series(tuple(sessions), sku=stored.sku, device=stored.device, simulated=stored.simulated)
        for key, sessions in entries.items()
    }
    return Side(text, series)


def explain_sides(before: Side, after: Side) -> Explanation:
    """Match the series of two sides and explain each.

    Raises:
        RunError: if they have none in common.
    """
    pairs = {key: key for key in before.series if key in after.series}
    skipped = [line for side in (before, after) for _, line in side.skipped]
    if not pairs and len(before.series) == len(after.series) == 1:
        (old,), (new,) = before.series, after.series
        if old.unit != new.unit:
            raise RunError(f"joules per {old.unit} do not compare with joules per {new.unit}")
        pairs = {old: new}
    if not pairs:
        raise RunError(_nothing_in_common(before, after))
    explained = []
    for old, new in pairs.items():
        found = _explained(old, new, before.series[old], after.series[new])
        if isinstance(found, str):
            skipped.append(found)
        else:
            explained.append(found)
    return Explanation(
        before=before.name,
        after=after.name,
        series=tuple(explained),
        skipped=tuple(skipped),
        only_before=tuple(key for key in before.series if key not in pairs),
        only_after=tuple(key for key in after.series if key not in pairs.values()),
    )


def _explained(old: BaselineKey, new: BaselineKey, before: Series, after: Series) -> Explained | str:
    kind = after.sessions[-1].kind
    ours = [session for session in after.sessions if session.kind is kind]
    theirs = [session for session in before.sessions if session.kind is kind]
    if not theirs:
        return f"{new}: measured by {before.sessions[-1].kind.value} there and by {kind.value} here"
    theirs, ours = _at_home(theirs, ours), _at_home(ours, theirs)
    devices = [device for side in (before, after) if side.measurement for device in side.measurement.devices]
    seen = [
        _observation(series, sessions, key.unit, devices)
        for series, sessions, key in ((before, theirs, old), (after, ours, new))
    ]
    noise = noise_between(theirs, ours, _host_bound(before, old.unit) or _host_bound(after, new.unit))
    diagnosis = explain(seen[0], seen[1], noise.width)
    if before.sku and after.sku and before.sku != after.sku and not diagnosis.incomparable:
        # What tells the two apart is in their names alone.
        diagnosis = replace(diagnosis, incomparable=(f"SKU: {before.sku} -> {after.sku}",))
    return Explained(
        before=old,
        after=new,
        before_joules_per_unit=seen[0].joules_per_unit,
        after_joules_per_unit=seen[1].joules_per_unit,
        noise=noise.text,
        diagnosis=diagnosis,
        settings=tuple(f"{name}: {then} -> {now}" for name, (then, now) in settings_that_differ(*seen).items()),
        other_devices={session.devices for session in theirs}.isdisjoint(session.devices for session in ours),
    )


def _at_home(sessions: Sequence[Session], others: Sequence[Session]) -> list[Session]:
    """Those from the other side's devices, if there are any: devices of one SKU differ."""
    homes = {session.devices for session in others}
    return [session for session in sessions if session.devices in homes] or list(sessions)


def _observation(series: Series, sessions: Sequence[Session], unit: str, devices: Sequence[Device]) -> Observation:
    if series.measurement is not None:
        return Observation.of_measurement(series.measurement, unit)
    limit = power_limit(series.sku, devices)
    return Observation.of_sessions(sessions, unit, series.device, limit, simulated=series.simulated)


def _host_bound(series: Series, unit: str) -> bool:
    return series.measurement is not None and recognise(series.measurement, unit, []) is not None


def _nothing_in_common(before: Side, after: Side) -> str:
    for side in (before, after):
        if not side.series:
            return f"{side.name}: no series to compare" + (
                f" ({'; '.join(line for _, line in side.skipped)})" if side.skipped else ""
            )
    return (
        f"{before.name} and {after.name} have no series in common ({next(iter(before.series))}; "
        f"{next(iter(after.series))}): pick one of each with -k"
    )


def is_baseline(path: Path) -> bool:
    """Whether it is a baseline file and not a report; what is neither is told by the one that reads it.

    Raises:
        RunError: if it is no JSON object with a schema.
    """
    try:
        data = _members(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: neither a report of pytest --energy-json nor a baseline file: {error}") from error
    if isinstance(data, dict) and "schema" in data:
        return "entries" in data or "sku" in data
    raise RunError(f"{path}: neither a report of pytest --energy-json nor a baseline file")


def _members(data: bytes) -> Any:
    with contextlib.suppress(DecodeError):
        return decode(data, type=dict[str, Raw])
    return json.loads(data.decode("utf-8"))


def _chosen(
    entries: Mapping[BaselineKey, Sequence[Session]], beginning: str, name: str
) -> dict[BaselineKey, Sequence[Session]]:
    """The sessions of one time, or of one commit."""
    stored = [session for sessions in entries.values() for session in sessions]
    labels = {label for session in stored for label in (session.recorded, session.commit) if label is not None}
    found = [beginning] if beginning in labels else sorted(label for label in labels if label.startswith(beginning))
    if not found:
        raise RunError(f"{name}: no session was recorded at a time, or at a commit, that begins with {beginning!r}")
    if len(found) > 1:
        raise RunError(f"{name}: {beginning!r} begins {len(found)} times or commits: {', '.join(found)}")
    picked = {
        key: [session for session in sessions if found[0] in (session.recorded, session.commit)]
        for key, sessions in entries.items()
    }
    return {key: sessions for key, sessions in picked.items() if sessions}


def _of_report(name: str, path: Path) -> Side:
    run = read(path)
    series: dict[BaselineKey, Series] = {}
    skipped = []
    for result in run.results:
        if (reason := _untrusted(result)) is not None:
            skipped.append((str(result.key or result.test), f"{path}: {result.test}: {reason}"))
        elif result.key is not None and result.measurement is not None:
            session = session_of(result.measurement, result.key.unit, run.created, run.commit)
            series.setdefault(result.key, Series((session,), result.measurement, result.sku or ""))
    return Side(name, series, tuple(skipped))


def _untrusted(result: BudgetResult) -> str | None:
    """Why a result has no number to explain; ``None`` if it has."""
    verdict = result.verdict
    if verdict.kind is VerdictKind.UNMEASURED or (verdict.kind is VerdictKind.INVALID and not verdict.other_work):
        return f"{verdict.kind.value}: {verdict.reason}"
    return None
