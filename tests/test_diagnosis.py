"""Why joules per unit moved: each mechanism with the numbers that one would see, and what holds for all of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_joules.baselines import store
from pytest_joules.diagnosis.explain import allocate, explain
from pytest_joules.diagnosis.observation import Observation, idle_watts
from pytest_joules.diagnosis.rules import BY_NAME, RULES
from pytest_joules.model import Block, Cause, Conditions, Device, Diagnosis, Measurement, Session, WindowKind
from pytest_joules.reporting import diagnosis as shown
from pytest_joules.reporting.json import read
from pytest_joules.signals import SIGNALS

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import published  # noqa: E402
import unchanged  # noqa: E402

NOISE = 0.01

DECODE = {
    "sm_active": 0.93, "sm_occupancy": 0.3, "tensor_active": 0.10, "fp64_active": 0.0, "fp32_active": 0.03,
    "fp16_active": 0.0, "integer_active": 0.04, "dram_active": 0.65, "dram_bytes_per_second": 3.1e12,
    "pcie_bytes_per_second": 2e7, "nvlink_bytes_per_second": 0.0, "loaded_idle_watts": 122.0, "host_cores": 1.1,
    "running_requests": 64.0, "waiting_requests": 0.0, "kv_cache_usage": 0.4, "software_thermal_share": 0.0,
    "hardware_thermal_share": 0.0, "power_brake_share": 0.0, "sync_boost_share": 0.0,
}  # fmt: skip
"""A decode on an H200: memory-bound, at full clock."""

PREFILL = {**DECODE, "sm_active": 0.97, "tensor_active": 0.80, "fp32_active": 0.05, "dram_bytes_per_second": 0.9e12}
"""A prefill on an H200: tensor cores all the time, at the power limit."""


def side(
    watts: float = 540.0,
    milliseconds: float = 1.0,
    *,
    signals: Mapping[str, float] = DECODE,
    celsius: float | None = 48.0,
    clock: float | None = 1980.0,
    capped: float | None = 0.0,
    facts: Mapping[str, float] | None = None,
    settings: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
    unit: str = "token",
    device: str = "NVIDIA H200",
    count: int = 1,
    limit: float | None = 700.0,
) -> Observation:
    """One side of a comparison."""
    return Observation(
        joules_per_unit=watts * milliseconds * 1e-3,
        seconds_per_unit=milliseconds * 1e-3,
        unit=unit,
        device=device,
        count=count,
        power_limit_watts=limit,
        driver="580.159.04",
        simulated=False,
        scope="gpu",
        kind=WindowKind.REPEATED,
        conditions=Conditions(
            temperature_celsius=celsius,
            sm_clock_mhz=clock,
            power_cap_share=capped,
            idle_watts=122.0,
            facts=facts or {},
            configuration=settings or {},
            versions=versions or {},
            signals=signals,
        ),
    )


def without(signals: Mapping[str, float], *names: str) -> dict[str, float]:
    return {name: value for name, value in signals.items() if name not in names}


def first(diagnosis: Diagnosis) -> Cause:
    """The first cause, which has to account for most of the change."""
    cause = diagnosis.causes[0]
    assert cause.explains is not None
    assert abs(cause.explains) > 0.5 * abs(diagnosis.change)
    return cause


# Mechanisms, seen in signals.


STALLED = {**DECODE, "sm_active": 0.54, "tensor_active": 0.058, "fp32_active": 0.017, "dram_bytes_per_second": 1.8e12,
           "host_cores": 1.6}  # fmt: skip


def test_the_gpu_waits_for_the_host() -> None:
    found = explain(side(540, 1.0), side(365, 1.73, signals=STALLED), NOISE)
    cause = first(found)
    assert cause.rule == "host-bound"
    assert "waits for the host" in cause.text
    assert "SM active: 93.0% -> 54.0%" in cause.evidence
    assert any(line.startswith("watts: 540 W -> 365 W") for line in cause.evidence)
    assert any(line.startswith("host processor time") for line in cause.evidence)
    assert "CUDA graphs" in cause.advice
    waiting = next(split for split in found.splits if split.name.startswith("waiting")).parts["waiting"]
    assert cause.explains == pytest.approx(waiting)


def test_small_kernels_keep_sms_active_for_longer() -> None:
    """As H200s did without CUDA graphs: watts -41 %, SM active 93 to 55 % in 2.4 times the time."""
    eager = {**DECODE, "sm_active": 0.55, "tensor_active": 0.042, "fp32_active": 0.0125, "integer_active": 0.0166,
             "dram_bytes_per_second": 1.3e12}  # fmt: skip
    found = explain(side(540, 1.0), side(319, 2.4, signals=eager), NOISE)
    cause = first(found)
    assert cause.rule == "host-bound"
    assert found.unexplained == pytest.approx(0, abs=1e-9)
    waiting = next(split for split in found.splits if split.name.startswith("waiting")).parts["waiting"]
    bounds = found.accountable(cause)
    assert bounds is not None
    assert bounds[0] == pytest.approx(waiting)
    assert bounds[1] == pytest.approx(found.change)


def test_it_waits_no_more() -> None:
    cause = first(explain(side(365, 1.73, signals=STALLED), side(540, 1.0), NOISE))
    assert cause.rule == "host-bound"
    assert "less" in cause.text
    assert cause.explains is not None
    assert cause.explains < 0


def test_the_knob_that_made_it_wait_is_named_inside_and_first() -> None:
    found = explain(
        side(540, 1.0, settings={"enforce_eager": "False"}),
        side(365, 1.73, signals=STALLED, settings={"enforce_eager": "True"}),
        NOISE,
    )
    assert first(found).rule == "host-bound"
    assert first(found).evidence[0] == "enforce_eager: False -> True"
    assert [cause.rule for cause in found.causes].count("host-bound") == 1
    assert "setting" not in {cause.rule for cause in found.causes}


def test_a_knob_whose_mechanism_did_not_show_is_named_without_a_size() -> None:
    """CUDA graphs are off, but what moved is the traffic."""
    found = explain(
        side(540, 1.0, settings={"cudagraph_mode": "FULL"}),
        side(545, 1.3, signals={**DECODE, "tensor_active": 0.077}, settings={"cudagraph_mode": "NONE"}),
        NOISE,
    )
    assert first(found).rule == "memory-bound"
    other = found.causes[-1]
    assert (other.rule, other.explains) == ("setting", None)
    assert other.evidence == ("cudagraph_mode: FULL -> NONE",)


def test_one_more_layer_is_more_work() -> None:
    """42 layers for 41: 2.4 % more of everything, at the same utilization."""
    found = explain(side(540, 1.0), side(540, 1.024), 0.006)
    assert first(found).rule == "more-work"
    assert first(found).explains == pytest.approx(found.change, rel=0.01)


def test_lost_tensor_cores() -> None:
    """float32 instead of bfloat16 in a product of matrices."""
    slow = {**PREFILL, "tensor_active": 0.0, "fp32_active": 0.92, "dram_bytes_per_second": 0.2e12}
    found = explain(
        side(690, 1.0, signals=PREFILL, clock=1500, capped=1.0), side(610, 10.5, signals=slow, clock=1900), NOISE
    )
    assert first(found).rule == "tensor-cores"
    assert any("tensor core cycles per unit" in line for line in first(found).evidence)


def test_a_wider_dtype_is_the_reason_for_lost_tensor_cores() -> None:
    slow = {**PREFILL, "tensor_active": 0.0, "fp32_active": 0.92, "dram_bytes_per_second": 0.2e12}
    found = explain(
        side(690, 1.0, signals=PREFILL, clock=1500, capped=1.0, settings={"dtype": "bfloat16"}),
        side(610, 10.5, signals=slow, clock=1900, settings={"dtype": "float32"}),
        NOISE,
    )
    assert first(found).rule == "tensor-cores"
    assert first(found).evidence[0] == "dtype: bfloat16 -> float32"
    assert [cause.rule for cause in found.causes].count("tensor-cores") == 1


def test_unfused_attention_moves_more_bytes() -> None:
    unfused = {**PREFILL, "tensor_active": 0.33, "fp32_active": 0.12, "dram_bytes_per_second": 2.8e12}
    found = explain(
        side(690, 1.0, signals=PREFILL, clock=1620, capped=1.0, settings={"sdpa_backends": "flash+math"}),
        side(600, 2.0, signals=unfused, clock=1980, settings={"sdpa_backends": "math"}),
        NOISE,
    )
    assert first(found).rule == "memory-bound"
    assert first(found).evidence[0] == "sdpa_backends: flash+math -> math"
    assert "FlashAttention" in first(found).advice


def test_an_unfused_attention_that_lost_its_tensor_cores_too_has_the_busy_time_once() -> None:
    """The math kernel runs its products in float32: the setting that brought it about is one cause, not two."""
    unfused = {**PREFILL, "tensor_active": 0.28, "fp32_active": 0.30, "dram_bytes_per_second": 2.8e12}
    found = explain(
        side(690, 1.0, signals=PREFILL, clock=1620, capped=1.0, settings={"sdpa_backends": "flash+math"}),
        side(600, 1.8, signals=unfused, clock=1980, settings={"sdpa_backends": "math"}),
        NOISE,
    )
    assert first(found).rule == "memory-bound"
    assert [cause.rule for cause in found.causes if cause.explains] == ["memory-bound"]


def test_a_measured_part_narrows_what_is_known_of_a_setting() -> None:
    slow = {**PREFILL, "tensor_active": 0.0, "fp32_active": 0.92, "dram_bytes_per_second": 0.2e12}
    found = explain(
        side(690, 1.0, signals=PREFILL, clock=1500, capped=1.0, settings={"dtype": "bfloat16"}),
        side(610, 10.5, signals=slow, clock=1900, settings={"dtype": "float32"}),
        NOISE,
    )
    assert first(found).low == pytest.approx(first(found).high)


def test_more_arithmetic_by_the_engines_estimate() -> None:
    found = explain(
        side(540, 1.0, signals={}, facts={"flops_per_token": 1.00e10}),
        side(540, 1.024, signals={}, facts={"flops_per_token": 1.024e10}),
        0.006,
    )
    assert first(found).rule == "more-work"
    assert first(found).evidence[0] == "FLOPs per token: 10 billion -> 10.2 billion (+2.4%)"


def test_traffic_between_gpus() -> None:
    linked = {**DECODE, "nvlink_bytes_per_second": 40e9}
    slower = {**DECODE, "sm_active": 0.70, "tensor_active": 0.075, "dram_bytes_per_second": 2.35e12,
              "nvlink_bytes_per_second": 150e9}  # fmt: skip
    found = explain(
        side(1000, 1.0, signals=linked, count=2, limit=1400),
        side(900, 1.33, signals={**slower, "loaded_idle_watts": 244.0}, count=2, limit=1400),
        NOISE,
    )
    assert first(found).rule == "communication"
    assert "host-bound" not in {cause.rule for cause in found.causes}


def test_links_that_carry_nothing_tell_nothing() -> None:
    waits = {
        name: DECODE[name] / 2 if name.endswith("_active") or name.startswith("dram") else DECODE[name]
        for name in DECODE
    }
    found = explain(
        side(1000, 1.0, signals=DECODE, count=2, limit=1400),
        side(650, 2.0, signals=waits, count=2, limit=1400),
        NOISE,
    )
    assert found.causes[0].rule == "host-bound"
    assert not any("NVLink" in line for cause in found.causes for line in cause.evidence)


def test_the_power_limit_holds_the_clock() -> None:
    capped = {**PREFILL, "tensor_active": 0.80}
    found = explain(
        side(690, 1.0, signals=PREFILL, clock=1620, capped=1.0),
        side(690, 1.065, signals=capped, clock=1520, capped=1.0, celsius=52.0),
        NOISE,
    )
    assert first(found).rule == "power-cap"


def test_a_lower_power_limit_is_named_and_makes_the_numbers_incomparable() -> None:
    found = explain(
        side(690, 1.0, signals=PREFILL, clock=1620, capped=1.0),
        side(450, 1.60, signals=PREFILL, clock=1050, capped=1.0, limit=450.0),
        NOISE,
    )
    assert found.incomparable == ("power limit: 700 W -> 450 W",)
    assert first(found).rule == "power-cap"
    assert first(found).evidence[0] == "power_limit: 700 W -> 450 W"


def test_thermal_slowdown() -> None:
    found = explain(
        side(540, 1.0),
        side(520, 1.10, clock=1790, celsius=86.0, signals={**DECODE, "hardware_thermal_share": 0.4}),
        NOISE,
    )
    assert first(found).rule == "thermal"


def test_a_clock_that_somebody_lowered() -> None:
    found = explain(side(540, 1.0), side(470, 1.25, clock=1500), NOISE)
    assert first(found).rule == "slow-clocks"


def test_a_faster_clock_that_saves_no_time() -> None:
    found = explain(side(480, 1.0, clock=1600), side(540, 0.999, clock=1980), NOISE)
    assert first(found).rule == "clocks"


def test_a_slower_clock_that_saves_more_than_the_time_it_takes() -> None:
    (cause,) = explain(side(540, 1.0, clock=1980), side(440, 1.05, clock=1600), NOISE).causes
    assert cause.rule == "clocks"
    assert cause.text == "a slower SM clock saves more watts than the time it loses takes back"


def test_more_arithmetic_that_memory_traffic_hides() -> None:
    more = side(560, 1.0, signals={**DECODE, "tensor_active": 0.12})
    cause = first(explain(side(540, 1.0), more, NOISE))
    assert cause.rule == "hidden-work"
    assert any(line.startswith("tensor core cycles per unit:") for line in cause.evidence)
    # Nobody guesses it where cycles are not known.
    unseen: dict[str, Any] = {"signals": without(DECODE, "tensor_active", "fp32_active"), "celsius": None}
    found = explain(side(540, 1.0, **unseen), side(560, 1.0, **unseen), NOISE)
    assert not any("hidden-work" in cause.rule for cause in found.causes)


def test_a_hotter_gpu_is_not_the_code() -> None:
    found = explain(side(540, 1.0, celsius=38.0), side(556, 1.0, celsius=52.0), NOISE)
    assert first(found).rule == "heat"
    assert "not the code" in first(found).text


def test_heat_accounts_for_no_more_than_it_can() -> None:
    found = explain(side(540, 1.0, celsius=38.0), side(648, 1.0, celsius=50.0), NOISE)
    heat = next(cause for cause in found.causes if cause.rule == "heat")
    assert heat.explains == pytest.approx(0.004 * 12)
    assert found.unexplained == pytest.approx(found.change - 0.004 * 12)


# Recorded differences.


def test_a_smaller_batch_by_its_running_requests() -> None:
    smaller = {**DECODE, "running_requests": 32.0}
    found = explain(
        side(690, 1.0, signals={**DECODE, "running_requests": 250.0}, settings={"max_num_seqs": "256"}),
        side(620, 2.37, signals=smaller, settings={"max_num_seqs": "32"}),
        NOISE,
    )
    assert first(found).rule == "batch"
    assert first(found).evidence[:2] == (
        "max_num_seqs: 256 -> 32",
        "requests that ran at once: 250.0 -> 32.0 (-87.2%)",
    )
    assert first(found).low is not None
    assert 0 < first(found).low < found.change  # type: ignore[operator]


def test_memory_forces_a_smaller_batch() -> None:
    full = {**DECODE, "running_requests": 24.0, "waiting_requests": 40.0, "kv_cache_usage": 0.98}
    found = explain(side(600, 1.0), side(560, 1.6, signals=full), NOISE)
    assert first(found).rule == "batch"
    assert "no memory for more" in first(found).text
    assert any(line.startswith("KV cache in use") for line in first(found).evidence)


def test_more_requests_at_once_are_no_cause_of_a_rise() -> None:
    """A slower server has more of them in flight."""
    found = explain(side(540, 1.0), side(365, 1.73, signals={**STALLED, "running_requests": 90.0}), NOISE)
    assert [cause.rule for cause in found.causes if cause.rule == "batch"] == []
    assert first(found).rule == "host-bound"


def test_a_cap_that_was_not_reached_does_nothing() -> None:
    found = explain(
        side(540, 1.0, settings={"max_num_seqs": "256"}), side(540, 1.024, settings={"max_num_seqs": "128"}), 0.006
    )
    assert first(found).rule == "more-work"
    assert found.causes[-1].rule == "batch"
    assert found.causes[-1].explains is None
    assert found.causes[-1].text == "max_num_seqs differs, and as many requests ran at once as before"


@pytest.mark.parametrize(
    ("fact", "unit", "then", "now", "rise", "rule"),
    [
        ("prompt_tokens_per_request", "token", 256.0, 269.0, 1.034, "prompt-length"),
        ("tokens_per_request", "request", 128.0, 160.0, 1.24, "output-length"),
        ("steps_per_image", "image", 20.0, 21.0, 1.047, "steps"),
        ("megapixels_per_image", "image", 1.05, 1.64, 1.75, "resolution"),
        ("frames_per_video", "video", 17.0, 33.0, 2.2, "frames"),
        ("forwards_per_step", "image", 1.0, 2.0, 1.9, "guidance"),
        ("cached_prompt_share", "token", 0.9, 0.0, 1.8, "prefix-cache"),
        ("requests_per_call", "call", 64.0, 128.0, 1.9, "call-size"),
        ("images_per_call", "image", 4.0, 1.0, 1.08, "batch"),
    ],
)
def test_other_work_accounts_for_its_part(
    fact: str, unit: str, then: float, now: float, rise: float, rule: str
) -> None:
    found = explain(side(unit=unit, facts={fact: then}), side(milliseconds=rise, unit=unit, facts={fact: now}), NOISE)
    assert first(found).rule == rule
    assert abs(found.unexplained) < NOISE


def test_longer_prompts_do_not_explain_a_host_that_stalls() -> None:
    found = explain(
        side(540, 1.0, facts={"prompt_tokens_per_request": 256.0}),
        side(365, 1.73, signals=STALLED, facts={"prompt_tokens_per_request": 262.0}),
        NOISE,
    )
    assert first(found).rule == "host-bound"


@pytest.mark.parametrize(("batch", "change", "expected"), [(8.0, 1.4, True), (256.0, 0.8, True), (256.0, 1.2, False)])
def test_eight_bits_cost_in_small_batches_and_pay_in_large_ones(batch: float, change: float, expected: bool) -> None:
    signals = {"running_requests": batch}
    found = explain(
        side(signals=signals, settings={"quantization": "none", "dtype": "bfloat16"}),
        side(milliseconds=change, signals=signals, settings={"quantization": "fp8", "dtype": "bfloat16"}),
        NOISE,
    )
    cause = found.causes[0]
    assert (cause.explains is not None) is expected
    if change > 1 and expected:
        assert cause.text == "narrower numbers cost more than they save"


def test_another_gpu_comes_first_and_makes_numbers_incomparable() -> None:
    found = explain(
        side(device="NVIDIA H100 80GB HBM3", signals={}, versions={"vllm": "0.22.0"}),
        side(device="NVIDIA B200", milliseconds=0.88, signals={}, limit=1000.0, versions={"vllm": "0.23.0"}),
        NOISE,
    )
    assert found.incomparable[0] == "device: NVIDIA H100 80GB HBM3 -> NVIDIA B200"
    assert [cause.rule for cause in found.causes] == ["gpu-model", "versions"]
    assert found.causes[0].explains == pytest.approx(found.change)


def test_twice_the_gpus() -> None:
    found = explain(side(540, 1.0, signals={}), side(980, 0.68, signals={}, count=2, limit=1400.0), NOISE)
    assert found.causes[0].rule == "gpu-count"
    assert "devices: 1 -> 2" in found.incomparable
    assert "GPU time and watts per GPU" in {split.name for split in found.splits}


def test_another_version_has_no_known_size() -> None:
    found = explain(side(versions={"torch": "2.10.0"}), side(milliseconds=1.2, versions={"torch": "2.11.0"}), NOISE)
    assert [(cause.rule, cause.explains) for cause in found.causes if cause.rule == "versions"] == [("versions", None)]
    assert "version of torch: 2.10.0 -> 2.11.0" in found.causes[-1].evidence


def test_what_only_one_side_knows_is_no_difference() -> None:
    found = explain(
        side(signals={}, celsius=None, clock=None), side(milliseconds=1.2, settings={"dtype": "float32"}), NOISE
    )
    assert found.causes == ()
    assert found.incomparable == ()


def test_what_a_team_found_takes_part() -> None:
    hook = Cause("router", "the router sends every request twice", low=0.5, high=0.8)
    found = explain(side(), side(milliseconds=2.0, signals={}), NOISE, [hook])
    assert found.causes[0].rule == "router"
    assert found.causes[0].explains == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    "claim",
    [
        Cause("theirs", "the moon is full", explains=50.0),
        Cause("theirs", "the moon is full", explains=1e300),
        Cause("theirs", "the moon is full", low=0.5, high=0.8),
    ],
)
def test_what_a_team_claims_displaces_nothing_that_was_measured(claim: Cause) -> None:
    before, after = side(540, 1.0), side(545, 1.3, signals={**DECODE, "tensor_active": 0.077})
    plain = explain(before, after, NOISE)
    assert first(plain).rule == "memory-bound"
    found = explain(before, after, NOISE, [claim])
    assert first(found).rule == "memory-bound"
    assert first(found).explains == pytest.approx(first(plain).explains)
    (theirs,) = [cause for cause in found.causes if cause.rule == "theirs"]
    assert theirs.explains == pytest.approx(plain.unexplained if plain.unexplained > 0 else 0.0)
    assert "is more than there is left to explain" in theirs.evidence[-1]
    assert any("the moon is full; it " in line for line in shown.whole(found))


# Missing signals.


def test_rules_that_nothing_tells_apart_are_named_together() -> None:
    blind = without(DECODE, *(name for name in DECODE if name != "host_cores"))
    found = explain(side(540, 1.0, signals=blind), side(340, 2.0, signals=blind), NOISE)
    (cause,) = found.causes
    assert cause.rule == "batch or host-bound"
    assert cause.explains is None
    assert found.unexplained == found.change
    assert "the GPU waits for the host" in cause.text
    assert "a smaller batch" in cause.text
    assert "SM active" in cause.text
    assert "unavailable" in cause.text
    assert any("SM active" in line and "GPM" in line for line in found.missing)
    assert any("energy.server" in line for line in found.missing)


def test_one_signal_tells_them_apart() -> None:
    know = ("sm_active", "dram_bytes_per_second", "loaded_idle_watts")
    then, now = ({name: table[name] for name in know} for table in (DECODE, STALLED))
    assert first(explain(side(540, 1.0, signals=then), side(365, 1.73, signals=now), NOISE)).rule == "host-bound"


@pytest.mark.parametrize(
    ("setting", "then", "now"),
    [
        ("attention_backend", "unset", "TRITON_ATTN"),
        ("kv_cache_dtype", "auto", "fp8"),
        ("max_lora_rank", "unset", "64"),
    ],
)
def test_a_setting_is_named_before_what_nothing_tells_apart(setting: str, then: str, now: str) -> None:
    """No mechanism is said to be seen, since none was: the batch stayed as it was, and that is all."""
    blind = {name: DECODE[name] for name in ("running_requests",)}
    found = explain(
        side(395, 1.0, signals=blind, settings={setting: then}),
        side(390, 1.215, signals=blind, settings={setting: now}),
        NOISE,
    )
    knob, merged = found.causes
    assert (knob.rule, knob.explains, knob.evidence) == ("setting", None, (f"{setting}: {then} -> {now}",))
    assert " or " in merged.rule
    assert found.unexplained == found.change


def test_eager_execution_is_not_taken_for_more_arithmetic_where_nobody_knows() -> None:
    blind: dict[str, Any] = {"signals": {}, "clock": 1410.0}
    settings = [{"enforce_eager": value} for value in ("False", "True")]
    then = side(400, 1.0, settings=settings[0], **blind)
    assert explain(then, side(400, 1.2, settings=settings[1], **blind), NOISE).causes[0].rule == "setting"
    waits = side(300, 1.8, settings=settings[1], **blind)
    cause = explain(then, waits, NOISE).causes[0]
    assert cause.rule == "host-bound"
    assert cause.evidence[0] == "enforce_eager: False -> True"


def test_watts_and_time_alone_name_nothing() -> None:
    blind: dict[str, Any] = {"celsius": None, "clock": None, "capped": None, "signals": {}}
    found = explain(side(540, 1.0, **blind), side(340, 2.0, **blind), NOISE)
    assert found.causes == ()
    assert found.unexplained == found.change
    assert found.splits[0].name == "watts and time"
    assert any("SM active" in line for line in found.missing)


SCENES = {
    "host": (side(540, 1.0), side(365, 1.73, signals=STALLED)),
    "layer": (side(540, 1.0), side(540, 1.1)),
    "traffic": (side(540, 1.0), side(545, 1.3, signals={**DECODE, "tensor_active": 0.077})),
    "tensor": (
        side(690, 1.0, signals=PREFILL, clock=1500, capped=1.0),
        side(610, 10.5, signals={**PREFILL, "tensor_active": 0.0, "fp32_active": 0.92}, clock=1900),
    ),
    "thermal": (
        side(540, 1.0), side(520, 1.10, clock=1790, celsius=86.0, signals={**DECODE, "hardware_thermal_share": 0.4}),
    ),
    "batch": (
        side(600, 1.0, settings={"max_num_seqs": "64"}),
        side(560, 1.6, signals={**DECODE, "running_requests": 24.0}, settings={"max_num_seqs": "64"}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("scene", SCENES)
@given(data=st.data())
def test_fewer_signals_never_claim_more(scene: str, data: st.DataObject) -> None:
    """Every mechanism that is claimed with fewer signals was there with all of them."""
    before, after = SCENES[scene]
    gone = data.draw(st.sets(st.sampled_from(sorted(DECODE))))
    fewer = [
        replace(one, conditions=replace(one.conditions, signals=without(one.conditions.signals, *gone)))
        for one in (before, after)
    ]
    claimed = {cause.rule for cause in explain(fewer[0], fewer[1], NOISE).causes if cause.explains is not None}
    assert claimed <= {cause.rule for cause in explain(before, after, NOISE).causes}


# What always holds.

AMOUNTS = st.floats(0.01, 1.0)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Any side: with whatever signals, facts and settings."""
    signals = {
        signal.name: draw(AMOUNTS) * (1e12 if signal.name.endswith("second") else 1.0)
        for signal in draw(st.lists(st.sampled_from(SIGNALS), unique=True))
    }
    signals |= {"loaded_idle_watts": draw(st.floats(60, 140))} if "loaded_idle_watts" in signals else {}
    settings = {
        "dtype": st.sampled_from(("float32", "bfloat16", "float8_e4m3fn")),
        "max_num_seqs": st.sampled_from(("8", "64", "256", "auto")),
        "enforce_eager": st.sampled_from(("True", "False")),
    }
    return side(
        draw(st.floats(130, 700)),
        draw(st.floats(0.1, 10)),
        signals=signals,
        celsius=draw(st.none() | st.floats(25, 85)),
        clock=draw(st.none() | st.floats(800, 1980)),
        capped=draw(st.none() | st.floats(0, 1)),
        facts=draw(st.dictionaries(st.sampled_from(("prompt_tokens_per_request", "cached_prompt_share")), AMOUNTS)),
        settings={name: draw(values) for name, values in settings.items() if draw(st.booleans())},
        count=draw(st.sampled_from((1, 1, 2))),
    )


