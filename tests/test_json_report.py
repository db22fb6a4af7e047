"""The JSON report: its schema is published, true and complete."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from conftest import Suite
from jsonschema import Draft202012Validator

from pytest_joules.reporting import json as json_report

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
