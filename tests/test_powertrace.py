"""Power over time and stored sessions as columns: bounded, true to the joules, and read back as written."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.codec import CodecError, decode, encode
from pytest_joules.history import history_of
from pytest_joules.meters.base import Meter, MeterError
from pytest_joules.model import Block, Device, History, PowerTrace, Session, Signals, Tick
from pytest_joules.powertrace import MOST_POINTS, power_trace

ONE, TWO = Device(0, "GPU", "a"), Device(1, "GPU", "b")


@dataclass
class Recorded:
    """What a meter has read."""

    read: dict[Device, Sequence[Tick]]
    said: dict[Device, Sequence[Signals]] = field(default_factory=dict)

    def ticks(self, device: Device, since: float) -> Sequence[Tick]:
        return [tick for tick in self.read[device] if tick.time >= since]

    def signals(self, device: Device, since: float, until: float) -> Sequence[Signals]:
        return [signal for signal in self.said.get(device, ()) if since <= signal.time <= until]


def steady(watts: float, count: int, offset: float = 0.0) -> list[Tick]:
    return [Tick(offset + 0.1 * n, watts * 0.1 * n) for n in range(count)]


def test_watts_of_all_devices_are_summed_and_blocks_follow_each_other() -> None:
    said = [Signals(0.15, 40.0, 1900.0), Signals(0.16, 42.0, 1980.0)]
    meter = Recorded({ONE: steady(300, 20), TWO: steady(100, 20, 0.03)}, {ONE: said})
    trace = power_trace(cast("Meter", meter), (ONE, TWO), 0.0, 1.9, 0.5, [Block(1, 1, 0.5), Block(1, 1, 0.4)])
    assert trace is not None
    assert trace.watts == pytest.approx([400.0] * len(trace.watts), abs=0.1)
    assert trace.block_seconds == (0.5, 1.0, 1.4)
    assert trace.sm_clock_mhz[trace.seconds.index(0.2)] == 1940.0
    assert trace.temperature_celsius[trace.seconds.index(0.2)] == 41.0
    assert trace.sm_clock_mhz[-1] is None


@given(st.integers(0, 3000))
def test_a_long_window_has_few_points_and_all_its_joules(count: int) -> None:
    ticks = [Tick(0.1 * n, 30.0 * n + 5.0 * math.sin(n)) for n in range(count)]
    trace = power_trace(cast("Meter", Recorded({ONE: ticks})), (ONE,), 0.0, math.inf, 0.0, [])
    if count < 2:
        assert trace is None
        return
    assert trace is not None
    assert len(trace.watts) == len(trace.seconds) == len(trace.sm_clock_mhz) == min(count - 1, MOST_POINTS)
    spans = [b - a for a, b in zip((0.0, *trace.seconds), trace.seconds, strict=False)]
    joules = sum(watts * span for watts, span in zip(trace.watts, spans, strict=True))
    assert joules == pytest.approx(ticks[-1].joules, rel=1e-3, abs=0.1 * trace.seconds[-1])


def test_a_failed_counter_costs_the_trace_only() -> None:
    class Lost(Recorded):
        def ticks(self, device: Device, since: float) -> Sequence[Tick]:
            raise MeterError("gone")

    assert power_trace(cast("Meter", Lost({})), (ONE,), 0.0, 1.0, 0.0, []) is None


def test_stored_sessions_as_columns() -> None:
    here = Session("2026-01-01T00:00:00+00:00", ("a",), (Block(2.0, 1.0, 1.0), Block(8.0, 1.0, 1.0)), commit="c0ffee")
    there = Session("2026-01-02T00:00:00+00:00", ("b",), (Block(5.0, 1.0, 2.0),), anchor=True)
    found = history_of([here, there], ["a"])
    assert found is not None
    assert found.joules_per_unit == pytest.approx((4.0, 5.0))
    assert found.seconds_per_unit == (1.0, 2.0)
    assert found.spread[1] == 0.0
    assert (found.commits, found.same_devices, found.anchors) == (("c0ffee", None), (True, False), (False, True))
    assert history_of([], ["a"]) is None


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(FINITE, st.one_of(st.none(), FINITE)), max_size=5))
def test_columns_read_back_as_written(rows: list[tuple[float, float | None]]) -> None:
    numbers, gaps = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
    trace = PowerTrace(numbers, numbers, gaps, gaps)
    assert decode(PowerTrace, json.loads(json.dumps(encode(trace)))) == trace


def test_whole_numbers_among_floats_are_floats_and_others_are_named() -> None:
    read = decode(PowerTrace, {"seconds": [1, 2.5], "watts": [], "sm_clock_mhz": [1, None], "temperature_celsius": []})
    assert list(map(type, (*read.seconds, read.sm_clock_mhz[0]))) == [float] * 3
    with pytest.raises(CodecError, match=r"seconds\[1\]: expected float, found 'True'"):
        decode(PowerTrace, {"seconds": [1.0, True], "watts": [], "sm_clock_mhz": [], "temperature_celsius": []})
    with pytest.raises(CodecError, match=r"commits\[0\]: expected str, found '5'"):
        decode(History, {"commits": [5, None]})
