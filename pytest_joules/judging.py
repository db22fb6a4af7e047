"""The judgement of one measured window: its budget's verdict against the stored sessions, and why.

Whoever judges does so here: a run of pytest, and whoever judges a run's report
again, such as ``pytest-joules compare``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from pytest_joules.baselines.keys import sku_key
from pytest_joules.baselines.store import BaselineError, BaselineFile
from pytest_joules.budget import EnergyBudget
from pytest_joules.decision import Terms, decide
from pytest_joules.history import Suite, history_of
from pytest_joules.model import (
    BaselineKey,
    BudgetResult,
    Cause,
    Measurement,
    Session,
    Verdict,
    VerdictKind,
    Widened,
    WindowKind,
)
from pytest_joules.neighbours import Neighbours
from pytest_joules.options import Options
from pytest_joules.terms import widened, widened_text

if TYPE_CHECKING:
    from pytest_joules.diagnosis.observation import Observation

    Ask = Callable[[BudgetResult, Observation, Observation, list[str]], Sequence[Cause]]
    """Asks a team's own rules, as :data:`pytest_joules.diagnosis.budgets.Ask`; puts what went wrong into the list."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What every window of a run is held to.

    Attributes:
        options: The run's options.
        family: How many budgets share the error rate.
        sessions: Stored sessions by SKU key and baseline key; it may raise BaselineError.
        suite: The stored windows of a SKU, to pool their spread; it may raise BaselineError.
        base: The sessions that another commit stores, where these judge: no term may be wider than theirs.
        neighbours: The baselines of other SKUs, for what has none; ``None`` if nobody wants to know.
    """

    options: Options
    family: int
    sessions: Callable[[str, BaselineKey], Sequence[Session]]
    suite: Callable[[str], Suite]
    base: Callable[[str, BaselineKey], Sequence[Session]] | None = None
    neighbours: Neighbours | None = None

    @classmethod
    def of(
        cls,
        load: Callable[[str], BaselineFile],
        options: Options,
        family: int = 1,
        *,
        base: Callable[[str], BaselineFile] | None = None,
        skus: Callable[[], Iterable[str]] | None = None,
    ) -> Bar:
        """The bar of the baseline files that ``load`` gives by their SKU, and ``skus`` by name.

        With ``base``, which gives those of another commit, theirs are the sessions that count, and the spread of theirs
        alone is pooled; a series that is new since then has only its own sessions to be judged by.  But where the other
        commit has nothing of the SKU, nothing judges: somebody may have led it to a directory that it does not have.
        """
        neighbours = None if skus is None else Neighbours(skus, base or load)
        if base is None:
            return cls(
                options=options,
                family=family,
                sessions=lambda sku, key: load(sku).sessions(key),
                suite=cache(lambda sku: Suite(load(sku).entries)),
                neighbours=neighbours,
            )
        return cls(
            options=options,
            family=family,
            sessions=lambda sku, key: base(sku).sessions(key) or (load(sku).sessions(key) if base(sku).entries else ()),
            suite=cache(lambda sku: Suite(base(sku).entries)),
            base=lambda sku, key: base(sku).sessions(key),
            neighbours=neighbours,
        )

    def tolerance(self, budget: EnergyBudget) -> float | None:
        """The tolerance in force for a budget; ``None`` if only its limit counts."""
        if not budget.wants_baseline:
            return None
        return budget.tolerance if budget.tolerance is not None else self.options.tolerance


def judge(
    test: str, budget: EnergyBudget, measurement: Measurement, name: str, bar: Bar, *, declared: bool = True
) -> BudgetResult:
    """The result of one budget on one window, not yet explained, and not yet failed.

    Args:
        test: The test's node id.
        budget: What the marker said, or what stands for it where no marker speaks of the window.
        measurement: What the window measured so far.
        name: The test, or the key of its own, that the window is stored under.
        bar: What it is held to.
        declared: Whether a marker said so.
    """
    result = BudgetResult(
        test=test,
        budget=budget,
        declared=declared,
        verdict=Verdict(VerdictKind.INVALID, measurement.invalid),
        tolerance=bar.tolerance(budget),
        measurement=measurement,
    )
    if measurement.invalid:
        return result
    unit = budget.per or natural_unit(measurement)
    if unit not in measurement.blocks:
        how = {
            WindowKind.REPEATED: f"declare it with work={{'{unit}': n}}",
            WindowKind.ONE_SHOT: f"count it with window.count({unit}=n)",
            WindowKind.STEADY: "correct the budget's per=; of a server's work its metrics tell no more",
        }[measurement.kind]
        reason = f"the window did not count {unit!r}, only {listed(measurement.blocks)}: {how}"
        return replace(result, verdict=Verdict(VerdictKind.INVALID, reason))
    sku, key = sku_key(measurement.devices), BaselineKey(name, measurement.window, unit)
    try:
        return _decided(result, measurement, sku, key, bar)
    except BaselineError as error:
        return replace(result, key=key, sku=sku, verdict=Verdict(VerdictKind.INVALID, str(error)))


def _decided(result: BudgetResult, measurement: Measurement, sku: str, key: BaselineKey, bar: Bar) -> BudgetResult:
    """With its verdict, by the terms that are in force.

    Raises:
        BaselineError: if a baseline file cannot be used.
    """
    budget, sessions = result.budget, bar.sessions(sku, key)
    tolerance, limit = result.tolerance, budget.limit.joules if budget.limit else None
    wider: tuple[Widened, ...] = ()
    notes: list[str] = []
    if bar.base is not None and result.declared:
        ref = bar.options.baseline_ref
        if stored := bar.base(sku, key):
            wider = widened(stored[-1], tolerance, limit, budget.gate)
            base = {change.term: change.base for change in wider}
            tolerance, limit = base.get("tolerance", tolerance), base.get("limit", limit)
            notes += [f"wider than at {ref}, whose term counts: {widened_text(change, key.unit)}" for change in wider]
        elif sessions:
            notes.append(f"new: {ref} stores nothing for it; judged by this tree's own baseline")
    terms = Terms(
        unit=key.unit,
        tolerance=tolerance,
        limit=limit,
        family=bar.family,
        suite=bar.suite(sku).without(key.test, key.window, measurement.kind),
    )
    verdict = decide(measurement, sessions, terms)
    if notes:
        verdict = replace(verdict, notes=(*verdict.notes, *notes))
    return replace(result, key=key, sku=sku, verdict=verdict, tolerance=tolerance, widened=wider)


def explained(
    result: BudgetResult, bar: Bar, ask: Ask = lambda *_: (), ends: tuple[type[BaseException], ...] = ()
) -> BudgetResult:
    """With the history that it was judged by, and its diagnosis; without a baseline, with what is to be expected.

    Whatever fails on the way there is noted, and costs no verdict; ``ends`` alone, which ``ask`` may raise to end all,
    goes through.
    """
    if result.sku is None or result.key is None or result.measurement is None:
        return result
    try:
        sessions = bar.sessions(result.sku, result.key)
    except BaselineError:  # it has made the verdict already
        return result
    measurement = result.measurement
    if result.verdict.kind is VerdictKind.NO_BASELINE and bar.neighbours is not None:
        expected = bar.neighbours.expectation(result.sku, result.key, measurement)
        result = replace(noted(result, bar.neighbours.problems(result.sku)), expected=expected)
    alike = [session for session in sessions if session.kind is measurement.kind]
    result = replace(result, history=history_of(alike, [device.identity for device in measurement.devices]))
    if not sessions or result.verdict.kind is VerdictKind.INVALID:
        return result
    # Not before there is something to explain.
    from pytest_joules.diagnosis.budgets import diagnosis_of

    problems: list[str] = []
    try:
        diagnosis = diagnosis_of(result, sessions, lambda found, before, after: ask(found, before, after, problems))
    except ends:
        raise
    except Exception as error:
        problems.append(f"no diagnosis, by a fault of pytest-joules: {type(error).__name__}: {error}")
        diagnosis = None
    return replace(noted(result, problems), diagnosis=diagnosis)


def noted(result: BudgetResult, notes: Sequence[str]) -> BudgetResult:
    """With further notes that change nothing of its verdict."""
    return replace(result, verdict=replace(result.verdict, notes=(*result.verdict.notes, *notes))) if notes else result


def listed(names: Iterable[str]) -> str:
    """``'prefill', 'decode'``."""
    return ", ".join(repr(name) for name in names)


def natural_unit(measurement: Measurement) -> str:
    """The unit that the work was counted in, the first of several; else the call."""
    return next((unit for unit in measurement.blocks if unit != "call"), "call")
