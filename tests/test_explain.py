"""``pytest-joules explain``: any two runs or sessions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.baselines.store import Addition, BaselineStore
from pytest_joules.budget import EnergyBudget
from pytest_joules.cli import main
from pytest_joules.diagnosis.noise import noise_between
from pytest_joules.model import (
    BaselineKey,
    Block,
    BudgetResult,
    Conditions,
    Device,
    Measurement,
    RunResult,
    Session,
    Verdict,
    VerdictKind,
    WindowKind,
)
from pytest_joules.reporting import json as json_report

H200 = Device(0, "NVIDIA H200", "abc", power_limit_watts=700.0)
DECODE = "test_it.py::test_decode"


def blocks(joules: float, seconds: float = 0.01, count: int = 3) -> tuple[Block, ...]:
    """Half-seconds of a steady load that costs ``joules`` and ``seconds`` a token."""
    tokens = 0.5 / seconds
    return tuple(Block(joules * tokens, tokens, 0.5) for _ in range(count))


def measured(
    joules: float = 1.0, test: str = DECODE, *, seconds: float = 0.01, conditions: Conditions | None = None
) -> BudgetResult:
    measurement = Measurement(
        "main",
        WindowKind.REPEATED,
        (H200,),
        {"token": blocks(joules, seconds)},
        10.0,
        1.0,
        conditions or Conditions(temperature_celsius=50.0, sm_clock_mhz=1980.0, idle_watts=80.0),
    )
    key = BaselineKey(test, "main", "token")
    return BudgetResult(
        test, EnergyBudget(), True, Verdict(VerdictKind.PASS), False, key, "nvidia-h200", 0.02, measurement
    )


def report(path: Path, *results: BudgetResult) -> Path:
    json_report.write(RunResult("2026-05-01T12:00:00+00:00", "0.1", commit="abc123", results=results), path)
    return path


def session(joules: float, recorded: str = "2026-05-01T12:00:00+00:00", commit: str | None = None) -> Session:
    return Session(recorded, ("abc",), blocks(joules), commit=commit)


def baseline(directory: Path, sessions: Sequence[Session], test: str = DECODE) -> Path:
    store = BaselineStore(directory)
    for stored in sessions:
        store.update("nvidia-h200", "NVIDIA H200", False, {BaselineKey(test, "main", "token"): Addition(stored)})
    return store.path("nvidia-h200")


def test_a_change_is_split_and_a_level_series_takes_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = report(tmp_path / "a.json", measured(1.0), measured(2.0, "test_it.py::test_prefill"))
    after = report(tmp_path / "b.json", measured(1.5, seconds=0.012), measured(2.004, "test_it.py::test_prefill"))
    assert main(["explain", str(before), str(after)]) == 0
    said = capsys.readouterr().out
    assert f"{DECODE} [main, J/token]: 1.000 J -> 1.500 J, +50.0%" in said
    assert "watts +25.0%, seconds per unit +20.0%" in said
    (level,) = [line for line in said.splitlines() if "test_prefill" in line]
    assert "2.000 J -> 2.004 J, +0.2%, level: noise " in level


def test_a_session_of_a_baseline_file_is_chosen_by_time_or_commit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = [session(1.0, "2026-05-01T12:00:00+00:00", "abc123"), session(1.2, "2026-05-02T12:00:00+00:00", "abd456")]
    path = baseline(tmp_path, old)
    after = report(tmp_path / "after.json", measured(1.2))
    for chosen, headline in (("2026-05-01", "1.000 J"), ("abd", "1.200 J")):
        assert main(["explain", f"{path}@{chosen}", str(after)]) == 0
        assert f"[main, J/token]: {headline} -> 1.200 J" in capsys.readouterr().out
    assert main(["explain", str(path), str(after)]) == 0
    assert "[main, J/token]: 1.095 J -> 1.200 J" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "complaint"),
    [
        ("nowhere.json", "nowhere.json: there is no such file"),
        (".", ".: is a directory; name a file in it"),
        ("text.json", "text.json: neither a report of pytest --energy-json nor a baseline file"),
        ("list.json", "list.json: neither a report of pytest --energy-json nor a baseline file"),
        ("newer.json", "newer.json: schema 99 is newer than this pytest-joules knows"),
        ("newer-baseline.json", "schema 99 was written by a newer pytest-joules"),
        ("nvidia-h200.json@2027", "no session was recorded at a time, or at a commit, that begins with '2027'"),
        ("nvidia-h200.json@ab", "'ab' begins 2 times or commits: abc123, abd456"),
        ("after.json@abc", "after.json is a report, which is one session: drop @abc"),
        ("other.json", "no series in common"),
        ("unit.json", "joules per image do not compare with joules per token"),
        ("invalid.json", "no series to compare (invalid.json: test_it.py::test_decode: INVALID: a foreign process"),
    ],
)
def test_what_cannot_be_explained_is_one_clear_line_and_exit_code_2(
    tmp_path: Path,
    before: str,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    here = Path()
    (here / "text.json").write_text("{")
    (here / "list.json").write_text("[1]")
    (here / "newer.json").write_text('{"schema": 99, "results": []}')
    (here / "newer-baseline.json").write_text('{"schema": 99, "sku": "nvidia-h200", "entries": {}}')
    baseline(here, [session(1.0, commit="abc123"), session(1.0, commit="abd456")])
    report(here / "after.json", measured())
    report(here / "other.json", measured(test="test_it.py::test_a"), measured(test="test_it.py::test_b"))
    image = measured(test="test_it.py::test_image")
    assert image.measurement is not None
    by_image = replace(image.measurement, blocks={"image": blocks(1.0)})
    key = BaselineKey("test_it.py::test_image", "main", "image")
    report(here / "unit.json", replace(image, key=key, measurement=by_image))
    report(here / "invalid.json", replace(measured(), verdict=Verdict(VerdictKind.INVALID, "a foreign process, pid 7")))
    assert main(["explain", before, "after.json"]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_single_series_are_matched_whatever_they_are_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = report(
        tmp_path / "a.json", measured(1.0, "test_old.py::test_it"), measured(1.0, "test_old.py::test_prefill")
    )
    after = report(tmp_path / "b.json", measured(1.1, "test_new.py::test_it"))
    assert main(["explain", str(before), str(after), "-k", "test_it"]) == 0
    assert "test_old.py::test_it [main, J/token] -> test_new.py::test_it [main, J/token]: " in capsys.readouterr().out


def eager(joules: float, *settings: str, device: Device = H200) -> BudgetResult:
    known = {"enforce_eager": "True"} | dict.fromkeys(settings, "1")
    found = measured(joules, conditions=Conditions(configuration=known))
    assert found.measurement is not None
    return replace(found, measurement=replace(found.measurement, devices=(device,)))


def test_a_level_line_tells_what_the_noise_of_other_devices_may_hide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled = Conditions(configuration=dict.fromkeys(("a", "b", "c"), "0") | {"enforce_eager": "False"})
    before = report(tmp_path / "a.json", measured(1.0, conditions=compiled))

    def level(result: BudgetResult) -> str:
        assert main(["explain", str(before), str(report(tmp_path / "b.json", result))]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if ", level: noise " in line]
        return line

    same = level(eager(1.001))
    assert same.endswith("; other settings: enforce_eager: False -> True")
    other = level(eager(1.2, device=replace(H200, identity="def")))
    assert "; other settings: enforce_eager: False -> True; other devices, which makes the noise: " in other
    many = level(eager(1.001, "a", "b", "c"))
    assert " -> " in many
    assert many.endswith(" and 1 more (--json)")
    assert level(measured(1.001, conditions=compiled)).partition("noise ")[2].endswith("%")


CAPPED = replace(H200, power_limit_watts=450.0, default_power_limit_watts=700.0)


def under_450_watts(joules: float) -> BudgetResult:
    free = measured(joules)
    assert free.measurement is not None
    return replace(free, sku="nvidia-h200+450w", measurement=replace(free.measurement, devices=(CAPPED,)))


@pytest.mark.parametrize("sku", ["nvidia-h200", "nvidia-h200+700w"])
def test_another_power_limit_is_known_by_the_name_of_a_baseline_file(
    tmp_path: Path, sku: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = BaselineStore(tmp_path / "baselines")
    store.update(sku, "NVIDIA H200", False, {BaselineKey(DECODE, "main", "token"): Addition(session(1.0))})
    after = report(tmp_path / "after.json", under_450_watts(0.9))
    for sides, change in (((store.path(sku), after), "700 W -> 450 W"), ((after, store.path(sku)), "450 W -> 700 W")):
        assert main(["explain", *map(str, sides)]) == 0
        said = capsys.readouterr().out
        assert f"the two are not the same thing measured twice: power limit: {change}" in said


def test_baseline_files_of_two_skus_are_said_to_be_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = BaselineStore(tmp_path)
    for sku in ("nvidia-h200", "nvidia-h200+450w"):
        store.update(sku, "NVIDIA H200", False, {BaselineKey(DECODE, "main", "token"): Addition(session(1.0))})
    assert main(["explain", *(str(store.path(sku)) for sku in ("nvidia-h200", "nvidia-h200+450w"))]) == 0
    said = capsys.readouterr().out
    assert "the two are not the same thing measured twice: SKU: nvidia-h200 -> nvidia-h200+450w" in said


def test_what_one_side_lacks_and_what_is_not_to_be_trusted_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unmeasured = BudgetResult("test_it.py::test_late", EnergyBudget(), True, Verdict(VerdictKind.UNMEASURED, "skipped"))
    before = report(tmp_path / "a.json", measured(), measured(test="test_it.py::test_gone"), unmeasured)
    after = report(tmp_path / "b.json", measured(), measured(test="test_it.py::test_new"))
    assert main(["explain", str(before), str(after)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert f"left out: {before}: test_it.py::test_late: UNMEASURED: skipped" in said
    assert f"only in {before}: test_it.py::test_gone [main, J/token]" in said
    assert f"only in {after}: test_it.py::test_new [main, J/token]" in said


def test_other_work_is_explained_though_it_is_invalid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(measured(1.5), verdict=Verdict(VerdictKind.INVALID, "other work", other_work=True))
    assert main(["explain", str(report(tmp_path / "a.json", measured())), str(report(tmp_path / "b.json", other))]) == 0
    assert "+50.0%" in capsys.readouterr().out


def test_json_holds_the_diagnoses(tmp_path: Path) -> None:
    before, after = (
        report(tmp_path / "a.json", measured(1.0)),
        report(tmp_path / "b.json", measured(1.5, seconds=0.012)),
    )
    assert main(["explain", str(before), str(after), "--json", str(tmp_path / "why.json")]) == 0
    found = json.loads((tmp_path / "why.json").read_text())
    (series,) = found["series"]
    assert (found["schema"], found["before"], series["after"]["test"]) == (1, str(before), DECODE)
    (split,) = [split for split in series["diagnosis"]["splits"] if split["name"] == "watts and time"]
    assert sum(split["parts"].values()) == pytest.approx(series["diagnosis"]["change"])
    assert main(["explain", str(before), str(after), "--json", str(tmp_path / "nowhere" / "why.json")]) == 2


@given(st.integers(1, 5), st.integers(1, 5))
def test_more_sessions_make_less_noise(before: int, after: int) -> None:
    def width(ours: int, theirs: int) -> float:
        return noise_between([session(1.0)] * ours, [session(1.0)] * theirs).width

    assert width(before + 1, after) < width(before, after)
    assert width(before, after) == pytest.approx(width(after, before), rel=1e-6)


def test_another_device_and_a_waiting_gpu_make_more_noise() -> None:
    here, there = session(1.0), replace(session(1.0), devices=("def",))
    alone = noise_between([here], [here])
    assert 0.01 < alone.width < 0.03
    assert noise_between([here], [there]).width > 4 * alone.width
    assert "by 5.00% between devices" in noise_between([here], [there]).text
    assert noise_between([here], [here], host_bound=True).width > 4 * alone.width


def test_k_picks_what_was_left_out_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = BudgetResult("test_it.py::test_late", EnergyBudget(), True, Verdict(VerdictKind.UNMEASURED, "skipped"))
    before, after = (report(tmp_path / name, measured(), late) for name in ("a.json", "b.json"))
    assert main(["explain", str(before), str(after), "-k", "decode"]) == 0
    assert "test_late" not in capsys.readouterr().out
    assert main(["explain", str(before), str(after)]) == 0
    assert "left out: " in capsys.readouterr().out
