"""The diffusers adapter, on tiny pipelines of the real library; their suites run on the simulated GPU."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import DEVICE, PRODUCT, SKU, Suite

from pytest_joules.baselines.store import Addition
from pytest_joules.model import BaselineKey, Block, Conditions, Session
from pytest_joules.workloads.adapters import ADAPTERS
from pytest_joules.workloads.diffusers import DiffusersAdapter
from pytest_joules.workloads.observer import Observer
from pytest_joules.workloads.torch import knobs
from pytest_joules.workloads.work import Call, Work

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import tiny  # noqa: E402

STEPS = 3
PIPELINES = {"sdxl": tiny.sdxl, "flux": tiny.flux, "wan": tiny.wan}
PIXELS = {"sdxl": 64 * 64, "flux": 8 * 8, "wan": 16 * 16}

Made = tuple[Any, dict[str, Any]]


@pytest.fixture(scope="module")
def made() -> Callable[[str], Made]:
    return functools.cache(lambda name: PIPELINES[name]())


@pytest.fixture
def sdxl(made: Callable[[str], Made]) -> Made:
    return made("sdxl")


def observed(call: Call) -> Work:
    """What the adapters count of one call."""
    observer = Observer(ADAPTERS, lambda result, call: None, call)
    try:
        work = observer.work(call.fn(*call.args, **call.kwargs), call)
        assert not observer.notes
        return work
    finally:
        observer.close()


@pytest.mark.parametrize("batch", [1, 2])
def test_guidance_doubles_the_batch_of_a_forward_in_sdxl(sdxl: Made, batch: int) -> None:
    pipe, inputs = sdxl
    work = observed(Call(pipe, (), {**inputs, "num_images_per_prompt": batch}))
    megapixels = batch * PIXELS["sdxl"] / 1e6
    assert work.counts == {"image": batch, "megapixel": megapixels, "step": batch * STEPS}
    assert next(iter(work.counts)) == "image"
    assert work.facts == {"forward": 2 * batch * STEPS}
    unguided = observed(Call(pipe, (), {**inputs, "num_images_per_prompt": batch, "guidance_scale": 1.0}))
    assert unguided.facts == {"forward": batch * STEPS}


def test_guidance_makes_a_second_forward_in_flux(made: Callable[[str], Made]) -> None:
    pipe, inputs = made("flux")
    assert observed(Call(pipe, (), inputs)).facts == {"forward": 2 * STEPS}
    assert observed(Call(pipe, (), {**inputs, "true_cfg_scale": 1.0})).facts == {"forward": STEPS}


def test_guidance_makes_a_second_forward_in_wan(made: Callable[[str], Made]) -> None:
    pipe, inputs = made("wan")
    work = observed(Call(pipe, (), {**inputs, "num_videos_per_prompt": 2}))
    assert work.counts == {"video": 2, "frame": 10, "megapixel": pytest.approx(0.00256), "step": 2 * STEPS}
    assert work.facts == {"forward": 2 * 2 * STEPS}
    assert observed(Call(pipe, (), {**inputs, "guidance_scale": 1.0})).facts == {"forward": STEPS}


@pytest.mark.parametrize("as_tuple", [False, True])
@pytest.mark.parametrize("form", ["pil", "np", "pt", "latent"])
@pytest.mark.parametrize("name", PIPELINES)
def test_every_form_of_output_is_the_same_work(
    made: Callable[[str], Made], name: str, form: str, as_tuple: bool
) -> None:
    pipe, inputs = made(name)
    work = observed(Call(pipe, (), {**inputs, "output_type": form, "return_dict": not as_tuple}))
    expected = {"video": 1, "frame": 5} if name == "wan" else {"image": 1}
    megapixels = expected.get("frame", 1) * PIXELS[name] / 1e6
    assert work.counts == {**expected, "megapixel": pytest.approx(megapixels), "step": STEPS}


def test_a_pipeline_inside_a_function(sdxl: Made, made: Callable[[str], Made]) -> None:
    pipe, inputs = sdxl
    wan, wan_inputs = made("wan")
    ways: dict[str, Callable[[], object]] = {
        "partial": functools.partial(pipe, **inputs),
        "output": lambda: pipe(**inputs),
        "images": lambda: pipe(**inputs).images,
        "latents": lambda: pipe(**inputs, output_type="latent"),
        "method": functools.partial(pipe.__call__, **inputs),
    }
    counted = {way: observed(Call(fn)) for way, fn in ways.items()}
    one = {"image": 1, "megapixel": PIXELS["sdxl"] / 1e6, "step": STEPS}
    assert {way: work.counts for way, work in counted.items()} == dict.fromkeys(ways, one)
    assert all(work.facts == {"forward": 2 * STEPS} for work in counted.values())
    assert observed(Call(torch.inference_mode()(ways["images"]))).counts == one
    several = observed(Call(lambda: [pipe(**inputs) for _ in range(2)]))
    assert (several.counts["image"], several.counts["step"]) == (2, 2 * STEPS)
    frames = observed(Call(lambda: wan(**wan_inputs, output_type="pil").frames[0]))
    assert (frames.counts["video"], frames.counts["frame"]) == (1, 5)
    # Latents that are not a pipeline's output are not counted; the steps are.
    assert observed(Call(lambda: pipe(**inputs, output_type="latent").images)).counts == {"step": STEPS}


def test_what_is_counted_without_its_call(sdxl: Made) -> None:
    """As in ``window.count(pipe(...))``."""
    pipe, inputs = sdxl
    counted = DiffusersAdapter().count(pipe(**inputs, output_type="pt"), None)
    assert counted == Work({"image": 1, "megapixel": PIXELS["sdxl"] / 1e6})
    assert DiffusersAdapter().count(pipe(**inputs, output_type="latent"), None) == Work({"image": 1})
    assert DiffusersAdapter().count([1, 2], None) is None
    assert DiffusersAdapter().count(torch.ones(1, 3, 8, 8), None) is None


def hooks(pipe: Any) -> list[object]:
    return [*pipe.unet._forward_hooks.values(), *vars(pipe.scheduler).keys() & {"step"}]


def test_watching_leaves_no_trace(sdxl: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, inputs = sdxl
    observed(Call(pipe, (), inputs))
    assert not hooks(pipe)
    theirs = functools.partial(pipe.scheduler.step)
    monkeypatch.setattr(pipe.scheduler, "step", theirs)
    assert observed(Call(pipe, (), inputs)).counts["step"] == STEPS
    assert pipe.scheduler.step is theirs


def test_a_copy_of_the_scheduler_steps_by_itself(sdxl: Made) -> None:
    pipe, _ = sdxl
    observer = Observer(ADAPTERS, lambda result, call: None, Call(pipe))
    copied = copy.deepcopy(pipe.scheduler)
    for scheduler in (copied, pipe.scheduler):
        scheduler.set_timesteps(2)
    copied.step(torch.ones(1), copied.timesteps[0], torch.ones(1))
    assert (copied.step_index, pipe.scheduler.step_index) == (1, None)
    assert observer.work(None).counts == {}
    observer.close()
    copied.step(torch.ones(1), copied.timesteps[1], torch.ones(1))
    assert copied.step_index == 2


@pytest.fixture
def fresh() -> Iterator[Made]:
    yield tiny.sdxl()
    torch._dynamo.reset()


def compiled_as_module(pipe: Any) -> None:
    pipe.unet = torch.compile(pipe.unet, backend="eager")


def compiled_in_place(pipe: Any) -> None:
    pipe.unet.compile(backend="eager")


def compiled_forward(pipe: Any) -> None:
    pipe.unet.forward = torch.compile(pipe.unet.forward, backend="eager")


def compiled_parts(pipe: Any) -> None:
    pipe.unet.mid_block.compile(backend="eager")


def offloaded(pipe: Any) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerate.hooks.add_hook_to_module(pipe.unet, accelerate.hooks.ModelHook())


@pytest.mark.parametrize("change", [compiled_as_module, compiled_in_place, compiled_forward, compiled_parts, offloaded])
def test_forwards_are_counted_however_the_denoiser_runs(fresh: Made, change: Callable[[Any], None]) -> None:
    pipe, inputs = fresh
    change(pipe)
    call = Call(pipe, (), {**inputs, "num_inference_steps": 1})
    if change is compiled_in_place:
        before = pipe.unet._compiled_call_impl
    for _ in range(2):  # the second one finds everything compiled
        work = observed(call)
        assert {**work.facts, "compilation": 0} == {"forward": 2, "compilation": 0}
    kept = Observer(ADAPTERS, lambda result, call: None, call)
    assert kept.configuration["torch_compile"] == str(change is not offloaded)
    assert kept.configuration["offload"] == ("ModelHook" if change is offloaded else "none")
    kept.close()
    assert not hooks(pipe)
    if change is compiled_in_place:
        assert pipe.unet._compiled_call_impl is before


def test_settings_that_are_kept(fresh: Made) -> None:
    pipe, _ = fresh
    kept = Observer(ADAPTERS, lambda result, call: None, Call(pipe)).configuration
    assert {name: value for name, value in kept.items() if name not in knobs()} == {
        "pipeline": "StableDiffusionXLPipeline",
        "scheduler": "EulerDiscreteScheduler",
        "offload": "none",
        "vae_tiling": "False",
        "vae_slicing": "False",
        "dtype": "float32",
        "parameters": str(sum(p.numel() for p in pipe.unet.parameters())),
        "attention": "AttnProcessor2_0",
        "torch_compile": "False",
        "weights": "random",
    }
    pipe.unet.set_attn_processor(diffusers.models.attention_processor.AttnProcessor())
    assert Observer(ADAPTERS, lambda result, call: None, Call(pipe)).configuration["attention"] == "AttnProcessor"
    # Training leaves no scale of a normalisation where it began.
    torch.nn.init.normal_(next(part for part in pipe.unet.modules() if "Norm" in type(part).__name__).weight)
    kept = Observer(ADAPTERS, lambda result, call: None, Call(pipe)).configuration
    assert kept["weights"] == "real"


@pytest.mark.parametrize(("name", "unit"), [("sdxl", "image"), ("flux", "image"), ("wan", "video")])
def test_decoding_is_told_from_denoising(made: Callable[[str], Made], name: str, unit: str) -> None:
    pipe, inputs = made(name)
    split = DiffusersAdapter().split(Call(functools.partial(pipe, output_type="pt"), (), inputs))
    assert split is not None
    assert (split.first, split.first_unit, split.rest, split.rest_unit) == ("denoise", unit, "vae_decode", unit)
    whole, first = observed(Call(pipe, (), inputs)), observed(split.call)
    assert first.counts == pytest.approx(whole.counts)
    assert split.call.fn(*split.call.args, **split.call.kwargs)[0].shape[1] != 3
    assert DiffusersAdapter().split(Call(pipe, (), {**inputs, "output_type": "latent"})) is None
    assert DiffusersAdapter().split(Call(lambda: pipe(**inputs))) is None
    assert DiffusersAdapter().split(Call(pipe, tuple(range(99)))) is None


SUITE = """
    import os
    import pytest
    import tiny
    from pytest_joules.testing import launch, synchronize

    pipe, inputs = tiny.sdxl()
    inputs["num_inference_steps"] = int(os.environ.get("STEPS", "2"))

    def declares(seconds):
        def hook(module, args, output):
            launch(bytes=seconds * 3.0e12)
            synchronize()
        return hook

    # Long enough that a busy host never starves the device, whose idle time would be in the joules.
    pipe.unet.register_forward_hook(declares(0.05))
    pipe.vae.decoder.register_forward_hook(declares(0.05))
