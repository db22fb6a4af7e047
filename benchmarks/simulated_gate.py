"""The gate on the simulated H100: many runs against three recorded sessions.

    python benchmarks/simulated_gate.py --runs 20

Each run is a fresh pytest process on another simulated day.  Unchanged runs
and runs with 1 % more declared work must not fail; runs with 5 % more must.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

SUITE = """
import os
import pytest
from pytest_joules.testing import launch, synchronize

SCALE = float(os.environ.get("SCALE", "1"))

def decode():
    launch(flops=1e12, bytes=SCALE * 16e9)
    synchronize()
    return {"token": 64}

@pytest.mark.energy_budget(tolerance="2%")
def test_decode(energy):
    energy.repeat(decode, work=lambda counts: counts)
"""


def run(directory: Path, scale: float, seed: int, *arguments: str) -> int:
    """One run of pytest; its exit code."""
    meter = f"--energy-meter=simulated:h100-sxm,seed={seed}"
    command = ["env", f"SCALE={scale}", sys.executable, "-m", "pytest", "-q", "--energy", meter, *arguments]
    return subprocess.run(command, cwd=directory, stdout=subprocess.DEVNULL, check=False).returncode


def main() -> None:
    """Print how many runs of each kind failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    rows = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "test_it.py").write_text(SUITE)
        for seed in (1, 2, 3):
            run(directory, 1.0, seed, "--energy-update")
        for scale, wanted in ((1.0, 0), (1.01, 0), (1.05, 1)):
            codes = [run(directory, scale, 100 + number) for number in range(runs)]
            rows.append(
                (
                    f"{scale - 1:+.0%}",
                    runs,
                    sum(code == 1 for code in codes),
                    f"all exit {wanted}: {set(codes) == {wanted}}",
                )
            )
    print(tabulate(rows, headers=("declared work", "runs", "failed", ""), tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
