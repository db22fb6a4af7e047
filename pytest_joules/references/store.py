"""Reads and writes reference files: one JSON file for each GPU, made for review."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import UNSET, DecodeError, Meta, Raw, Struct, UnsetType, ValidationError, convert
from msgspec.json import decode

from pytest_joules.baselines.keys import slug
from pytest_joules.model import Reference
from pytest_joules.references.configuration import configuration, full_name, identity
from pytest_joules.stored import Kind, write
from pytest_joules.units import LARGEST_NUMBER, SMALLEST_NUMBER

SCHEMA_VERSION = 1

Name = Annotated[str, Meta(pattern=r"^[^,=\x00-\x1f\x7f]{1,200}\Z")]
Amount = Annotated[float, Meta(ge=SMALLEST_NUMBER, le=LARGEST_NUMBER)]


class ReferenceFileError(Exception):
    """A reference file that cannot be used; the message names the file, the line and the fix."""


@dataclass(frozen=True, slots=True)
class ReferenceFile:
    """The published measurements on one GPU.

    Attributes:
        gpu: As its publisher names it.
        references: In the order of the file.
    """

    gpu: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class ReferenceChange:
    """What an import did to one file.

    Attributes:
        path: The file.
        added: Measurements that are new.
        changed: Measurements that are not what they were: then and now.
        dropped: Runs of a configuration that the import no longer has.
        same: How many the import has as they were.
        kept: How many the import has nothing of.
    """

    path: Path
    added: tuple[Reference, ...]
    changed: tuple[tuple[Reference, Reference], ...]
    dropped: tuple[Reference, ...]
    same: int
    kept: int


class _Measurement(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    settings: dict[Annotated[str, Meta(pattern=r"^\w+\Z")], Name]
    source: Name
    date: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
    joules: Annotated[dict[str, Amount], Meta(min_length=1)]
    watts: Amount | UnsetType = UNSET
    seconds: dict[str, Amount] | UnsetType = UNSET
    facts: dict[str, Amount] | UnsetType = UNSET


class _Head(Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    gpu: Name
    models: dict[Name, dict[Name, Annotated[list[_Measurement], Meta(min_length=1)]]]


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a reference file."""
    loaded: dict[str, Any] = json.loads(files("pytest_joules.references").joinpath("schema.json").read_text())
    return loaded


KIND = Kind("reference file", SCHEMA_VERSION, ReferenceFileError, schema)


