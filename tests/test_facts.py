"""Whether two sessions did the same work: what spoils a comparison, what is only told, and what is nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pytest_joules.facts import changed, differences, ratios, wandering, warm
from pytest_joules.model import Block, Conditions, Measurement, WindowKind
from pytest_joules.phases import remainder
from pytest_joules.workloads.work import Call, Split


@pytest.mark.parametrize(
    ("fact", "now", "then", "spoils"),
    [
        ("preemptions_per_request", 0.001, 0.0, False),  # one of a thousand requests
        ("preemptions_per_request", 0.055, 0.05, False),
        ("preemptions_per_request", 0.05, 0.0, True),
        ("preemptions_per_request", 1.5, 1.0, True),
        ("cached_prompt_share", 0.31, 0.30, False),
        ("cached_prompt_share", 0.98, 0.0, True),
        ("finished_share", 0.9, 1.0, True),
        ("draft_acceptance", 0.68, 0.70, False),
    ],
)
def test_other_work(fact: str, now: float, then: float, spoils: bool) -> None:
    found = differences({fact: now}, [{fact: then}, {}], {}, [{}])
    assert bool(found.other_work) is spoils
    assert found.notes == ()


def differ(today: Mapping[str, str], *stored: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    found = differences({}, [], today, stored)
    return found.other_work, found.notes


def test_settings_that_differ_are_named() -> None:
    assert differ({"enforce_eager": "True"}, {"enforce_eager": "False"}) == (
        "",
        ("enforce_eager: True, in the baseline False",),
    )
    assert differ({"dtype": "half", "new": "1"}, {"dtype": "half"}, {"dtype": "float", "old": "1"}) == ("", ())
    spoiled, notes = differ({"weights": "random"}, {"weights": "real"})
    assert spoiled.endswith("joules do not compare: weights: random, in the baseline real")
    assert notes == ()
    assert differ({"weights": "random"}, {}) == ("", ())


def test_what_follows_from_another_setting_is_not_told_of_beside_it() -> None:
    before = {"enforce_eager": "False", "cudagraph_mode": "FULL", "num_hidden_layers": "32", "parameters": "80"}
    eager = {**before, "enforce_eager": "True", "cudagraph_mode": "NONE"}
    assert changed(eager, [before]) == {"enforce_eager": ("True", ("False",))}
    assert changed({**before, "cudagraph_mode": "NONE"}, [before]) == {"cudagraph_mode": ("NONE", ("FULL",))}
    assert changed({**before, "num_hidden_layers": "33", "parameters": "82"}, [before]).keys() == {"num_hidden_layers"}
    assert changed(before, [before]) == {}


def test_estimates_are_facts_that_are_told_of_by_the_diagnosis_alone() -> None:
    facts = ratios({"flop": 6e9, "byte": 4e9, "token": 2, "call": 1})
    assert facts["flops_per_token"] == 3e9
    assert facts["bytes_per_call"] == 4e9
    assert differences(facts, [{name: 2 * value for name, value in facts.items()}], {}, []).notes == ()


def test_the_batch_of_a_call_is_a_fact() -> None:
    facts = ratios({"request": 64, "call": 2, "image": 4})
    assert facts == {"requests_per_call": 32, "images_per_call": 2}
    assert differences(facts, [{"requests_per_call": 64.0}], {}, []).notes == (
        "requests per call: 32, in the baseline 64",
    )


def test_a_warm_prefix_cache() -> None:
    assert "served 94.0% of the prompt tokens" in warm({"prompt_token": 100, "cached_prompt_token": 94})
    assert warm({"prompt_token": 100, "cached_prompt_token": 20}) == ""
    assert warm({"prompt_token": 0, "cached_prompt_token": 0}) == warm({"token": 3}) == ""


def test_calls_that_produce_other_amounts() -> None:
    assert "between 90 and 128 tokens: fix max_tokens" in wandering("token", 90, 128)
    assert wandering("token", 128, 128) == ""
    assert wandering("image", 0, 1).endswith("between 0 and 1 images")


def test_ratios_of_what_was_counted() -> None:
    assert ratios({"token": 10, "request": 4}) == {"tokens_per_request": 2.5}
    assert ratios({"token": 10, "request": 0}) == {}


def measured(joules: list[float], tokens: float, requests: float = 8.0) -> Measurement:
    blocks = {
        unit: tuple(Block(each, 10 * count, 0.5) for each in joules)
        for unit, count in (("call", 1.0), ("token", tokens), ("request", requests))
    }
    return Measurement("main", WindowKind.REPEATED, (), blocks, 10.0 * len(joules), 0.0, Conditions())


SPLIT = Split("prefill", "prompt_token", "decode", "token", Call(print))


def test_the_rest_has_no_more_blocks_than_either_phase() -> None:
    """A block that counted several times would hide how little is known of the noise."""
    first = replaced_seconds(measured([20.0, 22.0], tokens=8), 0.1)
    rest = remainder(measured([100.0, 102.0, 101.0, 99.0, 100.0], tokens=64), first, SPLIT)
    # Two pieces of two and three blocks; a block holds ten calls in both.
    assert [block.joules for block in rest.blocks["token"]] == pytest.approx([202 - 40, 300 - 66])
    assert [block.units for block in rest.blocks["token"]] == pytest.approx([20 * 56, 30 * 56])
    assert [block.units for block in rest.blocks["request"]] == pytest.approx([20 * 8, 30 * 8])
    assert [block.seconds for block in rest.blocks["token"]] == pytest.approx([1.0 - 0.2, 1.5 - 0.3])
    assert list(rest.blocks) == ["call", "token", "request"]


def replaced_seconds(measurement: Measurement, seconds: float) -> Measurement:
    blocks = {
        unit: tuple(Block(b.joules, b.units, seconds) for b in found) for unit, found in measurement.blocks.items()
    }
    return Measurement("prefill", WindowKind.REPEATED, (), blocks, measurement.calls, 0.0, Conditions())


def test_no_rest_is_invalid() -> None:
    rest = remainder(measured([20.0, 21.0], tokens=8), measured([21.0, 20.0], tokens=8), SPLIT)
    assert "too small to be found by difference" in rest.invalid
    assert not rest.blocks
