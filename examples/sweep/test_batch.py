"""Which batch to serve with, on the simulated GPU.

    pytest --energy --energy-meter simulated --energy-slo "call < 12 ms" examples/sweep

The work of a decoder is declared in FLOPs and bytes instead of being done, so
that this runs anywhere.  On a GPU you would start your engine in a fixture of
the module, parametrized by its settings; the rest stays.
"""

from __future__ import annotations

import pytest

from pytest_joules import Energy
from pytest_joules.testing import launch, synchronize

PARAMETERS = 8e9
BYTES_PER_PARAMETER = 2
CACHE_BYTES = 1.3e8
"""Keys and values of a sequence of 1,000 tokens."""


def decode_step(batch: int) -> int:
    """One decode step of an 8B model: every weight is read once for the batch, the cache once for each sequence."""
    launch(flops=2 * PARAMETERS * batch, bytes=PARAMETERS * BYTES_PER_PARAMETER + batch * CACHE_BYTES)
    synchronize()
    return batch


@pytest.mark.energy_sweep("chat decode", latency="call", unit="token")
@pytest.mark.parametrize("batch", [pytest.param(16, marks=pytest.mark.energy_sweep(default=True)), 32, 64, 128, 256])
def test_decode(energy: Energy, batch: int) -> None:
    tokens = energy.repeat(decode_step, (batch,), work=lambda tokens: {"token": tokens})
    assert tokens == batch
