"""Files as another commit has them, read through git without touching the work tree.

Only commands that look things up are run (``rev-parse``, ``ls-tree``, ``cat-file``): no hook, filter, external diff or
file-system monitor has a part in those.  What a pull request puts into the work tree has none either: paths are looked
up as they are spelled, in the commit, and no link is followed.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_SECONDS = 60.0

_CONFIG = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    # A bare repository among a pull request's files would answer with refs and objects of its own (git 2.38 on).
    "safe.bareRepository": "explicit",
}

_ENVIRONMENT = {
    # A partial clone would else fetch what it lacks.  Overrides whatever protocols the configuration allows.
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}

_KEPT = ("GIT_CONFIG_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
"""What may come from outside: in containers, ``safe.directory`` is often given this way."""

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class RefError(Exception):
    """A commit, or a file in one, that cannot be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit of one repository.

    Attributes:
        root: The top of the work tree, absolute and resolved.
        ref: What the user called the commit.
        commit: Its full hash.
    """

    root: Path
    ref: str
    commit: str

    @classmethod
    def find(cls, ref: str, path: Path, start: Path) -> Revision:
        """The commit that ``ref`` names, in the repository that ``path`` lies in.

        Args:
            ref: A branch, tag or commit.
            path: What is to be read later; it need not exist.
            start: A directory of the user's; its repository is the one, unless ``path`` lies outside of it.  A
                submodule's files are those of the commit that the repository around it has at ``ref``.

        Raises:
            RefError: if there is no git, no repository or no such commit.
        """
        root = _root(start)
        if _within(root, path) is None:
            root = _root(next(place for place in path.absolute().parents if place.is_dir()))
        return cls(root, ref, _commit(root, ref))

    def shown(self, path: Path) -> str:
        """``origin/main:baselines/nvidia-h200.json``, as git spells it."""
        return f"{self.ref}:{_within(self.root, path) or path}"

    def read(self, path: Path, most: int) -> bytes | None:
        """The content of a file; ``None`` if the commit has none at this path.

        Raises:
            RefError: if it is no regular file, has more than ``most`` bytes, or is not in this clone.
        """
        found = self._look_up(path)
        if found is None:
            return None
        root, entry = found
        if entry.kind != "blob" or entry.mode not in ("100644", "100755"):
            raise RefError(f"{self.shown(path)}: not a regular file (a link or a directory); commit the file itself")
        if entry.size > most:
            raise RefError(f"{self.shown(path)}: {entry.size} bytes is too large; restore it there")
        return self._asked(root, "cat-file", "blob", entry.digest)

    def names(self, directory: Path) -> tuple[str, ...]:
        """The names of what a directory holds; empty if the commit has none at this path.

        Raises:
            RefError: if it is no directory.
        """
        found = self._look_up(directory)
        if found is None:
            return ()
        root, entry = found
        if entry.kind != "tree":
            raise RefError(f"{self.shown(directory)}: not a directory; name the directory itself")
        return tuple(sorted(each.name for each in self._entries(root, entry.digest)))

    def _look_up(self, path: Path) -> tuple[Path, _Entry] | None:
        """The repository that has ``path`` at this commit, and what it is there."""
        within = _within(self.root, path)
        if within is None:
            raise RefError(f"{path} is not in the repository {self.root}, which has {self.ref}")
        root, entry = self.root, _Entry("040000", "tree", self.commit, 0, "")
        for part in within.parts:
            if entry.kind != "tree":
                raise RefError(
                    f"{self.shown(path)}: {entry.name!r} is a link or a file there, and no directory; "
                    "name the directory itself"
                )
            below = self._entries(root, entry.digest, part)
            if not below:
                return None
            root, entry = root / part if below[0].kind == "commit" else root, below[0]
            if entry.kind == "commit":
                self._check_submodule(root, entry.digest)
                entry = _Entry("040000", "tree", entry.digest, 0, part)
        return root, entry

    def _check_submodule(self, root: Path, commit: str) -> None:
        try:
            if _root(root, outermost=False) == root.resolve():
                _git(root, "cat-file", "-e", f"{commit}^{{commit}}")
                return
        except RefError:
            pass
        raise RefError(
            f"{self.ref} has the submodule {root.relative_to(self.root)} at {commit[:12]}, which is not here: "
            f"git submodule update --init, then git -C {root.relative_to(self.root)} fetch origin {commit}"
        )

    def _entries(self, root: Path, tree: str, *names: str) -> tuple[_Entry, ...]:
        listed = self._asked(root, "ls-tree", "-z", "-l", "--full-tree", "--", tree, *names)
        return tuple(_Entry.parse(line) for line in listed.split(b"\0") if line)

    def _asked(self, root: Path, *arguments: str) -> bytes:
        try:
            return _git(root, *arguments)
        except RefError as error:
            # A commit whose trees or files are missing was fetched with a filter.
            raise RefError(f"{self.ref} is here only in part ({error}): {_fetch(self.ref)}, without a filter") from None


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of ``git ls-tree -l``: mode, kind, hash, size (bytes) and name."""

    mode: str
    kind: str
    digest: str
    size: int
    name: str

    @classmethod
    def parse(cls, line: bytes) -> _Entry:
        told, _, name = line.partition(b"\t")
        mode, kind, digest, size = told.decode("ascii").split()
        return cls(mode, kind, digest, int(size) if size != "-" else 0, os.fsdecode(name))


