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


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
