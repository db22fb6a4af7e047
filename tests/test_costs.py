"""What work costs: from a price and a carbon intensity to what so many requests come to, in numbers and in words."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import EVERY_VERDICT

from pytest_joules.costs import cost_of, costs_of, parse_carbon, parse_price, per_joule, unsound
from pytest_joules.model import (
    Block,
    BudgetResult,
    Conditions,
    Measurement,
    Price,
    Rates,
    RunResult,
    Verdict,
    VerdictKind,
    WindowKind,
)
from pytest_joules.rejudging import together
from pytest_joules.reporting import costs as words
from pytest_joules.reporting import json as json_report
from pytest_joules.reporting import terminal
from pytest_joules.units import UnitError

BOTH = Rates(Price(0.30, "EUR"), 350.0)
positive = st.floats(1e-6, 1e6)


def test_a_kilowatt_hour_costs_its_price() -> None:
    cost = cost_of(3600.0, "request", BOTH)
    assert (cost.count, cost.joules) == (1000, 3.6e6)
    assert (cost.price, cost.grams) == (Price(0.30, "EUR"), 350.0)


def test_what_nobody_said_is_not_made_up() -> None:
    cost = cost_of(1.0, "image", Rates())
    assert (cost.price, cost.grams) == (None, None)
    assert words.words(cost) == "1.00 kJ, 278 mWh"


def test_tokens_are_told_by_the_million() -> None:
    """Llama-3.1-8B on a B200 at ``max_num_seqs`` 1024, ML.ENERGY Leaderboard v3, lm-arena-chat: 0.0549 J/token."""
    cost = cost_of(0.0549, "token", BOTH)
    assert words.amount(cost) == "1,000,000 tokens"
    assert words.words(cost) == "54.9 kJ, 15.2 Wh, 0.00458 EUR, 5.34 g CO2e"


@given(joules=positive, price=positive, carbon=positive)
def test_costs_are_proportional_to_joules(joules: float, price: float, carbon: float) -> None:
    rates = Rates(Price(price, "USD"), carbon)
    one, two = (cost_of(value, "request", rates) for value in (joules, 2 * joules))
    assert one.price is not None
    assert two.price is not None
    assert two.price.amount == pytest.approx(2 * one.price.amount)
    assert two.grams == pytest.approx(2 * (one.grams or math.nan))
    assert per_joule(joules) * joules == pytest.approx(1)


@given(text=st.text(max_size=20))
def test_a_price_is_read_whole_or_not_at_all(text: str) -> None:
    for parse, suffix in ((parse_price, "EUR/kWh"), (parse_carbon, "g/kWh")):
        for candidate in (text, f"{text} {suffix}", f"1 {suffix}{text}"):
            with contextlib.suppress(UnitError):
                parse(candidate)
                assert candidate.strip().endswith(("kWh", "MWh"))


@pytest.mark.parametrize("number", ["9" * 400, "1" + "0" * 308, "0." + "0" * 30 + "1"])
def test_a_price_beyond_all_numbers_is_refused(number: str) -> None:
    with pytest.raises(UnitError, match="neither 0 nor from 1e-15 to"):
        parse_price(f"{number} EUR/kWh")


@pytest.mark.parametrize(
    ("rates", "fault"),
    [
        (Rates(), ""),
        (Rates(Price(0.3, "EUR"), 350.0), ""),
        (Rates(Price(-1.0, "EUR")), "a price of -1"),
        (Rates(Price(1e300, "EUR")), "a price of 1e+300"),
        (Rates(Price(1.0, "<b>")), "a currency called '<b>'"),
        (Rates(carbon=-5.0), "a carbon of -5"),
    ],
)
def test_stored_rates_are_such_as_can_be_given(rates: Rates, fault: str) -> None:
    assert unsound(rates) == fault


def measured(**blocks: tuple[Block, ...]) -> Measurement:
    return Measurement("main", WindowKind.REPEATED, (), blocks, 2.0, 0.5, Conditions())


def test_requests_are_told_where_they_are_counted() -> None:
    window = measured(
        token=(Block(10.0, 1000.0, 1.0),), request=(Block(10.0, 4.0, 1.0),), call=(Block(10.0, 1.0, 1.0),)
    )
    assert [(cost.unit, cost.count, cost.joules) for cost in costs_of(window, "token", Rates())] == [
        ("token", 1_000_000, 10_000.0),
        ("request", 1000, 2500.0),
    ]
    assert [cost.unit for cost in costs_of(window, "request", Rates())] == ["request"]
    assert [cost.unit for cost in costs_of(measured(image=(Block(10.0, 1.0, 1.0),)), "image", Rates())] == ["image"]
    assert costs_of(measured(image=(Block(10.0, 0.0, 1.0),)), "image", Rates()) == []
    assert costs_of(measured(image=(Block(0.0, 1.0, 1.0),)), "image", Rates()) == [], "a counter that stood still"


def measured_results(run: RunResult) -> list[BudgetResult]:
    return [result for result in run.results if result.measurement is not None and result.key is not None]


def test_the_method_stands_beside_the_numbers() -> None:
    found = measured_results(EVERY_VERDICT)
    assert found
    for result in found:
        *numbers, method = words.lines(result, BOTH)
        assert numbers[0].startswith("  costs      throughput per watt: ")
        assert "EUR" in numbers[-1]
        assert "CO2e" in numbers[-1]
        assert method.endswith(
            "counted: joules of the measured devices alone, x 0.3 EUR/kWh and x 350 g CO2e/kWh; "
            "no host, cooling or embodied carbon"
        )
        assert all("EUR" not in line for line in words.lines(result, Rates()))


def test_a_number_that_cannot_be_trusted_costs_nothing_that_is_told() -> None:
    found = measured_results(EVERY_VERDICT)[0]
    assert words.told(replace(found, verdict=Verdict(VerdictKind.INVALID, "MIG")), BOTH) == []


def test_verbose_tells_the_costs_of_every_budget() -> None:
    run = replace(EVERY_VERDICT, rates=BOTH)
    told = terminal.report(run, ("test",), "test", lambda _: "", verbose=True)
    told += [
        line for result in run.results if result.failed for line in terminal.details(result, "", "", BOTH, verbose=True)
    ]
    assert sum("  costs  " in line for line in told) == len([r for r in measured_results(run) if r.declared])
    assert not any("  costs  " in line for line in terminal.report(run, ("test",), "test", lambda _: ""))


def test_rates_are_kept_in_the_report_and_among_parts_that_agree() -> None:
    run = replace(EVERY_VERDICT, rates=BOTH)
    assert together([run, run]).rates == BOTH
    assert together([run, replace(run, rates=Rates())]).rates == Rates()
    assert json_report.to_data(run)["rates"] == {"price": {"amount": 0.3, "currency": "EUR"}, "carbon": 350.0}
