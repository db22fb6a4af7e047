"""The acceptance experiment, drawn: SVG figures from the recorded traces.

    pip install -e '.[docs]'
    python benchmarks/acceptance/plots.py benchmarks/results/acceptance/traces --out docs/figures

The same traces make the same bytes with one version of matplotlib.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib as mpl
from analysis import (
    TOLERANCES,
    Decision,
    Recorded,
    call_log,
    exact,
    judge_all,
    load,
    played,
    rival_outcomes,
    steady_mean,
    true_ratios,
    unit_of,
)
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter
from rivals import RIVALS, SKIPPED_SECONDS, Stream
from scipy import stats

from pytest_joules.meters.ticks import mean_watts
from pytest_joules.model import VerdictKind
from pytest_joules.sampling import CAPPED_BLOCK_TICKS, whole_tick_blocks
from pytest_joules.statistics import TEMPERATURE_SLOPE

Truth = dict[tuple[str, int], tuple[float, float]]

PERIOD = 0.1
"""Seconds between two ticks of an H200's counter."""

LENGTHS = (2, 3, 4, 5, 7, 10, 14, 20, 30, 40, 50)
"""Ticks in the windows that are compared."""

SWING_SECONDS = 6.0
ASIDE = 0.31
"""Between the loads of one strip."""

FREE_WARMUP = 0.6
"""Seconds of warm-up that the rivals are given."""

INK, GREY, BLUE, ORANGE, GREEN, RED, PINK = "#222222", "#8a8a8a", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7"
"""Okabe and Ito's colours: they differ for every eye."""

DEVICES = (BLUE, ORANGE, GREEN, PINK)
WORKLOADS = {"decode": BLUE, "prefill": ORANGE, "denoise": GREEN}
VERDICTS = {
    VerdictKind.PASS: (BLUE, "o"),
    VerdictKind.INCONCLUSIVE: (ORANGE, "s"),
    VerdictKind.REGRESSED: (RED, "^"),
    VerdictKind.IMPROVED: (GREEN, "v"),
    VerdictKind.INVALID: (INK, "x"),
}

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pytest-joules",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True)
class Material:
    """What the figures are drawn from.

    Attributes:
        sessions: Every recorded session.
        decisions: Every verdict at the headline's tolerance.
        truth: Log ratio and its standard error, by workload and level.
    """

    sessions: Sequence[Recorded]
    decisions: Sequence[Decision]
    truth: Truth


# -- naive windows --


def naive_windows(stream: Stream, ticks: int, rng: random.Random) -> list[float]:
    """Joules per unit of consecutive start/end windows of about so many ticks.

    A multiple of the grid's period would flatter them, as both edges would then
    be late by the same: each is up to half a tick longer or shorter.
    """
    times, done = stream.window.times, stream.window.totals[stream.unit]
    found: list[float] = []
    opened = bisect_left(times, times[0] + SKIPPED_SECONDS)
    while True:
        closed = bisect_left(times, times[opened] + (ticks + rng.uniform(-0.5, 0.5)) * PERIOD)
        if closed >= len(times):
            return found
        joules = stream.counter(times[closed]) - stream.counter(times[opened])
        found.append(joules / (done[closed] - done[opened]))
        opened = closed


def tick_windows(stream: Stream, ticks: int) -> list[float]:
    """Joules per unit of blocks of so many whole ticks on the same calls."""
    log = call_log(stream.window)
    inside = [t for t in stream.ticks if t.time >= log.times[0] + SKIPPED_SECONDS]
    blocks = whole_tick_blocks([inside], log, ticks)[stream.unit]
    # The last one takes what is left over, and may be longer.
    return [b.joules_per_unit for b in blocks if b.seconds < (ticks + 0.5) * PERIOD]


def pooled_sd(groups: Sequence[Sequence[float]]) -> float:
    """Relative standard deviation within the groups."""
    squares = freedom = 0.0
    for values in groups:
        if len(values) > 1:
            squares += sum((v / fmean(values) - 1) ** 2 for v in values)
            freedom += len(values) - 1
    return math.sqrt(squares / freedom) if freedom else math.nan


