"""Whatever is wrong is said plainly, with the place and the fix; nothing is lost, nothing passes unmeasured."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from typing import IO

import pytest
from conftest import SKU, Suite, interruptible

from pytest_joules.meters.simulated import SimulatedHost
from pytest_joules.reporting import json as json_report

PLAIN = """
    @pytest.mark.energy_budget(tolerance="2%")
    def test_step(energy):
        energy.repeat(step, work=tokens)
"""


WRONG_MARKERS = {
    "@pytest.mark.energy_budget('80 mX/token')": "unknown energy unit 'mX' in '80 mX/token'; use one of *",
    "@pytest.mark.energy_budget('-1 mJ/token')": "the limit '-1 mJ/token' must be a finite energy above zero",
    "@pytest.mark.energy_budget(tolerance='2')": "tolerance: '2' is not a percentage; write it like '2%'",
    "@pytest.mark.energy_budget\n@pytest.mark.energy_budget": "two budgets for the same window*",
    "@pytest.mark.energy_budget(per='image', devices=[0])\n@pytest.mark.energy_budget(devices=[1])": (
        "two budgets of one window charge different devices*"
    ),
    "@pytest.mark.energy_budget(window='w', per='image', devices=[0])\n"
    "@pytest.mark.energy_budget(per='token', devices=[1])": "two budgets of one window charge different devices*",
}


@pytest.mark.parametrize("energy", [[], ["--energy", "--energy-meter=simulated"]])
def test_wrong_markers_are_collection_errors(suite: Suite, energy: list[str]) -> None:
    for number, marker in enumerate(WRONG_MARKERS):
        test = f"class TestIt:\n{textwrap.indent(marker, '    ')}\n    def test_a(self, energy): pass\n"
        suite.write(test, f"test_{number}.py")
    ran = suite.pytester.runpytest_subprocess(*energy)
    assert ran.ret == pytest.ExitCode.INTERRUPTED
    ran.assert_outcomes(errors=len(WRONG_MARKERS))
    for number, complaint in enumerate(WRONG_MARKERS.values()):
        ran.stdout.fnmatch_lines([f"test_{number}.py::TestIt::test_a: energy_budget: *{complaint}*"])


def test_a_device_named_twice_in_other_words_is_invalid(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.energy_budget(devices=["0", "00"])
    def test_step(energy):
        energy(step)
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["INVALID: device '0' is named twice, as GPU 0: its joules would count double"])


def test_wrong_marker_added_by_a_conftest(suite: Suite) -> None:
    suite.write(
        """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_collection_modifyitems(items):
            items[0].add_marker(pytest.mark.energy_budget("2"))
        """,
        "conftest.py",
        prelude="",
    )
    suite.write(PLAIN)
    ran = suite.run()
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: test_it.py::test_step: energy_budget: limit: '2' is not an energy*"])


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("--energy-tolerance=much", "--energy-tolerance: 'much' is not a percentage*"),
        ("--energy-meter=toy", "--energy-meter: 'toy' is not a meter; use auto, zeus, simulated[[]*"),
        ("--energy-columns=colour", "--energy-columns: unknown column 'colour'; choose from test,*"),
        ("--energy-max-seconds=0", "--energy-max-seconds: '0' is not a time above zero*"),
    ],
)
def test_wrong_flags_are_usage_errors(suite: Suite, flag: str, complaint: str) -> None:
    ran = suite.run(flag)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines([f"ERROR: {complaint}"])


def test_no_gpu_says_how_to_try_it(suite: Suite) -> None:
    suite.write(PLAIN)
    ran = suite.run(meter="auto")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: pytest-joules: no NVIDIA GPU*: pytest --energy --energy-meter simulated"])


@pytest.mark.parametrize(
    ("shown", "complaint"),
    [("", "*CUDA_VISIBLE_DEVICES='' hides every GPU*"), ("MIG-1", "*names a MIG slice*"), ("x", "*hides every GPU*")],
)
def test_hidden_devices_are_no_pass(suite: Suite, monkeypatch: pytest.MonkeyPatch, shown: str, complaint: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    ran = suite.run()
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines([complaint])


@pytest.mark.parametrize(
    ("find", "put", "complaint"),
    [
        ('"sku"', "sku", f"*{SKU}.json:3: not JSON: *"),
        ('"schema": 1', '"schema": 7', "*schema 7 was written by a newer pytest-joules*"),
        (f'"sku": "{SKU}"', '"sku": "nvidia-h200"', f"*holds baselines of 'nvidia-h200', not of '{SKU}'*"),
    ],
)
@pytest.mark.parametrize("update", [[], ["--energy-update"]])
def test_bad_baselines_stop_the_run_and_stay(
    suite: Suite, find: str, put: str, complaint: str, update: list[str]
) -> None:
    suite.write(PLAIN)
    suite.store_baseline()
    path = suite.store.path(SKU)
    damaged = path.read_text().replace(find, put)
    path.write_text(damaged)
    ran = suite.run(*update)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines([complaint])
    assert path.read_text() == damaged


UNCOUNTABLE = {
    "{'token': 0}": "INVALID: the work count of 'token' is 0: nothing to divide joules by",
    "{'token': -1}": "*WindowError: work {'token': -1} must be a finite number, not below zero",
    "{'token': float('nan')}": "*WindowError: work {'token': nan} must be a finite number*",
    "{'token': float('inf')}": "*WindowError: work {'token': inf} must be a finite number*",
    "{'token': 10**400}": "*WindowError: work {'token': 1000*} must be a finite number*",
    "{'token': 10**5000}": "*WindowError: work {'token': a huge number} must be a finite number*",
    "{'token': 1e308}": "*WindowError: work {'token': 1e+308} must be 0, or lie between 1e-15 and 1e+24",
    "{'token': 5e-324}": "*WindowError: work {'token': 5e-324} must be 0, or lie between 1e-15 and 1e+24",
    "{'token': '5'}": "*WindowError: work {'token': '5'} is not a unit's name with a number",
    "{'call': 64}": "*WindowError: work {'call': 64}: a call always counts as one 'call'*",
    "[]": "*WindowError: work must be a mapping like {'token': 512}*",
    "lambda result: None": "*WindowError: work must be a mapping like {'token': 512}*; got None",
    "7": "*WindowError: work must be a mapping like {'token': 512}*",
    "{'other': 1}": "INVALID: the window did not count 'token', only 'call', 'other': declare it with work=*",
}


def said_of(ran: pytest.RunResult, test: str) -> list[str]:
    """For each case of a parametrised test in turn, what its failure says."""
    text = ran.stdout.str().partition("= energy (")[0]
    _, *parts = re.split(rf"^_+ {test}\[(\d+)\] _+$", text, flags=re.MULTILINE)
    assert parts[::2] == [str(number) for number in range(len(parts) // 2)]
    return parts[1::2]


def test_work_that_cannot_be_counted(suite: Suite) -> None:
    suite.write(f"""
    WORK = [{", ".join(UNCOUNTABLE)}]

    @pytest.mark.parametrize("case", range(len(WORK)))
    @pytest.mark.energy_budget(per="token")
    def test_step(energy, case):
        energy.repeat(step, work=WORK[case], rounds=80, warmup=5)
    """)
    ran = suite.run("--energy-update")
    ran.assert_outcomes(failed=len(UNCOUNTABLE))
    for said, complaint in zip(said_of(ran, "test_step"), UNCOUNTABLE.values(), strict=True):
        assert re.search(rf"^{re.escape(complaint)}".replace(r"\*", ".*"), said, re.MULTILINE), complaint
    assert not suite.store.directory.exists()


NONSENSE = {
    "{'token': float('nan')}": "{'token': nan} must be a finite number*",
    "{'token': 10**400}": "{'token': 1000*} must be a finite number*",
    "{'call': 2}": "{'call': 2}: a call always counts as one 'call'*",
    "[]": "must be a mapping like *; got []",
    "'64 tokens'": "must be a mapping like *; got '64 tokens'",
}


def test_a_hook_that_counts_nonsense_is_named(suite: Suite) -> None:
    hook = f"""
    def pytest_joules_count_work(result):
        return [{", ".join(NONSENSE)}][result]
    """
    suite.write(hook, "conftest.py", prelude="")
    suite.write(f"""
    @pytest.mark.parametrize("case", range({len(NONSENSE)}))
    @pytest.mark.energy_budget(tolerance="2%")
    def test_step(energy, case):
        energy.repeat(lambda: (step(), case)[1], work={{"token": 64}})
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=len(NONSENSE))
    for said, complaint in zip(said_of(ran, "test_step"), NONSENSE.values(), strict=True):
        line = re.escape(f"WindowError: what pytest_joules_count_work returned, {complaint}").replace(r"\*", ".*")
        assert re.search(line, said), complaint


