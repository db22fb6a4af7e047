"""``pytest-joules explain``: why the joules of two runs or stored sessions differ."""

from __future__ import annotations

import argparse

from pytest_joules.commands.shared import FINE, CommandError, Commands, add_json, add_only, check_place, described, show


def add(commands: Commands) -> None:
    """``explain BEFORE AFTER [-k TEXT] [--json FILE]``."""
    parser = commands.add_parser(
        "explain",
        help="say why the joules of two runs or stored sessions differ",
        usage="pytest-joules explain BEFORE AFTER [-k TEXT] [--json FILE]",
        **described(
            "Say why the joules of two runs or stored sessions differ.\n"
            "Each of the two is a JSON report (pytest --energy --energy-json) or a baseline\n"
            "file, all of whose sessions count; FILE@SESSION takes those of one time or\n"
            "commit, by its beginning. Series are matched by test, window and unit; where\n"
            "each side has just one, they are matched whatever they are called.",
            "explain baselines/nvidia-h200.json energy.json",
            "explain baselines/nvidia-h200.json@1f2e3d4 energy.json -k decode",
        ),
    )
    parser.add_argument("before", metavar="BEFORE", help="report, baseline file, or baseline file@session")
    parser.add_argument("after", metavar="AFTER", help="what to explain against it")
    add_only(parser)
    add_json(parser, "write the diagnoses as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Match the series of the two, and print why each differs."""
    from pytest_joules.explaining import RunError, explain_sides, file_of, read_side
    from pytest_joules.reporting.explaining import report, write_json

    given = (options.before, options.after)
    check_place("--json", options.json, [file_of(text)[0] for text in given])
    try:
        sides = [read_side(text).only(options.only) for text in given]
        explanation = explain_sides(*sides)
    except RunError as error:
        raise CommandError(str(error)) from error
    show(report(explanation))
    if options.json is not None:
        write_json(explanation, options.json)
    return FINE
