"""The gate: what pytest-joules does in a run with ``--energy``.

One :class:`Gate` is registered as a plugin for the run.  It opens the meter,
gives tests their fixture, judges every budget when its test ends, and at the
end of the run makes one ``RunResult`` that is reported and stored.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_joules.arguments import MarkerError
from pytest_joules.asking import ENDS_RUN, HookFault, ask_each, ask_first
from pytest_joules.attribution import chosen_devices
from pytest_joules.baselines.at_ref import BaselinesAtRef
from pytest_joules.baselines.keys import sku_key, sku_keys
from pytest_joules.baselines.store import BaselineError, BaselineFile, BaselineStore
from pytest_joules.budget import EnergyBudget
from pytest_joules.codec import DEEPEST
from pytest_joules.files import misplaced, shared_place, write_whole
from pytest_joules.fixture import Energy
from pytest_joules.judging import Bar, explained, noted
from pytest_joules.locks import devices_locked
from pytest_joules.markers import MARKER, budgets_of
from pytest_joules.meters.base import Meter, MeterError
from pytest_joules.meters.factory import open_meter
from pytest_joules.meters.replay import ReplayMeter, WindowTrace, trace_of
from pytest_joules.model import (
    DESELECTED,
    SKIPPED,
    TEST_FAILED,
    XFAILED,
    BaselineKey,
    BaselineReview,
    BudgetResult,
    Cause,
    MeterInfo,
    Place,
    Reference,
    RunResult,
    Session,
    Verdict,
    VerdictKind,
)
from pytest_joules.options import Options
from pytest_joules.places import place_of, repository_of, shown
from pytest_joules.policy import fails, leaves_out
from pytest_joules.recorder import Bench, Recorder
from pytest_joules.references.lookup import LookupFault, find, with_reference
from pytest_joules.references.names import parse_reference
from pytest_joules.references.store import ReferenceFileError, ReferenceStore
from pytest_joules.reporting import formats, github, junit, terminal
from pytest_joules.reporting import json as json_report
from pytest_joules.reporting.escape import log
from pytest_joules.review import renames, review
from pytest_joules.sweeper import AGAIN, Sweeper
from pytest_joules.units import plural, utc_now
from pytest_joules.updating import commit_of, update_baselines
from pytest_joules.workloads.adapters import ADAPTERS

if TYPE_CHECKING:
    from pytest_joules.diagnosis.observation import Observation

RECORDER = pytest.StashKey[Recorder]()
ENERGY = pytest.StashKey[Energy]()
PROPERTIES = pytest.StashKey[Sequence[tuple[str, str]]]()
"""What the reports that pytest itself writes, such as JUnit XML, say of a test's joules."""


LARGEST_INTEGER = 2**64
"""What most readers of JSON can hold."""


def why_skipped(report: pytest.TestReport) -> str:
    """Why a test that pytest counts as skipped is none that tells: it did not run, or failed as it says of itself."""
    expected = str(getattr(report, "wasxfail", ""))
    if hasattr(report, "wasxfail") and report.when != "setup":
        return f"{XFAILED}: {expected}" if expected else XFAILED
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else expected or "expected to fail"
    return f"{SKIPPED}{reason.removeprefix('Skipped: ')}"


def as_json(info: Mapping[str, Any]) -> dict[str, Any]:
    """What a test put into ``extra_info`` as JSON values; what no report can hold becomes text."""
    values: dict[str, Any] = json.loads(json.dumps(_plain(info), default=str), parse_constant=str)
    return values


def _plain(value: Any, depth: int = 0) -> Any:
    if isinstance(value, (Mapping, list, tuple)):
        if depth >= DEEPEST:
            return f"... deeper than {DEEPEST} levels"
        if isinstance(value, Mapping):
            return {str(key): _plain(item, depth + 1) for key, item in value.items()}
        return [_plain(item, depth + 1) for item in value]
    return hex(value) if isinstance(value, int) and abs(value) > LARGEST_INTEGER else value


