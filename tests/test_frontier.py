"""The time-energy frontier, the recommendation, and where further measurements go."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_joules.frontier import (
    FRONTIER_PASSES,
    NAMED,
    NAMING,
    Frontier,
    Placed,
    Recommendation,
    Standing,
    frontier_of,
    interval_of,
    next_point,
)
from pytest_joules.model import Estimate, Pass, RunResult, Sweep, SweepPoint
from pytest_joules.reporting import html
from pytest_joules.slo import Condition, parse_slo

# ML.ENERGY leaderboard v3, lm-arena-chat, meta-llama/Llama-3.1-8B-Instruct in bfloat16 on one GPU:
# GPU, max_num_seqs, J/token, median inter-token latency (s).
LLAMA_8B = (
    ("B200", 8, 0.3905, 0.004574),
    ("B200", 64, 0.1103, 0.008997),
    ("B200", 128, 0.09832, 0.02666),
    ("B200", 256, 0.07048, 0.03169),
    ("B200", 512, 0.06023, 0.05023),
    ("B200", 1024, 0.05492, 0.08712),
    ("B200", 2048, 0.0467, 0.1249),
    ("H100", 64, 0.1186, 0.0115),
    ("H100", 128, 0.09511, 0.01648),
    ("H100", 192, 0.0837, 0.02091),
    ("H100", 256, 0.07664, 0.02613),
    ("H100", 512, 0.07019, 0.04741),
    ("H100", 768, 0.07135, 0.06293),
)

# The same, text-to-image, black-forest-labs/FLUX.1-dev at 1024x1024 and 50 steps:
# GPU, GPUs, batch size, J/image, latency of a batch (s).
FLUX_DEV = (
    ("B200", 1, 1, 6678.8, 7.755),
    ("B200", 1, 8, 6756.1, 58.9),
    ("B200", 2, 1, 8077.3, 5.137),
    ("B200", 2, 2, 8061.1, 9.669),
    ("B200", 4, 1, 10242.0, 4.722),
    ("H100", 1, 1, 7948.6, 11.64),
    ("H100", 2, 1, 8699.1, 8.177),
    ("H100", 4, 1, 9620.5, 4.647),
)


def published(
    name: str, joules: float, sku: str = "", settings: dict[str, str] | None = None, **s: float
) -> SweepPoint:
    return SweepPoint(name, settings or {}, (Pass(joules, seconds=s),), sku=sku or None, source="leaderboard v3")


def measured(
    name: str,
    joules: Sequence[float],
    latency: float | Sequence[float] = 0.01,
    *,
    default: bool = False,
    **settings: str,
) -> SweepPoint:
    seconds = latency if isinstance(latency, Sequence) else [latency] * len(joules)
    passes = (Pass(j, seconds={"itl_p50": t}) for j, t in zip(joules, seconds, strict=True))
    return SweepPoint(name, settings, tuple(passes), default=default)


def sweep_of(*points: SweepPoint, latency: str = "itl") -> Sweep:
    return Sweep("chat decode", "token", latency, points)


def llama() -> Sweep:
    return sweep_of(
        *(published(f"{gpu} at {n}", j, gpu, {"max_num_seqs": str(n)}, itl_p50=t) for gpu, n, j, t in LLAMA_8B)
    )


def flux() -> Sweep:
    rows = (
        published(f"{count} {gpu}, batch {n}", j, gpu, {"num_gpus": str(count), "batch_size": str(n)}, call=t)
        for gpu, count, n, j, t in FLUX_DEV
    )
    return sweep_of(*rows, latency="call")


def chosen(sweep: Sweep, slo: str = "") -> Recommendation:
    found = frontier_of(sweep, parse_slo(slo) if slo else ()).recommendation
    assert found is not None
    return found


def by_name(frontier: Frontier) -> dict[str, Placed]:
    return {placed.point.name: placed for placed in frontier.points}


@pytest.mark.parametrize(
    ("slo", "name"),
    [("itl < 100 ms", "B200 at 1024"), ("itl_p50 < 50 ms", "H100 at 512"), ("itl < 25 ms", "H100 at 192")],
)
def test_of_published_numbers_the_one_of_least_energy_under_the_limit(slo: str, name: str) -> None:
    assert chosen(llama(), slo).name == name


def test_an_image_within_ten_seconds_takes_one_gpu_and_no_batch() -> None:
    found = chosen(flux(), "call < 10 s")
    assert (found.name, found.fastest) == ("1 B200, batch 1", "4 H100, batch 1")
    assert found.over_fastest is not None
    assert found.over_fastest.value == found.over_fastest.low == pytest.approx(1 - 6678.8 / 9620.5)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12),
    st.integers(1, 9),
)
def test_published_points_are_placed_as_brute_force_does(rows: list[tuple[int, int]], limit: int) -> None:
    sweep = sweep_of(*(published(str(n), float(j), call=float(t)) for n, (j, t) in enumerate(rows)), latency="call")
    result = frontier_of(sweep, (Condition("call", float(limit), inclusive=True),))
    best = {row for row in rows if not any(o[0] <= row[0] and o[1] <= row[1] and o != row for o in rows)}
    for placed in result.points:
        row = rows[int(placed.point.name)]
        assert placed.standing is (Standing.FRONTIER if row in best else Standing.DOMINATED)
        if placed.dominated_by:
            assert rows[int(placed.dominated_by)] in best
        assert placed.meets == (row[1] <= limit)
    within = [row for row in rows if row[1] <= limit]
    if not within:
        assert result.recommendation is None
    else:
        assert result.recommendation is not None
        assert rows[int(result.recommendation.name)] == min(within)


def test_what_a_looser_limit_would_be_worth() -> None:
    found = chosen(llama(), "itl < 50 ms")
    assert found.beyond is not None
    assert (found.beyond.to, found.beyond.changes, found.beyond.latency) == (
        "B200 at 512",
        {"sku": ("H100", "B200")},
        0.05023,
    )
    assert found.beyond.saving.value == pytest.approx(1 - 0.06023 / 0.07019)
    assert not found.beyond.allowed
    assert chosen(llama()).beyond is None


def test_the_next_knob_changes_one_setting_and_may_be_out_of_bounds() -> None:
    steps = chosen(llama(), "itl < 100 ms").steps
    assert [(step.to, step.allowed) for step in steps[:2]] == [("B200 at 2048", False), ("B200 at 512", True)]
    assert steps[0].changes == {"max_num_seqs": ("1024", "2048")}
    assert steps[0].saving.value > 0 > steps[1].saving.value
    assert all(step.to.startswith("B200") for step in steps)


def test_what_it_ran_on_is_one_setting_however_it_is_told() -> None:
    points = [published(gpu, j, gpu, {"gpu": gpu, "batch": "1"}, itl=0.01) for gpu, j in (("H100", 2.0), ("B200", 1.0))]
    (step,) = chosen(sweep_of(*points)).steps
    assert step.changes == {"gpu": ("B200", "H100")}


def test_the_point_that_dominates_most_is_told_with_both_ratios() -> None:
    points = [published("a", 1, itl=0.02), published("b", 2, itl=0.01), published("c", 4, itl=0.04)]
    worst = by_name(frontier_of(sweep_of(*points)))["c"]
    assert (worst.standing, worst.dominated_by) == (Standing.DOMINATED, "a")
    assert (worst.joules_above, worst.latency_above) == (3.0, 1.0)


def test_points_are_told_by_latency() -> None:
    points = [published("none", 1, call=1.0), published("slow", 1, itl=0.3), published("fast", 2, itl=0.1)]
    assert [placed.point.name for placed in frontier_of(sweep_of(*points)).points] == ["fast", "slow", "none"]


def test_measured_points_are_dominated_only_where_intervals_separate() -> None:
    close = by_name(frontier_of(sweep_of(measured("a", [1.000], 0.010), measured("b", [1.004], 0.020))))
    assert (close["b"].standing, close["b"].dominated_by) == (Standing.TIED, "a")
    apart = by_name(frontier_of(sweep_of(measured("a", [1.00], 0.010), measured("b", [1.04], 0.020))))
    assert (apart["b"].standing, apart["b"].dominated_by) == (Standing.DOMINATED, "a")
    # Level latencies are equal by chance: intervals overlap, so that neither is surely faster.
    level = by_name(frontier_of(sweep_of(measured("a", [1.00], 0.010), measured("b", [1.04], 0.010))))
    assert level["b"].standing is Standing.TIED


passes_of_points = st.lists(
    st.lists(st.tuples(st.floats(0.9, 1.1), st.floats(0.9, 1.1)), min_size=1, max_size=5), min_size=1, max_size=6
)


@settings(max_examples=50)
@given(passes_of_points)
def test_who_dominates_has_separate_intervals_and_who_is_tied_has_not(rows: list[list[tuple[float, float]]]) -> None:
    points = (measured(str(n), [j for j, _ in row], [t for _, t in row]) for n, row in enumerate(rows))
    placed = by_name(frontier_of(sweep_of(*points)))

    def ends(name: str) -> list[tuple[float, float]]:
        at = placed[name]
        assert at.joules is not None
        assert at.latency is not None
        return [interval_of(at.joules), interval_of(at.latency)]

    for name, at in placed.items():
        below = [
            other
            for other in placed
            if other != name and all(o[1] <= own[0] for o, own in zip(ends(other), ends(name), strict=True))
        ]
        assert (at.standing is Standing.DOMINATED) == bool(below)
        assert (at.dominated_by == "") == (at.standing is Standing.FRONTIER)
        assert at.dominated_by in below or at.standing is not Standing.DOMINATED
    assert any(at.standing is Standing.FRONTIER for at in placed.values())


@settings(max_examples=50)
@given(passes_of_points, st.randoms(use_true_random=False))
def test_the_order_of_the_points_changes_nothing(rows: list[list[tuple[float, float]]], random_: random.Random) -> None:
    points = [measured(str(n), [j for j, _ in row], [t for _, t in row]) for n, row in enumerate(rows)]
    one, other = (frontier_of(sweep_of(*order)) for order in (points, random_.sample(points, len(points))))
    assert one.recommendation is not None
    assert other.recommendation is not None
    if len({values for row in rows for values in row}) == sum(map(len, rows)):
        assert one.recommendation.name == other.recommendation.name
        placed = by_name(other)
        assert all(at.standing is placed[name].standing for name, at in by_name(one).items())


def test_few_passes_are_pooled_over_the_points_and_a_published_one_has_no_error() -> None:
    noisy = [measured(str(n), [1.0 + n, 1.02 * (1.0 + n)]) for n in range(6)]
    placed = by_name(frontier_of(sweep_of(*noisy, measured("once", [9.0]), published("paper", 9.5, itl_p50=0.02))))
    once, twice, paper = (placed[name].joules for name in ("once", "0", "paper"))
    assert once is not None
    assert twice is not None
    assert once.error == pytest.approx(math.sqrt(2) * twice.error, rel=0.05)
    assert once.error == pytest.approx(math.log(1.02) / math.sqrt(2), rel=0.3)
    assert paper == Estimate(9.5)


def test_an_error_is_never_below_what_the_blocks_say() -> None:
    point = SweepPoint("a", passes=(Pass(1.0, error=0.05, seconds={"itl": 0.01}),))
    (placed,) = frontier_of(sweep_of(point)).points
    assert placed.joules is not None
    assert placed.joules.error == pytest.approx(0.05)


def test_passes_that_name_have_no_part_in_the_choice() -> None:
    # By the first pass "lucky" is the least; the second one tells what it costs.
    sweep = sweep_of(measured("lucky", [1.00, 1.20]), measured("steady", [1.05, 1.05], default=True))
    found = chosen(sweep)
    assert (found.name, found.confirmed) == ("lucky", True)
    assert found.over_default is not None
    assert found.over_default.value == pytest.approx(1 - 1.20 / 1.05)
    many = sweep_of(measured("a", [1.0] * 20 + [5.0] * NAMING), measured("b", [2.0]))
    ahead = chosen(many).ahead
    assert ahead is not None
    assert ahead.value == pytest.approx(2.0 / 5.0 - 1)


def test_a_tie_is_told_and_so_is_a_choice_from_single_passes() -> None:
    tied = frontier_of(sweep_of(measured("a", [1.000]), measured("b", [1.001], default=True)))
    assert tied.recommendation is not None
    assert (tied.recommendation.name, tied.recommendation.confirmed) == ("a", False)
    assert [note.split(":")[0] for note in tied.notes] == [
        "a and b are tied",
        "the recommended point and its runner-up were not both measured again after they were chosen",
    ]
    apart = frontier_of(sweep_of(measured("a", [1.0, 1.0]), measured("b", [2.0, 2.0], default=True)))
    assert apart.notes == ()


def test_passes_that_speak_against_the_choice_are_told() -> None:
    result = frontier_of(sweep_of(measured("lucky", [1.00, 1.20]), measured("b", [1.05, 1.05], default=True)))
    assert result.notes[0].startswith("lucky and b are tied: b takes -12.5% (")
    steady = [measured(str(n), [3.0] * 9) for n in range(3)]
    sure = sweep_of(measured("lucky", [1.00, 1.02]), measured("b", [1.01, 0.95], default=True), *steady)
    assert frontier_of(sure).notes[0].startswith("lucky was chosen, but later passes speak against it: b takes -6.9% (")


def test_between_models_intervals_hold_for_the_gpus_that_were_measured() -> None:
    points = [replace(measured(sku, [1.0]), sku=sku) for sku in ("H100", "B200")]
    told = "GPUs of one model differ by percents: intervals between models hold for the GPUs that were measured"
    assert told in frontier_of(sweep_of(*points)).notes
    assert told not in frontier_of(llama()).notes


def test_a_saving_is_told_against_the_default_and_the_fastest_but_not_against_itself() -> None:
    points = measured("small", [4.0], 0.01), measured("now", [2.0], 0.02, default=True), measured("large", [1.0], 0.04)
    found = chosen(sweep_of(*points))
    assert found.over_default is not None
    assert found.over_fastest is not None
    assert (found.name, found.fastest) == ("large", "small")
    assert found.over_default.value == pytest.approx(0.5)
    assert found.over_default.low < 0.5 < found.over_default.high
    assert found.over_fastest.value == pytest.approx(0.75)
    only = chosen(sweep_of(*points), "itl < 15 ms")
    assert (only.name, only.fastest, only.over_fastest, only.runner_up) == ("small", "small", None, "")
    assert only.over_default is not None
    assert only.over_default.value < 0


@pytest.mark.parametrize(
    ("latency", "reason"),
    [
        (0.0400, ""),
        (0.0499, "itl_p50 of 49.9 ms (48.3 ms to 51.5 ms) straddles itl < 50 ms"),
        (0.0501, "itl_p50 of 50.1 ms (48.5 ms to 51.7 ms) straddles itl < 50 ms"),
        (0.0600, "itl_p50 of 60.0 ms misses itl < 50 ms"),
    ],
)
def test_an_interval_over_the_limit_does_not_surely_meet_it(latency: float, reason: str) -> None:
    (placed,) = frontier_of(sweep_of(measured("a", [1.0], latency)), parse_slo("itl < 50 ms")).points
    assert (placed.meets, placed.reason, placed.standing) == (not reason, reason, Standing.FRONTIER)


def test_throughput_is_units_per_second_and_every_condition_counts() -> None:
    points = [published("a", 1, itl=0.01, unit=1 / 900), published("b", 2, itl=0.01, unit=1 / 1100)]
    asked = parse_slo("itl < 50 ms and throughput >= 1000")
    result = frontier_of(sweep_of(*points), asked)
    placed = by_name(result)
    assert placed["a"].reason == "900/s misses throughput >= 1000"
    assert placed["a"].throughput == pytest.approx(900)
    assert result.recommendation is not None
    assert result.recommendation.name == "b"
    assert result.recommendation.beyond is not None
    assert result.recommendation.beyond.to == "a"


def test_what_cannot_be_weighed_is_listed_with_the_reason_and_dominates_nobody() -> None:
    points = [
        replace(published("failed", 0.1, itl=0.001), invalid="its test failed"),
        published("nan", 0.1, itl=math.nan),
        published("free", 0.0, itl=0.001),
        published("other", 0.1, call=0.001),
        SweepPoint("blurred", passes=(Pass(1.0, error=math.inf, seconds={"itl": 0.001}),)),
        SweepPoint("never"),
        published("sound", 1, itl=0.1),
    ]
    result = frontier_of(sweep_of(*points))
    placed = by_name(result)
    assert {name: at.reason for name, at in placed.items() if at.standing is Standing.EXCLUDED} == {
        "failed": "its test failed",
        "nan": "its itl is nan, which is no measurement",
        "free": "its J/token is 0, which is no measurement",
        "other": "has no itl; it has call",
        "blurred": "its J/token is 1 ± inf, which is no measurement",
        "never": "was not measured",
    }
    assert placed["sound"].standing is Standing.FRONTIER
    assert result.recommendation is not None
    assert result.recommendation.name == "sound"


numbers = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=200)
@given(st.lists(st.lists(st.tuples(numbers, numbers, st.none() | numbers), max_size=3), max_size=4))
def test_no_number_breaks_it(rows: list[list[tuple[float, float, float | None]]]) -> None:
    points = (
        SweepPoint(str(n), passes=tuple(Pass(j, error=e, seconds={"itl": t, "unit": t}) for j, t, e in row))
        for n, row in enumerate(rows)
    )
    sweep, asked = sweep_of(*points), parse_slo("itl < 1 s and throughput > 1")
    result = frontier_of(sweep, asked)
    assert bool(result.nothing) == (result.recommendation is None)
    next_point(sweep, asked, affordable=9)


def test_a_limit_that_nobody_meets_names_the_nearest() -> None:
    result = frontier_of(llama(), parse_slo("itl < 4 ms"))
    assert result.recommendation is None
    assert result.nothing == (
        "no point surely meets itl < 4 ms; nearest comes B200 at 8: itl_p50 of 4.57 ms misses itl < 4 ms"
    )


def test_a_latency_or_a_condition_that_nobody_measured_names_those_that_are_there() -> None:
    sweep = sweep_of(published("a", 1, call=1.0, unit=0.1))
    assert frontier_of(sweep).nothing == (
        "no point has joules and a latency to be weighed (1 point: has no itl_p50; it has call, unit)"
    )
    asked = frontier_of(replace(sweep, latency="call"), parse_slo("ttft < 1 s"))
    assert asked.nothing == "ttft < 1 s cannot be met: no point has ttft_p50; they have call, unit"
    assert frontier_of(replace(sweep, points=())).nothing == "the sweep has no points"


def test_settings_name_points_where_they_tell_them_apart() -> None:
    one, two = measured("test_it[8-a]", [1.0], size="8"), measured("test_it[16-a]", [1.001], default=True, size="16")
    assert frontier_of(sweep_of(one, two)).notes[0].startswith("size=8 and size=16 are tied: size=16 takes +0.1% (")
    assert "nearest comes size=8: itl_p50 of" in frontier_of(sweep_of(one, two), parse_slo("itl < 1 ms")).nothing
    alike = frontier_of(sweep_of(one, replace(two, settings=one.settings)))
    assert alike.notes[0].startswith("test_it[8-a] and test_it[16-a] are tied")


def test_a_default_without_joules_is_no_measure_and_the_reason_is_told() -> None:
    broken = replace(measured("a", [1.0], default=True, size="8"), invalid="its test failed")
    assert frontier_of(sweep_of(broken, measured("b", [1.0], size="16"))).notes == (
        "only 1 of 2 points was measured and is sound: nothing to compare it with",
        "nothing is told about what is saved against the default, size=8: its test failed",
    )


def test_thousands_of_points_take_no_time() -> None:
    random_ = random.Random(7)
    points = [published(f"p{n}", random_.uniform(1, 2), itl=random_.uniform(1, 2)) for n in range(5000)]
    began = time.process_time()
    html.render(RunResult("2026-02-13T00:00:00Z", "1", sweeps=(sweep_of(*points),)))
    assert time.process_time() - began < 5, "placing each beside each takes half a minute"


def test_one_point_is_compared_with_nothing() -> None:
    result = frontier_of(sweep_of(measured("a", [1.0])))
    assert result.notes == ("there is but one point: nothing to compare it with",)
    assert result.recommendation == Recommendation("a", fastest="a")


def test_two_points_of_one_name_are_an_error() -> None:
    sweep = sweep_of(measured("a", [1.0]), measured("a", [2.0]))
    told = "sweep 'chat decode' has 2 points named 'a': give each its own name"
    with pytest.raises(ValueError, match=told):
        frontier_of(sweep)
    with pytest.raises(ValueError, match=told):
        next_point(sweep, affordable=9)


# -- where further measurements go


LEVELS = {"best": 1.0, "close": 1.005, "fast": 1.5, "now": 1.3, "far": 1.6}
SECONDS = {"best": 0.040, "close": 0.042, "fast": 0.010, "now": 0.030, "far": 0.060}


def spent(affordable: int, slo: str = "", noise: float = 0.002) -> tuple[Sweep, list[str]]:
    """A sweep measured as it is told to, and the names in order."""
    random_, conditions = random.Random(7), parse_slo(slo) if slo else ()
    sweep = sweep_of(*(SweepPoint(name, default=name == "now") for name in LEVELS))
    names: list[str] = []
    for left in range(affordable, 0, -1):
        name = next_point(sweep, conditions, affordable=left)
        if name is None:
            break
        at = [LEVELS[name], SECONDS[name]]
        joules, seconds = (value * math.exp(random_.gauss(0, noise)) for value in at)
        points = (
            replace(p, passes=(*p.passes, Pass(joules, seconds={"itl_p50": seconds}))) if p.name == name else p
            for p in sweep.points
        )
        sweep = replace(sweep, points=tuple(points))
        names.append(name)
    return sweep, names


def test_every_point_is_measured_before_any_of_them_again() -> None:
    assert spent(3)[1] == ["best", "close", "fast"]


def test_the_last_that_is_affordable_names_winner_runner_up_default_and_fastest() -> None:
    assert spent(5 + 4)[1][5:] == ["best", "close", "now", "fast"]
    assert chosen(spent(5 + 2)[0]).confirmed
    assert not chosen(spent(5 + 1)[0]).confirmed


def test_more_is_spent_where_the_choice_is_close_and_nothing_where_it_is_clear() -> None:
    sweep, names = spent(1000, noise=0.01)
    passes = {name: names.count(name) for name in LEVELS}
    assert passes["far"] == 1
    assert passes["now"] == passes["fast"] == NAMED
    assert min(passes["best"], passes["close"]) > NAMED
    assert next_point(sweep, affordable=1000) is None
    assert len(names) < 60


def test_of_many_rivals_each_must_be_ruled_out_more_surely() -> None:
    scatter = [0.99, 1.01] * 4
    best = measured("best", scatter, 0.02)
    rivals = [measured(f"rival {n}", [1.015 * value for value in scatter], 0.03) for n in range(15)]
    assert next_point(sweep_of(best, rivals[0]), affordable=9) is None
    assert next_point(sweep_of(best, *rivals), affordable=9) == "rival 0"


def test_points_beyond_the_limit_are_left_alone() -> None:
    _, names = spent(1000, "itl < 35 ms")
    assert names.count("best") == names.count("close") == names.count("far") == 1


def test_a_point_that_straddles_the_limit_is_looked_at_again_if_it_may_be_the_choice() -> None:
    _, names = spent(1000, "itl < 40.2 ms", noise=0.01)
    assert names.count("best") > NAMED
    assert names.count("close") <= NAMED


def test_a_tie_on_the_frontier_is_looked_at_a_few_times() -> None:
    apart = [measured("best", [1.0] * NAMED, 0.02), measured("fast", [1.5] * NAMED, 0.010)]
    sweep = sweep_of(*apart, measured("beside", [1.501], 0.0102))
    assert next_point(sweep, affordable=9) == "beside"
    settled = sweep_of(*apart, measured("beside", [1.501] * FRONTIER_PASSES, 0.0102))
    assert next_point(settled, affordable=9) is None


def test_nothing_is_measured_that_is_published_invalid_or_unaffordable() -> None:
    sweep = sweep_of(published("a", 1.0, itl=0.01), replace(SweepPoint("b"), invalid="its test failed"))
    assert next_point(sweep, affordable=9) is None
    assert next_point(sweep_of(SweepPoint("a")), affordable=0) is None


@settings(max_examples=50)
@given(passes_of_points, st.integers(1, 5))
def test_the_next_point_is_one_of_the_sweep_and_the_same_whenever_it_is_asked(
    rows: list[list[tuple[float, float]]], affordable: int
) -> None:
    points = [measured(str(n), [j for j, _ in row], [t for _, t in row]) for n, row in enumerate(rows)]
    found = next_point(sweep_of(*points), parse_slo("itl < 1 s"), affordable=affordable)
    assert found == next_point(sweep_of(*points), parse_slo("itl < 1 s"), affordable=affordable)
    assert found is None or found in {point.name for point in points}
