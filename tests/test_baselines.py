"""The baseline store: hostile reads, atomic and merging writes, text made for review."""

from __future__ import annotations

import contextlib
import difflib
import errno
import gc
import json
import math
import os
import random
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pytest_joules import stored as stored_module
from pytest_joules.baselines import lines as lines_module
from pytest_joules.baselines import store as store_module
from pytest_joules.baselines.keys import sku_key, sku_keys, slug
from pytest_joules.baselines.lines import index
from pytest_joules.baselines.store import (
    KEPT_SESSIONS,
    Addition,
    BaselineError,
    BaselineFile,
    BaselineStore,
    merge,
    render,
    schema,
)
from pytest_joules.model import BaselineChange, BaselineKey, Block, Conditions, Device, Session, WindowKind

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from kill_updates import kills, together

SKU = "nvidia-h200"

amounts = st.floats(1e-3, 1e9).map(lambda value: float(f"{value:.7g}"))
names = st.text(min_size=1, max_size=12)
conditions = st.builds(
    Conditions,
    temperature_celsius=st.none() | st.integers(0, 90).map(float),
    sm_clock_mhz=st.none() | st.integers(0, 3000).map(float),
    power_cap_share=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
    sensor_duty=st.none() | st.sampled_from([0.05, 0.25, 1.0]),
    idle_watts=st.none() | st.integers(0, 500).map(float),
    versions=st.dictionaries(names, names, max_size=2),
)
sessions = st.builds(
    Session,
    recorded=names,
    devices=st.lists(names, min_size=1, max_size=2).map(tuple),
    blocks=st.lists(st.builds(Block, amounts, amounts, amounts), min_size=1, max_size=3).map(tuple),
    kind=st.sampled_from(WindowKind),
    commit=st.none() | names,
    driver=st.none() | names,
    conditions=conditions,
    anchor=st.booleans(),
    tolerance=st.none() | st.sampled_from([0.005, 0.02, 1.0]),
    limit=st.none() | amounts,
    gate=st.booleans(),
)
keys = st.builds(BaselineKey, names, names, names)
entries = st.dictionaries(keys, st.lists(sessions, min_size=1, max_size=3).map(tuple), max_size=4)


def one_session(joules: float = 50.0, blocks: int = 2) -> Session:
    return Session("2026-11-21T00:00:00+00:00", ("abc",), (Block(joules, 100.0, 0.5),) * blocks, commit="c0ffee")


def key(test: str) -> BaselineKey:
    return BaselineKey(test, "main", "token")


def stored(store: BaselineStore, tests: int = 3) -> str:
    """A file with a session for each of some tests; returns its text."""
    store.update(SKU, "NVIDIA H200", False, {key(f"test_{n}"): Addition(one_session()) for n in range(tests)})
    return store.path(SKU).read_text()


def refusal(store: BaselineStore) -> str:
    """Why the file is refused."""
    with pytest.raises(BaselineError) as caught:
        store.load(SKU)
    return str(caught.value)


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


@given(entries)
def test_files_read_back_and_fit_the_schema(
    tmp_path_factory: pytest.TempPathFactory, found: dict[BaselineKey, Any]
) -> None:
    store = BaselineStore(tmp_path_factory.mktemp("b"))
    file = BaselineFile(SKU, "NVIDIA H200", False, found)
    text = render(file)
    store.path(SKU).write_text(text, encoding="utf-8")
    assert store.load(SKU) == file
    assert render(store.load(SKU)) == text
    Draft202012Validator(schema()).validate(json.loads(text))


@given(st.lists(st.builds(Block, *[st.floats(1e-15, 1e24)] * 3), min_size=1, max_size=3))
def test_a_stored_line_never_changes_again(tmp_path_factory: pytest.TempPathFactory, blocks: list[Block]) -> None:
    store = BaselineStore(tmp_path_factory.mktemp("b"))
    session = Session("now", ("abc",), tuple(blocks))
    store.update(SKU, "NVIDIA H200", False, {key("a"): Addition(session)})
    before = store.path(SKU).read_text()
    store.update(SKU, "NVIDIA H200", False, {key("b"): Addition(one_session())})
    store.update(SKU, "NVIDIA H200", False, {key("a"): Addition(session, replace=True)})
    assert set(before.splitlines()) - set(store.path(SKU).read_text().splitlines()) <= {" }"}


