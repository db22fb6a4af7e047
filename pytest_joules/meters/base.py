"""What every meter offers, and how it says that it cannot."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pytest_joules.model import Device, Read, Signals, Tick
from pytest_joules.samples import Samples


class MeterError(Exception):
    """Joules cannot be had; the message says why and what to do."""


class NoDevice(MeterError):
    """There is no device to measure, or the one asked for does not exist."""


class PermissionDenied(MeterError):
    """The driver refuses to tell the energy counter to this user."""


class DeviceLost(MeterError):
    """The device disappeared in mid-run."""


class CounterReset(MeterError):
    """The energy counter went backwards."""


class CounterStuck(MeterError):
    """The energy counter stood still."""


def identity_of(uuid: str) -> str:
    """What is kept of a device's UUID: enough to tell devices apart, too little to find one."""
    return hashlib.sha256(uuid.encode()).hexdigest()[:12]


def signals_between(found: Sequence[Signals], since: float, until: float) -> Sequence[Signals]:
    """Those of ``found``, which are in order, from ``since`` to ``until``."""
    return found[bisect_left(found, since, key=_time) : bisect_right(found, until, key=_time)]


def _time(signals: Signals) -> float:
    return signals.time


class Meter(Protocol):
    """Cumulative joules of a set of devices, dated on the meter's own clock.

    Attributes:
        description: What it is, for the report's header.
        devices: The devices that may be measured, in CUDA order.
        simulated: Whether the joules are simulated ones.
        lock_directory: Where the locks live that keep two runs from measuring one device at once;
            ``None`` if the devices are not there to be locked (a replay).
    """

    @property
    def description(self) -> str: ...

    @property
    def devices(self) -> tuple[Device, ...]: ...

    @property
    def simulated(self) -> bool: ...

    @property
    def lock_directory(self) -> Path | None: ...

    def now(self) -> float:
        """Seconds on the clock that everything here is dated on."""

    def sleep(self, seconds: float) -> None:
        """Let that clock advance."""

    def period(self, device: Device) -> float:
        """Seconds between two ticks of ``device``."""

    def reads(self, device: Device) -> Sequence[Read] | None:
        """Every raw read of ``device`` so far; ``None`` from a source that has none to give."""

    def mark(self) -> None:
        """Note that a call has just completed; some meters can only read between calls."""

    def held(self) -> AbstractContextManager[None]:
        """Until the end of the block nothing more becomes known, but by :meth:`sleep`.

        What is decided in it can then be decided again, from a trace of what was known.
        """

    def ticks(self, device: Device, since: float) -> Sequence[Tick]:
        """All ticks of ``device`` from ``since`` until now, oldest first.

        Raises:
            MeterError: if the device's counter has failed.
        """

    def signals(self, device: Device, since: float, until: float) -> Sequence[Signals]:
        """What ``device`` said with its reads in that stretch."""

    def samples(self, device: Device, since: float, until: float) -> Samples:
        """What ``device`` and the host told about once in each of its ticks in that stretch."""

    def processes(self, device: Device) -> Sequence[int] | None:
        """Process ids that compute on ``device``, or ``None`` if that is hidden."""

    def barrier(self) -> float | None:
        """When the work queued so far will have completed, if the meter itself knows."""

    def invalid(self, device: Device) -> str:
        """Why joules of ``device`` cannot be trusted at all (MIG, vGPU); empty if they can."""

    def close(self) -> None:
        """Stop reading."""
