"""A simulated GPU below NVML.

The functions of the ``pynvml`` module are replaced in this process, so that the
real Zeus and the real reading process run on a device that is not there.  Its
state lives in a memory-mapped file that the test process, its children and the
reading process share.

Processor time of the test's process tree draws watts while no declared work
runs, so that a test of nothing but Python has joules, too.

Its other signals follow from the declared work: SMs are active while it
computes or moves bytes, pipes and memory for their share of their peak, and the
slowdown counters rise with the power cap and with the fault ``thermal``.

The device behaves as an H200 was measured to (docs/measurement.md): its energy
counter ticks every 100 ms, a read takes 3 ms and 15 ms just after a tick, a
power-capped load overshoots, dips and settles within 1.1 s, and power rises
with temperature.  Work is declared in FLOPs and bytes; a roofline gives its
seconds and joules.

Declared work costs the same joules on a slow or busy host because the host
never starves the device: :meth:`SimulatedGpu.barrier` lets the host run ahead
of the queue by up to 250 ms, and completion times come from the device's own
queue.  As long as the host is never later than that, the device works without
a gap, and joules, seconds and watts depend on the declaration alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import mmap
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any, NoReturn

import psutil
import pynvml

from pytest_joules.meters.hostcpu import HostCpu
from pytest_joules.meters.nvml import GPM_SHARES, MIB, SLOWDOWN_COUNTERS
from pytest_joules.options import SIMULATED_FAULTS, WITHHOLDABLE

PERIOD = 0.1
READ_SECONDS = 0.003
READ_SECONDS_AFTER_TICK = 0.015
RUN_AHEAD = 0.25
LOOK_SECONDS = 0.025
"""How long the sensor looks in each period under the fault ``part-time``: an A100's does so (arXiv 2312.02741)."""

BOOST_MHZ = 1980
LEAST_VOLTAGE = 0.5
"""Of the voltage at :data:`BOOST_MHZ`, at a clock near zero.  Dynamic power goes with V² f (Mei, Wang, Chu, *A survey
and measurement study of GPU DVFS on energy conservation*, arXiv 1610.01784); the straight line between is assumed."""

PIPE_SPEED = {"tensor": 1.0, "fp32": 66.9 / 989.4, "fp16": 133.8 / 989.4, "integer": 33.5 / 989.4}
"""Peak operations per second by those of bf16 on tensor cores, as the H100 white paper has them for the SXM5 board.
A pipe at its peak is assumed to draw what tensor cores do at theirs."""

DRAM_JOULES_PER_BYTE = 31e-12
"""Of the joules of a byte those that no core clock changes: 3.9 pJ a bit in HBM2 (O'Connor et al., *Fine-grained DRAM*,
MICRO 2017)."""

LINK_JOULES_PER_BYTE = 10e-12
"""1.3 pJ a bit, as NVIDIA states for NVLink-C2C."""

OCCUPANCY = 0.5
"""Of the warps that an active SM could hold; assumed."""

CONTEXT_BYTES = 500e6
"""Device memory that a process takes; assumed."""

RATES = ("sm", *PIPE_SPEED, "dram", "link")
"""What each piece of work keeps busy: shares of the time, and of the link bytes per second."""

HOST_WATTS = 50.0
"""Simulated watts that one busy host core draws on the first device while no declared work runs there."""

IDLE_MHZ = 345
LINGER_SECONDS = 1.0
"""How long a device keeps its clock after its last work; assumed.  H200s kept theirs at 1980 MHz through loops in which
they waited for their host (``benchmarks/results/acceptance/hostbound``)."""

