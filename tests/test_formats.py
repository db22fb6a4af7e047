"""Every format, read by one of its real readers."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from junitparser import Failure, JUnitXml, Properties, Skipped
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from runs import EVERY_VERDICT, HOSTILE, any_run, result, run_of
from test_escape import github_commands, rendered

from pytest_joules.cli import main
from pytest_joules.codec import CodecError, decode, encode
from pytest_joules.model import BaselineChange, BaselineKey, RunResult, VerdictKind
from pytest_joules.reporting import advice, bmf, github, hud, junit, markdown, openmetrics, smaller_is_better
from pytest_joules.reporting import csv as csv_report
from pytest_joules.reporting import json as json_report
from pytest_joules.reporting.formats import FORMATS, renderer

SCHEMAS = Path(__file__).parent / "schemas"
TEST = "tests/energy/test_llm.py::test_decode[8]"


def validated(text: str, schema: str) -> Any:
    found = json.loads(text)
    Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text())).validate(found)
    return found


def metrics(run: RunResult) -> dict[tuple[str, str, str], float]:
    families = text_string_to_metric_families(openmetrics.render(run))  # type: ignore[no-untyped-call]
    found = {}
    for sample in (sample for family in families for sample in family.samples):
        labels = sample.labels
        found[sample.name, labels.get("test", labels.get("verdict", "")), labels.get("unit", "")] = sample.value
    return found


def table(page: str) -> list[list[str]]:
    """The first table's rows, as GitHub shows them."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(page)
    found: list[list[str]] = []
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            found.append([])
        elif token.type in ("td_open", "th_open"):
            found[-1].append(rendered(tokens[index + 1].content).text.strip())
        elif token.type == "table_close":
            break
    return found


# -- any run that a file can hold --


def check_junit(run: RunResult) -> None:
    suites = JUnitXml.fromstring(junit.render(run).encode())
    declared = [r for r in run.results if r.declared]
    (suite,) = suites
    assert (suite.tests, suite.failures) == (len(declared), sum(r.failed for r in declared))
    assert len(list(suite)) == len(declared)


def check_openmetrics(run: RunResult) -> None:
    found = metrics(run)
    assert sum(found["energy_budgets", kind.value, ""] for kind in VerdictKind) == sum(r.declared for r in run.results)
    for line in openmetrics.render(run).splitlines():
        # GitLab cuts a line at the first #, and reads a name and a value.
        assert line.startswith("#") or "#" not in line


def check_bmf(run: RunResult) -> None:
    for benchmark, measures in validated(bmf.render(run), "bmf").items():
        assert len(benchmark) <= 1024
        assert all(len(measure) <= 64 for measure in measures)


def check_smaller_is_better(run: RunResult) -> None:
    for entry in validated(smaller_is_better.render(run), "custom-smaller-is-better"):
        assert not {"`", "|", "\n"} & set(entry["name"])


def check_hud(run: RunResult) -> None:
    validated(hud.render(run), "hud")


def check_csv(run: RunResult) -> None:
    header, *rows = csv.reader(io.StringIO(csv_report.render(run)))
    assert len(rows) == len(run.results)
    assert all(len(row) == len(header) for row in rows)


def check_markdown(run: RunResult) -> None:
    page = markdown.render(run)
    assert len(page.encode()) <= markdown.LONGEST_COMMENT
    check_page(page, run)
    assert not {"details", "summary"} & set(rendered(page).tags)


def check_github(run: RunResult) -> None:
    page = github.render(run)
    assert len(page.encode()) < github.LARGEST_SUMMARY
    check_page(page, run)
    lines = github.commands(run)
    found = github_commands("\n".join(lines))
    assert len(found) == len(lines) <= 10
    assert {name for name, _, _ in found} <= {"error", "warning"}
    assert all(set(values) <= {"file", "line", "title"} for _, values, _ in found)
    assert sum(name == "error" for name, _, _ in found[:9]) == min(9, sum(r.failed for r in run.results))


def check_page(page: str, run: RunResult) -> None:
    own = "h2 h3 p table thead tbody tr th td code pre ul li details summary"
    assert set(rendered(page).tags) <= set(own.split())
    rows = table(page)
    assert len(rows) == (1 + len(run.results) if run.results else 0)
    assert all(len(row) == 6 for row in rows)


