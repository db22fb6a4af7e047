"""Which batch cap, and with CUDA graphs or without: joules per token against inter-token latency.

    pytest --energy --energy-slo "itl_p95 < 9 ms" examples/vllm/test_offline_sweep.py

Each prompt length is a sweep of its own, since other prompts are other work.
"""

from __future__ import annotations

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

REQUESTS = 256
NEW_TOKENS = 32

TODAY = pytest.mark.energy_sweep(default=True)
CONFIGURATIONS = [
    pytest.param({"max_num_seqs": most, "enforce_eager": eager}, marks=TODAY if (most, eager) == (256, False) else ())
    for most in (32, 128, 256)
    for eager in (False, True)
]


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def llm(request: pytest.FixtureRequest) -> Iterator[LLM]:
    """An engine of each configuration; both prompt lengths are measured before the next one is loaded."""
    arguments = {"max_model_len": 1024, "enable_prefix_caching": False, "skip_tokenizer_init": True}
    engine = LLM(**{**model_arguments(), **arguments, "disable_log_stats": False, "seed": 0, **request.param})
    yield engine
    engine.llm_engine.engine_core.shutdown()


@pytest.mark.energy_sweep("{prompt_tokens} prompt tokens", latency="itl_p95")
@pytest.mark.parametrize("prompt_tokens", [16, 64])
def test_decode(energy: Energy, llm: LLM, prompt_tokens: int) -> None:
    """The same requests under every configuration."""
    tokens = random.Random(0)
    prompts: list[TokensPrompt] = [
        {"prompt_token_ids": tokens.choices(range(1000, 100_000), k=prompt_tokens)} for _ in range(REQUESTS)
    ]
    exactly = SamplingParams(max_tokens=NEW_TOKENS, ignore_eos=True, temperature=0.0, detokenize=False)
    energy(llm.generate, prompts, exactly, use_tqdm=False)
