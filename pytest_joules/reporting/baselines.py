"""A baseline file as tables: one row a series, or one a session."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

from pytest_joules.baselines.store import BaselineFile
from pytest_joules.history import Drift, drift, log_mean
from pytest_joules.model import BaselineKey, Session
from pytest_joules.reporting.tables import table
from pytest_joules.statistics import spread_of
from pytest_joules.units import format_joules, format_percent, format_seconds

COLUMNS = ("test", "joules", "sd", "s/unit", "sessions", "drift", "trend", "last", "commit")
SESSION_COLUMNS = ("recorded", "commit", "device", "joules", "to mean", "s/unit", "blocks", "°C", "MHz", "driver")
COMMIT_LENGTH = 8
PINNED, MOVING = "*", "!"
DASH = "-"

Series = tuple[BaselineKey, Sequence[Session]]


def baseline_table(file: BaselineFile, only: str = "") -> str:
    """A heading, and one row per stored series whose name holds ``only``; empty if there is none."""
    rows, pinned, moving = [], False, False
    for key, sessions in _series(file, only):
        moved = drift(sessions)
        rows.append(_row(key, sessions, moved))
        pinned |= any(session.anchor for session in sessions)
        moving |= moved.surely_moves
    if not rows and only:
        return ""
    lines = [_heading(file), *table(COLUMNS, rows)]
    if pinned:
        lines.append(f"{PINNED} pinned as an anchor")
    if moving:
        lines.append(f"{MOVING} the trend is more than chance: the change a session, with its 98% interval")
    return "\n".join(lines)


def session_tables(file: BaselineFile, only: str = "") -> str:
    """A heading, and a table per stored series whose name holds ``only``: one row a session, the oldest first."""
    lines, pinned = [_heading(file)], False
    for key, sessions in _series(file, only):
        mean = fmean([log_mean(session.blocks) for session in sessions])
        rows = [_session_row(key, session, mean) for session in sessions]
        lines += ["", f"{key}", *table(SESSION_COLUMNS, rows)]
        pinned |= any(session.anchor for session in sessions)
    if pinned:
        lines += ["", f"{PINNED} pinned as an anchor"]
    return "\n".join(lines) if len(lines) > 1 else ""


def _series(file: BaselineFile, only: str) -> Iterator[Series]:
    """One after the other: the sessions of all of them take more room than their file."""
    for key in sorted((key for key in file.entries if only in str(key)), key=str):
        yield key, file.sessions(key)


def _heading(file: BaselineFile) -> str:
    return f"{file.sku} ({file.device}{', simulated' if file.simulated else ''})"


def _row(key: BaselineKey, sessions: Sequence[Session], moved: Drift) -> tuple[str, ...]:
    means = [log_mean(session.blocks) for session in sessions]
    return (
        key.test if key.window == "main" else f"{key.test} [{key.window}]",
        f"{format_joules(math.exp(fmean(means)))}/{key.unit}",
        format_percent(math.sqrt(spread_of(means).variance), digits=2) if len(sessions) > 1 else DASH,
        format_seconds(fmean([block.seconds_per_unit for session in sessions for block in session.blocks])),
        _counted(sessions),
        _shown(moved.rise),
        _trend(moved),
        sessions[-1].recorded[:10],
        (sessions[-1].commit or DASH)[:COMMIT_LENGTH],
    )


def _counted(sessions: Sequence[Session]) -> str:
    """``5 on 2 (3+2), 1*``: sessions, devices, how many each has, and how many are pinned."""
    per_device = Counter(session.devices for session in sessions).values()
    pinned = sum(session.anchor for session in sessions)
    each = f" ({'+'.join(map(str, per_device))})" if len(per_device) > 1 else ""
    return f"{len(sessions)} on {len(per_device)}{each}" + (f", {pinned}{PINNED}" if pinned else "")


def _trend(moved: Drift) -> str:
    if moved.trend is None or moved.trend_error is None:
        return DASH
    return f"{_shown(moved.trend)} ±{format_percent(moved.trend_error, digits=2)}" + MOVING * moved.surely_moves


def _session_row(key: BaselineKey, session: Session, mean: float) -> tuple[str, ...]:
    level, at = log_mean(session.blocks), session.conditions
    return (
        session.recorded.removesuffix("+00:00").replace("T", " ") + PINNED * session.anchor,
        (session.commit or DASH)[:COMMIT_LENGTH],
        _devices(session.devices),
        f"{format_joules(math.exp(level))}/{key.unit}",
        _shown(math.expm1(level - mean)),
        format_seconds(fmean(block.seconds_per_unit for block in session.blocks)),
        str(len(session.blocks)),
        _rounded(at.temperature_celsius),
        _rounded(at.sm_clock_mhz),
        session.driver or DASH,
    )


def _devices(devices: Iterable[str]) -> str:
    return ",".join(device[:COMMIT_LENGTH] for device in devices)


def _rounded(value: float | None) -> str:
    return DASH if value is None else f"{value:.0f}"


def _shown(fraction: float | None) -> str:
    return DASH if fraction is None else format_percent(fraction, signed=True, digits=2)
