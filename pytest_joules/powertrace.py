"""Power, clock and temperature over the time of a window, of what was read anyway: for a reader to look at."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from pytest_joules.meters.base import Meter, MeterError
from pytest_joules.model import Block, Device, PowerTrace, Signals
from pytest_joules.samples import Floats

MOST_POINTS = 200
"""Points of a trace at most: enough for a screen, and a report of thousands of windows stays small."""


def power_trace(
    meter: Meter, devices: Sequence[Device], since: float, until: float, first_block: float, blocks: Sequence[Block]
) -> PowerTrace | None:
    """What ``meter`` has read of ``devices`` from ``since`` to ``until``; ``None`` if that is no whole tick.

    Watts are between ticks of the first device; those of the others are cut there.  No device is read for it.

    Args:
        meter: The open meter.
        devices: The charged devices.
        since: When warm-up began (s, on the meter's clock).
        until: When the window ended.
        first_block: When the first block began.
        blocks: The blocks, which follow each other.
    """
    with suppress(MeterError):
        ticks = [[tick for tick in meter.ticks(device, since) if tick.time <= until] for device in devices]
        signals = [signal for device in devices for signal in meter.signals(device, since, until)]
        if not ticks or min(map(len, ticks)) < 2:
            return None
        dates = [np.asarray([tick.time for tick in each]) for each in ticks]
        joules = [np.asarray([tick.joules for tick in each]) for each in ticks]
        # Where every device has ticks on both sides.
        shared = (dates[0] >= max(d[0] for d in dates)) & (dates[0] <= min(d[-1] for d in dates))
        edges = _thinned(dates[0][shared])
        if len(edges) < 2:
            return None
        total = sum(np.interp(edges, *each) for each in zip(dates, joules, strict=True))
        steps = itertools.accumulate((block.seconds for block in blocks), initial=first_block - since)
        return PowerTrace(
            seconds=_rounded(edges[1:] - since, 3),
            watts=_rounded(np.diff(total) / np.diff(edges), 1),
            sm_clock_mhz=_means(signals, edges, lambda signal: signal.sm_clock_mhz, 0),
            temperature_celsius=_means(signals, edges, lambda signal: signal.temperature_celsius, 1),
            block_seconds=tuple(round(step, 3) for step in steps) if blocks else (),
        )
    return None


def _thinned(edges: Floats) -> Floats:
    """At most as many as bound :data:`MOST_POINTS` stretches, with the first and the last."""
    if len(edges) <= MOST_POINTS + 1:
        return edges
    thinned: Floats = edges[np.linspace(0, len(edges) - 1, MOST_POINTS + 1).round().astype(int)]
    return thinned


def _means(
    signals: Sequence[Signals], edges: Floats, value: Callable[[Signals], float | None], digits: int
) -> tuple[float | None, ...]:
    """The mean of a signal between each two edges; ``None`` where nobody looked."""
    known = [(signal.time, found) for signal in signals if (found := value(signal)) is not None]
    if not known:
        return (None,) * (len(edges) - 1)
    times, values = np.asarray(known).T
    sums, counts = (np.histogram(times, edges, weights=weights)[0] for weights in (values, np.ones(len(times))))
    return tuple(round(float(s / n), digits) if n else None for s, n in zip(sums, counts, strict=True))


def _rounded(values: Floats, digits: int) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in values)
