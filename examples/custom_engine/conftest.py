"""What a result of our engine is worth: the only thing that pytest-joules has to be told."""

from __future__ import annotations

from collections.abc import Mapping

from engine import Transcripts

from pytest_joules.workloads.work import Call


def pytest_joules_count_work(result: object, call: Call | None) -> Mapping[str, float] | None:
    """Seconds of audio, and clips.  The audio is not in the result: the call tells what it was given."""
    if not isinstance(result, Transcripts):
        return None
    counts = {"clip": float(len(result.texts))}
    if call is not None:
        (clips,), _ = call.bound()
        counts = {"audio_second": sum(clip.seconds for clip in clips), **counts}
    return counts