def test_the_arithmetic_of_a_large_call_is_stored(store: BaselineStore) -> None:
    """vLLM counts 1.4e15 FLOPs for 256 requests of 256 + 128 tokens to a model of 8 billion parameters."""
    session = replace(one_session(), conditions=Conditions(facts={"flops_per_call": 1.417285e15}))
    store.update(SKU, "NVIDIA H200", False, {key("a"): Addition(session)})
    assert store.load(SKU).sessions(key("a")) == (session,)


@given(entries)
def test_what_is_written_takes_the_quick_way_to_the_same_sessions(found: dict[BaselineKey, Any]) -> None:
    text = render(BaselineFile(SKU, "NVIDIA H200", False, found))
    if "\\" not in text:
        head, quick = index(text.encode())
        assert (head.sku, head.device, head.simulated) == (SKU, "NVIDIA H200", False)
        careful = store_module._parse(text, "file").entries
        assert quick == found == careful
        assert all(repr(quick[name]) == repr(held) for name, held in careful.items())


@pytest.mark.parametrize(
    "twice",
    [
        *('"kind": "one-shot"', '"commit": "a:b"', '"blocks": [[1, 1, 1]]', '"signals": {"a": 1}', '"commit" :"x"'),
        *('"signals": {"x": 1, "x": 2}', '"configuration": {"a:": ":", "a:": ":"}', '"versions" :{"v" :"1","v" :"2"}'),
    ],
)
def test_a_key_given_twice_is_refused_wherever_it_is(store: BaselineStore, twice: str) -> None:
    session = replace(one_session(), commit="c:0", conditions=Conditions(signals={"a": 1.0}))
    store.update(SKU, "NVIDIA H200", False, {key("a"): Addition(session), key("b:c"): Addition(session)})
    text = store.path(SKU).read_text()
    damaged = text.replace('"kind": "repeated"', f'"kind": "repeated", {twice}', 1)
    store.path(SKU).write_text(damaged)
    assert "twice" in refusal(store)
    store.path(SKU).write_text(text.replace('"b:c": {', '"a": {', 1))
    assert "the key 'a' twice" in refusal(store)


