"""``pytest-joules show``: baseline files as tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_joules.commands.shared import FINE, CommandError, Commands, described


def add(commands: Commands) -> None:
    """``show [FILE...]``."""
    parser = commands.add_parser(
        "show",
        help="print baseline files as tables",
        **described("Print baseline files as tables.", "show", "show baselines/nvidia-h200.json"),
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: every file in ./baselines")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a table for each file."""
    from pytest_joules.baselines.store import BaselineError, BaselineStore
    from pytest_joules.reporting.baselines import baseline_table

    found = list(options.files) or sorted(Path("baselines").glob("*.json"))
    if not found:
        raise CommandError("no baseline file in ./baselines; name one, or record one")
    for path in found:
        try:
            if not path.is_file():
                raise BaselineError(f"{path}: there is no such file")
            print(baseline_table(BaselineStore(path.parent).load(path.stem)), end="\n\n")
        except BaselineError as error:
            raise CommandError(str(error)) from error
    return FINE
