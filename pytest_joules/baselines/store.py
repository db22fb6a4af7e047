"""Reads and writes baseline files: hostile reads, atomic and merging writes."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from msgspec import Raw

from pytest_joules.baselines.lines import Entries, Held, Unclear, index, parts
from pytest_joules.codec import without_garbage_collection
from pytest_joules.model import BaselineChange, BaselineKey, Block, Conditions, Session, WindowKind
from pytest_joules.stored import STUMBLES, Kind, write
from pytest_joules.terms import widened_since
from pytest_joules.units import LARGEST_NUMBER, SMALLEST_NUMBER, significant

SCHEMA_VERSION = 1
KEPT_SESSIONS = 10
"""The last sessions of a series that are kept, and the most that are pinned beside them."""

DIGITS = 7
"""Significant digits of a stored number, as few as a diff should show: a hundred times finer than any noise here."""

_OPTIONAL_NUMBERS = ("temperature_celsius", "sm_clock_mhz", "power_cap_share", "idle_watts", "sensor_duty")
SERIES_DEPTH = 4
"""How deep in a file a series is: in entries, test, window and unit."""

_TERMS = ("tolerance", "limit")
"""What a session's budget asked for when it was stored."""

_NUMBERS = {"facts": DIGITS, "signals": 4}
"""Digits of what is stored by name: a signal is known no better."""
_TEXTS = ("configuration", "versions")
_SKU = re.compile(r"[a-z0-9][a-z0-9+.-]*")


class BaselineError(Exception):
    """A baseline file that cannot be used; the message names the file, the line and the fix."""


@dataclass(frozen=True, slots=True)
class BaselineFile:
    """The stored sessions of one SKU, oldest first; empty if there is no file."""

    sku: str
    device: str = ""
    simulated: bool = False
    entries: Mapping[BaselineKey, tuple[Session, ...]] = field(default_factory=dict)

    def sessions(self, key: BaselineKey) -> tuple[Session, ...]:
        """The sessions stored under ``key``; empty if none are."""
        return self.entries.get(key, ())

    def some(self, keys: Iterable[BaselineKey]) -> Entries:
        """The named series alone; each becomes sessions when it is asked for."""
        return Entries({key: self.held[key] for key in keys})

    def agrees(self, other: BaselineFile, key: BaselineKey) -> bool:
        """Whether both hold the same sessions under ``key``, and none that the other does not."""
        mine, others = self.held.get(key), other.held.get(key)
        if isinstance(mine, Raw) and isinstance(others, Raw) and bytes(mine) == bytes(others):
            return True  # as text, they need not become objects
        return self.sessions(key) == other.sessions(key)

    @property
    def held(self) -> Mapping[BaselineKey, Held]:
        """The entries as they are held: those of a file that was read are text, and are copied as such."""
        return self.entries.held if isinstance(self.entries, Entries) else self.entries


@dataclass(frozen=True, slots=True)
class Addition:
    """A session to store, behind the stored ones or in their place.

    Attributes:
        session: The session.
        replace: Whether the series starts afresh with it.
        unpin_before: If given, sessions that were recorded before then (UTC, ISO 8601) are no longer pinned.
    """

    session: Session
    replace: bool = False
    unpin_before: str | None = None


