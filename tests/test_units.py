"""Quantities in text: what is read, what is refused, and what is printed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.units import (
    ENERGY_UNITS,
    EnergyPerUnit,
    UnitError,
    format_joules,
    format_joules_range,
    format_percent,
    format_seconds,
    parse_energy_per_unit,
    parse_percent,
    plural,
)

numbers = st.floats(1e-9, 1e9)
units = st.sampled_from(sorted(ENERGY_UNITS))
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,11}", fullmatch=True)
junk = st.text(min_size=1, max_size=6).filter(lambda text: not text.isspace())


@pytest.mark.parametrize(
    ("text", "joules", "unit"),
    [
        ("80 mJ/token", 0.08, "token"),
        ("80mJ/token", 0.08, "token"),
        ("1.2 kJ/image", 1200.0, "image"),
        ("0.3 Wh/video", 1080.0, "video"),
        ("  5J / my_unit ", 5.0, "my_unit"),
        ("1e-3 J/call", 0.001, "call"),
        (".5 J/call", 0.5, "call"),
        ("5. J/call", 5.0, "call"),
        ("+5 J/call", 5.0, "call"),
        ("7 µJ/x", 7e-6, "x"),
        ("7 uJ/x", 7e-6, "x"),
        ("7 \N{GREEK SMALL LETTER MU}J/x", 7e-6, "x"),
        ("1 kWh/run", 3.6e6, "run"),
    ],
)
def test_limits(text: str, joules: float, unit: str) -> None:
    limit = parse_energy_per_unit(text)
    assert limit.joules == pytest.approx(joules)
    assert limit.unit == unit


@pytest.mark.parametrize(
    "text",
    [
        "80 mJ/token foo",
        "foo 80 mJ/token",
        "80 mJ/token/s",
        "80 mJ/token 2%",
        "80mj/token",
        "80 MJoule/token",
        "2",
        "8 J",
        "8 J/",
        "8 J/2",
        "8 J per token",
        "J/token",
        "-1 mJ/token",
        "0 J/token",
        "1e-999 J/token",
        "nan mJ/token",
        "inf J/token",
        "1e999 J/token",
        "1e308 kWh/token",
        "1,5 J/token",
        "1_000 J/token",
        "0x10 J/token",
        "80 m J/token",
        "80 mJ/to ken",
        "80 mJ/token\n5 J/image",
        "",
        " ",
    ],
)
def test_what_is_nearly_a_limit_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_energy_per_unit(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("80mj/token", "use one of nJ, uJ, µJ, mJ, J, kJ, MJ"),
        ("80 token", "write it like '80 mJ/token'"),
        ("-1 mJ/token", "finite energy above zero"),
    ],
)
def test_a_refusal_says_the_fix(text: str, fix: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_energy_per_unit(text)
    assert fix in str(caught.value)


@given(numbers, units, names)
def test_every_unit_reads_back(number: float, unit: str, name: str) -> None:
    limit = parse_energy_per_unit(f"{number!r} {unit}/{name}")
    assert limit.joules == pytest.approx(number * ENERGY_UNITS[unit])
    assert limit.unit == name


@given(numbers, units, names, junk)
def test_nothing_may_follow_or_precede_a_limit(number: float, unit: str, name: str, extra: str) -> None:
    for text in (f"{number!r} {unit}/{name} {extra}", f"{extra} {number!r} {unit}/{name}"):
        if extra.strip() in ("+", "-"):
            continue
        with pytest.raises(UnitError):
            parse_energy_per_unit(text)


@given(st.text(max_size=20))
def test_any_text_is_a_limit_above_zero_or_a_unit_error(text: str) -> None:
    try:
        limit = parse_energy_per_unit(text)
    except UnitError:
        return
    assert 0 < limit.joules < math.inf


@given(numbers, names)
def test_a_limit_prints_as_text_that_reads_back(joules: float, name: str) -> None:
    again = parse_energy_per_unit(str(EnergyPerUnit(joules, name)))
    assert again.unit == name
    # Four digits, but at the nano end whole hundredths of nothing smaller than a nanojoule.
    assert again.joules == pytest.approx(joules, rel=6e-4)


@pytest.mark.parametrize(("text", "fraction"), [("2%", 0.02), (" 2.5 % ", 0.025), ("1e-1%", 0.001), ("99.9%", 0.999)])
def test_percentages(text: str, fraction: float) -> None:
    assert parse_percent(text) == pytest.approx(fraction)


@pytest.mark.parametrize(
    "text", ["2", "2 %%", "0%", "100%", "-2%", "two%", "2% or so", "nan%", "inf%", "1e999%", "%", "", "2 percent"]
)
def test_percentages_that_are_none(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_percent(text)
    assert repr(text) in str(caught.value)


@given(st.floats(1e-6, 99.9))
def test_percentages_read_back(percent: float) -> None:
    assert parse_percent(f"{percent!r}%") == pytest.approx(percent / 100)


@given(st.floats(1e-8, 1e8), st.booleans())
def test_joules_print_to_four_digits(joules: float, negative: bool) -> None:
    text = format_joules(-joules if negative else joules)
    number, _ = text.split()
    assert len(number.lstrip("-").replace(".", "")) == 4
    assert text.startswith("-") == negative
    assert parse_energy_per_unit(f"{text.lstrip('-')}/x").joules == pytest.approx(joules, rel=6e-4)


@given(st.floats(1e-8, 1e8), st.floats(1e-8, 1e8))
def test_printed_joules_keep_their_order(a: float, b: float) -> None:
    low, high = (parse_energy_per_unit(f"{format_joules(value)}/x").joules for value in sorted((a, b)))
    assert low <= high * (1 + 1e-12)


@pytest.mark.parametrize(
    ("joules", "text"),
    [
        (0.0, "0 J"),
        (0.0742, "74.20 mJ"),
        (0.99999, "1.000 J"),
        (999.96, "1.000 kJ"),
        (999.94, "999.9 J"),
        (-1234.5, "-1.234 kJ"),
        (3.6e6, "3.600 MJ"),
        (math.inf, "inf J"),
        (math.nan, "nan J"),
    ],
)
def test_joules(joules: float, text: str) -> None:
    assert format_joules(joules) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.041, 0.0468, "41-47 mJ"),
        (0.95, 1.2, "0.95-1.20 J"),
        (98.4, 112.0, "98-112 J"),
        (8.42, 9.9, "8.4-9.9 J"),
        (990.0, 1400.0, "0.99-1.40 kJ"),
        (1e-12, 2e-12, "0.0010-0.0020 nJ"),
        (0.0, 1.0, "0 J to 1.000 J"),
        (1e-9, 1.0, "1.000 nJ to 1.000 J"),
    ],
)
def test_ranges_print_in_one_unit(low: float, high: float, text: str) -> None:
    assert format_joules_range(low, high) == text


def test_seconds_and_percentages_print() -> None:
    assert format_seconds(123.4) == "123.4 s"
    assert format_seconds(99.96) == "100 s"
    assert format_seconds(0.0213) == "21.3 ms"
    assert format_seconds(2.5e-6) == "2.50 µs"
    assert format_percent(0.0213) == "2.1%"
    assert format_percent(0.0213, signed=True) == "+2.1%"
    assert format_percent(-0.0213, signed=True) == "-2.1%"
    assert format_percent(0.0213, digits=0) == "2%"


def test_one_is_not_many() -> None:
    assert [plural(count, "session") for count in (0, 1, 2)] == ["0 sessions", "1 session", "2 sessions"]


def test_no_change_has_no_minus() -> None:
    assert [format_percent(change, signed=True) for change in (-0.0004, -0.0, 0.0004, -0.0006)] == [
        "+0.0%",
        "+0.0%",
        "+0.0%",
        "-0.1%",
    ]
