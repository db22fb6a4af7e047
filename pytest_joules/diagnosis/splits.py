"""The change of joules per unit in exact parts.  Pure functions.

Every split is an identity: its parts, differences of log joules per unit, sum to the change without a residual.
A sum of terms is split with the logarithmic mean (LMDI-I: Ang, *Energy Policy* 33 (2005) 867), a product directly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pytest_joules.diagnosis.observation import Observation, idle_watts
from pytest_joules.diagnosis.quantities import QUANTITIES
from pytest_joules.model import Split

SMALLEST_SHARE = 1e-6
"""A term that is nothing is taken for so much of the joules: its logarithm must exist."""

FEWEST_TENSOR = 0.02
"""Below this share of the time on tensor cores, joules per tensor cycle say nothing."""

WATTS, SECONDS = "watts", "seconds per unit"
STATIC, DYNAMIC = "static", "dynamic"
WAITING, BUSY_TIME, BUSY_POWER = "waiting", "busy time", "power while busy"


def exact_splits(before: Observation, after: Observation) -> tuple[Split, ...]:
    """Every split for which both sides know enough; the first, watts and time, is always there."""
    splits = (
        _watts_and_time(before, after),
        _gpus(before, after),
        _clock(before, after),
        _static(before, after),
        waiting_split(before, after),
        _tensor(before, after),
        _bytes(before, after),
        _estimated("FLOP", "flops", before, after),
        _estimated("estimated byte", "bytes", before, after),
    )
    return tuple(split for split in splits if split is not None)


def waiting_split(before: Observation, after: Observation) -> Split | None:
    """Joules of SMs that wait, at idle power, and those of busy ones: their time, and their power above idle.

    ``E = idle (1 - a) s + (W - idle (1 - a)) / a * a s`` with the share ``a`` of SMs that are active.
    """
    idle, then, now = idle_watts(before, after), before.signal("sm_active"), after.signal("sm_active")
    if idle is None or then is None or now is None:
        return None
    terms = []
    for side, watts, share in ((before, idle[0], then), (after, idle[1], now)):
        a = min(max(share, SMALLEST_SHARE), 1 - SMALLEST_SHARE)
        waiting, busy = (1 - a) * side.seconds_per_unit, a * side.seconds_per_unit
        power = max((side.joules_per_unit - watts * waiting) / busy, SMALLEST_SHARE * side.watts)
        terms.append([(side.joules_per_unit - power * busy,), (busy, power)])
    if min(term[0][0] for term in terms) <= 0:
        return None
    names = (WAITING, BUSY_TIME, BUSY_POWER)
    parts = dict(zip(names, sum_of_products(*terms), strict=True))
    return Split("waiting, busy time, power while busy", parts)


def sum_of_products(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> list[float]:
    """Parts of the log change of a sum of products, one for each factor of each product; all factors above 0."""
    then, now = (sum(map(math.prod, side)) for side in (before, after))
    whole = log_mean_of(then, now)
    parts = []
    for old, new in zip(before, after, strict=True):
        weight = log_mean_of(math.prod(old), math.prod(new)) / whole
        parts += [weight * math.log(b / a) for a, b in zip(old, new, strict=True)]
    return parts


def log_mean_of(a: float, b: float) -> float:
    """The logarithmic mean ``(b - a) / ln(b / a)`` of two positive numbers."""
    log = math.log(b / a)
    # Its series around a = b, where the quotient is 0 / 0.
    return math.sqrt(a * b) * (1 + log**2 / 24) if abs(log) < 1e-4 else (b - a) / log


def _product(name: str, factors: Mapping[str, tuple[float | None, float | None]]) -> Split | None:
    """A split of a product of factors; ``None`` unless all are known and above 0."""
    parts = {}
    for factor, (old, new) in factors.items():
        if not old or not new:
            return None
        parts[factor] = math.log(new / old)
    return Split(name, parts)


def _watts_and_time(before: Observation, after: Observation) -> Split:
    watts = math.log(after.watts / before.watts)
    change = math.log(after.joules_per_unit / before.joules_per_unit)
    return Split("watts and time", {WATTS: watts, SECONDS: change - watts})


def _gpus(before: Observation, after: Observation) -> Split | None:
    if before.count == after.count:
        return None
    return _product(
        "GPU time and watts per GPU",
        {
            "GPU-seconds per unit": (before.count * before.seconds_per_unit, after.count * after.seconds_per_unit),
            "watts per GPU": (before.watts / before.count, after.watts / after.count),
        },
    )


def _clock(before: Observation, after: Observation) -> Split | None:
    then, now = before.conditions.sm_clock_mhz, after.conditions.sm_clock_mhz
    if not then or not now:
        return None
    return _product(
        "joules per SM cycle and cycles",
        {
            "joules per SM cycle": (before.watts / then, after.watts / now),
            "SM cycles per unit": (then * before.seconds_per_unit, now * after.seconds_per_unit),
        },
    )


def _static(before: Observation, after: Observation) -> Split | None:
    idle = idle_watts(before, after)
    if idle is None or min(idle) <= 0:
        return None
    then = [(idle[0] * before.seconds_per_unit,), (max(before.watts - idle[0], 0) * before.seconds_per_unit,)]
    now = [(idle[1] * after.seconds_per_unit,), (max(after.watts - idle[1], 0) * after.seconds_per_unit,)]
    if min(then[1][0], now[1][0]) <= 0:
        return None
    return Split("static and dynamic", dict(zip((STATIC, DYNAMIC), sum_of_products(then, now), strict=True)))


def _tensor(before: Observation, after: Observation) -> Split | None:
    then, now = (QUANTITIES["tensor_cycles"].of(side) for side in (before, after))
    shares = before.signal("tensor_active"), after.signal("tensor_active")
    if not then or not now or min(share or 0.0 for share in shares) < FEWEST_TENSOR:
        return None
    return _product(
        "joules per tensor cycle and tensor cycles",
        {
            "joules per tensor cycle": (before.joules_per_unit / then, after.joules_per_unit / now),
            "tensor cycles per unit": (then, now),
        },
    )


def _bytes(before: Observation, after: Observation) -> Split | None:
    then, now = (
        rate * side.seconds_per_unit if (rate := side.signal("dram_bytes_per_second")) is not None else None
        for side in (before, after)
    )
    if not then or not now:
        return None
    return _product(
        "joules per byte and bytes",
        {
            "joules per byte": (before.joules_per_unit / then, after.joules_per_unit / now),
            "bytes per unit": (then, now),
        },
    )


def _estimated(what: str, fact: str, before: Observation, after: Observation) -> Split | None:
    """By what an engine estimates that a unit takes, of arithmetic or memory traffic."""
    then, now = (side.conditions.facts.get(f"{fact}_per_{side.unit}") for side in (before, after))
    if not then or not now:
        return None
    return _product(
        f"joules per {what} and {what}s",
        {
            f"joules per {what}": (before.joules_per_unit / then, after.joules_per_unit / now),
            f"{what}s per unit": (then, now),
        },
    )
