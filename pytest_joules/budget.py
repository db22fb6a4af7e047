"""Budgets: what an ``energy_budget`` marker says, checked at collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_joules.arguments import MarkerError, by_name, name_of, truth_of
from pytest_joules.references.names import EXAMPLE, ReferenceNameError, parse_reference
from pytest_joules.units import EnergyPerUnit, UnitError, parse_energy_per_unit, parse_percent

_KEYWORDS = ("tolerance", "per", "window", "devices", "gate", "key", "reference")


@dataclass(frozen=True, slots=True)
class EnergyBudget:
    """One budget of one test.

    Attributes:
        limit: An absolute budget; needs no baseline.
        tolerance: The accepted relative rise over the baseline, or ``None`` for the run's default.
        per: The unit of work; ``None`` for the limit's, else the window's own.
        window: The window it speaks of; ``None`` for the test's only one.
        devices: CUDA devices to charge; ``None`` for those that the test runs on.
        gate: Whether a bad verdict fails the test.
        key: The name to store the baseline under instead of the node id.
        reference: The published measurement to show beside it: ``"MODEL, TASK, NAME=VALUE, ..."``.
    """

    limit: EnergyPerUnit | None = None
    tolerance: float | None = None
    per: str | None = None
    window: str | None = None
    devices: tuple[str, ...] | None = None
    gate: bool = True
    key: str | None = None
    reference: str | None = None

    @property
    def wants_baseline(self) -> bool:
        """A bare limit is judged alone; everything else is compared with the baseline."""
        return self.limit is None or self.tolerance is not None

    @classmethod
    def from_marker(cls, args: Sequence[Any], kwargs: Mapping[str, Any]) -> EnergyBudget:
        """Check a marker's arguments.

        Raises:
            MarkerError: naming the argument, the text at fault and the fix.
        """
        given = by_name(args, kwargs, "limit", _KEYWORDS)
        limit = None if given.get("limit") is None else _limit(given["limit"])
        per = name_of("per", given.get("per"))
        if limit is not None and per is not None and limit.unit != per:
            raise MarkerError(f"the limit is per {limit.unit} but per={per!r}; drop one of the two")
        return cls(
            limit=limit,
            tolerance=_tolerance(given.get("tolerance")),
            per=limit.unit if limit is not None else per,
            window=name_of("window", given.get("window")),
            devices=_devices(given.get("devices")),
            gate=truth_of("gate", given.get("gate", True)),
            key=name_of("key", given.get("key")),
            reference=_reference(given.get("reference")),
        )


def _limit(value: object) -> EnergyPerUnit:
    if not isinstance(value, str):
        raise MarkerError(f"limit={value!r} must be text with its units, like '80 mJ/token'")
    try:
        return parse_energy_per_unit(value)
    except UnitError as error:
        raise MarkerError(f"limit: {error}") from error


def _tolerance(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise MarkerError(f"tolerance={value!r} must be text with its sign, like '2%'")
    try:
        return parse_percent(value)
    except UnitError as error:
        raise MarkerError(f"tolerance: {error}") from error


def _reference(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise MarkerError(f"reference={value!r} must be text like {EXAMPLE!r}")
    try:
        return str(parse_reference(value))
    except ReferenceNameError as error:
        raise MarkerError(f"reference: {error}") from error


def _devices(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    items = (value,) if isinstance(value, (int, str)) else value
    if not isinstance(items, (list, tuple)) or not items:
        raise MarkerError(f"devices={value!r} must be a CUDA index or a list of them, like [0, 1]")
    for item in items:
        if (
            isinstance(item, bool)
            or not isinstance(item, (int, str))
            or item == ""
            or (isinstance(item, int) and item < 0)
        ):
            raise MarkerError(f"devices={value!r}: {item!r} is neither a CUDA index nor a UUID")
    names = tuple(str(item) for item in items)
    if len(set(names)) < len(names):
        raise MarkerError(f"devices={value!r} names a device twice: its joules would count double")
    return names