class BaselineStore:
    """A directory of baseline files."""

    def __init__(self, directory: Path) -> None:
        """The directory need not exist until something is stored."""
        self.directory = directory

    def path(self, sku: str) -> Path:
        """The file of one SKU.

        Raises:
            BaselineError: for a name that no SKU has, such as a path.
        """
        if not is_sku(sku):
            raise BaselineError(f"{self.directory}: {sku!r} cannot name a baseline file; it takes a-z, 0-9, +, . and -")
        return self.directory / f"{sku}.json"

    def data(self, sku: str) -> bytes | None:
        """The bytes of one SKU's file; ``None`` if there is none.

        Raises:
            BaselineError: if it is no regular file, too large, or cannot be read.
        """
        return KIND.read(self.path(sku))

    def skus(self) -> tuple[str, ...]:
        """The SKUs that the directory seems to have files of."""
        try:
            names = sorted(path.stem for path in self.directory.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise BaselineError(f"{self.directory}: cannot be read: {error.strerror}") from error
        return tuple(name for name in names if is_sku(name))

    def load(self, sku: str) -> BaselineFile:
        """Read one SKU's file; a missing one is empty.

        Raises:
            BaselineError: if it is not a sound baseline file of this SKU.
        """
        path = self.path(sku)
        found = read(path)
        return BaselineFile(sku) if found is None else of_sku(found, sku, path)

    @without_garbage_collection()
    def update(
        self, sku: str, device: str, simulated: bool, additions: Mapping[BaselineKey, Addition]
    ) -> tuple[BaselineChange, ...]:
        """Merge new sessions into one SKU's file, leaving everything else in it alone.

        Raises:
            BaselineError: if the file cannot be read, locked or written; it is then as it was.
        """
        if simulated != sku.startswith("simulated-"):
            raise BaselineError(f"{self.path(sku)}: simulated joules are never written beside real ones")
        path = self.path(sku)
        with KIND.changing(path):
            self.directory.mkdir(parents=True, exist_ok=True)
            stored = self.load(sku)
            stored = replace(stored, device=stored.device or device, simulated=simulated)
            grown, changes = added(stored, additions, path)
            write(path, _pieces(grown))
        return changes

    @without_garbage_collection()
    def remove(self, sku: str, keys: Collection[BaselineKey]) -> None:
        """Drop series from one SKU's file, leaving everything else in it alone; a file without any is removed.

        Raises:
            BaselineError: if the file cannot be read, locked or written; it is then as it was.
        """
        path = self.path(sku)
        with KIND.changing(path):
            stored = self.load(sku)
            left = {key: held for key, held in stored.held.items() if key not in keys}
            if left:
                write(path, _pieces(replace(stored, entries=Entries(left))))
            else:
                path.unlink(missing_ok=True)

    @without_garbage_collection()
    def rename(self, sku: str, old: str, new: str) -> int:
        """Store every series of the test ``old`` under ``new``; returns how many there were.

        Raises:
            BaselineError: if something is stored under ``new`` already, or the file cannot be read or written.
        """
        path = self.path(sku)
        if self.data(sku) is None:
            return 0
        with KIND.changing(path):
            stored = self.load(sku)
            changed = renamed(stored, old, new, path)
            if moved := len(changed.entries.keys() - stored.entries.keys()):
                write(path, _pieces(changed))
        return moved


def read(path: Path) -> BaselineFile | None:
    """Read a baseline file, whatever it is called; ``None`` if there is none.

    Raises:
        BaselineError: if it is not a sound one.
    """
    data = KIND.read(path)
    return None if data is None else parse(data, path)


@without_garbage_collection()
def parse(data: bytes, name: Path | str) -> BaselineFile:
    """Read a baseline file's content; ``name`` is what errors call it.

    Raises:
        BaselineError: if it is not a sound one.
    """
    with contextlib.suppress(Unclear):
        head, entries = index(data)
        return BaselineFile(head.sku, head.device, head.simulated, entries)
    return _parse(KIND.text(data, name), name)


def is_sku(name: str) -> bool:
    """Whether a SKU can have this name; no path does."""
    return bool(_SKU.fullmatch(name))


def of_sku(file: BaselineFile, sku: str, name: Path | str) -> BaselineFile:
    """The file, if it is one of ``sku``.

    Raises:
        BaselineError: if it is another's, or says of itself that it is.
    """
    if file.sku != sku:
        raise BaselineError(f"{name}: holds baselines of {file.sku!r}, not of {sku!r}; rename it to {file.sku}.json")
    if file.simulated != sku.startswith("simulated-"):
        raise BaselineError(f"{name}: 'simulated' contradicts the SKU's name; simulated and real joules never mix")
    return file


def renamed(file: BaselineFile, old: str, new: str, name: Path | str) -> BaselineFile:
    """A file with every series of the test ``old`` under ``new``.

    Raises:
        BaselineError: if something is stored under ``new`` already.
    """
    moved = {key: replace(key, test=new) for key in file.entries if key.test == old}
    if moved and any(key.test == new for key in file.entries):
        raise BaselineError(f"{name}: {new} has sessions of its own; remove one of the two by hand")
    return replace(file, entries=Entries({moved.get(key, key): held for key, held in file.held.items()}))


def added(
    stored: BaselineFile, additions: Mapping[BaselineKey, Addition], path: Path
) -> tuple[BaselineFile, tuple[BaselineChange, ...]]:
    """A file with new sessions merged into it, and what that changes; ``path`` is what errors call it.

    Raises:
        BaselineError: if a session cannot be stored.
    """
    alone = replace(stored, entries={key: (addition.session,) for key, addition in additions.items()})
    KIND.check(render(alone), path, _decode)
    held, changes = dict(stored.held), []
    for key, addition in additions.items():
        old = stored.sessions(key)
        new = merge(old, addition)
        held[key] = as_held(new, [(old, held.get(key))])
        changes.append(
            BaselineChange(
                key=key,
                sku=stored.sku,
                old=joules_per_unit(old) if old else None,
                new=joules_per_unit(new),
                sessions=len(new),
                replaced=bool(old) and addition.replace,
                pinned=sum(session.anchor for session in new),
                anchor_moved=any(session.anchor for session in old)
                and not any(session.anchor and session in new for session in old),
                widened=widened_since(old[-1], addition.session) if old else (),
            )
        )
    return replace(stored, entries=Entries(held)), tuple(changes)


def as_held(series: Sequence[Session], known: Iterable[tuple[Sequence[Session], Held | None]]) -> Held:
    """A series as text, which takes a third of the room; ``series`` itself if there is none that a file can hold.

    Args:
        series: Its sessions.
        known: Other series, and what they were made of: sessions that are from there are written as they are there.
    """
    lines: dict[int, str] = {}
    for sessions, held in known:
        if isinstance(held, Raw):
            lines |= {id(session): str(line, "utf-8") for session, line in zip(sessions, parts(held), strict=True)}
    text = _series_text([lines.get(id(session)) or _line(session) for session in series])
    try:
        return Raw(text)
    except UnicodeEncodeError:
        return tuple(series)


def same(one: Session, other: Session) -> bool:
    """Whether two sessions are one, stored or not yet: one time, one device and the same joules."""
    if (one.recorded, one.devices, one.kind) != (other.recorded, other.devices, other.kind):
        return False
    return [_stored(block) for block in one.blocks] == [_stored(block) for block in other.blocks]


def merge(stored: Sequence[Session], addition: Addition) -> tuple[Session, ...]:
    """A series with a session added: its last sessions, and the pinned ones however old they are."""
    session, before = addition.session, addition.unpin_before
    if addition.replace:
        # Who accepts a new level of an anchored series wants creep measured from there.
        return (replace(session, anchor=session.anchor or any(old.anchor for old in stored)),)
    # Times are written in one form only, so that they compare as text.
    unpinned = [_pinned(old, old.anchor and (before is None or old.recorded >= before)) for old in stored]
    return kept([*unpinned, session])


def kept(series: Sequence[Session]) -> tuple[Session, ...]:
    """What is kept of a series, oldest first: its last sessions, and the last pinned ones however old they are."""
    pins = [number for number, found in enumerate(series) if found.anchor][-KEPT_SESSIONS:]
    last = range(max(0, len(series) - KEPT_SESSIONS), len(series))
    return tuple([_pinned(series[number], number in pins) for number in sorted({*pins, *last})])


def _pinned(session: Session, anchor: bool) -> Session:
    """Pinned or not; the very session where it is so already, since that is copied as text."""
    return session if session.anchor == anchor else replace(session, anchor=anchor)


def render(file: BaselineFile) -> str:
    """The file's text: sorted, and one session a line, so that a change touches only its own lines.

    A series that was read is written as it was, whatever it looks like.
    """
    return "".join(_pieces(file))


def _pieces(file: BaselineFile) -> Iterator[str]:
    """The text in pieces, each no larger than a series: a file may have a hundred megabytes."""
    tree: dict[str, dict[str, dict[str, Held]]] = {}
    for key, held in file.held.items():
        tree.setdefault(key.test, {}).setdefault(key.window, {})[key.unit] = held
    head = {"schema": SCHEMA_VERSION, "sku": file.sku, "device": file.device, "simulated": file.simulated}
    yield "{\n"
    for name, value in head.items():
        yield f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)},\n"
    yield ' "entries": '
    yield from _rendered(tree, 1)
    yield "\n}\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a baseline file."""
    loaded: dict[str, Any] = json.loads(files("pytest_joules.baselines").joinpath("schema.json").read_text())
    return loaded


