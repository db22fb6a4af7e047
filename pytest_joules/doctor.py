"""Examines the power sensor and the state of each GPU: what ``pytest-joules doctor`` finds.

Every check is a small function that returns a :class:`Finding`.  Nothing here
prints, and nothing changes a setting of the GPU.  A question that NVML refuses
to answer is left out; it is never taken for a good answer.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from statistics import fmean, median

import psutil
import pynvml

from pytest_joules.attribution import attribute
from pytest_joules.meters.base import CounterStuck, Meter
from pytest_joules.meters.duty import sensor_duty
from pytest_joules.meters.nvml import SLOWDOWN_COUNTERS, THERMAL_OR_BRAKE, NvmlGpu
from pytest_joules.meters.ticks import TickGrid, edge_agreement, mean_watts
from pytest_joules.meters.zeus import ZeusMeter
from pytest_joules.model import LIMIT_WATTS, Device, MeterInfo, Read, Tick
from pytest_joules.profiles import SensorProfile
from pytest_joules.sampling import CAPPED_WARMUP_SECONDS, TICK_WAIT_SECONDS
from pytest_joules.units import plural, utc_now
from pytest_joules.workloads.load import CHUNK_SECONDS, Load, NoLoad

IDLE_SECONDS = 0.6
FEWEST_PERIODS = 4
"""In an idle stretch, or one of steady load, whatever the counter's period is."""

SETTLE_SECONDS = 0.3
"""After work, before an idle device is looked at."""

STEADY_SECONDS = 1.5
AVERAGE_SECONDS = 1.0
"""NVML's average power looks back so far (nvml.h on NVML_FI_DEV_POWER_AVERAGE); before that it holds the warm-up."""

AGREEMENT = 0.03
"""Relative; counter and average power of a steady load are the same sensor's, but for rounding and a moving load."""

BURST_PERIODS = 0.3
PAUSE_PERIODS = 0.75
FEWEST_BURSTS = 20
TRAIN_SECONDS = 2.1
"""Bursts of 30 ms every 105 ms slide through all phases of a period of 100 ms in 2.1 s."""

LOOKS = 2
"""What does not look sound is looked at once more: the host may have been held up."""

SHORTEST_PERIOD = 0.01
"""Seconds; bursts do not get shorter than for this one: a host cannot time them."""

UNEVEN_IDLE = 0.1
"""Relative spread of the ticks of an idle device; an H200 that rests stays within 2 %."""

AFTER_TICK_SECONDS = 0.01
"""Reads that begin so soon after a tick are slow on an H200: 15 ms against 3 ms."""

SLOW_READ = 0.25
"""Of a period; a read that takes longer leaves too little of a cell to be read in."""

EXPLAINED_EDGES = 0.9
"""Of the counter's changes; fewer, and ticks are dated by luck."""

LARGEST_GRID_ERROR = 0.1
"""Of a period; a one-shot window of a second would then err by 1 %."""

NOT_TOLD = "NVML does not tell"


class Health(str, Enum):
    """What a check came to."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one device.

    Attributes:
        check: Its name.
        health: What it came to.
        text: One sentence with the numbers.
        fix: What to do, with the exact command or setting; empty if nothing.
    """

    check: str
    health: Health
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings of one device, and what is worth keeping of them."""

    device: Device
    findings: tuple[Finding, ...]
    profile: SensorProfile

    def count(self, health: Health) -> int:
        """How many checks came to ``health``."""
        return sum(finding.health is health for finding in self.findings)


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Everything that one run of the doctor found.

    Attributes:
        created: UTC time, ISO 8601 to the second.
        version: Version of pytest-joules.
        meter: Where the joules came from.
        examinations: One a device.
    """

    created: str
    version: str
    meter: MeterInfo
    examinations: tuple[Examination, ...]


@dataclass(frozen=True, slots=True)
class Steady:
    """What was seen during a steady load.

    Attributes:
        counter_watts: Power by the energy counter.
        average_watts: NVML's average power; empty if it does not tell.
        reasons: Clock event reasons (bits); empty if NVML does not tell.
    """

    counter_watts: float
    average_watts: tuple[float, ...]
    reasons: tuple[int, ...]