@given(observations(), observations())
def test_splits_sum_to_the_change(before: Observation, after: Observation) -> None:
    found = explain(before, after, NOISE)
    for split in found.splits:
        assert sum(split.parts.values()) == pytest.approx(found.change, abs=1e-9)
    assert found.splits[0].parts["watts"] == pytest.approx(math.log(after.watts / before.watts))


@given(observations(), observations())
def test_causes_and_the_rest_make_the_change(before: Observation, after: Observation) -> None:
    found = explain(before, after, NOISE)
    explained = sum(cause.explains or 0.0 for cause in found.causes)
    assert explained + found.unexplained == pytest.approx(found.change, abs=1e-9)
    for cause in found.causes:
        assert cause.text
        if cause.explains is not None and cause.low is not None and cause.high is not None:
            assert min(cause.low, 0) - 1e-9 <= cause.explains <= max(cause.high, 0) + 1e-9
            least, most = sorted(abs(bound) for bound in found.accountable(cause) or ())
            assert least - 1e-9 <= abs(cause.explains) <= most + 1e-9


@given(observations(), observations(), st.floats(-1, 1))
def test_within_the_noise_there_is_no_cause(before: Observation, after: Observation, share: float) -> None:
    joules = before.joules_per_unit * math.exp(0.999 * NOISE * share)
    found = explain(before, replace(after, joules_per_unit=joules), NOISE)
    assert found.causes == ()
    assert found.missing == ()


