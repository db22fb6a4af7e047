"""Sampling: warm-up, blocks of whole ticks, and when to stop.

:class:`Sampler` is driven from outside, one call at a time, so that plain and
``async`` functions go through the same code::

    while sampler.wants_call():
        result = fn()
        sampler.called(result, counts)

It notes when each call was complete, takes the joules at the ticks in between,
and counts the calls between two ticks by interpolation.  Nothing is read, and
nothing waits, on the measured side but the completion of the work itself.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from statistics import fmean, variance

import numpy as np

from pytest_joules.attribution import Attribution, attribute
from pytest_joules.facts import compiling, ratios, wandering, warm
from pytest_joules.latency import Timings, of_calls
from pytest_joules.meters.base import Meter, MeterError
from pytest_joules.meters.ticks import mean_watts
from pytest_joules.model import Block, Conditions, Device, Measurement, Signals, Tick, WindowKind
from pytest_joules.powertrace import power_trace
from pytest_joules.samples import PLACES, Floats, loaded_idle_watts, means, rates, slowed_share, summary
from pytest_joules.signals import of_requests
from pytest_joules.units import format_percent
from pytest_joules.workloads.work import Work

BLOCK_TICKS = 5
CAPPED_BLOCK_TICKS = 10
"""Ticks in a block.  Under a power cap the driver's control loop swings by +-10 % around it, once in 1.0 s, and dies
away over five seconds (H200): ten ticks hold a whole swing, and are level from 1.2 s on."""

WARMUP_SECONDS = 0.5
CAPPED_WARMUP_SECONDS = 1.2
LONGEST_WARMUP_SECONDS = 4.0
"""An H200 that starts a capped load overshoots and dips once in the first 1.1 s; what it does then, whole blocks
even out: the first of ten ticks from 1.2 s on was 0.10 % below the next four seconds, with a spread of 0.22 % between
streams (``benchmarks/acceptance/conditions.py``)."""

STEADY_TICKS = 5
"""Ticks in each of the two stretches that are compared."""

STEADY_CHANGE = 0.003
STEADY_NOISE = 1.5
"""Two stretches of a steady load differ by no more than this, or than so many standard errors of a noisy one.
A cold H200 draws 0.5 to 1.3 % less in its first second of a memory-bound load than after three
(``benchmarks/acceptance/conditions.py``)."""

STEADY_CELSIUS = 1.0
STEADY_CLOCK = 0.015
FEW_CALLS = 3
MOST_COMPILATIONS = 8
"""Calls in which ``torch.compile`` compiled after which warm-up starts anew; its own limit for one function is 8."""

COMPLETION_SECONDS = 0.005
"""Calls shorter than this are completed several at a time, so that waiting does not slow them."""

IDLE_SECONDS = 30.0
"""How far before a window its idle power is looked for; long enough to reach behind a model's set-up."""

PAD_TICKS = 2
"""Whole idle ticks on either side of a one-shot window."""

REDATED_PERIODS = 0.2
"""By how much later reads may move the date of a tick: on a busy host the first edges are seen late."""

NO_WORK = 1e-9
"""Share of all work; less, between two ticks, is the rounding of an interpolation."""

GRACE = 10
"""Ticks, or calls where they are longer, that too few blocks may still come in when the time is up."""

TICK_WAIT_SECONDS = 5.0


SLOWED_SHARE = 0.001
"""Share of a window for which heat or the power brake may slow a device down.  They take half of the clock or more
(nvml.h on nvmlClocksEventReasonHwSlowdown), so that a thousandth of the time moves joules by less than sessions differ
on one device: 0.05 % at least (``benchmarks/acceptance/conditions.py``)."""


class Step(Enum):
    """What the judge of a measurement wants next."""

    MORE = "more"
    CONFIRM = "confirm"
    DONE = "done"


