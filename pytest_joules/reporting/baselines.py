"""A baseline file as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from tabulate import tabulate

from pytest_joules.baselines.store import BaselineFile
from pytest_joules.history import drift, log_mean
from pytest_joules.model import BaselineKey, Session
from pytest_joules.units import format_joules, format_percent, format_seconds

COLUMNS = ("test", "joules", "sd", "s/unit", "sessions", "drift", "trend", "last", "commit")
COMMIT_LENGTH = 8
PINNED = "*"


def baseline_table(file: BaselineFile) -> str:
    """A heading, and one row per stored series."""
    rows = [_row(key, sessions) for key, sessions in sorted(file.entries.items(), key=lambda entry: str(entry[0]))]
    simulated = ", simulated" if file.simulated else ""
    lines = [
        f"{file.sku} ({file.device}{simulated})",
        tabulate(rows, headers=COLUMNS, tablefmt="simple", disable_numparse=True),
    ]
    if any(session.anchor for sessions in file.entries.values() for session in sessions):
        lines.append(f"{PINNED} pinned as an anchor")
    return "\n".join(lines)


def _row(key: BaselineKey, sessions: Sequence[Session]) -> tuple[str, ...]:
    means = [log_mean(session.blocks) for session in sessions]
    pinned = sum(session.anchor for session in sessions)
    moved = drift(sessions)
    return (
        key.test if key.window == "main" else f"{key.test} [{key.window}]",
        f"{format_joules(math.exp(fmean(means)))}/{key.unit}",
        format_percent(stdev(means), digits=2) if len(sessions) > 1 else "-",
        format_seconds(fmean(block.seconds_per_unit for session in sessions for block in session.blocks)),
        f"{len(sessions)} on {len({session.devices for session in sessions})}"
        + (f", {pinned}{PINNED}" if pinned else ""),
        _shown(moved.rise),
        _shown(moved.trend),
        sessions[-1].recorded[:10],
        (sessions[-1].commit or "-")[:COMMIT_LENGTH],
    )


def _shown(fraction: float | None) -> str:
    return "-" if fraction is None else format_percent(fraction, signed=True, digits=2)
