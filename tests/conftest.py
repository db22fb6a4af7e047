"""Real little suites, run by a real pytest in a process of its own, on the simulated GPU."""

from __future__ import annotations

import json
import os
import signal
import textwrap
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

import pytest
from hypothesis import settings

from pytest_joules.baselines.store import Addition, BaselineStore
from pytest_joules.model import BaselineKey, Block, Conditions, Session, WindowKind

pytest_plugins = ["pytester"]

# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SKU = "simulated-nvidia-h100-80gb-hbm3"
PRODUCT = "NVIDIA H100 80GB HBM3"
DEVICE = "cc4d68c4c00c"
"""Identity of the first simulated H100."""

STEP = """
    import pytest
    from pytest_joules.testing import inject, launch, synchronize

    def step(scale=1.0):
        '''A memory-bound step of 10 ms: 64 tokens for 4.2 J.'''
        launch(bytes=scale * 0.01 * 3.0e12)
        synchronize()
        return {"token": 64}

    def tokens(result):
        return result
"""
"""What most little suites begin with."""

STEP_JOULES_PER_TOKEN = 0.06445
"""What :data:`STEP` costs; the simulated sessions differ by 0.15 %."""


PLUGINS = ("joules", "xdist", "rerunfailures")
ADDOPTS = " ".join(f"-p no:{plugin.name}" for plugin in entry_points(group="pytest11") if plugin.name not in PLUGINS)
"""For ``PYTEST_ADDOPTS``: whatever else is installed for pytest takes longer to import than a little suite to run."""


def outside_pytest() -> dict[str, str]:
    """The environment of a shell, for a pytest that shall not know that another one, or a CI, started it."""
    started = ("PYTEST_", "GITHUB_", "CI")
    return {name: value for name, value in os.environ.items() if not name.startswith(started)} | {
        "PYTEST_ADDOPTS": ADDOPTS
    }


def interruptible() -> None:
    """For ``preexec_fn``: tests that run in a shell's background ignore SIGINT, and their children would, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Suite:
    """A little test suite in a directory of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        """Everything is relative to ``pytester``'s directory."""
        self.pytester = pytester
        self.path = pytester.path
        self.store = BaselineStore(self.path / "baselines")

    def write(self, source: str, name: str = "test_it.py", *, prelude: str = STEP) -> None:
        """Write a test file that begins with :data:`STEP`."""
        (self.path / name).write_text(textwrap.dedent(prelude) + textwrap.dedent(source), encoding="utf-8")

    def run(self, *args: str, meter: str = "simulated:h100-sxm,seed=1") -> pytest.RunResult:
        """Run ``pytest --energy`` in a fresh process."""
        return self.pytester.runpytest_subprocess(
            "--energy", f"--energy-meter={meter}", "-p", "no:cacheprovider", *args
        )

    def report(self, *args: str, **kwargs: str) -> tuple[pytest.RunResult, Mapping[str, Any]]:
        """Run, and read the JSON report."""
        ran = self.run("--energy-json=report.json", *args, **kwargs)
        return ran, json.loads((self.path / "report.json").read_text())

    def record(self, *args: str, sessions: int = 3) -> None:
        """Store real sessions, each of another simulated day."""
        for seed in range(100, 100 + sessions):
            self.run("--energy-update", *args, meter=f"simulated:h100-sxm,seed={seed}").assert_outcomes(passed=1)

    def store_baseline(
        self,
        joules_per_unit: float = STEP_JOULES_PER_TOKEN,
        test: str = "test_it.py::test_step",
        *,
        window: str = "main",
        unit: str = "token",
        sessions: int = 3,
        kind: WindowKind = WindowKind.REPEATED,
        seconds_per_unit: float = 0.01 / 64,
        anchor: bool = False,
        conditions: Conditions | None = None,
        recorded: str = "2026-01-01T00:00:00+00:00",
    ) -> None:
        """Store sessions of a known level, which spread by 0.1 %."""
        for number in range(sessions):
            level = joules_per_unit * (1 + 0.001 * (number - (sessions - 1) / 2))
            units = 0.5 / seconds_per_unit
            blocks = tuple(Block(level * units * (1 + wiggle), units, 0.5) for wiggle in (-0.0005, 0.0005, 0.0, 0.0))
            known = conditions or Conditions()
            session = Session(recorded, (DEVICE,), blocks, kind, conditions=known, anchor=anchor)
            self.store.update(SKU, PRODUCT, True, {BaselineKey(test, window, unit): Addition(session)})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In place of ``--dist load``."""
    from scheduling import FewAtATime

    return FewAtATime(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(scope="session", autouse=True)
def _few_plugins() -> Iterator[None]:
    """For every pytest that the tests start."""
    # A worker of xdist would obey, too, if it were there before the worker starts.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_ADDOPTS", ADDOPTS)
        yield


@pytest.fixture(autouse=True)
def _no_ci() -> Iterator[None]:
    """These tests may themselves run in a CI, where updates are refused."""
    # Not by the fixture of tests: what they patch has to be undone before their other fixtures are.
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CI", raising=False)
        yield


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    # The little suites say the same on a runner of GitHub as anywhere.
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    # The pytester unset it.
    monkeypatch.setenv("PYTEST_ADDOPTS", ADDOPTS)
    return Suite(pytester)
