"""diffusers: images, videos and frames from pipelines' outputs; steps and denoiser forwards as they run."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MethodType
from typing import Any

from pytest_joules.facts import WEIGHTS
from pytest_joules.latency import Timings
from pytest_joules.workloads.settings import joined, kept, text_of
from pytest_joules.workloads.torch import is_compiled, weights
from pytest_joules.workloads.work import Call, Override, Split, Work, distinct, is_a

_DENOISERS = (
    "unet", "transformer", "transformer_2", "unconditional_transformer", "prior", "prior_prior", "decoder",
    "super_res_first", "super_res_last",
)  # fmt: skip
"""What pipelines call the networks of their denoising loops; ``decoder`` is one in Wuerstchen and unCLIP."""

_VIDEO_PARAMETERS = {"num_frames", "video_length", "frames", "video", "num_videos_per_prompt"}
"""A pipeline that takes one of these makes videos."""

PACKED = 2
"""Rows and columns of latent pixels in one token of packed latents (Flux, Qwen-Image, Chroma...)."""


class DiffusersAdapter:
    """``diffusers.DiffusionPipeline`` and what pipelines return."""

    def count(self, result: object, call: Call | None) -> Work | None:
        """Images, or videos and frames, and their megapixels."""
        results = result if isinstance(result, list) else [result]
        outputs = bool(results) and all(is_a(item, "diffusers", "BaseOutput") for item in results)
        # Looking for pipelines takes longer than a short call that has nothing to do with any.
        if not (outputs or isinstance(result, tuple) or _holds_pictures(result)):
            return None
        direct = call is not None and is_a(_called(call), "diffusers", "DiffusionPipeline")
        if isinstance(result, tuple) and not direct:
            return None
        pipeline = next(iter(_pipelines(call)), None) if call is not None else None
        pictures = _Pictures(pipeline, call if direct else None)
        if outputs:
            return functools.reduce(Work.plus, (_output_work(item, pictures) for item in results))
        if pipeline is None:
            return None
        # Of a tuple, which return_dict=False gives, the first; or all, as of lambda: pipe(...).images.
        return pictures.work(result[0] if isinstance(result, tuple) else result, _makes_videos(pipeline))

    def watch(self, call: Call) -> PipelineWatch | None:
        """Watch the pipelines that ``call`` uses."""
        pipelines = _pipelines(call)
        return PipelineWatch(pipelines) if pipelines else None

    def stream(self, item: object) -> None:
        """Pipelines do not stream."""
        del item

    def split(self, call: Call) -> Split | None:
        """Denoising, with what comes before it, is what the same call costs that leaves its latents undecoded."""
        pipeline = _called(call)
        if not is_a(pipeline, "diffusers", "DiffusionPipeline"):
            return None
        if _arguments(pipeline, call).get("output_type", "latent") == "latent":
            return None
        given = _bound(pipeline, call)
        given.arguments["output_type"] = "latent"
        unit = "video" if _makes_videos(pipeline) else "image"
        return Split("denoise", unit, "vae_decode", unit, Call(call.called, given.args, given.kwargs))


def _pipelines(call: Call) -> list[Any]:
    return distinct(value for value in call.objects() if is_a(value, "diffusers", "DiffusionPipeline"))


def _called(call: Call) -> Any:
    """The object that is called itself, or by its ``__call__``."""
    owner, name = call.method
    return owner if name == "__call__" else call.called


def _makes_videos(pipeline: Any) -> bool:
    return not _VIDEO_PARAMETERS.isdisjoint(inspect.signature(type(pipeline).__call__).parameters)


def _bound(pipeline: Any, call: Call) -> inspect.BoundArguments:
    args, kwargs = call.bound()
    return inspect.signature(pipeline.__call__).bind(*args, **kwargs)


def _arguments(pipeline: Any, call: Call) -> Mapping[str, Any]:
    """What ``call`` gives the pipeline, with its defaults; nothing if it does not fit."""
    try:
        bound = _bound(pipeline, call)
    except TypeError:
        return {}
    bound.apply_defaults()
    return bound.arguments


def _output_work(output: Any, pictures: _Pictures) -> Work:
    for field, videos in (("images", False), ("frames", True)):
        if getattr(output, field, None) is not None:
            return pictures.work(getattr(output, field), videos)
    return Work()


def _holds_pictures(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_holds_pictures, value))
    return is_a(value, "PIL", "Image")


class _Pictures:
    """Counts pictures in every form that pipelines give them."""

    def __init__(self, pipeline: Any, call: Call | None) -> None:
        """``pipeline`` gives the latents' scale; ``call`` tells whether it returns latents, if it is a call of it."""
        self._arguments = _arguments(pipeline, call) if call is not None else {}
        self._scale = next(
            (
                getattr(pipeline, name)
                for name in ("vae_scale_factor_spatial", "vae_scale_factor", "vae_spatial_compression_ratio")
                if getattr(pipeline, name, None)
            ),
            None,
        )

    def work(self, value: Any, videos: bool) -> Work:
        """The work in pictures, or in videos."""
        if self._latent(value):
            counts, pixels = self._latents(value, videos)
        else:
            number, pixels = _shown(value)
            counts = {"video": _videos(value), "frame": number} if videos else {"image": number}
        if pixels:
            counts["megapixel"] = pixels / 1e6
        return Work({unit: float(count) for unit, count in counts.items()})

    def _latent(self, value: Any) -> bool:
        if not is_a(value, "torch", "Tensor"):
            return False
        if "output_type" in self._arguments:
            return bool(self._arguments["output_type"] == "latent")
        # Pictures have one channel or three; packed latents are (batch, tokens, channels).
        return value.ndim == 3 or value.shape[-3] not in (1, 3)

    def _latents(self, value: Any, videos: bool) -> tuple[dict[str, float], float]:
        """Latents are (batch, channels, [frames,] height, width), or packed."""
        number = value.shape[0]
        each = value.shape[1] * PACKED**2 if value.ndim == 3 else value.shape[-2] * value.shape[-1]
        area = each * self._scale**2 if self._scale else 0.0
        if not videos:
            return {"image": number}, number * area
        # How many frames a latent one becomes is the autoencoder's: the call tells how many come out.
        frames = self._arguments.get("num_frames")
        if not isinstance(frames, int):
            return {"video": number}, 0.0
        return {"video": number, "frame": number * frames}, number * frames * area if value.ndim == 5 else 0.0


