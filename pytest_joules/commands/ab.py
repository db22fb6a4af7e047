"""``pytest-joules ab``: the working tree against a base, measured in turns."""

from __future__ import annotations

import argparse
import signal

from pytest_joules.commands.shared import (
    FINE,
    REGRESSED,
    CommandError,
    Commands,
    add_json,
    check_place,
    described,
    percentage,
    show,
)

PAIRS = (2, 4, 6, 8)
"""What ``pytest_joules.pairing.LOOKS`` allows; that module would make every ``--help`` load scipy."""


def add(commands: Commands) -> None:
    """``ab BASE_REF [--pairs N] [--tolerance PCT] [--base-python PATH] [--json FILE] [-- PYTEST ARGUMENTS]``."""
    parser = commands.add_parser(
        "ab",
        help="compare the working tree with a base, both measured in turns in one sitting",
        usage="pytest-joules ab BASE_REF [--pairs N] [--tolerance PCT] [--base-python PATH] [--json FILE] "
        "[-- PYTEST ARGUMENTS]",
        **described(
            "Compare the working tree with a base, both measured in turns in one sitting.\n"
            "Fresh pytest processes of the base, in a temporary git worktree, and of the\n"
            "working tree as it is take turns. Needs no baselines. Everything behind -- goes\n"
            "to pytest.",
            "ab main",
            "ab v1.4 --pairs 8 --tolerance 1% -- tests/energy -k decode",
        ),
    )
    parser.add_argument("base_ref", metavar="BASE_REF", help="commit, branch or tag to compare with")
    parser.add_argument(
        "--pairs", type=int, choices=PAIRS, default=6, metavar="N", help="most pairs of runs: 2, 4, 6 or 8 (default: 6)"
    )
    parser.add_argument(
        "--tolerance",
        type=percentage,
        metavar="PCT",
        help="accepted rise where the budget gives none (default: pytest's --energy-tolerance, 2%%)",
    )
    parser.add_argument(
        "--base-python", metavar="PATH", help="a Python in whose environment the base is installed (compiled projects)"
    )
    add_json(parser, "write the result, with every run's values")
    parser.set_defaults(run=run, takes_pytest=True)


def run(options: argparse.Namespace) -> int:
    """Measure base and working tree in turns, and print how they compare."""
    from pytest_joules.ab import ABError, Plan
    from pytest_joules.ab import run as compare
    from pytest_joules.reporting.ab import report, write_json

    check_place("--json", options.json)
    plan = Plan(
        options.base_ref, options.pairs, options.tolerance, options.base_python, tuple(options.pytest_arguments)
    )
    # Killed politely, it cleans up as it does after Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        comparison = compare(plan, lambda text: print(text, end="", flush=True))
    except ABError as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        raise CommandError("interrupted; the base's worktree is removed") from None
    show(report(comparison))
    if options.json is not None:
        write_json(comparison, options.json)
    return REGRESSED if comparison.failed else FINE
