"""Joules per token of a server's steady state: ours, and by the ML.ENERGY Benchmark's formula, from the same raw data.

    LOAD_RECORDS=/tmp/records pytest --energy --energy-trace=/tmp/traces examples/vllm/test_server.py
    python benchmarks/h200/server.py /tmp/traces/*.json.gz --records /tmp/records/batch-64.json --test 'batch-64'

ML.ENERGY (arXiv 2505.06371; ``mlenergy/llm/benchmark.py``), with B requests in
flight and N in all: the joules between the moment at which B requests have
sent their first token and that at which N - B have, over the tokens that came
in between, as the client counts them.  Its code ends later, when N - B - 1
requests have finished; both are printed.  Ours: whole ticks while the batch is
full, over the tokens that the server counts.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from pytest_joules.meters.replay import ReplayMeter, Trace, WindowTrace
from pytest_joules.model import WindowKind
from pytest_joules.serving.load import LoadResult
from pytest_joules.serving.steady import SteadyWork, measure_steady
from pytest_joules.units import format_joules, format_percent


def text(path: Path) -> str:
    """What is in a file, also in a packed one."""
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()


class Counters:
    """The energy counters of some devices, as one."""

    def __init__(self, meter: ReplayMeter, positions: Sequence[int]) -> None:
        """All reads of the trace are known from here on."""
        meter.seek(float("inf"))
        ticks = [meter.ticks(meter.devices[position], float("-inf")) for position in positions]
        self._columns = [([tick.time for tick in found], [tick.joules for tick in found]) for found in ticks]

    def between(self, start: float, end: float) -> float:
        """Joules from ``start`` to ``end``, interpolated between ticks."""
        return sum(float(np.interp(end, *column) - np.interp(start, *column)) for column in self._columns)


def ours(meter: ReplayMeter, window: WindowTrace) -> tuple[float, float]:
    """Joules per token, and seconds, as pytest-joules measured them."""
    meter.window(window.test, window.window, WindowKind.STEADY)
    meter.seek(window.times[-1])
    measurement = measure_steady(meter, window.window, SteadyWork(window.times, window.totals), None, ())
    return measurement.joules_per("token"), measurement.seconds


def theirs(counters: Counters, load: LoadResult, *, to_finish: bool) -> tuple[float, float]:
    """Joules per token, and seconds, by ML.ENERGY's formula; ``to_finish`` for the end that its code has."""
    batch, total = load.concurrency, len(load.records)
    firsts = sorted(record.chunks[0][0] for record in load.records)
    ends = sorted(record.end for record in load.records)
    start = firsts[batch - 1]
    end = ends[total - batch - 2] if to_finish else firsts[total - batch - 1]
    tokens = sum(
        count - before
        for record in load.records
        for (moment, count), before in zip(record.chunks, (0, *(n for _, n in record.chunks)), strict=False)
        if start < moment <= end
    )
    return counters.between(start, end) / tokens, end - start


def main() -> int:
    """Print one row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path, help="of pytest --energy --energy-trace=DIR")
    parser.add_argument("--records", type=Path, required=True, help="of server.load(..., records=FILE)")
    parser.add_argument("--test", default="", help="part of the test's name, if the trace holds several")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    trace, load = Trace.read(options.trace), LoadResult.from_json(text(options.records))
    windows = [w for w in trace.windows if w.kind is WindowKind.STEADY and options.test in w.test]
    if len(windows) != 1:
        print(f"{options.trace}: {len(windows)} steady-state windows with {options.test!r} in their test's name")
        return 2
    (window,) = windows
    meter = ReplayMeter(trace, str(options.trace))
    joules, seconds = ours(meter, window)
    counters = Counters(meter, window.devices)
    found = {"pytest-joules": (joules, seconds)}
    found["ML.ENERGY, to N - B first tokens"] = theirs(counters, load, to_finish=False)
    found["ML.ENERGY, to N - B - 1 finished"] = theirs(counters, load, to_finish=True)
    rows = [
        (way, f"{format_joules(j)}/token", f"{s:.1f} s", format_percent(j / joules - 1, signed=True, digits=2))
        for way, (j, s) in found.items()
    ]
    print(f"{window.test}: {load.concurrency} in flight, {len(load.records)} requests, {load.tokens} tokens")
    print(tabulate(rows, headers=("way", "energy", "over", "against ours"), tablefmt="github", disable_numparse=True))
    if options.json is not None:
        figures = {way: {"joules_per_token": j, "seconds": s} for way, (j, s) in found.items()}
        options.json.write_text(json.dumps({"test": window.test, **figures}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