COLD_CELSIUS = 35
AMBIENT_CELSIUS = 30

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
    copy reach; joules per FLOP and byte are what they cost above idle.  Memory,
    its bus and clock, and the links are those of the data sheet.
    """

    name: str
    power_limit_watts: float
    idle_watts: float
    context_watts: float
    flops_per_second: float
    bytes_per_second: float
    memory_bytes: float
    bus_bits: int
    memory_mhz: int
    link_bytes_per_second: float
    joules_per_flop: float = 0.8e-12
    joules_per_byte: float = 100e-12

    @property
    def peak_bytes_per_second(self) -> float:
        """What the memory bus could move."""
        return 2 * self.memory_mhz * 1e6 * self.bus_bits / 8

    def at(self, mhz: int) -> SimulatedSku:
        """The same at another SM clock: FLOPs take longer, and what the core's voltage drives costs less."""
        clock = mhz / BOOST_MHZ
        square = (LEAST_VOLTAGE + (1 - LEAST_VOLTAGE) * clock) ** 2
        return replace(
            self,
            flops_per_second=self.flops_per_second * clock,
            joules_per_flop=self.joules_per_flop * square,
            joules_per_byte=DRAM_JOULES_PER_BYTE + (self.joules_per_byte - DRAM_JOULES_PER_BYTE) * square,
        )


SKUS: Mapping[str, SimulatedSku] = {
    "h100-sxm": SimulatedSku("NVIDIA H100 80GB HBM3", 700, 70, 115, 900e12, 3.0e12, 80e9, 5120, 2619, 900e9),
    "h200": SimulatedSku("NVIDIA H200", 700, 80, 124, 900e12, 4.3e12, 141e9, 6144, 3201, 900e9),
    "b200": SimulatedSku(
        "NVIDIA B200", 1000, 140, 200, 1900e12, 7.0e12, 180e9, 8192, 3996, 1800e9, joules_per_flop=0.5e-12
    ),
}
"""H200: measured idle and copy rate; the others scaled by their data sheets."""


_Rates = ctypes.c_double * len(RATES)


class _Segment(ctypes.Structure):
    _fields_ = (
        ("start", ctypes.c_double),
        ("end", ctypes.c_double),
        ("watts", ctypes.c_double),
        ("clock", ctypes.c_double),
        ("rates", _Rates),
    )
    start: float
    end: float
    watts: float
    clock: float
    rates: ctypes.Array[ctypes.c_double]


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
        ("ambient", ctypes.c_double),
        ("held_bytes", ctypes.c_double),
        ("clock", ctypes.c_double),
        ("capped_seconds", ctypes.c_double),
        ("hot_seconds", ctypes.c_double),
        ("worked", _Rates),
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
    ambient: float
    held_bytes: float
    clock: float
    capped_seconds: float
    hot_seconds: float
    worked: ctypes.Array[ctypes.c_double]
    fault: int
    capped: int
    head: int
    tail: int
    pids: ctypes.Array[ctypes.c_int32]
    segments: ctypes.Array[_Segment]


class _Header(ctypes.Structure):
    _fields_ = (
        ("seed", ctypes.c_int64),
        ("gpus", ctypes.c_int32),
        ("withheld", ctypes.c_int32),
        ("cap", ctypes.c_int32),
        ("limit", ctypes.c_int32),
        ("mhz", ctypes.c_int32),
        ("sku", ctypes.c_char * 32),
    )
    seed: int
    gpus: int
    withheld: int
    cap: int
    limit: int
    mhz: int
    sku: bytes


class _GpmSample(ctypes.Structure):
    """What stands behind the opaque handle of a GPM sample."""

    _fields_ = (("time", ctypes.c_double), ("worked", _Rates))
    time: float
    worked: ctypes.Array[ctypes.c_double]


@dataclass(frozen=True, slots=True)
class Work:
    """Work for a simulated GPU.

    Attributes:
        flops: Operations.
        bytes: Bytes through device memory.
        link_bytes: Bytes over its links.
        pipe: Which of :data:`PIPE_SPEED` does the operations.
    """

    flops: float = 0.0
    bytes: float = 0.0
    link_bytes: float = 0.0
    pipe: str = "tensor"


