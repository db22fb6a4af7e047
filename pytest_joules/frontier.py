"""The time-energy frontier, and the configuration to choose under a latency limit.  Pure functions.

One point dominates another if it is no worse in both, joules per unit and
latency, and better in one, where intervals that separate tell; a point that
others seem to dominate, but whose interval reaches theirs, is tied.
Time-energy frontier: *The ML.ENERGY Benchmark*, arXiv 2505.06371.

The least of several noisy numbers is too good to be true (the winner's curse).
So the later half of a point's passes, four of them at most, has no part in
choosing: it only *names* what the chosen point costs, and what it saves.  The
passes before it *choose*.  That is a rule of the passes alone, whenever time
was up.  A point of a single pass has but that one for both, and is not
confirmed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from statistics import fmean

from pytest_joules.model import Estimate, Sweep, SweepPoint
from pytest_joules.slo import THROUGHPUT, Condition, latencies_of, latency_called
from pytest_joules.statistics import (
    PRIOR_DF,
    SAME_DEVICE_SD,
    Spread,
    between_sessions,
    combine,
    spread_of,
    student_quantile,
)
from pytest_joules.units import LARGEST_NUMBER, SMALLEST_NUMBER, format_percent, format_rate, format_seconds, plural

ENDS = 0.975
"""The quantile at the upper end of an interval: 95 % lies between both ends."""

INDIFFERENT = 0.01
"""A better choice that saves less than this is not searched for."""

SETTLED = 0.995
"""How sure it must be that no rival saves more than that, for the search to end: the rivals share the doubt
(Bonferroni), as each of many that are just not good enough may seem to be."""

NAMING = 4
"""Most passes of a point that name: from then on it is the choice that needs more."""

NAMED = 4
"""Passes that suffice of the points that are named, two of them naming, where the choice needs no more."""

FRONTIER_PASSES = 3
"""A tie on the frontier that as many passes do not settle stays one."""

LATENCY_SD = 0.01
"""Prior standard deviation of a percentile between passes; means have that of joules."""


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
        confirmed: Whether both have passes that had no part in the choice (winner's curse), or are published numbers.
        fastest: The point of least latency among those of the frontier.
        over_default: Saving of joules per unit against the default configuration; ``None`` without one, or if it is it.
        over_fastest: Saving against the fastest.
        steps: What the next knobs would be worth, the largest saving first.
        beyond: What a looser limit would be worth: the nearest point of the frontier that misses the conditions and
            surely takes less; ``None`` if there is none.
    """

    name: str
    runner_up: str = ""
    ahead: Interval | None = None
    confirmed: bool = False
    fastest: str = ""
    over_default: Interval | None = None
    over_fastest: Interval | None = None
    steps: tuple[Step, ...] = ()
    beyond: Step | None = None


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


def interval_of(estimate: Estimate) -> tuple[float, float]:
    """Both ends of an estimate's 95 % interval; a published number is both."""
    if estimate.error == 0:
        return estimate.value, estimate.value
    factor = math.exp(student_quantile(estimate.freedom, ENDS) * estimate.error)
    return estimate.value / factor, estimate.value * factor


def configurations(points: Sequence[SweepPoint]) -> dict[str, str]:
    """What tells each point from the others, by its name: its settings, or the name where they do not."""
    apart = told_apart(points)
    return {point.name: configuration(point.settings) if apart else point.name for point in points}


def told_apart(points: Sequence[SweepPoint]) -> bool:
    """Whether settings tell all points from each other."""
    told = {configuration(point.settings) for point in points}
    return "" not in told and len(told) == len(points)


