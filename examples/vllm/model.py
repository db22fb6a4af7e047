"""The model of these suites: random weights in the shape of Llama 3.1 8B, or the real ones if you name them."""

from __future__ import annotations

import json
import os
import tempfile
from functools import lru_cache
from pathlib import Path

LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "torch_dtype": "bfloat16",
}


def model_arguments() -> dict[str, object]:
    """``model`` and ``load_format`` for vLLM: ``PYTEST_JOULES_MODEL=meta-llama/Llama-3.1-8B`` takes real weights."""
    named = os.environ.get("PYTEST_JOULES_MODEL")
    return {"model": named, "load_format": "auto"} if named else {"model": _random_model(), "load_format": "dummy"}


@lru_cache(maxsize=1)
def _random_model() -> str:
    directory = Path(tempfile.gettempdir()) / "pytest-joules-llama-8b"
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(LLAMA_8B, indent=2))
    return str(directory)
