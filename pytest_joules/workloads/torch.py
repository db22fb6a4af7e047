"""torch: what was compiled while calls were measured; and what can be seen of any of its modules."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pytest_joules.workloads.work import Call, Work


class TorchAdapter:
    """``torch.compile``, in whatever a call uses."""

    def count(self, result: object, call: Call | None) -> None:
        """A module's forward is a call; there is nothing else to count in a tensor."""
        del result, call

    def watch(self, call: Call) -> CompilationWatch:
        """Watch the compiler of this process, even if nothing was compiled yet."""
        del call
        return CompilationWatch()

    def stream(self, item: object) -> None:
        """A stream of tensors tells of no work."""
        del item

    def split(self, call: Call) -> None:
        """A forward has no phases."""
        del call


class CompilationWatch:
    """Counts the graphs that ``torch.compile`` makes."""

    notes: tuple[str, ...] = ()
    configuration: Mapping[str, str] = {}

    def __init__(self) -> None:
        """Counting begins now."""
        self._before = _graphs()

    def work(self) -> Work:
        """The graphs that were compiled since the last time."""
        before, self._before = self._before, _graphs()
        # torch._dynamo.reset() starts its counters anew.
        compiled = self._before - min(before, self._before)
        return Work(facts={"compilation": float(compiled)} if compiled else {})

    def close(self) -> None:
        """Nothing was attached to anything."""


def _graphs() -> int:
    """Graphs compiled in this process so far; its counter is at the same place in torch 2.1 to 2.13."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["stats"]["unique_graphs"]) if dynamo is not None else 0


def is_compiled(module: Any) -> bool:
    """Whether a module, or a part of it, runs compiled."""
    return any(
        vars(part).get("_compiled_call_impl") is not None
        or hasattr(vars(part).get("forward"), "_torchdynamo_orig_callable")
        for part in module.modules()
    )


def weights(module: Any) -> str:
    """``"random"`` or ``"real"``; empty if nothing tells.

    The scales of normalisations all start at one value, and no training leaves
    them there: that tells whether weights were ever loaded, whichever way.
    """
    for part in module.modules():
        scale = getattr(part, "weight", None) if "Norm" in type(part).__name__ else None
        if scale is not None and scale.numel() > 1 and not scale.is_meta:
            return "random" if bool((scale == scale.flatten()[0]).all()) else "real"
    return ""
