"""A load of our own, for looking at a device's power sensor: steady work, and bursts of it."""

from __future__ import annotations

import importlib
import importlib.util
import math
import time
from collections import deque
from typing import Any, Protocol

from pytest_joules import testing
from pytest_joules.meters.simulated import SKUS
from pytest_joules.meters.zeus import ZeusMeter
from pytest_joules.model import Device

CHUNK_SECONDS = 0.02
"""Work that is queued at once while the device is kept busy: long against a launch, short against a tick."""

MATRIX_SIZE = 4096
"""Rows and columns; a product takes 0.2 ms on an H200, fine enough for bursts of 30 ms, and fills the GPU."""

CALIBRATION_SECONDS = 0.1


class NoLoad(Exception):
    """There is no load for this device; the message says what it needs."""


class Load(Protocol):
    """Work for one device.  Making one makes the device's context.

    Attributes:
        description: What it is.
    """

    @property
    def description(self) -> str: ...

    def launch(self, seconds: float) -> None:
        """Queue about so many seconds of work and return."""

    def pace(self) -> None:
        """Wait until no more than the last of what was queued remains."""

    def burst(self, seconds: float) -> tuple[float, float]:
        """Do about so many seconds of work on an idle device; returns when they began and ended (s, monotonic)."""

    def finish(self) -> None:
        """Wait until the device is idle."""


def load_for(meter: ZeusMeter, device: Device) -> Load:
    """The load that fits ``device``.

    Raises:
        NoLoad: if there is none.
    """
    return SimulatedLoad(meter, device) if meter.simulated else TorchLoad(meter.devices.index(device))


class SimulatedLoad:
    """A declared copy, which does not reach the power cap."""

    description = "a declared copy on the simulated GPU"

    def __init__(self, meter: ZeusMeter, device: Device) -> None:
        """The first piece of work makes the context."""
        self._meter = meter
        self._device = device.index
        self._bytes_per_second = next(sku.bytes_per_second for sku in SKUS.values() if sku.name == device.name)
        self.launch(CHUNK_SECONDS)

    def launch(self, seconds: float) -> None:
        testing.launch(bytes=seconds * self._bytes_per_second, device=self._device)

    def pace(self) -> None:
        testing.synchronize()

    def burst(self, seconds: float) -> tuple[float, float]:
        self.launch(seconds)
        end = self._wait()
        # The device's own queue knows; the host's clock may be late on a busy machine.
        return end - seconds, end

    def finish(self) -> None:
        self._wait()

    def _wait(self) -> float:
        end = self._meter.barrier()
        assert end is not None, "a simulated meter knows when its queue ends"
        time.sleep(max(0.0, end - time.monotonic()))
        return end


class TorchLoad:
    """Large bf16 matrix products in this process, on random data: zeros would draw less power."""

    def __init__(self, position: int) -> None:
        """Make a context on the device at ``position`` among the visible ones.

        Raises:
            NoLoad: if torch is missing or cannot work on that device.
        """
        if importlib.util.find_spec("torch") is None:
            raise NoLoad("needs torch (pip install 'pytest-joules[torch]')")
        try:
            self._torch: Any = importlib.import_module("torch")
            if not self._torch.cuda.is_available():
                raise NoLoad("needs a torch with CUDA; the installed one finds no GPU")
            self._device = self._torch.device("cuda", position)
            self._a, self._b, self._product = (
                self._torch.randn(MATRIX_SIZE, MATRIX_SIZE, device=self._device, dtype=self._torch.bfloat16)
                for _ in range(3)
            )
            self._stream = self._torch.cuda.current_stream(self._device)
            self._queued: deque[Any] = deque()
            self._seconds_each = self._calibrate()
        except (ImportError, OSError, RuntimeError) as error:
            because = str(error).strip().partition("\n")[0][:200]
            raise NoLoad(f"needs a torch that works here; the installed one says: {because}") from error

    @property
    def description(self) -> str:
        return f"bf16 matrix products of {MATRIX_SIZE} in torch {self._torch.__version__}"

    def launch(self, seconds: float) -> None:
        self._multiply(max(1, round(seconds / self._seconds_each)))
        done = self._torch.cuda.Event()
        done.record(self._stream)
        self._queued.append(done)

    def pace(self) -> None:
        while len(self._queued) > 1:
            self._queued.popleft().synchronize()

    def burst(self, seconds: float) -> tuple[float, float]:
        start = time.monotonic()
        self.launch(seconds)
        self.finish()
        return start, time.monotonic()

    def finish(self) -> None:
        self._queued.clear()
        self._torch.cuda.synchronize(self._device)

    def _multiply(self, times: int) -> None:
        for _ in range(times):
            self._torch.mm(self._a, self._b, out=self._product)

    def _calibrate(self) -> float:
        """Seconds of one product.  The first ones load libraries and raise the clock."""
        times = 3
        while True:
            self._torch.cuda.synchronize(self._device)
            start = time.monotonic()
            self._multiply(times)
            self._torch.cuda.synchronize(self._device)
            spent = time.monotonic() - start
            if spent >= CALIBRATION_SECONDS:
                return spent / times
            times = math.ceil(times * min(10.0, max(2.0, 1.2 * CALIBRATION_SECONDS / max(spent, 1e-6))))
