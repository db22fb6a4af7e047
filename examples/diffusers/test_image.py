"""Energy budgets of an image pipeline: Stable Diffusion XL, 1024 x 1024, on a real GPU.

    pytest --energy examples/diffusers/test_image.py

Try a change before you make it: ``STEPS=21`` takes one denoising step more.
Without a GPU, tiny models run in place of the real ones:

    pytest --energy --energy-meter simulated examples/diffusers
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_joules import Energy

pytest.importorskip("diffusers", reason="needs diffusers: pip install -r examples/diffusers/requirements.txt")

from pipelines import make_sdxl

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

STEPS = int(os.environ.get("STEPS", "20"))

Sdxl = tuple["DiffusionPipeline", dict[str, Any]]


@pytest.fixture(scope="module")
def sdxl() -> Sdxl:
    """One pipeline for all tests, and what a call for one image is given."""
    return make_sdxl()


@pytest.mark.energy_budget(per="image", tolerance="2%")
@pytest.mark.parametrize("batch", [1, 4])
def test_image(energy: Energy, sdxl: Sdxl, batch: int) -> None:
    """Joules per image, which a denoiser that fills the GPU by itself does not save by batching."""
    pipe, inputs = sdxl
    images = energy(pipe, **inputs, num_images_per_prompt=batch, num_inference_steps=STEPS, output_type="pt").images
    assert len(images) == batch


@pytest.mark.energy_budget(tolerance="2%", window="denoise")
@pytest.mark.energy_budget(tolerance="5%", window="vae_decode")
def test_phases(energy: Energy, sdxl: Sdxl) -> None:
    """Joules per image of denoising, and of decoding the latents."""
    pipe, inputs = sdxl
    energy.phases(pipe, **inputs, num_inference_steps=STEPS, output_type="pt")
