"""One-shot windows of 50 ms to 5 s against a truth from repetition.

    python benchmarks/acceptance/one_shot.py --out one-shot.json

Each length is shot many times by the real :class:`OneShot`, the GPU falling
idle in between.  The truth of a series needs no fine timing: the joules from
before the first shot to after the last, less idle power for all the time in
which nothing ran, over the number of shots.  The same shots without a gap give
the steady cost, which a shot from idle need not equal: the GPU has to wake up.
``--simulated`` rehearses it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate
from workloads import build, open_meter

from pytest_joules.meters.base import Meter
from pytest_joules.meters.ticks import mean_watts
from pytest_joules.sampling import OneShot
from pytest_joules.workloads.completion import Completion
from pytest_joules.workloads.work import Work

LENGTHS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def shots(
    meter: Meter, completion: Completion, call: Callable[[], object], calls: int, count: int
) -> tuple[list[float], float]:
    """Joules of each shot as measured, and the true mean by the whole series."""
    device = meter.devices[0]
    found, spans, idle = [], [], []
    for number in range(count):
        # Another moment of the tick grid for each shot.
        meter.sleep(0.013 * (number % 8))
        shot = OneShot(meter, completion, f"shot {number}", None)
        shot.settle()
        shot.begin()
        for _ in range(calls):
            call()
        measured = shot.close(Work({"call": 1.0}))
        assert not measured.invalid, measured.invalid
        assert measured.conditions.idle_watts is not None
        found.append(measured.joules)
        spans.append((shot.times[1], shot.times[2]))
        idle.append(measured.conditions.idle_watts)
    ticks = meter.ticks(device, spans[0][0] - 1.0)
    first = [tick for tick in ticks if tick.time <= spans[0][0]][-1]
    last = next(tick for tick in ticks if tick.time >= spans[-1][1])
    quiet = last.time - first.time - sum(end - start for start, end in spans)
    true = (last.joules - first.joules - quiet * statistics.fmean(idle)) / count
    return found, true


def steady(meter: Meter, completion: Completion, call: Callable[[], object], seconds: float) -> float:
    """Joules a call without gaps, after two seconds of warm-up."""
    began = completion()
    while completion() < began + 2.0:
        call()
    start, calls = completion(), 0
    while completion() < start + seconds:
        call()
        calls += 1
    end = completion()
    meter.sleep(0.25)
    ticks = [tick for tick in meter.ticks(meter.devices[0], start) if tick.time <= end]
    return mean_watts(ticks) * (end - start) / calls


def main() -> None:
    """Print the table, write the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=24.0, help="GPU seconds for each length")
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, raw = [], {}
    with contextlib.ExitStack() as stack:
        call = build(("decode",), options.simulated)["decode"].calls[0]
        meter, completion = open_meter(stack, options.simulated)
        began = completion()
        for _ in range(50):
            call()
        call_seconds = (completion() - began) / 50
        per_call = steady(meter, completion, call, 3.0)
        for length in LENGTHS:
            calls = max(1, round(length / call_seconds))
            count = max(4, min(24, round(options.seconds / (length + 0.7))))
            found, true = shots(meter, completion, call, calls, count)
            mean = statistics.fmean(found)
            spread = statistics.stdev(found) / mean
            rows.append(
                (
                    f"{1000 * calls * call_seconds:.0f} ms",
                    count,
                    f"{mean / true - 1:+.2%}",
                    f"{spread:.2%}",
                    f"{max(abs(joules / true - 1) for joules in found):.2%}",
                    f"{true / (calls * per_call) - 1:+.1%}",
                )
            )
            raw[f"{length:g}"] = {"joules": found, "true": true, "calls": calls, "steady": calls * per_call}
    headers = ("shot", "n", "bias", "sd of one shot", "worst", "true cost against steady calls")
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))
    if options.out:
        options.out.write_text(json.dumps(raw))


if __name__ == "__main__":
    main()