def _shown(value: Any) -> tuple[float, float]:
    """How many pictures ``value`` holds, and their pixels: arrays have their channels last, tensors first."""
    if isinstance(value, (list, tuple)):
        each = [_shown(item) for item in value]
        return sum(number for number, _ in each), sum(pixels for _, pixels in each)
    if is_a(value, "PIL", "Image"):
        return 1, math.prod(value.size)
    *leading, height, width = value.shape[:-1] if is_a(value, "numpy", "ndarray") else value.shape
    number = math.prod(leading if is_a(value, "numpy", "ndarray") else leading[:-1])
    return number, number * height * width


def _videos(value: Any) -> int:
    """How many videos pictures are: a flat list of them is one."""
    if isinstance(value, (list, tuple)):
        return 1 if all(is_a(item, "PIL", "Image") for item in value) else sum(map(_videos, value))
    return value.shape[0] if len(value.shape) == 5 else 1


class PipelineWatch:
    """Counts the steps and the denoisers' forwards of pipelines."""

    def __init__(self, pipelines: Sequence[Any]) -> None:
        """Counting begins now; :meth:`close` leaves everything as it was."""
        parts = [(name, part) for pipeline in pipelines for name, part in pipeline.components.items()]
        denoisers = distinct(p for name, p in parts if name in _DENOISERS and hasattr(p, "register_forward_hook"))
        schedulers = distinct(p for name, p in parts if name.endswith("scheduler") and hasattr(p, "step"))
        self.notes: tuple[str, ...] = ()
        self.timings = Timings()
        self.configuration = _settings(pipelines, denoisers, schedulers)
        self._forwards: list[_Counter] = [_Forwards(denoiser) for denoiser in denoisers]
        self._steps: list[_Counter] = [_Steps(scheduler) for scheduler in schedulers]

    def work(self) -> Work:
        """Steps times images, and forwards times their batch, since the last time.

        Guidance doubles the forwards: as a batch twice as large in one forward (SDXL), or as a second one (Flux
        with a negative prompt, Wan).
        """
        steps, forwards = (sum(counter.take() for counter in counters) for counters in (self._steps, self._forwards))
        return Work({"step": float(steps)} if steps else {}, {"forward": float(forwards)} if forwards else {})

    def close(self) -> None:
        """Count no more."""
        for counter in (*self._steps, *self._forwards):
            counter.remove()