class _Lock:
    """Excludes the other threads and processes that share a file.

    Not a ``filelock``: that looks again after 50 ms when somebody else was first, a fifth of what the host may be late,
    and takes ten times as long when nobody was.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        alive = weakref.ref(self)

        def reopen() -> None:
            # A child that used its parent's would lock nothing.
            if (lock := alive()) is not None:
                lock._open()

        os.register_at_fork(after_in_child=reopen)

    def _open(self) -> None:
        self._threads = threading.Lock()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT)
        weakref.finalize(self, os.close, self._file)

    def __enter__(self) -> None:
        self._threads.acquire()
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()


class SimulatedGpu:
    """One device of a :class:`SimulatedHost`; every method is safe across processes."""

    def __init__(self, index: int, sku: SimulatedSku, header: _Header, state: _State, lock: _Lock) -> None:
        self.index = index
        self.mhz = header.mhz
        self.sku = sku.at(header.mhz)
        self.power_limit_watts = float(header.limit or sku.power_limit_watts)
        # What holds the power down without the driver's limit is something outside, such as a rack's controller.
        self._cap = min(self.power_limit_watts, float(header.cap or self.power_limit_watts))
        self._seed = header.seed
        self._state = state
        self._lock = lock

    def launch(self, work: Work) -> None:
        """Queue work behind what is queued already."""
        sku, speed = self.sku, PIPE_SPEED[work.pipe]
        computing = work.flops / (sku.flops_per_second * speed)
        moving = work.bytes / sku.bytes_per_second
        sending = work.link_bytes / sku.link_bytes_per_second
        seconds = max(computing, moving, sending)
        joules = (
            work.flops * sku.joules_per_flop / speed
            + work.bytes * sku.joules_per_byte
            + work.link_bytes * LINK_JOULES_PER_BYTE
        )
        # Under the cap the clock gives way.  SMs and pipes count cycles, so that they stay as active as they were.
        held = max(seconds, joules / (self._cap - sku.context_watts))
        rates = dict.fromkeys(RATES, 0.0)
        rates["sm"] = max(computing, moving) / seconds
        rates[work.pipe] = computing / seconds
        rates["dram"] = work.bytes / sku.peak_bytes_per_second / held
        rates["link"] = work.link_bytes / held
        segment = (joules / held, seconds / held, tuple(rates.values()))
        while not self._enqueue(held, *segment):
            time.sleep(PERIOD / 4)

    def hold(self, memory_bytes: float) -> None:
        """Let so many bytes of device memory be in use."""
        self._state.held_bytes = memory_bytes

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
    def clock_mhz(self) -> float:
        """The SM clock; a device that rests has a low one."""
        rests = self._state.queue_end < time.monotonic() - LINGER_SECONDS
        return IDLE_MHZ if rests else self.mhz * self._state.clock

    @property
    def memory_used(self) -> float:
        """Bytes in use, once a process has a context."""
        return CONTEXT_BYTES + self._state.held_bytes if self._state.tail else 0.0

    def slowed_seconds(self, name: str) -> float:
        """What one of the slowdown counters has come to, s."""
        return {"power_cap_share": self._state.capped_seconds, "hardware_thermal_share": self._state.hot_seconds}.get(
            name, 0.0
        )

    def sample(self, into: _GpmSample) -> None:
        """Note the time, and what was worked by then."""
        with self._lock:
            now = time.monotonic()
            self._advance(now)
            into.time, into.worked = now, self._state.worked
            self._add_work(into.worked, self._state.edge, now)

    @property
    def processes(self) -> list[int]:
        """Living processes that have launched work here."""
        pids = [pid for pid in self._state.pids if pid and psutil.pid_exists(pid)]
        return [*pids, _FOREIGN_PID] if self.fault == "foreign" else pids

    def _enqueue(self, seconds: float, watts: float, clock: float, rates: tuple[float, ...]) -> bool:
        state = self._state
        with self._lock:
            now = time.monotonic()
            self._advance(now)
            start = max(now, state.queue_end)
            last = state.segments[(state.tail - 1) % _RING] if state.tail > state.head else None
            if last is not None and last.end == start and _alike((watts, *rates), (last.watts, *last.rates)):
                last.end = start + seconds
            elif state.tail - state.head < _RING:
                state.segments[state.tail % _RING] = _Segment(start, start + seconds, watts, clock, _Rates(*rates))
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
            self._add_work(state.worked, opens, closes)
            work = self._work_watts(opens, closes, looked)
            static = sku.context_watts if state.tail else sku.idle_watts
            # What declared work costs must not depend on the host, so the host draws only where there is none.
            watts = static + (work or host_watts)
            state.capped = watts > 0.99 * self._cap
            state.hot_seconds += PERIOD * (self.fault == "thermal")
            if state.capped:
                state.capped_seconds += PERIOD
                watts *= _interpolate(CAP_TRANSIENT, opens + PERIOD / 2 - state.busy_since)
            else:
                watts *= 1 + LEAKAGE_PER_CELSIUS * (state.celsius - 40)
            watts *= noise * random.Random(f"{self._seed}/{self.index}/{state.ticks}").gauss(1, TICK_NOISE)
            state.watts = 0.0 if self.fault == "zero" else watts
            state.joules += state.watts * PERIOD
            state.celsius += (state.ambient + 0.045 * watts - state.celsius) * PERIOD / 60
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
                state.clock = segment.clock
            if segment.end > closes:
                break
            state.head += 1
        return joules / looked

    def _add_work(self, worked: ctypes.Array[ctypes.c_double], opens: float, closes: float) -> None:
        """Add what the queue does in a stretch of time that no tick has been made of yet."""
        state = self._state
        for number in range(state.head, state.tail):
            segment = state.segments[number % _RING]
            if segment.start >= closes:
                break
            overlap = max(0.0, min(segment.end, closes) - max(segment.start, opens))
            for place, rate in enumerate(segment.rates):
                worked[place] += rate * overlap


_WITHHELD = {
    "gpm": ("nvmlGpmQueryDeviceSupport", "nvmlGpmSampleGet", "nvmlGpmMetricsGet"),
    "reasons": ("nvmlDeviceGetCurrentClocksEventReasons",),
    "memory": ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryBusWidth"),
    "clocks": ("nvmlDeviceGetClockInfo", "nvmlDeviceGetApplicationsClock", "nvmlDeviceGetMaxClockInfo"),
    "temperature": ("nvmlDeviceGetTemperatureV",),
}
"""Functions that refuse where a group of signals is withheld; those of the others refuse in part, or are not NVML's."""


