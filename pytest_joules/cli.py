"""The ``pytest-joules`` command."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pytest_joules.files import misplaced
from pytest_joules.options import SETTINGS, OptionError, Options, Setting, percent
from pytest_joules.units import utc_now

FINE, REGRESSED, USAGE = 0, 1, 2

PAIRS = (2, 4, 6, 8)
"""What ``pytest_joules.pairing.LOOKS`` allows; that module would make every ``--help`` load scipy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 fine, 1 regressed or failed, 2 usage or a bad file."""
    parser = _parser()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    arguments, passed_on = _split(arguments)
    options = parser.parse_args(arguments)
    if options.command == "record":
        return record(options.sessions, options.anchor, passed_on)
    if options.command == "ab":
        return ab(options, passed_on)
    if passed_on:
        parser.error(f"{options.command} takes no pytest arguments: {' '.join(passed_on)}")
    if options.command == "doctor":
        return doctor(Options(enabled=True, meter=options.meter, devices=options.devices), options.strict, options.json)
    if options.command == "explain":
        return explain(options.before, options.after, options.only, options.json)
    return show(options.files)


def say(text: str) -> None:
    """One line on standard error."""
    print(f"pytest-joules: {text}", file=sys.stderr, flush=True)


def record(sessions: int, anchor: bool, pytest_arguments: Sequence[str]) -> int:
    """Run pytest ``sessions`` times in fresh processes, each adding one session, pinned or not, to the baselines."""
    # The first process drops the older pins, and the others leave those of this command alone.
    pin = [f"--energy-anchor={utc_now()}"] if anchor else []
    command = [sys.executable, "-m", "pytest", "--energy", "--energy-update", *pin, *pytest_arguments]
    for number in range(1, sessions + 1):
        print(f"pytest-joules: session {number} of {sessions}: {' '.join(command[1:])}", flush=True)
        code = subprocess.run(command, check=False).returncode
        if code:
            say(f"session {number} failed with exit code {code}; {number - 1} stored")
            return REGRESSED if code == 1 else USAGE
    print(f"pytest-joules: {sessions} session(s) stored{' as the anchor' if anchor else ''}")
    return FINE


def show(files: Sequence[Path]) -> int:
    """Print baseline files as tables."""
    from pytest_joules.baselines.store import BaselineError, BaselineStore
    from pytest_joules.reporting.baselines import baseline_table

    found = list(files) or sorted(Path("baselines").glob("*.json"))
    if not found:
        say("no baseline file in ./baselines; name one, or record one")
        return USAGE
    for path in found:
        try:
            if not path.is_file():
                raise BaselineError(f"{path}: there is no such file")
            print(baseline_table(BaselineStore(path.parent).load(path.stem)), end="\n\n")
        except BaselineError as error:
            say(str(error))
            return USAGE
    return FINE


def explain(before: str, after: str, only: str, json: Path | None) -> int:
    """Print why the joules of two runs or stored sessions differ."""
    from pytest_joules.explaining import RunError, explain_sides, read_side
    from pytest_joules.reporting.explaining import report, write_json

    if json is not None and (reason := misplaced(json)):
        say(f"--json {json}: {reason}")
        return USAGE
    try:
        explanation = explain_sides(read_side(before).only(only), read_side(after).only(only))
    except RunError as error:
        say(str(error))
        return USAGE
    print(*report(explanation), sep="\n")
    if json is not None:
        write_json(explanation, json)
    return FINE


def doctor(options: Options, strict: bool, json: Path | None) -> int:
    """Examine the devices and print what was found; keep what later runs need of real ones."""
    from pytest_joules import doctor as room
    from pytest_joules.codec import encode
    from pytest_joules.locks import devices_locked
    from pytest_joules.meters.base import MeterError
    from pytest_joules.meters.factory import open_counters
    from pytest_joules.profiles import ProfileError, Profiles
    from pytest_joules.reporting.doctor import doctor_table
    from pytest_joules.reporting.json import SCHEMA_VERSION, write_data
    from pytest_joules.workloads.load import load_for

    if json is not None and (reason := misplaced(json)):
        say(f"--json {json}: {reason}")
        return USAGE
    try:
        with contextlib.ExitStack() as stack:
            meter = open_counters(options, stack)
            stack.enter_context(devices_locked(meter, say))
            devices = room.chosen_devices(meter, options.devices)
            report = room.diagnose(meter, devices, lambda device: load_for(meter, device), say)
        if json is not None:
            write_data({"schema": SCHEMA_VERSION, **encode(report)}, json)
    except (MeterError, OSError) as error:
        say(str(error))
        return USAGE
    print(doctor_table(report))
    for examination in report.examinations:
        # A simulated device is another one tomorrow.
        if not examination.device.simulated:
            try:
                print(f"kept for later runs: {Profiles.at(os.environ).save(examination.profile)}")
            except ProfileError as error:
                say(str(error))
    wrong = (room.Health.BAD, room.Health.WARN) if strict else (room.Health.BAD,)
    return REGRESSED if any(e.count(health) for e in report.examinations for health in wrong) else FINE


def ab(options: argparse.Namespace, pytest_arguments: Sequence[str]) -> int:
    """Compare the working tree with a base, measured in turns in one sitting."""
    from pytest_joules.ab import ABError, Plan, run
    from pytest_joules.reporting.ab import report, write_json

    if options.json is not None and (reason := misplaced(options.json)):
        say(f"--json {options.json}: {reason}")
        return USAGE
    plan = Plan(options.base_ref, options.pairs, options.tolerance, options.base_python, tuple(pytest_arguments))
    # Killed politely, it cleans up as it does after Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        comparison = run(plan, lambda text: print(text, end="", flush=True))
    except ABError as error:
        say(str(error))
        return USAGE
    except KeyboardInterrupt:
        say("interrupted; the base's worktree is removed")
        return USAGE
    print(*report(comparison), sep="\n")
    if options.json is not None:
        write_json(comparison, options.json)
    return REGRESSED if comparison.failed else FINE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-joules", description="Baselines of GPU joules per unit of work, for pytest --energy."
    )
    parser.add_argument("--version", action="version", version=f"pytest-joules {version('pytest-joules')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    recording = commands.add_parser(
        "record",
        help="run pytest in fresh processes, each adding one session to the baselines",
        usage="pytest-joules record [--sessions N] [--anchor] [-- PYTEST ARGUMENTS]",
        description="Three sessions or more let the baseline know its own spread. Everything behind -- goes to pytest.",
    )
    recording.add_argument("--sessions", type=_positive, default=3, metavar="N", help="how many (default: 3)")
    recording.add_argument(
        "--anchor", action="store_true", help="pin these sessions as what slow creep is measured from, not older ones"
    )
    comparing = commands.add_parser(
        "ab",
        help="compare the working tree with a base, both measured in turns in one sitting",
        usage="pytest-joules ab BASE_REF [--pairs N] [--tolerance PCT] [--base-python PATH] [--json FILE] "
        "[-- PYTEST ARGUMENTS]",
        description="Fresh pytest processes of the base, in a temporary git worktree, and of the working tree as it is "
        "take turns. Needs no baselines. Everything behind -- goes to pytest.",
    )
    comparing.add_argument("base_ref", metavar="BASE_REF", help="commit, branch or tag to compare with")
    comparing.add_argument(
        "--pairs", type=int, choices=PAIRS, default=6, metavar="N", help="most pairs of runs: 2, 4, 6 or 8 (default: 6)"
    )
    comparing.add_argument(
        "--tolerance",
        type=_percent,
        metavar="PCT",
        help="accepted rise where the budget gives none (default: pytest's --energy-tolerance, 2%%)",
    )
    comparing.add_argument(
        "--base-python", metavar="PATH", help="a Python in whose environment the base is installed (compiled projects)"
    )
    comparing.add_argument("--json", type=Path, metavar="FILE", help="write the result, with every run's values")
    showing = commands.add_parser("show", help="print baseline files as tables")
    showing.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: every file in ./baselines")
    explaining = commands.add_parser(
        "explain",
        help="say why the joules of two runs or stored sessions differ",
        usage="pytest-joules explain BEFORE AFTER [-k TEXT] [--json FILE]",
        description="Each of the two is a JSON report (pytest --energy --energy-json) or a baseline file, all of whose "
        "sessions count; FILE@SESSION takes those of one time or commit, by its beginning. Series are matched by test, "
        "window and unit; where each side has just one, they are matched whatever they are called.",
    )
    explaining.add_argument("before", metavar="BEFORE", help="report, baseline file, or baseline file@session")
    explaining.add_argument("after", metavar="AFTER", help="what to explain against it")
    explaining.add_argument(
        "-k", dest="only", default="", metavar="TEXT", help="only series whose test, window and unit hold TEXT"
    )
    explaining.add_argument("--json", type=Path, metavar="FILE", help="write the diagnoses as JSON")
    examining = commands.add_parser(
        "doctor",
        help="examine the power sensor and the state of each GPU, about 7 s a device",
        description="Puts a short load on each GPU and looks at it. Changes no setting. "
        "Exit codes: 0 fine, 1 something is bad (or a warning, under --strict), 2 wrong use or no device.",
    )
    for setting in SETTINGS:
        if setting.name in ("meter", "devices"):
            examining.add_argument(
                setting.flag,
                dest=setting.name,
                type=_typed(setting),
                default=getattr(Options(), setting.name),
                metavar=setting.metavar,
                help=setting.help,
            )
    examining.add_argument("--strict", action="store_true", help="let a warning, too, give exit code 1")
    examining.add_argument("--json", type=Path, metavar="FILE", help="write what was found as JSON")
    return parser


def _typed(setting: Setting) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return setting.parse(text)
        except OptionError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def _percent(text: str) -> float:
    try:
        return percent(text)
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
