"""Pipelines and models of the real libraries, so small that a call takes milliseconds on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)

# Threads that wait for one another on a busy machine take seconds for nothing.
torch.set_num_threads(1)


def sdxl() -> tuple[Any, dict[str, Any]]:
    """Stable Diffusion XL, and inputs for one image of 64 x 64."""
    unet = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1),
        attention_head_dim=(2, 4),
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        sample_size=64,
    )
    missing: dict[str, Any] = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    pipeline = StableDiffusionXLPipeline(unet=unet, vae=vae, scheduler=EulerDiscreteScheduler(), **missing)
    inputs = {"prompt_embeds": torch.randn(1, 8, 32), "pooled_prompt_embeds": torch.randn(1, 32)}
    inputs |= {f"negative_{name}": value for name, value in inputs.items()}
    return _quiet(pipeline), {**inputs, "height": 64, "width": 64, "num_inference_steps": 3}


def flux() -> tuple[Any, dict[str, Any]]:
    """Flux, and inputs for one image of 8 x 8 with a negative prompt, for which it makes a second forward."""
    transformer = FluxTransformer2DModel(
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
    )
    vae = AutoencoderKL(
        block_out_channels=(4,),
        latent_channels=1,
        norm_num_groups=1,
        sample_size=8,
        shift_factor=0.1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    missing: dict[str, Any] = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    scheduler = FlowMatchEulerDiscreteScheduler()
    pipeline = FluxPipeline(transformer=transformer, vae=vae, scheduler=scheduler, **missing)
    inputs = {"prompt_embeds": torch.randn(1, 8, 32), "pooled_prompt_embeds": torch.randn(1, 32)}
    inputs |= {f"negative_{name}": value for name, value in inputs.items()}
    return _quiet(pipeline), {**inputs, "true_cfg_scale": 4.0, "height": 8, "width": 8, "num_inference_steps": 3}


def wan() -> tuple[Any, dict[str, Any]]:
    """Wan, and inputs for one video of five frames of 16 x 16."""
    transformer = WanTransformer3DModel(
        num_layers=1, num_attention_heads=2, attention_head_dim=12, ffn_dim=32, text_dim=32, freq_dim=32
    )
    vae = AutoencoderKLWan(base_dim=3, num_res_blocks=1)
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    pipeline = WanPipeline(transformer=transformer, vae=vae, scheduler=scheduler, tokenizer=None, text_encoder=None)
    inputs = {name: torch.randn(1, 8, 32) for name in ("prompt_embeds", "negative_prompt_embeds")}
    return _quiet(pipeline), {**inputs, "height": 16, "width": 16, "num_frames": 5, "num_inference_steps": 3}


def _quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
