"""``pytest-joules doctor``: the power sensor and the state of each GPU."""

from __future__ import annotations

import argparse
import contextlib
import os

from pytest_joules.commands.shared import (
    FINE,
    REGRESSED,
    CommandError,
    Commands,
    add_json,
    add_settings,
    check_place,
    described,
    given_settings,
    say,
)
from pytest_joules.options import Options


def add(commands: Commands) -> None:
    """``doctor [--energy-meter METER] [--energy-devices 0,1] [--strict] [--json FILE]``."""
    parser = commands.add_parser(
        "doctor",
        help="examine the power sensor and the state of each GPU, about 7 s a device",
        usage="pytest-joules doctor [--energy-meter METER] [--energy-devices 0,1] [--strict] [--json FILE]",
        **described(
            "Put a short load on each GPU and look at its power sensor and its state.\n"
            "Changes no setting. Exit codes: 0 fine, 1 something is bad (or a warning,\n"
            "under --strict), 2 wrong use or no device.",
            "doctor --strict",
            "doctor --energy-devices 0,1 --json doctor.json",
        ),
    )
    add_settings(parser, "meter", "devices", prefix="--energy-")
    parser.add_argument("--strict", action="store_true", help="let a warning, too, give exit code 1")
    add_json(parser, "write what was found as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
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

    check_place("--json", options.json)
    asked = Options(enabled=True, **given_settings(options, "meter", "devices"))
    try:
        with contextlib.ExitStack() as stack:
            meter = open_counters(asked, stack)
            stack.enter_context(devices_locked(meter, say))
            devices = room.chosen_devices(meter, asked.devices)
            report = room.diagnose(meter, devices, lambda device: load_for(meter, device), say)
        if options.json is not None:
            write_data({"schema": SCHEMA_VERSION, **encode(report)}, options.json)
    except (MeterError, OSError) as error:
        raise CommandError(str(error)) from error
    print(doctor_table(report))
    for examination in report.examinations:
        # A simulated device is another one tomorrow.
        if not examination.device.simulated:
            try:
                print(f"kept for later runs: {Profiles.at(os.environ).save(examination.profile)}")
            except ProfileError as error:
                say(str(error))
    wrong = (room.Health.BAD, room.Health.WARN) if options.strict else (room.Health.BAD,)
    return REGRESSED if any(e.count(health) for e in report.examinations for health in wrong) else FINE
