"""The time-energy frontier, and the configuration to choose under a latency limit.  Pure functions.

One point dominates another if it is no worse in both, joules per unit and
latency, and better in one, where intervals that separate tell; otherwise they
are tied.  Time-energy frontier: *The ML.ENERGY Benchmark*, arXiv 2505.06371.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from pytest_joules.model import Estimate, Sweep, SweepPoint
from pytest_joules.slo import Condition


class Standing(str, Enum):
    """What a point is among the others of its sweep."""

    FRONTIER = "frontier"
    TIED = "tied"
    DOMINATED = "dominated"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio less one, as a fraction, and its 95 % interval.

    Attributes:
        value: E.g. 0.44 for a saving of 44 %.
        low: Its lower end.
        high: Its upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Placed:
    """One point, and where it stands.

    Attributes:
        point: The point.
        joules: J per unit; ``None`` if it was not measured.
        latency: The sweep's latency, s; ``None`` if nobody told it.
        throughput: Units/s.
        watts: Mean power.
        standing: Whether it is on the frontier.
        dominated_by: The name of the point that dominates it most, or that it is tied with; empty on the frontier.
        joules_above: Its joules over that point's, less one.
        latency_above: Its latency over that point's, less one.
        meets: Whether it surely meets every condition.
        reason: Why it is excluded, or misses a condition.
    """

    point: SweepPoint
    joules: Estimate | None = None
    latency: Estimate | None = None
    throughput: float | None = None
    watts: float | None = None
    standing: Standing = Standing.EXCLUDED
    dominated_by: str = ""
    joules_above: float | None = None
    latency_above: float | None = None
    meets: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What one further change to the recommended configuration would be worth.

    Attributes:
        to: The name of the point that differs in this alone.
        changes: What differs: ``{"max_num_seqs": ("256", "512")}``.
        saving: Of joules per unit; negative if it costs.
        latency: Its latency, s.
        allowed: Whether it meets the conditions.
    """

    to: str
    changes: Mapping[str, tuple[str, str]]
    saving: Interval
    latency: float | None = None
    allowed: bool = True


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The point of least energy among those that surely meet every condition.

    Attributes:
        name: The point.
        runner_up: The next one; empty if there is none.
        ahead: Joules of the runner-up over the recommended point's, less one.
        confirmed: Whether both were measured again after they were chosen (winner's curse), or are published numbers.
        fastest: The point of least latency among those of the frontier.
        over_default: Saving of joules per unit against the default configuration; ``None`` without one, or if it is it.
        over_fastest: Saving against the fastest.
        steps: What the next knobs would be worth, the largest saving first.
    """

    name: str
    runner_up: str = ""
    ahead: Interval | None = None
    confirmed: bool = False
    fastest: str = ""
    over_default: Interval | None = None
    over_fastest: Interval | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Frontier:
    """What a sweep comes to.

    Attributes:
        sweep: The sweep.
        conditions: What was asked of a configuration.
        points: All points, by latency; those without one at the end.
        recommendation: What to choose; ``None`` if nothing meets the conditions.
        nothing: Why nothing is recommended, with the point that comes nearest; empty if something is.
        notes: What a reader must know of the result, e.g. that there is but one point.
    """

    sweep: Sweep
    conditions: tuple[Condition, ...] = ()
    points: tuple[Placed, ...] = ()
    recommendation: Recommendation | None = None
    nothing: str = ""
    notes: tuple[str, ...] = field(default=())


def frontier_of(sweep: Sweep, conditions: Sequence[Condition] = ()) -> Frontier:
    """Place every point, and choose one."""
    raise NotImplementedError


def next_point(sweep: Sweep, conditions: Sequence[Condition] = (), *, affordable: int) -> str | None:
    """The point that is worth measuring next, after one pass over all; ``None`` if no measurement changes the answer.

    Spent where points are close to the frontier and to the recommended one; winner and runner-up are measured
    again before they are named.

    Args:
        sweep: What is known so far.
        conditions: What is asked of a configuration.
        affordable: How many more measurements the time allows.
    """
    raise NotImplementedError