class ReferenceStore:
    """A directory of reference files."""

    def __init__(self, directory: Path) -> None:
        """The directory need not exist until something is imported."""
        self.directory = directory

    def path(self, gpu: str) -> Path:
        """The file of one GPU: ``H100`` is in ``h100.json``."""
        return self.directory / f"{slug(gpu)}.json"

    def all(self) -> tuple[Reference, ...]:
        """The measurements of every file, by the files' names; none if there is no directory.

        Raises:
            ReferenceFileError: if a file is not a sound one.
        """
        try:
            paths = sorted(path for path in self.directory.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ReferenceFileError(f"{self.directory}: cannot be read: {error.strerror}") from error
        found = (read(path) for path in paths)
        return tuple(reference for file in found if file is not None for reference in file.references)

    def update(self, gpu: str, references: Sequence[Reference]) -> ReferenceChange:
        """Put measurements into one GPU's file, in the place of those of the same configuration and source.

        Raises:
            ReferenceFileError: if the file cannot be read, locked or written; it is then as it was.
        """
        path = self.path(gpu)
        with KIND.changing(path):
            self.directory.mkdir(parents=True, exist_ok=True)
            stored = read(path) or ReferenceFile(gpu, ())
            merged, change = merge(stored, references, path)
            text = render(merged)
            KIND.check(text, path, _decode)
            if change.added or change.changed or change.dropped:
                write(path, [text])
        return change


def merge(stored: ReferenceFile, references: Sequence[Reference], path: Path) -> tuple[ReferenceFile, ReferenceChange]:
    """A file with measurements in the place of those of the same configuration and source, and what that changes."""
    old = {identity(reference): reference for reference in stored.references}
    new = {identity(reference): _since(old.get(identity(reference)), reference) for reference in references}
    imported = {configuration(reference) for reference in references}
    kept = [reference for reference in stored.references if configuration(reference) not in imported]
    change = ReferenceChange(
        path=path,
        added=tuple(reference for key, reference in new.items() if key not in old),
        changed=tuple((old[key], now) for key, now in new.items() if key in old and old[key] != now),
        dropped=tuple(was for key, was in old.items() if key not in new and configuration(was) in imported),
        same=sum(old.get(key) == now for key, now in new.items()),
        kept=len(kept),
    )
    return ReferenceFile(stored.gpu, (*kept, *new.values())), change


def _since(was: Reference | None, now: Reference) -> Reference:
    """Numbers that are published again have been known since the first day."""
    return was if was is not None and was.date < now.date and replace(was, date=now.date) == now else now


def is_reference(path: Path) -> bool:
    """Whether it is a reference file, sound or not, as far as can be told by the names of its members."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        members = decode(path.read_bytes(), type=dict[str, Raw])
    except (OSError, DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return {"gpu", "models"} <= members.keys()


def read(path: Path) -> ReferenceFile | None:
    """Read a reference file; ``None`` if there is none.

    Raises:
        ReferenceFileError: if it is not a sound one, or is called after another GPU.
    """
    data = KIND.read(path)
    if data is None:
        return None
    file = parse(data, path)
    if path.stem != slug(file.gpu):
        raise ReferenceFileError(f"{path}: holds measurements on {file.gpu!r}; rename it to {slug(file.gpu)}.json")
    return file


def parse(data: bytes, name: Path | str) -> ReferenceFile:
    """Read a reference file's content; ``name`` is what errors call it.

    Raises:
        ReferenceFileError: if it is not a sound one.
    """
    file = KIND.parse(KIND.text(data, name), name, _decode)
    seen: set[Any] = set()
    for reference in file.references:
        if (key := identity(reference)) in seen:
            raise ReferenceFileError(f"{name}: {full_name(reference)} is there twice; {KIND.restore}")
        seen.add(key)
    return file


def render(file: ReferenceFile) -> str:
    """The file's text: sorted, and one measurement a line, so that a change touches only its own lines."""
    tree: dict[str, dict[str, list[Reference]]] = {}
    for reference in sorted(file.references, key=_order):
        tree.setdefault(reference.model, {}).setdefault(reference.task, []).append(reference)
    head = f' "schema": {SCHEMA_VERSION},\n "gpu": {_dumped(file.gpu)},\n "models": '
    tasks = ((model, _object(((task, _list(found)) for task, found in by.items()), 2)) for model, by in tree.items())
    return f"{{\n{head}{_object(tasks, 1)}\n}}\n"


def _object(members: Iterable[tuple[str, str]], depth: int) -> str:
    pad = " " * (depth + 1)
    text = ",\n".join(f"{pad}{_dumped(name)}: {value}" for name, value in members)
    return f"{{\n{text}\n{pad[1:]}}}" if text else "{}"


def _list(references: Sequence[Reference]) -> str:
    return "[\n" + ",\n".join(f"    {_dumped(_data(reference))}" for reference in references) + "\n   ]"


def _data(reference: Reference) -> dict[str, Any]:
    data: dict[str, Any] = {
        "settings": reference.settings,
        "source": reference.source,
        "date": reference.date,
        "joules": reference.joules,
    }
    data |= {} if reference.watts is None else {"watts": reference.watts}
    data |= {name: numbers for name in ("seconds", "facts") if (numbers := getattr(reference, name))}
    return data


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _order(reference: Reference) -> tuple[Any, ...]:
    settings = [(name, *_natural(value)) for name, value in reference.settings.items()]
    return reference.model, reference.task, settings, reference.source


def _natural(value: str) -> tuple[int, int, str]:
    """8 before 16, and numbers before names."""
    return (0, int(value), "") if value.isdecimal() else (1, 0, value)


def _decode(data: Any) -> ReferenceFile:
    try:
        head = convert(data, _Head)
    except ValidationError as error:
        raise ValueError from error  # the schema says where
    return ReferenceFile(head.gpu, tuple(_references(head)))


def _references(head: _Head) -> Iterator[Reference]:
    for model, tasks in head.models.items():
        for task, measurements in tasks.items():
            for found in measurements:
                yield Reference(
                    model=model,
                    task=task,
                    gpu=head.gpu,
                    settings=found.settings,
                    source=found.source,
                    date=found.date,
                    joules=found.joules,
                    seconds=_numbers(found.seconds),
                    watts=None if found.watts is UNSET else found.watts,
                    facts=_numbers(found.facts),
                )


def _numbers(found: Mapping[str, float] | UnsetType) -> Mapping[str, float]:
    return {} if found is UNSET else found
