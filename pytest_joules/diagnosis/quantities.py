"""What rules look at: measured numbers, signals, and amounts per unit of work, as data; and how they changed.

Amounts per unit are what tells mechanisms apart: a GPU that waits has as many busy seconds per unit as before, one with
more work has more, one that lost its tensor cores has fewer tensor cycles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from pytest_joules.diagnosis.observation import Observation
from pytest_joules.facts import FACTS
from pytest_joules.signals import CONDITIONS, SIGNALS
from pytest_joules.units import format_bytes, format_count, format_percent, format_seconds

SMALLEST_ACTIVE = 0.005
"""A pipe that is active for less of the time does nothing that counts."""

SMALLEST_BYTES = 1e9
"""Bytes per second and device: an eightieth of what PCIe 5.0 x16 carries both ways (128 GB/s), a tenth of a percent of
NVLink or HBM; less is bookkeeping."""

SMALLEST_CORES = 0.05
"""Of a processor core; less is bookkeeping."""

SMALLEST_BATCH = 0.1
"""Requests; a server that runs fewer at once is idle."""

TENSOR_WORK = 0.02
"""Tensor cores active for more of the time do the work, else the other pipes do."""

OTHER_PIPES = ("fp32", "fp16", "fp64", "integer")


class Scale(str, Enum):
    """How a change is told: as a ratio (log), or as a difference."""

    RATIO = "ratio"
    DIFFERENCE = "difference"


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something known of a window that a rule may look at.

    Attributes:
        name: What rules call it.
        text: What it is, in words.
        of: Its value; ``None`` is "unavailable".
        show: Its value in print.
        scale: How its change is told.
        least: Least change that counts: a difference, or a log ratio.
        why: Where ``least`` comes from.
        needs: Signals without which it is unavailable.
    """

    name: str
    text: str
    of: Callable[[Observation], float | None]
    show: Callable[[float], str]
    scale: Scale
    least: float
    why: str
    needs: tuple[str, ...] = ()


def _plain(unit: str, digits: int = 0) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f} {unit}".rstrip()


def _share(value: float) -> str:
    return format_percent(value)


def _signal(name: str, smallest: float = 0.0) -> Callable[[Observation], float | None]:
    def value(side: Observation) -> float | None:
        known = side.signal(name)
        return None if known is None else max(known, smallest)

    return value


def _fact(name: str) -> Callable[[Observation], float | None]:
    return lambda side: side.conditions.facts.get(name)


def _of_unit(fact: str) -> Callable[[Observation], float | None]:
    return lambda side: side.conditions.facts.get(fact + side.unit)


def _busy_seconds(side: Observation) -> float | None:
    share = side.signal("sm_active")
    return None if share is None else max(share, SMALLEST_ACTIVE) * side.seconds_per_unit


def _cycles(*pipes: str) -> Callable[[Observation], float | None]:
    def value(side: Observation) -> float | None:
        shares = [side.signal(f"{pipe}_active") for pipe in pipes]
        known = [share for share in shares if share is not None]
        clock = side.conditions.sm_clock_mhz
        # The first does most of such work: where it is not known, the others tell little.
        if shares[0] is None or clock is None:
            return None
        return max(sum(known), SMALLEST_ACTIVE) * 1e6 * clock * side.seconds_per_unit * side.count

    return value


def _per_unit(*rates: str) -> Callable[[Observation], float | None]:
    def value(side: Observation) -> float | None:
        known = [rate for name in rates if (rate := side.signal(name)) is not None]
        if not known:
            return None
        return max(sum(known), SMALLEST_BYTES * side.count) * side.seconds_per_unit

    return value


def _host_seconds(side: Observation) -> float | None:
    cores = side.signal("host_cores")
    return None if cores is None else max(cores, SMALLEST_CORES) * side.seconds_per_unit


def _batch(side: Observation) -> float | None:
    running = side.signal("running_requests")
    return None if running is None else max(running, SMALLEST_BATCH)


CAPPED = 0.02
"""A device that is held by its power cap for more of the time has no clock of its own."""

CAPPED_CLOCK, PARTLY_CAPPED_CLOCK = 0.025, 0.05
"""Least change of the SM clock where the power cap sets it: all of the time, and some of it, when the mean is one of
several clocks.  Runs of unchanged work on H200s differed by up to 2.1 and 4.4 %, and not at all below the cap."""

ALL_OF_IT = 0.95
"""Share of the time that is as good as all of it."""

_STEADY = "half of the runs of unchanged work on H200s kept them to 0.3 %; never less than half of the noise"
_POINTS = "in 252 A/A pairs on an H200 a share of a window differed by 0.1 points in the median, by 1.9 at most"
_AMOUNTS = "in 252 A/A pairs on an H200 they differed by 0.3 to 0.4 % in the median; 19 of 20 pairs lay within {}"
_COUNTED = "counted by the driver in nanoseconds; less than a hundredth of the time moves joules by less than that"
_ENGINE = "a running batch wanders by a few percent with when requests come and end"

