"""Traces: saved by any run, played back through the same sampling and decision."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Suite

from pytest_joules.meters.base import MeterError
from pytest_joules.meters.replay import ReplayMeter, Trace

SUITE = """
    CALLS = []

    @pytest.mark.energy_budget(tolerance="2%", per="token")
    def test_step(energy):
        CALLS.append(energy.repeat(step, work=tokens))

    @pytest.mark.energy_budget(window="shot", gate=False)
    def test_shot(energy):
        with energy.window("shot") as window:
            for _ in range(40):
                step()
            window.count(token=40 * 64)
"""


def only(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    data = json.loads(gzip.decompress(path.read_bytes()))
    change(data)
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    return path


def measured(report: Any) -> list[Any]:
    return [(r["verdict"]["kind"], r["measurement"]["blocks"], r["verdict"]["ratio"]) for r in report["results"]]


@pytest.fixture
def traced(suite: Suite) -> tuple[Suite, Path, Any]:
    suite.write(SUITE)
    suite.store_baseline()
    ran, live = suite.report("--energy-trace=traces")
    ran.assert_outcomes(passed=2)
    ran.stdout.fnmatch_lines(["*energy: trace of 2 windows in traces?20*.json.gz"])
    return suite, only(suite.path / "traces"), live


def test_a_replay_decides_as_the_live_run_did(traced: tuple[Suite, Path, Any]) -> None:
    suite, path, live = traced
    ran, replayed = suite.report(meter=f"replay:{path}")
    ran.assert_outcomes(passed=2)
    ran.stdout.fnmatch_lines(
        ["energy: NVIDIA H100 80GB HBM3 (simulated); replay of 20*", "*energy (simulated, replayed)*"]
    )
    assert str(path.parent) not in json.dumps(replayed)
    assert [kind for kind, _, _ in measured(live)] == ["PASS", "NO_BASELINE"]
    # Blocks cut at the same ticks; the trace keeps reads to microseconds and millijoules.
    for (kind, blocks, ratio), (again, blocks_again, ratio_again) in zip(
        measured(live), measured(replayed), strict=True
    ):
        assert again == kind
        assert [b["units"] for b in blocks_again["call"]] == pytest.approx([b["units"] for b in blocks["call"]], abs=1)
        assert [b["joules"] for b in blocks_again["token"]] == pytest.approx([b["joules"] for b in blocks["token"]])
        assert ratio_again == pytest.approx(ratio) if ratio else ratio_again is None
    (step, shot), again = (
        [result["measurement"]["latencies"] for result in report["results"]] for report in (live, replayed)
    )
    assert [step, shot] == again
    assert set(step) >= {"call", "call_p50", "call_p95"}
    assert set(shot) == {"call"}
    # The same trace always says the same.
    assert measured(suite.report(meter=f"replay:{path}")[1]) == measured(replayed)


def test_a_replay_calls_once_and_takes_another_rule(traced: tuple[Suite, Path, Any]) -> None:
    suite, path, _ = traced
    suite.write(SUITE + "\n    def test_calls():\n        assert CALLS == [{'token': 64}]\n")
    suite.store_baseline(joules_per_unit=0.05, sessions=10)
    ran, report = suite.report(meter=f"replay:{path}")
    # The baseline is another one now; the recorded calls end before a regression could be confirmed.
    verdict = report["results"][0]["verdict"]
    assert verdict["kind"] == "INVALID"
    assert "the recorded calls end after" in verdict["reason"]
    ran.stdout.fnmatch_lines(["*before warm-up was over*"])


def test_what_the_trace_does_not_hold_is_invalid(traced: tuple[Suite, Path, Any]) -> None:
    suite, path, _ = traced
    suite.write("@pytest.mark.energy_budget\ndef test_new(energy):\n    assert energy(step)\n")
    ran, report = suite.report(meter=f"replay:{path}")
    ran.assert_outcomes(failed=1)
    assert "does not hold window 'main' of test_it.py::test_new" in report["results"][0]["verdict"]["reason"]


def test_a_foreign_process_spoils_the_replay_too(suite: Suite) -> None:
    suite.write(SUITE)
    suite.store_baseline()
    _, live = suite.report("--energy-trace=traces", meter="simulated:h100-sxm,seed=1,fault=foreign")
    _, again = suite.report(meter=f"replay:{only(suite.path / 'traces')}")
    assert "shares the device" in live["results"][0]["verdict"]["reason"]
    assert again["results"][0]["verdict"] == live["results"][0]["verdict"]


def test_replayed_joules_are_not_stored(traced: tuple[Suite, Path, Any]) -> None:
    suite, path, _ = traced
    ran = suite.run("--energy-update", meter=f"replay:{path}")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*drop --energy-update*"])


def test_workers_save_a_trace_each(suite: Suite) -> None:
    suite.write(SUITE)
    suite.run("--energy-trace=traces", "-n2", "--energy-missing=warn").assert_outcomes(passed=2)
    windows = [w.window for path in (suite.path / "traces").iterdir() for w in Trace.read(path).windows]
    assert sorted(windows) == ["main", "shot"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda data: data.pop("schema"), "no 'schema' number"),
        (lambda data: data.update(schema=99), "newer than this pytest-joules"),
        (lambda data: data.update(surprise=1), "no key 'surprise'"),
        (lambda data: data.update(devices=[]), "0 traces of 1 devices"),
        (lambda data: data["devices"][0]["joules"].pop(), "not of one length"),
        (lambda data: data["devices"][0]["joules"].reverse(), "not in order"),
        (lambda data: data["windows"][0].update(devices=[7]), "devices that the trace does not have"),
        (lambda data: data["windows"][0]["times"].pop(), "do not fit together"),
        (lambda data: data["windows"][0].update(known=[[1]]), "known reads do not fit"),
        (lambda data: data["windows"][1].update(known=[[1], [1, 1], [1]]), "known reads do not fit"),
        (lambda data: data["windows"][1].update(known=[[3], [2], [4]]), "known reads do not fit"),
        (lambda data: data["windows"][1].update(known=[[1], [2], [10**6]]), "known reads do not fit"),
        (lambda data: data["windows"][1].update(times=[1.0], totals={}), "too few times"),
        (lambda data: data["windows"][0].update(times="x"), "windows[0].times: expected a list"),
    ],
)
def test_a_bad_trace_is_refused_with_its_name(
    traced_file: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    with pytest.raises(MeterError) as caught:
        Trace.read(changed(traced_file, change))
    assert str(traced_file) in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", b"{}", gzip.compress(b"nonsense", mtime=0), gzip.compress(b"[" * 10**6, mtime=0)]
)
def test_what_is_no_trace_is_a_usage_error(suite: Suite, content: bytes) -> None:
    suite.write(SUITE)
    (suite.path / "it.json.gz").write_bytes(content)
    ran = suite.run(meter="replay:it.json.gz")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*it.json.gz: not a trace of pytest --energy-trace*"])


def test_a_file_in_the_way_of_the_directory_is_a_usage_error(suite: Suite) -> None:
    suite.write(SUITE)
    ran = suite.run("--energy-trace=test_it.py")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*--energy-trace: *test_it.py*"])


@pytest.fixture(scope="module")
def trace_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A trace of a meter that is made by hand: two windows, no sampling."""
    from traces import steady_trace

    path = tmp_path_factory.mktemp("trace") / "made.json.gz"
    steady_trace().write(path)
    return path.read_bytes()


