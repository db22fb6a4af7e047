"""``pytest-joules ab``: real repositories, and real pytest processes on the simulated GPU."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import interruptible

from pytest_joules.ab import ABError, Plan, map_arguments, map_path, run, worktree
from pytest_joules.ab_guard import foreign_modules
from pytest_joules.testing import STATE_VARIABLE
from pytest_joules.units import format_percent

METER = "--energy-meter=simulated:h100-sxm,seed=1"

PRELUDE = """
    import pytest
    from pytest_joules.testing import inject, launch, synchronize
    from product import SCALES

    def step(name, tokens=64):
        launch(bytes=SCALES[name] * 0.01 * 3.0e12)
        synchronize()
        return {"token": tokens}

    def measure(energy, name, **kwargs):
        energy.repeat(step, args=(name,), kwargs=kwargs, work=lambda result: result)
"""

BASE_TESTS = """
    @pytest.mark.energy_budget("1 mJ/token")
    def test_over_its_limit(energy):
        measure(energy, "level")

    @pytest.mark.energy_budget
    def test_more(energy):
        measure(energy, "more")

    @pytest.mark.energy_budget(gate=False)
    def test_less(energy):
        measure(energy, "less")

    @pytest.mark.energy_budget
    def test_work(energy):
        measure(energy, "work", tokens=int(64 * SCALES["work"]))

    @pytest.mark.energy_budget
    def test_broken(energy):
        assert SCALES["broken"], "not on this side"
        measure(energy, "broken")

    @pytest.mark.energy_budget
    def test_throttled(energy):
        if SCALES["throttled"] > 1:
            inject("thermal")
        measure(energy, "throttled")
        inject("none")

    @pytest.mark.skip(reason="no second GPU")
    @pytest.mark.energy_budget
    def test_skipped(energy):
        pass

    @pytest.mark.energy_budget
    def test_NAME(energy):
        with energy.window("once") as window:
            step("level")
            window.count(token=64)
"""

BASE_SCALES = {"level": 1, "more": 1, "less": 1, "work": 1, "broken": 1, "throttled": 1}
HEAD_SCALES = {"level": 1, "more": 1.05, "less": 0.95, "work": 2, "broken": 0, "throttled": 1.01}


def git(directory: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout


def write(root: Path, tests: str, scales: Mapping[str, float]) -> None:
    """A project with a source layout."""
    for directory in ("src", "tests"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "src" / "product.py").write_text(f"SCALES = {dict(scales)!r}\n", encoding="utf-8")
    (root / "tests" / "test_it.py").write_text(textwrap.dedent(PRELUDE) + textwrap.dedent(tests), encoding="utf-8")
    (root / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (root / ".gitignore").write_text("__pycache__\n.pytest_cache\n.venv\n", encoding="utf-8")


def repository(root: Path, tests: str = "", scales: Mapping[str, float] = BASE_SCALES) -> Path:
    """The project, committed."""
    write(root, tests, scales)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message=base")
    return root


def joules(
    *arguments: str, cwd: Path, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pytest_joules.cli", "ab", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def assert_untouched(root: Path, scratch: Path) -> None:
    """No worktree is left, neither in git's books nor on disk."""
    assert git(root, "worktree", "list").count("\n") == 1
    assert not (root / ".git" / "worktrees").exists() or not list((root / ".git" / "worktrees").iterdir())
    assert not list(scratch.glob("pytest-joules-ab-*"))


def our_path() -> str:
    """What a Python outside of this environment needs to import what this one does."""
    return os.pathsep.join(
        dict.fromkeys([str(Path(__file__).parents[1]), *(p for p in sys.path if "site-packages" in p)])
    )


