"""``pytest-joules show``: baseline files as tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from stored import DECODE, PREFILL, SKU, days, session, store

from pytest_joules.cli import main


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def row(said: str, name: str) -> list[str]:
    (line,) = [line for line in said.splitlines() if line.startswith(name)]
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_row_tells_level_scatter_devices_drift_and_trend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "baselines", [*days(1.0, 1.01, device="def", month=3), *days(1.0, 1.01, 1.02, 1.03)])
    store(tmp_path / "baselines", [replace(session(2.0, commit="0123456789ab"), anchor=True)], PREFILL)
    assert main(["show"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{SKU} (NVIDIA H200)\n")
    name, joules, _, _, sessions, drift, trend, last, commit = row(said, "test_decode")
    assert (name, joules, sessions, drift, last, commit) == (
        *("test_decode", "1.011 J/token", "6 on 2 (2+4)", "+3.00%", "2026-04-04", "-"),
    )
    assert trend.startswith("+0.99% ±0.")
    assert trend.endswith("!")
    assert "! the trend is more than chance" in said
    assert row(said, "test_prefill")[4:] == ["1 on 1, 1*", "-", "-", "2026-04-01", "01234567"]
    assert "* pinned as an anchor" in said


def test_every_session_has_a_row_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *others = days(1.0, 1.02, 0.98)
    store(tmp_path / "baselines", [replace(first, anchor=True, commit="abc123"), *others])
    assert main(["show", "baselines", "--sessions"]) == 0
    said = capsys.readouterr().out
    assert f"{DECODE} [main, J/token]" in said
    assert row(said, "2026-04-01") == [
        *("2026-04-01 12:00:00*", "abc123", "abc", "999.9 mJ/token", "+0.01%", "10.0 ms", "8", "50", "1980", "-"),
    ]
    assert row(said, "2026-04-02")[4] == "+2.01%"
    assert "* pinned as an anchor" in said


def test_series_and_files_are_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = store(store(tmp_path / "b", days(1.0)).directory, days(2.0), PREFILL)
    assert main(["show", str(found.path(SKU)), "-k", "prefill"]) == 0
    said = capsys.readouterr().out
    assert "test_it.py:\n" in said
    assert "\ntest_prefill " in said
    assert "test_decode" not in said
    # What merge writes may have any name; a file in a directory that pytest reads may not.
    found.path(SKU).rename(tmp_path / "b" / "merged.json")
    assert main(["show", "b/merged.json"]) == 0
    assert "test_prefill" in capsys.readouterr().out
    assert main(["show", "b"]) == 2
    assert f"rename it to {SKU}.json" in capsys.readouterr().err
    (tmp_path / "b" / "merged.json").rename(found.path(SKU))
    assert main(["show", "b", "-k", "nothing"]) == 2
    assert "no stored series whose test, window and unit hold 'nothing'" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["show", "empty"]) == 2
    assert "no baseline file in empty" in capsys.readouterr().err


def test_names_cannot_act_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "baselines", days(1.0), "test_it.py::test_x[\x1b[31m\n::error::]")
    for flags in ([], ["--sessions"]):
        assert main(["show", *flags]) == 0
        said = capsys.readouterr().out
        assert "\x1b" not in said
        assert not any(line.startswith("::") for line in said.splitlines())