Judge = Callable[[Measurement], Step]
"""Looks at a measurement so far, at each of the decision's numbers of blocks."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one window is to be sampled.

    Attributes:
        window: Its name.
        looks: Numbers of blocks at which the judge is asked.
        max_seconds: Most seconds of measuring after warm-up (two blocks are always taken).
        rounds: Exactly this many measured calls instead of a stop rule.
        warmup: Exactly this many warm-up calls instead of warming up until steady.
        devices: Explicit devices; ``None`` for those that the process tree runs on.
    """

    window: str
    looks: tuple[int, ...]
    max_seconds: float
    rounds: int | None = None
    warmup: int | None = None
    devices: tuple[str, ...] | None = None


class CallLog:
    """Completion times of calls, and how much work was done by then.

    Attributes:
        times: The start, then the completion times.
        totals: For every unit, the work done by each of those times.
        facts: Amounts that add up beside the work, over all calls.
        calls: All calls so far.
        pending: Calls since the last completion.
        per_call: For every unit, the least and the most work of one call.
        timings: How long calls took.
        resumed: When the calls since the last completion began.
    """

    def __init__(self, start: float) -> None:
        self.times: list[float] = [start]
        self.totals: dict[str, list[float]] = {}
        self.facts: dict[str, float] = {}
        self.per_call: dict[str, tuple[float, float]] = {}
        self.timings = Timings()
        self.resumed = start
        self.calls = 0
        self.pending = 0
        self._done: dict[str, float] = {}

    def count(self, work: Work, calls: int = 1) -> None:
        """Note one call that returned, or several, with their work."""
        for unit in dict.fromkeys((*work.counts, *self.per_call)):
            each = work.counts.get(unit, 0.0) / calls
            least, most = self.per_call.get(unit, (0.0 if self.calls else each, 0.0))
            self.per_call[unit] = min(least, each), max(most, each)
        self.calls += calls
        self.pending += calls
        for unit, count in work.counts.items():
            self._done[unit] = self._done.get(unit, 0.0) + count
        for name, amount in work.facts.items():
            self.facts[name] = self.facts.get(name, 0.0) + amount

    @property
    def everything(self) -> dict[str, float]:
        """All work and all facts so far."""
        return {**self.facts, **self._done}

    def complete(self, time: float) -> float:
        """Note that all calls so far were complete at ``time``; returns the seconds a pending one took."""
        for unit, total in self._done.items():
            self.totals.setdefault(unit, [0.0] * len(self.times)).append(total)
        seconds = (time - self.resumed) / max(self.pending, 1)
        self.timings.add("call", time, seconds, count=self.pending)
        self.times.append(time)
        self.resumed = time
        self.pending = 0
        return seconds

    @property
    def elapsed(self) -> float:
        """Seconds from the start to the last completion."""
        return self.times[-1] - self.times[0]


def joined(logs: Sequence[CallLog]) -> tuple[list[float], dict[str, list[float]]]:
    """Consecutive logs as one: the start with all completion times, and for every unit the work done by each."""
    times = [logs[0].times[0]]
    totals: dict[str, list[float]] = {unit: [0.0] for log in logs for unit in log.totals}
    for log in logs:
        times += log.times[1:]
        for unit, done in totals.items():
            before = done[-1]
            done += [before + count for count in log.totals.get(unit, [0.0] * len(log.times))[1:]]
    return times, totals


def whole_tick_blocks(ticks: Sequence[Sequence[Tick]], log: CallLog, min_ticks: int) -> dict[str, list[Block]]:
    """Cut a stretch of calls into contiguous blocks of whole ticks.

    A block ends at the first tick after the completion of a call that is at
    least ``min_ticks`` ticks after the block's start, so that long calls, whose
    power varies inside, fill blocks whole.  It goes on until every unit did
    some work in it; what is left at the end without work belongs to the last
    block.  Every device is cut at its own ticks; its joules per call are scaled
    to the first device's calls, then summed.

    Args:
        ticks: For each device, its ticks; shape (devices, ticks).
        log: The calls.
        min_ticks: Least ticks in a block.

    Returns:
        For each unit, the blocks; all units have the same joules and seconds.
    """
    return tick_blocks(ticks, log.times, log.totals, min_ticks)


