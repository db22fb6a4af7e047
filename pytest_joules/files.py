"""Whether there is a file to read, and which; and writing one whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def misplaced(path: Path) -> str:
    """Why no file can be written at ``path``, as far as can be told beforehand; empty if nothing is wrong."""
    if not path.absolute().parent.is_dir():
        return "its directory does not exist"
    if path.is_dir():
        return "is a directory; name a file in it"
    if not os.access(path.absolute().parent, os.W_OK):
        return "its directory cannot be written to"
    # A whole file in the place of /dev/null would be the end of it.
    return "is a device or a pipe; name a file" if path.exists() and not path.is_file() else ""


def missing(path: Path) -> str:
    """Why there is nothing to read at ``path``; empty if there is a file."""
    if path.is_file():
        return ""
    if path.is_dir():
        return "is a directory; name a file in it"
    return "is a device or a pipe; name a file" if path.exists() else "there is no such file"


def is_one_of(path: Path, others: Iterable[Path]) -> bool:
    """Whether a path is that of a file among ``others``, be it spelled otherwise or a link."""
    return path.exists() and any(other.exists() and path.samefile(other) for other in others)


def shared_place(outputs: Mapping[str, Path | None]) -> str:
    """What is wrong with two outputs, by their flags, that are one file; empty if each has its own."""
    seen: dict[Path, str] = {}
    for flag, path in outputs.items():
        if path is not None and (other := seen.setdefault(path.resolve(), flag)) != flag:
            return f"{other} and {flag} both name {path}: give each a file of its own"
    return ""


def write_whole(text: str | Iterable[str], path: Path) -> None:
    """Put a file with ``text``, or all pieces of it, in the place of ``path`` in one step.

    Raises:
        OSError: if it cannot be written; what was there is then as it was.
    """
    if reason := misplaced(path):
        raise OSError(f"{path}: {reason}")
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.writelines([text] if isinstance(text, str) else text)
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise
    except OSError as error:  # of the file that was asked for, not of that in its place
        raise OSError(error.errno, error.strerror, str(path)) from error
