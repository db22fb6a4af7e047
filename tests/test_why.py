"""What a reader sees of a diagnosis: in the failure, with ``-v``, in the report, and with rules of one's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from conftest import STEP_JOULES_PER_TOKEN, Suite
from jsonschema import Draft202012Validator

from pytest_joules.budget import EnergyBudget
from pytest_joules.codec import CodecError
from pytest_joules.decision import Terms, decide
from pytest_joules.diagnosis.budgets import PREDICTED, causes_in, diagnosis_of
from pytest_joules.model import (
    BaselineKey,
    Block,
    BudgetResult,
    Cause,
    Conditions,
    Device,
    Diagnosis,
    Measurement,
    Rates,
    Session,
    SignalChange,
    Split,
    Verdict,
    VerdictKind,
    WindowKind,
)
from pytest_joules.reporting import diagnosis as shown
from pytest_joules.reporting import json as json_report
from pytest_joules.reporting.terminal import details
from pytest_joules.signals import CONDITIONS, SIGNALS, Signal

WAITING = Cause(
    "host-bound",
    "the GPU waits for the host",
    (
        "enforce_eager: False -> True",
        "watts: 500 W -> 298 W",
        "SM active: 93% -> 55%",
        "SM clock: 1980 MHz -> 1980 MHz",
        "tensor: 40% -> 20%",
    ),
    "turn CUDA graphs on",
    "arXiv 2601.22076",
    low=math.log(1.298),
    high=math.log(1.298),
    explains=math.log(1.298),
)
FOUND = Diagnosis(
    change=math.log(1.31),
    noise=0.01,
    splits=(
        Split("watts and time", {"watts": math.log(0.595), "time": math.log(1.31 / 0.595)}),
        Split("static and dynamic", {"static": math.log(1.18), "dynamic": math.log(1.31 / 1.18)}),
    ),
    causes=(WAITING,),
    unexplained=math.log(1.31 / 1.298),
    missing=("SM active would tell more: GPM", "requests that ran at once would tell more: disable_log_stats=False"),
    signals=(SignalChange("sm_active", 0.93, 0.55), SignalChange("kv_cache_usage"), SignalChange("theirs", None, 3.0)),
)


def test_three_lines_say_the_mechanism_the_split_and_what_is_left() -> None:
    assert shown.brief(FOUND) == [
        "  why        the GPU waits for the host; it explains +29.8% of +31.0% (enforce_eager: False -> True; "
        "SM active: 93% -> 55%; SM clock: 1980 MHz -> 1980 MHz)",
        "  split      watts -40.5%, time +120.2%; static +18.0%, dynamic +11.0%",
        "  left       +0.9% unexplained; SM active would tell more: GPM (and 1 more with -v)",
    ]


def test_all_of_it_has_advice_source_size_and_every_signal() -> None:
    text = "\n".join(shown.whole(FOUND))
    for piece in (
        "1. the GPU waits for the host; it explains +29.8% of +31.0%",
        "tensor: 40% -> 20%",
        "do: turn CUDA graphs on",
        "rule: host-bound; source: arXiv 2601.22076",
        "watts and time: watts -40.5%, time +120.2%",
        "requests that ran at once would tell more: disable_log_stats=False",
        "SM active: 93% -> 55%",
        "unavailable: KV cache in use (needs energy.server(url))",
        "theirs: unavailable -> 3",
    ):
        assert piece in text


@pytest.mark.parametrize(
    ("low", "high", "explains", "said", "expected", "left"),
    [
        (
            1.14,
            1.42,
            1.31,
            "it explains +14.0% to +31.0%",
            "to expect of it: +14.0% to +42.0%",
            "up to +14.9%",
        ),
        (1.0, 1.42, 1.31, "it may explain up to +31.0%", "to expect of it: up to +42.0%", "up to +31.0%"),
        (1.0, 1.20, 1.20, "it may explain up to +20.0%", "", "+9.2% to +31.0%"),
        (1.14, 1.20, 1.20, "it explains +14.0% to +20.0%", "", "+9.2% to +14.9%"),
        (1.20, 1.20, 1.20, "it explains +20.0%", "", "+9.2%"),
    ],
)
def test_a_range_is_said_to_be_one(
    low: float, high: float, explains: float, said: str, expected: str, left: str
) -> None:
    """No share of a range is printed as if somebody had measured it, and what it may leave is not called explained."""
    cause = Cause("batch", "a smaller batch", low=math.log(low), high=math.log(high), explains=math.log(explains))
    found = Diagnosis(math.log(1.31), 0.01, causes=(cause,), unexplained=math.log(1.31 / explains))
    assert shown.why(found) == f"a smaller batch; {said} of +31.0%"
    assert shown.brief(found)[-1] == f"  left       {left} unexplained"
    told = [line.strip() for line in shown.whole(found)]
    assert [line for line in told if line.startswith("to expect")] == [expected] * bool(expected)


def test_what_another_cause_takes_at_least_is_not_this_ones() -> None:
    steps = Cause("steps", "more steps", low=math.log(1.1), high=math.log(1.2), explains=math.log(1.15))
    host = Cause("host-bound", "the GPU waits", low=0.0, high=math.log(1.32), explains=math.log(1.32 / 1.15))
    found = Diagnosis(math.log(1.32), 0.01, causes=(steps, host))
    lines = shown.whole(found)
    assert "1. more steps; it explains +10.0% to +20.0% of +32.0%" in lines[0]
    assert any("2. the GPU waits; it may explain up to +20.0% of +32.0%" in line for line in lines)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Diagnosis(math.log(1.008), 0.012), "nothing to explain: +0.8% is within the noise of 1.2%"),
        (Diagnosis(math.log(1.05), 0.012, unexplained=math.log(1.05)), "no known mechanism fits the +5.0%"),
        (
            Diagnosis(0.3, 0.01, incomparable=("device: H100 -> H200",)),
            "the two are not the same thing measured twice: device: H100 -> H200",
        ),
        (
            Diagnosis(math.log(0.5), 0.01, causes=(Cause("knob", "dtype changed"),)),
            "dtype changed; how much it explains is not known",
        ),
    ],
)
def test_without_a_cause_nothing_is_guessed(found: Diagnosis, why: str) -> None:
    assert shown.brief(found)[0] == f"  why        {why}"
    assert f"  why        {'1. ' if found.causes else ''}{why}" in shown.whole(found)


@pytest.mark.parametrize("signal", [*CONDITIONS, *SIGNALS], ids=lambda signal: signal.name)
def test_every_signal_is_printed_with_its_unit(signal: Signal) -> None:
    name = signal.name
    line = shown.signal(SignalChange(name, 0.25, 2.5))
    units = {"_mhz": "MHz", "_watts": "W", "_bytes": "B", "_per_second": "B/s", "_celsius": "°C", "_share": "%"}
    for end, unit in units.items():
        if name.endswith(end):
            assert line.endswith(unit)
    assert line.startswith(f"{signal.text}: ")


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ("the GPU is tired", "it returned 'the GPU is tired'; return a pytest_joules.Cause, or a list of them"),
        ([WAITING, None], "return a pytest_joules.Cause"),
        (Cause("x", "y", evidence="no list"), "Cause.evidence: expected a list, found 'no list'"),  # type: ignore[arg-type]
        (Cause("x", "y", explains=math.nan), "Cause.explains: expected a finite number"),
        (Cause("x", 5), "Cause.text: expected str"),  # type: ignore[arg-type]
        (Cause("x", "y", low=math.inf, high=math.inf), "rule 'x': Cause.low: expected a finite number"),
        (Cause("x", "y", low=0.1), "rule 'x': low and high go together: give both, or explains alone"),
        (Cause("x", "y", low=0.5, high=-0.5), "rule 'x': low=0.5 is above high=-0.5: swap them"),
    ],
)
def test_a_rule_that_returns_nonsense_is_told_what_to_return(returned: object, complaint: str) -> None:
    with pytest.raises(CodecError) as caught:
        causes_in(returned)
    assert complaint in str(caught.value)
    assert causes_in([WAITING]) == causes_in(WAITING) == (WAITING,)


def test_a_rules_texts_are_one_line_each() -> None:
    forged = Cause(
        "x\ty", "line one\nREGRESSED: forged\n\x1b[31mred", evidence=("a\n b",), advice="\r\ndo", source="\u202eus"
    )
    (cause,) = causes_in(forged)
    assert cause == Cause("x y", "line one REGRESSED: forged [31mred", ("a b",), "do", "us")


H200 = Device(0, "NVIDIA H200", "abc", power_limit_watts=700.0)


def blocks(joules: float) -> tuple[Block, ...]:
    """Half-seconds of 500 W."""
    return (Block(250.0, 250.0 / joules, 0.5),) * 3


def stored(joules: float = 1.0, device: str = "abc", celsius: float = 40.0, *, anchor: bool = False) -> Session:
    return Session("", (device,), blocks(joules), conditions=Conditions(celsius), anchor=anchor)


def judged(
    joules: float, sessions: Sequence[Session], celsius: float = 40.0, limit: float | None = None
) -> BudgetResult:
    """A result as the recorder makes it."""
    conditions = Conditions(celsius)
    found = Measurement("main", WindowKind.REPEATED, (H200,), {"token": blocks(joules)}, 1.0, 1.0, conditions)
    verdict = decide(found, sessions, Terms("token", 0.02, limit))
    key = BaselineKey("test_it.py::test_step", "main", "token")
    return BudgetResult(key.test, EnergyBudget(), True, verdict, True, key, "nvidia-h200", 0.02, found)


def diagnosed(result: BudgetResult, sessions: Sequence[Session]) -> Diagnosis:
    found = diagnosis_of(result, sessions, lambda result, before, after: ())
    assert found is not None
    assert result.verdict.ratio is None or found.change == pytest.approx(math.log(result.verdict.ratio))
    for split in found.splits:
        assert sum(split.parts.values()) == pytest.approx(found.change)
    return found


def test_the_change_that_is_explained_is_the_ratio_that_is_printed() -> None:
    sessions = [stored()] * 3
    assert diagnosed(judged(1.1, sessions), sessions).change == pytest.approx(math.log(1.1))
    # What the prediction allows for temperature is no change of the code, and no cause either.
    hot = diagnosed(judged(1.1, sessions, 80.0), sessions)
    assert hot.change < 0.02
    assert "heat" not in [cause.rule for cause in hot.causes]


def test_what_temperature_was_allowed_for_is_told_where_it_is_more_than_the_noise() -> None:
    sessions = [stored(celsius=70.0)] * 8
    warmer = judged(1.3, sessions, 30.0)
    found = diagnosis_of(
        replace(warmer, verdict=replace(warmer.verdict, ratio_high=(warmer.verdict.ratio or 0.0) * 1.01)),
        sessions,
        lambda result, before, after: (),
    )
    assert found is not None
    (split,) = [split for split in found.splits if split.name == PREDICTED]
    assert split.parts["since the stored sessions"] == pytest.approx(math.log(1.3))
    assert sum(split.parts.values()) == pytest.approx(found.change)
    assert SignalChange("temperature_celsius", 70.0, 30.0) in found.signals


def test_sessions_of_todays_device_and_of_the_anchor_stand_for_before() -> None:
    mixed = [stored(), stored(), stored(), stored(1.5, "def")]
    today = judged(1.1, mixed)
    assert diagnosed(today, mixed).change == pytest.approx(math.log(1.1), abs=0.01)
    pinned = [stored(anchor=True)] * 3 + [stored(1.025)] * 5
    crept = judged(1.035, pinned)
    assert crept.verdict.crept
    assert diagnosed(crept, pinned).change == pytest.approx(math.log(1.035), abs=0.003)


def test_over_its_limit_it_is_explained_against_the_baseline_and_says_so() -> None:
    sessions = [stored()] * 3
    over = judged(1.5, sessions, limit=1.2)
    over = replace(over, diagnosis=diagnosed(over, sessions))
    assert over.diagnosis is not None
    assert over.diagnosis.change == pytest.approx(math.log(1.5))
    told = details(over, "baselines", "pytest", Rates())
    assert any("baseline   1.000 J, in baselines/nvidia-h200.json" in line for line in told)


def test_what_cannot_be_trusted_or_has_no_baseline_is_not_explained() -> None:
    sessions = [stored()] * 3
    today = judged(1.5, sessions)
    for kind in (VerdictKind.INVALID, VerdictKind.UNMEASURED):
        untrusted = replace(today, verdict=Verdict(kind, "a foreign process, pid 7"))
        assert diagnosis_of(untrusted, sessions, lambda *_: ()) is None
    assert diagnosis_of(today, [], lambda *_: ()) is None
    assert diagnosis_of(today, [replace(stored(), kind=WindowKind.ONE_SHOT)], lambda *_: ()) is None


TEST = """
    @pytest.mark.energy_budget(tolerance="2%")
    def test_step(energy):
        energy.repeat(step, (SCALE,), work=tokens)
