"""The hooks that a conftest may implement."""

from __future__ import annotations

import pytest
from conftest import SKU, Suite

from pytest_joules.model import Conditions

CONFTEST = """
    import json

    def pytest_joules_count_work(result):
        if isinstance(result, dict) and "token" in result:
            return result

    def pytest_joules_baseline_key(item, window):
        return f"decode at batch 64 ({window})"

    def pytest_joules_verdict(result):
        print("VERDICT", result.test, result.verdict.kind.value)

    def pytest_joules_report(run):
        print("REPORT", len(run.results), run.meter.simulated)
"""

OWN_METER = """
    import contextlib, os
    from pytest_joules.meters.zeus import ZeusMeter, simulated_host

    STACK = contextlib.ExitStack()

    def pytest_joules_make_meter(config):
        return ZeusMeter(os.environ, simulated_host("b200", {"seed": "3"}, STACK))

    def pytest_unconfigure():
        STACK.close()
"""


def test_work_key_verdict_and_report(suite: Suite) -> None:
    suite.write(CONFTEST, "conftest.py", prelude="")
    suite.write("@pytest.mark.energy_budget\ndef test_step(energy):\n    energy(step)\n")
    ran = suite.run("--energy-update", "-s")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*VERDICT test_it.py::test_step NO_BASELINE*", "*REPORT 1 True"])
    (key,) = suite.store.load(SKU).entries
    assert (key.test, key.unit) == ("decode at batch 64 (main)", "token")


def test_marker_key_wins_over_the_hook(suite: Suite) -> None:
    suite.write(CONFTEST, "conftest.py", prelude="")
    suite.write("@pytest.mark.energy_budget(key='mine')\ndef test_step(energy):\n    energy(step)\n")
    suite.run("--energy-update").assert_outcomes(passed=1)
    (key,) = suite.store.load(SKU).entries
    assert key.test == "mine"


def test_own_meter(suite: Suite) -> None:
    suite.write(OWN_METER, "conftest.py", prelude="")
    suite.write("def test_step(energy):\n    energy.repeat(step, rounds=120, warmup=50)\n")
    ran = suite.run()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["energy: NVIDIA B200 (simulated)*"])


REGRESSION = """
    @pytest.mark.energy_budget(tolerance="2%")
    def test_step(energy):
        energy.repeat(step, (1.3,), work=tokens)
"""

SKIP, EXIT = "pytest.skip('nothing of ours')", "raise SystemExit(0)"
"""What would end a test, or the run, without a failure."""


def raising(hook: str, how: str) -> str:
    return f"import unittest, pytest\n\ndef {hook}:\n    {how}\n"


@pytest.mark.parametrize(
    ("hook", "how"),
    [
        ("pytest_joules_diagnose(result)", SKIP),
        ("pytest_joules_diagnose(result)", "pytest.xfail('nothing of ours')"),
        ("pytest_joules_diagnose(result)", "raise ValueError('two\\nlines\\x1b[31m' + 9999 * 'long ')"),
        ("pytest_joules_verdict(result)", "pytest.importorskip('no_such_module')"),
        ("pytest_joules_verdict(result)", EXIT),
        ("pytest_joules_report(run)", SKIP),
        ("pytest_joules_report(run)", EXIT),
    ],
)
def test_a_hook_that_skips_or_exits_costs_no_verdict(suite: Suite, hook: str, how: str) -> None:
    suite.store_baseline()
    suite.write(REGRESSION)
    suite.write(raising(hook, how), "conftest.py", prelude="")
    ran, report = suite.report()
    ran.assert_outcomes(failed=1)
    assert ran.ret == 1
    (result,) = report["results"]
    assert (result["verdict"]["kind"], result["failed"]) == ("REGRESSED", True)
    assert result["diagnosis"] is not None
    assert all(note.isprintable() and len(note) < 600 for note in result["verdict"]["notes"])
    ran.stdout.fnmatch_lines(f"*{hook.partition('(')[0]} of conftest.py: *")


@pytest.mark.parametrize(
    ("hook", "how"),
    [
        ("pytest_joules_count_work(result)", "raise unittest.SkipTest('nothing of ours')"),
        ("pytest_joules_baseline_key(item, window)", SKIP),
    ],
)
def test_a_hook_that_a_number_rests_on_fails_its_test_whatever_it_raises(suite: Suite, hook: str, how: str) -> None:
    suite.write("@pytest.mark.energy_budget\ndef test_step(energy):\n    energy.repeat(step)\n")
    suite.write(raising(hook, how), "conftest.py", prelude="")
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    assert ran.ret == 1
    ran.stdout.fnmatch_lines(f"*{hook.partition('(')[0]} of conftest.py: *")


@pytest.mark.parametrize("how", [SKIP, EXIT])
def test_without_the_meter_that_a_hook_should_give_there_is_no_run(suite: Suite, how: str) -> None:
    suite.write(REGRESSION)
    suite.write(raising("pytest_joules_make_meter(config)", how), "conftest.py", prelude="")
    ran = suite.run()
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines("ERROR: pytest-joules: pytest_joules_make_meter of conftest.py: *")


@pytest.mark.parametrize("hook", ["pytest_joules_diagnose(result)", "pytest_joules_verdict(result)"])
def test_a_hook_may_end_the_run_and_ends_no_verdict(suite: Suite, hook: str) -> None:
    suite.store_baseline()
    suite.write(REGRESSION)
    suite.write(raising(hook, "pytest.exit('enough', returncode=7)"), "conftest.py", prelude="")
    ran, report = suite.report()
    assert ran.ret == 7
    (result,) = report["results"]
    assert (result["verdict"]["kind"], result["failed"]) == ("REGRESSED", True)


MEDDLER = """
    def meddle(conditions):
        conditions.configuration["owner"] = "alice"
        conditions.signals.clear()
        conditions.signals["sm_active"] = 0.1

    def pytest_joules_diagnose(result, before, after):
        for conditions in (result.measurement.conditions, before.conditions, after.conditions):
            meddle(conditions)

    def pytest_joules_verdict(result):
        meddle(result.measurement.conditions)

    def pytest_joules_report(run):
        for result in run.results:
            meddle(result.measurement.conditions)
            result.diagnosis.splits[0].parts.clear()
"""


def test_what_a_hook_changes_is_its_own_copy(suite: Suite) -> None:
    seen = {"sm_active": 1.0, "tensor_active": 0.0, "fp32_active": 0.0, "dram_bytes_per_second": 3.0e12}
    suite.store_baseline(conditions=Conditions(temperature_celsius=36.0, sm_clock_mhz=1980.0, signals=seen))
    suite.write(REGRESSION)
    _, plain = suite.report()
    suite.write(MEDDLER, "conftest.py", prelude="")
    ran, report = suite.report("-v")
    ran.stdout.fnmatch_lines(["  split      watts and time: watts *"])
    (before,), (after,) = plain["results"], report["results"]
    assert [cause["rule"] for cause in after["diagnosis"]["causes"]] == [
        cause["rule"] for cause in before["diagnosis"]["causes"]
    ]
    assert after["measurement"]["conditions"]["signals"].keys() == before["measurement"]["conditions"]["signals"].keys()
    suite.run("--energy-update").assert_outcomes(passed=1)
    stored = next(iter(suite.store.load(SKU).entries.values()))[-1]
    assert "owner" not in stored.conditions.configuration
    assert stored.conditions.signals.keys() == before["measurement"]["conditions"]["signals"].keys()
