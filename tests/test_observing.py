"""Odd suites on the stand-in for vLLM: what is counted, what is refused, and what is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DEVICE, PRODUCT, SKU, Suite

from pytest_joules.baselines.store import Addition
from pytest_joules.model import BaselineKey, Block, Conditions, Session

ENGINES = Path(__file__).parent / "engines"

VLLM = f"""
    import sys
    import pytest
    sys.path.insert(0, {str(ENGINES)!r})
    from vllm import LLM, AsyncLLM, SamplingParams
    from pytest_joules.testing import launch, synchronize

    PROMPTS = [{{"prompt_token_ids": [n, *range(99)]}} for n in range(8)]
    EIGHT = SamplingParams(max_tokens=8, ignore_eos=True)
"""


def test_repeated_prompts_and_a_prefix_cache(suite: Suite) -> None:
    suite.write(
        """
    @pytest.mark.energy_budget("9 J/token")
    @pytest.mark.parametrize("caches", [True, False])
    def test_generate(energy, caches):
        energy(LLM(enable_prefix_caching=caches).generate, PROMPTS, EIGHT)
    """,
        prelude=VLLM,
    )
    ran, report = suite.report()
    ran.assert_outcomes(passed=2)
    warm, cold = (result["measurement"]["notes"] for result in report["results"])
    assert any(note.startswith("the prefix cache served 99.0% of the prompt tokens") for note in warm)
    assert not any("prefix cache" in note for note in cold)


def test_phases_need_sampling_parameters_to_shorten(suite: Suite) -> None:
    suite.write(
        """
    def test_generate(energy):
        llm = LLM()
        for args in [(PROMPTS,), (PROMPTS, None), (PROMPTS, [])]:
            with pytest.raises(ValueError, match="without sampling parameters"):
                energy.phases(llm.generate, *args)
        energy.phases(llm.generate, PROMPTS, EIGHT)
        assert [m.window for m in energy.measurements] == ["main", "prefill", "decode"]
        with pytest.raises(ValueError, match="two windows named 'decode'"):
            energy.window("decode").__enter__()
        with pytest.raises(ValueError, match="two windows named 'prefill'"):
            energy.phases(llm.generate, PROMPTS, EIGHT)
    """,
        prelude=VLLM,
    )
    suite.run().assert_outcomes(passed=1)


def test_a_budget_of_the_rest_alone_is_given_the_time_that_it_needs(suite: Suite) -> None:
    suite.write(
        """
    @pytest.mark.energy_budget(tolerance="2%", window="decode")
    @pytest.mark.energy_budget("9 J/token")
    def test_generate(energy):
        energy.phases(LLM(enable_prefix_caching=False).generate, PROMPTS, EIGHT)
        whole, prefill, decode = (len(m.any_blocks) for m in energy.measurements)
        assert decode == min(whole, prefill) >= 6
    """,
        prelude=VLLM,
    )
    suite.record(sessions=1)
    for key, (session,) in suite.store.load(SKU).entries.items():
        for day in (1, 2):
            earlier = replace(session, recorded=f"2026-01-0{day}T00:00:00+00:00")
            suite.store.update(SKU, PRODUCT, True, {key: Addition(earlier)})
    ran = suite.run()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["energy: 2 passed*"])


def test_a_stream_that_is_consumed_after_its_window(suite: Suite) -> None:
    suite.write(
        """
    import asyncio

    def test_late(energy):
        async def run():
            async with energy.window("late") as window:
                stream = window.stream(AsyncLLM().stream([1, 2], EIGHT, "r", "delta", 2))
            with pytest.raises(ValueError, match="consume it inside the window"):
                async for _ in stream:
                    pass
        asyncio.run(run())

    def test_interleaved_and_abandoned(energy):
        async def run():
            async with energy.window("two") as window:
                llm = AsyncLLM()
                one = window.stream(llm.stream([1, 2], EIGHT, "r", "delta", 2))
                other = window.stream(llm.stream([1, 2], EIGHT, "r", "cumulative", 2))
                await anext(one), await anext(other), await anext(one)
                async for _ in other:
                    pass
                launch(bytes=1e12)
        asyncio.run(run())
        (measured,) = energy.measurements
        assert {unit: block.units for unit, (block,) in measured.blocks.items()} == {
            "call": 1, "token": 4 + 8, "prompt_token": 4, "request": 2
        }
        assert measured.conditions.facts["finished_share"] == 0.5
    """,
        prelude=VLLM,
    )
    suite.run().assert_outcomes(passed=2)


def test_a_setting_that_changed_is_named(suite: Suite) -> None:
    suite.write(
        """
    @pytest.mark.energy_budget(tolerance="2%")
    def test_generate(energy):
        energy(LLM(enable_prefix_caching=False).generate, PROMPTS, EIGHT)
    """,
        prelude=VLLM,
    )
    _, report = suite.report("--energy-missing=warn")
    level = report["results"][0]["verdict"]["joules_per_unit"]
    blocks = tuple(Block(level * 0.9 * (1 + wiggle), 1.0, 0.4) for wiggle in (-0.0005, 0.0, 0.0005))
    settings = {"enforce_eager": "True", "max_num_seqs": "8"}
    session = Session("2026-01-01T00:00:00+00:00", (DEVICE,), blocks, conditions=Conditions(configuration=settings))
    key = BaselineKey("test_it.py::test_generate", "main", "token")
    for _ in range(3):
        suite.store.update(SKU, PRODUCT, True, {key: Addition(session)})
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*enforce_eager: True -> False*"])
    ran.stdout.no_fnmatch_line("*max_num_seqs*")


def test_calls_that_count_something_else_are_told_of(suite: Suite) -> None:
    suite.write(
        """
    import itertools

    @pytest.mark.parametrize("rests", [0, 1])
    def test_generate(energy, rests):
        llm, number = LLM(enable_prefix_caching=False), itertools.count(rests)
        energy(lambda: (llm.generate(PROMPTS, EIGHT), None)[next(number) % 2])
        (measured,) = energy.measurements
        assert "the calls produced between 0 and 64 tokens: fix max_tokens" in "".join(measured.notes)

    def test_setup(energy):
        llm = LLM(enable_prefix_caching=False)
        for nonsense in [True, (PROMPTS,), (PROMPTS, EIGHT, {})]:
            with pytest.raises(ValueError, match=r"it may return \\(args, kwargs\\) for the call, or None"):
                energy.repeat(llm.generate, setup=lambda: nonsense, window=str(len(str(nonsense))))
        energy.repeat(llm.generate, setup=lambda: ((PROMPTS[:4], EIGHT), {}))
        (measured,) = energy.measurements
        assert sum(b.units for b in measured.blocks["token"]) == pytest.approx(32 * measured.calls)
    """,
        prelude=VLLM,
    )
    suite.run().assert_outcomes(passed=3)


def test_an_update_keeps_other_work_apart_where_only_a_limit_counts(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.write(
        """
    import os

    @pytest.mark.energy_budget("9 J/token")
    def test_generate(energy):
        energy(LLM(enable_prefix_caching="CACHE" in os.environ).generate, PROMPTS, EIGHT)
    """,
        prelude=VLLM,
    )
    suite.record(sessions=1)
    monkeypatch.setenv("CACHE", "1")
    ran = suite.run("--energy-update")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*mJ/token (*, replaced), 1 session"])