def check_json(run: RunResult) -> None:
    data = json.loads(json.dumps(json_report.to_data(run)))
    Draft202012Validator(json_report.schema()).validate(data)
    assert decode(RunResult, encode(run)) == run


def check_html(run: RunResult) -> None:
    html = pytest.importorskip("pytest_joules.reporting.html", reason="the extra html is not installed")
    page = html.render(run)
    page.encode()
    # As many scripts as in any other page, and not one more.
    assert len(re.findall("<script", page)) == 3
    assert len(re.findall("<article", page)) == len(run.results)


@pytest.mark.parametrize(
    "check",
    [
        check_html,
        check_junit,
        check_openmetrics,
        check_bmf,
        check_smaller_is_better,
        check_hud,
        check_csv,
        check_markdown,
        check_github,
        check_json,
    ],
)
def test_any_run_is_written_so_that_its_reader_reads_it(check) -> None:  # type: ignore[no-untyped-def]
    check(RunResult("", ""))
    check(EVERY_VERDICT)
    # Names of a hundred thousand characters are slow to make, not to write.
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    settings(max_examples=40, suppress_health_check=slow)(given(any_run)(check))()


# -- what they say --


def test_junit_has_a_case_for_each_budget() -> None:
    (suite,) = JUnitXml.fromstring(junit.render(EVERY_VERDICT).encode())
    assert (suite.tests, suite.failures, suite.skipped) == (8, 4, 1)
    cases = {case.name: case for case in suite}
    decode_case = cases["test_decode[8] [main, J/token]"]
    assert decode_case.classname == "tests.energy.test_llm"
    (failure,) = decode_case.result
    assert isinstance(failure, Failure)
    assert failure.type == "REGRESSED"
    assert "80.00 mJ/token is +30.0%" in failure.message
    assert "why        a smaller batch ran" in failure.text
    assert "next       try: raise max_num_seqs" in failure.text
    assert cases["test_limit"].classname == "tests.test_b.TestB"
    (skipped,) = cases["test_skipped"].result
    assert isinstance(skipped, Skipped)
    assert skipped.message == "skipped: no GPU"
    properties = {found.name: found.value for found in decode_case.child(Properties)}  # type: ignore[no-untyped-call]
    assert properties["energy_joules_per_token"] == "0.08"
    assert properties["energy_baseline_joules_per_token"] == "0.0615385"
    assert properties["energy_ratio_per_token"] == "1.3"
    assert properties["energy_watts"] == "160"
    assert properties["energy_sku"] == "nvidia-h200"


def test_properties_of_a_test_with_two_budgets_have_names_of_their_own() -> None:
    prefill = result(window="pre fill", unit="prompt_token", kind=VerdictKind.PASS, ratio=1.0, joules=0.01)
    found = dict(junit.properties([prefill, result()]))
    assert found["energy_verdict"] == "REGRESSED"
    assert found["energy_verdict_per_token"] == "REGRESSED"
    assert found["energy_pre_fill_verdict_per_prompt_token"] == "PASS"
    assert found["energy_pre_fill_joules_per_prompt_token"] == "0.01"
    assert junit.properties([]) == []


def test_openmetrics_has_a_gauge_for_each_number_of_each_series() -> None:
    found = metrics(EVERY_VERDICT)
    assert found["energy_per_unit_joules", TEST, "token"] == 0.08
    assert found["energy_per_unit_joules", TEST, "prompt_token"] == 0.016
    assert found["energy_over_baseline_ratio", TEST, "token"] == 1.3
    assert found["energy_power_watts", TEST, "token"] == 160
    assert found["energy_budgets", "REGRESSED", ""] == 1
    assert openmetrics.render(EVERY_VERDICT).endswith("\n# EOF\n")


def test_one_series_is_written_once() -> None:
    twice = run_of(result(), result())
    assert openmetrics.render(twice) == openmetrics.render(run_of(result())).replace('"REGRESSED"} 1', '"REGRESSED"} 2')
    assert len(json.loads(smaller_is_better.render(twice))) == 1


