"""The time-energy frontier, the recommendation, and where further measurements go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.frontier import Frontier, Placed, Recommendation, Standing, frontier_of
from pytest_joules.model import Pass, Sweep, SweepPoint
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
