"""Fuzzes what reads baseline files, reference files and reports: a clear error, or a right answer.

    python benchmarks/fuzz.py [--cases 300000] [--seed 0] [--engine mutate|atheris] [--only NAME] [--json FILE]

A case is a sound file, damaged.  ``mutate`` damages the data (a value replaced, moved, doubled or dropped; a number at
or beyond its bounds) or the text (bytes flipped, cut, doubled; members given twice), and needs nothing; ``atheris``
(libFuzzer; ``pip install atheris``: 3.0.0 has a wheel for CPython 3.11 on Linux) looks for damage that reaches new
lines of the readers.

A reader may refuse a file, by the error that it documents, in one printable line that names the file, within ten
seconds.  A file that it accepts has to come back the same when what was read is written and read again, and a kept
file has to fit the published schema.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from jsonschema import Draft202012Validator

from pytest_joules.baselines import store
from pytest_joules.baselines.store import BaselineError
from pytest_joules.explaining import RunError, explain_sides, read_side
from pytest_joules.model import Reference
from pytest_joules.references import store as references
from pytest_joules.references.store import ReferenceFile, ReferenceFileError
from pytest_joules.reporting import json as json_report
from pytest_joules.reporting.json import ReportError

ROOT = Path(__file__).resolve().parents[1]
BASELINES = (*sorted((ROOT / "baselines").glob("*.json")),)
REPORTS = tuple(
    ROOT / "benchmarks" / "results" / name
    for name in (
        "h200-gate/regressed-1.json",
        "h200-engines/vllm-offline/eager-1.json",
        "h200-engines/diffusers/steps21-1.json",
        "h200-engines/vllm-server/unchanged-1.json",
    )
)
REFERENCES = references.render(
    ReferenceFile(
        "H100",
        tuple(
            Reference(
                model="meta-llama/Llama-3.1-8B-Instruct",
                task="lm-arena-chat",
                gpu="H100",
                settings={"num_gpus": "1", "max_num_seqs": size},
                source="ML.ENERGY leaderboard",
                date="2026-02-13",
                joules={"token": joules, "request": 300 * joules},
                seconds={"itl_p50": 0.0474, "unit": 0.000102},
                watts=688.3,
                facts={"tokens_per_request": 300.0},
            )
            for size, joules in (("256", 0.0766), ("512", 0.0702))
        ),
    )
).encode()
SECONDS = 10
"""A reader that takes longer for a file of a few kB hangs."""

LONGEST_LINE = 1500
VALIDATE_EVERY = 20
"""The schema takes a hundred times longer than the reader."""

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -0.0, 1, -1, 2, 0.5, 1e-15, 9e-16, 1e24, 1.1e24, 1e308, 1e-300, 10**18, 10**25, 10**400),
    *(float("nan"), float("inf"), -float("inf"), "", "x", "x" * 81, "x" * 300, "NaN", "1e999", "\ud800", "\U0001f600"),
    *("a\nb", "::error::x", "\u202e", "\0", "repeated", "one-shot", "PASS", "REGRESSED", "token", "main", "../x"),
    *([], {}, [[]], [{}], {"": {}}, [1, 2], [1, 2, 3], [[1, 2, 3]], [[1.0, 1.0, 1.0]] * 40, {"a": 1}, {"a": "b"}),
    *({"recorded": "x"}, {"joules": 1.0, "units": 1.0, "seconds": 1.0}, {"joules": 0.0, "units": 0.0, "seconds": 0.0}),
)
TEXTS = (
    *(b"", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud800", b"\\u0000", b"NaN", b"-Infinity"),
    *(b"1e999", b"-", b"0" * 30, b"1" * 25, b"null", b"true", b"\n", b"\r", b"\t", b" ", b"\xff", b"\xed\xa0\x80"),
    *(b"\xef\xbb\xbf", b"\x00", b"[" * 1500, b'{"a":' * 1500, b'"schema":1,', b'"test":"x",', b'"blocks":[],', b"/**/"),
)


_BASELINE_SCHEMA = Draft202012Validator(store.schema())
_REFERENCE_SCHEMA = Draft202012Validator(references.schema())
_REPORT_SCHEMA = Draft202012Validator(json_report.schema())


class Wrong(AssertionError):
    """An answer that a reader must not give."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader, and what has to hold of its answers.

    Attributes:
        name: What it is called in the results.
        corpus: Sound files, as bytes.
        check: Reads a file, and raises what the reader raises, or :class:`Wrong`; says whether the schema is asked.
        refusals: The errors by which it may refuse one.
    """

    name: str
    corpus: tuple[bytes, ...]
    check: Callable[[Path, bool], None]
    refusals: tuple[type[Exception], ...]


def check_baseline(path: Path, validate: bool) -> None:
    """An accepted baseline file reads back, renders the same and fits the schema."""
    data, found = path.read_bytes(), store.read(path)
    if found is None:
        raise Wrong("a file that is there was taken for none")
    if found != store._parse(data.decode(), path):
        raise Wrong("the quick reading and the careful one differ")
    text = store.render(found)
    if validate:
        _BASELINE_SCHEMA.validate(json.loads(text))
    path.write_bytes(text.encode())
    if (again := store.read(path)) is None or again.entries.keys() != found.entries.keys():
        raise Wrong("other series after rewriting")
    # A stored number has seven digits; what was written once never changes again.
    if store.render(again) != text:
        raise Wrong("rewriting changed it")


def check_references(path: Path, validate: bool) -> None:
    """An accepted reference file reads back, renders the same and fits the schema."""
    found = references.parse(path.read_bytes(), path)
    text = references.render(found)
    if validate:
        _REFERENCE_SCHEMA.validate(json.loads(text))
    if references.render(references.parse(text.encode(), path)) != text:
        raise Wrong("rewriting changed it")


def check_report(path: Path, validate: bool) -> None:
    """An accepted report reads back the same, and fits the schema."""
    found = json_report.read(path)
    if validate:
        _REPORT_SCHEMA.validate(json_report.to_data(found))
    json_report.write(found, path)
    if json_report.read(path) != found:
        raise Wrong("rewriting changed it")


def check_explain(path: Path, validate: bool) -> None:
    """Whatever can be read can be explained against itself, or is said not to be."""
    del validate
    side = read_side(str(path))
    if side.series:
        explain_sides(side, side)


def one_line(error: Exception, path: Path) -> None:
    """A refusal is one printable line that names the file."""
    text = str(error)
    if str(path) not in text:
        raise Wrong(f"the file is not named: {text[:300]!r}")
    if not text.isprintable():
        raise Wrong(f"not printable: {text[:300]!r}")
    if len(text) > LONGEST_LINE:
        raise Wrong(f"{len(text)} characters: {text[:300]!r}")


def small(path: Path) -> bytes:
    """A baseline file with few series, or a report with few results: speed."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if "entries" in data:
        data["entries"] = dict(list(data["entries"].items())[:1])
        for windows in data["entries"].values():
            for units in windows.values():
                for unit, sessions in units.items():
                    units[unit] = sessions[:2]
                    for session in sessions:
                        session["blocks"] = session["blocks"][:2]
    else:
        data["results"] = data["results"][:1]
    return json.dumps(data).encode()


