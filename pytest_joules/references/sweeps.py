"""Published measurements as a sweep: what a frontier and a recommendation are made of.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_joules.codec import shown
from pytest_joules.model import Pass, Reference, Sweep, SweepPoint
from pytest_joules.references.configuration import all_settings, distinguishing, full_name
from pytest_joules.units import plural

LATENCIES = ("itl_p50", "call")
"""What joules are weighed against unless somebody says otherwise: the first that every measurement has."""


class SweepError(ValueError):
    """Measurements that are not weighed against each other; the message says why, and what would do."""


def references_sweeps(references: Sequence[Reference]) -> tuple[Sweep, ...]:
    """A sweep for each model and task, of whatever GPUs.

    Raises:
        SweepError: if the measurements of one share no unit of work or no latency.
    """
    tasks = dict.fromkeys((reference.model, reference.task) for reference in references)
    return tuple(references_sweep(references, model=model, task=task) for model, task in tasks)


def references_sweep(
    references: Sequence[Reference],
    *,
    only: str = "",
    model: str | None = None,
    task: str | None = None,
    latency: str | None = None,
) -> Sweep:
    """One sweep of the measurements that are selected, of whatever GPUs.

    What all points share is left out of their settings and names, and makes up the group's name.

    Args:
        references: Published measurements.
        only: Text that a measurement's name holds, as ``"MODEL, TASK, NAME=VALUE, ..."``; all do if it is empty.
        model: Its model, whole.
        task: Its task, whole.
        latency: What joules are weighed against, e.g. ``itl_p95``; by default :data:`LATENCIES`.

    Raises:
        SweepError: if there is none, or they share no unit of work or no latency.
    """
    chosen = [
        reference
        for reference in references
        if only in full_name(reference) and model in (None, reference.model) and task in (None, reference.task)
    ]
    if not chosen:
        wanted = ", ".join(text for text in (only, model, task) if text)
        raise SweepError(f"no published measurement of {shown(wanted)!r}, of {len(references)} that are known")
    units = {next(iter(reference.joules)) for reference in chosen}
    if len(units) > 1:
        raise SweepError(f"measurements per {' and per '.join(sorted(units))} do not compare: pick one task")
    settings = [{"model": reference.model, "task": reference.task, **all_settings(reference)} for reference in chosen]
    varying = distinguishing(settings)
    return Sweep(
        group=f"{_one_of(chosen, 'model')}, {_one_of(chosen, 'task')}",
        unit=units.pop(),
        latency=latency or _latency(chosen),
        points=tuple(
            _point(reference, {name: found[name] for name in varying if name in found})
            for reference, found in zip(chosen, settings, strict=True)
        ),
        notes=(f"{plural(len(chosen), 'published number')} without a variance: a difference may be noise",),
    )


def _one_of(references: Sequence[Reference], what: str) -> str:
    names = {getattr(reference, what) for reference in references}
    return names.pop() if len(names) == 1 else plural(len(names), what)


def _latency(references: Sequence[Reference]) -> str:
    for name in LATENCIES:
        if all(name in reference.seconds for reference in references):
            return name
    raise SweepError(f"the measurements share none of the latencies {' and '.join(LATENCIES)}: name another, or pick")


def _point(reference: Reference, settings: dict[str, str]) -> SweepPoint:
    unit = next(iter(reference.joules))
    return SweepPoint(
        name=", ".join(f"{name}={value}" for name, value in settings.items()) or full_name(reference),
        settings=settings,
        passes=(Pass(reference.joules[unit], seconds=reference.seconds, watts=reference.watts),),
        sku=reference.gpu,
        source=f"{reference.source}, {reference.date}",
    )