def _settings(pipelines: Sequence[Any], denoisers: list[Any], schedulers: list[Any]) -> Mapping[str, str]:
    autoencoders = distinct(vae for pipeline in pipelines if (vae := pipeline.components.get("vae")) is not None)
    found: dict[str, object] = {
        "pipeline": joined(type(pipeline).__name__ for pipeline in pipelines),
        "scheduler": joined(type(scheduler).__name__ for scheduler in schedulers),
        "offload": joined(type(hook).__name__ for hook in _placing(pipelines)) or "none",
        "vae_tiling": joined(getattr(vae, "use_tiling", None) for vae in autoencoders),
        "vae_slicing": joined(getattr(vae, "use_slicing", None) for vae in autoencoders),
    }
    if denoisers:
        processors = [p for d in denoisers for part in d.modules() if (p := getattr(part, "processor", None))]
        found |= {
            "dtype": getattr(denoisers[0], "dtype", None),
            "parameters": sum(p.numel() for denoiser in denoisers for p in denoiser.parameters()),
            "attention": joined(_attention(processor) for processor in processors),
            "torch_compile": any(map(is_compiled, denoisers)),
            WEIGHTS: weights(denoisers[0]) or None,
        }
    return kept(found)


def _placing(pipelines: Sequence[Any]) -> Iterator[Any]:
    """What accelerate has attached to move weights to the device as they are needed, whichever way."""
    components = [part for pipeline in pipelines for part in pipeline.components.values() if hasattr(part, "modules")]
    for module in (module for component in components for module in component.modules()):
        if (hook := vars(module).get("_hf_hook")) is not None:
            yield hook


def _attention(processor: Any) -> str:
    """The class that computes attention and, where it was chosen, its backend."""
    backend = getattr(processor, "_attention_backend", None)
    return type(processor).__name__ if backend is None else f"{type(processor).__name__}+{text_of(backend)}"


class _Counter:
    """Counts until it is removed."""

    remove: Callable[[], None]

    def __init__(self) -> None:
        self._count = 0

    def take(self) -> int:
        """The count since the last time."""
        count, self._count = self._count, 0
        return count


class _Forwards(_Counter):
    """Counts the forwards of a module, times their batch.

    A hook sees them, also under ``torch.compile(module)``, offloading, and
    compiled parts.  Only ``module.compile()`` would have the hook compiled in
    or passed over, so that there what it calls is wrapped instead.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        compiled = vars(module).get("_compiled_call_impl")
        if compiled is None:
            self.remove = module.register_forward_hook(self._seen).remove
            return

        def call(*args: Any, **kwargs: Any) -> Any:
            output = compiled(*args, **kwargs)
            self._count += _rows(output)
            return output

        self.remove = Override(module, "_compiled_call_impl", call).restore

    def _seen(self, module: Any, args: Any, output: Any) -> None:
        del module, args
        self._count += _rows(output)


class _Steps(_Counter):
    """Counts the steps of a scheduler, times the batch; stands in for its ``step``."""

    def __init__(self, scheduler: Any) -> None:
        super().__init__()
        self._scheduler = scheduler
        # Pipelines look up in the signature what a scheduler's step takes.
        self.__wrapped__ = scheduler.step
        self.remove = Override(scheduler, "step", self).restore

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._count += _rows(args[0] if args else next(iter(kwargs.values())))
        return self.__wrapped__(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy of the scheduler (LTX-2 makes one for sound) has its own step, which is not counted."""
        return MethodType(type(self._scheduler).step, copy.deepcopy(self._scheduler, memo))


def _rows(output: Any) -> int:
    """The batch of what a network gave: a tensor, a list of one per image, or either as first of a tuple or mapping."""
    if isinstance(output, Mapping):
        output = next(iter(output.values()))
    elif isinstance(output, tuple):
        output = output[0]
    if isinstance(output, list):
        return len(output)
    shape: Sequence[int] = getattr(output, "shape", ())
    return int(shape[0]) if len(shape) else 1
