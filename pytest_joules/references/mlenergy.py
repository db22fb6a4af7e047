"""Published measurements of the ML.ENERGY Benchmark, in the three forms that it has.

- A *task file* of the leaderboard: ``public/data/tasks/*.json`` of github.com/ml-energy/leaderboard, as its
  ``scripts/build_data.py`` writes them.
- A *table* of the data set: ``runs/llm.parquet`` and ``runs/diffusion.parquet`` of ``ml-energy/benchmark-v3``, whose
  columns are those of ``LLMRun`` and ``DiffusionRun`` of github.com/ml-energy/data.
- A *run*: ``results.json``, as ``mlenergy/benchmark/llm/benchmark.py`` and ``diffusion/benchmark.py`` of
  github.com/ml-energy/benchmark write one; what a run comes to is calculated as ``mlenergy-data`` does.

Energy is that of all GPUs together, and power is, too.  A token is one that was generated in the steady state: the
joules of prefill are in it.  Joules per request are joules per token times the mean output length.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from msgspec import DecodeError
from msgspec.json import decode

from pytest_joules.codec import shown
from pytest_joules.files import missing
from pytest_joules.model import Reference
from pytest_joules.units import LARGEST_NUMBER, SMALLEST_NUMBER

LARGEST_FILE = 512 * 1024 * 1024
LONGEST_TEXT = 200
_NAME = re.compile(rf"(?! )[^,=]{{1,{LONGEST_TEXT}}}(?<! )")

LEADERBOARD = "ML.ENERGY leaderboard"

CHAT_TASKS = ("lm-arena-chat", "gpqa", "sourcegraph-fim", "image-chat", "video-chat", "audio-chat", "omni-chat")
IMAGE_TASK, VIDEO_TASK = "text-to-image", "text-to-video"
TASKS = (*CHAT_TASKS, IMAGE_TASK, VIDEO_TASK)
"""Workloads of the benchmark."""

_DESCRIPTION = ("nickname", "architecture", "total_params_billions", "activated_params_billions")
"""Fields that tell about the model, and go without saying once it is named."""

RUN = "run"
"""The setting that counts runs of one configuration that nothing else tells apart."""


class MlEnergyError(Exception):
    """A file that cannot be imported; the message names it, the field at fault and the fix."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file gives.

    Attributes:
        references: Its measurements.
        notes: What of it was left out, and why: one line each.
    """

    references: tuple[Reference, ...]
    notes: tuple[str, ...] = ()


class _Row:
    """One object of a file; it knows where it stands, and which of its fields were asked for."""

    def __init__(self, data: Any, place: str) -> None:
        if not isinstance(data, dict):
            raise MlEnergyError(f"{place}: not an object, but {shown(str(data), 40)!r}")
        self._data, self._place = data, place
        self._asked: set[str] = set()

    def number(self, name: str) -> float:
        """A number above zero."""
        value = self._get(name)
        if type(value) not in (int, float) or not SMALLEST_NUMBER <= value <= LARGEST_NUMBER:
            raise self._odd(name, "a number above zero")
        return float(value)

    def text(self, name: str) -> str:
        """A setting or a name, as text: one line without the signs that a name of a reference is made of."""
        value = self._get(name)
        if type(value) is bool:
            return str(value).lower()
        if type(value) is int or (type(value) is float and value.is_integer()):
            return str(int(value))[:LONGEST_TEXT]
        if type(value) is not str or not _NAME.fullmatch(value) or not value.isprintable():
            raise self._odd(name, "a whole number, or a name without a comma")
        return value

    def has(self, name: str) -> bool:
        """Whether there is a value; some versions write null instead."""
        self._asked.add(name)
        return self._data.get(name) is not None

    def optional(self, name: str) -> float | None:
        """A number above zero, if there is one."""
        return self.number(name) if self.has(name) else None

    def unknown(self) -> set[str]:
        """Fields that nobody asked for."""
        return self._data.keys() - self._asked

    def _get(self, name: str) -> Any:
        if not self.has(name):
            raise MlEnergyError(
                f"{self._place}: no {name!r}: the format is another version's, or the file is not whole; "
                "take it from the source as it is now"
            )
        return self._data[name]

    def _odd(self, name: str, wanted: str) -> MlEnergyError:
        return MlEnergyError(f"{self._place}: {name!r} is {shown(str(self._data[name]), 40)!r}, not {wanted}")


def read_mlenergy(path: Path, day: date) -> Imported:
    """Read a file in any of the forms.

    Args:
        path: The file; its content tells which form it is.
        day: When it was published, where the file does not tell.

    Raises:
        MlEnergyError: if it is none of them, or of another version.
    """
    if fault := missing(path):
        raise MlEnergyError(f"{path}: {fault}")
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise MlEnergyError(f"{path}: {size} bytes is too large for a task file, a table or a run")
    try:
        data = path.read_bytes()
        if not data.strip():
            raise MlEnergyError(f"{path}: empty; download it again")
        content = decode(data)
    except OSError as error:
        raise MlEnergyError(f"{path}: {error.strerror}") from error
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MlEnergyError(f"{path}: neither JSON nor Parquet: {shown(str(error))}") from error
    if isinstance(content, dict) and isinstance(content.get("configurations"), list):
        return _leaderboard(content, str(path), day)
    raise MlEnergyError(
        f"{path}: neither a task file of the leaderboard (no list 'configurations'), nor a table of mlenergy-data, "
        "nor a results.json of the benchmark (no 'steady_state_energy', no 'iteration_energy_measurements')"
    )


def _leaderboard(content: dict[str, Any], path: str, day: date) -> Imported:
    head = _Row({name: value for name, value in content.items() if name != "configurations"}, path)
    task = _known_task(head.text("task"), path)
    rows = [_Row(row, f"{path}: configurations[{number}]") for number, row in enumerate(content["configurations"])]
    if not rows:
        raise MlEnergyError(f"{path}: no configurations; download it again")
    read = _llm if task in CHAT_TASKS else _diffusion
    references = [read(row, task, LEADERBOARD, day.isoformat()) for row in rows]
    return Imported(_told_apart(references), _left_out(rows, path))


def _known_task(task: str, path: str) -> str:
    if task not in TASKS:
        raise MlEnergyError(f"{path}: unknown task {shown(task, 40)!r}; known are {', '.join(TASKS)}")
    return task


def _llm(row: _Row, task: str, source: str, day: str) -> Reference:
    joules = {"token": row.number("energy_per_token_joules")}
    if (request := row.optional("energy_per_request_joules")) is not None:
        joules["request"] = request
    percentiles = {"itl_p50": "median_itl_ms", **{f"itl_p{p}": f"p{p}_itl_ms" for p in (90, 95, 99)}}
    seconds = {name: row.number(field) / 1000 for name, field in percentiles.items()}
    seconds["unit"] = 1 / row.number("output_throughput_tokens_per_sec")
    known = {"tokens_per_request": row.optional("avg_output_len"), "running": row.optional("avg_batch_size")}
    return Reference(
        model=row.text("model_id"),
        task=task,
        gpu=row.text("gpu_model"),
        settings=_settings(
            row,
            ("num_gpus", "max_num_seqs", "tensor_parallel", "expert_parallel", "data_parallel", "weight_precision"),
            ("max_num_batched_tokens",),
        ),
        source=source,
        date=day,
        joules=joules,
        seconds=seconds,
        watts=row.number("avg_power_watts"),
        facts={name: value for name, value in known.items() if value is not None},
    )


def _diffusion(row: _Row, task: str, source: str, day: str) -> Reference:
    unit = "image" if task == IMAGE_TASK else "video"
    settings = _settings(
        row,
        (
            "num_gpus",
            "batch_size",
            "inference_steps",
            "ulysses_degree",
            "ring_degree",
            "weight_precision",
            f"{unit}_height",
            f"{unit}_width",
            *(("num_frames", "fps") if unit == "video" else ()),
        ),
        ("use_torch_compile",),
    )
    return Reference(
        model=row.text("model_id"),
        task=task,
        gpu=row.text("gpu_model"),
        settings=settings,
        source=source,
        date=day,
        joules={unit: row.number(f"energy_per_{unit}_joules")},
        seconds={
            "call": row.number("batch_latency_s"),
            "unit": 1 / row.number(f"throughput_{unit}s_per_sec"),
        },
        watts=row.number("avg_power_watts"),
    )


def _settings(row: _Row, required: Iterable[str], optional: Iterable[str]) -> dict[str, str]:
    return {name: row.text(name) for name in (*required, *filter(row.has, optional))}


def _told_apart(references: Sequence[Reference]) -> tuple[Reference, ...]:
    """With a number where a configuration was run more than once."""
    keys = [_key(reference) for reference in references]
    several, seen = Counter(keys), Counter[Any]()
    told = []
    for key, reference in zip(keys, references, strict=True):
        seen[key] += 1
        settings = {**reference.settings, RUN: str(seen[key])} if several[key] > 1 else reference.settings
        told.append(replace(reference, settings=settings))
    return tuple(told)


def _key(reference: Reference) -> tuple[str, str, str, frozenset[tuple[str, str]]]:
    return reference.model, reference.task, reference.gpu, frozenset(reference.settings.items())


def _left_out(rows: Sequence[_Row], path: str) -> tuple[str, ...]:
    unknown = {name for row in rows for name in row.unknown()} - {*_DESCRIPTION}
    return (f"{path}: fields left out: {', '.join(map(shown, sorted(unknown)))}",) if unknown else ()
