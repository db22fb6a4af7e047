"""Whether two sessions did the same work: facts about it beside its amount, and how they differ.  Pure functions.

Joules per token compare only where a token is the same work.  A warm prefix
cache, preempted requests or another acceptance of drafted tokens make it
another; that is then the finding, not a regression of energy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pytest_joules.units import format_count, format_percent, plural


@dataclass(frozen=True, slots=True)
class Fact:
    """One ratio that is kept with a session.

    Attributes:
        name: What it is stored under.
        amount: The total that is divided.
        per: The work that it is divided by.
        text: What a difference means, in words; the two numbers follow.
        share: Whether the ratio is a share of something, and printed as percent.
        slack: Difference that is nothing, as a share of the larger ratio.
        floor: Difference that is nothing whatever the ratios are.
        other_work: Whether a difference makes it other work, so that joules do not compare.
        told: Whether a difference is told of; one that follows from others is kept for the diagnosis alone.
    """

    name: str
    amount: str
    per: str
    text: str
    share: bool = False
    slack: float = 0.005
    floor: float = 0.0
    other_work: bool = False
    told: bool = True

    def least(self, a: float, b: float) -> float:
        """The difference between ``a`` and ``b`` that is nothing yet."""
        return max(self.floor, self.slack * max(a, b))

    def shown(self, value: float) -> str:
        """The number as a reader wants it."""
        if self.share:
            return format_percent(value)
        # Estimates are of billions.
        return f"{value:.4g}" if self.told else format_count(value)


def _estimated(amount: str, text: str, unit: str) -> Fact:
    return Fact(f"{amount}s_per_{unit}", amount, unit, f"{text} per {unit.replace('_', ' ')}", told=False)


FACTS = (
    Fact("cached_prompt_share", "cached_prompt_token", "prompt_token", "prompt tokens served by the prefix cache",
         share=True, floor=0.02, other_work=True),
    Fact("preemptions_per_request", "preemption", "request", "preemptions per request",
         slack=0.2, floor=0.02, other_work=True),
    Fact("finished_share", "finished_request", "request", "requests that finished",
         share=True, floor=0.005, other_work=True),
    Fact("draft_acceptance", "accepted_draft_token", "draft_token", "drafted tokens that were accepted",
         share=True, floor=0.03, other_work=True),
    Fact("requests_per_call", "request", "call", "requests per call", slack=0.02),
    Fact("prompt_tokens_per_request", "prompt_token", "request", "prompt tokens per request", slack=0.02),
    Fact("tokens_per_request", "token", "request", "output tokens per request", slack=0.02),
    Fact("images_per_call", "image", "call", "images per call", slack=0.02),
    Fact("videos_per_call", "video", "call", "videos per call", slack=0.02),
    Fact("steps_per_image", "step", "image", "denoising steps per image"),
    Fact("steps_per_video", "step", "video", "denoising steps per video"),
    Fact("forwards_per_step", "forward", "step", "denoiser forwards per step"),
    Fact("megapixels_per_image", "megapixel", "image", "megapixels per image"),
    Fact("megapixels_per_frame", "megapixel", "frame", "megapixels per frame"),
    Fact("frames_per_video", "frame", "video", "frames per video"),
    *(
        _estimated(amount, text, unit)
        for amount, text in (("flop", "FLOPs"), ("byte", "bytes of memory traffic"))
        for unit in ("token", "prompt_token", "image", "video", "step", "call")
    ),
)  # fmt: skip

WEIGHTS = "weights"
"""The setting that says whether a model's weights are ``real`` or ``random``."""

FOLLOWS = {
    "optimization_level": ("enforce_eager",),
    "compilation_mode": ("enforce_eager", "optimization_level"),
    "cudagraph_mode": ("enforce_eager", "optimization_level"),
    "max_cudagraph_capture_size": ("enforce_eager", "optimization_level", "cudagraph_mode", "max_num_seqs"),
    "parameters": ("model", "num_hidden_layers"),
    "speculative_method": ("num_speculative_tokens",),
}
"""Settings that an engine derives from others: told of only where none of those differs, too."""

