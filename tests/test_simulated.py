"""The simulated GPU: Zeus and the reading process cannot tell; a busy host makes no difference."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest
from conftest import SKU, Suite

from pytest_joules.meters.simulated import PERIOD, RUN_AHEAD, SKUS, SimulatedHost, Work
from pytest_joules.meters.zeus import ZeusMeter, simulated_host
from pytest_joules.options import SIMULATED_FAULTS
from pytest_joules.testing import launch, synchronize

DECLARED = """
    @pytest.mark.energy_budget(gate=False)
    def test_step(energy):
        energy.repeat(step, work=tokens, rounds=250, warmup=120)
"""


@contextlib.contextmanager
def meter(sku: str = "h200", **settings: str) -> Iterator[tuple[SimulatedHost, ZeusMeter]]:
    """A simulated machine and the real meter on it, in this process."""
    with contextlib.ExitStack() as stack:
        host = simulated_host(sku, {"seed": "1", **settings}, stack)
        opened = ZeusMeter(os.environ, host)
        stack.callback(opened.close)
        yield host, opened


@contextlib.contextmanager
def busy_host() -> Iterator[None]:
    """Every core loaded by another process."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def joules_per_token(suite: Suite) -> float:
    _, report = suite.report()
    value = report["results"][0]["verdict"]["joules_per_unit"]
    assert isinstance(value, float)
    return value


def test_declared_work_costs_the_same_on_a_busy_host(suite: Suite) -> None:
    suite.write(DECLARED)
    quiet = joules_per_token(suite)
    with busy_host():
        busy = joules_per_token(suite)
    assert busy == pytest.approx(quiet, rel=0.003)


def test_ticks_are_dated_on_the_simulated_grid() -> None:
    with meter() as (host, opened):
        device = opened.devices[0]
        began = time.monotonic()
        while len(opened.ticks(device, began)) < 8:
            time.sleep(0.05)
        assert opened.period(device) == pytest.approx(PERIOD)
        true_edge = host.gpus[0]._state.edge
        grid = opened._poller.tracker(0).grid
        assert grid is not None
        for tick in opened.ticks(device, began):
            away = (tick.time - true_edge + PERIOD / 2) % PERIOD - PERIOD / 2
            assert abs(away) <= grid.error + 1e-9


def test_several_devices_tick_on_phases_of_their_own() -> None:
    with meter(gpus="3") as (_, opened):
        edges = [opened._poller.tracker(position).grid for position in range(3)]
        phases = [grid.phase % PERIOD for grid in edges if grid is not None]
        assert len({round(phase, 2) for phase in phases}) == 3


def test_a_launch_returns_at_once_and_work_takes_its_declared_time() -> None:
    with meter() as (host, _):
        gpu = host.gpus[0]
        began = time.monotonic()
        launch(bytes=3 * SKUS["h200"].bytes_per_second)
        returned = time.monotonic()
        assert began <= gpu.queue_end - 3.0 <= returned < gpu.queue_end
        synchronize()
        assert gpu.queue_end - time.monotonic() <= RUN_AHEAD


def test_threads_and_forked_processes_launch_beside_one_another(tmp_path: Path) -> None:
    """As an engine's workers do; none waits longer than for the other's turn."""
    host = SimulatedHost.create(tmp_path / "state", "h200", {"seed": "1"})
    gpu = host.gpus[0]
    gpu.launch(Work(bytes=5 * SKUS["h200"].bytes_per_second))
    queued = gpu.queue_end

    def launches() -> None:
        for _ in range(1000):
            gpu.launch(Work(bytes=SKUS["h200"].bytes_per_second / 1000))

    makers = (multiprocessing.get_context("fork").Process, threading.Thread)
    started = [maker(target=launches) for maker in makers for _ in range(2)]
    for each in started:
        each.start()
    for each in started:
        each.join()
    assert gpu.queue_end - queued == pytest.approx(4)


def test_idle_watts_rise_with_a_context() -> None:
    with meter() as (host, opened):
        device, gpu = opened.devices[0], host.gpus[0]

        def idle_watts() -> float:
            began = time.monotonic() + 0.2
            while len(ticks := opened.ticks(device, began)) < 3:
                time.sleep(0.05)
            return (ticks[-1].joules - ticks[0].joules) / (ticks[-1].time - ticks[0].time)

        assert idle_watts() == pytest.approx(gpu.sku.idle_watts, rel=0.03)
        launch(flops=1e9)
        assert idle_watts() == pytest.approx(gpu.sku.context_watts, rel=0.03)


