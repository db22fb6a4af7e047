"""What work comes to in the units that people budget in: Wh, money and CO2e for so many requests.

Pure functions.  A price and a carbon intensity are the user's; there is no
default, since none would be right anywhere else.  What they are applied to
are the joules of the measured devices alone; reports say so with every number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pytest_joules.codec import shown
from pytest_joules.model import Measurement, Price, Rates
from pytest_joules.units import ENERGY_UNITS, LARGEST_NUMBER, SMALLEST_NUMBER, UnitError

REQUEST = "request"
"""The unit that is budgeted in, where it is counted."""

MANY = {"token": 1_000_000, "prompt_token": 1_000_000}
"""How many of a unit are told together; of others it is :data:`USUALLY`.  Tokens are sold by the million."""

USUALLY = 1000

_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_CURRENCY = "[A-Z]{3}"
_PER = r"\s*/\s*(kWh|MWh)\s*"
_KILOWATT_HOURS = {"kWh": 1.0, "MWh": 1000.0}
_GRAMS = {"g": 1.0, "kg": 1000.0}


def parse_price(text: str) -> Price:
    """Read ``"0.30 EUR/kWh"`` or ``"95 USD/MWh"``; the currency is three capital letters, as ISO 4217 has them.

    Raises:
        UnitError: for anything else; 0 is a price.
    """
    match = re.fullmatch(rf"\s*({_NUMBER})\s*({_CURRENCY}){_PER}", text)
    if match is None:
        raise UnitError(f"{text!r} is not a price of energy; write it like '0.30 EUR/kWh'")
    return Price(_finite(match[1], text) / _KILOWATT_HOURS[match[3]], match[2])


def parse_carbon(text: str) -> float:
    """Read ``"350 g/kWh"``, ``"0.35 kg/kWh"`` or ``"350 kg/MWh"`` of CO2e as grams per kWh.

    Raises:
        UnitError: for anything else; 0 is an intensity.
    """
    match = re.fullmatch(rf"\s*({_NUMBER})\s*(g|kg){_PER}", text)
    if match is None:
        raise UnitError(f"{text!r} is not a carbon intensity; write it in CO2e, like '350 g/kWh'")
    return _finite(match[1], text) * _GRAMS[match[2]] / _KILOWATT_HOURS[match[3]]


def _finite(number: str, text: str) -> float:
    if not _is_rate(value := float(number)):
        raise UnitError(f"{text!r} is neither 0 nor from {SMALLEST_NUMBER:g} to {LARGEST_NUMBER:g}")
    return value


def _is_rate(value: float) -> bool:
    return value == 0 or SMALLEST_NUMBER <= value <= LARGEST_NUMBER


def unsound(rates: Rates) -> str:
    """What of stored rates nobody can have given; empty if nothing is."""
    if rates.price is not None and not re.fullmatch(_CURRENCY, rates.price.currency):
        return f"a currency called {shown(rates.price.currency)!r}"
    numbers = {"price": rates.price.amount if rates.price is not None else 0.0, "carbon": rates.carbon or 0.0}
    return next((f"a {name} of {value:g}" for name, value in numbers.items() if not _is_rate(value)), "")


@dataclass(frozen=True, slots=True)
class Cost:
    """What so many units of work come to.

    Attributes:
        count: How many.
        unit: Of what.
        joules: Their energy, J.
        price: What that costs; ``None`` where nobody said what energy does.
        grams: Their CO2e, g, likewise.
    """

    count: int
    unit: str
    joules: float
    price: Price | None = None
    grams: float | None = None


def cost_of(joules_per_unit: float, unit: str, rates: Rates) -> Cost:
    """What a usual number of units comes to.

    Args:
        joules_per_unit: J per unit; what a unit saves will do as well.
        unit: The unit of work.
        rates: What energy costs.
    """
    count = MANY.get(unit, USUALLY)
    joules = count * joules_per_unit
    kilowatt_hours = joules / ENERGY_UNITS["kWh"]
    return Cost(
        count,
        unit,
        joules,
        None if rates.price is None else replace(rates.price, amount=rates.price.amount * kilowatt_hours),
        None if rates.carbon is None else rates.carbon * kilowatt_hours,
    )


def costs_of(measurement: Measurement, unit: str, rates: Rates) -> list[Cost]:
    """What the unit that was judged comes to, and the request, where a window counted both."""
    return [
        cost_of(measurement.joules_per(told), told, rates)
        for told in dict.fromkeys((unit, REQUEST))
        if measurement.joules > 0 and sum(block.units for block in measurement.blocks.get(told, ())) > 0
    ]


def per_joule(joules_per_unit: float) -> float:
    """Throughput per watt: units per joule, which is units/s/W; *The ML.ENERGY Benchmark*, arXiv 2505.06371."""
    return 1 / joules_per_unit
