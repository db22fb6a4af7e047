"""pytest-xdist: workers measure, the controller stores and reports."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_joules.budget import EnergyBudget
from pytest_joules.codec import decode, encode
from pytest_joules.gate import Gate
from pytest_joules.grouping import Member
from pytest_joules.model import BudgetResult, Measurement, MeterInfo, Place
from pytest_joules.options import Options

OUTPUT = "pytest_joules"
"""Under this name a worker's output and a test's report carry what the controller has to know."""


@dataclass(frozen=True, slots=True)
class WorkerTest:
    """What a worker found out about one test; it travels with the test's report, so that no crash can lose it."""

    results: tuple[BudgetResult, ...]
    extra_info: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """What a worker knows beside its tests' results, as it travels to the controller at the end."""

    meter: MeterInfo | None
    declared: Mapping[str, tuple[EnergyBudget, ...]]
    collected: tuple[str, ...]
    why_unmeasured: Mapping[str, str]
    places: Mapping[str, Place]
    members: Mapping[str, tuple[Member, ...]]
    usage_error: str = ""


ONCE = "under pytest-xdist every point is measured once, and --energy-sweep-seconds does not count"


def windows_of(results: Sequence[BudgetResult]) -> list[Measurement]:
    """What a test measured, by its results: several budgets may be of one window."""
    found = {result.measurement.window: result.measurement for result in results if result.measurement is not None}
    return list(found.values())


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
    measured_once = ONCE

    usage_error = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        # A worker whose session does not start counts as crashed: the error waits until the controller can be told.
        with contextlib.suppress(pytest.UsageError), self._told_to_controller():
            super().pytest_sessionstart()

    def pytest_report_header(self) -> list[str]:
        """Nothing: a worker has no terminal, and perhaps no meter."""
        return []

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        if self.usage_error:
            raise pytest.UsageError(self.usage_error)
        with self._told_to_controller():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with (
            self._told_to_controller(),
            self.devices_held() if self.measures(item.nodeid) else contextlib.nullcontext(),
        ):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when == "call" and item.nodeid in self.results:
            found = WorkerTest(tuple(self.results[item.nodeid]), self.extra_info.get(item.nodeid, {}))
            report.__dict__[OUTPUT] = json.dumps(encode(found))
        return report

    def finish(self, session: pytest.Session, exitstatus: int) -> None:
        found = WorkerRun(
            meter=self.info,
            declared=self.declared,
            collected=tuple(sorted(self.collected)),
            why_unmeasured=self.why_unmeasured,
            places=self.places,
            members=self.sweeper.members,
            usage_error=self.usage_error,
        )
        self.config.workeroutput[OUTPUT] = json.dumps(encode(found))  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def _told_to_controller(self) -> Generator[None]:
        try:
            yield
        except pytest.UsageError as error:
            self.usage_error = str(error)
            raise


class ControllerGate(Gate):
    """Puts together what the workers found, and reports and stores it as a run without workers does."""

    holds_devices_for_run = False
    measured_once = ONCE

    def open(self) -> None:
        """Nothing: each worker opens its own meter."""

    def pytest_report_header(self) -> list[str]:
        ref = "" if self.options.baseline_ref is None else f"{self.options.baseline_ref}:"
        return [f"energy: each worker measures; baselines in {ref}{self.shown(self.options.baselines)}"]

    def pytest_report_collectionfinish(self) -> str:
        return "energy: the workers count the budgets"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        super().pytest_runtest_logreport(report)
        if report.when == "setup":
            self.forget(report.nodeid)
        if (text := report.__dict__.pop(OUTPUT, None)) is not None:
            found = decode(WorkerTest, json.loads(text))
            self.results[report.nodeid] = found.results
            self.sweeper.measured(report.nodeid, windows_of(found.results))
            if found.extra_info:
                self.extra_info[report.nodeid] = found.extra_info

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        output = getattr(node, "workeroutput", {}).get(OUTPUT)
        if output is None:
            return
        found = decode(WorkerRun, json.loads(output))
        if found.usage_error:
            # What is wrong for one worker is wrong for all: the run ends here, as one without workers would.
            self.stopped = True
            raise pytest.UsageError(found.usage_error)
        self.info = found.meter
        self.declared.update(found.declared)
        self.places.update(found.places)
        self.sweeper.join(found.members)
        self.collected.update(found.collected)
        self.why_unmeasured.update({**found.why_unmeasured, **self.why_unmeasured})
