"""Text to numbers and back: limits, percentages, markers and options."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.budget import BudgetError, EnergyBudget
from pytest_joules.options import SETTINGS, MeterChoice, OptionError, Options
from pytest_joules.units import (
    ENERGY_UNITS,
    UnitError,
    format_joules,
    format_percent,
    format_seconds,
    parse_energy_per_unit,
    parse_percent,
)


@pytest.mark.parametrize(
    ("text", "joules", "unit"),
    [
        ("80 mJ/token", 0.08, "token"),
        ("1.2 kJ/image", 1200.0, "image"),
        ("0.3 Wh/video", 1080.0, "video"),
        ("  5J / my_unit ", 5.0, "my_unit"),
        ("1e-3 J/call", 0.001, "call"),
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
        "80mj/token",
        "2",
        "-1 mJ/token",
        "0 J/token",
        "nan mJ/token",
        "1e999 J/token",
        "",
        "J/token",
        "8 J",
    ],
)
def test_what_is_nearly_a_limit_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_energy_per_unit(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["2", "2 %%", "0%", "100%", "-2%", "two%", "2% or so", "nan%"])
def test_percentages_that_are_none(text: str) -> None:
    with pytest.raises(UnitError):
        parse_percent(text)


@given(st.floats(1e-9, 1e9), st.sampled_from(sorted(ENERGY_UNITS)))
def test_every_unit_reads_back(number: float, unit: str) -> None:
    assert parse_energy_per_unit(f"{number!r} {unit}/x").joules == pytest.approx(number * ENERGY_UNITS[unit])


@given(st.floats(1e-8, 1e8))
def test_joules_print_to_four_digits(joules: float) -> None:
    text = format_joules(joules)
    assert parse_energy_per_unit(f"{text}/x").joules == pytest.approx(joules, rel=6e-4)
    assert len(text.split()[0].replace(".", "")) <= 5


def test_formats() -> None:
    assert format_joules(0) == "0 J"
    assert format_joules(0.99999) == "1.000 J"
    assert format_seconds(123.4) == "123.4 s"
    assert format_seconds(0.0213) == "21.3 ms"
    assert format_percent(0.0213, signed=True) == "+2.1%"
    assert str(parse_energy_per_unit("80 mJ/token")) == "80.00 mJ/token"


def test_a_full_marker() -> None:
    budget = EnergyBudget.from_marker(
        ("80 mJ/token",), {"tolerance": "2.5%", "window": "w", "devices": [0, "1"], "gate": False, "key": "k"}
    )
    assert budget.limit is not None
    assert (budget.per, budget.tolerance, budget.window) == ("token", 0.025, "w")
    assert (budget.devices, budget.gate, budget.key) == (("0", "1"), False, "k")
    assert budget.wants_baseline


def test_a_bare_limit_is_judged_alone_and_all_else_against_the_baseline() -> None:
    assert not EnergyBudget.from_marker(("80 mJ/token",), {}).wants_baseline
    assert EnergyBudget.from_marker((), {}).wants_baseline


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        (("80 mX/token",), {}, "unknown energy unit 'mX'"),
        ((80,), {}, "limit=80 must be text"),
        (("1 J/a", "2 J/b"), {}, "only one positional"),
        (("1 J/a",), {"limit": "1 J/a"}, "only one positional"),
        ((), {"tolerence": "2%"}, "unknown argument 'tolerence'"),
        ((), {"tolerance": 0.02}, "tolerance=0.02 must be text"),
        ((), {"tolerance": "2"}, "tolerance: '2' is not a percentage"),
        (("1 J/a",), {"per": "b"}, "the limit is per a but per='b'"),
        ((), {"gate": "no"}, "gate='no' must be True or False"),
        ((), {"window": ""}, "window='' must be a name"),
        ((), {"key": "a\nb"}, "key='a\\nb' must be a name"),
        ((), {"devices": []}, "devices=[] must be"),
        ((), {"devices": -1}, "-1 is neither a CUDA index nor a UUID"),
        ((), {"devices": [True]}, "True is neither"),
        ((), {"devices": ""}, "'' is neither"),
        ((), {"devices": [0, "0"]}, "names a device twice"),
    ],
)
def test_wrong_markers_name_the_argument_and_the_fix(
    args: tuple[Any, ...], kwargs: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BudgetError) as caught:
        EnergyBudget.from_marker(args, kwargs)
    assert complaint in str(caught.value)


def resolve(flags: dict[str, Any] | None = None, ini: dict[str, str] | None = None) -> Options:
    given_flags = {"energy": True, **(flags or {})}
    return Options.resolve(given_flags.get, lambda name: (ini or {}).get(name, ""), Path("/root-of-suite"))


GOOD = {
    "baselines": ("here", Path("/root-of-suite/here")),
    "meter": ("simulated:b200,seed=3", MeterChoice("simulated", "b200", (("seed", "3"),))),
    "devices": ("0, 1", ("0", "1")),
    "tolerance": ("3", 0.03),
    "max_seconds": ("2.5", 2.5),
    "missing": ("warn", "warn"),
    "inconclusive": ("fail", "fail"),
    "strict": ("yes", True),
    "sort": ("ratio", "ratio"),
    "columns": ("test,ratio", ("test", "ratio")),
}
BAD = {
    "meter": ("simulatd", "simulated:h300", "simulated:h200,speed=2", "simulated:h200,seed=x"),
    "devices": ("0,,1", "0,0", ""),
    "tolerance": ("0", "200%", "x"),
    "max_seconds": ("0", "-1", "soon", "inf", "nan"),
    "missing": ("ignore",),
    "inconclusive": ("pass",),
    "strict": ("perhaps",),
    "sort": ("colour",),
    "columns": ("test,colour",),
}


def test_every_setting_has_a_case() -> None:
    assert set(GOOD) == {setting.name for setting in SETTINGS}


@pytest.mark.parametrize("name", GOOD)
def test_flag_and_ini_twin_read_the_same(name: str) -> None:
    text, value = GOOD[name]
    assert getattr(resolve(flags={f"energy_{name}": text}), name) == value
    assert getattr(resolve(ini={f"energy_{name}": text}), name) == value
    assert math.isclose(resolve().tolerance, 0.02)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_bad_values_name_flag_or_ini_key(name: str, text: str) -> None:
    with pytest.raises(OptionError, match=f"--energy-{name.replace('_', '-')}: "):
        resolve(flags={f"energy_{name}": text})
    if text:
        with pytest.raises(OptionError, match=f"ini option energy_{name}: "):
            resolve(ini={f"energy_{name}": text})


def test_actions_need_the_run_and_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="need --energy"):
        resolve(flags={"energy": False, "energy_update": True})
    with pytest.raises(OptionError, match="not both"):
        resolve(flags={"energy_update": True, "energy_update_new": True})
