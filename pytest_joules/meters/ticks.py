"""The tick grid: when an energy counter changes, from reads that only bracket it.

A data-centre GPU's counter is constant between the edges of a perfectly
regular grid (H200: 100.00 ms, phase steady to better than 1 ms over 76 s), so
one read anywhere inside a cell of the grid gives the exact joules of that
cell's opening edge.  What has to be found is the grid.  A read tells only that
the counter was sampled somewhere between the read's start and its end; an old
value followed by a new one brackets an edge, and many brackets that must all
hold an edge of one grid leave little room for its phase.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pytest_joules.model import Read, Tick

WIDEST_BRACKET = 0.03
"""Seconds; the H200 answers within 18 ms, and rare brackets of 41 ms tell nothing."""

ROUND_PERIODS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
"""Seconds; firmware timers run on round numbers, so among possible periods the roundest is the likely one."""

FEWEST_BRACKETS = 3
FEWEST_EDGES = 3
UNEXPLAINED_EDGES = 0.2
"""Of the edges; a grid twice as fine as the counter's, or half as fine, has a half of them wrong."""

DOUBTED_EDGES = 10
RECENT_READS = 20
"""So many edges are looked at least, in so many reads; a second or two."""

KEPT_BRACKETS = 64
"""Enough for a phase to 2 ms, few enough to follow a drifting clock."""


def mean_watts(ticks: Sequence[Tick]) -> float:
    """Mean power between the first and the last of ``ticks``, W."""
    return (ticks[-1].joules - ticks[0].joules) / (ticks[-1].time - ticks[0].time)


