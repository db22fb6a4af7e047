"""How long ten thousand budgets take, with ten stored sessions each, and how much memory.

    python benchmarks/scale.py [--budgets 10000] [--against 1000] [--json FILE]

A baseline file is made of a session as a run on an NVIDIA GPU stores it (six blocks, eighteen signals, 0.9 kB), and
a report of a run whose results have that many signals, and a trace of four seconds.  Each step then runs in a process
of its own, and says how many seconds of processor time it took (the least of three; the file is in the page cache;
nothing waits, so that this is what an idle machine's clock shows), and by how much the process grew at its peak.  The
same steps on fewer budgets tell whether they scale.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pytest_joules.baselines.store import Addition, BaselineFile, BaselineStore, render
from pytest_joules.budget import EnergyBudget
from pytest_joules.model import (
    BaselineKey,
    Block,
    BudgetResult,
    Conditions,
    Device,
    Measurement,
    MeterInfo,
    PowerTrace,
    RunResult,
    Session,
    Verdict,
    VerdictKind,
    WindowKind,
)
from pytest_joules.reporting import json as json_report
from pytest_joules.reporting import terminal
from pytest_joules.reporting.formats import FORMATS, renderer

SKU = "simulated-nvidia-h100-80gb-hbm3"
DEVICE = Device(0, "NVIDIA H100 80GB HBM3", "cc4d68c4c00c", "gpu", 700.0, 700.0, "simulated", True, None)
SESSIONS, BLOCKS, POINTS, REPEATS = 10, 6, 40, 3
SIGNALS = {
    "dram_active": 0.8949,
    "dram_bytes_per_second": 3.0e12,
    "fp16_active": 0.0,
    "fp32_active": 0.0,
    "fp64_active": 0.0,
    "hardware_thermal_share": 0.0,
    "host_cores": 0.1204,
    "integer_active": 0.0,
    "memory_clock_mhz": 2619.0,
    "memory_used_bytes": 5.0e8,
    "nvlink_bytes_per_second": 0.0,
    "pcie_bytes_per_second": 0.0,
    "power_brake_share": 0.0,
    "sm_active": 1.0,
    "sm_occupancy": 0.5,
    "software_thermal_share": 0.0,
    "sync_boost_share": 0.0,
    "tensor_active": 0.2133,
}
"""What a session on the simulated H100 stores."""

MIB = 2**20


def session(number: int, of: random.Random, *, rise: float = 1.0) -> Session:
    """A session with a spread as real ones have: 0.2 % between sessions, 0.1 % between blocks."""
    level = 281.7 * rise * of.gauss(1.0, 0.002)
    blocks = tuple(Block(float(f"{level * of.gauss(1.0, 0.001):.6g}"), 6000.0, 0.5) for _ in range(BLOCKS))
    conditions = Conditions(
        temperature_celsius=35.7,
        sm_clock_mhz=1980.0,
        power_cap_share=0.0,
        idle_watts=69.3,
        configuration={"gpu_ecc": "on"},
        signals={**SIGNALS, "host_cores": round(of.uniform(0.1, 0.2), 4)},
    )
    recorded = f"2026-11-21T14:{number:02}:28+00:00"
    return Session(recorded, (DEVICE.identity,), blocks, WindowKind.REPEATED, "844321c65af6", "simulated", conditions)


def key(number: int) -> BaselineKey:
    """The series of one budget."""
    return BaselineKey(f"tests/energy/test_{number // 100:03}.py::test_{number % 100:02}[fp8-64]", "main", "token")


def baselines(budgets: int, of: random.Random) -> BaselineFile:
    """A baseline file."""
    entries = {key(number): tuple(session(day, of) for day in range(SESSIONS)) for number in range(budgets)}
    return BaselineFile(SKU, DEVICE.name, True, entries)


def result(number: int, of: random.Random) -> BudgetResult:
    """What a run found of one budget; one of a hundred costs 5 % more."""
    today = session(0, of, rise=1.05 if number % 100 == 7 else 1.0)
    times = tuple(round(0.1 * number, 3) for number in range(POINTS))
    trace = PowerTrace(times, tuple(round(of.gauss(563, 3), 1) for _ in times), (1980.0,) * POINTS, (35.7,) * POINTS)
    units = {"token": today.blocks, "call": today.blocks}
    measurement = Measurement(
        "main", WindowKind.REPEATED, (DEVICE,), units, 93.0, 0.5, today.conditions, trace=trace
    )  # fmt: skip
    verdict = Verdict(VerdictKind.NO_BASELINE, "no stored session to compare with", 0.046951, 0.0004)
    return BudgetResult(
        key(number).test, EnergyBudget(), True, verdict, False, key(number), SKU, 0.02, measurement
    )  # fmt: skip


def run(budgets: int, of: random.Random) -> RunResult:
    """A run of them all."""
    meter = MeterInfo("simulated", True, (DEVICE,))
    results = tuple(result(number, of) for number in range(budgets))
    return RunResult("2026-11-21T15:00:00+00:00", "0", meter, "844321c65af6", results)


@dataclass(frozen=True, slots=True)
class Files:
    """What the steps read."""

    baseline: Path
    report: Path

    @classmethod
    def made(cls, directory: Path, budgets: int) -> Files:
        """Write both."""
        of = random.Random(6)
        files = cls(directory / "baselines" / f"{SKU}.json", directory / "report.json")
        files.baseline.parent.mkdir()
        files.baseline.write_text(render(baselines(budgets, of)), encoding="utf-8")
        json_report.write(run(budgets, of), files.report)
        shutil.copyfile(files.baseline, directory / "kept.json")
        return files

    def restore(self) -> None:
        """Undo what a step has done to the baselines."""
        shutil.copyfile(self.report.with_name("kept.json"), self.baseline)


Step = Callable[[], object]


def load(files: Files) -> Step:
    """Read the baseline file."""
    store = BaselineStore(files.baseline.parent)
    return lambda: store.load(SKU)


def read(files: Files) -> Step:
    """Read the report."""
    return lambda: json_report.read(files.report)


def update(files: Files) -> Step:
    """Add a session to one series, and write the file."""
    store, of = BaselineStore(files.baseline.parent), random.Random(7)
    return lambda: store.update(SKU, DEVICE.name, True, {key(0): Addition(session(11, of))})


def compare(files: Files, *, brief: bool = True) -> Step:
    """Judge every result against its sessions, as ``pytest-joules compare`` does; with ``--json`` it explains each."""
    from pytest_joules.baselines.sources import Source
    from pytest_joules.comparing import compare
    from pytest_joules.options import Options

    found = json_report.read(files.report)

    def judge() -> object:
        source = Source.find(files.baseline, None, files.report)
        kinds = [result.verdict.kind for result in compare(found, source, Options(enabled=True), brief=brief).results]
        assert kinds.count(VerdictKind.REGRESSED) == len(kinds) // 100, kinds.count(VerdictKind.REGRESSED)
        return kinds

    return judge


def reporting(make: Callable[[RunResult], object]) -> Callable[[Files], Step]:
    """Make a report of the run."""

    def prepare(files: Files) -> Step:
        found = json_report.read(files.report)
        judged = tuple(
            replace(result, verdict=Verdict(VerdictKind.REGRESSED, "rose", 0.05, 0.001, 0.047, 10, 10, False, 1.05,
                                            1.04, 1.06, 0.002, 1.0, 0.01), failed=True)
            if number % 100 == 7 else result
            for number, result in enumerate(found.results)
        )  # fmt: skip
        return lambda: make(replace(found, results=judged))

    return prepare


def _rendered(name: str, found: RunResult) -> str:
    return renderer(name)(found)


def write(run: RunResult) -> None:
    """Write the JSON report."""
    with tempfile.TemporaryDirectory() as directory:
        json_report.write(run, Path(directory, "report.json"))


def hold(files: Files) -> Step:
    """What a run holds at its end, and ``compare`` at its beginning: all results, and the baselines."""
    store = BaselineStore(files.baseline.parent)
    return lambda: (json_report.read(files.report), store.load(SKU))


def command(*arguments: str) -> Callable[[Files], Step]:
    """A command of ``pytest-joules`` on the files as they were made; words in braces stand for their paths."""

    def prepare(files: Files) -> Step:
        from pytest_joules.cli import main

        names = {"baseline": files.baseline, "report": files.report, "directory": files.baseline.parent}
        given = [part.format(**names) for part in arguments]

        def step() -> None:
            files.restore()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                main(given)

        return step

    return prepare


def review(files: Files) -> Step:
    """Read the base's baselines through git, and compare them with a work tree where one session is new."""
    from pytest_joules.baselines.at_ref import BaselinesAtRef
    from pytest_joules.review import review

    here = files.baseline.parent
    for arguments in (["init", "-q"], ["add", files.baseline.name], ["commit", "-qm", "base"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@example", *arguments], cwd=here, check=True)
    update(files)()
    return lambda: review(BaselinesAtRef(here, "HEAD", here), BaselineStore(here))


STEPS: dict[str, Callable[[Files], Step]] = {
    "load": load,
    "read": read,
    "hold": hold,
    "compare": compare,
    "compare, each explained": partial(compare, brief=False),
    "report json": reporting(write),
    "report terminal": reporting(
        lambda found: terminal.report(found, ("test", "sku", "joules", "baseline", "ratio", "verdict"), "verdict", str)
    ),
    **{f"report {name}": reporting(partial(_rendered, name)) for name in FORMATS},
    "update": update,
    "accept": command("accept", "{report}", "--baselines", "{directory}"),
    "show": command("show", "{baseline}"),
    "merge": command("merge", "{baseline}", "{report}", "-o", "{directory}"),
    "prune": command("prune", "tests/energy/test_007.py", "--yes", "--baselines", "{directory}"),
    "review": review,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of the processor and of the clock, and MiB by which the process grew at its peak."""

    seconds: float
    wall: float
    mebibytes: float


def measured(name: str, files: Files) -> Cost:
    """One step in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_measure, name, files).result()


def _measure(name: str, files: Files) -> Cost:
    files.restore()
    step = STEPS[name](files)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, seconds, walls = _resident(), [], []
    for _ in range(REPEATS):
        began, wall = time.process_time(), time.perf_counter()
        kept = step()
        seconds.append(time.process_time() - began)
        walls.append(time.perf_counter() - wall)
        del kept
    return Cost(min(seconds), min(walls), (_peak() - before) / MIB)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budgets", type=int, default=10_000)
    parser.add_argument("--against", type=int, default=1_000, help="how many the smaller run has")
    parser.add_argument("--only", default="", help="only steps whose name holds this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"budgets": options.budgets, "sessions": SESSIONS, "cpus": os.cpu_count(), "steps": {}}
    with tempfile.TemporaryDirectory() as large, tempfile.TemporaryDirectory() as small:
        files, fewer = Files.made(Path(large), options.budgets), Files.made(Path(small), options.against)
        found["baseline_mib"] = round(files.baseline.stat().st_size / MIB, 1)
        found["report_mib"] = round(files.report.stat().st_size / MIB, 1)
        print(f"baselines {found['baseline_mib']} MiB, report {found['report_mib']} MiB; load {os.getloadavg()[0]:.1f}")
        for name in STEPS:
            if options.only not in name:
                continue
            cost, less = measured(name, files), measured(name, fewer)
            ratio = cost.seconds / less.seconds
            print(
                f"{name:<26} {cost.seconds:6.2f} s ({cost.wall:.2f} s by the clock) {cost.mebibytes:5.0f} MiB "
                f"{ratio:5.1f} times {options.against}",
                flush=True,
            )
            found["steps"][name] = {
                "cpu_seconds": round(cost.seconds, 3),
                "wall_seconds": round(cost.wall, 3),
                "mebibytes": round(cost.mebibytes, 1),
                "ratio": round(ratio, 2),
            }
    if options.json is not None:
        options.json.write_text(json.dumps({"python": sys.version.split()[0], **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
