"""The gate end to end: record, pass, fail, and how pytest's other features see a failed budget."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET

import pytest
from conftest import STEP_JOULES_PER_TOKEN, Suite

from pytest_joules.options import Options
from pytest_joules.rejudging import still_fails
from pytest_joules.reporting import json as json_report

TEST = """
    @pytest.mark.energy_budget(tolerance="2%")
    def test_step(energy):
        energy.repeat(step, (SCALE,), work=tokens)
"""

LOWER = 0.95 * STEP_JOULES_PER_TOKEN
"""A baseline against which the step has regressed."""


def step_suite(suite: Suite, scale: float = 1.0, test: str = TEST) -> None:
    suite.write(test.replace("SCALE", str(scale)))


def test_recorded_suite_passes_and_five_percent_more_work_fails(suite: Suite) -> None:
    step_suite(suite)
    suite.record()
    passed = suite.run()
    passed.assert_outcomes(passed=1)
    passed.stdout.fnmatch_lines(["*test_step*PASS*", "energy: 1 passed, 0 regressed, 0 inconclusive, 0 unmeasured"])

    step_suite(suite, 1.05)
    failed, report = suite.report("--junitxml=junit.xml")
    assert failed.ret == pytest.ExitCode.TESTS_FAILED
    failed.stdout.fnmatch_lines(
        ["REGRESSED: simulated * mJ/token is +*% against the baseline's * mJ (ratio 1.0*interval 1.0* to 1.0*"]
    )
    verdict = report["results"][0]["verdict"]
    assert verdict["ratio"] == pytest.approx(1.05, abs=0.003)
    assert verdict["ratio_low"] < 1.05 < verdict["ratio_high"]
    assert verdict["ratio_high"] - verdict["ratio_low"] < 0.04
    junit = ET.parse(suite.path / "junit.xml").getroot()
    assert [element.get("failures") for element in junit.iter("testsuite")] == ["1"]

    step_suite(suite, 1.01)
    suite.run().assert_outcomes(passed=1)


def test_improvement_passes_and_suggests_an_update(suite: Suite) -> None:
    step_suite(suite)
    suite.store_baseline(1.1 * STEP_JOULES_PER_TOKEN)
    ran = suite.run()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*test_step: IMPROVED: * is -9.*%*", "energy: 0 passed, 1 improved*"])


def test_regression_is_confirmed_on_fresh_blocks(suite: Suite) -> None:
    step_suite(suite)
    suite.store_baseline(LOWER)
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*note*confirmed on fresh blocks after a second warm-up"])


def test_a_budget_whose_test_fails_as_expected_is_unmeasured_and_says_so(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.xfail(reason="known")
    @pytest.mark.energy_budget("1 J/token")
    def test_it(energy):
        assert False
    """)
    ran = suite.run("--energy-json=report.json")
    ran.assert_outcomes(xfailed=1)
    ran.stdout.fnmatch_lines(["*test_it.py::test_it: UNMEASURED: failed, as its xfail expects: known"])
    (result,) = json_report.read(suite.path / "report.json").results
    assert not still_fails(result, Options(enabled=True)), "nobody is wrong when it is compared, either"


def test_xfail_sees_the_failed_budget(suite: Suite) -> None:
    step_suite(suite, test="    @pytest.mark.xfail(reason='known', strict=True)" + TEST)
    suite.store_baseline(LOWER)
    ran = suite.run()
    ran.assert_outcomes(xfailed=1)
    assert ran.ret == pytest.ExitCode.OK
    ran.stdout.fnmatch_lines(["energy: 0 passed, 1 regressed*"])


def test_exitfirst_stops_and_the_rest_is_counted(suite: Suite) -> None:
    step_suite(suite)
    suite.write("@pytest.mark.energy_budget\ndef test_later(energy):\n    energy(step)\n", "test_later.py")
    suite.store_baseline(LOWER)
    ran = suite.run("-x")
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        ["*test_later: UNMEASURED: the test did not run", "energy: 0 passed, 1 regressed, 0 inconclusive, 1 unmeasured"]
    )


def test_reruns_measure_afresh(suite: Suite) -> None:
    step_suite(suite)
    suite.store_baseline(LOWER)
    ran, report = suite.report("--reruns=1")
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*1 failed, 1 rerun*"])
    assert [result["verdict"]["kind"] for result in report["results"]] == ["REGRESSED"]


def test_exit_code_without_a_terminal(suite: Suite) -> None:
    step_suite(suite)
    suite.store_baseline(LOWER)
    assert suite.run("-p", "no:terminal").ret == pytest.ExitCode.TESTS_FAILED


def test_ungated_budget_is_reported_and_passes(suite: Suite) -> None:
    step_suite(suite, test=TEST.replace('tolerance="2%"', 'tolerance="2%", gate=False'))
    suite.store_baseline(LOWER)
    ran = suite.run()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*test_step: REGRESSED: *"])


