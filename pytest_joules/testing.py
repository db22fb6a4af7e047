"""Work for the simulated GPU, for examples and for tests of one's own tests.

On a real GPU, and without ``--energy``, these functions do nothing: a suite
that declares its work runs anywhere.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_joules.meters.simulated import SimulatedHost

STATE_VARIABLE = "PYTEST_JOULES_SIMULATED_STATE"
"""Environment variable that names the simulated machine's shared state to child processes."""


def launch(*, flops: float = 0.0, bytes: float = 0.0, device: int = 0) -> None:
    """Queue work on a simulated GPU and return at once, like a kernel launch.

    Args:
        flops: Floating-point operations of the work.
        bytes: Bytes that it moves through device memory.
        device: Index of the simulated GPU.

    Raises:
        ValueError: for negative amounts, no work at all, or a device that does not exist.
    """
    if flops < 0 or bytes < 0 or flops + bytes == 0:
        raise ValueError(f"launch(flops={flops!r}, bytes={bytes!r}): declare some work, above zero")
    if (host := _host()) is not None:
        if not 0 <= device < len(host.gpus):
            raise ValueError(f"launch(device={device!r}): the simulated machine has {len(host.gpus)} GPU(s)")
        host.gpus[device].launch(flops, bytes)


def synchronize() -> None:
    """Wait for the simulated GPUs, up to a fixed lead that the host may keep (100 ms)."""
    if (host := _host()) is not None:
        for gpu in host.gpus:
            gpu.barrier()


def inject(fault: str, device: int = 0) -> None:
    """Make a simulated GPU fail from now on, to see what a suite makes of it.

    Args:
        fault: One of :data:`pytest_joules.options.SIMULATED_FAULTS`.
        device: Index of the simulated GPU.

    Raises:
        ValueError: for an unknown fault.
    """
    if (host := _host()) is not None:
        host.gpus[device].inject(fault)


def _host() -> SimulatedHost | None:
    path = os.environ.get(STATE_VARIABLE)
    return _attach(path) if path else None


@lru_cache(maxsize=1)
def _attach(path: str) -> SimulatedHost:
    from pytest_joules.meters.simulated import SimulatedHost

    return SimulatedHost.attach(Path(path))
