"""``pytest-joules compare``: a stored run against baselines, without a GPU."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from pytest_joules.commands.shared import (
    FINE,
    REGRESSED,
    CommandError,
    Commands,
    add_json,
    add_only,
    add_results,
    add_settings,
    check_place,
    counting,
    described,
    given_settings,
    show,
)
from pytest_joules.options import Options

SETTINGS = ("tolerance", "max_tolerance", "missing", "inconclusive", "strict", "sort", "columns")


def add(commands: Commands) -> None:
    """``compare RESULT.json... [--baseline FILE|DIR] [--baseline-ref REF]`` and how to judge."""
    parser = commands.add_parser(
        "compare",
        help="judge a stored run by baselines, as pytest --energy does, without a GPU",
        usage="pytest-joules compare RESULT.json... [--baseline FILE|DIR] [--baseline-ref REF] [options]",
        **described(
            "Judge what a run measured by baselines, as pytest --energy does, without a GPU.\n"
            "The numbers, the verdicts and the reasons are those of a run that had these\n"
            "baselines. Several results, such as the parts of a suite, are judged as one run.\n"
            "No ini file is read: a budget without a tolerance has that of its run.\n"
            "Exit codes: 0 fine, 1 a budget failed, 2 wrong use or a bad file.",
            "compare energy.json",
            "compare energy.json --baseline-ref origin/main",
            "compare a.json b.json --baseline old/nvidia-h200.json --tolerance 1%",
        ),
    )
    add_results(parser)
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE|DIR",
        help="one baseline file, or a directory of them (default: ./baselines, else that beside the result); with "
        "--baseline-ref, FILE says of which GPU the results have to be",
    )
    add_settings(parser, "baseline_ref", *SETTINGS)
    add_only(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="print every verdict in full")
    add_json(parser, "write the run as judged here; pytest-joules report turns it into other formats")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Judge the results, print what pytest would, and say whether a budget failed."""
    from pytest_joules.baselines.sources import Source
    from pytest_joules.baselines.store import BaselineError
    from pytest_joules.comparing import compare
    from pytest_joules.policy import leaves_out
    from pytest_joules.rejudging import ResultError, only, read_result, together
    from pytest_joules.reporting import json as json_report
    from pytest_joules.reporting.comparing import report

    check_place("--json", options.json, [*options.results, *([options.baseline] if options.baseline else [])])
    settings = Options(enabled=True, baseline_ref=options.baseline_ref, **given_settings(options, *SETTINGS))
    try:
        measured = only(together([read_result(path) for path in options.results]), options.only)
        source = Source.find(options.baseline, options.baseline_ref, options.results[0])
        check_place("--json", options.json, map(source.here.path, source.here.skus()))
        judged = compare(
            measured,
            source,
            settings,
            tolerance=options.tolerance is not None,
            whole=not options.only,
            brief=not options.verbose and options.json is None,
            counting=lambda results: counting(results, "judged"),
        )
        if options.json is not None:
            json_report.write(judged, options.json)
    except (BaselineError, ResultError, OSError) as error:
        raise CommandError(str(error)) from error
    names = [str(path) for path in options.results]
    show(
        report(
            judged,
            f"energy: {', '.join(names)} against {source.name}",
            source.name,
            settings,
            lambda result: shlex.join(["pytest-joules", "accept", *names, "-k", result.test]),
            verbose=options.verbose,
        )
    )
    failed = any(result.failed for result in judged.results) or (settings.strict and leaves_out(judged))
    return REGRESSED if failed else FINE
