"""The quick way into a sound baseline file: every session is checked, and becomes an object when it is asked for.

A file of ten thousand series is a hundred megabytes.  As objects it would be three times that, and a run asks for few
of them: what is kept is the file's own bytes, and where each series is in them.

What this module accepts, the careful reading of :mod:`pytest_joules.baselines.store` accepts, too, and as the same
sessions.  What it does not is :class:`Unclear`, and left to that reading: whether it is sound, and where it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from sys import intern
from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, DecodeError, Meta, Raw, Struct, UnsetType, ValidationError
from msgspec.json import Decoder
from msgspec.structs import fields

from pytest_joules.model import BaselineKey, Block, Conditions, Session, WindowKind
from pytest_joules.units import LARGEST_NUMBER, SMALLEST_NUMBER

MOST_SESSIONS, MOST_DEVICES, MOST_BLOCKS = 20, 1024, 10_000

Amount = Annotated[float, Meta(ge=SMALLEST_NUMBER, le=LARGEST_NUMBER)]
Ratio = Annotated[float, Meta(ge=0, le=LARGEST_NUMBER)]
Name = Annotated[str, Meta(max_length=80)]

# A whole number stays one, so that writing it again changes nothing.
Celsius = Annotated[int, Meta(ge=-100, le=200)] | Annotated[float, Meta(ge=-100, le=200)]
Megahertz = Annotated[int, Meta(ge=0, le=100_000)] | Annotated[float, Meta(ge=0, le=100_000)]
Share = Annotated[int, Meta(ge=0, le=1)] | Annotated[float, Meta(ge=0, le=1)]
Watts = Annotated[int, Meta(ge=0, le=10**7)] | Annotated[float, Meta(ge=0, le=1e7)]


class Unclear(Exception):
    """A file that is not what this module knows; it may be sound."""


class Head(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A baseline file: its series by test, window and unit, as bytes."""

    schema: Literal[1]
    sku: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9+.-]*\Z")]
    device: Annotated[str, Meta(min_length=1, max_length=200)]
    simulated: bool
    entries: dict[str, dict[str, dict[str, Raw]]]


