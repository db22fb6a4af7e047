"""Baselines under review: what a work tree does to its base's, terms that widen, names that changed."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DEVICE, PRODUCT, SKU, STEP_JOULES_PER_TOKEN, Suite
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules import review as review_module
from pytest_joules.baselines.at_ref import BaselinesAtRef
from pytest_joules.baselines.store import Addition, BaselineError, BaselineFile, BaselineStore
from pytest_joules.budget import EnergyBudget
from pytest_joules.cli import main
from pytest_joules.judging import Bar
from pytest_joules.model import (
    BaselineKey,
    BaselineReview,
    Block,
    BudgetResult,
    Conditions,
    Device,
    EntryChange,
    Measurement,
    Rename,
    RunResult,
    Session,
    Verdict,
    VerdictKind,
    Widened,
    WindowKind,
)
from pytest_joules.options import Options
from pytest_joules.reporting import terminal
from pytest_joules.review import entry_changes, renames, review, worst_first
from pytest_joules.terms import widened, widened_text

KEY = BaselineKey("test_it.py::test_step", "main", "token")


def session(joules: float = 50.0, minute: int = 0, anchor: bool = False, **terms: float | bool | None) -> Session:
    recorded = f"2026-11-21T00:{minute:02}:00+00:00"
    blocks = (Block(joules, 100.0, 0.5), Block(joules * 1.001, 100.0, 0.5))
    return replace(Session(recorded, (DEVICE,), blocks, anchor=anchor), **terms)  # type: ignore[arg-type]


def file(*sessions: Session, key: BaselineKey = KEY) -> BaselineFile:
    return BaselineFile(SKU, PRODUCT, True, {key: sessions} if sessions else {})


TERMS: list[tuple[Session, tuple[float | None, float | None, bool], str]] = [
    (session(tolerance=0.02), (0.02, None, True), ""),
    (session(tolerance=0.02), (0.01, None, True), ""),
    (session(tolerance=0.02), (0.1, None, True), "tolerance 2% -> 10%"),
    (session(tolerance=0.015), (None, 0.5, True), "tolerance 1.5% -> none"),
    (session(limit=0.08), (None, 0.08, True), ""),
    (session(limit=0.08), (None, 0.09, True), "limit 80.00 mJ/token -> 90.00 mJ/token"),
    (session(limit=0.08), (0.02, None, True), "limit 80.00 mJ/token -> none"),
    (session(tolerance=0.02), (0.02, None, False), "gate on -> off"),
    (session(tolerance=0.02, gate=False), (0.02, None, False), ""),
    (session(), (0.5, 1e6, False), ""),
]


@pytest.mark.parametrize(("base", "here", "told"), TERMS)
def test_what_is_wider_than_its_base(base: Session, here: tuple[float | None, float | None, bool], told: str) -> None:
    assert ", ".join(widened_text(change, "token") for change in widened(base, *here)) == told


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_no_tolerance_that_is_kept_is_wider_than_itself(kept: float, here: float) -> None:
    stored = session(tolerance=float(f"{kept:.7g}"))
    assert not widened(stored, kept, None, True)
    assert bool(widened(stored, here, None, True)) == (here > kept * (1 + 1e-6)) or math.isclose(here, kept)


def test_terms_are_stored_and_read(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    stored = session(tolerance=0.015, limit=0.5, gate=False)
    store.update(SKU, PRODUCT, True, {KEY: Addition(stored)})
    assert store.load(SKU).sessions(KEY) == (stored,)
    text = store.path(SKU).read_text()
    assert '"tolerance": 0.015, "limit": 0.5, "gate": false' in text
    for good, bad in (("0.015", "1.5"), ('"gate": false', '"gate": true'), ('"limit": 0.5', '"limit": 0')):
        store.path(SKU).write_text(text.replace(good, bad))
        with pytest.raises(BaselineError, match=r"entries/test_it\.py::test_step/main/token/0"):
            store.load(SKU)


CHANGES: list[tuple[Sequence[Session], Sequence[Session], str]] = [
    ([session()], [session()], ""),
    ([session()], [session(), session(50.5, 1)], "(+0.50%), 1 session added"),
    ([session()], [session(55.0)], "(+10.00%), 1 session rewritten"),
    ([session()], [session(55.0, 1)], "(+10.00%), 1 session added, 1 session removed"),
    ([session(anchor=True)], [session()], "(+0.00%), anchor moved"),
    ([session(anchor=True)], [session(), session(50.0, 1, True)], "(+0.00%), 1 session added, anchor moved"),
    ([session()], [session(anchor=True)], "(+0.00%)"),
    ([session(tolerance=0.02)], [session(tolerance=0.5)], "rewritten, tolerance 2% -> 50%"),
    ([], [session()], "new, 500.2 mJ/token, 1 session added"),
    ([session()], [], "removed, 500.2 mJ/token, 1 session removed"),
]


@pytest.mark.parametrize(("base", "here", "told"), CHANGES)
def test_what_a_work_tree_does_to_an_entry(base: Sequence[Session], here: Sequence[Session], told: str) -> None:
    changes = entry_changes(file(*base), file(*here))
    lines = terminal.review(BaselineReview("main", "c0ffee" * 7, changes), ())
    if told:
        assert len(changes) == 1
        assert lines[0] == "baselines against main (c0ffeec0ffee):"
        assert lines[1].startswith(f"  {SKU}: test_it.py::test_step [main]: ")
        assert lines[1].endswith(told)
    else:
        assert lines[1:] == ["  no change"]


def test_the_largest_rise_comes_first_and_what_is_gone_before_it() -> None:
    tests = {name: replace(KEY, test=name) for name in "abcd"}
    base = BaselineFile(SKU, entries={tests[n]: (session(),) for n in "abc"})
    here = BaselineFile(
        SKU, entries={tests["a"]: (session(51.0),), tests["b"]: (session(60.0),), tests["d"]: (session(70.0),)}
    )
    assert [change.key.test for change in worst_first(entry_changes(base, here))] == ["c", "b", "a", "d"]


def test_a_series_under_another_name_is_one_change() -> None:
    new = replace(KEY, test="test_it.py::test_new")
    sessions = (session(), session(51.0, 1, True))
    (change,) = entry_changes(file(*sessions), file(*sessions, key=new))
    assert (change.key, change.renamed_from, change.old) == (new, KEY, change.new)
    (line,) = terminal.reviewed(BaselineReview("main", "c0ffee", (change,)), ())
    assert line.endswith("(+0.00%), renamed from test_it.py::test_step")
    forged = (*sessions[:1], replace(sessions[1], anchor=False))
    assert len(entry_changes(file(*sessions), file(*forged, key=new))) == 2


def result(name: str, joules: float, verdict: VerdictKind = VerdictKind.NO_BASELINE, **more: object) -> BudgetResult:
    device = Device(0, PRODUCT, DEVICE, simulated=True)
    blocks = tuple(Block(joules * (1 + wiggle), 100.0, 0.5) for wiggle in (0.0, 0.001, -0.001, 0.0))
    measurement = Measurement("main", WindowKind.REPEATED, (device,), {"token": blocks}, 10, 1.0, Conditions())
    made = BudgetResult(
        name, EnergyBudget(), True, Verdict(verdict), False, replace(KEY, test=name), SKU, 0.02, measurement
    )
    return replace(made, **more)  # type: ignore[arg-type]


def orphans(**levels: float) -> dict[str, dict[BaselineKey, Sequence[Session]]]:
    return {SKU: {replace(KEY, test=test): [session(level, n) for n in range(3)] for test, level in levels.items()}}


def test_a_rename_is_found_by_numbers_and_then_by_name() -> None:
    found = renames(orphans(test_decode=50.0, test_other=80.0), [result("test_decoding", 50.3)])
    assert [(rename.old.test, rename.new.test) for rename in found] == [("test_decode", "test_decoding")]
    assert found[0].ratio == pytest.approx(1.0055, abs=1e-3)
    both = renames(
        orphans(test_a_small=50.0, test_a_large=50.1), [result("test_b_large", 50.0), result("test_b_small", 50.0)]
    )
    assert {(rename.old.test, rename.new.test) for rename in both} == {
        ("test_a_small", "test_b_small"),
        ("test_a_large", "test_b_large"),
    }


def test_a_suite_that_moves_as_a_whole_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_module, "MOST_COMPARED", 400)  # comparing each with each takes 40,000
    compared: list[str] = []
    agrees = review_module._agrees

    def counted(new: BudgetResult, sessions: Sequence[Session]) -> float | None:
        compared.append(new.test)
        return agrees(new, sessions)

    monkeypatch.setattr(review_module, "_agrees", counted)
    levels = {f"old/test_{n % 30}.py::test_{n % 7}[{n}]": 50.0 for n in range(200)}
    moved = [result(name.replace("old/", "new/"), level) for name, level in levels.items()]
    found = renames(orphans(**levels), moved)
    assert len(compared) <= 400
    assert {(rename.old.test.removeprefix("old/"), rename.new.test.removeprefix("new/")) for rename in found} == {
        (name.removeprefix("old/"),) * 2 for name in levels
    }


def test_what_differs_is_no_rename() -> None:
    assert not renames(orphans(test_a=60.0), [result("test_b", 50.0)])
    assert not renames(orphans(test_a=50.0), [result("test_b", 50.0, VerdictKind.PASS)])
    assert not renames(orphans(test_a=50.0), [result("test_b", 50.0, sku="nvidia-h200")])
    assert not renames(orphans(test_a=50.0), [result("test_b", 50.0, key=BaselineKey("test_b", "warm", "token"))])
    assert not renames(orphans(test_a=50.0), [result("test_b", 50.0, declared=False)])
    shots = {SKU: {KEY: [replace(session(), kind=WindowKind.ONE_SHOT)]}}
    assert not renames(shots, [result("test_b", 50.0)])


def test_the_command_of_a_rename_can_be_pasted() -> None:
    old, new = replace(KEY, test="test_a.py::test_x[a b]"), replace(KEY, test="test_a.py::test_y['$(reboot)']")
    run = RunResult("now", "1", not_collected=(old,), renames=(Rename(SKU, old, new, 1.001),))
    lines = terminal.stale(run)
    assert len(lines) == 2, "what seems renamed is not told of twice"
    words = subprocess.run(["sh", "-c", f"printf '%s\\n' {lines[1]}"], capture_output=True, text=True, check=True)
    assert words.stdout.splitlines() == ["pytest-joules", "rename", old.test, new.test]


def test_the_review_is_told_with_what_is_wider_and_what_is_judged_no_more() -> None:
    wider = result("test_a", 50.0, widened=(Widened("tolerance", 0.02, 0.1),))
    found = BaselineReview("main", "c0ffee" * 7, (), (KEY,), ("baselines/x.json: not JSON",))
    assert terminal.review(found, [wider])[1:] == [
        "  wider here, where the base's counts: test_a: tolerance 2% -> 10%",
        "  stored there, and judged no more: test_it.py::test_step [main, J/token]",
        "  cannot be compared: baselines/x.json: not JSON",
    ]


# -- runs --


def git(directory: Path, *arguments: str) -> None:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    subprocess.run(["git", *who, "-C", str(directory), *arguments], check=True, capture_output=True)


def commit(suite: Suite) -> None:
    """Make the suite's directory, as it is, the main branch's."""
    git(suite.path, "init", "--quiet", "--initial-branch=main")
    git(suite.path, "add", "--all")
    git(suite.path, "commit", "--quiet", "--message=base")


def store(suite: Suite, joules: float = STEP_JOULES_PER_TOKEN, test: str = KEY.test, tolerance: float = 0.02) -> None:
    """Three sessions of a known level and tolerance."""
    for minute in range(3):
        level = joules * (1 + 0.001 * (minute - 1))
        blocks = tuple(Block(level * 3200 * (1 + wiggle), 3200, 0.5) for wiggle in (-0.0005, 0.0005, 0.0))
        stored = replace(session(minute=minute), blocks=blocks, tolerance=tolerance)
        suite.store.update(SKU, PRODUCT, True, {replace(KEY, test=test): Addition(stored)})


STEP_TEST = """
    @pytest.mark.energy_budget(tolerance={tolerance!r}{more})
    def test_step(energy):
        energy.repeat(lambda: step({scale}), work=tokens)