@pytest.fixture
def traced_file(tmp_path: Path, trace_bytes: bytes) -> Path:
    path = tmp_path / "made.json.gz"
    path.write_bytes(trace_bytes)
    return path


def test_the_clock_goes_back_for_an_earlier_window(traced_file: Path) -> None:
    meter = ReplayMeter(Trace.read(traced_file), "made")
    device = meter.devices[0]
    meter.seek(3.0)
    before = meter.ticks(device, 0.0)
    meter.seek(9.0)
    assert len(meter.ticks(device, 0.0)) > len(before)
    meter.seek(3.0)
    assert meter.ticks(device, 0.0) == before
    assert max(signals.time for signals in meter.signals(device, 0.0, 100.0)) <= 3.0


def test_a_read_that_came_in_late_is_late_in_the_replay_too(traced_file: Path) -> None:
    meter = ReplayMeter(Trace.read(traced_file), "made")
    device = meter.devices[0]
    meter.seek(3.0)
    by_then = len(meter.reads(device))
    meter.seek(1.0)
    meter.seek(3.0, [by_then - 5])
    assert len(meter.reads(device)) == by_then - 5
    assert len(meter.signals(device, -1.0, 100.0)) == by_then - 5
    meter.sleep(0.0)
    assert len(meter.reads(device)) == by_then