def targets() -> tuple[Target, ...]:
    """All readers."""
    baselines, reports = tuple(map(small, BASELINES)), tuple(map(small, REPORTS))
    return (
        Target("baselines", baselines, check_baseline, (BaselineError,)),
        Target("references", (REFERENCES,), check_references, (ReferenceFileError,)),
        Target("reports", reports, check_report, (ReportError,)),
        Target("explain", baselines + reports, check_explain, (RunError,)),
    )


# -- damage --


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value."""
    yield at
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in items:
        yield from places(value, (*at, step))


def damaged(text: bytes, random_: random.Random) -> bytes:
    """A file with one to three faults."""
    if random_.random() < 0.5:
        data = json.loads(text)
        for _ in range(random_.choice((1, 1, 1, 2, 3))):
            data = with_fault(data, random_)
        # Infinity is a number that JSON can only overflow to.
        text = json.dumps(data, ensure_ascii=random_.random() < 0.5).encode("utf-8", "surrogatepass")
        if random_.random() < 0.3:
            text = text.replace(b"Infinity", b"1e999")
        if random_.random() < 0.8:
            return text
    for _ in range(random_.choice((1, 1, 2, 4))):
        at, length = random_.randrange(len(text) + 1), random_.choice((0, 1, 1, 2, 8, 40))
        piece = random_.choice(
            (random_.choice(TEXTS), random_.randbytes(random_.randrange(4)), text[at : at + length] * 2)
        )
        text = text[:at] + piece + text[at + length :]
    return text


def with_fault(data: Any, random_: random.Random) -> Any:
    """One value replaced, moved, doubled, renamed or dropped."""
    data = copy.deepcopy(data)
    every = list(places(data))
    at = random_.choice(every)
    if not at:
        return random_.choice(JUNK) if random_.random() < 0.1 else data
    owner = inside(data, at[:-1])
    kind = random_.random()
    if kind < 0.5:
        owner[at[-1]] = nearby(owner[at[-1]], random_)
    elif kind < 0.65:
        owner[at[-1]] = copy.deepcopy(inside(data, random_.choice(every)))
    elif kind < 0.8:
        del owner[at[-1]]
    elif isinstance(owner, dict):
        owner[str(random_.choice((*JUNK[:12], at[-1], "surprise", "", "x" * 100, "\ud800", "a\nb")))] = owner[at[-1]]
    else:
        owner.insert(at[-1], copy.deepcopy(owner[at[-1]]))
    return data


def nearby(value: Any, random_: random.Random) -> Any:
    """Something like ``value``, or nothing like it."""
    if isinstance(value, (int, float)) and abs(value) < 1e300 and random_.random() < 0.5:
        return random_.choice((-value, value * 1e30, value * 1e-30, round(value, 1), value + 1, -1e-9, 0, str(value)))
    return copy.deepcopy(random_.choice(JUNK))


def inside(data: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path."""
    for step in path:
        data = data[step]
    return data


