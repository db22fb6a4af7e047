"""A table of the reports that ``gate.sh`` left in a directory.

python benchmarks/h200/summary.py WORK_DIR
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

from tabulate import tabulate

from pytest_joules.model import BudgetResult
from pytest_joules.reporting import json as json_report
from pytest_joules.units import format_joules


def main() -> None:
    """Print one row for each kind of run and test."""
    found: dict[tuple[str, str], list[BudgetResult]] = defaultdict(list)
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        for result in json_report.read(path).results:
            if result.key is not None:
                name = f"{result.test.rpartition('::')[2]} {result.key.window}/{result.key.unit}"
                found[path.stem.rpartition("-")[0], name].append(result)
    rows = []
    for (runs, test), results in sorted(found.items(), reverse=True):
        ratios = [result.verdict.ratio for result in results if result.verdict.ratio is not None]
        measured = [result.measurement for result in results if result.measurement is not None]
        kinds = {result.verdict.kind.value for result in results}
        rows.append(
            (
                runs,
                test,
                len(results),
                ", ".join(f"{sum(r.verdict.kind.value == kind for r in results)} {kind}" for kind in sorted(kinds)),
                format_joules(mean(r.verdict.joules_per_unit or 0.0 for r in results)),
                f"{min(ratios):.4f} to {max(ratios):.4f}" if ratios else "-",
                f"{mean(m.seconds for m in measured):.1f} s",
                f"{max(m.seconds for m in measured):.1f} s",
                f"{mean(m.warmup_seconds for m in measured):.1f} s",
            )
        )
    headers = (
        "runs",
        "test",
        "n",
        "verdicts",
        "J/unit (mean)",
        "ratios",
        "measured (mean)",
        "(most)",
        "warm-up (mean)",
    )
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
