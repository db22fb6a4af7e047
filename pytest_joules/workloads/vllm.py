"""vLLM: tokens from its outputs; preemptions and drafts from its counters; the engine's settings."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_joules.latency import Timings
from pytest_joules.workloads.settings import joined, kept
from pytest_joules.workloads.vllm_settings import gpus_of_replica, of_config
from pytest_joules.workloads.work import Call, Override, Split, Work, is_a

_COUNTERS = {
    "vllm:num_preemptions_total": "preemption",
    "vllm:spec_decode_num_draft_tokens_total": "draft_token",
    "vllm:spec_decode_num_accepted_tokens_total": "accepted_draft_token",
    "vllm:request_inference_time_seconds_sum": "running_second",
    "vllm:request_queue_time_seconds_sum": "waiting_second",
    "vllm:estimated_flops_per_gpu_total": "flop",
    "vllm:estimated_read_bytes_per_gpu_total": "byte",
    "vllm:estimated_write_bytes_per_gpu_total": "byte",
}
"""Counters of the engine's front end, which lives in this process, and the amounts that they are.  The seconds of all
requests over those of the window are how many ran, or waited, at once (Little's law); ``vllm/v1/metrics/loggers.py``.
FLOPs and bytes are estimated with ``enable_mfu_metrics``; ``vllm/v1/metrics/perf.py`` of vLLM 0.33."""

OF_EACH_GPU = ("flop", "byte")
"""Amounts that vLLM counts for one GPU of a replica; the replicas of data parallelism count each for itself."""


class VllmAdapter:
    """``vllm.LLM``, ``vllm.v1.engine.async_llm.AsyncLLM`` and what they return."""

    def count(self, result: object, call: Call | None) -> Work | None:
        """Tokens and requests of a ``RequestOutput``, or of a list of them."""
        del call
        outputs: Sequence[Any] = result if isinstance(result, (list, tuple)) else (result,)
        if not outputs or not all(is_a(o, "vllm", "RequestOutput", "PoolingRequestOutput") for o in outputs):
            return None
        generated = [sum(len(c.token_ids) for c in o.outputs) for o in outputs if is_a(o, "vllm", "RequestOutput")]
        return _work(outputs, sum(generated) if generated else None)

    def watch(self, call: Call) -> EngineWatch | None:
        """Watch the engine that ``call`` uses."""
        for value in call.objects():
            if is_engine(value):
                return EngineWatch(value, call)
        return None

    def stream(self, item: object) -> OutputStream | None:
        """Count what ``AsyncLLM.generate`` yields."""
        return OutputStream() if is_a(item, "vllm", "RequestOutput") else None

    def split(self, call: Call) -> Split | None:
        """Prefill is what the same prompts cost with one new token each; decode is the rest."""
        engine, method = call.method
        if not is_a(engine, "vllm", "LLM") or method not in ("generate", "chat"):
            return None
        args, kwargs = call.bound()
        if not any(map(_samples, (*args, *kwargs.values()))):
            return None
        args = tuple(_one_token(value) for value in args)
        kwargs = {name: _one_token(value) for name, value in kwargs.items()}
        return Split("prefill", "prompt_token", "decode", "token", Call(call.called, args, kwargs))


def is_engine(value: object) -> bool:
    """Whether it is an engine, which computes in processes of its own."""
    return is_a(value, "vllm", "LLM", "LLMEngine", "AsyncLLM")


def _samples(value: Any) -> bool:
    """Whether it is sampling parameters, or a sequence of them."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_samples, value))
    return is_a(value, "vllm", "SamplingParams")


def _one_token(value: Any) -> Any:
    """Sampling parameters, or a list of them, that end after one token; anything else as it is."""
    if not _samples(value):
        return value
    if isinstance(value, (list, tuple)):
        return [_one_token(item) for item in value]
    one = value.clone()
    one.max_tokens, one.min_tokens = 1, min(one.min_tokens, 1)
    return one


def _work(outputs: Iterable[Any], tokens: float | None) -> Work:
    outputs = list(outputs)
    prompts = [
        len(ids) for o in outputs for ids in (o.prompt_token_ids, getattr(o, "encoder_prompt_token_ids", None)) if ids
    ]
    cached: list[Any] = [getattr(o, "num_cached_tokens", None) for o in outputs]
    counts = {} if tokens is None else {"token": float(tokens)}
    if prompts:
        counts["prompt_token"] = float(sum(prompts))
    counts["request"] = float(len(outputs))
    facts = {"finished_request": float(sum(map(_finished, outputs)))}
    if prompts and all(number is not None for number in cached):
        facts["cached_prompt_token"] = float(sum(cached))
    return Work(counts, facts)


def _finished(output: Any) -> bool:
    """Whether a request came to its own end: at its length, a stop token or, of a pooling model, at all."""
    reasons = [getattr(completion, "finish_reason", "stop") for completion in _completions(output)]
    return bool(output.finished) and all(reason in ("stop", "length", "repetition") for reason in reasons)


def _completions(output: Any) -> Sequence[Any]:
    return output.outputs if isinstance(output.outputs, (list, tuple)) else ()


class OutputStream:
    """One or more requests' streamed outputs, whether each holds all tokens so far or the new ones only."""

    lazy = True

    def __init__(self) -> None:
        """No item was seen yet."""
        self._latest: dict[str, Any] = {}
        self._tokens: dict[str, dict[int, _Tokens]] = {}

    def add(self, item: Any) -> tuple[str, int]:
        """Take the next output."""
        self._latest[item.request_id] = item
        sequences = self._tokens.setdefault(item.request_id, {})
        for completion in item.outputs:
            tokens = sequences.setdefault(completion.index, _Tokens())
            tokens.add(list(completion.token_ids), last=completion.finish_reason is not None)
        return item.request_id, sum(tokens.count for tokens in sequences.values())

    def work(self) -> Work:
        """The work of all requests seen."""
        return _work(self._latest.values(), sum(map(self._generated, self._latest)))

    def _generated(self, request: str) -> int:
        counts = [tokens.count for tokens in self._tokens[request].values()]
        # With its statistics on, the engine says itself how many tokens a request of one sequence has.
        stated = getattr(self._latest[request].metrics, "num_generation_tokens", 0)
        return stated if stated and len(counts) == 1 else sum(counts)


class _Tokens:
    """The tokens of one streamed sequence.

    Outputs are cumulative or deltas, and do not say which: cumulative ones begin
    with all that came before, and are longer, but for a last one that only ends
    the request.
    """

    def __init__(self) -> None:
        self._previous: list[int] = []
        self._sum = 0
        self._cumulative = True

    def add(self, ids: list[int], last: bool) -> None:
        grown = len(ids) > len(self._previous) or (last and len(ids) == len(self._previous))
        if self._previous and not (grown and ids[: len(self._previous)] == self._previous):
            self._cumulative = False
        self._sum += len(ids)
        self._previous = ids

    @property
    def count(self) -> int:
        return len(self._previous) if self._cumulative else self._sum


class EngineWatch:
    """The counters and the settings of one engine, and of a call of it."""

    def __init__(self, engine: Any, call: Call) -> None:
        """Counting begins now."""
        engine = getattr(engine, "llm_engine", engine)
        config = getattr(engine, "vllm_config", None)
        self.notes: tuple[str, ...] = ()
        self.configuration: Mapping[str, str] = {**of_config(config), **_sampling(call, config)}
        self._counts = bool(getattr(engine, "log_stats", False))
        if not self._counts:
            how = "vLLM tells them with LLM(..., disable_log_stats=False)"
            self.notes = (f"preemptions are not checked and latencies of requests not known: {how}",)
        self.timings = Timings()
        self._steps = _timed_steps(getattr(engine, "logger_manager", None), self.timings)
        self._gpus = gpus_of_replica(self.configuration)
        self._before = self._read()

    def work(self) -> Work:
        """What the counters rose by since the last time."""
        before, self._before = self._before, self._read()
        return Work(facts={name: total - before.get(name, 0.0) for name, total in self._before.items()})

    def close(self) -> None:
        """The engine is as it was."""
        if self._steps is not None:
            self._steps.restore()

    def _read(self) -> dict[str, float]:
        prometheus = sys.modules.get("prometheus_client")
        if prometheus is None or not self._counts:
            return {}
        totals: dict[str, float] = {}
        for metric in prometheus.REGISTRY.restricted_registry(list(_COUNTERS)).collect():
            for sample in metric.samples:
                if name := _COUNTERS.get(sample.name):
                    each = self._gpus if name in OF_EACH_GPU else 1.0
                    totals[name] = totals.get(name, 0.0) + each * sample.value
        return totals


def _timed_steps(manager: Any, timings: Timings) -> Override | None:
    """Listen to what an engine's front end tells its statistics of every step; ``None`` if it keeps none.

    Its Prometheus histograms would only tell that the time between two tokens is from 10 to 25 ms.
    ``StatLoggerManager`` in ``vllm/v1/metrics/loggers.py``, ``IterationStats`` in ``vllm/v1/metrics/stats.py``;
    vLLM 0.23 to 0.33.
    """
    if not hasattr(manager, "record"):
        return None
    record = manager.record

    def recorded(*args: Any, **kwargs: Any) -> None:
        record(*args, **kwargs)
        # A version of vLLM that calls them otherwise has no latencies; its engine goes on.
        with contextlib.suppress(AttributeError):
            if (step := kwargs.get("iteration_stats")) is not None:
                _time_step(step, timings)

    return Override(manager, "record", recorded)


def _time_step(step: Any, timings: Timings) -> None:
    now, ended = time.monotonic(), step.finished_requests
    # All requests that ran in the step before, too, waited as long.
    for seconds, count in Counter(step.inter_token_latencies_iter).items():
        timings.add("itl", now, seconds, count=count)
    timings.add("ttft", now, *step.time_to_first_tokens_iter)
    timings.add("e2e", now, *(each.e2e_latency for each in ended))
    timings.add("tpot", now, *(each.mean_time_per_output_token for each in ended if each.num_generation_tokens > 1))


_SAMPLED = ("temperature", "top_p", "top_k", "n")
"""What of sampling parameters costs something: sorting for ``top_p`` and ``top_k``, sequences of each request."""


def _sampling(call: Call, config: Any) -> dict[str, str]:
    """The settings of the sampling parameters that a call uses, and a short hash of all its seeds."""
    given = [value for value in call.objects() if _samples(value)]
    parameters = [each for value in given for each in (value if isinstance(value, (list, tuple)) else [value])]
    if not parameters:
        return {}
    seeds = [getattr(getattr(config, "model_config", None), "seed", None)]
    seeds += [getattr(each, "seed", None) for each in parameters]
    settings = {name: joined(getattr(each, name, None) for each in parameters) for name in _SAMPLED}
    return kept({**settings, "seeds": hashlib.sha256(repr(seeds).encode()).hexdigest()[:8]})
