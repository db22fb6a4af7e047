"""Finding devices, charging the right ones, and Zeus' traps."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import psutil
import pytest
from conftest import Suite
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.attribution import attribute
from pytest_joules.meters import poller, windows
from pytest_joules.meters.base import CounterStuck, MeterError, NoDevice, signals_between
from pytest_joules.meters.factory import open_meter
from pytest_joules.meters.windows import WindowsMeter, WindowSource, zeus_source
from pytest_joules.meters.zeus import ZeusMeter, visible_indices
from pytest_joules.model import Device, Signals
from pytest_joules.options import MeterChoice, Options
from pytest_joules.testing import inject, launch, synchronize

UUIDS = ("GPU-aaaa1", "GPU-aaab2", "GPU-bbbb3")
SAME = ("NVIDIA H200",) * 3
MIXED = ("NVIDIA H200", "NVIDIA H200", "NVIDIA L4")


@pytest.mark.parametrize(
    ("shown", "visible"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("0,2", [0, 2]),
        ("2,0", [2, 0]),
        (" 1 , 0 ", [1, 0]),
        ("GPU-bbbb3,GPU-aaaa1", [2, 0]),
        ("GPU-b,0", [2, 0]),
        ("1,9,0", [1]),
        ("-1", []),
        ("0,0,1", [0]),
        ("nonsense,0", []),
    ],
)
def test_cuda_visible_devices_as_cuda_reads_it(shown: str | None, visible: list[int]) -> None:
    environment = {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}
    assert visible_indices(environment, UUIDS, SAME) == visible


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"CUDA_VISIBLE_DEVICES": "MIG-123"}, "MIG slice"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-aaa"}, "fits 2 GPUs"),
    ],
)
def test_what_cannot_be_mapped_is_refused(environment: Mapping[str, str], complaint: str) -> None:
    with pytest.raises(MeterError, match=complaint):
        visible_indices(environment, UUIDS, SAME)


def test_indices_on_a_mixed_machine_need_the_bus_order() -> None:
    with pytest.raises(MeterError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        visible_indices({"CUDA_VISIBLE_DEVICES": "1"}, UUIDS, MIXED)
    ordered = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible_indices(ordered, UUIDS, MIXED) == [1]
    assert visible_indices({"CUDA_VISIBLE_DEVICES": "GPU-bbbb3"}, UUIDS, MIXED) == [2]


@contextlib.contextmanager
def simulated(gpus: int = 2, **settings: str) -> Iterator[ZeusMeter]:
    with contextlib.ExitStack() as stack:
        choice = MeterChoice("simulated", "h200", (("gpus", str(gpus)), ("seed", "1"), *settings.items()))
        meter = open_meter(Options(enabled=True, meter=choice), stack)
        assert isinstance(meter, ZeusMeter)
        yield meter


def test_a_test_is_charged_for_the_devices_that_its_processes_run_on() -> None:
    with simulated() as meter:
        launch(flops=1e12, device=1)
        found = attribute(meter, None)
        assert [device.index for device in found.devices] == [1]
        assert found.note == ""
        assert [device.index for device in attribute(meter, ("0", "1")).devices] == [0, 1]
        assert [device.index for device in attribute(meter, ("GPU-simulated-h200-1",)).devices] == [1]


@pytest.mark.parametrize("wanted", [("0", "00"), ("1", "GPU-simulated-h200-1"), ("0", "1", "0")])
def test_a_device_named_twice_is_refused(wanted: tuple[str, ...]) -> None:
    with simulated() as meter, pytest.raises(MeterError, match=r"named twice, as GPU [01]: .* count double"):
        attribute(meter, wanted)


def test_cpu_names_every_cpu_package() -> None:
    packages = tuple(Device(index, "CPU package with DRAM", f"cpu-{index}", scope="cpu") for index in (0, 1))
    meter = WindowsMeter(WindowSource(packages, dict, 0.02, "made"))
    assert attribute(meter, ("cpu",)).devices == packages
    with simulated() as gpus, pytest.raises(NoDevice, match="'cpu' does not exist"):
        attribute(gpus, ("cpu",))


class OneGpu(WindowsMeter):
    """A real GPU on which these processes compute."""

    def __init__(self, pids: Sequence[int] | None) -> None:
        super().__init__(WindowSource((Device(3, "NVIDIA H200", "37f8"),), dict, 0.02, "made"))
        self._pids = pids

    def processes(self, device: Device) -> Sequence[int] | None:
        del device
        return self._pids


@pytest.mark.parametrize(
    ("pids", "note"),
    [
        ([], "no process of this test computes on GPU 3, which is charged*"),
        ([1], "no process of this test computes on GPU 3, which is charged*"),
        ([os.getpid()], ""),
        (None, ""),
        ([2**30], ""),  # of another container: it may be ours
    ],
)
def test_the_only_gpu_is_charged_and_it_is_said_if_nobody_computes_there(pids: list[int] | None, note: str) -> None:
    found = attribute(OneGpu(pids), None)
    assert [device.index for device in found.devices] == [3]
    assert fnmatch(found.note, note)


def test_the_simulated_gpu_stands_for_its_host() -> None:
    with simulated(1) as meter:
        assert attribute(meter, None).note == ""


def test_hidden_processes_charge_every_visible_device_and_say_so() -> None:
    with simulated() as meter:
        inject("hidden")
        found = attribute(meter, None)
        assert len(found.devices) == 2
        assert "hides which processes compute" in found.note


def test_a_foreign_process_is_named() -> None:
    with simulated(1) as meter:
        launch(flops=1e12)
        inject("foreign")
        assert "process 1 (" in attribute(meter, None).foreign
        assert psutil.pid_exists(1)


def test_two_devices_are_summed_and_one_alone_is_not_charged_for_the_other(suite: Suite) -> None:
    suite.write("""
    def both():
        for device in (0, 1):
            launch(bytes=3e10, device=device)
        synchronize()

    def one():
        launch(bytes=3e10, device=1)
        synchronize()

    def test_one(energy):
        energy.repeat(one, rounds=150, warmup=60)

    def test_both(energy):
        energy.repeat(both, rounds=150, warmup=60)
    """)
    _, report = suite.report(meter="simulated:h100-sxm,gpus=2,seed=1")
    one, both = (result["measurement"] for result in report["results"])
    assert (len(one["devices"]), len(both["devices"])) == (1, 2)
    per_call = [sum(b["joules"] for b in m["blocks"]["call"]) / m["calls"] for m in (one, both)]
    assert per_call[1] == pytest.approx(2 * per_call[0], rel=0.01)


def test_zeus_would_read_no_joules_where_nothing_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(NoDevice, match="hides every GPU"), simulated():
        pass


def test_without_a_gpu_the_way_to_try_it_is_named() -> None:
    with contextlib.ExitStack() as stack, pytest.raises(NoDevice, match="--energy-meter simulated"):
        open_meter(Options(enabled=True, meter=MeterChoice("zeus")), stack)


def test_cpu_joules_are_asked_for_by_name_and_missing_ones_are_said() -> None:
    with contextlib.ExitStack() as stack, pytest.raises(MeterError, match=r"CPU package|Zeus cannot start"):
        open_meter(Options(enabled=True, devices=("cpu",)), stack)
    with pytest.raises(NoDevice):
        zeus_source(cpu=False)


def test_old_gpus_are_measured_by_sampled_power_with_the_period_given(monkeypatch: pytest.MonkeyPatch) -> None:
    import zeus.monitor.power

    asked: dict[str, Any] = {}

    class Monitor:
        """Stands in for Zeus' PowerMonitor, whose helper processes need a real NVML."""

        def __init__(self, gpu_indices: list[int], update_period: float | None) -> None:
            asked.update(gpu_indices=gpu_indices, update_period=update_period)

        def get_energy(self, start: float, end: float) -> dict[int, float]:
            return {0: 50.0 * (end - start)}

    monkeypatch.setattr(zeus.monitor.power, "PowerMonitor", Monitor)
    with contextlib.ExitStack() as stack:
        choice = MeterChoice("simulated", "h200", (("fault", "no-counter"),))
        meter = open_meter(Options(enabled=True, meter=choice), stack)
        assert asked == {"gpu_indices": [0], "update_period": 0.1}
        assert "no energy counter before Volta" in meter.description
        assert "1 s errs by about 10%" in meter.description