def _rendered(node: Mapping[str, Any] | Held, depth: int) -> Iterator[str]:
    pad = " " * (depth + 1)
    if isinstance(node, Raw):
        yield str(node, "utf-8")
    elif isinstance(node, tuple):
        yield _series_text([_line(session) for session in node])
    else:
        before = "{\n"
        for name in sorted(node):
            yield f"{before}{pad}{json.dumps(name, ensure_ascii=False)}: "
            yield from _rendered(node[name], depth + 1)
            before = ",\n"
        yield "\n" + pad[1:] + "}" if node else "{}"


def _series_text(lines: Sequence[str]) -> str:
    pad = " " * SERIES_DEPTH
    return "[\n" + ",\n".join(f"{pad} {line}" for line in lines) + f"\n{pad}]"


def _line(session: Session) -> str:
    return json.dumps(_session_data(session), ensure_ascii=False)


def _session_data(session: Session) -> dict[str, Any]:
    conditions = session.conditions
    data: dict[str, Any] = {"recorded": session.recorded, **({"anchor": True} if session.anchor else {})}
    data |= {name: value for name in ("commit", "driver") if (value := getattr(session, name)) is not None}
    data |= {"kind": session.kind.value, "devices": list(session.devices)}
    terms = {name: value for name in _TERMS if (value := getattr(session, name)) is not None}
    data |= {name: significant(value, DIGITS) for name, value in terms.items()}
    data |= {} if session.gate else {"gate": False}
    data |= {name: value for name in _OPTIONAL_NUMBERS if (value := getattr(conditions, name)) is not None}
    blocks = [_stored(block) for block in session.blocks]
    # From what is stored, so that rewriting a session that was read changes nothing.
    joules, seconds = sum(block[0] for block in blocks), sum(block[2] for block in blocks)
    if seconds and SMALLEST_NUMBER <= (watts := significant(joules / seconds, 4)) <= LARGEST_NUMBER:
        data["watts"] = watts
    for name, digits in _NUMBERS.items():
        if numbers := getattr(conditions, name):
            data[name] = {key: significant(value, digits) for key, value in sorted(numbers.items())}
    for name in _TEXTS:
        if texts := getattr(conditions, name):
            data[name] = dict(sorted(texts.items()))
    data["blocks"] = blocks
    return data