def chosen_devices(meter: Meter, wanted: Sequence[str] | None) -> tuple[Device, ...]:
    """The devices to examine: those named, else all visible ones.

    Raises:
        NoDevice: if a named one does not exist.
    """
    return meter.devices if wanted is None else attribute(meter, wanted).devices


def diagnose(
    meter: ZeusMeter,
    devices: Sequence[Device],
    make_load: Callable[[Device], Load],
    progress: Callable[[str], None],
) -> DoctorReport:
    """Examine ``devices``, one after the other.

    Args:
        meter: Reads them.
        devices: Some of the meter's.
        make_load: Gives each its load, or raises :class:`NoLoad`; called only when
            every device has been looked at without a context.
        progress: Is told what is going on.

    Raises:
        MeterError: if a counter fails meanwhile.
    """
    progress(f"looking at {plural(len(devices), 'idle device')}")
    start = time.monotonic()
    # Before any load is made: a context would change the machine.
    before = {device: meter.processes(device) for device in devices}
    idle = {device: _idle(meter, device, start) for device in devices}
    examinations = []
    for device in devices:
        progress(f"GPU {device.index} ({device.name}), about 7 s")
        examinations.append(_examine(meter, device, idle[device], before[device], make_load))
    return DoctorReport(
        created=utc_now(),
        version=version("pytest-joules"),
        meter=MeterInfo(meter.description, meter.simulated, meter.devices),
        examinations=tuple(examinations),
    )


def _examine(
    meter: ZeusMeter,
    device: Device,
    idle: Sequence[Tick],
    before: Sequence[int] | None,
    make_load: Callable[[Device], Load],
) -> Examination:
    gpu = meter.gpu(device)
    steady: Steady | None = None
    duty: float | None = None
    others = _foreign(meter, device)
    try:
        if gpu.mig_mode():
            raise NoLoad("a load of ours would run on one slice only, but MIG is on")
        load = make_load(device)
        steady, duty, findings = _under_load(meter, device, load, idle)
        after = meter.processes(device)
    except NoLoad as missing:
        findings = tuple(Finding(check, Health.LEFT_OUT, str(missing)) for check in LOAD_CHECKS)
        after = None
    found = (
        check_counter(meter.grid(device), meter.reads(device)),
        check_read_cost(meter.grid(device), meter.reads(device)),
        check_idle("idle, no context", idle, None, device),
        *findings,
        check_processes(before, after, others, device),
        check_persistence(gpu, device),
        check_power_limit(device),
        check_application_clock(gpu, device),
        check_clock_events(steady.reasons if steady else None, device),
        check_mig(gpu, device),
        check_virtualization(gpu),
        check_gpm(gpu),
        check_signals(gpu),
    )
    profile = SensorProfile(
        identity=device.identity,
        driver=device.driver,
        period_seconds=meter.period(device),
        # What an earlier look found out under the same driver still holds if this one found out nothing.
        sensor_duty=device.sensor_duty if duty is None else duty,
        checked=utc_now(),
    )
    return Examination(device, found, profile)


LOAD_CHECKS = ("idle, context", "steady load", "part-time sensor")
"""The checks that need a load."""


def _under_load(
    meter: ZeusMeter, device: Device, load: Load, idle: Sequence[Tick]
) -> tuple[Steady, float | None, tuple[Finding, ...]]:
    resting = _rest(meter, device, load)
    for _ in range(LOOKS):
        steady = _steady(meter, device, load)
        found = check_steady(steady, load.description)
        if found.health is not Health.WARN:
            break
    between = _rest(meter, device, load)
    trains = []
    for _ in range(LOOKS):
        cells, bursts = _train(meter, device, load)
        duty = sensor_duty(cells, bursts, meter.period(device), mean_watts(between))
        trains.append((duty, cells))
        if duty == 1:
            break
    # A host that is held up makes a sensor look part-time.
    duty, cells = max(trains, key=lambda train: train[0] or 0.0)
    return (
        steady,
        duty,
        (
            check_idle(LOAD_CHECKS[0], resting, mean_watts(idle), device),
            found,
            check_sensor(duty, cells, meter.period(device)),
        ),
    )


