"""``pytest-joules record``: baselines from several fresh processes."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys

from pytest_joules.commands.shared import FINE, REGRESSED, USAGE, CommandError, Commands, described, positive, say
from pytest_joules.options import in_ci
from pytest_joules.units import plural, utc_now


def add(commands: Commands) -> None:
    """``record [--sessions N] [--anchor] [--in-ci] [-- PYTEST ARGUMENTS]``."""
    parser = commands.add_parser(
        "record",
        help="run pytest in fresh processes, each adding one session to the baselines",
        usage="pytest-joules record [--sessions N] [--anchor] [--in-ci] [-- PYTEST ARGUMENTS]",
        **described(
            "Run pytest in fresh processes, each adding one session to the baselines.\n"
            "Three sessions or more let the baseline know its own spread. Everything\n"
            "behind -- goes to pytest.\n"
            "Exit codes: 0 fine, 1 a test failed, 2 wrong use, or pytest did not come to an end.",
            "record",
            "record --sessions 5 -- tests/energy -k decode",
            "record --anchor",
        ),
    )
    parser.add_argument("--sessions", type=positive, default=3, metavar="N", help="how many (default: 3)")
    parser.add_argument(
        "--anchor", action="store_true", help="pin these sessions as what slow creep is measured from, not older ones"
    )
    parser.add_argument(
        "--in-ci", action="store_true", help="write although the environment variable CI is set: a job meant to record"
    )
    parser.set_defaults(run=run, takes_pytest=True)


def run(options: argparse.Namespace) -> int:
    """Run pytest that often, each process storing one session, pinned or not."""
    sessions: int = options.sessions
    if in_ci(os.environ) and not options.in_ci:
        raise CommandError(
            "CI is set, and CI does not write the baselines that it is judged by; where it is meant to, add --in-ci"
        )
    allowed = ["--energy-update-in-ci"] if options.in_ci else []
    # The first process drops the older pins, and the others leave those of this command alone.
    pin = [f"--energy-anchor={utc_now()}"] if options.anchor else []
    # The processes are the repetitions; those of a sweep would not be stored.
    common = [sys.executable, "-m", "pytest", "--energy", "--energy-update", "--energy-sweep-once", *allowed, *pin]
    for number in range(1, sessions + 1):
        # The last one's summary stands for all of them.
        quiet = ["--energy-github=off"] if number < sessions else []
        command = [*common, *quiet, *options.pytest_arguments]
        told = shlex.join(["pytest", "--energy", "--energy-update", *options.pytest_arguments])
        print(f"pytest-joules: session {number} of {sessions}: {told}", flush=True)
        code = subprocess.run(command, check=False).returncode
        if code:
            say(f"session {number} failed with exit code {code}; {number - 1} stored")
            return REGRESSED if code == 1 else USAGE
    print(f"pytest-joules: {plural(sessions, 'session')} stored{' as the anchor' if options.anchor else ''}")
    return FINE
