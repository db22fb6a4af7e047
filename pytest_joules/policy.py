"""What a verdict does: which fail, and which are stored.  Pure functions of the options."""

from __future__ import annotations

import math

from pytest_joules.model import BudgetResult, RunResult, VerdictKind
from pytest_joules.options import Options

_ALWAYS_BAD = (VerdictKind.REGRESSED, VerdictKind.OVER_LIMIT, VerdictKind.INVALID, VerdictKind.UNMEASURED)
_UNDECIDED = (VerdictKind.INCONCLUSIVE, VerdictKind.NO_BASELINE)
_STORABLE = (
    VerdictKind.PASS,
    VerdictKind.IMPROVED,
    VerdictKind.REGRESSED,
    VerdictKind.INCONCLUSIVE,
    VerdictKind.NO_BASELINE,
)
_NEW_LEVEL = (VerdictKind.REGRESSED, VerdictKind.IMPROVED)


def fails(result: BudgetResult, options: Options) -> bool:
    """Whether a verdict fails its test.

    An update accepts what it stores; it never accepts what is over a limit,
    invalid or unmeasured.
    """
    kind = result.verdict.kind
    # A gate that the base has on is on.
    gate = result.budget.gate or any(change.term == "gate" for change in result.widened)
    if not result.declared or not gate or stores(result, options):
        return False
    if kind is VerdictKind.NO_BASELINE and options.missing == "fail":
        return True
    if kind is VerdictKind.INCONCLUSIVE and options.inconclusive == "fail":
        return True
    return kind in _ALWAYS_BAD or (options.strict and kind in _UNDECIDED)


def leaves_out(run: RunResult) -> bool:
    """Whether anything is stored that nothing was judged by: what a strict run fails for."""
    return bool(run.not_collected or (run.review is not None and run.review.unjudged))


def stores(result: BudgetResult, options: Options) -> bool:
    """Whether the run's update stores this result as a session."""
    kind = result.verdict.kind
    if not result.declared or result.broken:
        return False
    if options.update:
        return kind in _STORABLE or result.verdict.other_work
    return options.update_new and kind is VerdictKind.NO_BASELINE


def starts_afresh(result: BudgetResult) -> bool:
    """Whether the new session is on another level than the stored ones, which it then replaces.

    Undecided is not level: a session beyond the tolerance would pull the
    baseline after it.  But devices differ by more than a tolerance, so the
    first session of a device stands beside those of others.
    """
    verdict, tolerance = result.verdict, result.tolerance
    if verdict.kind in _NEW_LEVEL or verdict.other_work:
        return True
    if verdict.ratio is None or tolerance is None or not verdict.own_sessions:
        return False
    return abs(math.log(verdict.ratio)) > math.log1p(tolerance)
