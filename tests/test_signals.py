"""What devices and host tell beside joules: its summary over a window, and that what is withheld is never zero."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import DEVICE, PRODUCT, SKU, Suite
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.baselines.store import Addition, BaselineError, BaselineStore
from pytest_joules.meters.replay import DeviceTrace
from pytest_joules.meters.simulated import SimulatedHost
from pytest_joules.meters.ticks import mean_watts
from pytest_joules.meters.zeus import ZeusMeter, simulated_host
from pytest_joules.model import BaselineKey, Block, Conditions, Device, Session, Tick
from pytest_joules.samples import (
    SAMPLED,
    Reading,
    SampleLog,
    Samples,
    loaded_idle_watts,
    means,
    rates,
    slowed_share,
    summary,
)
from pytest_joules.sampling import Seen, conditions, device_settings, look_back, sampled, seen, spoiled
from pytest_joules.signals import SIGNALS
from pytest_joules.testing import launch
from pytest_joules.unsteady import unsteady

NAMES = [sampled.name for sampled in SAMPLED]


def samples(times: list[float], **columns: list[float]) -> Samples:
    """Samples that tell nothing but these columns."""
    unknown = [math.nan] * len(times)
    return Samples.of(list(zip(times, *(columns.get(name, unknown) for name in NAMES), strict=True)))


def test_every_sampled_number_is_a_signal() -> None:
    known = {signal.name for signal in SIGNALS} | {"power_cap_share"}  # which has a place of its own
    assert set(NAMES) <= known


def test_levels_are_meant_totals_are_rates_and_means_are_weighted_by_time() -> None:
    one = samples(
        [0.0, 0.1, 0.3],
        memory_clock_mhz=[1000.0, 2000.0, 3000.0],
        power_cap_share=[5.0, 5.0, 5.15],
        host_cores=[7.0, 7.3, 7.6],
        # The first covers time before the window.
        sm_active=[0.9, 0.2, 0.5],
    )
    assert summary([means(one)]) == pytest.approx(
        {"memory_clock_mhz": 2000.0, "power_cap_share": 0.5, "host_cores": 2.0, "sm_active": 0.4}
    )


def test_a_mean_that_only_some_samples_tell_counts_for_the_time_since_the_one_before() -> None:
    unknown = math.nan
    every_second = samples(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8],
        sm_active=[unknown, 0.9, unknown, 0.2, unknown, 0.5, unknown],
        tensor_active=[unknown, 0.9, unknown, unknown, unknown, 0.1, unknown],
    )
    # 0.9 covers time before the window; then two tenths of a second, and three.
    assert summary([means(every_second)]) == pytest.approx({"sm_active": 0.38, "tensor_active": 0.1})
    assert summary([means(samples([0.1, 0.2], sm_active=[unknown, 0.9]))]) == {}


def test_devices_are_meant_or_summed_and_one_that_is_silent_makes_it_unavailable() -> None:
    a = samples([0.0, 1.0], sm_active=[0.0, 0.5], dram_bytes_per_second=[0.0, 1e12], memory_used_bytes=[1e9, 1e9])
    b = samples([0.0, 1.0], sm_active=[0.0, 1.0], dram_bytes_per_second=[0.0, 2e12])
    assert summary([means(a), means(b)]) == pytest.approx({"sm_active": 0.75, "dram_bytes_per_second": 3e12})
    assert summary([]) == summary([means(Samples.of(()))]) == {}


def test_a_counter_that_was_set_back_tells_nothing_and_no_share_exceeds_the_time() -> None:
    assert summary([means(samples([0.0, 1.0], power_brake_share=[3.0, 1.0]))]) == {}
    assert summary([means(samples([0.0, 1.0], power_brake_share=[3.0, 4.001]))]) == {"power_brake_share": 1.0}


rows = st.lists(
    st.lists(st.one_of(st.just(math.nan), st.floats(1e-6, 1e12)), min_size=len(NAMES), max_size=len(NAMES)), max_size=8
)


@given(rows)
def test_a_summary_lies_between_its_samples_and_names_no_unknown_column(table: list[list[float]]) -> None:
    found = summary([means(Samples.of([(0.1 * n, *row) for n, row in enumerate(table)]))])
    for place, known in enumerate(SAMPLED):
        column = [row[place] for row in table if not math.isnan(row[place])]
        if not column:
            assert known.name not in found
        elif known.name in found and known.reading is not Reading.TOTAL:
            low, high = min(column), max(column)
            assert min(low, known.most) * (1 - 1e-9) <= found[known.name] <= high * (1 + 1e-9)


@given(rows, st.integers(0, 8), st.integers(0, 8))
def test_a_log_gives_the_samples_of_a_stretch(table: list[list[float]], since: int, until: int) -> None:
    log = SampleLog()
    for number, row in enumerate(table):
        log.add(float(number), row)
    expected = [number for number in range(len(table)) if since <= number <= until]
    assert log.between(since, until).times.tolist() == expected


def test_the_worst_device_and_cause_decide_whether_a_window_was_slowed_down() -> None:
    cool = samples([0.0, 1.0], hardware_thermal_share=[2.0, 2.0], power_brake_share=[0.0, 0.1])
    hot = samples([0.0, 1.0], software_thermal_share=[2.0, 2.4])
    assert slowed_share([rates(cool), rates(hot)]) == pytest.approx(0.4)
    assert slowed_share([rates(samples([0.0, 1.0]))]) is None


def test_idle_power_of_a_loaded_device_is_that_of_cells_with_its_memory_and_well_behind_its_work() -> None:
    # The joules of work come a little late: 281 W where nothing ran any more.
    watts = [80.0, 80.0, 300.0, 281.0, 122.0, 121.0, 121.0, 120.0, 119.0, 400.0]
    ticks = [Tick(0.1 * n, 0.1 * sum(watts[:n])) for n in range(len(watts) + 1)]
    times = [0.05 + 0.1 * n for n in range(len(watts) + 1)]
    memory = [1e9, 1e9, *[30e9] * 9]
    active = [0.0, 0.0, 0.9, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.9]
    before = samples(times, memory_used_bytes=memory, sm_active=active)
    # Calls allocate more than the model.
    assert loaded_idle_watts(ticks, before, 50e9) == pytest.approx(120.0)
    assert loaded_idle_watts(ticks, before, 100e9) is None
    # It rested since the last sample that tells of it.
    active[4] = active[6] = math.nan
    known = samples(times, memory_used_bytes=memory, sm_active=active)
    assert loaded_idle_watts(ticks, known, 50e9) == pytest.approx(120.0)
    active[8] = math.nan
    assert loaded_idle_watts(ticks, samples(times, memory_used_bytes=memory, sm_active=active), 50e9) is None
    # Without GPM nobody knows whether it rested.
    assert loaded_idle_watts(ticks, samples(times, memory_used_bytes=memory), 50e9) is None
    assert loaded_idle_watts(ticks, before, math.nan) is None
    assert loaded_idle_watts([], before, 50e9) is None


@given(rows)
def test_a_trace_keeps_samples(table: list[list[float]]) -> None:
    before = Samples.of([(float(n), *row) for n, row in enumerate(table)])
    after = DeviceTrace.of((), (), before).log().between(-math.inf, math.inf)
    assert means(after) == pytest.approx(means(before), rel=1e-9, nan_ok=True)


def test_settings_of_devices() -> None:
    on, off = ({"gpu_ecc": value, "gpu_power_profile": "max-q"} for value in ("on", "off"))
    devices = [Device(0, "x", "a", settings=on), Device(1, "x", "b", settings=off)]
    assert device_settings(devices) == {"gpu_ecc": "off and on", "gpu_power_profile": "max-q"}
    assert device_settings([*devices, Device(2, "x", "c")]) == device_settings([]) == {}


# -- stored --


KEY = BaselineKey("t.py::t", "main", "token")


def store(path: Path, signals: Mapping[str, float]) -> BaselineStore:
    session = Session("now", (DEVICE,), (Block(1.0, 1.0, 1.0),), conditions=Conditions(signals=signals))
    found = BaselineStore(path)
    found.update(SKU, PRODUCT, True, {KEY: Addition(session)})
    return found


def test_stored_signals_are_sorted_and_short_and_come_back(tmp_path: Path) -> None:
    found = store(tmp_path, {"sm_active": 0.123456, "host_cores": 2.0, "memory_used_bytes": 61234567890.0})
    text = found.path(SKU).read_text()
    assert '"signals": {"host_cores": 2.0, "memory_used_bytes": 61230000000.0, "sm_active": 0.1235}' in text
    (session,) = found.load(SKU).sessions(KEY)
    assert session.conditions.signals == {"host_cores": 2.0, "memory_used_bytes": 61230000000.0, "sm_active": 0.1235}


@pytest.mark.parametrize("value", ["-1", "1e25", '"0.5"', "null", "true", "[0.5]", "NaN"])
def test_stored_signals_that_are_none_are_refused(tmp_path: Path, value: str) -> None:
    found = store(tmp_path, {"sm_active": 0.5})
    path = found.path(SKU)
    path.write_text(path.read_text().replace('"sm_active": 0.5', f'"sm_active": {value}'))
    with pytest.raises(BaselineError, match="restore it from git"):
        found.load(SKU)


# -- unsteady windows --


def blocks(*levels: float) -> list[Block]:
    return [Block(level, 1.0, 0.5) for level in levels]


def test_a_window_whose_joules_step_up_has_no_single_answer() -> None:
    stepping = blocks(*[1.0, 1.001, 0.999, 1.0, 1.0, 1.001], *[1.1, 1.101, 1.099, 1.1, 1.1, 1.101])
    reason = unsteady(stepping, "token", 0.02)
    assert reason.startswith(
        "not steady: 1.000 J/token in the first half of the window, 1.100 J/token in the last (+10.0%)"
    )
    assert not unsteady(stepping, "token", 0.06)
    assert not unsteady(stepping[4:7], "token", 0.02)


@given(st.lists(st.floats(-0.01, 0.01), min_size=4, max_size=24), st.sampled_from([0.005, 0.01, 0.02]))
def test_noise_within_the_tolerance_is_never_unsteady(noise: list[float], tolerance: float) -> None:
    assert not unsteady(blocks(*(math.exp(wiggle * tolerance / 0.01) for wiggle in noise)), "call", tolerance)


def test_no_real_session_is_unsteady() -> None:
    stored = BaselineStore(Path(__file__).parents[1] / "baselines").load("nvidia-h200")
    for key, sessions in stored.entries.items():
        for session in sessions:
            assert not unsteady(session.blocks, key.unit, 1e-6)


# -- on the simulated GPU --


LOADS = """
    import time

    def work(**amounts):
        def call():
            launch(memory=40e9, **amounts)
            synchronize()
        return call

    def waits():
        launch(bytes=3e10, memory=40e9)
        synchronize()
        time.sleep(0.15)

    def test_signals(energy):
        energy.repeat(work(bytes=3e10), rounds=70, warmup=40, window="copy")
        energy.repeat(work(flops=2e12, bytes=0.6e10, pipe="tensor"), rounds=250, warmup=40, window="matmul")
        energy.repeat(work(flops=0.5e12, pipe="fp32"), rounds=60, warmup=10, window="fp32")
        energy.repeat(work(bytes=3e9, link_bytes=9e9), rounds=70, warmup=40, window="talks")
        energy.repeat(waits, rounds=8, warmup=2, window="stalls")
