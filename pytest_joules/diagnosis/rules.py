"""The rules, as data: what each mechanism looks like, how much it accounts for, what to do about it.

A rule is recognised by *signs*, which are measured, by *settings* that were recorded and differ, or by *facts* about
the work.  ``docs/diagnosis.md`` is the table for readers; ``python tools/diagnosis_table.py`` writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pytest_joules.diagnosis import sizes
from pytest_joules.diagnosis.sizes import IMAGE_UNITS, Size, elastic, first

LEADERBOARD = "ML.ENERGY leaderboard v3"
PAPER = "arXiv 2601.22076"
H200 = "H200s (benchmarks/results)"
IDENTITY = "exact split"


class Way(str, Enum):
    """How a quantity moves while joules per unit rise; while they fall, the other way round."""

    UP = "up"
    DOWN = "down"
    LEVEL = "level"
    NOT_UP = "not up"
    NOT_DOWN = "not down"
    HIGH = "high"


class Where(str, Enum):
    """Where something matters."""

    ANYWHERE = "anywhere"
    SEVERAL = "several devices"
    ENGINE = "an engine that batches requests"


@dataclass(frozen=True, slots=True)
class Sign:
    """Something to be seen where a mechanism is at work.

    Attributes:
        quantity: A name in :data:`~pytest_joules.diagnosis.quantities.QUANTITIES`, or ``compute_cycles`` for those of
            the pipe that does the arithmetic.
        way: How it moves with rising joules; ``HIGH`` looks at the side that takes more of them.
        least: Least change, or level, that counts; the quantity's own if ``None``.
        beside: Another quantity: a change that is less than half of its does not count.  ``LEVEL`` without it looks at
            the seconds per unit.
        where: Where it matters; elsewhere it is not asked for.
    """

    quantity: str
    way: Way
    least: float | None = None
    beside: str = ""
    where: Where = Where.ANYWHERE


@dataclass(frozen=True, slots=True)
class Rule:
    """One mechanism.

    Attributes:
        name: What reports and the documentation call it.
        rise: What happened where joules per unit rose.
        fall: What happened where they fell.
        advice: What to do about a rise.
        expect: The size to expect, in words.
        source: Where the size is from.
        size: The range of log joules per unit that what was recorded accounts for.
        part: The same of what was seen, from a split or a bound.
        signs: What is to be seen of it; of alternatives in one tuple any will do.
        settings: Recorded settings that bring it about.
        facts: Facts about the work that are it.
        ways: Mechanisms in which it shows itself, so that they are evidence of it and no causes of their own.
        shows: Quantities that are printed with it where they moved.
        brief: Rise and fall in a few words, where rules are named together; empty if it is named only where it is seen.
        plausible: Signs without which it is not named where others are missing.
        units: Units of work that it can concern; empty for any.
        where: Where it can be at work.
    """

    name: str
    rise: str
    fall: str
    advice: str
    expect: str
    source: str
    size: Size = sizes.unknown
    part: Size = sizes.unknown
    signs: tuple[tuple[Sign, ...], ...] = ()
    settings: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    brief: tuple[str, str] = ("", "")
    plausible: tuple[Sign, ...] = ()
    units: frozenset[str] = frozenset()
    where: Where = Where.ANYWHERE


def _all(*signs: Sign | tuple[Sign, ...]) -> tuple[tuple[Sign, ...], ...]:
    return tuple((sign,) if isinstance(sign, Sign) else sign for sign in signs)


_SLOWER = Sign("seconds", Way.UP)
_SAME_BATCH = Sign("running_requests", Way.NOT_DOWN, where=Where.ENGINE)
_BUSY = ("more-work", "memory-bound", "tensor-cores")
_ANY = ("host-bound", *_BUSY, "communication")
_WATTS_KEPT = Sign("watts", Way.NOT_DOWN, least=0.4)
"""Busy SMs keep most of the watts: decodes, which read memory, drew 70 to 77 % of the limit of H200s, products of
matrices all of it."""

_GPM_SHOWN = ("sm_active", "tensor_active", "dram_active")

RULES: tuple[Rule, ...] = (
    # Work: the unit is another amount of work.
    Rule(
        "prompt-length",
        rise="prompts are longer: more to prefill, and every token attends to more",
        fall="prompts are shorter: less to prefill, and every token attends to less",
        advice="compare at one prompt length; shorten, cache or truncate prompts",
        expect="0 to 2 times the change of their length per token or request: attention is quadratic in it; -0.5 to 1 "
               "times per prompt token; 5 % longer prompts of 256 tokens took 3.4 % more per token",
        source=f"bounds; {H200}",
        size=elastic("prompt_tokens_per_request",
                     {"token": (0.0, 2.0), "request": (0.0, 2.0), "prompt_token": (-0.5, 1.05)}),
        facts=("prompt_tokens_per_request",), ways=_ANY,
    ),
    Rule(
        "output-length",
        rise="requests generate another number of tokens: a longer context for each, or fewer that share a prompt",
        fall="requests generate another number of tokens: a shorter context for each, or more that share a prompt",
        advice="compare at one output length: max_tokens with ignore_eos=True",
        expect="-1 (a prompt is shared out) to 1 (a context is read) times the change of their length per token, 0 "
               "to 2 times per request",
        source="bounds",
        size=elastic("tokens_per_request", {"token": (-1.05, 1.05), "request": (0.0, 2.05)}),
        facts=("tokens_per_request",), ways=_ANY,
    ),
    Rule(
        "steps",
        rise="more denoising steps",
        fall="fewer denoising steps",
        advice="set num_inference_steps as before",
        expect="0.5 to 1 times the change of their number; text encoder and decoder stay",
        source="bounds",
        size=first(
            elastic("steps_per_image",
                    {**dict.fromkeys(("image", "request", "call"), (0.5, 1.05)), "step": (-0.5, 0.05)}),
            elastic("steps_per_video",
                    {**dict.fromkeys(("video", "frame", "request", "call"), (0.5, 1.05)), "step": (-0.5, 0.05)}),
        ),
        facts=("steps_per_image", "steps_per_video"),
        settings=("num_inference_steps", "inference_steps"), ways=_ANY,
    ),
    Rule(
        "resolution",
        rise="more pixels",
        fall="fewer pixels",
        advice="compare at one height and width",
        expect="0.5 to 2 times the change of their number: attention is quadratic in it",
        source="bounds",
        size=first(*(
            elastic(name, dict.fromkeys((*IMAGE_UNITS, "request", "call"), (0.5, 2.05)))
            for name in ("megapixels_per_image", "megapixels_per_frame")
        )),
        facts=("megapixels_per_image", "megapixels_per_frame"), settings=("height", "width"), ways=_ANY,
    ),
    Rule(
        "frames",
        rise="videos have another number of frames",
        fall="videos have another number of frames",
        advice="compare at one number of frames",
        expect="0.5 to 2 times the change of their number per video, -0.5 to 1 times per frame",
        source="bounds",
        size=elastic("frames_per_video", {
            **dict.fromkeys(("video", "request", "call", "step"), (0.5, 2.05)), "frame": (-0.5, 1.05),
        }),
        facts=("frames_per_video",), settings=("num_frames",), ways=_ANY,
    ),
    Rule(
        "guidance",
        rise="more denoiser forwards a step: guidance by a second forward, or as a batch twice as large",
        fall="fewer denoiser forwards a step",
        advice="set guidance_scale and the negative prompt as before",
        expect="0.4 to 1 times the change of their number",
        source="bounds",
        size=elastic("forwards_per_step", dict.fromkeys((*IMAGE_UNITS, "request", "call"), (0.4, 1.05))),
        facts=("forwards_per_step",), settings=("guidance_scale",), ways=_ANY,
    ),
    Rule(
        "prefix-cache",
        rise="the prefix cache serves fewer of the prompt tokens",
        fall="the prefix cache serves more of the prompt tokens",
        advice="keep the shared part of prompts first and unchanged; look at enable_prefix_caching and cache room",
        expect="up to the change of the tokens that are computed",
        source="bounds",
        size=sizes.prefix_cache,
        facts=("cached_prompt_share",), settings=("enable_prefix_caching",), ways=_ANY,
    ),
    Rule(
        "drafts",
        rise="fewer drafted tokens are accepted",
        fall="more drafted tokens are accepted",
        advice="look at the draft model and num_speculative_tokens: rejected drafts are joules for nothing",
        expect="up to the change of the share that is accepted",
        source="bounds",
        size=elastic("draft_acceptance", dict.fromkeys(("token", "request"), (-1.05, 0.0))),
        facts=("draft_acceptance",), settings=("num_speculative_tokens", "speculative_method"), ways=_ANY,
    ),
    Rule(
        "unfinished",
        rise="another share of the requests finished",
        fall="another share of the requests finished",
        advice="look why requests were aborted: their joules count, their tokens may not",
        expect="not known",
        source="",
        facts=("finished_share",), ways=_ANY,
    ),
    Rule(
        "call-size",
        rise="a call does more",
        fall="a call does less",
        advice="count what a call produces, and budget joules per that",
        expect="0 to 1 times the change of what a call produces",
        source="bounds",
        size=first(*(elastic(name, {"call": (0.0, 1.05)}) for name in sizes.PER_CALL)),
        facts=sizes.PER_CALL, ways=_ANY, units=frozenset({"call"}),
    ),
    # Knobs: a recorded setting that has a published size.
    Rule(
        "batch",
        rise="a smaller batch shares what is read and idled once for all of it",
        fall="a larger batch shares what is read and idled once for all of it",
        advice="raise max_num_seqs or the batch, or free memory for it: KV cache, shorter context, narrower weights",
        expect="per doubling of a running batch -13 to -50 % below 32, -3 to -42 % above; diffusion on one GPU is flat "
               "(-10 to +7 %); max_num_seqs 256 to 32 took 102 % more; a cap above the load does nothing",
        source=f"{LEADERBOARD}; {PAPER}; {H200}",
        size=sizes.batch,
        part=sizes.batch,
        signs=_all(_SLOWER, Sign("sm_clock", Way.NOT_DOWN), Sign("running_requests", Way.DOWN),
                   Sign("dram_bytes", Way.UP)),
        settings=(*sizes.BATCH_CAPS, *sizes.BATCH_SIZES, "max_num_batched_tokens", "enable_chunked_prefill",
                  "gpu_memory_utilization", "kv_cache_memory_bytes", "num_gpu_blocks_override", "max_model_len",
                  "block_size"),
        facts=("preemptions_per_request", *sizes.PER_CALL),
        ways=_ANY,
        shows=("running_requests", "waiting_requests", "kv_cache_usage", "dram_bytes"),
        units=sizes.TOKEN_UNITS | IMAGE_UNITS,
        brief=("a smaller batch", "a larger batch"),
    ),
    Rule(
        "tensor-cores",
        rise="the arithmetic runs on slower or wider units: tensor cores are lost, or numbers are wider",
        fall="the arithmetic runs on faster or narrower units",
        advice="run matrix products in bfloat16 or narrower, or allow TF32; quantize only for batches that gain by it",
        expect="FP8 for BF16: +0 to +56 % up to a batch of 16, -29 to 0 % from 64 on; FP32 for BF16 without tensor "
               "cores up to 15 times",
        source=f"{PAPER}; NVIDIA's H100 data sheet",
        size=sizes.precision,
        part=sizes.busy,
        signs=_all(_SLOWER, Sign("tensor_cycles", Way.DOWN, least=0.22), Sign("other_cycles", Way.UP),
                   Sign("busy_seconds", Way.UP)),
        settings=(*sizes.PRECISIONS, *sizes.FLOAT32),
        ways=("more-work", "memory-bound"),
        shows=(*_GPM_SHOWN, "tensor_cycles", "dram_bytes"),
        plausible=(_WATTS_KEPT,),
        brief=("lost tensor cores or wider numbers", "tensor cores or narrower numbers"),
    ),
    Rule(
        "gpu-count",
        rise="the work is shared out among the GPUs in another way, and takes more GPU time or power for each unit",
        fall="the work is shared out among the GPUs in another way, and takes less GPU time or power for each unit",
        advice="use as few GPUs as hold the model and meet the latency limit, with larger batches on each",
        expect="twice the GPUs at the same batch -14 to +101 % (chat: -6 to +57 %), for a single image -5 to +134 %; "
               "another sharding up to 19 % for each doubling of GPUs",
        source=f"{LEADERBOARD}",
        size=sizes.gpu_count,
        settings=("num_gpus", "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size",
                  "expert_parallel_size", "enable_expert_parallel", "decode_context_parallel_size", "ulysses_degree",
                  "ring_degree", "disable_custom_all_reduce"),
        ways=_ANY,
        shows=("link_bytes", "sm_active"),
    ),
    Rule(
        "gpu-model",
        rise="another kind of GPU",
        fall="another kind of GPU",
        advice="compare on one SKU; each has its own baseline file",
        expect="B200 for H100: -26 to +16 % for tokens, -22 to +43 % for images; others not known",
        source=f"{LEADERBOARD}",
        size=sizes.generation,
        settings=("device",), ways=(*_ANY, "power-cap", "heat", "clocks", "slow-clocks"),
        shows=("sm_clock",),
    ),
    Rule(
        "model-size",
        rise="another model: more parameters or layers to go through for each unit",
        fall="another model: fewer parameters or layers to go through for each unit",
        advice="if it is meant, record its own baseline",
        expect="0 to 1.15 times the change of the number of parameters (images, video 0.25 to 1.15), 0.3 to 1.1 "
               "times that of layers; 42 layers for 41 took 2.4 to 2.7 % more",
        source=f"{LEADERBOARD}; {H200}",
        size=sizes.model_size,
        settings=("num_hidden_layers", "hidden_size", "intermediate_size",
                  "num_attention_heads", "num_key_value_heads", "vocab_size", "num_experts", "num_experts_per_tok",
                  "parameters", "activated_parameters", "model", "architecture", "pipeline"),
        ways=_ANY,
        shows=("tensor_cycles", "dram_bytes"),
    ),
    # Mechanisms: seen in what the devices did.
    Rule(
        "host-bound",
        rise="the GPU waits for the host, and idles at a cost",
        fall="the GPU waits less for the host",
        advice="CUDA graphs (enforce_eager=False), torch.compile, a larger batch, or less Python between steps",
        expect="idle power times the time waited, and what SMs took longer for the same work; "
               "enforce_eager=True took 42 % at a batch of 8, 14 % at 256",
        source=f"{IDENTITY}; {H200}",
        part=sizes.waiting,
        signs=_all(
            _SLOWER,
            (Sign("watts", Way.DOWN), Sign("sm_clock", Way.UP)),
            (Sign("sm_active", Way.DOWN), Sign("busy_seconds", Way.LEVEL)),
            Sign("sm_clock", Way.NOT_DOWN),
            Sign("link_bytes", Way.NOT_UP, where=Where.SEVERAL),
        ),
        settings=("enforce_eager", "torch_compile", "optimization_level", "compilation_mode", "cudagraph_mode",
                  "max_cudagraph_capture_size", "async_scheduling",
                  "scheduling_policy", "api_server_count", "stream_interval", "offload", "cpu_offload_gb"),
        shows=("host_seconds", "link_bytes", "running_requests"),
        brief=("the GPU waits for the host", "the GPU waits less for the host"),
    ),
    Rule(
        "communication",
        rise="more bytes over NVLink or PCIe for each unit, for which the SMs wait",
        fall="fewer bytes over NVLink or PCIe for each unit",
        advice="fewer GPUs for one model, or another sharding; keep tensors on the device",
        expect="what waiting for the link costs, at idle power or above",
        source=IDENTITY,
        part=sizes.anything,
        signs=_all(_SLOWER, Sign("link_bytes", Way.UP), Sign("sm_active", Way.DOWN),
                   Sign("compute_cycles", Way.LEVEL)),
        ways=("memory-bound",),
        shows=("dram_bytes",),
        where=Where.SEVERAL,
        brief=("more traffic between GPUs", "less traffic between GPUs"),
    ),
    Rule(
        "power-cap",
        rise="the power limit holds the clock lower",
        fall="the power limit leaves the clock higher",
        advice="compare under one power limit, and look what draws more at each clock: other data, a hotter GPU",
        expect="up to what the clock lost: at the same watts time goes with it",
        source="bounds",
        part=sizes.slower_clock,
        signs=_all(_SLOWER, Sign("sm_clock", Way.DOWN),
                   (Sign("power_cap", Way.UP), Sign("power_cap", Way.HIGH, least=0.5))),
        settings=("power_limit",), ways=("slow-clocks",),
        shows=("temperature",),
        brief=("the power limit holds the clock", "the power limit holds the clock less"),
    ),
    Rule(
        "thermal",
        rise="heat, the power brake or the pace of other GPUs held the clock down",
        fall="heat, the power brake or the pace of other GPUs held the clock down before",
        advice="cool the machine and look at its power supply; such a window is INVALID",
        expect="up to what the clock lost: at the same watts time goes with it",
        source="bounds",
        part=sizes.slower_clock,
        signs=_all(_SLOWER, Sign("sm_clock", Way.DOWN), (
            Sign("software_thermal_share", Way.UP), Sign("hardware_thermal_share", Way.UP),
            Sign("power_brake_share", Way.UP), Sign("sync_boost_share", Way.UP),
        )),
        ways=("power-cap", "slow-clocks"),
        shows=("temperature",),
        brief=("heat or the power brake holds the clock", "heat or the power brake held the clock before"),
    ),
    Rule(
        "heat",
        rise="a hotter GPU leaks more current: not the code",
        fall="a cooler GPU leaks less current: not the code",
        advice="measure after the same warm-up, in the same air; nothing is wrong with the code",
        expect="0.1 to 0.4 %/°C, a fifth of it under a power cap",
        source=H200,
        part=sizes.heat,
        signs=_all(Sign("watts", Way.UP), Sign("seconds", Way.LEVEL), Sign("temperature", Way.UP),
                   Sign("sm_clock", Way.LEVEL)),
        brief=("a hotter GPU", "a cooler GPU"),
    ),
    Rule(
        "clocks",
        rise="a faster SM clock takes more watts than the time it saves makes up for",
        fall="a slower SM clock saves more watts than the time it loses takes back",
        advice="look at the clock policy: nvidia-smi -lgc, application clocks, power profile",
        expect="up to 3 times the change of the clock: power goes with it and with voltage squared",
        source="bounds",
        part=sizes.faster_clock,
        signs=_all(Sign("watts", Way.UP), Sign("sm_clock", Way.UP), Sign("seconds", Way.NOT_UP)),
        settings=("gpu_power_profile",),
        brief=("a faster clock", "a slower clock"),
    ),
    Rule(
        "slow-clocks",
        rise="the SM clock is lower, with no cap and no heat to hold it",
        fall="the SM clock is higher",
        advice="look at the clock policy: nvidia-smi -lgc, application clocks, power profile",
        expect="up to what the clock lost: at the same watts time goes with it",
        source="bounds",
        part=sizes.slower_clock,
        signs=_all(
            _SLOWER, Sign("sm_clock", Way.DOWN), Sign("power_cap", Way.NOT_UP),
            *(Sign(name, Way.NOT_UP) for name in ("software_thermal_share", "hardware_thermal_share")),
        ),
        settings=("gpu_power_profile",),
        brief=("a slower clock", "a faster clock"),
    ),
    Rule(
        "more-work",
        rise="more arithmetic for each unit, at the same utilization",
        fall="less arithmetic for each unit, at the same utilization",
        advice="look for another layer, a longer context, a lost fusion or cache, work that is done twice",
        expect="what arithmetic, traffic and busy time rose by; else at most what the engine's estimate did",
        source=IDENTITY,
        size=sizes.estimated_work,
        part=sizes.more_work,
        signs=_all(_SLOWER, Sign("busy_seconds", Way.UP), Sign("compute_cycles", Way.UP, beside="dram_bytes"),
                   Sign("tensor_cycles", Way.NOT_DOWN), _SAME_BATCH),
        settings=("torch_compile", "enforce_eager", "compilation_mode", "attention", "autocast", "grad",
                  "vae_tiling", "vae_slicing", "deterministic", "cudnn_benchmark"),
        facts=tuple(f"flops_per_{unit}" for unit in ("token", "prompt_token", "image", "video", "step", "call")),
        shows=("tensor_cycles", "dram_bytes", *_GPM_SHOWN),
        plausible=(Sign("watts", Way.NOT_DOWN, least=0.05),),
        brief=("more arithmetic", "less arithmetic"),
    ),
    Rule(
        "hidden-work",
        rise="more arithmetic for each unit, which takes watts and no time",
        fall="less arithmetic for each unit, which took watts and no time",
        advice="look for work that is done twice or thrown away: what takes the time, such as memory traffic, hides it",
        expect="up to what watts rose by",
        source=IDENTITY,
        part=sizes.anything,
        signs=_all(Sign("watts", Way.UP), Sign("seconds", Way.LEVEL), Sign("sm_clock", Way.LEVEL),
                   Sign("compute_cycles", Way.UP, least=0.05, beside="dram_bytes"), _SAME_BATCH),
        shows=("tensor_cycles", "dram_bytes", *_GPM_SHOWN),
    ),
    Rule(
        "memory-bound",
        rise="more device memory traffic for the same arithmetic: unfused kernels, wider numbers, a smaller batch",
        fall="less device memory traffic for the same arithmetic",
        advice="use a fused attention (FlashAttention, SDPA) and torch.compile; look at dtypes and copies",
        expect="what busy SMs took more, in time and power",
        source=IDENTITY,
        part=sizes.busy,
        signs=_all(_SLOWER, Sign("busy_seconds", Way.UP), Sign("dram_bytes", Way.UP),
                   Sign("compute_cycles", Way.LEVEL, beside="dram_bytes"), _SAME_BATCH),
        settings=("attention", "attention_backend", "flash_attn_version", "sdpa_backends", "torch_compile",
                  "enforce_eager", "compilation_mode", "kv_cache_dtype", "moe_backend", "linear_backend",
                  "deterministic", "cudnn_benchmark", "grad"),
        shows=_GPM_SHOWN,
        plausible=(_WATTS_KEPT,),
        brief=("more memory traffic", "less memory traffic"),
    ),
    # What differs and fits nowhere else.
    Rule(
        "versions",
        rise="other versions of libraries or of the driver",
        fall="other versions of libraries or of the driver",
        advice="run with the earlier versions once to see whether they are it",
        expect="not known",
        source="",
        ways=_ANY,
    ),
    Rule(
        "setting",
        rise="a recorded setting differs",
        fall="a recorded setting differs",
        advice="run with the earlier setting once to see whether it is it",
        expect="not known",
        source="",
    ),
)  # fmt: skip
"""In the order of the documentation."""

BY_NAME = {rule.name: rule for rule in RULES}
