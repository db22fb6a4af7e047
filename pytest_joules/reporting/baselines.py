"""A baseline file as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from tabulate import tabulate

from pytest_joules.baselines.store import BaselineFile
from pytest_joules.model import Session
from pytest_joules.units import format_joules, format_percent, format_seconds

HEADERS = ("test", "window", "joules", "session sd", "watts", "s/unit", "sessions", "devices", "last", "commit")


def baseline_table(file: BaselineFile) -> str:
    """A heading, and one row per stored series."""
    rows = [
        (
            key.test,
            key.window,
            f"{format_joules(math.exp(fmean(_logs(sessions))))}/{key.unit}",
            format_percent(stdev(_logs(sessions)), digits=2) if len(sessions) > 1 else "-",
            f"{fmean(block.watts for session in sessions for block in session.blocks):.0f}",
            format_seconds(fmean(block.seconds_per_unit for session in sessions for block in session.blocks)),
            len(sessions),
            len({session.devices for session in sessions}),
            sessions[-1].recorded,
            sessions[-1].commit or "-",
        )
        for key, sessions in sorted(file.entries.items(), key=lambda entry: str(entry[0]))
    ]
    simulated = ", simulated" if file.simulated else ""
    return f"{file.sku} ({file.device}{simulated})\n" + tabulate(rows, headers=HEADERS, tablefmt="simple")


def _logs(sessions: Sequence[Session]) -> list[float]:
    return [fmean(math.log(block.joules_per_unit) for block in session.blocks) for session in sessions]
