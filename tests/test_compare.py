"""``pytest-joules compare``: a stored run against baselines."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Suite
from stored import (
    CREATED,
    DECODE,
    H200,
    PREFILL,
    SKU,
    blocks,
    commit_all,
    days,
    measured,
    report,
    session,
    store,
    unmeasured,
)

from pytest_joules.baselines.store import Addition, BaselineStore
from pytest_joules.budget import EnergyBudget
from pytest_joules.cli import main
from pytest_joules.model import (
    BaselineKey,
    Block,
    BudgetResult,
    MeterInfo,
    RunResult,
    VerdictKind,
    Widened,
)
from pytest_joules.rejudging import read_result
from pytest_joules.reporting import json as json_report


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


LEVEL = days(1.0, 1.002, 0.998)


def test_a_stored_run_has_the_verdicts_and_words_of_the_run_itself(
    suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    suite.write("""
    @pytest.mark.energy_budget(tolerance="2%")
    def test_step(energy):
        energy.repeat(step, args=(1.1,), work=tokens)

    @pytest.mark.energy_budget
    def test_other(energy):
        energy.repeat(step, work=tokens)

    @pytest.mark.skip(reason="not today")
    @pytest.mark.energy_budget
    def test_skipped(energy):
        energy(step)
    """)
    suite.store_baseline()
    suite.store_baseline(test="test_it.py::test_other")
    ran, _ = suite.report("-p", "no:randomly")
    assert ran.ret == 1
    assert main(["compare", "report.json", "--json", "again.json"]) == 1
    before, after = (json_report.read(Path(name)) for name in ("report.json", "again.json"))
    assert {result.verdict.kind for result in before.results} >= {VerdictKind.REGRESSED, VerdictKind.PASS}
    assert after.results == before.results
    said = capsys.readouterr().out
    start = next(number for number, line in enumerate(ran.outlines) if "= energy (simulated) =" in line)
    shown = [line for line in ran.outlines[start + 1 :] if line and not line.startswith("=")]
    assert all(line in said for line in shown if "short test summary" not in line and not line.startswith("FAILED"))
    assert "REGRESSED: simulated " in said
    assert f"pytest-joules accept report.json -k {before.results[0].test}" in said


def test_a_rise_fails_and_a_level_run_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "baselines", LEVEL)
    report(tmp_path / "level.json", measured(1.003))
    report(tmp_path / "risen.json", measured(1.05))
    assert main(["compare", "level.json"]) == 0
    assert "energy: 1 passed, 0 regressed" in capsys.readouterr().out
    assert main(["compare", "risen.json"]) == 1
    said = capsys.readouterr().out
    assert f"{DECODE}: REGRESSED: 1.050 J/token is +5.0% against the baseline's" in said
    assert "baseline   3 sessions in baselines/nvidia-h200.json" in said
    assert main(["compare", "risen.json", "--tolerance", "10%"]) == 0
    assert "tolerance 10.0%" not in said
    # What the marker says stands.
    report(tmp_path / "strict.json", measured(1.05, tolerance=0.01))
    assert main(["compare", "strict.json", "--tolerance", "10%"]) == 1


def test_baselines_are_beside_the_result_or_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ci").mkdir()
    report(tmp_path / "ci" / "risen.json", measured(1.05))
    assert main(["compare", "ci/risen.json"]) == 2
    assert "no baselines in ./baselines; name them with --baseline DIR" in capsys.readouterr().err
    store(tmp_path / "ci" / "baselines", LEVEL)
    assert main(["compare", "ci/risen.json"]) == 1
    store(tmp_path / "other", days(1.05, 1.05, 1.05))
    assert main(["compare", "ci/risen.json", "--baseline", "other"]) == 0
    shutil.move(tmp_path / "other" / f"{SKU}.json", tmp_path / "kept.json")
    assert main(["compare", "ci/risen.json", "--baseline", "kept.json"]) == 0


def test_another_commit_s_baselines_and_terms_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "baselines", [replace(one, tolerance=0.02) for one in LEVEL])
    commit_all(tmp_path)
    shutil.rmtree(tmp_path / "baselines")
    store(tmp_path / "baselines", days(1.05, 1.05, 1.05, month=5))
    report(tmp_path / "risen.json", measured(1.05, tolerance=0.2), measured(2.0, PREFILL))
    assert main(["compare", "risen.json", "-k", "decode"]) == 0
    capsys.readouterr()
    assert main(["compare", "risen.json", "--baseline-ref", "HEAD"]) == 1
    said = capsys.readouterr().out
    assert "against HEAD:baselines" in said
    assert "REGRESSED: 1.050 J/token is +5.0%" in said
    assert "tolerance 2% -> 20%" in said
    assert "-> 1.050 J/token (+5.00%), 3 sessions added, 3 sessions removed" in said
    assert f"{PREFILL}: NO_BASELINE" in said


OFF = EnergyBudget(gate=False, per="token")
TWO = tuple(replace(H200, index=index, identity=name) for index, name in enumerate(("abc", "def")))


SILENT: dict[str, list[BudgetResult]] = {
    "not a word of the test": [measured(test="test_new")],
    "no gate, and skipped": [replace(unmeasured("skipped: why not"), budget=OFF)],
    "no gate, and spoiled": [replace(measured(2.0, invalid="a neighbour"), budget=OFF)],
    "no gate, and another unit": [replace(measured(2.0), budget=replace(OFF, per="step"))],
    "no budget": [replace(measured(2.0), declared=False)],
    "stored under another name": [replace(measured(2.0), key=BaselineKey("mine", "main", "token"))],
    "by a name of its own, and skipped": [replace(unmeasured("skipped"), test="x", budget=replace(OFF, key=DECODE))],
}


@pytest.mark.parametrize("results", SILENT.values(), ids=SILENT)
def test_whatever_the_base_stores_has_to_be_judged(tmp_path: Path, results: list[BudgetResult]) -> None:
    store(tmp_path / "baselines", [replace(one, tolerance=0.02) for one in LEVEL])
    commit_all(tmp_path)
    for new in ("test_new", "mine"):  # what is new to the base is judged by the work tree's own
        store(tmp_path / "baselines", [session(2.0)], new)
    report(tmp_path / "energy.json", *results)
    assert main(["compare", "energy.json", "--baseline-ref", "HEAD", "--strict", "--missing", "warn"]) == 1


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([measured()], 1),
        ([measured(), measured(2.0, PREFILL)], 1),
        ([measured(), replace(unmeasured("deselected", PREFILL), budget=OFF)], 1),
        ([measured(), measured(1.0, PREFILL, devices=TWO)], 0),
    ],
    ids=["left out", "charged to one of them", "no gate, and deselected", "judged"],
)
def test_series_of_several_devices_are_asked_for_where_these_are(
    tmp_path: Path, results: list[BudgetResult], code: int
) -> None:
    store(tmp_path / "baselines", LEVEL)
    for one in LEVEL:
        pair = replace(one, devices=("abc", "def"), blocks=blocks(1.0))
        added = {BaselineKey(PREFILL, "main", "token"): Addition(pair)}
        BaselineStore(tmp_path / "baselines").update(f"{SKU}+x2", "NVIDIA H200", False, added)
    commit_all(tmp_path)
    store(tmp_path / "baselines", [session(2.0)], PREFILL)  # a baseline of its own, for one device
    run = RunResult(CREATED, "1", MeterInfo("NVML", False, TWO), results=tuple(results))
    json_report.write(run, tmp_path / "energy.json")
    assert main(["compare", "energy.json", "--baseline-ref", "HEAD", "--strict"]) == code


def test_a_file_of_another_commit_says_whose_results_are_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path / "baselines", LEVEL)
    mocked = replace(H200, simulated=True)
    added = {BaselineKey(DECODE, "main", "token"): Addition(session())}
    BaselineStore(tmp_path / "baselines").update(f"simulated-{SKU}", "NVIDIA H200", True, added)
    commit_all(tmp_path)
    shutil.rmtree(tmp_path / "baselines")
    report(tmp_path / "energy.json", measured())
    report(tmp_path / "simulated.json", measured(device=mocked), simulated=True)
    at_head = ["--baseline-ref", "HEAD", "--strict", "--baseline"]
    assert main(["compare", "energy.json", *at_head, f"baselines/{SKU}.json"]) == 0
    assert main(["compare", "simulated.json", *at_head, "baselines"]) != 2
    assert main(["compare", "simulated.json", *at_head, f"baselines/{SKU}.json"]) == 2
    assert "is of nvidia-h200, and the results are of simulated-nvidia-h200" in capsys.readouterr().err
    assert main(["compare", "energy.json", *at_head, "baselines/nvidia-b200.json"]) == 2
    assert "HEAD:baselines/nvidia-b200.json: there is no such file in that commit" in capsys.readouterr().err


def test_parts_of_a_suite_are_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(store(tmp_path / "baselines", LEVEL).directory, LEVEL, PREFILL)
    gone = BaselineKey(PREFILL, "main", "token")
    report(tmp_path / "a.json", measured(), unmeasured("deselected", PREFILL), not_collected=(gone,))
    report(tmp_path / "b.json", measured(1.0, PREFILL), created="2026-05-01T12:10:00+00:00")
    assert main(["compare", "a.json", "b.json", "--strict", "--json", "both.json"]) == 0
    assert "energy: 2 passed, 0 regressed, 0 inconclusive, 0 unmeasured" in capsys.readouterr().out
    both = json_report.read(tmp_path / "both.json")
    assert (both.created, both.commit, both.not_collected) == ("2026-05-01T12:10:00+00:00", "abc123", ())
    assert main(["compare", "a.json", "--strict"]) == 1
    assert "energy: 1 passed, 0 regressed, 0 inconclusive, 1 unmeasured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reason", "flags", "code"),
    [
        ("skipped: no model", [], 0),
        ("deselected", [], 0),
        ("deselected", ["--strict"], 1),
        ("the test failed in call", [], 1),
        ("its worker crashed", [], 1),
    ],
)
def test_no_test_that_went_wrong_is_a_silent_pass(tmp_path: Path, reason: str, flags: list[str], code: int) -> None:
    store(tmp_path / "baselines", LEVEL)
    report(tmp_path / "energy.json", measured(), unmeasured(reason, PREFILL))
    assert main(["compare", "energy.json", *flags]) == code


def test_policies_are_those_of_pytest(tmp_path: Path) -> None:
    store(tmp_path / "baselines", LEVEL)
    report(tmp_path / "new.json", measured(2.0, PREFILL))
    assert main(["compare", "new.json"]) == 1
    assert main(["compare", "new.json", "--missing=warn"]) == 0
    assert main(["compare", "new.json", "--missing=warn", "--strict"]) == 1
    report(tmp_path / "over.json", measured(2.0, limit=1.5, tolerance=None))
    assert main(["compare", "over.json"]) == 1


def test_names_cannot_act_on_a_terminal_or_a_runner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "baselines", LEVEL)
    report(tmp_path / "energy.json", measured(1.0, "test_it.py::test_x[\n::error::no\x1b[31m]"))
    assert main(["compare", "energy.json"]) == 1
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert not any(line.lstrip().startswith("::error") for line in said.splitlines())


def _mangled(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.json"], "nowhere.json: there is no such file"),
        (["."], ".: is a directory; name a file in it"),
        (["text.json"], "text.json: not a readable JSON report"),
        (["empty.json"], "no result to judge"),
        (["fine.json", "-k", "nothing"], "no result to judge"),
        (["loose.json", "--strict"], "no result to judge"),
        (["fine.json", "simulated.json"], "some of the results are simulated and some are real"),
        (["zero.json"], f"zero.json: {DECODE}: a block of 0; no run measures that"),
        (["none.json"], f"none.json: {DECODE}: no block of 'token'"),
        (["much.json"], f"much.json: {DECODE}: a tolerance of 2; no run measures that: measure it again"),
        (["mixed.json"], f"mixed.json: {DECODE}: simulated and real devices together"),
        (["keyless.json"], f"{DECODE}: math domain error; no run measures that: measure it again"),
        (["when.json"], "when.json: 'created' is 'yesterday', and no time of a run's"),
        (["fine.json", "--baseline", "nowhere"], "nowhere: there is no such file or directory"),
        (["fine.json", "--baseline", "other.json"], "is of nvidia-b200, and the results are of nvidia-h200"),
        (["fine.json", "--baseline", "bad"], "bad/nvidia-h200.json:1: not JSON"),
        (["fine.json", "--baseline-ref", "HEAD"], "is in no git repository"),
        (["wide.json", "--max-tolerance", "5%"], "a tolerance of 20% is wider than max-tolerance allows: at most 5%"),
        (["loose.json", "--max-tolerance", "5%"], "a tolerance of 50% is wider than max-tolerance allows: at most 5%"),
        (["sly.json", "--max-tolerance", "5%"], "a tolerance of 90% is wider than max-tolerance allows: at most 5%"),
        (["fine.json", "--tolerance", "9%", "--max-tolerance", "5%"], "a tolerance of 9% is wider than max-tolerance"),
        (["said.json"], f"said.json: {DECODE}: PASS without a measurement; no run measures that"),
        (["meter.json"], f"meter.json: {DECODE}: simulated and real devices together"),
        (["late.json"], "late.json: 'created' is '2999-01-01T00:00:00+00:00', and no time of a run's"),
        (["nobody.json", "--strict"], "no device in the result: nobody knows whose baselines it has to keep"),
        (["fine.json", "--json", "nowhere/x.json"], "--json nowhere/x.json: its directory does not exist"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path / "baselines", LEVEL)
    report(tmp_path / "fine.json", measured())
    report(tmp_path / "empty.json")
    report(tmp_path / "simulated.json", measured(device=replace(H200, simulated=True)), simulated=True)
    report(tmp_path / "wide.json", measured(tolerance=0.2))
    nothing = measured()
    assert nothing.measurement is not None
    for name, wrong in (("zero", (*blocks(), Block(0.0, 1.0, 1.0))), ("none", ())):
        measurement = replace(nothing.measurement, blocks={"token": wrong})
        report(tmp_path / f"{name}.json", replace(nothing, measurement=measurement))
    report(tmp_path / "much.json", measured(tolerance=2.0))
    both = replace(nothing.measurement, devices=(H200, replace(H200, simulated=True)))
    report(tmp_path / "mixed.json", replace(nothing, measurement=both))
    zero = replace(nothing.measurement, blocks={"token": (Block(0.0, 1.0, 1.0),)})
    report(tmp_path / "keyless.json", replace(nothing, measurement=zero, key=None))
    report(tmp_path / "when.json", measured(), created="yesterday")
    report(tmp_path / "late.json", measured(), created="2999-01-01T00:00:00+00:00")
    report(tmp_path / "loose.json", replace(measured(), tolerance=0.5, declared=False))
    report(tmp_path / "sly.json", replace(measured(), widened=(Widened("tolerance", 0.02, 0.9),)))
    report(tmp_path / "said.json", replace(measured(kind=VerdictKind.PASS), measurement=None))
    report(tmp_path / "meter.json", measured(), simulated=True)
    off = EnergyBudget(gate=False)
    json_report.write(
        RunResult(CREATED, "1", results=(replace(unmeasured("skipped: x"), budget=off),)), tmp_path / "nobody.json"
    )
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / f"{SKU}.json").write_text("{")
    (tmp_path / "other.json").write_text(
        json.dumps({"schema": 1, "sku": "nvidia-b200", "device": "NVIDIA B200", "simulated": False, "entries": {}})
    )
    assert main(["compare", *arguments]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_what_a_report_says_of_its_sku_counts_for_nothing(tmp_path: Path) -> None:
    path = report(tmp_path / "energy.json", measured(1.05))
    _mangled(path, '"sku": "nvidia-h200"', '"sku": "../../nvidia-b200"')
    store(tmp_path / "baselines", LEVEL)
    assert main(["compare", "energy.json"]) == 1
    assert read_result(path).results[0].sku == "../../nvidia-b200"
