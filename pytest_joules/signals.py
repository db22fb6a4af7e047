"""What is known of a window beside its joules: of the devices, the host and the engine.

Each is optional.  A signal that is not there is unavailable, which is never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from pytest_joules.units import format_bytes, format_percent


class Kind(str, Enum):
    """How a signal's numbers are printed and compared."""

    SHARE = "share"
    RATE = "rate"
    LEVEL = "level"


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal that is kept with a measurement.

    Attributes:
        name: What it is stored under; the unit is at its end, but for shares.
        text: What it is, in words.
        kind: How it is printed and compared.
        enable: What makes it available where it is not.
    """

    name: str
    text: str
    kind: Kind
    enable: str


_COUNTERS = "NVML's slowdown counters (driver 535 or later)"
_GPM = "GPM: a Hopper or later GPU, not in MIG, and a driver that lets this user take samples"
_SERVER = "energy.server(url), or vLLM with disable_log_stats=False"

_NVML = "NVML's state of the device"

CONDITIONS = (
    Signal("temperature_celsius", "temperature", Kind.LEVEL, _NVML),
    Signal("sm_clock_mhz", "SM clock", Kind.LEVEL, _NVML),
    Signal("power_cap_share", "time under the power cap", Kind.SHARE, _NVML),
    Signal("idle_watts", "idle power", Kind.LEVEL, "a tick of idle time before the work"),
)
"""Those that are conditions of their own, by the names of :class:`pytest_joules.model.Conditions`."""

SIGNALS = (
    Signal("memory_clock_mhz", "memory clock", Kind.LEVEL, "NVML's clocks"),
    Signal("memory_used_bytes", "device memory in use, all devices", Kind.LEVEL, "NVML's memory info"),
    Signal("loaded_idle_watts", "idle power with the model loaded, all devices", Kind.LEVEL,
           "GPM, and half a second of rest between loading the model and measuring"),
    Signal("sync_boost_share", "time slowed down to keep GPUs in step", Kind.SHARE, _COUNTERS),
    Signal("software_thermal_share", "time slowed down by the driver for heat", Kind.SHARE, _COUNTERS),
    Signal("hardware_thermal_share", "time slowed down by the hardware for heat", Kind.SHARE, _COUNTERS),
    Signal("power_brake_share", "time under the external power brake", Kind.SHARE, _COUNTERS),
    Signal("sm_active", "SM active", Kind.SHARE, _GPM),
    Signal("sm_occupancy", "SM occupancy", Kind.SHARE, _GPM),
    Signal("tensor_active", "tensor cores active", Kind.SHARE, _GPM),
    Signal("fp64_active", "FP64 pipe active", Kind.SHARE, _GPM),
    Signal("fp32_active", "FP32 pipe active", Kind.SHARE, _GPM),
    Signal("fp16_active", "FP16 pipe active", Kind.SHARE, _GPM),
    Signal("integer_active", "integer pipe active", Kind.SHARE, _GPM),
    Signal("dram_active", "memory bandwidth in use", Kind.SHARE, _GPM),
    Signal("dram_bytes_per_second", "device memory traffic, all devices", Kind.RATE, _GPM),
    Signal("pcie_bytes_per_second", "PCIe traffic both ways, all devices", Kind.RATE, _GPM),
    Signal("nvlink_bytes_per_second", "NVLink traffic both ways, all devices", Kind.RATE, _GPM),
    Signal("host_cores", "processor time of the process tree per second", Kind.LEVEL, "a host that has /proc"),
    Signal("running_requests", "requests that ran at once", Kind.LEVEL, _SERVER),
    Signal("waiting_requests", "requests that waited", Kind.LEVEL, _SERVER),
    Signal("kv_cache_usage", "KV cache in use", Kind.SHARE, "energy.server(url)"),
)  # fmt: skip
"""Shares are of one: of the window's time, or of a pipe's or a memory's peak, as a mean over the devices."""

SHARES = tuple(signal.name for signal in (*CONDITIONS, *SIGNALS) if signal.kind is Kind.SHARE)

SHARE_SLACK = 0.05
"""How far a share may lie outside of 0 to 1 and still be a measured one: two clocks are behind it."""

_REQUEST_SECONDS = {"running_requests": "running_second", "waiting_requests": "waiting_second"}


def of_requests(amounts: Mapping[str, float], seconds: float) -> dict[str, float]:
    """How many requests ran and waited at once, as a mean over ``seconds``: by Little's law, their own seconds over it.

    Args:
        amounts: What an engine's counters rose by, with the seconds that all requests together ran and waited.
        seconds: How long the calls took.
    """
    known = {name: amounts[amount] for name, amount in _REQUEST_SECONDS.items() if amount in amounts}
    return {name: total / seconds for name, total in known.items()} if seconds > 0 else {}


def shown(signal: Signal, value: float) -> str:
    """The number as a reader wants it, with the unit that the signal's name ends with."""
    if signal.kind is Kind.SHARE:
        return format_percent(value, digits=0 if value >= 0.1 else 1)
    if signal.name.endswith("_bytes"):
        return format_bytes(value)
    if signal.name.endswith("_bytes_per_second"):
        return f"{format_bytes(value)}/s"
    unit = next((unit for end, unit in _UNITS.items() if signal.name.endswith(end)), "")
    return f"{value:.0f} {unit}" if unit else f"{float(f'{value:.3g}') if abs(value) >= 5e-4 else 0:g}"


_UNITS = {"_mhz": "MHz", "_watts": "W", "_celsius": "°C"}