"""

FORWARD_JOULES = 20.6
"""What one of them costs on the first simulated H100."""


def test_one_step_more_in_twenty_is_caught_and_named(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tiny.__file__).rpartition("/")[0], prepend=":")
    suite.write(
        """
    @pytest.mark.energy_budget(tolerance="2%")
    def test_image(energy):
        assert len(energy(pipe, **inputs).images) == 1
    """,
        prelude=SUITE,
    )
    facts = {"images_per_call": 1, "steps_per_image": 20, "forwards_per_step": 2, "megapixels_per_image": 0.004096}
    level = 21 * FORWARD_JOULES
    for _ in range(3):
        blocks = tuple(Block(level * (1 + wiggle), 1.0, 1.05) for wiggle in (-0.0005, 0.0, 0.0005))
        session = Session("2026-01-01T00:00:00+00:00", (DEVICE,), blocks, conditions=Conditions(facts=facts))
        key = BaselineKey("test_it.py::test_image", "main", "image")
        suite.store.update(SKU, PRODUCT, True, {key: Addition(session)})
        level *= 1.001
    monkeypatch.setenv("STEPS", "21")
    ran, report = suite.report()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["REGRESSED: * J/image is +*", "*denoising steps per image: 20 -> 21*"])
    (result,) = report["results"]
    assert result["key"]["unit"] == "image"
    conditions = result["measurement"]["conditions"]
    assert conditions["facts"] == pytest.approx({**facts, "steps_per_image": 21})
    assert conditions["configuration"]["weights"] == "random"


def test_phases_of_a_pipeline(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tiny.__file__).rpartition("/")[0], prepend=":")
    suite.write(
        """
    @pytest.mark.energy_budget("1 kJ/image", window="denoise")
    @pytest.mark.energy_budget("1 kJ/image", window="vae_decode")
    def test_phases(energy):
        energy.phases(pipe, **inputs)
        whole, denoise, decode = [m.joules / sum(b.units for b in m.blocks["image"]) for m in energy.measurements]
        # Not to the last digit: each takes as many blocks as it needs, and blocks differ a little.
        assert denoise + decode == pytest.approx(whole, rel=0.01)
        assert decode == pytest.approx(whole / 3, rel=0.1)
    """,
        prelude=SUITE,
    )
    suite.run().assert_outcomes(passed=1)