@given(observations(), observations())
def test_the_way_back_has_the_same_causes(before: Observation, after: Observation) -> None:
    there, back = explain(before, after, NOISE), explain(after, before, NOISE)
    assert back.change == pytest.approx(-there.change)
    assert {c.rule for c in there.causes} == {c.rule for c in back.causes}
    explained = {c.rule: c.explains or 0.0 for c in there.causes}
    assert {c.rule: -(c.explains or 0.0) for c in back.causes} == pytest.approx(explained, abs=1e-9)


RANGES = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(lambda pair: (min(pair), max(pair))), max_size=5)


@given(RANGES, st.floats(-2, 2), st.randoms())
def test_the_order_of_causes_decides_nothing(ranges: list[tuple[float, float]], change: float, random: object) -> None:
    assume(change != 0)
    order = sorted(range(len(ranges)), key=lambda _: random.random())  # type: ignore[attr-defined]
    shares = allocate(ranges, change)
    assert allocate([ranges[index] for index in order], change) == pytest.approx([shares[index] for index in order])


# Where the sides come from.


def test_a_measurement_and_sessions_become_sides() -> None:
    blocks = (Block(100.0, 1000.0, 0.5), Block(121.0, 1000.0, 0.5))
    conditions = Conditions(sm_clock_mhz=1980, signals={"sm_active": 0.9}, configuration={"dtype": "bfloat16"})
    measurement = Measurement(
        "main", WindowKind.REPEATED, (Device(0, "NVIDIA H200", "a", power_limit_watts=700.0, driver="580"),),
        {"token": blocks}, 1.0, 1.0, conditions,
    )  # fmt: skip
    today = Observation.of_measurement(measurement, "token")
    assert today.joules_per_unit == pytest.approx(0.11)
    assert (today.device, today.count, today.power_limit_watts) == ("NVIDIA H200", 1, 700.0)
    sessions = [
        Session("2026-11-21T00:00:00+00:00", ("a",), blocks[:1], conditions=conditions),
        Session(
            "2026-11-22T00:00:00+00:00", ("a",), blocks[1:],
            conditions=replace(conditions, configuration={"dtype": "float32"}, signals={}),
        ),
    ]  # fmt: skip
    stored = Observation.of_sessions(sessions, "token", "NVIDIA H200")
    assert stored.joules_per_unit == pytest.approx(0.11)
    assert stored.conditions.signals == {"sm_active": 0.9}
    assert stored.conditions.configuration == {}  # they disagree: it is not known


