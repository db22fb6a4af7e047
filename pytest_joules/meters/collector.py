"""What the reading process asks a device and the host beside the energy counter, once in each cell of its grid.

Every source is tried until it refuses; then it is unavailable for the rest of
the run, and costs nothing more.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from pytest_joules.meters.hostcpu import HostCpu
from pytest_joules.meters.nvml import GPM_RATES, GPM_SHARES, MIB, SLOWDOWN_COUNTERS, NvmlGpu
from pytest_joules.samples import SAMPLED

GPM_SECONDS = 0.15
"""Least time between two GPM samples: they were tried from so far to 10 s apart, on an H200."""


class Collector:
    """Samples one device, and the processor time of a process tree beside it."""

    def __init__(self, gpu: NvmlGpu, host: HostCpu | None) -> None:
        """Nothing is asked before the first sample."""
        self._gpu = gpu
        self._counters = tuple(SLOWDOWN_COUNTERS)
        self._gpm = _Gpm(gpu)
        self._bus_bytes = gpu.memory_bus_bytes()
        self._sources: dict[str, Callable[[], float | None]] = {
            "memory_clock_mhz": gpu.memory_clock,
            "memory_used_bytes": gpu.memory_used,
        }
        if host is not None:
            self._sources["host_cores"] = host.seconds

    def sample(self) -> tuple[float, ...]:
        """The time (s), and then the columns of :data:`pytest_joules.samples.SAMPLED`; NaN where unavailable."""
        now = time.monotonic()
        found: dict[str, float] = dict(self._gpm.since_last(now))
        for name, source in tuple(self._sources.items()):
            if (value := source()) is None:
                del self._sources[name]
            else:
                found[name] = value
        if self._counters:
            counted = self._gpu.slowdown_seconds(self._counters)
            self._counters = tuple(counted)
            found |= counted
        if self._bus_bytes and "dram_active" in found and "memory_clock_mhz" in found:
            # Two transfers in each cycle of the memory clock.
            peak = 2 * self._bus_bytes * found["memory_clock_mhz"] * 1e6
            found["dram_bytes_per_second"] = found["dram_active"] * peak
        return (now, *(found.get(sampled.name, math.nan) for sampled in SAMPLED))


class _Gpm:
    """Means of a device's performance metrics between consecutive samples."""

    def __init__(self, gpu: NvmlGpu) -> None:
        self._gpu = gpu
        self._wanted = bool(gpu.gpm_supported())
        self._metrics = [*GPM_SHARES.values(), *itertools.chain(*GPM_RATES.values())]
        self._last: Any = None
        self._spare: Any = None
        self._taken = -math.inf

    def since_last(self, now: float) -> Mapping[str, float]:
        """Means since the sample before; nothing at the first one, soon after one, and where there are none."""
        if not self._wanted or now - self._taken < GPM_SECONDS:
            return {}
        self._taken = now
        sample = self._gpu.gpm_sample(self._spare)
        if sample is None:
            self._wanted = False
            return {}
        # Two samples are enough: the older one is taken anew.
        self._spare, self._last = self._last, sample
        if self._spare is None:
            return {}
        means = self._gpu.gpm_between(self._spare, self._last, self._metrics)
        shares = {name: means[metric] / 100 for name, metric in GPM_SHARES.items() if metric in means}
        rates = {
            name: MIB * sum(means[metric] for metric in both)
            for name, both in GPM_RATES.items()
            if all(metric in means for metric in both)
        }
        return shares | rates
