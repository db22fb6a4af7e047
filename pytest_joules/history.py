"""What stored sessions say: their means at today's temperature, their spread, and what they predict.  Pure functions.

A session stands in here as the mean of its blocks' log joules per unit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression

from pytest_joules.model import BaselineKey, Block, History, Measurement, Session, WindowKind
from pytest_joules.statistics import (
    SAME_DEVICE_SD,
    Prediction,
    Spread,
    between_sessions,
    predict_session,
    session_spread,
    spread_of,
    student_quantile,
    temperature_slope,
)
from pytest_joules.units import significant

TREND_SESSIONS = 3
"""A line through fewer sessions says nothing that their difference does not."""

TREND_SURE = 0.99
"""How surely a trend's interval has it on either side, as every interval here."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where and how today's window ran.

    Attributes:
        devices: Identities of the devices.
        celsius: Their mean temperature; ``None`` if it is not known.
        capped_share: Share of the time under a power cap.
    """

    devices: tuple[str, ...]
    celsius: float | None = None
    capped_share: float = 0.0


def log_mean(blocks: Sequence[Block]) -> float:
    """Mean log joules per unit."""
    return math.fsum([math.log(block.joules / block.units) for block in blocks]) / len(blocks)


def log_seconds(blocks: Sequence[Block]) -> float:
    """Mean log seconds per unit."""
    return math.fsum([math.log(block.seconds / block.units) for block in blocks]) / len(blocks)


def session_of(
    measurement: Measurement,
    unit: str,
    recorded: str,
    commit: str | None,
    *,
    anchor: bool = False,
    tolerance: float | None = None,
    limit: float | None = None,
    gate: bool = True,
) -> Session:
    """What is kept of a measurement for one unit of its work, and of the terms that it was judged by."""
    return Session(
        recorded=recorded,
        devices=tuple(device.identity for device in measurement.devices),
        blocks=measurement.blocks[unit],
        kind=measurement.kind,
        commit=commit,
        driver=measurement.devices[0].driver,
        conditions=measurement.conditions,
        anchor=anchor,
        tolerance=tolerance,
        limit=limit,
        gate=gate,
    )


def history_of(sessions: Sequence[Session], devices: Sequence[str]) -> History | None:
    """The sessions as columns; ``None`` if there are none.  ``devices`` are the identities of today's."""
    if not sessions:
        return None
    own = tuple(devices)
    return History(
        recorded=tuple([session.recorded for session in sessions]),
        joules_per_unit=tuple([significant(math.exp(log_mean(session.blocks))) for session in sessions]),
        spread=tuple([significant(math.sqrt(_variance(session.blocks))) for session in sessions]),
        seconds_per_unit=tuple([significant(math.exp(log_seconds(session.blocks))) for session in sessions]),
        commits=tuple([session.commit for session in sessions]),
        same_devices=tuple([session.devices == own for session in sessions]),
        anchors=tuple([session.anchor for session in sessions]),
    )


def _variance(blocks: Sequence[Block]) -> float:
    return spread_of([math.log(block.joules_per_unit) for block in blocks]).variance


def predict(
    sessions: Sequence[Session], today: Circumstances, block_variance: float, suite: Spread, sd: float = SAME_DEVICE_SD
) -> Prediction:
    """What ``sessions`` predict for a session under today's circumstances.

    Args:
        sessions: Stored sessions of one window, at least one.
        today: Where and how it runs.
        block_variance: Variance that one block adds to a session's mean, times the blocks.
        suite: The between-session spread of the suite's other windows.
        sd: Prior standard deviation between sessions.
    """
    means = _means_at(sessions, today.celsius, temperature_slope(today.capped_share))
    homes = [session.devices for session in sessions]
    return predict_session(
        means,
        [block_variance / len(session.blocks) for session in sessions],
        homes,
        today.devices,
        between_sessions(session_spread(means, homes), suite, sd),
        [_warmer(session, today.celsius) for session in sessions],
    )


def spread(sessions: Sequence[Session]) -> Spread:
    """The variance between the sessions of one window on one device, but for what temperature explains."""
    means = _means_at(sessions, sessions[0].conditions.temperature_celsius, _slope(sessions))
    return session_spread(means, [session.devices for session in sessions])


