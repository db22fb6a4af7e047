"""Published measurements as a sweep: what a frontier and a recommendation are made of.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_joules.model import Pass, Reference, Sweep, SweepPoint
from pytest_joules.references.configuration import all_settings, distinguishing, full_name
from pytest_joules.references.names import written
from pytest_joules.units import plural

LATENCIES = ("itl_p50", "call")
"""What joules are weighed against: the first that every measurement has."""

WORK = ("height", "width", "num_frames", "fps")
"""Settings that make it other work: an image of twice the height is another image, and no way to the same one."""


class SweepError(ValueError):
    """Measurements that are not weighed against each other; the message says why."""


def references_sweeps(references: Sequence[Reference]) -> tuple[Sweep, ...]:
    """A sweep for each model, task and kind of work, of whatever GPUs and sources.

    What all points of one share is left out of their settings and names; the group's name tells the work where a model
    has several.

    Raises:
        SweepError: if the measurements of one share no unit of work or no latency.
    """
    workloads: dict[tuple[str, str], list[Reference]] = {}
    for reference in references:
        workloads.setdefault((reference.model, reference.task), []).append(reference)
    return tuple(_sweep(group, found) for each in workloads.values() for group, found in _by_work(each).items())


def _by_work(references: Sequence[Reference]) -> dict[str, list[Reference]]:
    """Those of one model and task that did the same work, by what their sweep is called."""
    works = [{name: found.settings[name] for name in WORK if name in found.settings} for found in references]
    varying = distinguishing(works)
    groups: dict[str, list[Reference]] = {}
    for reference, work in zip(references, works, strict=True):
        told = {name: value for name, value in work.items() if name in varying}
        groups.setdefault(written(reference.model, reference.task, told), []).append(reference)
    return groups


def _sweep(group: str, references: Sequence[Reference]) -> Sweep:
    unit = _unit(group, references)
    settings = [all_settings(reference) for reference in references]
    varying = distinguishing(settings)
    return Sweep(
        group=group,
        unit=unit,
        latency=_latency(group, references),
        points=tuple(
            _point(reference, unit, {name: found[name] for name in varying if name in found})
            for reference, found in zip(references, settings, strict=True)
        ),
        notes=(f"{plural(len(references), 'published number')} without a variance: a difference may be noise",),
    )


def _unit(group: str, references: Sequence[Reference]) -> str:
    """The first that every measurement has."""
    for name in references[0].joules:
        if all(name in reference.joules for reference in references):
            return name
    units = sorted({name for reference in references for name in reference.joules})
    raise SweepError(f"{group}: measurements per {' and per '.join(units)} do not compare")


def _latency(group: str, references: Sequence[Reference]) -> str:
    for name in LATENCIES:
        if all(name in reference.seconds for reference in references):
            return name
    raise SweepError(f"{group}: the measurements share none of the latencies {' and '.join(LATENCIES)}")


def _point(reference: Reference, unit: str, settings: dict[str, str]) -> SweepPoint:
    return SweepPoint(
        name=", ".join(f"{name}={value}" for name, value in settings.items()) or full_name(reference),
        settings=settings,
        passes=(Pass(reference.joules[unit], seconds=reference.seconds, watts=reference.watts),),
        sku=reference.gpu,
        source=f"{reference.source}, {reference.date}",
    )