def test_what_was_busy_before_the_work_is_no_idle_power() -> None:
    running = [
        replace(one, conditions=replace(one.conditions, idle_watts=561.0, signals={})) for one in (side(669), side(640))
    ]
    assert idle_watts(running[0], running[1]) is None


def test_every_rule_says_what_to_do_and_what_to_expect() -> None:
    names = set(BY_NAME)
    assert len(names) == len(RULES)
    for rule in RULES:
        assert rule.rise
        assert rule.fall
        assert rule.advice
        assert rule.expect
        assert rule.source or rule.expect == "not known"
        assert set(rule.ways) <= names
        assert rule.brief[0] or not rule.signs or rule.name == "hidden-work", "which is named only where it is seen"


# On measured and published numbers.


def test_unchanged_work_on_h200s_has_no_cause() -> None:
    """Sessions and reports against each other; on one device even as if each pair were just outside its noise."""
    file = store.read(ROOT / "baselines" / "nvidia-h200.json")
    assert file is not None
    results = ROOT / "benchmarks" / "results"
    reports = [*results.glob("**/*unchanged-*.json"), *results.glob("**/record-*.json")]
    pairs = [
        *unchanged.of_sessions(file),
        *(pair for path in reports for pair in unchanged.of_report(path, file)),
        *unchanged.of_reports(reports, one_device=True),
    ]
    others = list(unchanged.of_reports(reports, one_device=False))
    assert len(pairs) > 1100
    assert len(others) > 300
    assert [pair.name for pair in (*pairs, *others) if pair.diagnosis.causes] == []
    doubted = [pair.name for pair in pairs for cause in pair.doubted.causes if cause.explains is not None]
    assert doubted == []


