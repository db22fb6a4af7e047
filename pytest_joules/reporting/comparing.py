"""A stored run that was judged again, on the terminal: what pytest prints of one, and what it was judged by."""

from __future__ import annotations

from collections.abc import Callable

from pytest_joules.model import BudgetResult, RunResult
from pytest_joules.options import Options
from pytest_joules.reporting import terminal


def report(
    run: RunResult, heading: str, place: str, options: Options, command: Callable[[BudgetResult], str], *, verbose: bool
) -> list[str]:
    """What pytest prints where tests fail, then what it prints below ``energy``, line by line.

    Args:
        run: The run, judged.
        heading: What is compared with what.
        place: What the directory of the baseline files is called.
        options: Those that it was judged by.
        command: What stores the result of a budget.
        verbose: Whether to print every verdict in full.
    """
    lines = [heading, ""]
    for result in run.results:
        if result.failed:
            first, *others = terminal.details(result, place, command(result), run.rates, verbose=verbose)
            lines += [f"{result.test}: {first}", *others, ""]
    return [
        *lines,
        *terminal.report(run, options.columns, options.sort, command, verbose=verbose, told=True),
        terminal.summary_line(run.results),
    ]
