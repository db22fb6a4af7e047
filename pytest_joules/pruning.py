"""Stored series that are to go: named ones, and those whose test is gone."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_joules.baselines.keys import sku_keys
from pytest_joules.baselines.store import BaselineFile, BaselineStore
from pytest_joules.model import BaselineKey, RunResult, Session


class PruneError(Exception):
    """What cannot be found, or not be known to be gone; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored series.

    Attributes:
        file: Its baseline file.
        key: The series.
    """

    file: BaselineFile
    key: BaselineKey

    @property
    def sku(self) -> str:
        """What its file is of."""
        return self.file.sku

    @property
    def sessions(self) -> Sequence[Session]:
        """What would be lost, oldest first."""
        return self.file.sessions(self.key)


@dataclass(frozen=True, slots=True)
class Tests:
    """What pytest collects.

    Attributes:
        names: What series may be stored under: node ids, and keys of their own.
        files: The files that have tests.
        skipped: Files and classes that were skipped as a whole; nobody knows their tests.
        whole: Whether everything was collected, and not what arguments picked.
    """

    names: frozenset[str]
    files: frozenset[str]
    skipped: frozenset[str]
    whole: bool

    def lacks(self, key: BaselineKey) -> bool:
        """Whether a series' test is surely gone."""
        if key.test in self.names or any(_below(key.test, name) for name in self.skipped):
            return False
        return self.whole or key.test.partition("::")[0] in self.files


def entries(files: Iterable[BaselineFile]) -> list[Entry]:
    """Every series of the files."""
    return [Entry(file, key) for file in files for key in sorted(file.entries, key=str)]


def named(stored: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """The series of tests, of files or classes of tests, or of all parameters of a test.

    Raises:
        PruneError: for a name that nothing is stored under.
    """
    found: dict[tuple[str, BaselineKey], Entry] = {}
    for name in names:
        matching = [entry for entry in stored if str(entry.key) == name or _below(entry.key.test, name)]
        if not matching:
            known = {word for entry in stored for word in (entry.key.test, str(entry.key))}
            near = difflib.get_close_matches(name, known, 1)
            raise PruneError(f"nothing is stored under {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        found |= {(entry.sku, entry.key): entry for entry in matching}
    return list(found.values())


def _below(test: str, name: str) -> bool:
    """Whether a test is the named one, or is of the named file, class or function."""
    return test == name or test.startswith((f"{name}::", f"{name}["))


def left_out(stored: Sequence[Entry], run: RunResult) -> list[Entry]:
    """The series that a run should have collected and did not, of the SKUs that it measured."""
    skus = {result.sku for result in run.results}
    skus |= {*sku_keys(run.meter.devices if run.meter else ())}
    keys = set(run.not_collected)
    return [entry for entry in stored if entry.sku in skus and entry.key in keys]


def gone(stored: Sequence[Entry], collected: Tests) -> list[Entry]:
    """The series whose test is not collected any more."""
    return [entry for entry in stored if collected.lacks(entry.key)]


def collect(windows: Collection[str], arguments: Sequence[str]) -> Tests:
    """Let pytest collect, in a process of its own, and measure nothing.

    Args:
        windows: Names of windows, for the hook that names what they are stored under.
        arguments: For pytest; without any, the collection is a full one.

    Raises:
        PruneError: if it does not come to an end without an error.
    """
    from pytest_joules.collecting import VARIABLE

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "collected.json")
        path.write_text(json.dumps(sorted(windows)), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "pytest_joules.collecting", *arguments]
        ran = subprocess.run(
            command, env={**os.environ, VARIABLE: str(path)}, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            what = "collects no test" if ran.returncode == 5 else f"fails with exit code {ran.returncode}"
            why = _why(ran.stdout + ran.stderr)
            raise PruneError(f"pytest --collect-only {what}{why and f' ({why})'}: nobody knows which tests are gone")
        found = json.loads(path.read_text(encoding="utf-8"))
    names, files, skipped = (frozenset(found[name]) for name in ("names", "files", "skipped"))
    return Tests(names, files, skipped, not arguments)


def _why(output: str) -> str:
    """What pytest says is wrong with how it is used, or with a file that it collects; else its last words."""
    said = [line.strip("=_ ") for line in output.splitlines() if line.strip()]
    wrong = [line for line in said if ": error: " in line] or [line for line in said if line.startswith("ERROR")]
    return next((line for line in wrong if line != "ERRORS"), said[-1] if said else "")


def remove(store: BaselineStore, chosen: Iterable[Entry]) -> None:
    """Delete the series, and nothing else.

    Raises:
        BaselineError: if a file cannot be read or written; it is then as it was.
    """
    by_sku: dict[str, set[BaselineKey]] = {}
    for entry in chosen:
        by_sku.setdefault(entry.sku, set()).add(entry.key)
    for sku, keys in sorted(by_sku.items()):
        store.remove(sku, keys)
