"""Measures the windows of one test and decides its budgets.

This is where meter, sampling, baseline and decision meet; it knows no pytest.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata

from pytest_joules.budget import EnergyBudget
from pytest_joules.decision import LOOKS
from pytest_joules.judging import Bar, judge, listed
from pytest_joules.meters.base import Meter, MeterError
from pytest_joules.meters.replay import ReplayMeter, WindowTrace
from pytest_joules.model import BudgetResult, Conditions, Measurement, Verdict, VerdictKind, WindowKind
from pytest_joules.options import Options
from pytest_joules.phases import remainder
from pytest_joules.sampling import OneShot, Plan, Sampler, Step, joined
from pytest_joules.serving.steady import SteadyWork, measure_steady
from pytest_joules.workloads.completion import Completion
from pytest_joules.workloads.counts import WindowError
from pytest_joules.workloads.observer import NO_CALL, CountedStream, Declared, Hook, Observer
from pytest_joules.workloads.work import Adapter, Call, Split, Work, type_name

RECORDED_BLOCKS = 6
"""Blocks that a session to be stored takes at least, and a point of a sweep in the time that it has: three seconds, six
under a power cap."""

RECORDED_LIBRARIES = ("torch", "vllm", "diffusers", "transformers", "jax", "triton")
"""Libraries whose versions are kept with a measurement, if they are loaded."""


ONE_CALL = Work({"call": 1.0})

MAIN = "main"
"""The window that a test measures without naming it."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all tests of a run share.

    Attributes:
        meter: The open meter.
        bar: What windows are held to.
        key: Names what a test's window is stored under, by the marker's key and the window.
        adapters: Those of all libraries.
        count: Counts the work in a call's result for the user, or gives ``None``.
        progress: Shows what is going on.
        traces: Takes the calls of every window, if they are to be kept.
    """

    meter: Meter
    bar: Bar
    adapters: Sequence[Adapter]
    count: Hook
    progress: Callable[[str], None]
    traces: list[WindowTrace] | None = None

    @property
    def options(self) -> Options:
        """The run's options."""
        return self.bar.options