def _stored(block: Block) -> list[float]:
    return [significant(number, DIGITS) for number in (block.joules, block.units, block.seconds)]


def joules_per_unit(sessions: Sequence[Session]) -> float:
    """Geometric mean of the sessions, J per unit; there is at least one."""
    means = [math.fsum(math.log(b.joules_per_unit) for b in s.blocks) / len(s.blocks) for s in sessions]
    return math.exp(math.fsum(means) / len(means))


# -- reading --


def _parse(text: str, name: Path | str) -> BaselineFile:
    """The careful reading, which knows where a file is not sound."""
    return KIND.parse(text, name, _decode)


def _decode(data: Any) -> BaselineFile:
    """A fast reading that stumbles over everything that the schema forbids; the schema then says what it was."""
    head = dict.copy(data)
    tree = head.pop("entries")
    if set(head) != {"schema", "sku", "device", "simulated"} or head["schema"] != SCHEMA_VERSION:
        raise ValueError
    if type(head["schema"]) is bool or type(head["simulated"]) is not bool:
        raise TypeError
    if not _SKU.fullmatch(head["sku"]) or not 1 <= len(head["device"]) <= 200:
        raise ValueError
    return BaselineFile(head["sku"], _text(head["device"], 200), head["simulated"], _entries(tree))


