"""A simulated GPU below NVML.

The functions of the ``pynvml`` module are replaced in this process, so that the
real Zeus and the real reading process run on a device that is not there.  Its
state lives in a memory-mapped file that the test process, its children and the
reading process share.

Processor time of the test's process tree draws watts while no declared work
runs, so that a test of nothing but Python has joules, too.

The device behaves as an H200 was measured to (docs/measurement.md): its energy
counter ticks every 100 ms, a read takes 3 ms and 15 ms just after a tick, a
power-capped load overshoots, dips and settles within 1.1 s, and power rises
with temperature.  Work is declared in FLOPs and bytes; a roofline gives its
seconds and joules.

Declared work costs the same joules on a slow or busy host because the host
never starves the device: :meth:`SimulatedGpu.barrier` lets the host run ahead
of the queue by up to 100 ms, and completion times come from the device's own
queue.  As long as the host is never later than that, the device works without
a gap, and joules, seconds and watts depend on the declaration alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import mmap
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any, NoReturn

import psutil
import pynvml
from filelock import FileLock

from pytest_joules.options import SIMULATED_FAULTS

PERIOD = 0.1
READ_SECONDS = 0.003
READ_SECONDS_AFTER_TICK = 0.015
RUN_AHEAD = 0.1
LOOK_SECONDS = 0.025
"""How long the sensor looks in each period under the fault ``part-time``: an A100's does so (arXiv 2312.02741)."""

BOOST_MHZ = 1980
HOST_WATTS = 50.0
"""Simulated watts that one busy host core draws on the first device while no declared work runs there."""

CAP_TRANSIENT = ((0.0, 857 / 700), (0.07, 857 / 700), (0.15, 1.0), (0.5, 1.0), (0.9, 574 / 700), (1.1, 1.0))
"""Power of a capped load over the cap by seconds since its start; measured on an H200 at 700 W."""

LEAKAGE_PER_CELSIUS = 0.002
TICK_NOISE = 0.001
SESSION_NOISE = 0.0015
"""Relative standard deviations; H200 sessions differed by 0.0011 to 0.0028."""

_FOREIGN_PID = 1
_RING = 4096
_MAX_PIDS = 32


@dataclass(frozen=True, slots=True)
class SimulatedSku:
    """The constants of one product.

    Peak FLOP/s and bytes/s are what a large bf16 matrix product and a large
    copy reach; joules per FLOP and byte are what they cost above idle.
    """

    name: str
    power_limit_watts: float
    idle_watts: float
    context_watts: float
    flops_per_second: float
    bytes_per_second: float
    joules_per_flop: float = 0.8e-12
    joules_per_byte: float = 100e-12


SKUS: Mapping[str, SimulatedSku] = {
    "h100-sxm": SimulatedSku("NVIDIA H100 80GB HBM3", 700, 70, 115, 900e12, 3.0e12),
    "h200": SimulatedSku("NVIDIA H200", 700, 80, 124, 900e12, 4.3e12),
    "b200": SimulatedSku("NVIDIA B200", 1000, 140, 200, 1900e12, 7.0e12, joules_per_flop=0.5e-12),
}
"""H200: measured idle and copy rate; the others scaled by their data sheets."""


class _Segment(ctypes.Structure):
    _fields_ = (("start", ctypes.c_double), ("end", ctypes.c_double), ("watts", ctypes.c_double))
    start: float
    end: float
    watts: float


class _State(ctypes.Structure):
    _fields_ = (
        ("edge", ctypes.c_double),
        ("ticks", ctypes.c_int64),
        ("joules", ctypes.c_double),
        ("watts", ctypes.c_double),
        ("celsius", ctypes.c_double),
        ("busy_since", ctypes.c_double),
        ("busy_until", ctypes.c_double),
        ("queue_end", ctypes.c_double),
        ("host_seconds", ctypes.c_double),
        ("fault", ctypes.c_int32),
        ("capped", ctypes.c_int32),
        ("head", ctypes.c_int64),
        ("tail", ctypes.c_int64),
        ("pids", ctypes.c_int32 * _MAX_PIDS),
        ("segments", _Segment * _RING),
    )
    edge: float
    ticks: int
    joules: float
    watts: float
    celsius: float
    busy_since: float
    busy_until: float
    queue_end: float
    host_seconds: float
    fault: int
    capped: int
    head: int
    tail: int
    pids: ctypes.Array[ctypes.c_int32]
    segments: ctypes.Array[_Segment]


class _Header(ctypes.Structure):
    _fields_ = (("seed", ctypes.c_int64), ("gpus", ctypes.c_int32), ("sku", ctypes.c_char * 32))
    seed: int
    gpus: int
    sku: bytes


