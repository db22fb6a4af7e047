"""What to do next about a budget, for reports of a stored result: pure, and the first thing that a reader looks for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pytest_joules.model import BudgetResult, RunResult, VerdictKind
from pytest_joules.reporting.escape import LONGEST_NAME

_NEW = "take this run as the first session of all that have none: pytest-joules accept RESULT.json --only-new"

_DEARER = (VerdictKind.REGRESSED, VerdictKind.OVER_LIMIT)

_STORE = {VerdictKind.REGRESSED: "if this is intended", VerdictKind.IMPROVED: "hold the new level"}


def steps(result: BudgetResult, run: RunResult) -> Sequence[str]:
    """What to try, most telling first, and then how to store the number as it is.

    Empty for what is well, and where the verdict's own reason says what would help.  Replayed joules cannot be stored.
    """
    if not result.declared:
        return ()
    kind, told = result.verdict.kind, []
    if kind in _DEARER and result.diagnosis is not None:
        told = [f"try: {advice}" for advice in dict.fromkeys(c.advice for c in result.diagnosis.causes) if advice]
    if kind is VerdictKind.OVER_LIMIT:
        told.append("if this is intended: raise the limit in its energy_budget marker")
    if run.meter is not None and run.meter.replayed:
        return told
    if kind in _STORE:
        told.append(f"{_STORE[kind]}: {_accept(result.test)}")
    elif kind is VerdictKind.NO_BASELINE:
        told.append(_NEW)
    return told


def _accept(test: str) -> str:
    """The command that stores one test's number; a name that a shell may not take as it is stays out of it."""
    fits = test.isascii() and test.isprintable() and len(test) <= LONGEST_NAME
    return shlex.join(["pytest-joules", "accept", "RESULT.json", *(("-k", test) if fits else ())])