def test_a_session_is_parsed_once_when_a_file_is_read(store: BaselineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(store, 20)
    parsed: list[object] = []
    decode = lines_module._SERIES.decode

    class Counting:
        def decode(self, data: Any) -> Any:
            parsed.append(data)
            return decode(data)

    monkeypatch.setattr(lines_module, "_SERIES", Counting())
    file = store.load(SKU)
    assert len(parsed) == len(file.entries) == 20
    assert file.sessions(key("test_3")) == (one_session(),)
    assert len(parsed) == 21


def mutate(data: Any, random_: random.Random) -> Any:
    """Replace, drop or add one thing somewhere inside."""
    junk: list[Any] = [None, -1, 0, 1.0, 1e-300, 1e30, 10**18, "", "x" * 300, [], {}, True, "repeated", 0.5]
    junk += [[[1, 2, 3]], [1, 2], "NaN", "\ud800", math.inf]
    if isinstance(data, dict) and random_.random() < 0.05:
        return [list(member) for member in data.items()]
    if isinstance(data, dict) and data and random_.random() < 0.85:
        name = random_.choice(sorted(data))
        if random_.random() < 0.1:
            return {other: value for other, value in data.items() if other != name}
        if random_.random() < 0.1:
            return {**data, "surprise": random_.choice(junk)}
        return {**data, name: mutate(data[name], random_)}
    if isinstance(data, list) and data and random_.random() < 0.85:
        at = random_.randrange(len(data))
        return [*data[:at], mutate(data[at], random_), *data[at + 1 :]]
    return random_.choice(junk)


@settings(max_examples=300)
@given(entries.filter(bool), st.randoms(use_true_random=False))
def test_the_fast_reading_accepts_what_the_schema_accepts(
    tmp_path_factory: pytest.TempPathFactory, found: dict[BaselineKey, Any], random_: random.Random
) -> None:
    store = BaselineStore(tmp_path_factory.mktemp("b"))
    data = mutate(json.loads(render(BaselineFile(SKU, "NVIDIA H200", False, found))), random_)
    store.path(SKU).write_text(json.dumps(data).replace("Infinity", "1e999"))
    try:
        store.load(SKU)
        accepted = True
    except BaselineError as error:
        accepted = "holds baselines of" in str(error) or "contradicts" in str(error)
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        assert not accepted, "half of a pair of surrogates is no text"
    else:
        assert accepted == Draft202012Validator(schema()).is_valid(data), data


@settings(max_examples=200)
@given(st.integers(0, 3000), st.binary(max_size=4), st.booleans())
def test_damaged_files_are_refused_or_right(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes, cut: bool
) -> None:
    store = BaselineStore(tmp_path_factory.mktemp("b"))
    text = stored(store).encode()
    at %= len(text)
    store.path(SKU).write_bytes(text[:at] + junk + (b"" if cut else text[at + len(junk) :]))
    with contextlib.suppress(BaselineError):
        found = store.load(SKU)
        Draft202012Validator(schema()).validate(json.loads(render(found)))


def test_a_missing_file_is_empty(store: BaselineStore) -> None:
    assert store.load(SKU) == BaselineFile(SKU)
    assert not store.directory.exists()


@pytest.mark.parametrize(
    ("find", "put", "complaint"),
    [
        ('"sku"', "'sku'", ":3: not JSON"),
        ('"simulated": false', '"simulated": NaN', ":5: holds the number NaN"),
        ("[50.0, 100.0", "[1e999, 100.0", ":10: entries/test_0/main/token/0/blocks/0/0: inf is greater"),
        ("[50.0, 100.0", "[123456789012345678901234567890, 100.0", ":10: holds the number 1234567890"),
        ('"device": ', '"sku": "nvidia-h200",\n "device": ', ":4: holds the key 'sku' twice"),
        ('"schema": 1', '"schema": 2', "schema 2 was written by a newer pytest-joules"),
        ("[50.0, 100.0, 0.5]]", "[50.0, -1, 0.5]]", ":10: entries/test_0/main/token/0/blocks/1/1"),
        ('"commit": "c0ffee"', '"commit": 7', ":10: entries/test_0/main/token/0/commit: 7 is not of type 'string'"),
        ('"commit": "c0ffee"', '"anchor": false', ":10: entries/test_0/main/token/0/anchor: True was expected"),
        ('"sku": "nvidia-h200"', '"sku": "nvidia-b200"', "holds baselines of 'nvidia-b200', not of 'nvidia-h200'"),
        ('"simulated": false', '"simulated": true', "simulated and real joules never mix"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(store: BaselineStore, find: str, put: str, complaint: str) -> None:
    text = stored(store)
    assert find in text
    damaged = text.replace(find, put, 1)
    store.path(SKU).write_text(damaged)
    told = refusal(store)
    assert told.startswith(str(store.path(SKU)))
    assert complaint in told
    assert any(fix in told for fix in ("restore it from git", "upgrade pytest-joules", "rename it", "never mix"))
    with pytest.raises(BaselineError):
        stored(store)
    assert store.path(SKU).read_text() == damaged


def repr_of_bytes(data: bytes) -> str:
    return repr(data[:12])


@pytest.mark.parametrize(
    "data",
    [
        *(b"[" * 200_000, b'{"a":' * 200_000, b"[" * 200_000 + b"]" * 200_000, b"\xff\xfe", b"\xef\xbb\xbf{}"),
        *(b"", b"null", b"[]", b"7", b'"x"', b'{"schema": true}', b'{"schema": 1e99999}', b"1" * 100_000),
        *(b'[["schema", 1], ["sku", "nvidia-h200"], ["device", "x"], ["simulated", false], ["entries", {}]]',),
    ],
    ids=repr_of_bytes,
)
def test_hostile_bytes_are_refused(store: BaselineStore, data: bytes) -> None:
    store.directory.mkdir()
    store.path(SKU).write_bytes(data)
    assert "restore it from git" in refusal(store) or "upgrade" in refusal(store)
    assert gc.isenabled()


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": 1, "sku": NaN0.0} "a\tb": 1',
        '{"schema": 12345678901234567890123456789, "sku": "x"}]]',
        '{"schema": NaNNaN}]]}',
        '{"a": 1, "a": NaN"\\u00":}',
        '{"a": "\\ud800"}',
    ],
)
def test_no_damage_keeps_the_line_from_being_told(store: BaselineStore, text: str) -> None:
    """Found by ``benchmarks/fuzz.py``: what follows the fault is not JSON, and no reason to fall over."""
    store.directory.mkdir()
    store.path(SKU).write_text(text)
    assert "restore it from git" in refusal(store)


def test_a_refusal_is_one_printable_line_whatever_the_file_says(store: BaselineStore) -> None:
    text = stored(store)
    store.path(SKU).write_text(text.replace("test_1", "\x7f::error::" + 300 * "x").replace("[50.0", "[-1"))
    assert refusal(store).isprintable()
    assert len(refusal(store)) < 1000


@pytest.mark.parametrize("depth", range(800, 1000, 10))
def test_deep_trees_are_refused_where_the_parser_still_takes_them(store: BaselineStore, depth: int) -> None:
    text = stored(store)
    store.path(SKU).write_text(text.replace("[50.0, 100.0, 0.5]", "[" * depth + "]" * depth, 1))
    assert "restore it from git" in refusal(store)


@pytest.mark.parametrize(
    ("test", "put"),
    [
        ("test_NaN", "[NaN, 100.0"),
        ("test_x[12345678901234567890123456]", "[12345678901234567890123456, 100.0"),
        ('test_"quoted": {', "[NaN, 100.0"),
        ("sku", '50.0], "sku": 1, "sku": ['),
    ],
)
def test_the_line_is_that_of_the_fault_not_of_its_like(store: BaselineStore, test: str, put: str) -> None:
    additions = {key(test): Addition(one_session()), key("zz"): Addition(one_session(60.0))}
    store.update(SKU, "NVIDIA H200", False, additions)
    text = store.path(SKU).read_text()
    damaged = text.replace('"blocks": [[60.0, 100.0', f'"blocks": [{put}')
    assert damaged != text
    store.path(SKU).write_text(damaged)
    assert refusal(store).startswith(f"{store.path(SKU)}:17: ")


def test_a_file_too_large_is_not_read(store: BaselineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    text = stored(store)
    monkeypatch.setattr(stored_module, "LARGEST_FILE", len(text) - 1)
    assert "too large" in refusal(store)


@pytest.mark.parametrize("sku", ["", ".", "..", "../nvidia-h200", "/etc/passwd", "a/b", "A", "a\0", "a\n", "-rf"])
def test_no_sku_is_a_path(store: BaselineStore, sku: str) -> None:
    with pytest.raises(BaselineError, match="cannot name a baseline file"):
        store.load(sku)
    with pytest.raises(BaselineError, match="cannot name a baseline file"):
        store.update(sku, "X", False, {key("t"): Addition(one_session())})
    assert not store.directory.exists()


def test_only_regular_files_are_read(store: BaselineStore, tmp_path: Path) -> None:
    stored(store)
    moved = tmp_path / "real.json"
    store.path(SKU).rename(moved)
    store.path(SKU).symlink_to(moved)
    with pytest.raises(BaselineError, match="not a regular file"):
        store.load(SKU)
    store.path(SKU).unlink()
    os.mkfifo(store.path(SKU))
    with pytest.raises(BaselineError, match="not a regular file"):
        store.load(SKU)
    store.path(SKU).unlink()
    store.path(SKU).mkdir()
    with pytest.raises(BaselineError, match="not a regular file"):
        store.load(SKU)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_not_a_missing_one(store: BaselineStore) -> None:
    stored(store)
    store.path(SKU).chmod(0)
    with pytest.raises(BaselineError, match="cannot be read"):
        store.load(SKU)


def changed_lines(before: str, after: str) -> list[str]:
    """The lines of a diff, each with its sign, without the commas that JSON wants between."""
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    lines = [line[0] + line[1:].removesuffix(",") for line in diff if line[:3] not in ("---", "+++", "@@ ")]
    return [line for line in lines if not any(line[1:] == other[1:] for other in lines if other[0] != line[0])]


def own_lines(name: BaselineKey, held: Sequence[Session]) -> set[str]:
    """The lines that a series may have in a file: its sessions, its unit, and its window and test where it is alone."""
    lines = render(BaselineFile(SKU, "NVIDIA H200", False, {name: tuple(held)})).splitlines()
    return {line.removesuffix(",") for line in lines}


@settings(max_examples=150)
@given(
    entries.filter(bool), keys, sessions, st.sampled_from(["add", "update", "replace", "anchor", "prune"]), st.data()
)
def test_a_change_of_one_series_touches_only_its_own_lines(
    tmp_path_factory: pytest.TempPathFactory,
    found: dict[BaselineKey, tuple[Session, ...]],
    new: BaselineKey,
    session: Session,
    change: str,
    data: st.DataObject,
) -> None:
    store = BaselineStore(tmp_path_factory.mktemp("b"))
    before = render(BaselineFile(SKU, "NVIDIA H200", False, found))
    name = new if change == "add" else data.draw(st.sampled_from(sorted(found, key=str)))
    old = found.get(name, ())
    store.path(SKU).write_text(before, encoding="utf-8")
    if change == "prune":
        after = render(replace(store.load(SKU), entries={key: held for key, held in found.items() if key != name}))
    else:
        pin = session.recorded if change == "anchor" else None
        addition = Addition(replace(session, anchor=change == "anchor"), change == "replace", pin)
        store.update(SKU, "NVIDIA H200", False, {name: addition})
        after = store.path(SKU).read_text(encoding="utf-8")
    now = store.load(SKU).sessions(name) if change != "prune" else ()
    for line in changed_lines(before, after):
        # An empty object opens and closes on one line.
        assert line[1:] in own_lines(name, old if line[0] == "-" else now) or "{" in line, (change, line)
    kept = store.load(SKU).entries if change != "prune" else {key: held for key, held in found.items() if key != name}
    assert {key: held for key, held in kept.items() if key != name} == {
        key: held for key, held in found.items() if key != name
    }


def test_one_more_session_is_one_more_line(store: BaselineStore) -> None:
    before = stored(store, 5)
    store.update(SKU, "NVIDIA H200", False, {key("test_3"): Addition(one_session(60.0))})
    after = store.path(SKU).read_text()
    assert [line[0] for line in changed_lines(before, after)] == ["+"]
    store.update(SKU, "NVIDIA H200", False, {key("test_3"): Addition(one_session(70.0), replace=True)})
    last = store.path(SKU).read_text()
    assert [line[0] for line in changed_lines(after, last)] == ["-", "-", "+"]
    store.update(SKU, "NVIDIA H200", False, {key("test_9"): Addition(one_session())})
    assert all(line[0] == "+" for line in changed_lines(last, store.path(SKU).read_text()))


@pytest.mark.parametrize("change", ["update", "remove", "rename"])
def test_what_a_change_does_not_touch_is_copied_as_it_is(
    store: BaselineStore, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    before = stored(store, 5)
    edited = before.replace("[[50.0, ", "[[50.00, ")
    store.path(SKU).write_text(edited)
    made: list[lines_module.Line] = []
    session = lines_module._session

    def counted(line: lines_module.Line) -> Session:
        made.append(line)
        return session(line)

    monkeypatch.setattr(lines_module, "_session", counted)
    if change == "update":
        store.update(SKU, "NVIDIA H200", False, {key("test_3"): Addition(one_session(60.0), replace=True)})
    elif change == "remove":
        store.remove(SKU, [key("test_3")])
    else:
        store.rename(SKU, "test_3", "test_9")
    assert len(made) <= 1
    assert store.path(SKU).read_text().count("[[50.00, ") == edited.count("[[50.00, ") - (change != "rename")


def test_a_file_of_other_line_ends_is_written_with_one_kind(store: BaselineStore) -> None:
    stored(store, 5)
    data = store.path(SKU).read_bytes()
    store.path(SKU).write_bytes(data.replace(b"\n", b"\r\n"))
    store.update(SKU, "NVIDIA H200", False, {key("test_9"): Addition(one_session())})
    assert b"\r" not in store.path(SKU).read_bytes()


def test_text_is_sorted_stable_and_one_session_a_line(store: BaselineStore, tmp_path: Path) -> None:
    additions = {key(f"test_{n}"): Addition(one_session(50.0 + n)) for n in range(4)}
    store.update(SKU, "NVIDIA H200", False, additions)
    other = BaselineStore(tmp_path / "other")
    for name in sorted(additions, key=str, reverse=True):
        other.update(SKU, "NVIDIA H200", False, {name: additions[name]})
    text = store.path(SKU).read_text()
    assert other.path(SKU).read_text() == text
    assert text.endswith("}\n")
    lines = [line for line in text.splitlines() if "recorded" in line]
    assert [json.loads(line)["blocks"][0][0] for line in lines] == [50.0, 51.0, 52.0, 53.0]


def test_updates_merge_count_and_report(store: BaselineStore) -> None:
    stored(store)
    (change,) = store.update(SKU, "NVIDIA H200", False, {key("test_1"): Addition(one_session(52.0))})
    assert (change.sessions, change.replaced) == (2, False)
    assert change.old == pytest.approx(0.5)
    assert change.new == pytest.approx(math.sqrt(0.5 * 0.52))
    (change,) = store.update(SKU, "NVIDIA H200", False, {key("test_1"): Addition(one_session(80.0), replace=True)})
    assert (change.sessions, change.replaced) == (1, True)
    assert change.new == pytest.approx(0.8)
    assert len(store.load(SKU).entries) == 3


def test_the_last_ten_sessions_are_kept(store: BaselineStore) -> None:
    for number in range(KEPT_SESSIONS + 3):
        store.update(SKU, "NVIDIA H200", False, {key("t"): Addition(one_session(50.0 + number))})
    kept = store.load(SKU).sessions(key("t"))
    assert [session.blocks[0].joules for session in kept] == [53.0 + number for number in range(KEPT_SESSIONS)]


def at(number: int, anchor: bool = False) -> Session:
    """A session that is told from others by its minute and its joules."""
    return replace(one_session(50.0 + number), recorded=f"2026-11-21T00:{number:02}:00+00:00", anchor=anchor)


def test_pinned_sessions_are_never_rotated_out(store: BaselineStore) -> None:
    for number in range(3 * KEPT_SESSIONS):
        store.update(SKU, "NVIDIA H200", False, {key("t"): Addition(at(number, anchor=number in (2, 3, 15)))})
    kept = store.load(SKU).sessions(key("t"))
    assert [session.blocks[0].joules - 50 for session in kept] == [2, 3, 15, *range(20, 30)]
    assert [session.anchor for session in kept] == [True] * 3 + [False] * 10
    text = store.path(SKU).read_text()
    assert text.count('"anchor": true') == text.count('"anchor"') == 3


def test_a_new_anchor_unpins_the_old_one_and_deletes_nothing(store: BaselineStore) -> None:
    for number in (1, 2, 3):
        store.update(SKU, "NVIDIA H200", False, {key("t"): Addition(at(number, anchor=number < 3))})
    since = "2026-11-21T00:04:00+00:00"
    changes: list[BaselineChange] = []
    for number in (4, 5):
        changes += store.update(SKU, "NVIDIA H200", False, {key("t"): Addition(at(number, anchor=True), False, since)})
    assert [(s.blocks[0].joules - 50, s.anchor) for s in store.load(SKU).sessions(key("t"))] == [
        (1, False),
        (2, False),
        (3, False),
        (4, True),
        (5, True),
    ]
    assert [(change.pinned, change.anchor_moved) for change in changes] == [(1, True), (2, False)]


@pytest.mark.parametrize("anchored", [True, False])
def test_a_series_that_starts_afresh_takes_its_anchor_along(store: BaselineStore, anchored: bool) -> None:
    for number in (1, 2):
        store.update(SKU, "NVIDIA H200", False, {key("t"): Addition(at(number, anchor=anchored and number == 1))})
    (change,) = store.update(SKU, "NVIDIA H200", False, {key("t"): Addition(at(3), replace=True)})
    assert store.load(SKU).sessions(key("t")) == (at(3, anchor=anchored),)
    assert (change.replaced, change.pinned, change.anchor_moved) == (True, int(anchored), anchored)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.none() | st.integers(0, 59)), max_size=40))
def test_a_series_stays_in_order_and_within_its_bounds(steps: list[tuple[bool, bool, int | None]]) -> None:
    series: tuple[Session, ...] = ()
    for number, (anchor, afresh, since) in enumerate(steps):
        before = None if since is None else at(since).recorded
        grown = merge(series, Addition(at(number, anchor), afresh, before))
        assert grown[-1].recorded == at(number).recorded
        assert sum(session.anchor for session in grown) <= KEPT_SESSIONS
        assert len([session for session in grown if not session.anchor]) <= KEPT_SESSIONS
        assert [session.recorded for session in grown] == sorted(session.recorded for session in grown)
        if not afresh:
            last = [session.recorded for session in (*series, at(number))][-KEPT_SESSIONS:]
            assert set(last) <= {session.recorded for session in grown}
        series = grown


def test_simulated_joules_are_never_written_beside_real_ones(store: BaselineStore) -> None:
    with pytest.raises(BaselineError, match="never written beside real"):
        store.update(SKU, "NVIDIA H200", True, {key("t"): Addition(one_session())})
    with pytest.raises(BaselineError, match="never written beside real"):
        store.update(f"simulated-{SKU}", "NVIDIA H200", False, {key("t"): Addition(one_session())})
    assert not store.directory.exists()


@pytest.mark.parametrize(
    "session",
    [
        Session("now", ("abc",), ()),
        Session("now", (), (Block(1.0, 1.0, 1.0),)),
        Session("now", ("abc",), (Block(math.nan, 1.0, 1.0),)),
        Session("now", ("abc",), (Block(math.inf, 1.0, 1.0),)),
        Session("now", ("abc",), (Block(0.0, 1.0, 1.0),)),
        Session("now", ("abc",), (Block(1.0, -1.0, 1.0),)),
        Session("now", ("abc",), (Block(1.0, 1.0, 0.0),)),
        Session("now", ("abc",), (Block(1.0, 1.0, 1.0),), commit="c" * 1000),
        Session("now", ("abc",), (Block(1.0, 1.0, 1.0),), conditions=Conditions(temperature_celsius=math.nan)),
        Session("\ud800", ("abc",), (Block(1.0, 1.0, 1.0),)),
    ],
)
def test_what_would_not_read_back_is_not_written(store: BaselineStore, session: Session) -> None:
    before = stored(store)
    with pytest.raises(BaselineError, match=r"left as it was: entries/new/main/token/0.* cannot be stored|be written"):
        store.update(SKU, "NVIDIA H200", False, {key("good"): Addition(one_session()), key("new"): Addition(session)})
    assert store.path(SKU).read_text() == before
    with pytest.raises(BaselineError, match="device cannot be stored"):
        BaselineStore(store.directory / "new").update(SKU, "", False, {key("t"): Addition(one_session())})


def test_a_full_disk_leaves_the_old_file(store: BaselineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(store)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BaselineError, match="No space left on device"):
        stored(store, 5)
    assert store.path(SKU).read_text() == before
    assert [path.name for path in store.directory.iterdir()] == [f"{SKU}.json"]


def test_a_directory_that_cannot_be_synced_is_no_failure(store: BaselineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def picky(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", picky)
    stored(store, 5)
    assert len(store.load(SKU).entries) == 5


def test_a_held_lock_is_waited_for_then_named(store: BaselineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(store)
    monkeypatch.setattr(stored_module, "LOCK_SECONDS", 0.1)
    with store_module.KIND.locked(store.path(SKU)), pytest.raises(BaselineError, match="locked by another process"):
        stored(store, 5)
    assert store.path(SKU).read_text() == before
    stored(store, 5)


def test_a_rewritten_file_keeps_its_mode(store: BaselineStore) -> None:
    stored(store)
    assert store.path(SKU).stat().st_mode & 0o777 == 0o644
    store.path(SKU).chmod(0o640)
    stored(store)
    assert store.path(SKU).stat().st_mode & 0o777 == 0o640


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    store: BaselineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(store)

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stored(store, 5)
    assert store.path(SKU).read_text() == before
    assert [path.name for path in store.directory.iterdir()] == [f"{SKU}.json"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BaselineError, match="cannot be written"):
        stored(BaselineStore(tmp_path / "file"))


def test_eight_updaters_lose_nothing(tmp_path: Path) -> None:
    assert together(tmp_path, updaters=8, rounds=5) == 8 * 5 + 1


def test_a_killed_update_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    assert kills(tmp_path, 30, random.Random(7)).total() >= 30


def device(
    name: str = "NVIDIA H200", simulated: bool = False, limit: float | None = 700.0, scope: str = "gpu"
) -> Device:
    return Device(0, name, "id", scope, limit, 700.0, None, simulated)


def test_sku_keys() -> None:
    assert sku_key([device()]) == "nvidia-h200"
    assert sku_key([device("NVIDIA H100 80GB HBM3")]) == "nvidia-h100-80gb-hbm3"
    assert sku_key([device(limit=450.0)]) == "nvidia-h200+450w"
    assert sku_key([device(limit=None)]) == "nvidia-h200"
    assert sku_key([device(limit=700.4)]) == "nvidia-h200"
    assert sku_key([device(scope="module")]) == "nvidia-h200+module"
    assert sku_key([device(limit=450.0), device(limit=450.0)]) == "nvidia-h200+450w+x2"
    assert sku_key([device(limit=450.0), device()]) == "nvidia-h200+and+nvidia-h200+450w"
    assert sku_key([device(), device()]) == "nvidia-h200+x2"
    assert sku_keys([]) == ()
    assert sku_keys([device()] * 3) == ("nvidia-h200", "nvidia-h200+x2", "nvidia-h200+x3")
    mixed = ("nvidia-h200+450w", "nvidia-h200", "nvidia-h200+and+nvidia-h200+450w")
    assert sku_keys([device(), device(limit=450.0)]) == mixed
    assert sku_key([device("B"), device("A")]) == sku_key([device("A"), device("B")]) == "a+and+b"
    assert sku_key([device(simulated=True)]) == "simulated-nvidia-h200"
    with pytest.raises(ValueError, match="simulated and real"):
        sku_key([device(), device(simulated=True)])
    with pytest.raises(ValueError, match="no device"):
        sku_key([])


@given(st.text() | st.sampled_from(["../../etc/passwd", "a/../b", "con\0", "..", "+x2", "simulated-x"]), st.text())
def test_no_name_becomes_a_path(name: str, scope: str) -> None:
    assert set(slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    path = BaselineStore(Path("b")).path(sku_key([device(name, scope=scope)]))
    assert path.parent == Path("b")
    assert path.suffix == ".json"