class SimulatedGpu:
    """One device of a :class:`SimulatedHost`; every method is safe across processes."""

    def __init__(self, index: int, sku: SimulatedSku, seed: int, state: _State, lock: FileLock) -> None:
        self.index = index
        self.sku = sku
        self._seed = seed
        self._state = state
        self._lock = lock

    def launch(self, flops: float, bytes_moved: float) -> None:
        """Queue work of so many FLOPs and bytes behind what is queued already."""
        sku = self.sku
        seconds = max(flops / sku.flops_per_second, bytes_moved / sku.bytes_per_second)
        joules = flops * sku.joules_per_flop + bytes_moved * sku.joules_per_byte
        seconds = max(seconds, joules / (sku.power_limit_watts - sku.context_watts))
        while not self._enqueue(seconds, joules / seconds):
            time.sleep(PERIOD / 4)

    def barrier(self) -> float:
        """Wait until the host is no more than ``RUN_AHEAD`` before the device.

        Returns:
            When the device completes, or has completed, all work queued so far.
        """
        while (lead := self.queue_end - time.monotonic()) > RUN_AHEAD:
            time.sleep(lead - RUN_AHEAD)
        return self.queue_end

    @property
    def queue_end(self) -> float:
        """When the queue runs, or ran, empty."""
        return self._state.queue_end

    @property
    def fault(self) -> str:
        return SIMULATED_FAULTS[self._state.fault]

    def inject(self, fault: str) -> None:
        """Make something go wrong from now on."""
        with self._lock:
            self._state.fault = SIMULATED_FAULTS.index(fault)
            if fault == "reset":
                self._state.joules = 0.0

    def read_counter(self) -> int:
        """The energy counter in mJ, at the cost of a read."""
        now = time.monotonic()
        since_tick = (now - self._state.edge) % PERIOD
        time.sleep(READ_SECONDS_AFTER_TICK if since_tick < READ_SECONDS_AFTER_TICK / 2 else READ_SECONDS)
        with self._lock:
            self._advance(now + READ_SECONDS / 2)
            return round(self._state.joules * 1000)

    def account_for_host(self, seconds: float) -> None:
        """Let the host's processor time draw watts here."""
        with self._lock:
            self._state.host_seconds += seconds

    @property
    def watts(self) -> float:
        """Mean power of the last tick."""
        return self._state.watts

    @property
    def celsius(self) -> float:
        return self._state.celsius

    @property
    def busy(self) -> bool:
        return self._state.queue_end > time.monotonic()

    @property
    def capped(self) -> bool:
        return self.busy and bool(self._state.capped)

    @property
    def processes(self) -> list[int]:
        """Living processes that have launched work here."""
        pids = [pid for pid in self._state.pids if pid and psutil.pid_exists(pid)]
        return [*pids, _FOREIGN_PID] if self.fault == "foreign" else pids

    def _enqueue(self, seconds: float, watts: float) -> bool:
        state = self._state
        with self._lock:
            now = time.monotonic()
            self._advance(now)
            start = max(now, state.queue_end)
            last = state.segments[(state.tail - 1) % _RING] if state.tail > state.head else None
            if last is not None and last.end == start and abs(last.watts - watts) <= 1e-9 * watts:
                last.end = start + seconds
            elif state.tail - state.head < _RING:
                state.segments[state.tail % _RING] = _Segment(start, start + seconds, watts)
                state.tail += 1
            else:
                return False
            state.queue_end = start + seconds
            pid = os.getpid()
            if pid not in state.pids:
                state.pids[next((i for i, p in enumerate(state.pids) if not psutil.pid_exists(p) or not p), 0)] = pid
            return True

    def _advance(self, now: float) -> None:
        """Integrate power over every tick that is complete at ``now``."""
        state, sku = self._state, self.sku
        if self.fault == "stuck":
            return
        count = int((now - state.edge) / PERIOD)
        host_watts = state.host_seconds * HOST_WATTS / (count * PERIOD) if count else 0.0
        if count:
            state.host_seconds = 0.0
        noise = random.Random(f"{self._seed}/{self.index}").gauss(1, SESSION_NOISE)
        for _ in range(count):
            opens, closes = state.edge, state.edge + PERIOD
            looked = LOOK_SECONDS if self.fault == "part-time" else PERIOD
            work = self._work_watts(opens, closes, looked)
            static = sku.context_watts if state.tail else sku.idle_watts
            # What declared work costs must not depend on the host, so the host draws only where there is none.
            watts = static + (work or host_watts)
            state.capped = watts > 0.99 * sku.power_limit_watts
            if state.capped:
                watts *= _interpolate(CAP_TRANSIENT, opens + PERIOD / 2 - state.busy_since)
            else:
                watts *= 1 + LEAKAGE_PER_CELSIUS * (state.celsius - 40)
            watts *= noise * random.Random(f"{self._seed}/{self.index}/{state.ticks}").gauss(1, TICK_NOISE)
            state.watts = 0.0 if self.fault == "zero" else watts
            state.joules += state.watts * PERIOD
            state.celsius += (30 + 0.045 * watts - state.celsius) * PERIOD / 60
            state.edge = closes
            state.ticks += 1

    def _work_watts(self, opens: float, closes: float, looked: float) -> float:
        """Mean power of the work in the first ``looked`` seconds of a tick, for the whole of it."""
        state = self._state
        joules = 0.0
        while state.head < state.tail:
            segment = state.segments[state.head % _RING]
            joules += segment.watts * max(0.0, min(segment.end, opens + looked) - max(segment.start, opens))
            if min(segment.end, closes) > max(segment.start, opens):
                if segment.start - state.busy_until > 3 * PERIOD:
                    state.busy_since = segment.start
                state.busy_until = min(segment.end, closes)
            if segment.end > closes:
                break
            state.head += 1
        return joules / looked


