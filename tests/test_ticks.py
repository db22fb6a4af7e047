"""The tick grid from reads that only bracket it, and blocks of whole ticks on it."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_joules.meters.ticks import Bracket, GridTracker, TickGrid, TickTracker, fit_grid
from pytest_joules.model import Read, Tick
from pytest_joules.sampling import CallLog, whole_tick_blocks
from pytest_joules.workloads.work import Work

READ = 0.003
READ_AFTER_EDGE = 0.015


class Counter:
    """A counter that ticks, and costs time to read."""

    def __init__(self, period: float, phase: float, watts: float = 500.0) -> None:
        self.period = period
        self.phase = phase
        self.watts = watts
        self.now = phase + 1000 * period + 0.0123

    def true_edge(self, time: float) -> float:
        return self.phase + math.floor((time - self.phase) / self.period) * self.period

    def read(self) -> Read:
        start = self.now
        late = start - self.true_edge(start) < READ_AFTER_EDGE / 2
        end = start + (READ_AFTER_EDGE if late else READ)
        sampled = start + READ / 2
        self.now = end
        return Read(start, end, self.watts * self.true_edge(sampled))


def follow(counter: Counter, tracker: GridTracker, cells: int) -> None:
    """Read as the reading process does: back to back at first, then mid-cell with a bracket every tenth cell."""
    while tracker.grid is None or tracker.edges_seen < 6:
        tracker.add(counter.read())
        counter.now += 0.001
    for cell in range(cells):
        edge = counter.true_edge(counter.now) + counter.period
        if cell % 10 == 9:
            counter.now = max(counter.now, edge - 0.008)
            while not tracker.add(counter.read()) and counter.now < edge + 0.02:
                pass
        counter.now = max(counter.now, edge + counter.period / 2)
        tracker.add(counter.read())


@settings(max_examples=40)
@given(st.sampled_from([0.1, 0.098, 0.05]), st.floats(0, 1), st.integers(100, 1500))
def test_period_and_phase_are_found_and_kept(period: float, offset: float, cells: int) -> None:
    counter = Counter(period, offset)
    tracker = TickTracker()
    follow(counter, tracker, cells)
    grid = tracker.grid
    assert grid is not None
    assert grid.period == pytest.approx(period, rel=1e-6)
    away = (grid.phase - counter.phase + period / 2) % period - period / 2
    assert abs(away) <= grid.error + 1e-6
    assert grid.error < 0.012


@pytest.mark.parametrize("outlier", [-0.03, 0.021])
def test_an_outlier_does_not_move_the_grid(outlier: float) -> None:
    brackets = [Bracket(0.1 * k - 0.004, 0.1 * k + 0.005) for k in range(12)]
    brackets[5] = Bracket(0.5 + outlier - 0.002, 0.5 + outlier + 0.002)
    grid = fit_grid(brackets)
    assert grid is not None
    assert grid.period == pytest.approx(0.1)
    assert abs((grid.phase + 0.05) % 0.1 - 0.05) < 0.005


def test_too_few_or_contradicting_brackets_give_no_grid() -> None:
    assert fit_grid([Bracket(0.0, 0.01)] * 2) is None
    rng = random.Random(1)
    scattered = [Bracket(t, t + 0.001) for t in sorted(rng.uniform(0, 10) for _ in range(30))]
    assert fit_grid(scattered) is None


@pytest.mark.parametrize("missed", [2, 3])
def test_missed_edges_do_not_make_the_period_a_multiple(missed: int) -> None:
    """A busy host lets the reading process bracket only every second or third edge."""
    counter = Counter(0.1, 0.0)
    tracker = TickTracker()
    for cell in range(8 * missed):
        edge = counter.true_edge(counter.now) + 0.1
        counter.now = edge - 0.04
        tracker.add(counter.read())
        if cell % missed == 0:
            counter.now = edge - 0.004
            tracker.add(counter.read())
            tracker.add(counter.read())
            tracker.add(counter.read())
        counter.now = edge + 0.03
        tracker.add(counter.read())
    assert tracker.grid is not None
    assert tracker.grid.period == pytest.approx(0.1)


class Starved(Counter):
    """A counter whose reader is held up now and then, before, between and after sampling and answering."""

    def __init__(self, random: random.Random) -> None:
        super().__init__(0.1, random.random())
        self.random = random

    def held_up(self) -> float:
        return self.random.expovariate(1 / 0.01) if self.random.random() < 0.3 else 0.0

    def read(self) -> Read:
        start = self.now
        self.now += self.held_up()
        answered = super().read()
        end = answered.end + self.held_up()
        self.now = end + self.held_up()
        return Read(start, end, answered.joules)


@pytest.mark.parametrize("seed", range(40))
def test_a_starved_reader_finds_no_wrong_grid(seed: int) -> None:
    counter, tracker = Starved(random.Random(seed)), TickTracker()
    follow(counter, tracker, 30)
    assert tracker.grid is not None
    assert tracker.grid.period == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("wrong", [0.05, 0.048])
def test_a_grid_that_edges_contradict_is_searched_anew(wrong: float) -> None:
    counter, tracker = Counter(0.1, 0.03), TickTracker()
    follow(counter, tracker, 5)
    tracker.grid = TickGrid(wrong, 0.0, 0.001)
    for _ in range(60):
        # In the middle of the cells of the grid that it takes for right.
        tracker.add(counter.read())
        counter.now += wrong - READ
        if tracker.edges_seen < 6:
            follow(counter, tracker, 20)
    assert tracker.grid.period == 0.1


def test_wide_brackets_are_passed_over() -> None:
    tracker = GridTracker()
    tracker.add(Read(0.0, 0.003, 1.0))
    assert not tracker.add(Read(0.038, 0.041, 2.0))
    assert tracker.edges_seen == 0


def test_every_dated_tick_has_its_exact_joules() -> None:
    counter = Counter(0.1, 0.031)
    tracker = TickTracker()
    follow(counter, tracker, 300)
    ticks = tracker.ticks(0.0)
    assert len(ticks) > 250
    for tick in ticks:
        assert tick.joules == pytest.approx(500 * counter.true_edge(tick.time + 0.02))
    assert all(b.time > a.time for a, b in itertools.pairwise(ticks))
    assert tracker.ticks(ticks[-3].time) == ticks[-3:]


def test_a_cell_without_a_read_and_a_straddling_read_are_left_out() -> None:
    counter = Counter(0.1, 0.0)
    tracker = TickTracker()
    follow(counter, tracker, 30)
    known = tracker.ticks(0.0)[-1]
    counter.now = known.time + 0.45
    tracker.add(counter.read())
    late = tracker.ticks(known.time + 0.01)
    assert [round((tick.time - known.time) / 0.1) for tick in late] == [4]
    tracker.add(Read(known.time + 0.59, known.time + 0.61, 0.0))
    assert len(tracker.ticks(known.time + 0.01)) == 1


def grid_ticks(watts: float, period: float, phase: float, count: int) -> list[Tick]:
    return [Tick(phase + k * period, watts * (phase + k * period)) for k in range(count)]


@given(st.floats(0.0005, 0.45), st.floats(0, 0.099), st.integers(1, 10))
def test_constant_power_gives_exact_joules_whatever_the_phase(call: float, phase: float, min_ticks: int) -> None:
    log = CallLog(0.0)
    for number in range(1, math.ceil(4.5 / call)):
        log.count(Work({"call": 1.0, "token": 7.0}))
        log.complete(number * call)
    blocks = whole_tick_blocks([grid_ticks(300.0, 0.1, phase, 60)], log, min_ticks)
    assert set(blocks) == {"call", "token"}
    for block in blocks["call"]:
        assert block.joules_per_unit == pytest.approx(300.0 * call)
        assert block.watts == pytest.approx(300.0)
        assert round(block.seconds / 0.1) >= min_ticks
    for block in blocks["token"]:
        assert block.joules_per_unit == pytest.approx(300.0 * call / 7)


def test_long_calls_fill_blocks_whole() -> None:
    """A call of 0.93 s at 700 W, then 200 W: its joules are the same in every block."""

    def joules(time: float) -> float:
        calls, rest = divmod(time, 0.93)
        return calls * (700 * 0.3 + 200 * 0.63) + 700 * min(rest, 0.3) + 200 * max(rest - 0.3, 0.0)

    log = CallLog(0.0)
    for number in range(1, 13):
        log.count(Work({"call": 1.0}))
        log.complete(0.93 * number)
    ticks = [Tick(0.05 + 0.1 * k, joules(0.05 + 0.1 * k)) for k in range(110)]
    blocks = whole_tick_blocks([ticks], log, 5)["call"]
    assert len(blocks) >= 9
    # What is left is the part of a call between its end and the next tick, counted by its time.
    mean = sum(b.joules for b in blocks) / sum(b.units for b in blocks)
    assert mean == pytest.approx(700 * 0.3 + 200 * 0.63, rel=0.01)
    assert all(0.85 < block.units < 1.15 for block in blocks)


def test_two_devices_are_cut_at_their_own_ticks_and_summed() -> None:
    log = CallLog(0.0)
    for number in range(1, 201):
        log.count(Work({"call": 1.0}))
        log.complete(0.02 * number)
    ticks = [grid_ticks(300.0, 0.1, 0.01, 45), grid_ticks(500.0, 0.1, 0.067, 45)]
    for block in whole_tick_blocks(ticks, log, 5)["call"]:
        assert block.joules_per_unit == pytest.approx(800.0 * 0.02)


def test_blocks_are_contiguous_and_skip_no_tick() -> None:
    log = CallLog(0.0)
    for number in range(1, 201):
        log.count(Work({"call": 1.0}))
        log.complete(0.02 * number)
    blocks = whole_tick_blocks([grid_ticks(300.0, 0.1, 0.01, 45)], log, 5)["call"]
    assert sum(block.seconds for block in blocks) == pytest.approx(0.5 * len(blocks))
    assert len(blocks) == 7


def images(made: Iterable[int]) -> CallLog:
    """Calls of 0.1 s; each makes so many images."""
    log = CallLog(0.0)
    for number, count in enumerate(made, start=1):
        log.count(Work({"call": 1.0, "image": float(count)}))
        log.complete(0.1 * number)
    return log


@pytest.mark.parametrize("phases", [(0.01,), (0.01, 0.067)])
@given(made=st.lists(st.integers(0, 2), min_size=1, max_size=60).filter(any), min_ticks=st.integers(1, 7))
def test_a_stretch_without_work_keeps_its_joules(phases: Sequence[float], made: list[int], min_ticks: int) -> None:
    ticks = [grid_ticks(300.0, 0.1, phase, len(made)) for phase in phases]
    blocks = whole_tick_blocks(ticks, images(made), min_ticks)
    assert [(b.joules, b.seconds) for b in blocks["image"]] == [(b.joules, b.seconds) for b in blocks["call"]]
    assert all(block.units > 0 for block in blocks["image"])
    if blocks["call"]:
        # Up to the last place where a block may end, no tick is lost.
        lost = ticks[0][-1].time - ticks[0][0].time - sum(block.seconds for block in blocks["call"])
        assert lost < 0.1 * min_ticks
    for block in blocks["call"]:
        assert block.joules == pytest.approx(300.0 * len(phases) * block.seconds)


def test_a_unit_that_few_calls_produce_is_charged_for_all_of_them() -> None:
    blocks = whole_tick_blocks([grid_ticks(300.0, 0.1, 0.01, 62)], images(([0] * 9 + [1]) * 6), 5)["image"]
    assert [block.units for block in blocks] == pytest.approx([1.0] * 5)
    # The last one has the half second of work that did not come to an image any more.
    assert [block.seconds for block in blocks] == pytest.approx([1.0] * 4 + [1.5])
    assert sum(block.joules for block in blocks) == pytest.approx(300.0 * 5.5)


def test_a_device_whose_ticks_are_late_joins_the_next_block() -> None:
    log = images([1] * 40)
    early, late = grid_ticks(300.0, 0.1, 0.01, 40), grid_ticks(500.0, 0.1, 0.067, 12)
    assert len(whole_tick_blocks([early, late], log, 5)["call"]) == 2
    assert len(whole_tick_blocks([early, []], log, 5)["call"]) == 0
