"""What all commands share: exit codes, their voice, and how they read arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from pytest_joules.files import misplaced
from pytest_joules.options import OptionError, percent

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What argparse's ``add_subparsers`` gives; the class has no public name."""

FINE, REGRESSED, USAGE = 0, 1, 2
"""Exit codes: fine, regressed or failed, wrong use or a bad file."""

T = TypeVar("T")


class Command(Protocol):
    """A module of this package that is a command."""

    __name__: str

    def add(self, commands: Commands) -> None:
        """Add the command's parser; its defaults name ``run``, and ``takes_pytest`` if it passes arguments on."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; returns an exit code.  What stood behind ``--`` is in ``options.pytest_arguments``."""


class CommandError(Exception):
    """A command that cannot be done as asked: the message is one line that names what is at fault, and the fix."""


def say(text: str) -> None:
    """One line on standard error."""
    print(f"pytest-joules: {text}", file=sys.stderr, flush=True)


def check_place(flag: str, path: Path | None) -> None:
    """See that a file can be written where ``flag`` wants it, before there is anything to write.

    Raises:
        CommandError: if it cannot.
    """
    if path is not None and (reason := misplaced(path)):
        raise CommandError(f"{flag} {path}: {reason}")


def typed(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A setting's parser as argparse wants one."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except OptionError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


percentage: Callable[[str], float] = typed(percent)
"""Reads ``2%`` or ``2``."""


def positive(text: str) -> int:
    """Read a whole number above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def add_json(parser: argparse.ArgumentParser, help: str) -> None:
    """The flag that writes a command's result as JSON."""
    parser.add_argument("--json", type=Path, metavar="FILE", help=help)


def described(text: str, *examples: str) -> dict[str, Any]:
    """A description and examples, laid out as written."""
    epilog = "\n".join(["examples:", *(f"  pytest-joules {example}" for example in examples)])
    return {
        "description": text,
        "epilog": epilog if examples else None,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }
