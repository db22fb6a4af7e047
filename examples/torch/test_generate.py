"""Energy budgets of ``model.generate`` in plain transformers, on a real GPU.

    pytest --energy examples/torch/test_generate.py

Tokens and requests count themselves.
"""

from __future__ import annotations

from typing import Any

import pytest

from pytest_joules import Energy

torch = pytest.importorskip("torch", reason="needs torch: pip install -r examples/torch/requirements.txt")
transformers = pytest.importorskip("transformers", reason="needs transformers: see examples/torch/requirements.txt")
if not torch.cuda.is_available():
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

BATCH = 32
PROMPT_TOKENS = 512
NEW_TOKENS = 64


@pytest.fixture(scope="module")
def model() -> Any:
    """Random weights in the shape of Llama 3.2 1B, made on the GPU."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
        tie_word_embeddings=True,
        eos_token_id=None,  # Random weights would end anywhere; with real ones, set min_new_tokens=NEW_TOKENS.
    )
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            return transformers.LlamaForCausalLM(config).requires_grad_(False).eval()
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.energy_budget(per="token", tolerance="5%")
@pytest.mark.energy_budget(tolerance="2%", window="prefill")
@pytest.mark.energy_budget(tolerance="5%", window="decode")
def test_generate(energy: Energy, model: Any) -> None:
    """Joules per output token, then those of prefill and decode apart.

    The decode waits for Python between kernels: its seconds wander, and its joules with them.
    """
    prompts = torch.randint(0, 128_000, (BATCH, PROMPT_TOKENS), device="cuda")
    tokens = energy.phases(
        model.generate, prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=NEW_TOKENS, do_sample=False
    )
    assert tokens.shape == (BATCH, PROMPT_TOKENS + NEW_TOKENS)