def draw_windows(material: Material) -> Figure:
    """Spread of joules per unit against the length of the window."""
    rng = random.Random(1)
    series: dict[str, list[float]] = {"naive": [], "ticks": [], "stream": []}
    streams = played(material.sessions, "decode", 0)
    for ticks in LENGTHS:
        groups: dict[str, dict[tuple[object, ...], list[float]]] = {name: defaultdict(list) for name in series}
        for one in streams:
            stream = Stream(one.window, one.ticks, unit_of(one.window))
            groups["naive"][one.source] += naive_windows(stream, ticks, rng)
            groups["ticks"][one.source] += (blocks := tick_windows(stream, ticks))
            groups["stream"][(*one.source, one.window.window)] += blocks
        for name, by_source in groups.items():
            series[name].append(pooled_sd(list(by_source.values())))
    seconds = [ticks * PERIOD for ticks in LENGTHS]
    figure, axes = canvas(6.4, 4.0)
    theory = PERIOD / math.sqrt(6)
    axes.plot(seconds, [theory / s for s in seconds], color=INK, linewidth=1, linestyle="--")
    axes.plot(seconds, series["naive"], color=RED, marker="s", markersize=5, linewidth=1.5)
    axes.plot(seconds, series["ticks"], color=BLUE, marker="o", markersize=5, linewidth=1.5)
    axes.text(0.75, series["naive"][5] * 2.0, f"naive start/end windows; dashed: {theory:.1%} / T", color=RED)
    axes.plot(seconds, series["stream"], color=BLUE, marker="o", markersize=3, linewidth=1, linestyle=":")
    axes.text(0.75, series["ticks"][5] * 1.35, "whole ticks, all streams of a session", color=BLUE)
    axes.text(0.2, series["stream"][5] * 0.75, "whole ticks, within one stream", color=BLUE)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(0.0004, 0.4)
    axes.set_xticks([0.2, 0.5, 1, 2, 5])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel("length of the window T, s")
    axes.set_ylabel("sd of joules per token")
    axes.set_title(f"One unchanging decode, {len(streams)} streams on four H200s", loc="left", fontsize=10)
    return figure


# -- the power cap --


def draw_swing(material: Material) -> Figure:
    """Power of every tick from a capped stream's start on."""
    device = material.sessions[0].device
    here = [recorded for recorded in material.sessions if recorded.device == device]
    streams = [one for level in (0, 2, 3, 5) for one in played(here, "prefill", level)]
    cells: dict[int, list[float]] = defaultdict(list)
    figure, axes = canvas(6.4, 4.0)
    for one in streams:
        start, end = one.window.times[0], min(one.window.times[-1], one.window.times[0] + SWING_SECONDS)
        inside = [t for t in one.ticks if start <= t.time <= end]
        watts = [mean_watts(pair) for pair in itertools.pairwise(inside)]
        dates = [t.time - start + PERIOD / 2 for t in inside[:-1]]
        axes.plot(dates, watts, color=GREY, linewidth=0.35, alpha=0.6)
        for date, value in zip(dates, watts, strict=True):
            cells[int(date / PERIOD)].append(value)
    limit = here[0].trace.meter.devices[0].power_limit_watts
    for block in range(0, round(SWING_SECONDS / PERIOD), CAPPED_BLOCK_TICKS):
        if block // CAPPED_BLOCK_TICKS % 2:
            axes.axvspan(block * PERIOD, (block + CAPPED_BLOCK_TICKS) * PERIOD, color="#eef3f8", linewidth=0, zorder=0)
        values = [v for cell in range(block, block + CAPPED_BLOCK_TICKS) for v in cells[cell]]
        at = (block + CAPPED_BLOCK_TICKS / 2) * PERIOD
        axes.text(at, 830, f"{fmean(values):.0f} W", ha="center", fontsize=9, color=BLUE)
    axes.plot(
        [(cell + 0.5) * PERIOD for cell in sorted(cells)],
        [fmean(cells[cell]) for cell in sorted(cells)],
        color=BLUE,
        linewidth=2.2,
    )
    if limit is not None:
        axes.axhline(limit, color=RED, linewidth=1, linestyle="--")
        axes.text(SWING_SECONDS, limit + 35, f"limit, {limit:.0f} W", color=RED, ha="right", fontsize=9)
    axes.set_xlim(0, SWING_SECONDS)
    axes.set_ylim(460, 850)
    axes.set_xlabel("seconds since the stream's first call (bands: blocks of ten ticks, with their means)")
    axes.set_ylabel("power, W (of each tick)")
    axes.set_title(
        f"A power-capped prefill, {len(streams)} streams on one H200 and their mean", loc="left", fontsize=10
    )
    return figure


# -- temperature --


