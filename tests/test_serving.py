"""A running server: its steady state, its processes, and what can go wrong with it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import STEP_JOULES_PER_TOKEN, Suite

from pytest_joules.model import WindowKind

STAND_IN = Path(__file__).parent / "engines" / "openai_server.py"

SERVED = f"""
    import contextlib, json, socket, subprocess, sys
    import pytest
    from pytest_joules.testing import launch, synchronize

    @contextlib.contextmanager
    def serve(**settings):
        '''The stand-in, as a fixture of a team would start vllm serve.'''
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, {str(STAND_IN)!r}, json.dumps({{"port": port, **settings}})]
        process = subprocess.Popen(command)
        try:
            yield f"http://127.0.0.1:{{port}}", process
        finally:
            process.kill()
            process.wait()

    LOAD = dict(prompts=[[1] * 32], requests=40, max_tokens=50, concurrency=8)
"""
"""What the suites here begin with: a step of the stand-in takes 20 ms, so that eight requests make 400 tokens/s."""

STEP_JOULES = 2 * 64 * STEP_JOULES_PER_TOKEN
"""Joules of a step of the stand-in, which lasts as long as two of ``conftest.STEP``."""

TOKEN_JOULES = STEP_JOULES / 8 * 51 / 50
"""Joules of a token in a batch of eight: between two requests of fifty tokens a slot is empty for one step."""

ONE_TEST = """
    @pytest.mark.energy_budget(per="token", tolerance="2%")
    def test_served(energy):
        with serve({settings}) as (url, process):
            with energy.server(url, concurrency=8{arguments}) as server:
                server.load(**LOAD)