# -- looking --


def ticks_between(meter: Meter, device: Device, start: float, end: float) -> list[Tick]:
    """All ticks in that stretch, as soon as they are known.

    Raises:
        CounterStuck: if two of them do not come.
    """
    deadline = max(end, time.monotonic()) + TICK_WAIT_SECONDS
    while time.monotonic() < deadline:
        ticks = meter.ticks(device, start)
        inside = [tick for tick in ticks if tick.time <= end]
        if ticks and ticks[-1].time > end and len(inside) >= 2:
            return inside
        time.sleep(meter.period(device) / 5)
    raise CounterStuck(f"the energy counter of GPU {device.index} gave no two ticks in {TICK_WAIT_SECONDS:g} s")


def tick_watts(ticks: Sequence[Tick], period: float) -> list[float | None]:
    """Mean power of every cell from the first of ``ticks`` to the last, W; ``None`` where a tick is missing."""
    cells: list[float | None] = []
    for a, b in itertools.pairwise(ticks):
        count = round((b.time - a.time) / period)
        cells += [mean_watts((a, b))] if count == 1 else [None] * count
    return cells


def _long_enough(meter: ZeusMeter, device: Device, seconds: float) -> float:
    return max(seconds, FEWEST_PERIODS * meter.period(device))


def _idle(meter: ZeusMeter, device: Device, start: float) -> list[Tick]:
    return ticks_between(meter, device, start, start + _long_enough(meter, device, IDLE_SECONDS))


def _rest(meter: ZeusMeter, device: Device, load: Load) -> list[Tick]:
    load.finish()
    return _idle(meter, device, time.monotonic() + SETTLE_SECONDS)


def _steady(meter: ZeusMeter, device: Device, load: Load) -> Steady:
    gpu = meter.gpu(device)
    averages: list[float] = []
    reasons: list[int] = []
    start = time.monotonic() + CAPPED_WARMUP_SECONDS
    end = start + _long_enough(meter, device, STEADY_SECONDS)
    while (now := time.monotonic()) < end:
        load.launch(CHUNK_SECONDS)
        load.pace()
        if now >= start and (bits := gpu.event_reasons()) is not None:
            reasons.append(bits)
        if now >= start + AVERAGE_SECONDS and (average := gpu.average_watts()) is not None:
            averages.append(average)
    load.finish()
    return Steady(mean_watts(ticks_between(meter, device, start, end)), tuple(averages), tuple(reasons))


def _train(meter: ZeusMeter, device: Device, load: Load) -> tuple[list[float | None], list[tuple[float, float]]]:
    """Tick powers under a train of bursts, and the bursts since the first cell opened."""
    burst, cycle = train_times(meter.period(device))
    start = time.monotonic()
    bursts = []
    for number in range(max(FEWEST_BURSTS, round(TRAIN_SECONDS / cycle))):
        time.sleep(max(0.0, start + number * cycle - time.monotonic()))
        bursts.append(load.burst(burst))
    ticks = ticks_between(meter, device, start, time.monotonic())
    opened = ticks[0].time
    return tick_watts(ticks, meter.period(device)), [(begin - opened, end - opened) for begin, end in bursts]


def train_times(period: float) -> tuple[float, float]:
    """How long a burst takes, and after which time the next one begins (s), for a counter of this period."""
    unit = max(period, SHORTEST_PERIOD)
    return BURST_PERIODS * unit, (BURST_PERIODS + PAUSE_PERIODS) * unit


def _foreign(meter: Meter, device: Device) -> str:
    return attribute(meter, (str(meter.devices.index(device)),)).foreign


# -- judging --


