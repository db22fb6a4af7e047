"""Latencies: their names, and percentiles of what was timed or of histograms that a server keeps.  Pure functions.

A percentile is told only of so many values that one at least lies above it:
of 12 calls the 99th would be the slowest, whatever its name says.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

QUANTILES = (0.50, 0.90, 0.95, 0.99)

DISTRIBUTIONS = {
    "call": "time of a call",
    "ttft": "time to the first token of a request",
    "itl": "time between two tokens of a request",
    "tpot": "mean time per token of a request after the first",
    "e2e": "time of a request, from its arrival to its last token",
}
"""What is timed, and so has percentiles: ``itl_p95``."""

MEANS = {
    "call": "mean time of a call",
    "unit": "mean time of a unit of work",
}
"""What is known as a mean, whatever was timed."""


def named(name: str, quantile: float) -> str:
    """``itl_p95`` for the quantile 0.95 of ``itl``."""
    return f"{name}_p{round(100 * quantile)}"


TIMED = ("call", *(named(name, quantile) for name in DISTRIBUTIONS for quantile in QUANTILES))
"""What a window's latencies may be called."""

NAMES = ("unit", *TIMED)
"""Every latency that there may be: those, and the seconds per unit of work, which the blocks tell."""


def enough(count: float, quantile: float) -> bool:
    """Whether one at least of ``count`` values lies above the quantile: of 2 above the median, of 20 above the 95th."""
    return count * (1.0 - quantile) >= 1.0 - 1e-9


class Timings:
    """How long things took, and when each was over (s, on the meter's clock)."""

    def __init__(self) -> None:
        """Nothing was timed yet."""
        self._columns: dict[str, list[tuple[float, Sequence[float], float]]] = {}

    def add(self, name: str, time: float, *seconds: float, count: float = 1.0) -> None:
        """Note what was over at ``time``, and how long each had taken; or so many of each."""
        if seconds:
            self._columns.setdefault(name, []).append((time, seconds, count))

    def add_chunks(self, chunks: Sequence[tuple[float, float]]) -> None:
        """Note the chunks in which one request's tokens came: when, and how many tokens there were by then.

        The time between two tokens is a chunk's gap over the tokens in it.
        """
        grown = [chunks[0], *(chunk for before, chunk in itertools.pairwise(chunks) if chunk[1] > before[1])]
        for (before, had), (time, has) in itertools.pairwise(grown):
            self.add("itl", time, (time - before) / (has - had), count=has - had)
        (first, had), (last, has) = grown[0], grown[-1]
        if has > had:
            self.add("tpot", last, (last - first) / (has - had))

    def between(self, since: float, until: float) -> dict[str, list[tuple[float, float]]]:
        """By name, ``(seconds, count)`` of what was over after ``since``, and no later than ``until``."""
        return {
            name: [(each, count) for time, seconds, count in column if since < time <= until for each in seconds]
            for name, column in self._columns.items()
        }

    def percentiles(self, since: float, until: float) -> dict[str, float]:
        """Percentiles (s) of that."""
        timed = self.between(since, until)
        return {key: value for name, values in timed.items() for key, value in of_values(name, values).items()}


def of_calls(calls: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The mean of calls, and their percentiles; empty if there are none.

    Args:
        calls: ``(seconds, count)``: so many took so long each in the mean.  Where several were completed at once,
            nobody knows how long one of them took, and there are no percentiles.
    """
    count = sum(count for _, count in calls)
    if not count:
        return {}
    mean = {"call": sum(seconds * count for seconds, count in calls) / count}
    return {**mean, **of_values("call", calls)} if count == len(calls) else mean


def of_histogram(name: str, before: Mapping[float, float], after: Mapping[float, float]) -> dict[str, float]:
    """Percentiles (s) of what a Prometheus histogram observed between two scrapes; empty if that is nothing."""
    observed = {bound: count - before.get(bound, 0.0) for bound, count in sorted(after.items())}
    total = list(observed.values())[-1] if observed else 0.0
    if not total > 0:  # NaN is none, either
        return {}
    return {named(name, q): bucket_quantile(observed, q) for q in QUANTILES if enough(total, q)}


def bucket_quantile(buckets: Mapping[float, float], quantile: float) -> float:
    """A quantile of cumulative buckets, as PromQL's ``histogram_quantile`` has it.

    Linear within a bucket, which begins where the one before it ends, or at
    zero; of the last, infinite bucket only the lower end is known.

    Args:
        buckets: Observations up to each upper bound, by rising bound; at least one observation.
        quantile: From 0 to 1.
    """
    rank = quantile * list(buckets.values())[-1]
    lower, below = 0.0, 0.0
    for upper, count in buckets.items():
        if count >= rank and count > below:
            return lower if math.isinf(upper) else lower + (upper - lower) * (rank - below) / (count - below)
        if not math.isinf(upper):
            lower = upper
        below = count
    return lower


def of_values(name: str, values: Iterable[tuple[float, float]]) -> dict[str, float]:
    """Percentiles (s) of ``(seconds, count)`` pairs, as far as there are enough of them."""
    ordered = sorted(values)
    total = sum(count for _, count in ordered)
    return {named(name, q): weighted_quantile(ordered, q) for q in QUANTILES if enough(total, q)}


def weighted_quantile(ordered: Sequence[tuple[float, float]], quantile: float) -> float:
    """The least value that, with all below it, has ``quantile`` of the weight; ``ordered`` rises."""
    rank = quantile * sum(weight for _, weight in ordered)
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= rank:
            return value
    return ordered[-1][0]
