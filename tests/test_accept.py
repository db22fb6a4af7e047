"""``pytest-joules accept``: what a CI run measured, into the baselines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SKU as SIMULATED
from conftest import Suite
from stored import DECODE, H200, PREFILL, SKU, days, measured, report, store, unmeasured

from pytest_joules.baselines.store import BaselineStore
from pytest_joules.budget import EnergyBudget
from pytest_joules.cli import main
from pytest_joules.model import BaselineKey, Session

LEVEL = days(1.0, 1.002, 0.998)
KEY = BaselineKey(DECODE, "main", "token")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stored(directory: str = "baselines", key: BaselineKey = KEY) -> tuple[Session, ...]:
    return BaselineStore(Path(directory)).load(SKU).sessions(key)


def test_accepting_a_run_stores_what_its_own_update_would_have(
    suite: Suite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.write("""
    @pytest.fixture
    def torn():
        yield
        raise RuntimeError("torn down badly")

    @pytest.mark.energy_budget
    def test_step(energy):
        energy.repeat(step, work=tokens)

    @pytest.mark.energy_budget
    def test_torn(energy, torn):
        energy.repeat(step, work=tokens)
    """)
    monkeypatch.delenv("CI", raising=False)
    suite.run("--energy-update", "--energy-json=report.json")
    assert main(["accept", "report.json", "--baselines", "accepted"]) == 1
    assert BaselineStore(suite.path / "accepted").load(SIMULATED) == suite.store.load(SIMULATED)
    said = capsys.readouterr().out
    assert "not stored: test_it.py::test_torn: the test failed in teardown" in said
    assert "baselines written in accepted:" in said
    assert "test_it.py::test_step [main]: new, " in said


def test_results_of_several_processes_become_sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [
        str(report(tmp_path / f"{day}.json", measured(joules), created=f"2026-05-{day:02}T12:00:00+00:00"))
        for day, joules in ((1, 1.0), (3, 1.001), (2, 0.999))
    ]
    assert main(["accept", *paths]) == 0
    assert [one.recorded[:10] for one in stored()] == ["2026-05-01", "2026-05-02", "2026-05-03"]
    assert {(one.commit, one.devices, one.tolerance) for one in stored()} == {("abc123", ("abc",), 0.02)}
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "baselines written in baselines:"
    assert said[1].endswith(f"{DECODE} [main]: new, 999.9 mJ/token, 1 session")
    assert said[3].endswith("3 sessions")
    text = (tmp_path / "baselines" / f"{SKU}.json").read_text()
    assert main(["accept", *paths]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"stored already: {KEY}, 3 times",
        "nothing was written in baselines",
    ]
    assert (tmp_path / "baselines" / f"{SKU}.json").read_text() == text


def test_a_new_level_starts_afresh_and_what_follows_joins_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(store(tmp_path / "baselines", LEVEL).directory, LEVEL, PREFILL)
    report(tmp_path / "a.json", measured(1.1), measured(1.0, PREFILL), created="2026-05-01T12:00:00+00:00")
    report(tmp_path / "b.json", measured(1.101), measured(1.0, PREFILL), created="2026-05-02T12:00:00+00:00")
    before = (tmp_path / "baselines" / f"{SKU}.json").read_text()
    arguments = ["accept", "b.json", "a.json"]
    assert main([*arguments, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "baselines that would be written in baselines:" in told
    assert "a dry run: nothing was written" in told
    assert (tmp_path / "baselines" / f"{SKU}.json").read_text() == before
    assert main(arguments) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == told.splitlines()[1:-1]
    assert any("-> 1.100 J/token (+10." in line and "replaced), 1 session" in line for line in said)
    assert [one.recorded[:10] for one in stored()] == ["2026-05-01", "2026-05-02"]
    assert len(stored(key=replace(KEY, test=PREFILL))) == 5


def test_before_one_file_is_written_all_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(tmp_path / "a.json", measured(), created="2026-05-01T12:00:00+00:00")
    report(tmp_path / "b.json", measured(device=replace(H200, name="NVIDIA B200")))
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "nvidia-b200.json").write_text("{")
    assert main(["accept", "a.json", "b.json"]) == 2
    assert "nvidia-b200.json:1: not JSON" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "baselines").iterdir()] == ["nvidia-b200.json"]


def test_terms_that_become_wider_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "baselines", [replace(one, tolerance=0.02) for one in LEVEL])
    report(tmp_path / "loose.json", replace(measured(1.01, tolerance=0.5), budget=EnergyBudget(None, 0.5, gate=False)))
    assert main(["accept", "loose.json"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if DECODE in line)
    assert line.endswith("4 sessions, tolerance 2% -> 50%, gate on -> off")
    assert main(["accept", "loose.json", "--anchor"]) == 0
    assert "->" not in capsys.readouterr().out


def test_an_older_run_does_not_take_the_place_of_a_newer_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path / "baselines", days(1.1, 1.1, month=6))
    report(tmp_path / "old.json", measured(1.0), created="2026-05-01T12:00:00+00:00")
    assert main(["accept", "old.json"]) == 0
    assert f"not stored: {DECODE}: it is of another level than the session of 2026-06-02" in capsys.readouterr().out
    assert len(stored()) == 2


def test_only_what_is_new_or_named_is_stored(tmp_path: Path) -> None:
    store(tmp_path / "baselines", LEVEL)
    report(tmp_path / "run.json", measured(1.1), measured(2.0, PREFILL))
    assert main(["accept", "run.json", "--only-new", "--baselines", "baselines"]) == 1  # The rise is not accepted.
    assert [len(stored()), len(stored(key=replace(KEY, test=PREFILL)))] == [3, 1]
    assert main(["accept", "run.json", "-k", "prefill", "--baselines", "fresh"]) == 0
    assert [len(stored("fresh")), len(stored("fresh", replace(KEY, test=PREFILL)))] == [0, 1]


def test_the_anchor_moves_to_what_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "baselines", [replace(one, anchor=True) for one in LEVEL])
    for day in (1, 2):
        report(tmp_path / f"{day}.json", measured(), created=f"2026-05-{day:02}T12:00:00+00:00")
    assert main(["accept", "1.json", "2.json", "--anchor"]) == 0
    assert [one.anchor for one in stored()] == [False, False, False, True, True]
    assert "anchor moved" in capsys.readouterr().out


def test_what_no_update_stores_is_not_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    invalid = measured(1.0, "test_it.py::test_foreign", invalid="a foreign process, pid 7")
    over = measured(2.0, "test_it.py::test_over", limit=1.0)
    torn = replace(measured(1.0, "test_it.py::test_torn"), broken="the test failed in teardown")
    report(
        tmp_path / "run.json",
        *(measured(), invalid, over, torn),
        *(unmeasured("the test failed in call", PREFILL), unmeasured("skipped: no model", "test_it.py::test_idle")),
    )
    assert main(["accept", "run.json"]) == 1
    assert {key.test for key in BaselineStore(Path("baselines")).load(SKU).entries} == {DECODE}
    said = capsys.readouterr().out
    assert "not stored: test_it.py::test_foreign: INVALID: a foreign process, pid 7" in said
    assert "not stored: test_it.py::test_over: OVER_LIMIT: +100.0% against the limit" in said
    assert "not stored: test_it.py::test_torn: the test failed in teardown" in said
    assert f"not stored: {PREFILL}: UNMEASURED: the test failed in call" in said
    assert "test_idle" not in said


def test_a_test_that_one_budget_failed_is_not_stored_by_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(tmp_path / "run.json", measured(), measured(invalid="too short"))
    assert main(["accept", "run.json"]) == 1
    assert not (tmp_path / "baselines").exists()
    said = capsys.readouterr().out
    assert f"not stored: {DECODE}: another budget of its test failed" in said
    assert "nothing was written in baselines" in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.json"], "nowhere.json: there is no such file"),
        (["empty.json"], "no result to accept"),
        (["real.json", "simulated.json"], "some of the results are simulated and some are real"),
        (["replayed.json"], "replayed joules are stored already or were not meant to be"),
        (["liar.json", "--baselines", "b"], "is taken by test_it.py::test_decode"),
        (["real.json", "--anchor", "--only-new"], "give --anchor or --only-new, not both"),
        (["real.json", "--baselines", "bad"], "bad/nvidia-h200.json:1: not JSON"),
        (["real.json", "--baselines", "linked"], "not a regular file"),
    ],
)
def test_what_cannot_be_accepted_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report(tmp_path / "empty.json")
    report(tmp_path / "real.json", measured())
    mocked = replace(H200, simulated=True)
    report(tmp_path / "simulated.json", measured(device=mocked), simulated=True)
    report(tmp_path / "replayed.json", measured(), replayed=True)
    shared = replace(measured(), key=replace(KEY, test="one.json"))
    report(tmp_path / "liar.json", shared, replace(shared, test="test_it.py::test_other"))
    for name in ("bad", "linked"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / f"{SKU}.json").write_text("{")
    (tmp_path / "linked" / f"{SKU}.json").symlink_to(tmp_path / "bad" / f"{SKU}.json")
    assert main(["accept", *arguments]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert not said.out
