"""Sweeps the configurations of vLLM in two orders, and measures what they recommend again in fresh processes.

python benchmarks/h200/sweep/run.py WORK [--slo EXPR] [--seconds 190] [--steps order-1,order-2,confirm] [ARGUMENT...]

Needs pytest-joules, vLLM and a GPU; run it from the repository.  Leaves a JSON report of every run in WORK_DIR; a step
whose report is there is not done again.  ``pytest-joules frontier WORK/order-1.json`` prints what came of it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from pytest_joules.frontier import frontier_of
from pytest_joules.reporting.json import read
from pytest_joules.slo import parse_slo

TESTS = "examples/vllm/test_offline_sweep.py"
STEPS = ("order-1", "order-2", "confirm")


def measured(report: Path, tests: list[str], *arguments: str) -> None:
    """One fresh pytest, unless its report is there."""
    if report.exists():
        return
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--energy", "--energy-json", str(report)]
    with report.with_suffix(".txt").open("w") as output:
        subprocess.run([*command, *arguments, *tests], stdout=output, stderr=subprocess.STDOUT, check=False)
    print(report.name, output_tail(report.with_suffix(".txt")), flush=True)


def output_tail(file: Path) -> str:
    """The last line of what pytest said."""
    return file.read_text().rstrip().rpartition("\n")[2]


def to_confirm(report: Path, slo: str) -> dict[str, list[str]]:
    """The tests of the recommended and of the fastest configuration of each sweep."""
    found: dict[str, list[str]] = {"recommended": [], "fastest": []}
    for sweep in read(report).sweeps:
        if choice := frontier_of(sweep, parse_slo(slo)).recommendation:
            found["recommended"].append(choice.name)
            found["fastest"].append(choice.fastest)
    return found


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--slo", default="itl_p95 < 9 ms")
    parser.add_argument("--seconds", default="190", help="for each prompt length in each order")
    parser.add_argument("--steps", default=",".join(STEPS))
    options, more = parser.parse_known_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for step in options.steps.split(","):
        if step == "confirm":
            for name, tests in to_confirm(options.work / "order-1.json", options.slo).items():
                measured(options.work / f"{step}-{name}.json", tests, *more)
        else:
            seed = step.removeprefix("order-")
            ordered = ("--energy-slo", options.slo, "--energy-sweep-seed", seed)
            measured(options.work / f"{step}.json", [TESTS], *ordered, "--energy-sweep-seconds", options.seconds, *more)


if __name__ == "__main__":
    main()
