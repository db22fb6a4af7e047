"""The ``energy_budget`` and ``energy_sweep`` markers of pytest items.

Budgets and sweeps are imported where a marker is met: a run of pytest that has none pays
nothing for them.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from pytest_joules.arguments import MarkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_joules.budget import EnergyBudget
    from pytest_joules.grouping import EnergySweep

MARKER, SWEEP = "energy_budget", "energy_sweep"

SIGNATURE = (
    "energy_budget(limit=None, *, tolerance=None, per=None, window=None, devices=None, gate=True, key=None, "
    "reference=None): "
    "fail the test under --energy when its GPU joules per unit of work rise above the stored baseline "
    "by more than the tolerance, or above the limit, e.g. energy_budget('80 mJ/token', tolerance='2%')"
)

SWEEP_SIGNATURE = (
    'energy_sweep(group=None, *, latency="call", unit=None, window=None, default=False): '
    "measure every instance of a parametrized test, or of all tests of the group, under --energy as one point of "
    "joules per unit of work against a latency, and recommend one, e.g. energy_sweep('chat decode', latency='itl_p95')"
)


def budgets_of(item: pytest.Item) -> tuple[EnergyBudget, ...]:
    """The item's budgets, the marker nearest to the function first.

    Raises:
        MarkerError: if a marker cannot be a budget, two speak of the same window and unit, or two of the same
            window name different devices.
    """
    marks = tuple(item.iter_markers(MARKER))
    if not marks:
        return ()
    from pytest_joules.budget import EnergyBudget

    budgets = tuple(EnergyBudget.from_marker(mark.args, mark.kwargs) for mark in marks)
    places = [(budget.window, budget.per) for budget in budgets]
    for place in places:
        if places.count(place) > 1:
            raise MarkerError(f"two budgets for the same window and unit {place}: keep one, or give window= or per=")
    explicit = [budget for budget in budgets if budget.devices is not None]
    for one, other in itertools.combinations(explicit, 2):
        if (one.window == other.window or None in (one.window, other.window)) and one.devices != other.devices:
            raise MarkerError(
                f"two budgets of one window charge different devices, {one.devices} and {other.devices}: "
                "name the same ones in both, or give window="
            )
    return budgets


def sweep_of(item: pytest.Item) -> EnergySweep | None:
    """What the item's markers say of the sweep that it belongs to; the closest wins, argument by argument.

    Raises:
        MarkerError: if a marker cannot be one, or two of the function itself name different groups.
    """
    marks = [(mark.args, mark.kwargs) for mark in item.iter_markers(SWEEP)]
    if not marks:
        return None
    from pytest_joules.grouping import EnergySweep

    found = EnergySweep.from_markers(marks)
    own = (EnergySweep.from_markers([(mark.args, mark.kwargs)]) for mark in item.own_markers if mark.name == SWEEP)
    groups = list(dict.fromkeys(each.group for each in own if each.group is not None))
    if len(groups) > 1:
        raise MarkerError(
            f"two groups, {groups[0]!r} and {groups[1]!r}, and a test is a point of one: give one group; "
            "another latency: pytest-joules frontier --latency"
        )
    return found


def check_markers(collector: pytest.Collector, report: pytest.CollectReport) -> pytest.CollectReport:
    """Turn a collection with wrong markers into a collection error that names each test and fix."""
    wrong = [
        f"{item.nodeid}: {marker}: {fault}"
        for item in report.result or ()
        if isinstance(item, pytest.Item)
        for marker, read in ((MARKER, budgets_of), (SWEEP, sweep_of))
        if (fault := _fault(read, item))
    ]
    if not wrong:
        return report
    return pytest.CollectReport(collector.nodeid, "failed", "\n".join(wrong), [])


def _fault(read: Callable[[pytest.Item], object], item: pytest.Item) -> str:
    try:
        read(item)
    except MarkerError as error:
        return str(error)
    return ""
