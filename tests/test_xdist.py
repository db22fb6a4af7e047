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


def test_what_a_crashed_worker_left_is_counted_and_what_it_found_is_kept(suite: Suite) -> None:
    suite.write("""
    import os

    @pytest.mark.energy_budget(tolerance="2%")
    def test_step(energy):
        energy.extra_info["batch"] = 64
        energy.repeat(step, work=tokens)

    @pytest.mark.energy_budget
    def test_crash(energy):
        os._exit(3)
    """)
    suite.store_baseline()
    # One worker does both: it crashes after it has judged the first.
    ran, report = suite.report("-n1")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(["*test_crash: UNMEASURED: its worker crashed", "energy: 1 passed*1 unmeasured"])
    assert report["extra_info"] == {"test_it.py::test_step": {"batch": 64}}


KEYS = """
    @pytest.mark.parametrize("batch", [1, 2])
    @pytest.mark.energy_budget(key="decode")
    def test_step(energy, batch):
        energy(step)
"""


@pytest.mark.parametrize(
    ("test", "baseline", "fault", "complaint"),
    [
        (KEYS, "", "none", "test_it.py::test_step[[]2[]]: energy_budget: key='decode' is taken by *"),
        (SUITE, "{", "none", f"pytest-joules: *{SKU}.json:1: not JSON: *"),
        (SUITE, "", "no-permission", "pytest-joules: NVML refuses to read GPU 0 *"),
    ],
)
def test_a_usage_error_in_the_workers_is_said_once(
    suite: Suite, test: str, baseline: str, fault: str, complaint: str
) -> None:
    suite.write(test)
    if baseline:
        suite.store_baseline()
        suite.store.path(SKU).write_text(baseline)
    ran = suite.run("-n2", "--energy-json=report.json", meter=f"simulated:h100-sxm,seed=1,fault={fault}")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines([f"ERROR: {complaint}"])
    assert len(ran.outlines) < 15
    assert [line for line in ran.errlines if line.strip()] == [line for line in ran.errlines if "ERROR" in line]
    assert not (suite.path / "report.json").exists()


RERUN = """
    from pathlib import Path

    @pytest.fixture
    def engine():
        attempts = Path("attempts")
        if attempts.exists():
            raise RuntimeError("the engine does not start again")
        attempts.touch()

    @pytest.mark.energy_budget("1 mJ/token")
    def test_step(energy, engine):
        energy.extra_info["batch"] = 64
        energy.repeat(step, work=tokens, rounds=110, warmup=5)
"""


def test_a_rerun_that_comes_to_nothing_forgets_the_first_attempt(suite: Suite) -> None:
    suite.write(RERUN)
    for workers in ("-n0", "-n1"):
        (suite.path / "attempts").unlink(missing_ok=True)
        ran, report = suite.report("--reruns=1", workers)
        ran.assert_outcomes(errors=1)
        (result,) = report["results"]
        assert (result["verdict"]["kind"], result["verdict"]["reason"]) == ("UNMEASURED", "the test failed in setup")
        assert report["extra_info"] == {}
