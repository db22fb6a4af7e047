"""By how much a difference moves joules per unit: published factors and bounds, and parts of an exact split.  Pure.

Every function gives the least and the most log change of joules per unit that its difference accounts for, with its
sign.  Ranges of the ML.ENERGY leaderboard v3 are those that nine of ten pairs of its rows keep, over all models, and
rounded outwards; ``benchmarks/published.py`` counts how often they hold.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping

from pytest_joules.diagnosis.quantities import Comparison
from pytest_joules.diagnosis.splits import BUSY_POWER, BUSY_TIME, WAITING, waiting_split
from pytest_joules.statistics import CAPPED_SLOPE

Range = tuple[float, float]
Settings = Mapping[str, tuple[str, str]]
"""The settings that differ, by name: before and after."""

Size = Callable[[Comparison, Settings], "Range | None"]
"""The range, or ``None`` where the size is not known."""

TOKEN_UNITS = frozenset({"token", "prompt_token", "request"})
IMAGE_UNITS = frozenset({"image", "video", "frame", "step"})

BATCH_LAW = (
    (0.0, (-1.0, -0.20)),
    (24.0, (-0.85, -0.15)),
    (48.0, (-0.80, -0.10)),
    (192.0, (-0.70, -0.05)),
    (384.0, (-0.60, 0.05)),
)
"""Exponent of joules per token in the running batch, from that batch on: what is read and idled once for the whole
batch is shared out (-1), what each request needs of its own is not (0).  Between neighbouring rows of the leaderboard's
chat and code tasks nine of ten had -0.92 to -0.35 at 8, -0.79 to -0.25 at 32, -0.74 to -0.15 at 128 and -0.56 to 0.05
at 512.  The upper end is nearer to 0 than those: of long prompts each request pays more itself."""

IMAGE_BATCH = 0.10
IMAGE_BATCH_GPUS = 0.15
IMAGE_BATCH_RISE = 0.07
"""A doubling of a diffusion batch saves at most 10 % on one GPU (leaderboard: -2 to +3 %; SDXL on an H200 4 %), and
15 % more with each doubling of GPUs that share it (leaderboard, up to 17 % on two GPUs, 35 % on four, 44 % on eight);
nowhere it cost more than 7 % in all."""

GPU_DOUBLING: Mapping[str, Range] = {"tokens": (-0.15, 0.70), "one image": (-0.05, 0.85), "images": (-0.15, 0.70)}
"""Twice the GPUs for the same batch: at most twice the joules (0.69) if nothing gets faster and every GPU draws as
much, or more where a communication-bound single image gets slower.  Leaderboard: -0.06 to 0.45 for chat, 0.19 to 0.81
for single images, 0.00 to 0.65 for batches of images."""

SHARDING = 0.17
"""Another way to share the work out among two GPUs; times log2 of their number (leaderboard: 0.17 at 2, 0.16 at 4,
0.41 at 8)."""

GENERATION: Mapping[str, Range] = {"tokens": (-0.30, 0.15), "images": (-0.25, 0.36)}
"""B200 against H100 (leaderboard)."""

EIGHT_BIT_SMALL: Range = (0.0, 0.45)
EIGHT_BIT_LARGE: Range = (-0.35, 0.0)
SMALL_BATCH, LARGE_BATCH = 16.0, 64.0
"""FP8 against BF16: +13 to +56 % up to a batch of 16, -29 to 0 % from 64 on, in between either (arXiv 2601.22076)."""

TENSOR_PEAK = 14.8
"""Dense BF16 on tensor cores over FP32 without, of an H100 or H200: 989 over 67 TFLOPS (NVIDIA's data sheets)."""

TF32_PEAK = 7.4
"""The same of TF32 on tensor cores: 495 over 67 TFLOPS."""

PARAMETERS: Mapping[str, Range] = {"tokens": (0.0, 1.15), "images": (0.25, 1.15), "": (0.0, 1.15)}
LAYERS: Range = (0.3, 1.1)
"""Exponents in the number of parameters (leaderboard: 0.2 to 1.0 for nine of ten pairs of a family of dense language
models, -0.1 to 1.1 for all; 0.3 to 1.0 for all of two families of image models) and of layers (a 42nd one on an H200:
0.98 to 1.09)."""

HEAT: Range = (0.001, 0.004)
"""Relative rise of watts per °C: 0.2 to 0.37 % for a memory-bound load on H200s, -0.1 to 0.38 % for convolutions."""

CUBIC = 3.0
"""Dynamic power goes with the clock and the square of the voltage, which rises no faster than the clock; work that
waits for memory gains no time by it."""


SAME_WORK = 0.25
"""Arithmetic and traffic that changed by less than this share of the time for them are the same."""


def unknown(c: Comparison, settings: Settings) -> None:
    """Nobody knows how much."""


def family(c: Comparison) -> str:
    """``tokens`` or ``images``, by the unit; empty for any other work."""
    unit = c.before.unit
    return "tokens" if unit in TOKEN_UNITS else "images" if unit in IMAGE_UNITS else ""


def number(text: str) -> float | None:
    """A setting as a number above 0, if it is one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def ratio(settings: Settings, *names: str) -> float | None:
    """Log ratio of the first of the named settings that differs and is a number."""
    for name in names:
        if name in settings:
            then, now = map(number, settings[name])
            if then and now:
                return math.log(now / then)
    return None


def scaled(bounds: Range, by: float) -> Range:
    """Bounds of an exponent times the log ratio of what it is the exponent of."""
    low, high = sorted(bound * by for bound in bounds)
    return low, high


def elastic(name: str, exponents: Mapping[str, Range]) -> Size:
    """Joules per unit go with a power of a fact; the bounds of the exponent by unit."""

    def size(c: Comparison, settings: Settings) -> Range | None:
        values, bounds = c.values(name), exponents.get(c.before.unit)
        if values is None or bounds is None or min(values) <= 0:
            return None
        return scaled(bounds, math.log(values[1] / values[0]))

    return size


def first(*sizes: Size) -> Size:
    """The first size that is known."""

    def size(c: Comparison, settings: Settings) -> Range | None:
        return next((found for one in sizes if (found := one(c, settings)) is not None), None)

    return size


def prefix_cache(c: Comparison, settings: Settings) -> Range | None:
    """Prompt tokens that the cache does not serve are computed; at most all joules go with them."""
    values = c.values("cached_prompt_share")
    if values is None:
        return None
    then, now = (max(1 - value, 0.01) for value in values)
    return scaled((0.0, 1.05), math.log(now / then))


BATCH_SIZES = ("batch_size", "num_images_per_prompt", "num_videos_per_prompt")
PER_CALL = ("requests_per_call", "images_per_call", "videos_per_call")
BATCH_CAPS = ("max_num_seqs",)


def batch(c: Comparison, settings: Settings) -> Range | None:
    """A running batch by the law of its kind of work; a cap that was perhaps not reached by at most that."""
    running = c.values("running_requests")
    if running is not None and family(c) != "images":
        if abs(math.log(running[1] / running[0])) < c.least("running_requests"):
            return None
        return _batch_law(c, *running)
    for fact in PER_CALL:
        values = c.values(fact)
        if values is not None and min(values) > 0 and values[0] != values[1]:
            # Requests may run one after the other all the same; images of a call are a batch.
            return _at_most(_batch_law(c, *values)) if fact == "requests_per_call" else _batch_law(c, *values)
    for names, reached in ((BATCH_SIZES, True), (BATCH_CAPS, False)):
        for name in names:
            if name not in settings:
                continue
            then, now = map(number, settings[name])
            if then and now:
                return _batch_law(c, then, now) if reached else _at_most(_batch_law(c, then, now))
    return None


def _at_most(bounds: Range) -> Range:
    return min(bounds[0], 0.0), max(bounds[1], 0.0)


def _batch_law(c: Comparison, then: float, now: float) -> Range:
    small, large = sorted((then, now))
    if family(c) == "images":
        doublings = math.log2(large / small)
        gpus = math.log2(max(c.before.count, c.after.count))
        low, high = -(IMAGE_BATCH + IMAGE_BATCH_GPUS * gpus) * doublings, min(doublings, 1.0) * IMAGE_BATCH_RISE
    else:
        low = high = 0.0
        edges = (*(edge for edge, _ in BATCH_LAW[1:]), math.inf)
        for (start, bounds), end in zip(BATCH_LAW, edges, strict=True):
            part = math.log(max(min(large, end), small) / max(small, start)) if large > start and small < end else 0.0
            low, high = low + bounds[0] * part, high + bounds[1] * part
        if family(c) != "tokens":
            # Unknown work may be as flat in its batch as diffusion is.
            high = max(high, IMAGE_BATCH_RISE)
    return (low, high) if now > then else (-high, -low)


def running_batch(c: Comparison) -> float | None:
    """Geometric mean of the two sides' batches, as far as it is known."""
    running = c.values("running_requests")
    if running is not None:
        return math.sqrt(running[0] * running[1])
    told = [
        size
        for side in (c.before, c.after)
        for size in (
            *(number(side.conditions.configuration.get(name, "")) for name in BATCH_SIZES),
            *(side.conditions.facts.get(name) for name in PER_CALL),
        )
        if size
    ]
    return math.prod(told) ** (1 / len(told)) if told else None


def gpu_count(c: Comparison, settings: Settings) -> Range | None:
    """Another number of GPUs, or another way to share the work among them."""
    doublings = math.log2(c.after.count / c.before.count)
    kind = family(c)
    if not kind:
        return None
    if not doublings:
        most = SHARDING * math.log2(c.after.count)
        return (-most, most) if most else None
    size = running_batch(c)
    if kind == "images":
        kind = "images" if size is not None and size >= 2 else "one image"
    return scaled(GPU_DOUBLING[kind], doublings)


def generation(c: Comparison, settings: Settings) -> Range | None:
    """B200 against H100; of other pairs nothing was published in this form."""
    sides = [next((name for name in ("B200", "H100") if name in side.device), "") for side in (c.before, c.after)]
    kind = family(c)
    if not kind or "" in sides or sides[0] == sides[1]:
        return None
    return scaled(GENERATION[kind], 1.0 if sides[1] == "B200" else -1.0)


_BITS = (
    (32, r"(torch\.)?float32|fp32|float"),
    (16, r"(torch\.)?(bfloat16|float16)|bf16|fp16|half"),
    (8, r".*(fp8|float8|int8|w8a8).*"),
    (4, r".*(fp4|float4|int4|awq|gptq|nf4|w4a16).*"),
)


def bits(text: str) -> int | None:
    """Bits of a number format by its name; ``None`` if the name does not tell."""
    return next((count for count, pattern in _BITS if re.fullmatch(pattern, text.lower())), None)


PRECISIONS = ("weight_precision", "quantization", "dtype", "autocast")
FLOAT32 = ("float32_matmul", "float32_conv")


def widths(c: Comparison, settings: Settings) -> tuple[int, int] | None:
    """Bits of the narrowest numbers, before and after, if their settings differ and tell."""
    if not any(name in settings for name in PRECISIONS):
        return None
    sides = []
    for side in (c.before, c.after):
        told = [bits(side.conditions.configuration.get(name, "")) for name in PRECISIONS]
        # Quantized weights run in the model's dtype: the narrower one is what was chosen.
        known = [count for count in told if count is not None]
        sides.append(min(known, default=0))
    return None if 0 in sides or sides[0] == sides[1] else (sides[0], sides[1])


def precision(c: Comparison, settings: Settings) -> Range | None:
    """Narrower or wider numbers, by their bits and the batch."""
    sides = widths(c, settings)
    if sides is None:
        found = {settings[name] for name in FLOAT32 if name in settings}
        return scaled((0.0, math.log(TF32_PEAK)), 1.0 if ("tf32", "ieee") in found else -1.0) if found else None
    narrow, wide = sorted(sides)
    if wide == 32:
        low, high = -math.log(TENSOR_PEAK * 16 / min(narrow, 16)), 0.0
    else:
        size = running_batch(c)
        small = size is None or size < LARGE_BATCH
        large = size is None or size > SMALL_BATCH
        low = EIGHT_BIT_LARGE[0] if large else EIGHT_BIT_SMALL[0]
        high = EIGHT_BIT_SMALL[1] if small else EIGHT_BIT_LARGE[1]
        if narrow < 8 or family(c) != "tokens":
            # Of these nothing was published: at most the bytes and the cycles shrink with the bits.
            low = min(low, math.log(narrow / wide))
    return (low, high) if sides[1] == narrow else (-high, -low)


def model_size(c: Comparison, settings: Settings) -> Range | None:
    """More parameters, or more layers of the same."""
    layers = ratio(settings, "num_hidden_layers")
    if layers is not None:
        return scaled(LAYERS, layers)
    logs = [log for name in ("activated_parameters", "parameters") if (log := ratio(settings, name)) is not None]
    if not logs:
        return None
    ends = list(itertools.chain.from_iterable(scaled(PARAMETERS[family(c)], log) for log in logs))
    return min(ends), max(ends)


def heat(c: Comparison, settings: Settings) -> Range | None:
    """Leakage, a fifth of it under a power cap."""
    degrees = c.moved("temperature")
    if degrees is None:
        return None
    shares = [side.conditions.power_cap_share or 0.0 for side in (c.before, c.after)]
    return scaled(HEAT, degrees * (1 - (1 - CAPPED_SLOPE) * max(shares)))


def slower_clock(c: Comparison, settings: Settings) -> Range | None:
    """At the same watts time goes with the clock; at falling watts joules move by less."""
    clock = c.moved("sm_clock")
    return None if clock is None else scaled((0.0, 1.0), -clock)


def faster_clock(c: Comparison, settings: Settings) -> Range | None:
    """Watts of a faster clock."""
    clock = c.moved("sm_clock")
    return None if clock is None else scaled((0.0, CUBIC), clock)


def waiting(c: Comparison, settings: Settings) -> Range | None:
    """Joules of SMs that wait, and at most those of SMs that take longer for the same arithmetic and traffic.

    An SM counts as active while it has anything to do: without graphs and fusion it has little for longer.  Anything up
    to the whole where nobody knows how long SMs wait.
    """
    split = waiting_split(c.before, c.after)
    if split is None:
        return anything(c, settings)
    part, beyond = split.parts[WAITING], split.parts[BUSY_TIME] + split.parts[BUSY_POWER]
    longer, work = c.moved("busy_seconds") or 0.0, [c.moved(name) for name in ("compute_cycles", "dram_bytes")]
    level = all(moved is not None and abs(moved) < SAME_WORK * abs(longer) for moved in work)
    if not level or abs(longer) < c.least("busy_seconds") or beyond * part <= 0:
        return part, part
    low, high = sorted((part, part + beyond))
    return low, high


def busy(c: Comparison, settings: Settings) -> Range | None:
    """Joules of busy SMs, their time and power, less what clock and heat may have made of them."""
    split = waiting_split(c.before, c.after)
    if split is None:
        return anything(c, settings)
    part = split.parts[BUSY_TIME] + split.parts[BUSY_POWER]
    way = math.copysign(1.0, part)
    # A slower clock takes busy SMs longer, a hotter GPU takes them more power.
    others = sum(max(0.0, way * bound) for bound in _beside(c))
    low, high = sorted((way * max(0.0, abs(part) - others), part))
    return low, high


def _beside(c: Comparison) -> list[float]:
    """The most that clock and temperature account for, where they moved."""
    clock, degrees = c.moved("sm_clock"), c.moved("temperature")
    bounds = []
    if clock is not None and abs(clock) >= c.least("sm_clock"):
        bounds.append(-clock)
    if degrees is not None and abs(degrees) >= c.least("temperature"):
        bounds.append(HEAT[1] * degrees)
    return bounds


def more_work(c: Comparison, settings: Settings) -> Range | None:
    """Joules go with the work: between the least and the most that arithmetic, traffic and busy time rose by."""
    moved = [c.moved(name) for name in ("compute_cycles", "dram_bytes", "busy_seconds")]
    known = [change for change in moved if change is not None]
    if len(known) == len(moved):
        return min(known), max(known)
    return estimated_work(c, settings) or anything(c, settings)


def estimated_work(c: Comparison, settings: Settings) -> Range | None:
    """At most all joules go with the arithmetic that an engine estimates."""
    arithmetic = c.moved("flops")
    if arithmetic is None or abs(arithmetic) < c.least("flops"):
        return None
    return scaled((0.0, 1.05), arithmetic)


def anything(c: Comparison, settings: Settings) -> Range | None:
    """Up to the whole change."""
    low, high = sorted((0.0, c.change))
    return low, high
