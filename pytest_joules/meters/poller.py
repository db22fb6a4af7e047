"""The reading process: one small process a run that reads every energy counter.

A reading thread would slow a Python-driven loop on the measured side; a
process does not (``benchmarks/acceptance/observer.py``).  It reads each counter once in the middle of every
cell of its tick grid, where a read is cheap and certain, and now and then
closely around an expected edge, so that the grid stays dated.  After the read
in the middle, when no counter is due, it samples what else the device tells.

Reads and samples go through two files that the process appends to and the run reads, so
a run that does not look for an hour neither loses a record nor blocks the
reader.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from pytest_joules.meters import base
from pytest_joules.meters.collector import Collector
from pytest_joules.meters.hostcpu import HostCpu
from pytest_joules.meters.nvml import POWER_CAP, THERMAL_OR_BRAKE, NvmlGpu
from pytest_joules.meters.ticks import GridTracker, TickTracker
from pytest_joules.model import Read, Signals
from pytest_joules.samples import SAMPLED, SampleLog, Samples

_RECORD = struct.Struct("<iddddfi")
"""Device position, read start and end (s), joules, temperature (°C), SM clock (MHz), clock event reasons."""

_SAMPLE = struct.Struct(f"<i{1 + len(SAMPLED)}d")
"""Device position, time (s), and the columns of :data:`pytest_joules.samples.SAMPLED`."""

_START_SECONDS = 20.0
_ACQUIRE_EDGES = 6
_BRACKET_EVERY = 10
_BRACKET_LEAD = 0.006
_ACQUIRE_PAUSE = 0.001
_STUCK_SECONDS = 2.0
_SAMPLE_SECONDS = 0.005
"""No sample is begun when a counter is due within this."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the reading process is told: where to write, whose child it is, and what to read."""

    records: str
    samples: str
    parent: int
    indices: tuple[int, ...]
    simulated_state: str | None = None
    collect: bool = True


