"""What the diagnosis says of simulated changes, with every signal and with signals withdrawn.

    python benchmarks/scenarios.py record benchmarks/results/scenarios.json
    python benchmarks/scenarios.py table benchmarks/results/scenarios.json

Each window is sampled once on the simulated GPU, a minute for all of them; signals are withdrawn from both sides
afterwards, a group at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from pytest_joules.codec import decode, encode
from pytest_joules.diagnosis.explain import explain
from pytest_joules.diagnosis.observation import Observation
from pytest_joules.meters.zeus import ZeusMeter, simulated_host
from pytest_joules.model import Conditions, Diagnosis, Measurement
from pytest_joules.sampling import Plan, Sampler, Step
from pytest_joules.testing import launch, synchronize
from pytest_joules.workloads.completion import Completion
from pytest_joules.workloads.work import Work

UNIT = "call"
NOISE = 0.01
"""Simulated sessions differ by 0.15 %."""

READS: Mapping[str, Any] = {"bytes": 3e10, "flops": 1e12, "memory": 40e9}
"""10 ms on an H100, bound by its memory, as a decode is."""

COMPUTES: Mapping[str, Any] = {"bytes": 3e9, "flops": 9e12, "memory": 40e9}
"""10 ms of tensor cores, at the power limit, as a prefill is."""


@dataclass(frozen=True, slots=True)
class Side:
    """How one window runs: the work of each call, seconds that the host is late with it, and the machine's settings."""

    work: Mapping[str, Any]
    late: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A change, and what it has to be called first: a rule, ``nothing``, or a part of why the window is INVALID."""

    name: str
    expected: str
    before: Side
    after: Side


NOTHING = "nothing"
TWO = {"gpus": "2"}

SCENARIOS = (
    Scenario("another day", NOTHING, Side(READS), Side(READS, settings={"seed": "2"})),
    Scenario("more bytes", "memory-bound", Side(READS), Side({**READS, "bytes": 3.6e10})),
    Scenario("more FLOPs", "more-work", Side(COMPUTES), Side({**COMPUTES, "flops": 10e12})),
    Scenario("no tensor cores", "tensor-cores", Side(COMPUTES), Side({**COMPUTES, "flops": 3e12, "pipe": "fp32"})),
    Scenario("a late host", "host-bound", Side(READS), Side({**READS, "bytes": 3e10}, late=0.15)),
    Scenario("held to 500 W", "power-cap", Side(COMPUTES), Side(COMPUTES, settings={"cap": "500"})),
    Scenario("a faster clock", "clocks", Side(READS, settings={"mhz": "1500"}), Side(READS)),
    Scenario("hotter by 40 °C", "heat", Side(READS), Side(READS, settings={"celsius": "75"})),
    Scenario("GPUs that talk more", "communication", Side({**READS, "link_bytes": 1e9}, settings=TWO),
             Side({**READS, "link_bytes": 18e9}, settings=TWO)),
    Scenario("too hot", "thermal or power-brake slowdown", Side(READS), Side(READS, settings={"fault": "thermal"})),
    Scenario("a neighbour", "process 1 ", Side(READS), Side(READS, settings={"fault": "foreign"})),
)  # fmt: skip

GPM = (
    "sm_active", "sm_occupancy", "tensor_active", "fp64_active", "fp32_active", "fp16_active", "integer_active",
    "dram_active", "dram_bytes_per_second", "pcie_bytes_per_second", "nvlink_bytes_per_second", "loaded_idle_watts",
)  # fmt: skip

GROUPS: Mapping[str, Sequence[str]] = {
    "everything told": (),
    "no GPM": GPM,
    "no tensor or FP32 share": ("tensor_active", "fp32_active"),
    "no memory traffic": ("dram_active", "dram_bytes_per_second"),
    "no SM clock": ("sm_clock_mhz",),
    "no power cap": ("power_cap_share",),
    "no temperature": ("temperature_celsius",),
    "nothing but joules": (*GPM, "sm_clock_mhz", "power_cap_share", "temperature_celsius", "host_cores"),
}
"""What is withdrawn."""


def withdrawn(conditions: Conditions, names: Sequence[str]) -> Conditions:
    """The conditions without some of their signals."""
    own = {name: None for name in names if hasattr(conditions, name)}
    signals = {name: value for name, value in conditions.signals.items() if name not in names}
    return replace(conditions, signals=signals, **own)  # type: ignore[arg-type]


def diagnosed(before: Measurement, after: Measurement, names: Sequence[str] = ()) -> Diagnosis:
    """Why the two differ, without the signals of these names."""
    then, now = (
        Observation.of_measurement(replace(m, conditions=withdrawn(m.conditions, names)), UNIT) for m in (before, after)
    )
    return explain(then, now, NOISE)


def first(diagnosis: Diagnosis) -> str:
    """The rule of the first cause, or of several that nothing tells apart."""
    return diagnosis.causes[0].rule if diagnosis.causes else NOTHING


def sampled(side: Side) -> Measurement:
    """One window of at least two blocks, by the real sampler."""
    with contextlib.ExitStack() as stack:
        host = simulated_host("h100-sxm", {"seed": "1", **side.settings}, stack)
        meter = ZeusMeter({}, host)
        stack.callback(meter.close)
        plan = Plan("main", (2,), 3.0)
        sampler = Sampler(meter, Completion(meter), plan, lambda measurement: Step.DONE, lambda text: None)
        while sampler.wants_call():
            for gpu in host.gpus:
                launch(device=gpu.index, **side.work)
            synchronize()
            time.sleep(side.late)
            sampler.called(None, Work({UNIT: 1.0}))
        found = sampler.measurement
        # The neighbour has the name of whatever is the first process here.
        return replace(found, invalid=re.sub(r"process 1 \([^)]*\)", "process 1", found.invalid))


def recorded(file: Path) -> Iterator[tuple[Scenario, Measurement, Measurement]]:
    """Every scenario with both of its windows."""
    held = json.loads(file.read_text())
    for scenario in SCENARIOS:
        before, after = (decode(Measurement, side) for side in held[scenario.name])
        yield scenario, before, after


def cells(scenario: Scenario, before: Measurement, after: Measurement) -> list[str]:
    """What is named first, for each of :data:`GROUPS`."""
    if after.invalid:
        return [f"INVALID: {after.invalid[:40]}..."] + ["" for _ in range(len(GROUPS) - 1)]
    return [first(diagnosed(before, after, names)) for names in GROUPS.values()]


def main() -> None:
    """Record every scenario, or print what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "table"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    if options.what == "record":
        sides = {scenario.name: [scenario.before, scenario.after] for scenario in SCENARIOS}
        held = {name: [encode(sampled(side)) for side in both] for name, both in sides.items()}
        options.file.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n")
        return
    rows = [(scenario.name, *cells(scenario, *windows)) for scenario, *windows in recorded(options.file)]
    print(tabulate(rows, headers=("change", *GROUPS), tablefmt="github"))


if __name__ == "__main__":
    main()
