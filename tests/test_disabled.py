"""Without ``--energy`` the plugin costs nothing and measures nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import Suite

LIBRARIES = "zeus pynvml numpy scipy jsonschema tabulate torch filelock psutil httpx prometheus_client"
HEAVY = tuple(LIBRARIES.split())


def loaded_by(code: str) -> set[str]:
    """The heavy modules that a fresh interpreter has loaded after ``code``."""
    probe = f"{code}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize("module", ["pytest_joules", "pytest_joules.plugin", "pytest_joules.testing"])
def test_import_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(f"import {module}") == set()


def test_nothing_is_diagnosed_before_there_is_a_baseline() -> None:
    probe = "import sys, pytest_joules.xdist; print(*(name for name in sys.modules if 'joules.diagnosis' in name))"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_every_call_runs_once_unmeasured_and_nothing_is_loaded(suite: Suite) -> None:
    suite.write(f"""
    import asyncio, sys

    calls = []

    def work(value):
        calls.append(value)
        return value + 1

    async def async_work(value):
        return work(value)

    @pytest.mark.energy_budget("1 mJ/token", tolerance="2%")
    def test_once(energy):
        step()
        assert energy(work, 1) == 2
        assert energy.repeat(work, kwargs={{"value": 2}}, rounds=5, setup=lambda: None) == 3
        assert asyncio.run(energy(async_work, 3)) == 4
        with energy.window("w") as window:
            window.count(token=-1)
        assert calls == [1, 2, 3]
        assert energy.measurements == () and energy.joules == 0
        assert not [name for name in {HEAVY!r} if name in sys.modules]
    """)
    ran = suite.pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:cov")
    ran.assert_outcomes(passed=1)
    ran.stdout.no_fnmatch_line("*energy:*")


def test_marker_is_registered(suite: Suite) -> None:
    ran = suite.pytester.runpytest_subprocess("--markers")
    ran.stdout.fnmatch_lines(["@pytest.mark.energy_budget(limit=None, *"])


def test_collect_only_opens_no_meter(suite: Suite) -> None:
    suite.write("@pytest.mark.energy_budget\ndef test_step(energy):\n    energy(step)\n")
    ran = suite.run("--collect-only", "-q", meter="zeus")
    assert ran.ret == pytest.ExitCode.OK


def test_an_error_is_shown_in_the_lines_of_the_test(suite: Suite) -> None:
    suite.write("""
    def broken():
        raise RuntimeError("out of memory")

    def test_engine(energy):
        energy(broken)
    """)
    ran = suite.pytester.runpytest_subprocess("-p", "no:xdist")
    ran.stdout.fnmatch_lines(["*    energy(broken)", "*RuntimeError: out of memory"])
    ran.stdout.no_fnmatch_line("*fixture.py*")