def tick_blocks(
    ticks: Sequence[Sequence[Tick]], times: Sequence[float], totals: Mapping[str, Sequence[float]], min_ticks: int
) -> dict[str, list[Block]]:
    """The same of work done by ``times``; the first unit is one of which every stretch holds some, such as the call."""
    blocks: dict[str, list[Block]] = {unit: [] for unit in totals}
    edges = _edges(ticks, times, min_ticks)
    if len(edges) < 2 or not totals:
        return blocks
    dates = [[tick.time for tick in edge] for edge in edges]
    # Shape (edges, units, devices).
    done = np.stack([np.interp(dates, times, total) for total in totals.values()], axis=1)
    least = NO_WORK * done[-1]
    kept = [0]
    for index in range(1, len(edges)):
        if np.all(done[index] - done[kept[-1]] > least):
            kept.append(index)
    if len(kept) > 1:
        kept[-1] = len(edges) - 1
    for opens, closes in itertools.pairwise(kept):
        units = done[closes] - done[opens]
        spans = zip(edges[opens], edges[closes], units[0], strict=True)
        joules = sum(float((b.joules - a.joules) * units[0, 0] / calls) for a, b, calls in spans)
        seconds = edges[closes][0].time - edges[opens][0].time
        for unit, count in zip(totals, units[:, 0], strict=True):
            blocks[unit].append(Block(joules, float(count), seconds))
    return blocks


def first_edge(ticks: Sequence[Sequence[Tick]], times: Sequence[float], min_ticks: int) -> float:
    """When the first of these blocks begins; the first time if there is none."""
    return next((edge[0].time for edge in _edges(ticks, times, min_ticks)), times[0])


def _edges(ticks: Sequence[Sequence[Tick]], times: Sequence[float], min_ticks: int) -> list[tuple[Tick, ...]]:
    """Where a block may begin or end: a tick of every device, at a cut of the first."""
    within = [[tick for tick in found if times[0] <= tick.time <= times[-1]] for found in ticks]
    if not all(within) or len(within[0]) < 2:
        return []
    period = min(b.time - a.time for a, b in itertools.pairwise(within[0]))
    edges = []
    for cut in _cuts(within[0], times, period, min_ticks):
        edge = tuple(found[max(0, bisect_right(found, cut.time + 1e-9, key=_date) - 1)] for found in within)
        # The ticks of another device may not have come in yet.
        if all(cut.time - tick.time < 1.5 * period for tick in edge):
            edges.append(edge)
    return edges


def _cuts(ticks: Sequence[Tick], completions: Sequence[float], period: float, min_ticks: int) -> list[Tick]:
    cuts: list[Tick] = []
    for tick in ticks:
        if cuts and round((tick.time - cuts[-1].time) / period) < min_ticks:
            continue
        # The last completion at or before this tick has to lie within the cell that the tick closes.
        completed = completions[bisect_left(completions, tick.time + 1e-9) - 1]
        if tick.time - completed < period:
            cuts.append(tick)
    return cuts


def _date(tick: Tick) -> float:
    return tick.time


