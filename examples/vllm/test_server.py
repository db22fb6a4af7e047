"""Energy budgets of ``vllm serve`` on a real GPU, in its steady state.

    pytest --energy examples/vllm/test_server.py

Any load will do inside ``with energy.server(...)``, such as ``vllm bench
serve``; this one is built in.  ``VLLM_SERVE_ARGUMENTS='--enforce-eager'`` is
given to the server.
"""

from __future__ import annotations

import os
import random
import shlex
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_joules import Energy

pytest.importorskip("vllm", reason="needs vLLM: pip install -r examples/vllm/requirements.txt")

from model import model_arguments

PROMPT_TOKENS = int(os.environ.get("PROMPT_TOKENS", "256"))
NEW_TOKENS = int(os.environ.get("NEW_TOKENS", "128"))
ROUNDS = 12
"""Requests for each slot of the batch: one to fill it, one to drain it, ten in between."""


@dataclass(frozen=True)
class Served:
    """A server that this suite has started."""

    url: str
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """``vllm serve`` on a free port; its log is in pytest's temporary directory, and on the terminal if it fails.

    Prompts are token ids, so that it needs no tokenizer.  Its prefix cache is off: repeated prompts would get cheaper.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = model_arguments()
    command = ["vllm", "serve", str(model["model"]), "--load-format", str(model["load_format"])]
    command += ["--host", "127.0.0.1", "--port", str(port), "--skip-tokenizer-init", "--disable-uvicorn-access-log"]
    command += ["--max-model-len", "1024", "--max-num-seqs", "256", "--no-enable-prefix-caching", "--seed", "0"]
    command += shlex.split(os.environ.get("VLLM_SERVE_ARGUMENTS", ""))
    log = tmp_path_factory.mktemp("vllm") / "serve.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            yield Served(f"http://127.0.0.1:{port}", process)
        finally:
            print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-50:]))
            process.terminate()


def prompts(count: int) -> list[list[int]]:
    """Prompts of random token ids, the same in every run."""
    tokens = random.Random(0)
    return [tokens.choices(range(1000, 100_000), k=PROMPT_TOKENS) for _ in range(count)]


@pytest.mark.energy_budget(per="token", tolerance="2%")
@pytest.mark.parametrize("batch", [8, 64])
def test_serve(energy: Energy, served: Served, batch: int) -> None:
    """Joules per output token with so many requests in flight."""
    records = os.environ.get("LOAD_RECORDS")
    with energy.server(served.url, concurrency=batch, pid=served.process) as server:
        result = server.load(
            prompts(ROUNDS * batch),
            requests=ROUNDS * batch,
            max_tokens=NEW_TOKENS,
            records=Path(records, f"batch-{batch}.json") if records else None,
        )
    energy.extra_info["latencies"] = result.latencies()
