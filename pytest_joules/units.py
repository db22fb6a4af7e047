"""Joules, watts, percentages and ``J/token`` text to numbers and back.

Every parser takes the whole text or raises :class:`UnitError`; a unit that is
nearly right is a mistake, not a guess.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone

ENERGY_UNITS = {
    "nJ": 1e-9,
    "uJ": 1e-6,
    "µJ": 1e-6,
    "mJ": 1e-3,
    "J": 1.0,
    "kJ": 1e3,
    "MJ": 1e6,
    "GJ": 1e9,
    "TJ": 1e12,
    "mWh": 3.6,
    "Wh": 3600.0,
    "kWh": 3.6e6,
}
"""Joules in one of each energy unit that a limit may be written in."""

MICRO, GREEK_MU = "\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"
"""The prefix as keyboards have it, and the letter that looks the same."""

READER_DIGITS = 6
"""Significant digits of a number that is for a reader, and decides nothing."""

SMALLEST_NUMBER, LARGEST_NUMBER = 1e-15, 1e24
"""Joules, seconds, counts of work and facts that a baseline file holds; one call of an engine is 1e15 FLOPs or more."""

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = rf"\s*({_NUMBER})\s*([A-Za-zµ]+)\s*/\s*([A-Za-z_][A-Za-z0-9_]*)\s*"
_PERCENT = rf"\s*({_NUMBER})\s*%\s*"
_SI_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


class UnitError(ValueError):
    """Text that is not a quantity; the message names the text and the fix."""


@dataclass(frozen=True, slots=True)
class EnergyPerUnit:
    """A limit: ``joules`` (J) per one ``unit`` of work.

    Attributes:
        joules: Most joules (J) per unit.
        unit: The unit of work.
    """

    joules: float
    unit: str

    def __str__(self) -> str:
        return f"{format_joules(self.joules)}/{self.unit}"


def parse_energy_per_unit(text: str) -> EnergyPerUnit:
    """Read ``"80 mJ/token"``, ``"1.2 kJ/image"`` or ``"0.3 Wh/video"``.

    Raises:
        UnitError: for anything else, for an unknown energy unit, and for a
            limit that is not above zero.
    """
    match = re.fullmatch(_QUANTITY, text.replace(GREEK_MU, MICRO))
    if match is None:
        raise UnitError(f"{text!r} is not an energy per unit of work; write it like '80 mJ/token'")
    number, energy, unit = match.groups()
    if energy not in ENERGY_UNITS:
        raise UnitError(f"unknown energy unit {energy!r} in {text!r}; use one of {', '.join(ENERGY_UNITS)}")
    joules = float(number) * ENERGY_UNITS[energy]
    if not (joules > 0 and math.isfinite(joules)):
        raise UnitError(f"the limit {text!r} must be a finite energy above zero")
    return EnergyPerUnit(joules, unit)


def parse_percent(text: str) -> float:
    """Read ``"2.5%"`` as the fraction 0.025.

    Raises:
        UnitError: for text without the sign ``%``, and outside (0, 100) %.
    """
    match = re.fullmatch(_PERCENT, text)
    if match is None:
        raise UnitError(f"{text!r} is not a percentage; write it like '2%'")
    fraction = float(match.group(1)) / 100
    if not 0 < fraction < 1:
        raise UnitError(f"{text!r} must lie between 0% and 100%")
    return fraction


def _format_si(value: float, symbol: str, digits: int) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {symbol}"
    reached = (pair for pair in _SI_PREFIXES if abs(value) >= pair[0] * (1 - 0.5 * 10.0**-digits))
    scale, prefix = next(reached, _SI_PREFIXES[-1])
    scaled = float(f"{value / scale:.{digits}g}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:.{decimals}f} {prefix}{symbol}"


def format_joules(joules: float, digits: int = 4) -> str:
    """``0.0742`` as ``"74.20 mJ"``, to ``digits`` significant digits."""
    return _format_si(joules, "J", digits)


def format_joules_range(low: float, high: float) -> str:
    """``0.041`` and ``0.0468`` as ``"41-47 mJ"``: in one unit, to two significant digits of the lower end."""
    if not 0 < low <= high < 1000 * low:
        return f"{format_joules(low)} to {format_joules(high)}"
    scale, prefix = next((pair for pair in _SI_PREFIXES if high >= pair[0]), _SI_PREFIXES[-1])
    decimals = max(0, 1 - math.floor(math.log10(low / scale)))
    return f"{low / scale:.{decimals}f}-{high / scale:.{decimals}f} {prefix}J"


def format_seconds(seconds: float, digits: int = 3) -> str:
    """``0.0213`` as ``"21.3 ms"``."""
    return f"{seconds:.1f} s" if seconds >= 100 else _format_si(seconds, "s", digits)


def format_bytes(count: float) -> str:
    """``81.2e9`` as ``"81.2 GB"``: decimal, as bandwidths are given."""
    return _format_si(count, "B", 3) if count >= 1 else f"{count:.0f} B"


def format_watt_hours(joules: float) -> str:
    """``54900.0`` as ``"15.2 Wh"``."""
    return _format_si(joules / ENERGY_UNITS["Wh"], "Wh", 3)


def format_grams(grams: float) -> str:
    """``5.337`` as ``"5.34 g"``."""
    return _format_si(grams, "g", 3)


def format_amount(amount: float) -> str:
    """``0.0045833`` as ``"0.00458"``: of money, two decimals or three significant digits, and no exponent."""
    decimals = 2 if abs(amount) >= 1 or amount == 0 else 2 - math.floor(math.log10(abs(amount)))
    return f"{amount:,.{decimals}f}"


def format_count(count: float) -> str:
    """``1.28e6`` as ``"1.28 million"``."""
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return f"{count:.3g}"


def format_rate(rate: float) -> str:
    """``15584.2`` as ``"15,584"``: of a throughput, four significant digits or all before the point."""
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.4g}"


def plural(count: int, noun: str) -> str:
    """``3`` and ``"session"`` as ``"3 sessions"``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def significant(value: float, digits: int = READER_DIGITS) -> float:
    """A number to so many significant digits."""
    return float(f"{value:.{digits}g}")


def format_percent(fraction: float, *, signed: bool = False, digits: int = 1) -> str:
    """``0.0213`` as ``"2.1%"``, or ``"+2.1%"`` when ``signed``; what rounds to nothing has no minus."""
    return f"{round(100 * fraction, digits) + 0.0:{'+' if signed else ''}.{digits}f}%"


def format_time(moment: datetime) -> str:
    """UTC, ISO 8601 to the second: times in this one form compare as text."""
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")


def utc_now() -> str:
    """The time, as :func:`format_time` writes it."""
    return format_time(datetime.now(timezone.utc))
