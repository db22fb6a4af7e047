"""Energy budgets of a video pipeline: Wan 2.1 1.3B, 17 frames of 480 x 832, on a real GPU.

    pytest --energy examples/diffusers/test_video.py

``STEPS=21`` takes one denoising step more.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_joules import Energy

pytest.importorskip("diffusers", reason="needs diffusers: pip install -r examples/diffusers/requirements.txt")

from pipelines import make_wan

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

STEPS = int(os.environ.get("STEPS", "20"))

Wan = tuple["DiffusionPipeline", dict[str, Any]]


@pytest.fixture(scope="module")
def wan() -> Wan:
    """One pipeline for all tests, and what a call for one video is given."""
    return make_wan()


@pytest.mark.energy_budget(per="video", tolerance="2%")
@pytest.mark.energy_budget(per="frame", tolerance="2%")
def test_video(energy: Energy, wan: Wan) -> None:
    """Joules per video, and per frame of it."""
    pipe, inputs = wan
    frames = energy(pipe, **inputs, num_inference_steps=STEPS, output_type="pt").frames
    assert frames.shape[1] == inputs["num_frames"]
