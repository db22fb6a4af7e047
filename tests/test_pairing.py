"""The paired comparison: rule, statistics, and what cannot be compared."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules import pairing
from pytest_joules.budget import EnergyBudget
from pytest_joules.commands.ab import PAIRS
from pytest_joules.model import (
    TEST_FAILED,
    BaselineKey,
    Block,
    BudgetResult,
    Conditions,
    Device,
    Measurement,
    RunResult,
    Verdict,
    VerdictKind,
    WindowKind,
)
from pytest_joules.pairing import LOOKS, Pair, Series, compare, decided, variance_of_difference, width_of
from pytest_joules.statistics import POOL_DF, PRIOR_DF, SAME_DEVICE_SD, Spread, student_quantile
from pytest_joules.units import parse_energy_per_unit

HERE = Device(0, "NVIDIA H200", "here")
ORDER = [VerdictKind.IMPROVED, VerdictKind.PASS, VerdictKind.INCONCLUSIVE, VerdictKind.REGRESSED]
BUDGET = EnergyBudget()

pairs_of_logs = st.lists(st.tuples(st.floats(-0.02, 0.02), st.floats(-0.02, 0.02)), min_size=2, max_size=8)


def result(
    log: float,
    test: str = "t.py::test_step",
    *,
    wiggle: float = 0.0,
    per_call: float = 64.0,
    seconds: float = 0.01,
    device: Device = HERE,
    kind: WindowKind = WindowKind.REPEATED,
    budget: EnergyBudget = BUDGET,
    tolerance: float | None = 0.02,
    unit: str = "token",
    declared: bool = True,
    cached: float = 0.0,
) -> BudgetResult:
    calls = 50.0
    blocks = tuple(
        Block(0.07 * math.exp(log + w) * calls * per_call, calls * per_call, calls * seconds) for w in (wiggle, -wiggle)
    )
    measurement = Measurement(
        "main", kind, (device,), {unit: blocks}, 2 * calls, 1.0, Conditions(facts={"cached_prompt_share": cached})
    )
    verdict = Verdict(VerdictKind.NO_BASELINE)
    key = BaselineKey(test, "main", unit)
    return BudgetResult(test, budget, declared, verdict, key=key, tolerance=tolerance, measurement=measurement)


def missing(
    reason: str, kind: VerdictKind = VerdictKind.UNMEASURED, test: str = "t.py::test_step", window: str | None = None
) -> BudgetResult:
    return BudgetResult(test, EnergyBudget(window=window), True, Verdict(kind, reason))


def pair(base: Sequence[BudgetResult], head: Sequence[BudgetResult]) -> Pair:
    return Pair(*(RunResult("2026-01-01", "0", results=tuple(side)) for side in (base, head)))


def of_logs(logs: Sequence[tuple[float, float]], shift: float = 0.0) -> list[Pair]:
    return [pair([result(base)], [result(head + shift)]) for base, head in logs]


def only(pairs: Sequence[Pair], tolerance: float = 0.02) -> Series:
    (series,) = compare(pairs, tolerance)
    return series


@given(pairs_of_logs, st.floats(-10, 10))
def test_a_change_of_scale_of_both_sides_changes_nothing(logs: list[tuple[float, float]], scale: float) -> None:
    plain, scaled = only(of_logs(logs)), only(of_logs([(b + scale, h + scale) for b, h in logs]))
    assert scaled.ratio == pytest.approx(plain.ratio, rel=1e-9)
    assert scaled.ratio_high == pytest.approx(plain.ratio_high, rel=1e-9)


@given(pairs_of_logs, st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=6))
def test_verdicts_are_monotone_in_the_heads_joules(logs: list[tuple[float, float]], shifts: list[float]) -> None:
    kinds = [only(of_logs(logs, shift)).kind for shift in sorted(shifts)]
    assert [ORDER.index(kind) for kind in kinds] == sorted(ORDER.index(kind) for kind in kinds)


@given(pairs_of_logs, st.randoms())
def test_the_order_of_the_pairs_does_not_matter(logs: list[tuple[float, float]], shuffler: random.Random) -> None:
    shuffled = list(logs)
    shuffler.shuffle(shuffled)
    plain, other = only(of_logs(logs)), only(of_logs(shuffled))
    assert other.ratio == pytest.approx(plain.ratio)
    assert other.ratio_low == pytest.approx(plain.ratio_low)


@given(pairs_of_logs)
def test_swapping_the_sides_inverts_the_ratio(logs: list[tuple[float, float]]) -> None:
    plain, swapped = only(of_logs(logs)), only(of_logs([(head, base) for base, head in logs]))
    assert plain.ratio is not None
    assert plain.ratio_low is not None
    assert swapped.ratio == pytest.approx(1 / plain.ratio)
    assert swapped.ratio_high == pytest.approx(1 / plain.ratio_low)


@given(pairs_of_logs)
def test_no_pass_with_a_rise_of_twice_the_tolerance_open(logs: list[tuple[float, float]]) -> None:
    series = only(of_logs(logs))
    assert series.ratio is not None
    assert series.ratio_high is not None
    if series.kind is VerdictKind.PASS:
        assert series.ratio <= 1.02
        assert series.ratio_high < 1.02**2
    if series.kind is VerdictKind.REGRESSED:
        assert series.ratio > 1.02


@pytest.mark.parametrize("drift", [0.001, 0.003])
def test_a_linear_drift_cancels_over_two_pairs(drift: float) -> None:
    # base, head, head, base.
    assert only(of_logs([(0.0, drift), (3 * drift, 2 * drift)])).ratio == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("rise", "kind"),
    [(0.0, VerdictKind.PASS), (0.05, VerdictKind.REGRESSED), (-0.05, VerdictKind.IMPROVED)],
)
def test_clear_cases(rise: float, kind: VerdictKind) -> None:
    series = only(of_logs([(0.0, math.log1p(rise))] * 2))
    assert series.kind is kind
    assert series.failed is (kind is VerdictKind.REGRESSED)
    assert decided([series])


def test_what_two_pairs_leave_open_says_what_would_help() -> None:
    noisy = only(of_logs([(0.0, 0.02), (0.0, -0.02)]))
    assert noisy.kind is VerdictKind.INCONCLUSIVE
    assert "more pairs would settle it (--pairs 8)" in noisy.reason
    hopeless = only(of_logs([(0.0, 0.2), (0.0, -0.2)]))
    assert "8 pairs would not settle it: widen the tolerance" in hopeless.reason
    assert not noisy.failed
    assert not decided([noisy])


def test_the_variance_is_pooled_as_documented() -> None:
    prior = 2 * SAME_DEVICE_SD**2
    alone = variance_of_difference([0.0, 0.02], [], WindowKind.REPEATED)
    assert alone.df == PRIOR_DF + 1
    assert alone.variance == pytest.approx((PRIOR_DF * prior + 0.0002) / (PRIOR_DF + 1))
    many = variance_of_difference([0.0, 0.02], [[0.0, 0.02, 0.0, 0.02]] * 10, WindowKind.REPEATED)
    assert many.df == PRIOR_DF + POOL_DF + 1
    shot = variance_of_difference([0.0, 0.02], [[0.0, 0.0]], WindowKind.ONE_SHOT)
    assert shot.df == 1
    assert shot.variance == pytest.approx(0.0002)


def test_the_half_width_is_the_formula() -> None:
    width = width_of(Spread(4e-6, 7), 4, family=5)
    assert width.plain == pytest.approx(student_quantile(7, 0.99) * 1.17 * math.sqrt(4e-6 / 4))
    assert width.fail == pytest.approx(student_quantile(7, 0.998) * 1.17 * math.sqrt(4e-6 / 4))


def test_quiet_neighbours_do_not_hide_a_series_noisy_blocks() -> None:
    quiet = [result(0.0, f"t.py::test_{n}") for n in range(12)]
    noisy = [pair([*quiet, result(0.0, wiggle=0.1)], [*quiet, result(0.05, wiggle=0.1)])] * 2
    series = compare(noisy, 0.02)[-1]
    assert series.kind is VerdictKind.INCONCLUSIVE


def test_the_command_offers_the_looks() -> None:
    assert PAIRS == LOOKS


def simulate(rise: float, runs: int, sd: float = 0.003, tolerance: float = 0.02) -> list[VerdictKind]:
    rng = random.Random(f"{rise}/{sd}")
    kinds = []
    for _ in range(runs):
        logs = [(rng.gauss(0, sd), rng.gauss(math.log1p(rise), sd)) for _ in range(LOOKS[-1])]
        pairs = [pair([result(b, tolerance=tolerance)], [result(h, tolerance=tolerance)]) for b, h in logs]
        series = next((s for count in LOOKS if decided([s := only(pairs[:count])])), only(pairs))
        kinds.append(series.kind)
    return kinds


def test_false_alarms_and_misses_in_simulation() -> None:
    same = simulate(0.0, 300)
    assert same.count(VerdictKind.REGRESSED) == 0
    assert same.count(VerdictKind.PASS) >= 290
    assert simulate(0.05, 100).count(VerdictKind.REGRESSED) >= 99
    # Without a tolerance to hide behind, the widening for the looks keeps the error rate by itself.
    assert simulate(0.0, 1000, tolerance=1e-9).count(VerdictKind.REGRESSED) <= 20


# -- what cannot be compared --


def test_a_test_on_one_side_only_is_listed_and_never_a_pass() -> None:
    new, gone = result(0.0, "t.py::test_new"), result(0.0, "t.py::test_gone")
    found = {s.test: s for s in compare([pair([gone], [new])] * 2, 0.02)}
    assert found["t.py::test_new"].kind is VerdictKind.NO_BASELINE
    assert found["t.py::test_new"].reason == "the base does not have the test: nothing to compare"
    assert not found["t.py::test_new"].failed
    assert found["t.py::test_gone"].kind is VerdictKind.UNMEASURED
    assert found["t.py::test_gone"].failed
    assert decided(list(found.values()))


def test_a_changed_unit_is_two_series_on_one_side_each() -> None:
    kinds = {s.unit: (s.kind, s.reason) for s in compare([pair([result(0.0)], [result(0.0, unit="image")])] * 2, 0.02)}
    assert kinds["image"][0] is VerdictKind.NO_BASELINE
    assert "window 'main' in J/image" in kinds["image"][1]
    assert kinds["token"][0] is VerdictKind.UNMEASURED


def test_changed_work_is_told_and_the_ratio_is_per_unit() -> None:
    series = only([pair([result(0.0)], [result(0.0, per_call=128.0)])] * 2)
    assert series.kind is VerdictKind.PASS
    assert "work changed: 64 -> 128 token per call; the ratio is per unit" in series.notes


def test_level_joules_that_take_longer_are_told() -> None:
    series = only([pair([result(0.0)], [result(0.0, seconds=0.013)])] * 2)
    assert series.kind is VerdictKind.PASS
    assert series.seconds_ratio == pytest.approx(1.3)
    assert "latency pays" in series.notes[0]


@pytest.mark.parametrize(
    ("base", "head", "reason"),
    [
        (missing(f"{TEST_FAILED} call"), result(0.0), f"pair 2, base: {TEST_FAILED} call"),
        (result(0.0), missing("the GPU slowed down", VerdictKind.INVALID), "pair 2, head: the GPU slowed down"),
        (result(0.0), result(0.0, device=replace(HERE, identity="there")), "measured on different devices (here and t"),
        (result(0.0), result(0.0, kind=WindowKind.ONE_SHOT), "by repeated calls on one side and as one shot"),
        (
            result(0.0),
            result(-0.3, cached=0.9),
            "this is other work than the base's, so that joules do not compare: prompt tokens served by the prefix "
            "cache: 90.0%, in the base 0.0%",
        ),
        (result(0.0), None, "pair 2, head: not measured"),
    ],
    ids=["failed", "invalid", "devices", "kinds", "work", "absent"],
)
def test_what_one_run_lacks_makes_that_test_invalid_and_no_other(
    base: BudgetResult, head: BudgetResult | None, reason: str
) -> None:
    fine = result(0.0, "t.py::test_fine")
    second = pair([base, fine], [fine, *([head] if head else [])])
    found = {s.test: s for s in compare([pair([result(0.0), fine], [result(0.0), fine]), second], 0.02)}
    assert found["t.py::test_fine"].kind is VerdictKind.PASS
    broken = found["t.py::test_step"]
    assert broken.kind is VerdictKind.INVALID
    assert broken.reason.startswith(reason) or reason in broken.reason
    assert broken.failed


@pytest.mark.parametrize(
    ("reason", "failed"), [("skipped: no second GPU", False), ("deselected", False), (f"{TEST_FAILED} setup", True)]
)
def test_what_neither_side_measured_fails_only_if_it_ran(reason: str, failed: bool) -> None:
    series = only([pair([missing(reason)], [missing(reason)])] * 2)
    assert series.kind is VerdictKind.UNMEASURED
    assert series.reason == f"pair 1, base: {reason}"
    assert series.failed is failed


def test_an_unmeasured_window_does_not_spoil_its_neighbour() -> None:
    both = [result(0.0), missing("no window 'prefill' was measured", window="prefill")]
    main, prefill = compare([pair(both, both)] * 2, 0.02)
    assert main.kind is VerdictKind.PASS
    assert (prefill.window, prefill.kind) == ("prefill", VerdictKind.UNMEASURED)


def test_the_head_says_what_is_tolerated_and_whether_it_gates() -> None:
    strict, wide = result(0.0, tolerance=0.01), result(0.0, tolerance=0.1)
    assert only([pair([strict], [wide])] * 2).tolerance == 0.1
    limit = EnergyBudget(limit=parse_energy_per_unit("1 mJ/token"))
    assert only([pair([strict], [result(0.0, budget=limit, tolerance=None)])] * 2, 0.03).tolerance == 0.03
    report_only = only([pair([strict], [result(0.1, budget=EnergyBudget(gate=False))])] * 2)
    assert report_only.kind is VerdictKind.REGRESSED
    assert not report_only.failed
    loose = only([pair([strict], [result(0.1, declared=False)])] * 2)
    assert not loose.declared
    assert not loose.failed


def test_an_explicit_key_follows_a_renamed_test() -> None:
    budget = EnergyBudget(key="decode")
    series = only(
        [pair([result(0.0, "a.py::test_a", budget=budget)], [result(0.0, "b.py::test_b", budget=budget)])] * 2
    )
    assert (series.test, series.kind) == ("decode", VerdictKind.PASS)


def test_a_single_shot_is_judged_by_its_own_differences() -> None:
    shots = [
        pair([result(0.0, kind=WindowKind.ONE_SHOT)], [result(0.001 * n, kind=WindowKind.ONE_SHOT)]) for n in (0, 1)
    ]
    few = only(shots)
    assert few.kind is VerdictKind.INCONCLUSIVE
    assert few.reason == "it takes 4 pairs, and there are 2"
    assert only(shots * 2).kind is VerdictKind.PASS


def test_looks_are_complete_quadruples() -> None:
    assert all(count % 2 == 0 for count in pairing.LOOKS)
