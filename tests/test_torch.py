"""The torch adapter: compilation, plain results, completion; with the real library, on the simulated GPU."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Suite

from pytest_joules.workloads.adapters import ADAPTERS
from pytest_joules.workloads.completion import Completion
from pytest_joules.workloads.observer import NO_CALL, Observer
from pytest_joules.workloads.torch import CompilationWatch, knobs
from pytest_joules.workloads.work import Call, Work

torch = pytest.importorskip("torch")


def test_compilations_since_the_last_call() -> None:
    watch = CompilationWatch(NO_CALL)
    double = torch.compile(lambda x: 2 * x, backend="eager", dynamic=False)
    assert watch.work() == Work()
    for length, compiled in ((3, 1), (3, 0), (4, 1)):
        double(torch.ones(length))
        assert watch.work() == (Work(facts={"compilation": compiled}) if compiled else Work())
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    assert watch.work() == Work()
    double(torch.ones(3))
    assert watch.work() == Work(facts={"compilation": 1})


def test_torch_is_not_needed_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch._dynamo.utils", raising=False)
    assert CompilationWatch(NO_CALL).work() == Work()


def settings(fn: Any) -> dict[str, str]:
    observer = Observer(ADAPTERS, lambda result, call: None, Call(fn))
    found = observer.configuration
    observer.close()
    return found


def test_what_the_process_is_set_to_is_kept() -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    before = settings(len)
    assert before["sdpa_backends"] == "flash+mem_efficient+cudnn+math"
    assert before["float32_matmul"] == "ieee"
    assert (before["autocast"], before["grad"], before["cudnn_benchmark"]) == ("off", "True", "False")
    torch.set_float32_matmul_precision("high")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            changed = settings(len)
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.set_autocast_enabled("cuda", False)
    assert changed["sdpa_backends"] == "math"
    assert changed["float32_matmul"] == "tf32"
    assert (changed["autocast"], changed["grad"]) == ("bfloat16", "False")
    assert settings(len) == before
    assert not torch.cuda.is_initialized()


def test_either_interface_tells_the_precision_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        pytest.skip("torch 2.9 has the newer interface")
    matmul.fp32_precision = "tf32"  # the older one raises from now on
    try:
        assert knobs()["float32_matmul"] == "tf32"
    finally:
        matmul.fp32_precision = "none"
    older = SimpleNamespace(**{name: getattr(torch.backends.cuda, name) for name in ("flash_sdp_enabled",)})
    older.matmul = SimpleNamespace(allow_tf32=True)
    monkeypatch.setattr(torch.backends, "cuda", older)
    assert knobs()["float32_matmul"] == "tf32"
    assert knobs()["sdpa_backends"] == "flash"


def test_a_module_is_described_by_its_size_and_precision() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)).to(torch.bfloat16)

    def step() -> Any:
        return module(torch.ones(1, 8, dtype=torch.bfloat16))

    for fn in (module, step, module.forward, torch.compile(module)):
        found = settings(fn)
        assert (found["model"], found["parameters"]) == ("Sequential", "144")
        assert (found["dtype"], found["torch_compile"]) == ("bfloat16", "False")


def test_without_torch_there_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    assert knobs() == {}


class Own:
    """A result of somebody's own."""


PLAIN = (None, True, 2.5, torch.ones(2), (torch.ones(2), None), [torch.ones(2)], {"logits": torch.ones(2)}, ())


@pytest.mark.parametrize("result", PLAIN, ids=lambda result: type(result).__name__)
def test_a_forward_counts_as_a_call_without_a_note(result: object) -> None:
    observer = Observer(ADAPTERS, lambda result, call: None, Call(torch.nn.Identity(), (result,)))
    assert observer.work(result) == Work()
    assert observer.notes == ()


@pytest.mark.parametrize(
    "result", ["text", Own(), [Own()], {"answer": "text"}], ids=lambda result: type(result).__name__
)
def test_a_result_that_nobody_knows_is_told_of(result: object) -> None:
    observer = Observer(ADAPTERS, lambda result, call: None, Call(Own))
    observer.work(result)
    assert "it counts as one 'call'; declare it with work=" in observer.notes[0]


class Clock:
    """What completion needs of a meter."""

    def barrier(self) -> float | None:
        """Nothing is queued."""

    def now(self) -> float:
        """Any time."""
        return 1.0


@pytest.mark.parametrize(
    ("cuda", "mps_bytes", "waited_for"),
    [(None, None, []), ([True, False], None, ["cuda:0"]), (None, 0, []), (None, 4096, ["mps"])],
    ids=["cpu", "one of two GPUs has a context", "unused mps", "mps"],
)
def test_completion_waits_only_where_work_was_queued(
    monkeypatch: pytest.MonkeyPatch, cuda: list[bool] | None, mps_bytes: int | None, waited_for: list[str]
) -> None:
    waited: list[str] = []
    stand_in: Any = SimpleNamespace(
        cuda=SimpleNamespace(
            is_initialized=lambda: cuda is not None,
            device_count=lambda: len(cuda or ()),
            synchronize=lambda device: waited.append(f"cuda:{device}"),
        ),
        _C=SimpleNamespace(_cuda_hasPrimaryContext=lambda device: (cuda or ())[device]),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps_bytes is not None)),
        mps=SimpleNamespace(current_allocated_memory=lambda: mps_bytes, synchronize=lambda: waited.append("mps")),
    )
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    meter: Any = Clock()
    assert Completion(meter)() == 1.0
    assert waited == waited_for


def test_completion_makes_no_context() -> None:
    meter: Any = Clock()
    assert Completion(meter)(torch.ones(1)) == 1.0
    assert not torch.cuda.is_initialized()


SUITE = """
    import torch

    @torch.compile(backend="eager", dynamic=False)
    def double(x):
        return 2 * x

    calls = []

    def works(new_shape):
        '''A step whose shape is new in calls of which ``new_shape`` is true.'''
        calls.append(1)
        double(torch.ones(len(calls) if new_shape(len(calls)) else 999))
        step()
"""


def test_compilation_belongs_to_warmup(suite: Suite) -> None:
    suite.write(
        SUITE
        + """
    @pytest.mark.energy_budget("1 kJ/call")
    def test_compiles_at_first(energy):
        energy(works, lambda call: call in (1, 2, 20))
        assert energy.measurements[0].notes == ()
        # Warm-up started again with the call that compiled last, and is as long as without.
        assert len(calls) - energy.measurements[0].calls > 20 + 49
    """
    )
    suite.run().assert_outcomes(passed=1)


def test_a_recompile_while_measuring_is_reported(suite: Suite) -> None:
    suite.write(
        SUITE
        + """
    @pytest.mark.energy_budget("1 kJ/call")
    def test_compiles_late(energy):
        energy.repeat(works, (lambda call: call in (30, 50),), warmup=20, rounds=100)
    """
    )
    ran = suite.run()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(
        ["*test_compiles_late: torch.compile compiled 2 graphs while measuring: shapes or flags changed*"]
    )


def test_what_is_compiled_in_a_window_is_told(suite: Suite) -> None:
    suite.write(
        """
    import torch

    def test_compiled(energy):
        with energy.window("first"):
            torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2))
            launch(bytes=1e12)
            synchronize()
        (measured,) = energy.measurements
        assert any("compiled 1 graph while measuring" in note for note in measured.notes)
    """
    )
    suite.run().assert_outcomes(passed=1)
