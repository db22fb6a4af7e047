"""Which devices a test is charged for: those that its process tree computes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from pytest_joules.meters.base import Meter, MeterError, NoDevice, identity_of
from pytest_joules.model import Device
from pytest_joules.units import plural


@dataclass(frozen=True, slots=True)
class Attribution:
    """The devices charged, why, and who else was seen on them.

    Attributes:
        devices: The devices whose joules are summed.
        note: What a reader must know about the choice; empty if nothing.
        foreign: Processes outside the test's tree on those devices, as text; empty if none.
    """

    devices: tuple[Device, ...]
    note: str = ""
    foreign: str = ""


def attribute(meter: Meter, wanted: Sequence[str] | None, roots: Sequence[int] = ()) -> Attribution:
    """Choose the devices for work that is running now.

    Args:
        meter: Whose devices are chosen from.
        wanted: Explicit CUDA indices or UUIDs, which win; ``None`` to find out.
        roots: Processes whose trees do the work, such as a server's; the test's own tree if there are none.
            That one is never foreign.

    Raises:
        MeterError: if a wanted device does not exist, or is named twice.
    """
    if wanted is not None:
        chosen = chosen_devices(meter, wanted)
        return Attribution(chosen, foreign=_foreign(meter, chosen, roots))
    listed = {device: meter.processes(device) for device in meter.devices}
    charged = roots or (_tree_root(),)
    ours = tuple(device for device, pids in listed.items() if any(_is_below(charged, pid) for pid in pids or ()))
    if ours:
        return Attribution(ours, foreign=_foreign(meter, ours, roots))
    seen = all(pids is not None and all(psutil.pid_exists(pid) for pid in pids) for pids in listed.values())
    whose = "the server" if roots else "this test"
    why = f"no process of {whose} computes on" if seen else "the driver hides which processes compute on"
    if len(meter.devices) > 1:
        note = f"{why} a GPU: all {len(meter.devices)} visible devices are charged"
    elif seen and not meter.simulated:
        note = f"{why} GPU {meter.devices[0].index}, which is charged all the same: its joules may be idle ones"
    else:
        # The only device can be nobody else's; the simulated one stands for its host, too.
        note = ""
    return Attribution(meter.devices, note, _foreign(meter, meter.devices, roots))


def chosen_devices(meter: Meter, wanted: Sequence[str]) -> tuple[Device, ...]:
    """The devices that ``wanted`` names, by CUDA index or UUID; ``cpu`` for all of a meter of CPU joules.

    Raises:
        MeterError: if one does not exist, or is named twice.
    """
    if tuple(wanted) == ("cpu",) and all(device.scope == "cpu" for device in meter.devices):
        return meter.devices
    chosen = tuple(_named(meter, name) for name in wanted)
    for name, device in zip(wanted, chosen, strict=True):
        if chosen.count(device) > 1:
            raise MeterError(f"device {name!r} is named twice, as GPU {device.index}: its joules would count double")
    return chosen


def _named(meter: Meter, name: str) -> Device:
    if name.isdecimal() and int(name) < len(meter.devices):
        return meter.devices[int(name)]
    for device in meter.devices:
        if device.identity == identity_of(name):
            return device
    raise NoDevice(f"device {name!r} does not exist: CUDA shows {plural(len(meter.devices), 'device')}, counted from 0")


def _foreign(meter: Meter, devices: Sequence[Device], roots: Sequence[int]) -> str:
    own = (*roots, _tree_root())
    found = [
        f"process {pid} ({_command(pid)}) on GPU {device.index}"
        for device in devices
        for pid in meter.processes(device) or ()
        if psutil.pid_exists(pid) and not _is_below(own, pid)
    ]
    return ", ".join(found)


def _is_below(roots: Sequence[int], pid: int) -> bool:
    """Whether ``pid`` is one of ``roots`` or a process below one."""
    try:
        process = psutil.Process(pid)
        return not {pid, *(parent.pid for parent in process.parents())}.isdisjoint(roots)
    except psutil.Error:
        return False


def _tree_root() -> int:
    """This process; under pytest-xdist the one whose run it belongs to."""
    # The workers of one pytest-xdist run are children of one controller.
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def _command(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "unknown"
