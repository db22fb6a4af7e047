"""Which batch cap, and with CUDA graphs or without: joules per token against inter-token latency.

    pytest --energy --energy-slo "itl_p95 < 15 ms" examples/vllm/test_offline_sweep.py

Each prompt length is a sweep of its own, since other prompts are other work.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_joules import Energy

pytest.importorskip("vllm", reason="needs vLLM: pip install -r examples/vllm/requirements.txt")

from model import model_arguments
from vllm import LLM, SamplingParams

if TYPE_CHECKING:
    from vllm import TokensPrompt

REQUESTS = 256
NEW_TOKENS = 64


@pytest.fixture(scope="module")
def llm(max_num_seqs: int, enforce_eager: bool) -> Iterator[LLM]:
    """An engine of each configuration; both prompt lengths are measured before the next one is loaded."""
    arguments: dict[str, Any] = {"max_model_len": 2048, "max_num_seqs": max_num_seqs, "enforce_eager": enforce_eager}
    arguments |= {"enable_prefix_caching": False, "skip_tokenizer_init": True, "disable_log_stats": False, "seed": 0}
    engine = LLM(**{**model_arguments(), **arguments})
    yield engine
    engine.llm_engine.engine_core.shutdown()


TODAY = pytest.mark.energy_sweep(default=True)


@pytest.mark.energy_sweep("{prompt_tokens} prompt tokens", latency="itl_p95")
@pytest.mark.parametrize("prompt_tokens", [256, 1024])
@pytest.mark.parametrize("enforce_eager", [pytest.param(False, marks=TODAY), True], scope="module")
@pytest.mark.parametrize("max_num_seqs", [32, 64, 128, pytest.param(256, marks=TODAY)], scope="module")
def test_decode(energy: Energy, llm: LLM, prompt_tokens: int) -> None:
    """The same requests under every configuration."""
    tokens = random.Random(0)
    prompts: list[TokensPrompt] = [
        {"prompt_token_ids": tokens.choices(range(1000, 100_000), k=prompt_tokens)} for _ in range(REQUESTS)
    ]
    exactly = SamplingParams(max_tokens=NEW_TOKENS, ignore_eos=True, temperature=0.0, detokenize=False)
    energy(llm.generate, prompts, exactly, use_tqdm=False)