def _within(root: Path, path: Path) -> Path | None:
    """``path`` relative to ``root``, as it is spelled: a link below the root is not followed."""
    spelled = Path(os.path.abspath(path))  # noqa: PTH100  # Path.resolve would follow links
    for place in (spelled, *spelled.parents):
        if place.resolve() == root:
            return spelled.relative_to(place)
    resolved = path.resolve()
    return resolved.relative_to(root) if resolved.is_relative_to(root) else None


def _root(directory: Path, *, outermost: bool = True) -> Path:
    """The top of the work tree around ``directory``; of submodules, that of the repository around them all."""
    try:
        asked = _git(directory, "rev-parse", "--show-toplevel", "--absolute-git-dir")
    except _GitFailed as error:
        if "dubious ownership" in error.told:
            raise RefError(
                f"git does not trust the repository of {directory}, which belongs to somebody else: "
                f"git config --global --add safe.directory {directory}"
            ) from error
        raise RefError(f"{directory} is in no git repository with a work tree ({error})") from error
    top, git_directory = (Path(os.fsdecode(line)).resolve() for line in asked.splitlines()[:2])
    if git_directory.is_relative_to(top) and ".git" not in git_directory.relative_to(top).parts:
        raise RefError(f"{git_directory} is a git repository among the files of another: remove it")
    if outermost and (above := _git(top, "rev-parse", "--show-superproject-working-tree").rstrip(b"\n")):
        return _root(Path(os.fsdecode(above)))
    return top


def _commit(root: Path, ref: str) -> str:
    try:
        asked = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except _GitFailed:
        shallow = _git(root, "rev-parse", "--is-shallow-repository").strip() == b"true"
        where = "in this shallow clone" if shallow else "here"
        raise RefError(f"git knows no commit {ref!r} {where}: {_fetch(ref)}") from None
    words = asked.decode("ascii", "replace").split()
    if not words or not _HASH.fullmatch(words[-1]):
        raise RefError(f"git gave no commit for {ref!r}")
    return words[-1]


def _fetch(ref: str) -> str:
    """The command that brings a commit here, under the name asked for: a clone of one branch maps no others."""
    remote, slash, branch = ref.removeprefix("refs/remotes/").partition("/")
    if slash and remote == "origin":
        return f"git fetch origin {branch}:refs/remotes/origin/{branch}"
    return f"git fetch origin {ref}"


class _GitFailed(RefError):
    """git ended with an error; ``told`` is all it said."""

    def __init__(self, told: str, code: int) -> None:
        super().__init__(f"git: {(told.strip().splitlines() or [f'exit code {code}'])[0]}")
        self.told = told


def _git(directory: Path, *arguments: str) -> bytes:
    settings = [word for name, value in _CONFIG.items() for word in ("-c", f"{name}={value}")]
    command = ["git", "--no-pager", *settings, "-C", str(directory), *arguments]
    try:
        asked = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
            env=environment(os.environ),
        )
    except subprocess.CalledProcessError as error:
        raise _GitFailed(error.stderr.decode("utf-8", "replace"), error.returncode) from error
    except subprocess.TimeoutExpired as error:
        raise RefError(f"git gave no answer within {TIMEOUT_SECONDS:g} s") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise RefError(f"git does not run ({why}): install it, or put it on PATH") from error
    return asked.stdout


def environment(around: Mapping[str, str]) -> dict[str, str]:
    """What git is run with: nothing of git's own variables that would lead it elsewhere."""
    kept = {name: value for name, value in around.items() if not name.startswith("GIT_") or name.startswith(_KEPT)}
    return {**kept, **_ENVIRONMENT}
