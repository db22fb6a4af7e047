"""What stored sessions say about today: at today's temperature, on today's device, in the suite's company."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.history import Circumstances, Drift, Suite, drift, predict, spread
from pytest_joules.model import BaselineKey, Block, Conditions, Session, WindowKind
from pytest_joules.statistics import TEMPERATURE_SLOPE, Spread

NOBODY = Spread(0.0, 0.0)


def session(log: float, celsius: float | None = None, device: str = "a", capped: float = 0.0) -> Session:
    conditions = Conditions(temperature_celsius=celsius, power_cap_share=capped)
    return Session("now", (device,), (Block(math.exp(log), 1.0, 1.0),) * 6, conditions=conditions)


def test_sessions_are_taken_to_todays_temperature() -> None:
    stored = [session(0.0, 40.0), session(10 * TEMPERATURE_SLOPE, 50.0)]
    warm = predict(stored, Circumstances(("a",), 50.0), 0.0, NOBODY)
    assert warm.mean == pytest.approx(10 * TEMPERATURE_SLOPE, rel=0.2)
    # A power cap takes the clock down instead: temperature says little there.
    capped = predict([session(0.0, 40.0, capped=1.0)] * 3, Circumstances(("a",), 50.0, 1.0), 0.0, NOBODY)
    assert 0 < capped.mean < 3 * TEMPERATURE_SLOPE
    unknown = predict([session(0.0), session(0.0, 40.0)], Circumstances(("a",), None), 0.0, NOBODY)
    assert unknown.mean == pytest.approx(0.0)


def test_a_far_temperature_widens_the_prediction() -> None:
    near, far = (
        predict([session(0.0, 40.0)] * 3, Circumstances(("a",), celsius), 0.0, NOBODY) for celsius in (41.0, 70.0)
    )
    assert far.from_sessions.variance > 10 * near.from_sessions.variance


@given(st.floats(-50, 50), st.floats(-0.1, 0.1))
def test_only_differences_of_temperature_count(shift: float, level: float) -> None:
    stored = [session(level, 40.0), session(level + 0.001, 44.0), session(level - 0.001, 47.0)]
    moved = [
        replace(s, conditions=replace(s.conditions, temperature_celsius=s.conditions.temperature_celsius + shift))
        for s in stored
        if s.conditions.temperature_celsius is not None
    ]
    here = predict(stored, Circumstances(("a",), 45.0), 1e-6, NOBODY)
    there = predict(moved, Circumstances(("a",), 45.0 + shift), 1e-6, NOBODY)
    assert there.mean == pytest.approx(here.mean, abs=1e-9)
    assert spread(moved).variance == pytest.approx(spread(stored).variance, rel=1e-6)


def test_temperature_explains_part_of_the_spread() -> None:
    stored = [session(TEMPERATURE_SLOPE * c, 40.0 + c) for c in range(0, 10, 2)]
    assert spread(stored).variance == pytest.approx(0.0, abs=1e-12)
    assert spread([replace(s, conditions=Conditions()) for s in stored]).variance > 1e-5


def numbers(found: Drift) -> tuple[float, float]:
    """Rise and trend; a trend that is not known is none."""
    assert found.rise is not None
    return found.rise, found.trend or 0.0


def test_drift_is_measured_from_the_anchor_or_the_first_session() -> None:
    stored = [session(0.01 * k, 40.0) for k in range(5)]
    assert numbers(drift(stored)) == pytest.approx((math.expm1(0.04), math.expm1(0.01)))
    pinned = [replace(s, anchor=k in (1, 2)) for k, s in enumerate(stored)]
    assert numbers(drift(pinned)) == pytest.approx((math.expm1(0.025), math.expm1(0.01)))
    assert drift(stored[:1]) == Drift()
    assert drift(stored[:2]).rise == pytest.approx(math.expm1(0.01))
    assert drift(stored[:2]).trend is None


def test_drift_is_that_of_the_last_device_and_kind() -> None:
    here = [session(0.0), session(0.01), session(0.02)]
    strangers = [replace(session(0.5, device="b"), anchor=True), replace(session(0.5), kind=WindowKind.ONE_SHOT)]
    assert drift([*strangers, *here]) == drift(here)


@given(
    st.lists(st.tuples(st.floats(-0.1, 0.1), st.booleans()), min_size=3, max_size=20),
    st.floats(20, 80),
    st.floats(-3, 3),
    st.floats(0.01, 100),
)
def test_drift_knows_no_scale_and_no_temperature(
    found: list[tuple[float, bool]], celsius: float, warming: float, scale: float
) -> None:
    stored = [replace(session(log, celsius), anchor=anchor) for log, anchor in found]
    warmer = [
        replace(session(log + math.log(scale) + TEMPERATURE_SLOPE * warming * k, celsius + warming * k), anchor=anchor)
        for k, (log, anchor) in enumerate(found)
    ]
    assert numbers(drift(warmer)) == pytest.approx(numbers(drift(stored)), abs=1e-9)


def test_a_window_is_not_its_own_company() -> None:
    noisy, quiet = [session(0.0), session(0.02)], [session(0.0), session(0.001)]
    suite = Suite(
        {
            BaselineKey("t", "main", "token"): noisy,
            BaselineKey("t", "main", "call"): noisy,
            BaselineKey("u", "main", "token"): quiet,
            BaselineKey("u", "shot", "token"): [replace(s, kind=WindowKind.ONE_SHOT) for s in noisy],
        }
    )

    def without(test: str, kind: WindowKind) -> tuple[object, float]:
        found = suite.without(test, "main", kind)
        return pytest.approx(found.variance), found.df

    assert without("t", WindowKind.REPEATED) == (spread(quiet).variance, spread(quiet).df)
    # Two units of one window are the same joules.
    assert without("u", WindowKind.REPEATED) == (spread(noisy).variance, spread(noisy).df)
    assert without("t", WindowKind.ONE_SHOT) == (spread(noisy).variance, spread(noisy).df)
    assert suite.without("u", "shot", WindowKind.ONE_SHOT) == NOBODY


@given(st.integers(3, 12), st.floats(-0.05, 0.05))
def test_a_trend_without_scatter_is_as_sure_as_sessions_usually_are(count: int, slope: float) -> None:
    found = drift([session(slope * k) for k in range(count)])
    assert found.trend == pytest.approx(math.expm1(slope), abs=1e-9)
    assert found.trend_error is not None
    assert 0 < found.trend_error < 0.02
    longer = drift([session(slope * k) for k in range(count + 1)])
    assert longer.trend_error is not None
    assert longer.trend_error < found.trend_error


@pytest.mark.parametrize("sd", [0.001, 0.003, 0.01, 0.03])
def test_chance_is_seldom_a_trend_and_a_creep_is_one(sd: float) -> None:
    draw = random.Random(7)
    series = [[draw.gauss(0.0, sd) for _ in range(6)] for _ in range(200)]
    moving = sum(drift([session(log) for log in logs]).surely_moves for logs in series)
    assert moving <= 0.04 * len(series)
    creeping = [drift([session(log + 5 * sd * k + 0.01 * k) for k, log in enumerate(logs)]) for logs in series]
    assert sum(found.surely_moves for found in creeping) > 0.9 * len(series)


def test_the_trend_is_counted_from_the_anchor_on() -> None:
    stored = [session(log) for log in (0.0, 0.05, 0.1, 0.1, 0.1)]
    assert drift(stored).trend != pytest.approx(0.0, abs=1e-3)
    pinned = [replace(one, anchor=number == 2) for number, one in enumerate(stored)]
    assert drift(pinned).trend == pytest.approx(0.0, abs=1e-9)
    assert drift([replace(one, anchor=number == 3) for number, one in enumerate(stored)]).trend is None
