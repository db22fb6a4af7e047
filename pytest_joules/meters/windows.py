"""Zeus' own monitor windows, for devices whose energy counter has no tick grid to read.

GPUs before Volta (Zeus integrates sampled power), AMD GPUs, Apple silicon,
Jetson, and CPU packages with their DRAM where they are asked for.  A window
can only be closed between two calls, and its joules are coarser; the stated
resolution makes the blocks long and the report say so.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pytest_joules.meters.base import MeterError, NoDevice
from pytest_joules.meters.nvml import TRY_SIMULATED
from pytest_joules.model import Device, Signals, Tick
from pytest_joules.samples import Samples

WINDOW_SECONDS = 0.2
"""Shortest window: two samples of the slowest source, Zeus' 0.1 s power sampling."""

SOC_PARTS = ("cpu_total_mj", "gpu_mj", "gpu_sram_mj", "dram_mj", "ane_mj")
"""Parts of an Apple chip that add up to the whole; Jetson gives a total of its own."""


@dataclass(frozen=True, slots=True)
class WindowSource:
    """Devices, and joules of each between two consecutive calls of ``next_window``.

    Attributes:
        devices: What the joules belong to.
        next_window: Ends the current window, begins the next, and gives the joules by device.
        resolution: Uncertainty of a window's edge, s.
        how: What Zeus does, for the report.
    """

    devices: tuple[Device, ...]
    next_window: Callable[[], Mapping[Device, float]]
    resolution: float
    how: str


class WindowsMeter:
    """Makes ticks out of Zeus' windows: one at each call's completion, at most every 0.2 s."""

    def __init__(self, source: WindowSource) -> None:
        """Begin the first window."""
        self._source = source
        self._joules = dict.fromkeys(source.devices, 0.0)
        self._ticks: dict[Device, list[Tick]] = {device: [] for device in source.devices}
        source.next_window()
        self._note(time.monotonic())

    @property
    def devices(self) -> tuple[Device, ...]:
        return self._source.devices

    @property
    def simulated(self) -> bool:
        return any(device.simulated for device in self.devices)

    @property
    def description(self) -> str:
        return (
            f"Zeus {version('zeus')} windows ({self._source.how}; "
            f"an edge is uncertain by {1000 * self._source.resolution:.0f} ms, "
            f"so 1 s errs by about {self._source.resolution:.0%})"
        )

    @property
    def lock_directory(self) -> Path:
        return Path(tempfile.gettempdir())

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def reads(self, device: Device) -> None:
        """None: a window's joules are no counter's."""

    def period(self, device: Device) -> float:
        del device
        return WINDOW_SECONDS

    def mark(self) -> None:
        now = time.monotonic()
        if now - next(iter(self._ticks.values()))[-1].time < WINDOW_SECONDS:
            return
        for device, joules in self._source.next_window().items():
            self._joules[device] += joules
        self._note(now)

    def held(self) -> AbstractContextManager[None]:
        """Nothing to do: such a window cannot be traced."""
        return nullcontext()

    def ticks(self, device: Device, since: float) -> Sequence[Tick]:
        self.mark()
        return [tick for tick in self._ticks[device] if tick.time >= since]

    def signals(self, device: Device, since: float, until: float) -> Sequence[Signals]:
        """None: these sources tell nothing else."""
        return ()

    def samples(self, device: Device, since: float, until: float) -> Samples:
        """None either."""
        return Samples.of(())

    def processes(self, device: Device) -> Sequence[int] | None:
        """Hidden."""
        return None

    def barrier(self) -> None:
        """Unknown."""

    def invalid(self, device: Device) -> str:
        return ""

    def close(self) -> None:
        """Zeus ends its own helper processes."""

    def _note(self, now: float) -> None:
        for device, joules in self._joules.items():
            self._ticks[device].append(Tick(now, joules))


def old_nvidia_source(gpus: Sequence[Device]) -> WindowSource:
    """GPUs before Volta, by Zeus' sampled power.

    The sampling period is given: left to itself, Zeus finds it by busy polling.
    """
    from zeus.monitor.power import PowerMonitor

    monitor = PowerMonitor([gpu.index for gpu in gpus], update_period=0.1)
    began = time.time()

    def next_window() -> Mapping[Device, float]:
        nonlocal began
        now = time.time()
        energy = monitor.get_energy(began, now)
        if energy is None:
            return {}  # No sample yet: the next window covers this stretch too.
        began = now
        return {gpu: energy.get(gpu.index, 0.0) for gpu in gpus}

    return WindowSource(tuple(gpus), next_window, 0.1, "power sampled every 0.1 s; no energy counter before Volta")


def zeus_source(cpu: bool) -> WindowSource:
    """Everything else that Zeus can measure: AMD GPUs and SoCs, or CPU packages and DRAM on request.

    Raises:
        NoDevice: if Zeus finds nothing.
    """
    from zeus.monitor import ZeusMonitor

    try:
        monitor = ZeusMonitor(gpu_indices=[] if cpu else None, cpu_indices=None if cpu else [])
    except Exception as error:  # Zeus raises errors of many kinds from the libraries below it.
        raise MeterError(f"Zeus cannot start its monitor: {error}") from error
    gpus = [Device(index, monitor.gpus.get_name(index), f"gpu-{index}") for index in monitor.gpu_indices]
    cpus = [Device(index, "CPU package with DRAM", f"cpu-{index}", scope="cpu") for index in monitor.cpu_indices]
    soc = [Device(0, type(monitor.soc).__name__, "soc-0", scope="soc")] if monitor.soc_is_present and not cpu else []
    devices = (*gpus, *cpus, *soc)
    if not devices:
        wanted = "CPU package (RAPL)" if cpu else "GPU or SoC"
        raise NoDevice(f"Zeus finds no {wanted} to measure; {TRY_SIMULATED}")
    running = False

    def next_window() -> Mapping[Device, float]:
        nonlocal running
        measured = monitor.end_window("pytest-joules", sync_execution=False) if running else None
        monitor.begin_window("pytest-joules", sync_execution=False)
        running = True
        return {device: _joules(device, measured) for device in devices} if measured is not None else {}

    how = "RAPL energy counters" if cpu else "energy counters between calls"
    return WindowSource(devices, next_window, 0.02, how)


def _joules(device: Device, measured: Any) -> float:
    if device.scope == "cpu":
        return float(measured.cpu_energy[device.index] + (measured.dram_energy or {}).get(device.index, 0.0))
    if device.scope == "soc":
        total = getattr(measured.soc_energy, "total_energy_mj", None)
        parts = [getattr(measured.soc_energy, part, None) or 0 for part in SOC_PARTS]
        return float(total if total is not None else sum(parts)) / 1000
    return float(measured.gpu_energy[device.index])
