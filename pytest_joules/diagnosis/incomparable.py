"""Differences that make two numbers no change of one thing.  Pure."""

from __future__ import annotations

from pytest_joules.diagnosis.observation import Observation
from pytest_joules.facts import WEIGHTS
from pytest_joules.model import LIMIT_WATTS


def incomparable(before: Observation, after: Observation) -> tuple[str, ...]:
    """Each as ``what: before -> after``; what only one side knows is no difference."""
    found = []
    if before.unit != after.unit:
        found.append(f"unit: {before.unit} -> {after.unit}")
    if before.device and after.device and before.device != after.device:
        found.append(f"device: {before.device} -> {after.device}")
    if before.count != after.count:
        found.append(f"devices: {before.count} -> {after.count}")
    then, now = before.power_limit_watts, after.power_limit_watts
    if then is not None and now is not None and before.count == after.count and abs(now - then) > LIMIT_WATTS:
        found.append(f"power limit: {then:.0f} W -> {now:.0f} W")
    if before.scope and after.scope and before.scope != after.scope:
        found.append(f"joules of: {before.scope} -> {after.scope}")
    if None not in (before.simulated, after.simulated) and before.simulated != after.simulated:
        found.append(f"GPU: {_reality(before)} -> {_reality(after)}")
    if before.kind and after.kind and before.kind is not after.kind:
        found.append(f"measured by: {before.kind.value} -> {after.kind.value}")
    weights = before.conditions.configuration.get(WEIGHTS), after.conditions.configuration.get(WEIGHTS)
    if None not in weights and weights[0] != weights[1]:
        found.append(f"weights: {weights[0]} -> {weights[1]}")
    return tuple(found)


def _reality(side: Observation) -> str:
    return "simulated" if side.simulated else "real"
