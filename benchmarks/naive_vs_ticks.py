"""Naive windows against tick-aligned blocks, on the same stream of calls.

    python benchmarks/naive_vs_ticks.py --seconds 20 --out results.json

One steady load, three ways to take joules per call from it:

* *ZeusMonitor windows*, opened and closed around the calls back to back, as
  its users do;
* *naive differences* of the counter at the start and the end of the same
  windows as ours, on the same stream of calls: what such a window would have
  read had it cost nothing to open and close;
* *whole ticks*: our blocks on that stream.

What is compared is the spread of joules per call, which for an unchanging load
should be none.  ``--simulated`` rehearses it without a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import sys
import time
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

from tabulate import tabulate

from pytest_joules.meters.zeus import ZeusMeter, simulated_host
from pytest_joules.model import Tick
from pytest_joules.sampling import CallLog, whole_tick_blocks
from pytest_joules.testing import launch, synchronize
from pytest_joules.workloads.completion import Completion
from pytest_joules.workloads.work import Work

LENGTHS = (0.27, 0.53, 1.03, 2.07)
"""Seconds; no multiples of a tick, since a window in step with the counter looks better than it is."""


def decode_step() -> Callable[[], object]:
    """The CUDA-graph decode step of ``examples/torch``."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "torch"))
    import decoder
    import torch

    x = torch.randn(32, 1, decoder.HIDDEN, device="cuda", dtype=torch.bfloat16)
    graph = decoder.capture(decoder.make_decoder(40, 32, 512), x)
    replay: Callable[[], object] = graph.replay
    return replay


def simulated_step() -> None:
    """A memory-bound step of 4 ms."""
    launch(bytes=0.004 * 4.3e12)
    synchronize()


def spread(values: list[float]) -> tuple[int, str, str]:
    """How many, their relative standard deviation, and the largest deviation from the median."""
    middle = statistics.median(values)
    worst = max(abs(value / middle - 1) for value in values)
    return len(values), f"{statistics.stdev(values) / middle:.2%}", f"{worst:.2%}"


def zeus_windows(step: Callable[[], object], completion: Completion, length: float, seconds: float) -> list[float]:
    """Joules per call of back-to-back ZeusMonitor windows."""
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])
    found = []
    end = completion() + seconds
    while (now := completion()) < end:
        calls = 0
        monitor.begin_window("naive", sync_execution=False)
        while completion() - now < length:
            step()
            calls += 1
        completion()
        found.append(monitor.end_window("naive", sync_execution=False).total_energy / calls)
    return found


def stream(step: Callable[[], object], completion: Completion, seconds: float) -> CallLog:
    """Calls without a gap."""
    log = CallLog(completion())
    while log.elapsed < seconds:
        step()
        log.count(Work({"call": 1.0}))
        log.complete(completion())
    return log


def naive_differences(ticks: Sequence[Tick], log: CallLog, length: float) -> list[float]:
    """Joules per call from the counter as it stood at the start and the end of windows of whole calls."""
    found = []
    opened = bisect_left(log.times, ticks[0].time)
    for closed in range(opened, len(log.times)):
        if log.times[closed] - log.times[opened] >= length:
            before, after = (ticks[bisect_right(ticks, log.times[i], key=_time) - 1] for i in (opened, closed))
            found.append((after.joules - before.joules) / (closed - opened))
            opened = closed
    return found


def _time(tick: Tick) -> float:
    return tick.time


def main() -> None:
    """Run the streams, print the table, write the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each stream")
    parser.add_argument("--simulated", action="store_true", help="on the simulated H200")
    parser.add_argument("--out", type=Path, help="write the raw numbers here, as JSON")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Zeus warns at every window that reads 0 J; the table shows them
    series: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        host = simulated_host("h200", {"seed": "1"}, stack) if options.simulated else None
        step = simulated_step if options.simulated else decode_step()
        meter = ZeusMeter(os.environ, host)
        stack.callback(meter.close)
        completion = Completion(meter)
        device = meter.devices[0]
        about = {
            "device": device.name,
            "simulated": device.simulated,
            "driver": device.driver,
            "meter": meter.description,
        }
        stream(step, completion, 5.0)
        log = stream(step, completion, 3 * options.seconds)
        time.sleep(0.3)
        ticks = meter.ticks(device, log.times[0])
        for length in LENGTHS:
            min_ticks = max(1, math.floor(length / meter.period(device)))
            series[f"{length:g} s"] = {
                "ZeusMonitor windows": zeus_windows(step, completion, length, options.seconds),
                "naive differences": naive_differences(ticks, log, length),
                "whole ticks": [b.joules_per_unit for b in whole_tick_blocks([ticks], log, min_ticks)["call"]],
            }
    rows = [(length, method, *spread(values)) for length, found in series.items() for method, values in found.items()]
    print(f"{about['device']}{' (simulated)' if about['simulated'] else ''}, driver {about['driver']}\n")
    headers = ("window", "method", "windows", "sd of J/call", "worst")
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))
    if options.out:
        stream_data = {"completions": log.times, "ticks": [[tick.time, tick.joules] for tick in ticks]}
        options.out.write_text(json.dumps({"about": about, "series": series, "stream": stream_data}))


if __name__ == "__main__":
    main()
