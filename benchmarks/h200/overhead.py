"""A pytest plugin that says what share of each test's wall time was the plugin's own.

PYTHONPATH=benchmarks/h200 pytest -p overhead --energy examples/vllm/test_offline.py

The rest is the test's own: the time inside the measured function, and waiting
for the work that it queued on the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from pytest_joules import fixture
from pytest_joules.workloads.completion import Completion


class Overhead:
    """Adds up the time inside the calls of one test."""

    def __init__(self) -> None:
        """Times every call from now on."""
        self.inside = 0.0
        fixture._Calls.__call__ = self.timed(fixture._Calls.__call__)  # type: ignore[method-assign]
        Completion.__call__ = self.timed(Completion.__call__)  # type: ignore[method-assign]

    def timed(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """``fn``, its time added up."""

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return fn(*args, **kwargs)
            finally:
                self.inside += time.perf_counter() - began

        return call

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """The whole test, the plugin's verdict included."""
        self.inside, began = 0.0, time.perf_counter()
        try:
            return (yield)
        finally:
            wall = time.perf_counter() - began
            share = 100 * (wall - self.inside) / wall
            print(f"\noverhead of {item.name}: {wall - self.inside:.3f} s of {wall:.2f} s, {share:.2f} %")


def pytest_configure(config: pytest.Config) -> None:
    """Register it."""
    config.pluginmanager.register(Overhead())
