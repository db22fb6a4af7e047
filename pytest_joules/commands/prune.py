"""``pytest-joules prune``: stored series whose test is gone."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_joules.commands.shared import FINE, CommandError, Commands, described, show, working


def add(commands: Commands) -> None:
    """``prune [--baselines DIR] [--from RESULT.json | --stale] [NAME...] [--yes] [-- PYTEST ARGUMENTS]``."""
    parser = commands.add_parser(
        "prune",
        help="delete stored series whose test is gone; tells first, and deletes only with --yes",
        usage="pytest-joules prune [--baselines DIR] [--from RESULT.json | --stale] [NAME...] [--yes] "
        "[-- PYTEST ARGUMENTS]",
        **described(
            "Delete stored series: those named, those that a run says it did not collect, or\n"
            "those whose test pytest does not collect any more. Tells what would be deleted,\n"
            "and deletes only with --yes; everything else in the files stays as it is.\n"
            "NAME is a node id or a key, a file or class of tests, or a test with all its\n"
            "parameters; beside --from or --stale it picks among those. What stands behind\n"
            "-- goes to the collecting pytest; only the files that it then collects count.",
            "prune --stale",
            "prune --from energy.json --yes",
            "prune tests/test_llm.py::test_old --yes",
        ),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to delete")
    parser.add_argument(
        "--baselines", type=Path, default=Path("baselines"), metavar="DIR", help="of which files (default: baselines)"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--from",
        dest="result",
        type=Path,
        metavar="RESULT.json",
        help="what this run found stored and did not collect; let it be a run of all energy tests",
    )
    which.add_argument("--stale", action="store_true", help="what pytest, run here, does not collect")
    parser.add_argument("--yes", action="store_true", help="delete it")
    parser.set_defaults(run=run, takes_pytest=True)


def run(options: argparse.Namespace) -> int:
    """Find the series, print them, and delete them if that is wanted."""
    from pytest_joules.baselines.store import BaselineError, BaselineStore
    from pytest_joules.pruning import PruneError, collect, entries, gone, left_out, named, remove
    from pytest_joules.rejudging import ResultError, read_result
    from pytest_joules.reporting.pruning import report

    if not (options.names or options.result or options.stale):
        raise CommandError("name what to delete, or give --stale or --from RESULT.json")
    if options.pytest_arguments and not options.stale:
        raise CommandError("pytest arguments are for --stale, which lets pytest collect")
    store = BaselineStore(options.baselines)
    try:
        if not options.baselines.is_dir():
            raise PruneError(f"{options.baselines}: there is no such directory")
        stored = entries(store.load(sku) for sku in store.skus())
        chosen = stored
        if options.result:
            chosen = left_out(stored, read_result(options.result))
        elif options.stale:
            windows = {entry.key.window for entry in stored}
            with working("pytest collects, and measures nothing"):
                chosen = gone(stored, collect(windows, options.pytest_arguments))
        if options.names:
            chosen = named(chosen, options.names)
        if options.yes:
            remove(store, chosen)
    except (BaselineError, PruneError, ResultError) as error:
        raise CommandError(str(error)) from error
    show(report(chosen, len(stored), deleted=options.yes))
    return FINE
