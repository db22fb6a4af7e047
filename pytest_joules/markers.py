"""The ``energy_budget`` markers of pytest items.

Budgets are imported where a marker is met: a run of pytest that has none pays
nothing for them.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_joules.budget import EnergyBudget

MARKER = "energy_budget"

SIGNATURE = (
    "energy_budget(limit=None, *, tolerance=None, per=None, window=None, devices=None, gate=True, key=None): "
    "fail the test under --energy when its GPU joules per unit of work rise above the stored baseline "
    "by more than the tolerance, or above the limit, e.g. energy_budget('80 mJ/token', tolerance='2%')"
)


def budgets_of(item: pytest.Item) -> tuple[EnergyBudget, ...]:
    """The item's budgets, the marker nearest to the function first.

    Raises:
        BudgetError: if a marker cannot be a budget, two speak of the same window and unit, or two of the same
            window name different devices.
    """
    marks = tuple(item.iter_markers(MARKER))
    if not marks:
        return ()
    from pytest_joules.budget import BudgetError, EnergyBudget

    budgets = tuple(EnergyBudget.from_marker(mark.args, mark.kwargs) for mark in marks)
    places = [(budget.window, budget.per) for budget in budgets]
    for place in places:
        if places.count(place) > 1:
            raise BudgetError(f"two budgets for the same window and unit {place}: keep one, or give window= or per=")
    explicit = [budget for budget in budgets if budget.devices is not None]
    for one, other in itertools.combinations(explicit, 2):
        if (one.window == other.window or None in (one.window, other.window)) and one.devices != other.devices:
            raise BudgetError(
                f"two budgets of one window charge different devices, {one.devices} and {other.devices}: "
                "name the same ones in both, or give window="
            )
    return budgets


def check_markers(collector: pytest.Collector, report: pytest.CollectReport) -> pytest.CollectReport:
    """Turn a collection with wrong markers into a collection error that names each test and fix."""
    wrong = []
    for item in report.result or ():
        if isinstance(item, pytest.Item):
            try:
                budgets_of(item)
            except ValueError as error:  # BudgetError, which is not imported here
                wrong.append(f"{item.nodeid}: {MARKER}: {error}")
    if not wrong:
        return report
    return pytest.CollectReport(collector.nodeid, "failed", "\n".join(wrong), [])
