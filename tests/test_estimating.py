"""What is expected on a SKU without a baseline: the interval, what is shared, and where it is shown."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean

import pytest
from conftest import SKU as SIMULATED
from conftest import STEP_JOULES_PER_TOKEN, Suite
from hypothesis import given
from hypothesis import strategies as st
from stored import SKU, measured, session

from pytest_joules.baselines.store import Addition, BaselineError, BaselineFile
from pytest_joules.estimating import (
    FEWEST_TESTS,
    MOST_WINDOWS,
    SLOPE_SD,
    SPREAD_DF,
    SPREAD_SD,
    SURE,
    WIDEST,
    Twin,
    expectation,
    predict,
    twins,
)
from pytest_joules.judging import Bar, explained, judge
from pytest_joules.model import (
    BaselineKey,
    Block,
    BudgetResult,
    Conditions,
    Rates,
    RunResult,
    Session,
    VerdictKind,
    WindowKind,
)
from pytest_joules.options import COLUMNS, Options
from pytest_joules.reporting import html, markdown, terminal
from pytest_joules.reporting import json as json_report

OTHER = "nvidia-h100-80gb-hbm3"
NEW = "test_it.py::test_new"
pairs = st.lists(st.tuples(st.floats(-1, 1), st.floats(4, 7)), min_size=1, max_size=12)


def shared(points: Iterable[tuple[float, float]]) -> list[Twin]:
    return [Twin(f"test_{number}", change, power) for number, (change, power) in enumerate(points)]


def stored(joules: float, watts: float = 500.0) -> Session:
    """A session at ``joules`` a token."""
    return replace(session(), blocks=(Block(50 * joules, 50.0, 50 * joules / watts),) * 4, conditions=Conditions())


def with_facts(one: Session, **facts: float) -> Session:
    return replace(one, conditions=replace(one.conditions, facts=facts))


def entries(*joules: float, unit: str = "token") -> dict[BaselineKey, tuple[Session, ...]]:
    return {BaselineKey(f"test_it.py::test_{n}", "main", unit): (stored(j),) for n, j in enumerate(joules)}


# -- the interval --


@pytest.mark.parametrize("count", [3, 9])
def test_interval_holds_the_truth_as_often_as_it_says(count: int) -> None:
    rng = random.Random(count)
    hits = 0
    for _ in range(2000):
        # As the prior has it: nothing is known of the level.
        sd = SPREAD_SD * math.sqrt(SPREAD_DF / rng.gammavariate(SPREAD_DF / 2, 2))
        level, slope = rng.gauss(0, 1), rng.gauss(0, SLOPE_SD * sd / SPREAD_SD)
        points = [(level + slope * x + rng.gauss(0, sd), x) for x in (rng.gauss(6, 0.4) for _ in range(count + 1))]
        truth, power = points[0]
        found = predict(shared(points[1:]), power)
        hits += abs(truth - found.change) <= found.half
    assert hits / 2000 == pytest.approx(SURE, abs=0.025)


@given(pairs, st.floats(4, 7), st.floats(-3, 3), st.floats(-2, 2))
def test_interval_moves_with_what_it_is_made_of(
    points: list[tuple[float, float]], power: float, up: float, louder: float
) -> None:
    found = predict(shared(points), power)
    moved = predict(shared((change + up, x + louder) for change, x in points), power + louder)
    assert moved.change == pytest.approx(found.change + up, abs=1e-6)
    assert moved.half == pytest.approx(found.half, rel=1e-6)
    mirrored = predict(shared((-change, x) for change, x in points), power)
    assert mirrored.change == pytest.approx(-found.change, abs=1e-9)


@given(st.lists(st.floats(5, 7), min_size=2, max_size=6), *[st.floats(0, 2)] * 4)
def test_interval_is_wider_for_unlike_tests_and_for_work_unlike_theirs(
    powers: list[float], spread: float, more: float, away: float, further: float
) -> None:
    def around(spread: float, away: float) -> float:
        points = [(way * spread, power) for power in powers for way in (-1, 1)]
        return predict(shared(points), fmean(powers) + away).half

    near = around(spread, away) * (1 - 1e-9)
    assert around(spread + more, away) >= near
    assert around(spread, away + further) >= near


def test_interval_narrows_with_tests_that_agree() -> None:
    widths = [predict(shared([(-0.1, 6.0)] * count), 6.0).half for count in range(1, 30)]
    assert widths == sorted(widths, reverse=True)
    # Three that agree perfectly are no certainty.
    assert widths[2] > 0.1


def test_line_over_watts_is_found() -> None:
    found = predict(shared((0.3 - 0.4 * (x - 6), x) for x in (5.0, 5.5, 6.0, 6.5, 5.2, 6.3)), 5.8)
    assert found.change == pytest.approx(0.38, abs=0.02)


@given(st.lists(st.sampled_from("ab"), max_size=9))
def test_nothing_is_expected_through_fewer_than_three_tests(names: list[str]) -> None:
    assert expectation(OTHER, [stored(1.0)], [Twin(name, 0.0, math.log(500)) for name in names]) is None
    assert len(set(names)) < FEWEST_TESTS


def test_nothing_is_expected_in_an_interval_that_is_of_no_use() -> None:
    told = expectation(OTHER, [stored(1.0)], shared((change, math.log(500)) for change in (-0.1, 0.0, 0.1)))
    assert told is not None
    assert told.tests == 3
    assert told.joules_per_unit == pytest.approx(1.0)
    assert told.low < 1.0 < told.high < told.low * WIDEST
    far = shared((change, math.log(500)) for change in (-0.4, 0.0, 0.4))
    assert expectation(OTHER, [stored(1.0)], far) is None
    # Work that draws a fifth of the watts of all that is shared.
    assert expectation(OTHER, [stored(1.0, 100.0)], shared([(0.0, math.log(500))] * 3)) is None


# -- what is shared --


def test_windows_are_shared_once_and_where_the_work_is_the_same() -> None:
    here, there = entries(1.0, 2.0, 3.0), entries(2.0, 2.0)
    per_request = BaselineKey("test_it.py::test_0", "main", "request")
    here[per_request], there[per_request] = (stored(100.0),), (stored(200.0),)
    found = twins(here, there)
    assert [twin.test for twin in found] == ["test_it.py::test_0", "test_it.py::test_1"]
    assert [twin.change for twin in found] == pytest.approx([-math.log(2), 0.0])
    assert found[0].power == pytest.approx(math.log(500))
    whole = {key: (with_facts(one, finished_share=1.0),) for key, (one,) in here.items()}
    assert len(twins(whole, there)) == 2  # nobody knows better
    assert twins(whole, {key: (with_facts(one, finished_share=0.5),) for key, (one,) in there.items()}) == ()
    many = entries(*[1.0] * 1000)
    assert len(twins(many, many)) == MOST_WINDOWS
    once = {key: (replace(one, kind=WindowKind.ONE_SHOT),) for key, (one,) in here.items()}
    assert twins(once, there) == ()


def new(bar: Bar) -> BudgetResult:
    """A test that nothing is stored for on this SKU."""
    result = measured(1.0, NEW)
    assert result.measurement is not None
    return explained(judge(NEW, result.budget, result.measurement, NEW, bar), bar)


def file(sku: str, joules: Iterable[float], new: float | None = None) -> BaselineFile:
    found = entries(*joules)
    if new is not None:
        found[BaselineKey(NEW, "main", "token")] = (stored(new),)
    return BaselineFile(sku, sku, sku.startswith("simulated-"), found)


def bar(*files: BaselineFile, broken: str = "") -> Bar:
    known = {found.sku: found for found in files}

    def load(sku: str) -> BaselineFile:
        if sku == broken:
            raise BaselineError(f"{sku}.json:3: not JSON; restore it from git")
        return known.get(sku, BaselineFile(sku))

    return Bar.of(load, Options(), skus=lambda: [*known, *([broken] if broken else [])])


def test_expectation_stands_beside_no_baseline() -> None:
    found = new(bar(file(SKU, [1.0, 2.0, 3.0]), file(OTHER, [2.0, 4.0, 6.0], new=2.0)))
    assert found.verdict.kind is VerdictKind.NO_BASELINE
    assert found.expected is not None
    assert (found.expected.sku, found.expected.tests) == (OTHER, 3)
    assert found.expected.joules_per_unit == pytest.approx(1.0)
    text = f"0.89-1.13 J/token (from {OTHER} through 3 shared tests, 90% interval)"
    assert terminal.expected(found) == text
    assert f"  expected   {text}" in terminal.details(found, "baselines", "pytest", Rates())
    run = RunResult("2026-05-01T12:00:00+00:00", "0.1", results=(replace(found, failed=True),))
    assert text in markdown.render(run)
    assert text in html.render(run)
    listed = terminal.report(replace(run, results=(found,)), COLUMNS, "test", lambda result: "")
    assert f"  expected   {text}" in listed


def test_nothing_is_expected_without_enough_to_go_by() -> None:
    here = file(SKU, [1.0, 2.0, 3.0])
    for other in (
        file(OTHER, [2.0, 4.0, 6.0]),  # does not have the test
        file(OTHER, [2.0, 4.0], new=2.0),  # shares two
        file(f"simulated-{OTHER}", [2.0, 4.0, 6.0], new=2.0),
    ):
        found = new(bar(here, other))
        assert (found.verdict.kind, found.expected, found.verdict.notes) == (VerdictKind.NO_BASELINE, None, ())
        assert terminal.expected(found) == ""
    stored_here = replace(here, entries={**here.entries, BaselineKey(NEW, "main", "token"): (stored(1.0),)})
    assert new(bar(stored_here, file(OTHER, [2.0, 4.0, 6.0], new=2.0))).expected is None


def test_narrowest_of_several_counts_and_a_broken_file_is_a_note() -> None:
    scattered = file("nvidia-a100", [0.9, 2.0, 3.3], new=1.0)
    agreed = file(f"{SKU}+450w", [0.9, 1.8, 2.7], new=0.9)
    held = bar(file(SKU, [1.0, 2.0, 3.0]), scattered, agreed, broken="nvidia-b200")
    found = new(held)
    assert found.expected is not None
    assert found.expected.sku == f"{SKU}+450w"
    assert found.verdict.notes == (
        "nothing expected by another SKU's baseline: nvidia-b200.json:3: not JSON; restore it from git",
    )


def test_base_is_asked_where_it_judges() -> None:
    here, there = file(SKU, [1.0, 2.0, 3.0]), file(OTHER, [2.0, 4.0, 6.0], new=2.0)
    base = {SKU: here, OTHER: there}
    held = Bar.of(BaselineFile, Options(), base=lambda sku: base.get(sku, BaselineFile(sku)), skus=lambda: base)
    assert new(held).expected is not None


def test_run_shows_it_beside_no_baseline(suite: Suite) -> None:
    """Three tests are stored on both SKUs, a fourth one on an H200 alone."""
    suite.write(
        """
        @pytest.mark.energy_budget(per="token")
        def test_step(energy):
            energy.repeat(step, work=tokens)
        """
    )
    other = "simulated-nvidia-h200"
    for sku, scale in ((SIMULATED, 1.0), (other, 0.8)):
        for number in range(3):
            key = BaselineKey(f"test_other.py::test_{number}", "main", "token")
            suite.store.update(sku, sku, True, {key: Addition(stored(scale * (number + 1)))})
    key = BaselineKey("test_it.py::test_step", "main", "token")
    suite.store.update(other, other, True, {key: Addition(stored(0.8 * STEP_JOULES_PER_TOKEN))})
    (suite.path / "baselines" / "simulated-broken.json").write_text("{")
    ran, report = suite.report("--energy-missing=warn")
    ran.assert_outcomes(passed=1)
    told = f"(from {other} through 3 shared tests, 90% interval)"
    ran.stdout.fnmatch_lines(
        ["*test_step: NO_BASELINE: simulated 6*", f"  expected   57-73 mJ/token {told}", "*simulated-broken.json:1: *"]
    )
    (result,) = report["results"]
    assert result["expected"]["low"] < STEP_JOULES_PER_TOKEN < result["expected"]["high"]
    assert json_report.read(suite.path / "report.json").results[0].expected is not None