class SimulatedHost:
    """All simulated devices of one machine, in one shared file."""

    def __init__(self, path: Path) -> None:
        """Attach to the state at ``path``; use :meth:`create` or :meth:`attach`."""
        self.path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        header = _Header.from_buffer(self._memory)
        states = (_State * header.gpus).from_buffer(self._memory, ctypes.sizeof(_Header))
        lock = FileLock(f"{path}.lock")
        sku = SKUS[header.sku.decode()]
        self.sku_name = header.sku.decode()
        self.gpus = tuple(SimulatedGpu(i, sku, header.seed, state, lock) for i, state in enumerate(states))

    @classmethod
    def create(cls, path: Path, sku: str, settings: Mapping[str, str]) -> SimulatedHost:
        """Make a machine with cold devices; ``settings`` may give ``gpus``, ``seed`` and ``fault``."""
        gpus = int(settings.get("gpus", "1"))
        seed = int(settings["seed"]) if "seed" in settings else random.SystemRandom().getrandbits(32)
        path.write_bytes(bytes(ctypes.sizeof(_Header) + gpus * ctypes.sizeof(_State)))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[: ctypes.sizeof(_Header)] = bytes(_Header(seed, gpus, sku.encode()))
        host = cls(path)
        now = time.monotonic()
        for gpu in host.gpus:
            # Each device's counter ticks on a phase of its own.
            gpu._state.edge = now - 0.037 * gpu.index - PERIOD
            gpu._state.joules = 1e6
            gpu._state.celsius = 35.0
            gpu._state.busy_until = -1e9
            gpu.inject(settings.get("fault", "none"))
        return host

    @classmethod
    def attach(cls, path: Path) -> SimulatedHost:
        """Share the machine that another process made."""
        return cls(path)

    @contextlib.contextmanager
    def in_place_of_nvml(self, accounts_for: int | None = None) -> Iterator[None]:
        """Replace every function of ``pynvml``: simulated where Zeus and we call it, refused elsewhere.

        Args:
            accounts_for: A process whose tree's processor time draws watts on the
                first device at every read; only one process may say so.
        """
        host_cpu = _HostCpu(accounts_for) if accounts_for is not None else None
        real = {name: value for name, value in vars(pynvml).items() if _is_nvml_function(name, value)}
        simulated = self._functions(host_cpu)
        try:
            for name in real:
                setattr(pynvml, name, simulated.get(name, _refuse))
            yield
        finally:
            for name, function in real.items():
                setattr(pynvml, name, function)

    def _functions(self, host_cpu: _HostCpu | None) -> dict[str, Callable[..., Any]]:
        def handle(index: int) -> SimulatedGpu:
            if not 0 <= index < len(self.gpus):
                raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
            return self.gpus[index]

        def counter(gpu: SimulatedGpu) -> int:
            _raise_fault(gpu, {"no-permission": pynvml.NVML_ERROR_NO_PERMISSION})
            if host_cpu is not None and gpu.index == 0:
                gpu.account_for_host(host_cpu.seconds())
            return gpu.read_counter()

        def fields(gpu: SimulatedGpu, wanted: list[tuple[int, int]]) -> list[SimpleNamespace]:
            del wanted  # Average and instantaneous power are the same here.
            value = SimpleNamespace(uiVal=round(gpu.watts * 1000))
            return [SimpleNamespace(nvmlReturn=pynvml.NVML_SUCCESS, value=value)]

        def processes(gpu: SimulatedGpu) -> list[SimpleNamespace]:
            _raise_fault(gpu, {"hidden": pynvml.NVML_ERROR_NOT_SUPPORTED})
            return [SimpleNamespace(pid=pid) for pid in gpu.processes]

        def reasons(gpu: SimulatedGpu) -> int:
            if gpu.fault == "thermal":
                return int(pynvml.nvmlClocksThrottleReasonHwThermalSlowdown)
            if gpu.capped:
                return int(pynvml.nvmlClocksThrottleReasonSwPowerCap)
            return 0 if gpu.busy else int(pynvml.nvmlClocksThrottleReasonGpuIdle)

        def architecture(gpu: SimulatedGpu) -> int:
            old = gpu.fault == "no-counter"
            return int(pynvml.NVML_DEVICE_ARCH_PASCAL if old else pynvml.NVML_DEVICE_ARCH_HOPPER)

        return {
            "nvmlInit": lambda: None,
            "nvmlInitWithFlags": lambda flags: None,
            "nvmlShutdown": lambda: None,
            "nvmlErrorString": lambda code: f"simulated NVML error {code}",
            "nvmlSystemGetDriverVersion": lambda: "simulated",
            "nvmlDeviceGetCount": lambda: len(self.gpus),
            "nvmlDeviceGetHandleByIndex": handle,
            "nvmlDeviceGetName": lambda gpu: gpu.sku.name,
            "nvmlDeviceGetUUID": lambda gpu: f"GPU-simulated-{self.sku_name}-{gpu.index}",
            "nvmlDeviceGetArchitecture": architecture,
            "nvmlDeviceGetPowerManagementLimit": lambda gpu: round(gpu.sku.power_limit_watts * 1000),
            "nvmlDeviceGetPowerManagementDefaultLimit": lambda gpu: round(gpu.sku.power_limit_watts * 1000),
            "nvmlDeviceGetPersistenceMode": lambda gpu: pynvml.NVML_FEATURE_ENABLED,
            "nvmlDeviceGetVirtualizationMode": lambda gpu: pynvml.NVML_GPU_VIRTUALIZATION_MODE_NONE,
            "nvmlDeviceGetApplicationsClock": lambda gpu, clock: BOOST_MHZ,
            "nvmlDeviceGetDefaultApplicationsClock": lambda gpu, clock: BOOST_MHZ,
            "nvmlDeviceGetMaxClockInfo": lambda gpu, clock: BOOST_MHZ,
            "nvmlGpmQueryDeviceSupport": lambda gpu: SimpleNamespace(isSupportedDevice=1),
            "nvmlGpmSampleAlloc": object,
            "nvmlGpmSampleGet": lambda gpu, sample: sample,
            "nvmlGpmSampleFree": lambda sample: None,
            "nvmlDeviceGetMigMode": lambda gpu: [int(gpu.fault == "mig")] * 2,
            "nvmlDeviceGetTotalEnergyConsumption": counter,
            "nvmlDeviceGetFieldValues": fields,
            "nvmlDeviceGetTemperatureV": lambda gpu, sensor: round(gpu.celsius),
            "nvmlDeviceGetClockInfo": lambda gpu, clock: (1500 if gpu.capped else BOOST_MHZ) if gpu.busy else 345,
            "nvmlDeviceGetCurrentClocksEventReasons": reasons,
            "nvmlDeviceGetComputeRunningProcesses": processes,
        }