# -- running --


def hang(number: int, frame: FrameType | None) -> None:
    """A reader took too long."""
    raise Wrong(f"no answer within {SECONDS} s")


def case(target: Target, text: bytes, path: Path, validate: bool) -> str:
    """What became of one file: ``accepted`` or ``refused``.

    Raises:
        Wrong: or whatever else a reader must not raise.
    """
    path.write_bytes(text)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        target.check(path, validate)
    except target.refusals as error:
        one_line(error, path)
        return "refused"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "accepted"


def mutate(target: Target, cases: int, seed: int, path: Path, until: float) -> tuple[Counter[str], dict[str, bytes]]:
    """Damage sound files at random."""
    random_ = random.Random(f"{target.name} {seed}")
    counts: Counter[str] = Counter()
    faults: dict[str, bytes] = {}
    for number in range(cases):
        if time.monotonic() > until:
            break
        text = damaged(random_.choice(target.corpus), random_)
        try:
            counts[case(target, text, path, number % VALIDATE_EVERY == 0)] += 1
        except Exception as error:
            counts["wrong"] += 1
            faults.setdefault(fault(error), text)
    return counts, faults


def fault(error: BaseException) -> str:
    """An error and where it was raised, to tell faults apart."""
    place, trace = "", error.__traceback__
    while trace is not None:
        name = Path(trace.tb_frame.f_code.co_filename)
        if "pytest_joules" in name.parts or name.name == "fuzz.py":
            place = f"{name.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {place}: {str(error)[:200]}"


def with_atheris(target: Target, cases: int, seed: int, path: Path) -> None:
    """Let libFuzzer look for damage that reaches new lines; it ends the process, and keeps what fails."""
    import atheris

    for module in ("pytest_joules.baselines.store", "pytest_joules.codec", "pytest_joules.reporting.json"):
        for name, found in list(vars(sys.modules[module]).items()):
            if callable(found) and getattr(found, "__module__", "") == module and hasattr(found, "__code__"):
                setattr(sys.modules[module], name, atheris.instrument_func(found))
    corpus = path.parent / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, text in enumerate(target.corpus):
        (corpus / str(number)).write_bytes(text)

    def one(text: bytes) -> None:
        case(target, text, path, False)

    def custom(text: bytes, longest: int, number: int) -> bytes:
        random_ = random.Random(number)
        if random_.random() < 0.5:
            return bytes(atheris.Mutate(text, longest))
        try:
            return damaged(text, random_)[:longest]
        except (ValueError, RecursionError):
            return damaged(random_.choice(target.corpus), random_)[:longest]

    arguments = [f"-runs={cases}", f"-seed={seed + 1}", "-max_len=16384", "-timeout=30", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], one, custom_mutator=custom)
    atheris.Fuzz()


def main() -> int:
    """Print what became of the cases of each reader, and every fault once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=300_000, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop each reader's cases after this long")
    parser.add_argument("--engine", choices=("mutate", "atheris"), default="mutate")
    parser.add_argument("--only", default="", help="one reader: baselines, reports or explain")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, hang)
    chosen = [target for target in targets() if options.only in target.name]
    found: dict[str, Any] = {"engine": options.engine, "seed": options.seed, "readers": {}}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "case.json"
        if options.engine == "atheris":
            with_atheris(chosen[0], options.cases, options.seed, path)
        for target in chosen:
            began = time.monotonic()
            counts, faults = mutate(target, options.cases, options.seed, path, began + options.seconds)
            rate = counts.total() / (time.monotonic() - began)
            print(f"{target.name}: {counts.total()} cases, {rate:.0f} a second: {dict(counts)}", flush=True)
            for number, (what, text) in enumerate(faults.items()):
                print(f"  {what}")
                if options.json is not None:
                    options.json.with_suffix(f".{target.name}-{number}").write_bytes(text)
            found["readers"][target.name] = {"cases": counts.total(), **counts, "faults": sorted(faults)}
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if any(reader["faults"] for reader in found["readers"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
