"""vLLM offline and streaming, by a stand-in with its engine in a child process; its real classes if installed."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import SKU, Suite
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.workloads.observer import Observer
from pytest_joules.workloads.vllm import OutputStream, VllmAdapter
from pytest_joules.workloads.work import Call

ENGINES = Path(__file__).parent / "engines"

PRELUDE = f"""
    import asyncio, sys
    import pytest
    sys.path.insert(0, {str(ENGINES)!r})
    from vllm import LLM, AsyncLLM, SamplingParams

    def prompts(tokens=256, count=8):
        return [{{"prompt_token_ids": list(range(i, i + tokens))}} for i in range(count)]

    def exactly(tokens):
        return SamplingParams(max_tokens=tokens, ignore_eos=True)
"""

GENERATE = """
    @pytest.mark.energy_budget(tolerance="2%")
    def test_generate(energy):
        llm = LLM({arguments})
        energy(llm.generate, prompts({tokens}), exactly(64))
"""


def write(suite: Suite, source: str) -> None:
    suite.write(source, prelude=PRELUDE)


def generates(suite: Suite, tokens: int = 256, arguments: str = "enable_prefix_caching=False") -> None:
    write(suite, GENERATE.format(tokens=tokens, arguments=arguments))


@pytest.fixture(scope="module")
def baselines() -> dict[str, str]:
    """Files that were recorded once."""
    return {}


@pytest.fixture
def recorded(suite: Suite, baselines: dict[str, str]) -> Suite:
    """A suite with a stored session of 8 prompts of 256 tokens, 64 new ones each, nothing cached, no preemptions."""
    generates(suite, arguments="enable_prefix_caching=False, disable_log_stats=False, load_format='dummy'")
    if not baselines:
        suite.record(sessions=1)
        baselines[SKU] = suite.store.path(SKU).read_text()
    suite.store.directory.mkdir(exist_ok=True)
    suite.store.path(SKU).write_text(baselines[SKU])
    return suite


def test_outputs_are_counted_and_what_they_were_like_is_kept(suite: Suite) -> None:
    generates(suite, arguments="enable_prefix_caching=False, disable_log_stats=False, load_format='dummy'")
    _, report = suite.report("--energy-missing=warn")
    (result,) = report["results"]
    measurement = result["measurement"]
    calls, tokens, prompt_tokens, requests = (
        sum(block["units"] for block in measurement["blocks"][unit])
        for unit in ("call", "token", "prompt_token", "request")
    )
    assert (tokens / calls, prompt_tokens / calls, requests / calls) == pytest.approx((512, 2048, 8))
    assert result["key"]["unit"] == "token"
    assert measurement["conditions"]["facts"] == {
        "cached_prompt_share": 0.0,
        "finished_share": 1.0,
        "flops_per_call": 2 * 2048 * 5e9,  # of both GPUs of the replica
        "flops_per_prompt_token": 1e10,
        "flops_per_token": 4e10,
        "preemptions_per_request": 0.0,
        "prompt_tokens_per_request": 256.0,
        "requests_per_call": 8.0,
        "tokens_per_request": 64.0,
    }
    settings = measurement["conditions"]["configuration"]
    assert {name: value for name, value in settings.items() if not name.startswith("gpu_")} == {
        "architecture": "LlamaForCausalLM",
        "compilation_mode": "VLLM_COMPILE",
        "cudagraph_mode": "FULL_AND_PIECEWISE",
        "dtype": "bfloat16",
        "enforce_eager": "False",
        "hidden_size": "4096",
        "load_format": "dummy",
        "max_num_seqs": "8",
        "n": "1",
        "num_attention_heads": "32",
        "num_hidden_layers": "32",
        "pipeline_parallel_size": "1",
        "scheduling_policy": "fcfs",
        "seeds": settings["seeds"],
        "temperature": "1.0",
        "tensor_parallel_size": "2",
        "weights": "random",
    }
    signals = measurement["conditions"]["signals"]
    assert 6 < signals["running_requests"] <= 8
    assert signals["waiting_requests"] == 0
    assert not [note for note in measurement["notes"] if "preemptions" in note]
    seconds = sum(block["seconds"] for block in measurement["blocks"]["call"])
    latencies, each = measurement["latencies"], seconds / calls / 64
    assert latencies["itl_p50"] == pytest.approx(each, rel=0.3)
    assert latencies["tpot_p50"] == pytest.approx(each, rel=0.3)
    assert latencies["e2e_p50"] == pytest.approx(64 * each, rel=0.3)
    assert latencies["ttft_p50"] == pytest.approx(each, rel=0.3)
    assert latencies["call"] == pytest.approx(64 * each, rel=0.1)


def test_statistics_that_are_off_are_told_of(suite: Suite) -> None:
    generates(suite)
    _, report = suite.report("--energy-missing=warn")
    # A busy host may add that it was not steady.
    told = "preemptions are not checked and latencies of requests not known: "
    told += "vLLM tells them with LLM(..., disable_log_stats=False)"
    assert report["results"][0]["measurement"]["notes"].count(told) == 1


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (
            "enable_prefix_caching=True, load_format='dummy'",
            "prompt tokens served by the prefix cache: *%, in the baseline 0.0%",
        ),
        (
            "enable_prefix_caching=False, disable_log_stats=False, preemptions=4, load_format='dummy'",
            "preemptions per request: 0.5, in the baseline 0",
        ),
        ("enable_prefix_caching=False, load_format='auto'", "weights: real, in the baseline random"),
    ],
)
def test_other_work_is_the_finding_not_a_regression(recorded: Suite, arguments: str, finding: str) -> None:
    generates(recorded, arguments=arguments)
    ran = recorded.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        [f"INVALID: *: this is other work than the baseline's, so that joules do not compare: *{finding}*"]
    )


def test_an_update_accepts_other_work_as_a_new_series(recorded: Suite) -> None:
    generates(recorded, arguments="enable_prefix_caching=True")
    ran = recorded.run("--energy-update")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*replaced), 1 session"])


def test_longer_prompts_regress_and_are_named(recorded: Suite) -> None:
    generates(recorded, tokens=512, arguments="enable_prefix_caching=False, load_format='dummy'")
    ran = recorded.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["REGRESSED: *", "  why * (prompt tokens per request: 256 -> 512 (+100.0%)*"])
    ran.stdout.no_fnmatch_line("*in the baseline*")  # once is enough


def test_a_knob_is_named_once_with_what_it_did_to_the_batch(recorded: Suite) -> None:
    generates(
        recorded,
        arguments="enable_prefix_caching=False, disable_log_stats=False, load_format='dummy', "
        "enforce_eager=True, max_num_seqs=2, num_hidden_layers=33",
    )
    _, report = recorded.report()
    (result,) = report["results"]
    assert sorted(result["verdict"]["notes"]) == [
        "enforce_eager: True, in the baseline False",
        "max_num_seqs: 2, in the baseline 8",
        "num_hidden_layers: 33, in the baseline 32",
    ]
    signals = result["measurement"]["conditions"]["signals"]
    assert signals["running_requests"] < 2.1
    assert signals["waiting_requests"] > 2


def test_seeds_are_kept_as_a_short_hash() -> None:
    def sampled(*seeds: int | None) -> Any:
        parameters = [stub("SamplingParams", seed=seed, temperature=0.5, top_p=1.0, top_k=0, n=1) for seed in seeds]
        engine = stub("LLM", llm_engine=SimpleNamespace(vllm_config=None))
        watch = VllmAdapter().watch(Call(len, (engine, parameters)))
        assert watch is not None
        return watch.configuration

    one, other = sampled(1, 2), sampled(2, 1)
    assert len(one["seeds"]) == 8
    assert one["seeds"] != other["seeds"]
    assert one["seeds"] == sampled(1, 2)["seeds"]
    assert (one["temperature"], one["top_p"]) == ("0.5", "1.0")


def stub(name: str, **attributes: Any) -> Any:
    """An object of a class of vLLM's, without it."""
    return type(name, (SimpleNamespace,), {"__module__": "vllm"})(**attributes)


