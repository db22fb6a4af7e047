"""Host-bound windows: recognised by watts near idle and seconds that wander, and never decided too finely."""

from __future__ import annotations

import math
import random

import pytest

from pytest_joules.decision import LOOKS, Terms, decide
from pytest_joules.hostbound import recognise
from pytest_joules.model import Block, Conditions, Device, Measurement, Session, VerdictKind, WindowKind

H200 = Device(0, "NVIDIA H200", "abc", power_limit_watts=700.0)


def blocks(random_: random.Random, watts: float, wander: float, slower: float = 1.0, count: int = 6) -> list[Block]:
    """Half-second blocks of one session; the host's mood moves the whole session and each block."""
    mood = random_.gauss(0, wander)
    made = []
    for _ in range(count):
        units = 500.0 / slower * math.exp(mood + random_.gauss(0, wander))
        made.append(Block(0.5 * watts * math.exp(random_.gauss(0, 0.001)), units, 0.5))
    return made


def measured(found: list[Block], idle: float | None = 122.0) -> Measurement:
    conditions = Conditions(idle_watts=idle)
    return Measurement("main", WindowKind.REPEATED, (H200,), {"token": tuple(found)}, 1.0, 1.0, conditions)


@pytest.mark.parametrize(
    ("watts", "wander", "idle", "bound"),
    [
        (136.0, 0.02, 122.0, True),  # tiny eager layers on an H200
        (512.0, 0.0003, 122.0, False),  # a decode step in a CUDA graph
        (136.0, 0.0005, 122.0, False),  # little work, but the GPU sets the pace
        (600.0, 0.02, 122.0, False),  # wanders for another reason
        (136.0, 0.02, None, False),  # nobody saw it idle
    ],
)
def test_it_takes_low_watts_and_wandering_seconds(watts: float, wander: float, idle: float | None, bound: bool) -> None:
    random_ = random.Random(1)
    stored = [blocks(random_, watts, wander) for _ in range(3)]
    assert bool(recognise(measured(blocks(random_, watts, wander), idle), "token", stored)) == bound


def test_a_host_bound_window_is_undecided_rather_than_wrong() -> None:
    random_ = random.Random(2)
    kinds = []
    for _ in range(200):
        stored = [Session("now", ("abc",), tuple(blocks(random_, 136.0, 0.02))) for _ in range(3)]
        taken = blocks(random_, 136.0, 0.02, count=LOOKS[-1])
        for count in LOOKS:
            verdict = decide(measured(taken[:count]), stored, Terms("token", 0.02))
            if not verdict.more_gpu_time_helps:
                break
        kinds.append(verdict.kind)
    assert kinds.count(VerdictKind.REGRESSED) <= 4
    assert kinds.count(VerdictKind.INCONCLUSIVE) > 150
    assert "host-bound: the GPU waits for the host (2% of the power" in verdict.notes[0]
    assert "a tolerance of" in verdict.reason or "pytest-joules ab" in verdict.reason


def test_the_advised_tolerance_can_be_decided() -> None:
    random_ = random.Random(3)
    stored = [Session("now", ("abc",), tuple(blocks(random_, 136.0, 0.02))) for _ in range(5)]
    today = measured(blocks(random_, 136.0, 0.02))
    verdict = decide(today, stored, Terms("token", 0.02))
    advised = float(verdict.reason.rpartition("tolerance of ")[2].partition("%")[0]) / 100
    assert decide(today, stored, Terms("token", advised)).kind is VerdictKind.PASS


def test_a_limit_is_not_judged_finer_than_the_host_wanders() -> None:
    random_ = random.Random(5)
    kinds = []
    for _ in range(300):
        found = blocks(random_, 136.0, 0.02, count=6)
        kinds.append(decide(measured(found), [], Terms("token", None, limit=0.136)).kind)
    assert kinds.count(VerdictKind.OVER_LIMIT) <= 9
    assert kinds.count(VerdictKind.INCONCLUSIVE) > 200


def test_twice_the_seconds_regress_all_the_same() -> None:
    random_ = random.Random(4)
    stored = [Session("now", ("abc",), tuple(blocks(random_, 136.0, 0.02))) for _ in range(3)]
    verdict = decide(measured(blocks(random_, 136.0, 0.02, slower=2.0)), stored, Terms("token", 0.02))
    assert verdict.kind is VerdictKind.REGRESSED
