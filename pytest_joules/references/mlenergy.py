"""Published measurements of the ML.ENERGY Benchmark, in the three forms that it has.

- A *task file* of the leaderboard: ``public/data/tasks/*.json`` of github.com/ml-energy/leaderboard, as its
  ``scripts/build_data.py`` writes them.
- A *table* of the data set: ``runs/llm.parquet`` and ``runs/diffusion.parquet`` of ``ml-energy/benchmark-v3``, whose
  columns are those of ``LLMRun`` and ``DiffusionRun`` of github.com/ml-energy/data.
- A *run*: ``results.json``, as ``mlenergy/benchmark/llm/benchmark.py`` and ``diffusion/benchmark.py`` of
  github.com/ml-energy/benchmark write one; what a run comes to is calculated as ``mlenergy.data.records`` does.

Joules and watts are those of all GPUs together.  A token is one that was generated in the steady state, and the joules
of prefill are in it.  Joules per request are joules per token times the mean output length.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import DecodeError
from msgspec.json import decode

from pytest_joules.codec import shown
from pytest_joules.files import missing
from pytest_joules.model import Reference
from pytest_joules.references.configuration import told_apart
from pytest_joules.stored import LARGEST_FILE
from pytest_joules.units import LARGEST_NUMBER, SMALLEST_NUMBER, plural, significant

LEADERBOARD, DATA, BENCHMARK = "ML.ENERGY leaderboard", "mlenergy-data", "ML.ENERGY benchmark"
"""Sources."""

CHAT_TASKS = ("lm-arena-chat", "gpqa", "sourcegraph-fim", "image-chat", "video-chat", "audio-chat", "omni-chat")
PICTURE_TASKS = {"text-to-image": "image", "text-to-video": "video"}
"""Workloads of the benchmark; those of diffusion models with what is generated."""

PARQUET_EXTRA = "pip install 'pytest-joules[parquet]'"

PERCENTILES = (50, 90, 95, 99)

STEADY_SECONDS, FULL_BATCH = 20.0, 0.85
"""A shorter steady state is not stable, nor is one of a smaller share of ``max_num_seqs``, as ``LLMRuns`` has it."""

_DESCRIPTION = frozenset(("nickname", "architecture", "total_params_billions", "activated_params_billions"))
"""Fields that tell about the model, and go without saying once it is named."""

_LLM_SETTINGS = (
    "num_gpus",
    "max_num_seqs",
    "tensor_parallel",
    "expert_parallel",
    "data_parallel",
    "weight_precision",
)
_NAME = re.compile(r"(?! )[^,=]{1,200}(?<! )")


class MlEnergyError(Exception):
    """A file that cannot be imported; the message names it, the field at fault and the fix."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of files whose form leaves it out.

    Attributes:
        day: When they were published.
        task: The workload; the path of a run tells it where it is as the benchmark left it.
        gpu: What a run of a diffusion model ran on; the same.
    """

    day: date
    task: str | None = None
    gpu: str | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """What files give.

    Attributes:
        references: Their measurements.
        notes: What of them was left out, and why: one line each.
    """

    references: tuple[Reference, ...]
    notes: tuple[str, ...] = ()


class _Row:
    """One object of a file; it knows where it stands, and which of its fields were asked for."""

    def __init__(self, data: Any, place: str) -> None:
        if not isinstance(data, dict):
            raise MlEnergyError(f"{place}: {shown(str(data), 40)!r} is no object")
        self.place = place
        self._data: dict[str, Any] = data
        self._asked: set[str] = set()

    def number(self, name: str) -> float:
        """A number above zero."""
        value = self._get(name)
        if type(value) not in (int, float) or not SMALLEST_NUMBER <= value <= LARGEST_NUMBER:
            raise self.odd(name, "a number above zero")
        return significant(value)

    def count(self, name: str) -> float:
        """A number, or zero."""
        value = self._get(name)
        if type(value) not in (int, float) or not 0 <= value <= LARGEST_NUMBER:
            raise self.odd(name, "a number")
        return float(value)

    def text(self, name: str) -> str:
        """A name, or a whole number or a flag as text."""
        value = self._get(name)
        if type(value) is bool:
            return str(value).lower()
        if type(value) in (int, float) and 0 <= value <= LARGEST_NUMBER and value == int(value):
            return str(int(value))
        if type(value) is not str or not _NAME.fullmatch(value) or not value.isprintable():
            raise self.odd(name, "a whole number, or a name without a comma")
        return value

    def inner(self, name: str) -> _Row:
        """An object within it."""
        return _Row(self._get(name), f"{self.place}: {name}")

    def numbers(self, name: str) -> list[float]:
        """Numbers, zero among them; none of a request that failed."""
        value = self._get(name)
        if not isinstance(value, list) or not all(type(n) in (int, float) and 0 <= n <= LARGEST_NUMBER for n in value):
            raise self.odd(name, "a list of numbers")
        return value

    def inners(self, name: str) -> list[_Row]:
        """The objects of a list that is not empty."""
        value = self._get(name)
        if not isinstance(value, list) or not value:
            raise self.odd(name, "a list with something in it")
        return [_Row(item, f"{self.place}: {name}[{number}]") for number, item in enumerate(value)]

    def total(self, name: str) -> float:
        """The sum of an object of numbers, such as joules by GPU."""
        within = self.inner(name)
        return sum(within.number(gpu) for gpu in within._data)

    def has(self, name: str) -> bool:
        """Whether there is a value; some versions write null or NaN instead."""
        self._asked.add(name)
        value = self._data.get(name)
        return value is not None and not _is_nan(value)

    def known(self, **fields: str) -> dict[str, float]:
        """Numbers under names of ours, of those fields that have a value."""
        return {name: self.number(field) for name, field in fields.items() if self.has(field)}

    def unknown(self) -> set[str]:
        """Fields that nobody asked for."""
        return self._data.keys() - self._asked - _DESCRIPTION

    def odd(self, name: str, wanted: str) -> MlEnergyError:
        """What to say of a field that is not what it should be."""
        return MlEnergyError(f"{self.place}: {name!r} is {shown(str(self._data[name]), 40)!r}, not {wanted}")

    def _get(self, name: str) -> Any:
        self._asked.add(name)
        if (value := self._data.get(name)) is None:
            raise MlEnergyError(
                f"{self.place}: no {name!r}: another version of the format, or not the whole file; "
                "take it from its source as it is now"
            )
        return value


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def read_mlenergy(paths: Sequence[Path], told: Told) -> Imported:
    """Read files in any of the forms; their content tells which.

    Raises:
        MlEnergyError: if one is in none of them, or in another version of it.
    """
    found = [_read(path, told) for path in paths]
    return Imported(
        told_apart(reference for imported in found for reference in imported.references),
        tuple(note for imported in found for note in imported.notes),
    )


def _read(path: Path, told: Told) -> Imported:
    data = _bytes(path)
    if data.startswith(b"PAR1"):
        return _table(path, told)
    content = _json(data, path)
    for mark, form in _FORMS.items():
        if isinstance(content, dict) and mark in content:
            return form(_Row(content, str(path)), path, told)
    marks = ", ".join(f"no {mark!r}" for mark in _FORMS)
    raise MlEnergyError(
        f"{path}: neither a task file of the leaderboard, nor a table of mlenergy-data, nor a results.json of the "
        f"benchmark ({marks})"
    )


def _bytes(path: Path) -> bytes:
    if fault := missing(path):
        raise MlEnergyError(f"{path}: {fault}")
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise MlEnergyError(f"{path}: {size} bytes is too large for a task file, a table or a run")
        data = path.read_bytes()
    except OSError as error:
        raise MlEnergyError(f"{path}: {error.strerror}") from error
    if not data.strip():
        raise MlEnergyError(f"{path}: empty; download it again")
    return data


def _json(data: bytes, path: Path) -> Any:
    try:
        return decode(data)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Python's own writer and reader have NaN and Infinity, which are no JSON.
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(data)
        raise MlEnergyError(f"{path}: neither JSON nor Parquet: {shown(str(error))}") from error


def _known_task(task: str, place: str) -> str:
    if task not in (*CHAT_TASKS, *PICTURE_TASKS):
        known = ", ".join((*CHAT_TASKS, *PICTURE_TASKS))
        raise MlEnergyError(f"{place}: unknown task {shown(task, 40)!r}; known are {known}")
    return task


# -- the leaderboard's task files, and mlenergy-data's tables --


def _leaderboard(head: _Row, path: Path, told: Told) -> Imported:
    task, rows = _known_task(head.text("task"), str(path)), head.inners("configurations")
    if task in PICTURE_TASKS:
        unit = PICTURE_TASKS[task]
        names = _Pictures(
            joules=f"energy_per_{unit}_joules",
            throughput=f"throughput_{unit}s_per_sec",
            height=f"{unit}_height",
            width=f"{unit}_width",
        )
        references = [_pictures(row, task, names, LEADERBOARD, told.day) for row in rows]
    else:
        references = [_chat(row, task, LEADERBOARD, told.day) for row in rows]
    return Imported(tuple(references), (*_not_used(path, gpu=told.gpu, task=told.task), *_fields_left_out(rows, path)))


def _table(path: Path, told: Told) -> Imported:
    rows = [_Row(data, f"{path}: row {number}") for number, data in enumerate(_parquet(path))]
    references, unstable = [], 0
    for row in rows:
        task = _known_task(row.text("task"), row.place)
        if task in PICTURE_TASKS:
            names = _Pictures("energy_per_generation_joules", "throughput_generations_per_sec", "height", "width")
            references.append(_pictures(row, task, names, DATA, told.day))
        elif row.text("is_stable") == "true":
            references.append(_chat(row, task, DATA, told.day))
        else:
            unstable += 1
    notes = (f"{path}: {plural(unstable, 'run')} left out, which the data set calls unstable",) if unstable else ()
    return Imported(tuple(references), (*_not_used(path, gpu=told.gpu, task=told.task), *notes))


def _not_used(path: Path, **flags: str | None) -> tuple[str, ...]:
    """Flags that were given of a file that tells what they would."""
    return tuple(f"{path}: --{what} {value} not used: it tells its own" for what, value in flags.items() if value)


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError:
        raise MlEnergyError(f"{path}: a Parquet file needs pyarrow: {PARQUET_EXTRA}") from None
    try:
        table = read_table(path)
    except (ArrowException, OSError) as error:
        raise MlEnergyError(f"{path}: no sound Parquet file: {shown(str(error))}") from error
    # What has a value in some rows only is a column of floats, with NaN for none.
    yield from table.to_pylist()


def _chat(row: _Row, task: str, source: str, day: date) -> Reference:
    joules = {"token": row.number("energy_per_token_joules"), **row.known(request="energy_per_request_joules")}
    milliseconds = {p: row.number("median_itl_ms" if p == 50 else f"p{p}_itl_ms") for p in PERCENTILES}
    return Reference(
        model=row.text("model_id"),
        task=task,
        gpu=row.text("gpu_model"),
        settings=_settings(row, _LLM_SETTINGS, ["max_num_batched_tokens"]),
        source=source,
        date=day.isoformat(),
        joules=joules,
        seconds={
            **{f"itl_p{p}": significant(value / 1000) for p, value in milliseconds.items()},
            "unit": significant(1 / row.number("output_throughput_tokens_per_sec")),
        },
        watts=row.number("avg_power_watts"),
        facts=row.known(tokens_per_request="avg_output_len", running_requests="avg_batch_size"),
    )


@dataclass(frozen=True, slots=True)
class _Pictures:
    """What the fields of a diffusion model's measurement are called in one form."""

    joules: str
    throughput: str
    height: str
    width: str