def test_requests_are_timed_as_the_engine_s_front_end_is_told_of_them() -> None:
    told: list[Any] = []
    manager = SimpleNamespace(record=lambda **kwargs: told.append(kwargs))
    engine = stub("AsyncLLM", vllm_config=None, log_stats=True, logger_manager=manager)
    watch = VllmAdapter().watch(Call(len, (engine,)))
    assert watch is not None
    request = SimpleNamespace(e2e_latency=2.0, num_generation_tokens=5, mean_time_per_output_token=0.25)
    short = SimpleNamespace(e2e_latency=1.0, num_generation_tokens=1, mean_time_per_output_token=0.0)
    step = SimpleNamespace(
        inter_token_latencies_iter=[0.01] * 19 + [0.5],
        time_to_first_tokens_iter=[1.0, 0.75],
        finished_requests=[request, request, short],
    )
    manager.record(iteration_stats=step, engine_idx=0)
    manager.record(iteration_stats=None, engine_idx=0)
    now = time.monotonic()
    assert watch.timings.percentiles(now - 10, now) == {
        "itl_p50": 0.01,
        "itl_p90": 0.01,
        "itl_p95": 0.01,
        "ttft_p50": 0.75,
        "e2e_p50": 2.0,
        "tpot_p50": 0.25,
    }
    renamed = SimpleNamespace(finished=[])
    manager.record(iteration_stats=renamed, engine_idx=0)
    watch.close()
    manager.record(iteration_stats=step, engine_idx=0)
    assert watch.timings.percentiles(now, now + 10) == {}
    # The engine's own statistics miss nothing.
    assert [kwargs["iteration_stats"] for kwargs in told] == [step, None, renamed, step]