QUANTITIES: Mapping[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("watts", "watts", lambda side: side.watts, _plain("W"), Scale.RATIO, 0.005, _STEADY),
        Quantity("seconds", "seconds per unit", lambda side: side.seconds_per_unit, format_seconds, Scale.RATIO,
                 0.005, _STEADY),
        Quantity("temperature", "temperature", lambda side: side.conditions.temperature_celsius, _plain("°C"),
                 Scale.DIFFERENCE, 10.0,
                 "at 0.25 %/°C a smaller one is within a tolerance; and what makes 90 W more heats an H200 by 8 °C",
                 ("temperature_celsius",)),
        Quantity("sm_clock", "SM clock", lambda side: side.conditions.sm_clock_mhz, _plain("MHz"), Scale.RATIO, 0.01,
                 "clocks move in steps of 15 MHz, 0.8 % at 1980 MHz; more where the power cap sets it",
                 ("sm_clock_mhz",)),
        Quantity("power_cap", "power capping", lambda side: side.conditions.power_cap_share, _share,
                 Scale.DIFFERENCE, 0.2, "runs of unchanged work on H200s differed by up to 17 points",
                 ("power_cap_share",)),
        *(
            Quantity(name, text, _signal(name), _share, Scale.DIFFERENCE, 0.01, _COUNTED, (name,))
            for name, text in (
                ("sync_boost_share", "slowed down to keep GPUs in step"),
                ("software_thermal_share", "slowed down by the driver for heat"),
                ("hardware_thermal_share", "slowed down by the hardware for heat"),
                ("power_brake_share", "under the external power brake"),
            )
        ),
        Quantity("sm_active", "SM active", _signal("sm_active"), _share, Scale.DIFFERENCE, 0.02, _POINTS,
                 ("sm_active",)),
        Quantity("tensor_active", "tensor cores active", _signal("tensor_active"), _share, Scale.DIFFERENCE, 0.02,
                 _POINTS, ("tensor_active",)),
        Quantity("dram_active", "memory bandwidth in use", _signal("dram_active"), _share, Scale.DIFFERENCE, 0.02,
                 _POINTS, ("dram_active",)),
        Quantity("busy_seconds", "SMs work, per unit", _busy_seconds, format_seconds, Scale.RATIO, 0.015,
                 _AMOUNTS.format("0.9 %"), ("sm_active",)),
        Quantity("tensor_cycles", "tensor core cycles per unit", _cycles("tensor"), format_count, Scale.RATIO,
                 0.02, _AMOUNTS.format("1.6 %"), ("tensor_active", "sm_clock_mhz")),
        Quantity("other_cycles", "FP32, FP16, FP64 and integer cycles per unit", _cycles(*OTHER_PIPES),
                 format_count, Scale.RATIO, 0.02, _AMOUNTS.format("1.2 %"), ("fp32_active", "sm_clock_mhz")),
        Quantity("dram_bytes", "device memory traffic per unit", _per_unit("dram_bytes_per_second"),
                 format_bytes, Scale.RATIO, 0.035, _AMOUNTS.format("3.5 %"), ("dram_bytes_per_second",)),
        Quantity("flops", "estimated FLOPs per unit", _of_unit("flops_per_"), format_count, Scale.RATIO, 0.005,
                 "estimated from shapes and counts"),
        Quantity("link_bytes", "NVLink and PCIe traffic per unit",
                 _per_unit("nvlink_bytes_per_second", "pcie_bytes_per_second"), format_bytes,
                 Scale.RATIO, 0.1, "driver, prefetching and logging come and go on a link",
                 ("nvlink_bytes_per_second", "pcie_bytes_per_second")),
        Quantity("host_seconds", "host processor time per unit", _host_seconds, format_seconds, Scale.RATIO, 0.1,
                 "a host's time wanders by percents", ("host_cores",)),
        Quantity("running_requests", "requests that ran at once", _batch, _plain("", 1), Scale.RATIO, 0.05, _ENGINE,
                 ("running_requests",)),
        Quantity("waiting_requests", "requests that waited", _signal("waiting_requests"), _plain("", 1),
                 Scale.DIFFERENCE, 2.5, "A/A pairs of vLLM differed by up to 2.4, of 24", ("waiting_requests",)),
        Quantity("kv_cache_usage", "KV cache in use", _signal("kv_cache_usage"), _share, Scale.DIFFERENCE, 0.05,
                 _ENGINE, ("kv_cache_usage",)),
        *(
            Quantity(fact.name, fact.text, _fact(fact.name), fact.shown,
                     Scale.DIFFERENCE if fact.floor else Scale.RATIO, fact.floor or fact.slack,
                     "what two sessions may differ by and still do the same work")
            for fact in FACTS
        ),
    )
}  # fmt: skip
"""By name.  A least change is what counts as one, not what is significant: what a cause explains is bounded by the
joules that its part of a split moved, and those must lie outside the noise."""