@pytest.mark.parametrize(
    ("report", "test", "rule", "evidence"),
    [
        ("vllm-offline/eager-1", "test_generate[8]", "host-bound", "enforce_eager: False -> True"),
        ("vllm-offline/eager-1", "test_generate[64]", "host-bound", "enforce_eager: False -> True"),
        ("vllm-offline/eager-1", "test_generate[256]", "host-bound", "enforce_eager: False -> True"),
        ("vllm-offline/seqs32-1", "test_generate[64]", "batch", "max_num_seqs: 256 -> 32"),
        ("vllm-offline/seqs32-1", "test_generate[256]", "batch", "max_num_seqs: 256 -> 32"),
        (
            "vllm-offline/prompts269-1",
            "test_generate[256]",
            "prompt-length",
            "prompt tokens per request: 256 -> 269 (+5.1%)",
        ),
        ("diffusers/steps21-1", "test_image[1]", "steps", "denoising steps per image: 20 -> 21 (+5.0%)"),
        ("diffusers/steps21-1", "test_video", "steps", "denoising steps per video: 20 -> 21 (+5.0%)"),
    ],
)
def test_honest_changes_on_an_h200(report: str, test: str, rule: str, evidence: str) -> None:
    """Measured before there were signals: by what was recorded, and by watts, seconds and clock."""
    file = store.read(ROOT / "baselines" / "nvidia-h200.json")
    assert file is not None
    results = read(ROOT / "benchmarks" / "results" / "h200-engines" / f"{report}.json").results
    result = next(result for result in results if result.test.endswith(f"::{test}"))
    assert result.key is not None
    assert result.measurement is not None
    before = Observation.of_sessions(file.entries[result.key], result.key.unit, file.device)
    found = explain(before, Observation.of_measurement(result.measurement, result.key.unit), NOISE)
    assert first(found).rule == rule
    assert first(found).evidence[0] == evidence
    assert [cause for cause in found.causes if cause.explains is not None] == [first(found)]


