"""The HTML report of 200 tests, made of real H200 results: its size, and how long it takes to make and to open.

    python benchmarks/html_report.py [--tests 200] [--keep FILE] [RESULT.json ...]
    python benchmarks/html_report.py --replay TRACE.json.gz BASELINE.json

Making counts Plotly, which a process packs once.  Opening is timed in a headless Chromium, where there is one
(``pip install playwright``, and a ``chromium``): from the navigation to the end of the page's script, when filter,
sorting and links work, and from a click on a test to its last chart.  Each number is the shortest of five.

With RESULT.json files, the page of each is made and opened instead; with ``--replay``, that of a recorded run, judged
by these baselines: its power over time is what the GPU really drew.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pytest_joules.meters.replay import Trace
from pytest_joules.model import BudgetResult, History, Measurement, PowerTrace, RunResult
from pytest_joules.reporting import html
from pytest_joules.reporting import json as json_report

RESULTS = Path(__file__).parent / "results" / "h200-why" / "changes"
REAL = ("unchanged-1", "unchanged-2", "unfused-1", "python-1", "float32-1", "layers9-1")
"""Runs whose results stand in for many: level ones of a suite, and regressions with their diagnoses."""

PERIOD = 0.1

REPEATS = 5


def many(count: int, seed: int = 1) -> RunResult:
    """A run of ``count`` tests: real results under other names, with traces and histories as runs have them now."""
    chance = random.Random(seed)
    runs = [json_report.read(RESULTS / f"{name}.json") for name in REAL]
    real = [result for run in runs for result in run.results if result.measurement is not None]
    results = [_varied(real[number % len(real)], number, chance) for number in range(count)]
    return replace(runs[0], results=tuple(results))


def _varied(result: BudgetResult, number: int, chance: random.Random) -> BudgetResult:
    measurement = result.measurement
    assert measurement is not None
    test = f"tests/energy/test_model_{number // 20}.py::test_generate[{number}-bfloat16-batch{2 ** (number % 8)}]"
    key = replace(result.key, test=test) if result.key else None
    value = result.verdict.baseline_joules_per_unit
    history = None if value is None else _history(value, chance)
    return replace(
        result, test=test, key=key, measurement=replace(measurement, trace=_trace(measurement, chance)), history=history
    )


def _trace(measurement: Measurement, chance: random.Random) -> PowerTrace:
    """Power as it was on average, with a power cap's swings; a point each tick."""
    warm, seconds = measurement.warmup_seconds or 0.7, measurement.seconds or 1.0
    watts = measurement.joules / seconds if measurement.joules else 300.0
    times = [round(PERIOD * tick, 3) for tick in range(1, min(200, math.ceil((warm + seconds) / PERIOD)) + 1)]
    edges = [warm]
    for block in measurement.any_blocks:
        edges.append(round(edges[-1] + block.seconds, 3))
    return PowerTrace(
        seconds=tuple(times),
        watts=tuple(
            round(watts * (1 + 0.1 * math.exp(-t) * math.sin(6 * t) + chance.gauss(0, 0.01)), 1) for t in times
        ),
        sm_clock_mhz=tuple(float(1980 - 15 * chance.randrange(5)) for _ in times),
        temperature_celsius=tuple(float(38 + int(3 * t / times[-1])) for t in times),
        block_seconds=tuple(edges),
    )


def _history(value: float, chance: random.Random, sessions: int = 10) -> History:
    return History(
        recorded=tuple(f"2026-{1 + number:02d}-05T10:00:00+00:00" for number in range(sessions)),
        joules_per_unit=tuple(value * (1 + chance.gauss(0, 0.003)) for _ in range(sessions)),
        spread=tuple(abs(chance.gauss(0.003, 0.001)) for _ in range(sessions)),
        seconds_per_unit=(0.01,) * sessions,
        commits=tuple(f"{chance.getrandbits(48):012x}" for _ in range(sessions)),
        same_devices=tuple(chance.random() < 0.7 for _ in range(sessions)),
        anchors=(True,) + (False,) * (sessions - 1),
    )


def replayed(trace: Path, baseline: Path) -> RunResult:
    """A recorded run of repeated calls, played back: tests of its names stand in for the suite, and call nothing."""
    source = "import pytest\n"
    for window in Trace.read(trace).windows:
        name, unit = window.test.partition("::")[2], next(unit for unit in window.totals if unit != "call")
        budget = f"@pytest.mark.energy_budget(per={unit!r}, tolerance='1.5%')"
        source += f"{budget}\ndef {name}(energy):\n    energy.repeat(lambda: None, work={{{unit!r}: 1}})\n"
        file = window.test.partition("::")[0]
    with tempfile.TemporaryDirectory() as directory:
        suite = Path(directory)
        (suite / file).write_text(source, encoding="utf-8")
        (suite / "baselines").mkdir()
        shutil.copy(baseline, suite / "baselines")
        arguments = ["--energy", f"--energy-meter=replay:{trace.absolute()}", "--energy-json=result.json", file]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", *arguments]
        subprocess.run(command, cwd=suite, check=True, stdout=subprocess.DEVNULL)
        return json_report.read(suite / "result.json")


def opened(page_file: Path, browser: str) -> dict[str, float]:
    """Seconds that the page takes in a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready]")
        ready = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        start = time.perf_counter()
        page.locator("#tests tbody a").first.click()
        page.wait_for_selector("article[data-charts]:target")
        first = time.perf_counter() - start
        page.go_back()
        start = time.perf_counter()
        page.locator("#tests tbody a").nth(1 if page.locator("#tests tbody a").count() > 1 else 0).click()
        page.wait_for_selector("article[data-charts]:target")
        second = time.perf_counter() - start
        start = time.perf_counter()
        page.go_back()
        page.locator("#query").fill("17")
        found = time.perf_counter() - start
        chromium.close()
    return {"interactive": ready / 1000, "first test": first, "next test": second, "search": found}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", nargs="*", type=Path)
    parser.add_argument("--tests", type=int, default=200)
    parser.add_argument("--replay", nargs=2, type=Path, metavar=("TRACE.json.gz", "BASELINE.json"))
    parser.add_argument("--keep", type=Path, help="leave the last page here")
    options = parser.parse_args(arguments)
    runs = [(path.name, json_report.read(path)) for path in options.results]
    if options.replay:
        runs.append((f"replay of {options.replay[0].name}", replayed(*options.replay)))
    browser = shutil.which("chromium")
    for name, run in runs or [(f"{options.tests} tests", many(options.tests))]:
        timed: list[dict[str, float]] = []
        for _ in range(REPEATS):
            html._library.cache_clear()
            start = time.perf_counter()
            text = html.render(run)
            timed.append({"made in": time.perf_counter() - start})
            with tempfile.TemporaryDirectory() as directory:
                page = options.keep or Path(directory, "report.html")
                page.write_text(text, encoding="utf-8")
                timed[-1] |= opened(page.absolute(), browser) if browser else {}
        told = [f"{what} {min(each[what] for each in timed):.2f} s" for what in timed[0]]
        print(f"{name}: {len(run.results)} results, {len(text.encode()) / 1e6:.2f} MB, {', '.join(told)}")


if __name__ == "__main__":
    main()
