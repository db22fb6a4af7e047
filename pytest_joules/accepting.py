"""What a stored run measured, put into the baselines by the rules of ``--energy-update``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from pytest_joules.baselines.keys import sku_key
from pytest_joules.baselines.store import BaselineStore, same
from pytest_joules.judging import Bar
from pytest_joules.model import BaselineChange, BudgetResult, RunResult, Session
from pytest_joules.options import Options
from pytest_joules.policy import starts_afresh
from pytest_joules.rejudging import Counting, check_storable, family_of, judged_again, unwanted
from pytest_joules.updating import storable, stored_session, update_baselines


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of accepting.

    Attributes:
        changes: What was written, one for each session.
        known: Series whose session was stored already, as ``test [window, J/unit]``.
        refused: What was not stored, and why: one line each.
        failed: Whether a budget was refused that has to be kept.
    """

    changes: tuple[BaselineChange, ...] = ()
    known: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    failed: bool = False


def accept(runs: Sequence[RunResult], store: BaselineStore, options: Options, counting: Counting = iter) -> Accepted:
    """Store what ``runs`` measured, the oldest first, each as a session of its own.

    Each is judged by what is stored when its turn comes, as if the processes had updated one after the other: the
    first on a new level starts its series afresh, and the next joins it.

    Args:
        runs: Runs, as they were read.
        store: Where to.
        options: Say what to update, and what to pin.
        counting: Goes through the results.

    Raises:
        BaselineError: if a file cannot be read or written; what was stored before stays.
        ResultError: if a run was replayed, is simulated beside real ones, or its numbers are beyond arithmetic.
    """
    check_storable(runs)
    measured = (result.measurement for run in runs for result in run.results)
    for sku in sorted({sku_key(found.devices) for found in measured if found and not found.invalid}):
        store.load(sku)  # one that cannot be used is at fault, before another one is written
    found = Accepted()
    for run in sorted(runs, key=lambda run: run.created):
        found = _with(found, _accept_one(run, store, options, counting))
    return found


def _with(one: Accepted, other: Accepted) -> Accepted:
    return Accepted(
        changes=(*one.changes, *other.changes),
        known=(*one.known, *other.known),
        refused=(*one.refused, *other.refused),
        failed=one.failed or other.failed,
    )


def _accept_one(run: RunResult, store: BaselineStore, options: Options, counting: Counting) -> Accepted:
    load = cache(store.load)
    bar = Bar.of(load, options, family_of(run.results))
    judged = judged_again(run, bar, explain=lambda result: False, counting=counting)
    fit = storable(judged.results, options)
    known: list[BudgetResult] = []
    refused = [(result, _why_not(result, options)) for result in judged.results if result.declared]
    fitting = {id(result) for result in fit}
    refused = [(result, why) for result, why in refused if why and id(result) not in fitting]
    new: list[BudgetResult] = []
    for result in fit:
        assert result.sku is not None
        assert result.key is not None
        assert result.measurement is not None
        stored = load(result.sku).sessions(result.key)
        session = stored_session(result, result.measurement, result.key.unit, run)
        if any(same(session, other) for other in stored):
            known.append(result)
        elif starts_afresh(result) and (newer := _newer(stored, run)):
            why = f"it is of another level than the session of {newer.recorded}, which is newer"
            refused.append((result, f"{why}: remove that one first if this is the right one"))
        else:
            new.append(result)
    left_out = {id(result) for result in fit} - {id(result) for result in new}
    kept = replace(judged, results=tuple(result for result in judged.results if id(result) not in left_out))
    return Accepted(
        changes=update_baselines(store, kept, options),
        known=tuple(str(result.key) for result in known),
        refused=tuple(f"{result.test}: {why}" for result, why in refused),
        failed=any(result.failed for result in judged.results),
    )


def _newer(stored: Sequence[Session], run: RunResult) -> Session | None:
    """The last stored session, if it is newer than the run."""
    return next((session for session in reversed(stored) if session.recorded > run.created), None)


def _why_not(result: BudgetResult, options: Options) -> str:
    """Why a result is not stored; empty if nobody asked for it."""
    verdict = result.verdict
    if result.broken:
        return result.broken
    if unwanted(result) or (options.update_new and not result.failed):
        return ""
    reason = f"{verdict.kind.value}{f': {verdict.reason}' if verdict.reason else ''}"
    return reason if result.failed or verdict.joules_per_unit is None else "another budget of its test failed"
