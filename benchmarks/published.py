"""How well the rules explain published numbers: pairs of rows of the ML.ENERGY leaderboard that differ by one thing.

    python benchmarks/published.py FILE... [--noise 2] [--misses 10]

A file is a task file of the leaderboard v3: ``{"task": ..., "configurations": [...]}``, each row with an
``energy_per_*_joules``, ``avg_power_watts`` and the settings that it was measured with.  All pairs of rows of a file
are formed that differ by exactly one thing, in both directions.  That the thing is named says little, since it was
recorded; what counts is whether the change lies in the range that the rule states for it, how wide that is, how much of
the change it accounts for at least, and what stays unexplained.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pytest_joules.diagnosis.explain import explain
from pytest_joules.diagnosis.observation import Observation
from pytest_joules.model import Conditions, Diagnosis
from pytest_joules.units import format_percent

Row = Mapping[str, Any]

OUTCOMES = re.compile(r"energy|avg_|mean_|median_|p\d\d_|power_watts|latency|itl|ttft|throughput|per_sec|nickname")
"""Fields that say what came out, or what a model is called."""

DEGREES = ("num_gpus", "tensor_parallel", "expert_parallel", "data_parallel", "pipeline_parallel", "ulysses_degree",
           "ring_degree")  # fmt: skip
"""How the work is shared out: one thing, since the degrees follow the number of GPUs."""

THINGS = {
    "batch": ("max_num_seqs", "batch_size"),
    "precision": ("weight_precision",),
    "parallelism": DEGREES,
    "gpu": ("gpu_model",),
    "model size": ("model_size", "total_params_billions", "activated_params_billions"),
    "steps": ("inference_steps", "num_inference_steps"),
    "resolution": ("image_height", "image_width", "video_height", "video_width", "height", "width"),
    "frames": ("num_frames", "video_frames", "video_num_frames", "frames"),
}
"""What two rows may differ by; any other setting is a thing of its own."""

KNOWN = frozenset({*itertools.chain.from_iterable(THINGS.values()), "guidance_scale", "model_family"})
"""Settings, whatever their values look like."""

FEWEST_ROWS = 10
OWN_VALUES = 0.5
"""Of so many rows or more, a number that takes another value in more than half of them was measured, not chosen."""

NAMES = {
    "batch": "batch",
    "precision": "tensor-cores",
    "parallelism": "gpu-count",
    "gpu": "gpu-model",
    "model size": "model-size",
    "steps": "steps",
    "resolution": "resolution",
    "frames": "frames",
    "model_family": "model-size",
}
"""The rule that ought to be named first."""

RENAMED = {
    "tensor_parallel": "tensor_parallel_size",
    "expert_parallel": "expert_parallel_size",
    "data_parallel": "data_parallel_size",
    "pipeline_parallel": "pipeline_parallel_size",
    "activated_params_billions": "activated_parameters",
    "total_params_billions": "parameters",
    "model_id": "model",
}


@dataclass(frozen=True)
class Case:
    """One ordered pair: what differs, and what was said of it."""

    thing: str
    before: Row
    after: Row
    diagnosis: Diagnosis

    @property
    def level(self) -> bool:
        """Whether the change is within the noise, so that there is nothing to explain."""
        return abs(self.diagnosis.change) <= self.diagnosis.noise

    @property
    def named(self) -> bool:
        """Whether the thing that differs is the first cause."""
        causes = self.diagnosis.causes
        return bool(causes) and causes[0].rule == NAMES.get(self.thing, "setting")

    @property
    def sized(self) -> bool:
        """Whether its rule states a range at all."""
        return self.named and self.diagnosis.causes[0].low is not None

    @property
    def within(self) -> bool:
        """Whether the change lies in that range."""
        if not self.sized:
            return False
        cause, change = self.diagnosis.causes[0], self.diagnosis.change
        return (cause.low or 0.0) <= change <= (cause.high or 0.0)

    @property
    def directed(self) -> bool | None:
        """Whether the change has the direction of its range; ``None`` if that reaches to both, or there is none."""
        if not self.sized:
            return None
        cause = self.diagnosis.causes[0]
        low, high = cause.low or 0.0, cause.high or 0.0
        return None if low < 0 < high else (low + high) * self.diagnosis.change > 0

    @property
    def width(self) -> float:
        """Upper over lower end of the stated range, as a factor of joules per unit."""
        cause = self.diagnosis.causes[0]
        return math.exp((cause.high or 0.0) - (cause.low or 0.0))

    @property
    def least(self) -> float:
        """What the range says that the thing accounts for at least, as a share of the change."""
        bounds = self.diagnosis.accountable(self.diagnosis.causes[0]) if self.named else None
        return 0.0 if bounds is None else max(0.0, bounds[0] / self.diagnosis.change)

    @property
    def rest(self) -> float:
        """What stays unexplained, as a share of the change."""
        return abs(self.diagnosis.unexplained / self.diagnosis.change)

    def describe(self) -> str:
        """The pair and the range in one line."""
        fields = THINGS.get(self.thing, (self.thing,))
        differs = ", ".join(
            f"{name} {self.before.get(name)} -> {self.after.get(name)}"
            for name in ("model_id", *fields)
            if self.before.get(name) != self.after.get(name)
        )
        shared = f"{self.after.get('model_id')}, {self.after.get('gpu_model')} x {self.after.get('num_gpus')}"
        batch = self.after.get("max_num_seqs", self.after.get("batch_size"))
        cause = next(iter(self.diagnosis.causes), None)
        known = cause is not None and cause.low is not None
        bounds = f"{_percent(cause.low)} to {_percent(cause.high)}" if known and cause is not None else "no range"
        return f"{shared}, batch {batch}: {differs}: {_percent(self.diagnosis.change)} ({bounds})"


def cases(rows: Sequence[Row], noise: float) -> Iterator[Case]:
    """Every ordered pair of ``rows`` with joules and watts that differs by one thing."""
    whole = [row for row in rows if complete(row)]
    measured = outcomes(whole)
    for one, other in itertools.combinations([_prepared(row, measured) for row in whole], 2):
        thing = difference(one, other)
        if thing:
            for before, after in ((one, other), (other, one)):
                yield Case(thing, before, after, explain(observe(before), observe(after), noise))


def difference(one: Row, other: Row) -> str:
    """The one thing that two prepared rows differ by; empty if it is none, or more than one."""
    names = {name for name in {*one, *other} if not OUTCOMES.search(name) and one.get(name) != other.get(name)}
    names.discard("model_id")
    things = {next((thing for thing, fields in THINGS.items() if name in fields), name) for name in names}
    return things.pop() if len(things) == 1 else ""


def outcomes(rows: Sequence[Row]) -> frozenset[str]:
    """Fields that say what came out: by their names; and of those that nobody here knows, by their values.

    Somebody chose a text, a switch or a whole number, and chose it for several rows.  Tables, fractions, and numbers
    that most rows have for themselves were measured.
    """
    names = {name for row in rows for name in row}
    return frozenset(name for name in names if OUTCOMES.search(name) or (name not in KNOWN and _measured(rows, name)))


def _measured(rows: Sequence[Row], name: str) -> bool:
    values = [row[name] for row in rows if row.get(name) is not None]
    if any(isinstance(value, (list, dict)) or (isinstance(value, float) and value % 1) for value in values):
        return True
    numbers = [value for value in values if isinstance(value, (int, float))]
    return len(numbers) >= FEWEST_ROWS and len(set(numbers)) > OWN_VALUES * len(numbers)


def complete(row: Row) -> bool:
    """Whether a row has joules of some unit, watts and a GPU."""
    return unit_of(row) != "" and _positive(row.get("avg_power_watts")) and bool(row.get("gpu_model"))


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf


def _prepared(row: Row, measured: frozenset[str]) -> dict[str, Any]:
    """A row without what came out of it, but for what an observation takes; its model told apart into family and size.

    The precision is a field of its own.
    """
    kept = {"avg_power_watts", "avg_batch_size", "avg_output_len", f"energy_per_{unit_of(row)}_joules"}
    row = {name: value for name, value in row.items() if value is not None and (name in kept or name not in measured)}
    name = str(row.get("model_id", ""))
    name = re.sub(r"[-_](FP8|NVFP4|INT8|AWQ|BF16)\b", "", name, flags=re.IGNORECASE)
    size = "".join(re.findall(r"\d+(?:\.\d+)?B\b|A\d+B|small|medium|large", name, flags=re.IGNORECASE))
    family = re.sub(r"\d+(?:\.\d+)?B(?=[-_]|$)|small|medium|large", "", name, flags=re.IGNORECASE)
    return {**row, "model_family": family, "model_size": size}


def unit_of(row: Row) -> str:
    """The unit of a row's joules: a token, an image, a video, before a request; empty if it has none."""
    units = [
        found[1]
        for name, value in row.items()
        if (found := re.fullmatch(r"energy_per_(\w+)_joules", name)) and _positive(value)
    ]
    return next((unit for unit in units if unit != "request"), next(iter(units), ""))


