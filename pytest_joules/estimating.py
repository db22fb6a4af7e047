"""What a unit of work ought to cost on a SKU without a baseline, going by another SKU that has one.  Pure functions.

Of every test that both SKUs have stored, the change of log joules per unit from the one to the other is known.  It
differs from test to test, and most with how busy the work keeps a GPU: what hardly fills the smaller one wastes more
of the larger one.  The power that it drew on the other SKU tells that, which every session knows.  So a line is drawn
through the changes over log watts, and read off where the test lies that is stored for the other SKU alone.

The line has a prior, without which three tests would say nothing.  With ``n`` changes ``y`` at log watts ``x``, no
prior on the level, a prior ``Normal(0, SLOPE_SD^2 s^2 / SPREAD_SD^2)`` on the slope and ``scaled inverse chi-squared(
SPREAD_DF, SPREAD_SD^2)`` on the variance ``s^2`` around the line, the change of the next test is distributed as a
Student's t of ``SPREAD_DF + n - 1`` degrees of freedom around the line, with a variance of
``s^2 (1 + 1/n + (x - mean x)^2 / (Sxx + SPREAD_SD^2 / SLOPE_SD^2))``: conjugate Bayesian regression (Gelman et al.,
*Bayesian Data Analysis*, 3rd ed., 2013, sections 14.2 and 14.8).  So a test that draws other watts than all that are
shared has a wide interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_joules.facts import differences
from pytest_joules.history import log_mean, log_seconds
from pytest_joules.model import BaselineKey, Conditions, Expectation, Session
from pytest_joules.statistics import student_quantile

SURE = 0.9
"""How often the interval holds the truth."""

FEWEST_TESTS = 3
"""Of fewer shared tests nobody can tell whether they are alike."""

SPREAD_SD, SPREAD_DF = 0.07, 6.0
"""Prior standard deviation of changes around their line, and the degrees of freedom that it is worth.  Between H100 and
B200, of 364 pairs of the ML.ENERGY leaderboard v3, it was 0.04 to 0.09 in four groups by GPUs and two directions;
variances differ as six degrees of freedom have them differ (``benchmarks/cross_sku.py``)."""

SLOPE_SD = 0.35
"""Prior standard deviation of the slope over log watts, there 0.17 to 0.41 either way.  Its mean is 0: nobody knows
which SKU is the larger one."""

WIDEST = 1.6
"""An interval whose ends lie further apart than this factor is of no use: twice the batch, which is the commonest thing
to be wrong, makes about as much of joules per token (x 0.61 to 0.69 below a batch of 128, leaderboard v3)."""


@dataclass(frozen=True, slots=True)
class Twin:
    """One window that two SKUs have stored.

    Attributes:
        test: What it is stored under.
        change: Log joules per unit here, less those there.
        power: Log watts there.
    """

    test: str
    change: float
    power: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A change of log joules per unit, and half of its interval."""

    change: float
    half: float


def twins(
    here: Mapping[BaselineKey, Sequence[Session]], there: Mapping[BaselineKey, Sequence[Session]]
) -> tuple[Twin, ...]:
    """The windows that both SKUs have stored, and in which they did the same work.

    Each window counts once, whatever it is divided by: its units are counts of the same joules.
    """
    found: dict[tuple[str, str], Twin] = {}
    for key in here:
        window = (key.test, key.window)
        if window in found or key not in there:
            continue
        mine, theirs = here[key], there[key]
        if mine[-1].kind is theirs[-1].kind and same_work(mine[-1].conditions, theirs):
            level = _level(theirs)
            found[window] = Twin(key.test, _level(mine) - level, level - _log_seconds(theirs))
    return tuple(found.values())


def same_work(today: Conditions, stored: Sequence[Session]) -> bool:
    """Whether the facts that both sides know say that it is the same work."""
    known = [session.conditions for session in stored]
    found = differences(
        today.facts, [conditions.facts for conditions in known],
        today.configuration, [conditions.configuration for conditions in known],
    )  # fmt: skip
    return not found.other_work


def expectation(sku: str, stored: Sequence[Session], shared: Sequence[Twin]) -> Expectation | None:
    """What a window ought to cost here; ``None`` if that cannot be told well enough to be of use.

    Args:
        sku: The other SKU.
        stored: The window's sessions there, at least one.
        shared: What both SKUs have stored.
    """
    tests = len({twin.test for twin in shared})
    if tests < FEWEST_TESTS:
        return None
    level = _level(stored)
    found = predict(shared, level - _log_seconds(stored))
    if 2 * found.half > math.log(WIDEST):
        return None
    middle = level + found.change
    low, high = math.exp(middle - found.half), math.exp(middle + found.half)
    return Expectation(math.exp(middle), low, high, sku, tests)


def predict(shared: Sequence[Twin], power: float) -> Prediction:
    """The change of a window that drew ``power`` (log watts) on the other SKU, through at least one that is shared."""
    count = len(shared)
    center, level = fmean(twin.power for twin in shared), fmean(twin.change for twin in shared)
    points = [(twin.power - center, twin.change - level) for twin in shared]
    leverage = math.fsum(x * x for x, _ in points) + (SPREAD_SD / SLOPE_SD) ** 2
    slope = math.fsum(x * y for x, y in points) / leverage
    squares = math.fsum(y * y for _, y in points) - slope * slope * leverage
    df = SPREAD_DF + count - 1
    variance = (SPREAD_DF * SPREAD_SD**2 + squares) / df
    away = power - center
    error = math.sqrt(variance * (1 + 1 / count + away * away / leverage))
    return Prediction(level + slope * away, student_quantile(df, (1 + SURE) / 2) * error)


def _level(sessions: Sequence[Session]) -> float:
    """Log joules per unit."""
    return fmean(log_mean(session.blocks) for session in sessions)


def _log_seconds(sessions: Sequence[Session]) -> float:
    return fmean(log_seconds(session.blocks) for session in sessions)
