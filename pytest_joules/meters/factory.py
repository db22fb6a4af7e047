"""Opens the meter that the options ask for."""

from __future__ import annotations

import contextlib
import os

from pytest_joules.meters.base import Meter, MeterError, NoDevice
from pytest_joules.meters.replay import ReplayMeter, Trace
from pytest_joules.meters.simulated import SimulatedHost
from pytest_joules.meters.windows import WindowsMeter, old_nvidia_source, zeus_source
from pytest_joules.meters.zeus import NoEnergyCounter, ZeusMeter, simulated_host
from pytest_joules.options import Options


def open_meter(options: Options, stack: contextlib.ExitStack) -> Meter:
    """Open the chosen meter; it closes with ``stack``.

    Raises:
        MeterError: saying why there is nothing to measure and what to do.
    """
    choice = options.meter
    meter: Meter
    if choice.trace is not None:
        meter = ReplayMeter(Trace.read(choice.trace), str(choice.trace))
    elif options.devices == ("cpu",):
        if choice.kind == "simulated":
            raise MeterError("a simulated GPU has no CPU joules; drop --energy-devices cpu")
        meter = WindowsMeter(zeus_source(cpu=True))
    elif choice.kind == "simulated":
        meter = _open_nvidia(simulated_host(choice.sku, dict(choice.settings), stack))
    else:
        meter = _open_real()
    stack.callback(meter.close)
    return meter


def open_counters(options: Options, stack: contextlib.ExitStack) -> ZeusMeter:
    """Open the meter that reads energy counters, and no other in its place; it closes with ``stack``.

    Raises:
        MeterError: saying why there is no energy counter to read.
    """
    choice = options.meter
    if choice.trace is not None:
        raise MeterError("a replay has no counter to read: name a live or a simulated meter")
    host = simulated_host(choice.sku, dict(choice.settings), stack) if choice.kind == "simulated" else None
    meter = ZeusMeter(os.environ, host)
    stack.callback(meter.close)
    return meter


def _open_real() -> Meter:
    try:
        return _open_nvidia(None)
    except NoDevice as missing:
        try:
            return WindowsMeter(zeus_source(cpu=False))
        except NoDevice:
            raise missing from None


def _open_nvidia(simulated: SimulatedHost | None) -> Meter:
    try:
        return ZeusMeter(os.environ, simulated)
    except NoEnergyCounter as old:
        return WindowsMeter(old_nvidia_source(old.gpus))
