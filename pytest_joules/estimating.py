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

Instances of one parametrized test resemble each other, and tell less than as many tests.  Each of ``k`` has the weight
``1 / (1 + (k - 1) ALIKE)``, in ``n`` as in all sums (Kish, *Survey Sampling*, 1965, section 5.4).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_joules.facts import differences
from pytest_joules.history import log_mean, log_seconds
from pytest_joules.model import BaselineKey, Expectation, Measurement, Session
from pytest_joules.statistics import student_quantile

SURE = 0.9
"""How often the interval holds the truth."""

FEWEST_TESTS = 3
"""Of fewer shared tests nobody can tell whether they are alike."""

MOST_WINDOWS = 200
"""Shared windows that are looked at, evenly over all: more narrow no interval by a percent, and take their time."""

SPREAD_SD, SPREAD_DF = 0.065, 5.0
"""Prior standard deviation of changes around their line, and the degrees of freedom that it is worth.  364 pairs of
H100 and B200 on the ML.ENERGY leaderboard v3 had 0.04 to 0.09, by the number of GPUs and by direction, and variances
that differ like those of five degrees of freedom (``benchmarks/cross_sku.py``)."""

SLOPE_SD = 0.33
"""Prior standard deviation of the slope over log watts, there 0.17 to 0.41 to either side.  Its mean is 0: nobody knows
which SKU is the larger one."""

ALIKE = 0.4
"""Correlation between what the line leaves of two instances of one test; there 0.37, of two batches of one model."""

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

    @property
    def function(self) -> str:
        """The test without its parameters."""
        return self.test.partition("[")[0]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A change of log joules per unit, and half of its interval."""

    change: float
    half: float


def twins(
    here: Mapping[BaselineKey, Sequence[Session]], there: Mapping[BaselineKey, Sequence[Session]]
) -> tuple[Twin, ...]:
    """The windows that both SKUs have stored alike.

    Each window counts once, whatever it is divided by: its units are counts of the same joules.
    """
    shared = list({(key.test, key.window): key for key in here if key in there}.values())
    looked_at = shared[:: math.ceil(len(shared) / MOST_WINDOWS) or 1]
    both = [(key.test, here[key], there[key]) for key in looked_at]
    return tuple([_twin(test, mine, theirs) for test, mine, theirs in both if alike(mine[-1], theirs)])


def _twin(test: str, here: Sequence[Session], there: Sequence[Session]) -> Twin:
    level = _level(there)
    return Twin(test, _level(here) - level, level - _log_seconds(there))


def alike(one: Measurement | Session, others: Sequence[Session]) -> bool:
    """Whether a window was measured in one way on two SKUs, on as many devices, and did the same work.

    How many devices share the work makes more of a difference than what they are (``benchmarks/cross_sku.py``).
    """
    last, known = others[-1], [session.conditions for session in others]
    if one.kind is not last.kind or len(one.devices) != len(last.devices):
        return False
    found = differences(
        one.conditions.facts, [conditions.facts for conditions in known],
        one.conditions.configuration, [conditions.configuration for conditions in known],
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
    instances = Counter(twin.function for twin in shared)
    weights = [1 / (1 + (instances[twin.function] - 1) * ALIKE) for twin in shared]
    count = math.fsum(weights)
    center = _sum(weights, [twin.power for twin in shared]) / count
    level = _sum(weights, [twin.change for twin in shared]) / count
    points = [(twin.power - center, twin.change - level) for twin in shared]
    leverage = _sum(weights, [x * x for x, _ in points]) + (SPREAD_SD / SLOPE_SD) ** 2
    slope = _sum(weights, [x * y for x, y in points]) / leverage
    squares = _sum(weights, [y * y for _, y in points]) - slope * slope * leverage
    df = SPREAD_DF + count - 1
    variance = (SPREAD_DF * SPREAD_SD**2 + squares) / df
    away = power - center
    error = math.sqrt(variance * (1 + 1 / count + away * away / leverage))
    return Prediction(level + slope * away, student_quantile(df, (1 + SURE) / 2) * error)


def _sum(weights: Sequence[float], values: Sequence[float]) -> float:
    return math.fsum([weight * value for weight, value in zip(weights, values, strict=True)])


def _level(sessions: Sequence[Session]) -> float:
    """Log joules per unit."""
    return fmean(log_mean(session.blocks) for session in sessions)


def _log_seconds(sessions: Sequence[Session]) -> float:
    return fmean(log_seconds(session.blocks) for session in sessions)
