"""No command writes what it found in the place of what it read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from test_explain import baseline, measured, report, session

from pytest_joules.cli import main

COMMANDS = {
    "explain": ["explain", "READ", "other.json", "--json"],
    "explain-after": ["explain", "other.json", "READ", "--json"],
    "compare": ["compare", "READ", "--baseline", "nvidia-h200.json", "--json"],
    "frontier": ["frontier", "other.json", "READ", "--json"],
    "frontier-html": ["frontier", "READ", "--html"],
    "report": ["report", "READ", "--to", "csv", "-o"],
    "merge": ["merge", "nvidia-h200.json", "READ", "-o"],
}


def refused(command: Sequence[str], output: str, lost: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = lost.read_bytes()
    assert main([*command, output]) == 2
    said = capsys.readouterr()
    assert f"{command[-1]} {output}: is one of the files that the command reads; name another" in said.err
    assert said.err.count("\n") == 1
    assert not said.out
    assert lost.read_bytes() == before


@pytest.mark.parametrize("output", ["read.json", "sub/../read.json", "symlink.json", "hardlink.json"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_file_that_was_read_is_not_written_over(
    command: list[str],
    output: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    read = report(Path("read.json"), measured())
    report(Path("other.json"), measured())
    baseline(Path(), [session(1.0)])
    Path("sub").mkdir()
    Path("symlink.json").symlink_to(read)
    Path("hardlink.json").hardlink_to(read)
    refused([argument.replace("READ", str(read)) for argument in command], output, read, capsys)


@pytest.mark.parametrize(
    "command",
    [
        ["explain", "baselines/nvidia-h200.json", "read.json", "--json"],
        ["explain", "baselines/nvidia-h200.json@2026", "read.json", "--json"],
        ["compare", "read.json", "--json"],
        ["compare", "read.json", "--baseline", "baselines", "--json"],
    ],
)
def test_a_baseline_file_is_not_written_over_either(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report(Path("read.json"), measured())
    stored = baseline(Path("baselines"), [session(1.0)])
    refused(command, "baselines/nvidia-h200.json", stored, capsys)


def test_two_outputs_are_not_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report(Path("read.json"), measured())
    assert main(["frontier", "read.json", "--json", "out", "--html", "./out"]) == 2
    assert "--json and --html both name out: give each a file of its own" in capsys.readouterr().err
    assert not Path("out").exists()


def test_merge_writes_into_a_baseline_file_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    baseline(Path(), [session(1.0, "2026-04-01T12:00:00+00:00")])
    report(Path("read.json"), measured())
    assert main(["merge", "nvidia-h200.json", "read.json", "-o", "nvidia-h200.json"]) == 0
    assert b"2026-05-01" in Path("nvidia-h200.json").read_bytes()
