"""The value objects that everything else passes around.

Frozen, and with no behaviour beyond arithmetic.  Joules, seconds and watts are
SI floats; times called ``time`` are seconds on the meter's clock, which is
``time.monotonic()`` except in a replay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pytest_joules.budget import EnergyBudget

LIMIT_WATTS = 0.5
"""Two power limits that differ by no more are the same."""


@dataclass(frozen=True, slots=True)
class Device:
    """One measured device.

    Attributes:
        index: The NVML index (or Zeus' index for other sources).
        name: The product name as the driver prints it.
        identity: A short hash of the device's UUID; the UUID itself is never kept.
        scope: What the joules cover: ``"gpu"``, or ``"module"`` where the driver
            counts the whole superchip (Grace Hopper), ``"cpu"``, ``"soc"``.
        power_limit_watts: The enforced power limit, if the driver tells.
        default_power_limit_watts: The limit that the board ships with.
        driver: The driver's version.
        simulated: Whether the device is a simulated one.
        sensor_duty: Share of the time that the power sensor looks, as ``pytest-joules doctor``
            found it; ``None`` if it never looked.
        settings: What is set on it that changes what work costs, by name, e.g. ``gpu_ecc``.
    """

    index: int
    name: str
    identity: str
    scope: str = "gpu"
    power_limit_watts: float | None = None
    default_power_limit_watts: float | None = None
    driver: str | None = None
    simulated: bool = False
    sensor_duty: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Read:
    """One read of an energy counter: it was sampled between ``start`` and ``end`` (s)."""

    start: float
    end: float
    joules: float


@dataclass(frozen=True, slots=True)
class Tick:
    """The moment at which a device's energy counter changed, and its new value."""

    time: float
    joules: float


@dataclass(frozen=True, slots=True)
class Signals:
    """What a device said beside its joules at one moment; ``None`` is "unavailable".

    Attributes:
        time: When it said so.
        temperature_celsius: GPU temperature.
        sm_clock_mhz: SM clock.
        power_capped: Whether the power limit held the clocks down; normal under heavy load.
        slowed_down: Whether heat or the power brake held the clocks down; it spoils a measurement.
    """

    time: float
    temperature_celsius: float | None = None
    sm_clock_mhz: float | None = None
    power_capped: bool | None = None
    slowed_down: bool | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """The smallest scored piece of a window: a whole number of ticks.

    Attributes:
        joules: Energy (J) of all charged devices.
        units: Units of work; a fraction where a call was cut.
        seconds: How long it took.
    """

    joules: float
    units: float
    seconds: float

    @property
    def joules_per_unit(self) -> float:
        return self.joules / self.units

    @property
    def seconds_per_unit(self) -> float:
        return self.seconds / self.units

    @property
    def watts(self) -> float:
        return self.joules / self.seconds


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a number holds under: the state of the machine, and what the work was like.

    Attributes:
        temperature_celsius: Mean over the blocks.
        sm_clock_mhz: Mean over the blocks.
        power_cap_share: Share of the samples at which the driver was power capping.
        idle_watts: Least power in the half minute before the work: idle, if the device ever was then.
        sensor_duty: Least share of the time that a charged device's power sensor looks, where it is known.
        versions: Versions of the libraries that do the work, by package name.
        facts: Ratios that tell whether two sessions did the same work (:mod:`pytest_joules.facts`).
        configuration: Settings of the engine and of the devices, by name.
        signals: What the devices, the host and the engine did meanwhile, by the names of
            :data:`pytest_joules.signals.SIGNALS`; one that is not there is unavailable, never zero.
    """

    temperature_celsius: float | None = None
    sm_clock_mhz: float | None = None
    power_cap_share: float | None = None
    idle_watts: float | None = None
    sensor_duty: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)
    configuration: Mapping[str, str] = field(default_factory=dict)
    signals: Mapping[str, float] = field(default_factory=dict)


class WindowKind(str, Enum):
    """How a window was measured: by repeated calls, as one shot, or in the steady state of a server."""

    REPEATED = "repeated"
    ONE_SHOT = "one-shot"
    STEADY = "steady-state"


@dataclass(frozen=True, slots=True)
class PowerTrace:
    """Power, clock and temperature over the time of a window, for a reader to look at: columns of equal length.

    It decides nothing.  Long windows have fewer points a second; their joules are kept.

    Attributes:
        seconds: Ends of the stretches of time that the other columns are means over, since warm-up began.
        watts: Power, summed over the devices.
        sm_clock_mhz: SM clock, mean over the devices; ``None`` where nobody looked.
        temperature_celsius: GPU temperature, likewise.
        block_seconds: Where blocks begin and end; warm-up was over before the first.
    """

    seconds: tuple[float, ...]
    watts: tuple[float, ...]
    sm_clock_mhz: tuple[float | None, ...]
    temperature_celsius: tuple[float | None, ...]
    block_seconds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one pytest process measured for one window.

    Attributes:
        window: The window's name.
        kind: Repeated calls or one shot.
        devices: The devices whose joules are summed.
        blocks: For every unit that was counted, the blocks in that unit.
        calls: Calls completed inside the blocks (fractional at the edges).
        warmup_seconds: What warming up took.
        conditions: The state of the machine.
        notes: Plain sentences that a reader of the number must know.
        latencies: Seconds by the names of :mod:`pytest_joules.latency`: ``call`` and its percentiles, ``ttft_p50``
            (time to the first token), ``itl_p95`` (between tokens)...; of the blocks alone.
        invalid: Why the number cannot be trusted; empty when it can.
        trace: Power over time, where the window had a time of its own.
    """

    window: str
    kind: WindowKind
    devices: tuple[Device, ...]
    blocks: Mapping[str, tuple[Block, ...]]
    calls: float
    warmup_seconds: float
    conditions: Conditions
    notes: tuple[str, ...] = ()
    latencies: Mapping[str, float] = field(default_factory=dict)
    invalid: str = ""
    trace: PowerTrace | None = None

    @property
    def joules(self) -> float:
        """Joules of all blocks together."""
        return sum([block.joules for block in self.any_blocks])

    @property
    def seconds(self) -> float:
        """Seconds of all blocks together."""
        return sum([block.seconds for block in self.any_blocks])

    @property
    def any_blocks(self) -> tuple[Block, ...]:
        """The blocks of any one unit: joules and seconds are the same in all."""
        return next(iter(self.blocks.values()), ())

    def joules_per(self, unit: str) -> float:
        """Joules per one ``unit`` of work over all blocks.

        Raises:
            KeyError: if the window did not count ``unit``.
        """
        blocks = self.blocks[unit]
        return sum(b.joules for b in blocks) / sum(b.units for b in blocks)


@dataclass(frozen=True, slots=True)
class BaselineKey:
    """Names one stored series: a test (node id or explicit key), window and unit.

    Attributes:
        test: The test's node id, or an explicit key.
        window: The window's name.
        unit: The unit of work.
    """

    test: str
    window: str
    unit: str

    def __str__(self) -> str:
        return f"{self.test} [{self.window}, J/{self.unit}]"


@dataclass(frozen=True, slots=True)
class Session:
    """What one pytest process stored for one window and unit.

    Attributes:
        recorded: UTC time, ISO 8601 to the second.
        devices: Identities of the devices, in order.
        blocks: The raw blocks.
        kind: How the window was measured.
        commit: The repository's commit, if it is in git.
        driver: The driver's version.
        conditions: The state of the machine.
        anchor: Whether it is pinned: slow creep is measured from the pinned sessions of a series.
        tolerance: The tolerance in force when it was stored; ``None`` if only a limit counted, or nothing was kept.
        limit: The limit then, J per unit.
        gate: Whether a bad verdict failed the test then.
    """

    recorded: str
    devices: tuple[str, ...]
    blocks: tuple[Block, ...]
    kind: WindowKind = WindowKind.REPEATED
    commit: str | None = None
    driver: str | None = None
    conditions: Conditions = field(default_factory=Conditions)
    anchor: bool = False
    tolerance: float | None = None
    limit: float | None = None
    gate: bool = True


@dataclass(frozen=True, slots=True)
class History:
    """What a budget was judged against, oldest session first: columns of equal length.

    Attributes:
        recorded: UTC times, ISO 8601 to the second.
        joules_per_unit: Geometric means of the sessions' blocks, J per unit.
        spread: Relative standard deviations of the blocks.
        seconds_per_unit: Geometric means, s per unit.
        commits: The repository's commits, where it was in git.
        same_devices: Whether they are from today's devices.
        anchors: Whether they are pinned.
    """

    recorded: tuple[str, ...] = ()
    joules_per_unit: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    seconds_per_unit: tuple[float, ...] = ()
    commits: tuple[str | None, ...] = ()
    same_devices: tuple[bool, ...] = ()
    anchors: tuple[bool, ...] = ()


class VerdictKind(str, Enum):
    """What a budget came to."""

    PASS = "PASS"
    REGRESSED = "REGRESSED"
    OVER_LIMIT = "OVER_LIMIT"
    IMPROVED = "IMPROVED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_BASELINE = "NO_BASELINE"
    INVALID = "INVALID"
    UNMEASURED = "UNMEASURED"


TEST_FAILED = "the test failed in"
"""How the reason of UNMEASURED begins where the test failed; the phase follows."""

SKIPPED, DESELECTED = "skipped: ", "deselected"
"""How the reason of UNMEASURED begins where nobody wanted the test to run."""

XFAILED = "failed, as its xfail expects"
"""How it begins where the test ran, and failed as it says of itself; the reason that it gives follows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one budget.

    Attributes:
        kind: The verdict.
        reason: One plain sentence: why, and what would help.
        joules_per_unit: Today's value, J per unit (geometric mean of the blocks).
        uncertainty: Its relative standard error from the blocks alone.
        baseline_joules_per_unit: What the baseline predicts for today.
        baseline_sessions: How many sessions stand behind that.
        own_sessions: How many of them are from today's devices.
        crept: Whether joules crept up: baseline, ratio and interval are those of the pinned sessions alone.
        ratio: Today over baseline.
        ratio_low: Lower end of the ratio's interval.
        ratio_high: Upper end of the ratio's interval.
        standard_error: Relative standard error of the ratio, from blocks, sessions and devices.
        seconds_ratio: Seconds per unit, today over baseline; watts moved by ``ratio / seconds_ratio``.
        detectable: The smallest true rise that would have been called REGRESSED, as a fraction.
        more_gpu_time_helps: Whether further blocks could still settle it.
        other_work: Whether the baseline did other work: INVALID, unless only a limit counts.  An update accepts it.
        notes: Warnings that do not change the verdict, such as a risen latency.
    """

    kind: VerdictKind
    reason: str = ""
    joules_per_unit: float | None = None
    uncertainty: float | None = None
    baseline_joules_per_unit: float | None = None
    baseline_sessions: int = 0
    own_sessions: int = 0
    crept: bool = False
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    standard_error: float | None = None
    seconds_ratio: float | None = None
    detectable: float | None = None
    more_gpu_time_helps: bool = False
    other_work: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """The change of joules per unit as a sum of parts, without a residual.

    Attributes:
        name: What it is split into, e.g. ``"watts and time"``.
        parts: Each part's share of the change, as a difference of log joules per unit; they sum to the change.
    """

    name: str
    parts: Mapping[str, float]


def least_along(bounds: tuple[float, float], way: float) -> float:
    """What a range of log joules per unit accounts for at least, along a rise (``way`` = 1) or a fall (-1)."""
    return max(0.0, min(way * bound for bound in bounds))


@dataclass(frozen=True, slots=True)
class Cause:
    """One mechanism that moved joules per unit, and what speaks for it.

    Attributes:
        rule: The rule's name in ``docs/diagnosis.md``, e.g. ``"host-bound"``.
        text: The mechanism in one plain sentence.
        evidence: What was seen, each as ``what: before -> after``.
        advice: What to do about it.
        source: Where the rule's size comes from.
        low: Least change of log joules per unit that it can account for; ``None`` if its size is not known.
        high: Most change of log joules per unit that it can account for.
        explains: The point of that range that causes are ranked by, as a difference of log joules per unit: all causes
            together make up the change with the same share of their ranges, or with the most of each.  No measured
            number but where the range is one.
    """

    rule: str
    text: str
    evidence: tuple[str, ...] = ()
    advice: str = ""
    source: str = ""
    low: float | None = None
    high: float | None = None
    explains: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """What it can account for, as differences of log joules per unit; ``None`` if its size is not known."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        return None if self.explains is None else (self.explains, self.explains)

    def least(self, way: float) -> float:
        """What it accounts for at least, along a rise (``way`` = 1) or a fall (-1)."""
        return 0.0 if self.bounds is None or self.explains is None else least_along(self.bounds, way)


@dataclass(frozen=True, slots=True)
class SignalChange:
    """One signal before and after; ``None`` is "unavailable".

    Attributes:
        name: What it is stored under.
        before: Its value then, as a mean over the sessions that know it.
        after: Its value now.
    """

    name: str
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why joules per unit are not what they were.

    Attributes:
        change: Difference of log joules per unit, after less before.
        noise: Change that noise alone makes; a smaller one has no cause.
        splits: The change in exact parts.
        causes: Mechanisms, by how much they explain.
        unexplained: What of the change no cause explains.
        missing: Signals that would tell more, and how to have them.
        incomparable: Differences that make the two numbers no change of one thing, such as another device.
        signals: Every signal before and after, known or not.
    """

    change: float
    noise: float = 0.0
    splits: tuple[Split, ...] = ()
    causes: tuple[Cause, ...] = ()
    unexplained: float = 0.0
    missing: tuple[str, ...] = ()
    incomparable: tuple[str, ...] = ()
    signals: tuple[SignalChange, ...] = ()

    def accountable(self, cause: Cause) -> tuple[float, float] | None:
        """The least and the most of the change that a cause may be at work in; ``None`` if that is not known.

        The least is that of its own range.  The most is what the change leaves of that range beside the least of all
        other causes.  Ends are differences of log joules per unit; the first is nearer to 0.
        """
        if cause.explains is None or cause.bounds is None:
            return None
        way = 1.0 if self.change > 0 else -1.0
        point = way * cause.explains
        if point <= 0:
            return cause.explains, cause.explains
        others = sum(other.least(way) for other in self.causes if other is not cause)
        most = max(min(max(way * bound for bound in cause.bounds), abs(self.change) - others), point)
        return way * min(cause.least(way), point), way * most

    @property
    def left(self) -> tuple[float, float]:
        """The least and the most of the change that no cause accounts for, as differences of log joules per unit."""
        way = 1.0 if self.change > 0 else -1.0
        least = sum(min(cause.least(way), way * (cause.explains or 0.0)) for cause in self.causes)
        return self.unexplained, max(self.unexplained, self.change - way * least, key=abs)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a test is written.

    Attributes:
        file: Its file, relative to the repository's root, or to pytest's where there is none, with ``/``.
        line: The first line of its function, from 1; ``None`` if that is not known.
    """

    file: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Widened:
    """A term of a budget that is wider than what the base recorded for it.

    Attributes:
        term: ``"tolerance"``, ``"limit"`` or ``"gate"``.
        base: What the base recorded: a fraction, or J per unit; ``None`` for a gate.
        here: What it is here; ``None`` if there is none here: no tolerance or limit counts, the gate is off.
    """

    term: str
    base: float | None = None
    here: float | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """One published measurement, to compare with; it comes without a variance, and judges nothing.

    Attributes:
        model: What was measured, as its publisher names it, e.g. ``meta-llama/Llama-3.1-8B-Instruct``.
        task: The workload, e.g. ``lm-arena-chat``.
        gpu: What it ran on, as its publisher names it, e.g. ``H100``.
        settings: The configuration, as text by name, e.g. ``{"max_num_seqs": "512"}``.
        source: Who published it.
        date: Of the measurement if its source tells, else of its publication or of the import; ISO 8601.
        joules: J per unit of all GPUs together, by unit; the first unit is the one that its source counts in.
        seconds: Latencies, s by name, as in :class:`Pass`.
        watts: Mean power of all GPUs together.
        facts: What the work was like, e.g. ``tokens_per_request``.
    """

    model: str
    task: str
    gpu: str
    settings: Mapping[str, str]
    source: str
    date: str
    joules: Mapping[str, float]
    seconds: Mapping[str, float] = field(default_factory=dict)
    watts: float | None = None
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a unit of work ought to cost on a SKU without a baseline, going by that of another SKU.

    It decides nothing.

    Attributes:
        joules_per_unit: The middle of the interval, J per unit.
        low: The lower end of the 90 % interval.
        high: Its upper end.
        sku: The other SKU.
        tests: How many tests both SKUs have stored.
    """

    joules_per_unit: float
    low: float
    high: float
    sku: str
    tests: int


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """One budget of one test, and what came of it.

    Attributes:
        test: The test's node id.
        budget: What the marker said.
        declared: Whether a marker said so; a window without one is measured and shown, never judged to fail.
        verdict: The decision.
        failed: Whether this verdict fails the test or, where the test did not run, the run.
        key: What its sessions are stored under.
        sku: Which baseline file it belongs to.
        tolerance: The tolerance in force; ``None`` if only a limit counts.
        measurement: What was measured, if anything was.
        diagnosis: Why it is not what the baseline is, if it is not.
        history: The stored sessions of its series; ``None`` without any.
        place: Where the test is written.
        widened: Terms that are wider here than the base of ``--energy-baseline-ref`` recorded; the base's are in force.
        broken: Why the test ended badly though its budgets were judged, such as a failed teardown; it is not stored.
        expected: What it ought to cost, going by another SKU, where nothing is stored for this one.
        reference: The published measurement that the marker names; it judges nothing.
    """

    test: str
    budget: EnergyBudget
    declared: bool
    verdict: Verdict
    failed: bool = False
    key: BaselineKey | None = None
    sku: str | None = None
    tolerance: float | None = None
    measurement: Measurement | None = None
    diagnosis: Diagnosis | None = None
    history: History | None = None
    place: Place | None = None
    widened: tuple[Widened, ...] = ()
    broken: str = ""
    expected: Expectation | None = None
    reference: Reference | None = None

    @property
    def over_reference(self) -> float | None:
        """Joules per unit over the published ones; ``None`` where there are none of this unit."""
        joules = self.reference.joules.get(self.key.unit) if self.reference and self.key else None
        today = self.verdict.joules_per_unit
        return today / joules if joules and today is not None else None


@dataclass(frozen=True, slots=True)
class BaselineChange:
    """What an update did to one stored series: old and new joules per unit.

    Attributes:
        key: The series.
        sku: Its baseline file.
        old: Mean of the sessions before, J per unit; ``None`` if there were none.
        new: Mean of the sessions now.
        sessions: How many there are now.
        replaced: Whether the series started afresh.
        pinned: How many of the sessions are pinned as the anchor.
        anchor_moved: Whether there were pinned sessions before, and none of them is pinned any more.
        widened: Terms that are wider than those of the last session before; from now on they are in force.
    """

    key: BaselineKey
    sku: str
    old: float | None
    new: float
    sessions: int
    replaced: bool
    pinned: int = 0
    anchor_moved: bool = False
    widened: tuple[Widened, ...] = ()


@dataclass(frozen=True, slots=True)
class EntryChange:
    """How one stored series differs between the base and the work tree.

    Attributes:
        key: The series.
        sku: Its baseline file.
        old: Mean of the base's sessions, J per unit; ``None`` if it has none.
        new: Mean of the sessions here; ``None`` if there are none.
        added: Sessions that are here alone.
        removed: Sessions that are in the base alone.
        rewritten: Sessions of one time and device whose content differs.
        anchor_moved: Whether the base has pinned sessions, and others are pinned here, or none.
        widened: Recorded terms that are wider here.
        renamed_from: What the base stores the same sessions under, and the work tree no more.
    """

    key: BaselineKey
    sku: str
    old: float | None
    new: float | None
    added: int = 0
    removed: int = 0
    rewritten: int = 0
    anchor_moved: bool = False
    widened: tuple[Widened, ...] = ()
    renamed_from: BaselineKey | None = None


@dataclass(frozen=True, slots=True)
class BaselineReview:
    """What the work tree, such as a pull request's, does to the baselines of its base.

    Attributes:
        ref: What the user called the base.
        commit: Its full hash.
        changes: Stored series that differ, the largest rise first.
        unjudged: Series that the base stores, whose test ran without a budget for them.
        problems: Plain sentences on files that cannot be compared.
    """

    ref: str
    commit: str
    changes: tuple[EntryChange, ...] = ()
    unjudged: tuple[BaselineKey, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rename:
    """A stored series without a test whose numbers are those of a test without a baseline.

    Attributes:
        sku: The baseline file.
        old: What it is stored under.
        new: What the test is called.
        ratio: The test's joules per unit over the stored ones.
    """

    sku: str
    old: BaselineKey
    new: BaselineKey
    ratio: float


@dataclass(frozen=True, slots=True)
class MeterInfo:
    """Where a run's joules came from.

    Attributes:
        description: The source in words.
        simulated: Whether no real device was measured.
        devices: The visible devices.
        replayed: Whether an earlier run's reads were played back.
    """

    description: str
    simulated: bool
    devices: tuple[Device, ...]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """A positive number and how sure it is, on a log scale.

    Attributes:
        value: The number.
        error: Standard error of its logarithm; 0 for a published number, which comes without one.
        freedom: Degrees of freedom of that error; infinite where it is known.
    """

    value: float
    error: float = 0.0
    freedom: float = math.inf


@dataclass(frozen=True, slots=True)
class Pass:
    """One measurement of one point of a sweep.

    Attributes:
        joules_per_unit: Geometric mean of the blocks, J per unit.
        error: Relative standard error of that from the blocks alone; ``None`` where nobody told one.
        seconds: Latencies, s by name: ``unit`` and ``call`` (means), ``call_p95``, ``itl_p95``, ``ttft_p50``...
        watts: Mean power of all charged devices.
        memory_bytes: Device memory in use.
        temperature_celsius: Mean GPU temperature.
        order: The how many-th measurement of its sweep it was, from 0; published numbers have none.
    """

    joules_per_unit: float
    error: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    watts: float | None = None
    memory_bytes: float | None = None
    temperature_celsius: float | None = None
    order: int | None = None


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One configuration of a sweep, and what was measured of it.

    Attributes:
        name: The test's node id, or what else it is called; no other point of the sweep is.
        settings: What tells it from other points, as text by name, e.g. ``{"max_num_seqs": "256"}``.
        passes: Its measurements, in order.
        default: Whether it is the configuration in use today.
        invalid: Why it can never be recommended, whatever it measured: its test failed, or the number is no good.
        sku: What it ran on.
        commit: The repository's commit, if it is in git.
        source: Where published numbers are from; empty for measured ones.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    passes: tuple[Pass, ...] = ()
    default: bool = False
    invalid: str = ""
    sku: str | None = None
    commit: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Sweep:
    """The points of one group, whose joules per unit and latency are weighed against each other.

    Attributes:
        group: Its name.
        unit: The unit of work of all points.
        latency: The latency that joules are weighed against, e.g. ``itl_p95``.
        points: In the order of the tests.
        seed: What their order was drawn from; ``None`` if it was not.
        spent_seconds: What all measurements took, with the set-up of their tests.
        notes: Plain sentences that a reader must know, such as that time was up.
    """

    group: str
    unit: str
    latency: str
    points: tuple[SweepPoint, ...] = ()
    seed: int | None = None
    spent_seconds: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Price:
    """An amount of money.

    Attributes:
        amount: How much.
        currency: Of what, as three letters: ``EUR``.
    """

    amount: float
    currency: str


@dataclass(frozen=True, slots=True)
class Rates:
    """What the user says that energy costs; nothing is looked up, and nothing assumed.

    Attributes:
        price: Of a kWh; ``None`` if nobody said it.
        carbon: Grams of CO2e that a kWh comes with, likewise.
    """

    price: Price | None = None
    carbon: float | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """Everything that one run of pytest found out; all reports are drawn from it.

    Attributes:
        created: UTC time, ISO 8601 to the second.
        version: Version of pytest-joules.
        meter: Where the joules came from; ``None`` if no process came so far as to open one.
        commit: The repository's commit, if it is in git.
        results: One per budget, in the order of the tests.
        extra_info: What tests put into ``energy.extra_info``, by node id; JSON values.
        changes: What was written to the baselines.
        not_collected: Stored series whose test was not collected.
        renames: Which of those seem to be a test under another name.
        review: What the work tree does to the baselines of its base, under ``--energy-baseline-ref``.
        sweeps: Groups of configurations that were weighed against each other.
        slo: The conditions of ``--energy-slo``, as text; empty if there were none.
        rates: What energy costs, by ``--energy-price`` and ``--energy-carbon``.
    """

    created: str
    version: str
    meter: MeterInfo | None = None
    commit: str | None = None
    results: tuple[BudgetResult, ...] = ()
    extra_info: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    changes: tuple[BaselineChange, ...] = ()
    not_collected: tuple[BaselineKey, ...] = ()
    renames: tuple[Rename, ...] = ()
    review: BaselineReview | None = None
    sweeps: tuple[Sweep, ...] = ()
    slo: str = ""
    rates: Rates = field(default_factory=Rates)
