"""What the signals cost: the run at a window's end, and the joules that collecting them moves.

    python benchmarks/signals.py --out signals.json

First, milliseconds on the measured side: what a window's signals take, by the
seconds that it lasted: looking back once (``sampling.look_back``, which also
finds the idle power), what decides at each look of the judge
(``sampling.seen``), and summing all up at the end (``sampling.sampled``); and
all together where every look is needed.  Second, joules per
call with and without collection, in turns: of two reading processes, one that
collects and one that reads the counters alone, the other is stopped (SIGSTOP)
meanwhile, in the order on, off, off, on; each stretch is measured by the one
that runs.  Half the deviation of each quadruple's two pairs is its own scatter;
the mean over all is the cost.  What is known so far is written after every load.
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
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parent / "acceptance"))
from workloads import build, open_meter

from pytest_joules.decision import LOOKS
from pytest_joules.meters.poller import Poller
from pytest_joules.meters.zeus import ZeusMeter
from pytest_joules.sampling import IDLE_SECONDS, look_back, sampled, seen, tick_blocks
from pytest_joules.workloads.completion import Completion

LOADS = ("decode", "prefill", "hostbound")
SETTLE_SECONDS = 0.5
WINDOW_SECONDS = (0.5, 1.0, 4.0, 10.0)


def children() -> set[int]:
    """Reading processes of this one."""
    readers = psutil.Process().children()
    return {child.pid for child in readers if "pytest_joules.meters.poller" in child.cmdline()}


def calls_for(call: Callable[[], object], completion: Completion, seconds: float) -> tuple[list[float], list[float]]:
    """When calls were complete, and how many by then."""
    times, counts = [completion()], [0.0]
    while times[-1] < times[0] + seconds:
        call()
        times.append(completion())
        counts.append(counts[-1] + 1)
    return times, counts


def joules_per_call(poller: Poller, call: Callable[[], object], completion: Completion, seconds: float) -> float:
    """By whole ticks, after a pause in which a reader that was stopped finds its grid again."""
    calls_for(call, completion, SETTLE_SECONDS)
    times, counts = calls_for(call, completion, seconds)
    time.sleep(0.25)
    blocks = tick_blocks([poller.tracker(0).ticks(times[0])], times, {"call": counts}, 1)["call"]
    return sum(b.joules for b in blocks) / sum(b.units for b in blocks)


def summary_cost(meter: ZeusMeter, until: float, seconds: float) -> tuple[float, float, float]:
    """Median milliseconds of looking back, of a look, and of summing up."""
    since, devices = until - seconds, meter.devices
    before = look_back(meter, devices, since, until)
    return (
        milliseconds(lambda: look_back(meter, devices, since, until)),
        milliseconds(lambda: seen(meter, devices, since, until)),
        milliseconds(lambda: sampled(meter, devices, before, since, until)),
    )


def milliseconds(call: Callable[[], object]) -> float:
    """The median of fifty calls."""
    taken = []
    for _ in range(50):
        began = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def main() -> None:
    """Print both tables, write the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quadruples", type=int, default=12, help="for each load")
    parser.add_argument("--segment", type=float, default=2.0, help="seconds of each of the four")
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        loads = build(LOADS, options.simulated)
        meter, completion = open_meter(stack, options.simulated)
        calls_for(loads[LOADS[0]].calls[0], completion, IDLE_SECONDS + max(WINDOW_SECONDS))
        until = time.monotonic()
        costs = {seconds: summary_cost(meter, until, seconds) for seconds in WINDOW_SECONDS}
        costed = [(seconds, *cost, cost[0] + len(LOOKS) * cost[1] + cost[2]) for seconds, cost in costs.items()]
        headers = ("window, s", "back, ms", "a look, ms", "all, ms", "at most, ms")
        print(tabulate(costed, headers=headers, tablefmt="github", floatfmt=".2f"), flush=True)
        # The meter's own reader stands still: two others are compared.
        (own,) = children()
        os.kill(own, signal.SIGSTOP)
        stack.callback(os.kill, own, signal.SIGCONT)
        state = Path(os.environ["PYTEST_JOULES_SIMULATED_STATE"]) if options.simulated else None
        pollers: dict[bool, tuple[Poller, int]] = {}
        for collect in (True, False):
            before = children()
            poller = Poller((meter.devices[0].index,), state, collect=collect)
            stack.callback(poller.close)
            (pid,) = children() - before
            pollers[collect] = (poller, pid)
            stack.callback(os.kill, pid, signal.SIGCONT)
            os.kill(pid, signal.SIGSTOP)

        def measured(collect: bool, call: Callable[[], object]) -> float:
            poller, pid = pollers[collect]
            os.kill(pid, signal.SIGCONT)
            try:
                return joules_per_call(poller, call, completion, options.segment)
            finally:
                os.kill(pid, signal.SIGSTOP)

        raw: dict[str, list[float]] = {}
        rows = []
        for name in LOADS:
            call = loads[name].calls[0]
            calls_for(call, completion, 3.0)
            raw[name] = []
            for _ in range(options.quadruples):
                on, off, off_again, on_again = (measured(collect, call) for collect in (True, False, False, True))
                raw[name].append(math.log(on * on_again / off / off_again) / 2)
            error = statistics.stdev(raw[name]) / math.sqrt(len(raw[name]))
            rows.append((name, len(raw[name]), f"{statistics.fmean(raw[name]):+.3%}", f"±{error:.3%}"))
            print(*rows[-1], flush=True)
            if options.out:
                options.out.write_text(json.dumps({"summary_ms": costs, "joules": raw}))
        print(
            tabulate(
                rows,
                headers=("load", "quadruples", "joules a call with collection", "s.e."),
                tablefmt="github",
                disable_numparse=True,
            )
        )


if __name__ == "__main__":
    main()
