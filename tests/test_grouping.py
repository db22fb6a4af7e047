"""Groups of sweeps by their tests' parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_joules.arguments import MarkerError
from pytest_joules.grouping import EnergySweep, Member, grouped


def member(settings: Mapping[str, str], **marked: Any) -> Member:
    name = f"test_decode[{'-'.join(settings.values())}]"
    return Member(name, "test_decode", EnergySweep.from_markers([((), marked)]), settings)


def members(**marked: Any) -> list[Member]:
    return [member({"prompt": prompt, "cap": cap}, **marked) for prompt in ("64", "{}") for cap in ("8", "256")]


def test_each_value_of_a_parameter_in_the_name_is_a_sweep_of_its_own() -> None:
    found = grouped(members(group="prompts of {prompt}"))
    assert list(found) == ["prompts of 64", "prompts of {}"]
    for points in found.values():
        assert [point.settings for point in points] == [{"cap": "8"}, {"cap": "256"}]


@pytest.mark.parametrize(
    ("marked", "told"),
    [
        ({"group": "prompts of {length}"}, "test_decode[64-8]: group='prompts of {length}': the test's parameters are"),
        ({"group": "prompts of {"}, "write {{ for a brace"),
        ({"group": "{prompt[x]}"}, "parameters are prompt, cap"),
        ({"group": "{prompt.real}"}, "parameters are prompt, cap"),
    ],
)
def test_what_is_no_parameter_is_an_error(marked: Mapping[str, Any], told: str) -> None:
    with pytest.raises(MarkerError) as caught:
        grouped(members(**marked))
    assert told in str(caught.value)
