"""Energy budgets of a decoder in plain torch, on a real GPU.

    pytest --energy examples/torch

``JOULES_EXAMPLE_LAYERS=42`` adds two layers to the forty: 5 % more work for
the same tokens, an honest regression to see the gate fail.
"""

from __future__ import annotations

import os

import pytest

from pytest_joules import Energy

torch = pytest.importorskip("torch", reason="needs torch: pip install 'pytest-joules[torch]'")
if not torch.cuda.is_available():
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

from decoder import HIDDEN, capture, make_decoder  # noqa: E402

LAYERS = int(os.environ.get("JOULES_EXAMPLE_LAYERS", "40"))
BATCH = 32
CONTEXT = 512
PROMPT_TOKENS = 4096


@pytest.mark.energy_budget(per="token", tolerance="1.5%")
def test_decode(energy: Energy) -> None:
    """One new token for each of 32 sequences: bound by reading the weights; a CUDA graph, as engines run it."""
    x = torch.randn(BATCH, 1, HIDDEN, device="cuda", dtype=torch.bfloat16)
    graph = capture(make_decoder(LAYERS, BATCH, CONTEXT), x)
    energy.repeat(graph.replay, work={"token": BATCH})


@pytest.mark.energy_budget(per="prompt_token", tolerance="1.5%")
def test_prefill(energy: Energy) -> None:
    """One prompt of 4096 tokens: bound by matrix products, at the power limit."""
    model = make_decoder(LAYERS, 1, CONTEXT)
    x = torch.randn(1, PROMPT_TOKENS, HIDDEN, device="cuda", dtype=torch.bfloat16)
    with torch.no_grad():
        energy.repeat(model, (x,), work={"prompt_token": PROMPT_TOKENS})
