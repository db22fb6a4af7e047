"""A stand-in for vLLM where it cannot run: the same names and shapes, an engine in a child process, a simulated GPU.

What it generates costs joules below NVML: prefill is work of the matrix units,
decode reads the weights once a step, and a prefix cache saves prefill.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Sequence
from copy import copy
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any, TypedDict

from prometheus_client import Counter, Histogram

from pytest_joules.testing import launch, synchronize

PREFILL_FLOPS_PER_TOKEN = 5e9
DECODE_BYTES_PER_STEP = 6e9

PREEMPTIONS = Counter("vllm:num_preemptions", "Preemptions.", ["engine"])
FLOPS = Counter("vllm:estimated_flops_per_gpu_total", "With enable_mfu_metrics.", ["engine"])
RUNNING = Histogram("vllm:request_inference_time_seconds", "In the phase RUNNING.", ["engine"])
WAITING = Histogram("vllm:request_queue_time_seconds", "In the phase WAITING.", ["engine"])


class TokensPrompt(TypedDict):
    prompt_token_ids: list[int]


@dataclass
class SamplingParams:
    max_tokens: int = 16
    min_tokens: int = 0
    ignore_eos: bool = False
    n: int = 1
    temperature: float = 1.0
    seed: int | None = None
    detokenize: bool = True

    def clone(self) -> SamplingParams:
        return copy(self)


@dataclass
class CompletionOutput:
    index: int
    token_ids: Sequence[int]
    finish_reason: str | None = "length"


@dataclass
class RequestOutput:
    request_id: str
    prompt_token_ids: list[int] | None
    outputs: list[CompletionOutput]
    finished: bool = True
    num_cached_tokens: int | None = 0
    metrics: Any = None
    encoder_prompt_token_ids: list[int] | None = None


class CUDAGraphMode(Enum):
    NONE = 0
    PIECEWISE = 1
    FULL = 2
    FULL_AND_PIECEWISE = (FULL, PIECEWISE)


class CompilationMode(IntEnum):
    NONE = 0
    VLLM_COMPILE = 3


def configured(load_format: str, enforce_eager: bool, max_num_seqs: int, num_hidden_layers: int) -> Any:
    """A ``VllmConfig``, as far as it is looked at."""
    shape = SimpleNamespace(hidden_size=4096, num_hidden_layers=num_hidden_layers, num_attention_heads=32)
    model = SimpleNamespace(
        model="/srv/someone/llama",
        architecture="LlamaForCausalLM",
        hf_text_config=shape,
        dtype="bfloat16",
        enforce_eager=enforce_eager,
        seed=0,
    )
    compilation = SimpleNamespace(
        mode=CompilationMode.NONE if enforce_eager else CompilationMode.VLLM_COMPILE,
        cudagraph_mode=CUDAGraphMode.NONE if enforce_eager else CUDAGraphMode.FULL_AND_PIECEWISE,
        cache_dir="/srv/someone/.cache",
    )
    return SimpleNamespace(
        model_config=model,
        load_config=SimpleNamespace(load_format=load_format),
        scheduler_config=SimpleNamespace(max_num_seqs=max_num_seqs, policy="fcfs"),
        parallel_config=SimpleNamespace(tensor_parallel_size=2, pipeline_parallel_size=1),
        compilation_config=compilation,
        instance_id="host-8f3c",
    )


class StatLoggerManager:
    """Is told of every step; keeps nothing."""

    def record(self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None) -> None:
        del scheduler_stats, iteration_stats, mm_cache_stats


def step_stats(first: Sequence[float] = (), between: Sequence[float] = (), finished: Sequence[Any] = ()) -> Any:
    """``IterationStats``, as far as they are looked at."""
    return SimpleNamespace(
        time_to_first_tokens_iter=list(first), inter_token_latencies_iter=list(between), finished_requests=finished
    )


def finished_stats(e2e_latency: float, tokens: int, each: float) -> Any:
    """``FinishedRequestStats``, likewise."""
    return SimpleNamespace(
        e2e_latency=e2e_latency, num_generation_tokens=tokens, mean_time_per_output_token=each if tokens > 1 else 0.0
    )


class LLM:
    """Generates at once for all prompts."""

    def __init__(
        self,
        model: str = "",
        *,
        enable_prefix_caching: bool = True,
        disable_log_stats: bool = True,
        load_format: str = "auto",
        preemptions: int = 0,
        device: int = 0,
        dies_after: int | None = None,
        enforce_eager: bool = False,
        max_num_seqs: int = 8,
        num_hidden_layers: int = 32,
        **others: Any,
    ) -> None:
        del model, others
        config = configured(load_format, enforce_eager, max_num_seqs, num_hidden_layers)
        self._most = max_num_seqs
        self.llm_engine = SimpleNamespace(
            vllm_config=config,
            log_stats=not disable_log_stats,
            logger_manager=None if disable_log_stats else StatLoggerManager(),
            engine_core=SimpleNamespace(shutdown=self._shut_down),
        )
        self._caches = enable_prefix_caching
        self._cached: set[tuple[int, ...]] = set()
        self._preemptions = preemptions
        self._dies_after = dies_after
        self._engine, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_engine, args=(theirs, device), daemon=True, name="EngineCore")
        self._process.start()
        theirs.close()

    def _shut_down(self) -> None:
        self._process.terminate()
        self._process.join()

    def generate(
        self, prompts: Sequence[TokensPrompt], params: SamplingParams, *, use_tqdm: bool = True
    ) -> list[RequestOutput]:
        del use_tqdm
        ids = [prompt["prompt_token_ids"] for prompt in prompts]
        cached = [len(prompt) - 1 if tuple(prompt) in self._cached else 0 for prompt in ids]
        if self._caches:
            self._cached.update(map(tuple, ids))
        if self._dies_after is not None:
            self._dies_after -= 1
            if self._dies_after < 0:
                self._process.kill()
        PREEMPTIONS.labels("0").inc(self._preemptions)
        FLOPS.labels("0").inc(sum(map(len, ids)) * PREFILL_FLOPS_PER_TOKEN)
        started = time.monotonic()
        try:
            self._engine.send((sum(map(len, ids)) - sum(cached), params.max_tokens))
            self._engine.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError("EngineCore encountered an issue.") from error
        # All that there is room for run to the end; then come the others, which have waited.
        seconds = time.monotonic() - started
        rounds = -(-len(ids) // self._most)
        for at in range(len(ids)):
            RUNNING.labels("0").observe(seconds / rounds)
            WAITING.labels("0").observe(seconds * (at // self._most) / rounds)
        self._tell(seconds, len(ids), params.max_tokens)
        tokens = list(range(params.max_tokens))
        return [
            RequestOutput(str(at), prompt, [CompletionOutput(n, tokens) for n in range(params.n)], True, hits)
            for at, (prompt, hits) in enumerate(zip(ids, cached, strict=True))
        ]

    def _tell(self, seconds: float, requests: int, steps: int) -> None:
        """All steps at once, as if they had all taken as long."""
        if (manager := self.llm_engine.logger_manager) is None:
            return
        each = seconds / steps
        told = [step_stats(first=[each] * requests)]
        told += [step_stats(between=[each] * requests) for _ in range(steps - 1)]
        told.append(step_stats(finished=[finished_stats(seconds, steps, each)] * requests))
        for stats in told:
            manager.record(scheduler_stats=None, iteration_stats=stats, mm_cache_stats=None)


class AsyncLLM(LLM):
    """Streams."""

    async def stream(
        self, prompt: list[int], params: SamplingParams, request_id: str, kind: str, per_chunk: int
    ) -> AsyncIterator[RequestOutput]:
        self._engine.send((len(prompt), params.max_tokens))
        self._engine.recv()
        tokens = list(range(params.max_tokens))
        for end in range(per_chunk, params.max_tokens + per_chunk, per_chunk):
            shown = tokens[:end] if kind == "cumulative" else tokens[end - per_chunk : end]
            done = end >= params.max_tokens
            yield RequestOutput(request_id, prompt, [CompletionOutput(0, shown, "length" if done else None)], done)


def _engine(pipe: Any, device: int) -> None:
    while True:
        try:
            prompt_tokens, steps = pipe.recv()
        except EOFError:
            os._exit(0)
        launch(flops=max(prompt_tokens, 1) * PREFILL_FLOPS_PER_TOKEN, device=device)
        # At once, as steps without a host between them: a busy one would starve the device otherwise.
        launch(bytes=steps * DECODE_BYTES_PER_STEP, device=device)
        synchronize()
        pipe.send(None)