def check_counter(grid: TickGrid, reads: Sequence[Read]) -> Finding:
    """Whether the counter ticks on a regular grid."""
    edges = edge_agreement(grid, reads)
    share = edges.count(True) / len(edges) if edges else 0.0
    text = (
        f"ticks every {1000 * grid.period:.2f} ms, dated to ±{1000 * grid.error:.1f} ms; "
        f"the grid explains {100 * share:.1f} % of {len(edges)} edges"
    )
    if share >= EXPLAINED_EDGES and grid.error <= LARGEST_GRID_ERROR * grid.period:
        return Finding("counter", Health.OK, text)
    fix = "free the host's processors and stop what polls NVML (DCGM, nvidia-smi -l, zeusd); then run again"
    return Finding("counter", Health.WARN if share >= 0.5 else Health.BAD, text, fix)


def check_read_cost(grid: TickGrid, reads: Sequence[Read]) -> Finding:
    """Whether reading takes little of a cell."""
    cost = median(read.end - read.start for read in reads)
    soon = [
        read.end - read.start
        for read in reads
        if (read.start - grid.phase) % grid.period < min(AFTER_TICK_SECONDS, grid.period / 4)
    ]
    text = f"a read takes {1000 * cost:.1f} ms"
    if soon:
        text += f", just after a tick {1000 * median(soon):.1f} ms"
    if cost <= SLOW_READ * grid.period:
        return Finding("read cost", Health.OK, text)
    fix = "stop what else polls NVML (DCGM, nvidia-smi -l, zeusd): its calls are served one after the other"
    return Finding("read cost", Health.WARN, text, fix)


def check_idle(check: str, ticks: Sequence[Tick], without_context: float | None, device: Device) -> Finding:
    """Whether an idle device rests."""
    powers = [mean_watts(pair) for pair in itertools.pairwise(ticks)]
    mean = mean_watts(ticks)
    spread = (max(powers) - min(powers)) / mean if mean > 0 else 0.0
    text = f"{mean:.1f} W over {ticks[-1].time - ticks[0].time:.1f} s, ticks within {100 * spread:.1f} %"
    if without_context is not None:
        text += f"; {mean - without_context:+.1f} W with a context of ours"
    if spread <= UNEVEN_IDLE:
        return Finding(check, Health.OK, text)
    fix = f"something works on it: look with nvidia-smi -i {device.index}, stop it, and run again"
    return Finding(check, Health.WARN, text, fix)


def check_steady(steady: Steady, load: str) -> Finding:
    """Whether the counter and NVML's average power agree on a steady load."""
    told = f"{steady.counter_watts:.1f} W by the counter"
    if not steady.average_watts:
        return Finding("steady load", Health.LEFT_OUT, f"{told} under {load}; of average power {NOT_TOLD}")
    average = fmean(steady.average_watts)
    apart = steady.counter_watts / average - 1 if average > 0 else float("inf")
    text = f"{told}, {average:.1f} W by NVML's average power ({100 * apart:+.1f} %), under {load}"
    if abs(apart) <= AGREEMENT:
        return Finding("steady load", Health.OK, text)
    fix = (
        "run it again on an idle machine; if they stay apart, update the driver, and take the joules "
        "of this device for relative ones only"
    )
    return Finding("steady load", Health.WARN, text, fix)


def check_sensor(duty: float | None, cells: Sequence[float | None], period: float) -> Finding:
    """Whether the power sensor looks all the time."""
    known = [watts for watts in cells if watts is not None]
    burst, cycle = train_times(period)
    text = (
        f"under bursts of {1000 * burst:.0f} ms every {1000 * cycle:.0f} ms, "
        f"{len(known)} ticks drew {min(known, default=0.0):.0f} to {max(known, default=0.0):.0f} W"
    )
    if duty is None:
        fix = "let nothing else run on the GPU or load the host, and run again"
        return Finding("part-time sensor", Health.WARN, f"{text}: they do not follow the bursts", fix)
    if duty >= 1:
        return Finding("part-time sensor", Health.OK, f"{text}: the sensor looks all the time")
    fix = (
        f"nothing to set: repeated calls on this device are measured in blocks {1 / duty:.1f} times as long; "
        "energy.window() is not, so measure with energy.repeat()"
    )
    return Finding(
        "part-time sensor", Health.WARN, f"{text}: the sensor looks about {100 * duty:.0f} % of the time", fix
    )


