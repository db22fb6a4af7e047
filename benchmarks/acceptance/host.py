"""The acceptance experiment on the GPU host: streams of calls, recorded as traces.

    python benchmarks/acceptance/host.py run --out DIR --gpus 4 --seconds 560 --calibrate
    python benchmarks/acceptance/host.py run --out DIR --gpus 4 --seconds 560 --first 4

Every GPU gets its own row of sessions, each in a fresh process.  A session
runs streams of calls in a seeded random order: the load itself (A), and the
load with two, three or five parts in a hundred added.  Nothing is judged here:
``analysis.py`` plays the traces back.  ``--simulated`` rehearses it.

With ``--calibrate`` each GPU first measures the true ratios by ABBA: the arms
forwards and backwards, again and again, so that drift cancels.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from workloads import LEVELS, Workload, build, open_meter

from pytest_joules.meters.replay import WindowTrace, trace_of
from pytest_joules.model import MeterInfo, WindowKind
from pytest_joules.sampling import COMPLETION_SECONDS, CallLog
from pytest_joules.workloads.completion import Completion
from pytest_joules.workloads.work import Work

WORKLOADS = ("decode", "prefill", "denoise")
A_SECONDS, B_SECONDS = 5.8, 7.0
"""A: the longest rival window and a little before it.  B: two warm-ups and two measurements."""

A_STREAMS = 3
GAP_SECONDS = 0.2
ABBA_SECONDS = 1.5
ABBA_ROUNDS = 2


def arms(names: Sequence[str], session: int, seed: str) -> list[tuple[str, int, int]]:
    """The streams of one session in their order: workload, parts added, number of its kind."""
    levels = [0] * A_STREAMS + [3, 5 if session % 2 else 2]
    streams = [(name, level, levels[:at].count(level)) for name in names for at, level in enumerate(levels)]
    random.Random(seed).shuffle(streams)
    return streams


def stream(workload: Workload, level: int, completion: Completion, seconds: float) -> CallLog:
    """Calls without a gap; several to a completion if they are short, as the sampler makes them."""
    call = workload.calls[level]
    began = completion()
    call()
    together = max(1, math.ceil(COMPLETION_SECONDS / max(completion() - began, 1e-5)))
    log = CallLog(completion())
    while log.elapsed < seconds:
        for _ in range(together):
            call()
            log.count(Work({"call": 1.0, workload.unit: workload.units}))
        log.complete(completion())
    return log


def traced(test: str, window: str, log: CallLog) -> WindowTrace:
    """The stream as a window of a trace."""
    return WindowTrace(
        test=test,
        window=window,
        kind=WindowKind.REPEATED,
        devices=(0,),
        times=tuple(round(moment, 6) for moment in log.times),
        totals={unit: tuple(done) for unit, done in log.totals.items()},
    )


def session(options: argparse.Namespace) -> None:
    """One session, or one calibration, in this process; writes a trace."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    names = tuple(options.workloads.split(","))
    with contextlib.ExitStack() as stack:
        loads = build(names, options.simulated)
        meter, completion = open_meter(stack, options.simulated, seed=options.gpu + 1)
        windows = []
        if options.calibrate:
            for name in names:
                for _ in range(2):
                    stream(loads[name], 0, completion, ABBA_SECONDS / options.hurry)
                forwards = list(LEVELS)
                for turn in range(2 * ABBA_ROUNDS):
                    for level in forwards:
                        log = stream(loads[name], level, completion, ABBA_SECONDS / options.hurry)
                        windows.append(traced(name, f"+{level}/{turn}", log))
                    forwards.reverse()
        else:
            for name, level, number in arms(names, options.session, f"{options.seed}/{options.gpu}/{options.session}"):
                time.sleep(GAP_SECONDS)
                seconds = (B_SECONDS if level else A_SECONDS) / options.hurry
                windows.append(traced(name, f"+{level}/{number}", stream(loads[name], level, completion, seconds)))
        time.sleep(0.3)
        info = MeterInfo(meter.description, meter.simulated, meter.devices)
        trace_of(meter, info, windows, now, version("pytest-joules")).write(options.trace)


def run(options: argparse.Namespace) -> int:
    """Sessions on every GPU at once, each in a fresh process, as long as time is left for another."""
    began = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    facts = {"seed": options.seed, "gpus": options.gpus, "version": version("pytest-joules")}
    (options.out / f"about-{options.first}.json").write_text(json.dumps(facts))
    number = options.first
    longest = 0.0
    calibrating = options.calibrate
    while time.monotonic() - began + longest < options.seconds:
        started = time.monotonic()
        kind = "calibration" if calibrating else "session"
        children = [_child(options, gpu, number, kind) for gpu in range(options.gpus)]
        codes = [child.wait() for child in children]
        spent = time.monotonic() - started
        print(f"{kind} {number}: {spent:.1f} s, exit codes {codes}", flush=True)
        if any(codes):
            return 1
        if calibrating:
            calibrating = False
        else:
            number += 1
            longest = max(longest, 1.02 * spent)
    return 0


def _child(options: argparse.Namespace, gpu: int, number: int, kind: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "session", f"--gpu={gpu}", f"--session={number}", f"--seed={options.seed}"]
    command += [f"--trace={options.out / f'{kind}-{number}-gpu{gpu}.json.gz'}", f"--hurry={options.hurry}"]
    command += [f"--workloads={options.workloads}"]
    command += ["--simulated"] * options.simulated + ["--calibrate"] * (kind == "calibration")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": str(gpu)}
    return subprocess.Popen(command, env=environment if not options.simulated else None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "session"):
        sub = commands.add_parser(name)
        sub.add_argument("--seed", type=int, default=20261121)
        sub.add_argument("--workloads", default=",".join(WORKLOADS))
        sub.add_argument("--simulated", action="store_true")
        sub.add_argument("--calibrate", action="store_true")
        sub.add_argument("--hurry", type=float, default=1.0, help="streams so many times shorter, to rehearse")
    running, one = commands.choices["run"], commands.choices["session"]
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--gpus", type=int, default=1)
    running.add_argument("--seconds", type=float, default=560.0)
    running.add_argument("--first", type=int, default=0, help="number of the first session")
    one.add_argument("--gpu", type=int, required=True)
    one.add_argument("--session", type=int, required=True)
    one.add_argument("--trace", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.command == "run":
        return run(options)
    session(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
