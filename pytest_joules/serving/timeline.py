"""What a server did over time, and the stretch of it in which its batch was full.  Pure functions.

The steady state is that of *The ML.ENERGY Benchmark* (arXiv 2505.06371): from
when the batch is full until it starts to drain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from pytest_joules.meters.base import MeterError
from pytest_joules.sampling import CAPPED_WARMUP_SECONDS
from pytest_joules.serving.names import DIALECTS, Dialect, Names
from pytest_joules.serving.requirements import prometheus_parser
from pytest_joules.serving.scrape import Scrape

FULL = 0.95
"""A batch is full with this share of the requests that usually ran in it: between two steps a few have just ended."""

DRAINED = 0.5
PAUSE = 3
"""Between two loads fewer than this share of the target run, at this many samples on end: at one or two, requests that
end together may just have been followed by the next."""

LEAST_FILLED = 0.85
"""The batch holds this share of the target on average, as in the ML.ENERGY Benchmark."""

HALVES_ALIKE = 0.10
"""The first and the second half of a steady state differ by no more than this share of the target."""

PLATEAU = 0.9
"""Quantile of the running requests, while any ran, that is the target where none was given."""

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 48

Buckets = Mapping[float, float]
"""A Prometheus histogram: observations so far up to each bound (s), the last of which is infinite."""


class NotSteady(MeterError):
    """The batch was never steadily full; the message says what it was instead."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """What was seen of a server, at ``times``.

    Attributes:
        times: When (s, on the meter's clock).
        counters: Totals by name, one for each time.
        gauges: Momentary values by name, one for each time.
        histograms: Histograms by name, one for each time.
        engine: The engine that told it; empty for what a client saw.
    """

    times: tuple[float, ...]
    counters: Mapping[str, tuple[float, ...]]
    gauges: Mapping[str, tuple[float, ...]]
    histograms: Mapping[str, tuple[Buckets, ...]] = field(default_factory=dict)
    engine: str = ""

    def restart(self) -> float | None:
        """When a counter was first seen to have gone back; ``None`` if none did."""
        back = [
            self.times[index]
            for totals in self.counters.values()
            for index in range(1, len(totals))
            if totals[index] < totals[index - 1]
        ]
        return min(back, default=None)

    def rise(self, stretch: Stretch | None = None) -> dict[str, float]:
        """By how much each counter rose over ``stretch``, or over everything."""
        first, last = (stretch.first, stretch.last) if stretch else (0, -1)
        return {name: totals[last] - totals[first] for name, totals in self.counters.items()}

    def mean(self, gauge: str, stretch: Stretch) -> float | None:
        """The mean of a gauge over ``stretch``; ``None`` if the server does not tell it."""
        values = self.gauges.get(gauge)
        return fmean(values[stretch.first : stretch.last + 1]) if values else None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A steady state.

    Attributes:
        first: Index of the time at which it begins.
        last: Index of the time at which it ends.
        target: How many requests are a full batch.
        warmup_seconds: From when half of the batch ran to its beginning.
    """

    first: int
    last: int
    target: float
    warmup_seconds: float


def parse(scrapes: Sequence[Scrape]) -> Timeline | None:
    """The scrapes as numbers, summed over engines and other labels; ``None`` if no known engine's names are there."""
    told = [scrape for scrape in scrapes if scrape.text]
    dialect = next((d for d in DIALECTS if told and _speaks(told[-1].text, d)), None)
    if dialect is None:
        return None
    read = [(scrape.time, row) for scrape in told if (row := _Row.of(scrape.text, dialect)) is not None]
    if not read:
        return None
    times, rows = zip(*read, strict=True)
    return Timeline(
        times=times,
        counters={name: tuple(row.counters.get(name, 0.0) for row in rows) for name in rows[-1].counters},
        gauges={name: tuple(row.gauges.get(name, 0.0) for row in rows) for name in rows[-1].gauges},
        histograms={name: tuple(row.histograms.get(name, {}) for row in rows) for name in rows[-1].histograms},
        engine=dialect.engine,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """One scrape."""

    counters: dict[str, float]
    gauges: dict[str, float]
    histograms: dict[str, dict[float, float]]

    @classmethod
    def of(cls, text: str, dialect: Dialect) -> _Row | None:
        """``None`` of a page that cannot be read, or whose numbers are none."""
        try:
            families = prometheus_parser().text_string_to_metric_families(text + "\n")
            samples = [sample for family in families for sample in family.samples]
        except ValueError:
            return None
        present = {sample.name for sample in samples}
        row = cls({}, {}, {})
        for role, name in _chosen(dialect.counters, present):
            found = [sample for sample in samples if sample.name == name]
            row.counters[role] = sum(sample.value for sample in found)
            if role == "request":
                finished = (s.value for s in found if s.labels.get("finished_reason") not in dialect.unfinished)
                row.counters["finished_request"] = sum(finished)
        for role, name in _chosen(dialect.gauges, present):
            values = [sample.value for sample in samples if sample.name == name]
            row.gauges[role] = fmean(values) if role == "kv_usage" else sum(values)
        for role, name in _chosen(dialect.histograms, present, "_bucket"):
            buckets = row.histograms.setdefault(role, {})
            for sample in samples:
                if sample.name == name:
                    bound = float(sample.labels["le"])
                    buckets[bound] = buckets.get(bound, 0.0) + sample.value
        return row if all(map(math.isfinite, (*row.counters.values(), *row.gauges.values()))) else None


def _chosen(names: Names, present: set[str], suffix: str = "") -> list[tuple[str, str]]:
    """For each thing that is there, the name that it goes by."""
    found = ((role, next((n + suffix for n in known if n + suffix in present), "")) for role, known in names.items())
    return [(role, name) for role, name in found if name]


def _speaks(text: str, dialect: Dialect) -> bool:
    """Whether a page tells the least that is needed: what runs, and the tokens."""
    lines = text.splitlines()
    needed = (dialect.gauges["running"], dialect.counters["token"])
    return all(any(line.startswith(names) for line in lines) for names in needed)


def steady_stretch(
    times: Sequence[float], running: Sequence[float], target: float | None, settled: float = -math.inf
) -> Stretch:
    """The stretch in which the batch was full; of several loads, one after the other, the longest.

    Args:
        times: When each sample was taken (s).
        running: How many requests ran then.
        target: How many are a full batch; ``None`` for the plateau that is found.
        settled: When the first requests, which are all of one age, or shorter than the others, had ended.

    Raises:
        NotSteady: if there is none.
    """
    busy = sorted(count for count in running if count > 0)
    if not busy:
        raise NotSteady("no request was seen running")
    goal = target if target is not None else busy[math.ceil(PLATEAU * len(busy)) - 1]
    filled = [count for count in running if count >= LEAST_FILLED * goal]
    if not filled:
        raise NotSteady(f"no more than {busy[-1]:g} of {goal:g} requests ran at once")
    # The median, so that a single burst is not taken for the plateau.
    enough = FULL * min(goal, median(filled))
    loads = [(load[0], [i for i in load if running[i] >= enough]) for load in _loads(running, DRAINED * goal)]
    ramp, full = max((load for load in loads if load[1]), key=lambda load: times[load[1][-1]] - times[load[1][0]])
    begun, last = full[0], full[-1]
    # Behind the ramp: a GPU that starts a heavy load swings for a second.
    since = times[ramp]
    warm = max(since + CAPPED_WARMUP_SECONDS, settled)
    first = next((i for i in range(begun, last) if times[i] >= warm), last)
    if first == last:
        raise NotSteady(
            f"the batch was full for {times[last] - times[begun]:.1f} s, "
            f"and a load's first {warm - since:.1f} s do not count"
        )
    part = running[first : last + 1]
    mean = fmean(part)
    if mean < LEAST_FILLED * goal:
        raise NotSteady(f"from first to last full, only {mean:.1f} of {goal:g} requests ran on average")
    if mean > (2 - LEAST_FILLED) * goal:
        raise NotSteady(f"{mean:.1f} of {goal:g} requests ran on average: another client loads this server, too")
    middle = len(part) // 2
    earlier, later = fmean(part[:middle]), fmean(part[middle:])
    if abs(later - earlier) > HALVES_ALIKE * goal:
        raise NotSteady(f"{earlier:.1f} requests ran in the first half of the full stretch, {later:.1f} in the second")
    return Stretch(first, last, goal, times[first] - since)


def _loads(running: Sequence[float], least: float) -> list[list[int]]:
    """The samples of each load: before, between and after loads, fewer than ``least`` run."""
    loads: list[list[int]] = [[]]
    for low, run in itertools.groupby(range(len(running)), key=lambda index: running[index] < least):
        indices = list(run)
        if low and (len(indices) >= PAUSE or indices[0] == 0 or indices[-1] == len(running) - 1):
            loads.append([])
        else:
            loads[-1] += indices
    return [load for load in loads if load]


def drawn(times: Sequence[float], running: Sequence[float], target: float | None) -> str:
    """A line that shows how many requests ran over time."""
    if not times:
        return "nothing was seen of the server"
    seconds, most = times[-1] - times[0], max(running)
    pieces = min(MOST_BARS, len(running))
    edges = [len(running) * piece // pieces for piece in range(pieces + 1)]
    means = [fmean(running[a:b]) for a, b in itertools.pairwise(edges)]
    top = max(most, target or 0.0, 1.0)
    bars = "".join(_bar(mean / top) for mean in means)
    aim = f", target {target:g}" if target is not None else ""
    return f"running requests over {seconds:.1f} s, at most {most:g}{aim}: {bars}"


def _bar(share: float) -> str:
    return "·" if share <= 0 else BARS[min(len(BARS) - 1, int(share * len(BARS)))]
