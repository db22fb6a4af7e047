"""Whose joules, on a host of two GPUs: vLLM on both, vLLM on one, streamed outputs, and torch on the other.

pytest --energy --energy-missing=warn benchmarks/h200/test_two_gpus.py

The model is eight of Llama 8B's layers, eager, so that an engine starts in seconds.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_joules import Energy

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "vllm"))
pytest.importorskip("vllm")

from model import model_arguments
from vllm import LLM, SamplingParams

NEW_TOKENS = 64
ARGUMENTS: dict[str, Any] = {
    **model_arguments(),
    "hf_overrides": {"num_hidden_layers": 8},
    "enforce_eager": True,
    "max_model_len": 1024,
    "max_num_seqs": 64,
    "enable_prefix_caching": False,
    "skip_tokenizer_init": True,
    "disable_custom_all_reduce": True,
    "gpu_memory_utilization": 0.5,
}


def prompts(count: int) -> list[dict[str, list[int]]]:
    """Prompts of 256 random tokens."""
    tokens = random.Random(0)
    return [{"prompt_token_ids": tokens.choices(range(1000, 100_000), k=256)} for _ in range(count)]


@contextmanager
def engine(**arguments: Any) -> Iterator[LLM]:
    """An offline engine, shut down at the end."""
    llm = LLM(**{**ARGUMENTS, **arguments})
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()


def charged(energy: Energy) -> list[int]:
    """The GPUs whose joules the latest window has, and a line that says so."""
    latest = energy.measurements[-1]
    unit = next(unit for unit in latest.blocks if unit != "call")
    watts = latest.joules / latest.seconds
    print(f"\n{latest.window}: GPUs {[d.index for d in latest.devices]}, {latest.joules_per(unit)} J/{unit}, {watts} W")
    return [device.index for device in latest.devices]


@pytest.mark.energy_budget
def test_tensor_parallel_is_charged_both(energy: Energy) -> None:
    params = SamplingParams(max_tokens=NEW_TOKENS, ignore_eos=True, detokenize=False)
    with engine(tensor_parallel_size=2) as llm:
        energy(llm.generate, prompts(64), params, use_tqdm=False)
    assert charged(energy) == [0, 1]


@pytest.mark.energy_budget
def test_one_gpu_is_charged_its_own(energy: Energy) -> None:
    params = SamplingParams(max_tokens=NEW_TOKENS, ignore_eos=True, detokenize=False)
    with engine() as llm:
        energy(llm.generate, prompts(64), params, use_tqdm=False)
    assert charged(energy) == [0]


@pytest.mark.energy_budget
def test_streams_are_counted_by_their_tokens(energy: Energy) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.async_llm import AsyncLLM

    async def stream(window: Any, llm: Any, name: str, prompt: Any, kind: Any) -> int:
        params = SamplingParams(max_tokens=NEW_TOKENS, ignore_eos=True, detokenize=False, output_kind=kind)
        items = [item async for item in window.stream(llm.generate(prompt, params, name))]
        return len(items)

    async def body() -> None:
        llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**{**ARGUMENTS, "stream_interval": 4}))
        kinds = [RequestOutputKind.DELTA, RequestOutputKind.CUMULATIVE]
        try:
            async with energy.window("main") as window:
                requests = (stream(window, llm, str(n), p, kinds[n % 2]) for n, p in enumerate(prompts(64)))
                chunks = await asyncio.gather(*requests)
        finally:
            llm.shutdown()
        print(f"\n{sum(chunks)} chunks")

    asyncio.run(body())
    (latest,) = energy.measurements
    assert latest.blocks["token"][0].units == 64 * NEW_TOKENS
    assert latest.blocks["prompt_token"][0].units == 64 * 256
    assert charged(energy) == [0]


@pytest.mark.energy_budget
def test_torch_on_the_other_gpu_is_charged_that_one(energy: Energy) -> None:
    import torch

    a = torch.randn(8192, 8192, device="cuda:1", dtype=torch.bfloat16)
    energy.repeat(torch.mm, (a, a), work={"product": 1})
    assert charged(energy) == [1]