def _entries(tree: dict[str, Any]) -> dict[BaselineKey, tuple[Session, ...]]:
    return {
        BaselineKey(test, window, unit): _sessions(sessions)
        for test, windows in tree.items()
        for window, units in windows.items()
        for unit, sessions in units.items()
    }


def _sessions(data: Any) -> tuple[Session, ...]:
    if type(data) is not list or not 1 <= len(data) <= 2 * KEPT_SESSIONS:
        raise ValueError
    return tuple([_session(session) for session in data])


def _session(data: dict[str, Any]) -> Session:
    rest = dict.copy(data)
    recorded, kind, devices, blocks = (rest.pop(name) for name in ("recorded", "kind", "devices", "blocks"))
    commit, driver = rest.pop("commit", None), rest.pop("driver", None)
    shape: dict[str, Any] = {
        name: {key: _text(text, 80) for key, text in rest.pop(name, {}).items()} for name in _TEXTS
    }
    shape |= {name: {key: _fact(value) for key, value in rest.pop(name, {}).items()} for name in _NUMBERS}
    if "anchor" in data and rest.pop("anchor") is not True:
        raise ValueError
    if "watts" in rest:
        _amount(rest.pop("watts"))
    if "gate" in data and rest.pop("gate") is not False:
        raise ValueError
    terms: dict[str, float] = {name: _amount(rest.pop(name)) for name in _TERMS if name in rest}
    if terms.get("tolerance", 0.0) > 1:
        raise ValueError
    for name, value in rest.items():
        least, most = _BOUNDS[name]
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError
    if type(devices) is not list or not 1 <= len(devices) <= 1024 or type(blocks) is not list:
        raise ValueError
    if not 1 <= len(blocks) <= 10000:
        raise ValueError
    return Session(
        recorded=_text(recorded, 40),
        devices=tuple([_text(device, 80) for device in devices]),
        blocks=tuple([_block(block) for block in blocks]),
        kind=WindowKind(kind),
        commit=None if "commit" not in data else _text(commit, 80),
        driver=None if "driver" not in data else _text(driver, 80),
        conditions=Conditions(**rest, **shape),
        anchor="anchor" in data,
        gate="gate" not in data,
        **terms,
    )


_BOUNDS = {
    "temperature_celsius": (-100, 200),
    "sm_clock_mhz": (0, 100000),
    "power_cap_share": (0, 1),
    "idle_watts": (0, 1e7),
    "sensor_duty": (0, 1),
}


def _block(data: Any) -> Block:
    if type(data) is not list:
        raise TypeError
    return Block(*[_amount(value) for value in data])


def _amount(value: Any) -> float:
    if type(value) not in (int, float) or not SMALLEST_NUMBER <= value <= LARGEST_NUMBER:
        raise ValueError
    return float(value)


def _fact(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= LARGEST_NUMBER:
        raise ValueError
    return float(value)


def _text(value: Any, longest: int) -> str:
    if type(value) is not str or len(value) > longest:
        raise TypeError
    return value


# -- explaining what is wrong --


def _suspects(data: Any) -> Any:
    """Without the tests that the decoder takes: the schema takes a hundred times longer."""
    if isinstance(data, dict) and isinstance(tree := data.get("entries"), dict):
        return {**data, "entries": {test: windows for test, windows in tree.items() if not _sound(test, windows)}}
    return data


def _sound(test: str, windows: Any) -> bool:
    try:
        _entries({test: windows})
    except STUMBLES:
        return False
    return True


KIND = Kind("baseline file", SCHEMA_VERSION, BaselineError, schema, narrowed=_suspects)
