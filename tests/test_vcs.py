"""Baseline files of another commit: real git repositories, and what a hostile one can try."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pytest_joules.baselines.at_ref import BaselinesAtRef
from pytest_joules.baselines.store import Addition, BaselineError, BaselineFile, BaselineStore
from pytest_joules.model import BaselineKey, Block, Session
from pytest_joules.vcs import RefError, Revision, environment

SKU = "nvidia-h200"
KEY = BaselineKey("test_it.py::test_step", "main", "token")


def git(directory: Path, *arguments: str) -> str:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com", "-c", "protocol.file.allow=always"]
    command = ["git", *who, "-C", str(directory), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(directory: Path, message: str = "more") -> str:
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", message)
    return git(directory, "rev-parse", "HEAD")


def store_session(directory: Path, joules: float) -> None:
    session = Session("2026-11-21T00:00:00+00:00", ("abc",), (Block(joules, 100.0, 0.5),))
    BaselineStore(directory).update(SKU, "NVIDIA H200", False, {KEY: Addition(session, replace=True)})


def joules_at(repository: Path, ref: str = "main", directory: str = "baselines") -> float | None:
    """The joules stored at a commit."""
    sessions = BaselinesAtRef(repository / directory, ref, repository).load(SKU).sessions(KEY)
    return sessions[0].blocks[0].joules if sessions else None


def refusal(repository: Path, ref: str = "main", directory: str = "baselines") -> str:
    with pytest.raises(BaselineError) as caught:
        joules_at(repository, ref, directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with 50 J on main, and 60 J in the work tree of a branch."""
    made = tmp_path / "repository"
    made.mkdir()
    git(made, "init", "--quiet", "--initial-branch=main")
    store_session(made / "baselines", 50.0)
    commit(made)
    git(made, "checkout", "--quiet", "-b", "change")
    store_session(made / "baselines", 60.0)
    return made


