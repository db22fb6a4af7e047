"""Honest changes, and the mechanism that each has to be explained by: the data of ``run.py`` and ``summary.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent.relative_to(Path(__file__).parents[3])
CHANGES = f"{HERE}/test_changes.py"
OFFLINE = "examples/vllm/test_offline.py"

ENGINE = {"enable_mfu_metrics": True}
"""Given to every vLLM, so that FLOPs and bytes are known; ``VLLM_ARGUMENTS`` of a scenario come on top."""

NOTHING = "nothing"
"""What an unchanged run has to be explained by."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A baseline.

    Attributes:
        tests: What pytest is given.
        before: What is done before each of its sessions: ``idle:SECONDS`` or ``heat:SECONDS``.
        once: What is done before the first one.
    """

    tests: tuple[str, ...]
    before: str = ""
    once: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run against a baseline.

    Attributes:
        name: What its reports are called; the number of the run follows.
        baseline: What it is compared with.
        tests: What pytest is given; the baseline's if empty.
        environment: The change, by the variables that the test file reads.
        before: What is done before it, as of a baseline; ``neighbour`` runs another process on the GPU meanwhile.
        runs: How often.
        expected: Rules any of which is right as the first cause; ``nothing``, or ``INVALID``.
    """

    name: str
    baseline: str
    expected: tuple[str, ...]
    tests: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    runs: int = 1


BASELINES: Mapping[str, Mapping[str, Recorded]] = {
    "torch": {
        "changes": Recorded((CHANGES,)),
        # After the changes, which tell more: until then the machine cools down.
        "cold": Recorded((f"{CHANGES}::test_steps",), before="idle:12", once="idle:60"),
        "hot": Recorded((f"{CHANGES}::test_steps",), once="heat:20"),
    },
    "vllm": {"offline": Recorded((f"{OFFLINE}::test_generate",))},
}

SCENARIOS: Mapping[str, tuple[Scenario, ...]] = {
    "torch": (
        Scenario("float32", "changes", ("tensor-cores",), (f"{CHANGES}::test_stack",), {"WHY_DTYPE": "float32"}),
        Scenario("layers9", "changes", ("model-size", "more-work"), (f"{CHANGES}::test_stack",), {"WHY_LAYERS": "9"}),
        Scenario("unfused", "changes", ("memory-bound",), (f"{CHANGES}::test_attention",), {"WHY_ATTENTION": "math"}),
        Scenario("python", "changes", ("host-bound",), (f"{CHANGES}::test_steps",), {"WHY_HOST_MS": "1.5"}),
        Scenario("neighbour", "changes", ("INVALID",), (f"{CHANGES}::test_steps",), before="neighbour"),
        Scenario("unchanged", "changes", (NOTHING,), runs=2),
        Scenario("cold-unchanged", "cold", (NOTHING,), before="idle:12"),
        Scenario("hot-after-cold", "cold", (NOTHING, "heat"), before="heat:25"),
        Scenario("hot-unchanged", "hot", (NOTHING,), before="heat:5"),
        Scenario("cold-after-hot", "hot", (NOTHING, "heat"), before="idle:30"),
    ),
    "vllm": (
        Scenario(
            "eager", "offline", ("host-bound",), (f"{OFFLINE}::test_generate[8]",),
            {"VLLM_ARGUMENTS": '{"enforce_eager": true}'},
        ),
        Scenario(
            "seqs32", "offline", ("batch",), (f"{OFFLINE}::test_generate[256]",),
            {"VLLM_ARGUMENTS": '{"max_num_seqs": 32}'},
        ),
        Scenario("prompts320", "offline", ("prompt-length",), (f"{OFFLINE}::test_generate[64]",),
                 {"PROMPT_TOKENS": "320"}),
        Scenario(
            "layers33", "offline", ("model-size", "more-work"), (f"{OFFLINE}::test_generate[64]",),
            {"VLLM_ARGUMENTS": '{"hf_overrides": {"num_hidden_layers": 33}}'},
        ),
        Scenario("unchanged", "offline", (NOTHING,)),
    ),
}  # fmt: skip
"""In the order in which they run, the most telling first.  ``test_capped`` is among the unchanged of torch: a load at
the power limit."""
