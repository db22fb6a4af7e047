"""The pure parts of measuring a server: metrics to numbers, the steady state, percentiles, what a load asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.facts import changed
from pytest_joules.serving.load import LoadResult, Record, Spec
from pytest_joules.serving.names import DIALECTS
from pytest_joules.serving.scrape import Scrape, Scraper
from pytest_joules.serving.settings import settings_in
from pytest_joules.serving.steady import SteadyWork, steady_work
from pytest_joules.serving.timeline import (
    FULL,
    HALVES_ALIKE,
    LEAST_FILLED,
    NotSteady,
    Timeline,
    drawn,
    parse,
    steady_stretch,
)
from pytest_joules.workloads.settings import UNSET

VLLM_PAGE = """\
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.2
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.4
vllm:generation_tokens_total{engine="0",model_name="m"} 100.0
vllm:generation_tokens_total{engine="1",model_name="m"} 1.5e+03
vllm:generation_tokens_created{engine="0",model_name="m"} 1.7e9
vllm:prompt_tokens_total{engine="0",model_name="m"} 10.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 5.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 2.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.5",model_name="m"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.5",model_name="m"} 2.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 3.0
vllm:time_per_output_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 7.0
"""


def test_a_page_is_summed_over_engines() -> None:
    timeline = parse([Scrape(1.0, VLLM_PAGE), Scrape(1.2, error="HTTP 500"), Scrape(1.4, VLLM_PAGE)])
    assert timeline is not None
    assert (timeline.engine, timeline.times) == ("vllm", (1.0, 1.4))
    assert timeline.gauges == {"running": (7, 7), "waiting": (0, 0), "kv_usage": (pytest.approx(0.3),) * 2}
    last = {name: totals[-1] for name, totals in timeline.counters.items()}
    assert last == {"token": 1600, "prompt_token": 10, "request": 7, "finished_request": 5}
    assert timeline.histograms["ttft"][0] == {0.5: 3, math.inf: 3}
    assert timeline.histograms["itl"][0] == {math.inf: 7}  # by its older name


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.engine)
def test_every_engine_is_told_by_its_names(dialect: object) -> None:
    names = [name for dialects in DIALECTS if dialects is dialect for name in dialects.all_names()]
    timeline = parse([Scrape(0.0, "\n".join(f"{name} 1" for name in names))])
    assert timeline is not None
    assert {"token", "prompt_token", "request"} <= set(timeline.counters)
    assert set(timeline.gauges) == {"running", "waiting", "kv_usage"}


@pytest.mark.parametrize("text", ["", "python_info 1.0", "vllm:lora_info 1.0", "vllm:generation_tokens_total 7"])
def test_a_page_without_the_names(text: str) -> None:
    assert parse([Scrape(0.0, text)]) is None


@pytest.mark.parametrize("misses", [1, 2])
def test_the_last_look_is_repeated_once(misses: int) -> None:
    class Missing(Scraper):
        def _scrape(self) -> Scrape:
            looks.append(self._stopped.is_set())
            return Scrape(0.0, error="ReadTimeout" if 0 < sum(looks) <= misses else "")

    looks: list[bool] = []
    scrapes = Missing("http://x", float).stop()
    assert (scrapes[-1].error, sum(looks)) == ("" if misses == 1 else "ReadTimeout", 2)


def test_a_restart_is_dated() -> None:
    timeline = Timeline((0.0, 0.2, 0.4, 0.6), {"token": (5, 9, 2, 4), "request": (1, 1, 1, 0)}, {"running": (1,) * 4})
    assert timeline.restart() == 0.4
    with pytest.raises(NotSteady, match=r"went back 0.4 s after"):
        steady_work(timeline, 1, None)


def sampled(running: Sequence[float]) -> list[float]:
    return [0.2 * index for index in range(len(running))]


def test_ramp_and_drain_are_left_out() -> None:
    running = [0.0, 0, 5, 8, *([8] * 20), 6, 3, 0, 0]
    stretch = steady_stretch(sampled(running), running, 8)
    # A load's first 1.2 s do not count; they began with the third sample.
    assert (stretch.first, stretch.last, stretch.target) == (8, 23, 8)
    assert steady_stretch(sampled(running), running, None) == stretch


@pytest.mark.parametrize(
    ("running", "target", "complaint"),
    [
        ([0.0] * 30, 8, "no request was seen running"),
        ([4.0] * 30, 8, "no more than 4 of 8"),
        ([0.0, 8, 8, 8, 0, 0], 8, r"full for 0.4 s"),
        ([8.0] * 5 + [2] * 20 + [8] * 5, 8, "full for 0.8 s"),
        ([8.0, 5] * 20, 8, "only 6.5 of 8"),
        ([16.0] * 40, 8, "16.0 of 8 requests ran on average: another client"),
        ([10.0] * 20 + [8.5] * 20 + [10], 10, "in the first half"),
    ],
)
def test_what_is_not_steady(running: list[float], target: float, complaint: str) -> None:
    with pytest.raises(NotSteady, match=complaint):
        steady_stretch(sampled(running), running, target)


@pytest.mark.parametrize("target", [8, None])
def test_of_two_loads_the_longer_one_is_taken(target: float | None) -> None:
    # A client's first try, a short load, the long one; at a pause of two samples it goes on.
    running = [1.0, 0, 0, 0, *([8] * 10), 1, 0, 0, *([8] * 20), 0, 1, *([8] * 30), 4, 0]
    stretch = steady_stretch(sampled(running), running, target)
    assert (stretch.first, stretch.last) == (17 + 6, 68)
    assert stretch.warmup_seconds == pytest.approx(1.2)


def test_first_requests_do_not_count() -> None:
    running = [0.0, *([8] * 40), 0]
    assert steady_stretch(sampled(running), running, 8, settled=4.1).first == 21
    with pytest.raises(NotSteady, match=r"full for 7.8 s, and a load's first 8.0 s do not count"):
        steady_stretch(sampled(running), running, 8, settled=8.2)
    records = [Record(start, start + 2.0 + start, ((start + 1.0, 1),), 1) for start in (2.0, 0.0, 1.0)]
    assert LoadResult(tuple(records), 2, 0.0).settled == 4.0


def test_a_burst_above_the_plateau_is_not_the_plateau() -> None:
    running = [60.0] * 40
    running[20] = 64
    stretch = steady_stretch(sampled(running), running, 64)
    assert (stretch.first, stretch.last) == (6, 39)


@pytest.mark.parametrize("page", ["vllm:generation_tokens_total{ 7", VLLM_PAGE.replace("1.5e+03", "NaN")])
def test_pages_that_cannot_be_read_are_left_out(page: str) -> None:
    timeline = parse([Scrape(1.0, VLLM_PAGE), Scrape(1.2, page), Scrape(1.4, VLLM_PAGE)])
    assert timeline is not None
    assert timeline.times == (1.0, 1.4)
    assert parse([Scrape(1.0, page)]) is None


@given(st.lists(st.integers(0, 40), min_size=1, max_size=120), st.one_of(st.none(), st.integers(1, 40)))
def test_a_steady_stretch_is_what_it_says(running: list[int], target: int | None) -> None:
    times = sampled(running)
    try:
        stretch = steady_stretch(times, running, target)
    except NotSteady:
        return
    part = running[stretch.first : stretch.last + 1]
    middle = len(part) // 2
    mean, halves = sum(part) / len(part), (sum(part[:middle]) / middle, sum(part[middle:]) / (len(part) - middle))
    assert 0 <= stretch.first < stretch.last < len(running)
    assert LEAST_FILLED * stretch.target <= mean <= (2 - LEAST_FILLED) * stretch.target
    assert abs(halves[0] - halves[1]) <= HALVES_ALIKE * stretch.target + 1e-9
    assert part[-1] >= FULL * LEAST_FILLED * stretch.target
    assert not any(max(part[i : i + 3]) < stretch.target / 2 for i in range(len(part) - 2))


@given(st.integers(1, 300), st.integers(20, 80), st.integers(0, 30), st.integers(0, 30))
def test_a_full_batch_is_found_whatever_is_before_and_after(batch: int, length: int, before: int, after: int) -> None:
    running = [0] * before + [batch] * length + [0] * after
    stretch = steady_stretch(sampled(running), running, None)
    assert before <= stretch.first <= before + 7
    assert stretch.last == before + length - 1


@given(st.lists(st.floats(0, 300), min_size=1, max_size=500), st.one_of(st.none(), st.floats(1, 300)))
def test_any_timeline_can_be_drawn_on_a_line(running: list[float], target: float | None) -> None:
    line = drawn(sampled(running), running, target)
    assert len(line) < 140
    assert "\n" not in line


@given(st.integers(1, 64), st.integers(1, 64), st.lists(st.integers(1, 500), min_size=1, max_size=5))
def test_a_staggered_load_asks_for_no_more_than_it_was_told(slots: int, rounds: int, lengths: list[int]) -> None:
    spec = Spec("http://x", ["a"], slots * rounds, slots, lengths)
    asked = [spec.tokens_of(number) for number in range(spec.requests)]
    whole = [lengths[number % len(lengths)] for number in range(spec.requests)]
    assert all(1 <= tokens <= most for tokens, most in zip(asked, whole, strict=True))
    assert asked[slots - 1 :] == whole[slots - 1 :]
    if rounds > 1 and len(lengths) == 1:
        assert all(b - a in (math.floor(lengths[0] / slots), math.ceil(lengths[0] / slots), 0)
                   for a, b in pairwise(asked[:slots]))  # fmt: skip


def test_several_tokens_in_a_chunk_share_its_gap() -> None:
    record = Record(start=0.0, end=1.0, chunks=((0.4, 1), (0.7, 4), (1.0, 5)), prompt_tokens=3)
    latencies = LoadResult((record,) * 3, 1, 0.0).latencies()
    assert latencies["ttft_p50"] == 0.4
    assert latencies["itl_p50"] == pytest.approx(0.1)
    assert latencies["itl_p90"] == pytest.approx(0.3)
    assert latencies["tpot_p50"] == pytest.approx(0.15)
    assert LoadResult((record,), 1, 0.0).latencies(since=2.0) == {}


def test_settings_of_a_command_line() -> None:
    assert settings_in([]) == {}  # of a process that hides them
    command = (
        "vllm serve /secret/model --load-format dummy --max-num-seqs=64 --enforce-eager --no-enable-prefix-caching"
    )
    command += " --api-key hidden --kv-cache-dtype fp8 --enforce-eager"
    told = {
        "load_format": "dummy",
        "weights": "random",
        "max_num_seqs": "64",
        "enforce_eager": "True",
        "enable_prefix_caching": "False",
        "kv_cache_dtype": "fp8",
    }
    assert {name: value for name, value in settings_in(command.split()).items() if value != UNSET} == told


def test_what_is_not_on_the_command_line_of_vllm_is_unset() -> None:
    graphs, eager = (settings_in(f"python -m vllm.entrypoints {flag}".split()) for flag in ("", "--enforce-eager"))
    assert changed(eager, [graphs]) == {"enforce_eager": ("True", ("unset",))}
    assert graphs["weights"] == "real"
    # What was given, and is of no shape that is kept, is not unset.
    odd = settings_in(["/opt/bin/vllm", "serve", "m", "--quantization", "./plug/q"])
    assert "quantization" not in odd
    assert odd["enforce_eager"] == "unset"


@pytest.mark.parametrize(
    "command",
    [
        "bash serve.sh --enforce-eager",
        "./start_vllm.sh --enforce-eager",
        "/opt/envs/vllm/bin/python serve.py --enforce-eager",
        "python -m sglang.launch_server --model-path /data/vllm/llama --enforce-eager",
        "vllm serve m --config more.yaml --enforce-eager",
        "vllm serve m --config=more.yaml --enforce-eager",
    ],
)
def test_of_another_program_or_a_file_with_more_settings_nobody_knows(command: str) -> None:
    assert settings_in(command.split()) == {"enforce_eager": "True"}


def test_what_a_shell_is_given_is_one_word() -> None:
    assert settings_in(["bash", "-c", "vllm serve m --enforce-eager --load-format dummy"]) == {}


@pytest.mark.parametrize(
    "command",
    ["vllm serve m", "/usr/bin/python3.12 -u /usr/bin/vllm serve m", "python -m vllm.entrypoints.openai.api_server"],
)
def test_the_command_line_of_vllm_is_known_however_it_is_started(command: str) -> None:
    assert settings_in(command.split())["quantization"] == "unset"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("-tp 2 -O3 -q fp8", {"tensor_parallel_size": "2", "optimization_level": "3", "quantization": "fp8"}),
        ("-O 0 --max-model-len 32k", {"optimization_level": "0", "max_model_len": "32k"}),
        ("-cc.cudagraph_mode=NONE --compilation-config.mode 0", {"cudagraph_mode": "NONE", "compilation_mode": "0"}),
        (
            '--speculative-config {"method":"eagle","model":"/secret","num_speculative_tokens":3}',
            {"speculative_method": "eagle", "num_speculative_tokens": "3"},
        ),
        ("--compilation-config {broken", {}),
        ("--dtype /srv/me --moe-backend host.example.com --attention-backend me@example", {}),
        ("--served-model-name me --master-addr 10.0.0.1 --host 10.0.0.1 --device-ids GPU-8f3c1d2e-aaaa", {}),
    ],
)
def test_settings_of_other_forms(given: str, kept: dict[str, str]) -> None:
    assert settings_in(given.split()) == kept


def test_what_the_engine_did_is_kept_of_the_steady_state() -> None:
    times = sampled([1.0] * 41)
    tokens = tuple(10.0 * index for index in range(41))
    gauges = {"running": (8.0,) * 41, "waiting": (2.0,) * 41, "kv_usage": (0.25,) * 41}
    counters = {"token": tokens, "flop": tokens, "read_byte": tokens, "written_byte": tokens}
    work = steady_work(Timeline(tuple(times), counters, gauges), 8, None)
    assert work.signals == {"running_requests": 8.0, "waiting_requests": 2.0, "kv_cache_usage": 0.25}
    assert (work.amounts["flop"], work.amounts["byte"]) == (400.0, 800.0)
    told_less = steady_work(Timeline(tuple(times), {"token": tokens}, {"running": (8.0,) * 41}), 8, None)
    assert told_less.signals == {"running_requests": 8.0}
    assert "byte" not in told_less.amounts


def test_tokens_that_change_pace_are_told_of() -> None:
    times = sampled([1.0] * 41)
    tokens = list(accumulate([0.0] + [10.0] * 20 + [12.0] * 20))
    timeline = Timeline(tuple(times), {"token": tuple(tokens)}, {"running": (8.0,) * 41})
    work: SteadyWork = steady_work(timeline, 8, None)
    assert any(note.startswith("tokens per second in the second half") for note in work.notes)