class SimulatedHost:
    """All simulated devices of one machine, in one shared file."""

    def __init__(self, path: Path) -> None:
        """Attach to the state at ``path``; use :meth:`create` or :meth:`attach`."""
        self.path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        header = _Header.from_buffer(self._memory)
        states = (_State * header.gpus).from_buffer(self._memory, ctypes.sizeof(_Header))
        lock = _Lock(Path(f"{path}.lock"))
        self.sku_name = header.sku.decode()
        sku = SKUS[self.sku_name]
        self.gpus = tuple(SimulatedGpu(i, sku, header, state, lock) for i, state in enumerate(states))
        self._withheld = header.withheld

    @classmethod
    def create(cls, path: Path, sku: str, settings: Mapping[str, str]) -> SimulatedHost:
        """Make a machine with cold devices; ``settings`` are those of ``simulated:`` (:mod:`pytest_joules.options`)."""
        gpus = int(settings.get("gpus", "1"))
        seed = int(settings["seed"]) if "seed" in settings else random.SystemRandom().getrandbits(32)
        groups = settings.get("withhold", "").split("+")
        celsius = float(settings.get("celsius", COLD_CELSIUS))
        path.write_bytes(bytes(ctypes.sizeof(_Header) + gpus * ctypes.sizeof(_State)))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            withheld = sum(1 << WITHHOLDABLE.index(name) for name in set(filter(None, groups)))
            defaults = {"cap": 0, "limit": 0, "mhz": BOOST_MHZ}
            numbers = (int(settings.get(name, default)) for name, default in defaults.items())
            memory[: ctypes.sizeof(_Header)] = bytes(_Header(seed, gpus, withheld, *numbers, sku.encode()))
        host = cls(path)
        now = time.monotonic()
        for gpu in host.gpus:
            # Each device's counter ticks on a phase of its own.
            gpu._state.edge = now - 0.037 * gpu.index - PERIOD
            gpu._state.joules = 1e6
            gpu._state.celsius = celsius
            gpu._state.ambient = AMBIENT_CELSIUS + celsius - COLD_CELSIUS
            gpu._state.busy_until = -1e9
            gpu.inject(settings.get("fault", "none"))
        return host

    @classmethod
    def attach(cls, path: Path) -> SimulatedHost:
        """Share the machine that another process made."""
        return cls(path)

    def withholds(self, group: str) -> bool:
        """Whether the machine does not tell this group of signals."""
        return bool(self._withheld >> WITHHOLDABLE.index(group) & 1)

    @contextlib.contextmanager
    def in_place_of_nvml(self, accounts_for: int | None = None) -> Iterator[None]:
        """Replace every function of ``pynvml``: simulated where Zeus and we call it, refused elsewhere.

        Args:
            accounts_for: A process whose tree's processor time draws watts on the
                first device at every read; only one process may say so.
        """
        host_cpu = HostCpu(accounts_for) if accounts_for is not None else None
        real = {name: value for name, value in vars(pynvml).items() if _is_nvml_function(name, value)}
        simulated = self._functions(host_cpu)
        try:
            for name in real:
                setattr(pynvml, name, simulated.get(name, _refuse))
            yield
        finally:
            for name, function in real.items():
                setattr(pynvml, name, function)

    def _functions(self, host_cpu: HostCpu | None) -> dict[str, Callable[..., Any]]:
        def handle(index: int) -> SimulatedGpu:
            if not 0 <= index < len(self.gpus):
                raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
            return self.gpus[index]

        counters = {field: name for name, field in SLOWDOWN_COUNTERS.items()}
        accounted = 0.0

        def counter(gpu: SimulatedGpu) -> int:
            _raise_fault(gpu, {"no-permission": pynvml.NVML_ERROR_NO_PERMISSION})
            nonlocal accounted
            if host_cpu is not None and gpu.index == 0:
                before, accounted = accounted, host_cpu.seconds()
                gpu.account_for_host(accounted - before)
            return gpu.read_counter()

        def fields(gpu: SimulatedGpu, wanted: list[Any]) -> list[SimpleNamespace]:
            return [field(gpu, wish) for wish in wanted]

        def field(gpu: SimulatedGpu, wanted: Any) -> SimpleNamespace:
            if wanted not in counters:  # Average and instantaneous power are the same here.
                value = SimpleNamespace(uiVal=round(gpu.watts * 1000))
            elif self.withholds("slowdown"):
                return SimpleNamespace(nvmlReturn=pynvml.NVML_ERROR_NOT_SUPPORTED)
            else:
                value = SimpleNamespace(ullVal=round(gpu.slowed_seconds(counters[wanted]) * 1e9))
            return SimpleNamespace(nvmlReturn=pynvml.NVML_SUCCESS, value=value)

        def clock(gpu: SimulatedGpu, kind: int) -> int:
            return gpu.sku.memory_mhz if kind == pynvml.NVML_CLOCK_MEM else round(gpu.clock_mhz)

        def allocate() -> Any:
            sample = _GpmSample()
            handle = ctypes.cast(ctypes.pointer(sample), pynvml.c_nvmlGpmSample_t)
            handle.kept_alive = sample
            return handle

        def take(gpu: SimulatedGpu, handle: Any) -> Any:
            gpu.sample(_behind(handle))
            return handle

        def metrics(request: Any) -> Any:
            earlier, later = _behind(request.sample1), _behind(request.sample2)
            seconds = later.time - earlier.time
            if seconds <= 0:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
            rates = {name: (later.worked[i] - earlier.worked[i]) / seconds for i, name in enumerate(RATES)}
            told = _gpm_metrics(rates)
            for answer in itertools.islice(request.metrics, request.numMetrics):
                known = answer.metricId in told
                answer.nvmlReturn = pynvml.NVML_SUCCESS if known else pynvml.NVML_ERROR_NOT_SUPPORTED
                answer.value = told.get(answer.metricId, 0.0)
            return request

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

        functions: dict[str, Callable[..., Any]] = {
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
            "nvmlDeviceGetPowerManagementLimit": lambda gpu: round(gpu.power_limit_watts * 1000),
            "nvmlDeviceGetPowerManagementDefaultLimit": lambda gpu: round(gpu.sku.power_limit_watts * 1000),
            "nvmlDeviceGetPersistenceMode": lambda gpu: pynvml.NVML_FEATURE_ENABLED,
            "nvmlDeviceGetVirtualizationMode": lambda gpu: (
                pynvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU
                if gpu.fault == "vgpu"
                else pynvml.NVML_GPU_VIRTUALIZATION_MODE_NONE
            ),
            "nvmlDeviceGetApplicationsClock": lambda gpu, clock: BOOST_MHZ,
            "nvmlDeviceGetDefaultApplicationsClock": lambda gpu, clock: BOOST_MHZ,
            "nvmlDeviceGetMaxClockInfo": lambda gpu, clock: BOOST_MHZ,
            "nvmlGpmQueryDeviceSupport": lambda gpu: SimpleNamespace(isSupportedDevice=1),
            "nvmlGpmSampleAlloc": allocate,
            "nvmlGpmSampleGet": take,
            "nvmlGpmSampleFree": lambda sample: None,
            "nvmlGpmMetricsGet": metrics,
            "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(
                total=round(gpu.sku.memory_bytes), used=round(gpu.memory_used)
            ),
            "nvmlDeviceGetMemoryBusWidth": lambda gpu: gpu.sku.bus_bits,
            "nvmlDeviceGetCurrentEccMode": lambda gpu: pynvml.NVML_FEATURE_ENABLED,
            "nvmlDeviceGetMigMode": lambda gpu: [int(gpu.fault == "mig")] * 2,
            "nvmlDeviceGetTotalEnergyConsumption": counter,
            "nvmlDeviceGetFieldValues": fields,
            "nvmlDeviceGetTemperatureV": lambda gpu, sensor: round(gpu.celsius),
            "nvmlDeviceGetClockInfo": clock,
            "nvmlDeviceGetCurrentClocksEventReasons": reasons,
            "nvmlDeviceGetComputeRunningProcesses": processes,
        }
        for group, names in _WITHHELD.items():
            if self.withholds(group):
                functions |= dict.fromkeys(names, _refuse)
        return functions


