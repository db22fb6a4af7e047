"""Loads of plain torch, and honest changes of them by environment variables.

    pytest --energy benchmarks/h200/why/test_changes.py

``WHY_DTYPE=float32`` runs the stack in float32, without TF32; ``WHY_LAYERS=9`` gives it a layer more than eight.
``WHY_ATTENTION=math`` computes attention with the unfused kernels.
``WHY_HOST_MS=1.5`` lets Python work so long after each step is queued, three times what a step takes.

Without a GPU the same code runs on tiny tensors, and declares to a simulated GPU about what the real ones cost, so that
the files around it can be tried.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import pytest

from pytest_joules import Energy
from pytest_joules.testing import launch, synchronize

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
DTYPE = getattr(torch, os.environ.get("WHY_DTYPE", "bfloat16"))
LAYERS = int(os.environ.get("WHY_LAYERS", "8"))
ATTENTION = os.environ.get("WHY_ATTENTION", "fused")
HOST_SECONDS = float(os.environ.get("WHY_HOST_MS", "0")) / 1e3

# The unfused kernels would else compute in float32, and the change would be two.
torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
torch.backends.cuda.matmul.allow_tf32 = False
if not ON_GPU:
    torch.set_num_threads(1)  # Threads that wait for one another on a busy machine take seconds for nothing.


def declare(flops: float = 0.0, bytes: float = 0.0, tensor: bool = True) -> None:
    """What a simulated GPU is told that a call costs, and whether tensor cores do it."""
    if not ON_GPU:
        launch(flops=flops, bytes=bytes, pipe="tensor" if tensor else "fp32")
        synchronize()


@pytest.mark.energy_budget(per="token", tolerance="2%")
def test_stack(energy: Energy) -> None:
    """Four sequences of 1024 tokens through layers of the Llama 8B shape: bound by matrix products."""
    hidden, ffn, batch, tokens = (4096, 14336, 4, 1024) if ON_GPU else (32, 64, 1, 8)
    config = transformers.LlamaConfig(
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=LAYERS,
        num_attention_heads=hidden // 128 or 1,
        num_key_value_heads=hidden // 512 or 1,
        vocab_size=1024,
        use_cache=False,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(DTYPE)
    try:
        with torch.device(DEVICE):
            model = transformers.LlamaModel(config).requires_grad_(False).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    ids = torch.randint(0, 1024, (batch, tokens), device=DEVICE)

    def forward() -> object:
        declare(flops=(4e12 if DTYPE is torch.bfloat16 else 1e12) * LAYERS, tensor=DTYPE is torch.bfloat16)
        return model(ids).last_hidden_state

    with torch.no_grad():
        energy.repeat(forward, work={"token": batch * tokens})


@pytest.mark.energy_budget(per="token", tolerance="2%")
def test_attention(energy: Energy) -> None:
    """Attention alone, of two sequences of 4096 tokens, eight times: fused, or with its scores written to memory."""
    shape = (2, 32, 4096, 128) if ON_GPU else (1, 2, 8, 16)
    torch.manual_seed(0)
    query, key, value = (torch.randn(shape, device=DEVICE, dtype=torch.bfloat16) for _ in range(3))

    def attend() -> object:
        declare(flops=4e12, bytes=80e9 if ATTENTION == "math" else 4e9)
        for _ in range(8):
            result = scaled_dot_product_attention(query, key, value)
        return result

    with sdpa_kernel(SDPBackend.MATH) if ATTENTION == "math" else contextlib.nullcontext(), torch.no_grad():
        energy.repeat(attend, work={"token": 8 * shape[0] * shape[2]})


@pytest.mark.energy_budget(per="step", tolerance="2%")
def test_steps(energy: Energy) -> None:
    """Steps that read 2 GB of weights each, as a CUDA graph: bound by memory, unless the host keeps them waiting."""
    width, depth, batch = (4096, 64, 32) if ON_GPU else (16, 2, 2)
    torch.manual_seed(0)
    with torch.device(DEVICE), torch.no_grad():
        layers = [torch.nn.Linear(width, width, bias=False).to(torch.bfloat16) for _ in range(depth)]
        model = torch.nn.Sequential(*layers)
        x = torch.randn(batch, width, dtype=torch.bfloat16)
    step = replayed(model, x)

    def steps() -> None:
        for _ in range(32):
            declare(bytes=2e9)
            step()
            if HOST_SECONDS:
                work_in_python(HOST_SECONDS)

    energy.repeat(steps, work={"step": 32})


@pytest.mark.energy_budget(per="call", tolerance="2%")
def test_capped(energy: Energy) -> None:
    """Sixteen large matrix products: at the power limit of an H200."""
    size = 8192 if ON_GPU else 16
    torch.manual_seed(0)
    a, b, out = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(3))

    def products() -> None:
        declare(flops=18e12)
        for _ in range(16):
            torch.mm(a, b, out=out)

    energy.repeat(products)


def replayed(model: torch.nn.Module, x: torch.Tensor) -> Callable[[], object]:
    """One forward as a CUDA graph, where there is a GPU."""
    if not ON_GPU:
        return lambda: model(x)
    with torch.no_grad():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            model(x)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            model(x)

    # The closure keeps what the graph reads and does not own.
    def replay() -> object:
        graph.replay()
        return model, x

    return replay


def work_in_python(seconds: float) -> None:
    """What a sampler or a scheduler in Python does between two steps: anything, on one core."""
    until = time.perf_counter() + seconds
    tokens: list[int] = []
    while time.perf_counter() < until:
        tokens = sorted([*tokens[-64:], *range(64)])
