"""The meter on Zeus: NVIDIA GPUs with an energy counter, real or simulated."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from pytest_joules.meters.base import MeterError, NoDevice, identity_of, signals_between
from pytest_joules.meters.nvml import TRY_SIMULATED, NvmlGpu, device_count, driver_version, plain_errors
from pytest_joules.meters.poller import Poller
from pytest_joules.meters.simulated import SimulatedHost
from pytest_joules.meters.ticks import TickGrid
from pytest_joules.model import Device, Read, Signals, Tick
from pytest_joules.profiles import Profiles
from pytest_joules.samples import Samples
from pytest_joules.testing import STATE_VARIABLE


class ZeusMeter:
    """Reads the energy counters of the visible NVIDIA GPUs through Zeus."""

    def __init__(self, environment: Mapping[str, str], simulated: SimulatedHost | None = None) -> None:
        """Find the visible GPUs and start reading them.

        Args:
            environment: Where ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` are looked up.
            simulated: The simulated machine that stands in place of NVML, if one does.

        Raises:
            MeterError: if there is nothing to measure, or it may not be measured.
        """
        gpus = [NvmlGpu(index) for index in range(device_count())]
        visible = visible_indices(environment, [gpu.uuid() for gpu in gpus], [gpu.name() for gpu in gpus])
        if not visible:
            shown = environment.get("CUDA_VISIBLE_DEVICES")
            raise NoDevice(f"CUDA_VISIBLE_DEVICES={shown!r} hides every GPU; {TRY_SIMULATED}")
        self._gpus = [gpus[index] for index in visible]
        self._simulated = simulated
        self._profiles = Profiles.at(environment)
        self._notes: list[str] = []
        self._devices = tuple(self._describe(gpus[index], index) for index in visible)
        if not all(gpu.has_counter() for gpu in self._gpus):
            raise NoEnergyCounter(self._devices)
        for gpu in self._gpus:
            gpu.joules()
        self._poller = Poller(visible, simulated.path if simulated else None)

    @property
    def devices(self) -> tuple[Device, ...]:
        return self._devices

    @property
    def simulated(self) -> bool:
        return self._simulated is not None

    @property
    def description(self) -> str:
        kind = "simulated GPU below Zeus" if self.simulated else "Zeus"
        told = f"{kind} {version('zeus')}, energy counter every {1000 * self._period_max():.0f} ms"
        return "; ".join((told, *self._notes))

    @property
    def lock_directory(self) -> Path:
        # A simulated GPU is private to those who share its state; a real one to the machine.
        return self._simulated.path.parent if self._simulated else Path(tempfile.gettempdir())

    def period(self, device: Device) -> float:
        return self.grid(device).period

    def grid(self, device: Device) -> TickGrid:
        """The tick grid of ``device`` as it is best known now."""
        grid = self._poller.tracker(self.devices.index(device)).grid
        assert grid is not None, "the poller answers only when every grid is known"
        return grid

    def gpu(self, device: Device) -> NvmlGpu:
        """What NVML tells about ``device`` beside its joules."""
        return self._gpus[self.devices.index(device)]

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        self._poller.look()

    def reads(self, device: Device) -> Sequence[Read]:
        return self._poller.tracker(self.devices.index(device)).reads

    def mark(self) -> None:
        """Nothing to do: the counters are read by another process."""

    def held(self) -> AbstractContextManager[None]:
        return self._poller.held()

    def ticks(self, device: Device, since: float) -> Sequence[Tick]:
        return self._poller.tracker(self.devices.index(device)).ticks(since)

    def signals(self, device: Device, since: float, until: float) -> Sequence[Signals]:
        return signals_between(self._poller.signals(self.devices.index(device)), since, until)

    def samples(self, device: Device, since: float, until: float) -> Samples:
        return self._poller.samples(self.devices.index(device), since, until)

    def processes(self, device: Device) -> Sequence[int] | None:
        return self.gpu(device).processes()

    def barrier(self) -> float | None:
        if self._simulated is None:
            return None
        return max(gpu.barrier() for gpu in self._simulated.gpus)

    def invalid(self, device: Device) -> str:
        if self.gpu(device).mig_enabled():
            return f"MIG is enabled on GPU {device.index}: its counter covers the whole board, not one slice"
        if self.gpu(device).shared_by_guests():
            return (
                f"GPU {device.index} is a vGPU, or shared by guests as vGPUs: its counter covers the whole board, "
                "not one guest; measure on a whole GPU (bare metal, or PCI passthrough)"
            )
        return ""

    def close(self) -> None:
        self._poller.close()

    def _period_max(self) -> float:
        return max(self.period(device) for device in self.devices)

    def _describe(self, gpu: NvmlGpu, index: int) -> Device:
        enforced, default = gpu.power_limits()
        with plain_errors(gpu.label):
            driver = driver_version()
        device = Device(
            index=index,
            name=gpu.name(),
            identity=identity_of(gpu.uuid()),
            scope=gpu.scope(),
            power_limit_watts=enforced,
            default_power_limit_watts=default,
            driver=driver,
            simulated=self.simulated,
            settings=gpu.settings(),
        )
        profile, note = self._profiles.load(device)
        if note:
            self._notes.append(note)
        return replace(device, sensor_duty=profile.sensor_duty if profile else None)


class NoEnergyCounter(MeterError):
    """Some GPU has no energy counter (before Volta); Zeus' own windows can still measure ``gpus``."""

    def __init__(self, gpus: tuple[Device, ...]) -> None:
        super().__init__(f"{', '.join(gpu.name for gpu in gpus)}: no energy counter before Volta")
        self.gpus = gpus


def visible_indices(environment: Mapping[str, str], uuids: Sequence[str], names: Sequence[str]) -> list[int]:
    """NVML indices of the GPUs that CUDA shows, in CUDA's order.

    Follows CUDA's own rules for ``CUDA_VISIBLE_DEVICES``: indices or UUIDs
    (which may be abbreviated), and everything behind the first entry that
    names nothing is hidden.

    Raises:
        MeterError: for MIG devices, for an ambiguous UUID, and for indices on
            a machine with different GPUs unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``,
            since only then CUDA counts as NVML does.
    """
    shown = environment.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return list(range(len(uuids)))
    mixed = len(set(names)) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
    visible: list[int] = []
    for entry in (part.strip() for part in shown.split(",")):
        if entry.startswith("MIG"):
            raise MeterError(
                f"CUDA_VISIBLE_DEVICES={shown!r} names a MIG slice; only whole GPUs have an energy counter"
            )
        if entry.startswith("GPU-"):
            matches = [index for index, uuid in enumerate(uuids) if uuid.startswith(entry)]
            if len(matches) > 1:
                raise MeterError(f"CUDA_VISIBLE_DEVICES: {entry!r} fits {len(matches)} GPUs; write more of the UUID")
        elif entry.isdecimal():
            if mixed:
                raise MeterError(
                    "this machine has different GPUs, and CUDA and NVML count them differently: "
                    "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name GPUs by UUID in CUDA_VISIBLE_DEVICES"
                )
            matches = [int(entry)] if int(entry) < len(uuids) else []
        else:
            matches = []
        if not matches or matches[0] in visible:
            break
        visible.append(matches[0])
    return visible


def simulated_host(sku: str, settings: Mapping[str, str], stack: contextlib.ExitStack) -> SimulatedHost:
    """The machine that a parent process shares through the environment, else a new one.

    The new machine, its place in the environment and NVML's replacement last as long as ``stack``.

    Raises:
        MeterError: if the environment names what is no simulated machine.
    """
    shared = os.environ.get(STATE_VARIABLE)
    if shared:
        try:
            host = SimulatedHost.attach(Path(shared))
        except (OSError, ValueError, KeyError) as error:
            raise MeterError(f"{STATE_VARIABLE}={shared}: not a simulated machine's state: {error}") from error
    else:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pytest-joules-simulated-"))
        host = SimulatedHost.create(Path(directory, "state"), sku, settings)
        os.environ[STATE_VARIABLE] = str(host.path)
        stack.callback(os.environ.pop, STATE_VARIABLE, None)
    stack.enter_context(host.in_place_of_nvml())
    return host
