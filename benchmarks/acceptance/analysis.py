"""The acceptance experiment, judged: plays every recorded stream through the gate and through its rivals.

    python benchmarks/acceptance/analysis.py DIR [--out figures.json]

Every decision is made by the real sampler and the real rule, against sessions
that other processes recorded on the same GPU.  A session's baseline is what
``pytest-joules record`` would have stored in the other one: its first stream
of the unchanged load.  Without calibrations in DIR there is no truth and there
are no rivals: only the verdicts are printed, by workload.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median, stdev

from rivals import RIVALS, Stream, Strung, tuned
from scipy import stats
from tabulate import tabulate

from pytest_joules.budget import EnergyBudget
from pytest_joules.history import Suite
from pytest_joules.judging import Bar
from pytest_joules.meters.replay import ReplayMeter, Trace, WindowTrace
from pytest_joules.model import BaselineKey, BudgetResult, Measurement, Session, Tick, Verdict, VerdictKind
from pytest_joules.options import MeterChoice, Options
from pytest_joules.recorder import Bench, Recorder
from pytest_joules.sampling import CallLog, whole_tick_blocks
from pytest_joules.workloads.work import Call, Work

BASELINES = 3
"""Sessions that each decision is made against."""

TOLERANCES = (0.015, 0.02, 0.01)
"""The first is that of the headline: a rise of 3 % is twice it."""

BASELINE_COUNTS = (1, 3, 5, 8)
NAIVE_SECONDS = (1.0, 2.0, 5.0, 8.0, 10.0, 12.0)
NAIVE_DRAWS = 6
"""Naive windows drawn from each session of each load."""

STEADY_SECONDS = 0.4
"""What is left out of an ABBA turn's beginning."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One session's trace."""

    device: str
    number: int
    trace: Trace
    path: Path

    def windows(self, workload: str, level: int) -> list[WindowTrace]:
        return [w for w in self.trace.windows if w.test == workload and w.window.startswith(f"+{level}/")]

    def meter(self) -> ReplayMeter:
        """Plays the trace from its beginning."""
        return ReplayMeter(self.trace, str(self.path))

    def ticks(self) -> Sequence[Tick]:
        """All ticks of the session, dated by the grid as it was known at the end."""
        meter = self.meter()
        meter.seek(math.inf)
        return meter.ticks(meter.devices[0], 0.0)

    @property
    def workloads(self) -> list[str]:
        return list(dict.fromkeys(w.test for w in self.trace.windows))


@dataclass(frozen=True, slots=True)
class Decision:
    """One verdict on one stream.

    ``seconds`` are those of measuring, ``warmup`` those of warming up, both with the confirmation's;
    ``error`` is the log ratio less the true one, ``standard_error`` what the gate took it for.
    """

    device: str
    session: int
    workload: str
    level: int
    kind: str
    seconds: float
    warmup: float
    error: float = math.nan
    standard_error: float = math.nan
    celsius: float = math.nan
    rivals: Mapping[str, bool] = field(default_factory=dict)


def load(directory: Path, kind: str) -> list[Recorded]:
    """All traces of one kind, by GPU and number."""
    found = []
    for path in sorted(directory.rglob(f"{kind}-*.json.gz")):
        trace = Trace.read(path)
        number = re.fullmatch(rf"{kind}-(\d+)-gpu\d+\.json", path.stem)
        assert number, path
        found.append(Recorded(trace.meter.devices[0].identity, int(number[1]), trace, path))
    return found


@dataclass(frozen=True, slots=True)
class Played:
    """One stream with its ticks and its mean temperature."""

    recorded: Recorded
    window: WindowTrace
    ticks: Sequence[Tick]
    celsius: float

    @property
    def source(self) -> tuple[str, int]:
        """GPU and session."""
        return self.recorded.device, self.recorded.number


def played(sessions: Sequence[Recorded], workload: str, level: int) -> list[Played]:
    """The streams of one load."""
    found = []
    for recorded in sessions:
        meter = recorded.meter()
        meter.seek(math.inf)
        (device,) = meter.devices
        for window in recorded.windows(workload, level):
            since, until = window.times[0], window.times[-1]
            heat = [s.temperature_celsius for s in meter.signals(device, since, until)]
            ticks = [t for t in meter.ticks(device, since - 1.0) if t.time <= until + 1.0]
            found.append(Played(recorded, window, ticks, fmean(h for h in heat if h is not None)))
    return found


def level_of(window: WindowTrace) -> int:
    """How many parts in a hundred were added."""
    return int(window.window[1:].partition("/")[0])


def unit_of(window: WindowTrace) -> str:
    """The declared unit of work."""
    return next(unit for unit in window.totals if unit != "call")


def call_log(window: WindowTrace) -> CallLog:
    """The window's calls as the sampler logs them."""
    log = CallLog(window.times[0])
    for moment in itertools.islice(window.moments(), 1, None):
        log.count(Work(moment.counts))
        log.complete(moment.time)
    return log