def check_processes(before: Sequence[int] | None, after: Sequence[int] | None, foreign: str, device: Device) -> Finding:
    """Whether the device is ours alone.

    Args:
        before: Process ids on it before there was a load of ours; ``None`` if NVML hides them.
        after: The same under our load; ``None`` if there was none.
        foreign: Those that can be named and are not ours, as text.
        device: The device.
    """
    check = "processes"
    if before is None:
        return Finding(check, Health.LEFT_OUT, f"which processes compute here, {NOT_TOLD}")
    if foreign:
        fix = f"stop it (kill PID; nvidia-smi -i {device.index} lists it), or measure another device: --energy-devices"
        return Finding(check, Health.BAD, f"{foreign} computes here: its joules cannot be told from yours", fix)
    if unknown := [str(pid) for pid in before if not psutil.pid_exists(pid)]:
        fix = f"look with nvidia-smi -i {device.index} on the host, and stop it; a container does not see it"
        return Finding(check, Health.WARN, f"process {', '.join(unknown)} computes here but does not exist here", fix)
    if after is not None and os.getpid() not in after:
        fix = "start the container with --pid=host, or name devices: --energy-devices"
        return Finding(check, Health.WARN, "NVML does not list this process, though it has a context here", fix)
    return Finding(check, Health.OK, "nobody else computes here")


def check_persistence(gpu: NvmlGpu, device: Device) -> Finding:
    """Whether the driver stays loaded between clients."""
    check, mode = "persistence mode", gpu.persistence_mode()
    if mode is None:
        return Finding(check, Health.LEFT_OUT, NOT_TOLD)
    if mode:
        return Finding(check, Health.OK, "on")
    fix = f"sudo nvidia-smi -i {device.index} -pm 1, or run nvidia-persistenced"
    text = "off: between clients the driver unloads, and the counter starts from zero"
    return Finding(check, Health.WARN, text, fix)


def check_power_limit(device: Device) -> Finding:
    """Whether the power limit is the board's own."""
    check = "power limit"
    limit, default = device.power_limit_watts, device.default_power_limit_watts
    if limit is None or default is None:
        return Finding(check, Health.LEFT_OUT, NOT_TOLD)
    if abs(limit - default) <= LIMIT_WATTS:
        return Finding(check, Health.OK, f"{limit:.0f} W, the board's own")
    return Finding(
        check,
        Health.WARN,
        f"{limit:.0f} W, but the board's own is {default:.0f} W: baselines are kept apart by it",
        f"if that is not meant: sudo nvidia-smi -i {device.index} -pl {default:.0f}",
    )


def check_application_clock(gpu: NvmlGpu, device: Device) -> Finding:
    """Whether somebody has set another application clock than the board's own."""
    check = "application clock"
    clock, default, highest = gpu.application_clocks()
    if clock is None or (default is None and highest is None):
        return Finding(check, Health.LEFT_OUT, NOT_TOLD)
    most = f" of at most {highest:.0f}" if highest is not None else ""
    # Some boards come with one below the highest clock, and boost beyond it.
    if clock in (default, highest):
        return Finding(check, Health.OK, f"{clock:.0f}{most} MHz")
    own = f", and the board's own is {default:.0f}" if default is not None else ""
    fix = f"if that is not meant: sudo nvidia-smi -i {device.index} -rac"
    return Finding(check, Health.WARN, f"{clock:.0f}{most} MHz{own}", fix)