"""


def one_test(settings: str = "", arguments: str = ", pid=process") -> str:
    return ONE_TEST.format(settings=settings, arguments=arguments)


def invalid(suite: Suite, settings: str, arguments: str = ", pid=process", load: str = "**LOAD") -> str:
    """Why the number of a server that works like this cannot be trusted."""
    suite.write(one_test(settings, arguments).replace("**LOAD", load), prelude=SERVED)
    ran, report = suite.report()
    ran.assert_outcomes(failed=1)
    verdict = report["results"][0]["verdict"]
    assert verdict["kind"] == "INVALID"
    return str(verdict["reason"])


def per_token(measured: Mapping[str, Any], what: str) -> float:
    """Joules or seconds of a token over all blocks."""
    blocks = measured["blocks"]["token"]
    return float(sum(block[what] for block in blocks) / sum(block["units"] for block in blocks))


def test_the_steady_state_of_a_server(suite: Suite) -> None:
    suite.write(one_test("chunk=4, cached=0.5", ""), prelude=SERVED)
    suite.store_baseline(
        TOKEN_JOULES, "test_it.py::test_served", kind=WindowKind.STEADY, seconds_per_unit=0.02 / 8 * 51 / 50
    )
    ran, report = suite.report("--energy-trace=traces")
    ran.assert_outcomes(passed=1)
    (result,) = report["results"]
    assert result["verdict"]["kind"] == "PASS"
    assert result["verdict"]["ratio"] == pytest.approx(1, abs=0.015)
    measured = result["measurement"]
    assert measured["kind"] == "steady-state"
    assert list(measured["blocks"]) == ["token", "prompt_token", "request"]
    joules = {unit: sum(block["joules"] for block in blocks) for unit, blocks in measured["blocks"].items()}
    assert len({round(value, 6) for value in joules.values()}) == 1
    # The first eight requests were shorter, so that they ended one after the other.
    facts = measured["conditions"]["facts"]
    assert facts["cached_prompt_share"] == pytest.approx(0.5)
    assert facts["prompt_tokens_per_request"] == 32
    assert facts["finished_share"] == 1
    signals = measured["conditions"]["signals"]
    assert signals["running_requests"] == pytest.approx(8, rel=0.1)
    assert signals["kv_cache_usage"] == 0.25
    assert measured["conditions"]["versions"]["vllm"] == "0.23.0"
    assert measured["latencies"]["itl_p50"] == pytest.approx(0.02, rel=0.25)
    assert 0.02 < measured["latencies"]["ttft_p50"] < 0.2
    assert 0.9 < measured["latencies"]["e2e_p50"] < 1.5
    ran.stdout.fnmatch_lines(["*tokens per second per watt", "*of 8 requests ran, * waited, KV cache 25.0% used"])
    _replayed(suite, result)


def _replayed(suite: Suite, live: Mapping[str, Any]) -> None:
    (trace,) = (suite.path / "traces").iterdir()
    ran, report = suite.report(meter=f"replay:{trace}")
    ran.assert_outcomes(passed=1)
    (result,) = report["results"]
    assert result["verdict"]["ratio"] == pytest.approx(live["verdict"]["ratio"], rel=1e-3)
    blocks, again = (r["measurement"]["blocks"]["token"] for r in (live, result))
    assert len(blocks) == len(again)


def test_a_load_of_ones_own_and_what_the_server_tells(suite: Suite) -> None:
    suite.write(
        """
    import asyncio, threading, urllib.request

    def post(url):
        body = json.dumps({"prompt": [1] * 32, "max_tokens": 50}).encode()
        for _ in range(4):
            urllib.request.urlopen(url + "/v1/completions", body).read()

    def test_own(energy):
        async def body(url):
            async with energy.server(url + "/v1/", configuration={"mode": "eager"}):
                await asyncio.gather(*(asyncio.to_thread(post, url) for _ in range(4)))
        with serve(metrics="old", engines=2) as (url, process):
            asyncio.run(body(url))
    """,
        prelude=SERVED,
    )
    ran, report = suite.report()
    ran.assert_outcomes(passed=1)
    measured = report["results"][0]["measurement"]
    kept = measured["conditions"]["configuration"]
    assert {name: value for name, value in kept.items() if not name.startswith("gpu_")} == {"mode": "eager"}
    # The plateau was found, and latencies are those of the server's histograms, summed over its engines.
    ran.stdout.re_match_lines([r".*: (4\.0|3\.\d) of 4 requests ran.*"])
    running = measured["conditions"]["signals"]["running_requests"]
    assert per_token(measured, "seconds") == pytest.approx(0.02 / running, rel=0.1)
    assert 0.01 < measured["latencies"]["itl_p50"] <= 0.025
    assert 0.5 < measured["latencies"]["e2e_p50"] <= 2.5


def test_metrics_that_moved_and_come_slowly(suite: Suite) -> None:
    suite.write(one_test("moved=True, slow=1").replace("**LOAD", "**{**LOAD, 'requests': 104}"), prelude=SERVED)
    ran, report = suite.report("--energy-missing=warn")
    ran.assert_outcomes(passed=1)
    assert per_token(report["results"][0]["measurement"], "joules") == pytest.approx(TOKEN_JOULES, rel=0.02)
    ran.stdout.fnmatch_lines(["*the server's metrics came up to 1.? s apart: tokens in between are interpolated"])


def test_stacked_budgets(suite: Suite) -> None:
    others = """
    @pytest.mark.energy_budget("1 mJ/request", per="request")
    @pytest.mark.energy_budget("1 MJ/prompt_token", per="prompt_token")
    @pytest.mark.energy_budget("1 J/image")"""
    test = one_test().replace('per="token", tolerance="2%"', '"2 J/token"')
    # Of more requests the one more or less that ends within the blocks matters less.
    suite.write(others + test.replace("**LOAD", "**{**LOAD, 'requests': 72}"), prelude=SERVED)
    ran, report = suite.report()
    ran.assert_outcomes(failed=1)
    verdicts = {result["budget"]["per"]: result["verdict"] for result in report["results"]}
    assert {unit: verdict["kind"] for unit, verdict in verdicts.items()} == {
        "token": "PASS",
        "prompt_token": "PASS",
        "request": "OVER_LIMIT",
        "image": "INVALID",
    }
    assert verdicts["image"]["reason"].startswith("the window did not count 'image', only 'token', 'prompt_token', 're")
    requests = report["results"][0]["measurement"]["blocks"]["request"]
    per_request = sum(b["joules"] for b in requests) / sum(b["units"] for b in requests)
    assert per_request == pytest.approx(50 * TOKEN_JOULES, rel=0.06)


def test_only_the_gpus_of_the_server_are_charged(suite: Suite) -> None:
    suite.write(
        """
    def test_two_of_four(energy):
        launch(bytes=1e9, device=3)  # of the test itself, which is not the server
        with serve(devices=[1, 2]) as (url, process), energy.server(url, concurrency=8) as server:
            server.load(**LOAD)
    """,
        prelude=SERVED,
    )
    ran, report = suite.report(meter="simulated:h100-sxm,gpus=4,seed=1")
    ran.assert_outcomes(passed=1)
    measured = report["results"][0]["measurement"]
    assert [device["index"] for device in measured["devices"]] == [1, 2]
    assert per_token(measured, "joules") == pytest.approx(2 * TOKEN_JOULES, rel=0.02)


def test_another_tenant_makes_it_invalid(suite: Suite) -> None:
    suite.write(one_test(), prelude=SERVED)
    ran, report = suite.report(meter="simulated:h100-sxm,seed=1,fault=foreign")
    ran.assert_outcomes(failed=1)
    assert "process 1 (" in report["results"][0]["verdict"]["reason"]


def test_a_server_of_another_user_asks_for_its_process(suite: Suite) -> None:
    hidden = "from pytest_joules.serving.process import ServerProcess\n"
    hidden += "ServerProcess.listening = classmethod(lambda cls, url: cls(None))\n"
    suite.write(one_test(arguments=""), prelude=hidden + textwrap.dedent(SERVED))
    ran, report = suite.report(meter="simulated:h100-sxm,seed=1,fault=foreign")
    ran.assert_outcomes(failed=1)
    reason = report["results"][0]["verdict"]["reason"]
    assert reason.endswith("if that is the server itself, name its own process with energy.server(pid=...)")


def test_a_batch_that_is_never_full(suite: Suite) -> None:
    reason = invalid(suite, "max_num_seqs=4", load="**{**LOAD, 'requests': 16}")
    assert "no steady state: no more than 4 of 8 requests ran at once" in reason
    assert "waited, with up to 25.0% of its KV cache used: the server runs no more at once (max_num_seqs" in reason
    assert re.search(r"running requests over \d.\d s, at most 4, target 8: .*▅▅▅", reason)


def test_a_concurrency_that_is_not_the_loads(suite: Suite) -> None:
    reason = invalid(suite, "", load="**{**LOAD, 'requests': 16, 'concurrency': 4}")
    assert "no more than 4 of 8 requests ran at once. Keep the batch full" in reason
    assert "max_num_seqs" not in reason
    reason = invalid(suite, "", load="**{**LOAD, 'concurrency': 16, 'requests': 80}")
    assert re.search(r"1\d.\d of 8 requests ran on average: another client loads this server, too", reason)


def test_a_load_that_drains_early(suite: Suite) -> None:
    reason = invalid(suite, "", load="**{**LOAD, 'requests': 8}")
    assert re.search(
        r"the batch was full for \d.\d s, and a load's first 1.2 s do not count. Keep the batch full", reason
    )


def test_a_steady_state_too_short_for_a_block(suite: Suite) -> None:
    # Two rounds of a second each; all requests of one end together, so that nothing changes in the second.
    reason = invalid(suite, "", load="**{**LOAD, 'requests': 16}, stagger=False")
    assert re.search(
        r"the steady state of [01].\d s, seen \d+ times, holds no whole block of 1.0 s: send more requests", reason
    )


def test_counters_that_restart(suite: Suite) -> None:
    assert re.search(
        r"counters went back \d.\d s after the window began: it was restarted", invalid(suite, "restarts_after=900")
    )


def test_no_token_is_never_a_pass(suite: Suite) -> None:
    assert "the server generated no token" in invalid(suite, "generates=False", load="**{**LOAD, 'requests': 16}")


def test_metrics_without_the_names_are_replaced_by_what_the_load_saw(suite: Suite) -> None:
    suite.write(one_test("metrics='others'"), prelude=SERVED)
    ran, report = suite.report("--energy-missing=warn")
    ran.assert_outcomes(passed=1)
    measured = report["results"][0]["measurement"]
    assert (measured["kind"], measured["invalid"]) == ("steady-state", "")
    assert per_token(measured, "joules") == pytest.approx(TOKEN_JOULES, rel=0.03)
    ran.stdout.fnmatch_lines(["*work was counted by the client: the server's /metrics has none of the names*"])


def test_no_metrics_at_all_and_counts_by_hand(suite: Suite) -> None:
    suite.write(
        """
    import urllib.request

    @pytest.mark.energy_budget("2 J/token")
    @pytest.mark.parametrize("counted", [True, False])
    def test_counted(energy, counted):
        with serve(metrics="none") as (url, process), energy.server(url) as server:
            body = json.dumps({"prompt": [1] * 32, "max_tokens": 50}).encode()
            urllib.request.urlopen(url + "/v1/completions", body).read()
            if counted:
                server.count(token=50, request=1)
    """,
        prelude=SERVED,
    )
    ran, report = suite.report()
    ran.assert_outcomes(failed=2)
    counted, uncounted = report["results"]
    assert counted["measurement"]["kind"] == "one-shot"
    assert counted["measurement"]["blocks"]["token"][0]["units"] == 50
    ran.stdout.fnmatch_lines(["*work was counted by the client: the server's /metrics does not answer (HTTP 404)"])
    assert "nothing was counted" in uncounted["verdict"]["reason"]


def test_what_never_becomes_ready(suite: Suite) -> None:
    suite.write(
        """
    def test_slow(energy):
        with serve(loading=60) as (url, process):
            with pytest.raises(RuntimeError, match="not become ready within 1 s: (GET .health: HTTP 503|Connect)"):
                with energy.server(url, ready_seconds=1):
                    pass

    def test_dead(energy):
        with serve(nonsense=1) as (url, process):
            with pytest.raises(RuntimeError, match=r"never became ready: the server, process \\d+, exited with code 1"):
                with energy.server(url, pid=process, ready_seconds=30):
                    pass

    def test_cancelled(energy):
        async def body(url):
            await asyncio.wait_for(energy.server(url).__aenter__(), 1)
        with serve(loading=60) as (url, process), pytest.raises(asyncio.TimeoutError):
            try:
                asyncio.run(body(url))
            finally:  # it waits for its threads, but not until the server is ready
                with pytest.raises(OSError, match="503"):
                    urllib.request.urlopen(url + "/health")

    def test_far(energy):
        with pytest.raises(RuntimeError, match="http://192.0.2.1:8000 is not on this machine"):
            with energy.server("http://192.0.2.1:8000"):
                pass

    @pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://x:70000", "http://x?y=1",
                                     "http://[::1", "http://x/v1/chat/completions"])
    def test_nonsense(energy, url):
        with pytest.raises(ValueError, match="write it like 'http://localhost:8000'"):
            energy.server(url)

    @pytest.mark.parametrize("pid", [0, -1, "12", sys])
    def test_no_process(energy, pid):
        with pytest.raises(ValueError, match="must be a process id, or what subprocess.Popen gave"):
            energy.server("http://localhost:8000", pid=pid)

    def test_parent(energy):
        with pytest.raises(RuntimeError, match="is a parent of this test"), energy.server("http://x", pid=os.getppid()):
            pass

    def test_another_answers(energy):
        with subprocess.Popen(["false"]) as dead, serve() as (url, process):
            energy.server(url)._wait_until_ready()
            dead.wait()
            with pytest.raises(RuntimeError, match="exited with code 1, yet http://.* answers: another server listens"):
                with energy.server(url, pid=dead):
                    pass
    """,
        prelude=f"import asyncio, os, urllib.request\n{textwrap.dedent(SERVED)}",
    )
    suite.run().assert_outcomes(passed=17)


def test_dying_in_mid_run(suite: Suite) -> None:
    suite.write(
        """
    def test_load_says_so(energy):
        with serve(dies_after=300) as (url, process):
            with pytest.raises(RuntimeError, match=r"request \\d+ of 40: \\w+: .*; the server, process .* code 3"):
                with energy.server(url, concurrency=8, pid=process) as server:
                    server.load(**LOAD)

    @pytest.mark.energy_budget
    def test_swallowed(energy):
        with serve(dies_after=300) as (url, process), energy.server(url, concurrency=8) as server:
            with contextlib.suppress(RuntimeError):
                server.load(**LOAD)
    """,
        prelude=SERVED,
    )
    ran, report = suite.report()
    ran.assert_outcomes(passed=1, failed=1)
    reasons = [result["verdict"]["reason"] for result in report["results"] if result["declared"]]
    assert len(reasons) == 1
    assert re.search(r"the server, process \d+, has ended before the window ended; its log says why", reasons[0])


def test_requests_that_fail(suite: Suite) -> None:
    suite.write(
        """
    def test_key(energy, monkeypatch):
        with serve(key="secret") as (url, process), energy.server(url, concurrency=8) as server:
            with pytest.raises(RuntimeError, match="HTTP 401: .*; set OPENAI_API_KEY"):
                server.load([[1]], requests=1, max_tokens=1)
            with pytest.raises(RuntimeError, match="request 0 of 1: HTTP 401: .*; set OPENAI_API_KEY"):
                server.load([[1]], requests=1, max_tokens=1, model="stand-in")
            monkeypatch.setenv("OPENAI_API_KEY", "secret")
            server.load([[1]], requests=1, max_tokens=1)

    def test_refused(energy):
        with serve(refuses=True) as (url, process), energy.server(url, concurrency=8) as server:
            with pytest.raises(RuntimeError, match="request . of 40: HTTP 400: .*prompt is too long"):
                server.load(**LOAD)
            with pytest.raises(ValueError, match="must hold at least one"):
                server.load([], requests=1, max_tokens=1)
            with pytest.raises(ValueError, match="a text alone would be taken letter by letter"):
                server.load("text", requests=1, max_tokens=1)

    @pytest.mark.parametrize("stream", [True, False])
    def test_not_openai(energy, stream):
        with serve(refuses="with a page") as (url, process), energy.server(url, concurrency=8) as server:
            with pytest.raises(RuntimeError, match="request . of 40: the answer is not that of an OpenAI-compatible"):
                server.load(**LOAD, stream=stream)
    """,
        prelude=SERVED,
    )
    suite.pytester.runpytest_subprocess().assert_outcomes(passed=4)


def test_without_energy_it_waits_and_loads(suite: Suite) -> None:
    suite.write(
        """
    def test_plain(energy):
        with serve(loading=0.5) as (url, process), energy.server(url, concurrency=8) as server:
            server.count(token=5)
            result = server.load([[1, 2, 3], "text"], requests=16, max_tokens=[4, 8], records="records.json")
            again = server.load([[1]], requests=2, max_tokens=4, stream=False)
        assert not [name for name in ("zeus", "numpy", "psutil", "prometheus_client") if name in sys.modules]
        assert len(result.records) == 16 and result.prompt_tokens == 8 * 3 + 8 * 4
        # The first eight get shorter: 1/8 of 4, 2/8 of 8, 3/8 of 4 ...
        assert result.tokens == sum([1, 2, 2, 4, 3, 6, 4, 8]) + 4 * (4 + 8)
        assert result == type(result).from_json(open("records.json").read())
        assert result.seconds > 0 and {"ttft_p50", "itl_p95", "e2e_p90"} <= set(result.latencies())
        assert again.tokens == 8 and set(again.latencies()) == {"e2e_p50"}
    """,
        prelude=SERVED,
    )
    suite.pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:xdist").assert_outcomes(passed=1)
