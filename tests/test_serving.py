"""A running server: its steady state, its processes, and what can go wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Suite

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

TOKEN_JOULES = 2 * 64 * 0.06445 / 8
"""Joules of a token in a batch of eight: a step of 20 ms costs twice what one of ``conftest.STEP`` does."""

ONE_TEST = """
    @pytest.mark.energy_budget(per="token", tolerance="2%")
    def test_served(energy):
        with serve({settings}) as (url, process):
            with energy.server(url, concurrency=8{arguments}) as server:
                server.load(**LOAD)
"""


def one_test(settings: str = "", arguments: str = ", pid=process") -> str:
    return ONE_TEST.format(settings=settings, arguments=arguments)


def test_the_steady_state_of_a_server(suite: Suite) -> None:
    suite.write(one_test(), prelude=SERVED)
    suite.store_baseline(TOKEN_JOULES, "test_it.py::test_served", kind=WindowKind.STEADY, seconds_per_unit=0.02 / 8)
    ran, report = suite.report()
    (result,) = report["results"]
    assert result["verdict"]["kind"] == "PASS", result["verdict"]
    assert result["verdict"]["ratio"] == pytest.approx(1, abs=0.02)
