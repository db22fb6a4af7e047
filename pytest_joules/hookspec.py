"""Hooks that a ``conftest.py`` or a plugin may implement.

Whoever looks at a result or a run has a copy of it, and costs no verdict by what it raises, pytest's outcomes included.
What a hook raises that a number rests on (a meter, a key, counts) fails the run or the test.  See
:mod:`pytest_joules.asking`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_joules.diagnosis.observation import Observation
    from pytest_joules.meters.base import Meter
    from pytest_joules.model import BudgetResult, Cause, RunResult
    from pytest_joules.workloads.work import Call


@pytest.hookspec(firstresult=True)
def pytest_joules_make_meter(config: pytest.Config) -> Meter | None:
    """Give another source of joules than ``--energy-meter`` names.

    Called once, when a run with ``--energy`` starts.  The meter is closed with
    the run; see :class:`pytest_joules.meters.base.Meter`.
    """


@pytest.hookspec(firstresult=True)
def pytest_joules_baseline_key(item: pytest.Item, window: str) -> str | None:
    """Name what a test's sessions are stored under, instead of its node id.

    An explicit ``key=`` in the marker wins.  The name must not change while
    the work stays the same.
    """


@pytest.hookspec(firstresult=True)
def pytest_joules_count_work(result: object, call: Call | None) -> Mapping[str, float] | None:
    """Count the work that a call produced, by unit, e.g. ``{"token": 512}``.

    Called with every measured call's result, and with the call itself, which is
    ``None`` where a test counts a result with ``window.count(result)``; leave
    ``call`` out if you do not need it.  Return ``None`` for a type that you do
    not know.  The first unit is what a bare tolerance is judged by.  An explicit
    ``work=`` wins for the units that it names, and both win over what
    pytest-joules counts by itself.
    """


@pytest.hookspec
def pytest_joules_diagnose(
    result: BudgetResult, before: Observation, after: Observation
) -> Cause | Sequence[Cause] | None:
    """Name causes that pytest-joules does not know, for a budget that has a baseline and a number to trust.

    Called once a budget, in the process that measured, before
    ``pytest_joules_verdict``.  ``before`` is what the baseline predicts for
    today, ``after`` what was measured; see
    :class:`pytest_joules.diagnosis.observation.Observation`.  Return one
    :class:`pytest_joules.Cause` or several, or ``None``; they are ranked among
    the built-in ones by ``explains``, which is a difference of log joules per
    unit.  A rule that raises costs no verdict: the result carries a note that
    names it.
    """


@pytest.hookspec
def pytest_joules_verdict(result: BudgetResult) -> None:
    """See every verdict, in the process that measured, as soon as its test ended."""


@pytest.hookspec
def pytest_joules_report(run: RunResult) -> None:
    """See the whole run at its end, once, in the process that reports."""