TEXTS = {signal.name: signal.text for signal in (*CONDITIONS, *SIGNALS)}
ENABLE = {signal.name: signal.enable for signal in (*CONDITIONS, *SIGNALS)}


_PIPES = {"tensor_cycles": ("tensor",), "other_cycles": OTHER_PIPES}
_TRAFFIC = {
    "dram_bytes": ("dram_bytes_per_second",),
    "link_bytes": ("nvlink_bytes_per_second", "pcie_bytes_per_second"),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two observations of the same work, and the noise between them as a difference of log joules per unit."""

    before: Observation
    after: Observation
    noise: float

    @property
    def change(self) -> float:
        """Difference of log joules per unit."""
        return math.log(self.after.joules_per_unit / self.before.joules_per_unit)

    @property
    def up(self) -> bool:
        """Whether joules rose."""
        return self.change > 0

    @property
    def several(self) -> bool:
        """Whether several devices work on either side."""
        return max(self.before.count, self.after.count) > 1

    @property
    def engine(self) -> bool:
        """Whether an engine that batches requests is at work."""
        sides = (self.before, self.after)
        return any(
            "max_num_seqs" in s.conditions.configuration or s.signal("running_requests") is not None for s in sides
        )

    @property
    def costly(self) -> Observation:
        """The side that took more joules."""
        return self.after if self.up else self.before

    def values(self, name: str) -> tuple[float, float] | None:
        """Before and after; ``None`` unless both are known."""
        then, now = (QUANTITIES[name].of(side) for side in (self.before, self.after))
        return None if then is None or now is None else (then, now)

    def moved(self, name: str) -> float | None:
        """The change of a quantity on its scale; ``None`` if it is unknown."""
        if name == "compute_cycles":
            # Without tensor cores' share nobody knows which pipe does the work.
            return None if self.values("tensor_active") is None else self.moved(self.compute)
        values = self.values(name)
        if values is None:
            return None
        then, now = values
        if self._idle(name) or self._nothing_flows(name):
            # Else the least that is taken for their share would rise with the time.
            return 0.0
        if QUANTITIES[name].scale is Scale.DIFFERENCE or not then > 0 or not now > 0:
            return now - then
        return math.log(now / then)

    def least(self, name: str) -> float:
        """The least change of a quantity that counts between these two: more than unchanged work shows of it.

        One of watts and seconds moved by half of what joules did, or more: a smaller change than half of the noise
        tells nothing of either.
        """
        if name in ("watts", "seconds"):
            return max(QUANTITIES[name].least, self.noise / 2)
        if name == "sm_clock":
            shares = [side.conditions.power_cap_share or 0.0 for side in (self.before, self.after)]
            if max(shares) > CAPPED:
                return CAPPED_CLOCK if min(shares) >= ALL_OF_IT else PARTLY_CAPPED_CLOCK
        return QUANTITIES[self.compute if name == "compute_cycles" else name].least

    @property
    def compute(self) -> str:
        """The quantity that counts the arithmetic: tensor core cycles where these do it, else the other pipes'."""
        return "tensor_cycles" if self._most("tensor") >= TENSOR_WORK else "other_cycles"

    def uses(self, pipe: str) -> bool:
        """Whether a pipe does anything that counts on either side."""
        return self._most(pipe) > SMALLEST_ACTIVE

    def _idle(self, name: str) -> bool:
        """Whether a quantity is cycles of pipes that do nothing on either side."""
        return name in _PIPES and not any(self.uses(pipe) for pipe in _PIPES[name])

    def _nothing_flows(self, name: str) -> bool:
        """Whether a quantity is traffic, and neither side has more of it than bookkeeping."""
        rates = _TRAFFIC.get(name, ())
        most = max(sum(side.signal(rate) or 0.0 for rate in rates) / side.count for side in (self.before, self.after))
        return bool(rates) and most <= SMALLEST_BYTES

    def _most(self, pipe: str) -> float:
        return max(side.signal(f"{pipe}_active") or 0.0 for side in (self.before, self.after))

    def evidence(self, name: str) -> str:
        """``what: before -> after``, with the percent of a ratio."""
        if name == "compute_cycles":
            return self.evidence(self.compute)
        quantity, values = QUANTITIES[name], self.values(name)
        if values is None or self._idle(name) or self._nothing_flows(name):
            return ""
        then, now = values
        percent = f" ({format_percent(now / then - 1, signed=True)})" if quantity.scale is Scale.RATIO and then else ""
        return f"{quantity.text}: {quantity.show(then)} -> {quantity.show(now)}{percent}"
