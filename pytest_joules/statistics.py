"""Means and variances of log joules per unit; pure functions on numbers.

Everything is in natural logarithms of joules per unit, so that standard
deviations are relative and ratios are differences.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import fmean

import numpy as np
from scipy.special import fdtri, stdtrit

SAME_DEVICE_SD = 0.003
"""Prior standard deviation between sessions on one device.  Nine on each of four H200s gave, at one temperature, 0.0005
to 0.0023 for a decode, 0.0007 to 0.0035 for a capped prefill and 0.0012 to 0.0056 for convolutions
(``benchmarks/acceptance/conditions.py``)."""

OTHER_DEVICE_SD = 0.05
"""Prior standard deviation between devices of one SKU.  H200s differed by up to 10 % in a memory-bound step within one
host and by 12 % between hosts, and by 2 % in a power-capped one: an unseen device is no reference
(``benchmarks/acceptance/conditions.py``)."""

PRIOR_DF = 3.0
"""Degrees of freedom that either of these priors is worth."""

POOL_DF = 12.0
"""Most degrees of freedom that the suite's other windows lend to one of them."""

OUTLYING = 0.975
"""A window whose own spread lies beyond this quantile of what its company's would give stands alone: quiet
neighbours cannot vouch for a noisy window.  Without it a window of 1 % among windows of 0.15 % raised 2.9 % false
alarms, with it 0.9 % (``benchmarks/rule.py --only outlying``)."""

BLOCK_SD = 0.003
BLOCK_PRIOR_DF = 2.0
"""Prior of the spread of blocks within a session: two blocks alone say too little."""

SHOT_SECONDS = 0.002
"""How far the two edges of a single shot put its joules off, in seconds of its own power: shots of 45 ms to 5 s on an
H200 spread by 4.3 %, 0.8 % (0.1 s), 0.5 % (0.2 s) and 0.2 % (0.5 s and longer)."""

HISTORY_DF = 8.0
"""Most degrees of freedom that stored blocks lend to today's: a machine that has become noisy must show."""


TEMPERATURE_SLOPE = 0.0025
TEMPERATURE_SLOPE_SD = 0.001
"""Relative rise of joules per unit with each degree of GPU temperature, and how differently loads take it.
36 sessions on four H200s gave 0.0020 to 0.0037 for a memory-bound load and -0.0010 to 0.0038 for convolutions; as
a covariate it took 38 % and 16 % off the error of predicting other sessions from three
(``benchmarks/acceptance/conditions.py``)."""

CAPPED_SLOPE = 0.2
"""Share of that slope under a power cap, where the clock gives way instead (H200: -0.0006 to 0.0007,
``benchmarks/acceptance/conditions.py``)."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A variance and the degrees of freedom behind it."""

    variance: float
    df: float

    def limited(self, df: float) -> Spread:
        """The same variance, worth no more than ``df``."""
        return Spread(self.variance, min(self.df, df))


def combine(spreads: Iterable[Spread]) -> Spread:
    """The pooled variance: the mean weighted by degrees of freedom."""
    known = [spread for spread in spreads if spread.df > 0]
    df = sum([spread.df for spread in known])
    if df == 0:
        return Spread(0.0, 0.0)
    return Spread(sum([spread.variance * spread.df for spread in known]) / df, df)


def spread_of(values: Sequence[float]) -> Spread:
    """The sample variance of ``values``."""
    if len(values) < 2:
        return Spread(0.0, 0.0)
    df = len(values) - 1.0
    return Spread(sum([residual * residual for residual in _residuals(values)]) / df, df)


def _residuals(values: Sequence[float]) -> list[float]:
    """Of a few numbers, as all series here are: an array of them takes longer to make than to work with."""
    mean = sum(values) / len(values)
    return [value - mean for value in values]


def block_spread(today: Sequence[float], history: Sequence[Sequence[float]], sd: float = BLOCK_SD) -> Spread:
    """The variance of one block within a session, from today's blocks, stored ones and the prior ``sd``."""
    stored = combine(spread_of(blocks) for blocks in history)
    return combine([Spread(sd**2, BLOCK_PRIOR_DF), stored.limited(HISTORY_DF), spread_of(today)])


def autocorrelation_inflation(sessions: Sequence[Sequence[float]]) -> float:
    """How many times larger the variance of a mean is because neighbouring blocks are alike.

    ``(1 + r) / (1 - r)`` for an AR(1) series with lag-1 autocorrelation ``r``,
    pooled over the sessions; never below 1.  Residuals of n blocks from their
    own mean are correlated by ``-1 / n`` where the blocks are not at all, which
    is taken off (Marriott and Pope, *Biometrika* 41 (1954) 390).
    """
    products = squares = 0.0
    for blocks in sessions:
        residuals = _residuals(blocks)
        square = sum([residual * residual for residual in residuals])
        products += sum([a * b for a, b in pairwise(residuals)]) + square / len(blocks)
        squares += square
    if squares == 0:
        return 1.0
    correlation = min(max(products / squares, 0.0), 0.8)
    return (1 + correlation) / (1 - correlation)


def temperature_slope(capped_share: float) -> float:
    """Relative rise of joules per unit per °C, for a load that is power-capped for that share of the time."""
    return TEMPERATURE_SLOPE * (1 - (1 - CAPPED_SLOPE) * capped_share)


def _by_device(means: Sequence[float], devices: Sequence[object]) -> Iterable[list[float]]:
    groups: dict[object, list[float]] = {}
    for mean, device in zip(means, devices, strict=True):
        groups.setdefault(device, []).append(mean)
    return groups.values()


