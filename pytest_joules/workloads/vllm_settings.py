"""What is kept of how vLLM was set up: one list, for the engine's own configuration and for a server's command line.

Attributes were read in ``vllm/config`` of vLLM 0.33, flags in ``vllm/engine/arg_utils.py``; those of another version
that are not there are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_joules.facts import WEIGHTS
from pytest_joules.workloads.settings import UNSET, kept


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that can move joules.

    Attributes:
        name: What it is stored under: its flag's name where it has one.
        paths: Where ``VllmConfig`` holds it, the present place first.  A flag that takes JSON, such as
            ``--compilation-config``, names it by the same path.
        flags: Other flags that set it, without their dashes and with ``_`` for those inside.
        chosen: Whether a flag sets it; the model's own shape is not chosen.
    """

    name: str
    paths: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    chosen: bool = True


def _model(name: str, *others: str) -> Setting:
    """Of the model's shape; families call some of it otherwise."""
    return Setting(name, tuple(f"model_config.hf_text_config.{key}" for key in (name, *others)), chosen=False)


SETTINGS = (
    Setting("architecture", ("model_config.architecture",), chosen=False),
    _model("num_hidden_layers"),
    _model("hidden_size"),
    _model("intermediate_size"),
    _model("num_attention_heads"),
    _model("num_key_value_heads"),
    _model("vocab_size"),
    _model("num_experts", "num_local_experts", "n_routed_experts"),
    _model("num_experts_per_tok"),
    Setting("dtype", ("model_config.dtype",)),
    Setting("quantization", ("model_config.quantization",), ("q",)),
    Setting("load_format", ("load_config.load_format",)),
    Setting("max_model_len", ("model_config.max_model_len",)),
    Setting("max_num_seqs", ("scheduler_config.max_num_seqs",)),
    Setting("max_num_batched_tokens", ("scheduler_config.max_num_batched_tokens",)),
    Setting("enable_chunked_prefill", ("scheduler_config.enable_chunked_prefill",)),
    Setting("async_scheduling", ("scheduler_config.async_scheduling",)),
    Setting("scheduling_policy", ("scheduler_config.policy",)),
    Setting("stream_interval", ("scheduler_config.stream_interval",)),
    Setting("kv_cache_dtype", ("cache_config.cache_dtype",)),
    Setting("enable_prefix_caching", ("cache_config.enable_prefix_caching",)),
    Setting("block_size", ("cache_config.block_size",)),
    Setting("gpu_memory_utilization", ("cache_config.gpu_memory_utilization",), ("device_memory_utilization",)),
    Setting("kv_cache_memory_bytes", ("cache_config.kv_cache_memory_bytes",)),
    Setting("num_gpu_blocks_override", ("cache_config.num_gpu_blocks_override",)),
    Setting("cpu_offload_gb", ("offload_config.uva.cpu_offload_gb", "cache_config.cpu_offload_gb")),
    Setting("tensor_parallel_size", ("parallel_config.tensor_parallel_size",), ("tp",)),
    Setting("pipeline_parallel_size", ("parallel_config.pipeline_parallel_size",), ("pp",)),
    Setting("data_parallel_size", ("parallel_config.data_parallel_size",), ("dp",)),
    Setting("decode_context_parallel_size", ("parallel_config.decode_context_parallel_size",), ("dcp",)),
    Setting("enable_expert_parallel", ("parallel_config.enable_expert_parallel",), ("ep",)),
    Setting("disable_custom_all_reduce", ("parallel_config.disable_custom_all_reduce",)),
    Setting("enforce_eager", ("model_config.enforce_eager",)),
    Setting("optimization_level", ("optimization_level",), ("O",)),
    Setting("compilation_mode", ("compilation_config.mode", "compilation_config.level")),
    Setting("cudagraph_mode", ("compilation_config.cudagraph_mode",)),
    Setting("max_cudagraph_capture_size", ("compilation_config.max_cudagraph_capture_size",)),
    Setting("attention_backend", ("attention_config.backend",)),
    Setting("flash_attn_version", ("attention_config.flash_attn_version",)),
    Setting("moe_backend", ("kernel_config.moe_backend",)),
    Setting("linear_backend", ("kernel_config.linear_backend",)),
    Setting("speculative_method", ("speculative_config.method",), ("spec_method",)),
    Setting("num_speculative_tokens", ("speculative_config.num_speculative_tokens",), ("spec_tokens",)),
    Setting("max_lora_rank", ("lora_config.max_lora_rank",)),
    Setting("api_server_count", (), ("asc",)),
)


def of_config(config: Any) -> dict[str, str]:
    """The settings in a ``VllmConfig``; nothing if there is none."""
    if config is None:
        return {}
    return with_weights(kept({setting.name: _held(config, setting) for setting in SETTINGS}))


_ABSENT = object()


def _held(config: Any, setting: Setting) -> object:
    """What a configuration holds of a setting; ``None`` if this version of vLLM does not have it."""
    values = [_at(config, path) for path in setting.paths]
    given = next((value for value in values if value is not _ABSENT and value is not None), None)
    return UNSET if given is None and setting.chosen and None in values else given


def _at(config: Any, path: str) -> object:
    """What stands at a path; also ``None`` where a part of it is, such as the speculative decoding that is off."""
    value = config
    for name in path.split("."):
        value = None if value is None else getattr(value, name, _ABSENT)
        if value is _ABSENT:
            break
    return value


def with_weights(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings of an engine, with what its load format tells of the weights."""
    if "load_format" not in settings:
        return dict(settings)
    return {**settings, WEIGHTS: "random" if settings["load_format"] == "dummy" else "real"}


def gpus_of_replica(settings: Mapping[str, str]) -> int:
    """Over how many GPUs the settings spread one copy of the model: tensor times pipeline parallelism."""
    sizes = (settings.get(name, "1") for name in ("tensor_parallel_size", "pipeline_parallel_size"))
    return math.prod(int(size) if size.isdecimal() else 1 for size in sizes)
