"""Runs to render: one as a real one is, and any that a stored file could hold."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from pytest_joules.budget import EnergyBudget
from pytest_joules.latency import TIMED
from pytest_joules.model import (
    BaselineChange,
    BaselineKey,
    BaselineReview,
    Block,
    BudgetResult,
    Cause,
    Conditions,
    Device,
    Diagnosis,
    EntryChange,
    Expectation,
    History,
    Measurement,
    MeterInfo,
    Place,
    PowerTrace,
    Reference,
    Rename,
    RunResult,
    SignalChange,
    Split,
    Verdict,
    VerdictKind,
    Widened,
    WindowKind,
)
from pytest_joules.units import EnergyPerUnit

HOSTILE = (
    "tests/test_a.py::test_b[1\n::error::owned]",
    "::error file=x::owned",
    "##[error]owned",
    "a|b\\|c",
    "`a` ``b`` ```c```",
    "<script>alert(1)</script>",
    "</code></summary></details><img src=x onerror=alert(1)>",
    "]]>",
    "<!-- -->",
    "&lt;&amp;&#64;",
    "${{ secrets.TOKEN }}",
    "$(id) `id` ${HOME}",
    "@all @octocat #1 !2 owner/repo#3",
    "https://example.org www.example.org a@b.example",
    "/close\n/approve",
    "GH-1 GH-2",
    "##vso[task.complete]done",
    "＝1+1",
    "[link](javascript:alert(1)) ![image](x)",
    "../../etc/passwd",
    "a\u202eb\u2066c\u200bd",
    "\u3164\ufe0f\u034f\u2800\U000e0101",
    "\x00\x07\x1b[31mred\x7f\x9b",
    "\ud800 and \udfff",
    "\ufffe\uffff",
    "=1+1",
    "@SUM(A1)",
    "-bencher-ignore",
    'x{label="value"} # EOF',
    "%0A::error::%25",
    "# heading",
    "- item\n\n1. item\n---\n***",
    "*bold* _it_ ~~gone~~ $x$",
    "ünïcode 日本語 🔥",
    " ",
    "",
    "x" * 100_000,
    "|" * 100_000,
)
"""Texts that mean something to one of the languages that reports are written in."""

texts = st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=40)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.floats(1e-3, 1e3) | st.just(0.0)
maybe = st.none() | numbers

DEVICE = Device(0, "NVIDIA H200", "abc", power_limit_watts=700.0, driver="580.159")


def result(
    test: str = "tests/energy/test_llm.py::test_decode[8]",
    kind: VerdictKind = VerdictKind.REGRESSED,
    *,
    ratio: float | None = 1.30,
    joules: float = 0.08,
    window: str = "main",
    unit: str = "token",
    failed: bool | None = None,
    declared: bool = True,
    line: int | None = 12,
) -> BudgetResult:
    """One result with numbers that fit together."""
    blocks = tuple(Block(joules * 1000 * wiggle, 1000.0, 0.5) for wiggle in (0.99, 1.0, 1.01))
    known = ratio is not None
    verdict = Verdict(
        kind,
        reason=f"why it is {kind.value}",
        joules_per_unit=joules,
        uncertainty=0.004,
        baseline_joules_per_unit=joules / ratio if ratio else None,
        baseline_sessions=3 if known else 0,
        ratio=ratio,
        ratio_low=ratio - 0.02 if ratio else None,
        ratio_high=ratio + 0.02 if ratio else None,
        seconds_ratio=1.1 if known else None,
        detectable=0.03,
    )
    diagnosis = Diagnosis(
        change=0.26,
        noise=0.01,
        splits=(Split("watts and time", {"watts": 0.06, "seconds per unit": 0.2}),),
        causes=(
            Cause(
                "batch",
                "a smaller batch ran",
                ("batch: 32 -> 16",),
                "raise max_num_seqs",
                low=0.2,
                high=0.3,
                explains=0.26,
            ),
        ),
    )
    return BudgetResult(
        test=test,
        budget=EnergyBudget(limit=EnergyPerUnit(0.1, unit)),
        declared=declared,
        verdict=verdict,
        failed=kind is VerdictKind.REGRESSED if failed is None else failed,
        key=BaselineKey(test, window, unit),
        sku="nvidia-h200",
        tolerance=0.02,
        measurement=Measurement(
            window,
            WindowKind.REPEATED,
            (DEVICE,),
            {"call": blocks, unit: blocks},
            calls=3000.0,
            warmup_seconds=1.2,
            conditions=Conditions(48.0, 1980.0, versions={"vllm": "0.23"}, configuration={"batch": "16"}),
        ),
        diagnosis=diagnosis if kind is VerdictKind.REGRESSED else None,
        place=Place(test.partition("::")[0], line),
    )


def run_of(*results: BudgetResult) -> RunResult:
    """A run with these results on one device."""
    meter = MeterInfo("Zeus 0.16.0, energy counter every 100 ms", False, (DEVICE,))
    return RunResult("2026-05-01T12:00:00+00:00", "0.1.0", meter, "0123456789ab", results)


EVERY_VERDICT = run_of(
    result(),
    result(window="prefill", unit="prompt_token", kind=VerdictKind.PASS, ratio=1.001, joules=0.016),
    result("tests/test_b.py::TestB::test_limit", VerdictKind.OVER_LIMIT, joules=0.2, failed=True),
    result("tests/test_b.py::TestB::test_cheap", VerdictKind.IMPROVED, ratio=0.9),
    result("tests/test_b.py::test_new", VerdictKind.NO_BASELINE, ratio=None, failed=True),
    result("tests/test_b.py::test_loose", VerdictKind.INCONCLUSIVE, ratio=1.03),
    result("tests/test_b.py::test_window", VerdictKind.PASS, ratio=1.0, declared=False),
    replace(
        result("tests/test_c.py::test_skipped", VerdictKind.UNMEASURED),
        verdict=Verdict(VerdictKind.UNMEASURED, "skipped: no GPU"),
        failed=False,
        key=None,
        sku=None,
        measurement=None,
        diagnosis=None,
    ),
    replace(result("tests/test_c.py::test_spoiled", VerdictKind.INVALID, failed=True), key=None, sku=None),
)
"""A run with every verdict in it."""

_amounts = st.dictionaries(texts | st.sampled_from(["sm_active", "memory_used_bytes"]), numbers, max_size=2)


@st.composite
def _traces(draw: st.DrawFn) -> PowerTrace:
    row = st.tuples(numbers, numbers, maybe, maybe)
    columns = zip(*draw(st.lists(row, min_size=1, max_size=3)), strict=True)
    return replace(PowerTrace(*columns), block_seconds=tuple(draw(st.lists(numbers, max_size=3))))


@st.composite
def _histories(draw: st.DrawFn) -> History:
    row = st.tuples(texts, numbers, numbers, numbers, st.none() | texts, st.booleans(), st.booleans())
    columns = zip(*draw(st.lists(row, min_size=1, max_size=3)), strict=True)
    return History(*columns)


_blocks = st.builds(Block, joules=numbers, units=numbers, seconds=numbers)
_devices = st.builds(Device, index=st.integers(0, 8), name=texts, identity=texts, simulated=st.booleans())
_keys = st.builds(BaselineKey, test=texts, window=texts | st.just("main"), unit=texts | st.just("token"))
_verdicts = st.builds(
    Verdict,
    kind=st.sampled_from(VerdictKind),
    reason=texts,
    joules_per_unit=maybe,
    uncertainty=maybe,
    baseline_joules_per_unit=maybe,
    baseline_sessions=st.integers(0, 20),
    crept=st.booleans(),
    ratio=maybe,
    ratio_low=maybe,
    ratio_high=maybe,
    seconds_ratio=maybe,
    detectable=maybe,
    notes=st.tuples(texts),
)
_measurements = st.builds(
    Measurement,
    window=texts | st.just("main"),
    kind=st.sampled_from(WindowKind),
    devices=st.tuples(_devices) | st.just(()),
    blocks=st.dictionaries(texts | st.just("token"), st.tuples(_blocks, _blocks) | st.just(()), max_size=2),
    calls=numbers,
    warmup_seconds=numbers,
    conditions=st.builds(
        Conditions,
        temperature_celsius=maybe,
        versions=st.dictionaries(texts, texts, max_size=1),
        configuration=st.dictionaries(texts, texts, max_size=1),
        facts=_amounts,
        signals=_amounts,
    ),
    notes=st.tuples(texts),
    latencies=st.dictionaries(texts | st.sampled_from(TIMED), numbers, max_size=3),
    invalid=texts,
    trace=st.none() | _traces(),
)
_diagnoses = st.builds(
    Diagnosis,
    change=numbers,
    noise=numbers,
    splits=st.tuples(st.builds(Split, name=texts | st.just("watts and time"), parts=st.dictionaries(texts, numbers))),
    causes=st.tuples(st.builds(Cause, rule=texts, text=texts, evidence=st.tuples(texts), explains=maybe)) | st.just(()),
    unexplained=numbers,
    missing=st.tuples(texts),
    incomparable=st.tuples(texts) | st.just(()),
    signals=st.tuples(st.builds(SignalChange, name=texts | st.just("sm_active"), before=maybe, after=maybe)),
)
_widened = st.tuples(
    st.builds(Widened, term=texts | st.sampled_from(["tolerance", "limit", "gate"]), base=maybe, here=maybe)
)
_references = st.builds(
    Reference,
    model=texts,
    task=texts,
    gpu=texts,
    settings=st.dictionaries(texts, texts, max_size=1),
    source=texts,
    date=texts,
    joules=st.dictionaries(texts | st.just("token"), numbers, max_size=2),
    watts=maybe,
)
_results = st.builds(
    BudgetResult,
    test=texts,
    budget=st.builds(
        EnergyBudget,
        limit=st.none() | st.builds(EnergyPerUnit, joules=numbers, unit=texts),
        per=st.none() | texts,
        window=st.none() | texts,
        reference=st.none() | texts,
    ),
    declared=st.booleans(),
    verdict=_verdicts,
    failed=st.booleans(),
    key=st.none() | _keys,
    sku=st.none() | texts,
    tolerance=maybe,
    measurement=st.none() | _measurements,
    diagnosis=st.none() | _diagnoses,
    history=st.none() | st.just(History()) | _histories(),
    place=st.none() | st.builds(Place, file=texts, line=st.none() | st.integers()),
    widened=_widened | st.just(()),
    expected=st.none()
    | st.builds(Expectation, joules_per_unit=numbers, low=numbers, high=numbers, sku=texts, tests=st.integers()),
    reference=st.none() | _references,
)

any_run = st.builds(
    RunResult,
    created=texts,
    version=texts,
    meter=st.none() | st.builds(MeterInfo, description=texts, simulated=st.booleans(), devices=st.tuples(_devices)),
    commit=st.none() | texts,
    results=st.lists(_results, max_size=3).map(tuple),
    extra_info=st.dictionaries(texts, st.dictionaries(texts, st.none() | texts | numbers, max_size=1), max_size=1),
    changes=st.tuples(
        st.builds(
            BaselineChange, key=_keys, sku=texts, old=maybe, new=numbers, sessions=st.integers(), replaced=st.booleans()
        )
    )
    | st.just(()),
    not_collected=st.tuples(_keys) | st.just(()),
    renames=st.tuples(st.builds(Rename, old=_keys, new=_keys, ratio=numbers)) | st.just(()),
    review=st.none()
    | st.builds(
        BaselineReview,
        ref=texts,
        commit=texts,
        changes=st.tuples(st.builds(EntryChange, key=_keys, sku=texts, old=maybe, new=maybe, widened=_widened)),
        unjudged=st.tuples(_keys),
        problems=st.tuples(texts),
    ),
)
"""Whatever a stored report can hold: hostile names, numbers that make no sense, anything missing."""
