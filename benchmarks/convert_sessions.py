"""Old sessions, converted to traces: a thread's late detections of counter values, for ``--energy-meter replay:FILE``.

    python benchmarks/convert_sessions.py session-gpu-a-alone.json ... --out benchmarks/results/shared-sessions
    python benchmarks/convert_sessions.py --table benchmarks/results/shared-sessions/*.json.gz

A session's ``ticks`` are ``[read_start_s, read_end_s, counter_mJ]`` of the
first read that told each value.  The thread was late by 0 to 80 ms, but the
values are exact and the counter's grid is 100.00 ms, its phase where the
earliest detections are.  The trace holds the reads that a poller would have
made on that grid: one in the middle of every cell, and one on either side of
the first edges and of every tenth.  ``series`` become windows: the test is
the workload (or the node id that ``--test 'test_it.py::test_{}'`` makes of it,
for a suite to play), the window its repetition, a call is a token, and
``meta`` ``[temperature_C, sm_MHz, clock_event_reasons]`` are the signals.

``--table`` plays the decodes of converted traces and prints joules a call.
"""

from __future__ import annotations

import argparse
import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from tabulate import tabulate

from pytest_joules.meters.nvml import POWER_CAP, THERMAL_OR_BRAKE
from pytest_joules.meters.replay import DeviceTrace, ReplayMeter, Trace, WindowTrace, checked
from pytest_joules.model import Device, Measurement, MeterInfo, Read, Signals, WindowKind
from pytest_joules.recorder import play
from pytest_joules.sampling import Plan, Sampler, Step
from pytest_joules.workloads.completion import Completion

PERIOD = 0.1
"""Seconds between two edges of an H200's counter."""

LATENESS = 0.02
"""Seconds behind their edge in which most detections lie; the rest met a busy thread."""

LATEST = 0.08
"""Seconds behind its edge at which the last value was detected."""

ROUNDING = 1e-6
READ_SECONDS = 0.003
"""What a read takes on an H200."""

ASIDE = 0.001
"""Seconds between an edge and the reads that bracket it."""

FIRST_EDGES = 8
EVERY = 10
"""Edges that are bracketed: so many at first, to find the grid, then one in so many."""

DECODES = ("decode40", "decode41", "decode42")


@dataclass(frozen=True, slots=True)
class Grid:
    """Edges at ``phase + k * PERIOD``."""

    phase: float

    def cell(self, time: float) -> int:
        """The cell that holds ``time``; an edge belongs to the cell that it opens."""
        return math.floor((time - self.phase + ROUNDING) / PERIOD)

    def edge(self, cell: int) -> float:
        """When ``cell`` opens."""
        return self.phase + cell * PERIOD


def find_grid(detections: Sequence[Read]) -> Grid:
    """The grid behind late detections: the most of them end within :data:`LATENESS` after its edges."""
    late = sorted(read.end % PERIOD for read in detections)
    circle = [*late, *(offset + PERIOD for offset in late)]
    inside = [bisect_right(circle, offset + LATENESS) - index for index, offset in enumerate(late)]
    return Grid(late[inside.index(max(inside))])


def values_by_cell(detections: Sequence[Read], grid: Grid) -> dict[int, float]:
    """The counter's joules in each cell, where they are certain.

    A read over an edge told a new value, so it is the later cell's, unless the
    earlier cell's was still to come; none came later than :data:`LATEST`.

    Raises:
        ValueError: if two values lie in one cell.
    """
    values: dict[int, float] = {}
    for read in detections:
        opens, closes = grid.cell(read.start), grid.cell(read.end)
        if closes in values:
            raise ValueError(f"two values between {grid.edge(closes):.3f} and {grid.edge(closes + 1):.3f} s")
        if opens == closes or closes - 1 in values or read.start > grid.edge(opens) + LATEST:
            values[closes] = read.joules
    return values


def polled(values: Mapping[int, float], grid: Grid) -> list[Read]:
    """What a poller would have read."""
    cells = sorted(values)
    edges = [b for a, b in pairwise(cells) if b == a + 1]
    bracketed = {*edges[:FIRST_EDGES], *edges[FIRST_EDGES::EVERY]}
    reads = []
    for cell in cells:
        opens, joules = grid.edge(cell), values[cell]
        starts = [opens + (PERIOD - READ_SECONDS) / 2]
        if cell in bracketed and cell + 1 in bracketed:
            # A grid is believed when two certain reads in a row agree with it.
            starts.append(starts[0] + 2 * READ_SECONDS)
        if cell in bracketed:
            starts.insert(0, opens + ASIDE)
        if cell + 1 in bracketed:
            starts.append(opens + PERIOD - ASIDE - READ_SECONDS)
        reads += [Read(start, start + READ_SECONDS, joules) for start in starts]
    return reads


