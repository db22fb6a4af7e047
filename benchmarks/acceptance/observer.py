"""What watching costs the watched: calls per second with the reading process on and off, paired.

    python benchmarks/acceptance/observer.py --out observer.json

Segments of calls in the order on, off, off, on: the reading process is stopped
(SIGSTOP) for the off ones.  ``gate`` segments run the same calls through the
real sampler, checks and all.  Half a ratio's deviation of each quadruple's two
pairs is its own scatter; the mean over all quadruples is the cost.
``--simulated`` rehearses it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from tabulate import tabulate
from workloads import build, open_meter

from pytest_joules.meters.zeus import ZeusMeter
from pytest_joules.model import Measurement
from pytest_joules.sampling import COMPLETION_SECONDS, Plan, Sampler, Step
from pytest_joules.workloads.completion import Completion
from pytest_joules.workloads.work import Work

LOADS = {"decode": "GPU-bound (decode, CUDA graph)", "hostbound": "host-bound (tiny eager layers)"}


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The reading process stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def bare(call: Callable[[], object], completion: Completion, seconds: float, together: int) -> float:
    """Seconds a call, as a plain loop makes them."""
    start = now = completion()
    calls = 0
    while now < start + seconds:
        for _ in range(together):
            call()
        calls += together
        now = completion()
    return (now - start) / calls


def gated(call: Callable[[], object], meter: ZeusMeter, completion: Completion, seconds: float) -> float:
    """Seconds a call under the sampler."""

    def more(measurement: Measurement) -> Step:
        del measurement
        return Step.MORE

    plan = Plan("main", looks=(2, 1000), max_seconds=seconds, warmup=1)
    sampler = Sampler(meter, completion, plan, more, lambda text: None)
    while sampler.wants_call():
        call()
        sampler.called(None, Work({"call": 1.0}))
    log = sampler.logs[-1]
    return log.elapsed / log.calls


def main() -> None:
    """Print the table, write the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each load")
    parser.add_argument("--segment", type=float, default=0.5)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, raw = [], {}
    with contextlib.ExitStack() as stack:
        loads = build(tuple(LOADS), options.simulated)
        meter, completion = open_meter(stack, options.simulated)
        (pid,) = (
            child.pid for child in psutil.Process().children() if "pytest_joules.meters.poller" in child.cmdline()
        )
        for name, label in LOADS.items():
            call = loads[name].calls[0]
            together = max(1, math.ceil(COMPLETION_SECONDS / bare(call, completion, 1.0, 1)))
            bare(call, completion, 2.0, together)
            polled, sampled = [], []
            for _ in range(max(2, round(options.seconds / (6 * options.segment)))):
                first = bare(call, completion, options.segment, together)
                with stopped(pid):
                    off = [bare(call, completion, options.segment, together) for _ in range(2)]
                second = bare(call, completion, options.segment, together)
                gate = gated(call, meter, completion, 2 * options.segment)
                polled.append(math.log(first * second / off[0] / off[1]) / 2)
                sampled.append(math.log(gate / second))
            raw[name] = {"poller": polled, "sampler": sampled}
            for what, ratios in (("reading process", polled), ("sampler beside it", sampled)):
                error = statistics.stdev(ratios) / math.sqrt(len(ratios))
                rows.append((label, what, len(ratios), f"{statistics.fmean(ratios):+.3%}", f"±{error:.3%}"))
    headers = ("load", "cost of", "quadruples", "seconds a call", "s.e.")
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))
    if options.out:
        options.out.write_text(json.dumps(raw))


if __name__ == "__main__":
    main()