def test_a_window_counts_as_one_call(suite: Suite) -> None:
    suite.write("""
    def test_shot(energy):
        with pytest.raises(ValueError, match="always counts as one 'call'"), energy.window("w") as window:
            window.count(call=2)
    """)
    suite.run().assert_outcomes(passed=1)


def test_two_windows_with_one_name(suite: Suite) -> None:
    suite.write("def test_a(energy):\n    energy(step)\n    energy(step)\n")
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*the test measures two windows named 'main': give each its own name*"])


def test_a_function_that_raises_shows_its_own_error_and_stores_nothing(suite: Suite) -> None:
    suite.write(
        """
    calls = []

    def breaks():
        calls.append(1)
        if len(calls) == 60:
            raise RuntimeError("the engine died")
        return step()

    @pytest.mark.energy_budget
    def test_breaks(energy):
        energy(breaks)
    """
        + PLAIN
    )
    ran = suite.run("--energy-update")
    ran.assert_outcomes(failed=1, passed=1)
    ran.stdout.fnmatch_lines(
        ["E *RuntimeError: the engine died", "*test_breaks: UNMEASURED: the test failed in call", "*1 unmeasured"]
    )
    assert [key.test for key in suite.store.load(SKU).entries] == ["test_it.py::test_step"]


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("lost", "INVALID: GPU 0 is lost*"),
        ("reset", "INVALID: the energy counter of GPU 0 went back from *"),
        ("stuck", "INVALID: the energy counter of GPU 0 stood still at *"),
        ("zero", "INVALID: the energy counter *"),
        ("thermal", "INVALID: thermal or power-brake slowdown during *"),
        ("foreign", "INVALID: process 1 (*) on GPU 0 shares the device*"),
        ("mig", "INVALID: MIG is enabled on GPU 0*"),
    ],
)
def test_what_goes_wrong_in_mid_run_is_invalid(suite: Suite, fault: str, complaint: str) -> None:
    suite.write(f"""
    calls = []

    def step_and_break():
        calls.append(1)
        if len(calls) == 120:
            inject("{fault}")
        return step()

    @pytest.mark.energy_budget(tolerance="2%")
    def test_step(energy):
        assert energy.repeat(step_and_break, work=tokens) == {{"token": 64}}
    """)
    suite.store_baseline()
    ran = suite.run("--energy-update", "--energy-max-seconds=6")
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines([complaint, "energy: 0 passed, 0 regressed, 1 invalid*"])
    assert len(suite.store.load(SKU).entries) == 1