def test_names_that_are_one_when_spelled_out_or_shortened_are_told_apart_or_told_once() -> None:
    alike = run_of(result("test_a.py::test[\u202e]"), result(r"test_a.py::test[\u202e]"))
    lines = openmetrics.render(alike).splitlines()
    assert sum(line.startswith("energy_per_unit_joules{") for line in lines) == 1
    long = run_of(*(result(f"test_a.py::test[{'x' * 500}{middle}{'x' * 500}]") for middle in "ab"))
    assert len({entry["name"] for entry in json.loads(smaller_is_better.render(long))}) == 2


def test_benchmark_formats_have_values_and_98_percent_intervals() -> None:
    run = run_of(result(), result(window="prefill", unit="prompt_token", joules=0.016))
    found = validated(bmf.render(run), "bmf")
    assert list(found) == [TEST, f"{TEST} [prefill]"]
    measure = found[TEST]["joules-per-token"]
    assert measure["value"] == 0.08
    assert measure["lower_value"] == pytest.approx(0.08 * 1.28 / 1.30)
    assert found[f"{TEST} [prefill]"]["joules-per-prompt-token"]["value"] == 0.016
    assert found[TEST]["watts"]["value"] == pytest.approx(160)
    entry = validated(smaller_is_better.render(run), "custom-smaller-is-better")[0]
    assert entry["name"] == f"{TEST}, J/token"
    assert entry["unit"] == "J/token"
    assert float(entry["range"].removeprefix("± ")) == pytest.approx(0.08 * 0.02 / 1.30, rel=1e-4)
    records = validated(hud.render(run), "hud")
    joules = next(record for record in records if record["metric"]["name"] == "joules_per_token(J)")
    assert joules["model"]["name"] == TEST
    assert joules["metric"]["benchmark_values"] == pytest.approx([0.0792, 0.08, 0.0808])
    assert joules["metric"]["target_value"] == pytest.approx(0.08 / 1.30)
    assert joules["benchmark"]["extra_info"]["arch"] == "NVIDIA H200"
    assert joules["dependencies"] == {"vllm": {"version": "0.23"}}


def test_two_skus_in_one_result_do_not_share_a_benchmark() -> None:
    run = run_of(result(), replace(result(), sku="nvidia-b200"))
    assert len(json.loads(bmf.render(run))) == 2
    assert len({entry["name"] for entry in json.loads(smaller_is_better.render(run))}) == 2


@pytest.mark.parametrize("render", [markdown.render, github.render, junit.render])
def test_no_name_passes_for_a_line_of_our_own(render) -> None:  # type: ignore[no-untyped-def]
    forged = "1\n  why        nothing\nPASS: fine"
    found = result(f"test_a.py::test[{forged}]")
    verdict = replace(found.verdict, notes=(forged,))
    lines = render(run_of(replace(found, verdict=verdict))).splitlines()
    assert not any(line.lstrip().startswith(("PASS: fine", "why        nothing")) for line in lines)


def test_no_name_mutes_bencher() -> None:
    (name,) = json.loads(bmf.render(run_of(result("test_a.py::test-bencher-ignore"))))
    assert not name.endswith("-bencher-ignore")


def test_csv_has_a_row_for_each_result() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_report.render(EVERY_VERDICT))))
    assert rows[0]["test"] == TEST
    assert rows[0]["verdict"] == "REGRESSED"
    assert float(rows[0]["joules_per_unit"]) == 0.08
    assert float(rows[0]["limit_joules_per_unit"]) == 0.1
    assert (rows[0]["failed"], rows[0]["line"], rows[0]["commit"]) == ("true", "12", "0123456789ab")
    assert rows[7]["joules_per_unit"] == ""
    assert rows[7]["reason"] == "skipped: no GPU"


def test_latencies_have_a_name_in_every_format_that_a_program_reads() -> None:
    first, *others = EVERY_VERDICT.results
    assert first.measurement is not None
    timed = replace(first.measurement, latencies={"itl_p95": 0.0142, "call": 1.2, "of_another_version": 7.0})
    run = replace(EVERY_VERDICT, results=(replace(first, measurement=timed), *others))
    header, first_row, *rows = csv.reader(io.StringIO(csv_report.render(run)))
    assert header[-3:] == ["created", "call", "itl_p95"]
    assert first_row[-2:] == ["1.2", "0.0142"]
    assert {tuple(row[-2:]) for row in rows} == {("", "")}
    lines = [line for line in openmetrics.render(run).splitlines() if line.startswith("energy_latency_seconds{")]
    assert [line.split(",latency=")[1] for line in lines] == ['"call"} 1.2', '"itl_p95"} 0.0142']
    found = dict(junit.properties([run.results[0]]))
    assert (found["energy_latency_call_seconds"], found["energy_latency_itl_p95_seconds"]) == ("1.2", "0.0142")
    assert "of_another_version" not in openmetrics.render(run) + csv_report.render(run)


