"""What all commands share: exit codes, their voice, and how they read arguments."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from pytest_joules.files import is_one_of, misplaced, missing
from pytest_joules.options import SETTINGS, percent

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What argparse's ``add_subparsers`` gives; the class has no public name."""

FINE, REGRESSED, USAGE = 0, 1, 2
"""Exit codes: fine, regressed or failed, wrong use or a bad file."""

TOLD_SECONDS = 0.2
"""How often long work says how far it is."""

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
    """One line on standard error, which the runner of a CI reads, too."""
    from pytest_joules.reporting.escape import log

    print(log(f"pytest-joules: {text}"), file=sys.stderr, flush=True)


def show(lines: Iterable[str]) -> None:
    """Lines on standard output; no name in them can act on a terminal or on the runner of a CI."""
    from pytest_joules.reporting.escape import log

    for line in lines:
        print(log(line))


def counting(items: Sequence[T], what: str) -> Iterator[T]:
    """The items; where standard error is a terminal, a line there says how far it is."""
    if not sys.stderr.isatty():
        yield from items
        return
    told = time.monotonic()
    shown = False
    for number, item in enumerate(items):
        if time.monotonic() - told > TOLD_SECONDS:
            told, shown = time.monotonic(), True
            print(f"\r\x1b[K{what}: {number} of {len(items)}", end="", file=sys.stderr, flush=True)
        yield item
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Where standard error is a terminal, a line there says what goes on meanwhile."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def check_place(flag: str, path: Path | None, inputs: Iterable[Path] = ()) -> None:
    """See that a file can be written where ``flag`` wants it, and is none of ``inputs``, before anything is written.

    Raises:
        CommandError: if it cannot.
    """
    if path is None:
        return
    if reason := misplaced(path):
        raise CommandError(f"{flag} {path}: {reason}")
    if is_one_of(path, inputs):
        raise CommandError(f"{flag} {path}: is one of the files that the command reads; name another")


def baseline_files(given: Sequence[Path]) -> list[Path]:
    """The baseline files that were named, and those in the directories that were; without any, in ``./baselines``.

    Raises:
        CommandError: if there are none, or one that was named is missing.
    """
    from pytest_joules.baselines.store import BaselineError, BaselineStore

    usual = Path("baselines")
    found: list[Path] = []
    for path in given or [usual]:
        if not path.is_dir() and path != usual and (fault := missing(path)):
            raise CommandError(f"{path}: {fault}")
        store = BaselineStore(path)
        try:
            found += [path] if path.is_file() else map(store.path, store.skus())
        except BaselineError as error:
            raise CommandError(str(error)) from error
    if not found:
        raise CommandError(f"no baseline file in {given[0] if given else './baselines'}; name one, or record one")
    return found


def typed(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A setting's parser as argparse wants one."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
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


def add_results(parser: argparse.ArgumentParser) -> None:
    """Reports of ``--energy-json``, one or several."""
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULT.json", help="what pytest --energy --energy-json wrote"
    )


def add_only(parser: argparse.ArgumentParser, what: str = "series whose test, window and unit") -> None:
    """The flag that picks series, or what else holds a text."""
    parser.add_argument("-k", dest="only", default="", metavar="TEXT", help=f"only {what} hold TEXT")


def add_settings(parser: argparse.ArgumentParser, *names: str, prefix: str = "--") -> None:
    """Flags of settings that a run of pytest has, too, with the same values; what is not given is ``None``."""
    settings = {setting.name: setting for setting in SETTINGS}
    for setting in (settings[name] for name in names):
        flag, text = f"{prefix}{setting.name.replace('_', '-')}", setting.help.replace("%", "%%")
        if setting.metavar is None:
            parser.add_argument(flag, dest=setting.name, action="store_true", default=None, help=text)
        else:
            parser.add_argument(flag, dest=setting.name, type=typed(setting.parse), metavar=setting.metavar, help=text)


def given_settings(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the settings that were given, by name."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def described(text: str, *examples: str) -> dict[str, Any]:
    """A description and examples, laid out as written."""
    epilog = "\n".join(["examples:", *(f"  pytest-joules {example}" for example in examples)])
    return {
        "description": text,
        "epilog": epilog if examples else None,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }
