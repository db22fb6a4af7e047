"""Conditions on latency and throughput: text to values and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.latency import NAMES
from pytest_joules.slo import LATENCIES, Condition, SloError, latency_called, parse_slo

METRICS = st.sampled_from((*LATENCIES, *NAMES))
BOUNDS = st.floats(1e-9, 1e9)
CONDITIONS = st.one_of(
    st.builds(Condition, METRICS, BOUNDS, least=st.just(False), inclusive=st.booleans()),
    st.builds(Condition, st.just("throughput"), BOUNDS, least=st.just(True), inclusive=st.booleans()),
)


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("itl_p95 < 50 ms", (Condition("itl_p95", 0.05),)),
        ("itl<=50ms", (Condition("itl", 0.05, inclusive=True),)),
        ("call < 1.5 s and ttft_p99 < 200 ms", (Condition("call", 1.5), Condition("ttft_p99", 0.2))),
        (" unit < 250us ,throughput>=1e3 ", (Condition("unit", 250e-6), Condition("throughput", 1e3, True, True))),
        ("throughput > 12.5 /s", (Condition("throughput", 12.5, least=True),)),
        ("e2e_p50 < 7 \N{MICRO SIGN}s", (Condition("e2e_p50", 7e-6),)),
        ("e2e_p50 < 7 \N{GREEK SMALL LETTER MU}s", (Condition("e2e_p50", 7e-6),)),
    ],
)
def test_conditions_are_read(text: str, conditions: tuple[Condition, ...]) -> None:
    assert parse_slo(text) == conditions


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no condition where one belongs in ''; write it like 'itl_p95 < 50 ms'"),
        ("itl < 50 ms,", "no condition where one belongs in 'itl < 50 ms,'"),
        ("itl < 50 ms and", "no condition where one belongs"),
        ("itl = 50 ms", "'itl = 50 ms' in 'itl = 50 ms' is no condition"),
        ("itl < fifty ms", "'itl < fifty ms' in"),
        ("itl < -50 ms", "is no condition"),
        ("itl < nan ms", "is no condition"),
        ("itl < 0 ms", "'itl < 0 ms': the limit must be a finite number above zero"),
        (f"itl < 1{400 * '0'} s", "the limit must be a finite number above zero"),
        ("itl < ٥ ms", "is no condition"),
        ("throughput > 0", "the limit must be a finite number above zero"),
        (
            "latency < 50 ms",
            "unknown metric 'latency' in 'latency < 50 ms'; use throughput, or one of call, unit, ttft",
        ),
        ("ITL < 50 ms", "unknown metric 'ITL'"),
        ("itl_p100 < 50 ms", "unknown metric 'itl_p100'"),
        ("itl_p42 < 50 ms", "or a percentile, as in itl_p50, itl_p90, itl_p95, itl_p99"),
        ("unit_p95 < 50 ms", "unknown metric 'unit_p95'"),
        ("throughput_p50 > 5", "unknown metric 'throughput_p50'"),
        ("itl < 50", "'itl < 50': a latency takes one of the units s, ms, us, µs, as in 'itl < 50 ms'"),
        ("itl < 50 sec", "takes one of the units"),
        ("itl < 50 ms now", "is no condition"),
        ("throughput >= 5 tokens", "'tokens' is no unit of a throughput"),
        ("itl > 50 ms", "'itl > 50 ms': a latency is held to the most that will do; write 'itl <= 50 ms'"),
        ("throughput < 5", "a throughput is held to the least that will do; write 'throughput >= 5'"),
    ],
)
def test_anything_else_is_an_error_that_names_it_and_the_fix(text: str, told: str) -> None:
    with pytest.raises(SloError) as error:
        parse_slo(text)
    assert told in str(error.value)


@given(st.lists(CONDITIONS, min_size=1, max_size=3))
def test_a_condition_reads_back_as_it_is_written(conditions: list[Condition]) -> None:
    assert parse_slo(", ".join(map(str, conditions))) == tuple(conditions)
    assert parse_slo(" and ".join(map(str, conditions))) == tuple(conditions)


def test_a_reader_finds_the_unit_that_he_wrote() -> None:
    assert [str(condition) for condition in parse_slo("itl_p95 < 50 ms, call <= 1.5 s, throughput >= 1000")] == [
        "itl_p95 < 50 ms",
        "call <= 1.5 s",
        "throughput >= 1000",
    ]


def test_the_bound_itself_will_do_if_it_is_included() -> None:
    most, least = parse_slo("itl <= 50 ms, throughput > 10")
    assert [most.holds(0.05), most.holds(0.051), least.holds(10), least.holds(10.1)] == [True, False, False, True]


def test_a_name_without_a_percentile_is_itself_or_the_median() -> None:
    assert latency_called("call", {"call", "call_p50"}) == "call"
    assert latency_called("call", {"itl_p50", "call_p50"}) == "call", "a mean, which is no median"
    assert latency_called("itl", {"itl_p50", "itl_p95"}) == "itl_p50"
    assert latency_called("itl_p95", set()) == "itl_p95"