@pytest.mark.parametrize("render", [markdown.render, github.render])
def test_pages_show_the_worst_first_and_why_it_failed(render) -> None:  # type: ignore[no-untyped-def]
    page = render(EVERY_VERDICT)
    head, *rows = table(page)
    assert head == ["verdict", "test", "joules", "against", "change", "power"]
    verdicts = [row[0] for row in rows]
    assert verdicts == [
        "❌ REGRESSED",
        "❌ OVER LIMIT",
        "❌ INVALID",
        "❌ NO BASELINE",
        "⚪ UNMEASURED",
        "❔ INCONCLUSIVE",
        "✅ IMPROVED",
        "✅ PASS",
        "(PASS)",
    ]
    assert rows[0][1:] == [TEST, "80.00 mJ/token", "61.54 mJ", "+30.0% (+28.0% to +32.0%)", "160 W"]
    assert rows[1][3] == "limit 100.0 mJ"
    text = rendered(page).text
    assert "Energy: 1 passed, 1 improved, 1 regressed, 1 over limit, 1 invalid" in text
    assert "NVIDIA H200, commit 0123456789ab, pytest-joules 0.1.0, 2026-05-01T12:00:00+00:00" in text
    for line in ("why        a smaller batch ran", "split      watts +6.2%", "left       "):
        assert f"  {line}" in text
    assert rendered(page).tags.count("details") == (4 if render is github.render else 0)


def test_what_to_do_next_is_said_where_something_is_to_be_done() -> None:
    run = EVERY_VERDICT
    told = {found.verdict.kind: advice.steps(found, run) for found in run.results if found.declared}
    (accept,) = told[VerdictKind.NO_BASELINE]
    assert accept.endswith(": pytest-joules accept RESULT.json --only-new")
    assert told[VerdictKind.OVER_LIMIT] == ["if this is intended: raise the limit in its energy_budget marker"]
    assert told[VerdictKind.IMPROVED][0].startswith("hold the new level: ")
    for kind in (VerdictKind.PASS, VerdictKind.INCONCLUSIVE, VerdictKind.INVALID, VerdictKind.UNMEASURED):
        assert not told[kind]
    assert not advice.steps(replace(result(), declared=False), run)
    assert run.meter is not None
    assert advice.steps(result(), replace(run, meter=replace(run.meter, replayed=True))) == ["try: raise max_num_seqs"]
    for test in HOSTILE:
        command = advice.steps(result(test), run)[-1].partition(": ")[2]
        assert shlex.split(command) in (
            ["pytest-joules", "accept", "RESULT.json", "-k", test],
            ["pytest-joules", "accept", "RESULT.json"],
        )
        assert command.isprintable()


def test_a_page_tells_a_difference_once() -> None:
    told, other = "batch: 16, in the baseline 32", "seed: 2, in the baseline 1"
    found = result()
    page = markdown.render(run_of(replace(found, verdict=replace(found.verdict, notes=(told, other)))))
    assert "batch: 32 -> 16" in page
    assert told not in page
    assert other in page


def test_pages_show_what_was_written_and_what_was_not_collected() -> None:
    key = BaselineKey("tests/test_a.py::test_b", "main", "token")
    change = BaselineChange(key, "nvidia-h200", 0.08, 0.07, 4, replaced=True)
    page = rendered(github.render(replace(EVERY_VERDICT, changes=(change,), not_collected=(key,))))
    assert "80.00 mJ -> 70.00 mJ/token (-12.50%, replaced), 4 sessions" in page.text
    assert "stored but not collected: tests/test_a.py::test_b [main, J/token]" in page.text


def many(count: int, **kwargs: Any) -> RunResult:
    return run_of(*(result(f"tests/test_many.py::test_case[{number:05d}]", **kwargs) for number in range(count)))