def observe(row: Row) -> Observation:
    """A row as one side of a comparison; seconds per unit follow from joules and watts."""
    unit = unit_of(row)
    joules = float(row[f"energy_per_{unit}_joules"])
    settings = {
        RENAMED.get(name, name): str(value)
        for name, value in row.items()
        if not OUTCOMES.search(name) and name not in ("gpu_model", "num_gpus", "model_family", "model_size")
    }
    steps, length = row.get("inference_steps", row.get("num_inference_steps")), row.get("avg_output_len")
    heights = [row[name] for name in ("image_height", "video_height", "height") if name in row]
    widths = [row[name] for name in ("image_width", "video_width", "width") if name in row]
    frames = next((row[name] for name in THINGS["frames"] if name in row), None)
    piece = "frame" if unit == "video" else "image"
    told = {
        f"steps_per_{unit}": steps,
        "tokens_per_request": length,
        f"megapixels_per_{piece}": heights[0] * widths[0] / 1e6 if heights and widths else None,
        "frames_per_video": frames,
    }
    running = row.get("avg_batch_size")
    return Observation(
        joules_per_unit=joules,
        seconds_per_unit=joules / float(row["avg_power_watts"]),
        unit=unit,
        device=f"NVIDIA {row['gpu_model']}",
        count=int(row.get("num_gpus", 1)),
        conditions=Conditions(
            facts={name: float(value) for name, value in told.items() if value is not None},
            configuration=settings,
            signals={} if running is None else {"running_requests": float(running)},
        ),
    )


