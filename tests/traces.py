"""Traces made by hand: exact reads of a counter whose watts are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_joules.meters.replay import DeviceTrace, Trace, WindowTrace
from pytest_joules.model import Device, MeterInfo, Read, Signals, WindowKind

PERIOD = 0.1
DEVICE = Device(0, "NVIDIA H200", "37f8e0865821", power_limit_watts=700.0, default_power_limit_watts=700.0)


def reads_of(watts: Callable[[float], float], seconds: float) -> list[Read]:
    """Reads as the reading process makes them: one in each cell, the first edges and every tenth bracketed."""
    reads, joules = [], 0.0
    for cell in range(round(seconds / PERIOD)):
        edge = cell * PERIOD
        if cell < 8 or cell % 10 == 0:
            reads.append(Read(edge - 0.004, edge - 0.002, joules))
            reads.append(Read(edge + 0.001, edge + 0.003, joules + watts(edge - PERIOD / 2) * PERIOD))
        joules += watts(edge - PERIOD / 2) * PERIOD
        reads.append(Read(edge + 0.05, edge + 0.053, joules))
    return reads


def made_trace(reads: Sequence[Read], windows: Sequence[WindowTrace], celsius: float = 45.0) -> Trace:
    """A trace of one device."""
    signals = [Signals(read.start, celsius, 1980.0, False, False) for read in reads]
    info = MeterInfo("made by hand", False, (DEVICE,))
    return Trace("2026-01-01T00:00:00+00:00", "0", info, (DeviceTrace.of(reads, signals),), tuple(windows))


def calls(test: str, start: float, end: float, every: float = 0.02, tokens: float = 64.0) -> WindowTrace:
    """Calls of one length, without a gap."""
    count = round((end - start) / every)
    times = tuple(start + every * n for n in range(count + 1))
    totals = {"call": tuple(map(float, range(count + 1))), "token": tuple(tokens * n for n in range(count + 1))}
    return WindowTrace(test, "main", WindowKind.REPEATED, (0,), times, totals)


def steady_trace() -> Trace:
    """Ten seconds at 500 W, with a window of repeated calls and a single shot."""
    shot = WindowTrace("t.py::shot", "shot", WindowKind.ONE_SHOT, (0,), (7.0, 7.5, 8.5), {"token": (0.0, 0.0, 640.0)})
    return made_trace(reads_of(lambda time: 500.0, 10.0), [calls("t.py::step", 1.0, 6.0), shot])
