"""What devices and host tell once in each tick beside joules, and what that comes to over a window.  Pure functions.

The reading process takes the samples (``meters/collector.py``); their summary goes by the names of
:data:`pytest_joules.signals.SIGNALS`.  What is unavailable is NaN in a sample, and is left out of a summary.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean

import numpy as np
import numpy.typing as npt

from pytest_joules.model import Tick

Floats = npt.NDArray[np.float64]


class Reading(str, Enum):
    """What one sampled number is: of that moment, a total since some time, or a mean since the sample that told one."""

    LEVEL = "level"
    TOTAL = "total"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Sampled:
    """One number of a sample.

    Attributes:
        name: What its summary over a window is called; of a total that is its rise per second.
        reading: What the number is.
        summed: Whether the devices' numbers add up; else their mean counts.
        most: The largest summary that makes sense.
    """

    name: str
    reading: Reading
    summed: bool = False
    most: float = math.inf


SLOWDOWNS = ("software_thermal_share", "hardware_thermal_share", "power_brake_share")
"""Shares of time that spoil a measurement."""

SAMPLED = (
    Sampled("memory_clock_mhz", Reading.LEVEL),
    Sampled("memory_used_bytes", Reading.LEVEL, summed=True),
    # Seconds.
    Sampled("power_cap_share", Reading.TOTAL, most=1.0),
    Sampled("sync_boost_share", Reading.TOTAL, most=1.0),
    *(Sampled(name, Reading.TOTAL, most=1.0) for name in SLOWDOWNS),
    # Seconds of processor time; every device's samples tell the same.
    Sampled("host_cores", Reading.TOTAL),
    Sampled("sm_active", Reading.MEAN, most=1.0),
    Sampled("sm_occupancy", Reading.MEAN, most=1.0),
    Sampled("tensor_active", Reading.MEAN, most=1.0),
    Sampled("fp64_active", Reading.MEAN, most=1.0),
    Sampled("fp32_active", Reading.MEAN, most=1.0),
    Sampled("fp16_active", Reading.MEAN, most=1.0),
    Sampled("integer_active", Reading.MEAN, most=1.0),
    Sampled("dram_active", Reading.MEAN, most=1.0),
    Sampled("dram_bytes_per_second", Reading.MEAN, summed=True),
    Sampled("pcie_bytes_per_second", Reading.MEAN, summed=True),
    Sampled("nvlink_bytes_per_second", Reading.MEAN, summed=True),
)
"""The columns of :class:`Samples`."""

PLACES = {sampled.name: place for place, sampled in enumerate(SAMPLED)}

LOADED = 0.5
"""Share of the memory in use while measuring from which on a model is taken for loaded: what its calls allocate beside
it draws nothing.  An idle H200 drew 118 W with 6 GB in use and 121 W with 142 GB, and 77 W without a process."""

RESTING = 0.01
"""SM active up to which a device is taken for idle: tiny kernels on an H200 have 0.03."""

REST_SECONDS = 0.3
"""How long a device has to have been idle: an H200's counter showed 281 and 487 W between the first two ticks after
work at 690 W, which is joules that came some 30 to 70 ms late."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What one device told in a stretch of time, oldest first.

    Attributes:
        times: When (s, on the meter's clock); shape (samples,).
        values: In the order of :data:`SAMPLED`, NaN where unavailable; shape (samples, columns).
    """

    times: Floats
    values: Floats

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> Samples:
        """Rows of a time and the values."""
        table = np.asarray(rows, dtype=float).reshape(len(rows), 1 + len(SAMPLED))
        return cls(table[:, 0], table[:, 1:])

    def column(self, name: str) -> Floats:
        """The values of one column."""
        found: Floats = self.values[:, PLACES[name]]
        return found


class SampleLog:
    """The samples of one device as they come in; packed, since a run may last for days."""

    def __init__(self) -> None:
        """Nothing was sampled yet."""
        self._times = array("d")
        self._values = array("d")

    def add(self, time: float, values: Iterable[float]) -> None:
        """Note the next sample: its time (s) and its columns."""
        self._times.append(time)
        self._values.extend(values)

    def between(self, since: float, until: float) -> Samples:
        """The samples from ``since`` to ``until``."""
        first, last = bisect_left(self._times, since), bisect_right(self._times, until)
        width = len(SAMPLED)
        values = np.asarray(self._values[first * width : last * width])
        return Samples(np.asarray(self._times[first:last]), values.reshape(last - first, width))


_LEVELS, _TOTALS, _MEANS = (
    np.asarray([place for place, sampled in enumerate(SAMPLED) if sampled.reading is reading])
    for reading in (Reading.LEVEL, Reading.TOTAL, Reading.MEAN)
)
_MOST = np.asarray([sampled.most for sampled in SAMPLED])


def rates(samples: Samples) -> Floats:
    """How fast the totals of one device rose in a stretch of time; NaN where unavailable, and for what is no total.

    Returns:
        Per second; shape (columns,).
    """
    times, values = samples.times, samples.values
    found = np.full(len(SAMPLED), math.nan)
    if len(times) > 1:
        rise = values[-1, _TOTALS] - values[0, _TOTALS]
        # A total that fell was set back, and tells nothing.
        found[_TOTALS] = np.where(rise >= 0, rise, math.nan) / (times[-1] - times[0])
    limited: Floats = np.minimum(found, _MOST)
    return limited


def means(samples: Samples) -> Floats:
    """What one device told in a stretch of time: one number for each column, NaN where unavailable.

    Each is between two samples, so that none covers time outside the stretch.

    Returns:
        Of totals their :func:`rates`; shape (columns,).
    """
    times, values = samples.times, samples.values
    found = rates(samples)
    if len(times):
        found[_LEVELS] = _weighted(values[:, _LEVELS], np.ones(len(times)))
    # These are not in every sample, and the first covers time before the stretch.
    metrics = values[:, _MEANS]
    told = ~np.isnan(metrics).all(axis=1)
    if told.sum() > 1:
        found[_MEANS] = _weighted(metrics[told][1:], np.diff(times[told]))
    limited: Floats = np.minimum(found, _MOST)
    return limited


def summary(devices: Sequence[Floats]) -> dict[str, float]:
    """What the samples of a window tell, by the names of :data:`SAMPLED`, of the :func:`means` of each device.

    What some device does not tell is left out.
    """
    found = {}
    for place, sampled in enumerate(SAMPLED):
        numbers = [float(numbers[place]) for numbers in devices]
        if numbers and all(map(math.isfinite, numbers)):
            found[sampled.name] = sum(numbers) if sampled.summed else fmean(numbers)
    return found


def slowed_share(devices: Sequence[Floats]) -> float | None:
    """The largest share of time that heat or the power brake slowed a device down; ``None`` if it is not counted.

    Args:
        devices: The :func:`rates` of each.
    """
    shares = [float(numbers[PLACES[name]]) for numbers in devices for name in SLOWDOWNS]
    return max(filter(math.isfinite, shares), default=None)


def loaded_idle_watts(ticks: Sequence[Tick], before: Samples, used_bytes: float) -> float | None:
    """The least power between two of ``ticks`` when a model was loaded and nothing had run for a while; else ``None``.

    Args:
        ticks: Of one device, before its work began.
        before: What it told meanwhile.
        used_bytes: Its memory in use while measuring.
    """
    # Where nobody tells that it rests, least power may be that of work.
    told = ~np.isnan(before.column("sm_active"))
    before = Samples(before.times[told], before.values[told])
    if len(ticks) < 2 or not len(before.times):
        return None
    empty = ~(before.column("memory_used_bytes") >= LOADED * used_bytes)
    busy = ~(before.column("sm_active") <= RESTING)
    dates = np.asarray([tick.time for tick in ticks])
    watts = np.diff([tick.joules for tick in ticks]) / np.diff(dates)
    # From the sample before the rest that a cell needs to the one behind it.
    first = np.searchsorted(before.times, dates[:-1] - REST_SECONDS, "right") - 1
    last = np.searchsorted(before.times, dates[1:], "left")
    seen = (first >= 0) & (last < len(before.times))
    # SM active is a mean since the sample before: that of the first tells nothing of the cell.
    fits = seen & (_count(empty, first, last) == 0) & (_count(busy, first + 1, last) == 0)
    return float(watts[fits].min()) if fits.any() else None


def _count(flags: npt.NDArray[np.bool_], first: npt.NDArray[np.intp], last: npt.NDArray[np.intp]) -> Floats:
    """How many flags are set from each of ``first`` to each of ``last``, as far as there are any."""
    before = np.concatenate([[0.0], np.cumsum(flags)])
    counts: Floats = before[np.minimum(last + 1, len(flags))] - before[np.clip(first, 0, len(flags))]
    return counts


def _weighted(values: Floats, weights: Floats) -> Floats:
    """The means of the columns over the rows in which they are known."""
    known = ~np.isnan(values)
    total = weights @ known
    sums = weights @ np.where(known, values, 0.0)
    means: Floats = np.divide(sums, total, where=total > 0, out=np.full_like(sums, math.nan))
    return means
