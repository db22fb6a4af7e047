"""``pytest-joules show``: baseline files as tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_joules.commands.shared import (
    FINE,
    CommandError,
    Commands,
    add_only,
    baseline_files,
    counting,
    described,
    show,
)


def add(commands: Commands) -> None:
    """``show [FILE...] [-k TEXT] [--sessions]``."""
    parser = commands.add_parser(
        "show",
        help="print baseline files as tables: joules, scatter, drift, sessions per device",
        usage="pytest-joules show [FILE...] [-k TEXT] [--sessions]",
        **described(
            "Print baseline files as tables: what each series costs, how its sessions scatter,\n"
            "how many there are on each device, how far the last is from the anchor or the\n"
            "first, and the trend since then with its uncertainty.",
            "show",
            "show baselines/nvidia-h200.json -k decode --sessions",
        ),
    )
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="files or directories (default: ./baselines)"
    )
    add_only(parser)
    parser.add_argument("--sessions", action="store_true", help="print every session: when, commit, device, conditions")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a table for each file, or one for each series."""
    from pytest_joules.baselines.store import BaselineError, of_sku, read
    from pytest_joules.reporting.baselines import baseline_table, session_tables

    table = session_tables if options.sessions else baseline_table
    shown = False
    for path in counting(baseline_files(options.files), "files read"):
        try:
            file = read(path)
            if file is None:
                raise BaselineError(f"{path}: there is no such file")
            # In a directory of baselines a file has to be called as its SKU; one that was named may be anything.
            text = table(of_sku(file, file.sku if path in options.files else path.stem, path), options.only)
        except BaselineError as error:
            raise CommandError(str(error)) from error
        if text:
            show([*text.splitlines(), ""])
            shown = True
    if not shown and options.only:
        raise CommandError(f"no stored series whose test, window and unit hold {options.only!r}")
    return FINE
