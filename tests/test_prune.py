"""``pytest-joules prune``: stored series whose test is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import DECODE, PREFILL, SKU, days, measured, report, store

from pytest_joules.baselines import lines
from pytest_joules.baselines.store import BaselineStore
from pytest_joules.cli import main
from pytest_joules.model import BaselineKey, Session

TESTS = (DECODE, PREFILL, "test_it.py::test_image[8]", "test_it.py::test_image[64]", "test_old.py::TestIt::test_gone")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for test in TESTS:
        store(tmp_path / "baselines", days(1.0, 1.01), test)


def left(directory: str = "baselines") -> set[str]:
    return {key.test for key in BaselineStore(Path(directory)).load(SKU).entries}


def test_nothing_is_deleted_without_yes(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("baselines", f"{SKU}.json").read_text()
    assert main(["prune", PREFILL]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 of 5 series would be deleted:",
        f"  {SKU}: {PREFILL} [main, J/token]: 2 sessions, the last of 2026-04-02",
        "nothing was deleted; add --yes to delete them",
    ]
    assert Path("baselines", f"{SKU}.json").read_text() == before
    assert main(["prune", PREFILL, "--yes"]) == 0
    assert capsys.readouterr().out.startswith("deleted 1 of 5 series:\n")
    assert left() == {*TESTS} - {PREFILL}
    # Everything else keeps its lines.
    lines = before.splitlines()
    assert set(Path("baselines", f"{SKU}.json").read_text().splitlines()) <= set(lines)


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("test_it.py::test_image", {"test_it.py::test_image[8]", "test_it.py::test_image[64]"}),
        ("test_it.py::test_image[8]", {"test_it.py::test_image[8]"}),
        (f"{PREFILL} [main, J/token]", {PREFILL}),
        ("test_old.py::TestIt", {"test_old.py::TestIt::test_gone"}),
        ("test_it.py", {*TESTS[:4]}),
    ],
)
def test_a_name_is_a_test_a_file_a_class_or_all_parameters(name: str, gone: set[str]) -> None:
    assert main(["prune", name, "--yes"]) == 0
    assert left() == {*TESTS} - gone


def test_what_stays_does_not_become_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    session = lines._session

    def counted(line: lines.Line) -> Session:
        made.append(line)
        return session(line)

    monkeypatch.setattr(lines, "_session", counted)
    assert main(["prune", PREFILL, "--yes"]) == 0
    assert len(made) == 2


def test_a_file_without_a_series_is_removed() -> None:
    assert main(["prune", "test_it.py", "test_old.py", "--yes"]) == 0
    assert not Path("baselines", f"{SKU}.json").exists()


def test_what_a_run_did_not_collect_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = (BaselineKey(PREFILL, "main", "token"), BaselineKey("test_it.py::test_never", "main", "token"))
    report(tmp_path / "energy.json", measured(), not_collected=missing)
    assert main(["prune", "--from", "energy.json", DECODE]) == 2
    assert f"nothing is stored under {DECODE!r}" not in capsys.readouterr().out
    assert main(["prune", "--from", "energy.json", "--yes"]) == 0
    assert left() == {*TESTS} - {PREFILL}
    assert main(["prune", "--from", "energy.json", "--yes"]) == 0
    assert "nothing to delete: 4 series stored" in capsys.readouterr().out


def test_what_pytest_no_longer_collects_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for test in ("my-own-key", "by-hook/main/test_named", "test_lazy.py::test_hidden"):
        store(tmp_path / "baselines", days(1.0), test)
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_decode(): assert False, 'it does not run'\n"
        "@pytest.mark.parametrize('n', [8])\ndef test_image(n): pass\n"
        "@pytest.mark.energy_budget(key='my-own-key')\ndef test_keyed(): pass\n"
        "def test_named(): pass\n"
    )
    (tmp_path / "test_lazy.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    (tmp_path / "conftest.py").write_text(
        "def pytest_joules_baseline_key(item, window):\n"
        "    return f'by-hook/{window}/{item.name}' if item.name == 'test_named' else None\n"
    )
    assert main(["prune", "--stale", "--yes", "--", "-p", "no:cacheprovider", "test_it.py"]) == 0
    assert {*TESTS} - left() == {PREFILL, "test_it.py::test_image[64]"}
    assert main(["prune", "--stale", "--yes"]) == 0
    gone = {PREFILL, "test_it.py::test_image[64]", "test_old.py::TestIt::test_gone"}
    assert left() == {*TESTS, "my-own-key", "by-hook/main/test_named", "test_lazy.py::test_hidden"} - gone
    (tmp_path / "test_broken.py").write_text("import no_such_module\n")
    capsys.readouterr()
    assert main(["prune", "--stale"]) == 2
    complaint = "pytest --collect-only fails with exit code 2 (ERROR collecting test_broken.py): nobody knows which"
    assert complaint in capsys.readouterr().err
    (tmp_path / "test_broken.py").unlink()
    (tmp_path / "conftest.py").write_text("def pytest_joules_baseline_key(item, window): raise ValueError('no name')\n")
    assert main(["prune", "--stale"]) == 2
    assert "pytest_joules_baseline_key of conftest.py: ValueError: no name)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "name what to delete, or give --stale or --from RESULT.json"),
        (["test_it.py::test_decod"], "test_decod'; did you mean 'test_it.py::test_decode'?"),
        ([DECODE, "--baselines", "nowhere"], "nowhere: there is no such directory"),
        (["--from", "nowhere.json"], "nowhere.json: there is no such file"),
        ([DECODE, "--", "-q"], "pytest arguments are for --stale"),
        ([DECODE, "--baselines", "bad"], "bad/nvidia-h200.json:1: not JSON"),
        (["--stale"], "pytest --collect-only collects no test"),
    ],
)  # fmt: skip
def test_what_cannot_be_pruned_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / f"{SKU}.json").write_text("{")
    assert main(["prune", *arguments, "--yes"] if "--" not in arguments else ["prune", *arguments]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert left() == {*TESTS}
