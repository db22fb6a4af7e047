"""The hooks that a conftest may implement."""

from __future__ import annotations

from conftest import SKU, Suite

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
