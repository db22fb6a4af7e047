"""The ``pytest-joules`` command: puts the commands together."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from pytest_joules.commands import (
    ab,
    accept,
    compare,
    doctor,
    explain,
    frontier,
    imports,
    merge,
    prune,
    record,
    rename,
    report,
    show,
)
from pytest_joules.commands.shared import USAGE, Command, CommandError, say

COMMANDS: tuple[Command, ...] = (
    record,
    compare,
    accept,
    merge,
    ab,
    show,
    prune,
    rename,
    report,
    explain,
    frontier,
    imports,
    doctor,
)
"""In the order in which ``--help`` lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 fine, 1 regressed or failed, 2 usage or a bad file."""
    parser = _parser()
    own, passed_on = _split(list(sys.argv[1:] if arguments is None else arguments))
    options = parser.parse_args(own, argparse.Namespace(pytest_arguments=passed_on))
    if passed_on and not options.takes_pytest:
        parser.error(f"{options.command} takes no pytest arguments: {' '.join(passed_on)}")
    try:
        code: int = options.run(options)
    except CommandError as error:
        say(str(error))
        return USAGE
    except BrokenPipeError:
        # Who reads the output has seen enough; what is still held back has nowhere to go when Python ends, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-joules",
        description="Baselines of GPU joules per unit of work, for pytest --energy.",
        epilog="doctor, record and ab measure on a GPU; the others need files alone. Each has --help.",
    )
    parser.add_argument("--version", action="version", version=f"pytest-joules {version('pytest-joules')}")
    parser.set_defaults(takes_pytest=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
