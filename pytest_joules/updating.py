"""From a run's results to stored sessions."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pytest_joules.baselines.store import Addition, BaselineError, BaselineStore
from pytest_joules.history import session_of
from pytest_joules.model import BaselineChange, BaselineKey, BudgetResult, Measurement, RunResult, Session
from pytest_joules.options import Options
from pytest_joules.policy import starts_afresh, stores


def update_baselines(store: BaselineStore, run: RunResult, options: Options) -> tuple[BaselineChange, ...]:
    """Store one session for every result that the options let in, but for tests that failed; one write a SKU.

    Raises:
        BaselineError: if a file cannot be read or written; files before it are written whole.
    """
    by_sku: dict[str, dict[BaselineKey, Addition]] = defaultdict(dict)
    owners: dict[tuple[str, BaselineKey], str] = {}
    products: dict[str, tuple[str, bool]] = {}
    for result in storable(run.results, options):
        measurement = result.measurement
        if measurement is None or result.sku is None or result.key is None:
            continue
        if result.test != owners.setdefault((result.sku, result.key), result.test):
            raise BaselineError(
                f"{result.key} of {result.test} is taken by {owners[result.sku, result.key]}: "
                "pytest_joules_baseline_key has to name each test its own"
            )
        session = stored_session(result, measurement, result.key.unit, run, anchor=options.anchor is not None)
        by_sku[result.sku][result.key] = Addition(session, starts_afresh(result), options.anchor)
        products[result.sku] = (measurement.devices[0].name, measurement.devices[0].simulated)
    changes: list[BaselineChange] = []
    for sku, additions in sorted(by_sku.items()):
        name, simulated = products[sku]
        changes += store.update(sku, name, simulated, additions)
    return tuple(changes)


def stored_session(
    result: BudgetResult, measurement: Measurement, unit: str, run: RunResult, *, anchor: bool = False
) -> Session:
    """What is stored of a result: its measurement in one unit, with the terms that its test claims.

    Who stores what a run measured accepts those, which may be wider than the ones in force.
    """
    limit = result.budget.limit
    return session_of(
        measurement,
        unit,
        run.created,
        run.commit,
        anchor=anchor,
        tolerance=claimed_tolerance(result),
        limit=limit.joules if limit else None,
        gate=result.budget.gate,
    )


def claimed_tolerance(result: BudgetResult) -> float | None:
    """The tolerance that the test or its run asked for; a base may have narrowed the one in force."""
    return {change.term: change.here for change in result.widened}.get("tolerance", result.tolerance)


def storable(results: Sequence[BudgetResult], options: Options) -> list[BudgetResult]:
    """The results that an update stores: of a test that one budget failed, none."""
    failed = {result.test for result in results if result.failed}
    return [result for result in results if result.test not in failed and stores(result, options)]


def commit_of(directory: Path) -> str | None:
    """The commit checked out in ``directory``, marked if the tree differs; ``None`` outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        asked = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip() or None