class EnergyBudgetFailed(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """A budget that its test did not keep."""

    # As pytest does for its own outcomes: reports then print the name without a module.
    __module__ = "builtins"

    def __init__(self, text: str) -> None:
        super().__init__(text, pytrace=False)


class Gate:
    """Measures, judges and reports in one process."""

    holds_devices_for_run = True

    measured_once = ""
    """Why every point of a sweep is measured only once; empty if it is not."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        """Nothing is opened yet."""
        self.config = config
        self.options = options
        self.stack = contextlib.ExitStack()
        self.results: dict[str, Sequence[BudgetResult]] = {}
        self.extra_info: dict[str, Mapping[str, Any]] = {}
        self.declared: dict[str, tuple[EnergyBudget, ...]] = {}
        self.places: dict[str, Place] = {}
        self.info: MeterInfo | None = None
        self.run: RunResult | None = None
        self.collected: set[str] = set()
        self.stopped = False
        self._progress_shown = False
        self.why_unmeasured: dict[str, str] = {}
        if options.sweep_once:
            self.measured_once = "every point was measured once: --energy-sweep-once"
        self.sweeper = Sweeper(config, options, self._unfit, lambda: self.measured_once)
        self.traces: list[WindowTrace] | None = None if options.trace is None else []
        self._meter: Meter | None = None
        self._repository = repository_of(config.rootpath)
        self._store = BaselineStore(options.baselines)
        # One read of a SKU's file a run: every verdict is against the same baseline.
        self._load = cache(self._store.load)
        self._judges = cache(self._find_judges)
        base = None if options.baseline_ref is None else self._judges
        self._bar = Bar.of(self._load, options, base=base, skus=lambda: (self.base or self._store).skus())

    # -- opening --

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        outputs = {"--energy-json": self.options.json, "--energy-html": self.options.html}
        for flag, path in outputs.items():
            if path is not None and (reason := misplaced(path)):
                raise pytest.UsageError(f"{flag} {path}: {reason}")
        if fault := shared_place(outputs):
            raise pytest.UsageError(fault)
        try:
            if self.options.html is not None:
                formats.check("html")
            if self.options.trace is not None:
                self.options.trace.mkdir(parents=True, exist_ok=True)
        except formats.FormatError as error:
            raise pytest.UsageError(f"--energy-html: {error}") from error
        except OSError as error:
            raise pytest.UsageError(f"--energy-trace: {error}") from error
        try:
            self.open()
        except (MeterError, BaselineError, HookFault) as error:
            self.stack.close()
            raise pytest.UsageError(f"pytest-joules: {error}") from error

    def open(self) -> None:
        """Open the meter and read its SKUs' baselines, so that what is wrong with them shows at once.

        Raises:
            MeterError: if there is nothing to measure, or not what ``--energy-devices`` names.
            BaselineError: if a baseline file cannot be used.
            HookFault: if a plugin that wants to give the meter raises.
        """
        made: Meter | None = ask_first(self.config, "pytest_joules_make_meter", config=self.config)
        if made is not None:
            self.stack.callback(made.close)
        self._meter = made or open_meter(self.options, self.stack)
        replayed = isinstance(self._meter, ReplayMeter)
        self.info = MeterInfo(self._meter.description, self._meter.simulated, tuple(self._meter.devices), replayed)
        if replayed:
            self.measured_once = "replayed: a trace holds the first measurement of each point alone"
        if self.traces is not None and self._meter.reads(self._meter.devices[0]) is None:
            raise MeterError(f"--energy-trace: {self._meter.description} has no raw reads to save")
        if self.options.devices is not None:
            chosen_devices(self._meter, self.options.devices)
        for device in self._meter.devices:
            self._load(sku_key([device]))
            self._judges(sku_key([device]))

    @cached_property
    def base(self) -> BaselinesAtRef | None:
        """The base's baselines, if they are what the run is judged by.

        Raises:
            BaselineError: if git cannot tell.
        """
        ref = self.options.baseline_ref
        return None if ref is None else BaselinesAtRef(self.options.baselines, ref, self.config.rootpath)

    def _find_judges(self, sku: str) -> BaselineFile:
        """The file that a SKU's verdicts come from: the base's, if one is named, else the work tree's."""
        return self._load(sku) if self.base is None else self.base.load(sku)

    @property
    def meter(self) -> Meter:
        """The open meter."""
        assert self._meter is not None, "the meter is open from the start of the session"
        return self._meter

    def pytest_report_header(self) -> list[str]:
        return [
            f"energy: {terminal.device_label(self.meter.devices)}; {self.meter.description}",
            f"energy: baselines {', '.join(self._baseline_files())}",
        ]

    def _baseline_files(self) -> list[str]:
        skus = dict.fromkeys(sku_key([device]) for device in self.meter.devices)
        files = []
        for sku in skus:
            series = len(self._judges(sku).entries)
            name = self.shown(self._store.path(sku)) if self.base is None else self.base.shown(sku)
            files.append(f"{name} ({series} series)" if series else f"none for {sku}")
        if self.base is not None:
            files[-1] += f" at {self.base.revision.commit[:12]}"
        return files

    # -- collection --

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.collected.update(item.nodeid for item in items)
        for item in items:
            try:
                budgets = budgets_of(item)
            except MarkerError as error:  # a marker that a conftest added after collection
                raise pytest.UsageError(f"{item.nodeid}: {MARKER}: {error}") from error
            if budgets:
                self._declare(item, budgets)
        if self.options.only:
            others = [item for item in items if not self.measures(item.nodeid)]
            items[:] = [item for item in items if self.measures(item.nodeid)]
            if others:
                self.config.hook.pytest_deselected(items=others)
        # The error rate is shared out before anything is measured, whatever becomes of the tests.
        self._bar = replace(self._bar, family=sum(len(self.declared.get(item.nodeid, ())) for item in items))
        self._refuse_shared_keys(items)
        self._refuse_wide_tolerances(items)
        self._refuse_unknown_references(items)

    def measures(self, test: str) -> bool:
        """Whether a test carries a budget or is a point of a sweep."""
        return test in self.declared or test in self.sweeper.groups

    def _declare(self, item: pytest.Item, budgets: tuple[EnergyBudget, ...]) -> None:
        self.declared[item.nodeid] = budgets
        if place := self._place(item):
            self.places[item.nodeid] = place

    def _place(self, item: pytest.Item) -> Place | None:
        file, line, _ = item.location
        return place_of(self.config.rootpath / file, line, self._repository)

    def _refuse_shared_keys(self, items: Sequence[pytest.Item]) -> None:
        owners: dict[str, str] = {}
        for item in items:
            for key in {budget.key for budget in self.declared.get(item.nodeid, ()) if budget.key}:
                other = owners.setdefault(key, item.nodeid)
                if other != item.nodeid:
                    raise pytest.UsageError(
                        f"{item.nodeid}: {MARKER}: key={key!r} is taken by {other}; give each its own"
                    )

    def _refuse_wide_tolerances(self, items: Sequence[pytest.Item]) -> None:
        wide = [
            f"{item.nodeid}: {MARKER}: {fault}"
            for item in items
            for budget in self.declared.get(item.nodeid, ())
            if (fault := self.options.too_wide(budget.tolerance))
        ]
        if wide:
            raise pytest.UsageError("\n".join(wide))

    @cached_property
    def _references(self) -> tuple[Reference, ...]:
        """All published measurements; read only for tests that name one.

        Raises:
            ReferenceFileError: if a file cannot be used.
        """
        return ReferenceStore(self.options.references).all()

    def _refuse_unknown_references(self, items: Sequence[pytest.Item]) -> None:
        """A name that means nothing is a mistake that shows at once; a GPU that nobody measured is none."""
        faults = []
        for item in items:
            for budget in self.declared.get(item.nodeid, ()):
                if budget.reference is not None:
                    try:
                        find(parse_reference(budget.reference), self._references, self.meter.devices)
                    except ReferenceFileError as error:
                        raise pytest.UsageError(f"pytest-joules: {error}") from error
                    except LookupFault as fault:
                        where = self.shown(self.options.references)
                        faults.append(f"{item.nodeid}: {MARKER}: in {where}, {fault}")
        if faults:
            raise pytest.UsageError("\n".join(faults))

    def _published(self, result: BudgetResult) -> Reference | None:
        """The measurement that a result's marker names, if there is one on its devices."""
        text, measurement = result.budget.reference, result.measurement
        if text is None or measurement is None:
            return None
        return find(parse_reference(text), self._references, measurement.devices)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.collected.update(item.nodeid for item in items)
        for item in items:
            with contextlib.suppress(MarkerError):
                if budgets := budgets_of(item):
                    self._declare(item, budgets)
                    self.why_unmeasured[item.nodeid] = DESELECTED

    def pytest_report_collectionfinish(self) -> str:
        budgets = plural(sum(len(budgets) for budgets in self.declared.values()), "budget")
        return "; ".join(filter(None, (f"energy: {budgets}", self.sweeper.told())))

    # -- measuring --

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        # From before the first fixture to after the last: a model that waits in memory is a foreign process, too.
        measuring = bool(self.declared or self.sweeper.groups)
        with self.devices_held() if measuring and self.holds_devices_for_run else contextlib.nullcontext():
            return (yield)

    @contextlib.contextmanager
    def devices_held(self) -> Generator[None]:
        """Keep other runs from measuring the visible devices meanwhile."""
        try:
            with devices_locked(self.meter, self._say):
                yield
        except MeterError as error:
            raise pytest.UsageError(f"pytest-joules: {error}") from error

    def energy_for(self, item: pytest.Item) -> Energy:
        """The fixture's value for one test."""
        budgets = self.declared.get(item.nodeid, ())
        bench = Bench(
            meter=self.meter,
            bar=self._bar,
            adapters=ADAPTERS,
            count=lambda result, call: ask_first(self.config, "pytest_joules_count_work", result=result, call=call),
            progress=self._progress,
            traces=None if self.sweeper.again else self.traces,
        )
        item.stash[RECORDER] = Recorder(
            bench,
            item.nodeid,
            budgets,
            key=lambda window: self._key(item, window),
            compared=item.nodeid in self.sweeper.groups,
        )
        item.stash[ENERGY] = Energy(item.stash[RECORDER])
        return item.stash[ENERGY]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if not self.sweeper.again:
            # A rerun of the test starts afresh, even if it comes no further than this.
            self.forget(item.nodeid)
            # Until it has come to an end.
            budgets, unmeasured = self.declared.get(item.nodeid, ()), Verdict(VerdictKind.UNMEASURED)
            self._tell(item, [BudgetResult(item.nodeid, b, True, unmeasured) for b in budgets])
        if RECORDER in item.stash:
            del item.stash[RECORDER], item.stash[ENERGY]

    def _tell(self, item: pytest.Item, results: Sequence[BudgetResult]) -> None:
        """Give the item's reports the properties of its results, in the place of those of before."""
        before = item.stash.get(PROPERTIES, ())
        item.stash[PROPERTIES] = junit.properties(results)
        others = [named for named in item.user_properties if named not in before]
        item.user_properties[:] = [*others, *item.stash[PROPERTIES]]

    def forget(self, test: str) -> None:
        """Drop what an earlier attempt at a test found."""
        self.results.pop(test, None)
        self.extra_info.pop(test, None)
        self.sweeper.forget(test)
        if self.traces:
            self.traces[:] = [window for window in self.traces if window.test != test]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            outcome = yield
        finally:
            self._end_progress(item)
        # A unittest.TestCase keeps what its test raised instead of raising it.
        if not getattr(item, "_excinfo", None):
            if RECORDER in item.stash:
                self.sweeper.measured(item.nodeid, item.stash[RECORDER].measurements)
            if not self.sweeper.again:
                self._judge(item)
        return outcome

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self.why_unmeasured[report.nodeid] = why_skipped(report)
        elif report.failed:
            # pytest-xdist reports for a worker that crashed, and does not know when.
            known = report.when in ("setup", "call", "teardown")
            self.why_unmeasured[report.nodeid] = f"{TEST_FAILED} {report.when}" if known else "its worker crashed"
        elif report.when == "call" and not hasattr(report, AGAIN):
            self.why_unmeasured.pop(report.nodeid, None)  # an earlier attempt's

    def _judge(self, item: pytest.Item) -> None:
        recorder = item.stash.get(RECORDER, None)
        budgets = self.declared.get(item.nodeid, ())
        if recorder is not None:
            results = recorder.results()
        else:
            reason = "the test carries a budget but does not use the energy fixture"
            results = [BudgetResult(item.nodeid, b, True, Verdict(VerdictKind.UNMEASURED, reason)) for b in budgets]
        place = self._place(item)
        results = [with_reference(replace(result, place=place), self._published(result)) for result in results]
        # Decided and kept before a plugin is asked for anything: one that ends the run ends no verdict.
        results = self._keep(item, [replace(result, failed=fails(result, self.options)) for result in results])
        if ENERGY in item.stash and item.stash[ENERGY].extra_info:
            self.extra_info[item.nodeid] = as_json(item.stash[ENERGY].extra_info)
        results = self._keep(
            item, [explained(result, self._bar, self._causes_of_plugins, ENDS_RUN) for result in results]
        )
        results = self._keep(
            item, [noted(result, ask_each(self.config, "pytest_joules_verdict", result=result)) for result in results]
        )
        if failed := [result for result in results if result.failed]:
            raise EnergyBudgetFailed("\n".join(line for result in failed for line in self._details(result)))

    def _keep(self, item: pytest.Item, results: list[BudgetResult]) -> list[BudgetResult]:
        """Have ``results`` as those of a test, in the place of what it had."""
        self.results[item.nodeid] = results
        self._tell(item, results)
        return results

    def _causes_of_plugins(
        self, result: BudgetResult, before: Observation, after: Observation, problems: list[str]
    ) -> list[Cause]:
        """What the rules of plugins and conftests say."""
        from pytest_joules.diagnosis.budgets import causes_in

        causes: list[Cause] = []
        problems += ask_each(
            self.config,
            "pytest_joules_diagnose",
            lambda returned: causes.extend([cause for one in returned for cause in causes_in(one)]),
            result=result,
            before=before,
            after=after,
        )
        return causes

    def _details(self, result: BudgetResult) -> list[str]:
        own = self.options.baselines
        where = self.shown(own) if self.base is None else self.base.revision.shown(own)
        return terminal.details(result, where, self._storing(result), self.options.rates, verbose=self._verbose)

    def _storing(self, result: BudgetResult) -> str:
        """What stores a result as it is."""
        if self.base is not None:
            # An update here would change nothing of what this run is judged by.
            return f"a maintainer stores it at {self.options.baseline_ref} (pytest-joules accept RESULT.json)"
        # A replay stores nothing: what it found has to be measured again to be stored.
        replayed = self.info is not None and self.info.replayed
        flags = ("--energy-baselines",) if replayed else ("--energy-meter", "--energy-baselines")
        given = [f"{flag}={value}" for flag in flags if (value := self._flag(flag))]
        return shlex.join(["pytest", "--energy", "--energy-update", *given, result.test])

    @property
    def _verbose(self) -> bool:
        return self.config.get_verbosity() > 0

    def _flag(self, flag: str) -> str | None:
        """A flag's text as it was given, ``None`` if it was not."""
        text: str | None = self.config.getoption(flag)
        return text

    def _key(self, item: pytest.Item, window: str) -> str:
        named: str | None = ask_first(self.config, "pytest_joules_baseline_key", item=item, window=window)
        return named if named is not None else item.nodeid

    # -- the end --

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        try:
            self._write_trace()
            if not self.stopped:
                self.finish(session, exitstatus)
        finally:
            self.stack.close()

    def _write_trace(self) -> None:
        if self.traces is None or self.options.trace is None or self.info is None:
            return
        if not self.traces:
            self._say("no trace written: no window was measured")
            return
        created = utc_now()
        name = f"{created.replace(':', '').replace('+0000', '')}-{os.getpid()}.json.gz"
        try:
            trace = trace_of(self.meter, self.info, self.traces, created, version("pytest-joules"))
            trace.write(self.options.trace / name)
            self._say(f"trace of {plural(len(self.traces), 'window')} in {self.options.trace / name}")
        except (MeterError, OSError) as error:
            self._say(f"no trace written: {error}")

    def finish(self, session: pytest.Session, exitstatus: int) -> None:
        """Make the run's result, store and report it, and see that nothing ends as a silent pass."""
        run = self.collect_run()
        if self.options.writes_baselines and exitstatus != pytest.ExitCode.INTERRUPTED:
            try:
                run = replace(run, changes=update_baselines(self._store, run, self.options))
            except BaselineError as error:
                session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
                self._say(f"baselines not written: {error}")
        try:
            self._write_reports(run)
        except OSError as error:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            self._say(f"no report written: {error}")
        if (summary := self._github_summary(run)) is not None:
            try:
                github.append_summary(run, summary)
            except OSError as error:
                self._say(f"no step summary written: {error}")
        self.run = run
        silent = any(result.failed for result in run.results if result.test not in self.results)
        silent |= bool(self._overruled(run))
        if exitstatus == pytest.ExitCode.OK and (silent or (self.options.strict and leaves_out(run))):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        for fault in ask_each(self.config, "pytest_joules_report", run=run):
            self._say(fault)

    def _write_reports(self, run: RunResult) -> None:
        if self.options.json is not None:
            json_report.write(run, self.options.json)
        if self.options.html is not None:
            write_whole(formats.renderer("html")(run), self.options.html)

    def _overruled(self, run: RunResult) -> list[str]:
        """Tests that a base fails although they say of themselves that they fail, such as with ``xfail``."""
        if self.base is None:
            return []
        failed = dict.fromkeys(result.test for result in run.results if result.failed and result.test in self.results)
        return [test for test in failed if not self.why_unmeasured.get(test, "").startswith(TEST_FAILED)]

    @property
    def _on_github(self) -> bool:
        return github.wanted(self.options.github, os.environ)

    def _github_summary(self, run: RunResult) -> Path | None:
        return github.summary_file(os.environ) if self._on_github and run.results else None

    def collect_run(self) -> RunResult:
        """The run's result; budgets whose test did not come to an end are unmeasured."""
        results = [
            replace(result, broken=self._broken(test, found))
            for test, found in self.results.items()
            for result in found
        ]
        for test, budgets in self.declared.items():
            if test not in self.results:
                verdict = Verdict(VerdictKind.UNMEASURED, self.why_unmeasured.get(test, "the test did not run"))
                place = self.places.get(test)
                missing = [BudgetResult(test, budget, True, verdict, place=place) for budget in budgets]
                results += [replace(r, failed=self.options.strict and r.budget.gate) for r in missing]
        orphans = self._orphans(results)
        commit = commit_of(self.config.rootpath)
        return RunResult(
            created=utc_now(),
            version=version("pytest-joules"),
            meter=self.info,
            commit=commit,
            results=tuple(results),
            extra_info=self.extra_info,
            not_collected=tuple(key for found in orphans.values() for key in found),
            renames=renames(orphans, results),
            review=self._review(results),
            sweeps=self.sweeper.sweeps(commit),
            slo=", ".join(map(str, self.options.slo)),
            rates=self.options.rates,
        )

    def _broken(self, test: str, results: Sequence[BudgetResult]) -> str:
        """Why a test whose budgets were judged ended badly, but for those that failed it."""
        why = self.why_unmeasured.get(test, "")
        by_budget = any(result.failed for result in results) and why.startswith(
            (f"{TEST_FAILED} call", XFAILED, SKIPPED)
        )
        return "" if by_budget else why

    def _unfit(self, test: str) -> str:
        """Why a test can be no point of a sweep that is chosen; a budget that is not decided is no reason."""
        results = self.results.get(test, ())
        undecided = (VerdictKind.NO_BASELINE, VerdictKind.INCONCLUSIVE)
        wrong = (r.verdict for r in results if r.failed and r.verdict.kind not in undecided)
        return next((f"{v.kind.value}: {v.reason}" for v in wrong), "") or self._broken(test, results)

    def _review(self, results: Sequence[BudgetResult]) -> BaselineReview | None:
        # Without a base that can be read, no session has started.
        with contextlib.suppress(BaselineError):
            if self.base is not None:
                return review(self.base, self._store, results, self.collected, self._skus(results), self._load)
        return None

    def _orphans(self, results: Sequence[BudgetResult]) -> dict[str, Mapping[BaselineKey, Sequence[Session]]]:
        """Stored series, by SKU, whose test this run should have collected, and did not.

        Under ``--energy-strict`` that is every one; else those of the files
        that were collected or are gone, unless the command line picks single tests.
        """
        known = self.collected | {result.key.test for result in results if result.key and result.declared}
        known |= {budget.key for budgets in self.declared.values() for budget in budgets if budget.key}
        files = {test.partition("::")[0] for test in self.collected}
        picked = any("::" in str(argument) for argument in self.config.args)

        @cache
        def expected(file: str) -> bool:
            return self.options.strict or (not picked and (file in files or self._is_gone(file)))

        orphans: dict[str, Mapping[BaselineKey, Sequence[Session]]] = {}
        for sku in self._skus(results):
            # A file that cannot be read has made its windows invalid, which is said there.
            with contextlib.suppress(BaselineError):
                file = self._judges(sku)
                orphans[sku] = file.some(
                    k for k in file.entries if k.test not in known and expected(k.test.partition("::")[0])
                )
        return orphans

    def _skus(self, results: Sequence[BudgetResult]) -> list[str]:
        here = sku_keys(self.info.devices if self.info else ())
        return list(dict.fromkeys([*here, *(result.sku for result in results if result.sku)]))

    def _is_gone(self, file: str) -> bool:
        """Whether a stored test's file was a Python file of this tree, and is no more; a key is no file."""
        path = Path(file)
        inside = path.suffix == ".py" and not path.is_absolute() and ".." not in path.parts
        try:
            return inside and not (self.config.rootpath / path).exists()
        except (OSError, ValueError):
            return False

    # -- on the terminal --

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.run is None:
            return
        run, options = self.run, self.options
        kinds = [kind for kind in ("simulated", "replayed") if run.meter and getattr(run.meter, kind)]
        terminalreporter.section(f"energy ({', '.join(kinds)})" if kinds else "energy")
        for line in terminal.report(run, options.columns, options.sort, self._storing, verbose=self._verbose):
            terminalreporter.write_line(log(line))
        for test in self._overruled(run):
            line = f"{test}: fails the run, whatever the test expects: {options.baseline_ref} judges"
            terminalreporter.write_line(log(line))
        if options.writes_baselines and not run.changes:
            terminalreporter.write_line(terminal.unchanged(run))
        bad = any(result.failed for result in run.results)
        terminalreporter.write_line(terminal.summary_line(run.results), red=bad, green=not bad)
        if self._on_github:
            for line in github.commands(run):
                terminalreporter.write_line(line)

    def _reporter(self) -> pytest.TerminalReporter | None:
        found: pytest.TerminalReporter | None = self.config.pluginmanager.get_plugin("terminalreporter")
        return found

    def _say(self, text: str) -> None:
        if reporter := self._reporter():
            with self._uncaptured():
                reporter.ensure_newline()
                reporter.write_line(f"energy: {text}")

    def _progress(self, text: str) -> None:
        reporter = self._reporter()
        if reporter is None or not reporter.isatty or reporter.verbosity < 0:
            return
        with self._uncaptured():
            if not self._progress_shown:
                reporter.ensure_newline()
            self._progress_shown = True
            reporter.rewrite(f"energy: {text}", erase=True)
            reporter.flush()

    def _end_progress(self, item: pytest.Item) -> None:
        reporter = self._reporter()
        if self._progress_shown and reporter is not None:
            with self._uncaptured():
                reporter.rewrite("", erase=True)
                if reporter.showfspath:
                    # The test's letter belongs behind its file's name.
                    reporter.write_fspath_result(item.nodeid, "")
        self._progress_shown = False

    def _uncaptured(self) -> contextlib.AbstractContextManager[None]:
        """What is written to the terminal while a test runs would else end in the test's own output."""
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        disabled: contextlib.AbstractContextManager[None] = (
            capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()
        )
        return disabled

    def shown(self, path: Path) -> str:
        return shown(path, self.config.rootpath)
