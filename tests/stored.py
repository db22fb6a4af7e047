"""Stored runs and baselines made from values, for commands that measure nothing."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from pytest_joules.baselines.store import Addition, BaselineStore
from pytest_joules.budget import EnergyBudget
from pytest_joules.history import session_of
from pytest_joules.model import (
    BaselineKey,
    Block,
    BudgetResult,
    Conditions,
    Device,
    Measurement,
    MeterInfo,
    RunResult,
    Session,
    Verdict,
    VerdictKind,
    WindowKind,
)
from pytest_joules.reporting import json as json_report
from pytest_joules.units import EnergyPerUnit

H200 = Device(0, "NVIDIA H200", "abc", power_limit_watts=700.0, default_power_limit_watts=700.0)
SKU = "nvidia-h200"
DECODE = "test_it.py::test_decode"
PREFILL = "test_it.py::test_prefill"
CREATED = "2026-05-01T12:00:00+00:00"


def blocks(joules: float = 1.0, count: int = 8) -> tuple[Block, ...]:
    """Half-seconds of a steady load of 50 tokens at ``joules`` a token, which spread by 0.1 %."""
    return tuple(Block(50 * joules * (1 + 0.001 * (number % 3 - 1)), 50.0, 0.5) for number in range(count))


def measured(
    joules: float = 1.0,
    test: str = DECODE,
    *,
    device: Device = H200,
    devices: tuple[Device, ...] = (),
    limit: float | None = None,
    tolerance: float | None = None,
    kind: VerdictKind = VerdictKind.NO_BASELINE,
    invalid: str = "",
) -> BudgetResult:
    """One budget's result, as a run without baselines leaves it; of ``device``, or of several ``devices``."""
    known = Conditions(temperature_celsius=50.0, sm_clock_mhz=1980.0, idle_watts=80.0)
    measurement = Measurement(
        "main", WindowKind.REPEATED, devices or (device,), {"token": blocks(joules)}, 10.0, 1.0, known, invalid=invalid
    )
    budget = EnergyBudget(
        limit=None if limit is None else EnergyPerUnit(limit, "token"), tolerance=tolerance, per="token"
    )
    verdict = Verdict(VerdictKind.INVALID, invalid) if invalid else Verdict(kind)
    key = None if invalid else BaselineKey(test, "main", "token")
    failed = kind is VerdictKind.NO_BASELINE or bool(invalid)
    return BudgetResult(test, budget, True, verdict, failed, key, None if invalid else SKU, 0.02, measurement)


def unmeasured(reason: str, test: str = DECODE) -> BudgetResult:
    """The result of a budget whose test did not come to an end."""
    return BudgetResult(test, EnergyBudget(), True, Verdict(VerdictKind.UNMEASURED, reason))


def report(
    path: Path, *results: BudgetResult, created: str = CREATED, not_collected: tuple[BaselineKey, ...] = (),
    simulated: bool = False, replayed: bool = False,
) -> Path:  # fmt: skip
    """A JSON report of a run."""
    meter = MeterInfo("NVML", simulated, (H200,), replayed)
    run = RunResult(created, "0.1", meter, "abc123", results, not_collected=not_collected)
    json_report.write(run, path)
    return path


def session(
    joules: float = 1.0, recorded: str = "2026-04-01T12:00:00+00:00", *, device: str = "abc", anchor: bool = False,
    commit: str | None = None,
) -> Session:  # fmt: skip
    """A stored session."""
    measurement = measured(joules, device=replace(H200, identity=device)).measurement
    assert measurement is not None
    return session_of(measurement, "token", recorded, commit, anchor=anchor)


def days(*joules: float, month: int = 4, device: str = "abc") -> list[Session]:
    """A session a day."""
    return [
        session(value, f"2026-{month:02}-{day:02}T12:00:00+00:00", device=device)
        for day, value in enumerate(joules, start=1)
    ]


def store(directory: Path, sessions: list[Session], test: str = DECODE) -> BaselineStore:
    """Baselines of the H200, with the sessions under one more test."""
    found = BaselineStore(directory)
    for one in sessions:
        found.update(SKU, "NVIDIA H200", False, {BaselineKey(test, "main", "token"): Addition(one)})
    return found


def commit_all(directory: Path, message: str = "base") -> None:
    """Commit everything below ``directory``, in a repository of its own."""
    identity = ["-c", "user.email=a@example.org", "-c", "user.name=a"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", message]):
        subprocess.run(["git", *command], cwd=directory, check=True)
