"""Traces: the raw reads and call times of a run, and a meter that plays them back.

A replayed window goes through the same sampling and decision as the live one
did, on the same GPU seconds: at every recorded completion the sampler sees
just those reads that the live run had by then.  That is not the same as those
that had ended: on a busy host a read may come in later, and warm-up would then
be found over a tick earlier or later, and blocks be cut elsewhere.
"""

from __future__ import annotations

import gzip
import itertools
import json
import math
import os
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pytest_joules.codec import CodecError, decode, encode
from pytest_joules.meters.base import Meter, MeterError, signals_between
from pytest_joules.meters.ticks import TickTracker
from pytest_joules.model import Device, MeterInfo, Read, Signals, Tick, WindowKind
from pytest_joules.samples import SAMPLED, Floats, SampleLog, Samples

SCHEMA_VERSION = 1
LARGEST_TRACE = 256 * 1024 * 1024
"""Bytes of JSON; a day of eight GPUs takes half as much."""

Numbers = tuple[float, ...]
OptionalNumbers = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class DeviceTrace:
    """Every raw read of one device, in columns, and what the device said right after each.

    Attributes:
        start: When each read began (s).
        end: When it had its answer (s).
        joules: The counter, J.
        temperature_celsius: GPU temperature.
        sm_clock_mhz: SM clock.
        power_capped: 1 where the power limit held the clocks down, else 0.
        slowed_down: 1 where heat or the power brake did, else 0.
        sample_times: When the device was sampled (s).
        samples: What it told then, by the names of :data:`pytest_joules.samples.SAMPLED`.
    """

    start: Numbers = ()
    end: Numbers = ()
    joules: Numbers = ()
    temperature_celsius: OptionalNumbers = ()
    sm_clock_mhz: OptionalNumbers = ()
    power_capped: OptionalNumbers = ()
    slowed_down: OptionalNumbers = ()
    sample_times: Numbers = ()
    samples: Mapping[str, OptionalNumbers] = field(default_factory=dict)

    @classmethod
    def of(cls, reads: Sequence[Read], signals: Sequence[Signals], samples: Samples | None = None) -> DeviceTrace:
        """The columns of ``reads``, of the signals that came with them, and of samples."""
        samples = samples or Samples.of(())
        columns = {sampled.name: samples.column(sampled.name) for sampled in SAMPLED}
        return cls(
            start=tuple(round(read.start, 6) for read in reads),
            end=tuple(round(read.end, 6) for read in reads),
            joules=tuple(round(read.joules, 3) for read in reads),
            temperature_celsius=tuple(s.temperature_celsius for s in signals),
            sm_clock_mhz=tuple(s.sm_clock_mhz for s in signals),
            power_capped=tuple(_flag(s.power_capped) for s in signals),
            slowed_down=tuple(_flag(s.slowed_down) for s in signals),
            sample_times=tuple(round(float(time), 6) for time in samples.times),
            samples={name: _short(column) for name, column in columns.items() if not np.isnan(column).all()},
        )

    def reads(self) -> list[Read]:
        """The reads, oldest first."""
        return [Read(*row) for row in zip(self.start, self.end, self.joules, strict=True)]

    def signals(self) -> list[Signals]:
        """What the device said beside its joules, oldest first."""
        flags = ([None if f is None else bool(f) for f in column] for column in (self.power_capped, self.slowed_down))
        return [
            Signals(*row) for row in zip(self.start, self.temperature_celsius, self.sm_clock_mhz, *flags, strict=True)
        ]

    def log(self) -> SampleLog:
        """What the device was sampled for; names that are no longer known are left out."""
        log = SampleLog()
        unknown = (None,) * len(self.sample_times)
        rows = zip(*(self.samples.get(sampled.name, unknown) for sampled in SAMPLED), strict=True)
        for time, row in zip(self.sample_times, rows, strict=True):
            log.add(time, (math.nan if value is None else value for value in row))
        return log


@dataclass(frozen=True, slots=True)
class WindowTrace:
    """The calls of one window.

    Attributes:
        test: The test's node id.
        window: The window's name.
        kind: How it was measured.
        devices: Positions of the devices that the test computed on, among those of the meter.
        times: Of repeated calls the start and then every completion (s); of one shot when the
            device was left idle, when the work began, and when it was complete; of a steady state
            when the server was seen.
        totals: For every unit, the work done by each of those times.
        known: At each of those times, how many reads of each of the meter's devices were known; shape
            (times, devices).  Empty where nothing was decided at them: what was read by a time is then known.
        spoiled: What made the joules worthless when they were recorded; empty if nothing did.
        latencies: Of the blocks (s), as the live run told them.
    """

    test: str
    window: str
    kind: WindowKind
    devices: tuple[int, ...]
    times: Numbers
    totals: Mapping[str, Numbers]
    spoiled: str = ""
    known: tuple[tuple[int, ...], ...] = ()
    latencies: Mapping[str, float] = field(default_factory=dict)

    def moments(self) -> Iterator[Moment]:
        """The start, and every completion."""
        before = dict.fromkeys(self.totals, 0.0)
        for index, time in enumerate(self.times):
            done = {unit: total[index] for unit, total in self.totals.items()}
            yield Moment(time, {u: done[u] - before[u] for u in done}, self.known[index] if self.known else None)
            before = done


