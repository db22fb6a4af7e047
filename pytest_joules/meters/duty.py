"""Whether a power sensor looks all the time, from what it saw of short bursts.

The power sensor of some data-centre GPUs looks for only 25 ms in every 100 ms
and takes what it saw for the whole (Yang, Adamek, Armour, *Part-time Power
Measurements: nvidia-smi's Lack of Attention*, SC'24, arXiv 2312.02741).  Under
a load whose bursts are shorter than the counter's period, and do not come in
step with it, a full-time sensor shows nearly the same joules in every tick; a
part-time one swings between all burst and all idle as the phases slide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEWEST_TICKS = 15
"""Of the twenty that one slide of the phases takes in ``pytest-joules doctor``: with half of them missing, those that
tell may be among the missing."""

FULL_TIME_RESIDUAL = 0.1
"""Relative to the mean power above idle.  What a full-time sensor must show is matched closer than that; a sensor
that misses a tenth of the time swings by 0.23 of it."""

EXPLAINED = 0.75
"""Of the variance of the ticks, by the best part-time sensor; else the ticks follow something other than the bursts."""

HELD_UP = 0.1
"""Share of the ticks that may be wrong altogether."""

LEAST_RISE = 0.1
"""Mean power above idle over idle power; a burst that cannot be seen tells nothing."""

IDLE_RANGE = (0.8, 1.8)
"""Power between two bursts over idle power; clocks stay up for a while after work."""

DUTIES = tuple(round(0.05 * step, 2) for step in range(19, 0, -1))
_STEPS = 50
"""Of the sensor's phase in a period; 2 ms in one of 100 ms, as well as the counter's grid is known."""


def sensor_duty(
    tick_watts: Sequence[float | None],
    burst_seconds: Sequence[tuple[float, float]],
    period: float,
    idle_watts: float,
) -> float | None:
    """Estimate for which share of the time a power sensor looks.

    For every duty and phase of a sensor, the share of its looking that falls
    into bursts predicts each tick's power up to two numbers: the power between
    bursts, bounded around ``idle_watts``, and that of a burst.  The least
    squares decide; a full-time sensor wins whenever it fits.  The sensor may be
    up to one period late.

    Args:
        tick_watts: Mean power of each cell of the counter's grid, W, one cell after another;
            ``None`` where the counter was not read.
        burst_seconds: Start and end of each burst, s since the first cell opened.
        period: Seconds of a cell.
        idle_watts: Power between bursts as far as it is known, W.

    Returns:
        1.0 for a full-time sensor, else a multiple of 0.05; ``None`` if the ticks do not tell.
    """
    known = np.asarray([index for index, watts in enumerate(tick_watts) if watts is not None])
    if len(known) < FEWEST_TICKS:
        return None
    watts = np.asarray([value for value in tick_watts if value is not None])
    rise = float(watts.mean()) - idle_watts
    if rise < LEAST_RISE * idle_watts:
        return None
    if _residual(watts, known, burst_seconds, period, 1.0, idle_watts) <= FULL_TIME_RESIDUAL * rise:
        return 1.0
    residuals = {duty: _residual(watts, known, burst_seconds, period, duty, idle_watts) for duty in DUTIES}
    best = min(residuals, key=residuals.__getitem__)
    return best if residuals[best] ** 2 <= (1 - EXPLAINED) * float(watts.var()) else None


def _residual(
    watts: Floats,
    cells: npt.NDArray[np.int_],
    bursts: Sequence[tuple[float, float]],
    period: float,
    duty: float,
    idle_watts: float,
) -> float:
    """The root mean square by which the best sensor of this duty misses ``watts``, over all its phases."""
    phases = np.arange(-_STEPS, math.floor(_STEPS * (1 - duty)) + 1) * period / _STEPS
    opens = cells * period + phases[:, np.newaxis]
    inside = (_burst_time(bursts, opens + duty * period) - _burst_time(bursts, opens)) / (duty * period)
    bounds = (IDLE_RANGE[0] * idle_watts, IDLE_RANGE[1] * idle_watts)
    missed = np.abs(_missed(watts, inside, np.ones_like(inside), bounds))
    # Without the few ticks that fit worst: a host that was held up for a moment dated their bursts wrongly.
    kept = np.ones_like(inside)
    dropped = math.floor(HELD_UP * len(watts))
    np.put_along_axis(kept, np.argsort(missed, axis=1)[:, len(watts) - dropped :], 0.0, axis=1)
    missed = _missed(watts, inside, kept, bounds)
    return float(np.sqrt(((missed**2) * kept).sum(axis=1) / kept.sum(axis=1)).min())


def _missed(watts: Floats, inside: Floats, weights: Floats, bounds: tuple[float, float]) -> Floats:
    """What straight lines of watts over the share inside bursts, one a phase, leave of each tick."""
    total = weights.sum(axis=1, keepdims=True)
    mean_inside = (weights * inside).sum(axis=1, keepdims=True) / total
    mean_watts = (weights * watts).sum(axis=1, keepdims=True) / total
    slope = _ratio(weights * (inside - mean_inside) * watts, weights * (inside - mean_inside) ** 2)
    offset = np.clip(mean_watts - slope * mean_inside, *bounds)
    slope = _ratio(weights * inside * (watts - offset), weights * inside**2)
    missed: Floats = watts - offset - np.maximum(slope, 0.0) * inside
    return missed


def _burst_time(bursts: Sequence[tuple[float, float]], times: Floats) -> Floats:
    """Seconds of bursts before each of ``times``."""
    edges = np.asarray(bursts, dtype=float).ravel()
    # Time counts between a burst's start and its end, and stands still up to the next.
    counts = np.arange(1, len(edges)) % 2
    spent: Floats = np.interp(times, edges, np.concatenate([[0.0], np.cumsum(np.diff(edges) * counts)]))
    return spent


def _ratio(a: Floats, b: Floats) -> Floats:
    above, below = a.sum(axis=1, keepdims=True), b.sum(axis=1, keepdims=True)
    quotients: Floats = np.divide(above, below, out=np.zeros_like(above), where=below > 1e-12)
    return quotients
