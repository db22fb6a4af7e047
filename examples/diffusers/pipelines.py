"""Pipelines of real size, built from their configuration: random weights, no files, no network, seconds to start.

Random weights cost what trained ones do: the same kernels on numbers of the same kind.  Real ones are one environment
variable away, ``PYTEST_JOULES_SDXL=stabilityai/stable-diffusion-xl-base-1.0`` or
``PYTEST_JOULES_WAN=Wan-AI/Wan2.1-T2V-1.3B-Diffusers``; which of the two were measured is recorded with the joules.

Without a GPU the same classes are built tiny, and declare to the simulated GPU what the real ones compute.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import nn

from pytest_joules.testing import launch, synchronize

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
DTYPE = torch.bfloat16 if ON_GPU else torch.float32


@dataclass(frozen=True)
class Shape:
    """The configuration of a pipeline.

    Attributes:
        denoiser: Arguments of its denoiser.
        vae: Arguments of its autoencoder.
        text: Tokens and channels of a prompt's embeddings.
        inputs: What else a call of it is given.
        denoiser_flops: What one forward costs, for one image or video, to declare to a simulated GPU.
        vae_flops: What decoding one image or video costs.
    """

    denoiser: dict[str, Any]
    vae: dict[str, Any]
    text: tuple[int, int]
    inputs: dict[str, Any]
    denoiser_flops: float = 0.0
    vae_flops: float = 0.0


SDXL = Shape(
    denoiser={
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "use_linear_projection": True,
    },
    vae={
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "sample_size": 1024,
        "scaling_factor": 0.13025,
    },
    text=(77, 2048),
    inputs={"height": 1024, "width": 1024},
)
"""Stable Diffusion XL base 1.0."""

SDXL_TINY = Shape(
    denoiser={
        **SDXL.denoiser,
        "sample_size": 8,
        "block_out_channels": (32, 32, 64),
        "layers_per_block": 1,
        "transformer_layers_per_block": (1, 1, 1),
        "attention_head_dim": (2, 2, 4),
        "cross_attention_dim": 32,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80,
    },
    vae={
        **SDXL.vae,
        "block_out_channels": (8, 8, 8, 8),
        "norm_num_groups": 4,
        "layers_per_block": 1,
        "sample_size": 64,
    },
    text=(8, 32),
    inputs={"height": 64, "width": 64},
    denoiser_flops=20e12,
    vae_flops=200e12,
)
"""The same classes, small enough for a test on a CPU.  They declare a few times the work of the real ones, so that a
busy host keeps the simulated GPU busy, and two seconds tell decoding from nothing."""

WAN = Shape(
    denoiser={
        "num_layers": 30,
        "num_attention_heads": 12,
        "attention_head_dim": 128,
        "ffn_dim": 8960,
        "text_dim": 4096,
        "freq_dim": 256,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
    },
    vae={},
    text=(512, 4096),
    inputs={"height": 480, "width": 832, "num_frames": 17},
)
"""Wan 2.1 T2V 1.3B; what is not named is the default of its classes."""

WAN_TINY = Shape(
    denoiser={
        **WAN.denoiser,
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "ffn_dim": 32,
        "text_dim": 32,
        "freq_dim": 32,
    },
    vae={"base_dim": 3, "num_res_blocks": 1},
    text=(8, 32),
    inputs={"height": 16, "width": 16, "num_frames": 5},
    denoiser_flops=30e12,
    vae_flops=60e12,
)


def make_sdxl() -> tuple[DiffusionPipeline, dict[str, Any]]:
    """The image pipeline, and what a call for one image is given."""
    if name := os.environ.get("PYTEST_JOULES_SDXL"):
        return _loaded(StableDiffusionXLPipeline, name), {"prompt": ["a lighthouse in a storm"], **SDXL.inputs}
    shape = SDXL if ON_GPU else SDXL_TINY
    pipeline = StableDiffusionXLPipeline(
        unet=_random(UNet2DConditionModel, shape.denoiser),
        vae=_random(AutoencoderKL, shape.vae),
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        **dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")),
        add_watermarker=False,
    )
    # The pooled embeddings fill what the size and crop conditions leave of the time embedding.
    pooled = shape.denoiser["projection_class_embeddings_input_dim"] - 6 * shape.denoiser["addition_time_embed_dim"]
    embeddings = {"prompt_embeds": shape.text, "pooled_prompt_embeds": (pooled,)}
    return _ready(pipeline, pipeline.unet, shape), _inputs(shape, embeddings)


def make_wan() -> tuple[DiffusionPipeline, dict[str, Any]]:
    """The video pipeline, and what a call for one video is given."""
    if name := os.environ.get("PYTEST_JOULES_WAN"):
        return _loaded(WanPipeline, name), {"prompt": ["a lighthouse in a storm"], **WAN.inputs}
    shape = WAN if ON_GPU else WAN_TINY
    pipeline = WanPipeline(
        transformer=_random(WanTransformer3DModel, shape.denoiser),
        vae=_random(AutoencoderKLWan, shape.vae),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
        tokenizer=None,
        text_encoder=None,
    )
    return _ready(pipeline, pipeline.transformer, shape), _inputs(shape, {"prompt_embeds": shape.text})


def _loaded(kind: type[DiffusionPipeline], name: str) -> DiffusionPipeline:
    pipeline = kind.from_pretrained(name, torch_dtype=DTYPE).to(DEVICE)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _random(kind: type[nn.Module], configuration: dict[str, Any]) -> nn.Module:
    """A model made on the device, in the dtype that it will run in."""
    torch.manual_seed(0)
    torch.set_default_dtype(DTYPE)
    try:
        with DEVICE:
            return kind(**configuration).requires_grad_(False).eval()
    finally:
        torch.set_default_dtype(torch.float32)


def _ready(pipeline: DiffusionPipeline, denoiser: nn.Module, shape: Shape) -> DiffusionPipeline:
    pipeline.set_progress_bar_config(disable=True)
    if not ON_GPU:
        torch.set_num_threads(1)  # Threads that wait for one another on a busy machine take seconds for nothing.
        denoiser.register_forward_hook(_declares(shape.denoiser_flops))
        pipeline.vae.decoder.register_forward_hook(_declares(shape.vae_flops))
    return pipeline


def _declares(flops: float) -> Any:
    def hook(module: nn.Module, args: tuple[torch.Tensor, ...], output: Any) -> None:
        rows = (output[0] if isinstance(output, tuple) else output).shape[0]
        launch(flops=rows * flops)
        synchronize()

    return hook


def _inputs(shape: Shape, embeddings: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Random embeddings in place of prompts, and others for what guidance leads away from."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    drawn = {
        f"{prefix}{name}": torch.randn(1, *size, generator=generator, device=DEVICE, dtype=DTYPE)
        for prefix in ("", "negative_")
        for name, size in embeddings.items()
    }
    return {**drawn, **shape.inputs}