def _pictures(row: _Row, task: str, names: _Pictures, source: str, day: date) -> Reference:
    unit = PICTURE_TASKS[task]
    joules = {unit: row.number(names.joules)}
    settings = _settings(
        row,
        ["num_gpus", "batch_size", "inference_steps", "ulysses_degree", "ring_degree", "weight_precision"],
        ["use_torch_compile"],
    )
    settings |= {"height": row.text(names.height), "width": row.text(names.width)}
    if unit == "video":
        settings |= {name: row.text(name) for name in ("num_frames", "fps")}
    return Reference(
        model=row.text("model_id"),
        task=task,
        gpu=row.text("gpu_model"),
        settings=settings,
        source=source,
        date=day.isoformat(),
        joules=joules,
        seconds={"call": row.number("batch_latency_s"), "unit": significant(1 / row.number(names.throughput))},
        watts=row.number("avg_power_watts"),
    )


def _settings(row: _Row, required: Iterable[str], optional: Iterable[str]) -> dict[str, str]:
    return {name: row.text(name) for name in (*required, *filter(row.has, optional))}


def _fields_left_out(rows: Sequence[_Row], path: Path) -> tuple[str, ...]:
    unknown = sorted({name for row in rows for name in row.unknown()})
    return (f"{path}: fields left out: {', '.join(map(shown, unknown))}",) if unknown else ()