# -- the truth --


def true_ratios(calibrations: Sequence[Recorded]) -> dict[tuple[str, int], tuple[float, float]]:
    """Log ratio to the load itself and its standard error, by workload and level.

    Each turn forwards and the next one backwards make one ABBA estimate.
    """
    estimates: dict[tuple[str, int], list[float]] = defaultdict(list)
    for recorded in calibrations:
        ticks = recorded.ticks()
        means: dict[tuple[str, int, int], float] = {}
        for window in recorded.trace.windows:
            turn = int(window.window.partition("/")[2])
            means[window.test, level_of(window), turn] = steady_mean(window, ticks)
        for workload, level, turn in means:
            if level and turn % 2 == 0:
                pairs = [means[workload, level, t] - means[workload, 0, t] for t in (turn, turn + 1)]
                estimates[workload, level].append(fmean(pairs))
    return {
        key: (fmean(found), stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.nan)
        for key, found in estimates.items()
    }


def steady_mean(window: WindowTrace, ticks: Sequence[Tick]) -> float:
    """Log joules per unit of one block behind the stream's beginning."""
    inside = [t for t in ticks if t.time >= window.times[0] + STEADY_SECONDS]
    blocks = whole_tick_blocks([inside], call_log(window), 1)[unit_of(window)]
    return math.log(sum(b.joules for b in blocks) / sum(b.units for b in blocks))


# -- the gate --


def decide(
    recorded: Recorded,
    meter: ReplayMeter,
    window: WindowTrace,
    baseline: Mapping[str, Sequence[Session]],
    tolerance: float,
    update: bool = False,
) -> tuple[Verdict, Measurement, float]:
    """One run of one test by the real recorder; also the seconds from its first call to its last."""
    traces: list[WindowTrace] = []
    key = BaselineKey(window.test, window.window, unit_of(window))
    suite = Suite({BaselineKey(test, window.window, "-"): sessions for test, sessions in baseline.items()})
    bench = Bench(
        meter=meter,
        bar=Bar(
            options=Options(enabled=True, update=update, meter=MeterChoice("replay", trace=recorded.path)),
            family=len(recorded.workloads),
            sessions=lambda sku, wanted: baseline.get(wanted.test, ()),
            suite=lambda sku: suite,
        ),
        adapters=(),
        count=lambda result, call: None,
        progress=lambda text: None,
        traces=traces,
    )
    budget = EnergyBudget(per=key.unit, tolerance=tolerance)
    recorder = Recorder(bench, window.test, [budget], key=lambda name: window.test)
    call = Call(lambda: None)
    sampler = recorder.sampler(window.window, call, None, None, None, None)
    if sampler is not None:
        recorder.take(sampler, window.window, call, None)
    (result,) = recorder.results()
    assert isinstance(result, BudgetResult)
    assert result.measurement is not None
    times = traces[0].times if traces else (0.0, 0.0)
    return result.verdict, result.measurement, times[-1] - times[0]


def baseline_session(recorded: Recorded, meter: ReplayMeter, workload: str) -> Session:
    """What recording a session would have stored."""
    window = recorded.windows(workload, 0)[0]
    _, measurement, _ = decide(recorded, meter, window, {}, TOLERANCES[0], update=True)
    assert not measurement.invalid, (recorded.path, window, measurement.invalid)
    return Session(
        recorded=recorded.trace.created,
        devices=tuple(device.identity for device in measurement.devices),
        blocks=measurement.blocks[unit_of(window)],
        conditions=measurement.conditions,
    )


