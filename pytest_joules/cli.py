"""The ``pytest-joules`` command."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

FINE, REGRESSED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 fine, 1 regressed or failed, 2 usage or a bad file."""
    parser = _parser()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    arguments, passed_on = _split(arguments)
    options = parser.parse_args(arguments)
    if options.command == "record":
        return record(options.sessions, passed_on)
    if passed_on:
        parser.error(f"{options.command} takes no pytest arguments: {' '.join(passed_on)}")
    return show(options.files)


def record(sessions: int, pytest_arguments: Sequence[str]) -> int:
    """Run pytest ``sessions`` times in fresh processes, each adding one session to the baselines."""
    command = [sys.executable, "-m", "pytest", "--energy", "--energy-update", *pytest_arguments]
    for number in range(1, sessions + 1):
        print(f"pytest-joules: session {number} of {sessions}: {' '.join(command[1:])}", flush=True)
        code = subprocess.run(command, check=False).returncode
        if code:
            print(f"pytest-joules: session {number} failed with exit code {code}; {number - 1} stored", file=sys.stderr)
            return REGRESSED if code == 1 else USAGE
    print(f"pytest-joules: {sessions} session(s) stored")
    return FINE


def show(files: Sequence[Path]) -> int:
    """Print baseline files as tables."""
    from pytest_joules.baselines.store import BaselineError, BaselineStore
    from pytest_joules.reporting.baselines import baseline_table

    found = list(files) or sorted(Path("baselines").glob("*.json"))
    if not found:
        print("pytest-joules: no baseline file in ./baselines; name one, or record one", file=sys.stderr)
        return USAGE
    for path in found:
        try:
            if not path.is_file():
                raise BaselineError(f"{path}: there is no such file")
            print(baseline_table(BaselineStore(path.parent).load(path.stem)), end="\n\n")
        except BaselineError as error:
            print(f"pytest-joules: {error}", file=sys.stderr)
            return USAGE
    return FINE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-joules", description="Baselines of GPU joules per unit of work, for pytest --energy."
    )
    parser.add_argument("--version", action="version", version=f"pytest-joules {version('pytest-joules')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    recording = commands.add_parser(
        "record",
        help="run pytest in fresh processes, each adding one session to the baselines",
        usage="pytest-joules record [--sessions N] [-- PYTEST ARGUMENTS]",
        description="Three sessions or more let the baseline know its own spread. Everything behind -- goes to pytest.",
    )
    recording.add_argument("--sessions", type=_positive, default=3, metavar="N", help="how many (default: 3)")
    showing = commands.add_parser("show", help="print baseline files as tables")
    showing.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: every file in ./baselines")
    return parser


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
