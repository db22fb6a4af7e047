"""The ``pytest-joules`` command."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pytest_joules.options import SETTINGS, OptionError, Options, Setting

FINE, REGRESSED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 fine, 1 regressed or failed, 2 usage or a bad file."""
    parser = _parser()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    arguments, passed_on = _split(arguments)
    options = parser.parse_args(arguments)
    if options.command == "record":
        return record(options.sessions, passed_on)
    if passed_on:
        parser.error(f"{options.command} takes no pytest arguments: {' '.join(passed_on)}")
    if options.command == "doctor":
        return doctor(Options(enabled=True, meter=options.meter, devices=options.devices), options.strict, options.json)
    return show(options.files)


def record(sessions: int, pytest_arguments: Sequence[str]) -> int:
    """Run pytest ``sessions`` times in fresh processes, each adding one session to the baselines."""
    command = [sys.executable, "-m", "pytest", "--energy", "--energy-update", *pytest_arguments]
    for number in range(1, sessions + 1):
        print(f"pytest-joules: session {number} of {sessions}: {' '.join(command[1:])}", flush=True)
        code = subprocess.run(command, check=False).returncode
        if code:
            print(f"pytest-joules: session {number} failed with exit code {code}; {number - 1} stored", file=sys.stderr)
            return REGRESSED if code == 1 else USAGE
    print(f"pytest-joules: {sessions} session(s) stored")
    return FINE


def show(files: Sequence[Path]) -> int:
    """Print baseline files as tables."""
    from pytest_joules.baselines.store import BaselineError, BaselineStore
    from pytest_joules.reporting.baselines import baseline_table

    found = list(files) or sorted(Path("baselines").glob("*.json"))
    if not found:
        print("pytest-joules: no baseline file in ./baselines; name one, or record one", file=sys.stderr)
        return USAGE
    for path in found:
        try:
            if not path.is_file():
                raise BaselineError(f"{path}: there is no such file")
            print(baseline_table(BaselineStore(path.parent).load(path.stem)), end="\n\n")
        except BaselineError as error:
            print(f"pytest-joules: {error}", file=sys.stderr)
            return USAGE
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

    def say(text: str) -> None:
        print(f"pytest-joules: {text}", file=sys.stderr, flush=True)

    if json is not None and not json.absolute().parent.is_dir():
        say(f"--json {json}: its directory does not exist")
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-joules", description="Baselines of GPU joules per unit of work, for pytest --energy."
    )
    parser.add_argument("--version", action="version", version=f"pytest-joules {version('pytest-joules')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    recording = commands.add_parser(
        "record",
        help="run pytest in fresh processes, each adding one session to the baselines",
        usage="pytest-joules record [--sessions N] [-- PYTEST ARGUMENTS]",
        description="Three sessions or more let the baseline know its own spread. Everything behind -- goes to pytest.",
    )
    recording.add_argument("--sessions", type=_positive, default=3, metavar="N", help="how many (default: 3)")
    showing = commands.add_parser("show", help="print baseline files as tables")
    showing.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: every file in ./baselines")
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


if __name__ == "__main__":
    sys.exit(main())
