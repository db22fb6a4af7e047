"""The steady state against the ML.ENERGY Benchmark's own formula, from the same raw data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Suite
from test_serving import SERVED
from traces import made_trace, reads_of

from pytest_joules.meters.replay import WindowTrace
from pytest_joules.model import WindowKind
from pytest_joules.serving.load import LoadResult, Record

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "h200" / "server.py"
THEIRS = ("ML.ENERGY, to N - B first tokens", "ML.ENERGY, to N - B - 1 finished")

BATCH, REQUESTS, TOKENS, STEP = 8, 80, 50, 0.02
FULL_WATTS, OTHER_WATTS = 400.0, 150.0
FIRST = 2.0


def figures_of(directory: Path, trace: Path, records: str) -> Mapping[str, Mapping[str, float]]:
    """What the script says of a trace and the records of its load."""
    command = [sys.executable, str(SCRIPT), str(trace), "--records", records, "--json", "figures.json"]
    ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    figures: dict[str, Any] = json.loads((directory / "figures.json").read_text())
    return figures


def exact_load() -> LoadResult:
    """A batch of eight that gives a token to each request at each step; a slot is empty for a step between two."""
    free = [0] * BATCH
    records = []
    for number in range(REQUESTS):
        slot = min(range(BATCH), key=free.__getitem__)
        tokens = TOKENS if number >= BATCH else TOKENS * (number + 1) // BATCH
        steps = [FIRST + STEP * (free[slot] + step) for step in range(1, tokens + 1)]
        records.append(Record(steps[0] - STEP, steps[-1], tuple(zip(steps, range(1, tokens + 1), strict=True)), 32))
        free[slot] += tokens + 1
    return LoadResult(tuple(sorted(records, key=lambda record: record.end)), BATCH, 0.1)


def test_both_formulas_agree(tmp_path: Path) -> None:
    load = exact_load()
    starts = sorted(record.start for record in load.records)
    full = starts[BATCH - 1], sorted(record.end for record in load.records)[-BATCH]
    end = load.records[-1].end
    moments = np.array([moment for record in load.records for moment, _ in record.chunks])
    times = tuple(np.arange(full[0], full[1], 0.05).tolist())
    totals = tuple(float((moments <= time).sum()) for time in times)
    window = WindowTrace("t.py::served", "main", WindowKind.STEADY, (0,), times, {"token": totals})
    reads = reads_of(lambda time: FULL_WATTS if full[0] <= time <= full[1] else OTHER_WATTS, end + 2.0)
    made_trace(reads, [window]).write(tmp_path / "trace.json.gz")
    (tmp_path / "records.json").write_text(load.to_json())

    figures = figures_of(tmp_path, tmp_path / "trace.json.gz", "records.json")

    exact = FULL_WATTS * STEP / BATCH * (TOKENS + 1) / TOKENS
    for way in ("pytest-joules", *THEIRS):
        assert figures[way]["joules_per_token"] == pytest.approx(exact, rel=0.01), way
    assert figures[THEIRS[0]]["seconds"] < figures["pytest-joules"]["seconds"]


def test_what_a_run_leaves_is_what_the_script_reads(suite: Suite) -> None:
    suite.write(
        """
    def test_served(energy):
        with serve() as (url, process), energy.server(url, concurrency=8) as server:
            server.load(**LOAD, records="records.json")
    """,
        prelude=SERVED,
    )
    ran, report = suite.report("--energy-trace=traces")
    ran.assert_outcomes(passed=1)
    blocks = report["results"][0]["measurement"]["blocks"]["token"]
    (trace,) = (suite.path / "traces").iterdir()
    figures = figures_of(suite.path, trace, "records.json")
    told = sum(block["joules"] for block in blocks) / sum(block["units"] for block in blocks)
    assert figures["pytest-joules"]["joules_per_token"] == pytest.approx(told, rel=1e-3)
    assert set(THEIRS) < set(figures)
