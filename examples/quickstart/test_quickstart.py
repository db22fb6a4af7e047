"""A first energy budget, on the simulated GPU.

    pytest --energy --energy-meter simulated examples/quickstart

The work of a decoder is declared in FLOPs and bytes instead of being done, so
that this runs anywhere.  On a GPU you would call your engine; the rest stays.
"""

from __future__ import annotations

import pytest

from pytest_joules import Energy
from pytest_joules.testing import launch, synchronize

PARAMETERS = 8e9
BYTES_PER_PARAMETER = 2
BATCH = 64
PROMPT_TOKENS = 2048


def decode_step() -> int:
    """One decode step of an 8B model: every weight is read once for the whole batch."""
    launch(flops=2 * PARAMETERS * BATCH, bytes=PARAMETERS * BYTES_PER_PARAMETER)
    synchronize()
    return BATCH


def prefill() -> int:
    """One prompt through an 8B model: enough arithmetic to reach the power limit."""
    launch(flops=2 * PARAMETERS * PROMPT_TOKENS, bytes=PARAMETERS * BYTES_PER_PARAMETER)
    synchronize()
    return PROMPT_TOKENS


@pytest.mark.energy_budget("80 mJ/token", tolerance="2%")
def test_decode(energy: Energy) -> None:
    tokens = energy.repeat(decode_step, work=lambda tokens: {"token": tokens})
    assert tokens == BATCH


@pytest.mark.energy_budget(per="prompt_token", tolerance="2%")
def test_prefill(energy: Energy) -> None:
    tokens = energy.repeat(prefill, work=lambda tokens: {"prompt_token": tokens})
    assert tokens == PROMPT_TOKENS