def row(joules: float, **fields: object) -> dict[str, object]:
    """A row in the shape of the leaderboard's."""
    return {
        "model_id": "Some/Model-8B", "nickname": "Some 8B", "gpu_model": "H100", "num_gpus": 1, "tensor_parallel": 1,
        "max_num_seqs": 64, "avg_batch_size": 63.0, "avg_output_len": 500.0, "weight_precision": "bfloat16",
        "total_params_billions": 8.0, "activated_params_billions": 8.0, "avg_power_watts": 600.0,
        "energy_per_token_joules": joules, "energy_per_request_joules": 500 * joules, **fields,
    }  # fmt: skip


def test_published_rows_that_differ_by_one_thing_are_paired() -> None:
    rows = [
        row(0.30),
        row(0.20, max_num_seqs=128, avg_batch_size=126.0),
        row(0.36, num_gpus=2, tensor_parallel=2),
        row(0.26, gpu_model="B200"),
        row(0.90, model_id="Some/Model-32B", total_params_billions=32.0, activated_params_billions=32.0),
        row(0.27, model_id="Some/Model-8B-FP8", weight_precision="fp8"),
    ]
    found = list(published.cases(rows, 0.02))
    things = ["batch", "gpu", "model size", "parallelism", "precision"]
    assert sorted(case.thing for case in found) == sorted(things * 2)
    assert all(case.named and case.within for case in found)
    assert all(case.directed is not False for case in found)
    assert "| batch | 2 | 0 | 2 of 2 | 2 of 2 | 2 of 2 |" in published.table(found)


