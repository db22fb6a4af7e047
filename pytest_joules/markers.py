"""The ``energy_budget`` markers of pytest items."""

from __future__ import annotations

import pytest

from pytest_joules.budget import BudgetError, EnergyBudget

MARKER = "energy_budget"


def budgets_of(item: pytest.Item) -> tuple[EnergyBudget, ...]:
    """The item's budgets, the marker nearest to the function first.

    Raises:
        BudgetError: if a marker cannot be a budget, or two speak of the same window and unit.
    """
    budgets = tuple(EnergyBudget.from_marker(mark.args, mark.kwargs) for mark in item.iter_markers(MARKER))
    places = [(budget.window, budget.per) for budget in budgets]
    for place in places:
        if places.count(place) > 1:
            raise BudgetError(f"two budgets for the same window and unit {place}: keep one, or give window= or per=")
    return budgets


def check_markers(collector: pytest.Collector, report: pytest.CollectReport) -> pytest.CollectReport:
    """Turn a collection with wrong markers into a collection error that names each test and fix."""
    wrong = []
    for item in report.result or ():
        if isinstance(item, pytest.Item):
            try:
                budgets_of(item)
            except BudgetError as error:
                wrong.append(f"{item.nodeid}: {MARKER}: {error}")
    if not wrong:
        return report
    return pytest.CollectReport(collector.nodeid, "failed", "\n".join(wrong), [])