@dataclass(frozen=True, slots=True)
class Bracket:
    """A stretch of time that holds exactly one edge."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


@dataclass(frozen=True, slots=True)
class TickGrid:
    """Edges at ``phase + k * period``, each known to ``error`` (all s)."""

    period: float
    phase: float
    error: float

    def cell(self, time: float) -> int:
        """The index of the cell that holds ``time``."""
        return math.floor((time - self.phase) / self.period)

    def edge(self, index: int) -> float:
        """The time at which cell ``index`` opens."""
        return self.phase + index * self.period


def fit_grid(brackets: Sequence[Bracket], around: float | None = None) -> TickGrid | None:
    """The grid that most brackets agree on, or ``None`` if they are too few.

    The period has to put an edge into every bracket; the roundest of the
    possible ones is taken.  The phase is the middle of the stretch that the
    most brackets share.

    Args:
        brackets: Oldest first.
        around: The period as far as it is known.  Without it some neighbouring edges have to be
            bracketed: edges ten cells apart fit a grid ten times as coarse just as well.
    """
    if len(brackets) < FEWEST_BRACKETS:
        return None
    first = brackets[0]
    period = _fit_period(brackets, around)
    offsets = []
    for bracket in brackets:
        cells = round((bracket.middle - first.middle) / period)
        offsets.append((bracket.low - cells * period, bracket.high - cells * period))
    low, high, agreeing = _densest(offsets)
    if agreeing < max(FEWEST_BRACKETS, 0.6 * len(brackets)):
        return None
    return TickGrid(period=period, phase=(low + high) / 2, error=(high - low) / 2)


def _fit_period(brackets: Sequence[Bracket], around: float | None) -> float:
    first = brackets[0]
    distances = [b.middle - a.middle for a, b in itertools.pairwise(brackets)]
    smallest = around or min(distances)
    period = median(distance / max(1, round(distance / smallest)) for distance in distances)
    low, high = 0.0, math.inf
    for bracket in brackets[1:]:
        # From near to far: each bracket makes the period sharp enough to count the cells up to the next.
        cells = max(1, round((bracket.middle - first.middle) / period))
        at_least, at_most = (bracket.low - first.high) / cells, (bracket.high - first.low) / cells
        if max(low, at_least) <= min(high, at_most):
            low, high = max(low, at_least), min(high, at_most)
            period = _roundest(low, high)
    return period


def _roundest(low: float, high: float) -> float:
    for step in ROUND_PERIODS:
        nearest = round((low + high) / 2 / step) * step
        if nearest > 0 and low <= nearest <= high:
            return nearest
    return (low + high) / 2


def _densest(intervals: Sequence[tuple[float, float]]) -> tuple[float, float, int]:
    """The stretch that the most intervals share, and how many share it."""
    events = sorted([(low, -1) for low, _ in intervals] + [(high, 1) for _, high in intervals])
    depth = best = 0
    stretch = (0.0, 0.0)
    for position, (time, kind) in enumerate(events):
        depth -= kind
        if kind < 0 and depth > best:
            best = depth
            stretch = (time, events[position + 1][0])
    return (*stretch, best)


def explains(grid: TickGrid, reads: Sequence[Read]) -> bool:
    """Whether joules change between neighbouring reads just where the grid has an edge."""
    edges = edge_agreement(grid, reads)
    return edges.count(True) >= FEWEST_EDGES and edges.count(False) <= UNEXPLAINED_EDGES * len(edges)


def edge_agreement(grid: TickGrid, reads: Sequence[Read]) -> list[bool]:
    """For every edge between two reads, by the grid or by their joules: whether both say so.

    Pairs that would agree with any grid are left out: those without an edge, and other joules more than a cell apart;
    so are reads that may have straddled an edge.
    """
    certain = [(cell, read.joules) for read in reads if (cell := _certain_cell(grid, read)) is not None]
    agreed = []
    for (a, before), (b, after) in itertools.pairwise(certain):
        edges, changed = b - a, before != after
        if (edges, changed) != (0, False) and not (edges > 1 and changed):
            agreed.append(edges == 1 and changed)
    return agreed


def _certain_cell(grid: TickGrid, read: Read) -> int | None:
    """The cell in which the counter was sampled; ``None`` if it may have been either of two."""
    opens, closes = grid.cell(read.start - grid.error), grid.cell(read.end + grid.error)
    return opens if opens == closes else None


class GridTracker:
    """Follows the grid through a growing stream of reads.

    Attributes:
        grid: The grid as it is best known; ``None`` until one is found.
        latest: The last read.
        edges_seen: Edges bracketed since the search for a grid began.
    """

    def __init__(self) -> None:
        self.grid: TickGrid | None = None
        self.latest: Read | None = None
        self.edges_seen = 0
        self._searching = True
        self._searched: list[Read] = []
        self._brackets: deque[Bracket] = deque(maxlen=KEPT_BRACKETS)
        self._recent: deque[Read] = deque(maxlen=RECENT_READS)

    def add(self, read: Read) -> bool:
        """Take the next read; whether it and the last one bracket an edge."""
        last, self.latest = self.latest, read
        if self._searching:
            self._searched.append(read)
        elif self.grid is not None:
            self._doubt(self.grid, read)
        if last is None or read.joules == last.joules or read.end - last.start > WIDEST_BRACKET:
            return False
        self._brackets.append(Bracket(last.start, read.end))
        self.edges_seen += 1
        if self._searching:
            self._find_grid()
        elif self.grid is not None:
            self.grid = fit_grid(tuple(self._brackets), around=self.grid.period) or self.grid
        return True

    def _doubt(self, grid: TickGrid, read: Read) -> None:
        """Search anew where the last edges were not where the grid has them."""
        self._recent.append(read)
        edges = edge_agreement(grid, self._recent)
        if len(edges) >= DOUBTED_EDGES and edges.count(False) > UNEXPLAINED_EDGES * len(edges):
            self._searching = True
            self.edges_seen = 0
            self._brackets.clear()
            self._recent.clear()

    def _find_grid(self) -> None:
        """Take the coarsest grid that every read of the search agrees with: where edges were missed, the brackets
        alone would fit a multiple of the period.
        """
        if len(self._brackets) < FEWEST_BRACKETS:
            return
        smallest = min(b.middle - a.middle for a, b in itertools.pairwise(self._brackets))
        for parts in (1, 2, 3, 4):
            grid = fit_grid(tuple(self._brackets), around=smallest / parts)
            if grid is not None and explains(grid, self._searched):
                self.grid = grid
                self._searching = False
                self._searched.clear()
                return


class TickTracker(GridTracker):
    """Turns a growing stream of reads into dated ticks."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[Read] = []

    def add(self, read: Read) -> bool:
        self.reads.append(read)
        return super().add(read)

    def ticks(self, since: float) -> list[Tick]:
        """Ticks from ``since`` on, oldest first, all dated by the newest grid.

        A read that may have straddled an edge says nothing certain and is left
        out; a cell in which nobody read is missing.
        """
        grid = self.grid
        if grid is None:
            return []
        dated: list[Tick] = []
        newest = -math.inf
        for read in self.reads[bisect_left(self.reads, since, key=lambda read: read.start) :]:
            if (cell := _certain_cell(grid, read)) is None:
                continue
            edge = grid.edge(cell)
            if edge >= since and edge > newest:
                dated.append(Tick(edge, read.joules))
                newest = edge
        return dated
