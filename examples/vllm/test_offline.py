"""Energy budgets of vLLM's offline engine on a real GPU.

    pytest --energy examples/vllm/test_offline.py

Try a change before you make it: ``VLLM_ARGUMENTS='{"enforce_eager": true}'``
is given to the engine, and ``PROMPT_TOKENS=269`` makes prompts 5 % longer.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_joules import Energy

pytest.importorskip("vllm", reason="needs vLLM: pip install -r examples/vllm/requirements.txt")

from model import model_arguments
from vllm import LLM, SamplingParams

if TYPE_CHECKING:
    from vllm import TokensPrompt

PROMPT_TOKENS = int(os.environ.get("PROMPT_TOKENS", "256"))
NEW_TOKENS = 128


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    """One engine for all tests.  Its prefix cache is off: repeated prompts would get cheaper from call to call."""
    arguments = {"max_model_len": 1024, "max_num_seqs": 256, "enable_prefix_caching": False}
    arguments |= {"skip_tokenizer_init": True, "disable_log_stats": False, "seed": 0}
    engine = LLM(**{**arguments, **model_arguments(), **json.loads(os.environ.get("VLLM_ARGUMENTS", "{}"))})
    yield engine
    engine.llm_engine.engine_core.shutdown()


def prompts(count: int) -> list[TokensPrompt]:
    """Prompts of random tokens, the same in every run."""
    tokens = random.Random(0)
    return [{"prompt_token_ids": tokens.choices(range(1000, 100_000), k=PROMPT_TOKENS)} for _ in range(count)]


def exactly(tokens: int) -> SamplingParams:
    """Just so many new tokens: an early end would make another amount of work each time."""
    return SamplingParams(max_tokens=tokens, ignore_eos=True, temperature=0.0, detokenize=False)


@pytest.mark.energy_budget(tolerance="1.5%")
@pytest.mark.parametrize("batch", [8, 64, 256])
def test_generate(energy: Energy, llm: LLM, batch: int) -> None:
    """Joules per output token at three batch sizes."""
    outputs = energy(llm.generate, prompts(batch), exactly(NEW_TOKENS), use_tqdm=False)
    assert all(len(output.outputs[0].token_ids) == NEW_TOKENS for output in outputs)


@pytest.mark.energy_budget(tolerance="2%", window="prefill")
@pytest.mark.energy_budget(tolerance="2%", window="decode")
def test_phases(energy: Energy, llm: LLM) -> None:
    """Joules per prompt token of the prefill, and per output token of the decode."""
    energy.phases(llm.generate, prompts(64), exactly(NEW_TOKENS), use_tqdm=False)