# -- a run of the benchmark --


def _chat_run(row: _Row, path: Path, told: Told) -> Imported:
    task, notes = _task_of_run(path, told), _not_used(path, gpu=told.gpu)
    running = _running(path)
    if why := _unstable(row, running):
        return Imported((), (*notes, f"{path}: left out, {why}"))
    energy, seconds = row.number("steady_state_energy"), row.number("steady_state_duration")
    token = row.number("steady_state_energy_per_token")
    length = row.number("total_output_tokens") / row.number("completed")
    reference = Reference(
        model=row.text("model_id"),
        task=task,
        gpu=row.text("gpu_model"),
        settings=_settings(row, ["num_gpus", "max_num_seqs"], ["max_num_batched_tokens"]),
        source=BENCHMARK,
        date=_day_of_run(row),
        joules={"token": token, "request": significant(token * length)},
        seconds={
            **_inter_token(row),
            **_percentiles(row, "ttft", "ttft"),
            **_percentiles(row, "e2e", "e2el"),
            "unit": significant(seconds * token / energy),
        },
        watts=significant(energy / seconds),
        facts={"tokens_per_request": significant(length), **({"running_requests": running} if running else {})},
    )
    return Imported((reference,), notes)


def _unstable(row: _Row, running: float | None) -> str:
    """Why a run is none of a steady state with a full batch; empty if it is."""
    completed, wanted = row.count("completed"), row.number("num_prompts")
    if completed < wanted:
        return f"only {completed:.0f} of {wanted:.0f} requests were answered"
    seconds, cap = row.count("steady_state_duration"), row.number("max_num_seqs")
    if seconds < STEADY_SECONDS:
        return f"its steady state of {seconds:.0f} s is under {STEADY_SECONDS:.0f} s"
    if running is not None and running < FULL_BATCH * cap:
        return f"only {running:.0f} of {cap:.0f} requests ran at a time"
    return ""


