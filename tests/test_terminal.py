"""What the terminal says of a run: a table that fits, and everything once."""

from __future__ import annotations

from dataclasses import replace

from stored import SKU, measured, unmeasured

from pytest_joules.model import BaselineChange, BaselineKey, BudgetResult, Rates, RunResult, Verdict, VerdictKind
from pytest_joules.options import COLUMNS
from pytest_joules.reporting import markdown, terminal

LEVEL = Verdict(
    VerdictKind.PASS,
    joules_per_unit=0.04697,
    uncertainty=0.0029,
    baseline_joules_per_unit=0.04688,
    ratio=1.002,
    ratio_low=0.991,
    ratio_high=1.013,
    detectable=0.028,
)


def passed(test: str) -> BudgetResult:
    return replace(measured(0.04697, test), verdict=LEVEL, failed=False)


def run(*results: BudgetResult) -> RunResult:
    return RunResult("2026-05-01T12:00:00+00:00", "1", None, None, results)


def report(found: RunResult, **how: bool) -> list[str]:
    return terminal.report(found, COLUMNS, "test", lambda result: f"store {result.test}", **how)


def test_a_table_is_no_wider_than_a_terminal() -> None:
    lines = terminal.table([passed("tests/energy/test_llm.py::test_decode")], COLUMNS, "test")
    assert lines[0] == "tests/energy/test_llm.py:"
    assert lines[1].split() == ["test", "joules", "watts", "s/unit", "baseline", "ratio", "verdict", "would", "catch"]
    assert lines[3].startswith("test_decode  46.97 mJ/token ±0.29%  ")
    assert max(map(len, lines)) <= 100


def timed() -> BudgetResult:
    found = passed("test_llm.py::test_decode")
    assert found.measurement is not None
    latencies = {"itl_p95": 0.0142, "call_p50": 1.19, "call": 1.2, "itl_p50": 0.0119, "of_another_version": 1.0}
    return replace(found, measurement=replace(found.measurement, latencies=latencies))


def test_latencies_are_columns_where_they_are_asked_for() -> None:
    results = [timed(), passed("test_llm.py::test_other")]
    _, heading, _, *rows = terminal.table(results, ("test", "call", "itl_p95", "ttft_p50"), "test")
    assert [line.split() for line in (heading, *rows)] == [
        ["test", "call", "itl_p95", "ttft_p50"],
        ["test_decode", "1.20", "s", "14.2", "ms", "-"],
        ["test_other", "-", "-", "-"],
    ]


def test_v_tells_latencies_in_one_line() -> None:
    line = "  latency    call 1.20 s, p50 1.19 s; itl p50 11.9 ms, p95 14.2 ms"
    assert report(run(timed()), verbose=True).count(line) == 1
    assert line not in report(run(timed()))
    assert line in terminal.details(timed(), "baselines", "update", Rates(), verbose=True)
    assert not [told for told in report(run(passed("test_llm.py::test_decode")), verbose=True) if "latency" in told]


def test_what_all_tests_share_stands_above_the_table() -> None:
    def shared(*tests: str) -> tuple[str, list[str]]:
        first, *others = terminal.table([*map(passed, tests)], COLUMNS, "test")
        heading, rows = (first, others[2:]) if first.endswith(":") else ("", others[1:])
        return heading, [row.split("  ")[0] for row in rows]

    assert shared("a/test_x.py::test_1", "a/test_x.py::test_2[b/c::d]") == (
        "a/test_x.py:",
        ["test_1", "test_2[b/c::d]"],
    )
    assert shared("a/test_x.py::test_1", "a/test_y.py::test_1") == ("a:", ["test_x.py::test_1", "test_y.py::test_1"])
    assert shared("test_x.py::A::test_1", "test_x.py::A::test_2") == ("test_x.py::A:", ["test_1", "test_2"])
    assert shared("test_x.py::test_1", "test_y.py::test_1") == ("", ["test_x.py::test_1", "test_y.py::test_1"])


def test_columns_that_tell_nothing_apart_are_shown_where_they_are_asked_for() -> None:
    one, other = passed("test_x.py::test_1"), replace(passed("test_x.py::test_2"), sku="nvidia-b200")
    assert SKU in terminal.table([one], ("sku", "verdict"), "test")[2]
    assert "window" in terminal.table([one], ("window",), "test")[0]
    invalid = replace(one, sku=None)
    assert " SKU " not in terminal.table([one, invalid], COLUMNS, "test")[1]
    both = terminal.table([one, other], COLUMNS, "test")
    assert " SKU " in both[1]


def test_windows_stand_behind_their_tests() -> None:
    whole = passed("test_x.py::test_1")
    assert whole.measurement is not None
    part = replace(whole, measurement=replace(whole.measurement, window="prefill"))
    rows = terminal.table([whole, part], COLUMNS, "test")[3:]
    assert [row.split("  ")[0] for row in rows] == ["test_1", "test_1 [prefill]"]
    assert terminal.table([part], ("test", "window"), "test")[-1].split() == ["test_1", "prefill"]


def test_tests_that_were_left_out_for_one_reason_take_one_line() -> None:
    deselected = [unmeasured("deselected", f"test_x.py::test_{number}") for number in range(9)]
    skipped, forgot = unmeasured("skipped: no GPU", "test_x.py::test_b"), unmeasured("never called energy", "test_f")
    found = run(*deselected, skipped, replace(forgot, failed=True))
    assert report(found) == [
        "test_f: UNMEASURED: never called energy",
        "test_x.py::test_0 and 8 more: UNMEASURED: deselected",
        "test_x.py::test_b: UNMEASURED: skipped: no GPU",
    ]
    assert len(report(found, verbose=True)) == 11


def test_failures_that_were_told_are_not_told_again() -> None:
    failed = replace(measured(), verdict=Verdict(VerdictKind.NO_BASELINE, "no stored session", notes=("hot",)))
    assert any("no stored session" in line for line in report(run(failed)))
    lines = report(run(failed), told=True)
    assert not any("no stored session" in line or "hot" in line for line in lines)


def test_an_update_without_a_budget_says_why_it_stores_nothing() -> None:
    assert terminal.unchanged(run(passed("test_a"))) == "baselines: nothing was written"
    unmarked = replace(passed("test_a"), declared=False)
    assert terminal.unchanged(run(unmarked)).endswith("written: no test that ran carries an energy_budget")


def test_a_saving_comes_with_what_holds_it() -> None:
    cheaper = replace(passed("test_a"), verdict=replace(LEVEL, kind=VerdictKind.IMPROVED))
    assert "  next       hold the new level: store test_a" in report(run(cheaper))
    assert "test_a: hold the new level: pytest-joules accept RESULT.json -k test_a" in markdown.render(run(cheaper))
    stored = BaselineChange(BaselineKey("test_a", "main", "token"), SKU, 0.05, 0.047, 1, True)
    updated = replace(run(cheaper), changes=(stored,))
    assert not any("hold the new level" in line for line in (*report(updated), markdown.render(updated)))
