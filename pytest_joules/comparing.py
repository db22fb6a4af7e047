"""A stored run against other baselines: its verdicts are those of a run that had these."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache

from pytest_joules.baselines.keys import sku_keys
from pytest_joules.baselines.sources import Source
from pytest_joules.baselines.store import BaselineFile
from pytest_joules.codec import without_garbage_collection
from pytest_joules.judging import Bar
from pytest_joules.model import BaselineKey, BaselineReview, BudgetResult, RunResult, Session, VerdictKind
from pytest_joules.options import Options
from pytest_joules.policy import leaves_out
from pytest_joules.rejudging import Counting, ResultError, family_of, judged_again
from pytest_joules.review import renames, review
from pytest_joules.updating import claimed_tolerance


@without_garbage_collection()
def compare(
    run: RunResult,
    source: Source,
    options: Options,
    *,
    tolerance: bool = False,
    whole: bool = True,
    brief: bool = False,
    counting: Counting = iter,
) -> RunResult:
    """The run, judged by the baseline files of ``source``.

    Args:
        run: A run, as it was read.
        source: The baseline files.
        options: What verdicts do; what a budget is held to that names no tolerance, too, if ``tolerance`` says so.
        tolerance: Whether the options' tolerance was asked for; else that of the run stays.
        whole: Whether the run is all there: under strict options whatever is stored then has to be judged, and what the
            run says of what it did not collect does not count.
        brief: Whether budgets that passed go without a diagnosis, which takes as long as judging them.
        counting: Goes through the results.

    Raises:
        BaselineError: if a file cannot be used.
        ResultError: if there is no measurement to judge, or the baselines are of none of its SKUs.
    """
    nothing = ResultError("no result to judge: no test carries a budget, or -k leaves none")
    if not run.results:
        raise nothing
    _check_tolerances(run, options, tolerance)
    base = None if source.base is None else source.load
    load = source.load if base is None else cache(source.here.load)
    bar = Bar.of(load, options, family_of(run.results), base=base, skus=source.skus)
    judged = judged_again(
        run,
        bar,
        tolerance=tolerance,
        explain=lambda result: not brief or result.verdict.kind is not VerdictKind.PASS,
        counting=counting,
    )
    measured = dict.fromkeys(result.sku for result in judged.results if result.sku)
    if measured and source.sku is not None and source.sku not in measured:
        raise ResultError(f"the baseline file is of {source.sku}, and the results are of {', '.join(measured)}")
    named = () if source.sku is None else (source.sku,)
    skus = dict.fromkeys([*named, *sku_keys(run.meter.devices if run.meter else ()), *measured])
    if options.strict and not skus:
        raise ResultError("no device in the result: nobody knows whose baselines it has to keep; measure it again")
    expected = None if options.strict and whole else run.not_collected
    orphans = {sku: _orphans(source.load(sku), judged.results, expected) for sku in skus}
    judged = replace(
        judged,
        not_collected=tuple(key for found in orphans.values() for key in found),
        renames=renames(orphans, judged.results),
        review=_review(source, judged, skus),
    )
    if options.strict and not leaves_out(judged) and not any(result.declared for result in judged.results):
        raise nothing
    return judged


def _check_tolerances(run: RunResult, options: Options, given: bool) -> None:
    """See that no budget is held to a wider tolerance than the options allow, whether its marker or its run gave it.

    Raises:
        ResultError: naming the first that is.
    """
    for result in run.results:
        default = options.tolerance if given else claimed_tolerance(result)
        if fault := options.too_wide(result.budget.tolerance or default):
            raise ResultError(f"{result.test}: {fault}")


def _orphans(
    file: BaselineFile, results: Sequence[BudgetResult], expected: Collection[BaselineKey] | None
) -> Mapping[BaselineKey, Sequence[Session]]:
    """The stored series of ``expected``, or all, that no result is of; what a test that ran left out is told apart."""
    judged = {result.key for result in results if result.declared}
    tests = {name for result in results for name in (result.test, result.budget.key)}
    wanted = file.entries if expected is None else [key for key in expected if key in file.entries]
    return file.some(key for key in wanted if key not in judged and key.test not in tests)


def _review(source: Source, run: RunResult, skus: Collection[str]) -> BaselineReview | None:
    if source.base is None:
        return None
    return review(source.base, source.here, run.results, {result.test for result in run.results}, skus)