@dataclass(frozen=True, slots=True)
class Moment:
    """A time at which a window was looked at.

    Attributes:
        time: When (s).
        counts: For every unit, the work since the moment before.
        known: How many reads of each device were known; ``None`` for those that had ended.
    """

    time: float
    counts: Mapping[str, float]
    known: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Trace:
    """What one process read and called.

    Attributes:
        created: UTC time, ISO 8601 to the second.
        version: Version of pytest-joules.
        meter: Where the joules came from.
        devices: One for each of the meter's devices.
        windows: In the order in which they were measured.
        commit: The repository's commit, if it is in git.
    """

    created: str
    version: str
    meter: MeterInfo
    devices: tuple[DeviceTrace, ...]
    windows: tuple[WindowTrace, ...]
    commit: str | None = None

    def write(self, path: Path) -> None:
        """Write the trace as compressed JSON."""
        text = json.dumps({"schema": SCHEMA_VERSION, **encode(self)}, separators=(",", ":"), allow_nan=False)
        # Without a time in its header the same trace makes the same bytes.
        path.write_bytes(gzip.compress(text.encode(), mtime=0))

    @classmethod
    def read(cls, path: Path) -> Trace:
        """Read a trace.

        Raises:
            MeterError: if the file is not a trace that this version can play.
        """
        try:
            with gzip.open(path) as file:
                text = file.read(LARGEST_TRACE + 1)
            if len(text) > LARGEST_TRACE:
                raise MeterError(f"{path}: too large for a trace")
            data = json.loads(text)
        except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
            raise MeterError(f"{path}: not a trace of pytest --energy-trace: {error}") from error
        version = data.pop("schema", None) if isinstance(data, dict) else None
        if not isinstance(version, int):
            raise MeterError(f"{path}: not a trace of pytest --energy-trace: no 'schema' number")
        if version > SCHEMA_VERSION:
            raise MeterError(f"{path}: schema {version} is newer than this pytest-joules knows; upgrade it")
        try:
            return checked(decode(cls, data))
        except (CodecError, ValueError) as error:
            raise MeterError(f"{path}: {error}") from error


def checked(trace: Trace) -> Trace:
    """``trace`` itself, if it makes sense.

    Raises:
        ValueError: saying what does not.
    """
    if not trace.devices or len(trace.devices) != len(trace.meter.devices):
        raise ValueError(f"{len(trace.devices)} traces of {len(trace.meter.devices)} devices")
    for device in trace.devices:
        columns = {len(getattr(device, name)) for name in DeviceTrace.__slots__ if not name.startswith("sample")}
        sampled = {len(device.sample_times), *(len(column) for column in device.samples.values())}
        if len(columns) != 1 or len(sampled) != 1:
            raise ValueError("the columns of a device are not of one length")
        if not all(map(_rising, (device.start, device.joules, device.sample_times))):
            raise ValueError("the reads of a device are not in order")
    for window in trace.windows:
        where = f"window {window.window!r} of {window.test}"
        if any(position not in range(len(trace.devices)) for position in window.devices) or not window.devices:
            raise ValueError(f"{where} ran on devices that the trace does not have")
        if not _rising(window.times) or any(len(done) != len(window.times) for done in window.totals.values()):
            raise ValueError(f"{where}: times and work do not fit together")
        if window.known and (
            len(window.known) != len(window.times)
            or any(len(known) != len(trace.devices) for known in window.known)
            or any(not 0 <= n <= len(d.start) for row in window.known for n, d in zip(row, trace.devices, strict=True))
            or not all(_rising(column) for column in zip(*window.known, strict=True))
        ):
            raise ValueError(f"{where}: the numbers of known reads do not fit the reads and times")
        if len(window.times) < (3 if window.kind is WindowKind.ONE_SHOT else 1):
            raise ValueError(f"{where} has too few times")
    return trace


def trace_of(meter: Meter, info: MeterInfo, windows: Sequence[WindowTrace], created: str, version: str) -> Trace:
    """Everything that ``meter`` has read so far, with the calls of ``windows``.

    Raises:
        MeterError: if the meter has no raw reads.
    """
    devices = []
    for device in meter.devices:
        reads = meter.reads(device)
        if reads is None:
            raise MeterError(f"{meter.description}: a source without a counter has no raw reads to trace")
        # More may have come in between the two questions.
        reads = tuple(reads)
        signals = meter.signals(device, -math.inf, math.inf)[: len(reads)]
        devices.append(DeviceTrace.of(reads, signals, meter.samples(device, -math.inf, math.inf)))
    return Trace(created, version, info, tuple(devices), tuple(windows))


