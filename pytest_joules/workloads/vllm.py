"""vLLM: tokens from its outputs; preemptions and drafts from its counters; the engine's settings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_joules.facts import WEIGHTS
from pytest_joules.workloads.work import Call, Split, Work, is_a

_COUNTERS = {
    "vllm:num_preemptions_total": "preemption",
    "vllm:spec_decode_num_draft_tokens_total": "draft_token",
    "vllm:spec_decode_num_accepted_tokens_total": "accepted_draft_token",
}
"""Counters of the engine's front end, which lives in this process, and the facts that they are."""

_SETTINGS = {
    "dtype": ("model_config", "dtype"),
    "quantization": ("model_config", "quantization"),
    "enforce_eager": ("model_config", "enforce_eager"),
    "load_format": ("load_config", "load_format"),
    "max_num_seqs": ("scheduler_config", "max_num_seqs"),
    "max_num_batched_tokens": ("scheduler_config", "max_num_batched_tokens"),
    "kv_cache_dtype": ("cache_config", "cache_dtype"),
    "enable_prefix_caching": ("cache_config", "enable_prefix_caching"),
    "tensor_parallel_size": ("parallel_config", "tensor_parallel_size"),
    "pipeline_parallel_size": ("parallel_config", "pipeline_parallel_size"),
    "data_parallel_size": ("parallel_config", "data_parallel_size"),
    "num_speculative_tokens": ("speculative_config", "num_speculative_tokens"),
}
"""What is kept of an engine's configuration: nothing that names a path, a host or a person."""


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
            if is_a(value, "vllm", "LLM", "LLMEngine", "AsyncLLM"):
                return EngineWatch(value)
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

    def __init__(self) -> None:
        """No item was seen yet."""
        self._latest: dict[str, Any] = {}
        self._tokens: dict[tuple[str, int], _Tokens] = {}

    def add(self, item: Any) -> None:
        """Take the next output."""
        self._latest[item.request_id] = item
        for completion in item.outputs:
            tokens = self._tokens.setdefault((item.request_id, completion.index), _Tokens())
            tokens.add(list(completion.token_ids), last=completion.finish_reason is not None)

    def work(self) -> Work:
        """The work of all requests seen."""
        return _work(self._latest.values(), sum(map(self._generated, self._latest)))

    def _generated(self, request: str) -> int:
        counts = [tokens.count for (of_request, _), tokens in self._tokens.items() if of_request == request]
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
    """The counters and the settings of one engine."""

    def __init__(self, engine: Any) -> None:
        """Counting begins now."""
        engine = getattr(engine, "llm_engine", engine)
        self.notes: tuple[str, ...] = ()
        self.configuration = _settings(getattr(engine, "vllm_config", None))
        self._counts = bool(getattr(engine, "log_stats", False))
        if not self._counts:
            self.notes = ("preemptions are not checked: vLLM counts them with LLM(..., disable_log_stats=False)",)
        self._before = self._read()

    def work(self) -> Work:
        """What the counters rose by since the last time."""
        before, self._before = self._before, self._read()
        return Work(facts={name: total - before.get(name, 0.0) for name, total in self._before.items()})

    def close(self) -> None:
        """Nothing was attached to the engine."""

    def _read(self) -> dict[str, float]:
        prometheus = sys.modules.get("prometheus_client")
        if prometheus is None or not self._counts:
            return {}
        totals: dict[str, float] = {}
        for metric in prometheus.REGISTRY.restricted_registry(list(_COUNTERS)).collect():
            for sample in metric.samples:
                if name := _COUNTERS.get(sample.name):
                    totals[name] = totals.get(name, 0.0) + sample.value
        return totals


def _settings(config: Any) -> Mapping[str, str]:
    settings = {}
    for name, (part, attribute) in _SETTINGS.items():
        value = getattr(getattr(config, part, None), attribute, None)
        if value is not None:
            settings[name] = str(getattr(value, "value", value))
    return with_weights(settings)


def with_weights(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings of an engine, with what its load format tells of the weights."""
    if "load_format" not in settings:
        return dict(settings)
    return {**settings, WEIGHTS: "random" if settings["load_format"] == "dummy" else "real"}
