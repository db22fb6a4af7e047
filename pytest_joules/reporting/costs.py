"""What work costs, in words: throughput per watt, Wh, money and CO2e, and always how they were worked out."""

from __future__ import annotations

from pytest_joules.costs import Cost, costs_of, per_joule
from pytest_joules.model import BudgetResult, Rates, VerdictKind
from pytest_joules.units import format_amount, format_grams, format_joules, format_watt_hours

METHOD = "joules of the measured devices alone"
LEFT_OUT = "no host, cooling or embodied carbon"


def amount(cost: Cost) -> str:
    """``1,000 requests``."""
    return f"{cost.count:,} {cost.unit}s"


def words(cost: Cost) -> str:
    """``54.9 kJ, 15.3 Wh, 0.0046 EUR, 5.34 g CO2e``: what is not known is left out."""
    told = [format_joules(cost.joules, 3), format_watt_hours(cost.joules)]
    if cost.price is not None:
        told.append(f"{format_amount(cost.price.amount)} {cost.price.currency}")
    if cost.grams is not None:
        told.append(f"{format_grams(cost.grams)} CO2e")
    return ", ".join(told)


def method(rates: Rates) -> str:
    """How money and CO2e come about, and what is not in them."""
    factors = []
    if rates.price is not None:
        factors.append(f"{rates.price.amount:g} {rates.price.currency}/kWh")
    if rates.carbon is not None:
        factors.append(f"{rates.carbon:g} g CO2e/kWh")
    times = " and ".join(f"x {factor}" for factor in factors)
    return f"{METHOD}{f', {times}' if times else ''}; {LEFT_OUT}"


def throughput_per_watt(joules_per_unit: float, unit: str) -> str:
    """``18.2 tokens/s/W``."""
    return f"{per_joule(joules_per_unit):.3g} {unit}s/s/W"


def told(result: BudgetResult, rates: Rates) -> list[tuple[str, str]]:
    """What a budget's work costs, each with what it is; nothing without a number that can be trusted."""
    measurement = result.measurement
    if measurement is None or result.key is None or result.verdict.kind is VerdictKind.INVALID:
        return []
    if not (costs := costs_of(measurement, result.key.unit, rates)):
        return []
    unit = costs[0].unit
    return [
        ("Throughput per watt", throughput_per_watt(measurement.joules_per(unit), unit)),
        *((amount(cost), words(cost)) for cost in costs),
        ("Counted", method(rates)),
    ]


def lines(result: BudgetResult, rates: Rates) -> list[str]:
    """The same on the terminal."""
    found = [f"{name[0].lower()}{name[1:]}: {value}" for name, value in told(result, rates)]
    return [f"  {'costs' if number == 0 else '':<10} {line}" for number, line in enumerate(found)]
