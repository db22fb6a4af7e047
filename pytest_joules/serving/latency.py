"""Percentiles of latencies: of histograms that a server keeps, and of what a client saw.  Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

QUANTILES = (0.50, 0.95, 0.99)


def named(name: str, quantile: float) -> str:
    """``itl_p95`` for the quantile 0.95 of ``itl``."""
    return f"{name}_p{round(100 * quantile)}"


def of_histogram(name: str, before: Mapping[float, float], after: Mapping[float, float]) -> dict[str, float]:
    """Percentiles (s) of what a Prometheus histogram observed between two scrapes; empty if that is nothing."""
    observed = {bound: count - before.get(bound, 0.0) for bound, count in sorted(after.items())}
    if not observed or not list(observed.values())[-1] > 0:  # NaN is none, either
        return {}
    return {named(name, quantile): bucket_quantile(observed, quantile) for quantile in QUANTILES}


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
    """Percentiles (s) of ``(seconds, weight)`` pairs; empty if there are none."""
    ordered = sorted(values)
    return {named(name, quantile): weighted_quantile(ordered, quantile) for quantile in QUANTILES} if ordered else {}


def weighted_quantile(ordered: Sequence[tuple[float, float]], quantile: float) -> float:
    """The least value that, with all below it, has ``quantile`` of the weight; ``ordered`` rises."""
    rank = quantile * sum(weight for _, weight in ordered)
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= rank:
            return value
    return ordered[-1][0]
