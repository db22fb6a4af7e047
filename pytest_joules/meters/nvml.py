"""One NVIDIA GPU through Zeus' device layer, with NVML's refusals in plain words.

Zeus' ``NVIDIAGPU`` is used for each GPU by its NVML index.  Zeus' collection
``get_gpus()`` is not: it fails on UUIDs in ``CUDA_VISIBLE_DEVICES``, ignores
``CUDA_DEVICE_ORDER``, caches itself for the life of the process, and under a
restricted zeusd asks for rights that reading does not need.  The few things
that Zeus does not wrap (UUID, processes, MIG, clocks) go to NVML on the handle
that Zeus holds.  Nothing here touches CUDA.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pynvml
from zeus.device.exception import ZeusBaseGPUError
from zeus.device.gpu import common as zeus_gpu
from zeus.device.gpu.nvidia import NVIDIAGPU

from pytest_joules.meters.base import DeviceLost, MeterError, NoDevice, PermissionDenied

TRY_SIMULATED = "to try pytest-joules without a GPU: pytest --energy --energy-meter simulated"

THERMAL_OR_BRAKE = (
    pynvml.nvmlClocksThrottleReasonHwSlowdown
    | pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
    | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
    | pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
)
"""Clock event reasons that spoil a measurement; power capping is not among them."""

POWER_CAP = pynvml.nvmlClocksThrottleReasonSwPowerCap

SLOWDOWN_COUNTERS = {
    "power_cap_share": pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP,
    "sync_boost_share": pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST,
    "software_thermal_share": pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN,
    "hardware_thermal_share": pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN,
    "power_brake_share": pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN,
}
"""Fields that count nanoseconds, by the names of :data:`pytest_joules.samples.SAMPLED`."""

GPM_SHARES = {
    "sm_active": pynvml.NVML_GPM_METRIC_SM_UTIL,
    "sm_occupancy": pynvml.NVML_GPM_METRIC_SM_OCCUPANCY,
    "tensor_active": pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
    "fp64_active": pynvml.NVML_GPM_METRIC_FP64_UTIL,
    "fp32_active": pynvml.NVML_GPM_METRIC_FP32_UTIL,
    "fp16_active": pynvml.NVML_GPM_METRIC_FP16_UTIL,
    "integer_active": pynvml.NVML_GPM_METRIC_INTEGER_UTIL,
    "dram_active": pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
}
"""Metrics in percent (nvml.h), by the names of :data:`pytest_joules.samples.SAMPLED`."""

GPM_RATES = {
    "pcie_bytes_per_second": (pynvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC, pynvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC),
    "nvlink_bytes_per_second": (
        pynvml.NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC,
        pynvml.NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC,
    ),
}
"""Metrics in MiB/s (nvml.h), of which both directions are added, by the same names."""

MIB = 1024 * 1024

_PROFILE = "NVML_POWER_PROFILE_"


@contextlib.contextmanager
def plain_errors(label: str) -> Iterator[None]:
    """Say what NVML or Zeus refused as a :class:`MeterError` about ``label``."""
    try:
        yield
    except (zeus_gpu.ZeusGPULostError, zeus_gpu.ZeusGPUResetRequiredError) as error:
        raise DeviceLost(f"{label} is lost ({error}): see dmesg for an Xid error, then reset or drain it") from error
    except zeus_gpu.ZeusGPUNoPermissionError as error:
        raise PermissionDenied(
            f"NVML refuses to read {label} ({error}): run with access to the GPU's device files, "
            "or in a container pass the GPU with the 'utility' driver capability"
        ) from error
    except ZeusBaseGPUError as error:
        raise MeterError(f"NVML cannot read {label}: {error}") from error
    except pynvml.NVMLError as error:
        raise MeterError(f"NVML cannot read {label}: {error}") from error


def device_count() -> int:
    """How many GPUs NVML lists.

    Raises:
        NoDevice: if NVML is not there, or lists none.
        PermissionDenied: if NVML may not be used.
    """
    try:
        pynvml.nvmlInit()
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_NO_PERMISSION:
            raise PermissionDenied(f"NVML refuses this user ({error}): check the rights of /dev/nvidia*") from error
        raise NoDevice(f"no NVIDIA GPU: NVML says {error}; {TRY_SIMULATED}") from error
    if count == 0:
        raise NoDevice(f"no NVIDIA GPU: NVML lists none; {TRY_SIMULATED}")
    return count


def driver_version() -> str:
    return _text(pynvml.nvmlSystemGetDriverVersion())


class NvmlGpu:
    """One GPU by its NVML index; NVML is initialised by the first."""

    def __init__(self, index: int) -> None:
        self.label = f"GPU {index}"
        with plain_errors(self.label):
            pynvml.nvmlInit()
            self._gpu = NVIDIAGPU(index)
        self._handle = self._gpu.handle

    def joules(self) -> float:
        """The cumulative energy counter, J."""
        with plain_errors(self.label):
            return float(self._gpu.get_total_energy_consumption()) / 1000

    def has_counter(self) -> bool:
        """Whether the GPU has an energy counter (Volta and later)."""
        with plain_errors(self.label):
            return bool(self._gpu.supports_get_total_energy_consumption())

    def name(self) -> str:
        with plain_errors(self.label):
            return _text(self._gpu.get_name())

    def uuid(self) -> str:
        with plain_errors(self.label):
            return _text(pynvml.nvmlDeviceGetUUID(self._handle))

    def scope(self) -> str:
        """``"module"`` where the driver counts a whole superchip (Zeus reads Grace Hopper so)."""
        return "module" if self._gpu._is_grace_hopper else "gpu"

    def power_limits(self) -> tuple[float | None, float | None]:
        """The enforced and the default power limit, W; ``None`` where NVML does not tell."""
        enforced = self._optional(self._gpu.get_power_management_limit)
        default = self._optional(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, self._handle)
        return (
            enforced / 1000 if enforced is not None else None,
            default / 1000 if default is not None else None,
        )

    def mig_enabled(self) -> bool:
        return self.mig_mode() is True

    def mig_mode(self) -> bool | None:
        """Whether MIG is on; ``None`` where NVML does not tell."""
        mode = self._optional(pynvml.nvmlDeviceGetMigMode, self._handle)
        return None if mode is None else bool(mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE)

    def average_watts(self) -> float | None:
        """Power averaged over about a second, W; ``None`` where NVML does not tell."""
        milliwatts = self._optional(self._gpu.get_average_power_usage)
        return None if milliwatts is None else milliwatts / 1000

    def persistence_mode(self) -> bool | None:
        """Whether the driver stays loaded without a client; ``None`` where NVML does not tell."""
        mode = self._optional(self._gpu.get_persistence_mode)
        return None if mode is None else bool(mode)

    def virtualization_mode(self) -> int | None:
        """One of ``NVML_GPU_VIRTUALIZATION_MODE_*``; ``None`` where NVML does not tell."""
        mode = self._optional(pynvml.nvmlDeviceGetVirtualizationMode, self._handle)
        return None if mode is None else int(mode)

    def shared_by_guests(self) -> bool:
        """Whether the board's joules are those of several guests."""
        own = (pynvml.NVML_GPU_VIRTUALIZATION_MODE_NONE, pynvml.NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH, None)
        return self.virtualization_mode() not in own

    def application_clocks(self) -> tuple[float | None, float | None, float | None]:
        """The application clock in force, the board's own, and the highest clock, MHz; ``None`` if not told."""
        kind = pynvml.NVML_CLOCK_GRAPHICS
        return (
            self._optional(pynvml.nvmlDeviceGetApplicationsClock, self._handle, kind),
            self._optional(pynvml.nvmlDeviceGetDefaultApplicationsClock, self._handle, kind),
            self._optional(pynvml.nvmlDeviceGetMaxClockInfo, self._handle, kind),
        )

    def event_reasons(self) -> int | None:
        """Clock event reasons now (bits); ``None`` where NVML does not tell."""
        reasons = self._optional(pynvml.nvmlDeviceGetCurrentClocksEventReasons, self._handle)
        return None if reasons is None else int(reasons)

    def gpm_supported(self) -> bool | None:
        """Whether the GPU has performance metrics (GPM); ``None`` where NVML does not tell."""
        support = self._optional(pynvml.nvmlGpmQueryDeviceSupport, self._handle)
        return None if support is None else bool(support.isSupportedDevice)

    def gpm_samples(self) -> bool | None:
        """Whether this user may take GPM samples: takes two; ``None`` if NVML refuses for another reason."""
        try:
            for _ in range(2):
                sample = pynvml.nvmlGpmSampleAlloc()
                try:
                    pynvml.nvmlGpmSampleGet(self._handle, sample)
                finally:
                    pynvml.nvmlGpmSampleFree(sample)
        except pynvml.NVMLError as error:
            return False if error.value == pynvml.NVML_ERROR_NO_PERMISSION else None
        return True

    def memory_clock(self) -> float | None:
        """The memory clock now, MHz; ``None`` where NVML does not tell."""
        clock = self._optional(pynvml.nvmlDeviceGetClockInfo, self._handle, pynvml.NVML_CLOCK_MEM)
        return None if clock is None else float(clock)

    def memory_used(self) -> float | None:
        """Bytes of device memory in use, the driver's own among them; ``None`` where NVML does not tell."""
        memory = self._optional(pynvml.nvmlDeviceGetMemoryInfo, self._handle)
        return None if memory is None else float(memory.used)

    def memory_bus_bytes(self) -> float | None:
        """Bytes that the memory bus moves in one transfer; ``None`` where NVML does not tell."""
        bits = self._optional(pynvml.nvmlDeviceGetMemoryBusWidth, self._handle)
        return None if bits is None else bits / 8

    def slowdown_seconds(self, names: Sequence[str]) -> dict[str, float]:
        """What those of :data:`SLOWDOWN_COUNTERS` count, s; those that NVML does not tell are left out."""
        fields = [SLOWDOWN_COUNTERS[name] for name in names]
        values = self._optional(pynvml.nvmlDeviceGetFieldValues, self._handle, fields) if fields else None
        return {
            name: value.value.ullVal / 1e9
            for name, value in zip(names, values or (), strict=False)
            if value.nvmlReturn == pynvml.NVML_SUCCESS
        }

    def gpm_sample(self, sample: Any) -> Any:
        """Take a GPM sample into ``sample``, which is allocated if it is ``None``.

        Returns:
            The sample; ``None`` if NVML refuses.
        """
        taken = self._optional(pynvml.nvmlGpmSampleAlloc) if sample is None else sample
        return None if taken is None else self._optional(pynvml.nvmlGpmSampleGet, self._handle, taken)

    def gpm_between(self, earlier: Any, later: Any, metrics: Sequence[int]) -> dict[int, float]:
        """What ``metrics`` came to between two samples; those that NVML does not tell are left out."""
        request = pynvml.c_nvmlGpmMetricsGet_t()
        request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = len(metrics)
        request.sample1, request.sample2 = earlier, later
        for place, metric in enumerate(metrics):
            request.metrics[place].metricId = metric
        if self._optional(pynvml.nvmlGpmMetricsGet, request) is None:
            return {}
        answers = itertools.islice(request.metrics, len(metrics))
        return {
            answer.metricId: answer.value
            for answer in answers
            if answer.nvmlReturn == pynvml.NVML_SUCCESS and math.isfinite(answer.value)
        }

    def settings(self) -> dict[str, str]:
        """Settings of the device that change what work costs; those that NVML does not tell are left out."""
        found = {}
        ecc = self._optional(pynvml.nvmlDeviceGetCurrentEccMode, self._handle)
        if ecc is not None:
            found["gpu_ecc"] = "on" if ecc == pynvml.NVML_FEATURE_ENABLED else "off"
        profiles = pynvml.c_nvmlWorkloadPowerProfileCurrentProfiles_v1_t()
        query = pynvml.nvmlDeviceWorkloadPowerProfileGetCurrentProfiles
        asked = self._optional(query, self._handle, ctypes.byref(profiles))
        if asked is not None:
            found["gpu_power_profile"] = _profile_names(profiles.enforcedProfilesMask.mask)
        return found

    def processes(self) -> Sequence[int] | None:
        """Process ids that hold a compute context here, or ``None`` if NVML hides them."""
        found = self._optional(pynvml.nvmlDeviceGetComputeRunningProcesses, self._handle)
        return None if found is None else tuple(process.pid for process in found)

    def signals(self) -> tuple[float, float, int]:
        """Temperature (°C), SM clock (MHz), clock event reasons (bits); -1 where unavailable."""
        temperature = self._optional(self._gpu.get_gpu_temperature)
        clock = self._optional(pynvml.nvmlDeviceGetClockInfo, self._handle, pynvml.NVML_CLOCK_SM)
        reasons = self._optional(pynvml.nvmlDeviceGetCurrentClocksEventReasons, self._handle)
        return (
            -1.0 if temperature is None else float(temperature),
            -1.0 if clock is None else float(clock),
            -1 if reasons is None else int(reasons) & 0x7FFFFFFF,
        )

    @staticmethod
    def _optional(query: Any, *args: Any) -> Any:
        try:
            return query(*args)
        except (pynvml.NVMLError, ZeusBaseGPUError):
            return None


def _profile_names(mask: Sequence[int]) -> str:
    """The workload power profiles (Blackwell and later) of a mask of 32-bit words."""
    names = {
        value: name.removeprefix(_PROFILE).lower().replace("_", "-")
        for name, value in vars(pynvml).items()
        if name.startswith(_PROFILE) and not name.startswith(f"{_PROFILE}OPERATION") and name != f"{_PROFILE}MAX"
    }
    held = [number for number in range(32 * len(mask)) if mask[number // 32] >> number % 32 & 1]
    return "+".join(names.get(number, str(number)) for number in held) or "none"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