"""
"""Each for under a second, on an H100: 3 TB/s of a bus of 3.35 TB/s, and 0.9 TB/s over its links."""


def test_simulated_signals_follow_the_declared_work(suite: Suite) -> None:
    suite.write(LOADS)
    ran, report = suite.report("--energy-max-seconds=1")
    ran.assert_outcomes(passed=1)
    told = {r["measurement"]["window"]: r["measurement"] for r in report["results"]}
    of = {window: measured["conditions"]["signals"] for window, measured in told.items()}
    assert all(signals["memory_used_bytes"] == 40.5e9 for signals in of.values())
    assert of["copy"]["sm_active"] == pytest.approx(1.0, abs=0.05)
    assert of["copy"]["dram_active"] == pytest.approx(3.0 / 3.35, abs=0.05)
    assert of["copy"]["dram_bytes_per_second"] == pytest.approx(3e12, rel=0.05)
    assert of["copy"]["tensor_active"] == of["copy"]["nvlink_bytes_per_second"] == 0
    assert of["matmul"]["tensor_active"] > 0.9 > of["matmul"]["fp32_active"]
    assert of["fp32"]["fp32_active"] > 0.9 > of["fp32"]["tensor_active"]
    assert told["matmul"]["conditions"]["power_cap_share"] > 0.5
    assert told["matmul"]["conditions"]["sm_clock_mhz"] < told["copy"]["conditions"]["sm_clock_mhz"]
    assert of["talks"]["nvlink_bytes_per_second"] == pytest.approx(9e11, rel=0.05)
    assert of["talks"]["sm_active"] < 0.3
    # A host that is late leaves the device idle, and its watts fall towards those of a context.
    assert of["stalls"]["sm_active"] < 0.3
    watts = {window: told[window]["blocks"]["call"] for window in ("stalls", "copy")}
    stalls, copy = (sum(b["joules"] for b in found) / sum(b["seconds"] for b in found) for found in watts.values())
    assert 115 < stalls < 115 + (copy - 115) / 2
    assert told["copy"]["conditions"]["configuration"]["gpu_ecc"] == "on"


@contextlib.contextmanager
def simulated(**settings: str) -> Iterator[tuple[SimulatedHost, ZeusMeter]]:
    """An H100 in this process, and the real meter on it."""
    with contextlib.ExitStack() as stack:
        host = simulated_host("h100-sxm", {"seed": "1", **settings}, stack)
        opened = ZeusMeter({}, host)
        stack.callback(opened.close)
        yield host, opened


def look(meter: ZeusMeter, samples: int) -> tuple[Seen, dict[str, float]]:
    """What the device tells in so many samples from now on, one a tick: what decides, and all of it."""
    since = time.monotonic()
    (device,) = meter.devices
    while len(times := meter.samples(device, since, math.inf).times) < samples:
        time.sleep(0.05)
    until = times[-1]
    before = look_back(meter, meter.devices, since, until)
    return seen(meter, meter.devices, since, until), sampled(meter, meter.devices, before, since, until)


TOLD_BY = {
    "gpm": {"sm_active", "tensor_active", "dram_active", "dram_bytes_per_second", "nvlink_bytes_per_second"},
    "slowdown": {"sync_boost_share", "hardware_thermal_share", "power_brake_share"},
    "memory": {"memory_used_bytes", "dram_bytes_per_second"},
    "clocks": {"memory_clock_mhz", "dram_bytes_per_second"},
    "host": {"host_cores"},
}


@pytest.mark.parametrize("groups", ["gpm+host", "slowdown+memory", "clocks", "reasons+temperature"])
def test_what_is_withheld_is_unavailable_and_everything_else_is_told(groups: str) -> None:
    with simulated(withhold=groups) as (_, meter):
        launch(bytes=3e12, memory=40e9)
        told, found = look(meter, 8)
    missing = set().union(*(TOLD_BY.get(group, set()) for group in groups.split("+")))
    assert not missing & set(found)
    assert set().union(*TOLD_BY.values()) - missing <= set(found)
    state = conditions(meter.devices, told)
    assert (state.sm_clock_mhz is None) is ("clocks" in groups)
    assert (state.temperature_celsius is None) is ("temperature" in groups)
    # Without its counter the share is that of the samples.
    assert state.power_cap_share == 0.0


@pytest.mark.parametrize("withhold", ["gpm", "reasons", "slowdown"])
def test_heat_makes_a_window_invalid_by_the_counters_or_else_by_the_samples(withhold: str) -> None:
    with simulated(fault="thermal", withhold=withhold) as (_, meter):
        launch(bytes=12e12)
        told, _ = look(meter, 4)
        assert (told.slowed is None) is (withhold == "slowdown")
        reason = spoiled(meter, meter.devices, "", told)
    assert re.match(r"thermal or power-brake slowdown during (9\d\.\d|100\.0)% of the window: cool the machine", reason)


def test_a_vgpu_is_refused_as_a_slice_is() -> None:
    with simulated(fault="vgpu") as (_, meter):
        assert meter.invalid(meter.devices[0]).startswith("GPU 0 is a vGPU")


def run(call: Mapping[str, float], **settings: str) -> tuple[float, float]:
    """Seconds that the work takes, and its watts once it is steady."""
    with simulated(**settings) as (host, meter):
        began = time.monotonic()
        launch(**call)  # type: ignore[arg-type]
        queued, end = time.monotonic(), host.gpus[0].queue_end
        while not (ticks := meter.ticks(meter.devices[0], queued + 1.3)) or ticks[-1].time < end:
            time.sleep(0.1)
    # It began somewhere between the two.
    return end - (began + queued) / 2, mean_watts([tick for tick in ticks if tick.time < end])


def test_a_cap_a_clock_and_heat_move_watts_and_seconds_as_they_should() -> None:
    matmul, copy = {"flops": 2.5e15}, {"bytes": 9e12}
    free, capped, slow = (run(matmul, **settings) for settings in ({}, {"cap": "500"}, {"mhz": "1200"}))
    assert capped[0] > 1.3 * free[0]
    assert capped[1] == pytest.approx(500, rel=0.02)
    assert slow[0] > 1.1 * free[0]
    assert slow[1] < 0.9 * free[1]
    cold, hot = (run(copy, **settings) for settings in ({}, {"celsius": "75"}))
    assert hot[0] == pytest.approx(cold[0], abs=0.15)
    assert hot[1] / cold[1] == pytest.approx(1 + 40 * 0.002, abs=0.01)
