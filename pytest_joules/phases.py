"""Phases of a call: the first measured by itself, the rest by difference.  Pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_joules.model import Block, Measurement
from pytest_joules.workloads.work import Split

NOTHING = 1e-6
"""Share of a unit's work; less, by difference, is none."""


def remainder(whole: Measurement, first: Measurement, split: Split) -> Measurement:
    """What remains of ``whole`` without its first phase, both measured over calls of the same work.

    Both are cut into as many pieces, so that the noise of both shows in the blocks
    of the rest, and neither counts twice::

        joules of the rest = joules of the whole - calls in the piece * joules per call of the first phase

    Seconds and units likewise; a unit that is all done in the first phase, such
    as the request itself, counts whole.
    """
    rest = replace(whole, window=split.rest, blocks={}, notes=(_note(split), *whole.notes), latencies={}, trace=None)
    if reason := first.invalid or whole.invalid:
        return replace(rest, invalid=f"the phase is found by difference, and a window of it is invalid: {reason}")
    count = min(len(whole.any_blocks), len(first.any_blocks))
    wholes, firsts = ({unit: _pieces(b, count) for unit, b in m.blocks.items()} for m in (whole, first))
    units = sorted(wholes, key=lambda unit: (unit != "call", unit != split.rest_unit))
    blocks = {unit: tuple(_left(wholes, firsts, unit, at) for at in range(count)) for unit in units}
    if any(block.joules <= 0 or block.seconds <= 0 for block in blocks["call"]):
        reason = f"{split.first} alone took as much as the whole: the rest is too small to be found by difference"
        return replace(rest, invalid=reason)
    return replace(rest, blocks=blocks)


def _pieces(blocks: Sequence[Block], count: int) -> list[Block]:
    edges = [at * len(blocks) // count for at in range(count + 1)]
    return [_together(blocks[opens:closes]) for opens, closes in itertools.pairwise(edges)]


def _together(blocks: Sequence[Block]) -> Block:
    return Block(sum(b.joules for b in blocks), sum(b.units for b in blocks), sum(b.seconds for b in blocks))


def _left(whole: Mapping[str, list[Block]], first: Mapping[str, list[Block]], unit: str, at: int) -> Block:
    block, call = whole[unit][at], first["call"][at]
    share = whole["call"][at].units / call.units
    done = first[unit][at].units if unit in first and unit != "call" else 0.0
    units = block.units - share * done
    return Block(
        joules=block.joules - share * call.joules,
        units=units if units > NOTHING * block.units else block.units,
        seconds=block.seconds - share * call.seconds,
    )


def _note(split: Split) -> str:
    return f"by difference: the whole call less {split.first}, both measured"
