"""CodeCarbon as its users would have it gate: a tracker around five seconds of calls, beside our own blocks.

    python benchmarks/acceptance/codecarbon_windows.py --out codecarbon.json

Interleaved streams of the decode load and of the same with three parts in a
hundred added, each inside an ``OfflineEmissionsTracker``; the tracker's GPU
energy over the declared work.  Needs codecarbon.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import time
from pathlib import Path

os.environ.setdefault("CODECARBON_LOG_LEVEL", "error")

from codecarbon import OfflineEmissionsTracker
from host import stream
from tabulate import tabulate
from workloads import build, open_meter

from pytest_joules.sampling import whole_tick_blocks


def tracker() -> OfflineEmissionsTracker:
    """As its documentation has it, without files."""
    return OfflineEmissionsTracker(country_iso_code="USA", gpu_ids=[0], output_methods=[], log_level="error")


def main() -> None:
    """Print the table, write the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--count", type=int, default=8, help="streams of each arm")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load = build(("decode",), simulated=False)["decode"]
    arms = [0, 3] * options.count
    random.Random(1).shuffle(arms)
    theirs: dict[int, list[float]] = {0: [], 3: []}
    ours: dict[int, list[float]] = {0: [], 3: []}
    overhead = []
    with contextlib.ExitStack() as stack:
        meter, completion = open_meter(stack, simulated=False)
        throw_away = tracker()
        throw_away.start()
        stream(load, 0, completion, 2.0)
        throw_away.stop()
        for level in arms:
            stream(load, level, completion, 1.0)
            began = time.monotonic()
            watching = tracker()
            watching.start()
            log = stream(load, level, completion, options.seconds)
            watching.stop()
            overhead.append(time.monotonic() - began - log.elapsed)
            joules = watching.final_emissions_data.gpu_energy * 3.6e6
            theirs[level].append(joules / log.totals["token"][-1])
            time.sleep(0.25)
            blocks = whole_tick_blocks([meter.ticks(meter.devices[0], log.times[0])], log, 5)["token"][:2]
            ours[level].append(sum(b.joules for b in blocks) / sum(b.units for b in blocks))
    rows = []
    for name, found, seconds in (("CodeCarbon", theirs, options.seconds), ("two of our blocks", ours, 1.0)):
        means = {level: statistics.fmean(values) for level, values in found.items()}
        spreads = [statistics.stdev(values) / means[level] for level, values in found.items()]
        rows.append((name, seconds, f"{spreads[0]:.2%}", f"{spreads[1]:.2%}", f"{means[3] / means[0] - 1:+.2%}"))
    headers = ("method", "GPU s", "sd unchanged", "sd +3", "mean rise seen")
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))
    print(f"seconds that a tracker adds beside the calls: {statistics.median(overhead):.2f}")
    if options.out:
        options.out.write_text(json.dumps({"codecarbon": theirs, "ours": ours, "overhead": overhead}))


if __name__ == "__main__":
    main()