def judge_all(
    sessions: Sequence[Recorded],
    truth: Mapping[tuple[str, int], tuple[float, float]],
    tolerance: float,
    count: int = BASELINES,
    own: bool = True,
) -> list[Decision]:
    """Every stream, against ``count`` other sessions of its ``own`` GPU, or of other GPUs."""
    meters = {id(recorded): recorded.meter() for recorded in sessions}
    stored = {
        (id(recorded), workload): baseline_session(recorded, meters[id(recorded)], workload)
        for recorded in sessions
        for workload in recorded.workloads
    }
    decisions = []
    for recorded in sessions:
        meter = meters[id(recorded)]
        others = [o for o in sessions if (o.device == recorded.device) is own and o is not recorded]
        chosen = random.Random(f"{recorded.device}/{recorded.number}").sample(others, min(count, len(others)))
        baseline = {w: [stored[id(other), w] for other in chosen] for w in recorded.workloads}
        for window in recorded.trace.windows:
            level = level_of(window)
            verdict, measurement, elapsed = decide(recorded, meter, window, baseline, tolerance)
            true = truth.get((window.test, level), (0.0, 0.0))[0]
            decisions.append(
                Decision(
                    device=recorded.device,
                    session=recorded.number,
                    workload=window.test,
                    level=level,
                    kind=verdict.kind.value,
                    seconds=elapsed - measurement.warmup_seconds,
                    warmup=measurement.warmup_seconds,
                    error=math.log(verdict.ratio) - true if verdict.ratio else math.nan,
                    standard_error=verdict.standard_error or math.nan,
                    celsius=measurement.conditions.temperature_celsius or math.nan,
                )
            )
    return decisions


# -- the rivals --


def rival_outcomes(sessions: Sequence[Recorded]) -> tuple[list[tuple[str, int, Mapping[str, bool]]], dict[str, float]]:
    """Workload, level and who failed, for every stream; and each rival's mean GPU and wall seconds."""
    streams: dict[int, list[Stream]] = {}
    for recorded in sessions:
        ticks = recorded.ticks()
        streams[id(recorded)] = [Stream(window, ticks, unit_of(window)) for window in recorded.trace.windows]
    outcomes: list[tuple[str, int, Mapping[str, bool]]] = []
    seconds: dict[str, list[float]] = defaultdict(list)
    for recorded in sessions:
        others = [other for other in sessions if other.device == recorded.device and other is not recorded]
        before = random.Random(f"{recorded.device}/{recorded.number}").choice(others)
        earlier = {s.window.test: s for s in streams[id(before)] if s.window.window == "+0/0"}
        for stream in streams[id(recorded)]:
            failed = {
                rival.name: rival.fails(
                    stream.rounds(rival.seconds, rival.count),
                    earlier[stream.window.test].rounds(rival.seconds, rival.count),
                )
                for rival in RIVALS
            }
            for rival in RIVALS:
                seconds[f"{rival.name}/gpu"].append(rival.gpu_seconds(stream))
                seconds[f"{rival.name}/wall"].append(rival.wall_seconds(stream))
            outcomes.append((stream.window.test, level_of(stream.window), failed))
    return outcomes, {name: fmean(found) for name, found in seconds.items()}


# -- figures --


