"""What a server's command line tells of how it works: nothing that names a path, a host or a person."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_joules.workloads.vllm import with_weights

SETTINGS = (
    "dtype",
    "quantization",
    "enforce_eager",
    "load_format",
    "max_num_seqs",
    "max_num_batched_tokens",
    "max_model_len",
    "kv_cache_dtype",
    "enable_prefix_caching",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "api_server_count",
    "stream_interval",
)
"""Flags of ``vllm serve`` that are kept, by the names that vLLM's configuration gives them."""


def settings_in(arguments: Sequence[str]) -> dict[str, str]:
    """The kept settings among a command's arguments: ``--name value``, ``--name=value``, ``--name``, ``--no-name``."""
    found: dict[str, str] = {}
    for argument, following in zip(arguments, (*arguments[1:], "--"), strict=False):
        flag, given, value = argument.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--"):
            continue
        if name.removeprefix("no_") in SETTINGS and name.startswith("no_"):
            found[name.removeprefix("no_")] = "False"
        elif name in SETTINGS:
            found[name] = value if given else "True" if following.startswith("-") else following
    return with_weights({name: value[:80] for name, value in found.items()})