class _HostCpu:
    """Processor time of a process tree, without the calling process."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._seen: dict[int, float] = {}
        self.seconds()

    def seconds(self) -> float:
        """Processor seconds spent since the last call."""
        spent = 0.0
        for pid in self._tree():
            with contextlib.suppress(OSError, psutil.Error):
                now = _cpu_seconds(pid)
                spent += now - self._seen.get(pid, now)
                self._seen[pid] = now
        return spent

    def _tree(self) -> list[int]:
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self._root).children(recursive=True)
            return [self._root, *(child.pid for child in children if child.pid != os.getpid())]
        return []


def _cpu_seconds(pid: int) -> float:
    if hasattr(time, "clock_gettime") and Path("/proc/self").exists():
        # Linux numbers a process's processor clock so; it counts nanoseconds where /proc counts 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _is_nvml_function(name: str, value: object) -> bool:
    return name.startswith("nvml") and isinstance(value, FunctionType)


def _refuse(*args: object) -> NoReturn:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def _raise_fault(gpu: SimulatedGpu, codes: Mapping[str, int]) -> None:
    code = {"lost": pynvml.NVML_ERROR_GPU_IS_LOST, **codes}.get(gpu.fault)
    if code is not None:
        raise pynvml.NVMLError(code)


def _interpolate(points: tuple[tuple[float, float], ...], x: float) -> float:
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x < x1:
            return y0 + (y1 - y0) * max(0.0, x - x0) / (x1 - x0)
    return points[-1][1]