class Line(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One session as it is stored; see ``schema.json``."""

    recorded: Annotated[str, Meta(max_length=40)]
    kind: Literal["repeated", "one-shot", "steady-state"]
    devices: Annotated[list[Name], Meta(min_length=1, max_length=MOST_DEVICES)]
    blocks: Annotated[list[tuple[Amount, Amount, Amount]], Meta(min_length=1, max_length=MOST_BLOCKS)]
    anchor: bool | UnsetType = UNSET
    commit: Name | UnsetType = UNSET
    driver: Name | UnsetType = UNSET
    tolerance: Annotated[float, Meta(ge=SMALLEST_NUMBER, le=1)] | UnsetType = UNSET
    limit: Amount | UnsetType = UNSET
    gate: bool | UnsetType = UNSET
    temperature_celsius: Celsius | UnsetType = UNSET
    sm_clock_mhz: Megahertz | UnsetType = UNSET
    power_cap_share: Share | UnsetType = UNSET
    idle_watts: Watts | UnsetType = UNSET
    sensor_duty: Share | UnsetType = UNSET
    watts: Amount | UnsetType = UNSET
    facts: dict[str, Ratio] | UnsetType = UNSET
    signals: dict[str, Ratio] | UnsetType = UNSET
    configuration: dict[str, Name] | UnsetType = UNSET
    versions: dict[str, Name] | UnsetType = UNSET


_KINDS = {kind.value: kind for kind in WindowKind}
_HEAD = Decoder(Head)
_PARTS = Decoder(list[Raw])
_SERIES = Decoder(Annotated[list[Line], Meta(min_length=1, max_length=MOST_SESSIONS)])


Held: TypeAlias = "Raw | tuple[Session, ...]"
"""A series as a file has it, or as sessions."""


class Entries(Mapping[BaselineKey, tuple[Session, ...]]):
    """The series of a file; each is made when it is asked for, and the last one kept: who asks once asks again.

    Attributes:
        held: What they are made of.
    """

    __slots__ = ("_last", "held")

    def __init__(self, held: Mapping[BaselineKey, Held]) -> None:
        """What is text is sound: :func:`index` has seen to that."""
        self.held = held
        self._last: tuple[BaselineKey, tuple[Session, ...]] | None = None

    def __getitem__(self, key: BaselineKey) -> tuple[Session, ...]:
        held = self.held[key]
        if isinstance(held, tuple):
            return held
        last = self._last
        if last is None or last[0] != key:
            last = self._last = key, tuple([_session(line) for line in _SERIES.decode(held)])
        return last[1]

    def __contains__(self, key: object) -> bool:
        return key in self.held

    def __iter__(self) -> Iterator[BaselineKey]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


def parts(series: Raw) -> list[Raw]:
    """The sessions of a series, each as the file has it."""
    return _PARTS.decode(series)


def index(data: bytes) -> tuple[Head, Entries]:
    """Check a file whole, and find its series.

    Raises:
        Unclear: if it is not a sound file, or one that says simple things in another way.
    """
    if b"\\" in data:
        raise Unclear  # an escaped colon would be none of those that are counted below
    if b"\r" in data:
        raise Unclear  # what is copied as text would have other line ends than what is written
    try:
        head = _HEAD.decode(data)
        colons = len(Head.__struct_fields__) + _colons([head.sku, head.device]) + _colons_of(head.entries)
        series: dict[BaselineKey, Raw] = {}
        for test, windows in head.entries.items():
            colons += _colons_of(windows)
            for window, units in windows.items():
                colons += _colons_of(units)
                for unit, raw in units.items():
                    colons += sum(map(_colons_of_line, _SERIES.decode(raw)))
                    series[BaselineKey(test, window, unit)] = raw
    except (DecodeError, ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise Unclear from error
    # Of a key that is given twice only the last value is kept: the first one's colon is one that nothing accounts for.
    if data.count(b":") != colons:
        raise Unclear
    return head, Entries(series)


def _colons(texts: Iterable[str]) -> int:
    return "".join(texts).count(":")


def _colons_of(members: Mapping[str, object]) -> int:
    """Those of the keys, and behind the keys."""
    return len(members) + _colons(members)


def _colons_of_line(line: Line) -> int:
    if line.anchor is False or line.gate is True:
        raise Unclear  # only a pinned session says so, and only one whose gate was off
    rest = [getattr(line, name) for name in _OPTIONAL]
    texts = [line.recorded, *line.devices]
    names = 0
    for value in rest:
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict):
            names += len(value)
            texts += value
    for settings in (line.configuration, line.versions):
        if settings:
            texts += settings.values()
    return _REQUIRED + len(rest) - rest.count(UNSET) + names + _colons(texts)


_OPTIONAL = [field.name for field in fields(Line) if not field.required]
_REQUIRED = len(Line.__struct_fields__) - len(_OPTIONAL)


def _session(line: Line) -> Session:
    # Many series have sessions of one time and commit, and what is made of them keeps both.
    return Session(
        intern(line.recorded),
        tuple(line.devices),
        tuple([Block(*block) for block in line.blocks]),
        _KINDS[line.kind],
        None if line.commit is UNSET else intern(line.commit),
        None if line.driver is UNSET else line.driver,
        Conditions(
            None if line.temperature_celsius is UNSET else line.temperature_celsius,
            None if line.sm_clock_mhz is UNSET else line.sm_clock_mhz,
            None if line.power_cap_share is UNSET else line.power_cap_share,
            None if line.idle_watts is UNSET else line.idle_watts,
            None if line.sensor_duty is UNSET else line.sensor_duty,
            {} if line.versions is UNSET else line.versions,
            {} if line.facts is UNSET else line.facts,
            {} if line.configuration is UNSET else line.configuration,
            {} if line.signals is UNSET else line.signals,
        ),
        line.anchor is True,
        None if line.tolerance is UNSET else line.tolerance,
        None if line.limit is UNSET else line.limit,
        line.gate is not False,
    )