def session_spread(means: Sequence[float], devices: Sequence[object]) -> Spread:
    """The variance between session means on one device, pooled over the devices."""
    return combine(spread_of(group) for group in _by_device(means, devices))


def between_sessions(own: Spread, suite: Spread, sd: float = SAME_DEVICE_SD) -> Spread:
    """The between-session variance of one window, shrunk towards that of the prior ``sd`` and the suite's.

    Where it lies far above them (an F test), it leaves the suite.
    """
    prior = Spread(sd**2, PRIOR_DF)
    company = combine([prior, suite.limited(POOL_DF)])
    if own.df > 0 and own.variance > company.variance * _variance_quantile(own.df, company.df):
        return combine([prior, own])
    return combine([company, own])


@cache
def _variance_quantile(df: float, other: float) -> float:
    """The quantile that is outlying of the ratio of two variances: a few degrees of freedom, and slow to find."""
    return float(fdtri(df, other, OUTLYING))


def between_devices(means: Sequence[float], devices: Sequence[object]) -> Spread:
    """The variance between devices of a SKU, from those that have sessions and the prior."""
    return combine(
        [Spread(OTHER_DEVICE_SD**2, PRIOR_DF), spread_of([fmean(group) for group in _by_device(means, devices)])]
    )


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the stored sessions say about a new one.

    Attributes:
        mean: Its expected mean.
        from_sessions: The part of the variance around it that sessions make, today's among them.
        from_devices: The part that devices make.
        between: The variance between sessions on one device.
    """

    mean: float
    from_sessions: Spread
    from_devices: Spread
    between: Spread


def predict_session(
    means: Sequence[float],
    mean_variances: Sequence[float],
    devices: Sequence[object],
    device: object,
    session: Spread,
    degrees: Sequence[float],
) -> Prediction:
    """The best linear unbiased prediction of a session's mean on ``device``.

    Sessions vary by ``session``, devices by :func:`between_devices`, and with
    temperature by a slope that is known to :data:`TEMPERATURE_SLOPE_SD`.  With
    every session on the same device at one temperature this is the plain mean,
    and the variance ``session * (1 + 1/K)``; a session from another device, or
    a hotter one, counts for less (ordinary kriging: Cressie, *Statistics for
    Spatial Data*, 1993, section 3.2).

    Args:
        means: Mean log joules per unit of K sessions, at today's temperature.
        mean_variances: Variance of each of those means from its own blocks.
        devices: The device of each session.
        device: Today's device.
        session: Variance between sessions on one device.
        degrees: By how much each session was hotter than today, °C.
    """
    between = between_devices(means, devices)
    if all(other == device for other in devices):
        return _predict_at_home(means, mean_variances, session, between, degrees)
    count = len(means)
    slopes = TEMPERATURE_SLOPE_SD * np.asarray(degrees)
    alike = np.asarray([[float(a == b) for b in devices] for a in devices])
    here = np.asarray([float(other == device) for other in devices])
    noise = session.variance + np.asarray(mean_variances)
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = between.variance * alike + np.outer(slopes, slopes) + np.diag(noise)
    system[count, count] = 0.0
    weights = np.linalg.solve(system, np.append(between.variance * here, 1.0))[:count]
    of_sessions = session.variance + float(weights**2 @ noise) + float(weights @ slopes) ** 2
    of_devices = between.variance * max(0.0, float(1 - 2 * weights @ here + weights @ alike @ weights))
    return Prediction(
        float(weights @ np.asarray(means)),
        Spread(of_sessions, session.df),
        Spread(of_devices, between.df),
        session,
    )


def _predict_at_home(
    means: Sequence[float],
    mean_variances: Sequence[float],
    session: Spread,
    between: Spread,
    degrees: Sequence[float],
) -> Prediction:
    """The same where every session is from today's device: how devices differ drops out, and no system is to be solved.

    With ``D`` the sessions' own variances and ``s`` their slopes, weights are in proportion to
    ``(D + s s')^-1 1 = D^-1 1 - D^-1 s (s' D^-1 1) / (1 + s' D^-1 s)`` (Sherman and Morrison, *Annals of Mathematical
    Statistics* 21 (1950) 124).
    """
    noise = [session.variance + variance for variance in mean_variances]
    slopes = [TEMPERATURE_SLOPE_SD * warmer for warmer in degrees]
    tilt = sum([slope / n for slope, n in zip(slopes, noise, strict=True)])
    tilt /= 1 + sum([slope * slope / n for slope, n in zip(slopes, noise, strict=True)])
    shares = [(1 - tilt * slope) / n for slope, n in zip(slopes, noise, strict=True)]
    total = sum(shares)
    weights = [share / total for share in shares]
    of_sessions = session.variance + sum([w * w * n for w, n in zip(weights, noise, strict=True)])
    of_sessions += sum([w * slope for w, slope in zip(weights, slopes, strict=True)]) ** 2
    mean = sum([w * mean for w, mean in zip(weights, means, strict=True)])
    return Prediction(mean, Spread(of_sessions, session.df), Spread(0.0, between.df), session)


def student_quantile(df: float, probability: float) -> float:
    """The quantile of Student's t distribution."""
    return float(stdtrit(df, probability))


def satterthwaite(parts: Sequence[Spread]) -> Spread:
    """The variance of a sum of independent parts, with its effective degrees of freedom.

    Satterthwaite, *Biometrics Bulletin* 2 (1946) 110.
    """
    total = sum(part.variance for part in parts)
    if total == 0:
        return Spread(0.0, math.inf)
    weight = sum(part.variance**2 / part.df for part in parts if part.variance)
    return Spread(total, total**2 / weight)