class Sampler:
    """Samples one window of repeated calls.

    Attributes:
        logs: The calls of every phase: warm-up, measuring, and both again where a verdict is confirmed.
        known: At the start, and when each completion was dealt with, how many reads of each device were known;
            shape (1 + completions, devices).  A read may be dated before a completion and come in after it.
        span: When the blocks begin and end, once no further call is wanted.
    """

    def __init__(
        self,
        meter: Meter,
        completion: Callable[[object], float],
        plan: Plan,
        judge: Judge,
        progress: Callable[[str], None],
    ) -> None:
        """Nothing happens before the first call."""
        self._meter = meter
        self._completion = completion
        self._plan = plan
        self._judge = judge
        self._progress = progress
        self._notes: list[str] = []
        self._stopped = ""
        self._confirmed = False
        self._warm_seconds = 0.0
        self._compilations = 0
        self._measuring = False
        self._finished: Measurement | None = None
        self._before: Before | None = None
        self._attribution = Attribution(meter.devices)
        self._log = CallLog(completion(None))
        self.logs = [self._log]
        self.known = [self._known()]
        self.span = (self._log.times[0],) * 2
        self._calls_per_completion = 1
        self._next_check = 0.0
        self._looked = 0
        if plan.warmup == 0:
            self._start_measuring()

    def wants_call(self) -> bool:
        """Whether to make another call."""
        return self._finished is None

    @property
    def measurement(self) -> Measurement:
        """The result, once no further call is wanted."""
        assert self._finished is not None, "asked for the measurement before it was finished"
        return self._finished

    def called(self, result: object, work: Work) -> None:
        """Note one call that returned ``result`` and did ``work``."""
        self._log.count(work)
        if self._log.pending < self._calls_per_completion and self._log.calls != self._fixed_calls():
            return
        self._complete(self._completion(result))

    def replayed(self, time: float, counts: Mapping[str, float]) -> None:
        """Note a recorded completion at ``time``, and the work since the one before."""
        self._log.count(Work(counts), round(counts.get("call", 1)))
        self._complete(time)

    def stop(self, because: str) -> None:
        """No further call can be made: finish with the blocks so far."""
        if self._finished is None:
            self._stopped = because if self._measuring else f"{because} before warm-up was over"
            self._finish(self._measure())

    def _complete(self, time: float) -> None:
        seconds = self._log.complete(time)
        self._meter.mark()
        wanted = math.ceil(COMPLETION_SECONDS / max(seconds, 1e-9))
        self._calls_per_completion = max(1, min(wanted, 2 * self._calls_per_completion))
        with self._meter.held():
            if self._measuring:
                self._continue_measuring()
            else:
                self._continue_warmup()
            self.known.append(self._known())
        # What was looked at in between is no part of a call.
        self._log.resumed = max(time, self._meter.now())

    def _fixed_calls(self) -> int | None:
        """After how many calls this phase ends, if that was given."""
        return self._plan.rounds if self._measuring else self._plan.warmup

    def _start_phase(self, measuring: bool) -> None:
        self._measuring = measuring
        self._log = CallLog(self._log.times[-1])
        self.logs.append(self._log)
        self._next_check = 0.0
        self._looked = 0

    # -- warm-up --

    def _continue_warmup(self) -> None:
        now, elapsed = self._log.times[-1], self._log.elapsed
        if self._plan.warmup is not None:
            if self._log.calls >= self._plan.warmup:
                self._start_measuring()
            return
        if self._log.facts.get("compilation", 0.0) and self._compilations < MOST_COMPILATIONS:
            # The call that compiled warmed nothing up, and the next may still compile for another shape.
            self._compilations += 1
            self._warm_seconds += elapsed
            self._start_phase(measuring=False)
            return
        if elapsed < WARMUP_SECONDS or now < self._next_check:
            return
        self._next_check = now + self._period()
        if elapsed >= CAPPED_WARMUP_SECONDS if self._capped() else self._steady():
            self._start_measuring()
        elif elapsed >= LONGEST_WARMUP_SECONDS:
            # A call that takes seconds cannot be seen settling; one of them has warmed everything it touches.
            if self._log.calls > FEW_CALLS:
                self._notes.append(f"not steady after {elapsed:.1f} s of warm-up")
            self._start_measuring()

    def _steady(self) -> bool:
        """Whether joules per call, SM clock and temperature of the last two stretches are alike."""
        # By calls alone: a unit that few calls produce would make the pieces long.
        calls = dict(itertools.islice(self._log.totals.items(), 1))
        blocks = tick_blocks(self._ticks(), self._log.times, calls, 1)
        pieces = next(iter(blocks.values()), [])[-2 * STEADY_TICKS :]
        half = len(pieces) // 2
        if half < 2 or any(piece.joules <= 0 for piece in pieces):
            return False
        earlier, later = ([math.log(piece.joules_per_unit) for piece in p] for p in (pieces[:half], pieces[half:]))
        noise = math.sqrt((variance(earlier) + variance(later)) / half)
        if abs(fmean(later) - fmean(earlier)) > max(STEADY_CHANGE, STEADY_NOISE * noise):
            return False
        recent = self._signals(since=self._log.times[-1] - sum(piece.seconds for piece in pieces))
        degrees = [s.temperature_celsius for s in recent if s.temperature_celsius is not None]
        clocks = [s.sm_clock_mhz for s in recent if s.sm_clock_mhz is not None]
        if degrees and max(degrees) - min(degrees) > STEADY_CELSIUS:
            return False
        return not clocks or max(clocks) - min(clocks) <= STEADY_CLOCK * max(clocks)

    def _start_measuring(self) -> None:
        self._warm_seconds += self._log.elapsed
        self._attribution = attribute(self._meter, self._plan.devices)
        self._before = None
        self._start_phase(measuring=True)

    # -- measuring --

    def _continue_measuring(self) -> None:
        now, elapsed = self._log.times[-1], self._log.elapsed
        if self._plan.rounds is not None:
            if self._log.calls >= self._plan.rounds:
                self._wait_for_tick(now)
                self._finish(self._measure())
            return
        if now < self._next_check:
            return
        self._next_check = now + self._period()
        self._progress(f"{self._plan.window}: measuring, {elapsed:.1f} s")
        blocks = len(next(iter(self._blocks().values()), []))
        look = max((n for n in self._plan.looks if n <= blocks), default=0)
        late = elapsed - self._plan.max_seconds
        # Without a grace a single long call would end the window; without an end, work that forms no block would not.
        grace = GRACE * max(self._period(), elapsed / max(self._log.calls, 1))
        out_of_time = late >= 0 and (blocks >= self._plan.looks[0] or late >= grace)
        if look <= self._looked and not out_of_time:
            return
        self._looked = look
        measurement = self._measure()
        step = Step.DONE if measurement.invalid else self._judge(measurement)
        if step is Step.CONFIRM and not self._confirmed:
            self._confirmed = True
            self._notes.append("confirmed on fresh blocks after a second warm-up")
            self._start_phase(measuring=False)
        elif step is not Step.MORE or out_of_time or look >= self._plan.looks[-1]:
            self._finish(measurement)

    def _finish(self, measurement: Measurement) -> None:
        """Now that nothing waits for it: with all signals, and what was read over time."""
        since, until = self._log.times[0], self._log.times[-1]
        assert self._before is not None
        devices, blocks = measurement.devices, measurement.any_blocks
        found = sampled(self._meter, devices, self._before, since, until)
        first = first_edge(self._ticks(), self._log.times, self._block_ticks())
        trace = power_trace(self._meter, devices, self.logs[0].times[0], until, first, blocks)
        self.span = (first, first + measurement.seconds)
        self._finished = replace(
            measurement,
            conditions=with_signals(measurement.conditions, found),
            latencies=of_calls(self._log.timings.between(*self.span).get("call", ())),
            trace=trace,
        )

    def _measure(self) -> Measurement:
        end = self._log.times[-1]
        devices = self._attribution.devices
        if self._before is None:
            self._before = look_back(self._meter, devices, self.logs[0].times[0], end)
        told = seen(self._meter, devices, self._log.times[0], end)
        blocks = {unit: tuple(found) for unit, found in self._blocks().items()}
        attribution = attribute(self._meter, self._plan.devices)
        calls = sum(block.units for block in blocks.get("call", ()))
        # The process that computes may have come with the first call.
        charged = attribution if attribution.devices == self._attribution.devices else self._attribution
        return Measurement(
            window=self._plan.window,
            kind=WindowKind.REPEATED,
            devices=devices,
            blocks=blocks,
            calls=calls,
            warmup_seconds=self._warm_seconds,
            conditions=conditions(devices, told, self._before.idle_watts, self._log.everything, self._log.elapsed),
            notes=tuple(note for note in (*self._notes, self._stopped, charged.note, *self._work_notes()) if note),
            invalid=spoiled(self._meter, devices, attribution.foreign, told)
            or (self._stopped if not self._measuring else "")
            or _unusable(blocks, self._log),
        )

    def _work_notes(self) -> list[str]:
        wander = (wandering(unit, *each) for unit, each in self._log.per_call.items())
        return [compiling(self._log.facts), warm(self._log.everything), *wander]

    def _wait_for_tick(self, until: float) -> None:
        wait_for_tick(self._meter, self._attribution.devices, until)

    def _blocks(self) -> dict[str, list[Block]]:
        return whole_tick_blocks(self._ticks(), self._log, self._block_ticks())

    def _block_ticks(self) -> int:
        ticks = CAPPED_BLOCK_TICKS if self._capped() else BLOCK_TICKS
        # A sensor that looks part of the time sees a share of the work: so many more ticks see as much of it.
        duty = least_duty(self._attribution.devices) or 1.0
        return math.ceil(ticks / duty)

    def _ticks(self) -> list[Sequence[Tick]]:
        return [self._meter.ticks(device, self._log.times[0]) for device in self._attribution.devices]

    def _signals(self, since: float, until: float = math.inf) -> list[Signals]:
        return [s for device in self._attribution.devices for s in self._meter.signals(device, since, until)]

    def _capped(self) -> bool:
        return _share(s.power_capped for s in self._signals(self._log.times[0])) > 0.1

    def _known(self) -> tuple[int, ...]:
        return tuple(len(self._meter.reads(device) or ()) for device in self._meter.devices)

    def _period(self) -> float:
        return max(self._meter.period(device) for device in self._attribution.devices)