@pytest.mark.parametrize("failing", [3, 10_000])
def test_summary_of_ten_thousand_budgets_stays_below_one_mebibyte(failing: int) -> None:
    passing = many(10_000 - failing, kind=VerdictKind.PASS, ratio=1.0)
    run = replace(passing, results=(*passing.results, *many(failing).results))
    page = github.render(run)
    assert len(page.encode()) < 1024 * 1024
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 3000
    assert sum("❌ REGRESSED" in row for row in rows) == min(failing, len(rows))
    missing = 10_000 - len(rows)
    assert f"{missing} more rows left out ({missing} {'PASS' if failing < 10_000 else 'REGRESSED'})" in page
    explained = page.count("<details>")
    if failing == 3:
        assert explained == 3
    else:
        assert f"{failing - explained} more explanations left out" in page


def test_summary_is_appended_as_far_as_the_step_has_room(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    github.append_summary(EVERY_VERDICT, file)
    assert file.read_text(encoding="utf-8") == github.render(EVERY_VERDICT)
    file.write_text("x" * (1024 * 1024 - 3000))
    github.append_summary(many(100), file)
    text = file.read_text(encoding="utf-8")
    assert len(text.encode()) < 1024 * 1024
    assert "more rows left out" in text
    full = "x" * (1024 * 1024 - 10)
    file.write_text(full)
    github.append_summary(many(100), file)
    assert file.read_text() == full


def test_annotations_stand_at_the_tests_line_and_end_with_how_many_more() -> None:
    lines = github.commands(EVERY_VERDICT)
    name, values, message = github_commands(lines[0])[0]
    assert name == "error"
    assert values == {"file": "tests/energy/test_llm.py", "line": "12", "title": f"REGRESSED: {TEST}"}
    assert message.splitlines()[0].startswith("REGRESSED: 80.00 mJ/token is +30.0%")
    assert message.splitlines()[1].startswith("why: a smaller batch ran")
    assert [line.partition(" ")[0] for line in lines] == ["::error"] * 4 + ["::warning"]
    assert message.splitlines()[2:] == [
        "try: raise max_num_seqs",
        f"if this is intended: pytest-joules accept RESULT.json -k '{TEST}'",
    ]
    capped = github.commands(many(30))
    assert len(capped) == 10
    assert capped[-1] == (
        "::error::energy: and 21 more: 0 passed, 21 regressed, 0 inconclusive, 0 unmeasured; "
        "this step's summary has them"
    )
    assert len(github.commands(many(10, kind=VerdictKind.PASS))) == 0
    assert github.commands(many(12, kind=VerdictKind.INCONCLUSIVE))[-1].startswith("::warning::energy: and 3 more")


@pytest.mark.parametrize("file", ["../../etc/passwd", "/etc/passwd", "a/../../b"])
def test_annotations_name_no_place_outside_of_the_repository(file: str) -> None:
    ((_, values, _),) = github_commands("\n".join(github.commands(run_of(result(f"{file}::test")))))
    assert "file" not in values


@pytest.mark.parametrize(
    ("setting", "environment", "speaks"),
    [
        ("auto", {}, False),
        ("auto", {"GITHUB_ACTIONS": "true"}, True),
        ("auto", {"GITHUB_ACTIONS": "false"}, False),
        ("on", {}, True),
        ("off", {"GITHUB_ACTIONS": "true"}, False),
    ],
)
def test_auto_speaks_on_a_runner(setting: str, environment: Mapping[str, str], speaks: bool) -> None:
    assert github.wanted(setting, environment) is speaks


# -- the schema --


def mutated(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = mutated(data[path[0]], path[1:], value)
    return copy


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of one result; of a list, the first item."""
    inner = data.items() if isinstance(data, dict) else enumerate(data[:1]) if isinstance(data, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def test_reading_a_report_is_checking_it_against_its_schema() -> None:
    """Whatever is put in the place of whatever: both say the same."""
    data = json.loads(json.dumps(encode(run_of(EVERY_VERDICT.results[0]))))
    validator = Draft202012Validator(json_report.schema())
    values: tuple[Any, ...] = (None, True, "text", 3, 1.5, [], {}, [1], {"x": "y"})
    for number, place in enumerate(places(data)):
        for value in (values[number % len(values)], values[(3 * number + 1) % len(values)]):
            changed = mutated(data, place, value)
            try:
                decode(RunResult, changed)
                read = True
            except CodecError:
                read = False
            assert read is validator.is_valid({"schema": 1, **changed} if isinstance(changed, dict) else changed), place


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (
            ("results", 0, "verdict", "ratio"),
            "high",
            "results[0].verdict.ratio: expected float, found 'high'",
        ),
        (("results", 0, "verdict", "kind"), "FINE", "RunResult.results[0].verdict.kind: expected one of"),
        (("results", 0, "place", "line"), 1.5, "RunResult.results[0].place.line: expected int, found '1.5'"),
        (("results",), {}, "RunResult.results: expected a list"),
        (("schema",), 0, "there is no schema 0"),
        (("schema",), True, "no 'schema' number"),
        (("results", 0, "verdict", "ratio"), math.inf, "results[0].verdict.ratio: expected a finite number"),
        (("results", 0, "verdict", "ratio"), 10**400, "results[0].verdict.ratio: "),
        (("results", 0, "history"), {"recorded": ["2026-05-01"]}, f"{TEST}: columns of a History of unequal length"),
        (
            ("results", 0, "measurement", "trace"),
            {"seconds": [1.0], "watts": [], "sm_clock_mhz": [], "temperature_celsius": []},
            f"{TEST}: columns of a PowerTrace of unequal length",
        ),
    ],
)
def test_report_names_the_place_at_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: tuple[Any, ...], value: Any, complaint: str
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(mutated(json_report.to_data(run_of(result())), place, value)))
    assert main(["report", str(path), "--to", "csv"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"pytest-joules: {path}: ")
    assert complaint in said
    assert said.count("\n") == 1


# -- the command --


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    path = tmp_path / "result.json"
    json_report.write(EVERY_VERDICT, path)
    return path


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("html", "github")])
def test_report_prints_and_writes_what_the_format_is(
    stored: Path, capsysbinary: pytest.CaptureFixture[bytes], name: str
) -> None:
    expected = renderer(name)(EVERY_VERDICT)
    assert main(["report", str(stored), "--to", name]) == 0
    assert capsysbinary.readouterr().out.decode() == expected
    target = stored.parent / "out"
    assert main(["report", str(stored), "--to", name, "-o", str(target)]) == 0
    assert target.read_text(encoding="utf-8") == expected
    assert capsysbinary.readouterr().out == b""


def test_report_to_github_appends_the_summary_and_prints_annotations(
    stored: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = "".join(f"{line}\n" for line in github.commands(EVERY_VERDICT))
    page = github.render(EVERY_VERDICT)
    assert main(["report", str(stored), "--to", "github"]) == 0
    assert capsysbinary.readouterr().out.decode() == page + commands
    summary = stored.parent / "summary.md"
    summary.write_text("# Before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main(["report", str(stored), "--to", "github"]) == 0
    assert summary.read_text(encoding="utf-8") == f"# Before\n\n{page}"
    assert capsysbinary.readouterr().out.decode() == commands
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(stored.parent))
    assert main(["report", str(stored), "--to", "github"]) == 2
    assert b"Is a directory" in capsysbinary.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.json", "--to", "csv"], "nowhere.json: there is no such file"),
        ([".", "--to", "csv"], ".: is a directory; name a file in it"),
        (["RESULT", "--to", "csv", "-o", "nowhere/out.csv"], "-o nowhere/out.csv: its directory does not exist"),
        (["RESULT", "--to", "csv", "-o", "."], "is a directory"),
    ],
)
def test_wrong_use_of_report_is_one_clear_line(
    stored: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert main(["report", *(str(stored) if text == "RESULT" else text for text in arguments)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_nothing_is_put_in_the_place_of_a_device_or_a_pipe(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = stored.parent / "pipe"
    os.mkfifo(pipe)
    assert main(["report", str(stored), "--to", "csv", "-o", str(pipe)]) == 2
    assert f"-o {pipe}: is a device or a pipe; name a file" in capsys.readouterr().err
    assert pipe.is_fifo()
    with pytest.raises(OSError, match="is a device or a pipe"):
        json_report.write(EVERY_VERDICT, pipe)
    assert pipe.is_fifo()


def test_html_says_what_to_install(
    stored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_joules.reporting.formats.find_spec", lambda name: None)
    assert main(["report", str(stored), "--to", "html"]) == 2
    assert capsys.readouterr().err == "pytest-joules: html needs jinja2: pip install 'pytest-joules[html]'\n"
