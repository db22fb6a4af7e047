"""The sampler on reads made by hand: when it ends, and what makes its numbers unusable."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from clockwork import Clockwork
from traces import made_trace, reads_of, steady_trace

from pytest_joules.meters.replay import ReplayMeter
from pytest_joules.model import Device, Measurement, Tick
from pytest_joules.sampling import OneShot, Plan, Sampler, Step
from pytest_joules.workloads.work import Work


def steady(time: float) -> float:
    del time
    return 500.0


def sampled(
    every: float,
    counts: Mapping[str, float],
    max_seconds: float,
    *,
    seconds: float = 60.0,
    watts: Callable[[float], float] = steady,
    warmup: int | None = 1,
) -> Measurement:
    """What is measured of calls of one length, judged never to be enough."""
    meter = ReplayMeter(made_trace(reads_of(watts, seconds), ()), "made")
    meter.seek(1.0)
    plan = Plan("main", (2, 3, 4), max_seconds, warmup=warmup)
    sampler = Sampler(meter, lambda result: meter.now(), plan, lambda measurement: Step.MORE, lambda text: None)
    while sampler.wants_call():
        assert meter.now() + every < seconds, "the sampler does not end"
        meter.seek(meter.now() + every)
        sampler.replayed(meter.now(), {"call": 1.0, **counts})
    sampler.stop("the reads are at an end")
    return sampler.measurement


def test_work_that_never_forms_a_block_ends_soon_after_its_time() -> None:
    # One second before the first call, one call, two seconds, and ten ticks of grace.
    measured = sampled(0.02, {"token": 0.0}, 2.0, seconds=4.2)
    assert measured.invalid == "the work count of 'token' is 0: nothing to divide joules by"


def test_calls_longer_than_the_time_still_fill_two_blocks() -> None:
    measured = sampled(4.0, {"token": 7.0}, 2.0)
    assert measured.invalid == ""
    assert [block.units for block in measured.blocks["token"]] == pytest.approx([7.0, 7.0], rel=0.03)


def test_a_counter_that_stands_still_for_a_moment_of_warm_up_is_not_steady() -> None:
    measured = sampled(0.02, {}, 2.0, watts=lambda time: 0.0 if 1.3 < time < 1.6 else 500.0, warmup=None)
    assert measured.warmup_seconds > 1.0
    assert measured.invalid == ""
    assert measured.joules / measured.seconds == pytest.approx(500.0)


def timed(lengths: Callable[[int], float], seconds: float = 4.0) -> Measurement:
    """What is measured of calls of such lengths, by their number; between two of them 3 ms pass."""
    meter = ReplayMeter(made_trace(reads_of(steady, 60.0), ()), "made")
    meter.seek(1.0)
    plan = Plan("main", (2, 3, 40), seconds, warmup=10)

    def looks(measurement: Measurement) -> Step:
        meter.seek(meter.now() + 0.003)
        return Step.MORE

    sampler = Sampler(meter, lambda result: meter.now(), plan, looks, lambda text: None)
    for number in itertools.count():
        if not sampler.wants_call():
            return sampler.measurement
        meter.seek(meter.now() + lengths(number))
        sampler.called(None, Work({"call": 1.0}))
    raise AssertionError


def test_calls_of_the_blocks_are_timed_without_warm_up_and_looks() -> None:
    measured = timed(lambda number: 1.0 if number < 10 else 0.04 if number % 4 == 0 else 0.02)
    assert measured.calls > 100
    assert measured.latencies == pytest.approx(
        {"call": 0.025, "call_p50": 0.02, "call_p90": 0.04, "call_p95": 0.04, "call_p99": 0.04}, rel=0.01
    )


def test_short_calls_are_completed_together_and_have_a_mean_alone() -> None:
    measured = timed(lambda number: 0.001)
    assert measured.latencies == {"call": pytest.approx(0.001)}


@pytest.mark.parametrize("count", [math.inf, math.nan])
def test_a_shot_of_no_finite_count_is_unusable(count: float) -> None:
    meter = ReplayMeter(steady_trace(), "made")
    shot = OneShot(meter, lambda result: meter.now(), "shot", ("0",))
    meter.seek(7.0)
    shot.settle()
    meter.seek(7.5)
    shot.begin()
    meter.seek(8.5)
    assert "count" in shot.close(Work({"call": 1.0, "token": count})).invalid


class Redated(Clockwork):
    """Its ticks are all dated anew."""

    later = 0.0

    def ticks(self, device: Device, since: float) -> Sequence[Tick]:
        return [replace(tick, time=tick.time + self.later) for tick in super().ticks(device, since - self.later)]


@pytest.mark.parametrize("later", [-0.01, 0.01])
def test_a_shot_stands_though_ticks_are_dated_anew(later: float) -> None:
    meter = Redated()  # whose clock shows a tick
    shot = OneShot(meter, lambda result: meter.now(), "shot", ("0",))
    shot.settle()
    meter.later = later
    shot.begin()
    meter.spend(0.5, 500.0)
    measured = shot.close(Work({"call": 1.0}))
    assert measured.invalid == ""
    assert measured.blocks["call"][0].joules == pytest.approx(250.0, rel=0.02)
