"""``pytest-joules merge``: baselines and results of several machines of one SKU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import DECODE, H200, PREFILL, SKU, days, measured, report, session, store, unmeasured

from pytest_joules.baselines.store import KEPT_SESSIONS, BaselineFile, BaselineStore, read
from pytest_joules.cli import main
from pytest_joules.merging import Part, merge_parts
from pytest_joules.model import BaselineKey, Session

KEY = BaselineKey(DECODE, "main", "token")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def merged(path: str, key: BaselineKey = KEY) -> tuple[Session, ...]:
    file = read(Path(path))
    assert file is not None
    return file.sessions(key)


def test_devices_of_several_machines_become_sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, there = days(1.0, 1.01), days(1.05, 1.06, 1.07, device="def")
    store(tmp_path / "a", here)
    store(store(tmp_path / "b", [*there, here[0]]).directory, there, PREFILL)
    files = [f"a/{SKU}.json", f"b/{SKU}.json"]
    assert main(["merge", *files, "-o", "both.json"]) == 0
    assert [(one.recorded[:10], one.devices[0]) for one in merged("both.json")] == [
        *(("2026-04-01", "abc"), ("2026-04-01", "def"), ("2026-04-02", "abc"), ("2026-04-02", "def")),
        ("2026-04-03", "def"),
    ]
    assert len(merged("both.json", replace(KEY, test=PREFILL))) == 3
    said = capsys.readouterr()
    assert said.err == (
        f"pytest-joules: {SKU}: 2 series, 8 sessions of 2 devices from 2 files; 1 duplicate, 0 old ones left out\n"
    )
    assert not said.out
    assert main(["merge", *files, "-o", "made"]) == 0, "a directory that is not there yet"
    assert capsys.readouterr().err == said.err
    assert Path(f"made/{SKU}.json").read_text() == Path("both.json").read_text()
    # In any order, and again, it is the same.
    text = Path("both.json").read_text()
    assert main(["merge", *reversed(files)]) == 0
    assert capsys.readouterr().out == text
    assert main(["merge", "both.json", *files, "-o", "both.json"]) == 0
    assert Path("both.json").read_text() == text


def test_results_merge_with_baselines_in_their_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = store(tmp_path / "baselines", days(1.0))
    report(
        tmp_path / "energy.json",
        *(measured(1.01), measured(invalid="a foreign process", test=PREFILL)),
        *(measured(1.0, "test_it.py::test_new"), unmeasured("deselected", "test_it.py::test_idle")),
    )
    assert main(["merge", str(found.path(SKU)), "energy.json", "-o", "baselines"]) == 0
    entries = found.load(SKU).entries
    assert {key.test: len(sessions) for key, sessions in entries.items()} == {DECODE: 2, "test_it.py::test_new": 1}
    said = capsys.readouterr().err
    assert f"left out: energy.json: {PREFILL}: INVALID" in said
    assert "test_idle" not in said


@given(st.lists(st.lists(st.tuples(st.integers(1, 28), st.sampled_from("ab"), st.booleans()), min_size=1), min_size=1))
def test_merging_keeps_the_last_and_the_pinned_each_once(found: list[list[tuple[int, str, bool]]]) -> None:
    parts = []
    for number, sessions in enumerate(found):
        stored = tuple(
            session(1.0, f"2026-04-{day:02}T12:00:00+00:00", device=device, anchor=anchor)
            for day, device, anchor in sessions
        )
        parts.append(Part(str(number), BaselineFile(SKU, "NVIDIA H200", False, {KEY: stored})))
    result = merge_parts(parts)
    kept = result.file.sessions(KEY)
    given_sessions = {(day, device) for sessions in found for day, device, _ in sessions}
    pinned = {(day, device) for sessions in found for day, device, anchor in sessions if anchor}
    names = [(int(one.recorded[8:10]), one.devices[0]) for one in kept]
    assert len(names) == len(set(names))
    assert [day for day, _ in names] == sorted(day for day, _ in names)
    assert [day for day, _ in names][-KEPT_SESSIONS:] == sorted(day for day, _ in given_sessions)[-KEPT_SESSIONS:]
    assert sum(one.anchor for one in kept) == min(len(pinned), KEPT_SESSIONS)
    assert len(kept) + result.dropped + result.duplicates == sum(map(len, found))
    again = merge_parts([Part("again", result.file), Part("and again", result.file)])
    assert again.file == result.file


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.json"], "nowhere.json: there is no such file"),
        (["b"], "b: is a directory; name a file in it"),
        (["text.json"], "text.json: neither a report of pytest --energy-json nor a baseline file"),
        ([f"b/{SKU}.json", "other.json"], "is of nvidia-h200, and other.json of nvidia-b200: joules of different SKUs"),
        ([f"b/{SKU}.json", "simulated.json"], "and simulated.json of simulated-nvidia-h200"),
        (["empty.json"], "empty.json: nothing to merge"),
        (["replayed.json"], "replayed.json: replayed joules are stored already or were not meant to be"),
        (["two.json"], "two.json: results of nvidia-h200, nvidia-h200+450w: merge them by accepting each"),
        ([f"b/{SKU}.json", "-o", "text.json"], "text.json: exists, and is none of the files"),
        ([f"b/{SKU}.json", "-o", "nowhere/x.json"], "-o nowhere/x.json: its directory does not exist"),
    ],
)
def test_what_does_not_merge_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path / "b", days(1.0))
    (tmp_path / "text.json").write_text("{")
    report(tmp_path / "other.json", measured(device=replace(H200, name="NVIDIA B200")))
    report(tmp_path / "simulated.json", measured(device=replace(H200, simulated=True)), simulated=True)
    report(tmp_path / "empty.json", unmeasured("deselected"))
    report(tmp_path / "replayed.json", measured(), replayed=True)
    limited = measured(1.0, PREFILL, device=replace(H200, power_limit_watts=450.0))
    report(tmp_path / "two.json", measured(), limited)
    assert main(["merge", *arguments]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert not said.out
    assert (tmp_path / "text.json").read_text() == "{"
    assert len(BaselineStore(tmp_path / "b").load(SKU).entries) == 1