class OneShot:
    """Measures one stretch of code that runs once, between idle ticks."""

    def __init__(
        self,
        meter: Meter,
        completion: Callable[[object], float],
        window: str,
        wanted: tuple[str, ...] | None,
        roots: Sequence[int] = (),
    ) -> None:
        """Nothing happens before :meth:`settle`; ``wanted`` and ``roots`` are those of ``attribute``."""
        self._meter = meter
        self._completion = completion
        self._window = window
        self._wanted = wanted
        self._roots = roots
        self.times: list[float] = []

    def settle(self) -> None:
        """Let the device fall idle for whole ticks."""
        self.times.append(self._completion(None))
        for device in self._meter.devices:
            self._ticks(device, self.times[0])

    def begin(self) -> None:
        """The work starts now."""
        self.times.append(self._meter.now())

    def close(self, work: Work) -> Measurement:
        """End the window; ``work`` is what it did.

        The joules between the last tick before the window and the first one
        after it, less what an idle device draws in the two remainders.
        """
        self.times.append(self._completion(None))
        opened, start, end = self.times
        attribution = attribute(self._meter, self._wanted, self._roots)
        self._meter.mark()
        joules = idle_watts = 0.0
        for device in attribution.devices:
            ticks = self._ticks(device, end)
            before = [tick for tick in ticks if tick.time <= start]
            after = [tick for tick in ticks if tick.time >= end]
            if min(len(before), len(after)) <= PAD_TICKS:
                raise MeterError(f"fewer than {PAD_TICKS + 1} ticks of GPU {device.index} before or after the window")
            idle_before = mean_watts(before[-PAD_TICKS - 1 :])
            idle_after = mean_watts(after[: PAD_TICKS + 1])
            padding = idle_before * (start - before[-1].time) + idle_after * (after[0].time - end)
            joules += after[0].joules - before[-1].joules - padding
            idle_watts += idle_before
        devices = attribution.devices
        told = seen(self._meter, devices, start, end)
        state = conditions(devices, told, idle_watts, {**work.facts, **work.counts}, end - start)
        found = sampled(self._meter, devices, look_back(self._meter, devices, start, end), start, end)
        blocks = {u: (Block(joules, count, end - start),) for u, count in work.counts.items() if count > 0}
        shown = next(iter(blocks.values()), ())
        return Measurement(
            window=self._window,
            kind=WindowKind.ONE_SHOT,
            devices=devices,
            blocks=blocks,
            calls=1.0,
            warmup_seconds=0.0,
            conditions=with_signals(state, found),
            notes=tuple(note for note in (attribution.note, compiling(work.facts)) if note),
            latencies=of_calls([(end - start, 1.0)]),
            invalid=spoiled(self._meter, devices, attribution.foreign, told)
            or no_work(work.counts)
            or no_joules(blocks, "no joules above idle: the window is too short or did no GPU work"),
            trace=power_trace(self._meter, attribution.devices, opened, math.inf, start, shown),
        )

    def _ticks(self, device: Device, end: float) -> Sequence[Tick]:
        """A device's ticks since it was left idle, as soon as there are enough after ``end``."""
        # What was dated right after the opening may since be dated right before it.
        period = self._meter.period(device)
        since = self.times[0] - REDATED_PERIODS * period
        deadline = self._meter.now() + TICK_WAIT_SECONDS
        while True:
            ticks = self._meter.ticks(device, since)
            if sum(tick.time >= end for tick in ticks) > PAD_TICKS or self._meter.now() >= deadline:
                return ticks
            self._meter.sleep(period / 5)


