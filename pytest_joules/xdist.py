"""pytest-xdist: workers measure, the controller stores and reports."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_joules.budget import EnergyBudget
from pytest_joules.codec import decode, encode
from pytest_joules.gate import Gate
from pytest_joules.model import BudgetResult, MeterInfo
from pytest_joules.options import Options

OUTPUT = "pytest_joules"


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """What a worker found out, as it travels to the controller."""

    meter: MeterInfo | None
    results: Mapping[str, tuple[BudgetResult, ...]]
    declared: Mapping[str, tuple[EnergyBudget, ...]]
    collected: tuple[str, ...]
    why_unmeasured: Mapping[str, str]
    extra_info: Mapping[str, Mapping[str, Any]]


def make_gate(config: pytest.Config, options: Options) -> Gate:
    """The gate for this process: a worker, the controller of workers, or neither."""
    if hasattr(config, "workerinput"):
        return WorkerGate(config, options)
    if config.getoption("dist", "no") != "no":
        return ControllerGate(config, options)
    return Gate(config, options)


class WorkerGate(Gate):
    """Measures and judges; what it found goes to the controller."""

    # The workers of one run share their devices, test by test.
    holds_devices_for_run = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with self.devices_held() if item.nodeid in self.declared else contextlib.nullcontext():
            return (yield)

    def finish(self, session: pytest.Session, exitstatus: int) -> None:
        found = WorkerRun(
            meter=self.info,
            results={test: tuple(results) for test, results in self.results.items()},
            declared=self.declared,
            collected=tuple(sorted(self.collected)),
            why_unmeasured=self.why_unmeasured,
            extra_info=self.extra_info,
        )
        self.config.workeroutput[OUTPUT] = json.dumps(encode(found), default=str)  # type: ignore[attr-defined]


class ControllerGate(Gate):
    """Puts together what the workers found, and reports and stores it as a run without workers does."""

    holds_devices_for_run = False

    def open(self) -> None:
        """Nothing: each worker opens its own meter."""

    def pytest_report_header(self) -> list[str]:
        return [f"energy: each worker measures; baselines in {self.shown(self.options.baselines)}"]

    def pytest_report_collectionfinish(self) -> str:
        return "energy: the workers count the budgets"

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        output = getattr(node, "workeroutput", {}).get(OUTPUT)
        if output is None:
            return
        found = decode(WorkerRun, json.loads(output))
        self.info = found.meter
        self.results.update(found.results)
        self.declared.update(found.declared)
        self.collected.update(found.collected)
        self.why_unmeasured.update({**found.why_unmeasured, **self.why_unmeasured})
        self.extra_info.update(found.extra_info)
