"""The other ways to gate on joules, on the very streams that pytest-joules decided on.

Each reads the energy counter as it stood when a call completed, as code around
the calls would have, and compares with one earlier run of the same test, as
its users do.  Given to them for free: the window opens after the same 0.6 s of
warm-up, opening and closing it costs nothing, and one call's length is no
rounding error.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy import stats

from pytest_joules.meters.replay import WindowTrace
from pytest_joules.model import Tick

SKIPPED_SECONDS = 0.6
UNMEASURED_CALLS = 120
"""Calls that ``zeus.profile.measure`` makes before it measures (10 + 100 + 10 by its defaults)."""

COOLDOWN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of calls, with the ticks around it."""

    window: WindowTrace
    ticks: Sequence[Tick]
    unit: str

    def rounds(self, seconds: float, count: int) -> list[float]:
        """Joules per unit of ``count`` naive windows, one behind the other."""
        times, done = self.window.times, self.window.totals[self.unit]
        opened = bisect_left(times, times[0] + SKIPPED_SECONDS)
        began, found = times[opened], []
        for number in range(1, count + 1):
            closed = bisect_left(times, began + number * seconds)
            if closed >= len(times):
                raise ValueError(f"{self.window.test} {self.window.window}: too short for {count} x {seconds:g} s")
            joules = self.counter(times[closed]) - self.counter(times[opened])
            found.append(joules / (done[closed] - done[opened]))
            opened = closed
        return found

    def counter(self, time: float) -> float:
        """The energy counter as it stood at ``time``, J."""
        return self.ticks[bisect_right(self.ticks, time, key=lambda tick: tick.time) - 1].joules

    @property
    def call_seconds(self) -> float:
        return (self.window.times[-1] - self.window.times[0]) / self.window.totals["call"][-1]


Fails = Callable[[Sequence[float], Sequence[float]], bool]
"""Whether today's rounds fail against the earlier run's."""


@dataclass(frozen=True, slots=True)
class Rival:
    """One way to gate.

    Attributes:
        name: As its users call it.
        seconds: Length of a round.
        count: Rounds.
        fails: The rule.
        extra_calls: Calls that it makes and does not measure.
        idle_seconds: What it waits beside.
    """

    name: str
    seconds: float
    count: int
    fails: Fails
    extra_calls: int = 0
    idle_seconds: float = 0.0

    def gpu_seconds(self, stream: Stream) -> float:
        """GPU seconds for one verdict, after warm-up."""
        return self.seconds * self.count + self.extra_calls * stream.call_seconds

    def wall_seconds(self, stream: Stream) -> float:
        """Wall seconds for one verdict, after warm-up."""
        return self.gpu_seconds(stream) + self.idle_seconds


def threshold(rise: float, of: Callable[[Sequence[float]], float] = fmean) -> Fails:
    """Fails when one number of the rounds rose by more than ``rise``."""
    return lambda today, before: of(today) > (1 + rise) * of(before)


def welch(today: Sequence[float], before: Sequence[float]) -> bool:
    """Welch's t-test: different at p < .05, and higher."""
    return bool(stats.ttest_ind(today, before, equal_var=False).pvalue < 0.05) and fmean(today) > fmean(before)


def mann_whitney(today: Sequence[float], before: Sequence[float]) -> bool:
    """google-benchmark's compare.py: U-test at alpha .05, and higher."""
    return bool(stats.mannwhitneyu(today, before).pvalue < 0.05) and fmean(today) > fmean(before)


RIVALS = (
    Rival("ZeusMonitor window 1 s, +5 %", 1.0, 1, threshold(0.05)),
    Rival("ZeusMonitor window 2 s, +5 %", 2.0, 1, threshold(0.05)),
    Rival("ZeusMonitor window 5 s, +5 %", 5.0, 1, threshold(0.05)),
    Rival("pytest-benchmark min:5%, 5 x 1 s", 1.0, 5, threshold(0.05, min)),
    Rival("pytest-benchmark mean:5%, 5 x 1 s", 1.0, 5, threshold(0.05)),
    Rival("Welch p<.05, 5 x 1 s", 1.0, 5, welch),
    Rival("Mann-Whitney p<.05, 9 x 0.5 s", 0.5, 9, mann_whitney),
    Rival("CodSpeed 10 %, 5 x 1 s", 1.0, 5, threshold(0.10)),
    Rival("zeus.profile.measure 5 s, +3 %", 5.0, 1, threshold(0.03), UNMEASURED_CALLS, COOLDOWN_SECONDS),
    Rival("one naive 5 s window, +1.5 %", 5.0, 1, threshold(0.015)),
)
"""The last is nobody's default: the threshold that suits a rise of 3 % best."""


@dataclass(frozen=True, slots=True)
class Strung:
    """Streams of one load in one session strung together, tick to tick, so that a naive window may be longer than one.

    Attributes:
        times: Completion times on the common clock, s.
        done: Work done by each.
        tick_times: Ticks on that clock.
        tick_joules: The counter at each.
    """

    times: list[float]
    done: list[float]
    tick_times: list[float]
    tick_joules: list[float]

    @classmethod
    def of(cls, streams: Sequence[Stream]) -> Strung:
        """Each stream without its first :data:`SKIPPED_SECONDS`."""
        strung, worked = cls([], [], [0.0], [0.0]), 0.0
        for stream in streams:
            window, done = stream.window, stream.window.totals[stream.unit]
            opened = window.times[0] + SKIPPED_SECONDS
            inside = [tick for tick in stream.ticks if opened <= tick.time <= window.times[-1]]
            shift = strung.tick_times[-1] - inside[0].time
            first, last = np.interp([inside[0].time, inside[-1].time], window.times, done)
            for time, total in zip(window.times, done, strict=True):
                if inside[0].time <= time <= inside[-1].time:
                    strung.times.append(time + shift)
                    strung.done.append(worked + total - float(first))
            worked += float(last - first)
            joules = strung.tick_joules[-1] - inside[0].joules
            strung.tick_times.extend(tick.time + shift for tick in inside[1:])
            strung.tick_joules.extend(tick.joules + joules for tick in inside[1:])
        return strung

    def naive(self, seconds: float, random_: random.Random) -> float:
        """Log joules per unit of a naive window that opens anywhere."""
        latest = self.times[-1] - seconds
        opened = bisect_left(self.times, random_.uniform(self.times[0], max(latest, self.times[0])))
        closed = min(bisect_left(self.times, self.times[opened] + seconds), len(self.times) - 1)
        a, b = (self.tick_joules[bisect_right(self.tick_times, self.times[i]) - 1] for i in (opened, closed))
        return math.log((b - a) / (self.done[closed] - self.done[opened]))


def tuned(errors: Sequence[float], rise: float, error_rate: float) -> tuple[float, float]:
    """The threshold that lets ``error_rate`` of unchanged runs fail, chosen on these very errors; what it then catches.

    Args:
        errors: Log ratios of two unchanged runs.
        rise: Log ratio of a regression.
        error_rate: Accepted share of false alarms.
    """
    threshold_ = sorted(errors)[math.ceil((1 - error_rate) * len(errors)) - 1]
    return threshold_, fmean(error + rise > threshold_ for error in errors)
