"""Baselines under review: what a work tree does to those of its base, and which series seem to be renamed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import chain, islice

from pytest_joules.baselines.at_ref import BaselinesAtRef
from pytest_joules.baselines.store import BaselineError, BaselineFile, BaselineStore, joules_per_unit
from pytest_joules.decision import USUAL_TOLERANCE, Terms, decide
from pytest_joules.model import (
    BaselineKey,
    BaselineReview,
    BudgetResult,
    EntryChange,
    Rename,
    Session,
    VerdictKind,
)
from pytest_joules.terms import widened_since


def review(
    base: BaselinesAtRef,
    here: BaselineStore,
    results: Sequence[BudgetResult] = (),
    collected: Collection[str] = (),
    skus: Collection[str] = (),
    load: Callable[[str], BaselineFile] | None = None,
) -> BaselineReview:
    """What the work tree does to the base's baselines, of every SKU that either has a file of.

    Args:
        base: The base's files.
        here: The work tree's.
        results: What the run judged.
        collected: Node ids of the tests that ran.
        skus: Those that the run measured, or could have.
        load: Gives the work tree's files, if they are read already.
    """
    changes: list[EntryChange] = []
    problems: list[str] = []
    judged = _judged_by(base, results)
    left: dict[BaselineKey, None] = {}
    try:
        stored = sorted({*base.skus(), *here.skus()})
    except BaselineError as error:
        return BaselineReview(base.revision.ref, base.revision.commit, problems=(str(error),))
    for sku in stored:
        try:
            if sku in skus:
                left |= dict.fromkeys(unjudged(base.load(sku), judged, results, collected))
            if base.data(sku) != here.data(sku):
                changes += entry_changes(base.load(sku), (load or here.load)(sku))
        except BaselineError as error:
            problems.append(str(error))
    return BaselineReview(base.revision.ref, base.revision.commit, worst_first(changes), tuple(left), tuple(problems))


def unjudged(
    file: BaselineFile, judged: Collection[BaselineKey], results: Sequence[BudgetResult], collected: Collection[str]
) -> list[BaselineKey]:
    """The stored series whose test ran, and that nothing judged.

    Where a budget came to no number, its own verdict speaks, which fails a strict run; but not if its gate is off here,
    and was on when the series was stored.
    """
    declared = [result for result in results if result.declared]
    names = {*collected, *map(_name_of, declared)}
    gated = {_name_of(result) for result in declared if result.key is None and result.budget.gate}
    loose = {_name_of(result) for result in declared if result.key is None and not result.budget.gate}
    left = [key for key in file.entries if key.test in names and key.test not in gated and key not in judged]
    return [key for key in left if key.test not in loose or file.sessions(key)[-1].gate]


def _name_of(result: BudgetResult) -> str:
    """What a budget's series are stored under, as far as its test says so: a node id, or a key."""
    return result.budget.key or result.test


def _judged_by(base: BaselinesAtRef, results: Iterable[BudgetResult]) -> set[BaselineKey]:
    """What was judged by the base's sessions; of another set of devices, the same series may be a new one."""
    judged = set()
    for result in results:
        with contextlib.suppress(BaselineError):  # which has made the verdict
            if result.declared and result.key and result.sku and result.key in base.load(result.sku).entries:
                judged.add(result.key)
    return judged


def entry_changes(base: BaselineFile, here: BaselineFile) -> tuple[EntryChange, ...]:
    """Every series that differs between two files of one SKU; one that only has another name is one change."""
    keys = dict.fromkeys([*base.entries, *here.entries])
    found = {
        key: _entry_change(key, here.sku, base.sessions(key), here.sessions(key))
        for key in keys
        if not base.agrees(here, key)
    }
    gone = {(key.window, key.unit, change.old): key for key, change in found.items() if change.new is None}
    for key, change in list(found.items()):
        old = gone.get((key.window, key.unit, change.new)) if change.old is None else None
        if old in found and base.sessions(old) == here.sessions(key):
            del found[old]
            found[key] = EntryChange(key, here.sku, change.new, change.new, renamed_from=old)
    return tuple(found.values())


def _entry_change(key: BaselineKey, sku: str, base: Sequence[Session], here: Sequence[Session]) -> EntryChange:
    # A pin is told of by itself.
    then, now = ({_identity(s): replace(s, anchor=False) for s in side} for side in (base, here))
    pins = [{_identity(session) for session in side if session.anchor} for side in (base, here)]
    return EntryChange(
        key=key,
        sku=sku,
        old=joules_per_unit(base) if base else None,
        new=joules_per_unit(here) if here else None,
        added=len(now.keys() - then.keys()),
        removed=len(then.keys() - now.keys()),
        rewritten=sum(then[name] != now[name] for name in then.keys() & now.keys()),
        anchor_moved=bool(pins[0]) and pins[0] != pins[1],
        widened=widened_since(base[-1], here[-1]) if base and here else (),
    )


