"""Phases of a call: the first by itself, the rest by difference."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Suite
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.model import Block, Conditions, Measurement, WindowKind
from pytest_joules.phases import remainder
from pytest_joules.workloads.work import Call, Split

ENGINES = Path(__file__).parent / "engines"
SPLIT = Split("prefill", "prompt_token", "decode", "token", Call(print))

PHASES = f"""
    import sys
    import pytest
    sys.path.insert(0, {str(ENGINES)!r})
    from vllm import LLM, SamplingParams

    PROMPTS = [{{"prompt_token_ids": list(range(i, i + 256))}} for i in range(8)]

    @pytest.mark.energy_budget(tolerance="2%")
    @pytest.mark.energy_budget(tolerance="2%", window="prefill")
    @pytest.mark.energy_budget(tolerance="2%", window="decode")
    @pytest.mark.energy_budget("1 kJ/request", window="decode", per="request")
    def test_phases(energy):
        llm = LLM(enable_prefix_caching=False)
        outputs = energy.phases(llm.generate, PROMPTS, SamplingParams(max_tokens=64, ignore_eos=True))
        assert len(outputs[0].outputs[0].token_ids) == 64
"""


def measured(window: str, joules: list[float], seconds: list[float], calls: float, **units: float) -> Measurement:
    counts = {"call": calls, **{unit: calls * count for unit, count in units.items()}}
    blocks = {
        unit: tuple(Block(j, count, s) for j, s in zip(joules, seconds, strict=True)) for unit, count in counts.items()
    }
    return Measurement(window, WindowKind.REPEATED, (), blocks, calls * len(joules), 0.0, Conditions())


joules = st.floats(50.0, 500.0)


@given(st.lists(joules, min_size=1, max_size=6), st.lists(st.floats(1.0, 40.0), min_size=1, max_size=6))
def test_the_phases_add_up(whole: list[float], first: list[float]) -> None:
    total = measured("main", whole, [0.5] * len(whole), 4.0, token=512, prompt_token=2048, request=8)
    prefill = measured("prefill", first, [0.1] * len(first), 4.0, token=8, prompt_token=2048, request=8)
    decode = remainder(total, prefill, SPLIT)
    assert not decode.invalid
    # No block of either phase counts twice, or pieces of the rest would not be independent.
    assert len(decode.any_blocks) == min(len(whole), len(first))
    assert decode.joules <= total.joules
    assert sum(block.units for block in decode.blocks["token"]) == pytest.approx(4 * (512 - 8) * len(whole))
    # What the first phase does whole, the rest is divided by whole, too.
    assert sum(block.units for block in decode.blocks["request"]) == pytest.approx(32 * len(whole))
    assert next(unit for unit in decode.blocks if unit != "call") == "token"
    if len(whole) == len(first):
        assert decode.joules + sum(first) == pytest.approx(sum(whole))
        assert decode.seconds == pytest.approx(0.4 * len(whole))


def test_a_rest_that_is_not_there_is_invalid() -> None:
    total = measured("main", [100.0], [0.5], 4.0, token=512)
    prefill = measured("prefill", [101.0], [0.5], 4.0, token=8)
    assert "too small to be found by difference" in remainder(total, prefill, SPLIT).invalid


def test_every_phase_has_its_budgets(suite: Suite) -> None:
    suite.write(PHASES, prelude="")
    suite.run("--energy-update").assert_outcomes(passed=1)
    ran, report = suite.report("--energy-trace=traces")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["energy: 4 passed, 0 regressed, 0 inconclusive, 0 unmeasured"])
    keys = {(r["key"]["window"], r["key"]["unit"]): r["verdict"]["joules_per_unit"] for r in report["results"]}
    assert set(keys) == {("main", "token"), ("prefill", "prompt_token"), ("decode", "token"), ("decode", "request")}
    # Of one request: 256 prompt tokens with the first new one, and the other 63.
    parts = 256 * keys["prefill", "prompt_token"] + 63 * keys["decode", "token"]
    assert parts == pytest.approx(64 * keys["main", "token"], rel=0.01)
    (trace,) = (suite.path / "traces").glob("*.json.gz")
    suite.run(meter=f"replay:{trace}").assert_outcomes(passed=1)


def test_phases_of_unknown_calls_are_refused(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.energy_budget
    def test_unknown(energy):
        energy.phases(step)
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*WindowError: energy.phases(step): no adapter knows its phases*"])


def test_without_energy_the_call_runs_once(suite: Suite) -> None:
    suite.write("""
    def test_off(energy):
        calls = []
        assert energy.phases(lambda: calls.append(1) or len(calls)) == 1
    """)
    suite.pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