"""

CONFTEST = """
    from pytest_joules import Cause

    def pytest_joules_diagnose(result, before, after):
        if after.joules_per_unit > 1.5 * before.joules_per_unit:
            return Cause("twice", "everything is done twice", ("layers: 1 -> 2",), "do it once", explains=0.1)
"""

BROKEN = """
    def pytest_joules_diagnose(before):
        raise LookupError("no table of ours")
"""


def test_a_failure_has_three_lines_of_why_and_all_of_it_with_v(suite: Suite) -> None:
    seen = {"sm_active": 1.0, "tensor_active": 0.0, "fp32_active": 0.0, "dram_bytes_per_second": 3.0e12}
    suite.store_baseline(
        conditions=Conditions(temperature_celsius=36.0, sm_clock_mhz=1980.0, idle_watts=70.0, signals=seen)
    )
    suite.write(TEST.replace("SCALE", "2"))
    suite.write(CONFTEST, "conftest.py", prelude="")
    ran, report = suite.report()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        [
            "REGRESSED: simulated *",
            "  device     *",
            "  why        more device memory traffic *; it explains +* of +* (*->*)",
            "  split      watts *, seconds per unit +*",
            "  left       *",
            "  baseline   *",
        ],
        consecutive=False,
    )
    ran.stdout.no_fnmatch_line("  moved *")
    Draft202012Validator(json_report.schema()).validate(report)
    (result,) = report["results"]
    found = result["diagnosis"]
    assert found["change"] == pytest.approx(math.log(result["verdict"]["ratio"]))
    for split in found["splits"]:
        assert sum(split["parts"].values()) == pytest.approx(found["change"])
    assert "twice" in [cause["rule"] for cause in found["causes"]]

    suite.write(BROKEN, "conftest.py", prelude="")
    verbose = suite.run("-v")
    verbose.assert_outcomes(failed=1)
    verbose.stdout.fnmatch_lines(
        [
            "  why *",
            "  split      watts and time: watts *, seconds per unit *",
            "  left *unexplained",
            "  signals *",
            "             time slowed down by the driver for heat: unavailable -> 0.0%",
            "  note       pytest_joules_diagnose of conftest.py: LookupError: no table of ours",
        ]
    )


def test_an_improvement_names_its_cause_and_a_pass_its_split_with_v(suite: Suite) -> None:
    suite.store_baseline(2 * STEP_JOULES_PER_TOKEN, seconds_per_unit=0.02 / 64)
    suite.store_baseline(test="test_it.py::test_same")
    suite.write(
        TEST.replace("SCALE", "1")
        + """
    @pytest.mark.energy_budget(tolerance="2%")
    def test_same(energy):
        energy.repeat(step, work=tokens)
    """
    )
    ran = suite.run()
    ran.assert_outcomes(passed=2)
    ran.stdout.fnmatch_lines(["*test_step: IMPROVED: * is -*%*", "  why  *"], consecutive=True)
    ran.stdout.no_fnmatch_line("  split *")
    suite.run("-v").stdout.fnmatch_lines(["*test_same: PASS: *", "  split      watts and time: *"], consecutive=True)
