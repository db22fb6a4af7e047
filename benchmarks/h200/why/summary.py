"""What each honest change was explained by, of the reports that ``run.py`` left.

python benchmarks/h200/why/summary.py WORK_DIR
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

from scenarios import NOTHING, SCENARIOS, Scenario
from tabulate import tabulate

from pytest_joules.model import BudgetResult, VerdictKind
from pytest_joules.reporting import json as json_report
from pytest_joules.units import format_percent

LEVEL = (VerdictKind.PASS, VerdictKind.INCONCLUSIVE)
"""Verdicts on an unchanged run; after another history of the machine's heat, joules may also have fallen."""

HEADERS = ("scenario", "test", "verdict", "ratio", "first cause", "explains", "unexplained", "expected", "right")


def main() -> None:
    """Print one row for each run and test, and how many were named as expected."""
    rows = [row for path in sorted(Path(sys.argv[1]).rglob("*.json")) for row in _rows(path)]
    print(tabulate(rows, headers=HEADERS, tablefmt="github", disable_numparse=True))
    print(f"\n{sum(row[-1] == 'yes' for row in rows)} of {len(rows)} as expected")


def _rows(path: Path) -> Iterator[tuple[str, ...]]:
    name, _, number = path.stem.rpartition("-")
    found = (s for group in SCENARIOS.values() for s in group if (s.baseline, s.name) == (path.parent.name, name))
    scenario = next(found, None)
    if scenario is None:  # a baseline's own session
        return
    pid = path.with_suffix(".pid").read_text().strip() if path.with_suffix(".pid").exists() else ""
    for result in json_report.read(path).results:
        if result.declared:
            yield _row(f"{scenario.baseline}: {name} {number}", result, scenario, pid)


def _row(run: str, result: BudgetResult, scenario: Scenario, pid: str) -> tuple[str, ...]:
    verdict, diagnosis = result.verdict, result.diagnosis
    first = diagnosis.causes[0] if diagnosis is not None and diagnosis.causes else None
    explains = first.explains if first is not None else None
    return (
        run,
        result.test.rpartition("::")[2],
        verdict.kind.value,
        f"{verdict.ratio:.4f}" if verdict.ratio is not None else "-",
        first.rule if first is not None else "-",
        _percent(explains),
        _percent(diagnosis.unexplained if diagnosis is not None else None),
        " or ".join(scenario.expected),
        "yes" if _right(result, scenario, pid) else "NO",
    )


def _percent(change: float | None) -> str:
    return "-" if change is None else format_percent(math.expm1(change), signed=True)


def _right(result: BudgetResult, scenario: Scenario, pid: str) -> bool:
    kind, diagnosis, expected = result.verdict.kind, result.diagnosis, scenario.expected
    rules = [cause.rule for cause in diagnosis.causes] if diagnosis is not None else []
    if "INVALID" in expected:
        return kind is VerdictKind.INVALID and bool(pid) and pid in result.verdict.reason
    if not rules:
        return NOTHING in expected and (kind in LEVEL or (kind is VerdictKind.IMPROVED and "heat" in expected))
    return rules[0] in expected


if __name__ == "__main__":
    main()
