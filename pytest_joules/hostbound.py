"""Host-bound windows: the GPU waits for the host, and joules follow the host's speed.  Pure functions.

Joules per unit are watts times seconds per unit.  Where the GPU is the
bottleneck both are steady to a tenth of a percent; where the host is, the
watts stay near idle and the seconds wander by percents, at any length of the
window (H200: 3 %).  Such a window cannot be decided as finely, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_joules.model import Block, Measurement
from pytest_joules.statistics import combine, spread_of
from pytest_joules.units import format_percent

NEAR_IDLE = 0.4
"""Share of the power between idle and the limit below which the GPU may be waiting.  On H200s tiny eager layers
took 3 %, a memory-bound decode 69 to 77 % (``benchmarks/acceptance/conditions.py``)."""

WANDERING = 0.007
WANDERING_RATIO = 2.0
"""Spread of seconds per unit over blocks of half a second, and how many times that of the watts, that only a host
makes: GPU-bound loads on H200s had 0.01 to 0.16 %, tiny eager layers 3.4 % and watts of 0.4 %
(``benchmarks/acceptance/conditions.py``)."""

SECONDS_SD = 0.025
"""Prior standard deviation of a host-bound session's seconds per unit (H200: 3 %)."""


@dataclass(frozen=True, slots=True)
class HostBound:
    """A window that is taken for host-bound, and why.

    Attributes:
        share: What it drew of the power between idle and the limit.
        seconds_sd: Relative spread of seconds per unit over its blocks.
        watts_sd: The same of the watts.
    """

    share: float
    seconds_sd: float
    watts_sd: float

    def note(self) -> str:
        """What a reader should know and can do."""
        return (
            f"host-bound: the GPU waits for the host ({format_percent(self.share, digits=0)} of the power between idle "
            f"and its limit; seconds per unit wander by {format_percent(self.seconds_sd)}, watts by "
            f"{format_percent(self.watts_sd)}). A CUDA graph, torch.compile or a larger batch makes it measurable"
        )


def recognise(measurement: Measurement, unit: str, stored: Sequence[Sequence[Block]]) -> HostBound | None:
    """Whether the host sets the pace of a window: by its watts, and by how its blocks spread.

    Args:
        measurement: Today's.
        unit: The unit that seconds are divided by.
        stored: Blocks of stored sessions, which spread alike.
    """
    idle = measurement.conditions.idle_watts
    limits = [device.power_limit_watts for device in measurement.devices]
    if idle is None or not measurement.blocks.get(unit):
        return None
    most = sum(limit for limit in limits if limit is not None)
    if None in limits or most <= idle:
        return None
    share = (measurement.joules / measurement.seconds - idle) / (most - idle)
    if share >= NEAR_IDLE:
        return None
    sessions = [measurement.blocks[unit], *stored]
    seconds = combine(spread_of([math.log(b.seconds_per_unit) for b in blocks]) for blocks in sessions)
    watts = combine(spread_of([math.log(b.watts) for b in blocks]) for blocks in sessions)
    found = HostBound(share, math.sqrt(seconds.variance), math.sqrt(watts.variance))
    wanders = found.seconds_sd > max(WANDERING, WANDERING_RATIO * found.watts_sd)
    return found if wanders else None
