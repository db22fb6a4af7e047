"""The rule and the statistics under it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_joules.baselines.store import Addition, merge
from pytest_joules.budget import EnergyBudget
from pytest_joules.codec import CodecError, decode, encode
from pytest_joules.decision import LOOKS, Terms, decide
from pytest_joules.model import (
    BaselineKey,
    Block,
    BudgetResult,
    Conditions,
    Device,
    Measurement,
    RunResult,
    Session,
    Verdict,
    VerdictKind,
    WindowKind,
)
from pytest_joules.options import Options
from pytest_joules.policy import fails, starts_afresh, stores
from pytest_joules.statistics import (
    OTHER_DEVICE_SD,
    SAME_DEVICE_SD,
    Spread,
    autocorrelation_inflation,
    between_sessions,
    combine,
    predict_session,
    satterthwaite,
    spread_of,
    student_quantile,
)

HERE = Device(0, "NVIDIA H200", "here")
TERMS = Terms("token", 0.02)
ORDER = [VerdictKind.IMPROVED, VerdictKind.PASS, VerdictKind.INCONCLUSIVE, VerdictKind.REGRESSED]

# Coarser than rounding errors, whose neighbours look alike.
levels = st.lists(st.floats(-0.02, 0.02).map(lambda level: round(level, 9)), min_size=2, max_size=24)


def blocks(logs: Sequence[float], scale: float = 1.0, units: float = 100.0) -> tuple[Block, ...]:
    return tuple(Block(scale * units * math.exp(log), units, 0.5) for log in logs)


def today(logs: Sequence[float], scale: float = 1.0, kind: WindowKind = WindowKind.REPEATED) -> Measurement:
    return Measurement("main", kind, (HERE,), {"token": blocks(logs, scale)}, 100.0, 1.0, Conditions())


def session(
    logs: Sequence[float],
    device: str = "here",
    scale: float = 1.0,
    kind: WindowKind = WindowKind.REPEATED,
    anchor: bool = False,
) -> Session:
    return Session("2026-01-01", (device,), blocks(logs, scale), kind, anchor=anchor)


sessions = st.lists(
    st.builds(session, levels, st.sampled_from(["here", "there"]), anchor=st.booleans()), min_size=1, max_size=6
)


@given(levels, sessions, st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=8))
def test_verdicts_are_monotone_in_todays_joules(logs: list[float], stored: list[Session], shifts: list[float]) -> None:
    kinds = [decide(today([log + shift for log in logs]), stored, TERMS).kind for shift in sorted(shifts)]
    assert [ORDER.index(kind) for kind in kinds] == sorted(ORDER.index(kind) for kind in kinds)


@given(
    levels,
    st.lists(st.tuples(levels, st.sampled_from(["here", "there"])), min_size=1, max_size=5),
    st.floats(1e-6, 1e6),
)
def test_verdicts_do_not_depend_on_the_scale(
    logs: list[float], stored: list[tuple[list[float], str]], scale: float
) -> None:
    plain = decide(today(logs), [session(log, home) for log, home in stored], TERMS)
    scaled = decide(today(logs, scale), [session(log, home, scale) for log, home in stored], TERMS)
    assert plain.ratio is not None
    assert scaled.ratio == pytest.approx(plain.ratio, rel=1e-9)
    assert scaled.ratio_high == pytest.approx(plain.ratio_high, rel=1e-9)


@given(levels, sessions, st.randoms())
def test_the_order_of_sessions_does_not_matter(
    logs: list[float], stored: list[Session], shuffler: random.Random
) -> None:
    shuffled = list(stored)
    shuffler.shuffle(shuffled)
    assert decide(today(logs), shuffled, TERMS).ratio == pytest.approx(decide(today(logs), stored, TERMS).ratio)


def test_a_short_shot_near_its_limit_is_not_decided() -> None:
    def shot(seconds: float) -> VerdictKind:
        block = Block(1.03 * 500 * seconds, 1.0, seconds)
        measured = Measurement("main", WindowKind.ONE_SHOT, (HERE,), {"call": (block,)}, 1.0, 0.0, Conditions())
        return decide(measured, [], Terms("call", None, limit=500 * seconds)).kind

    # The edges of 50 ms put its joules off by 4 %: three percent over the limit say nothing.
    assert [shot(seconds) for seconds in (0.05, 5.0)] == [VerdictKind.INCONCLUSIVE, VerdictKind.OVER_LIMIT]


@given(levels, sessions)
def test_never_regressed_at_or_below_the_baseline(logs: list[float], stored: list[Session]) -> None:
    verdict = decide(today(logs), stored, TERMS)
    assert verdict.ratio is not None
    if verdict.ratio <= 1.0:
        assert verdict.kind is not VerdictKind.REGRESSED
    if verdict.kind is VerdictKind.PASS:
        assert verdict.ratio <= 1.02
        assert verdict.ratio_high is not None
        assert verdict.ratio_high < 1.02**2


@given(
    st.lists(st.tuples(st.floats(-0.02, 0.02), st.floats(25, 85)), min_size=1, max_size=8),
    st.floats(25, 85),
    st.floats(0, 1),
    st.integers(1, 24),
)
def test_never_regressed_below_the_baselines_mean_at_any_temperature(
    stored: list[tuple[float, float]], celsius: float, capped: float, count: int
) -> None:
    recorded = [
        replace(session([log] * 6), conditions=Conditions(temperature_celsius=degrees)) for log, degrees in stored
    ]
    conditions = Conditions(temperature_celsius=celsius, power_cap_share=capped)
    cooler = replace(today([fmean(log for log, _ in stored) - 1e-9] * count), conditions=conditions)
    assert decide(cooler, recorded, TERMS).kind is not VerdictKind.REGRESSED


@given(levels)
def test_an_empty_baseline_gives_no_other_verdict(logs: list[float]) -> None:
    assert decide(today(logs), [], TERMS).kind is VerdictKind.NO_BASELINE


def quiet_sessions(count: int = 3) -> list[Session]:
    return [session([0.001 * k, -0.001 * k, 0.0, 0.0]) for k in range(count)]


@pytest.mark.parametrize(
    ("rise", "kind"),
    [(0.0, VerdictKind.PASS), (0.01, VerdictKind.PASS), (0.05, VerdictKind.REGRESSED), (-0.05, VerdictKind.IMPROVED)],
)
def test_clear_cases(rise: float, kind: VerdictKind) -> None:
    logs = [math.log1p(rise)] * 6
    verdict = decide(today(logs), quiet_sessions(), TERMS)
    assert verdict.kind is kind
    assert verdict.detectable is not None
    assert 0.02 < verdict.detectable < 0.05


def test_a_rise_of_twice_the_tolerance_is_never_passed() -> None:
    for count in LOOKS:
        assert decide(today([2 * math.log1p(0.02)] * count), quiet_sessions(), TERMS).kind is not VerdictKind.PASS


def test_a_single_session_says_what_would_help() -> None:
    verdict = decide(today([0.028] * 8), quiet_sessions(1), replace(TERMS, family=100))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "compare with the base in turns (pytest-joules ab)" in verdict.reason
    assert not verdict.more_gpu_time_helps
    # Recording what looks like a regression would make it the baseline; a level run may ask for more sessions.
    level = decide(today([0.01] * 24), quiet_sessions(1), replace(TERMS, tolerance=0.011))
    assert level.kind is VerdictKind.INCONCLUSIVE
    assert "more sessions of the baseline's code would settle it" in level.reason


def test_costlier_devices_on_file_do_not_hide_a_regression() -> None:
    own = quiet_sessions(3)
    others = [session([0.1] * 6, device) for device in ("there", "elsewhere") for _ in range(3)]
    for rise in (0.04, 0.05, 0.06):
        assert decide(today([rise] * 8), own, TERMS).kind is VerdictKind.REGRESSED
        assert decide(today([rise] * 8), own + others, TERMS).kind is VerdictKind.REGRESSED


@given(levels, sessions)
def test_the_advised_tolerance_passes(logs: list[float], stored: list[Session]) -> None:
    measured = today([*logs, *logs])
    verdict = decide(measured, stored, TERMS)
    if verdict.kind is VerdictKind.INCONCLUSIVE and "a tolerance of" in verdict.reason:
        advised = float(verdict.reason.rpartition("tolerance of ")[2].partition("%")[0]) / 100
        assert decide(measured, stored, replace(TERMS, tolerance=advised)).kind is VerdictKind.PASS
        assert not verdict.more_gpu_time_helps


def test_noisy_blocks_ask_for_more_gpu_time() -> None:
    verdict = decide(today([0.04, -0.04]), quiet_sessions(8), TERMS)
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert verdict.more_gpu_time_helps


def test_a_device_without_a_session_is_not_judged_by_others() -> None:
    verdict = decide(today([0.12] * 6), [session([0.0] * 4, "there") for _ in range(3)], TERMS)
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "record one here" in verdict.reason


def test_another_device_is_trusted_less() -> None:
    at_home = decide(today([0.0] * 6), [session([0.0] * 4) for _ in range(3)], TERMS)
    elsewhere = decide(today([0.0] * 6), [session([0.0] * 4, "there") for _ in range(3)], TERMS)
    assert at_home.ratio_high is not None
    assert elsewhere.ratio_high is not None
    assert elsewhere.ratio_high - 1 > 1.5 * (at_home.ratio_high - 1)


@pytest.mark.parametrize(
    ("limit", "kind"),
    [(0.9, VerdictKind.OVER_LIMIT), (1.1, VerdictKind.PASS), (1.001, VerdictKind.INCONCLUSIVE)],
)
def test_a_bare_limit_needs_no_baseline(limit: float, kind: VerdictKind) -> None:
    assert decide(today([0.0] * 6), [], Terms("token", None, limit)).kind is kind


def test_limit_and_tolerance_both_hold() -> None:
    terms = replace(TERMS, limit=0.9)
    assert decide(today([0.0] * 6), quiet_sessions(), terms).kind is VerdictKind.OVER_LIMIT
    terms = replace(TERMS, limit=1.001)
    assert decide(today([0.0] * 6), quiet_sessions(), terms).kind is VerdictKind.INCONCLUSIVE
    terms = replace(TERMS, limit=2.0)
    assert decide(today([0.05] * 6), quiet_sessions(), terms).kind is VerdictKind.REGRESSED


def test_a_single_shot_is_judged_from_three_sessions_on() -> None:
    shot = today([0.0], kind=WindowKind.ONE_SHOT)
    stored = [session([0.001 * k], kind=WindowKind.ONE_SHOT) for k in range(3)]
    few = decide(shot, stored[:2], TERMS)
    assert few.kind is VerdictKind.INCONCLUSIVE
    assert "record 1 more" in few.reason
    assert decide(shot, stored, TERMS).kind is VerdictKind.PASS
    assert decide(shot, quiet_sessions(), TERMS).kind is VerdictKind.NO_BASELINE


def test_invalid_stays_invalid() -> None:
    assert decide(replace(today([0.0] * 3), invalid="spoiled"), quiet_sessions(), TERMS).reason == "spoiled"


level_noise = st.floats(-0.002, 0.002)


@given(
    st.lists(st.tuples(level_noise, st.booleans()), min_size=1, max_size=20),
    st.floats(-0.01, 0.01) | st.floats(0.05, 0.2) | st.floats(-0.2, -0.05),
    st.integers(1, 50),
)
def test_pins_change_no_verdict_where_nothing_creeps(
    stored: list[tuple[float, bool]], move: float, family: int
) -> None:
    terms = replace(TERMS, family=family)
    pinned = [session([log] * 6, anchor=anchor) for log, anchor in stored]
    unpinned = [replace(s, anchor=False) for s in pinned]
    found, plain = (decide(today([move] * 6), history, terms) for history in (pinned, unpinned))
    assert replace(found, more_gpu_time_helps=plain.more_gpu_time_helps) == plain


@given(levels, sessions, st.floats(-0.1, 0.1))
def test_pins_can_only_add_a_creep(logs: list[float], stored: list[Session], shift: float) -> None:
    measured = today([log + shift for log in logs])
    found = decide(measured, stored, TERMS)
    plain = decide(measured, [replace(s, anchor=False) for s in stored], TERMS)
    assert found.crept or found.kind is plain.kind
    if found.crept:
        assert found.kind is VerdictKind.REGRESSED
        assert found.ratio is not None
        assert found.ratio > 1.02
        assert found.baseline_sessions == sum(s.anchor for s in stored)


def creep(noise: Sequence[float], pins: int) -> list[Verdict]:
    """Ten rises of half a percent, each judged and then stored as an update would store it."""
    stored: tuple[Session, ...] = tuple(session([noise[n]] * 6, anchor=n < pins) for n in range(3))
    verdicts = []
    for step in range(1, 11):
        logs = [step * math.log1p(0.005) + noise[2 + step]] * 6
        verdicts.append(decide(today(logs), stored, TERMS))
        judged = BudgetResult("t", EnergyBudget(), True, verdicts[-1], tolerance=0.02)
        stored = merge(stored, Addition(session(logs), starts_afresh(judged)))
    return verdicts


@settings(max_examples=50)
@given(st.lists(level_noise, min_size=13, max_size=13), st.integers(1, 3))
def test_slow_creep_is_found_by_an_anchor(noise: list[float], pins: int) -> None:
    def first(verdicts: list[Verdict]) -> int:
        return next((step for step, verdict in enumerate(verdicts, 1) if verdict.kind is VerdictKind.REGRESSED), 11)

    anchored = creep(noise, pins)
    found = first(anchored)
    assert 1.005 ** (found - 1) < 1.02**2
    assert found <= first(creep(noise, 0))
    assert anchored[found - 1].crept or first(creep(noise, 0)) == found


def test_without_an_anchor_ten_small_rises_do_not_fail() -> None:
    assert {verdict.kind for verdict in creep([0.0] * 13, 0)} <= {VerdictKind.PASS, VerdictKind.INCONCLUSIVE}
    crept = next(verdict for verdict in creep([0.0] * 13, 3) if verdict.kind is VerdictKind.REGRESSED)
    assert crept.reason.startswith("crept up: +")


def test_a_creep_is_told_with_the_anchors_numbers() -> None:
    rise = math.log1p(0.048)
    stored = [session([0.0] * 6, anchor=True)] * 3 + [session([rise - 0.004] * 6)] * 10
    crept = decide(today([rise] * 6), stored, TERMS)
    assert crept.reason == "crept up: +4.8% since the anchor of 2026-01-01 (today's step alone is +1.4%)"
    assert crept.ratio == pytest.approx(1.048)
    assert crept.ratio_low is not None
    assert 1.02 < crept.ratio_low < 1.048
    assert crept.baseline_joules_per_unit == pytest.approx(1.0)
    assert crept.baseline_sessions == 3
    # Pins of another device, or of another kind of window, say nothing here.
    for pin in (replace(stored[0], devices=("there",)), replace(stored[0], kind=WindowKind.ONE_SHOT)):
        assert decide(today([rise] * 6), [*[pin] * 3, *stored[3:]], TERMS).kind is VerdictKind.PASS


def test_a_single_shot_creeps_against_three_pins_at_least() -> None:
    shot = today([0.045], kind=WindowKind.ONE_SHOT)
    recent = [session([0.04], kind=WindowKind.ONE_SHOT)] * 10
    pins = [session([0.0], kind=WindowKind.ONE_SHOT, anchor=True)] * 3
    assert not decide(shot, [*pins[:2], *recent], TERMS).crept
    assert decide(shot, [*pins, *recent], TERMS).crept


def test_a_pass_is_not_final_while_more_blocks_could_show_a_creep() -> None:
    stored = [session([0.0] * 6, anchor=True)] * 6 + [session([0.02] * 6)] * 20
    noisy = decide(today([0.04, 0.0]), stored, TERMS)
    assert (noisy.kind, noisy.more_gpu_time_helps) == (VerdictKind.PASS, True)
    assert decide(today([0.04, 0.0, *[0.02] * 14]), stored, TERMS).crept


def simulate(rise: float, runs: int, family: int = 1) -> list[VerdictKind]:
    """First verdicts that are not INCONCLUSIVE; 0.3 % between sessions, 0.3 % between blocks."""
    rng = random.Random(f"{rise}/{family}")
    kinds = []
    for _ in range(runs):
        stored = [
            session([rng.gauss(level, 0.003) for _ in range(6)]) for level in (rng.gauss(0, 0.003) for _ in range(3))
        ]
        level = rng.gauss(math.log1p(rise), 0.003)
        logs = [rng.gauss(level, 0.003) for _ in range(LOOKS[-1])]
        found = VerdictKind.INCONCLUSIVE
        for count in LOOKS:
            verdict = decide(today(logs[:count]), stored, replace(TERMS, family=family))
            found = verdict.kind
            if not verdict.more_gpu_time_helps:
                break
        kinds.append(found)
    return kinds


def test_false_alarms_and_misses_in_simulation() -> None:
    level = simulate(0.0, 300)
    assert level.count(VerdictKind.REGRESSED) == 0
    assert level.count(VerdictKind.PASS) >= 290
    assert simulate(0.05, 100).count(VerdictKind.REGRESSED) >= 99
    assert VerdictKind.PASS not in simulate(0.05, 100, family=50)


def test_prediction_on_one_device_is_the_plain_mean() -> None:
    found = predict_session([0.1, 0.2, 0.3], [0.0] * 3, ["a"] * 3, "a", Spread(1e-4, 5), [0.0] * 3)
    assert found.mean == pytest.approx(0.2)
    assert found.from_sessions.variance == pytest.approx(1e-4 * (1 + 1 / 3))
    assert found.from_sessions.df == 5
    assert found.from_devices.variance == pytest.approx(0.0, abs=1e-12)


def test_prediction_on_a_new_device_adds_the_devices_spread() -> None:
    found = predict_session([0.2, 0.2], [0.0] * 2, ["a", "b"], "c", Spread(SAME_DEVICE_SD**2, 3), [0.0] * 2)
    assert found.mean == pytest.approx(0.2)
    assert found.from_devices.variance == pytest.approx(OTHER_DEVICE_SD**2 * 0.75 * 1.5, rel=1e-6)
    assert found.from_devices.df == 4


def test_prediction_leans_on_the_same_device() -> None:
    found = predict_session([0.0, 0.01, 0.01], [0.0] * 3, ["a", "b", "b"], "a", Spread(1e-6, 3), [0.0] * 3)
    assert found.mean < 0.002


def test_pooling() -> None:
    assert combine([Spread(1.0, 1), Spread(3.0, 3)]) == Spread(2.5, 4)
    assert combine([]) == Spread(0.0, 0.0)
    assert spread_of([1.0, 3.0]) == Spread(2.0, 1.0)
    alone = between_sessions(Spread(0.0, 0.0), Spread(0.0, 0.0))
    assert alone.variance == pytest.approx(SAME_DEVICE_SD**2)
    noisy = between_sessions(Spread(0.01**2, 2), Spread(0.01**2, 100))
    assert SAME_DEVICE_SD**2 < noisy.variance < 0.01**2
    assert noisy.df < 20


def test_quiet_neighbours_do_not_vouch_for_a_noisy_window() -> None:
    quiet = Spread(0.0015**2, 100)
    assert between_sessions(Spread(0.002**2, 2), quiet).df > 10
    noisy = between_sessions(Spread(0.01**2, 2), quiet)
    assert noisy == between_sessions(Spread(0.01**2, 2), Spread(0.0, 0.0))
    assert noisy.variance > 0.006**2


def test_autocorrelated_blocks_count_for_less() -> None:
    assert autocorrelation_inflation([[0.0, 1.0, 0.0, 1.0]]) == 1.0
    assert autocorrelation_inflation([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5]]) > 2
    # A few blocks that are independent look as if neighbours pushed each other away, which hides a real likeness.
    random_ = random.Random(1)
    short = [[random_.gauss(0, 1) for _ in range(4)] for _ in range(2000)]
    assert autocorrelation_inflation(short) == pytest.approx(1.0, abs=0.05)
    ar = []
    for _ in range(2000):
        value, series = random_.gauss(0, 1), []
        for _ in range(6):
            value = 0.5 * value + random_.gauss(0, math.sqrt(0.75))
            series.append(value)
        ar.append(series)
    assert autocorrelation_inflation(ar) > 1.7
    assert autocorrelation_inflation([[1.0]]) == 1.0


def test_satterthwaite_and_t() -> None:
    total = satterthwaite([Spread(1.0, 5), Spread(1.0, 5)])
    assert total == Spread(2.0, 10.0)
    assert student_quantile(5, 0.99) == pytest.approx(3.3649, abs=1e-4)


def result(kind: VerdictKind, gate: bool = True, declared: bool = True) -> BudgetResult:
    return BudgetResult("t", EnergyBudget(gate=gate), declared, Verdict(kind))


ON = Options(enabled=True)


@pytest.mark.parametrize("kind", VerdictKind)
def test_what_fails(kind: VerdictKind) -> None:
    bad = {"REGRESSED", "OVER_LIMIT", "INVALID", "UNMEASURED"}
    assert fails(result(kind), replace(ON, missing="warn")) == (kind.value in bad)
    assert fails(result(kind), ON) == (kind.value in bad | {"NO_BASELINE"})
    assert fails(result(kind), replace(ON, strict=True)) == (kind.value in bad | {"NO_BASELINE", "INCONCLUSIVE"})
    assert fails(result(kind), replace(ON, update=True)) == (kind.value in bad - {"REGRESSED"})
    assert not fails(result(kind, gate=False), replace(ON, strict=True))
    assert not fails(result(kind, declared=False), replace(ON, strict=True))


def test_inconclusive_fails_where_asked() -> None:
    assert fails(result(VerdictKind.INCONCLUSIVE), replace(ON, inconclusive="fail"))


def test_what_is_stored() -> None:
    assert not stores(result(VerdictKind.PASS), ON)
    assert stores(result(VerdictKind.PASS), replace(ON, update=True))
    assert not stores(result(VerdictKind.INVALID), replace(ON, update=True))
    assert not stores(result(VerdictKind.PASS, declared=False), replace(ON, update=True))
    assert [kind for kind in VerdictKind if stores(result(kind), replace(ON, update_new=True))] == [
        VerdictKind.NO_BASELINE
    ]
    assert [kind for kind in VerdictKind if starts_afresh(result(kind))] == [
        VerdictKind.REGRESSED,
        VerdictKind.IMPROVED,
    ]


@pytest.mark.parametrize("kind", [VerdictKind.PASS, VerdictKind.INCONCLUSIVE])
@pytest.mark.parametrize(
    ("ratio", "own", "afresh"),
    [(1.0, 1, False), (1.0199, 1, False), (1.028, 1, True), (1 / 1.021, 1, True), (1.07, 0, False), (0.93, 0, False)],
)
def test_an_update_appends_within_the_tolerance_only(kind: VerdictKind, ratio: float, own: int, afresh: bool) -> None:
    verdict = Verdict(kind, ratio=ratio, own_sessions=own)
    found = BudgetResult("t", EnergyBudget(), True, verdict, tolerance=0.02)
    assert starts_afresh(found) is afresh
    # Where only a limit counts nothing is compared.
    assert not starts_afresh(replace(found, tolerance=None))


@given(levels, sessions, st.floats(-0.1, 0.1))
def test_what_an_update_appends_to_a_device_lies_within_the_tolerance(
    logs: list[float], stored: list[Session], shift: float
) -> None:
    verdict = decide(today([log + shift for log in logs]), stored, TERMS)
    assert verdict.ratio is not None
    if not starts_afresh(BudgetResult("t", EnergyBudget(), True, verdict, tolerance=0.02)):
        stranger = all(s.devices != ("here",) for s in stored)
        assert stranger or abs(math.log(verdict.ratio)) <= math.log1p(0.02)


@given(levels, st.sampled_from(VerdictKind), st.text(max_size=5))
def test_values_survive_json(logs: list[float], kind: VerdictKind, text: str) -> None:
    budget = EnergyBudget(window=text, devices=("0",))
    key = BaselineKey(text, "main", "token")
    one = BudgetResult(text, budget, True, Verdict(kind, ratio=1.5), True, key, "sku", None, today(logs))
    run = RunResult("now", "1", results=(one,), extra_info={"t": {"x": [1, None]}}, not_collected=(key,))
    assert decode(RunResult, json.loads(json.dumps(encode(run)))) == run


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"joules": 1.0, "units": 1.0}, "Block: "),
        ({"joules": "x", "units": 1.0, "seconds": 1.0}, "Block.joules: expected float"),
        ({"joules": True, "units": 1.0, "seconds": 1.0}, "Block.joules: expected float"),
        ([], "Block: expected an object"),
    ],
)
def test_data_that_does_not_fit_names_its_place(data: object, place: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode(Block, data)
    assert str(caught.value).startswith(place)