def _alike(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(abs(x - y) <= 1e-9 * abs(y) for x, y in zip(a, b, strict=True))


def _is_nvml_function(name: str, value: object) -> bool:
    return name.startswith("nvml") and isinstance(value, FunctionType)


def _refuse(*args: object) -> NoReturn:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def _raise_fault(gpu: SimulatedGpu, codes: Mapping[str, int]) -> None:
    code = {"lost": pynvml.NVML_ERROR_GPU_IS_LOST, **codes}.get(gpu.fault)
    if code is not None:
        raise pynvml.NVMLError(code)


def _behind(handle: Any) -> _GpmSample:
    return ctypes.cast(handle, ctypes.POINTER(_GpmSample)).contents


def _gpm_metrics(rates: Mapping[str, float]) -> dict[int, float]:
    """GPM's answers: shares in percent, and MiB/s in each direction of the links."""
    shares = {
        "sm_active": rates["sm"],
        "sm_occupancy": OCCUPANCY * rates["sm"],
        "tensor_active": rates["tensor"],
        "fp64_active": 0.0,
        "fp32_active": rates["fp32"],
        "fp16_active": rates["fp16"],
        "integer_active": rates["integer"],
        "dram_active": rates["dram"],
    }
    one_way = rates["link"] / 2 / MIB
    return {
        **{GPM_SHARES[name]: 100 * share for name, share in shares.items()},
        pynvml.NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC: one_way,
        pynvml.NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC: one_way,
        pynvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC: 0.0,
        pynvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC: 0.0,
    }


def _interpolate(points: tuple[tuple[float, float], ...], x: float) -> float:
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x < x1:
            return y0 + (y1 - y0) * max(0.0, x - x0) / (x1 - x0)
    return points[-1][1]
