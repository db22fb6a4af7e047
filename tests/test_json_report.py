"""The JSON report: its schema is published, true and complete."""

from __future__ import annotations

import json
import random
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Suite
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from runs import result, run_of

from pytest_joules.reporting import json as json_report

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from fuzz import case as check
from fuzz import damaged, targets

SUITE = """
    @pytest.mark.energy_budget("80 mJ/token", tolerance="2%")
    def test_step(energy):
        energy.extra_info["batch"] = 64
        energy.repeat(step, work=tokens)

    @pytest.mark.energy_budget(window="prefill", gate=False)
    def test_window(energy):
        with energy.window("prefill") as window:
            for _ in range(30):
                step()
            window.count(prompt_token=2048)

    @pytest.mark.skip(reason="not today")
    @pytest.mark.energy_budget
    def test_skipped(energy):
        energy(step)
"""


def test_report_of_a_run_fits_the_schema_and_reads_back(suite: Suite) -> None:
    suite.write(SUITE)
    suite.store_baseline()
    ran, report = suite.report()
    ran.assert_outcomes(passed=2, skipped=1)
    Draft202012Validator(json_report.schema()).validate(report)
    run = json_report.read(suite.path / "report.json")
    assert json_report.to_data(run) == report
    assert run.meter is not None
    assert run.meter.simulated
    assert [r.verdict.kind.value for r in run.results] == ["PASS", "NO_BASELINE", "UNMEASURED"]
    assert run.extra_info == {"test_it.py::test_step": {"batch": 64}}
    measured = run.results[0].measurement
    assert measured is not None
    assert measured.joules_per("token") == pytest.approx(measured.joules_per("call") / 64, rel=1e-6)


def test_schema_is_what_its_generator_writes() -> None:
    Draft202012Validator.check_schema(json_report.schema())
    made = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "report_schema.py"))
    assert made["report_schema"]() == json_report.schema()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not a readable JSON report"),
        ("[]", "no 'schema' number"),
        (json.dumps({"schema": 99}), "schema 99 is newer"),
        (json.dumps({"schema": 1, "created": 5, "version": "1"}), "RunResult.created: expected str"),
        (json.dumps({"schema": 1, "created": "x", "version": "1", "surprise": 1}), "no key 'surprise'"),
    ],
)
def test_what_is_not_a_report_is_said_with_the_file(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(json_report.ReportError, match=r"result\.json") as caught:
        json_report.read(path)
    assert complaint in str(caught.value)


def test_unwritable_place_is_refused_before_anything_runs(suite: Suite) -> None:
    suite.write(SUITE)
    ran = suite.run("--energy-json=nowhere/report.json")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*--energy-json nowhere?report.json: its directory does not exist"])


TARGETS = {target.name: target for target in targets()}


@pytest.mark.parametrize("name", ["reports", "explain", "baselines", "references"])
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_is_refused_clearly_or_read_rightly(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int
) -> None:
    """``benchmarks/fuzz.py`` runs as many as one likes."""
    random_ = random.Random(seed)
    text = damaged(random_.choice(TARGETS[name].corpus), random_)
    assert check(TARGETS[name], text, tmp_path_factory.mktemp("fuzz") / "case.json", validate=True)


SOUND = next(text for text in TARGETS["reports"].corpus if b'"token"' in text)


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        ("verdict.ratio", 0.0, "ratio of 0; no run measures that"),
        ("verdict.joules_per_unit", -1.0, "joules_per_unit of -1"),
        ("measurement.devices", [], "no device"),
        ("measurement.blocks", {}, "no block of 'token'"),
        ("measurement.blocks.token", [], "no block of 'token'"),
        ("measurement.blocks.call", [], "no block of 'call'"),
        ("measurement.blocks.token.0.units", 0.0, "a block of 0"),
        ("measurement.blocks.call.0.seconds", 0.0, "a block of 0 s"),
        ("measurement.blocks.call.0.joules", 1e999, "blocks.call[0].joules: expected a finite number, found 'inf'"),
        ("measurement.blocks.call.0.joules", 10**400, "a number of 401 digits is too large"),
        ("measurement.conditions.signals", {"sm_active": 7.5}, "signal sm_active of 7.5, a share; no run"),
        ("measurement.conditions.signals", {"sm_active": -3.0}, "signal sm_active of -3, a share"),
        ("measurement.conditions.power_cap_share", -2.0, "signal power_cap_share of -2, a share"),
        ("diagnosis", {"change": 1e6}, "a change of 1e+06"),
        ("declared", 1, "RunResult.results[0].declared: expected bool, found '1'"),
        ("measurement.kind", ["repeated"], "RunResult.results[0].measurement.kind: expected one of"),
        ("budget.surprise\n::error::", 1, "RunResult.results[0].budget: expected no key 'surprise\\\\n::error::'"),
    ],
)
def test_numbers_that_no_run_measures_are_refused(tmp_path: Path, place: str, value: object, complaint: str) -> None:
    data = json.loads(SOUND)
    *steps, last = place.split(".")
    at = data["results"][0]
    for step in steps:
        at = at[int(step) if step.isdigit() else step]
    at[last] = value
    path = tmp_path / "result.json"
    path.write_text(json.dumps(data))
    with pytest.raises(json_report.ReportError) as caught:
        json_report.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)
    assert str(caught.value).isprintable()


def test_free_form_data_is_taken_only_so_deep(tmp_path: Path) -> None:
    data: object = 1
    for _ in range(400):
        data = [data]
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**json.loads(SOUND), "extra_info": {"t": {"x": data}}}))
    with pytest.raises(json_report.ReportError, match=r"extra_info\.t\.x: nested deeper than 50 levels"):
        json_report.read(path)


def test_a_file_name_that_is_no_text_stays_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(SOUND)
    run = json_report.read(path)
    odd = replace(run, results=tuple(replace(result, test="test_\udcff.py::test") for result in run.results))
    json_report.write(odd, path)
    assert json_report.read(path) == odd


def test_each_result_is_parsed_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(SOUND)
    run = json_report.read(path)
    json_report.write(replace(run, results=run.results * 20), path)
    sizes: list[int] = []
    quick = vars(json_report)["quick"]

    def counting(data: Any, **kwargs: Any) -> Any:
        sizes.append(memoryview(data).nbytes)
        return quick(data, **kwargs)

    monkeypatch.setattr(json_report, "quick", counting)
    assert len(json_report.read(path).results) == 20 * len(run.results)
    one = path.stat().st_size / 20
    assert sum(size < 1.5 * one and size > 0.5 * one for size in sizes) == 20 * len(run.results)


@pytest.mark.parametrize("results", [0, 1, 3])
def test_what_is_written_piece_by_piece_is_one_text(results: int) -> None:
    run = run_of(*[result(joules=0.08 + number) for number in range(results)])
    assert json_report.render(run) == json.dumps(json_report.to_data(run), indent=1)


def test_a_number_of_another_library_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    json_report.write(run_of(replace(result(), tolerance=np.float64(0.25))), path)
    assert json_report.read(path).results[0].tolerance == 0.25


def test_json_values_that_are_made_on_the_way_are_a_list() -> None:
    assert json_report.to_text(iter(())) == "[]"
    assert json_report.to_text({"a": [number], "b": {}} for number in range(2)) == json.dumps(
        [{"a": [0], "b": {}}, {"a": [1], "b": {}}], indent=1
    )
