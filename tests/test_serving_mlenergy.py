"""The steady state against the ML.ENERGY Benchmark's own formula, from the same raw data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Suite
from test_serving import SERVED, TOKEN_JOULES

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "h200" / "server.py"


def test_both_formulas_agree(suite: Suite) -> None:
    suite.write(
        """
    def test_served(energy):
        with serve() as (url, process), energy.server(url, concurrency=8) as server:
            server.load(**LOAD, records="records.json")
    """,
        prelude=SERVED,
    )
    suite.run("--energy-trace=traces").assert_outcomes(passed=1)
    (trace,) = (suite.path / "traces").iterdir()
    command = [sys.executable, str(SCRIPT), str(trace), "--records", "records.json", "--json", "figures.json"]
    ran = subprocess.run(command, cwd=suite.path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    figures = json.loads((suite.path / "figures.json").read_text())
    assert figures["pytest-joules"]["joules_per_token"] == pytest.approx(TOKEN_JOULES, rel=0.02)
    # The client's own time of a first token is up to a chunk and a tick of the queue's lead away.
    for way in ("ML.ENERGY, to N - B first tokens", "ML.ENERGY, to N - B - 1 finished"):
        assert figures[way]["joules_per_token"] == pytest.approx(TOKEN_JOULES, rel=0.06)
