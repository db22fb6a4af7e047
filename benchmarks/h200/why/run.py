"""Records baselines and runs every honest change against them, each in a fresh process; leaves their reports.

python benchmarks/h200/why/run.py torch|vllm WORK_DIR [--only NAME] [--seconds 540] [--pack FILE] [PYTEST_ARGUMENT...]

Needs pytest-joules and a GPU (torch and transformers, or vLLM); run it from the repository.  What is done already is
not done again, and nothing is begun after ``--seconds``, so that a call that was cut short is repeated.  After every
step ``--pack FILE`` holds all reports so far, as one archive.  ``summary.py`` prints what came of it.

To try it without a GPU: ``--meter simulated:h200 --pace 0.02 --sessions 1``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from scenarios import BASELINES, ENGINE, HERE, SCENARIOS, Recorded

LOAD = Path(__file__).with_name("load.py")
GATE = Path(__file__).parents[1] / "gate.sh"

STEP_SECONDS = 240.0
"""No step takes longer; one that hangs costs its own result alone."""


class Run:
    """One call of this script."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._deadline = time.monotonic() + options.seconds
        self._engine = {name: value for name, value in ENGINE.items() if vllm_knows(name)}

    def everything(self) -> None:
        """Every scenario, and before the first one of each baseline its sessions."""
        options = self._options
        for scenario in SCENARIOS[options.group]:
            if options.only and scenario.name not in options.only:
                continue
            recorded = BASELINES[options.group][scenario.baseline]
            self._record(scenario.baseline, recorded)
            tests = scenario.tests or recorded.tests
            for number in range(1, scenario.runs + 1):
                self._step(scenario.baseline, scenario.name, number, tests, scenario.before, scenario.environment)

    def _record(self, baseline: str, recorded: Recorded) -> None:
        for number in range(1, self._options.sessions + 1):
            first = recorded.once if number == 1 else ""
            self._step(baseline, "record", number, recorded.tests, first or recorded.before, {})

    def _step(
        self, baseline: str, name: str, number: int, tests: Sequence[str], before: str, change: Mapping[str, str]
    ) -> None:
        """One fresh pytest, if there is time and it has not been done."""
        work = self._options.work / baseline
        if (work / f"{name}-{number}.json").exists():
            return
        if time.monotonic() > self._deadline:
            print(f"no time left for {baseline} {name} {number}", flush=True)
            return
        meter = self._options.meter
        with self._prepared(before, work / f"{name}-{number}.pid"):
            if before == "neighbour" and meter.startswith("simulated"):
                meter += ",fault=foreign"
            # gate.sh says -q: twice -v is once.
            arguments = [*tests, "-vv", "--energy-meter", meter, *self._options.pytest]
            environment = {**os.environ, **change, "FIRST": str(number)}
            if self._options.group == "vllm":
                environment["VLLM_ARGUMENTS"] = json.dumps(
                    {**self._engine, **json.loads(change.get("VLLM_ARGUMENTS", "{}"))}
                )
            print(f"{baseline}: ", end="", flush=True)
            command = ["timeout", f"{STEP_SECONDS:g}", "bash", str(GATE), name, "1", str(work), *arguments]
            subprocess.run(command, env=environment, check=False)
        self._pack()

    def _pack(self) -> None:
        """All that there is, in one archive; the last one stays if this call is killed meanwhile."""
        if (target := self._options.pack) is None:
            return
        part = target.with_name(f"{target.name}.part")
        with tarfile.open(part, "w:gz") as archive:
            archive.add(self._options.work, arcname=self._options.work.name)
        part.replace(target)

    @contextmanager
    def _prepared(self, before: str, pid_file: Path) -> Iterator[None]:
        what, _, seconds = before.partition(":")
        lasting = float(seconds or 0) * self._options.pace
        if what == "idle":
            time.sleep(lasting)
        elif what == "heat":
            subprocess.run([sys.executable, str(LOAD), str(lasting)], stdout=subprocess.DEVNULL, check=True)
        if what != "neighbour":
            yield
            return
        with subprocess.Popen([sys.executable, str(LOAD), "120"], stdout=subprocess.PIPE, text=True) as other:
            try:
                assert other.stdout is not None
                pid_file.write_text(other.stdout.readline())
                yield
            finally:
                other.kill()


def vllm_knows(argument: str) -> bool:
    """Whether the installed vLLM has an engine argument; importing it to ask would take a quarter of a minute."""
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        return False
    arguments = Path(found.origin).parent / "engine" / "arg_utils.py"
    return arguments.is_file() and f" {argument}:" in arguments.read_text(encoding="utf-8")


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog=f"{HERE}/run.py")
    parser.add_argument("group", choices=sorted(SCENARIOS))
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", action="append", metavar="NAME", help="these scenarios only")
    parser.add_argument("--seconds", type=float, default=540.0, help="begin nothing after so long")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="a .tar.gz of all reports so far, after every step")
    parser.add_argument("--sessions", type=int, default=3, help="of each baseline")
    parser.add_argument("--meter", default="auto")
    parser.add_argument("--pace", type=float, default=1.0, help="how long heating and idling last, of their time")
    options, options.pytest = parser.parse_known_args()
    Run(options).everything()


if __name__ == "__main__":
    main()
