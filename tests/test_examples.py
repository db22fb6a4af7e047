"""The examples and the committed baselines, as a newcomer runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import outside_pytest

from pytest_joules.baselines.store import BaselineStore

ROOT = Path(__file__).parents[1]


def run_pytest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=outside_pytest() | environment, capture_output=True, text=True, check=False
    )


def test_quickstart_passes_against_its_committed_baseline() -> None:
    ran = run_pytest("--energy", "--energy-meter", "simulated", "--energy-strict", "examples/quickstart")
    assert ran.returncode == 0, ran.stdout
    assert "energy: 2 passed, 0 regressed, 0 inconclusive, 0 unmeasured" in ran.stdout


def test_sweep_example_measures_a_point() -> None:
    ran = run_pytest(
        "--energy", "--energy-meter", "simulated", "--energy-sweep-seconds=1", "examples/sweep", "-k", "64"
    )
    assert ran.returncode == 0, ran.stdout
    assert (
        "recommended examples/sweep/test_batch.py::test_decode[64]: " in ran.stdout
        or "recommended batch=64: " in ran.stdout
    )


def test_torch_example_skips_with_a_reason_without_a_gpu() -> None:
    ran = run_pytest("--energy", "--energy-meter", "simulated", "examples/torch", "-rs")
    assert ran.returncode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED), ran.stdout
    assert "needs torch" in ran.stdout or "needs a CUDA GPU" in ran.stdout


def test_an_engine_of_ones_own_is_counted_by_its_conftest() -> None:
    ran = run_pytest("--energy", "--energy-meter", "simulated", "examples/custom_engine")
    assert ran.returncode == 0, ran.stdout
    assert "energy: 3 passed, 0 regressed, 0 inconclusive, 0 unmeasured" in ran.stdout
    assert "/audio_second" in ran.stdout


def test_diffusers_example_runs_tiny_without_a_gpu() -> None:
    pytest.importorskip("diffusers")
    meter = ("--energy", "--energy-meter", "simulated", "--energy-missing", "warn", "--energy-max-seconds", "2")
    # Of few steps decoding is a large share, which noise does not hide.
    ran = run_pytest(*meter, "examples/diffusers", "-k", "video or phases", STEPS="4")
    assert ran.returncode == 0, ran.stdout
    for unit in ("/video", "/frame", "/image"):
        assert unit in ran.stdout


def test_vllm_example_measures_the_stand_in(tmp_path: Path) -> None:
    environment = outside_pytest() | {"PYTHONPATH": str(ROOT / "tests" / "engines")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--energy", "--energy-meter", "simulated"]
    command += ["--energy-missing", "warn", "--energy-baselines", str(tmp_path)]
    command += ["examples/vllm/test_offline.py::test_generate[8]"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "energy: 0 passed, 0 regressed, 1 without baseline, 0 inconclusive, 0 unmeasured" in ran.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "baselines").glob("*.json")), ids=lambda path: path.stem)
def test_committed_baselines_are_sound(path: Path) -> None:
    file = BaselineStore(path.parent).load(path.stem)
    assert file.entries
    assert all(len(sessions) >= 3 for sessions in file.entries.values())
