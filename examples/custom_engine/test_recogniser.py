"""Energy budgets of an engine of one's own; no test says how to count its work, ``conftest.py`` does.

pytest --energy --energy-meter simulated examples/custom_engine
"""

from __future__ import annotations

import pytest
from engine import Clip, Recogniser

from pytest_joules import Energy

BATCH = [Clip(seconds=30.0)] * 8


@pytest.mark.energy_budget("200 mJ/audio_second")
@pytest.mark.energy_budget("6 J/clip")
def test_transcribe(energy: Energy) -> None:
    """An absolute limit needs no baseline; add ``tolerance="2%"`` for one that does."""
    transcripts = energy(Recogniser().transcribe, BATCH)
    assert len(transcripts.texts) == len(BATCH)


@pytest.mark.energy_budget("8 J/clip")
def test_session(energy: Energy) -> None:
    """A stretch of code that runs once: ``count`` goes through the same hook, with the result alone."""
    engine = Recogniser()
    with energy.window("session") as window:
        for _ in range(50):
            window.count(engine.transcribe(BATCH))