def test_tokens_that_wander_are_told_of(suite: Suite) -> None:
    write(
        suite,
        """
    from itertools import count

    @pytest.mark.energy_budget
    def test_forgot_ignore_eos(energy):
        llm, calls = LLM(enable_prefix_caching=False), count()
        energy(lambda: llm.generate(prompts(), SamplingParams(max_tokens=32 + next(calls) % 5)))
    """,
    )
    ran = suite.run("--energy-missing=warn")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(
        ["*: the calls produced between 256 and 288 tokens: fix max_tokens and set ignore_eos=True*"]
    )


def test_an_engine_that_dies_leaves_the_budget_unmeasured(suite: Suite) -> None:
    generates(suite, arguments="dies_after=3")
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*RuntimeError: EngineCore encountered an issue."])
    ran.stdout.fnmatch_lines(["*UNMEASURED: the test failed in call"])


def test_the_engine_s_gpu_is_charged_not_its_neighbour(suite: Suite) -> None:
    generates(suite, arguments="device=1")
    _, report = suite.report("--energy-missing=warn", meter="simulated:h100-sxm,seed=1,gpus=2")
    (device,) = report["results"][0]["measurement"]["devices"]
    assert device["index"] == 1


def test_streams_are_counted_by_tokens_not_by_chunks(suite: Suite) -> None:
    write(
        suite,
        """
    @pytest.mark.parametrize("kind", ["cumulative", "delta"])
    @pytest.mark.parametrize("per_chunk", [1, 5])
    @pytest.mark.energy_budget("1 kJ/token", window="shot")
    def test_streams(energy, kind, per_chunk):
        async def one(window, llm, name):
            stream = llm.stream(list(range(256)), exactly(60), name, kind, per_chunk)
            return [output async for output in window.stream(stream)]

        async def body():
            llm = AsyncLLM()
            async with energy.window("shot") as window:
                chunks = [await one(window, llm, str(name)) for name in range(4)]
            assert len(chunks[0]) == 60 // per_chunk
        asyncio.run(body())
        (shot,) = energy.measurements
        assert shot.blocks["token"][0].units == 240
        assert shot.blocks["prompt_token"][0].units == 1024
        assert shot.blocks["request"][0].units == 4
        assert {"call", "ttft_p50", "itl_p95", "tpot_p50", "e2e_p50"} <= {*shot.latencies}
    """,
    )
    suite.run().assert_outcomes(passed=4)


def test_outputs_are_counted_in_a_window_by_themselves(suite: Suite) -> None:
    write(
        suite,
        """
    @pytest.mark.energy_budget("1 kJ/token", window="shot")
    def test_counts(energy):
        llm = LLM()
        with energy.window("shot") as window:
            window.count(llm.generate(prompts(), exactly(64)), image=2)
        (shot,) = energy.measurements
        assert shot.blocks["token"][0].units == 512
        assert shot.blocks["image"][0].units == 2

    @pytest.mark.parametrize("what", [object(), [], "text"])
    def test_unknown(energy, what):
        with pytest.raises(ValueError, match=r"nobody knows what work a builtins\\.\\w+ is: count it by name"):
            with energy.window("shot") as window:
                window.count(what)

    def test_unknown_streams(energy):
        with pytest.raises(ValueError, match="nobody knows how to count a stream of builtins.int"):
            with energy.window("shot") as window:
                list(window.stream(iter([1, 2])))
        with pytest.raises(ValueError, match="give it what 'for' or 'async for' consumes"):
            with energy.window("other") as window:
                window.stream([1, 2])
    """,
    )
    suite.run().assert_outcomes(passed=5)


