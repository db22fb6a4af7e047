"""A pytest plugin for the runs of ``pytest-joules ab``: no side may run the other's code.

An editable install leads ``import`` to one tree whatever the working directory
is.  At the end of the run every loaded module is looked at; one that lies
below the other side's tree makes the run a usage error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

OTHER_TREE = "PYTEST_JOULES_AB_OTHER_TREE"
"""Environment variable that names the tree of the side that this process is not on."""

_FOUND = "pytest_joules_ab_foreign"


def is_source(path: Path, tree: Path, environment: Path) -> bool:
    """Whether ``path`` is one of ``tree``'s own, and not of a virtual environment (``environment``) inside it."""
    path, tree, environment = path.resolve(), tree.resolve(), environment.resolve()
    # A tree below the interpreter's own prefix (/usr/src/app) is no part of that environment.
    shared = environment.is_relative_to(tree) and path.is_relative_to(environment)
    return path.is_relative_to(tree) and not shared


def foreign_modules(modules: Iterable[ModuleType], other: Path, environment: Path) -> list[str]:
    """``name (file)`` of the modules that were loaded from the sources of ``other``."""
    files = [(module.__name__, getattr(module, "__file__", None)) for module in modules]
    return sorted(
        f"{name} ({file})"
        for name, file in files
        if isinstance(file, str) and is_source(Path(file), other, environment)
    )


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

    # Inside the terminal's wrapper, which prints the summary, and outside of whoever else sets the exit code.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        yield
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