def configuration(settings: Mapping[str, str]) -> str:
    """``max_num_seqs=256, gpu=B200``."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def frontier_of(sweep: Sweep, conditions: Sequence[Condition] = ()) -> Frontier:
    """Place every point, and choose one.

    Raises:
        ValueError: if two points have one name.
    """
    known = _Known.of(sweep, conditions)
    placed = _standing(_measured(known))
    ranked = _ranked(known, placed)
    result = Frontier(sweep, tuple(conditions), tuple(sorted(placed.values(), key=_by_latency)))
    if not ranked:
        return replace(result, nothing=_nothing(known, placed))
    recommendation = _recommendation(known, placed, ranked)
    return replace(result, recommendation=recommendation, notes=tuple(_notes(known, placed, recommendation)))


def next_point(sweep: Sweep, conditions: Sequence[Condition] = (), *, affordable: int) -> str | None:
    """The point that is worth measuring next, after one pass over all; ``None`` if no measurement changes the answer.

    Spent where points are close to the recommended one, as LUCB does
    (Kalyanakrishnan et al., ICML 2012): on the chosen point and the rival that
    may be furthest below it, until none may save more than
    :data:`INDIFFERENT`.  What names is left for last, but never left out.

    Args:
        sweep: What is known so far.
        conditions: What is asked of a configuration.
        affordable: How many more measurements the time allows.

    Raises:
        ValueError: if two points have one name.
    """
    if affordable < 1:
        return None
    unmeasured = (point.name for point in sweep.points if not point.passes and not point.invalid)
    if (name := next(unmeasured, None)) is not None:
        return name
    known = _Known.of(sweep, conditions)
    placed = _measured(known)
    if sum(not _excluded(at) for at in placed.values()) < 2:
        return None  # nothing to compare
    ranked = _ranked(known, placed)
    unnamed = _unnamed(known, placed, ranked)
    if unnamed and affordable <= len(unnamed):
        return unnamed[0]
    return _contested(known, placed, ranked) or next(iter(unnamed), None) or _unsettled(known, _standing(placed))


_JOULES = ""
"""Beside latencies by name, the joules per unit."""


@dataclass(frozen=True, slots=True)
class _Series:
    """One quantity of one point: what each pass told, and the variance of a pass's logarithm."""

    values: tuple[float, ...]
    one: Spread

    @property
    def naming(self) -> int:
        """How many of the passes, the last ones, have no part in choosing."""
        return min(len(self.values) // 2, NAMING)

    @property
    def all(self) -> Estimate:
        """What all passes say: the best estimate, of a point that was not chosen for it."""
        return self._estimate(self.values)

    @property
    def to_choose(self) -> Estimate:
        """What the choice is made from."""
        return self._estimate(self.values[: len(self.values) - self.naming])

    @property
    def to_name(self) -> Estimate:
        """What passes say that had no part in the choice; of a single pass that one."""
        return self._estimate(self.values[-max(self.naming, 1) :])

    def _estimate(self, values: Sequence[float]) -> Estimate:
        mean = values[0] if len(values) == 1 else math.exp(fmean(map(math.log, values)))
        return Estimate(mean, math.sqrt(self.one.variance / len(values)), self.one.df)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the passes tell, by quantity and point; only sound numbers of valid points.

    Attributes:
        sweep: The sweep.
        latency: The name of the latency that joules are weighed against, as the passes have it.
        conditions: Each with the name of the latency that it is about.
        series: By quantity and name of the point.
    """

    sweep: Sweep
    latency: str
    conditions: tuple[tuple[Condition, str], ...]
    series: Mapping[str, Mapping[str, _Series]]

    @classmethod
    def of(cls, sweep: Sweep, conditions: Sequence[Condition]) -> _Known:
        name, count = next(iter(Counter(point.name for point in sweep.points).most_common(1)), ("", 0))
        if count > 1:
            raise ValueError(f"sweep {sweep.group!r} has {count} points named {name!r}: give each its own name")
        valid = [point for point in sweep.points if not point.invalid]
        told = latencies_of(valid)
        latency = latency_called(sweep.latency, told)
        asked = tuple((at, "unit" if at.metric == THROUGHPUT else latency_called(at.metric, told)) for at in conditions)
        quantities = dict.fromkeys([_JOULES, latency, "unit", *(quantity for _, quantity in asked)])
        return cls(sweep, latency, asked, {quantity: _series(valid, quantity) for quantity in quantities})

    @property
    def joules(self) -> Mapping[str, _Series]:
        """J per unit."""
        return self.series[_JOULES]

    @property
    def default(self) -> str | None:
        """The name of the default configuration."""
        return next((point.name for point in self.sweep.points if point.default), None)

    def lack(self, point: SweepPoint, quantity: str) -> str:
        """Why a point does not have a quantity; empty if it has."""
        if point.invalid:
            return point.invalid
        if not point.passes:
            return "was not measured"
        if point.name in self.series[quantity]:
            return ""
        what = quantity or f"J/{self.sweep.unit}"
        if not _values(point, quantity):
            return f"has no {what}; it has {_listed(latencies_of([point]))}"
        return f"its {what} is {_unsound(point, quantity)}, which is no measurement"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "no latency at all"


def _values(point: SweepPoint, quantity: str) -> tuple[float, ...]:
    if quantity == _JOULES:
        return tuple([at.joules_per_unit for at in point.passes])
    return tuple([at.seconds[quantity] for at in point.passes if quantity in at.seconds])


def _unsound(point: SweepPoint, quantity: str) -> str:
    """The first number of a point that is no measurement; empty if all are."""
    wrong = [f"{at:g}" for at in _values(point, quantity) if not SMALLEST_NUMBER <= at <= LARGEST_NUMBER]
    if quantity == _JOULES:
        errors = ((at.joules_per_unit, at.error) for at in point.passes if at.error is not None)
        wrong += [f"{joules:g} ± {error:.3g}" for joules, error in errors if not 0 <= error < 1]
    return next(iter(wrong), "")


def _series(points: Sequence[SweepPoint], quantity: str) -> dict[str, _Series]:
    """One quantity of the points that have it; passes vary alike, unless a point stands out.

    Many points of few passes: as in a suite, a point's variance is pooled from
    its own passes, those of the others and a prior.  Where passes alone make a
    wider interval of it, that holds: the prior is for few passes, and does not
    vouch for a noisy machine.  It is never below what the scatter of the
    blocks makes of it.
    """
    values = {point.name: _values(point, quantity) for point in points}
    sound = [point for point in points if values[point.name] and not _unsound(point, quantity)]
    own = {point.name: spread_of([math.log(value) for value in values[point.name]]) for point in sound}
    everyone = combine(own.values())
    sd = LATENCY_SD if "_p" in quantity else SAME_DEVICE_SD
    pooled = {at: _wider(between_sessions(at, _without(everyone, at), sd), everyone) for at in set(own.values())}
    return {
        point.name: _Series(values[point.name], _of_a_pass(point, quantity, pooled[own[point.name]])) for point in sound
    }


def _of_a_pass(point: SweepPoint, quantity: str, pooled: Spread) -> Spread:
    """The variance of one pass of a point."""
    if point.source:
        return Spread(0.0, math.inf)
    blocks = fmean([(at.error or 0.0) ** 2 for at in point.passes]) if quantity == _JOULES else 0.0
    return Spread(max(pooled.variance, blocks), pooled.df)


def _without(everyone: Spread, own: Spread) -> Spread:
    """What is left of a pooled variance without one of its parts."""
    df = everyone.df - own.df
    return (
        Spread(max(everyone.variance * everyone.df - own.variance * own.df, 0.0) / df, df) if df else Spread(0.0, 0.0)
    )


def _wider(pooled: Spread, alone: Spread) -> Spread:
    """The one of both that makes the wider interval; passes alone say nothing before they are worth the prior."""
    if alone.df < PRIOR_DF or _width(alone) < _width(pooled):
        return pooled
    return alone


def _width(spread: Spread) -> float:
    return student_quantile(spread.df, ENDS) ** 2 * spread.variance


def _measured(known: _Known) -> dict[str, Placed]:
    """Every point by name, as if it stood on the frontier unless it is excluded."""
    return {point.name: _numbers(known, point) for point in known.sweep.points}


def _standing(measured: Mapping[str, Placed]) -> dict[str, Placed]:
    """Every point by name, and where it stands among the others.

    Who dominates has the lesser product of joules and latency, and dominates
    whatever a point does that it dominates itself.  So in order of the
    product the first of those that nothing dominates is the one that
    dominates most, and thousands of points take no time.
    """
    found = dict(measured)
    boxes = [_Box.of(placed) for placed in measured.values() if not _excluded(placed)]
    undominated: list[_Box] = []
    frontier: list[_Box] = []
    for box in sorted(boxes, key=lambda box: box.joules * box.latency):
        surely = next((other for other in undominated if other.surely_dominates(box)), None)
        most = surely or next((other for other in frontier if other.seems_to_dominate(box)), None)
        if surely is None:
            undominated.append(box)
        if most is None:
            frontier.append(box)
            continue
        found[box.placed.point.name] = replace(
            box.placed,
            standing=Standing.DOMINATED if surely else Standing.TIED,
            dominated_by=most.placed.point.name,
            joules_above=box.joules / most.joules - 1,
            latency_above=box.latency / most.latency - 1,
        )
    return found


def _excluded(placed: Placed) -> bool:
    return placed.standing is Standing.EXCLUDED


@dataclass(frozen=True, slots=True)
class _Box:
    """A point's two intervals."""

    placed: Placed
    joules: float
    latency: float
    least: tuple[float, float]
    most: tuple[float, float]

    @classmethod
    def of(cls, placed: Placed) -> _Box:
        assert placed.joules is not None
        assert placed.latency is not None
        (j_low, j_high), (t_low, t_high) = interval_of(placed.joules), interval_of(placed.latency)
        return cls(placed, placed.joules.value, placed.latency.value, (j_low, t_low), (j_high, t_high))

    def surely_dominates(self, other: _Box) -> bool:
        """Whether intervals separate; those of published numbers are points, and may be level in one of both."""
        return _no_worse(self.most, other.least)

    def seems_to_dominate(self, other: _Box) -> bool:
        return _no_worse((self.joules, self.latency), (other.joules, other.latency))


def _no_worse(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one != other


def _numbers(known: _Known, point: SweepPoint) -> Placed:
    joules, latency, unit = (known.series[quantity].get(point.name) for quantity in (_JOULES, known.latency, "unit"))
    watts = [at.watts for at in point.passes if at.watts is not None]
    lack = known.lack(point, _JOULES) or known.lack(point, known.latency)
    misses = [] if lack else [reason for at in known.conditions if (reason := _miss(known, point, at))]
    return Placed(
        point,
        joules=joules.all if joules else None,
        latency=latency.all if latency else None,
        throughput=1 / unit.all.value if unit else None,
        watts=fmean(watts) if watts else None,
        standing=Standing.EXCLUDED if lack else Standing.FRONTIER,
        meets=not lack and not misses,
        reason=lack or "; ".join(misses),
    )


def _miss(known: _Known, point: SweepPoint, asked: tuple[Condition, str]) -> str:
    """Why a point does not surely meet a condition; empty if it does."""
    condition, quantity = asked
    if lack := known.lack(point, quantity):
        return lack
    seconds = known.series[quantity][point.name].all
    met = _met(condition, seconds)
    if all(met):
        return ""
    low, high = sorted(_ends(condition, seconds))
    value = 1 / seconds.value if condition.metric == THROUGHPUT else seconds.value
    told = _amount(condition, value)
    if condition.metric not in (quantity, THROUGHPUT):
        told = f"{quantity} of {told}"
    if any(met):
        return f"{told} ({_amount(condition, low)} to {_amount(condition, high)}) straddles {condition}"
    return f"{told} misses {condition}"


def _met(condition: Condition, seconds: Estimate) -> list[bool]:
    """Whether either end of an interval meets a condition: both where it surely does, one where it straddles."""
    return [condition.holds(end) for end in _ends(condition, seconds)]


def _ends(condition: Condition, seconds: Estimate) -> tuple[float, ...]:
    ends = interval_of(seconds)
    return tuple(1 / end for end in ends) if condition.metric == THROUGHPUT else ends


def _amount(condition: Condition, value: float) -> str:
    return f"{format_rate(value)}/s" if condition.metric == THROUGHPUT else format_seconds(value)


def _by_latency(placed: Placed) -> tuple[bool, float]:
    return placed.latency is None, placed.latency.value if placed.latency else 0.0


def _ranked(known: _Known, placed: Mapping[str, Placed]) -> list[str]:
    """The points that surely meet every condition, the least joules first, as the passes say that choose."""

    def rank(name: str) -> tuple[float, tuple[bool, float]]:
        return known.joules[name].to_choose.value, _by_latency(placed[name])

    return sorted((name for name, at in placed.items() if at.meets), key=rank)


def _fastest(placed: Mapping[str, Placed]) -> str:
    standing = [_Box.of(at) for at in placed.values() if not _excluded(at)]
    return min(standing, key=lambda box: (box.latency, box.joules)).placed.point.name


def _recommendation(known: _Known, placed: Mapping[str, Placed], ranked: Sequence[str]) -> Recommendation:
    name, fastest = ranked[0], _fastest(placed)
    runner_up = ranked[1] if len(ranked) > 1 else ""
    named = [known.joules[at] for at in ranked[:2]]
    return Recommendation(
        name=name,
        runner_up=runner_up,
        ahead=_over(known, runner_up, name) if runner_up else None,
        confirmed=all(series.naming > 0 or series.one.variance == 0 for series in named),
        fastest=fastest,
        over_default=_saving(known, name, known.default) if known.default in known.joules else None,
        over_fastest=_saving(known, name, fastest),
        steps=_steps(known, placed, name),
        beyond=_beyond(known, placed, name),
    )


def _ratio(known: _Known, one: str, other: str) -> tuple[float, float]:
    """The logarithm of the joules of one point over another's, and half its 95 % interval."""
    return _log_ratio(known.joules[one].to_name, known.joules[other].to_name, ENDS)


def _log_ratio(one: Estimate, other: Estimate, probability: float) -> tuple[float, float]:
    """The logarithm of one estimate over another, and how far above it the quantile of ``probability`` lies.

    Both errors come from one pool, so that their degrees of freedom do not add up.
    """
    error = math.hypot(one.error, other.error)
    half = student_quantile(min(one.freedom, other.freedom), probability) * error if error else 0.0
    return math.log(one.value / other.value), half


def _over(known: _Known, one: str, other: str) -> Interval:
    """How much more joules one point takes than another."""
    d, half = _ratio(known, one, other)
    return Interval(math.expm1(d), math.expm1(d - half), math.expm1(d + half))


def _saving(known: _Known, name: str, other: str | None) -> Interval | None:
    """What a point saves of another's joules; nothing of its own."""
    if other is None or other == name:
        return None
    d, half = _ratio(known, name, other)
    return Interval(-math.expm1(d), -math.expm1(d + half), -math.expm1(d - half))


def _steps(known: _Known, placed: Mapping[str, Placed], name: str) -> tuple[Step, ...]:
    """The points that differ from the recommended one in a single setting, the largest saving first."""
    steps = [
        step
        for other, at in placed.items()
        if other != name and not _excluded(at) and len((step := _step(known, placed, name, other)).changes) == 1
    ]
    return tuple(sorted(steps, key=lambda step: -step.saving.value))


def _step(known: _Known, placed: Mapping[str, Placed], name: str, other: str) -> Step:
    here, there = _settings(placed[name].point), _settings(placed[other].point)
    both = {setting: (here.get(setting, ""), there.get(setting, "")) for setting in {**here, **there}}
    saving, latency = _saving(known, other, name), placed[other].latency
    assert saving is not None
    return Step(
        to=other,
        changes={setting: (a, b) for setting, (a, b) in both.items() if a != b},
        saving=saving,
        latency=latency.value if latency else None,
        allowed=placed[other].meets,
    )


def _settings(point: SweepPoint) -> Mapping[str, str]:
    """What tells a point from others; what it ran on is one more setting, unless it is among them already."""
    if point.sku is None or point.sku in point.settings.values():
        return point.settings
    return {**point.settings, "sku": point.sku}


def _beyond(known: _Known, placed: Mapping[str, Placed], name: str) -> Step | None:
    """The point of the frontier that is nearest beyond the conditions and surely takes less."""
    missing = {
        other: _excess(known, other)
        for other, at in placed.items()
        if at.standing is Standing.FRONTIER and not at.meets and _excess(known, other) < math.inf
    }
    steps = (_step(known, placed, name, other) for other in sorted(missing, key=lambda other: missing[other]))
    return next((step for step in steps if step.saving.low > 0), None)


def _excess(known: _Known, name: str) -> float:
    """How many times a point is over the condition that it misses by most; infinite where it lacks a number."""
    worst = 0.0
    for condition, quantity in known.conditions:
        if name not in known.series[quantity]:
            return math.inf
        seconds = known.series[quantity][name].all.value
        worst = max(worst, seconds * condition.bound if condition.metric == THROUGHPUT else seconds / condition.bound)
    return worst


def _notes(known: _Known, placed: Mapping[str, Placed], found: Recommendation) -> Iterable[str]:
    names = configurations(known.sweep.points)
    many, weighed = len(known.sweep.points), sum(not _excluded(at) for at in placed.values())
    if many == 1:
        yield "there is but one point: nothing to compare it with"
    elif weighed == 1:
        yield f"only 1 of {many} points was measured and is sound: nothing to compare it with"
    elif known.default is None:
        yield "no point is marked as the default: nothing is told about what is saved against today's configuration"
    if known.default is not None and known.default not in known.joules:
        reason = placed[known.default].reason
        yield f"nothing is told about what is saved against the default, {names[known.default]}: {reason}"
    if (ahead := found.ahead) is not None and ahead.low < ahead.high and ahead.low <= 0:
        name, runner_up = names[found.name], names[found.runner_up]
        told = f"{runner_up} takes {_percents(ahead)} of joules against it"
        if ahead.high >= 0:
            yield f"{name} and {runner_up} are tied: {told}, so that either may be the better one"
        else:
            yield f"{name} was chosen, but later passes speak against it: {told}; give the sweep more time"
    if found.runner_up and not found.confirmed:
        yield (
            "the recommended point and its runner-up were not both measured again after they were chosen: the least of "
            "several noisy numbers is too good to be true"
        )
    if len({point.sku for point in known.sweep.points if point.sku and not point.source}) > 1:
        yield "GPUs of one model differ by percents: intervals between models hold for the GPUs that were measured"


def _percents(interval: Interval) -> str:
    value, low, high = (format_percent(at, signed=True) for at in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"


def _nothing(known: _Known, placed: Mapping[str, Placed]) -> str:
    """Why no point is recommended."""
    standing = [name for name, at in placed.items() if not _excluded(at)]
    if not placed:
        return "the sweep has no points"
    if not standing:
        reasons = Counter(at.reason for at in placed.values())
        told = "; ".join(f"{plural(count, 'point')}: {reason}" for reason, count in reasons.items())
        return f"no point has joules and a latency to be weighed ({told})"
    for condition, quantity in known.conditions:
        if not known.series[quantity]:
            told = _listed(latencies_of(placed[name].point for name in standing))
            return f"{condition} cannot be met: no point has {quantity}; they have {told}"
    asked = " and ".join(str(condition) for condition, _ in known.conditions)
    nearest = min(standing, key=lambda name: _excess(known, name))
    name = configurations(known.sweep.points)[nearest]
    return f"no point surely meets {asked}; nearest comes {name}: {placed[nearest].reason}"


def _unnamed(known: _Known, placed: Mapping[str, Placed], ranked: Sequence[str]) -> list[str]:
    """The points that the result names and that too few passes name: those of the fewest first, then as they matter."""
    if not ranked:
        return []
    default = [known.default] if known.default is not None and not _excluded(placed[known.default]) else []
    named = dict.fromkeys([*ranked[:2], *default, _fastest(placed)])
    passes = {name: len(known.joules[name].values) for name in named if _measurable(placed[name])}
    return sorted((name for name in passes if passes[name] < NAMED), key=lambda name: passes[name])


def _measurable(placed: Placed) -> bool:
    return not placed.point.source and not _excluded(placed)


def _contested(known: _Known, placed: Mapping[str, Placed], ranked: Sequence[str]) -> str | None:
    """The rival that may save most, or the chosen point itself, whichever is known less well."""
    rivals = [*ranked[1:], *(name for name in placed if _may_meet(known, placed[name]))]
    if not ranked:
        return min(rivals, key=lambda name: known.joules[name].to_choose.value, default=None)
    best = known.joules[ranked[0]].to_choose
    sure = 1 - (1 - SETTLED) / max(len(rivals), 1)
    saves = {name: _may_save(best, known.joules[name].to_choose, sure) for name in rivals}
    rival = max(saves, key=lambda name: saves[name], default=None)
    if rival is None or saves[rival] <= math.log1p(INDIFFERENT):
        return None
    other = known.joules[rival].to_choose
    if not placed[rival].meets or not _measurable(placed[ranked[0]]) or other.error >= best.error:
        return rival if _measurable(placed[rival]) else None
    return ranked[0]


def _may_meet(known: _Known, placed: Placed) -> bool:
    """Whether further passes may show that a point meets the conditions, before its latencies are known well."""
    if placed.meets or not _measurable(placed):
        return False
    return all(_open(known, placed.point.name, at) for at in known.conditions)


def _open(known: _Known, name: str, asked: tuple[Condition, str]) -> bool:
    """Whether a point meets a condition, or its interval straddles the limit and may yet become narrower."""
    condition, quantity = asked
    if name not in known.series[quantity]:
        return False
    seconds = known.series[quantity][name].all
    met = _met(condition, seconds)
    return all(met) or (any(met) and _half(seconds) > INDIFFERENT)


def _half(estimate: Estimate) -> float:
    return math.log(interval_of(estimate)[1] / estimate.value)


def _may_save(best: Estimate, rival: Estimate, sure: float) -> float:
    """By how much, on a log scale, a rival may be below the chosen point; it is less with a probability of ``sure``."""
    return sum(_log_ratio(best, rival, sure))


def _unsettled(known: _Known, placed: Mapping[str, Placed]) -> str | None:
    """A point within the limit that seems dominated, or the one that it is tied with, whichever has fewer passes."""
    tied = [at for at in placed.values() if at.standing is Standing.TIED and (at.meets or _may_meet(known, at))]
    names = [name for at in tied for name in (at.point.name, at.dominated_by) if _measurable(placed[name])]
    passes = {name: len(known.joules[name].values) for name in names}
    fewest = min(passes, key=lambda name: passes[name], default=None)
    return fewest if fewest is not None and passes[fewest] < FRONTIER_PASSES else None