def table(found: Iterable[Case]) -> str:
    """How many of how many, by what differs."""
    lines = [
        "| differs by | pairs | level | named first | right direction, where one is stated | in the stated range "
        "| that range, end to end | explained at least, median | unexplained, median and nine of ten |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[Case]] = {}
    for case in found:
        groups.setdefault(case.thing, []).append(case)
    for thing, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        moved = [case for case in group if not case.level]
        rests = sorted(case.rest for case in moved)
        rest = (
            f"{format_percent(median(rests))}, {format_percent(rests[int(0.9 * (len(rests) - 1))])}" if rests else "-"
        )
        least = format_percent(median(case.least for case in moved), digits=0) if moved else "-"
        directed = (case.directed for case in moved)
        widths = [case.width for case in moved if case.sized]
        lines.append(
            f"| {thing} | {len(group)} | {len(group) - len(moved)} | {_of(case.named for case in moved)} "
            f"| {_of(right for right in directed if right is not None)} | {_of(case.within for case in moved)} "
            f"| {f'x {median(widths):.2f}' if widths else '-'} | {least} | {rest} |"
        )
    return "\n".join(lines)


def _of(hits: Iterable[bool]) -> str:
    known = list(hits)
    return f"{sum(known)} of {len(known)}" if known else "-"


def _percent(log: float | None) -> str:
    return "?" if log is None else format_percent(math.expm1(log), signed=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each file, and what was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--noise", type=float, default=2.0, help="percent that two runs of one row may differ by")
    parser.add_argument("--misses", type=int, default=0, help="print so many pairs outside their range of each thing")
    options = parser.parse_args(arguments)
    for path in options.files:
        task = json.loads(path.read_text(encoding="utf-8"))
        found = list(cases(task["configurations"], math.log1p(options.noise / 100)))
        rows = task["configurations"]
        left_out = len(rows) - sum(map(complete, rows))
        print(f"\n{task.get('task', path.stem)}: {len(rows)} rows", f"({left_out} incomplete)" if left_out else "")
        print(f"\n{table(found)}")
        for thing in sorted({case.thing for case in found}):
            missed = [case for case in found if case.thing == thing and not case.level and not case.within]
            for case in sorted(missed, key=lambda case: -case.rest)[: options.misses]:
                print(f"  missed, {thing}: {case.describe()}")


if __name__ == "__main__":
    main()
