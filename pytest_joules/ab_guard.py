"""A pytest plugin for the runs of ``pytest-joules ab``: no side may run the other's code.

An editable install leads ``import`` to one tree whatever the working directory
is.  At the end of the run every loaded module is looked at; one that lies
below the other side's tree makes the run a usage error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

OTHER_TREE = "PYTEST_JOULES_AB_OTHER_TREE"
"""Environment variable that names the tree of the side that this process is not on."""

_FOUND = "pytest_joules_ab_foreign"


def foreign_modules(modules: Iterable[ModuleType], other: Path, environment: Path) -> list[str]:
    """``name (file)`` of the modules that were loaded from below ``other``.

    A virtual environment (``environment``) inside a tree belongs to both sides.
    """
    other, environment = other.resolve(), environment.resolve()
    shared = environment if environment.is_relative_to(other) else None
    found = []
    for module in modules:
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        path = Path(file).resolve()
        if path.is_relative_to(other) and not (shared and path.is_relative_to(shared)):
            found.append(f"{module.__name__} ({path})")
    return sorted(found)


def pytest_configure(config: pytest.Config) -> None:
    if OTHER_TREE in os.environ:
        config.pluginmanager.register(Guard(config, Path(os.environ[OTHER_TREE])), "pytest-joules-ab-guard")


class Guard:
    """Looks at what one process has imported; under pytest-xdist the controller collects it from the workers."""

    def __init__(self, config: pytest.Config, other: Path) -> None:
        """Nothing is looked at yet."""
        self.config = config
        self.other = other
        self.found: list[str] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.found += getattr(node, "workeroutput", {}).get(_FOUND, [])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.found += foreign_modules(list(sys.modules.values()), self.other, Path(sys.prefix))
        output: dict[str, Any] | None = getattr(self.config, "workeroutput", None)
        if output is not None:
            output[_FOUND] = self.found
        elif self.found:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.found:
            return
        others = f" and {len(self.found) - 1} more" if len(self.found) > 1 else ""
        terminalreporter.write_line(
            f"ERROR: pytest-joules ab: {self.found[0]}{others} was imported from the other side's tree, so that this "
            "run is not of its own code. Give --base-python a Python in whose environment the base is installed."
        )