def draw_temperature(material: Material) -> Figure:
    """Joules per token of every decode stream against the GPU's temperature."""
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in played(material.sessions, "decode", 0):
        groups[one.recorded.device].append((one.celsius, steady_mean(one.window, one.ticks)))
    figure, axes = canvas(6.4, 4.0)
    for (device, points), colour in zip(sorted(groups.items()), DEVICES, strict=True):
        heat, level = (fmean(p[axis] for p in points) for axis in (0, 1))
        axes.plot([p[0] for p in points], [p[1] - level for p in points], "o", color=colour, markersize=4, label=device)
        ends = [min(p[0] for p in points), max(p[0] for p in points)]
        axes.plot(ends, [TEMPERATURE_SLOPE * (end - heat) for end in ends], color=colour, linewidth=1.5)
    axes.legend(title=f"GPU (lines: {TEMPERATURE_SLOPE:+.2%} per °C)", fontsize=9, title_fontsize=9)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.1f} %"))
    axes.set_xlabel("GPU temperature, mean of the stream, °C")
    axes.set_ylabel("joules per token, against the GPU's mean (log ratio)")
    axes.set_title("Warmer decodes cost more: 27 streams on each of four H200s", loc="left", fontsize=10)
    return figure


# -- verdicts --


def draw_verdicts(material: Material) -> Figure:
    """The measured ratio of every decision."""
    rng = random.Random(1)
    tolerance = TOLERANCES[0]
    levels = sorted({d.level for d in material.decisions})
    figure, axes = canvas(7.2, 4.2)
    points: dict[VerdictKind, list[tuple[float, float]]] = defaultdict(list)
    for d in material.decisions:
        at = levels.index(d.level) + ASIDE * (list(WORKLOADS).index(d.workload) - 1) + rng.uniform(-0.11, 0.11)
        true = material.truth.get((d.workload, d.level), (0.0, 0.0))[0]
        points[VerdictKind(d.kind)].append((at, math.expm1(d.error + true)))
    for kind in (kind for kind in VERDICTS if kind in points):
        colour, marker = VERDICTS[kind]
        label = f"{kind.value} ({len(points[kind])})"
        axes.plot(
            *zip(*points[kind], strict=True),
            marker,
            color=colour,
            markersize=4,
            markeredgewidth=0,
            label=label,
            alpha=0.7,
        )
    axes.axhline(tolerance, color=INK, linewidth=1, linestyle="--")
    axes.text(-0.44, tolerance + 0.001, f"tolerance, {tolerance:+.1%}", fontsize=9)
    axes.legend(loc="upper left", fontsize=9)
    places = [(at + ASIDE * (place - 1), name) for at in range(len(levels)) for place, name in enumerate(WORKLOADS)]
    axes.set_xticks([at for at, _ in places], [name for _, name in places], fontsize=7.5)
    for at, level in enumerate(levels):
        name = f"+{level} %" if level else "unchanged"
        axes.text(at, -0.13, name, ha="center", transform=axes.get_xaxis_transform())
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("joules per unit, against the baseline")
    axes.set_title(f"{len(material.decisions)} verdicts at a tolerance of {tolerance:.1%}", loc="left", fontsize=10)
    return figure


# -- rivals --


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate's row: GPU seconds for a verdict without and with warm-up, how often it failed on what."""

    name: str
    seconds: float
    with_warmup: float
    alarms: tuple[int, int]
    caught: tuple[int, int]

    @property
    def share(self) -> float:
        return self.caught[0] / self.caught[1]

    @property
    def colour(self) -> str:
        """Red where more than one in a hundred unchanged streams failed."""
        return RED if self.alarms[0] > 0.01 * self.alarms[1] else GREY


def hits(failed: Sequence[bool]) -> tuple[int, int]:
    """How many, of how many."""
    return sum(failed), len(failed)


def gates(material: Material) -> list[Gate]:
    """Ours first, then the rivals."""
    decisions = material.decisions
    of_level = {
        level: [d.kind == VerdictKind.REGRESSED.value for d in decisions if d.level == level] for level in (0, 3)
    }
    seconds = fmean(d.seconds for d in decisions)
    warmup = fmean(d.warmup for d in decisions)
    name = f"pytest-joules, {TOLERANCES[0]:.1%}"
    found = [Gate(name, seconds, seconds + warmup, hits(of_level[0]), hits(of_level[3]))]
    outcomes, spent = rival_outcomes(material.sessions)
    for rival in RIVALS:
        of_level = {level: [failed[rival.name] for _, at, failed in outcomes if at == level] for level in (0, 3)}
        gpu = spent[f"{rival.name}/gpu"]
        found.append(Gate(rival.name, gpu, gpu + FREE_WARMUP, hits(of_level[0]), hits(of_level[3])))
    return found


