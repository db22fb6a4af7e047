"""pytest-xdist: workers measure, the controller reports and stores."""

from __future__ import annotations

import pytest
from conftest import SKU, STEP_JOULES_PER_TOKEN, Suite

SUITE = """
    @pytest.mark.energy_budget(tolerance="2%")
    @pytest.mark.parametrize("scale", [1.0, 1.1])
    def test_step(energy, scale):
        energy.extra_info["scale"] = scale
        energy.repeat(step, (scale,), work=tokens)

    @pytest.mark.energy_budget
    def test_forgets(energy):
        pass
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_verdicts_and_report_are_the_same_with_workers(suite: Suite, workers: str) -> None:
    suite.write(SUITE)
    for scale in ("1.0", "1.1"):
        suite.store_baseline(STEP_JOULES_PER_TOKEN, f"test_it.py::test_step[{scale}]")
    ran, report = suite.report(workers)
    ran.assert_outcomes(passed=1, failed=2)
    ran.stdout.fnmatch_lines(
        ["*test_forgets: UNMEASURED*", "energy: 1 passed, 1 regressed, 0 inconclusive, 1 unmeasured"]
    )
    assert report["meter"]["simulated"]
    assert sorted(result["verdict"]["kind"] for result in report["results"]) == ["PASS", "REGRESSED", "UNMEASURED"]
    assert len(report["extra_info"]) == 2


def test_the_controller_stores_for_all_workers(suite: Suite) -> None:
    suite.write(SUITE.replace("def test_forgets", "def untested"))
    suite.run("-n2", "--energy-update").assert_outcomes(passed=2)
    assert {key.test for key in suite.store.load(SKU).entries} == {
        "test_it.py::test_step[1.0]",
        "test_it.py::test_step[1.1]",
    }


def test_what_a_crashed_worker_left_is_counted(suite: Suite) -> None:
    suite.write("""
    import os

    @pytest.mark.energy_budget(tolerance="2%")
    def test_step(energy):
        energy.repeat(step, work=tokens)

    @pytest.mark.energy_budget
    def test_crash(energy):
        os._exit(3)
    """)
    suite.store_baseline()
    ran = suite.run("-n2")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(["*test_crash: UNMEASURED*", "energy: 1 passed*1 unmeasured"])
