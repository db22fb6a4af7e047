"""Phases of a call: the first measured by itself, the rest by difference.  Pure functions."""

from __future__ import annotations

import itertools
from dataclasses import replace

from pytest_joules.model import Block, Measurement
from pytest_joules.workloads.work import Split

NOTHING = 1e-6
"""Share of a unit's work; less, by difference, is none."""


def remainder(whole: Measurement, first: Measurement, split: Split) -> Measurement:
    """What remains of ``whole`` without its first phase, both measured over calls of the same work.

    Every block of the whole is paired with one of the first phase, as often as
    they go round, so that the noise of both shows in the blocks of the rest::

        joules of the rest = joules of the whole - calls in the block * joules per call of the first phase

    Seconds and units likewise; a unit that is all done in the first phase, such
    as the request itself, counts whole.
    """
    rest = replace(whole, window=split.rest, blocks={}, notes=(_note(split), *whole.notes), latencies={})
    if reason := first.invalid or whole.invalid:
        return replace(rest, invalid=f"the phase is found by difference, and a window of it is invalid: {reason}")
    units = sorted(whole.blocks, key=lambda unit: (unit != "call", unit != split.rest_unit))
    pairs = list(zip(range(len(whole.any_blocks)), itertools.cycle(range(len(first.any_blocks)))))
    blocks = {unit: tuple(_left(whole, first, unit, at, beside) for at, beside in pairs) for unit in units}
    if any(block.joules <= 0 or block.seconds <= 0 for block in blocks["call"]):
        reason = f"{split.first} alone took as much as the whole: the rest is too small to be found by difference"
        return replace(rest, invalid=reason)
    return replace(rest, blocks=blocks)


def _left(whole: Measurement, first: Measurement, unit: str, at: int, beside: int) -> Block:
    calls = whole.blocks["call"][at].units
    block, call = whole.blocks[unit][at], first.blocks["call"][beside]
    share = calls / call.units
    done = first.blocks[unit][beside].units if unit in first.blocks and unit != "call" else 0.0
    units = block.units - share * done
    return Block(
        joules=block.joules - share * call.joules,
        units=units if units > NOTHING * block.units else block.units,
        seconds=block.seconds - share * call.seconds,
    )


def _note(split: Split) -> str:
    return f"by difference: the whole call less {split.first}, both measured"
