"""A/B in one sitting: the base in a temporary git worktree, and fresh pytest processes of both sides in turns.

Nothing is printed here; progress goes to a callback.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_joules.ab_guard import OTHER_TREE, is_source
from pytest_joules.model import RunResult
from pytest_joules.options import Options
from pytest_joules.pairing import LOOKS, Comparison, Pair, compare, decided
from pytest_joules.reporting import json as json_report
from pytest_joules.testing import STATE_VARIABLE

LAST_LINES = 20
"""How much of a run's output is shown when it did not come to an end."""

GRACE_SECONDS = 20.0
"""How long an interrupted run may take to end by itself."""

OWN_FLAGS = (
    "--energy-update",
    "--energy-update-new",
    "--energy-json",
    "--energy-html",
    "--energy-baselines",
    "--energy-missing",
    "--energy-tolerance",
    "--energy-trace",
    "--energy-anchor",
    "--energy-baseline-ref",
)
"""Flags of pytest that an A/B sets itself, or that would store what it measures."""

ONE_PASS = ("--energy-sweep-once", "--energy-sweep-seed=0")
"""The points of a sweep: pairs repeat them, and both sides have them in one order."""

_GIT_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
"""What git sets for its hooks, and what would lead every git command below back to the user's index."""

_TESTS_ENDED = (0, 1)


class ABError(Exception):
    """An A/B that cannot be done; the message is for the user, and says what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare.

    Attributes:
        base_ref: The base, as git knows it.
        pairs: The most pairs to measure; one of :data:`~pytest_joules.pairing.LOOKS`.
        tolerance: The accepted relative rise where a budget gives none; ``None`` for what pytest is configured to.
        base_python: The Python that runs the base; ``None`` for this one, led to the base's sources.
        arguments: Arguments for pytest.
    """

    base_ref: str
    pairs: int
    tolerance: float | None = None
    base_python: str | None = None
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Tree:
    """One side: where and with what its pytest runs."""

    name: str
    python: str
    directory: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def run(plan: Plan, say: Callable[[str], None]) -> Comparison:
    """Measure pairs until every declared budget is decided, or ``plan.pairs`` are measured.

    Args:
        plan: What to compare.
        say: Gets the progress, in pieces; a line ends with a line feed.

    Raises:
        ABError: if there is no such base, or a run did not come to an end.
    """
    if own := [a for a in plan.arguments if a.partition("=")[0] in OWN_FLAGS]:
        raise ABError(f"{own[0].partition('=')[0]} is not for an A/B, which stores nothing and sets its own terms")
    root = _root(Path.cwd())
    commit = _commit(root, plan.base_ref)
    _refuse_dirty_submodules(root)
    with tempfile.TemporaryDirectory(prefix="pytest-joules-ab-") as name:
        scratch = Path(name).resolve()
        if scratch.is_relative_to(root):
            raise ABError(f"temporary files would lie inside the repository, in {scratch.parent}: set TMPDIR elsewhere")
        with worktree(root, commit, scratch / "base") as tree:
            sides = _base(plan, root, tree), _head(plan, root, tree)
            return _measure(plan, sides, scratch, say)


@contextlib.contextmanager
def worktree(root: Path, commit: str, path: Path) -> Iterator[Path]:
    """Check ``commit`` out at ``path``, with the submodules that are checked out in ``root``; removed at the end."""
    try:
        # A hook of the user's must not take this for a checkout of theirs.
        _git(root, "-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--quiet", "--detach", str(path), commit)
        with contextlib.ExitStack() as submodules:
            for line in _git(path, "ls-tree", "-r", "-z", commit).split("\0"):
                mode, _, rest = line.partition(" ")
                if mode == "160000":
                    pinned, _, name = rest.removeprefix("commit ").partition("\t")
                    if (root / name / ".git").exists():
                        submodules.enter_context(worktree(root / name, pinned, path / name))
            yield path
    finally:
        with contextlib.suppress(ABError):
            _git(root, "worktree", "remove", "--force", "--force", str(path))
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(ABError):
            _git(root, "worktree", "prune")


