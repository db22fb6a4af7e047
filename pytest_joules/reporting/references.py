"""What a measurement comes to beside a published one: yours / published."""

from __future__ import annotations

from pytest_joules.model import BudgetResult
from pytest_joules.units import format_joules


def beside(result: BudgetResult) -> str:
    """One line: how many times the published joules these are, whose they are, and of what; empty without any."""
    reference, ratio = result.reference, result.over_reference
    if reference is None or ratio is None or result.key is None:
        return ""
    published = f"{format_joules(reference.joules[result.key.unit])}/{result.key.unit}"
    origin = f"{reference.source}, {reference.date}, {reference.gpu}"
    return f"{ratio:.3f} times the published {published}: {result.budget.reference} ({origin})"
