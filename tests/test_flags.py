"""Every setting works as a flag and as its ini twin; each pair is driven through a real run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import SKU, STEP_JOULES_PER_TOKEN, Suite

TEST = """
    @pytest.mark.energy_budget
    def test_step(energy):
        energy.repeat(step, work=tokens)
"""

Check = Callable[[Suite, pytest.RunResult], None]


def passes(suite: Suite, ran: pytest.RunResult) -> None:
    ran.assert_outcomes(passed=1)


def fails(suite: Suite, ran: pytest.RunResult) -> None:
    ran.assert_outcomes(failed=1)


def fails_undecided(suite: Suite, ran: pytest.RunResult) -> None:
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["INCONCLUSIVE: *"])


def reads_other_directory(suite: Suite, ran: pytest.RunResult) -> None:
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines([f"energy: baselines none for {SKU}"])


def measures_b200(suite: Suite, ran: pytest.RunResult) -> None:
    ran.stdout.fnmatch_lines(["energy: NVIDIA B200 (simulated)*"])


def refuses_second_device(suite: Suite, ran: pytest.RunResult) -> None:
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: pytest-joules: device '1' does not exist: CUDA shows 1 device*"])


def shows_two_columns(suite: Suite, ran: pytest.RunResult) -> None:
    ran.stdout.fnmatch_lines(["verdict *watts*", "PASS *4*"])


def sorts_largest_first(suite: Suite, ran: pytest.RunResult) -> None:
    ran.stdout.fnmatch_lines(["test_zz.py::test_larger*J/call*", "test_it.py::test_step*J/token*"])


def stops_early(suite: Suite, ran: pytest.RunResult) -> None:
    # A tick that nobody read in time makes a block longer by one.
    ran.stdout.fnmatch_lines(["*: [23] blocks, 1.? s after *"])


SETTINGS: dict[str, tuple[str, Check]] = {
    "baselines": ("elsewhere", reads_other_directory),
    "meter": ("simulated:b200", measures_b200),
    "devices": ("1", refuses_second_device),
    "tolerance": ("20%", passes),
    "max_seconds": ("1.45", stops_early),
    "missing": ("warn", passes),
    "inconclusive": ("fail", fails_undecided),
    "strict": ("true", fails_undecided),
    "sort": ("joules", sorts_largest_first),
    "columns": ("verdict,watts", shows_two_columns),
}


@pytest.mark.parametrize("how", ["flag", "ini"])
@pytest.mark.parametrize("name", SETTINGS)
def test_setting(suite: Suite, name: str, how: str) -> None:
    value, check = SETTINGS[name]
    undecided = name in ("inconclusive", "strict")
    suite.write(TEST.replace("energy_budget", "energy_budget(tolerance='1%')") if undecided else TEST)
    level = {
        "tolerance": 0.9 * STEP_JOULES_PER_TOKEN,  # +11 %: regressed under the default tolerance
        # +1.4 % with a tolerance of 1 %: neither level nor surely worse than a single session
        "inconclusive": STEP_JOULES_PER_TOKEN / 1.014,
        "strict": STEP_JOULES_PER_TOKEN / 1.014,
    }.get(name, STEP_JOULES_PER_TOKEN)
    if name == "sort":
        suite.write("def test_larger(energy):\n    energy(step)\n", "test_zz.py")
    if name not in ("missing", "max_seconds"):
        suite.store_baseline(level, sessions=1 if undecided else 3)
    arguments = []
    if how == "flag":
        flag = f"--energy-{name.replace('_', '-')}"
        arguments = [flag] if name == "strict" else [f"{flag}={value}"]
    else:
        suite.pytester.makeini(f"[pytest]\nenergy_{name} = {value}\n")
    command = ["--energy", "-p", "no:cacheprovider", *arguments]
    if name != "meter":
        command.append("--energy-meter=simulated:h100-sxm,seed=1")
    check(suite, suite.pytester.runpytest_subprocess(*command))


def test_flag_wins_over_ini(suite: Suite) -> None:
    suite.write(TEST)
    suite.pytester.makeini("[pytest]\nenergy_missing = fail\n")
    suite.run("--energy-missing=warn").assert_outcomes(passed=1)


def test_energy_only_runs_what_carries_a_budget(suite: Suite) -> None:
    suite.write(TEST + "\n    def test_plain():\n        assert False\n")
    suite.store_baseline()
    suite.run("--energy-only").assert_outcomes(passed=1, deselected=1)


def test_help_lists_every_flag_in_one_group(suite: Suite) -> None:
    ran = suite.pytester.runpytest_subprocess("--help")
    ran.stdout.fnmatch_lines(["GPU energy budgets (pytest-joules):", "*--energy *", "*--energy-columns*"])
