"""Work for the simulated GPU, for examples and for tests of one's own tests.

On a real GPU, and without ``--energy``, these functions do nothing: a suite
that declares its work runs anywhere.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from pytest_joules.meters.simulated import SimulatedHost

STATE_VARIABLE = "PYTEST_JOULES_SIMULATED_STATE"
"""Environment variable that names the simulated machine's shared state to child processes."""

Pipe = Literal["tensor", "fp32", "fp16", "integer"]
"""What does the operations of simulated work."""


def launch(
    *,
    flops: float = 0.0,
    bytes: float = 0.0,
    link_bytes: float = 0.0,
    pipe: Pipe = "tensor",
    memory: float | None = None,
    device: int = 0,
) -> None:
    """Queue work on a simulated GPU and return at once, like a kernel launch.

    Args:
        flops: Operations of the work.
        bytes: Bytes that it moves through device memory.
        link_bytes: Bytes that it sends and receives over NVLink.
        pipe: What does the operations: tensor cores, or one of the slower pipes.
        memory: Bytes of device memory that are in use from now on; ``None`` for as many as before.
        device: Index of the simulated GPU.

    Raises:
        ValueError: for negative amounts, no work at all, an unknown pipe, or a device that does not exist.
    """
    amounts = (flops, bytes, link_bytes)
    if min(*amounts, memory or 0.0) < 0 or not sum(amounts):
        raise ValueError(
            f"launch(flops={flops!r}, bytes={bytes!r}, link_bytes={link_bytes!r}, memory={memory!r}): "
            "declare some work, above zero"
        )
    if pipe not in (pipes := get_args(Pipe)):
        raise ValueError(f"launch(pipe={pipe!r}): use one of {', '.join(pipes)}")
    if (host := _host()) is not None:
        from pytest_joules.meters.simulated import Work
        from pytest_joules.units import plural

        if not 0 <= device < len(host.gpus):
            raise ValueError(f"launch(device={device!r}): the simulated machine has {plural(len(host.gpus), 'GPU')}")
        host.gpus[device].launch(Work(flops, bytes, link_bytes, pipe))
        if memory is not None:
            host.gpus[device].hold(memory)


def synchronize() -> None:
    """Wait for the simulated GPUs, up to a fixed lead that the host may keep (250 ms)."""
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
