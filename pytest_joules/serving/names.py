"""What the engines call their metrics, as data: another engine is another row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Names = Mapping[str, tuple[str, ...]]
"""For each thing its names, the present one first and then those of older versions."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The Prometheus metrics of one engine.

    Attributes:
        engine: The engine's package.
        counters: Totals of work and of what tells it from other work.
        gauges: ``running`` and ``waiting`` requests, and ``kv_usage``, the used share of the KV cache.
        histograms: Seconds: ``ttft`` to the first token, ``itl`` between tokens, ``tpot`` per token of a request,
            ``e2e`` of a request.
        unfinished: Values of the label ``finished_reason`` of requests that did not come to their own end.
    """

    engine: str
    counters: Names
    gauges: Names
    histograms: Names
    unfinished: frozenset[str] = field(default_factory=frozenset)

    def all_names(self) -> tuple[str, ...]:
        """Every name; a histogram's samples add a suffix to it."""
        tables = (self.counters, self.gauges, self.histograms)
        return tuple(name for table in tables for names in table.values() for name in names)


VLLM = Dialect(
    engine="vllm",
    counters={
        "token": ("vllm:generation_tokens_total",),
        "prompt_token": ("vllm:prompt_tokens_total",),
        "request": ("vllm:request_success_total",),
        "preemption": ("vllm:num_preemptions_total",),
        "cache_hit": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
        "cache_query": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
        "draft_token": ("vllm:spec_decode_num_draft_tokens_total",),
        "accepted_draft_token": ("vllm:spec_decode_num_accepted_tokens_total",),
        "flop": ("vllm:estimated_flops_per_gpu_total",),
        "read_byte": ("vllm:estimated_read_bytes_per_gpu_total",),
        "written_byte": ("vllm:estimated_write_bytes_per_gpu_total",),
    },
    gauges={
        "running": ("vllm:num_requests_running",),
        "waiting": ("vllm:num_requests_waiting",),
        "kv_usage": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    },
    histograms={
        "ttft": ("vllm:time_to_first_token_seconds",),
        "itl": ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
        "tpot": ("vllm:request_time_per_output_token_seconds",),
        "e2e": ("vllm:e2e_request_latency_seconds",),
    },
    unfinished=frozenset({"abort", "error"}),
)
"""``vllm/v1/metrics/loggers.py`` and ``vllm/v1/spec_decode/metrics.py`` of vLLM 0.23; FLOPs and
bytes, which it estimates with ``--enable-mfu-metrics``, in ``vllm/v1/metrics/perf.py`` of vLLM 0.33."""

SGLANG = Dialect(
    engine="sglang",
    counters={
        "token": ("sglang:generation_tokens_total",),
        "prompt_token": ("sglang:prompt_tokens_total",),
        "request": ("sglang:num_requests_total",),
        "preemption": ("sglang:num_retracted_requests_total",),
        "cache_hit": ("sglang:cached_tokens_total",),
        "cache_query": ("sglang:prompt_tokens_total",),
    },
    gauges={
        "running": ("sglang:num_running_reqs",),
        "waiting": ("sglang:num_queue_reqs",),
        "kv_usage": ("sglang:token_usage",),
    },
    histograms={
        "ttft": ("sglang:time_to_first_token_seconds",),
        "itl": ("sglang:inter_token_latency_seconds",),
        "e2e": ("sglang:e2e_request_latency_seconds",),
    },
)
"""``python/sglang/srt/metrics/collector.py``; read there, not tried on a running SGLang.  Its token counters step
where a request ends."""

DIALECTS = (VLLM, SGLANG)
