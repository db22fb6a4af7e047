"""torch: what was compiled while calls were measured; the process' own knobs; what can be seen of any module."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_joules.latency import Timings
from pytest_joules.workloads.settings import joined, kept
from pytest_joules.workloads.vllm import is_engine
from pytest_joules.workloads.work import Call, Work, distinct, is_a


class TorchAdapter:
    """``torch.compile``, in whatever a call uses."""

    def count(self, result: object, call: Call | None) -> None:
        """A module's forward is a call; there is nothing else to count in a tensor."""
        del result, call

    def watch(self, call: Call) -> CompilationWatch:
        """Watch the compiler of this process, even if nothing was compiled yet."""
        return CompilationWatch(call)

    def stream(self, item: object) -> None:
        """A stream of tensors tells of no work."""
        del item

    def split(self, call: Call) -> None:
        """A forward has no phases."""
        del call


class CompilationWatch:
    """Counts the graphs that ``torch.compile`` makes."""

    notes: tuple[str, ...] = ()

    def __init__(self, call: Call) -> None:
        """Counting begins now, and settings are those of now: what ``call`` switches inside itself is not seen."""
        modules = distinct(module for value in call.objects() if (module := _module(value)) is not None)
        elsewhere = any(is_engine(value) for value in call.objects())
        self.configuration: Mapping[str, str] = {**({} if elsewhere else knobs()), **module_settings(modules)}
        self.timings = Timings()
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


_ATTENTION = ("flash", "mem_efficient", "cudnn", "math")
"""Kernels that ``scaled_dot_product_attention`` chooses from."""


def knobs() -> dict[str, str]:
    """The settings of this process that decide which kernels run; empty without torch.

    All of them are flags on the host: reading one makes no context on a device.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "backends"):  # or while it is being imported
        return {}
    backends = torch.backends
    attention = {
        name: getattr(backends.cuda, f"{name}_sdp_enabled", None)
        for name in ("flash", "mem_efficient", "cudnn", "math")
    }
    return kept(
        {
            "float32_matmul": _float32(backends.cuda.matmul),
            "float32_conv": _float32(getattr(backends.cudnn, "conv", backends.cudnn)),
            "sdpa_backends": joined(name for name, enabled in attention.items() if enabled is not None and enabled()),
            "cudnn_benchmark": backends.cudnn.benchmark,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "autocast": _autocast(torch),
            "grad": torch.is_grad_enabled(),
        }
    )


def _float32(backend: Any) -> str:
    """How products of float32 are computed: ``"ieee"``, or in fewer bits as ``"tf32"``.

    torch 2.9 names it so, and refuses to tell the older flag where both were set.
    """
    precision = getattr(backend, "fp32_precision", None)
    if precision is None:
        precision = "tf32" if backend.allow_tf32 else "ieee"
    return "ieee" if precision == "none" else str(precision)


def _autocast(torch: Any) -> object:
    """The dtype that autocast computes in on a GPU; ``"off"`` without."""
    try:
        return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else "off"
    except (AttributeError, TypeError):  # torch before 2.4
        return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else "off"


def _module(value: Any) -> Any:
    """The module that ``value`` is, also inside ``torch.compile``; ``None`` if it is none."""
    if is_a(value, "torch", "OptimizedModule"):
        value = value._orig_mod
    return value if is_a(value, "torch", "Module") else None


def module_settings(modules: Sequence[Any]) -> dict[str, str]:
    """What can be seen of modules that do the work together: their classes, size, precision and attention."""
    if not modules:
        return {}
    parameters = distinct(parameter for module in modules for parameter in module.parameters())
    configs = [config for module in modules if (config := getattr(module, "config", None)) is not None]
    attention = (getattr(config, "_attn_implementation", None) for config in configs)
    return kept(
        {
            "model": joined(type(module).__name__ for module in modules),
            "parameters": sum(parameter.numel() for parameter in parameters),
            "dtype": joined(parameter.dtype for parameter in parameters),
            "num_hidden_layers": joined(getattr(config, "num_hidden_layers", None) for config in configs),
            "attention": joined(attention),
            "torch_compile": any(map(is_compiled, modules)),
        }
    )


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
