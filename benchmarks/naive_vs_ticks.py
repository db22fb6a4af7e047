"""Naive windows against tick-aligned blocks, on the same stream of calls.

    python benchmarks/naive_vs_ticks.py --seconds 40 --out results.json

Calls run without a gap.  ZeusMonitor windows are opened and closed around
them back to back, while the reading process follows the counter; afterwards
the same calls are cut into blocks of whole ticks of the same lengths.  What is
compared is the spread of joules per call, which for an unchanging load should
be none.  Without a GPU, ``--simulated`` rehearses it.
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
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from pytest_joules.meters.zeus import ZeusMeter, simulated_host
from pytest_joules.sampling import CallLog, whole_tick_blocks
from pytest_joules.testing import launch, synchronize
from pytest_joules.workloads.completion import Completion

LENGTHS = (0.25, 0.5, 1.0, 2.0)


def decode_step() -> Callable[[], object]:
    """The CUDA-graph decode step of ``examples/torch``."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "torch"))
    import decoder
    import torch

    x = torch.randn(32, 1, decoder.HIDDEN, device="cuda", dtype=torch.bfloat16)
    graph = decoder.capture(decoder.make_decoder(40, 32, 512), x)
    return graph.replay


def simulated_step() -> None:
    """A memory-bound step of 4 ms."""
    launch(bytes=0.004 * 4.3e12)
    synchronize()


def spread(values: list[float]) -> dict[str, float]:
    """Relative standard deviation and largest deviation from the median."""
    middle = statistics.median(values)
    return {
        "windows": len(values),
        "sd": statistics.stdev(values) / middle,
        "worst": max(abs(value / middle - 1) for value in values),
        "zero": sum(value == 0 for value in values),
    }


def main() -> None:
    """Run the stream, print the table, write the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="length of the stream for each window length")
    parser.add_argument("--simulated", action="store_true", help="on the simulated H200")
    parser.add_argument("--out", type=Path, help="write the raw numbers here, as JSON")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Zeus warns at every window that reads 0 J; the table counts them
    raw: dict[str, object] = {}
    rows = []
    with contextlib.ExitStack() as stack:
        host = simulated_host("h200", {"seed": "1"}, stack) if options.simulated else None
        step = simulated_step if options.simulated else decode_step()
        meter = ZeusMeter(os.environ, host)
        stack.callback(meter.close)
        from zeus.monitor import ZeusMonitor

        monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])
        completion = Completion(meter)
        warm_until = time.monotonic() + 5
        while time.monotonic() < warm_until:
            step()
            completion()
        for length in LENGTHS:
            log, naive = CallLog(completion()), []
            began = log.times[0]
            while log.elapsed < options.seconds:
                opened = completion()
                monitor.begin_window("naive", sync_execution=False)
                calls = log.calls
                while log.times[-1] - opened < length:
                    step()
                    log.count({"call": 1.0})
                    log.complete(completion())
                naive.append(monitor.end_window("naive", sync_execution=False).total_energy / (log.calls - calls))
            time.sleep(0.3)
            ticks = meter.ticks(meter.devices[0], began)
            min_ticks = max(1, math.floor(length / meter.period(meter.devices[0])))
            ours = [block.joules_per_unit for block in whole_tick_blocks([ticks], log, min_ticks)["call"]]
            raw[f"{length}"] = {"naive_joules_per_call": naive, "tick_aligned_joules_per_call": ours}
            for name, values in (("ZeusMonitor window", naive), ("whole ticks", ours)):
                found = spread(values)
                rows.append(
                    (
                        f"{length:g} s",
                        name,
                        found["windows"],
                        f"{found['sd']:.3%}",
                        f"{found['worst']:.2%}",
                        found["zero"],
                    )
                )
        device = meter.devices[0]
        about = {
            "device": device.name,
            "simulated": device.simulated,
            "driver": device.driver,
            "meter": meter.description,
        }
    print(f"{about['device']}{' (simulated)' if about['simulated'] else ''}, driver {about['driver']}")
    headers = ("window", "method", "windows", "sd of J/call", "worst", "read 0 J")
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))
    if options.out:
        options.out.write_text(json.dumps({"about": about, "series": raw}))


if __name__ == "__main__":
    main()
