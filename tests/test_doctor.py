"""``pytest-joules doctor``: each check, the part-time sensor, and what later runs make of it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml
import pytest
from conftest import DEVICE, Suite
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_joules import cli, doctor, testing
from pytest_joules.doctor import Finding, Health, Steady
from pytest_joules.meters import simulated
from pytest_joules.meters.duty import DUTIES, FEWEST_TICKS, sensor_duty
from pytest_joules.meters.nvml import NvmlGpu
from pytest_joules.meters.ticks import TickGrid
from pytest_joules.meters.zeus import ZeusMeter, simulated_host
from pytest_joules.model import Device, MeterInfo, Read, Tick
from pytest_joules.profiles import LARGEST_FILE, LEAST_DUTY, ProfileError, Profiles, SensorProfile
from pytest_joules.sampling import CAPPED_WARMUP_SECONDS
from pytest_joules.workloads import load as loads
from pytest_joules.workloads.load import NoLoad, SimulatedLoad, TorchLoad, load_for

CHECKS = [
    "counter",
    "read cost",
    "idle, no context",
    "idle, context",
    "steady load",
    "part-time sensor",
    "processes",
    "persistence mode",
    "power limit",
    "application clock",
    "clock events",
    "MIG",
    "vGPU",
    "GPM",
    "signals",
]
REAL = Device(3, "NVIDIA H200", DEVICE, driver="580.159", power_limit_watts=700.0, default_power_limit_watts=700.0)


# -- the command --


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run_doctor(cwd: Path, *arguments: str, meter: str = "simulated:h200,seed=1") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_joules.cli", "doctor", f"--energy-meter={meter}", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def rows(ran: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """Verdict and text by check, from the printed table."""
    found = {}
    for line in ran.stdout.splitlines():
        for check in CHECKS:
            if line.startswith(f"{check}  "):
                verdict = next(h.value for h in Health if line[len(check) :].strip().startswith(h.value))
                found[check] = (verdict, line[len(check) :].strip()[len(verdict) :].strip())
    return found


def test_a_sound_gpu_is_ok_in_every_check(tmp_path: Path, cache: Path) -> None:
    ran = run_doctor(tmp_path, "--strict", "--json=found.json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = rows(ran)
    assert list(found) == CHECKS
    assert {verdict for verdict, _ in found.values()} == {"ok"}
    assert ran.stdout.startswith("GPU 0: NVIDIA H200 (simulated), driver simulated")
    assert "doctor: 15 ok, 0 warn, 0 bad, 0 left out" in ran.stdout
    assert "what to do" not in ran.stdout
    assert "ticks every 100.00 ms" in found["counter"][1]
    assert "the sensor looks all the time" in found["part-time sensor"][1]
    # A simulated device's profile is printed, not kept.
    assert not cache.exists()

    report = json.loads((tmp_path / "found.json").read_text())
    assert report["meter"]["simulated"]
    (examination,) = report["examinations"]
    assert [finding["check"] for finding in examination["findings"]] == CHECKS
    assert {finding["health"] for finding in examination["findings"]} == {"ok"}
    assert examination["profile"]["sensor_duty"] == 1.0
    assert examination["profile"]["period_seconds"] == pytest.approx(0.1)
    # The context was made between the two: the simulated H200 idles at 80 W without one, at 124 W with one.
    assert float(found["idle, no context"][1].split()[0]) == pytest.approx(80, rel=0.05)
    assert float(found["idle, context"][1].split()[0]) == pytest.approx(124, rel=0.05)


def test_a_part_time_sensor_is_told_from_a_full_time_one(tmp_path: Path) -> None:
    ran = run_doctor(tmp_path, "--strict", "--json=found.json", meter="simulated:h200,seed=1,fault=part-time")
    assert ran.returncode == 1, "a warning counts under --strict"
    verdict, text = rows(ran)["part-time sensor"]
    assert verdict == "warn"
    # The estimate has steps of 5 %, and a busy host dates the bursts less well.
    assert re.search("about (20|25|30) % of the time", text)
    assert re.search(
        r"part-time sensor: nothing to set: repeated calls on this device are measured in blocks [345]\.\d", ran.stdout
    )
    (examination,) = json.loads((tmp_path / "found.json").read_text())["examinations"]
    assert examination["profile"]["sensor_duty"] == pytest.approx(0.25, abs=0.05)
    assert [f["check"] for f in examination["findings"] if f["health"] != "ok"] == ["part-time sensor"]


@pytest.mark.parametrize(
    ("fault", "code", "expected", "fix"),
    [
        ("hidden", 0, {"processes": "left out"}, ""),
        ("foreign", 1, {"processes": "bad"}, "nvidia-smi -i 0 lists it"),
        ("thermal", 1, {"clock events": "bad"}, "nvidia-smi -i 0 -q -d TEMPERATURE"),
        (
            "mig",
            1,
            {"MIG": "bad", **dict.fromkeys((*doctor.LOAD_CHECKS, "clock events"), "left out")},
            "MIG: sudo nvidia-smi -i 0 -mig 0",
        ),
    ],
)
def test_what_is_wrong_is_found_with_its_fix(
    tmp_path: Path, fault: str, code: int, expected: Mapping[str, str], fix: str
) -> None:
    ran = run_doctor(tmp_path, meter=f"simulated:h200,seed=1,fault={fault}")
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert {check: verdict for check, (verdict, _) in rows(ran).items() if verdict != "ok"} == expected
    assert fix in ran.stdout


def test_one_device_of_several_is_examined_under_its_own_load(tmp_path: Path) -> None:
    ran = run_doctor(tmp_path, "--energy-devices=1", meter="simulated:h100-sxm,seed=1,gpus=2")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith("GPU 1: NVIDIA H100 80GB HBM3 (simulated)")
    assert "GPU 0" not in ran.stdout
    assert rows(ran)["steady load"][1].startswith("41")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--energy-meter=simulated:h200,fault=no-permission"], "NVML refuses to read GPU 0"),
        (["--energy-meter=simulated:h200,fault=lost"], "GPU 0 is lost"),
        (["--energy-meter=simulated:h200,fault=stuck"], "stood still"),
        (["--energy-meter=simulated:h200,fault=no-counter"], "no energy counter before Volta"),
        (["--energy-meter=simulated:h200,fault=cold"], "no fault 'cold'; use one of none,"),
        (["--energy-meter=zeus"], "no NVIDIA GPU"),
        (["--energy-meter=nonsense"], "'nonsense' is not a meter"),
        (["--energy-devices=0,0"], "'0,0' is not a list of different devices"),
        (["--energy-devices=7"], "device '7' does not exist"),
        (["--json=nowhere/found.json"], "--json nowhere/found.json: its directory does not exist"),
        (["--", "-q"], "doctor takes no pytest arguments"),
    ],
)
def test_wrong_use_and_no_device_are_one_clear_line(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    ran = run_doctor(tmp_path, *arguments)
    assert ran.returncode == 2
    assert complaint in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


# -- a fake torch on the simulated GPU --


@contextlib.contextmanager
def meter(**chosen: str) -> Iterator[ZeusMeter]:
    with contextlib.ExitStack() as stack:
        opened = ZeusMeter(os.environ, simulated_host("h200", {"seed": "1", **chosen}, stack))
        stack.callback(opened.close)
        yield opened


def fake_torch(opened: ZeusMeter) -> ModuleType:
    """As much of torch as the load uses; its products run on the simulated GPU."""
    pending: list[float] = []

    def queue_end() -> float:
        # All at once: a simulated launch costs more time than a real one.
        if pending:
            testing.launch(flops=sum(pending))
            pending.clear()
        assert opened._simulated is not None
        return opened._simulated.gpus[0].queue_end

    def wait(until: float) -> None:
        time.sleep(max(0.0, until - time.monotonic()))

    class Event:
        done = 0.0

        def record(self, stream: object) -> None:
            assert stream == "the stream of cuda:0"
            self.done = queue_end()

        def synchronize(self) -> None:
            # A busy host must not starve the device (docs/simulated.md).
            wait(self.done - simulated.RUN_AHEAD)

    def randn(*size: int, device: str, dtype: str) -> str:
        assert (size, device, dtype) == ((loads.MATRIX_SIZE,) * 2, "cuda:0", "bf16")
        return "a matrix"

    def mm(a: str, b: str, *, out: str) -> None:
        assert {a, b, out} == {"a matrix"}
        pending.append(2.0 * loads.MATRIX_SIZE**3)

    torch = ModuleType("torch")
    vars(torch).update(
        __version__="2.99",
        bfloat16="bf16",
        device=lambda kind, index: f"{kind}:{index}",
        randn=randn,
        mm=mm,
        cuda=SimpleNamespace(
            is_available=lambda: True,
            Event=Event,
            current_stream=lambda device: f"the stream of {device}",
            synchronize=lambda device: wait(queue_end()),
        ),
    )
    return torch


def test_torch_is_the_load_on_a_real_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(testing, "synchronize", lambda: pytest.fail("a real GPU has no simulated queue"))
    with meter() as opened:
        monkeypatch.setitem(sys.modules, "torch", fake_torch(opened))
        report = doctor.diagnose(opened, opened.devices, lambda device: TorchLoad(0), lambda text: None)
    (examination,) = report.examinations
    found = {finding.check: finding for finding in examination.findings}
    assert examination.profile.sensor_duty == 1.0
    assert [finding for finding in found.values() if finding.health is not Health.OK] == []
    assert "bf16 matrix products of 4096 in torch 2.99" in found["steady load"].text
    # Matrix products reach the cap; the counter has to show it.
    assert 690 < float(found["steady load"].text.partition(" W")[0]) < 710
    assert "power-capped in 100 %" in found["clock events"].text


class HeldUp(SimulatedLoad):
    """The first time, the host is away for a second in mid-load, and dates its bursts late."""

    launched, bursts = 0.0, 0

    def launch(self, seconds: float) -> None:
        before, self.launched = self.launched, self.launched + seconds
        if before < CAPPED_WARMUP_SECONDS + 0.5 <= self.launched:
            time.sleep(1.0)
        super().launch(seconds)

    def burst(self, seconds: float) -> tuple[float, float]:
        begin, end = super().burst(seconds)
        self.bursts += 1
        late = 0.05 * (self.bursts % 2) if self.bursts <= doctor.FEWEST_BURSTS else 0.0
        return begin + late, end + late


def test_what_does_not_look_sound_is_looked_at_once_more() -> None:
    with meter() as opened:
        report = doctor.diagnose(opened, opened.devices, lambda device: HeldUp(opened, device), lambda text: None)
    (examination,) = report.examinations
    assert [finding for finding in examination.findings if finding.health is not Health.OK] == []
    assert examination.profile.sensor_duty == 1.0


def test_without_torch_what_needs_a_load_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with meter() as opened:
        report = doctor.diagnose(opened, opened.devices, lambda device: TorchLoad(0), lambda text: None)
    (examination,) = report.examinations
    left = {finding.check: finding.text for finding in examination.findings if finding.health is Health.LEFT_OUT}
    assert left == {
        **dict.fromkeys(doctor.LOAD_CHECKS, "needs torch (pip install 'pytest-joules[torch]')"),
        "clock events": "there was no load to see them under",
    }
    assert examination.profile.sensor_duty is None


def test_a_torch_that_cannot_work_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    torch = ModuleType("torch")
    monkeypatch.setitem(sys.modules, "torch", torch)
    vars(torch)["cuda"] = SimpleNamespace(is_available=lambda: False)
    with pytest.raises(NoLoad, match="the installed one finds no GPU"):
        TorchLoad(0)

    def refuse(kind: str, index: int) -> None:
        raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")

    vars(torch).update(cuda=SimpleNamespace(is_available=lambda: True), device=refuse)
    with pytest.raises(NoLoad, match=r"says: CUDA error: out of memory$"):
        TorchLoad(0)


def test_what_an_earlier_look_found_is_kept_if_this_one_finds_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with meter() as opened:
        device = opened.devices[0]
    Profiles.at(os.environ).save(SensorProfile(device.identity, device.driver, 0.1, 0.25, "2026-01-01T00:00:00+00:00"))
    with meter() as opened:
        report = doctor.diagnose(opened, opened.devices, lambda device: TorchLoad(0), lambda text: None)
    assert report.examinations[0].profile.sensor_duty == 0.25


# -- NVML's answers --


@pytest.fixture
def gpu() -> Iterator[NvmlGpu]:
    with contextlib.ExitStack() as stack:
        simulated_host("h200", {"seed": "1"}, stack)
        yield NvmlGpu(0)


def error(code: int) -> Callable[..., Any]:
    def refuse(*_: object) -> None:
        raise pynvml.NVMLError(code)

    return refuse


Check = Callable[[NvmlGpu], Finding]
persistence: Check = lambda gpu: doctor.check_persistence(gpu, REAL)  # noqa: E731
clock: Check = lambda gpu: doctor.check_application_clock(gpu, REAL)  # noqa: E731
mig: Check = lambda gpu: doctor.check_mig(gpu, REAL)  # noqa: E731
vgpu: Check = doctor.check_virtualization
gpm: Check = doctor.check_gpm


@pytest.mark.parametrize(
    ("check", "answers", "health", "said"),
    [
        (persistence, {"DeviceGetPersistenceMode": 1}, Health.OK, "on"),
        (persistence, {"DeviceGetPersistenceMode": 0}, Health.WARN, "sudo nvidia-smi -i 3 -pm 1"),
        (clock, {}, Health.OK, "1980 of at most 1980 MHz"),
        (clock, {"DeviceGetApplicationsClock": 1200}, Health.WARN, "sudo nvidia-smi -i 3 -rac"),
        (
            clock,
            {"DeviceGetApplicationsClock": 1095, "DeviceGetDefaultApplicationsClock": 1095},
            Health.OK,
            "1095 of at most 1980 MHz",
        ),
        (mig, {"DeviceGetMigMode": [0, 1]}, Health.OK, "off"),
        (mig, {"DeviceGetMigMode": [1, 1]}, Health.BAD, "sudo nvidia-smi -i 3 -mig 0"),
        (vgpu, {"DeviceGetVirtualizationMode": 0}, Health.OK, "none"),
        (vgpu, {"DeviceGetVirtualizationMode": 1}, Health.OK, "passed through"),
        (vgpu, {"DeviceGetVirtualizationMode": 2}, Health.BAD, "this is a vGPU"),
        (vgpu, {"DeviceGetVirtualizationMode": 3}, Health.BAD, "guests share this GPU"),
        (gpm, {}, Health.OK, "may take samples"),
        (gpm, {"GpmQueryDeviceSupport": SimpleNamespace(isSupportedDevice=0)}, Health.LEFT_OUT, "Hopper and later"),
        (
            gpm,
            {"GpmSampleGet": error(pynvml.NVML_ERROR_NO_PERMISSION)},
            Health.WARN,
            "NVreg_RestrictProfilingToAdminUsers=0",
        ),
        (gpm, {"GpmSampleGet": error(pynvml.NVML_ERROR_UNKNOWN)}, Health.LEFT_OUT, "does not tell"),
    ],
)
def test_answers_of_nvml(
    gpu: NvmlGpu,
    monkeypatch: pytest.MonkeyPatch,
    check: Check,
    answers: Mapping[str, Any],
    health: Health,
    said: str,
) -> None:
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, f"nvml{name}", answer if callable(answer) else lambda *_, a=answer: a)
    found = check(gpu)
    assert found.health is health
    assert said in f"{found.text} {found.fix}"
    assert bool(found.fix) == (health in (Health.WARN, Health.BAD)), "what is not fine names its fix"


@pytest.mark.parametrize(
    "code",
    [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_NO_PERMISSION],
)
def test_what_nvml_refuses_is_left_out_never_ok(gpu: NvmlGpu, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    for name in [name for name, value in vars(pynvml).items() if simulated._is_nvml_function(name, value)]:
        if name != "nvmlErrorString":
            monkeypatch.setattr(pynvml, name, error(code))
    for check in (persistence, clock, mig, vgpu, gpm):
        assert check(gpu).health is Health.LEFT_OUT
        assert "NVML does not tell" in check(gpu).text
    assert gpu.average_watts() is None
    assert gpu.event_reasons() is None
    assert doctor.check_processes(gpu.processes(), None, "", REAL).health is Health.LEFT_OUT
    assert doctor.check_clock_events((), REAL).health is Health.LEFT_OUT
    assert doctor.check_power_limit(replace(REAL, default_power_limit_watts=None)).health is Health.LEFT_OUT
    assert doctor.check_steady(Steady(500.0, (), ()), "a load").health is Health.LEFT_OUT


def test_a_whole_run_on_an_nvml_that_tells_little_does_not_crash() -> None:
    with meter() as opened, pytest.MonkeyPatch.context() as patch:
        for name in (
            "DeviceGetPersistenceMode",
            "DeviceGetFieldValues",
            "DeviceGetApplicationsClock",
            "DeviceGetCurrentClocksEventReasons",
            "DeviceGetMigMode",
            "DeviceGetVirtualizationMode",
            "GpmQueryDeviceSupport",
        ):
            patch.setattr(pynvml, f"nvml{name}", error(pynvml.NVML_ERROR_NOT_SUPPORTED))
        report = doctor.diagnose(
            opened, opened.devices, lambda device: load_for(opened, device), progress=lambda text: None
        )
    (examination,) = report.examinations
    left = [finding.check for finding in examination.findings if finding.health is Health.LEFT_OUT]
    assert left == [
        "steady load",
        "persistence mode",
        "application clock",
        "clock events",
        "MIG",
        "vGPU",
        "GPM",
        "signals",
    ]


# -- judging --


def test_power_limits() -> None:
    assert doctor.check_power_limit(REAL).health is Health.OK
    lowered = doctor.check_power_limit(replace(REAL, power_limit_watts=450.0))
    assert lowered.health is Health.WARN
    assert "450 W, but the board's own is 700 W" in lowered.text
    assert lowered.fix.endswith("sudo nvidia-smi -i 3 -pl 700")


CAP, CLOCKS, SYNC = (
    pynvml.nvmlClocksEventReasonSwPowerCap,
    pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
    pynvml.nvmlClocksEventReasonSyncBoost,
)


@pytest.mark.parametrize(
    ("reasons", "health", "said"),
    [
        ([0, 0], Health.OK, "power-capped in 0 % of 2 looks"),
        ([CAP, 0], Health.OK, "power-capped in 50 % of 2 looks"),
        ([CAP | CLOCKS, 0, 0, 0], Health.WARN, "a clock setting held the clock in 25 %"),
        ([SYNC], Health.WARN, "dcgmi config"),
        ([CLOCKS, pynvml.nvmlClocksEventReasonHwThermalSlowdown], Health.BAD, "slowdown in 50 %"),
        (None, Health.LEFT_OUT, "no load"),
    ],
)
def test_clock_events(reasons: Sequence[int] | None, health: Health, said: str) -> None:
    found = doctor.check_clock_events(reasons, REAL)
    assert found.health is health
    assert said in f"{found.text} {found.fix}"


NOBODY = 2**22 + 1
"""Above the highest process id of Linux."""


@pytest.mark.parametrize(
    ("before", "after", "foreign", "health", "said"),
    [
        ((), (os.getpid(),), "", Health.OK, "nobody else"),
        ((), None, "", Health.OK, "nobody else"),
        ((1,), None, "process 1 (init) on GPU 3", Health.BAD, "process 1 (init) on GPU 3 computes here"),
        ((NOBODY,), None, "", Health.WARN, f"process {NOBODY} computes here but does not exist here"),
        ((), (NOBODY,), "", Health.WARN, "--pid=host"),
        (None, None, "", Health.LEFT_OUT, "does not tell"),
    ],
)
def test_processes(
    before: Sequence[int] | None, after: Sequence[int] | None, foreign: str, health: Health, said: str
) -> None:
    found = doctor.check_processes(before, after, foreign, REAL)
    assert found.health is health
    assert said in f"{found.text} {found.fix}"


@pytest.mark.parametrize(
    ("average", "health"), [(500.0, Health.OK), (487.0, Health.OK), (470.0, Health.WARN), (0.0, Health.WARN)]
)
def test_steady_load(average: float, health: Health) -> None:
    found = doctor.check_steady(Steady(500.0, (average, average), ()), "a load")
    assert found.health is health
    assert "500.0 W by the counter" in found.text


def ticks(*powers: float) -> list[Tick]:
    joules = [0.0]
    for power in powers:
        joules.append(joules[-1] + 0.1 * power)
    return [Tick(0.1 * index, total) for index, total in enumerate(joules)]


def test_idle() -> None:
    rests = doctor.check_idle("idle", ticks(80, 80.5, 79.5), 40.0, REAL)
    assert rests.health is Health.OK
    assert rests.text == "80.0 W over 0.3 s, ticks within 1.3 %; +40.0 W with a context of ours"
    works = doctor.check_idle("idle", ticks(80, 80, 300), None, REAL)
    assert works.health is Health.WARN
    assert "nvidia-smi -i 3" in works.fix


def test_a_missing_tick_is_not_guessed() -> None:
    seen = ticks(100, 200, 300, 400)
    del seen[2]
    assert doctor.tick_watts(seen, 0.1) == [pytest.approx(100), None, None, pytest.approx(400)]


def test_counter_and_read_cost() -> None:
    grid = TickGrid(0.1, 0.0, 0.003)
    regular = [Read(0.1 * k + 0.05, 0.1 * k + 0.053, float(k)) for k in range(50)]
    assert doctor.check_counter(grid, regular).health is Health.OK
    assert "explains 100.0 % of 49 edges" in doctor.check_counter(grid, regular).text
    assert doctor.check_counter(replace(grid, error=0.02), regular).health is Health.WARN
    standing = [replace(read, joules=1.0) for read in regular]
    assert doctor.check_counter(grid, standing).health is Health.BAD

    assert doctor.check_read_cost(grid, regular).text == "a read takes 3.0 ms"
    after = [*regular, Read(5.005, 5.02, 50.0)]
    assert doctor.check_read_cost(grid, after).text == "a read takes 3.0 ms, just after a tick 15.0 ms"
    slow = [replace(read, end=read.start + 0.03) for read in regular]
    assert doctor.check_read_cost(grid, slow).health is Health.WARN
    assert "DCGM" in doctor.check_read_cost(grid, slow).fix


def test_a_sensor_that_cannot_be_judged_is_a_warning() -> None:
    found = doctor.check_sensor(None, [100.0, None, 300.0], 0.1)
    assert found.health is Health.WARN
    assert "2 ticks drew 100 to 300 W: they do not follow the bursts" in found.text


@pytest.mark.parametrize(
    ("period", "burst", "cycle"), [(0.1, 0.03, 0.105), (0.02, 0.006, 0.021), (0.001, 0.003, 0.0105)]
)
def test_bursts_slide_against_any_period(period: float, burst: float, cycle: float) -> None:
    assert doctor.train_times(period) == pytest.approx((burst, cycle))


@pytest.mark.parametrize(
    ("strict", "health", "code"), [(False, Health.WARN, 0), (True, Health.WARN, 1), (False, Health.BAD, 1)]
)
def test_what_is_found_of_a_real_device_is_kept(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    strict: bool,
    health: Health,
    code: int,
) -> None:
    examined = doctor.Examination(REAL, (Finding("GPM", health, "no.", "do this"),), profile())
    report = doctor.DoctorReport("2026-11-02T10:00:00+00:00", "1", MeterInfo("Zeus", False, (REAL,)), (examined,))
    monkeypatch.setattr(doctor, "diagnose", lambda *_: report)
    arguments = ["doctor", "--energy-meter=simulated", *(["--strict"] if strict else [])]
    assert cli.main(arguments) == code
    printed = capsys.readouterr().out
    assert f"kept for later runs: {cache / 'pytest-joules' / DEVICE}.json" in printed
    assert "GPU 3: NVIDIA H200, driver 580.159" in printed
    assert "  GPM: do this" in printed
    assert Profiles.at(os.environ).load(REAL) == (profile(), "")
    # Where nothing can be kept, what was found still counts.
    (cache / "pytest-joules" / f"{DEVICE}.json").unlink()
    (cache / "pytest-joules" / f"{DEVICE}.json").mkdir()
    assert cli.main(arguments) == code
    assert "the sensor's profile cannot be kept" in capsys.readouterr().err


def test_every_check_is_explained() -> None:
    page = (Path(__file__).parents[1] / "docs" / "doctor.md").read_text(encoding="utf-8")
    for check in CHECKS:
        assert f"| {check} |" in page


# -- the estimate of the duty, on synthetic ticks --


class Sensor:
    """A sensor that looks for ``duty`` of every period, ``phase`` seconds after its tick."""

    def __init__(self, duty: float, phase: float = 0.0, period: float = 0.1) -> None:
        self.duty, self.phase, self.period = duty, phase, period

    def sees(
        self, bursts: Sequence[tuple[float, float]], cells: int, idle: float, burst: float, noise: Sequence[float] = ()
    ) -> list[float | None]:
        """Mean watts of every cell, as this sensor has them."""
        seen: list[float | None] = []
        for cell in range(cells):
            opens = cell * self.period + self.phase
            closes = opens + self.duty * self.period
            inside = sum(max(0.0, min(end, closes) - max(start, opens)) for start, end in bursts)
            error = 1 + (noise[cell] if cell < len(noise) else 0.0)
            seen.append((idle + (burst - idle) * inside / (closes - opens)) * error)
        return seen


def train(lateness: Sequence[float] = (), seconds: float = 0.03, cycle: float = 0.105) -> list[tuple[float, float]]:
    late = [*lateness, *[0.0] * 20]
    return [(0.02 + n * cycle + late[n], 0.02 + n * cycle + late[n] + seconds) for n in range(20)]


lateness = st.lists(st.floats(0, 0.06), max_size=20)
"""Of a burst on a busy host, s."""

noise = st.lists(st.floats(-0.01, 0.01), min_size=20, max_size=20)
idles = st.floats(40, 150)
powers = st.floats(300, 1200)


@settings(max_examples=200)
@given(lateness, noise, idles, powers, st.floats(-0.02, 0.0))
def test_a_full_time_sensor_is_never_suspected(
    lateness: list[float], noise: list[float], idle: float, power: float, late: float
) -> None:
    bursts = train(lateness)
    assert sensor_duty(Sensor(1.0, late).sees(bursts, 20, idle, power, noise), bursts, 0.1, idle) == 1.0


@settings(max_examples=200)
@given(st.sampled_from(DUTIES[4:-1]), st.floats(0, 1), idles, powers, noise)
def test_a_part_time_sensor_is_found_and_its_duty_with_it(
    duty: float, phase: float, idle: float, power: float, noise: list[float]
) -> None:
    bursts = train()
    seen = Sensor(duty, phase * (1 - duty) * 0.1).sees(bursts, 20, idle, power, noise)
    found = sensor_duty(seen, bursts, 0.1, idle)
    assert found is not None
    assert abs(found - duty) <= 0.1
    assert found < 1.0


@settings(max_examples=100)
@given(lateness, idles, powers, st.floats(1.0, 1.4))
def test_the_a100s_quarter_is_found_on_a_busy_host_and_a_warm_device(
    lateness: list[float], idle: float, power: float, warmer: float
) -> None:
    bursts = train(lateness)
    # The idle power that is given was seen before the bursts; between them the device draws more.
    seen = Sensor(0.25).sees(bursts, 20, warmer * idle, power)
    assert sensor_duty(seen, bursts, 0.1, idle) == pytest.approx(0.25, abs=0.1)


@settings(max_examples=100)
@given(st.floats(0.01, 1.0), st.sampled_from([1.0, 0.25]), st.floats(0.1, 10))
def test_scale_of_time_and_power_makes_no_difference(period: float, duty: float, scale: float) -> None:
    bursts = train(seconds=0.3 * period, cycle=1.05 * period)
    seen = Sensor(duty, period=period).sees(bursts, 20, 80 * scale, 600 * scale)
    assert sensor_duty(seen, bursts, period, 80 * scale) == pytest.approx(duty, abs=0.05)


@settings(max_examples=200)
@given(st.sets(st.integers(0, 19), max_size=20 - FEWEST_TICKS), st.sampled_from([1.0, 0.25]))
def test_missing_ticks_do_not_mislead(missing: set[int], duty: float) -> None:
    bursts = train()
    seen = Sensor(duty).sees(bursts, 20, 80, 600)
    with_holes = [None if cell in missing else watts for cell, watts in enumerate(seen)]
    found = sensor_duty(with_holes, bursts, 0.1, 80)
    assert found == 1.0 if duty == 1 else found == pytest.approx(duty, abs=0.1)


@settings(max_examples=100)
@given(st.integers(0, 19), st.floats(0, 0.1), st.sampled_from([1.0, 0.5, 0.25]))
def test_a_host_that_was_held_up_once_does_not_mislead(held_up: int, seconds: float, duty: float) -> None:
    bursts = train()
    seen = Sensor(duty).sees(bursts, 20, 80, 600)
    start, end = bursts[held_up]
    bursts[held_up] = (max(start - seconds, bursts[held_up - 1][1] if held_up else 0.0), end)
    assert sensor_duty(seen, bursts, 0.1, 80) == pytest.approx(duty, abs=0.1)


def test_what_says_nothing_about_the_sensor_is_not_judged() -> None:
    bursts = train()
    seen = Sensor(1.0).sees(bursts, 20, 80, 600)
    assert sensor_duty(seen[: FEWEST_TICKS - 1], bursts, 0.1, 80) is None
    assert sensor_duty([80.0] * 20, bursts, 0.1, 80) is None, "the bursts did not show"
    unrelated = [80.0 if cell % 2 else 400.0 for cell in range(20)]
    assert sensor_duty(unrelated, bursts, 0.1, 80) is None, "the ticks follow something else"
    assert sensor_duty([], [], 0.1, 80) is None


# -- what is kept --


def profile(**changes: Any) -> SensorProfile:
    kept = SensorProfile(REAL.identity, REAL.driver, 0.1, 0.25, "2026-11-02T10:00:00+00:00")
    return replace(kept, **changes)


def test_a_profile_is_kept_and_found_again(tmp_path: Path) -> None:
    profiles = Profiles.at({"XDG_CACHE_HOME": str(tmp_path)})
    path = profiles.save(profile())
    assert path == tmp_path / "pytest-joules" / f"{REAL.identity}.json"
    assert [kept.name for kept in path.parent.iterdir()] == [path.name]
    assert profiles.load(REAL) == (profile(), "")
    profiles.save(profile(sensor_duty=None))
    assert profiles.load(REAL) == (profile(sensor_duty=None), "")
    assert profiles.load(replace(REAL, identity="0" * 12)) == (None, "")


def test_profiles_live_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for environment in ({}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}):
        assert Profiles.at(environment).save(profile()).is_relative_to(tmp_path / ".cache" / "pytest-joules")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    homeless = Profiles.at({})
    assert homeless.load(REAL) == (None, "")
    with pytest.raises(ProfileError, match="set XDG_CACHE_HOME"):
        homeless.save(profile())


def test_a_profile_of_another_driver_does_not_count(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path)
    profiles.save(profile(driver="550.54"))
    found, note = profiles.load(REAL)
    assert found is None
    assert "found with driver '550.54'; run pytest-joules doctor again" in note


SOUND = {
    "identity": REAL.identity,
    "driver": REAL.driver,
    "period_seconds": 0.1,
    "sensor_duty": 0.25,
    "checked": "2026-11-02T10:00:00+00:00",
}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "Expecting property name"),
        ("[]", "expected an object"),
        ("[" * 30000, ""),
        (" " * (LARGEST_FILE + 1), "too many for a profile"),
        (b'"\xff"', "codec can't decode"),
        (json.dumps({**SOUND, "identity": "f" * 12}), "belongs to another device"),
        (json.dumps({**SOUND, "sensor_duty": 0}), "a sensor_duty of 0 is not between"),
        (json.dumps({**SOUND, "sensor_duty": LEAST_DUTY / 2}), "is not between"),
        (json.dumps({**SOUND, "sensor_duty": 1.5}), "is not between"),
        (json.dumps({**SOUND, "sensor_duty": math.nan}), "the number NaN"),
        (json.dumps({**SOUND, "sensor_duty": 10**400}), ""),
        (json.dumps({**SOUND, "sensor_duty": True}), "SensorProfile.sensor_duty: expected float"),
        (json.dumps({**SOUND, "surprise": 1}), "no key 'surprise'"),
        (json.dumps({"identity": REAL.identity}), "SensorProfile"),
    ],
)
def test_a_profile_that_cannot_be_used_is_passed_over_with_a_warning(
    tmp_path: Path, content: str | bytes, complaint: str
) -> None:
    path = tmp_path / f"{REAL.identity}.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found, note = Profiles(tmp_path).load(REAL)
    assert found is None
    assert note.startswith(f"ignored {path}: ")
    assert complaint in note
    assert len(note.splitlines()) == 1


def test_links_and_directories_are_no_profiles(tmp_path: Path) -> None:
    path = tmp_path / f"{REAL.identity}.json"
    (tmp_path / "elsewhere").write_text(json.dumps(SOUND))
    path.symlink_to(tmp_path / "elsewhere")
    assert "not a regular file" in Profiles(tmp_path).load(REAL)[1]
    path.unlink()
    path.mkdir()
    assert "not a regular file" in Profiles(tmp_path).load(REAL)[1]
    with pytest.raises(ProfileError, match="cannot be kept"):
        Profiles(tmp_path).save(profile())


@pytest.mark.parametrize("identity", ["../../etc/passwd", "", "x", "soc-0"])
def test_an_identity_cannot_lead_out_of_the_directory(tmp_path: Path, identity: str) -> None:
    assert Profiles(tmp_path).load(replace(REAL, identity=identity)) == (None, "")
    with pytest.raises(ProfileError):
        Profiles(tmp_path).save(profile(identity=identity))


def test_runs_on_a_part_time_sensor_take_longer_blocks(suite: Suite, cache: Path) -> None:
    suite.write("""
    @pytest.mark.energy_budget(gate=False)
    def test_step(energy):
        energy.repeat(step, work=tokens, rounds=650, warmup=60)
    """)
    Profiles.at(os.environ).save(profile(driver="simulated"))
    ran, report = suite.report("--energy-update")
    ran.assert_outcomes(passed=1)
    measurement = report["results"][0]["measurement"]
    # Four times the usual five ticks; one that a busy host completes late is a tick longer.
    assert all(1.99 < block["seconds"] < 2.35 for block in measurement["blocks"]["call"])
    assert measurement["devices"][0]["sensor_duty"] == 0.25
    assert measurement["conditions"]["sensor_duty"] == 0.25
    stored = suite.store.load("simulated-nvidia-h100-80gb-hbm3")
    assert [s.conditions.sensor_duty for sessions in stored.entries.values() for s in sessions] == [0.25]


def test_a_bad_profile_is_named_in_the_header_and_spoils_nothing(suite: Suite, cache: Path) -> None:
    suite.write("""
    @pytest.mark.energy_budget(gate=False)
    def test_step(energy):
        energy.repeat(step, work=tokens, rounds=150, warmup=60)
    """)
    path = cache / "pytest-joules" / f"{DEVICE}.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    ran, report = suite.report()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines([f"energy: *ignored {path}: *run pytest-joules doctor to replace it*"])
    assert report["results"][0]["measurement"]["conditions"]["sensor_duty"] is None
