"""How far two runs of one thing differ by noise alone.  Pure functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_joules.decision import LOOKS_CORRECTION, half_widths
from pytest_joules.history import log_mean
from pytest_joules.hostbound import SECONDS_SD
from pytest_joules.model import Session, WindowKind
from pytest_joules.statistics import (
    BLOCK_SD,
    SAME_DEVICE_SD,
    SHOT_SECONDS,
    Spread,
    autocorrelation_inflation,
    between_devices,
    between_sessions,
    block_spread,
    combine,
    satterthwaite,
    session_spread,
)
from pytest_joules.units import format_percent, plural


@dataclass(frozen=True, slots=True)
class Noise:
    """The change that noise alone makes.

    Attributes:
        width: Half-width of the 98 % interval of the difference of log joules per unit.
        text: What it is made of, in words.
    """

    width: float
    text: str


def noise_between(before: Sequence[Session], after: Sequence[Session], host_bound: bool = False) -> Noise:
    """The noise in the difference of two sides' means, by the priors and the spreads that the gate decides with.

    Nothing is taken to another temperature: a difference of temperatures is a cause to be named.

    Args:
        before: One side's sessions of one kind, at least one.
        after: The other's.
        host_bound: Whether the host sets the pace of either side.
    """
    sessions = (*before, *after)
    logs = [[math.log(block.joules_per_unit) for block in session.blocks] for session in sessions]
    shot = max(SHOT_SECONDS / session.blocks[0].seconds for session in sessions)
    edges = shot if sessions[0].kind is WindowKind.ONE_SHOT else 0.0
    block = block_spread([], logs, math.hypot(BLOCK_SD, edges))
    block_variance = block.variance * autocorrelation_inflation(logs)
    spreads = [session_spread([log_mean(s.blocks) for s in side], _homes(side)) for side in (before, after)]
    prior = math.hypot(SAME_DEVICE_SD, SECONDS_SD) if host_bound else SAME_DEVICE_SD
    session = between_sessions(combine(spreads), Spread(0.0, 0.0), prior)
    device = between_devices([log_mean(s.blocks) for s in before], _homes(before))
    parts = [
        Spread(session.variance * (1 / len(before) + 1 / len(after)), session.df),
        Spread(device.variance * _apart(before, after), device.df),
        # A run ends at the look that decides it.
        Spread(LOOKS_CORRECTION**2 * block_variance * sum(_block_weight(side) for side in (before, after)), block.df),
    ]
    text = f"{len(before)} against {plural(len(after), 'session')}, which differ by {_sd(session)} on one device"
    text += f" and by {_sd(device)} between devices" if parts[1].variance else ""
    text += ", since the GPU waits for the host" if host_bound else ""
    text += f"; blocks make {_sd(parts[2])}"
    return Noise(half_widths(satterthwaite(parts), 1).plain, text)


def _homes(side: Sequence[Session]) -> list[tuple[str, ...]]:
    return [session.devices for session in side]


def _apart(before: Sequence[Session], after: Sequence[Session]) -> float:
    """The variance of the difference of two means over devices, in units of that between devices."""
    shares = [Counter(_homes(side)) for side in (before, after)]
    return sum(
        (shares[0][home] / len(before) - shares[1][home] / len(after)) ** 2 for home in set(shares[0]) | set(shares[1])
    )


def _block_weight(side: Sequence[Session]) -> float:
    return sum(1 / len(session.blocks) for session in side) / len(side) ** 2


def _sd(spread: Spread) -> str:
    return format_percent(math.sqrt(spread.variance), digits=2)
