"""The loads of the experiment: each a hundred like parts a call, so that three parts more are honest work, +3 %.

The declared work of a call stays the same however many parts it has: that is
what a regression is.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_joules.meters.zeus import ZeusMeter, simulated_host
from pytest_joules.testing import launch, synchronize
from pytest_joules.workloads.completion import Completion

Call = Callable[[], object]

PARTS = 100
LEVELS = (0, 2, 3, 5)
"""Parts more than a hundred; 0 is the load itself."""

BATCH = 32
CONTEXT = 512
PREFILL_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Workload:
    """One load: what a call produces, and the call itself by how many parts are added.

    ``alive`` is what a CUDA graph reads but does not own.
    """

    unit: str
    units: float
    calls: dict[int, Call]
    alive: object = None


def open_meter(stack: contextlib.ExitStack, simulated: bool, seed: int = 1) -> tuple[ZeusMeter, Completion]:
    """The meter of the visible or the simulated GPU, closed with ``stack``, and what waits for its work."""
    host = simulated_host("h200", {"seed": str(seed)}, stack) if simulated else None
    meter = ZeusMeter(os.environ, host)
    stack.callback(meter.close)
    return meter, Completion(meter)


def build(names: tuple[str, ...], simulated: bool) -> dict[str, Workload]:
    """The named loads, on the GPU or simulated."""
    if simulated:
        return {name: _simulated(name) for name in names}
    decoder = _decoder() if {"decode", "prefill"} & set(names) else None
    makers: dict[str, Callable[[], Workload]] = {
        "decode": lambda: _decode(decoder),
        "prefill": lambda: _prefill(decoder),
        "denoise": _denoise,
        "hostbound": _hostbound,
    }
    return {name: makers[name]() for name in names}


def _decoder_module() -> Any:
    sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "torch"))
    import decoder

    return decoder


def _decoder() -> Any:
    decoder = _decoder_module()
    return decoder, list(decoder.make_decoder(PARTS + max(LEVELS), BATCH, CONTEXT))


def _decode(made: Any) -> Workload:
    """One new token for 32 sequences as a CUDA graph: bound by reading the weights; a layer more is a part."""
    import torch

    decoder, layers = made
    x = torch.randn(BATCH, 1, decoder.HIDDEN, device="cuda", dtype=torch.bfloat16)
    graphs = {n: decoder.capture(torch.nn.Sequential(*layers[: PARTS + n]), x) for n in LEVELS}
    return Workload("token", BATCH, {n: graph.replay for n, graph in graphs.items()}, (layers, x))


def _prefill(made: Any) -> Workload:
    """A chunk of 64 prompt tokens for 32 sequences, eager: bound by matrix products, at the power limit."""
    import torch

    decoder, layers = made
    x = torch.randn(BATCH, PREFILL_TOKENS, decoder.HIDDEN, device="cuda", dtype=torch.bfloat16)

    def call(n: int) -> Call:
        model = torch.nn.Sequential(*layers[: PARTS + n])

        def forward() -> object:
            with torch.no_grad():
                return model(x)

        return forward

    return Workload("prompt_token", BATCH * PREFILL_TOKENS, {n: call(n) for n in LEVELS})


def _denoise() -> Workload:
    """Four latents through a hundred steps of a residual convolution net with attention; a step more is a part."""
    import torch
    from torch import nn
    from torch.nn.functional import scaled_dot_product_attention, silu

    channels, size, batch = 320, 64, 4

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.GroupNorm(32, channels) for _ in range(2))
            self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x
            for norm, conv in zip(self.norms, self.convs, strict=True):
                y = conv(silu(norm(y)))
            return x + y

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(channels)
            self.qkv = nn.Linear(channels, 3 * channels)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.norm(x.flatten(2).transpose(1, 2))
            q, k, v = self.qkv(tokens).view(batch, size * size, 3, 5, 64).permute(2, 0, 3, 1, 4)
            out = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, size * size, channels)
            return x + out.transpose(1, 2).reshape(x.shape)

    torch.manual_seed(0)
    net = nn.Sequential(Block(), Attention(), Block()).to("cuda", torch.bfloat16).to(memory_format=torch.channels_last)
    latent = torch.randn(batch, channels, size, size, device="cuda", dtype=torch.bfloat16)
    latent = latent.to(memory_format=torch.channels_last)
    graph = _decoder_module().capture(net.requires_grad_(False), latent)

    def call(n: int) -> Call:
        def denoise() -> object:
            for _ in range(PARTS + n):
                graph.replay()
            return latent

        return denoise

    return Workload("image", batch, {n: call(n) for n in LEVELS}, net)


def _hostbound() -> Workload:
    """A hundred tiny layers for one sequence, eager: the GPU waits for Python."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [nn.Linear(512, 512, device="cuda", dtype=torch.bfloat16) for _ in range(PARTS + max(LEVELS))]
    x = torch.randn(1, 512, device="cuda", dtype=torch.bfloat16)

    def call(n: int) -> Call:
        model = nn.Sequential(*layers[: PARTS + n])

        def forward() -> object:
            with torch.no_grad():
                return model(x)

        return forward

    return Workload("token", 1.0, {n: call(n) for n in LEVELS})


def _simulated(name: str) -> Workload:
    """The same on the simulated H200, to rehearse: memory-bound, at the power limit, in between."""
    flops, moved = {"decode": (1e11, 6e10), "prefill": (4e13, 1e10), "denoise": (2e13, 5e10)}.get(name, (1e9, 1e9))

    def call(n: int) -> Call:
        scale = 1 + n / PARTS

        def work() -> None:
            launch(flops=scale * flops, bytes=scale * moved)
            synchronize()

        return work

    return Workload("token", 32.0, {n: call(n) for n in LEVELS})
