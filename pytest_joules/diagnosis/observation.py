"""One side of a comparison: what a unit of work cost, and all that is known of how it was done.  Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeVar

from pytest_joules.diagnosis.seen import told
from pytest_joules.history import log_mean, log_seconds
from pytest_joules.model import Conditions, Measurement, Session, WindowKind

_T = TypeVar("_T")

LOADED_IDLE = "loaded_idle_watts"

LIKELY_IDLE = 0.4
"""Share of the power limit above which the least power before the work was no idling: a test before it was still
running.  H200s with a model loaded idle at 17 % of theirs (75 to 126 W of 700 W), and what was stored as idle after
other work is 30 to 80 %."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one unit of work cost, and what is known of how.

    Attributes:
        joules_per_unit: J per unit, all devices together.
        seconds_per_unit: s per unit.
        unit: The unit of work.
        device: The product name; several different ones are joined by ``+``.  Empty if it is not known.
        count: How many devices.
        power_limit_watts: The devices' enforced limits together, if all are known.
        scope: What the joules cover (:class:`~pytest_joules.model.Device`); empty if it is not known.
        simulated: Whether the devices are simulated; ``None`` if it is not known.
        kind: How the window was measured.
        driver: The driver's version.
        conditions: The state of the machine, the work's facts, the settings, the signals.
    """

    joules_per_unit: float
    seconds_per_unit: float
    unit: str
    device: str = ""
    count: int = 1
    power_limit_watts: float | None = None
    scope: str = ""
    simulated: bool | None = None
    kind: WindowKind | None = None
    driver: str | None = None
    conditions: Conditions = field(default_factory=Conditions)

    @classmethod
    def of_measurement(cls, measurement: Measurement, unit: str) -> Observation:
        """Today's side.

        Raises:
            KeyError: if the window did not count ``unit``.
        """
        devices, blocks = measurement.devices, measurement.blocks[unit]
        limits = [device.power_limit_watts for device in devices]
        known = [limit for limit in limits if limit is not None]
        return cls(
            joules_per_unit=math.exp(log_mean(blocks)),
            seconds_per_unit=math.exp(log_seconds(blocks)),
            unit=unit,
            device="+".join(sorted({device.name for device in devices})),
            count=len(devices),
            power_limit_watts=sum(known) if known and len(known) == len(limits) else None,
            scope="+".join(sorted({device.scope for device in devices})),
            simulated=any(device.simulated for device in devices),
            kind=measurement.kind,
            driver=_shared([device.driver for device in devices]),
            conditions=measurement.conditions,
        )

    @classmethod
    def of_sessions(
        cls,
        sessions: Sequence[Session],
        unit: str,
        device: str = "",
        power_limit_watts: float | None = None,
        scope: str = "",
        simulated: bool | None = None,
    ) -> Observation:
        """The side of stored sessions, at least one: geometric means, and settings that all of them share.

        Args:
            sessions: Of one window and unit.
            unit: The unit of work.
            device: The product name, which the file of the sessions holds.
            power_limit_watts: The limits of all devices together, if they are known.
            scope: What the joules cover, if it is known.
            simulated: Whether the devices are simulated, if it is known.
        """
        return cls(
            joules_per_unit=math.exp(fmean([log_mean(session.blocks) for session in sessions])),
            seconds_per_unit=math.exp(fmean([log_seconds(session.blocks) for session in sessions])),
            unit=unit,
            device=device,
            count=_count([len(session.devices) for session in sessions]),
            power_limit_watts=power_limit_watts,
            scope=scope,
            simulated=simulated,
            kind=_shared([session.kind for session in sessions]),
            driver=_shared([session.driver for session in sessions]),
            conditions=merged([session.conditions for session in sessions]),
        )

    @classmethod
    def mean(cls, sides: Sequence[Observation]) -> Observation:
        """Several observations of one thing, at least one, as one: geometric means, and what all of them share."""
        return cls(
            joules_per_unit=math.exp(fmean(math.log(side.joules_per_unit) for side in sides)),
            seconds_per_unit=math.exp(fmean(math.log(side.seconds_per_unit) for side in sides)),
            unit=sides[0].unit,
            device=_shared([side.device for side in sides]) or "",
            count=_count([side.count for side in sides]),
            power_limit_watts=_shared([side.power_limit_watts for side in sides]),
            scope=_shared([side.scope for side in sides]) or "",
            simulated=_shared([side.simulated for side in sides]),
            kind=_shared([side.kind for side in sides]),
            driver=_shared([side.driver for side in sides]),
            conditions=merged([side.conditions for side in sides]),
        )

    @property
    def watts(self) -> float:
        """Mean power of all devices while they worked."""
        return self.joules_per_unit / self.seconds_per_unit

    def signal(self, name: str) -> float | None:
        """A signal; ``None`` is "unavailable"."""
        return told(self.conditions, name)


def merged(conditions: Sequence[Conditions]) -> Conditions:
    """Several sessions' conditions as one: means over those that know a number, and settings that all share.

    Of idle power it is the least: not every session came to rest.
    """
    signals = _means([c.signals for c in conditions])
    if LOADED_IDLE in signals:
        signals[LOADED_IDLE] = min(c.signals[LOADED_IDLE] for c in conditions if LOADED_IDLE in c.signals)
    return Conditions(
        temperature_celsius=_mean(c.temperature_celsius for c in conditions),
        sm_clock_mhz=_mean(c.sm_clock_mhz for c in conditions),
        power_cap_share=_mean(c.power_cap_share for c in conditions),
        idle_watts=min((c.idle_watts for c in conditions if c.idle_watts is not None), default=None),
        sensor_duty=min((c.sensor_duty for c in conditions if c.sensor_duty is not None), default=None),
        versions=_common([c.versions for c in conditions]),
        facts=_means([c.facts for c in conditions]),
        configuration=_common([c.configuration for c in conditions]),
        signals=signals,
    )


def idle_watts(before: Observation, after: Observation) -> tuple[float, float] | None:
    """What the devices draw on either side while they do nothing, in W; ``None`` if nobody knows.

    With the model loaded, where both sides know that.  Else the least power that either saw before its work, for
    both: it is idle power only where it is small beside the limit.
    """
    then, now = before.signal(LOADED_IDLE), after.signal(LOADED_IDLE)
    if then is not None and now is not None and then <= before.watts and now <= after.watts:
        return then, now
    seen = [
        watts
        for side in (before, after)
        for watts in (side.signal(LOADED_IDLE), side.conditions.idle_watts)
        if watts is not None
    ]
    limit = after.power_limit_watts or before.power_limit_watts
    if not seen or limit is None or before.count != after.count:
        return None
    # A loaded device idles higher than an empty one: of several the most that is still idle.
    idle = max((watts for watts in seen if watts <= LIKELY_IDLE * limit), default=None)
    if idle is None or idle > min(before.watts, after.watts):
        return None
    return idle, idle


def _count(counts: Sequence[int]) -> int:
    return max(1, round(fmean(counts)))


def _shared(values: Sequence[_T | None]) -> _T | None:
    return values[0] if values and all(value == values[0] for value in values) else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _means(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = sorted(set().union(*tables))
    return {name: fmean([table[name] for table in tables if name in table]) for name in names}


def _common(tables: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {name: value for name, value in tables[0].items() if all(table.get(name) == value for table in tables[1:])}