@dataclass(frozen=True, slots=True)
class Before:
    """What was seen of the devices in the half minute before a window's first call.

    Attributes:
        idle_watts: The least power between two ticks; ``None`` if nobody looked.
        loaded_idle_watts: The same with the model loaded; ``None`` if nobody knows.
    """

    idle_watts: float | None
    loaded_idle_watts: float | None


def look_back(meter: Meter, devices: Sequence[Device], opened: float, until: float) -> Before:
    """What was seen of ``devices`` before ``opened``, with the memory in use from then to ``until``."""
    since = opened - IDLE_SECONDS
    ticks = [[tick for tick in meter.ticks(device, since) if tick.time <= opened] for device in devices]
    seen_before = [meter.samples(device, since, opened) for device in devices]
    used = [float(means(meter.samples(device, opened, until))[PLACES["memory_used_bytes"]]) for device in devices]
    return Before(
        _total([min(map(mean_watts, itertools.pairwise(each))) if len(each) > 1 else None for each in ticks]),
        _total(list(map(loaded_idle_watts, ticks, seen_before, used))),
    )


def _total(watts: Sequence[float | None]) -> float | None:
    """Of all devices, if all are known."""
    known = [each for each in watts if each is not None]
    return sum(known) if len(known) == len(watts) else None