def test_the_base_is_read_and_nothing_is_touched(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert joules_at(repository) == 50.0
    assert joules_at(repository, head[:10]) == 50.0
    assert git(repository, "status", "--porcelain") == "M baselines/nvidia-h200.json"
    commit(repository)
    assert joules_at(repository, "HEAD") == 60.0
    assert joules_at(repository, "HEAD~1") == 50.0


def test_what_the_base_lacks_is_empty(repository: Path) -> None:
    base = BaselinesAtRef(repository / "baselines", "main", repository)
    assert base.load("nvidia-b200") == BaselineFile("nvidia-b200")
    assert base.skus() == (SKU,)
    assert base.shown(SKU) == "main:baselines/nvidia-h200.json"
    assert joules_at(repository, directory="elsewhere/baselines") is None
    assert BaselinesAtRef(repository / "elsewhere", "main", repository).skus() == ()


def test_from_a_subdirectory_a_worktree_and_through_a_link(repository: Path, tmp_path: Path) -> None:
    inside = repository / "deep" / "down"
    store_session(inside / "baselines", 70.0)
    git(repository, "checkout", "--quiet", "main", "--", "baselines")
    commit(repository)
    assert joules_at(inside, "HEAD") == 70.0
    other = tmp_path / "worktree"
    git(repository, "worktree", "add", "--quiet", "--detach", str(other), "main")
    assert joules_at(other) == 50.0
    (tmp_path / "link").symlink_to(repository)
    assert joules_at(tmp_path / "link") == 50.0
    # The tests may lie in another repository than the baselines.
    found = BaselinesAtRef(repository / "baselines", "main", tmp_path / "worktree")
    assert found.load(SKU).sessions(KEY)[0].blocks[0].joules == 50.0
    assert joules_at(tmp_path / "link", directory="deep/down/baselines", ref="change") == 70.0


def test_a_deleted_or_linked_directory_changes_nothing(repository: Path) -> None:
    store_session(repository / "loose", 90.0)
    (repository / "baselines" / f"{SKU}.json").unlink()
    (repository / "baselines").rmdir()
    assert joules_at(repository) == 50.0
    (repository / "baselines").symlink_to(repository / "loose")
    assert joules_at(repository) == 50.0


def test_a_submodule_is_that_of_the_base(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "--quiet", "--force", "main")
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet", "--initial-branch=main")
    store_session(other / "store", 40.0)
    commit(other)
    git(repository, "submodule", "--quiet", "add", str(other), "sub")
    commit(repository)
    sub = repository / "sub"
    store_session(sub / "store", 80.0)
    loose = commit(sub)  # the submodule's own main has it, the repository's main does not
    assert joules_at(repository, "main", "sub/store") == 40.0
    assert joules_at(sub, "main", "store") == 40.0
    commit(repository)
    assert joules_at(repository, "main", "sub/store") == 80.0
    git(repository, "submodule", "--quiet", "deinit", "--force", "sub")
    told = refusal(repository, "main", "sub/store")
    assert f"main has the submodule sub at {loose[:12]}, which is not here: git submodule update --init" in told


@pytest.mark.parametrize(
    "ref", ["nothing", "origin/main", "-h", "--help", "main:baselines", "a b", "a\0b", "main^{tree}"]
)
def test_what_is_no_commit_is_refused_with_the_fix(repository: Path, ref: str) -> None:
    told = refusal(repository, ref)
    assert "git fetch origin" in told or "git does not run" in told


def test_a_shallow_clone_says_what_to_fetch(repository: Path, tmp_path: Path) -> None:
    commit(repository)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", "--branch=change", repository.as_uri(), str(clone))
    assert "in this shallow clone: git fetch origin main" in refusal(clone, "origin/main")
    command = refusal(clone, "origin/main").partition(": ")[2]
    git(clone, *command.partition("git ")[2].split())
    assert joules_at(clone, "origin/main") == 50.0
    assert refusal(clone, "refs/remotes/origin/x").endswith(": git fetch origin x:refs/remotes/origin/x")


def test_a_partial_clone_fetches_nothing(repository: Path, tmp_path: Path) -> None:
    git(repository, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    url = repository.as_uri()
    git(tmp_path, "clone", "--quiet", "--no-checkout", "--filter=blob:none", "--branch=main", url, str(clone))
    assert "main is here only in part" in refusal(clone)


def test_outside_git_and_without_git(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"{tmp_path} is in no git repository" in refusal(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git does not run (No such file or directory): install it" in refusal(repository)


def test_links_directories_and_large_files_of_the_base_are_refused(repository: Path) -> None:
    path = repository / "baselines" / f"{SKU}.json"
    path.unlink()
    path.symlink_to("/etc/passwd")
    commit(repository)
    assert "change:baselines/nvidia-h200.json: not a regular file" in refusal(repository, "change")
    path.unlink()
    path.mkdir()
    (path / "x").write_text("{}")
    commit(repository)
    assert "not a regular file" in refusal(repository, "change")
    (repository / "alias").symlink_to("baselines")
    commit(repository)
    assert "'alias' is a link or a file there" in refusal(repository, "change", "alias")
    revision = Revision.find("main", path, repository)
    with pytest.raises(RefError, match="too large"):
        revision.read(path, 10)


def test_a_corrupt_file_of_the_base_is_named_with_ref_and_line(repository: Path) -> None:
    path = repository / "baselines" / f"{SKU}.json"
    path.write_text(path.read_text().replace("false", "maybe"))
    commit(repository)
    assert refusal(repository, "change").startswith("change:baselines/nvidia-h200.json:5: not JSON")


def test_a_hostile_repository_runs_nothing(repository: Path, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {witness}\ncat\n")
    script.chmod(0o755)
    for name in (
        "core.fsmonitor",
        "core.pager",
        "diff.external",
        "core.sshCommand",
        "diff.x.textconv",
        "filter.x.smudge",
    ):
        git(repository, "config", name, str(script))
    git(repository, "config", "core.hooksPath", str(tmp_path))
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        (tmp_path / hook).symlink_to(script)
    (repository / ".gitattributes").write_text("*.json diff=x filter=x\n")
    assert joules_at(repository) == 50.0
    assert not witness.exists()


def test_a_bare_repository_among_the_files_does_not_answer(repository: Path, tmp_path: Path) -> None:
    """Its objects, refs and configuration can be committed under any name but .git."""
    loose = tmp_path / "loose"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(loose))
    store_session(loose / "baselines", 99.0)
    commit(loose)
    inner = repository / "inner"
    git(tmp_path, "clone", "--quiet", "--bare", str(loose), str(inner))
    for name, value in (("core.bare", "false"), ("core.worktree", str(repository))):
        git(tmp_path, "config", "--file", str(inner / "config"), name, value)
    store_session(inner / "baselines", 98.0)
    with pytest.raises(BaselineError, match=r"bareRepository|among the files of another"):
        BaselinesAtRef(inner / "baselines", "main", inner)
    assert joules_at(repository, directory="inner/baselines") is None


def test_replaced_objects_are_not_believed(repository: Path) -> None:
    path = repository / "baselines" / f"{SKU}.json"
    old = git(repository, "rev-parse", "main:baselines/nvidia-h200.json")
    new = git(repository, "hash-object", "-w", str(path))
    git(repository, "replace", old, new)
    assert joules_at(repository) == 50.0


def test_gits_own_variables_lead_nowhere(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_EXTERNAL_DIFF"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    assert joules_at(repository) == 50.0
    kept = environment({"GIT_DIR": "x", "GIT_CONFIG_COUNT": "0", "PATH": os.defpath, "GIT_TRACE": "/tmp/x"})
    assert kept["GIT_CONFIG_COUNT"] == "0"
    assert "GIT_TRACE" not in kept
    assert kept["PATH"] == os.defpath
