"""How a test names a published measurement: ``"MODEL, TASK, NAME=VALUE, ..."``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

EXAMPLE = "meta-llama/Llama-3.1-8B-Instruct, lm-arena-chat, max_num_seqs=512"

GPU, SOURCE = "gpu", "source"
"""Settings that every measurement has: what it ran on, and who published it."""

RUN = "run"
"""The setting that counts runs of one configuration that nothing else tells apart."""


class ReferenceNameError(ValueError):
    """Text that names no measurement; the message names the part at fault, and the fix."""


@dataclass(frozen=True, slots=True)
class ReferenceName:
    """What a test compares itself with.

    Attributes:
        model: The model, as its publisher names it.
        task: The workload.
        settings: As much of the configuration as tells it from others.
    """

    model: str
    task: str
    settings: Mapping[str, str]

    def __str__(self) -> str:
        return written(self.model, self.task, self.settings)


def written(model: str, task: str, settings: Mapping[str, str]) -> str:
    """``"MODEL, TASK, NAME=VALUE, ..."``."""
    return ", ".join([model, task, *(f"{name}={value}" for name, value in settings.items())])


def parse_reference(text: str) -> ReferenceName:
    """Read :data:`EXAMPLE`: a model, a task, and the settings that tell the measurement from others.

    Raises:
        ReferenceNameError: for anything else.
    """
    model, task, *pairs = [*(part.strip() for part in text.split(",")), ""][: max(2, text.count(",") + 1)]
    for what, name in (("model", model), ("task", task)):
        if not name or "=" in name or not name.isprintable():
            raise ReferenceNameError(f"{text!r} has no {what}; write it like {EXAMPLE!r}")
    settings: dict[str, str] = {}
    for pair in pairs:
        found = re.fullmatch(r"(\w+)\s*=\s*([^=]+)", pair)
        if found is None or not pair.isprintable():
            raise ReferenceNameError(f"{pair!r} is no setting like max_num_seqs=512; write it like {EXAMPLE!r}")
        if settings.setdefault(found[1], found[2]) != found[2]:
            raise ReferenceNameError(f"{found[1]} is {settings[found[1]]!r} and {found[2]!r}; keep one")
    return ReferenceName(model, task, settings)