def _running(path: Path) -> float | None:
    """How many requests ran at a time, as the benchmark writes it to a file beside the run's."""
    beside = path.with_name("prometheus.json")
    if not beside.is_file():
        return None
    stats = _Row(_json(_bytes(beside), beside), str(beside)).inner("steady_state_stats")
    return stats.known(running="vllm:num_requests_running").get("running")


def _percentiles(row: _Row, name: str, field: str) -> dict[str, float]:
    told = row.known(**{f"{name}_p{p}": f"p{p}_{field}_ms" for p in PERCENTILES})
    return {ours: significant(milliseconds / 1000) for ours, milliseconds in told.items()}


def _inter_token(row: _Row) -> dict[str, float]:
    """Percentiles of the time between tokens, s, over all requests."""
    from numpy import percentile

    gaps = [gap for request in row.inners("results") for gap in between_tokens(request.numbers("itl"))]
    if not gaps:
        raise MlEnergyError(f"{row.place}: no request of 'results' tells times between tokens, 'itl'")
    return {f"itl_p{p}": significant(float(percentile(gaps, p))) for p in PERCENTILES}


def between_tokens(seconds: Sequence[float]) -> Iterator[float]:
    """The times between tokens of one request, s, where tokens that came in one piece share its time.

    The benchmark writes the time before a piece, and a zero for each further token in it; zeros in front are the first
    piece, which came without a time.  As ``mlenergy.data.records`` has it.
    """
    starts = [number for number, gap in enumerate(seconds) if gap > 0]
    for start, end in pairwise([*starts, len(seconds)]):
        yield from [seconds[start] / (end - start)] * (end - start)


