"""When the work of a call is done.

A call that returns has not always finished: torch and JAX only queue kernels.
Waiting is right where this process owns an initialised context, and only
there: making a context where there was none changes the machine (an idle H200
draws 80 W without one and 124 W with one).  Libraries are never imported from
here; if they are not loaded, they queued nothing.
"""

from __future__ import annotations

import sys

from pytest_joules.meters.base import Meter


class Completion:
    """Waits for the work queued so far and says when it was, or will be, complete."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def __call__(self, result: object = None) -> float:
        """Completion time of everything up to the call that gave ``result`` (s, on the meter's clock)."""
        _wait_for_torch()
        _wait_for_jax(result)
        queue_end = self._meter.barrier()
        now = self._meter.now()
        return now if queue_end is None else max(now, queue_end)


def _wait_for_torch() -> None:
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            # synchronize() makes a context on a device that has none.
            if torch._C._cuda_hasPrimaryContext(device):
                torch.cuda.synchronize(device)
    # Apple's GPU: memory in use tells that work was queued.  CPU work is done when it returns.
    if torch.backends.mps.is_available() and torch.mps.current_allocated_memory():
        torch.mps.synchronize()


def _wait_for_jax(result: object) -> None:
    jax = sys.modules.get("jax")
    if jax is not None and result is not None:
        # Ready are the arrays inside the result; anything else in it is passed over.
        jax.block_until_ready(result)
