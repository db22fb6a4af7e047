"""Locks that keep two runs from measuring one device at once."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_joules.meters.base import Meter, MeterError
from pytest_joules.model import Device

PATIENCE_SECONDS = 1800.0
"""How long a run waits for a device that another run measures."""


@contextlib.contextmanager
def devices_locked(meter: Meter, say: Callable[[str], None], patience: float = PATIENCE_SECONDS) -> Generator[None]:
    """Hold every device of ``meter``; wait, and say for whom, while another run holds one.

    Devices are locked in one order by everybody, so that no two runs can wait for each other.

    Devices that are not there (a replay's) are not locked.

    Raises:
        MeterError: if a device is not free within ``patience`` seconds; it says who holds it.
    """
    with contextlib.ExitStack() as stack:
        for device in sorted(meter.devices, key=lambda device: device.identity):
            if meter.lock_directory is not None:
                stack.enter_context(_locked(meter.lock_directory, device, say, patience))
        yield


@contextlib.contextmanager
def _locked(directory: Path, device: Device, say: Callable[[str], None], patience: float) -> Generator[None]:
    path = directory / f"pytest-joules-{device.identity}.lock"
    holder = path.with_suffix(".holder")
    lock = FileLock(path, mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = f"{device.name} (GPU {device.index}) is being measured by {_holder(holder)}"
        say(f"{who}; waiting")
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise MeterError(f"{who}; it was not free within {patience:g} s") from None
    try:
        with contextlib.suppress(OSError):
            holder.write_text(json.dumps({"pid": os.getpid(), "since": time.strftime("%H:%M:%S")}))
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def _holder(path: Path) -> str:
    try:
        told = json.loads(path.read_text())
        return f"process {told['pid']}, since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another pytest run"
