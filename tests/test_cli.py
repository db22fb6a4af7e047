"""The ``pytest-joules`` command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SKU, Suite
from test_disabled import loaded_by

from pytest_joules.cli import COMMANDS, main


def joules(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_joules.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_record_adds_one_session_a_process_and_show_prints_them(suite: Suite) -> None:
    # So wide that sessions of a busy host agree.
    suite.write("""
    @pytest.mark.energy_budget(tolerance="20%")
    def test_step(energy):
        energy.repeat(step, work=tokens)
    """)
    ran = joules("record", "--sessions", "2", "--", "--energy-meter=simulated", "-q", cwd=suite.path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "pytest-joules: 2 sessions stored" in ran.stdout
    shown = joules("show", cwd=suite.path)
    assert shown.returncode == 0
    assert f"{SKU} (NVIDIA H100 80GB HBM3, simulated)" in shown.stdout
    row = next(line for line in shown.stdout.splitlines() if line.startswith("test_step "))
    assert "mJ/token" in row
    assert " 2 " in row
    assert joules("show", str(suite.store.path(SKU)), cwd=Path("/")).stdout == shown.stdout


def test_record_anchor_pins_its_sessions_in_place_of_older_ones(suite: Suite) -> None:
    suite.write("@pytest.mark.energy_budget\ndef test_step(energy):\n    energy.repeat(step, work=tokens)\n")
    suite.store_baseline(sessions=2, anchor=True)
    ran = joules("record", "--anchor", "--sessions", "2", "--", "--energy-meter=simulated", "-q", cwd=suite.path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "pytest-joules: 2 sessions stored as the anchor" in ran.stdout
    assert "3 sessions, 1 pinned, anchor moved" in ran.stdout
    assert "4 sessions, 2 pinned\n" in ran.stdout
    (sessions,) = suite.store.load(SKU).entries.values()
    assert [session.anchor for session in sessions] == [False, False, True, True]
    shown = joules("show", cwd=suite.path).stdout.splitlines()
    assert all(len(line) < 150 for line in shown)
    row = next(line for line in shown if line.startswith("test_step "))
    assert " 4 on 1, 2* " in row
    assert row.count("%") == 2  # two sessions since the anchor are no trend
    assert "* pinned as an anchor" in shown


def test_record_stops_at_a_failing_session(suite: Suite) -> None:
    suite.write("def test_fails():\n    assert False\n")
    ran = joules("record", "--", "--energy-meter=simulated", "-q", cwd=suite.path)
    assert ran.returncode == 1
    assert "session 1 failed with exit code 1; 0 stored" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["show"], "no baseline file in ./baselines"),
        (["show", "nowhere.json"], "nowhere.json: there is no such file"),
        (["record", "--sessions", "0"], "'0' is not a whole number above zero"),
        (["show", "--", "-q"], "show takes no pytest arguments: -q"),
        ([], "COMMAND"),
    ],
)
def test_wrong_use_is_one_clear_line_and_exit_code_2(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    ran = joules(*arguments, cwd=tmp_path)
    assert ran.returncode == 2
    assert complaint in ran.stderr


def test_a_corrupt_file_is_named_with_its_line(suite: Suite) -> None:
    suite.store_baseline()
    path = suite.store.path(SKU)
    path.write_text(path.read_text().replace('"simulated": true', '"simulated": maybe'))
    ran = joules("show", cwd=suite.path)
    assert ran.returncode == 2
    assert f"{SKU}.json:5: not JSON" in ran.stderr


# No module can be called "import".
NAMES = tuple(command.__name__.rpartition(".")[2].replace("imports", "import") for command in COMMANDS)


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_command_s_help_reads_well(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: pytest-joules {name} ")
    assert f"examples:\n  pytest-joules {name}" in shown


def test_help_loads_nothing_heavy() -> None:
    run_all = "from pytest_joules.cli import main\nimport contextlib, io\n"
    run_all += f"for name in {NAMES!r}:\n"
    run_all += "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
    run_all += "        main([name, '--help'])\n"
    assert loaded_by(run_all) == set()


@pytest.mark.parametrize("to", ["github", "markdown"])
def test_output_that_nobody_reads_on_ends_it_quietly(tmp_path: Path, to: str) -> None:
    results = Path(__file__).parents[1] / "benchmarks" / "results"
    command = [sys.executable, "-m", "pytest_joules.cli", "report", "--to", to]
    report = results / "h200-why" / "offline" / "eager-1.json"
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([*command, report], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (2, "")
