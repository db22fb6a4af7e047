"""What the acceptance experiment's traces say of the conditions: devices, sessions, temperature, the power cap.

    python benchmarks/acceptance/conditions.py benchmarks/results/acceptance/traces [--baselines FILE ...]

A session's mean is that of its unchanged streams, each from 0.4 s behind its
beginning; its temperature likewise.  What the gate would have stored of it,
and the held-out errors, are those of ``analysis.py``: every unchanged stream
against other sessions of its GPU.  Baseline files of other hosts are compared
by the tests' own names.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from analysis import (
    TOLERANCES,
    Decision,
    Played,
    Recorded,
    baseline_session,
    call_log,
    judge_all,
    load,
    played,
    steady_mean,
    unit_of,
)
from scipy import stats
from tabulate import tabulate

from pytest_joules import statistics
from pytest_joules.baselines.store import BaselineStore
from pytest_joules.history import log_mean, spread
from pytest_joules.meters.replay import ReplayMeter
from pytest_joules.model import Block, Session, VerdictKind
from pytest_joules.sampling import (
    BLOCK_TICKS,
    CAPPED_BLOCK_TICKS,
    CAPPED_WARMUP_SECONDS,
    WARMUP_SECONDS,
    whole_tick_blocks,
)
from pytest_joules.units import format_joules

CAPPED = "prefill"
MEMORY_BOUND = "decode"
LEVELS = (0, 2, 3, 5)
BASELINE_COUNTS = (3, 8)

PERIOD = 0.1
"""Seconds between two ticks of an H200's counter."""

AFTER_SECONDS = 4.0
"""What a first block is compared with: so much of the stream behind it."""

COLD_SECONDS = 3.0
"""Where a cold GPU's first stream is taken for warm."""

SESSIONS = ("workload", "GPU", "joules", "sd stored", "at one °C", "°C", "per °C", "s.e.")
STREAMS = ("workload", "GPU", "power", "idle", "of limit", "a call", "sd J/unit", "sd watts", "sd s/unit")


@dataclass(frozen=True, slots=True)
class Series:
    """One load's sessions on one GPU.

    ``stored`` is what the gate would have kept of them; ``means``, log joules per unit, and ``celsius`` are over
    all unchanged ``streams`` of a session, of which each is cut into ``blocks`` as the gate does.
    """

    workload: str
    device: str
    limit: float
    streams: Sequence[Played]
    blocks: Sequence[Sequence[Block]]
    means: Sequence[float]
    celsius: Sequence[float]
    stored: Sequence[Session]

    @property
    def level(self) -> float:
        """Joules per unit."""
        return math.exp(fmean(self.means))


def all_series(sessions: Sequence[Recorded]) -> list[Series]:
    """By load and GPU."""
    found = []
    meters: dict[Path, ReplayMeter] = {recorded.path: recorded.meter() for recorded in sessions}
    for workload in sessions[0].workloads:
        streams = played(sessions, workload, 0)
        capped = workload == CAPPED
        start, ticks = (CAPPED_WARMUP_SECONDS, CAPPED_BLOCK_TICKS) if capped else (WARMUP_SECONDS, BLOCK_TICKS)
        for device in sorted({one.recorded.device for one in streams}):
            here = [recorded for recorded in sessions if recorded.device == device]
            ours = [one for one in streams if one.recorded.device == device]
            by_session = [[one for one in ours if one.recorded is recorded] for recorded in here]
            found.append(
                Series(
                    workload,
                    device,
                    here[0].trace.meter.devices[0].power_limit_watts or math.nan,
                    ours,
                    [cut(one, start, ticks) for one in ours],
                    [fmean(steady_mean(one.window, one.ticks) for one in found) for found in by_session],
                    [fmean(one.celsius for one in found) for found in by_session],
                    [baseline_session(recorded, meters[recorded.path], workload) for recorded in here],
                )
            )
    return found


