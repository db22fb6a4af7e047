"""A budget that was not decided is counted and named; it never ends as a green pass."""

from __future__ import annotations

import pytest
from conftest import STEP_JOULES_PER_TOKEN, Suite

BUDGET = "@pytest.mark.energy_budget(tolerance='2%')\n"


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        ("def test_a(energy):\n    pass\n", "the test carries a budget but never called energy"),
        ("def test_a():\n    pass\n", "the test carries a budget but does not use the energy fixture"),
        (
            "@pytest.mark.energy_budget(window='decode')\n"
            "def test_a(energy):\n    energy.repeat(step, rounds=70, warmup=1)\n",
            "no window 'decode' was measured, only 'main'",
        ),
    ],
)
def test_a_budget_that_measures_nothing_fails(suite: Suite, test: str, complaint: str) -> None:
    suite.write((BUDGET if "window=" not in test else "") + test)
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines([f"UNMEASURED: {complaint}", "energy: 0 passed*1 unmeasured"])


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


@pytest.mark.parametrize(
    ("test", "outcome", "reason"),
    [
        ("@pytest.mark.xfail(run=False)\ndef test_a(energy):\n    energy(step)\n", "xfailed", "*"),
        ("def test_a(energy, missing):\n    pass\n", "errors", "the test failed in setup"),
        ("def test_a(energy):\n    assert False\n", "failed", "the test failed in call"),
        ("def test_a(energy):\n    pytest.skip('later')\n", "skipped", "skipped: later"),
    ],
)
def test_tests_that_end_otherwise_are_unmeasured(suite: Suite, test: str, outcome: str, reason: str) -> None:
    suite.write(BUDGET + test)
    ran = suite.run()
    ran.assert_outcomes(**{outcome: 1})
    ran.stdout.fnmatch_lines([f"test_it.py::test_a: UNMEASURED: {reason}", "energy: 0 passed*1 unmeasured"])


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
