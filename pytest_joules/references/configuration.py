"""What tells one published measurement from the others.  Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from pytest_joules.model import Reference
from pytest_joules.references.names import GPU, RUN, SOURCE, written

Identity: TypeAlias = "tuple[str, str, str, str, frozenset[tuple[str, str]]]"


def identity(reference: Reference) -> Identity:
    """Of two measurements that share it, one is in the place of the other."""
    settings = frozenset(reference.settings.items())
    return reference.model, reference.task, reference.gpu, reference.source, settings


def configuration(reference: Reference) -> Identity:
    """The same of all runs of one configuration."""
    settings = {name: value for name, value in reference.settings.items() if name != RUN}
    return identity(replace(reference, settings=settings))


def told_apart(references: Iterable[Reference]) -> tuple[Reference, ...]:
    """Each once; where a configuration was run more than once, each run with its number."""
    runs: dict[Identity, list[Reference]] = {}
    for reference in references:
        if reference not in (known := runs.setdefault(identity(reference), [])):
            known.append(reference)
    return tuple(
        replace(reference, settings={**reference.settings, RUN: str(number)}) if len(found) > 1 else reference
        for found in runs.values()
        for number, reference in enumerate(found, 1)
    )


def all_settings(reference: Reference) -> dict[str, str]:
    """Everything that a name may tell of a measurement, beside its model and task."""
    return {**reference.settings, GPU: reference.gpu, SOURCE: reference.source}


def full_name(reference: Reference) -> str:
    """What a test may call it, with all that tells it from others."""
    return written(reference.model, reference.task, all_settings(reference))


def distinguishing(settings: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """The settings that are not the same everywhere, with the values that they have; empty where one has none."""
    names = dict.fromkeys(name for found in settings for name in found)
    values = {name: tuple(dict.fromkeys(found.get(name, "") for found in settings)) for name in names}
    return {name: found for name, found in values.items() if len(found) > 1}