def cut(one: Played, start: float, ticks: int) -> list[Block]:
    """The stream's blocks from so many seconds behind its beginning on."""
    times = one.window.times
    inside = [t for t in one.ticks if times[0] + start <= t.time <= times[-1]]
    return whole_tick_blocks([inside], call_log(one.window), ticks)[unit_of(one.window)]


def pooled(groups: Sequence[Sequence[float]]) -> float:
    """Standard deviation within the groups."""
    return math.sqrt(statistics.combine(statistics.spread_of(group) for group in groups).variance)


def show(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print one table."""
    print(f"\n{title}:\n\n" + tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


def sessions_row(series: Series) -> list[str]:
    """Level, spread between sessions, and slope."""
    fit = stats.linregress(series.celsius, series.means)
    return [
        series.workload,
        series.device,
        f"{format_joules(series.level)}/{unit_of(series.streams[0].window)}",
        f"{pooled([[log_mean(session.blocks) for session in series.stored]]):.2%}",
        f"{math.sqrt(spread(series.stored).variance):.2%}",
        f"{min(series.celsius):.1f} to {max(series.celsius):.1f}",
        f"{fit.slope:+.2%}",
        f"±{fit.stderr:.2%}",
    ]


def load_row(series: Series) -> list[str]:
    """Watts, speed, and how the blocks of a stream spread."""
    watts = fmean(b.watts for blocks in series.blocks for b in blocks)
    idle = fmean(session.conditions.idle_watts or math.nan for session in series.stored)
    windows = [one.window for one in series.streams]
    calls = [1000 * (w.times[-1] - w.times[0]) / w.totals["call"][-1] for w in windows]
    logs = [[[math.log(v) for v in (b.joules_per_unit, b.watts, b.seconds_per_unit)] for b in g] for g in series.blocks]
    spreads = [pooled([[values[axis] for values in group] for group in logs]) for axis in range(3)]
    return [
        series.workload,
        series.device,
        f"{watts:.0f} W",
        f"{idle:.0f} W",
        f"{(watts - idle) / (series.limit - idle):.0%}",
        f"{min(calls):.3g} to {max(calls):.3g} ms",
        *(f"{spread:.2%}" for spread in spreads),
    ]


@contextmanager
def no_covariate() -> Iterator[None]:
    """As if nobody knew temperatures: sessions and today are taken as they are."""
    slope, sd = statistics.TEMPERATURE_SLOPE, statistics.TEMPERATURE_SLOPE_SD
    statistics.TEMPERATURE_SLOPE = statistics.TEMPERATURE_SLOPE_SD = 0.0
    try:
        yield
    finally:
        statistics.TEMPERATURE_SLOPE, statistics.TEMPERATURE_SLOPE_SD = slope, sd


def rms(decisions: Sequence[Decision], workload: str) -> float:
    """Root mean square error of the unchanged streams' verdicts."""
    return math.sqrt(fmean(d.error**2 for d in decisions if d.workload == workload and d.level == 0))


def regressed(decisions: Sequence[Decision]) -> str:
    """How many of which level failed."""
    kinds = {level: [d.kind for d in decisions if d.level == level] for level in LEVELS}
    counts = (f"+{at}: {found.count(VerdictKind.REGRESSED.value)} of {len(found)}" for at, found in kinds.items())
    return ", ".join(counts)


def held_out(sessions: Sequence[Recorded]) -> None:
    """Print the errors and verdicts with the temperature covariate and without."""
    rows, verdicts = [], []
    for count in BASELINE_COUNTS:
        known = judge_all(sessions, {}, TOLERANCES[0], count)
        with no_covariate():
            unknown = judge_all(sessions, {}, TOLERANCES[0], count)
        for workload in sessions[0].workloads:
            errors = rms(known, workload), rms(unknown, workload)
            change = f"{errors[0] / errors[1] - 1:+.0%}"
            rows.append([workload, str(count), *(f"{error:.2%}" for error in errors), change])
        verdicts += [[str(count), "with", regressed(known)], [str(count), "without", regressed(unknown)]]
    headers = ("workload", "sessions", "rms with", "without", "change")
    show("held-out error of unchanged streams, with and without the temperature covariate", headers, sorted(rows))
    show(f"REGRESSED at {TOLERANCES[0]:.1%}", ("sessions", "covariate", "level"), verdicts)


def first_blocks(streams: Sequence[Played]) -> None:
    """Print how far a block at the beginning of a capped stream is off what follows."""
    needed = CAPPED_WARMUP_SECONDS + CAPPED_BLOCK_TICKS * PERIOD + AFTER_SECONDS + PERIOD
    long = [one for one in streams if one.window.times[-1] - one.window.times[0] >= needed]
    rows = []
    for start in (WARMUP_SECONDS, CAPPED_WARMUP_SECONDS):
        for ticks in (BLOCK_TICKS, CAPPED_BLOCK_TICKS):
            errors = []
            for one in long:
                first, *rest = cut(one, start, ticks)
                after = rest[: round(AFTER_SECONDS / PERIOD) // ticks]
                level = sum(b.joules for b in after) / sum(b.units for b in after)
                errors.append(math.log(first.joules_per_unit / level))
            rows.append([f"{start} s", str(ticks), str(len(errors)), f"{fmean(errors):+.2%}", f"{stdev(errors):.2%}"])
    title = f"{CAPPED}: the first block against the next {AFTER_SECONDS:g} s"
    show(title, ("from", "ticks", "streams", "bias", "spread"), rows)


def cold_starts(streams: Sequence[Played]) -> None:
    """Print how much less the GPU draws in the first second where the stream is its process's first."""
    changes = []
    for one in streams:
        if one.window is min(one.recorded.trace.windows, key=lambda window: window.times[0]):
            first, warm = cut(one, PERIOD, CAPPED_BLOCK_TICKS)[0], cut(one, COLD_SECONDS, CAPPED_BLOCK_TICKS)
            changes.append(first.watts / fmean(b.watts for b in warm) - 1)
    found = f"{fmean(changes):+.1%} ({min(changes):+.1%} to {max(changes):+.1%}, {len(changes)} streams)"
    cold = f"{MEMORY_BOUND}, first of its process"
    print(f"\n{cold}: watts of the first second against those after {COLD_SECONDS:g} s: {found}")


def between_hosts(files: Sequence[Path]) -> None:
    """Print each GPU's level in the baseline files."""
    levels: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path in files:
        for key, sessions in BaselineStore(path.parent).load(path.stem).entries.items():
            name = f"{key.test.rpartition('::')[2]}, {key.unit}"
            for session in sessions:
                levels[name, ", ".join(session.devices)].append(log_mean(session.blocks))
    means = {where: math.exp(fmean(found)) for where, found in levels.items()}
    rows = []
    for (name, device), level in sorted(means.items()):
        least = min(other for (test, _), other in means.items() if test == name)
        rows.append([name, device, str(len(levels[name, device])), format_joules(level), f"{level / least - 1:+.1%}"])
    show("stored sessions by GPU", ("test", "GPU", "sessions", "joules", "over the least"), rows)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--baselines", type=Path, nargs="+", default=(), help="baseline files to compare the GPUs of")
    options = parser.parse_args()
    if options.baselines:
        between_hosts(options.baselines)
    sessions = load(options.directory, "session")
    series = all_series(sessions)
    show("sessions", SESSIONS, [sessions_row(one) for one in series])
    show("unchanged streams, and how their blocks spread", STREAMS, [load_row(one) for one in series])
    levels: dict[str, list[float]] = defaultdict(list)
    for one in series:
        levels[one.workload].append(one.level)
    if len({one.device for one in series}) == 1:
        return
    show(
        "between GPUs",
        ("workload", "sd", "most against least"),
        [[name, f"{stdev(v) / fmean(v):.1%}", f"{max(v) / min(v) - 1:+.1%}"] for name, v in levels.items()],
    )
    held_out(sessions)
    first_blocks([one for level in LEVELS for one in played(sessions, CAPPED, level)])
    cold_starts([one for level in LEVELS for one in played(sessions, MEMORY_BOUND, level)])


if __name__ == "__main__":
    main()
