"""What an ``energy_budget`` marker may say; everything else is refused at collection."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.arguments import MarkerError
from pytest_joules.budget import EnergyBudget
from pytest_joules.units import EnergyPerUnit

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["80 mJ/token", "2%", "token"]),
    st.lists(st.one_of(st.integers(-1, 2), st.text(max_size=2), st.none()), max_size=3),
)
arguments = st.sampled_from(["limit", "tolerance", "per", "window", "devices", "gate", "key", "unit"])


def test_a_full_marker() -> None:
    budget = EnergyBudget.from_marker(
        ("80 mJ/token",), {"tolerance": "2.5%", "window": "w", "devices": [0, "1"], "gate": False, "key": "k"}
    )
    assert budget == EnergyBudget(EnergyPerUnit(0.08, "token"), 0.025, "token", "w", ("0", "1"), False, "k")


def test_an_empty_marker_compares_with_the_baseline() -> None:
    budget = EnergyBudget.from_marker((), {})
    assert budget == EnergyBudget()
    assert budget.wants_baseline
    assert budget.gate


def test_a_limit_may_be_named() -> None:
    assert EnergyBudget.from_marker((), {"limit": "1 J/a"}) == EnergyBudget.from_marker(("1 J/a",), {})


def test_none_is_as_good_as_absent() -> None:
    absent = dict.fromkeys(["limit", "tolerance", "per", "window", "devices", "key"])
    assert EnergyBudget.from_marker((), absent) == EnergyBudget.from_marker((), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "wanted"),
    [
        (("80 mJ/token",), {}, False),
        (("80 mJ/token",), {"tolerance": "2%"}, True),
        ((), {"tolerance": "2%"}, True),
        ((), {"per": "image"}, True),
    ],
)
def test_only_a_bare_limit_wants_no_baseline(args: tuple[Any, ...], kwargs: dict[str, Any], wanted: bool) -> None:
    assert EnergyBudget.from_marker(args, kwargs).wants_baseline is wanted


def test_the_limit_gives_the_unit() -> None:
    assert EnergyBudget.from_marker(("1 J/image",), {}).per == "image"
    assert EnergyBudget.from_marker(("1 J/image",), {"per": "image"}).per == "image"
    assert EnergyBudget.from_marker((), {"per": "image"}).per == "image"


@pytest.mark.parametrize(
    ("given_devices", "devices"),
    [(0, ("0",)), ("GPU-5a", ("GPU-5a",)), ([1, 0], ("1", "0")), ((0, "GPU-5a"), ("0", "GPU-5a"))],
)
def test_devices(given_devices: object, devices: tuple[str, ...]) -> None:
    assert EnergyBudget.from_marker((), {"devices": given_devices}).devices == devices


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        (("80 mJ/token foo",), {}, "limit: '80 mJ/token foo' is not an energy per unit of work"),
        (("80mj/token",), {}, "limit: unknown energy unit 'mj' in '80mj/token'; use one of"),
        (("2",), {}, "limit: '2' is not an energy per unit of work; write it like '80 mJ/token'"),
        (("-1 mJ/token",), {}, "limit: the limit '-1 mJ/token' must be a finite energy above zero"),
        (("nan mJ/token",), {}, "limit: 'nan mJ/token' is not"),
        (("1e999 J/token",), {}, "limit: the limit '1e999 J/token' must be"),
        ((80,), {}, "limit=80 must be text with its units"),
        (("1 J/a", "2 J/b"), {}, "only one positional"),
        (("1 J/a",), {"limit": "1 J/a"}, "only one positional"),
        ((), {"tolerence": "2%"}, "unknown argument 'tolerence'; use limit, tolerance"),
        ((), {"tolerance": 0.02}, "tolerance=0.02 must be text with its sign"),
        ((), {"tolerance": "2"}, "tolerance: '2' is not a percentage; write it like '2%'"),
        ((), {"tolerance": "0%"}, "tolerance: '0%' must lie between"),
        (("1 J/a",), {"per": "b"}, "the limit is per a but per='b'"),
        ((), {"gate": "no"}, "gate='no' must be True or False"),
        ((), {"gate": None}, "gate=None must be True or False"),
        ((), {"window": ""}, "window='' must be a name"),
        ((), {"window": "  "}, "window='  ' must be a name"),
        ((), {"window": 3}, "window=3 must be a name"),
        ((), {"key": "a\nb"}, "key='a\\nb' must be a name"),
        ((), {"devices": []}, "devices=[] must be"),
        ((), {"devices": {0, 1}}, "must be a CUDA index or a list"),
        ((), {"devices": -1}, "-1 is neither a CUDA index nor a UUID"),
        ((), {"devices": [True]}, "True is neither"),
        ((), {"devices": 1.0}, "devices=1.0 must be"),
        ((), {"devices": ""}, "'' is neither a CUDA index nor a UUID"),
        ((), {"devices": [0, "0"]}, "names a device twice"),
    ],
)
def test_wrong_markers_name_the_argument_and_the_fix(
    args: tuple[Any, ...], kwargs: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(MarkerError) as caught:
        EnergyBudget.from_marker(args, kwargs)
    assert complaint in str(caught.value)


@given(st.lists(values, max_size=2), st.dictionaries(arguments, values, max_size=4))
def test_any_marker_is_a_sound_budget_or_a_budget_error(args: list[Any], kwargs: dict[str, Any]) -> None:
    try:
        budget = EnergyBudget.from_marker(args, kwargs)
    except MarkerError:
        return
    assert budget.limit is None or (budget.limit.joules > 0 and budget.per == budget.limit.unit)
    assert budget.tolerance is None or 0 < budget.tolerance < 1
    assert budget.devices is None or (all(budget.devices) and len(set(budget.devices)) == len(budget.devices))
