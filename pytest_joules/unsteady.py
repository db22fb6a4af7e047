"""Windows without a single answer: joules per unit changed in the middle.  Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from pytest_joules.model import Block
from pytest_joules.statistics import (
    BLOCK_PRIOR_DF,
    BLOCK_SD,
    Spread,
    autocorrelation_inflation,
    combine,
    spread_of,
    student_quantile,
)
from pytest_joules.units import format_joules, format_percent

FEWEST_BLOCKS = 4
"""Two in either half, so that each shows some scatter of its own."""

CHANCE = 1e-6
"""How rarely noise alone may make a window unsteady: ten thousand times more rarely than a run may raise a false
alarm, since a suite looks many times at many windows."""


def unsteady(blocks: Sequence[Block], unit: str, tolerance: float) -> str:
    """Why a window has no single number of joules per unit; empty if it has.

    A rise of twice the tolerance must be caught.  Where the halves of a window
    differ by more than that, and by more than the scatter within them makes of
    it, the verdict would depend on the half that is looked at.

    Args:
        blocks: Those of ``unit``, in order.
        unit: The unit of work.
        tolerance: Accepted relative rise of joules per unit.
    """
    middle = len(blocks) // 2
    if len(blocks) < FEWEST_BLOCKS:
        return ""
    halves = [[math.log(block.joules_per_unit) for block in half] for half in (blocks[:middle], blocks[-middle:])]
    one = combine([Spread(BLOCK_SD**2, BLOCK_PRIOR_DF), *(spread_of(half) for half in halves)])
    error = math.sqrt(one.variance * autocorrelation_inflation(halves) * 2 / middle)
    first, last = map(fmean, halves)
    if abs(last - first) <= 2 * math.log1p(tolerance) + student_quantile(one.df, 1 - CHANCE / 2) * error:
        return ""
    before, after = (f"{format_joules(math.exp(half))}/{unit}" for half in (first, last))
    change = format_percent(math.expm1(last - first), signed=True)
    return (
        f"not steady: {before} in the first half of the window, {after} in the last ({change}), which neither the "
        "blocks' scatter nor the tolerance explains: something changed meanwhile. Let every call do the same work, "
        "warm up longer (warmup=), and see what else the device and the host do"
    )
