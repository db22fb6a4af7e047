"""Where tests are written, as code hosts name places: a file of the repository, and a line."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_joules.model import Place


def repository_of(directory: Path) -> Path:
    """The root of the git repository or worktree that holds ``directory``; else the directory itself."""
    for candidate in (directory, *directory.parents):
        if (candidate / ".git").exists():
            return candidate
    return directory


def place_of(file: Path, line: int | None, root: Path) -> Place | None:
    """A test's place, with its file relative to ``root``; ``None`` outside of it.

    ``line`` counts from 0, as pytest does.
    """
    inside = Path(os.path.normpath(file))
    if not inside.is_relative_to(root):
        return None
    return Place(inside.relative_to(root).as_posix(), None if line is None else line + 1)


def shown(path: Path, root: Path) -> str:
    """A path as it is printed: relative to ``root`` where it is below."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
