"""A budget that was not decided is counted and named; it never ends as a green pass."""

from __future__ import annotations

import pytest
from conftest import STEP_JOULES_PER_TOKEN, Suite

BUDGET = "@pytest.mark.energy_budget(tolerance='2%')\n"


def test_a_budget_that_measures_nothing_fails(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.energy_budget(tolerance="2%")
    def test_calls_nothing(energy):
        pass

    @pytest.mark.energy_budget(tolerance="2%")
    def test_asks_for_nothing():
        pass

    @pytest.mark.energy_budget(window="decode")
    def test_other_window(energy):
        energy.repeat(step, rounds=70, warmup=1)
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=3)
    ran.stdout.fnmatch_lines(
        [
            "UNMEASURED: the test carries a budget but never called energy",
            "UNMEASURED: the test carries a budget but does not use the energy fixture",
            "UNMEASURED: no window 'decode' was measured, only 'main'",
            "energy: 0 passed*3 unmeasured",
        ]
    )


def test_a_renamed_test_fails_and_its_old_name_is_named(suite: Suite) -> None:
    suite.write(BUDGET + "def test_new_name(energy):\n    energy.repeat(step, work=tokens)\n")
    suite.store_baseline(test="test_gone.py::test_old_name")
    suite.store_baseline(2 * STEP_JOULES_PER_TOKEN, test="test_it.py::test_dearer")
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        [
            "NO_BASELINE: *",
            "stored but not collected: test_it.py::test_dearer [[]main, J/token]",
            "renamed[?] test_gone.py::test_old_name * is stored but not collected, and *_new_name* agrees *",
            "  pytest-joules rename test_gone.py::test_old_name test_it.py::test_new_name",
            "*1 without baseline*",
        ]
    )


def test_deselected_budgets_are_counted_and_fail_under_strict(suite: Suite) -> None:
    suite.write(
        BUDGET
        + "def test_step(energy):\n    energy.repeat(step, work=tokens)\n"
        + BUDGET
        + "def test_b(energy):\n    pass\n"
    )
    suite.store_baseline()
    relaxed = suite.run("-k", "step")
    assert relaxed.ret == pytest.ExitCode.OK
    relaxed.stdout.fnmatch_lines(["test_it.py::test_b: UNMEASURED: deselected", "energy: 1 passed*1 unmeasured"])
    assert suite.run("-k", "step", "--energy-strict").ret == pytest.ExitCode.TESTS_FAILED


def test_a_skipped_budget_is_named_and_fails_under_strict(suite: Suite) -> None:
    suite.write(BUDGET + "@pytest.mark.skipif(True, reason='no GPU here')\ndef test_a(energy):\n    energy(step)\n")
    relaxed = suite.run()
    relaxed.assert_outcomes(skipped=1)
    relaxed.stdout.fnmatch_lines(["test_it.py::test_a: UNMEASURED: skipped: no GPU here"])
    assert suite.run("--energy-strict").ret == pytest.ExitCode.TESTS_FAILED


def test_a_file_that_was_not_collected_fails_under_strict(suite: Suite) -> None:
    suite.write(BUDGET + "def test_step(energy):\n    energy.repeat(step, work=tokens)\n")
    suite.store_baseline()
    suite.store_baseline(test="test_forgotten.py::test_a")
    assert suite.run().ret == pytest.ExitCode.OK
    strict = suite.run("--energy-strict")
    assert strict.ret == pytest.ExitCode.TESTS_FAILED
    strict.stdout.fnmatch_lines(["stored but not collected: test_forgotten.py::test_a *"])


def test_tests_that_end_otherwise_are_unmeasured(suite: Suite) -> None:
    suite.write("""
    pytestmark = pytest.mark.energy_budget(tolerance="2%")

    @pytest.mark.xfail(run=False)
    def test_does_not_run(energy):
        energy(step)

    def test_lacks(energy, missing):
        pass

    def test_fails(energy):
        assert False

    def test_skips(energy):
        pytest.skip("later")
    """)
    ran = suite.run()
    ran.assert_outcomes(xfailed=1, errors=1, failed=1, skipped=1)
    ran.stdout.fnmatch_lines_random(
        [
            "test_it.py::test_does_not_run: UNMEASURED: *",
            "test_it.py::test_lacks: UNMEASURED: the test failed in setup",
            "test_it.py::test_fails: UNMEASURED: the test failed in call",
            "test_it.py::test_skips: UNMEASURED: skipped: later",
            "energy: 0 passed*4 unmeasured",
        ]
    )


def test_inconclusive_is_counted_and_fails_where_asked(suite: Suite) -> None:
    budget = BUDGET.replace("2%", "1%")
    suite.write(budget + "def test_step(energy):\n    energy.repeat(step, work=tokens)\n")
    suite.store_baseline(STEP_JOULES_PER_TOKEN / 1.014, sessions=1)
    relaxed = suite.run()
    assert relaxed.ret == pytest.ExitCode.OK
    relaxed.stdout.fnmatch_lines(["*INCONCLUSIVE*", "energy: 0 passed, 0 regressed, 1 inconclusive, 0 unmeasured"])
    assert suite.run("--energy-inconclusive=fail").ret == pytest.ExitCode.TESTS_FAILED


def test_a_unittest_case_that_does_not_pass_is_not_judged(suite: Suite) -> None:
    suite.write("""
    import unittest

    class TestIt(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def measured(self, energy):
            self.energy = energy

        @pytest.mark.energy_budget
        def test_skips(self):
            self.skipTest("later")

        @pytest.mark.energy_budget
        def test_fails(self):
            self.energy.repeat(step, rounds=110, warmup=5)
            self.assertEqual(1, 2)

        @pytest.mark.energy_budget
        def test_forgets(self):
            pass
    """)
    ran = suite.run("--energy-update")
    ran.assert_outcomes(skipped=1, failed=2)
    ran.stdout.fnmatch_lines_random(
        [
            "test_it.py::TestIt::test_skips: UNMEASURED: skipped: later",
            "test_it.py::TestIt::test_fails: UNMEASURED: the test failed in call",
            "test_it.py::TestIt::test_forgets: UNMEASURED: the test carries a budget but never called energy",
            "baselines: nothing was written",
        ]
    )
