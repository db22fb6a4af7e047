"""Old sessions become traces that a suite can play."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Suite

from pytest_joules.meters.replay import ReplayMeter, Trace

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "convert_sessions.py"
PHASE, WATTS, CALL = 0.0371, 500.0, 0.05
START, END = 100.0, 112.0
LOADS = {"decode40#0": (101.0, 1.0), "decode41#0": (104.0, 1.025), "decode42#0": (107.0, 1.05)}


def edge(cell: int) -> float:
    return PHASE + 0.1 * cell


def session() -> dict[str, Any]:
    """A load of 500 W all the time, seen by a thread that is late by up to 80 ms; one read took too long."""
    rng = random.Random(1)
    ticks = []
    for cell in range(round(10 * START), round(10 * END)):
        late = rng.uniform(0, 0.002) if rng.random() < 0.8 else rng.choice([0.0105, rng.uniform(0.0, 0.08)])
        end = edge(cell) + late
        ticks.append([end - 0.0035, end, round(1000 * WATTS * edge(cell))])
    # Begun in one cell and ended in the next, while the earlier one's value was still to come.
    del ticks[5]
    ticks[5][0] -= 0.07
    series = {}
    for name, (start, scale) in LOADS.items():
        calls = [start + CALL * scale * number for number in range(1, 51)]
        meta = [[50 + number // 10, 1980, 4 if number < 10 else 0] for number in range(50)]
        series[name] = {"t0": start, "t1": calls[-1] + 0.003, "calls": calls, "meta": meta, "naive_J": 1.0}
    return {"gpu": "0123456789ab", "start": 1.7e9, "series": series, "ticks": ticks}


def run(*args: str) -> str:
    done = subprocess.run([sys.executable, SCRIPT, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    (tmp_path / "session-gpu-x.json").write_text(json.dumps(session()))
    run(str(tmp_path / "session-gpu-x.json"), "--out", str(tmp_path), "--test", "test_it.py::test_{}")
    return tmp_path / "gpu-x.json.gz"


def test_every_certain_value_is_at_its_edge(converted: Path) -> None:
    trace = Trace.read(converted)
    assert trace.meter.devices[0].identity == "0123456789ab"
    meter = ReplayMeter(trace, "x")
    meter.seek(math.inf)
    ticks = meter.ticks(meter.devices[0], 0.0)
    # The lost one and the uncertain one are missing.
    cells = [cell for cell in range(round(10 * START), round(10 * END)) if cell - round(10 * START) not in (5, 6)]
    assert [tick.joules for tick in ticks] == pytest.approx([WATTS * edge(cell) for cell in cells], rel=1e-6)
    assert [tick.time for tick in ticks] == pytest.approx([edge(cell) for cell in cells], abs=0.002)


def test_series_become_windows_and_meta_signals(converted: Path) -> None:
    trace = Trace.read(converted)
    assert [(w.test, w.window) for w in trace.windows] == [(f"test_it.py::test_decode{n}", "#0") for n in (40, 41, 42)]
    window = trace.windows[0]
    assert window.times[:2] == pytest.approx((101.0, 101.05))
    assert window.totals == {"call": window.totals["token"], "token": tuple(map(float, range(51)))}
    signals = trace.devices[0].signals()
    during = [s for s in signals if 101.0 <= s.time <= 103.5]
    assert {s.temperature_celsius for s in during} == {50, 51, 52, 53, 54}
    assert {(s.power_capped, s.slowed_down) for s in during} == {(True, False), (False, False)}
    assert {s.temperature_celsius for s in signals if s.time < 101.0} == {None}


def test_a_suite_plays_a_converted_session(converted: Path, suite: Suite) -> None:
    suite.write("""

        def test_decode42(energy):
            energy.repeat(step, window="#0", work={"token": 1})
    """)
    ran, report = suite.report("-k", "decode42", meter=f"replay:{converted}")
    ran.assert_outcomes(passed=1)
    blocks = report["results"][0]["measurement"]["blocks"]["token"]
    per_call = sum(b["joules"] for b in blocks) / sum(b["units"] for b in blocks)
    assert per_call == pytest.approx(WATTS * CALL * 1.05, rel=1e-3)


def test_the_table_shows_joules_a_call_and_ratios(tmp_path: Path) -> None:
    (tmp_path / "session-gpu-y.json").write_text(json.dumps(session()))
    run(str(tmp_path / "session-gpu-y.json"), "--out", str(tmp_path))
    lines = run("--table", str(tmp_path / "gpu-y.json.gz")).splitlines()[2:]
    assert ["25.000 J" in lines[0], "+2.50%" in lines[1], "+5.00%" in lines[2]] == [True, True, True], lines
