"""Which published measurement a test means, and what is to be known beside the two numbers.  Pure functions."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from pytest_joules.baselines.keys import slug
from pytest_joules.model import BudgetResult, Device, Reference
from pytest_joules.references.configuration import all_settings, distinguishing
from pytest_joules.references.names import GPU, ReferenceName, written
from pytest_joules.units import plural

NEAREST = 3
MOST_VALUES = 12
"""Values of one setting that are listed."""

IMPORT = "pytest-joules import mlenergy FILE"


class LookupFault(ValueError):
    """A name that means no measurement, or several; the message lists what would do."""


def find(name: ReferenceName, references: Sequence[Reference], devices: Sequence[Device]) -> Reference | None:
    """The measurement that is meant; ``None`` if there is one, but on none of these devices.

    Args:
        name: What the test says; without ``gpu`` it means what today runs on.
        references: All that are known.
        devices: What the test runs on, or may run on.

    Raises:
        LookupFault: if no GPU has one, or this one has several.
    """
    known = [reference for reference in references if _is_meant(name, reference)]
    if not known:
        raise LookupFault(_unknown(name, references))
    here = [reference for reference in known if _is_of(reference, name, devices)]
    if len(here) > 1:
        raise LookupFault(f"{str(name)!r} is {plural(len(here), 'measurement')}: add {_choices(here)}")
    return here[0] if here else None


def same_gpu(published: str, device: Device) -> bool:
    """Whether a device is what its publisher calls ``H100``: the driver says ``NVIDIA H100 80GB HBM3``.

    A simulated device is only what is called so.
    """
    words, told = {*slug(published).split("-")}, {*slug(device.name).split("-")}
    return words - {"simulated"} <= told and ("simulated" in words) == device.simulated


def with_reference(result: BudgetResult, reference: Reference | None) -> BudgetResult:
    """The result beside its measurement, with notes on what makes the two numbers another thing."""
    if result.budget.reference is None or result.measurement is None:
        return result
    notes = _notes(result, reference)
    verdict = replace(result.verdict, notes=(*result.verdict.notes, *notes))
    return replace(result, reference=reference, verdict=verdict)


def _notes(result: BudgetResult, reference: Reference | None) -> list[str]:
    measurement, key, text = result.measurement, result.key, result.budget.reference
    assert measurement is not None
    names = (device.name + (" (simulated)" if device.simulated else "") for device in measurement.devices)
    devices = " and ".join(dict.fromkeys(names))
    if reference is None:
        return [f"reference: nothing is published of {text!r} on {devices}"]
    notes = []
    if key is not None and key.unit not in reference.joules:
        notes.append(f"reference: published per {' and per '.join(reference.joules)}, not per {key.unit}")
    configuration = measurement.conditions.configuration
    here = {**configuration, "num_gpus": str(len(measurement.devices))}
    if not any(same_gpu(reference.gpu, device) for device in measurement.devices):
        notes.append(f"reference: published for {reference.gpu}, measured on {devices}")
    for name, value in reference.settings.items():
        if name in here and here[name] != value:
            notes.append(f"reference: published with {name}={value}, measured with {here[name]}")
    return notes


def _is_meant(name: ReferenceName, reference: Reference) -> bool:
    if (name.model, name.task) != (reference.model, reference.task):
        return False
    settings = all_settings(reference)
    return all(
        slug(settings.get(wanted, "")) == slug(value) if wanted == GPU else settings.get(wanted) == value
        for wanted, value in name.settings.items()
    )


def _is_of(reference: Reference, name: ReferenceName, devices: Sequence[Device]) -> bool:
    if GPU in name.settings:  # whatever it is, but simulated and real joules never mix
        return any(device.simulated == ("simulated" in slug(reference.gpu)) for device in devices)
    return any(same_gpu(reference.gpu, device) for device in devices)


def _unknown(name: ReferenceName, references: Sequence[Reference]) -> str:
    if not references:
        return f"there is no reference {str(name)!r}: nothing was imported; {IMPORT}"
    nearest = _nearest(name, references)
    return f"there is no reference {str(name)!r}; the nearest are {'; '.join(map(repr, nearest))}"


def _nearest(name: ReferenceName, references: Sequence[Reference]) -> list[str]:
    """The names most like it: of configurations if the model has the task, else of models with their tasks."""
    alike = [found for found in references if (found.model, found.task) == (name.model, name.task)]
    settings = [all_settings(found) for found in alike]
    telling = {**distinguishing(settings), **name.settings}
    names = [written(name.model, name.task, {n: v for n, v in found.items() if n in telling}) for found in settings]
    names = names or [written(found.model, found.task, {}) for found in references]
    wanted = str(name) if alike else written(name.model, name.task, {})
    return difflib.get_close_matches(wanted, dict.fromkeys(names), NEAREST, 0)


def _choices(references: Sequence[Reference]) -> str:
    """``max_num_seqs=8|16|32 and num_gpus=1|2``: few settings that tell them all apart."""
    settings = [all_settings(reference) for reference in references]
    telling: dict[str, tuple[str, ...]] = {}
    for name, values in sorted(distinguishing(settings).items(), key=lambda item: -len(item[1])):
        before = len({tuple(found.get(told) for told in telling) for found in settings})
        if len({tuple(found.get(told) for told in (*telling, name)) for found in settings}) > before:
            telling[name] = values
    return " and ".join(f"{name}={_listed(values)}" for name, values in telling.items())


def _listed(values: Sequence[str]) -> str:
    more = "|..." if len(values) > MOST_VALUES else ""
    return "|".join(filter(None, values[:MOST_VALUES])) + more
