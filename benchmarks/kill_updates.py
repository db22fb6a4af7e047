"""Kills updates of a baseline file at random moments: it is always the old one or the new one, whole.

    python benchmarks/kill_updates.py [--kills 1000] [--updaters 8] [--rounds 50] [--json FILE]

A child updates every series of a file, in a loop, and is killed (SIGKILL) at a random moment.  In memory that both see
it notes the number of each update before and after it, so that it is known which contents the file may have: those of
the last update that ended, or of the one that had begun.  Beside the file at most one rest of a killed update may lie,
which the next update sweeps up, and nobody may wait for a lock that a dead process holds.

Then several processes update one file at once, each with series of its own and one that all of them add sessions to:
nothing may be lost, and the common series has its last ten sessions.
"""

from __future__ import annotations

import argparse
import json
import mmap
import multiprocessing
import os
import random
import signal
import struct
import tempfile
import time
from collections import Counter
from pathlib import Path

from pytest_joules.baselines.store import KEPT_SESSIONS, Addition, BaselineStore
from pytest_joules.model import BaselineKey, Block, Session

SKU, PRODUCT = "nvidia-h200", "NVIDIA H200"
SERIES = 100
"""In the file that is killed over."""

COMMON = BaselineKey("common", "main", "token")
_NOTE = struct.Struct("qq")


def session(number: int, blocks: int = 6) -> Session:
    """A session that is told from others by its joules."""
    return Session("2026-11-21T00:00:00+00:00", ("abc",), (Block(1.0 + number, 1.0, 1.0),) * blocks)


def rewrite(directory: Path, number: int) -> None:
    """Update every series to ``number``: a mixture of two updates would show."""
    additions = {BaselineKey(f"test_{n}", "main", "token"): Addition(session(number), True) for n in range(SERIES)}
    BaselineStore(directory).update(SKU, PRODUCT, False, additions)


def content(directory: Path) -> int:
    """The number of the update that the file is from.

    Raises:
        AssertionError: if it is a mixture.
        BaselineError: if it is not sound.
    """
    entries = BaselineStore(directory).load(SKU).entries
    found = {session.blocks[0].joules - 1.0 for sessions in entries.values() for session in sessions}
    assert len(found) == 1, f"a mixture of updates: {sorted(found)[:5]}"
    assert len(entries) == SERIES, f"{len(entries)} of {SERIES} series"
    return int(found.pop())


def killed(directory: Path, first: int, after: float) -> tuple[int, int]:
    """Let a child update from ``first`` on, kill it ``after`` seconds; the last updates that began and ended."""
    with mmap.mmap(-1, _NOTE.size) as notes:
        notes[:] = _NOTE.pack(first - 1, first - 1)
        if not (child := os.fork()):
            try:
                for number in range(first, first + 10**9):
                    notes[:] = _NOTE.pack(number, number - 1)
                    rewrite(directory, number)
                    notes[:] = _NOTE.pack(number, number)
            finally:
                os._exit(1)
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the child ended by itself"
        began, ended = _NOTE.unpack(notes[:])
        return began, ended


def kills(directory: Path, count: int, of: random.Random) -> Counter[str]:
    """Kill ``count`` updates; returns what was found after each.

    Raises:
        AssertionError: if the file is neither of the two that it may be, or rests of updates pile up.
    """
    rewrite(directory, 0)
    began = time.monotonic()
    rewrite(directory, 0)
    seconds = time.monotonic() - began
    found: Counter[str] = Counter()
    last = 0
    for _ in range(count):
        begun, ended = killed(directory, last + 1, of.uniform(0.0, 6 * seconds))
        last = content(directory)
        assert last in (begun, ended), f"holds update {last}; {ended} had ended, {begun} begun"
        found["between two updates" if begun == ended else "the new file" if last == begun else "the old file"] += 1
        rests = [path for path in directory.iterdir() if path.name != f"{SKU}.json"]
        assert len(rests) <= 1, f"rests of updates pile up: {rests}"
        found["a rest beside it"] += len(rests)
    rewrite(directory, last + 1)
    assert [path.name for path in directory.iterdir()] == [f"{SKU}.json"], "a rest is not swept up"
    return found


def adds(directory: Path, name: int, rounds: int) -> None:
    """Add series of one's own, and a session to the common one."""
    for number in range(rounds):
        own = BaselineKey(f"{name}-{number}", "main", "token")
        added = {own: Addition(session(number)), COMMON: Addition(session(1000 * name + number))}
        BaselineStore(directory).update(SKU, PRODUCT, False, added)


def together(directory: Path, updaters: int, rounds: int) -> int:
    """Update one file from several processes at once; returns how many series it has then.

    Raises:
        AssertionError: if anything is lost.
    """
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=adds, args=(directory, name, rounds)) for name in range(updaters)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0] * updaters, "an updater failed"
    stored = BaselineStore(directory).load(SKU)
    own = {BaselineKey(f"{name}-{number}", "main", "token") for name in range(updaters) for number in range(rounds)}
    assert set(stored.entries) == own | {COMMON}, f"{len(own) + 1 - len(stored.entries)} series are lost"
    common = [int(found.blocks[0].joules - 1) for found in stored.sessions(COMMON)]
    assert len(common) == len(set(common)) == min(KEPT_SESSIONS, updaters * rounds), f"sessions are lost: {common}"
    for name in range(updaters):
        of_one = [number % 1000 for number in common if number // 1000 == name]
        assert of_one == list(range(rounds))[rounds - len(of_one) :], f"not the last of one updater: {of_one}"
    assert [path.name for path in directory.iterdir()] == [f"{SKU}.json"], "a rest is left"
    return len(stored.entries)


def main() -> None:
    """Print what was found; an assertion fails where it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--updaters", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=50, help="updates of each updater")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        began = time.monotonic()
        found = kills(Path(one), options.kills, random.Random(options.seed))
        print(f"{options.kills} kills in {time.monotonic() - began:.0f} s: {dict(found)}")
        began = time.monotonic()
        series = together(Path(other), options.updaters, options.rounds)
        updates = options.updaters * options.rounds
        print(f"{updates} updates of {options.updaters} at once in {time.monotonic() - began:.0f} s: {series} series")
    if options.json is not None:
        result = {
            "command": f"python benchmarks/kill_updates.py --kills {options.kills} --rounds {options.rounds}",
            "kills": options.kills,
            "found": dict(sorted(found.items())),
            "updaters": options.updaters,
            "updates_at_once": updates,
            "series_lost": 0,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