@dataclass(frozen=True, slots=True)
class Drift:
    """How joules per unit have moved over the stored sessions of a device, but for what temperature explains.

    Attributes:
        rise: The last session over the anchor, or over the first session if none is pinned, as a fraction.
        trend: Relative rise with each session from the anchor or the first session on, by least squares.
        trend_error: Half of the trend's 98 % interval.
    """

    rise: float | None = None
    trend: float | None = None
    trend_error: float | None = None

    @property
    def surely_moves(self) -> bool:
        """Whether the trend is more than chance."""
        return self.trend is not None and self.trend_error is not None and abs(self.trend) > self.trend_error


def drift(sessions: Sequence[Session]) -> Drift:
    """What has become of the last session's kind of window on its device; ``None`` where sessions are too few."""
    last = sessions[-1]
    alike = [session for session in sessions if session.devices == last.devices and session.kind is last.kind]
    means = _means_at(alike, last.conditions.temperature_celsius, _slope(alike))
    pinned = [mean for mean, session in zip(means, alike, strict=True) if session.anchor]
    rise = math.expm1(means[-1] - fmean(pinned or means[:1])) if len(alike) > 1 else None
    since = next((number for number, session in enumerate(alike) if session.anchor), 0)
    if len(alike) - since < TREND_SESSIONS:
        return Drift(rise)
    slope, error = _line_through(
        means[since:], fmean([_variance(one.blocks) / len(one.blocks) for one in alike[since:]])
    )
    return Drift(rise, math.expm1(slope), math.expm1(error))


def _line_through(means: Sequence[float], mean_variance: float) -> tuple[float, float]:
    """The slope of a line through sessions' means, with half of its 98 % interval.

    Sessions scatter around the line as they do here, and no less than they usually do on one device: three that happen
    to lie on a line would else be a trend.  ``mean_variance`` is that of a session's mean from its own blocks.
    """
    line = linear_regression(range(len(means)), means)
    left = [mean - line.intercept - line.slope * number for number, mean in enumerate(means)]
    own = Spread(math.fsum(value**2 for value in left) / (len(means) - 2), len(means) - 2.0)
    usual = between_sessions(own, Spread(0.0, 0.0))
    usual = Spread(usual.variance + mean_variance, usual.df)
    middle = (len(means) - 1) / 2
    squares = math.fsum((number - middle) ** 2 for number in range(len(means)))
    errors = [student_quantile(one.df, TREND_SURE) * math.sqrt(one.variance / squares) for one in (own, usual)]
    return line.slope, max(errors)


class Suite:
    """The between-session spread of all stored windows of a SKU."""

    def __init__(self, entries: Mapping[BaselineKey, Sequence[Session]]) -> None:
        """Computed once; ``entries`` are a baseline file's."""
        self._spreads: dict[WindowKind, dict[tuple[str, str], Spread]] = {}
        for key, sessions in entries.items():
            for kind in {session.kind for session in sessions}:
                # Several units of one window are the same joules; they count once.
                series = self._spreads.setdefault(kind, {})
                series.setdefault((key.test, key.window), spread([s for s in sessions if s.kind is kind]))

        self._pooled = {kind: _Pool.of(series.values()) for kind, series in self._spreads.items()}

    def without(self, test: str, window: str, kind: WindowKind) -> Spread:
        """The spread pooled over all windows of one kind but the named one."""
        own = self._spreads.get(kind, {}).get((test, window), Spread(0.0, 0.0))
        return self._pooled.get(kind, _Pool()).without(own)


@dataclass(frozen=True, slots=True)
class _Pool:
    """Sums over windows, from which each can be taken again: looking at all others for every window is quadratic."""

    squares: float = 0.0
    df: float = 0.0

    @classmethod
    def of(cls, spreads: Collection[Spread]) -> _Pool:
        return cls(math.fsum(s.variance * s.df for s in spreads), math.fsum(s.df for s in spreads))

    def without(self, own: Spread) -> Spread:
        df = self.df - own.df
        return Spread(max(0.0, self.squares - own.variance * own.df) / df, df) if df > 0 else Spread(0.0, 0.0)


def _slope(sessions: Sequence[Session]) -> float:
    """The temperature slope of a window that ran under a power cap as often as its sessions did."""
    return temperature_slope(fmean([session.conditions.power_cap_share or 0.0 for session in sessions]))


def _means_at(sessions: Sequence[Session], celsius: float | None, slope: float) -> list[float]:
    """The sessions' means as they would have been at another temperature."""
    return [log_mean(session.blocks) - slope * _warmer(session, celsius) for session in sessions]


def _warmer(session: Session, celsius: float | None) -> float:
    """By how much the session was hotter; 0 where nobody knows."""
    then = session.conditions.temperature_celsius
    return 0.0 if then is None or celsius is None else then - celsius