def exact(hits: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's two-sided 95 % interval of a share."""
    if of == 0:
        return math.nan, math.nan
    interval = stats.binomtest(hits, of).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def shown(hits: int, of: int) -> str:
    """``0 of 324 (at most 1.1 %)`` or with both bounds."""
    low, high = exact(hits, of)
    if hits == 0:
        return f"0 of {of} (at most {one_sided(0, of):.1%})"
    if hits == of:
        return f"{hits} of {of} (at least {1 - one_sided(0, of):.1%})"
    return f"{hits} of {of} ({low:.1%} to {high:.1%})"


def one_sided(hits: int, of: int) -> float:
    """Upper end of the exact one-sided 95 % interval."""
    return float(stats.beta.ppf(0.95, hits + 1, of - hits)) if of else math.nan


def our_row(decisions: Sequence[Decision], tolerance: float) -> list[str]:
    """The gate's row of the table."""
    by_level = {level: [d for d in decisions if d.level == level] for level in (0, 2, 3, 5)}
    row = [f"pytest-joules, {tolerance:.1%}"]
    row += [shown(sum(d.kind == VerdictKind.REGRESSED.value for d in found), len(found)) for found in by_level.values()]
    undecided = sum(d.kind == VerdictKind.INCONCLUSIVE.value for d in decisions)
    row.append(f"{undecided / len(decisions):.1%}")
    row.append(f"{median(d.seconds for d in decisions):.1f} (mean {fmean(d.seconds for d in decisions):.1f})")
    row.append(f"{median(d.seconds + d.warmup for d in decisions):.1f}")
    return row


def rival_rows(
    outcomes: Sequence[tuple[str, int, Mapping[str, bool]]], seconds: Mapping[str, float]
) -> list[list[str]]:
    """The rivals' rows."""
    rows = []
    for rival in RIVALS:
        row = [rival.name]
        for level in (0, 2, 3, 5):
            found = [failed[rival.name] for _, at, failed in outcomes if at == level]
            row.append(shown(sum(found), len(found)))
        row += ["-", f"{seconds[rival.name + '/gpu']:.1f}", f"{seconds[rival.name + '/wall'] + 0.6:.1f}"]
        rows.append(row)
    return rows


def report(directory: Path, out: Path | None) -> None:
    """Print everything, or without calibrations the verdicts alone."""
    sessions = load(directory, "session")
    truth = true_ratios(load(directory, "calibration"))
    devices = dict.fromkeys(recorded.device for recorded in sessions)
    print(f"{len(sessions)} sessions on {len(devices)} GPUs ({sessions[0].trace.meter.devices[0].name})\n")
    results = {tolerance: judge_all(sessions, truth, tolerance) for tolerance in TOLERANCES}
    table = compared(sessions, truth, results) if truth else []
    if not truth:
        print(f"against {min(BASELINES, len(sessions) // len(devices) - 1)} other sessions, at {TOLERANCES[0]:.1%}:\n")
        verdicts = by_workload(results[TOLERANCES[0]])
        print(tabulate(verdicts, headers=BY_WORKLOAD, tablefmt="github", disable_numparse=True))
    if out:
        data = {
            "truth": [[*key, *value] for key, value in sorted(truth.items())],
            "decisions": {str(tolerance): [asdict(d) for d in found] for tolerance, found in results.items()},
            "table": table,
        }
        out.write_text(json.dumps(data, indent=1))


def compared(
    sessions: Sequence[Recorded],
    truth: Mapping[tuple[str, int], tuple[float, float]],
    results: Mapping[float, Sequence[Decision]],
) -> list[list[str]]:
    """Print the verdicts by tolerance against the truth and the rivals; returns the gates' table."""
    rows = [
        (workload, f"+{level}", f"{math.expm1(ratio):+.2%}", f"±{error:.2%}")
        for (workload, level), (ratio, error) in sorted(truth.items())
        if level
    ]
    print(tabulate(rows, headers=("workload", "parts", "true rise", "s.e."), tablefmt="github", disable_numparse=True))
    outcomes, seconds = rival_outcomes(sessions)
    headers = ("gate", "false alarms", "+2", "+3", "+5", "INCONCLUSIVE", "GPU s/verdict", "wall s/verdict")
    table = [our_row(found, tolerance) for tolerance, found in results.items()] + rival_rows(outcomes, seconds)
    print("\n" + tabulate(table, headers=headers, tablefmt="github", disable_numparse=True) + "\n")
    headline = results[TOLERANCES[0]]
    print(tabulate(by_workload(headline), headers=BY_WORKLOAD, tablefmt="github", disable_numparse=True))
    unchanged = [d for d in headline if d.level == 0 and not math.isnan(d.error)]
    z = [d.error / d.standard_error for d in unchanged]
    print(f"\nstandardised A/A errors: mean {fmean(z):+.2f}, spread {stdev(z):.2f}, largest {max(map(abs, z)):.2f}")
    means: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for d in unchanged:
        means[d.device, d.session, d.workload].append(d.error)
    off = {key: fmean(errors) for key, errors in means.items()}
    for name in sorted({workload for _, _, workload in off}):
        worst = max((key for key in off if key[2] == name), key=lambda key: abs(off[key]))
        print(f"{name}: session mean farthest off: {off[worst]:+.2%} (GPU {worst[0]}, session {worst[1]})")
    print(f"session means off by more than 0.5 %: {sum(abs(mean) > 0.005 for mean in off.values())} of {len(off)}")
    passed = fmean(d.seconds for d in headline if d.kind == VerdictKind.PASS.value)
    print(f"mean GPU seconds: {passed:.2f} of a PASS, {fmean(d.seconds for d in headline):.2f} of a verdict")
    rise = fmean(ratio for (_, level), (ratio, _) in truth.items() if level == 3)
    print("\nby what it is compared with:\n")
    print(tabulate(by_baseline(sessions, truth), headers=BY_BASELINE, tablefmt="github", disable_numparse=True))
    print("\na naive window with the threshold that gives 1 % of false alarms on this very data:\n")
    print(tabulate(tuned_windows(sessions, rise), headers=TUNED, tablefmt="github", disable_numparse=True))
    return table


BY_BASELINE = ("sessions", "unchanged", "+3 caught", "+5 caught")
TUNED = ("window", "sd of the ratio", "threshold", "+3 caught")
BY_WORKLOAD = ("workload", "level", "n", "verdicts", "measured (median)", "warm-up (median)", "A/A sd", "stated s.e.")


def by_workload(decisions: Sequence[Decision]) -> list[tuple[str, ...]]:
    """Verdicts and times by workload and level."""
    groups: dict[tuple[str, int], list[Decision]] = defaultdict(list)
    for decision in decisions:
        groups[decision.workload, decision.level].append(decision)
    rows: list[tuple[str, ...]] = []
    for (workload, level), found in sorted(groups.items()):
        kinds = {d.kind for d in found}
        errors = [d.error for d in found if not math.isnan(d.error)]
        rows.append(
            (
                workload,
                f"+{level}",
                str(len(found)),
                ", ".join(f"{sum(d.kind == kind for d in found)} {kind}" for kind in sorted(kinds)),
                f"{median(d.seconds for d in found):.1f} s",
                f"{median(d.warmup for d in found):.1f} s",
                f"{stdev(errors):.2%}" if len(errors) > 1 else "-",
                f"{fmean(d.standard_error for d in found if not math.isnan(d.standard_error)):.2%}" if errors else "-",
            )
        )
    return rows


def tuned_windows(sessions: Sequence[Recorded], rise: float) -> list[tuple[str, ...]]:
    """How a single naive window would do with the threshold tuned on this very data, by its length."""
    strung: dict[tuple[str, int, str], Strung] = {}
    for recorded in sessions:
        ticks = recorded.ticks()
        for workload in recorded.workloads:
            streams = [Stream(window, ticks, unit_of(window)) for window in recorded.windows(workload, 0)]
            strung[recorded.device, recorded.number, workload] = Strung.of(streams)
    random_ = random.Random(1)
    rows: list[tuple[str, ...]] = []
    for seconds in NAIVE_SECONDS:
        errors = []
        for (device, number, workload), one in strung.items():
            others = [o for (d, n, w), o in strung.items() if (d, w) == (device, workload) and n != number]
            errors += [
                one.naive(seconds, random_) - random_.choice(others).naive(seconds, random_) for _ in range(NAIVE_DRAWS)
            ]
        threshold, caught = tuned(errors, rise, 0.01)
        rows.append((f"{seconds:g} s", f"{stdev(errors):.2%}", f"{math.expm1(threshold):+.1%}", f"{caught:.1%}"))
    return rows


def by_baseline(
    sessions: Sequence[Recorded], truth: Mapping[tuple[str, int], tuple[float, float]]
) -> list[tuple[str, ...]]:
    """The gate at the headline tolerance by the sessions that it has to compare with."""
    rows: list[tuple[str, ...]] = []
    choices = [(count, True) for count in BASELINE_COUNTS] + [(BASELINES, False)]
    for count, own in choices:
        found = judge_all(sessions, truth, TOLERANCES[0], count, own)
        kinds = [Counter(d.kind for d in found if d.level == level) for level in (0, 3, 5)]
        shares = [f"{kinds[0][k.value]} {k.value}" for k in VerdictKind if kinds[0][k.value]]
        caught = [f"{kind['REGRESSED']} of {sum(kind.values())}" for kind in kinds[1:]]
        rows.append((f"{count} of {'this GPU' if own else 'other GPUs'}", ", ".join(shares), *caught))
    return rows


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--out", type=Path, help="write every decision here, as JSON")
    options = parser.parse_args()
    report(options.directory, options.out)


if __name__ == "__main__":
    main()