def test_windows_become_ticks_between_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(0, "Some chip", "x", scope="soc")
    clock = iter(range(1000))
    monkeypatch.setattr(windows, "WINDOW_SECONDS", 0.0)
    meter = WindowsMeter(WindowSource((device,), lambda: {device: float(next(clock))}, 0.02, "a counter"))
    for _ in range(4):
        meter.mark()
    joules = [tick.joules for tick in meter.ticks(device, 0.0)]
    assert joules[:5] == [0.0, 1.0, 3.0, 6.0, 10.0]
    assert not meter.invalid(device)
    assert meter.period(device) == 0.0
    meter.close()


def test_zeus_own_windows_run_on_the_same_simulated_device(monkeypatch: pytest.MonkeyPatch) -> None:
    import zeus.device.gpu
    from zeus.monitor import ZeusMonitor

    # Zeus remembers for the life of the process what it found first.
    monkeypatch.setattr(zeus.device.gpu, "_gpus", None)
    zeus.device.gpu.nvml_is_available.cache_clear()

    with simulated(1):
        monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])
        for _ in range(60):
            launch(bytes=4.3e10)
        monitor.begin_window("w", sync_execution=False)
        time.sleep(0.4)
        measured = monitor.end_window("w", sync_execution=False)
        synchronize()
        assert measured.total_energy / measured.time > 300


def test_the_grids_of_eight_devices_are_found() -> None:
    with simulated(8) as meter:
        assert [meter.period(device) for device in meter.devices] == [pytest.approx(0.1, rel=0.01)] * 8


def test_the_reading_process_ends_with_the_meter() -> None:
    before = psutil.Process().children()
    with simulated(1):
        (reader,) = (child for child in psutil.Process().children() if child not in before)
        assert reader.is_running()
    assert not reader.is_running()


@given(st.lists(st.integers(0, 20), max_size=12).map(sorted), st.integers(0, 20), st.integers(0, 20))
def test_signals_are_found_by_their_times(times: list[int], since: int, until: int) -> None:
    found = [Signals(float(time)) for time in times]
    assert list(signals_between(found, since, until)) == [s for s in found if since <= s.time <= until]
    assert signals_between(found, -math.inf, math.inf) == found


def test_a_reading_process_that_was_stopped_does_not_take_the_counter_for_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine that sleeps, or a debugger, stops it in the middle of a read, too: what it then returns is old."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    class Gpu:
        label = "GPU 0"

        def joules(self) -> float:
            return 100.0

        def signals(self) -> tuple[float, float, int]:
            return 40.0, 1980.0, 0

    def read_at(moment: float) -> None:
        now[0] = moment
        reader.read()

    reader = poller._CounterReader(0, Gpu(), None)  # type: ignore[arg-type]
    for moment in (0.0, 0.1, 60.0, 120.0, 120.4, 120.8):
        read_at(moment)
    with pytest.raises(CounterStuck, match=r"stood still at 100\.000 J for 2 s"):
        read_at(121.2)