def test_matrix_products_hit_the_power_cap_and_copies_do_not() -> None:
    sku = SKUS["h200"]
    with meter() as (host, opened):
        for flops, moved, capped in ((sku.flops_per_second, 0.0, True), (0.0, sku.bytes_per_second, False)):
            began, gpu = time.monotonic(), host.gpus[0]
            launch(flops=2 * flops, bytes=2 * moved)
            synchronize()
            until = gpu.queue_end - 0.2
            middle = [s for s in opened.signals(opened.devices[0], began + 0.3, until) if s.power_capped is not None]
            assert middle
            assert all(signals.power_capped is capped for signals in middle)
            while gpu.busy:
                time.sleep(0.05)


def test_functions_of_nvml_are_put_back_and_unknown_ones_refuse() -> None:
    before = pynvml.nvmlDeviceGetName
    with meter():
        assert pynvml.nvmlDeviceGetName is not before
        with pytest.raises(pynvml.NVMLError):
            pynvml.nvmlDeviceGetFanSpeed(pynvml.nvmlDeviceGetHandleByIndex(0))
    assert pynvml.nvmlDeviceGetName is before


def test_work_of_child_processes_is_seen(suite: Suite) -> None:
    suite.write("""
    import subprocess, sys

    CHILD = "from pytest_joules.testing import launch, synchronize\\n" \\
            "while sys.stdin.readline():\\n    launch(bytes=3e10)\\n    synchronize()\\n    print('done', flush=True)"

    @pytest.fixture
    def engine():
        child = subprocess.Popen([sys.executable, "-c", "import sys\\n" + CHILD], text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        yield child
        child.stdin.close()
        child.wait()

    @pytest.mark.energy_budget(per="token")
    def test_step(energy, engine):
        def ask():
            engine.stdin.write("go\\n")
            engine.stdin.flush()
            engine.stdout.readline()
        energy.repeat(ask, work={"token": 64})
    """)
    suite.store_baseline()
    suite.run().assert_outcomes(passed=1)


def test_host_processor_time_draws_watts(suite: Suite) -> None:
    suite.write("""
    import time

    def spin():
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    def rest():
        time.sleep(0.02)

    def test_watts(energy):
        energy.repeat(spin, rounds=60, warmup=5, window="spin")
        energy.repeat(rest, rounds=60, warmup=5, window="rest")
        spinning, resting = (m.joules / m.seconds for m in energy.measurements)
        assert spinning > resting + 4, 'even where other processes take most of the core'
    """)
    suite.run().assert_outcomes(passed=1)


def test_same_seed_same_noise_other_seed_other_session() -> None:
    def watts(seed: str) -> float:
        with meter(seed=seed) as (host, opened):
            launch(bytes=2 * SKUS["h200"].bytes_per_second)
            until = host.gpus[0].queue_end
            while time.monotonic() < until + 3 * PERIOD:
                time.sleep(PERIOD)
            busy = [tick for tick in opened.ticks(opened.devices[0], until - 1.9) if tick.time < until]
            return (busy[-1].joules - busy[0].joules) / (busy[-1].time - busy[0].time)

    same, again, other = (watts(seed) for seed in ("5", "5", "6"))
    assert again == pytest.approx(same, rel=0.001)
    assert abs(other / same - 1) > 2 * abs(again / same - 1)


def test_everything_says_simulated(suite: Suite) -> None:
    suite.write(DECLARED)
    ran, report = suite.report("--energy-update")
    ran.stdout.fnmatch_lines(["energy: * (simulated); simulated GPU*", "=*energy (simulated)*="])
    assert report["meter"]["simulated"]
    assert suite.store.path(SKU).read_text().count("simulated") >= 2
    assert suite.store.load(SKU).simulated


def test_no_work_no_device_and_no_fault_by_mistake() -> None:
    for flops in (-1.0, 0.0):
        with pytest.raises(ValueError, match="declare some work"):
            launch(flops=flops)
    with meter(), pytest.raises(ValueError, match="1 GPU"):
        launch(flops=1.0, device=3)
    assert SIMULATED_FAULTS[0] == "none"


@pytest.mark.parametrize("content", [None, b"", b"not a state", bytes(200)])
def test_a_shared_state_that_is_none_is_a_usage_error(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    if content is not None:
        (suite.path / "state").write_bytes(content)
    monkeypatch.setenv("PYTEST_JOULES_SIMULATED_STATE", str(suite.path / "state"))
    ran = suite.run()
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: pytest-joules: PYTEST_JOULES_SIMULATED_STATE=*state: not a simulated machine's*"])
