"""A stand-in for an engine of your own: a speech recogniser, with result types that no library knows.

It computes about what a large one does (70 GFLOP a second of audio), as matrix
products in torch if there is a GPU, or as declared work on the simulated one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pytest_joules.testing import launch, synchronize

FLOPS_PER_SECOND_OF_AUDIO = 70e9
ROWS = 4096


@dataclass(frozen=True)
class Clip:
    """What to recognise."""

    seconds: float


@dataclass(frozen=True)
class Transcripts:
    """What was recognised: a text for each clip."""

    texts: tuple[str, ...]


class Recogniser:
    """The engine."""

    def transcribe(self, clips: Sequence[Clip]) -> Transcripts:
        """Recognise a batch of clips."""
        self._compute(FLOPS_PER_SECOND_OF_AUDIO * sum(clip.seconds for clip in clips))
        return Transcripts(tuple("hello" for _ in clips))

    def _compute(self, flops: float) -> None:
        if self._matrix is None:
            launch(flops=flops)
            synchronize()
            return
        for _ in range(round(flops / (2 * ROWS**3))):
            self._matrix @ self._matrix

    @cached_property
    def _matrix(self) -> Any:
        """A matrix on the GPU; ``None`` without one."""
        if importlib.util.find_spec("torch") is None:
            return None
        import torch

        if not torch.cuda.is_available():
            return None
        return torch.randn(ROWS, ROWS, device="cuda", dtype=torch.bfloat16)