class Poller:
    """The run's handle on its reading process."""

    def __init__(self, indices: Sequence[int], simulated_state: Path | None = None, *, collect: bool = True) -> None:
        """Start reading the devices with these NVML indices.

        Args:
            indices: Of the devices.
            simulated_state: The simulated machine that stands in place of NVML, if one does.
            collect: Whether to sample more than the counters; ``benchmarks/signals.py`` shows what that costs.

        Raises:
            MeterError: if the process cannot read them.
        """
        self._directory = tempfile.TemporaryDirectory(prefix="pytest-joules-")
        records = Path(self._directory.name, "records")
        samples = Path(self._directory.name, "samples")
        for file in (records, samples):
            file.touch()
        state = str(simulated_state) if simulated_state else None
        assignment = Assignment(str(records), str(samples), os.getpid(), tuple(indices), state, collect)
        with Path(self._directory.name, "stderr").open("wb") as complaints:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest_joules.meters.poller", json.dumps(asdict(assignment))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
            )
        self._failure: dict[str, str] = {}
        self._records, self._sampled = records.open("rb"), samples.open("rb")
        self._trackers = [TickTracker() for _ in indices]
        self._signals: list[list[Signals]] = [[] for _ in indices]
        self._samples = [SampleLog() for _ in indices]
        self._held = False
        try:
            self._wait_for_grids()
        except BaseException:
            self.close()
            raise

    def tracker(self, position: int) -> TickTracker:
        """The ticks of the device at ``position``, with every record read so far.

        Raises:
            MeterError: what the reading process met, or that it fell silent.
        """
        self._look_unless_held()
        tracker = self._trackers[position]
        latest = tracker.latest
        if self._process.poll() is not None or latest is None or time.monotonic() - latest.end > _STUCK_SECONDS:
            self._raise_failure()
        return tracker

    def signals(self, position: int) -> Sequence[Signals]:
        """Everything the device said beside its joules, oldest first."""
        self._look_unless_held()
        return self._signals[position]

    def samples(self, position: int, since: float, until: float) -> Samples:
        """What the device and the host told from ``since`` to ``until``."""
        while len(record := self._sampled.read(_SAMPLE.size)) == _SAMPLE.size:
            place, moment, *values = _SAMPLE.unpack(record)
            self._samples[place].add(moment, values)
        self._sampled.seek(-len(record), os.SEEK_CUR)
        return self._samples[position].between(since, until)

    def look(self) -> None:
        """Take in what was read since the last look."""
        while len(record := self._records.read(_RECORD.size)) == _RECORD.size:
            position, start, end, joules, temperature, clock, reasons = _RECORD.unpack(record)
            self._trackers[position].add(Read(start, end, joules))
            self._signals[position].append(
                Signals(
                    time=start,
                    temperature_celsius=temperature if temperature >= 0 else None,
                    sm_clock_mhz=clock if clock >= 0 else None,
                    power_capped=bool(reasons & POWER_CAP) if reasons >= 0 else None,
                    slowed_down=bool(reasons & THERMAL_OR_BRAKE) if reasons >= 0 else None,
                )
            )
        self._records.seek(-len(record), os.SEEK_CUR)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Look now, and then not again by itself until the end of the block."""
        self.look()
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def close(self) -> None:
        """Stop the process and remove its records."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._records.close()
        self._sampled.close()
        self._directory.cleanup()

    def _wait_for_grids(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while any(tracker.grid is None for tracker in self._trackers):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._raise_failure()
            time.sleep(0.01)
            self.look()

    def _look_unless_held(self) -> None:
        if not self._held:
            self.look()

    def _raise_failure(self) -> NoReturn:
        if self._process.poll() is None and all(tracker.grid for tracker in self._trackers):
            raise base.CounterStuck("the process that reads the energy counter answers no more")
        if self._process.poll() is None:
            raise base.MeterError(
                f"the energy counter showed no regular ticks within {_START_SECONDS:g} s: the host is too busy to read "
                "it in time, or something else polls NVML; pytest-joules doctor tells more"
            )
        assert self._process.stdout is not None
        if not self._failure:
            said = self._process.stdout.read()
            self._failure = json.loads(said) if said else {"kind": "MeterError", "text": self._last_words()}
        error: type[base.MeterError] = getattr(base, self._failure["kind"])
        raise error(self._failure["text"])

    def _last_words(self) -> str:
        complaints = Path(self._directory.name, "stderr").read_text(errors="replace").strip()
        because = f": {complaints.splitlines()[-1]}" if complaints else ""
        return f"the process that reads the energy counter ended with exit code {self._process.returncode}{because}"


class _CounterReader:
    """Reads one device's counter in the reading process, and knows when to read next.

    After a read in the middle of a cell, ``due_sample`` is set until the sample is taken.
    """

    def __init__(self, position: int, gpu: NvmlGpu, collector: Collector | None) -> None:
        self.due = time.monotonic()
        self.due_sample = False
        self._collector = collector
        self._in_middle = False
        self._position = position
        self._gpu = gpu
        self._grid = GridTracker()
        self._still = 0.0
        self._cells = 0
        self._chasing_edge = False
        self._chase_until = self.due

    @property
    def searching(self) -> bool:
        """Whether it reads as fast as it can, to find the grid."""
        return self._grid.grid is None or self._grid.edges_seen < _ACQUIRE_EDGES

    def read(self) -> bytes:
        """One read as a record; plans the next one."""
        self.due_sample = self._in_middle and self._collector is not None
        start = time.monotonic()
        joules = self._gpu.joules()
        end = time.monotonic()
        last = self._grid.latest
        if last is not None and joules < last.joules:
            raise base.CounterReset(
                f"the energy counter of {self._gpu.label} went back from {last.joules:.3f} J to {joules:.3f} J: "
                "the driver was reloaded or the GPU reset; run again"
            )
        if last is None or joules != last.joules:
            self._still = 0.0
        else:
            # Time in which nobody read, because this process was stopped, tells nothing of the counter.
            self._still += min(end - last.end, _STUCK_SECONDS / 4)
        if self._still > _STUCK_SECONDS:
            raise base.CounterStuck(
                f"the energy counter of {self._gpu.label} stood still at {joules:.3f} J for {_STUCK_SECONDS:g} s"
            )
        bracketed = self._grid.add(Read(start, end, joules))
        self._plan(end, bracketed)
        signals = self._gpu.signals()
        return _RECORD.pack(self._position, start, end, joules, *signals)

    def sample(self) -> bytes:
        """What the device and the host tell beside joules, as a record."""
        assert self._collector is not None
        self.due_sample = False
        return _SAMPLE.pack(self._position, *self._collector.sample())

    def _plan(self, now: float, bracketed: bool) -> None:
        self._in_middle = False
        grid = self._grid.grid
        if grid is None or self.searching:
            self.due = now + _ACQUIRE_PAUSE
            return
        self._chasing_edge = self._chasing_edge and not bracketed
        cell = grid.cell(now)
        if self._chasing_edge and now < self._chase_until:
            self.due = now
            return
        self._chasing_edge = False
        self._cells += 1
        if self._cells % _BRACKET_EVERY == 0:
            edge = grid.edge(cell + 1)
            self._chasing_edge = True
            self._chase_until = edge + 2 * _BRACKET_LEAD + grid.error
            self.due = max(now, edge - _BRACKET_LEAD - grid.error)
        else:
            middle = grid.edge(cell) + grid.period / 2
            self.due = middle if middle > now else middle + grid.period
            self._in_middle = True


def poll(assignment: Assignment) -> None:
    """Read the assigned devices until the parent is gone.

    Raises:
        MeterError: when a device cannot be read any more.
    """
    with contextlib.ExitStack() as stack:
        if assignment.simulated_state is not None:
            from pytest_joules.meters.simulated import SimulatedHost

            host = SimulatedHost.attach(Path(assignment.simulated_state))
            stack.enter_context(host.in_place_of_nvml(accounts_for=assignment.parent))
        else:
            host = None
        records = stack.enter_context(Path(assignment.records).open("ab", buffering=0))
        samples = stack.enter_context(Path(assignment.samples).open("ab", buffering=0))
        readers = _readers(assignment, tells_host=host is None or not host.withholds("host"))
        while True:
            reader = next_reader(readers)
            waiting = next((reader for reader in readers if reader.due_sample), None)
            # The counters come first.
            if waiting is not None and reader.due - time.monotonic() > _SAMPLE_SECONDS:
                samples.write(waiting.sample())
                continue
            if _parent_gone(assignment.parent, reader.due - time.monotonic()):
                return
            records.write(reader.read())


def _readers(assignment: Assignment, tells_host: bool) -> list[_CounterReader]:
    tree = HostCpu(assignment.parent) if assignment.collect and tells_host else None
    gpus = [NvmlGpu(index) for index in assignment.indices]
    return [
        _CounterReader(position, gpu, Collector(gpu, tree) if assignment.collect else None)
        for position, gpu in enumerate(gpus)
    ]


def next_reader(readers: Sequence[_CounterReader]) -> _CounterReader:
    """Which one reads next: they find their grids one after the other, since reads in turns would bracket no edge."""
    searching = [reader for reader in readers if reader.searching]
    following = [reader for reader in readers if not reader.searching]
    return min((*following, *searching[:1]), key=lambda reader: reader.due)


def _parent_gone(parent: int, wait: float) -> bool:
    """Sleep for ``wait`` seconds, or until the parent closes our standard input or dies."""
    readable, _, _ = select.select([sys.stdin], [], [], max(0.0, wait))
    # A process that the parent forked keeps our standard input open after the parent's death.
    return bool(readable) or os.getppid() != parent


def main() -> int:
    """Entry point of the reading process: its one argument is an :class:`Assignment` as JSON."""
    raw = json.loads(sys.argv[1])
    assignment = Assignment(**{**raw, "indices": tuple(raw["indices"])})
    # Ctrl-C at the terminal reaches the whole group; the run decides when we stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        poll(assignment)
    except base.MeterError as error:
        print(json.dumps({"kind": type(error).__name__, "text": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
