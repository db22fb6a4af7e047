"""Service level objectives: ``itl_p95 < 50 ms`` as text to conditions and back."""

from __future__ import annotations

from dataclasses import dataclass


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
        """``itl_p95 < 50 ms``."""
        raise NotImplementedError


def parse_slo(text: str) -> tuple[Condition, ...]:
    """Read ``"itl_p95 < 50 ms, throughput >= 1000"``: conditions behind commas, or ``and``.

    Raises:
        SloError: for anything else, naming the text at fault.
    """
    raise NotImplementedError