def draw_gates(material: Material) -> Figure:
    """Share of +3 % caught against GPU seconds."""
    found = gates(material)
    figure, axes = canvas(9.0, 4.8)
    gap, lowest = 0.075, -0.04
    heights: list[float] = []
    for gate in sorted(found, key=lambda gate: gate.share):
        heights.append(max(gate.share - 0.01, heights[-1] + gap if heights else lowest))
        ours = gate is found[0]
        colour = BLUE if ours else gate.colour
        twins = [other for other in found if abs(other.seconds - gate.seconds) < 0.01]
        aside = 1.025 ** (twins.index(gate) - (len(twins) - 1) / 2)
        low, high = exact(*gate.caught)
        at = gate.seconds * aside
        axes.plot([at, gate.with_warmup * aside], [gate.share] * 2, color=colour, linewidth=1, alpha=0.7)
        axes.plot([at, at], [low, high], color=colour, linewidth=1.3)
        axes.plot(at, gate.share, "*" if ours else "o", color=colour, markersize=14 if ours else 6)
        axes.annotate(
            f"{gate.name}: {gate.alarms[0] / gate.alarms[1]:.1%}",
            (gate.with_warmup * aside, gate.share),
            (24, heights[-1] - 0.01),
            color=colour if ours or colour == RED else "#555555",
            fontsize=9,
            fontweight="bold" if ours else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.7, "relpos": (0, 0.5)},
        )
    axes.text(24, 1.06, "gate: false alarms on unchanged work (red: above 1 %)", fontsize=9, fontstyle="italic")
    axes.set_xscale("log")
    axes.set_xlim(0.8, 22)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks([1, 2, 5, 10, 20])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("GPU seconds for a verdict, mean (tail: with warm-up)")
    axes.set_ylabel("+3 % of work caught (bars: exact 95 %)")
    return figure


# -- errors --


def draw_errors(material: Material) -> Figure:
    """Standardised errors of unchanged streams against the normal distribution."""
    unchanged = [d for d in material.decisions if d.level == 0 and not math.isnan(d.error)]
    ranked = sorted(unchanged, key=lambda d: d.error / d.standard_error)
    expected = [float(stats.norm.ppf((rank + 0.5) / len(ranked))) for rank in range(len(ranked))]
    z = [d.error / d.standard_error for d in ranked]
    figure, axes = canvas(5.2, 4.4)
    axes.plot([-3.2, 3.2], [-3.2, 3.2], color=INK, linewidth=1, linestyle="--")
    axes.text(2.1, 2.35, "as stated", rotation=38, fontsize=9, ha="center", va="bottom")
    for workload, colour in WORKLOADS.items():
        chosen = [(x, y) for x, y, d in zip(expected, z, ranked, strict=True) if d.workload == workload]
        axes.plot(*zip(*chosen, strict=True), "o", color=colour, markersize=3.5, markeredgewidth=0, label=workload)
    axes.legend(fontsize=9, loc="upper left")
    axes.set_xlim(-3.2, 3.2)
    axes.set_ylim(-3.2, 3.2)
    axes.set_xlabel("quantile of the normal distribution")
    axes.set_ylabel("error / stated standard error")
    axes.set_title(
        f"Errors of {len(z)} A/A verdicts: they spread by {stdev(z):.2f}, stated is 1", loc="left", fontsize=10
    )
    return figure


# -- files --

FIGURES: dict[str, Callable[[Material], Figure]] = {
    "windows": draw_windows,
    "power-cap": draw_swing,
    "temperature": draw_temperature,
    "verdicts": draw_verdicts,
    "rivals": draw_gates,
    "calibration": draw_errors,
}


def canvas(width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure of so many inches, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def save(figure: Figure, path: Path) -> None:
    """Write the figure as SVG: no date, no version, no more digits than the eye sees."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", path.read_text(encoding="utf-8"))
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=list(FIGURES), action="append", help="draw this one; may be repeated")
    options = parser.parse_args()
    sessions = load(options.directory, "session")
    truth = true_ratios(load(options.directory, "calibration"))
    material = Material(sessions, judge_all(sessions, truth, TOLERANCES[0]), truth)
    options.out.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name in options.only or FIGURES:
            save(FIGURES[name](material), options.out / f"{name}.svg")


if __name__ == "__main__":
    main()