def test_after_a_lost_device_the_rest_is_invalid_too(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.energy_budget
    def test_first(energy):
        inject("lost")
        energy(step)

    @pytest.mark.energy_budget(window="w")
    def test_second(energy):
        with energy.window("w"):
            step()
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=2)
    ran.stdout.fnmatch_lines(["energy: 0 passed, 0 regressed, 2 invalid, 0 inconclusive, 0 unmeasured"])


def test_nvml_without_permission(suite: Suite) -> None:
    suite.write(PLAIN)
    ran = suite.run(meter="simulated:h100-sxm,fault=no-permission")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: pytest-joules: NVML refuses to read GPU 0 *: run with access to *"])


@pytest.mark.parametrize("update", [[], ["--energy-update"]])
def test_an_interrupt_leaves_nothing_half_written(suite: Suite, update: list[str]) -> None:
    suite.write(
        """
    def test_ready(energy):
        print("READY", flush=True)

    @pytest.mark.energy_budget
    def test_long(energy):
        energy.repeat(step, rounds=100000)
    """
        + PLAIN.replace("test_step", "test_aa")
    )
    suite.store_baseline()
    before = suite.store.path(SKU).read_text()
    command = [sys.executable, "-m", "pytest", "-s", "--energy", "--energy-meter=simulated", *update]
    running = subprocess.Popen(
        command, cwd=suite.path, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=interruptible
    )
    assert running.stdout is not None
    while "READY" not in running.stdout.readline():
        pass
    time.sleep(1.0)
    os.killpg(running.pid, signal.SIGINT)
    said, _ = running.communicate(timeout=30)
    assert running.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in said
    assert "energy: 0 passed, 0 regressed, 0 inconclusive, 2 unmeasured" in said
    assert suite.store.path(SKU).read_text() == before
    assert [path.name for path in suite.store.directory.iterdir()] == [f"{SKU}.json"]


