"""A decoder of the Llama shape with random weights: enough of one to cost what one costs.

Per layer: grouped-query attention over a cache, and a gated MLP, in bf16.
Random weights draw the power that trained ones do; zeros would not.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu

HIDDEN = 4096
HEADS = 32
KV_HEADS = 8
HEAD_SIZE = HIDDEN // HEADS
FFN = 11008


class Layer(nn.Module):
    """Attention over ``context`` cached tokens, then the MLP."""

    def __init__(self, batch: int, context: int) -> None:
        super().__init__()
        kv = KV_HEADS * HEAD_SIZE
        self.norm = nn.RMSNorm(HIDDEN)
        self.qkv = nn.Linear(HIDDEN, HIDDEN + 2 * kv, bias=False)
        self.out = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.gate_up = nn.Linear(HIDDEN, 2 * FFN, bias=False)
        self.down = nn.Linear(FFN, HIDDEN, bias=False)
        self.register_buffer("keys", torch.randn(batch, KV_HEADS, context, HEAD_SIZE))
        self.register_buffer("values", torch.randn(batch, KV_HEADS, context, HEAD_SIZE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` is (batch, tokens, hidden); its own keys are left out of the cache."""
        batch, tokens, _ = x.shape
        kv = KV_HEADS * HEAD_SIZE
        query, _, _ = self.qkv(self.norm(x)).split([HIDDEN, kv, kv], dim=-1)
        query = query.view(batch, tokens, HEADS, HEAD_SIZE).transpose(1, 2)
        attended = scaled_dot_product_attention(query, self.keys, self.values, enable_gqa=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, HIDDEN))
        gate, up = self.gate_up(self.norm(x)).chunk(2, dim=-1)
        return x + self.down(silu(gate) * up)


def make_decoder(layers: int, batch: int, context: int) -> nn.Module:
    """A decoder on the GPU in bf16, without gradients, from a fixed seed."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        stack = nn.Sequential(*(Layer(batch, context).to(torch.bfloat16) for _ in range(layers)))
    return stack.requires_grad_(False).eval()


def capture(model: nn.Module, x: torch.Tensor) -> torch.cuda.CUDAGraph:
    """One forward of ``model`` on ``x`` as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.no_grad():
        model(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        model(x)
    return graph
