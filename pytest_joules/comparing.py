"""A stored run against other baselines: its verdicts are those of a run that had these."""

from __future__ import annotations

from dataclasses import replace

from pytest_joules.baselines.sources import Source
from pytest_joules.judging import Bar
from pytest_joules.model import RunResult
from pytest_joules.options import Options
from pytest_joules.rejudging import Counting, ResultError, family_of, judged_again


def compare(
    run: RunResult, source: Source, options: Options, *, tolerance: bool = False, counting: Counting = iter
) -> RunResult:
    """The run, judged by the baseline files of ``source``.

    Args:
        run: A run, as it was read.
        source: The baseline files.
        options: What verdicts do; what a budget is held to that names no tolerance, too, if ``tolerance`` says so.
        tolerance: Whether the options' tolerance was asked for; else that of the run stays.
        counting: Goes through the results.

    Raises:
        BaselineError: if a file cannot be used.
        ResultError: if there is no measurement to judge, or the baselines are of none of its SKUs.
    """
    if not run.results:
        raise ResultError("no result to judge: no test carries a budget, or -k leaves none")
    bar = Bar.of(source.load, options, family_of(run.results))
    judged = judged_again(run, bar, tolerance=tolerance, counting=counting)
    skus = dict.fromkeys(result.sku for result in judged.results if result.sku)
    if skus and source.sku is not None and source.sku not in skus:
        raise ResultError(f"the baseline file is of {source.sku}, and the results are of {', '.join(skus)}")
    known = {key for sku in skus for key in source.load(sku).entries}
    return replace(judged, not_collected=tuple(key for key in run.not_collected if key in known))
