"""A plugin for ``pytest --collect-only``: writes down what the tests' series may be stored under.

``pytest-joules prune --stale`` runs it, to know what a full collection has; it measures nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_joules.arguments import MarkerError
from pytest_joules.asking import HookFault, ask_first
from pytest_joules.markers import budgets_of

VARIABLE = "PYTEST_JOULES_COLLECT"
"""Names the file that has the windows' names, and gets what was collected."""


class Collected:
    """Notes every test that is collected, whether it is selected or not, and every file that was skipped."""

    def __init__(self, path: Path) -> None:
        """``path`` is a file with a JSON list of the windows that a test's series may be of."""
        self.path = path
        self.windows: list[str] = json.loads(path.read_text(encoding="utf-8"))
        self.names: set[str] = set()
        self.files: set[str] = set()
        self.skipped: set[str] = set()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self.files.add(item.nodeid.partition("::")[0])
        self.names.add(item.nodeid)
        try:
            self.names.update(budget.key for budget in budgets_of(item) if budget.key)
        except MarkerError:
            return  # collection itself tells of it
        for window in self.windows:
            try:
                named = ask_first(item.config, "pytest_joules_baseline_key", item=item, window=window)
            except HookFault as fault:
                raise pytest.UsageError(str(fault)) from fault
            if named:
                self.names.add(named)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.skipped.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        found = {"names": self.names, "files": self.files, "skipped": self.skipped}
        self.path.write_text(json.dumps({name: sorted(values) for name, values in found.items()}), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Collected(Path(os.environ[VARIABLE])))
