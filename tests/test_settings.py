"""What of a configuration is kept: short values of known shapes, and nothing that names a place or a person."""

from __future__ import annotations

from enum import Enum, IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.facts import changed
from pytest_joules.workloads.settings import LONGEST, joined, kept
from pytest_joules.workloads.vllm_settings import SETTINGS, gpus_of_replica, of_config

KEPT = """
    bfloat16 fp8_e4m3 compressed-tensors FULL_AND_PIECEWISE EulerDiscreteScheduler+X
    0.9 -1 1e-05 32k 8030261248 0.0,0.7 3f9a2b1c
"""
LEFT_OUT = """
    /srv/me/model C:\\models ~/model meta-llama/Llama-3.1-8B me@example.com node7.example.com
    10.0.0.1 10.0.0.1:8000 GPU-8f3c1d2e-1234-5678-9abc-def012345678 8f3c1d2e-1234
"""


@pytest.mark.parametrize("value", KEPT.split())
def test_short_words_and_numbers_are_kept(value: str) -> None:
    assert kept({"name": value}) == {"name": value}


@pytest.mark.parametrize("value", [*LEFT_OUT.split(), "a b", "", "x" * 81, {"dir": 1}, ["a"], None, object()])
def test_what_may_name_a_place_or_a_person_is_not(value: Any) -> None:
    assert kept({"name": value}) == {}


@given(st.text(max_size=2 * LONGEST))
def test_whatever_is_kept_is_short_and_without_places(text: str) -> None:
    for value in kept({"name": text}).values():
        assert len(value) <= LONGEST
        assert not set(value) & set("/\\@:~ \n\t")


def test_enumerations_and_dtypes() -> None:
    class Backend(Enum):
        FLASH = "vllm.attention.Flash"
        OWN = "own"
        PAIR = (1, 2)

    class Mode(IntEnum):
        COMPILE = 3

    values = {"a": Backend.FLASH, "b": Backend.OWN, "c": Backend.PAIR, "d": Mode.COMPILE, "e": "torch.half"}
    assert kept(values) == {"a": "FLASH", "b": "own", "c": "PAIR", "d": "COMPILE", "e": "half"}
    assert joined([Backend.OWN, None, "", "x", Backend.OWN]) == "own+x"
    assert joined([None]) is None


def test_names_and_places_of_settings_are_one_thing_each() -> None:
    names = [name for setting in SETTINGS for name in {setting.name, *setting.paths, *setting.flags}]
    assert len(names) == len(set(names))


def test_a_configuration_of_another_version_gives_what_it_has() -> None:
    assert of_config(None) == of_config(SimpleNamespace()) == {}
    older = SimpleNamespace(compilation_config=SimpleNamespace(level=3), model_config=SimpleNamespace(model="/x"))
    assert of_config(older) == {"compilation_mode": "3"}


def test_what_is_there_and_has_no_value_is_unset() -> None:
    model = SimpleNamespace(quantization=None, enforce_eager=False, hf_text_config=SimpleNamespace(num_experts=None))
    off = SimpleNamespace(model_config=model, speculative_config=None)
    assert of_config(off) == {
        "quantization": "unset",
        "enforce_eager": "False",
        "speculative_method": "unset",
        "num_speculative_tokens": "unset",
    }
    on = SimpleNamespace(
        model_config=SimpleNamespace(quantization="fp8"), speculative_config=SimpleNamespace(method="ngram")
    )
    assert of_config(on) == {"quantization": "fp8", "speculative_method": "ngram"}
    assert {name: value[0] for name, value in changed(of_config(on), [of_config(off)]).items()} == of_config(on)


def test_the_gpus_of_a_replica() -> None:
    assert gpus_of_replica({}) == 1
    assert gpus_of_replica({"tensor_parallel_size": "4", "pipeline_parallel_size": "2"}) == 8
    assert gpus_of_replica({"tensor_parallel_size": "auto"}) == 1


def test_every_setting_is_in_the_documentation() -> None:
    told = (Path(__file__).parents[1] / "docs" / "engines.md").read_text()
    assert [setting.name for setting in SETTINGS if f"`{setting.name}`" not in told] == []