def map_arguments(arguments: Sequence[str], root: Path, tree: Path) -> tuple[str, ...]:
    """Lead absolute paths into ``root``, also behind ``=``, to the same place below ``tree``."""
    spellings = "|".join(re.escape(str(place)) for place in dict.fromkeys((root, root.resolve())))
    inside = re.compile(rf"(^|=)(?:{spellings})(?=$|/|::)")
    return tuple(inside.sub(lambda match: match.group(1) + str(tree), argument) for argument in arguments)


def map_path(entries: Sequence[str], root: Path, tree: Path) -> list[str]:
    """The twins below ``tree`` of the directories that lie in ``root``; those outside of it stay.

    What the base does not have is left out, and so is a virtual environment inside the repository
    (its site-packages are on the path of the Python that belongs to it).
    """
    mapped: list[str] = []
    for entry in entries:
        place = Path(entry).resolve()
        if not place.is_relative_to(root):
            mapped.append(entry)
        elif (twin := tree / place.relative_to(root)).exists():
            mapped.append(str(twin))
    return list(dict.fromkeys(mapped))


def _measure(plan: Plan, sides: tuple[_Tree, _Tree], scratch: Path, say: Callable[[str], None]) -> Comparison:
    tolerance = plan.tolerance if plan.tolerance is not None else Options().tolerance
    pairs: list[Pair] = []
    known: set[str] = set()
    for number in range(1, plan.pairs + 1):
        # Base, head, head, base: what drifts evenly is the same on both sides.
        order = sides if number % 2 else (sides[1], sides[0])
        runs = {}
        for side in order:
            runs[side.name], failures = _timed_run(side, f"pair {number}: {side.name}", scratch, say)
            say("".join(f"  {line}\n" for line in failures if line not in known))
            known.update(failures)
        pairs.append(Pair(runs["base"], runs["head"]))
        if number in LOOKS:
            series = compare(pairs, tolerance)
            if not series:
                raise ABError("nothing was measured: no test carries a budget or uses the energy fixture")
            if decided(series):
                break
    last = pairs[-1]
    return Comparison(
        created=max(last.base.created, last.head.created),
        version=last.head.version,
        meter=last.head.meter,
        base_ref=plan.base_ref,
        base_commit=last.base.commit,
        head_commit=last.head.commit,
        pairs=len(pairs),
        most_pairs=plan.pairs,
        series=series,
    )


def _timed_run(side: _Tree, label: str, scratch: Path, say: Callable[[str], None]) -> tuple[RunResult, list[str]]:
    say(f"{label} ... ")
    began = time.monotonic()
    try:
        result = _run(side, label, scratch)
    except BaseException:
        say("\n")
        raise
    say(f"{time.monotonic() - began:.1f} s\n")
    return result


