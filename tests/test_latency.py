"""Percentiles: of what was timed, of how many values, and of which stretch of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.latency import (
    NAMES,
    QUANTILES,
    Timings,
    bucket_quantile,
    enough,
    named,
    of_calls,
    of_histogram,
    of_values,
    weighted_quantile,
)

VALUES = st.lists(st.tuples(st.floats(1e-6, 1e3), st.integers(1, 300)), max_size=40)


def test_names_are_those_that_a_condition_may_speak_of() -> None:
    assert {"call", "unit", "call_p95", "ttft_p50", "itl_p95", "tpot_p95", "e2e_p99"} <= set(NAMES)


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        (0, set()),
        (1, {"call"}),
        (2, {"call", "call_p50"}),
        (19, {"call", "call_p50", "call_p90"}),
        (20, {"call", "call_p50", "call_p90", "call_p95"}),
        (100, {"call", "call_p50", "call_p90", "call_p95", "call_p99"}),
    ],
)
def test_a_percentile_is_told_of_enough_calls(calls: int, told: set[str]) -> None:
    found = of_calls([(1.0 + number, 1.0) for number in range(calls)])
    assert set(found) == told
    assert all(value < calls for name, value in found.items() if "_p" in name)  # never the slowest


def test_calls_that_were_completed_together_have_a_mean_alone() -> None:
    assert of_calls([(0.001, 4.0), (0.004, 2.0)]) == {"call": pytest.approx(0.002)}


@given(VALUES)
def test_percentiles_rise_are_values_and_have_so_many_below(values: list[tuple[float, float]]) -> None:
    found = of_values("itl", values)
    total = sum(count for _, count in values)
    assert set(found) == {named("itl", q) for q in QUANTILES if enough(total, q)}
    assert list(found.values()) == sorted(found.values())
    for quantile in QUANTILES:
        if (value := found.get(named("itl", quantile))) is not None:
            assert sum(count for seconds, count in values if seconds <= value) >= quantile * total - 1e-6
            assert sum(count for seconds, count in values if seconds < value) < quantile * total


@given(VALUES)
def test_a_count_stands_for_as_many_values(values: list[tuple[float, float]]) -> None:
    each = [(seconds, 1.0) for seconds, count in values for _ in range(int(count))]
    assert of_values("itl", each) == of_values("itl", values)


def test_only_what_was_over_in_the_blocks_counts() -> None:
    timings = Timings()
    for number in range(10):
        timings.add("e2e", float(number), number / 10)
    assert timings.between(3.0, 5.0) == {"e2e": [(0.4, 1.0), (0.5, 1.0)]}
    assert timings.percentiles(-math.inf, -1.0) == {}


def test_a_chunk_s_gap_is_shared_by_its_tokens() -> None:
    timings = Timings()
    # Three tokens come at once, then one, then an end without any.
    timings.add_chunks([(1.0, 1), (1.3, 4), (1.5, 5), (1.6, 5)])
    found = timings.between(0.0, 2.0)
    assert np.allclose(found["itl"], [(0.1, 3), (0.2, 1)])
    assert np.allclose(found["tpot"], [(0.5 / 4, 1)])


BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.5, math.inf)


def histogram(values: Sequence[float]) -> dict[float, float]:
    return {bound: float(sum(value <= bound for value in values)) for bound in BOUNDS}


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_of_buckets_lies_in_the_bucket_of_the_true_one(values: list[float], quantile: float) -> None:
    found = bucket_quantile(histogram(values), quantile)
    true = sorted(values)[math.ceil(quantile * len(values)) - 1]
    low, high = next((a, b) for a, b in pairwise((0.0, *BOUNDS)) if true <= b)
    assert low - 1e-12 <= found <= high + 1e-12


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50), st.lists(st.floats(0, 10), max_size=50))
def test_quantiles_of_a_histogram_rise_and_forget_what_was_before(values: list[float], earlier: list[float]) -> None:
    found = of_histogram("x", histogram(earlier), histogram([*earlier, *values]))
    assert list(found) == [named("x", q) for q in QUANTILES if enough(len(values), q)]
    assert sorted(found.values()) == list(found.values())
    assert found == of_histogram("x", {}, histogram(values))
    assert of_histogram("x", histogram(earlier), histogram(earlier)) == {}
    assert of_histogram("x", {}, {math.inf: math.nan}) == {}


def test_promql_would_say_the_same() -> None:
    # histogram_quantile(0.9, ...) of ten observations up to 0.1 and ten more up to 0.5: linear in the second bucket.
    assert bucket_quantile({0.1: 10, 0.5: 20, math.inf: 20}, 0.9) == pytest.approx(0.42)
    assert bucket_quantile({0.1: 10, 0.5: 10, math.inf: 20}, 0.9) == 0.5


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(1, 5)), min_size=1, max_size=30), st.floats(0, 1))
def test_a_weighted_quantile_is_that_of_the_values_written_out(values: list[tuple[float, int]], share: float) -> None:
    written = sorted(value for value, weight in values for _ in range(weight))
    found = weighted_quantile(sorted((value, float(weight)) for value, weight in values), share)
    assert found == written[max(0, math.ceil(share * len(written) - 1e-9) - 1)]