def check_clock_events(reasons: Sequence[int] | None, device: Device) -> Finding:
    """What held the clock down under load.

    Args:
        reasons: Clock event reasons (bits) under steady load; empty if NVML does not tell,
            ``None`` if there was no load.
        device: The device.
    """
    check = "clock events"
    if not reasons:
        return Finding(
            check, Health.LEFT_OUT, NOT_TOLD if reasons is not None else "there was no load to see them under"
        )

    def share(bits: int) -> float:
        return sum(bool(seen & bits) for seen in reasons) / len(reasons)

    capped = share(pynvml.nvmlClocksEventReasonSwPowerCap)
    text = f"power-capped in {100 * capped:.0f} % of {len(reasons)} looks under load, which is normal"
    if hot := share(THERMAL_OR_BRAKE):
        fix = f"cool the machine: nvidia-smi -i {device.index} -q -d TEMPERATURE,PERFORMANCE shows which limit"
        return Finding(check, Health.BAD, f"thermal or power-brake slowdown in {100 * hot:.0f} % of the looks", fix)
    if held := share(pynvml.nvmlClocksEventReasonApplicationsClocksSetting):
        fix = f"if that is not meant: sudo nvidia-smi -i {device.index} -rac, and -rgc for locked clocks"
        return Finding(check, Health.WARN, f"a clock setting held the clock in {100 * held:.0f} % of the looks", fix)
    if held := share(pynvml.nvmlClocksEventReasonSyncBoost):
        fix = "take the GPU out of its sync boost group: dcgmi config -g GROUP --set -s 0"
        return Finding(check, Health.WARN, f"sync boost held the clock in {100 * held:.0f} % of the looks", fix)
    return Finding(check, Health.OK, f"no clock setting and no heat held the clock; {text}")


def check_mig(gpu: NvmlGpu, device: Device) -> Finding:
    """Whether the GPU is whole."""
    mode = gpu.mig_mode()
    if mode is None:
        return Finding("MIG", Health.LEFT_OUT, NOT_TOLD)
    if not mode:
        return Finding("MIG", Health.OK, "off")
    fix = f"sudo nvidia-smi -i {device.index} -mig 0"
    return Finding("MIG", Health.BAD, "on: the counter covers the whole board, not one slice", fix)


def check_virtualization(gpu: NvmlGpu) -> Finding:
    """Whether the whole board is this machine's."""
    mode = gpu.virtualization_mode()
    if mode is None:
        return Finding("vGPU", Health.LEFT_OUT, NOT_TOLD)
    if mode == pynvml.NVML_GPU_VIRTUALIZATION_MODE_NONE:
        return Finding("vGPU", Health.OK, "none")
    if mode == pynvml.NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH:
        return Finding("vGPU", Health.OK, "none: the whole GPU is passed through to this machine")
    role = "this is a vGPU" if mode == pynvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU else "guests share this GPU as vGPUs"
    fix = "measure on a whole GPU: bare metal, or PCI passthrough"
    return Finding("vGPU", Health.BAD, f"{role}: the board's joules are not one guest's", fix)


def check_gpm(gpu: NvmlGpu) -> Finding:
    """Whether this user may take samples of the GPU's performance metrics."""
    supported = gpu.gpm_supported()
    if supported is None:
        return Finding("GPM", Health.LEFT_OUT, NOT_TOLD)
    if not supported:
        return Finding("GPM", Health.LEFT_OUT, "this GPU has none; Hopper and later do")
    allowed = gpu.gpm_samples()
    if allowed is None:
        return Finding("GPM", Health.LEFT_OUT, NOT_TOLD)
    if allowed:
        return Finding("GPM", Health.OK, "this user may take samples of utilization")
    fix = (
        "put 'options nvidia NVreg_RestrictProfilingToAdminUsers=0' into /etc/modprobe.d and reload the driver, "
        "or run with CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN)"
    )
    return Finding("GPM", Health.WARN, "this user may not take samples: why joules rose is told less well", fix)


def check_signals(gpu: NvmlGpu) -> Finding:
    """Which other signals NVML tells of the device."""
    told = {
        "slowdown counters": gpu.slowdown_seconds(tuple(SLOWDOWN_COUNTERS)) or None,
        "memory in use": gpu.memory_used(),
        "memory clock": gpu.memory_clock(),
        "memory bus width": gpu.memory_bus_bytes(),
    }
    missing = [name for name, value in told.items() if value is None]
    if not missing:
        return Finding("signals", Health.OK, f"told: {', '.join(told)}")
    fix = "update the driver: 535 and later count slowdowns" if "slowdown counters" in missing else ""
    return Finding("signals", Health.LEFT_OUT, f"{NOT_TOLD} {', '.join(missing)}", fix)