class Recorder:
    """The windows and budgets of one test."""

    def __init__(
        self,
        bench: Bench,
        test: str,
        budgets: Sequence[EnergyBudget],
        key: Callable[[str], str],
        *,
        compared: bool = False,
    ) -> None:
        """Nothing is measured yet.

        Args:
            bench: What all tests share.
            test: The node id.
            budgets: The test's budgets, in the order of the markers.
            key: Names what a window is stored under.
            compared: Whether the number is compared with other tests', whatever its budgets make of it.
        """
        self._bench = bench
        self._compared = compared
        self._replay = bench.meter if isinstance(bench.meter, ReplayMeter) else None
        self._test = test
        self._budgets = tuple(budgets)
        self._key = key
        self._opened: set[str] = set()
        self._running: str | None = None
        self._split: Split | None = None
        self._observer = Observer((), bench.count)
        self.measurements: list[Measurement] = []

    def sampler(
        self,
        window: str,
        call: Call,
        work: Declared | None = None,
        rounds: int | None = None,
        warmup: int | None = None,
        max_seconds: float | None = None,
        split: Split | None = None,
    ) -> Sampler | None:
        """Start a window of repeated calls of ``call``, which does ``work``; ``None`` if the meter failed.

        With ``split``, it is that of the first phase, or then that of the whole call.
        """
        self._open(window, call, work, split)
        options = self._bench.options
        # Few blocks of either would tell little of the noise in their difference.
        first = RECORDED_BLOCKS if options.writes_baselines or split is not None else LOOKS[0]
        plan = Plan(
            window=window,
            looks=tuple(n for n in LOOKS if n >= first),
            max_seconds=max_seconds if max_seconds is not None else options.max_seconds,
            rounds=rounds,
            warmup=warmup,
            devices=self._wanted_devices(window),
        )
        meter = self._bench.meter
        try:
            if self._replay is not None:
                opened = next(self._replay.window(self._test, window, WindowKind.REPEATED).moments())
                self._replay.seek(opened.time, opened.known)
            return Sampler(meter, Completion(meter), plan, self._judge, self._bench.progress)
        except MeterError as error:
            self._add_failed(window, WindowKind.REPEATED, error)
            return None

    def take(self, sampler: Sampler, window: str, call: Call, result: object) -> bool:
        """Give the result of one ``call`` to the sampler; whether it wants another call.

        A meter that fails ends the window, not the test: the window is invalid
        and says why.  A replay takes the recorded calls instead of further ones.

        Raises:
            WindowError: if ``work`` or the hook's counts are not a mapping of names to numbers.
        """
        work = ONE_CALL.or_else(self._observer.work(result, call))
        try:
            if self._replay is not None:
                play(self._replay, self._replay.window(self._test, window, WindowKind.REPEATED), sampler)
            else:
                sampler.called(result, work)
        except MeterError as error:
            self._add_failed(window, WindowKind.REPEATED, error)
            return False
        if sampler.wants_call():
            return True
        measurement = self._with_latencies(sampler.measurement, *sampler.span)
        self._add(measurement)
        self._trace(measurement, *joined(sampler.logs), sampler.known)
        return False

    def open_shot(self, window: str, roots: Sequence[int] = ()) -> OneShot | None:
        """Start a window that is measured once; ``None`` if the meter failed.

        The work is done by the process trees of ``roots``; without any, by the test's own.
        """
        self._open(window)
        meter = self._bench.meter
        shot = OneShot(meter, Completion(meter), window, self._wanted_devices(window), roots)
        try:
            self._play_shot(window, 0)
            shot.settle()
            self._play_shot(window, 1)
            shot.begin()
        except MeterError as error:
            self._add_failed(window, WindowKind.ONE_SHOT, error)
            return None
        return shot

    def split(self, call: Call) -> Split:
        """The phases of ``call``.

        Raises:
            WindowError: if no adapter knows any.
        """
        found = (adapter.split(call) for adapter in self._bench.adapters)
        split = next((split for split in found if split is not None), None)
        if split is None:
            raise WindowError(
                f"energy.phases({_name(call.fn)}): no adapter knows its phases, or it was called without sampling "
                "parameters; measure each by itself, as in energy.repeat(fn, window='prefill')"
            )
        for window in (split.first, MAIN, split.rest):
            self._refuse_second(window)
        return split

    def add_rest(self, split: Split) -> None:
        """Add the window of the rest, once the first phase and the whole were measured last."""
        self._opened.add(split.rest)
        first, whole = self.measurements[-2:]
        self.measurements[-2:] = [whole, first, remainder(whole, first, split)]

    def work_of(self, result: object) -> Work:
        """The work in a result that a test counts by itself.

        Raises:
            WindowError: if nobody knows its type.
        """
        work = self._observer.work(result)
        if self._observer.unknown or not work.counts:
            raise WindowError(
                f"nobody knows what work a {type_name(result)} is: count it by name, as in window.count(token=n)"
            )
        return work

    def stream(self) -> CountedStream:
        """What counts a stream in the window that runs."""
        return self._observer.stream()

    def close_shot(self, window: str, shot: OneShot, work: Work, notes: tuple[str, ...] = ()) -> None:
        """End a window that is measured once; ``work`` is what it did, ``notes`` what to say of that."""
        work = ONE_CALL.or_else(work.plus(self._observer.watched()))
        try:
            work = Work(self._play_shot(window, 2) or work.counts, work.facts)
            measurement = shot.close(work)
            measurement = replace(measurement, notes=(*measurement.notes, *notes))
        except MeterError as error:
            self._add_failed(window, WindowKind.ONE_SHOT, error)
            return
        measurement = self._with_latencies(measurement, *shot.times[1:])
        self._add(measurement)
        self._trace(measurement, shot.times, {unit: [0.0, 0.0, count] for unit, count in work.counts.items()})

    @property
    def replays(self) -> bool:
        """Whether an earlier run is played back."""
        return self._replay is not None

    def open_steady(self, window: str) -> None:
        """Start a window in whose course a server comes to its steady state."""
        self._open(window, adapters=())  # what this process has loaded does not do the work

    def close_steady(self, window: str, observed: Callable[[], SteadyWork], roots: Sequence[int]) -> None:
        """End such a window.

        Args:
            window: Its name.
            observed: Gives what the server did; it may raise MeterError.  A replay takes what was recorded instead.
            roots: The server's processes.
        """
        try:
            work = observed() if self._replay is None else self._recorded_work(self._replay, window)
            measurement = measure_steady(self._bench.meter, window, work, self._wanted_devices(window), roots)
        except MeterError as error:
            self._add_failed(window, WindowKind.STEADY, error)
            return
        self._add(measurement)
        self._trace(measurement, work.times, work.totals)

    def _recorded_work(self, replay: ReplayMeter, window: str) -> SteadyWork:
        recorded = replay.window(self._test, window, WindowKind.STEADY)
        replay.seek(recorded.times[-1])
        amounts = {unit: done[-1] for unit, done in recorded.totals.items()}
        return SteadyWork(recorded.times, recorded.totals, amounts, latencies=recorded.latencies)

    def _play_shot(self, window: str, step: int) -> Mapping[str, float]:
        """In a replay, go to the given time of a recorded shot; returns the work that it did."""
        if self._replay is None:
            return {}
        recorded = self._replay.window(self._test, window, WindowKind.ONE_SHOT)
        self._replay.seek(recorded.times[step])
        return {unit: done[-1] for unit, done in recorded.totals.items()}

    def _trace(
        self,
        measurement: Measurement,
        times: Sequence[float],
        totals: Mapping[str, Sequence[float]],
        known: Sequence[tuple[int, ...]] = (),
    ) -> None:
        if self._bench.traces is None:
            return
        devices = self._bench.meter.devices
        self._bench.traces.append(
            WindowTrace(
                test=self._test,
                window=measurement.window,
                kind=measurement.kind,
                devices=tuple(devices.index(device) for device in measurement.devices),
                times=tuple(times),  # whole: whether a look was due may hang on the last digit
                totals={unit: tuple(done) for unit, done in totals.items()},
                spoiled=measurement.invalid,
                known=tuple(known),
                latencies=measurement.latencies,
            )
        )

    def results(self) -> list[BudgetResult]:
        """The verdict on every budget, then on every window that has none.  Final: call it when the test ended."""
        judged = [self._result(budget, declared=True) for budget in self._budgets]
        seen = {id(result.measurement) for result in judged}
        loose = [
            self._result(EnergyBudget(window=m.window, gate=False), declared=False)
            for m in self.measurements
            if id(m) not in seen
        ]
        return judged + loose

    def break_off(self) -> None:
        """End the window without a measurement: what it measures has raised."""
        self._running = None
        self._observer.close()

    def _add(self, measurement: Measurement) -> None:
        notes = (*measurement.notes, *self._observer.notes)
        self.measurements.append(replace(self._with_settings(measurement), notes=notes))
        self.break_off()

    def _with_latencies(self, measurement: Measurement, since: float, until: float) -> Measurement:
        """With those of what was watched while the blocks were measured; of a replay those that were recorded."""
        if self._replay is not None:
            recorded = self._replay.window(self._test, measurement.window, measurement.kind)
            return replace(measurement, latencies=recorded.latencies)
        return replace(measurement, latencies={**measurement.latencies, **self._observer.latencies(since, until)})

    def _with_settings(self, measurement: Measurement) -> Measurement:
        """With the settings of what was watched, and the versions of what is loaded."""
        known = measurement.conditions
        configuration = {**known.configuration, **self._observer.configuration}
        versions = {**loaded_versions(), **known.versions}
        return replace(measurement, conditions=replace(known, versions=versions, configuration=configuration))

    def _add_failed(self, window: str, kind: WindowKind, error: MeterError) -> None:
        self.break_off()
        devices = self._bench.meter.devices
        self.measurements.append(Measurement(window, kind, devices, {}, 0.0, 0.0, Conditions(), invalid=str(error)))

    def _open(
        self,
        window: str,
        call: Call = NO_CALL,
        work: Declared | None = None,
        split: Split | None = None,
        adapters: Sequence[Adapter] | None = None,
    ) -> None:
        if self._running is not None:
            raise WindowError(
                f"window {window!r} begins before window {self._running!r} has ended: "
                "measure one after the other, and await what is asynchronous"
            )
        self._refuse_second(window)
        natural = split.first_unit if split is not None and window == split.first else "call"
        watching = self._bench.adapters if adapters is None else adapters
        self._observer = Observer(watching, self._bench.count, call, work, natural)
        self._opened.add(window)
        self._running = window
        self._split = split

    def _refuse_second(self, window: str) -> None:
        if window in self._opened:
            raise WindowError(
                f"the test measures two windows named {window!r}: give each its own name, "
                "as in energy.repeat(fn, window='decode') or energy.window('decode')"
            )

    def _wanted_devices(self, window: str) -> tuple[str, ...] | None:
        explicit = [b.devices for b in self._budgets if b.devices is not None and b.window in (None, window)]
        return explicit[0] if explicit else self._bench.options.devices

    def _is_of(self, budget: EnergyBudget, window: str) -> bool:
        """Whether a budget is of a window: without a name it is of the main one, or else of the only one."""
        if budget.window is not None:
            return budget.window == window
        return window == MAIN or (MAIN not in self._opened and self._split is None)

    def _judge(self, measurement: Measurement) -> Step:
        """What the budgets of a window still need from the sampler."""
        judged = [self._with_settings(measurement)]
        if self._split is not None and measurement.window == MAIN:
            judged.append(remainder(judged[0], self.measurements[-1], self._split))
        verdicts = [self._judged(b, m).verdict for m in judged for b in self._budgets if self._is_of(b, m.window)]
        if any(verdict.more_gpu_time_helps for verdict in verdicts):
            return Step.MORE
        few = len(measurement.any_blocks) < RECORDED_BLOCKS
        if any(verdict.kind is VerdictKind.NO_BASELINE for verdict in verdicts) or not verdicts:
            return Step.MORE if few else Step.DONE
        # Other work, or a change in mid-window, may be over after another warm-up.
        bad = (VerdictKind.REGRESSED, VerdictKind.OVER_LIMIT, VerdictKind.INVALID)
        if any(verdict.kind in bad for verdict in verdicts):
            return Step.CONFIRM
        return Step.MORE if few and self._compared else Step.DONE

    def _result(self, budget: EnergyBudget, declared: bool) -> BudgetResult:
        measurement, missing = self._measurement_for(budget)
        if measurement is None:
            return BudgetResult(self._test, budget, declared, missing)
        return self._judged(budget, measurement, declared)

    def _measurement_for(self, budget: EnergyBudget) -> tuple[Measurement | None, Verdict]:
        names = [m.window for m in self.measurements]
        if not names:
            return None, Verdict(VerdictKind.UNMEASURED, f"the test carries a budget but {self._why_nothing(budget)}")
        if budget.window is None:
            of_test = [m for m in self.measurements if self._is_of(budget, m.window)]
            if len(of_test) == 1:
                return of_test[0], Verdict(VerdictKind.UNMEASURED)
            reason = f"the test measured windows {listed(names)}: say which one with energy_budget(window=...)"
            return None, Verdict(VerdictKind.INVALID, reason)
        for measurement in self.measurements:
            if measurement.window == budget.window:
                return measurement, Verdict(VerdictKind.UNMEASURED)
        reason = f"no window {budget.window!r} was measured, only {listed(names)}"
        return None, Verdict(VerdictKind.UNMEASURED, reason)

    def _why_nothing(self, budget: EnergyBudget) -> str:
        if self._running is not None:
            return f"window {self._running!r} never ended: await energy(...)"
        if self._opened:
            return f"the measured call raised: window {listed(sorted(self._opened))} has no joules"
        return f"never measured window {budget.window!r}" if budget.window else "never called energy"

    def _judged(self, budget: EnergyBudget, measurement: Measurement, declared: bool = True) -> BudgetResult:
        name = budget.key or self._key(measurement.window)
        return judge(self._test, budget, measurement, name, self._bench.bar, declared=declared)


def play(meter: ReplayMeter, recorded: WindowTrace, sampler: Sampler) -> None:
    """Give the recorded calls to ``sampler`` until it wants no more, or there are no more.

    Raises:
        MeterError: if the reads around the window are too few.
    """
    for moment in itertools.islice(recorded.moments(), 1, None):
        meter.seek(moment.time, moment.known)
        sampler.replayed(moment.time, moment.counts)
        if not sampler.wants_call():
            return
    sampler.stop(f"the recorded calls end after {recorded.times[-1] - recorded.times[0]:.1f} s")


def loaded_versions() -> dict[str, str]:
    """Versions of the recorded libraries that this process has imported."""
    versions = {}
    for name in RECORDED_LIBRARIES:
        if name in sys.modules:
            try:
                versions[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
    return versions


def _name(fn: Callable[..., object]) -> str:
    return getattr(fn, "__qualname__", type(fn).__qualname__)