def signals_at(times: Sequence[float], series: Mapping[str, Any]) -> list[Signals]:
    """What the device said at the end of the call that was running at each time; nothing between the series."""
    spans = sorted(series.values(), key=lambda one: float(one["t0"]))
    starts = [one["t0"] for one in spans]
    found = []
    for time in times:
        one = spans[max(bisect_right(starts, time) - 1, 0)]
        call = bisect_left(one["calls"], time)
        if time < one["t0"] or call == len(one["calls"]):
            found.append(Signals(time))
            continue
        celsius, clock, reasons = one["meta"][call]
        found.append(Signals(time, celsius, clock, bool(reasons & POWER_CAP), bool(reasons & THERMAL_OR_BRAKE)))
    return found


def windows_of(series: Mapping[str, Any], test: str) -> list[WindowTrace]:
    """The series in their order; ``test`` makes a node id of a workload."""
    found = []
    for name, one in sorted(series.items(), key=lambda item: float(item[1]["t0"])):
        workload, sign, repetition = name.partition("#")
        times = (one["t0"], *one["calls"])
        done = tuple(float(calls) for calls in range(len(times)))
        totals = {"call": done, "token": done}
        found.append(WindowTrace(test.format(workload), sign + repetition, WindowKind.REPEATED, (0,), times, totals))
    return found


def convert(session: Mapping[str, Any], test: str = "{}") -> Trace:
    """One session as a trace; ``test`` makes a node id of a workload."""
    detections = [Read(start, end, millijoules / 1000) for start, end, millijoules in session["ticks"]]
    grid = find_grid(detections)
    reads = polled(values_by_cell(detections, grid), grid)
    device = Device(0, "NVIDIA H200", session["gpu"])
    return checked(
        Trace(
            created=datetime.fromtimestamp(session["start"], timezone.utc).isoformat(timespec="seconds"),
            version=version("pytest-joules"),
            meter=MeterInfo("a thread's reads of the energy counter, put on its grid", False, (device,)),
            devices=(DeviceTrace.of(reads, signals_at([read.start for read in reads], session["series"])),),
            windows=tuple(windows_of(session["series"], test)),
        )
    )


def measured(meter: ReplayMeter, test: str, window: str) -> Measurement:
    """The whole window by the real sampler, after its warm-up."""

    def more(measurement: Measurement) -> Step:
        del measurement
        return Step.MORE

    recorded = meter.window(test, window, WindowKind.REPEATED)
    meter.seek(recorded.times[0])
    plan = Plan(window, looks=(1, len(recorded.times)), max_seconds=math.inf)
    sampler = Sampler(meter, Completion(meter), plan, more, lambda text: None)
    play(meter, recorded, sampler)
    return sampler.measurement


def table(paths: Sequence[Path]) -> str:
    """Joules a call of the decodes, and their ratios to the shortest, for every trace and repetition."""
    rows = []
    for path in paths:
        trace = Trace.read(path)
        meter = ReplayMeter(trace, path.name)
        for window in dict.fromkeys(w.window for w in trace.windows):
            joules = {}
            for test in DECODES:
                found = measured(meter, test, window)
                joules[test] = found.joules_per("call")
                warm = found.warmup_seconds
                rows.append(
                    (
                        path.name.partition(".")[0],
                        window,
                        test,
                        f"{warm:.1f} s",
                        len(found.blocks["call"]),
                        f"{joules[test]:.3f} J",
                        f"{joules[test] / joules[DECODES[0]] - 1:+.2%}" if test != DECODES[0] else "",
                    )
                )
    headers = ("session", "repetition", "load", "warm-up", "blocks", "joules a call", "against 40 layers")
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="DIR", help="convert the session files to traces here")
    what.add_argument("--table", action="store_true", help="the files are traces: print joules a call")
    parser.add_argument("--test", default="{}", metavar="ID", help="node id of a workload's test, {} being its name")
    options = parser.parse_args()
    if options.table:
        print(table(options.files))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for path in options.files:
        name = path.stem.removeprefix("session-")
        convert(json.loads(path.read_text(encoding="utf-8")), options.test).write(options.out / f"{name}.json.gz")


if __name__ == "__main__":
    main()
