"""Service level objectives: ``itl_p95 < 50 ms`` as text to conditions and back."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from pytest_joules.latency import DISTRIBUTIONS, MEANS, NAMES, QUANTILES, named
from pytest_joules.units import GREEK_MU, MICRO

if TYPE_CHECKING:
    from pytest_joules.model import SweepPoint

LATENCIES = (*MEANS, *(name for name in DISTRIBUTIONS if name not in MEANS))
"""What may be limited from above, but for percentiles."""

THROUGHPUT = "throughput"
"""What may be limited from below: units/s."""

MEDIAN = "_p50"

_SECONDS = {"s": 0, "ms": -3, "us": -6, "µs": -6}
"""Powers of ten."""

_NUMBER = r"\d+(?:\.\d*)?(?:[eE][+-]?\d{1,2})?"
_CLAUSE = rf"(\w+)\s*(<=|>=|<|>)\s*({_NUMBER})\s*(\S*)"
_EXAMPLE = "write it like 'itl_p95 < 50 ms' or 'throughput >= 1000'"


class SloError(ValueError):
    """Text that is no condition; the message names it and the fix."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition that a configuration has to meet.

    Attributes:
        metric: What it speaks of: ``throughput`` (units/s), or a latency: ``call``, ``unit``, ``call_p95``, ``ttft``,
            ``itl_p95``...; a distribution without a percentile means its median.
        bound: In s, or units/s.
        least: Whether the bound is the least that will do; else the most.
        inclusive: Whether the bound itself will do.
    """

    metric: str
    bound: float
    least: bool = False
    inclusive: bool = False

    def __str__(self) -> str:
        """``itl_p95 < 50 ms``, which reads back as the same condition."""
        sign = (">" if self.least else "<") + ("=" if self.inclusive else "")
        exact = Decimal(repr(self.bound))
        if self.metric == THROUGHPUT:
            return f"{self.metric} {sign} {exact.normalize():f}"
        unit = "s" if self.bound >= 1 else "ms" if self.bound >= 1e-3 else "us"
        return f"{self.metric} {sign} {exact.scaleb(-_SECONDS[unit]).normalize():f} {unit}"

    def holds(self, value: float) -> bool:
        """Whether ``value``, in s or units/s, meets it."""
        if value == self.bound:
            return self.inclusive
        return value > self.bound if self.least else value < self.bound


def parse_slo(text: str) -> tuple[Condition, ...]:
    """Read ``"itl_p95 < 50 ms, throughput >= 1000"``: conditions behind commas, or ``and``.

    Raises:
        SloError: for anything else, naming the text at fault.
    """
    return tuple(_condition(clause.strip(), text) for clause in re.split(r",|\band\b", text))


def is_latency(name: str) -> bool:
    """Whether ``name`` is that of a latency: ``call``, ``itl_p95``."""
    return name in LATENCIES or name in NAMES


def latencies_of(points: Iterable[SweepPoint]) -> dict[str, None]:
    """The names of the latencies that any of the points tells, in order."""
    return dict.fromkeys(name for point in points for at in point.passes for name in at.seconds)


def latency_called(name: str, known: Container[str]) -> str:
    """The latency that ``name`` means: itself if it is known or a mean, else the median of that distribution."""
    return name if name in known or name in MEANS or "_p" in name else name + MEDIAN


def _condition(clause: str, text: str) -> Condition:
    match = re.fullmatch(_CLAUSE, clause, re.ASCII)
    if match is None:
        raise SloError(f"{clause!r} in {text!r} is no condition; {_EXAMPLE}" if clause else _empty(text))
    metric, sign, number, unit = match.groups()
    unit = unit.replace(GREEK_MU, MICRO)
    least, inclusive = sign[0] == ">", sign.endswith("=")
    if metric == THROUGHPUT:
        if not least:
            raise SloError(f"{clause!r}: a throughput is held to the least that will do; write '{metric} >= {number}'")
        if unit not in ("", "/s"):
            raise SloError(f"{clause!r}: {unit!r} is no unit of a throughput, which counts units of work per second")
        return Condition(metric, _bound(Decimal(number), clause), least, inclusive)
    if not is_latency(metric):
        percentiles = ", ".join(named("itl", quantile) for quantile in QUANTILES)
        raise SloError(
            f"unknown metric {metric!r} in {clause!r}; use {THROUGHPUT}, or one of {', '.join(LATENCIES)}, "
            f"or a percentile, as in {percentiles}"
        )
    if least:
        raise SloError(f"{clause!r}: a latency is held to the most that will do; write '{metric} <= {number} {unit}'")
    if unit not in _SECONDS:
        raise SloError(f"{clause!r}: a latency takes one of the units {', '.join(_SECONDS)}, as in '{metric} < 50 ms'")
    return Condition(metric, _bound(Decimal(number).scaleb(_SECONDS[unit]), clause), least, inclusive)


def _bound(exact: Decimal, clause: str) -> float:
    bound = float(exact)
    if not 0 < bound < math.inf:
        raise SloError(f"{clause!r}: the limit must be a finite number above zero")
    return bound


def _empty(text: str) -> str:
    return f"no condition where one belongs in {text!r}; {_EXAMPLE}"
