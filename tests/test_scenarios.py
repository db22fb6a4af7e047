"""Every rule by a change on the simulated GPU that was recorded once, with signals withdrawn from both sides."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_joules.model import Measurement

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from scenarios import GROUPS, NOTHING, Scenario, diagnosed, first, recorded  # noqa: E402

RECORDED = list(recorded(BENCHMARKS / "results" / "scenarios.json"))
SOUND = [found for found in RECORDED if not found[2].invalid]


@pytest.mark.parametrize(("scenario", "before", "after"), RECORDED, ids=lambda value: getattr(value, "name", ""))
def test_a_change_is_named_or_the_window_is_refused(
    scenario: Scenario, before: Measurement, after: Measurement
) -> None:
    assert not before.invalid
    if after.invalid:
        assert scenario.expected in after.invalid
        return
    found = diagnosed(before, after)
    assert first(found) == scenario.expected
    assert abs(found.unexplained) <= max(0.5 * abs(found.change), found.noise)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(("scenario", "before", "after"), SOUND, ids=lambda value: getattr(value, "name", ""))
def test_without_a_signal_the_change_is_named_among_others_or_not_at_all(
    scenario: Scenario, before: Measurement, after: Measurement, group: str
) -> None:
    found = diagnosed(before, after, GROUPS[group])
    named = first(found).split(" or ")
    assert scenario.expected in named or named == [NOTHING]
    if len(named) > 1:
        cause = found.causes[0]
        assert cause.text.startswith("either ")
        assert cause.text.endswith((" is unavailable", " are unavailable"))
        assert ":  " not in cause.text
        assert cause.explains is None
        assert "apart: " in found.missing[0]