@pytest.mark.parametrize(("limit", "outcome"), [("50 mJ/token", "failed"), ("80 mJ/token", "passed")])
def test_limit_needs_no_baseline(suite: Suite, limit: str, outcome: str) -> None:
    step_suite(suite, test=TEST.replace('tolerance="2%"', f'"{limit}"'))
    ran = suite.run()
    ran.assert_outcomes(**{outcome: 1})
    if outcome == "failed":
        ran.stdout.fnmatch_lines(["OVER_LIMIT: simulated 6*mJ/token*against the limit of 50.00 mJ*"])


def test_missing_baseline_fails_with_the_command_that_records_one(suite: Suite) -> None:
    step_suite(suite)
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    # With what was given, or the other run would measure something else.
    command = "pytest --energy --energy-update --energy-meter=simulated:h100-sxm,seed=1 test_it.py::test_step"
    ran.stdout.fnmatch_lines(["NO_BASELINE: *", f"*next * record one: {command}"])
    assert "'--energy-baselines=of h100'" in suite.run("--energy-baselines=of h100").stdout.str()
    suite.run("--energy-missing=warn").assert_outcomes(passed=1)


def test_update_replaces_what_moved_and_keeps_the_rest(suite: Suite) -> None:
    step_suite(suite)
    suite.store_baseline(LOWER)
    suite.store_baseline(1.0, "test_other.py::test_other")
    ran = suite.run("--energy-update")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*test_step [[]main[]]: * -> *mJ/token (+5.*%, replaced), 1 session"])
    entries = suite.store.load("simulated-nvidia-h100-80gb-hbm3").entries
    assert sorted((key.test, len(sessions)) for key, sessions in entries.items()) == [
        ("test_it.py::test_step", 1),
        ("test_other.py::test_other", 3),
    ]


def test_slow_creep_fails_against_the_anchor_and_an_update_moves_it(suite: Suite) -> None:
    suite.store_baseline(anchor=True)
    step_suite(suite, 1.012)
    suite.run("--energy-update").assert_outcomes(passed=1)
    suite.store_baseline(1.012 * STEP_JOULES_PER_TOKEN, sessions=5)
    # From here on a step of one percent, which is level with what is stored, but not with where it began.
    step_suite(suite, 1.024)
    failed = suite.run()
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(
        [
            "REGRESSED: simulated * mJ/token is +2.*% against the anchor's 64.* mJ (ratio 1.02*",
            "*anchor     3 sessions in baselines/*",
            "*because    crept up: +2.*% since the anchor of 2026-01-01 (today's step alone is +1.*%)",
        ]
    )
    updated = suite.run("--energy-update")
    updated.assert_outcomes(passed=1)
    updated.stdout.fnmatch_lines(["*%, replaced), 1 session, 1 pinned, anchor moved"])
    suite.run().assert_outcomes(passed=1)


def test_an_undecided_update_beyond_the_tolerance_starts_afresh(suite: Suite) -> None:
    step_suite(suite, 1.026)
    # Only the scatter of what is stored keeps this from being REGRESSED.
    for rise in (-0.012, 0.0, 0.012):
        suite.store_baseline((1 + rise) * STEP_JOULES_PER_TOKEN, sessions=1)
    ran = suite.run("--energy-update")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*test_step: INCONCLUSIVE: *", "*-> *mJ/token (+2.*%, replaced), 1 session"])


def test_update_new_stores_only_what_is_new_and_judges_the_rest(suite: Suite) -> None:
    step_suite(suite)
    suite.write("@pytest.mark.energy_budget\ndef test_new(energy):\n    energy(step)\n", "test_new.py")
    suite.store_baseline(LOWER)
    ran = suite.run("--energy-update-new")
    ran.assert_outcomes(failed=1, passed=1)
    ran.stdout.fnmatch_lines(["baselines written:", "*test_new*: new, *"])
    ran.stdout.no_fnmatch_line("*test_step [[]main[]]: *->*")


def test_update_does_not_accept_what_is_over_a_limit(suite: Suite) -> None:
    step_suite(suite, test=TEST.replace('tolerance="2%"', '"50 mJ/token", tolerance="2%"'))
    ran = suite.run("--energy-update")
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["baselines: nothing was written"])
    assert not suite.store.directory.exists()


def test_latency_that_pays_for_level_joules_is_said(suite: Suite) -> None:
    step_suite(suite)
    suite.store_baseline(seconds_per_unit=0.01 / 64 / 1.5)
    ran = suite.run()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*test_step: joules are level but seconds per unit rose by 50%: latency pays"])


def test_progress_shows_on_a_terminal_and_stays_out_of_the_tests_output(suite: Suite) -> None:
    pexpect = pytest.importorskip("pexpect")
    suite.write("""
    def test_step(energy, capsys):
        print("mine")
        energy(step)
        assert capsys.readouterr().out == "mine\\n"
    """)
    command = f"{sys.executable} -m pytest --energy --energy-meter=simulated -p no:cacheprovider"
    said = pexpect.run(command, cwd=str(suite.path), timeout=60).decode()
    assert "energy: main: measuring, " in said
    assert "1 passed" in said
    assert "energy: main: measuring" not in suite.run().stdout.str()