"""


def test_what_is_new_is_judged_by_its_own_and_what_is_dropped_is_named(suite: Suite) -> None:
    suite.write(STEP_TEST.format(tolerance="2%", scale=1, more=""))
    store(suite)
    commit(suite)
    suite.write(
        STEP_TEST.format(tolerance="2%", scale=1, more="").replace("test_step", "test_new")
        + "\n\n    def test_step(): pass\n"
    )
    store(suite, test="test_it.py::test_new")
    ran = suite.run("--energy-baseline-ref=main", "--energy-strict", "-n1")
    ran.assert_outcomes(passed=2)
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(
        [
            "test_it.py::test_new: new: main stores nothing for it; judged by this tree's own baseline",
            f"  {SKU}: test_it.py::test_new [[]main]: new, 64.45 mJ/token, 3 sessions added",
            "  stored there, and judged no more: test_it.py::test_step [[]main, J/token]",
        ]
    )


def test_a_base_that_cannot_be_read_is_one_line_before_the_first_test(suite: Suite) -> None:
    suite.write(STEP_TEST.format(tolerance="2%", scale=1, more=""))
    commit(suite)
    ran = suite.run("--energy-baseline-ref=origin/main")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: pytest-joules: git knows no commit 'origin/main' here: git fetch origin main:*"])


def test_no_test_claims_more_than_the_widest_tolerance(suite: Suite) -> None:
    suite.write(STEP_TEST.format(tolerance="7%", scale=1, more=""))
    ran = suite.run("--energy-max-tolerance=5%")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(
        [
            "ERROR: test_it.py::test_step: energy_budget: a tolerance of 7% is wider than max-tolerance allows: "
            "at most 5%, or have that raised"
        ]
    )


@pytest.mark.parametrize(
    "command", [["-m", "pytest", "--energy", "--energy-update"], ["-m", "pytest_joules.cli", "record"]]
)
def test_a_ci_writes_nothing_unless_it_is_meant_to(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    ran = suite.pytester.run(sys.executable, *command)
    assert ran.ret == 2 if "record" in command else pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*: CI is set, and CI does not write * add --*in-ci"])
    assert not suite.store.directory.exists()


def test_a_renamed_test_keeps_its_history(suite: Suite) -> None:
    store(suite, test="test_gone.py::test_old")
    rename = [*["-m", "pytest_joules.cli", "rename", "test_gone.py::test_old", "test_it.py::test_step"]]
    ran = suite.pytester.run(sys.executable, *rename)
    ran.stdout.fnmatch_lines([f"baselines/{SKU}.json: 1 series renamed"])
    assert [key.test for key in suite.store.load(SKU).entries] == ["test_it.py::test_step"]
    assert suite.pytester.run(sys.executable, *rename).ret == 2


def test_a_rename_overwrites_nothing(tmp_path: Path) -> None:
    baselines = BaselineStore(tmp_path)
    for name in ("a", "b"):
        baselines.update(SKU, PRODUCT, True, {replace(KEY, test=name): Addition(session())})
    before = baselines.path(SKU).read_text()
    with pytest.raises(BaselineError, match="b has sessions of its own"):
        baselines.rename(SKU, "a", "b")
    with pytest.raises(BaselineError, match="a has sessions of its own"):
        baselines.rename(SKU, "a", "a")
    assert baselines.rename(SKU, "c", "d") == 0
    assert baselines.path(SKU).read_text() == before


def test_a_rename_is_of_all_files_or_of_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baselines, other = BaselineStore(tmp_path), "simulated-nvidia-h200"
    baselines.update(SKU, PRODUCT, True, {replace(KEY, test="a"): Addition(session())})
    for name in ("a", "b"):
        baselines.update(other, "NVIDIA H200", True, {replace(KEY, test=name): Addition(session())})
    before = baselines.path(SKU).read_text()
    assert main(["rename", "a", "b", str(tmp_path)]) == 2
    assert "b has sessions of its own" in capsys.readouterr().err
    assert baselines.path(SKU).read_text() == before
    assert main(["rename", "a", "b", str(tmp_path / "nowhere.json")]) == 2
    assert "nowhere.json: there is no such file" in capsys.readouterr().err
    assert main(["rename", "a", "c", str(tmp_path)]) == 0
    assert [len(baselines.load(sku).entries) for sku in (SKU, other)] == [1, 2]


def test_a_review_reads_every_sku_and_names_what_it_cannot(suite: Suite) -> None:
    store(suite)
    other = replace(KEY, test="t")
    suite.store.update("nvidia-h200", "NVIDIA H200", False, {other: Addition(session())})
    commit(suite)
    suite.store.update("nvidia-h200", "NVIDIA H200", False, {other: Addition(session(60.0), replace=True)})
    suite.store.path("nvidia-b200").write_text("{")
    base = BaselinesAtRef(suite.store.directory, "main", suite.path)
    found = review(base, suite.store)
    assert [(change.sku, change.key, change.rewritten) for change in found.changes] == [("nvidia-h200", other, 1)]
    assert isinstance(found.changes[0], EntryChange)
    assert [problem.partition(": ")[2] for problem in found.problems] == [
        "not JSON: Expecting property name enclosed in double quotes; restore it from git"
    ]


def test_a_base_pools_its_own_and_judges_what_is_new_only_beside_it() -> None:
    old, new = KEY, replace(KEY, test="test_new")
    base = BaselineFile(SKU, entries={old: (session(50.0),)})
    here = BaselineFile(SKU, entries={old: (session(90.0),), new: (session(70.0),)})
    bar = Bar.of(lambda sku: here, Options(), base=lambda sku: base)
    assert bar.sessions(SKU, old) == (session(50.0),)
    assert bar.sessions(SKU, new) == (session(70.0),)
    assert bar.base is not None
    assert not bar.base(SKU, new)
    nothing = Bar.of(lambda sku: here, Options(), base=BaselineFile)
    assert not nothing.sessions(SKU, old)