def wait_for_tick(meter: Meter, devices: Sequence[Device], until: float) -> None:
    """Wait until every device's tick before ``until`` is known."""
    deadline = meter.now() + TICK_WAIT_SECONDS
    period = max(meter.period(device) for device in devices)
    while meter.now() < deadline:
        newest = [max((t.time for t in meter.ticks(device, until - 2 * period)), default=0.0) for device in devices]
        if all(tick > until - period for tick in newest):
            return
        meter.sleep(period / 5)


def least_duty(devices: Iterable[Device]) -> float | None:
    """The least share of the time that a power sensor of ``devices`` looks; ``None`` if no share is known."""
    return min((device.sensor_duty for device in devices if device.sensor_duty is not None), default=None)


@dataclass(frozen=True, slots=True)
class Seen:
    """What decides on a window: it is looked at while the window goes on, and so has to be cheap.

    Attributes:
        signals: What came with the reads of the counters, of all devices.
        rates: How fast the totals of each device rose (:func:`pytest_joules.samples.rates`).
    """

    signals: Sequence[Signals]
    rates: Sequence[Floats] = ()

    @property
    def slowed(self) -> float | None:
        """Share of the time that heat or the power brake slowed a device down; ``None`` if it is not counted."""
        return slowed_share(self.rates)

    @property
    def capped(self) -> float | None:
        """Share of the time under the power cap: as it is counted, else that of the reads; ``None`` if nobody knows."""
        counted = [float(each[PLACES["power_cap_share"]]) for each in self.rates]
        if counted and all(map(math.isfinite, counted)):
            return fmean(counted)
        known = any(signal.power_capped is not None for signal in self.signals)
        return _share(signal.power_capped for signal in self.signals) if known else None


def seen(meter: Meter, devices: Sequence[Device], since: float, until: float) -> Seen:
    """What ``devices`` told from ``since`` to ``until``."""
    signals = [signal for device in devices for signal in meter.signals(device, since, until)]
    return Seen(signals, [rates(meter.samples(device, since, until)) for device in devices])


