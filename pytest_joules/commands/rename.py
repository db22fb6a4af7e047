"""``pytest-joules rename``: a stored test under its new name."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_joules.commands.shared import FINE, CommandError, Commands, baseline_files, described, show


def add(commands: Commands) -> None:
    """``rename OLD NEW [FILE...]``."""
    parser = commands.add_parser(
        "rename",
        help="give a stored test its new name, with all its sessions",
        usage="pytest-joules rename OLD NEW [FILE...]",
        **described(
            "Give a stored test its new name, with all its sessions.\n"
            "A run that finds a test under another name prints the command.",
            "rename tests/test_llm.py::test_decode tests/test_llm.py::test_greedy_decode",
        ),
    )
    parser.add_argument("old", metavar="OLD", help="what it is stored under: a node id, or a key")
    parser.add_argument("new", metavar="NEW", help="what it is called now")
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="files or directories (default: ./baselines)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Rename it in each file that has it."""
    from pytest_joules.baselines.store import BaselineError, BaselineStore, renamed

    files = baseline_files(options.files)
    count = 0
    try:
        for path in files:  # before one of them is changed
            renamed(BaselineStore(path.parent).load(path.stem), options.old, options.new, path)
        for path in files:
            if series := BaselineStore(path.parent).rename(path.stem, options.old, options.new):
                show([f"{path}: {series} series renamed"])
                count += series
    except BaselineError as error:
        raise CommandError(str(error)) from error
    if not count:
        raise CommandError(f"nothing is stored under {options.old!r} in {', '.join(map(str, files))}")
    return FINE
