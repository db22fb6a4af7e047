"""``pytest-joules accept``: what a CI run measured, into the baselines."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_joules.commands.shared import (
    FINE,
    REGRESSED,
    CommandError,
    Commands,
    add_only,
    add_results,
    counting,
    described,
    show,
)
from pytest_joules.options import Options


def add(commands: Commands) -> None:
    """``accept RESULT.json... [--baselines DIR] [--only-new] [-k TEXT] [--anchor] [--dry-run]``."""
    parser = commands.add_parser(
        "accept",
        help="store what a CI run measured as baselines, without a GPU",
        usage="pytest-joules accept RESULT.json... [--baselines DIR] [--only-new] [-k TEXT] [--anchor] [--dry-run]",
        **described(
            "Store what a run measured as baselines, as pytest --energy --energy-update does,\n"
            "without a GPU. Results of several processes become several sessions. What is\n"
            "invalid or over its limit, and tests that failed, are not stored, and a result\n"
            "that was accepted before is not stored twice.\n"
            "Exit codes: 0 fine, 1 something could not be stored, 2 wrong use or a bad file.",
            "accept energy.json --dry-run",
            "accept run-1.json run-2.json run-3.json --anchor",
            "accept energy.json -k test_decode",
        ),
    )
    add_results(parser)
    parser.add_argument(
        "--baselines", type=Path, default=Path("baselines"), metavar="DIR", help="where to (default: baselines)"
    )
    parser.add_argument("--only-new", action="store_true", help="store only what has no baseline yet")
    add_only(parser)
    parser.add_argument(
        "--anchor", action="store_true", help="pin these sessions as what slow creep is measured from, not older ones"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be stored, and write nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Judge the results by what is stored, store them, and print old and new."""
    from pytest_joules.accepting import accept
    from pytest_joules.baselines.rehearsal import Rehearsal
    from pytest_joules.baselines.store import BaselineError, BaselineStore
    from pytest_joules.rejudging import ResultError, only, read_result
    from pytest_joules.reporting.accepting import report

    if options.anchor and options.only_new:
        raise CommandError("give --anchor or --only-new, not both: what is new has no older pins")
    try:
        runs = [only(read_result(path), options.only) for path in options.results]
        if not any(run.results for run in runs):
            raise ResultError("no result to accept: no test carries a budget, or -k leaves none")
        since = min(run.created for run in runs) if options.anchor else None
        settings = Options(enabled=True, update=not options.only_new, update_new=options.only_new, anchor=since)
        store = Rehearsal(options.baselines) if options.dry_run else BaselineStore(options.baselines)
        accepted = accept(runs, store, settings, lambda results: counting(results, "judged"))
    except (BaselineError, ResultError) as error:
        raise CommandError(str(error)) from error
    show(report(accepted, str(options.baselines), dry=options.dry_run))
    return REGRESSED if accepted.failed else FINE
