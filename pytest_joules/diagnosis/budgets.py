"""Why a budget's joules are not what its baseline predicts: the diagnosis that goes with a verdict.

The verdict compares today with what the stored sessions predict for today's
temperature and device.  That same change is explained, so that causes and
splits add up to the ratio that is printed: the stored sessions are taken to the
prediction, as watts, and what that allowed for is a split of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from reprlib import repr as shortened

from pytest_joules.codec import CodecError, decode, encode, one_line
from pytest_joules.diagnosis.explain import explain
from pytest_joules.diagnosis.noise import noise_between
from pytest_joules.diagnosis.observation import Observation
from pytest_joules.history import session_of
from pytest_joules.model import BudgetResult, Cause, Diagnosis, Session, Split, Verdict, VerdictKind

PREDICTED = "stored sessions and prediction"
"""Name of the split between the plain change since the stored sessions and what was allowed for."""

Ask = Callable[[BudgetResult, Observation, Observation], Sequence[Cause]]
"""Asks a team's own rules, with the result and what was observed before and after."""


def diagnosis_of(result: BudgetResult, stored: Sequence[Session], ask: Ask) -> Diagnosis | None:
    """Why ``result`` is not what its baseline is; ``None`` without a baseline, or without a number to trust.

    Args:
        result: A budget's final result.
        stored: The sessions stored under its key.
        ask: Gives the causes that a team's own rules find.
    """
    verdict, measurement = result.verdict, result.measurement
    if measurement is None or result.key is None or verdict.kind in (VerdictKind.INVALID, VerdictKind.UNMEASURED):
        return None
    today = session_of(measurement, result.key.unit, "", None)
    alike = comparable(stored, today, verdict)
    if not alike:
        return None
    after = Observation.of_measurement(measurement, result.key.unit)
    stored_as = Observation.of_sessions(
        # A baseline file holds one SKU: what its name tells is as it is today.
        alike,
        result.key.unit,
        after.device,
        after.power_limit_watts,
        after.scope,
        after.simulated,
    )
    if verdict.ratio is None or verdict.ratio_high is None:
        # Over its limit, which is said before any comparison.
        noise, allowed = noise_between(alike, [today]).width, 0.0
        before = stored_as
    else:
        noise = math.log(verdict.ratio_high / verdict.ratio)
        allowed = math.log(after.joules_per_unit / stored_as.joules_per_unit) - math.log(verdict.ratio)
        before = _predicted(stored_as, after, allowed)
    found = explain(before, after, noise, ask(result, before, after), stored_as.conditions)
    if abs(allowed) <= noise:
        return found
    parts = {"since the stored sessions": found.change + allowed, "temperature and device, as predicted": -allowed}
    return replace(found, splits=(*found.splits, Split(PREDICTED, parts)))


def comparable(stored: Sequence[Session], today: Session, verdict: Verdict) -> list[Session]:
    """The sessions that stand for "before": those that the verdict is against, of today's device if it has any."""
    alike = [session for session in stored if session.kind is today.kind and (session.anchor or not verdict.crept)]
    return [session for session in alike if session.devices == today.devices] or alike


def _predicted(stored: Observation, after: Observation, allowed: float) -> Observation:
    """What was observed before, as it is expected to be today: as hot, and at the watts that this takes."""
    celsius = stored.conditions.temperature_celsius
    if celsius is not None and after.conditions.temperature_celsius is not None:
        celsius = after.conditions.temperature_celsius
    return replace(
        stored,
        joules_per_unit=math.exp(allowed) * stored.joules_per_unit,
        conditions=replace(stored.conditions, temperature_celsius=celsius),
    )


def causes_in(returned: object) -> tuple[Cause, ...]:
    """What a team's rule gave: one cause, or several; texts as one line each.

    Raises:
        CodecError: if it is something else, or a cause's attribute is.
    """
    given = (returned,) if isinstance(returned, Cause) else returned
    if not isinstance(given, (list, tuple)) or not all(isinstance(cause, Cause) for cause in given):
        raise CodecError(f"it returned {shortened(returned)}; return a pytest_joules.Cause, or a list of them")
    return tuple(map(_sound, given))


def _sound(cause: Cause) -> Cause:
    try:
        cause = _in_one_line(decode(Cause, encode(cause)))
        if fault := _unsound_range(cause):
            raise CodecError(fault)
    except CodecError as error:
        raise CodecError(f"rule {shortened(cause.rule)}: {error}") from error
    return cause


def _in_one_line(cause: Cause) -> Cause:
    return replace(
        cause,
        rule=one_line(cause.rule),
        text=one_line(cause.text),
        evidence=tuple(map(one_line, cause.evidence)),
        advice=one_line(cause.advice),
        source=one_line(cause.source),
    )


def _unsound_range(cause: Cause) -> str:
    """What is wrong with a cause's range, and how to mend it; empty if nothing is."""
    if (cause.low is None) != (cause.high is None):
        return "low and high go together: give both, or explains alone"
    if cause.low is not None and cause.high is not None and cause.low > cause.high:
        return f"low={cause.low:g} is above high={cause.high:g}: swap them"
    return ""