@dataclass(frozen=True)
class Ran:
    root: Path
    scratch: Path
    done: subprocess.CompletedProcess[str]
    status: str
    data: Mapping[str, Any]

    def series(self, test: str) -> Mapping[str, Any]:
        (found,) = (s for s in self.data["series"] if s["test"].endswith(f"::{test}"))
        return dict(found)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One comparison of two pairs for many questions.

    The head is uncommitted.  Its sources are installed in editable mode in a
    virtual environment inside the repository, which runs the command, from a
    subdirectory and with an absolute path.
    """
    root = repository(tmp_path_factory.mktemp("repository"), BASE_TESTS.replace("NAME", "gone"))
    scratch = tmp_path_factory.mktemp("scratch")
    write(root, BASE_TESTS.replace("NAME", "new"), HEAD_SCALES)
    venv.create(root / ".venv", with_pip=False)
    python = root / ".venv" / "bin" / "python"
    (packages,) = (root / ".venv" / "lib").glob("python*/site-packages")
    (packages / "product.pth").write_text(f"{root / 'src'}\n", encoding="utf-8")
    status = git(root, "status", "--porcelain")
    done = joules(
        "main", "--pairs=2", "--json=out.json", "--", METER, "--energy-max-seconds=1", str(root / "tests"),
        cwd=root / "tests", python=str(python), PYTHONPATH=our_path(), TMPDIR=str(scratch),
        **{STATE_VARIABLE: str(scratch / "of-another-run")},
    )  # fmt: skip
    out = root / "tests" / "out.json"
    assert out.exists(), done.stdout + done.stderr
    data = json.loads(out.read_text(encoding="utf-8"))
    out.unlink()
    return Ran(root, scratch, done, status, data)


def test_the_users_repository_is_as_it_was(ran: Ran) -> None:
    assert git(ran.root, "status", "--porcelain") == ran.status
    assert git(ran.root, "branch", "--list").split() == ["*", "main"]
    assert_untouched(ran.root, ran.scratch)


def test_base_and_head_take_turns(ran: Ran) -> None:
    shown = [line.partition(" ... ")[0] for line in ran.done.stdout.splitlines() if line.startswith("pair ")]
    assert shown == ["pair 1: base", "pair 1: head", "pair 2: head", "pair 2: base"]
    assert ran.data["pairs"] == 2
    assert ran.data["head_commit"] == f"{ran.data['base_commit']}-dirty"


def test_a_rise_regresses_though_the_head_is_the_installed_one(ran: Ran) -> None:
    more = ran.series("test_more")
    assert more["kind"] == "REGRESSED"
    assert more["ratio"] == pytest.approx(1.05, abs=0.003)
    assert more["seconds_ratio"] == pytest.approx(1.05, abs=0.003)
    assert ran.done.returncode == 1
    rise = format_percent(more["ratio"] - 1)
    assert f"test_more: REGRESSED: joules per unit rose by {rise}, more than 2.0%" in ran.done.stdout


def test_what_moved_is_explained(ran: Ran) -> None:
    lines = ran.done.stdout.splitlines()
    told = next(number for number, line in enumerate(lines) if "test_more: REGRESSED" in line)
    assert [line.split()[0] for line in lines[told + 1 : told + 4]] == ["why", "split", "left"]
    assert lines[told + 1].startswith("  why        more device memory traffic for the same arithmetic")
    assert ran.series("test_more")["diagnosis"]["causes"][0]["rule"] == "memory-bound"
    assert ran.series("test_over_its_limit")["diagnosis"]["causes"] == []


def test_a_fall_improves_and_level_work_passes_whatever_its_limit(ran: Ran) -> None:
    assert ran.series("test_less")["kind"] == "IMPROVED"
    assert ran.series("test_less")["ratio"] == pytest.approx(0.95, abs=0.003)
    limited = ran.series("test_over_its_limit")
    assert (limited["kind"], limited["tolerance"]) == ("PASS", 0.02)


def test_changed_work_is_told(ran: Ran) -> None:
    assert ran.series("test_work")["kind"] == "PASS"
    assert "work changed: 64 -> 128 token per call" in ran.done.stdout


def test_what_fails_or_is_spoiled_on_one_side_is_invalid(ran: Ran) -> None:
    assert ran.series("test_broken")["reason"] == "pair 1, head: the test failed in call"
    throttled = ran.series("test_throttled")
    assert throttled["reason"].startswith("pair 1, head: ")
    assert ran.done.stdout.count("  FAILED test_it.py::test_broken - AssertionError: not on this side") == 1
    assert throttled["kind"] == ran.series("test_broken")["kind"] == "INVALID"


def test_what_is_on_one_side_only_is_listed(ran: Ran) -> None:
    assert ran.series("test_new")["kind"] == "NO_BASELINE"
    assert ran.series("test_gone")["kind"] == "UNMEASURED"
    assert ran.series("test_skipped")["reason"].startswith("pair 1, base: skipped: ")
    assert not ran.series("test_skipped")["failed"]
    assert "test_gone [once]: UNMEASURED: the head does not have the test" in ran.done.stdout


def test_the_report_counts_every_budget_and_says_that_joules_are_simulated(ran: Ran) -> None:
    lines = ran.done.stdout.splitlines()
    expected = "energy: 2 passed, 1 improved, 1 regressed, 2 invalid, 1 without baseline, 0 inconclusive, 2 unmeasured"
    assert lines[-1] == expected
    assert any("NVIDIA H100 80GB HBM3 (simulated), 2 pairs" in line for line in lines)
    row = next(line for line in lines if line.startswith("test_more "))
    assert "W " in row
    slower = format_percent(ran.series("test_more")["seconds_ratio"] - 1, signed=True)
    assert f" x s {slower}" in row


def test_the_json_file_has_every_runs_values(ran: Ran) -> None:
    assert ran.data["schema"] == 2
    for side in ("base", "head"):
        readings = ran.series("test_more")[side]
        assert len(readings) == 2
        assert all(0.05 < reading["observed"]["joules_per_unit"] < 0.08 for reading in readings)
    assert ran.data["meter"]["simulated"]


# -- whose code --


def foreign_repository(tmp_path: Path) -> Path:
    """A project whose tests reach for a place that stands first on the path, as some import hooks do."""
    root = repository(tmp_path / "repository", "def test_product():\n    assert SCALES\n")
    hook = "import os, sys\nsys.path.insert(0, os.environ['HOOKED'])\n"
    (root / "tests" / "conftest.py").write_text(hook, encoding="utf-8")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message=hook")
    return root


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_base_that_runs_the_heads_code_is_refused(tmp_path: Path, workers: str) -> None:
    root = foreign_repository(tmp_path)
    done = joules("HEAD", "--", METER, "-n", workers, cwd=root, HOOKED=str(root / "src"))
    assert done.returncode == 2
    assert "pair 1: base: pytest ended with exit code 4" in done.stderr
    assert f"product ({root}/src/product.py) was imported from the other side's tree" in done.stderr
    assert "--base-python" in done.stderr


def test_the_guard_lets_a_virtual_environment_inside_the_tree_pass(tmp_path: Path) -> None:
    def module(file: str) -> ModuleType:
        made = ModuleType("made")
        made.__file__ = file
        return made

    inside, outside = module(f"{tmp_path}/src/made.py"), module("/usr/lib/made.py")
    library = module(f"{tmp_path}/.venv/lib/made.py")
    modules = [inside, outside, library, ModuleType("namespace")]
    assert foreign_modules(modules, tmp_path, tmp_path / ".venv") == [f"made ({tmp_path}/src/made.py)"]
    assert len(foreign_modules(modules, tmp_path, Path("/"))) == 2


def test_another_python_for_the_base_is_used_as_it_is(tmp_path: Path) -> None:
    root = repository(tmp_path / "repository")
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "path=$PYTHONPATH" "$PWD" "$@"\nexit 3\n', encoding="utf-8")
    fake.chmod(0o755)
    done = joules("HEAD", "--base-python", "../python", "--", METER, cwd=root, PYTHONPATH=f"{our_path()}:{root}/src")
    assert done.returncode == 2
    assert "pytest ended with exit code 3" in done.stderr
    assert f"path={our_path()}:" in done.stderr
    assert "/base/src " in done.stderr
    assert str(root) not in done.stderr
    missing = joules("HEAD", "--base-python", "./nothing", cwd=root)
    assert f"{root}/nothing does not run: No such file or directory" in missing.stderr


def test_paths_are_led_into_the_worktree(tmp_path: Path) -> None:
    root, tree = tmp_path / "repository", tmp_path / "tree"
    for place in (root / "src", root / "vendor", tree / "src"):
        place.mkdir(parents=True)
    arguments = [f"{root}/t.py::test[{root}]", f"--rootdir={root}", f"{root}-other/t.py", "-k", "root", "rel/t.py"]
    assert map_arguments(arguments, root, tree) == (
        f"{tree}/t.py::test[{root}]", f"--rootdir={tree}", f"{root}-other/t.py", "-k", "root", "rel/t.py"
    )  # fmt: skip
    assert map_path([f"{root}/src", "/elsewhere", f"{root}/vendor"], root, tree) == [f"{tree}/src", "/elsewhere"]


# -- runs that do not come to an end --


def test_nothing_collected_ends_it_at_once_with_what_pytest_said(tmp_path: Path) -> None:
    root = repository(tmp_path / "repository", "def test_product():\n    pass\n")
    done = joules("HEAD", "--", METER, "-k", "nothing", cwd=root, TMPDIR=str(tmp_path))
    assert done.returncode == 2
    assert "pair 1: base: pytest ended with exit code 5" in done.stderr
    assert "1 deselected" in done.stderr
    assert "head" not in done.stdout
    assert_untouched(root, tmp_path)


def test_a_suite_without_energy_is_told_so(tmp_path: Path) -> None:
    root = repository(tmp_path / "repository", "def test_product():\n    pass\n")
    done = joules("HEAD", "--pairs=2", "--", METER, cwd=root, PYTHONPATH=f"{our_path()}:{root}/src")
    assert done.returncode == 2
    assert "nothing was measured: no test carries a budget or uses the energy fixture" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_comparison_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    root = repository(tmp_path / "repository", "def test_long():\n    import time\n    time.sleep(60)\n")
    command = [sys.executable, "-m", "pytest_joules.cli", "ab", "HEAD", "--", METER]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    ) as child:
        for path in waiting_for(tmp_path, "pytest-joules-ab-*/*/output"):
            if "collected 1 item" in path.read_text(encoding="utf-8"):
                break
        child.send_signal(number)
        _, said = child.communicate()
    assert child.returncode == 2
    assert "interrupted; the base's worktree is removed" in said
    assert_untouched(root, tmp_path)


def waiting_for(directory: Path, pattern: str) -> Iterator[Path]:
    while True:
        yield from directory.glob(pattern)
        time.sleep(0.05)


# -- what cannot be compared at all --


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "git knows no commit 'nowhere': fetch it, or name another base"),
        (["HEAD", "--pairs", "3"], "invalid choice: 3"),
        (["HEAD", "--tolerance", "wide"], "'wide' is not a percentage"),
        (["HEAD", "--json", "no/out.json"], "--json no/out.json: its directory does not exist"),
        (["HEAD", "--", "--energy-update"], "--energy-update is not for an A/B"),
        ([], "BASE_REF"),
    ],
)
def test_wrong_use_is_one_clear_line_and_exit_code_2(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    done = joules(*arguments, cwd=repository(tmp_path / "repository"))
    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_temporary_directory_inside_the_repository_is_refused(tmp_path: Path) -> None:
    root = repository(tmp_path / "repository")
    done = joules("HEAD", cwd=root, TMPDIR=str(root / "src"))
    assert done.returncode == 2
    assert f"temporary files would lie inside the repository, in {root}/src: set TMPDIR elsewhere" in done.stderr


def test_outside_of_git(tmp_path: Path) -> None:
    done = joules("HEAD", cwd=tmp_path, GIT_CEILING_DIRECTORIES=str(tmp_path.parent))
    assert done.returncode == 2
    assert "is not in a git repository" in done.stderr


def test_a_shallow_clone_says_how_to_get_the_base(tmp_path: Path) -> None:
    root = repository(tmp_path / "repository")
    git(root, "commit", "--quiet", "--allow-empty", "--message=head")
    git(tmp_path, "clone", "--quiet", "--depth=1", root.as_uri(), "shallow")
    done = joules("HEAD~1", cwd=tmp_path / "shallow")
    assert done.returncode == 2
    assert "'HEAD~1' is not in this shallow clone: git fetch --unshallow" in done.stderr


def test_a_directory_that_the_base_does_not_have(tmp_path: Path) -> None:
    root = repository(tmp_path / "repository")
    (root / "new").mkdir()
    done = joules("HEAD", cwd=root / "new", TMPDIR=str(tmp_path))
    assert done.returncode == 2
    assert "HEAD has no directory new" in done.stderr
    assert_untouched(root, tmp_path)


@pytest.fixture
def with_submodule(tmp_path: Path) -> Path:
    part = repository(tmp_path / "part")
    root = repository(tmp_path / "repository")
    git(root, "submodule", "--quiet", "add", str(part), "part")
    git(root, "commit", "--quiet", "--message=part")
    return root


def test_a_dirty_submodule_is_refused(with_submodule: Path) -> None:
    (with_submodule / "part" / "src" / "product.py").write_text("SCALES = {}\n", encoding="utf-8")
    done = joules("HEAD", cwd=with_submodule)
    assert done.returncode == 2
    assert "submodule part has changes that no commit holds: commit or stash them there first" in done.stderr


def test_submodules_are_checked_out_at_the_bases_commit_and_removed(with_submodule: Path, tmp_path: Path) -> None:
    part = with_submodule / "part"
    (part / "src" / "product.py").write_text("SCALES = {}\n", encoding="utf-8")
    git(part, "commit", "--quiet", "--all", "--message=later")
    commit = git(with_submodule, "rev-parse", "HEAD").strip()
    with worktree(with_submodule, commit, tmp_path / "tree") as tree:
        assert "level" in (tree / "part" / "src" / "product.py").read_text(encoding="utf-8")
        assert git(part, "worktree", "list").count("\n") == 2
    assert not (tmp_path / "tree").exists()
    assert git(part, "worktree", "list").count("\n") == 1
    assert git(with_submodule, "worktree", "list").count("\n") == 1


def test_a_worktree_goes_with_whatever_went_wrong(tmp_path: Path) -> None:
    root = repository(tmp_path / "repository")
    hook = root / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\ntouch hooked\n", encoding="utf-8")
    hook.chmod(0o755)
    with contextlib.suppress(ZeroDivisionError), worktree(root, "HEAD", tmp_path / "tree") as tree:
        assert not (tree / "hooked").exists()
        raise ZeroDivisionError
    assert not (tmp_path / "tree").exists()
    with (
        pytest.raises(ABError, match="git: fatal: invalid reference: nowhere"),
        worktree(root, "nowhere", tmp_path / "tree"),
    ):
        pass
    assert git(root, "worktree", "list").count("\n") == 1


def test_git_hooks_do_not_lead_astray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, other = repository(tmp_path / "repository"), repository(tmp_path / "other")
    monkeypatch.chdir(root)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    with pytest.raises(ABError, match=r"no\.such"):
        run(Plan("no.such", 2), print)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nothing"))
    with worktree(root, "HEAD", tmp_path / "tree") as tree:
        assert (tree / "pytest.ini").exists()