BASELINE = "baseline"
_AGAINST = ", in the {} "
IN_BASELINE = _AGAINST.format(BASELINE)
"""What stands between today's value and theirs where something differs from the stored sessions."""

WARM = 0.5
"""Share of the prompt tokens that a cache of whole blocks serves at least where every prompt is repeated."""

WANDERING = 0.02
"""Calls of one kind of work whose counts differ by more are told of."""


@dataclass(frozen=True, slots=True)
class Differences:
    """How today's work differs from the stored sessions'.

    Attributes:
        other_work: Why the joules do not compare; empty if they do.
        notes: Differences that a reader of the ratio must know.
    """

    other_work: str = ""
    notes: tuple[str, ...] = ()


def ratios(totals: Mapping[str, float]) -> dict[str, float]:
    """The facts that ``totals`` of work and of other amounts tell."""
    return {
        fact.name: totals[fact.amount] / totals[fact.per]
        for fact in FACTS
        if fact.amount in totals and totals.get(fact.per, 0.0) > 0
    }


def differences(
    today: Mapping[str, float],
    stored: Sequence[Mapping[str, float]],
    settings: Mapping[str, str],
    stored_settings: Sequence[Mapping[str, str]],
    against: str = BASELINE,
) -> Differences:
    """Compare today's facts and settings with those of stored sessions, as far as both know them.

    ``against`` is what the messages call the stored ones.
    """
    spoiling: list[str] = []
    notes: list[str] = []
    for fact in FACTS:
        if not fact.told or fact.name not in today:
            continue
        known = [facts[fact.name] for facts in stored if fact.name in facts]
        if not known:
            continue
        now, then = today[fact.name], median(known)
        slack = fact.least(now, then)
        if min(known) - slack <= now <= max(known) + slack:
            continue
        text = f"{fact.text}: {fact.shown(now)}{_AGAINST.format(against)}{fact.shown(then)}"
        (spoiling if fact.other_work else notes).append(text)
    for name, (value, before) in changed(settings, stored_settings).items():
        text = f"{name}: {value}{_AGAINST.format(against)}{' and '.join(before)}"
        (spoiling if name == WEIGHTS else notes).append(text)
    reason = f"this is other work than the {against}'s, so that joules do not compare: {'; '.join(spoiling)}"
    return Differences(reason if spoiling else "", tuple(notes))


def changed(settings: Mapping[str, str], stored: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The settings that differ from all stored ones, as far as both know them: each with its value and theirs.

    What an engine derives from another setting that differs is left out, so that one change is one difference.
    """
    before = {name: tuple(sorted({held[name] for held in stored if name in held})) for name in settings}
    differing = {name: value for name, value in settings.items() if before[name] and value not in before[name]}
    return {
        name: (value, before[name])
        for name, value in differing.items()
        if not any(cause in differing for cause in FOLLOWS.get(name, ()))
    }


def wandering(unit: str, least: float, most: float) -> str:
    """What to say of calls that produced between ``least`` and ``most`` of a unit; empty if they are alike."""
    if most <= least * (1 + WANDERING):
        return ""
    advice = ": fix max_tokens and set ignore_eos=True, so that calls compare" if unit == "token" else ""
    return f"the calls produced between {least:g} and {most:g} {unit}s{advice}"


def warm(totals: Mapping[str, float]) -> str:
    """What to say of repeated calls whose prompts a cache knows; empty if it does not."""
    share = ratios(totals).get("cached_prompt_share", 0.0)
    if share < WARM:
        return ""
    return (
        f"the prefix cache served {format_percent(share)} of the prompt tokens: prompts that calls repeat cost less "
        "than new ones do; enable_prefix_caching=False, or new ones by setup=, measures those"
    )


def compiling(totals: Mapping[str, float]) -> str:
    """What to say if something was compiled while joules were measured; empty if nothing was."""
    count = totals.get("compilation", 0)
    return (
        f"torch.compile compiled {plural(round(count), 'graph')} while measuring: shapes or flags changed from call "
        "to call, and the host's time for it is in the joules"
        if count
        else ""
    )