class ReplayMeter:
    """Plays a trace back; its clock stands where the replayed window has come to."""

    def __init__(self, trace: Trace, source: str) -> None:
        """Nothing is played yet; ``source`` names the trace in messages."""
        self._trace = trace
        self._source = source
        self._reads = [device.reads() for device in trace.devices]
        self._signals = [device.signals() for device in trace.devices]
        self._samples = [device.log() for device in trace.devices]
        self._window: WindowTrace | None = None
        self._now = min((reads[0].start for reads in self._reads if reads), default=0.0)
        self._rewind()

    @property
    def devices(self) -> tuple[Device, ...]:
        return self._trace.meter.devices

    @property
    def simulated(self) -> bool:
        return self._trace.meter.simulated

    @property
    def description(self) -> str:
        # Reports hold it, and no report holds a path of the machine.
        return f"replay of {Path(self._source).name}, recorded {self._trace.created} by {self._trace.meter.description}"

    @property
    def lock_directory(self) -> None:
        """Nothing to lock: the devices are not there."""

    def window(self, test: str, name: str, kind: WindowKind) -> WindowTrace:
        """The calls of a window, to be played next.

        Raises:
            MeterError: if the trace does not have it.
        """
        for window in self._trace.windows:
            if (window.test, window.window) == (test, name):
                if window.kind is not kind:
                    raise MeterError(
                        f"{self._source}: window {name!r} of {test} was recorded {window.kind.value}, not {kind.value}"
                    )
                self._window = window
                return window
        held = ", ".join(dict.fromkeys(repr(w.window) for w in self._trace.windows if w.test == test))
        instead = f"only {held}" if held else "no window of this test"
        raise MeterError(f"{self._source} does not hold window {name!r} of {test}, {instead}")

    def seek(self, time: float, known: Sequence[int] | None = None) -> None:
        """Put the clock to ``time``; what was read by then, or so many reads of each device, is known from now on."""
        if time < self._now:
            self._rewind()
        self._now = time
        if known is None:
            known = [bisect_right(reads, time, key=_ended) for reads in self._reads]
        for position, (tracker, reads) in enumerate(zip(self._trackers, self._reads, strict=True)):
            for read in reads[self._known[position] : known[position]]:
                tracker.add(read)
            self._known[position] = max(self._known[position], known[position])

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.seek(self._now + seconds)

    def period(self, device: Device) -> float:
        tracker = self._trackers[self.devices.index(device)]
        if tracker.grid is None:
            raise MeterError(f"{self._source}: too few reads before the window to find the counter's ticks")
        return tracker.grid.period

    def reads(self, device: Device) -> Sequence[Read]:
        return self._trackers[self.devices.index(device)].reads

    def mark(self) -> None:
        """Nothing to do: the reads are recorded."""

    def ticks(self, device: Device, since: float) -> Sequence[Tick]:
        return self._trackers[self.devices.index(device)].ticks(since)

    def signals(self, device: Device, since: float, until: float) -> Sequence[Signals]:
        position = self.devices.index(device)
        return signals_between(self._signals[position][: self._known[position]], since, until)

    def samples(self, device: Device, since: float, until: float) -> Samples:
        return self._samples[self.devices.index(device)].between(since, min(until, self._now))

    def processes(self, device: Device) -> Sequence[int]:
        """This process in place of those that the window ran in."""
        ran = self._window is not None and self.devices.index(device) in self._window.devices
        return [os.getpid()] if ran else []

    def held(self) -> AbstractContextManager[None]:
        """Nothing to do: the clock stands."""
        return nullcontext()

    def barrier(self) -> None:
        """Unknown: the recorded completions are what they are."""

    def invalid(self, device: Device) -> str:
        del device
        return self._window.spoiled if self._window is not None else ""

    def close(self) -> None:
        """Nothing is open."""

    def _rewind(self) -> None:
        self._trackers = [TickTracker() for _ in self._reads]
        self._known = [0] * len(self._reads)


def _ended(read: Read) -> float:
    return read.end


def _short(column: Floats) -> OptionalNumbers:
    """A column in as many digits as tell a microsecond of a counter."""
    return tuple(None if math.isnan(value) else float(f"{value:.12g}") for value in column.tolist())


def _flag(value: bool | None) -> float | None:
    return None if value is None else float(value)


def _rising(values: Sequence[float]) -> bool:
    return all(a <= b for a, b in itertools.pairwise(values))
