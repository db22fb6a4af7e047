"""A meter whose clock goes only when a test says so: little suites with many measurements take no time."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from pytest_joules.model import Device, Read, Signals, Tick
from pytest_joules.samples import Floats, Samples

PERIOD = 0.1
IDLE_WATTS = 100.0
START = 100.0
READS = 5

CONFTEST = f"""
    import sys

    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from clockwork import METER

    def pytest_joules_make_meter(config):
        if config.getoption("energy_meter") is None:
            METER.restart()
            return METER
"""
"""What gives it to a little suite."""


class Clockwork:
    """One device, whose joules are exact at any time."""

    description = "clockwork"
    simulated = True
    lock_directory = None
    devices = (Device(0, "NVIDIA H200", "abc", simulated=True),)

    def __init__(self) -> None:
        """It has been idle for long."""
        self.restart()

    def restart(self) -> None:
        """Forget all that was."""
        self._reads: list[Read] = []
        self._times = [0.0, START]
        self._joules = [0.0, START * IDLE_WATTS]

    def spend(self, seconds: float, watts: float) -> None:
        """Let the clock advance while the device draws ``watts``."""
        self._times.append(self._times[-1] + seconds)
        self._joules.append(self._joules[-1] + seconds * watts)

    def now(self) -> float:
        return self._times[-1]

    def sleep(self, seconds: float) -> None:
        self.spend(seconds, IDLE_WATTS)

    def period(self, device: Device) -> float:
        return PERIOD

    def reads(self, device: Device) -> Sequence[Read] | None:
        """Some in each tick, of which each tells the last tick's joules."""
        done = len(self._reads)
        dates = START + PERIOD / READS * (np.arange(done, int((self.now() - START) / PERIOD * READS)) + 0.5)
        if len(dates):
            joules = self._at(PERIOD * np.floor(dates / PERIOD), START - PERIOD)
            told = zip(dates.tolist(), joules.tolist(), strict=True)
            self._reads += [Read(date, date + 1e-5, value) for date, value in told]
        return self._reads

    def mark(self) -> None:
        """Nothing to do."""

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()

    def ticks(self, device: Device, since: float) -> Sequence[Tick]:
        cells = range(math.ceil(since / PERIOD), math.floor(self.now() / PERIOD) + 1)
        dates = PERIOD * np.array(cells, dtype=np.float64)
        joules = self._at(dates, since)
        return [Tick(date, value) for date, value in zip(dates.tolist(), joules.tolist(), strict=True)]

    def _at(self, dates: Floats, since: float) -> Floats:
        first = max(bisect_right(self._times, since) - 1, 0)
        return np.interp(dates, self._times[first:], self._joules[first:])

    def signals(self, device: Device, since: float, until: float) -> Sequence[Signals]:
        return [Signals(read.start) for read in self._reads if since <= read.start <= until]

    def samples(self, device: Device, since: float, until: float) -> Samples:
        return Samples.of(())

    def processes(self, device: Device) -> Sequence[int] | None:
        return [os.getpid()]

    def barrier(self) -> float | None:
        return None

    def invalid(self, device: Device) -> str:
        return ""

    def close(self) -> None:
        """Nothing is open."""


METER = Clockwork()