def test_a_published_row_may_be_of_any_unit() -> None:
    video = {"model_id": "Some/Video", "gpu_model": "H100", "num_gpus": 1, "batch_size": 1, "inference_steps": 50,
             "avg_power_watts": 650.0, "video_height": 480, "video_width": 832, "num_frames": 81}  # fmt: skip
    rows = [
        {**video, "energy_per_video_joules": 2e5},
        {**video, "energy_per_video_joules": 1.2e5, "inference_steps": 30},
    ]
    found = list(published.cases(rows, 0.02))
    assert [case.thing for case in found] == ["steps", "steps"]
    assert all(case.named and case.within for case in found)


def test_outcomes_of_a_task_nobody_has_seen_are_no_settings() -> None:
    rows = [
        row(0.3 / (1 + i % 2), max_num_seqs=64 * (1 + i % 2), avg_batch_size=63.0 * (1 + i % 2),
            mean_ttft_ms=i, prompt_seconds=1.5 + i, total_tokens=1000 + i, lengths=[i], images=1, modality="image")
        for i in range(12)
    ]  # fmt: skip
    assert {"mean_ttft_ms", "prompt_seconds", "total_tokens", "lengths"} <= published.outcomes(rows)
    assert published.outcomes(rows).isdisjoint({"images", "modality", "max_num_seqs", "total_params_billions"})
    assert {case.thing for case in published.cases(rows, 0.02)} == {"batch"}


def test_published_rows_without_joules_or_watts_are_left_out() -> None:
    nothing: dict[str, object] = {"gpu_model": "H100"}
    rows = [row(0.3), row(0.2, avg_power_watts=None), row(0.0, energy_per_request_joules=None), nothing]
    assert [published.complete(one) for one in rows] == [True, False, False, False]
    assert list(published.cases(rows, 0.02)) == []