def test_measuring_makes_no_cuda_context(suite: Suite) -> None:
    # vLLM forks its engine only from a process without one; what loads no torch can have none.
    write(
        suite,
        """
    @pytest.mark.energy_budget("1 kJ/token")
    def test_generate(energy):
        energy(LLM(enable_prefix_caching=False).generate, prompts(), exactly(64))
        assert "torch" not in sys.modules
    """,
    )
    suite.run().assert_outcomes(passed=1)


def test_windows_count_and_stream_without_energy(suite: Suite) -> None:
    suite.write("""
    def test_off(energy):
        with energy.window("shot") as window:
            window.count(object())
            assert list(window.stream(iter([1, 2]))) == [1, 2]
    """)
    suite.pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


# -- the adapter by itself --


def output(request: str, tokens: Sequence[int], *, last: bool = False, prompt: int = 4) -> Any:
    """What the stand-in yields, without importing it here, where the real one may be installed."""
    completion = SimpleNamespace(index=0, token_ids=tokens, finish_reason="length" if last else None)
    return SimpleNamespace(
        request_id=request,
        prompt_token_ids=list(range(prompt)),
        encoder_prompt_token_ids=None,
        outputs=[completion],
        finished=last,
        num_cached_tokens=0,
        metrics=None,
    )


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=8),
    st.booleans(),
)
def test_any_chunks_of_a_sequence_hold_its_tokens(chunks: list[list[int]], cumulative: bool) -> None:
    # Distinct tokens: the same one over and over could be either, and only the engine's own statistics tell.
    at = 0
    for chunk in chunks:
        chunk[:] = range(at, at + len(chunk))
        at += len(chunk)
    stream, shown = OutputStream(), list[int]()
    for number, chunk in enumerate(chunks):
        shown = shown + chunk if cumulative else chunk
        stream.add(output("a", shown, last=number == len(chunks) - 1))
    assert stream.work().counts == {"token": at, "prompt_token": 4, "request": 1}


def test_a_stream_is_timed_as_who_takes_it_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()  # a second for every look at it
    monkeypatch.setattr("pytest_joules.workloads.observer.time", SimpleNamespace(monotonic=lambda: next(clock)))
    observer = Observer([VllmAdapter()], lambda result, call: None)
    for request in "ab":
        chunks = ([1], [1, 2], [1, 2, 3, 4, 5])
        items = [stub("RequestOutput", **vars(output(request, ids, last=len(ids) == 5))) for ids in chunks]
        list(observer.stream().through(iter(items)))
    assert observer.latencies(-1.0, 10.0) == {"ttft_p50": 1, "itl_p50": 1 / 3, "tpot_p50": 0.5, "e2e_p50": 3}


def test_the_engine_s_own_count_settles_what_chunks_leave_open() -> None:
    stream = OutputStream()
    for number in range(3):
        item = output("a", [7] * (number + 1), last=number == 2)
        item.metrics = SimpleNamespace(num_generation_tokens=6)
        stream.add(item)
    assert stream.work().counts["token"] == 6


def test_only_calls_with_sampling_parameters_split() -> None:
    assert VllmAdapter().split(Call(len, ([1],))) is None


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM")
def test_the_real_classes_are_known() -> None:
    from vllm import SamplingParams
    from vllm.outputs import CompletionOutput, RequestOutput

    completion = CompletionOutput(0, "", [1, 2, 3], None, None, finish_reason="length")
    real = RequestOutput("a", None, [5] * 7, None, [completion], finished=True, num_cached_tokens=2)
    work = VllmAdapter().count([real, real], None)
    assert work is not None
    assert work.counts == {"token": 6, "prompt_token": 14, "request": 2}
    assert work.facts == {"finished_request": 2, "cached_prompt_token": 4}
    assert SamplingParams(max_tokens=8).clone().max_tokens == 8