def _picture_run(row: _Row, path: Path, told: Told) -> Imported:
    task = "text-to-video" if row.has("num_frames") else "text-to-image"
    unit, batch, layout = PICTURE_TASKS[task], row.number("batch_size"), row.inner("configurations")
    degrees = {name: layout.text(name) for name in ("ulysses_degree", "ring_degree", "use_torch_compile")}
    iterations = row.inners("iteration_energy_measurements")
    energy = sum(iteration.total("gpu_energy") for iteration in iterations) / len(iterations)
    seconds = sum(iteration.number("time") for iteration in iterations) / len(iterations)
    settings = {
        "num_gpus": f"{layout.number('ulysses_degree') * layout.number('ring_degree'):.0f}",
        **{name: row.text(name) for name in ("batch_size", "inference_steps")},
        **degrees,
        **{name: row.text(name) for name in ("height", "width", *(("num_frames", "fps") if unit == "video" else ()))},
    }
    reference = Reference(
        model=row.text("model_id"),
        task=task,
        gpu=_gpu_of_run(path, told),
        settings=settings,
        source=BENCHMARK,
        date=_day_of_run(row),
        joules={unit: significant(energy / batch)},
        seconds={"call": significant(seconds), "unit": significant(seconds / batch)},
        watts=significant(energy / seconds),
    )
    return Imported((reference,), _not_used(path, task=told.task))


def _task_of_run(path: Path, told: Told) -> str:
    if told.task is not None:
        return _known_task(told.task, "--task")
    found = [part for part in path.absolute().parts if part in CHAT_TASKS]
    if not found:
        raise MlEnergyError(f"{path}: neither it nor its path tells the task: give --task, like --task lm-arena-chat")
    return found[-1]


def _gpu_of_run(path: Path, told: Told) -> str:
    if told.gpu is not None:
        return told.gpu
    published = re.search(r"/diffusion/([a-zA-Z0-9-]+)/[^/]+/run/diffusion/", path.absolute().as_posix())
    if published is None:
        raise MlEnergyError(f"{path}: neither it nor its path tells the GPU: give --gpu, like --gpu H100")
    return published[1].upper()


def _day_of_run(row: _Row) -> str:
    try:
        return datetime.strptime(row.text("date"), "%Y%m%d-%H%M%S").date().isoformat()
    except ValueError:
        raise row.odd("date", "a time like 20251130-235959") from None


_Form = Callable[[_Row, Path, Told], Imported]

_FORMS: dict[str, _Form] = {
    "iteration_energy_measurements": _picture_run,
    "steady_state_energy": _chat_run,
    "configurations": _leaderboard,
}
"""By a field that tells each from those below it; whether it is what it should be, is looked at when it is read."""
