"""Files that a repository keeps: read as hostile, and changed whole or not at all.

What comes with a pull request is anybody's: sizes, links, depths, numbers and keys are looked at before anything is
made of them, and what is wrong is an error that names the file, the line and the fix.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

from filelock import FileLock, Timeout

from pytest_joules.codec import shown
from pytest_joules.units import LARGEST_NUMBER

LARGEST_FILE = 256 * 1024 * 1024
LOCK_SECONDS = 60.0

LONGEST_INTEGER = len(f"{LARGEST_NUMBER:.0f}")
"""Digits; what is longer is not worth the time that converting it takes."""

STUMBLES = (TypeError, ValueError, KeyError, AttributeError)
"""What a decoder raises over data that its schema forbids."""

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"(?P<colon>\s*:)?|[{}\[\],]|[^\s{}\[\],:"]+')
_HALF_A_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
"""JSON can spell half of a pair of surrogates, which no file can hold."""

Place: TypeAlias = "tuple[str | int, ...]"
"""Keys and indices that lead to a value."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Attributes:
        name: What it is called: ``baseline file``.
        version: Of its format; files of a later one are another release's.
        error: What is raised over one that cannot be used.
        schema: Gives its JSON Schema (2020-12).
        restore: How to have a sound one again.
        narrowed: Drops from data what is sound, since the schema takes its time.
    """

    name: str
    version: int
    error: type[Exception]
    schema: Callable[[], dict[str, Any]]
    restore: str = "restore it from git"
    narrowed: Callable[[Any], Any] = lambda data: data

    def read(self, path: Path) -> bytes | None:
        """The bytes of a regular file, which is the one that was looked at; ``None`` if there is none.

        A link is not opened, a pipe not waited for.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, or a socket
                raise self._not_regular(path) from error
            raise self.error(f"{path}: cannot be read: {error.strerror}") from error
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise self._not_regular(path)
            if found.st_size > LARGEST_FILE:
                raise self.error(f"{path}: {found.st_size} bytes is too large for a {self.name}; {self.restore}")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise self.error(f"{path}: cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def _not_regular(self, path: Path) -> Exception:
        return self.error(f"{path}: not a regular file (a link, a directory or a device); put the file itself there")

    def text(self, data: bytes, name: Path | str) -> str:
        """The bytes as text; ``name`` is what errors call the file."""
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"{name}: not UTF-8 text at byte {error.start}; {self.restore}") from error

    def parse(self, text: str, name: Path | str, decode: Callable[[Any], T]) -> T:
        """What ``decode`` makes of the file's JSON; it stumbles over everything that the schema forbids."""
        try:
            return self._parse(text, name, decode)
        except RecursionError as error:
            raise self.error(f"{name}: nested too deeply for a {self.name}; {self.restore}") from error

    def _parse(self, text: str, name: Path | str, decode: Callable[[Any], T]) -> T:
        try:
            data = json.loads(text, parse_int=_whole, parse_constant=_refuse, object_pairs_hook=_unique)
        except json.JSONDecodeError as error:
            raise self.error(f"{name}:{error.lineno}: not JSON: {error.msg}; {self.restore}") from error
        except _Refused as error:
            raise self.error(f"{name}:{_line_of_refused(text, error)}: holds {error}; {self.restore}") from error
        if _HALF_A_CHARACTER.search(text) and (half := _unwritable(data)):
            raise self.error(f"{name}: holds {shown(half)}, which is no text; {self.restore}")
        version = data.get("schema") if isinstance(data, dict) else None
        if isinstance(version, (int, float)) and version > self.version:
            raise self.error(f"{name}: schema {version} was written by a newer pytest-joules; upgrade pytest-joules")
        try:
            return decode(data)
        except STUMBLES as error:
            place, what = self._misfit(data)
            line = next((line for found, line, _ in _positions(text) if found == place), 1)
            raise self.error(f"{name}:{line}: {_where(place)}: {what}; {self.restore}") from error

    def check(self, text: str, name: Path | str, decode: Callable[[Any], object]) -> None:
        """Refuse what would be written but not be read back."""
        data = json.loads(text, parse_constant=str)  # or the schema would take NaN for a number
        try:
            decode(data)
        except STUMBLES as error:
            place, what = self._misfit(data)
            raise self.error(f"{name}: left as it was: {_where(place)} cannot be stored: {what}") from error

    def _misfit(self, data: Any) -> tuple[Place, str]:
        """Where data offends most against the schema, and how."""
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import best_match

        error = best_match(Draft202012Validator(self.schema()).iter_errors(self.narrowed(data)))
        return ((), f"not a {self.name}") if error is None else (tuple(error.absolute_path), shown(error.message))

    @contextlib.contextmanager
    def changing(self, path: Path) -> Iterator[None]:
        """Nobody else changes the file meanwhile."""
        try:
            with self.locked(path):
                yield
        except (OSError, UnicodeEncodeError) as error:
            raise self.error(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error

    @contextlib.contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Hold the file's lock, which lives outside the repository: no stray file turns up in a commit."""
        name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
        lock = FileLock(Path(tempfile.gettempdir(), f"pytest-joules-{name}.lock"), timeout=LOCK_SECONDS)
        try:
            lock.acquire()
        except Timeout as error:
            raise self.error(f"{path}: locked by another process for {LOCK_SECONDS:g} s ({lock.lock_file})") from error
        try:
            yield
        finally:
            lock.release()


def write(path: Path, pieces: Iterable[str]) -> None:
    """Put a file with all pieces in the place of ``path`` in one step; it keeps its mode.  Hold its lock meanwhile."""
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    # Of this machine, since its lock keeps nobody else's: what lies there now is left from an update that was killed.
    prefix = f".{path.name}.{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}."
    for rest in path.parent.iterdir():
        if rest.name.startswith(prefix):
            rest.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # some file systems cannot sync a directory; the file is in place already
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


# -- what JSON allows, and no file holds --


class _Refused(ValueError):
    """A number's text, or the name of a key given twice."""

    def __init__(self, what: str, word: str, *, twice: bool = False) -> None:
        super().__init__(what)
        self.word, self.twice = word, twice


def _refuse(literal: str) -> NoReturn:
    raise _Refused(f"the number {literal[:20]}", literal)


def _whole(literal: str) -> int:
    return int(literal) if len(literal) <= LONGEST_INTEGER else _refuse(literal)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise _Refused(f"the key {name!r} twice", name, twice=True)
    return members


def _unwritable(data: Any) -> str:
    """The first of the strings in ``data`` that no file can hold; empty if there is none."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return error.object[max(0, error.start - 20) : error.end + 20]
    return ""


# -- where it is --


def _where(place: Place) -> str:
    return shown("/".join(str(step) for step in place)) or "the file"


def _line_of_refused(text: str, refused: _Refused) -> int:
    """The line of a number that is none, or of a key's second value."""
    seen = set()
    for place, line, token in _positions(text):
        if (place in seen and place[-1] == refused.word) if refused.twice else _begins(token, refused.word):
            return line
        seen.add(place)
    return 1


def _begins(token: str, number: str) -> bool:
    """Whether a token begins with a whole number, or a name of none, that does not go on there."""
    return token.startswith(number) and token[len(number) : len(number) + 1] not in tuple("0123456789.eE")


def _positions(text: str) -> Iterator[tuple[Place, int, str]]:
    """The path, the line and the first token of every value in JSON text."""
    stack: list[str | int] = []
    line, last = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", last, match.start())
        last = match.start()
        token = match.group()
        if not stack and (token in "}]," or match["colon"]):
            return  # no JSON from here on: the fault was before
        if token in "}]":
            stack.pop()
        elif token == ",":
            if isinstance(stack[-1], int):
                stack[-1] += 1
        elif match["colon"]:
            try:
                stack[-1] = json.loads(token[: -len(match["colon"])])
            except ValueError:
                return
        else:
            yield tuple(stack), line, token
            if token in "{[":
                stack.append("" if token == "{" else 0)