def sampled(meter: Meter, devices: Sequence[Device], before: Before, since: float, until: float) -> dict[str, float]:
    """All that ``devices`` and the host told, by the names of :data:`pytest_joules.signals.SIGNALS`.

    Args:
        meter: Who sampled it.
        devices: Whose.
        before: What was seen of them before the window's first call.
        since: The window's begin.
        until: Its end.
    """
    found = summary([means(meter.samples(device, since, until)) for device in devices])
    found.pop("power_cap_share", None)  # It has a place of its own.
    if before.loaded_idle_watts is not None:
        found["loaded_idle_watts"] = before.loaded_idle_watts
    return found


def conditions(
    devices: Sequence[Device],
    told: Seen,
    idle_watts: float | None = None,
    totals: Mapping[str, float] | None = None,
    seconds: float = 0.0,
) -> Conditions:
    """The mean state of ``devices`` over a window, and what its work and other amounts tell, done in ``seconds``."""
    temperatures = [s.temperature_celsius for s in told.signals if s.temperature_celsius is not None]
    clocks = [s.sm_clock_mhz for s in told.signals if s.sm_clock_mhz is not None]
    capped = told.capped
    return Conditions(
        temperature_celsius=round(fmean(temperatures), 1) if temperatures else None,
        sm_clock_mhz=round(fmean(clocks)) if clocks else None,
        power_cap_share=round(capped, 3) if capped is not None else None,
        idle_watts=round(idle_watts, 1) if idle_watts is not None else None,
        sensor_duty=least_duty(devices),
        facts=ratios(totals or {}),
        configuration=device_settings(devices),
        signals=of_requests(totals or {}, seconds),
    )


def with_signals(state: Conditions, found: Mapping[str, float]) -> Conditions:
    """With further signals; those that it has already win."""
    return replace(state, signals={**found, **state.signals})


def device_settings(devices: Sequence[Device]) -> dict[str, str]:
    """The settings that every one of ``devices`` tells; different ones are joined."""
    names = dict.fromkeys(name for device in devices for name in device.settings)
    return {
        name: " and ".join(sorted({device.settings[name] for device in devices}))
        for name in names
        if all(name in device.settings for device in devices)
    }


def spoiled(meter: Meter, devices: Sequence[Device], foreign: str, told: Seen) -> str:
    """What makes the joules of a window worthless; empty if nothing does."""
    for device in devices:
        if reason := meter.invalid(device):
            return reason
    if foreign:
        return f"{foreign} shares the device: its joules cannot be told apart; stop it, or choose another with devices="
    # Counters tell of every moment, clock event reasons only of those at which somebody looked.
    counted = told.slowed or 0.0
    if share := counted if counted > SLOWED_SHARE else _share(s.slowed_down for s in told.signals):
        return (
            f"thermal or power-brake slowdown during {format_percent(share)} of the window: cool the machine, or find "
            "what asserts the power brake (nvidia-smi -q -d PERFORMANCE,TEMPERATURE), and run again"
        )
    return ""


def _unusable(blocks: Mapping[str, Sequence[Block]], log: CallLog) -> str:
    if reason := no_work({unit: totals[-1] for unit, totals in log.totals.items()}):
        return reason
    if not any(blocks.values()):
        return f"{log.elapsed:.2f} s hold no whole block: raise rounds, or let the stop rule choose"
    return no_joules(blocks, "the energy counter rose by 0 J in a block: no joules is never a pass")


def no_work(counts: Mapping[str, float]) -> str:
    """What to say if some unit was not produced at all; empty if all were."""
    for unit, count in counts.items():
        if not count > 0:
            return f"the work count of {unit!r} is {count:g}: nothing to divide joules by"
    return ""


def no_joules(blocks: Mapping[str, Sequence[Block]], complaint: str) -> str:
    """``complaint`` if a block has no joules; what to say of numbers that are not finite; else empty."""
    found = [block for of_unit in blocks.values() for block in of_unit]
    if any(block.joules <= 0 for block in found):
        return complaint
    if not all(math.isfinite(block.joules) and math.isfinite(block.units) for block in found):
        return "the joules or the work counts are not finite numbers"
    return ""


def _share(flags: Iterable[bool | None]) -> float:
    known = [flag for flag in flags if flag is not None]
    return sum(known) / len(known) if known else 0.0