def _run(side: _Tree, label: str, scratch: Path) -> tuple[RunResult, list[str]]:
    """The run's result, and what pytest's short summary says of tests that failed."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        report, output = Path(name, "report.json"), Path(name, "output")
        baselines = Path(name, "baselines")
        baselines.mkdir()
        command = [side.python, "-m", "pytest", "-p", "pytest_joules.ab_guard", "--energy", *ONE_PASS, *side.arguments]
        command += ["--energy-missing=warn", f"--energy-json={report}", f"--energy-baselines={baselines}"]
        command += ["-o", "energy_baseline_ref=", "-o", "energy_github=off"]
        code = _wait(command, side, output)
        lines = output.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
        last = lines[-LAST_LINES:]
        if code not in _TESTS_ENDED:
            raise ABError("\n".join([f"{label}: pytest ended with exit code {code}", *last]))
        if not report.exists():
            raise ABError("\n".join([f"{label}: pytest wrote no energy report", *last]))
        try:
            found = json_report.read(report)
            if found.meter is not None and found.meter.replayed:
                raise ABError("--energy-meter=replay plays the same calls on both sides: an A/B needs a live device")
            return found, [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
        except json_report.ReportError as error:
            raise ABError(f"{label}: {error}; both sides need the same pytest-joules") from error


def _wait(command: Sequence[str], side: _Tree, output: Path) -> int:
    with output.open("wb") as file:
        try:
            # A session of its own: Ctrl-C reaches this process alone, which hands it on once.
            child = subprocess.Popen(
                command,
                cwd=side.directory,
                env=side.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_interruptible,
            )
        except OSError as error:
            raise ABError(f"{side.python} does not run: {error.strerror}") from error
        try:
            return child.wait()
        except BaseException:
            _end(child)
            raise


def _end(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGINT)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(child)
    except BaseException:
        _kill(child)
        raise


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _interruptible() -> None:
    # A shell's background job ignores SIGINT, and its children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _base(plan: Plan, root: Path, tree: Path) -> _Tree:
    below = Path.cwd().resolve().relative_to(root)
    if not (tree / below).is_dir():
        raise ABError(f"{plan.base_ref} has no directory {below}: start from one that both sides have")
    environment = _environment(root)
    path = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if plan.base_python is None:
        # An editable install names the user's tree, and what comes first on the path wins.
        inside = [entry for entry in sys.path if is_source(Path(entry), root, Path(sys.prefix))]
        path = [*(str(p) for p in (root / "src", root) if p.is_dir()), *path, *inside]
    return _Tree(
        name="base",
        python=_program(plan.base_python or sys.executable),
        directory=tree / below,
        arguments=_arguments(plan, map_arguments(plan.arguments, root, tree)),
        environment={**environment, "PYTHONPATH": os.pathsep.join(map_path(path, root, tree))},
    )


def _head(plan: Plan, root: Path, tree: Path) -> _Tree:
    environment = {**_environment(root), OTHER_TREE: str(tree)}
    return _Tree("head", sys.executable, Path.cwd(), _arguments(plan, plan.arguments), environment)


def _environment(root: Path) -> dict[str, str]:
    # Each run makes its own simulated machine, and asks git about its own tree.
    kept = {name: value for name, value in os.environ.items() if name not in (*_GIT_PLACES, STATE_VARIABLE)}
    return {**kept, OTHER_TREE: str(root)}


def _arguments(plan: Plan, arguments: Sequence[str]) -> tuple[str, ...]:
    tolerance = () if plan.tolerance is None else (f"--energy-tolerance={100 * plan.tolerance}%",)
    return (*arguments, *tolerance)


def _program(name: str) -> str:
    # A path is relative to where the user is, not to the worktree; a bare name is looked up on PATH.
    return str(Path(name).absolute()) if os.sep in name else name


def _root(directory: Path) -> Path:
    try:
        return Path(_git(directory, "rev-parse", "--show-toplevel").rstrip("\n")).resolve()
    except ABError as error:
        raise ABError(f"{directory} is not in a git repository with a working tree: {error}") from error


def _commit(root: Path, ref: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").split()[-1]
    except ABError:
        if _git(root, "rev-parse", "--is-shallow-repository").strip() == "true":
            raise ABError(
                f"{ref!r} is not in this shallow clone: git fetch --unshallow, or check out with fetch-depth: 0"
            ) from None
        raise ABError(f"git knows no commit {ref!r}: fetch it, or name another base") from None


def _refuse_dirty_submodules(root: Path) -> None:
    # Porcelain v2 (git-status): "1 XY S<commit><modified><untracked> <3 modes> <2 names> <path>".
    for line in _git(root, "status", "--porcelain=v2", "-z", "--ignore-submodules=none").split("\0"):
        fields = line.split(" ", 8)
        if fields[0] == "1" and fields[2][0] == "S" and fields[2][2] == "M":
            raise ABError(f"submodule {fields[8]} has changes that no commit holds: commit or stash them there first")


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in _GIT_PLACES}
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    except OSError as error:
        raise ABError(f"git does not run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise ABError(f"git: {said[-1]}") from error
    return asked.stdout