def _identity(session: Session) -> tuple[str, tuple[str, ...]]:
    return session.recorded, session.devices


def worst_first(changes: Iterable[EntryChange]) -> tuple[EntryChange, ...]:
    """What is gone, then by the rise, then what is new."""

    def rise(change: EntryChange) -> float:
        # What is gone is judged no more, which is worse than any rise; what is new had no budget to raise.
        if change.new is None:
            return math.inf
        return math.log(change.new / change.old) if change.old is not None else -math.inf

    return tuple(sorted(changes, key=lambda change: (-rise(change), change.sku, str(change.key))))


MOST_COMPARED = 10_000
"""Pairs of a stored series and a test; they take three seconds, and a suite that moved as a whole has millions."""


def renames(
    orphans: Mapping[str, Mapping[BaselineKey, Sequence[Session]]], results: Iterable[BudgetResult]
) -> tuple[Rename, ...]:
    """Which stored series without a test seem to be a test without a baseline, under its former name.

    Same SKU, window and unit, the same work as far as it is known, and joules that agree within the tolerance or what
    the sessions' spread allows.  Of several candidates the one with the most similar name; each is used once.  Where
    a large part of a suite has new names, only series whose names have the most in common are compared.

    Args:
        orphans: The sessions of series without a test, by SKU and key.
        results: What the run judged.
    """
    candidates = []
    new = [result for result in results if result.verdict.kind is VerdictKind.NO_BASELINE and result.declared]
    named = {sku: _by_name(stored) for sku, stored in orphans.items()}
    for result in new:
        key, sku = result.key, result.sku
        if key is None or sku is None or sku not in orphans:
            continue
        for old in _most_alike(key, named[sku], max(1, MOST_COMPARED // len(new))):
            if (ratio := _agrees(result, orphans[sku][old])) is not None:
                likeness = SequenceMatcher(None, old.test, key.test, autojunk=False).ratio()
                candidates.append((-likeness, abs(math.log(ratio)), str(old), Rename(sku, old, key, ratio)))
    chosen: list[Rename] = []
    taken: set[tuple[str, BaselineKey]] = set()
    for *_, rename in sorted(candidates, key=lambda candidate: candidate[:3]):
        places = {(rename.sku, rename.old), (rename.sku, rename.new)}
        if not places & taken:
            taken |= places
            chosen.append(rename)
    return tuple(chosen)


def _names(key: BaselineKey) -> list[tuple[str, ...]]:
    """What another name of the test may keep, the most telling first: all but the directory, its own name, its file."""
    parts = key.test.rpartition("/")[2], key.test.rpartition("::")[2], key.test.partition("::")[0], ""
    return [(key.window, key.unit, str(number), part) for number, part in enumerate(parts)]


def _by_name(keys: Iterable[BaselineKey]) -> dict[tuple[str, ...], list[BaselineKey]]:
    found: dict[tuple[str, ...], list[BaselineKey]] = {}
    for key in keys:
        for name in _names(key):
            found.setdefault(name, []).append(key)
    return found


def _most_alike(
    key: BaselineKey, stored: Mapping[tuple[str, ...], Sequence[BaselineKey]], most: int
) -> Iterable[BaselineKey]:
    """The series of the same window and unit; where they are more than ``most``, some of those with a similar name."""
    *alike, all_of_them = (stored.get(name, ()) for name in _names(key))
    if len(all_of_them) <= most:
        return all_of_them
    return dict.fromkeys(islice(chain(*alike, all_of_them), most))


def _agrees(result: BudgetResult, sessions: Sequence[Session]) -> float | None:
    """Today's joules per unit over the stored ones, if they could be of one series."""
    assert result.measurement is not None
    assert result.key is not None
    tolerance = result.tolerance if result.tolerance is not None else USUAL_TOLERANCE
    verdict = decide(result.measurement, sessions, Terms(result.key.unit, tolerance))
    if verdict.ratio is None or verdict.ratio_low is None or verdict.ratio_high is None or verdict.other_work:
        return None
    close = abs(math.log(verdict.ratio)) <= math.log1p(tolerance)
    return verdict.ratio if close or verdict.ratio_low <= 1 <= verdict.ratio_high else None
