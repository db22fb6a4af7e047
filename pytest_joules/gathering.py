"""Sweeps of several files as one, over GPUs and commits, and the points that somebody picks.  Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pytest_joules.codec import shown
from pytest_joules.model import Sweep, SweepPoint
from pytest_joules.slo import latencies_of, latency_called
from pytest_joules.units import plural

COMMIT_DIGITS = 12
"""So much of a commit is in a name."""

UNKNOWN = "unknown"
"""A commit, where there is no git, or a SKU."""

MOST_NAMED = 8
"""Names that an error lists."""


class GatherError(ValueError):
    """Sweeps that cannot be put together or picked from; the message names the file or flag, and the fix."""


@dataclass(frozen=True, slots=True)
class Part:
    """The sweeps of one file.

    Attributes:
        name: What the file is called.
        sweeps: Its sweeps; no two have one group.
    """

    name: str
    sweeps: tuple[Sweep, ...]


def gathered(parts: Sequence[Part], *, latency: str | None = None) -> tuple[Sweep, ...]:
    """One sweep for each group, with the points of all files.

    Where files are of other GPUs or commits, a point's settings and name say which it is of.  A configuration that was
    measured in several files on one GPU at one commit is one point with all of their measurements.  Of several defaults
    that of the first file counts.

    Args:
        parts: The sweeps of each file.
        latency: What :func:`with_latency` is to weigh them against: then they need not have one of their own in common.

    Raises:
        GatherError: if joules of a group do not compare, or a file has two points of one name.
    """
    groups: dict[str, list[tuple[str, Sweep]]] = {}
    for part in parts:
        for sweep in part.sweeps:
            _check_names(part.name, sweep)
            groups.setdefault(sweep.group, []).append((part.name, sweep))
    return tuple(_one(found, latency) for found in groups.values())


def _check_names(file: str, sweep: Sweep) -> None:
    seen: set[str] = set()
    for point in sweep.points:
        if point.name in seen:
            raise GatherError(f"{file}: group {sweep.group!r} has two points called {shown(point.name)!r}: keep one")
        seen.add(point.name)


def _one(found: Sequence[tuple[str, Sweep]], latency: str | None) -> Sweep:
    _check_alike([(file, sweep if latency is None else replace(sweep, latency=latency)) for file, sweep in found])
    whole = found[0][1]
    origins = [_origins(sweep) for _, sweep in found]
    varying = [name for name in ("sku", "commit") if len({each[name] for each in origins}) > 1]
    told: dict[str, SweepPoint] = {}
    again: set[str] = set()
    for _, sweep in found:
        for point in (_named(each, varying) for each in sweep.points):
            if point.name in told:
                again.add(point.name)
            told[point.name] = _with(told[point.name], point) if point.name in told else point
    notes = [note for _, sweep in found for note in sweep.notes]
    if again:
        notes.append(f"{plural(len(again), 'configuration')} measured in several files: all measurements count")
    spent = [sweep.spent_seconds for _, sweep in found if sweep.spent_seconds is not None]
    return replace(
        whole,
        points=tuple(_one_default(told.values())),
        seed=whole.seed if len(found) == 1 else None,
        spent_seconds=sum(spent) if spent else None,
        notes=tuple(dict.fromkeys(notes)),
    )


def _check_alike(found: Sequence[tuple[str, Sweep]]) -> None:
    first, whole = found[0]
    for number, (file, sweep) in enumerate(found):
        if (twin := next((other for other, known in found[:number] if known == sweep), None)) is not None:
            raise GatherError(f"{file} holds the measurements of {twin} once more: give one of them")
        for what, fix in (("unit", "give each its own group"), ("latency", "give --latency")):
            one, other = getattr(whole, what), getattr(sweep, what)
            if one != other:
                raise GatherError(
                    f"group {whole.group!r}: the {what} is {one!r} in {first} and {other!r} in {file}: {fix}"
                )


def _origins(sweep: Sweep) -> dict[str, frozenset[str]]:
    """What the points of a file are of; one file may hold several SKUs, such as two GPUs beside one."""
    return {name: frozenset(_origin(point)[name] for point in sweep.points) for name in ("sku", "commit")}


def _origin(point: SweepPoint) -> dict[str, str]:
    return {"sku": point.sku or UNKNOWN, "commit": (point.commit or UNKNOWN)[:COMMIT_DIGITS]}


def _named(point: SweepPoint, varying: Sequence[str]) -> SweepPoint:
    if not varying:
        return point
    told = {name: _origin(point)[name] for name in varying}
    return replace(point, name=f"{point.name} @ {' '.join(told.values())}", settings={**told, **point.settings})


def _with(point: SweepPoint, more: SweepPoint) -> SweepPoint:
    """One point with the measurements of both, in the order of the files."""
    later = [
        replace(measured, order=None if measured.order is None else measured.order + len(point.passes))
        for measured in more.passes
    ]
    return replace(
        point,
        passes=(*point.passes, *later),
        default=point.default or more.default,
        invalid=point.invalid or more.invalid,
    )


def _one_default(points: Iterable[SweepPoint]) -> list[SweepPoint]:
    known = list(points)
    first = next((point for point in known if point.default), None)
    return [replace(point, default=point is first) for point in known]


def only(sweeps: Sequence[Sweep], text: str) -> tuple[Sweep, ...]:
    """Whole sweeps whose group holds ``text``, and of others the points that :func:`picked` picks.

    Raises:
        GatherError: if there is none.
    """
    found = [replace(s, points=s.points if text in s.group else picked(s, text)) for s in sweeps]
    if not any(sweep.points for sweep in found):
        groups = _listed(sweep.group for sweep in sweeps)
        raise GatherError(f"-k {text}: no group and no point of that name; the groups are: {groups}")
    return tuple(sweep for sweep in found if sweep.points)


def picked(sweep: Sweep, text: str) -> tuple[SweepPoint, ...]:
    """The points that have all settings of ``"NAME=VALUE, ..."``; if none has, those whose name or settings hold it."""
    wanted = {part.strip() for part in text.split(",")}
    told = [_told(point) for point in sweep.points]
    exactly = tuple(point for point, parts in zip(sweep.points, told, strict=True) if wanted <= {*parts})
    # A number is told whole: batch=6 is no part of batch=64.
    part = re.compile(re.escape(text) + (r"(?![\d.])" if re.search(r"=[\d.]+$", text) else ""))
    return exactly or tuple(
        point
        for point, parts in zip(sweep.points, told, strict=True)
        if part.search(point.name) or part.search(", ".join([sweep.group, *parts]))
    )


def _told(point: SweepPoint) -> list[str]:
    """``max_num_seqs=256``, and what it is of."""
    told = {**point.settings, **_origin(point)}
    return [f"{name}={value}" for name, value in told.items()]


def with_latency(sweeps: Sequence[Sweep], latency: str) -> tuple[Sweep, ...]:
    """The sweeps, their joules weighed against another latency wherever it is told; ``itl`` means its median.

    Raises:
        GatherError: if none of their points tells it.
    """
    told = [latencies_of(sweep.points) for sweep in sweeps]
    tells = [latency_called(latency, names) in names for names in told]
    if not any(tells):
        known = _listed(name for names in told for name in names)
        raise GatherError(f"--latency {latency}: no point tells it; use one of {known}")
    return tuple(
        replace(sweep, latency=latency)
        if its
        else replace(sweep, notes=(*sweep.notes, f"weighed against {sweep.latency}: no point tells {latency}"))
        for sweep, its in zip(sweeps, tells, strict=True)
    )


def with_default(sweeps: Sequence[Sweep], text: str) -> tuple[Sweep, ...]:
    """The sweeps, with the point whose name or settings hold ``text`` as the configuration in use today.

    Raises:
        GatherError: if no point of any sweep does, or several of one sweep.
    """
    found = [picked(sweep, text) for sweep in sweeps]
    if not any(found):
        names = _listed(point.name for sweep in sweeps for point in sweep.points)
        raise GatherError(f"--default {text}: no such point; there are: {names}")
    for sweep, points in zip(sweeps, found, strict=True):
        if len(points) > 1:
            several = _listed(point.name for point in points)
            raise GatherError(f"--default {text}: {sweep.group!r} has several of that name: {several}; tell one apart")
    return tuple(
        replace(s, points=tuple(replace(p, default=p in points) for p in s.points)) if points else s
        for s, points in zip(sweeps, found, strict=True)
    )


def _listed(names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return "; ".join(map(shown, known[:MOST_NAMED])) + more