def test_the_second_run_on_a_device_waits_and_says_for_whom(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.write("""
    import time
    from pathlib import Path

    @pytest.mark.energy_budget(gate=False)
    def test_step(energy):
        print("MEASURING", flush=True)
        energy.repeat(step, rounds=70, warmup=1)
        while not Path("go-on").exists():
            time.sleep(0.01)
    """)
    SimulatedHost.create(suite.path / "state", "h100-sxm", {"seed": "1"})
    monkeypatch.setenv("PYTEST_JOULES_SIMULATED_STATE", str(suite.path / "state"))
    command = [sys.executable, "-m", "pytest", "-s", "--energy", "--energy-meter=simulated"]
    first = subprocess.Popen(command, cwd=suite.path, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    _read_until(first.stdout, "MEASURING")
    second = subprocess.Popen(command, cwd=suite.path, stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    waits = _read_until(second.stdout, "; waiting")
    assert re.match(rf"energy: .* \(GPU 0\) is being measured by process {first.pid}, since [\d:]+; waiting", waits)
    (suite.path / "go-on").touch()
    for run in (first, second):
        said, _ = run.communicate()
        assert run.returncode == 0, said


def _read_until(stream: IO[str], text: str) -> str:
    """The first line that holds ``text``."""
    for line in stream:
        if text in line:
            return line
    raise AssertionError(f"it ended without {text!r}")


def test_one_key_for_two_tests_is_refused(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.parametrize("batch", [1, 2])
    @pytest.mark.energy_budget(key="decode")
    def test_step(energy, batch):
        energy(step)
    """)
    ran = suite.run()
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: test_it.py::test_step[[]2[]]: energy_budget: key='decode' is taken by *"])


def test_extra_info_that_no_report_can_hold_becomes_text(suite: Suite) -> None:
    suite.write("""
    def test_step(energy):
        energy.extra_info.update({(1, 2): "pair", "inner": [{frozenset(): 1, None: 2}]})
        energy.extra_info.update(nan=float("nan"), kind=object, batch=8, huge=10**5000, itself=energy.extra_info)
        energy.repeat(step, rounds=70, warmup=1)
    """)
    ran, report = suite.report()
    ran.assert_outcomes(passed=1)
    info = report["extra_info"]["test_it.py::test_step"]
    assert (info["(1, 2)"], info["inner"]) == ("pair", [{"frozenset()": 1, "None": 2}])
    assert (info["nan"], info["batch"]) == ("NaN", 8)
    assert "object" in info["kind"]
    assert info["huge"] == hex(10**5000)
    assert info["itself"]["itself"]["batch"] == 8
    assert json_report.read(suite.path / "report.json").extra_info["test_it.py::test_step"] == info


def test_a_report_on_a_directory_is_refused_at_the_start(suite: Suite) -> None:
    suite.write(PLAIN)
    ran = suite.run("--energy-json=.")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: --energy-json .: is a directory; name a file in it"])


def test_a_report_that_cannot_be_written_is_said(suite: Suite) -> None:
    suite.write("""
    def test_a():
        from pathlib import Path
        Path("report.json").mkdir()
    """)
    ran = suite.run("--energy-json=report.json")
    assert ran.ret == pytest.ExitCode.INTERNAL_ERROR
    ran.stdout.fnmatch_lines(["energy: no report written: *report.json*", "energy: 0 passed*"])
    ran.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_broken_baseline_of_several_devices_makes_their_window_invalid(suite: Suite, workers: str) -> None:
    suite.write("""
    @pytest.mark.energy_budget(devices=[0, 1])
    def test_both(energy):
        energy.repeat(step, rounds=110, warmup=5)
    """)
    path = suite.store.path(f"{SKU}+x2")
    path.parent.mkdir()
    path.write_text("{")
    ran = suite.run(workers, meter="simulated:h100-sxm,seed=1,gpus=2")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*INVALID: *+x2.json:1: not JSON: *", "energy: 0 passed, 0 regressed, 1 invalid*"])


def test_a_flag_without_energy_is_refused(suite: Suite) -> None:
    suite.pytester.makeini("[pytest]\nenergy_missing = warn\n")
    suite.write("def test_a(): pass\n")
    suite.pytester.runpytest_subprocess().assert_outcomes(passed=1)
    ran = suite.pytester.runpytest_subprocess("--energy-strict", "--energy-missing=fail")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: --energy-missing, --energy-strict need --energy; *ini file"])


def test_a_test_whose_teardown_fails_stores_nothing(suite: Suite) -> None:
    suite.write("""
    @pytest.fixture
    def engine():
        yield
        raise RuntimeError("the engine would not stop")

    @pytest.mark.energy_budget
    def test_step(energy, engine):
        energy.repeat(step, rounds=80, warmup=2)
    """)
    ran = suite.run("--energy-update")
    ran.assert_outcomes(passed=1, errors=1)
    ran.stdout.fnmatch_lines(["baselines: nothing was written"])


def test_an_output_path_does_not_move_the_root(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> None:
    suite.write("@pytest.mark.energy_budget\ndef test_step(energy):\n    energy.repeat(step, work=tokens)\n")
    elsewhere = tmp_path_factory.mktemp("traces")
    ran = suite.run("--energy-trace", str(elsewhere), ".")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines([f"*write --energy-trace={elsewhere}"])
    suite.run(f"--energy-trace={elsewhere}", "--energy-missing=warn", ".").assert_outcomes(passed=1)
    (suite.path / "pytest.ini").write_text("[pytest]\n")
    suite.run("--energy-trace", str(elsewhere), "--energy-missing=warn", ".").assert_outcomes(passed=1)
