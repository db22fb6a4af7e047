"""Sweeps: what markers say, what a group comes to, and how its points are run."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from clockwork import CONFTEST
from conftest import Suite
from runs import result, run_of
from test_cli import joules

from pytest_joules import sweeper
from pytest_joules.arguments import MarkerError
from pytest_joules.cli import main
from pytest_joules.grouping import EnergySweep, Member, grouped, settings_of
from pytest_joules.model import Block, Pass, RunResult, Sweep, SweepPoint
from pytest_joules.reporting import json as json_report
from pytest_joules.reporting import markdown, terminal
from pytest_joules.sweeper import closings
from pytest_joules.sweeps import Attempt, affordable, pass_of, sweep_of
from pytest_joules.xdist import ONCE

# -- markers --


def test_the_closest_marker_wins_argument_by_argument() -> None:
    marks: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {"default": True}),
        (("chat",), {"latency": "call_p95"}),
        ((), {"group": "all", "latency": "itl_p95", "unit": "token"}),
    ]
    assert EnergySweep.from_markers(marks) == EnergySweep("chat", "call_p95", "token", None, 1)


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        ((), {"lateny": "call"}, "unknown argument 'lateny'; use group, latency, unit, window, default"),
        (("a", "b"), {}, "only one positional argument"),
        (("a",), {"group": "a"}, "only one positional argument"),
        ((3,), {}, "group=3 must be a name"),
        ((), {"unit": " "}, "unit=' ' must be a name"),
        ((), {"default": 1}, "default=1 must be True or False"),
        ((), {"latency": "itl_p101"}, "latency='itl_p101' is no latency: use one of call, unit"),
        ((), {"latency": "throughput"}, "is no latency"),
        ((), {"latency": None}, "is no latency"),
    ],
)
def test_a_marker_that_is_none_is_refused(args: tuple[Any, ...], kwargs: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MarkerError) as caught:
        EnergySweep.from_markers([(args, kwargs)])
    assert complaint in str(caught.value)


def test_settings_are_the_parameters_as_text() -> None:
    engine = {"max_num_seqs": 256, "dtype": "fp8", "draft": object()}
    assert settings_of({"engine": engine, "eager": False}, "small-False") == {
        "max_num_seqs": "256",
        "dtype": "fp8",
        "draft": "small",
        "eager": "False",
    }
    assert settings_of({"prompt": "word " * 100, "batch": -1}, "long-prompt--1")["prompt"] == "long-prompt--1"
    assert settings_of({"a": {"n": 1}, "b": {"n": 2}}, "a0-b0") == {"n": "1", "b.n": "2"}
    both = {"o": {"b": 3, "n": 1}, "b": 32}
    for order in (both, dict(reversed(both.items()))):
        assert settings_of(order, "x-y") == {"o.b": "3", "n": "1", "b": "32"}


# -- groups --


def member(name: str, marked: EnergySweep | None = None, **settings: str) -> Member:
    function = f"test_a.py::{name}"
    identity = "-".join(settings.values())
    return Member(f"{function}[{identity}]" if settings else function, function, marked or EnergySweep(), settings)


def test_a_group_may_span_tests_and_has_one_default() -> None:
    chat = EnergySweep("chat")
    found = grouped([member("test_now", chat), member("test_new", chat, batch="1"), member("test_other", batch="1")])
    assert list(found) == ["chat", "test_a.py::test_other"]
    assert [point.settings for point in found["chat"]] == [{"test": "test_now"}, {"test": "test_new", "batch": "1"}]
    assert [point.marked.default for point in found["chat"]] == [1, 0]
    assert found["test_a.py::test_other"][0].settings == {"batch": "1"}


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        (
            [member("test_b", EnergySweep(default=1), n=n) for n in "12"],
            r"test_b\[1\] and \S*test_b\[2\] are both the default of group",
        ),
        (
            [member("test_b", EnergySweep("g", unit=unit)) for unit in ("token", "image")],
            "unit='image', but test_a.py::test_b of the same group 'g' has unit='token'",
        ),
        ([member("test_b", EnergySweep("g", latency=name)) for name in ("call", "unit")], "latency='unit', but"),
        ([member("test_b", n="1"), member("test_b", n="1")], "have the same name, "),
        ([member("test_b", n="1"), replace(member("test_b", n="1"), test="x")], "have the same settings, {'n': '1'}"),
    ],
)
def test_a_group_that_is_none_is_refused(members: list[Member], complaint: str) -> None:
    with pytest.raises(MarkerError, match=complaint):
        grouped(members)


# -- points --

MEASURED = result("t").measurement
assert MEASURED is not None


def test_a_measurement_is_a_pass() -> None:
    assert MEASURED is not None
    told = pass_of(replace(MEASURED, latencies={"itl_p95": 0.02, "ttft_p50": math.nan}), "token", 3)
    assert isinstance(told, Pass)
    assert told.joules_per_unit == pytest.approx(0.08, rel=1e-3)
    assert told.error is not None
    assert 0 < told.error < 0.02
    assert dict(told.seconds) == pytest.approx({"unit": 0.0005, "call": 0.0005, "itl_p95": 0.02})
    assert told.watts == pytest.approx(160)
    assert told.order == 3


def test_what_cannot_be_compared_is_invalid_and_says_why() -> None:
    assert MEASURED is not None
    names = ["good", "spoiled", "image", "window", "failed", "idle"]
    members = [member("test", EnergySweep(unit="token"), n=name) for name in names]
    windows = {
        "good": [MEASURED, replace(MEASURED, window="prefill")],
        "spoiled": [replace(MEASURED, invalid="a foreign process")],
        "image": [replace(MEASURED, blocks={"image": (Block(1.0, 1.0, 1.0),)})],
        "window": [replace(MEASURED, window="a"), replace(MEASURED, window="b")],
        "failed": [MEASURED],
    }
    attempts = [Attempt(f"test_a.py::test[{name}]", found) for name, found in windows.items()]
    attempts.append(attempts[0])
    sweep = sweep_of(members, attempts, {"test_a.py::test[failed]": "the test failed in teardown"})
    points = {point.settings["n"]: point for point in sweep.points}
    assert [at.order for at in points["good"].passes] == [0, 5]
    assert {name: points[name].invalid for name in names} == {
        "good": "",
        "spoiled": "a foreign process",
        "image": "counted 'image', not the group's 'token': count it, or give energy_sweep(unit=...)",
        "window": "measured 'a', 'b', not 'main': say which counts with energy_sweep(window=...)",
        "failed": "the test failed in teardown",
        "idle": "nothing was measured",
    }


@pytest.mark.parametrize("order", list(itertools.permutations(["p1", "p2", "q", "failed"]))[::5])
def test_tests_that_count_different_units_are_no_group_whatever_ran_first(order: tuple[str, ...]) -> None:
    assert MEASURED is not None
    image = replace(MEASURED, blocks={"image": (Block(1.0, 1.0, 1.0),), "call": (Block(1.0, 1.0, 1.0),)})
    windows = {
        "p1": MEASURED,
        "p2": MEASURED,
        "q": image,
        "failed": replace(image, blocks={"call": image.blocks["call"]}),
    }
    members = [member("test", n=name) for name in ("failed", "p1", "p2", "q")]
    attempts = [Attempt(f"test_a.py::test[{name}]", [windows[name]]) for name in order]
    faults = {"test_a.py::test[failed]": "the test failed in call"}
    sweep = sweep_of(members, attempts, faults)
    fix = "give energy_sweep(unit=...), or a group each"
    assert sweep.unit == "token"
    assert {point.settings["n"]: point.invalid for point in sweep.points} == {
        "failed": "the test failed in call",
        "p1": f"counts 'token', others of the group 'image' like test_a.py::test[q]: {fix}",
        "p2": f"counts 'token', others of the group 'image' like test_a.py::test[q]: {fix}",
        "q": f"counts 'image', others of the group 'token' like test_a.py::test[p1]: {fix}",
    }
    one = sweep_of(members[:3], attempts, faults)
    assert [point.invalid for point in one.points] == ["the test failed in call", "", ""]
    given = [replace(each, marked=EnergySweep(unit="image")) for each in members]
    assert [bool(point.invalid) for point in sweep_of(given, attempts, faults).points] == [True, True, True, False]


def test_what_is_affordable() -> None:
    assert affordable([1] * 12, 60.0, None) == 12
    assert affordable([3, 2, 1], 60.0, None) == 1
    assert affordable([2, 1, 1], 60.0, 100.0) == 2
    assert affordable([1], 60.0, 50.0) < 1


# -- reports --

SWEEP = Sweep(
    "chat",
    "token",
    "call",
    tuple(
        SweepPoint(f"t[{n}]", {"n": str(n)}, (Pass(1.0 / n, 0.001, {"unit": 0.1, "call": 0.01 * n}, 300.0),) * 2)
        for n in (1, 2)
    ),
)


def test_a_run_with_a_sweep_goes_into_every_report_and_back(tmp_path: Any) -> None:
    run = replace(run_of(replace(result(), declared=False)), sweeps=(SWEEP,), slo="call < 15 ms")
    json_report.write(run, tmp_path / "run.json")
    assert json_report.read(tmp_path / "run.json") == run
    assert "recommended n=1" in markdown.render(run)
    told = "\n".join(terminal.report(run, ("test",), "test", lambda _: ""))
    assert "recommended n=1" in told
    assert "\n\n\n" not in told


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"points": SWEEP.points[:1] * 2}, "two points named 't[1]'"),
        (
            {"points": tuple(replace(point, default=True) for point in SWEEP.points)},
            "'t[1]' and 't[2]' are both the default",
        ),
        ({"points": (SweepPoint("t", passes=(Pass(0.0),)),)}, "t: joules_per_unit of 0"),
        ({"points": (SweepPoint("t", passes=(Pass(1.0, seconds={"call": -1.0}),)),)}, "t: call of -1"),
        ({"points": (SweepPoint("t", passes=(Pass(1.0, error=-1.0),)),)}, "t: error of -1"),
    ],
)
def test_a_sweep_that_no_run_measures_is_refused(tmp_path: Any, change: Mapping[str, Any], complaint: str) -> None:
    json_report.write(RunResult("x", "0", sweeps=(replace(SWEEP, **change),)), tmp_path / "run.json")
    with pytest.raises(json_report.ReportError) as caught:
        json_report.read(tmp_path / "run.json")
    assert f"sweep 'chat': {complaint}" in str(caught.value)


def test_conditions_that_are_none_are_refused(tmp_path: Any) -> None:
    json_report.write(RunResult("x", "0", slo="fast"), tmp_path / "run.json")
    with pytest.raises(json_report.ReportError, match="slo: 'fast' in 'fast' is no condition"):
        json_report.read(tmp_path / "run.json")


# -- inside pytest --

PRELUDE = """
    import pytest
    from clockwork import METER

    LOG = open("log", "a")

    def log(text):
        print(text, file=LOG, flush=True)

    def step(batch):
        METER.spend(0.01 * (1 + batch / 64), 300 + batch)
        return {"token": batch}

    def measure(energy, batch):
        energy.repeat(step, (batch,), work=lambda done: done, rounds=150, warmup=1)
"""


@pytest.fixture
def swept(suite: Suite) -> Suite:
    """A suite whose clock goes only when it says so."""
    suite.write(CONFTEST, "conftest.py", prelude="")
    return suite


def run(suite: Suite, source: str, *args: str) -> tuple[pytest.RunResult, Mapping[str, Any], list[str]]:
    """Run a little suite in this process; its sweep, and what it logged."""
    suite.write(source, prelude=PRELUDE)
    for name in ("log", "report.json"):
        (suite.path / name).unlink(missing_ok=True)
    flags = ("--energy", "--energy-json=report.json", "--energy-sweep-seed=1")
    ran = suite.pytester.runpytest_inprocess(*flags, "-p", "no:cacheprovider", *args)
    report, log = suite.path / "report.json", suite.path / "log"
    sweeps = json.loads(report.read_text())["sweeps"] if report.exists() else []
    return ran, sweeps[0] if sweeps else {}, log.read_text().split() if log.exists() else []


def orders(sweep: Mapping[str, Any]) -> dict[str, list[int]]:
    """The how many-th measurements of the sweep each point had."""
    return {point["name"].rpartition("[")[2][:-1]: [at["order"] for at in point["passes"]] for point in sweep["points"]}


def reasons(sweep: Mapping[str, Any]) -> dict[str, str]:
    return {point["name"].rpartition("[")[2][:-1]: point["invalid"] for point in sweep["points"]}


DEFAULT = "marks=pytest.mark.energy_sweep(default=True)"
ENGINES = f"""
    @pytest.fixture(scope="module", params=["eager", pytest.param("graphs", {DEFAULT})])
    def engine(request):
        log(f"+{{request.param}}")
        yield 2 if request.param == "eager" else 1
        log(f"-{{request.param}}")

    @pytest.fixture
    def prompts():
        log("(")
        yield
        log(")")

    def test_before():
        log("before")

    @pytest.mark.energy_sweep("chat", latency="call")
    @pytest.mark.energy_budget("1 J/token", gate=False)
    @pytest.mark.parametrize("batch", [8, 16, pytest.param(32, {DEFAULT})])
    def test_decode(energy, prompts, engine, batch):
        log(f"{{engine}}x{{batch}}")
        measure(energy, batch / engine)

    def test_after():
        log("after")
"""
"""Half the tokens a call without graphs."""


def test_points_run_in_a_drawn_order_by_engine_and_what_matters_runs_again(swept: Suite) -> None:
    ran, sweep, log = run(swept, ENGINES, "--energy-slo=call < 13 ms", "--junitxml=junit.xml")
    ran.assert_outcomes(passed=8)
    ran.stdout.fnmatch_lines(
        [
            "energy: 6 budgets; 1 sweep: 'chat' of 6 points, seed 1",
            "*recommended engine=*",
            "energy: 6 passed, *",
            "*8 passed, 6 measured again*",
        ]
    )
    told = orders(sweep)
    assert list(told) == [f"{engine}-{batch}" for engine in ("eager", "graphs") for batch in (8, 16, 32)]
    first = sorted(told, key=lambda name: told[name][0])
    assert first != list(told)
    assert [point["name"] for point in sweep["points"] if point["default"]] == ["test_it.py::test_decode[graphs-32]"]
    assert sorted(order for found in told.values() for order in found) == list(range(12))
    assert len(told["eager-32"]) > 1 < len(told["graphs-16"])
    # Each engine starts once in the first pass; then those of one engine come together.
    assert (log[0], log[-2]) == ("before", "after")
    engines = [word for word in log if word[0] == "+"]
    assert sorted(engines[:2]) == ["+eager", "+graphs"]
    assert len(engines) <= 4
    assert log.count("(") == log.count(")") == 12
    # What is told of the first measurement is not told of a further one.
    junit = (swept.path / "junit.xml").read_text()
    assert (junit.count("energy_joules_per_token"), junit.count("energy_measured_again")) == (6, 6)

    again = run(swept, ENGINES, "--energy-slo=call < 13 ms")[1]
    assert sorted(orders(again), key=lambda name: orders(again)[name][0]) == first


def test_sweeps_that_share_engines_are_run_together(swept: Suite) -> None:
    prompts = '    @pytest.mark.parametrize("prompt", ["a", "b"])\n'
    source = ENGINES.replace('"chat"', '"chat, {prompt}"').replace("engine, batch)", "engine, batch, prompt)")
    source = source.replace("    @pytest.mark.energy_budget", f"{prompts}    @pytest.mark.energy_budget")
    ran, sweep, log = run(swept, source, "--energy-sweep-seconds=100")
    ran.stdout.fnmatch_lines(["energy: 12 budgets; 2 sweeps: 'chat, a' of 6 points, 'chat, b' of 6 points, seed 1"])
    assert len([word for word in log if word[0] == "+"]) <= 4
    assert sorted(len(found) for found in orders(sweep).values())[-1] >= 2


def test_groups_that_overlap_are_over_together() -> None:
    assert closings(["a", "a", None, "b", "c", "b", "c", "d"]) == {1: ("a",), 6: ("b", "c"), 7: ("d",)}
    assert closings([None]) == {}


ALONE = """
    @pytest.fixture(scope="session")
    def engine():
        log("+")
        yield
        log("-")

    class Test{name}:
        @pytest.fixture
        def prompts(self):
            log("(")
            yield
            log(")")

        @pytest.mark.energy_sweep("alone")
        def test_it(self, energy, engine, prompts):
            measure(energy, {batch})
"""
"""One test in a class of its own."""


def test_a_test_that_follows_itself_has_its_own_fixtures_anew_and_no_others(
    swept: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "planned", lambda sweep, _, many, most: [sweep.points[-1].name] * min(many, most))
    ran, sweep, log = run(swept, ALONE.format(name="A", batch=8) + ALONE.format(name="B", batch=16))
    ran.stdout.fnmatch_lines(["*2 passed, 4 measured again*"])
    assert [len(point["passes"]) for point in sweep["points"]] == [1, 5]
    assert log == ["+", *["(", ")"] * 6, "-"]


def test_what_follows_does_without_what_was_kept_for_another(swept: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot, as a test of another file, the sweep ends."""
    test = """
        @pytest.mark.energy_sweep("g")
        def test_it(energy):
            measure(energy, 8)

        def test_other():
            pass
    """
    swept.write(test, "test_other.py", prelude=PRELUDE)
    for seed in range(4):
        plans = itertools.chain([[], ["test_other.py::test_it"]], itertools.repeat([]))
        monkeypatch.setattr(sweeper, "planned", lambda *_, plans=plans: next(plans))
        run(swept, test, f"--energy-sweep-seed={seed}")[0].assert_outcomes(passed=4)


BATCHES = """
    SEEN = []

    @pytest.mark.energy_sweep
    @pytest.mark.parametrize("batch", [8, 16, 32])
    def test_it(energy, batch):
        SEEN.append(batch)
        log(batch)
        measure(energy, batch)
        assert {}

    def test_other():
        log("other")
"""


def test_a_failure_counts_whenever_it_comes(swept: Suite) -> None:
    ran, sweep, _ = run(swept, BATCHES.format("batch != 32 or SEEN.count(batch) == 1"))
    ran.assert_outcomes(passed=4, failed=1)
    ran.stdout.fnmatch_lines(["*recommended batch=16*"])
    assert reasons(sweep) == {"8": "", "16": "", "32": "failed in call when it was measured again"}

    ran, sweep, log = run(swept, BATCHES.format("batch != 16"), "-x")
    ran.assert_outcomes(failed=1)
    assert log == ["16"]
    assert reasons(sweep) == dict.fromkeys(("8", "32"), "the test did not run") | {"16": "the test failed in call"}

    ran, sweep, _ = run(swept, BATCHES.format("batch != 32 or SEEN.count(batch) > 1"), "--reruns=1")
    ran.stdout.fnmatch_lines(["*4 passed, 1 rerun, 3 measured again*"])
    assert reasons(sweep) == {"8": "", "16": "", "32": ""}
    assert sorted(order for found in orders(sweep).values() for order in found) == list(range(6))


def test_a_point_that_fails_as_expected_says_so(swept: Suite) -> None:
    known = BATCHES.replace("[8, 16, 32]", "[8, pytest.param(16, marks=pytest.mark.xfail(reason='known')), 32]")
    ran, sweep, _ = run(swept, known.format("batch != 16"))
    ran.assert_outcomes(passed=3, xfailed=1)
    assert reasons(sweep) == {"8": "", "16": "failed, as its xfail expects: known", "32": ""}
    ran, sweep, _ = run(swept, known.replace("xfail(", "xfail(run=False, ").format("batch != 16"))
    assert reasons(sweep) == {"8": "", "16": "skipped: [NOTRUN] known", "32": ""}


def test_what_time_does_not_reach_is_skipped_and_said(swept: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    ran, sweep, log = run(swept, BATCHES.format("True"), "--energy-sweep-seconds=0.001")
    ran.assert_outcomes(passed=2, skipped=2)
    assert log == ["16", "other"]
    late = "not reached: --energy-sweep-seconds=0.001 were over"
    assert reasons(sweep) == {"8": late, "16": "", "32": late}
    assert sweep["notes"] == ["2 of 3 points not reached: raise --energy-sweep-seconds"]
    alone = "only 1 of 3 points was measured and is sound: nothing to compare it with"
    ran.stdout.fnmatch_lines([f"*note *{alone}"])
    assert main(["frontier", str(swept.path / "report.json")]) == 0
    assert alone in capsys.readouterr().out


def test_where_there_is_nothing_to_compare_nothing_is_measured_again(swept: Suite) -> None:
    ran, sweep, _ = run(swept, BATCHES.format("batch != 16"), "-k", "not 32")
    ran.stdout.fnmatch_lines(["*recommended batch=8*", "*1 failed, 2 passed, 1 deselected in*"])
    assert orders(sweep) == {"8": [0], "16": []}


MIXED = """
    @pytest.mark.energy_sweep("g")
    @pytest.mark.parametrize("batch", [8, 16])
    def test_p(energy, batch):
        measure(energy, batch)

    @pytest.mark.energy_sweep("g")
    def test_q(energy):
        energy.repeat(step, (8,), work=lambda done: {"image": 1}, rounds=150, warmup=1)
"""


def test_units_mixed_in_a_group_recommend_nothing_in_any_order(swept: Suite) -> None:
    told = set()
    for seed in range(1, 5):
        ran, sweep, _ = run(swept, MIXED, f"--energy-sweep-seed={seed}")
        said = " ".join(ran.stdout.str().split())
        assert "counts 'image', others of the group 'token' like test_it.py::test_p[8]: give energy_sweep(unit=" in said
        assert "recommended nothing: no point has joules" in said
        told.add((sweep["unit"], tuple(point["invalid"] for point in sweep["points"])))
    assert len(told) == 1, "whatever ran first"


FILE = """
    @pytest.fixture(scope="module")
    def engine():
        log("+")
        yield
        log("-")

    @pytest.mark.energy_sweep("g")
    @pytest.mark.parametrize("batch", [8, 16, 32])
    def test_it(energy, engine, batch):
        measure(energy, batch)

    class TestIt:
        @pytest.fixture(scope="class")
        def model(self):
            log("(")
            yield
            log(")")

        @pytest.mark.energy_sweep("g")
        @pytest.mark.parametrize("batch", [8, 16, 32])
        def test_it(self, energy, engine, model, batch):
            measure(energy, batch)
"""


def test_the_first_pass_keeps_files_and_classes_together(swept: Suite) -> None:
    swept.write(FILE, "test_other.py", prelude=PRELUDE)
    _, sweep, log = run(swept, FILE, "--energy-sweep-once")
    assert len(sweep["points"]) == 12
    assert sorted(log) == sorted("+()-" * 2)


@pytest.mark.parametrize("command", [["record", "--sessions=2"], ["ab", "HEAD", "--pairs=2"]], ids=["record", "ab"])
def test_a_command_that_repeats_pytest_measures_every_point_once_each_time(swept: Suite, command: list[str]) -> None:
    budgeted = BATCHES.format("True").replace("energy_sweep", "energy_sweep\n    @pytest.mark.energy_budget")
    swept.write(budgeted, prelude=PRELUDE)
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-qm", "base")):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], cwd=swept.path, check=True)
    done = joules(*command, "--", "-q", cwd=swept.path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted((swept.path / "log").read_text().split()) == ["16"] * 2 + ["32"] * 2 + ["8"] * 2 + ["other"] * 2
    kept = (swept.path / "baselines").glob("*.json")
    sessions = [len(each) for path in kept for each in swept.store.load(path.stem).entries.values()]
    assert sessions == ([2, 2, 2] if command[0] == "record" else [])


def test_what_is_not_selected_is_no_point(swept: Suite) -> None:
    ran, sweep, log = run(swept, BATCHES.format("True"), "-k", "not 16", "--energy-only")
    ran.assert_outcomes(passed=2, deselected=2)
    assert list(orders(sweep)) == ["8", "32"]
    assert sweep["notes"] == ["1 further test of the group not selected"]
    assert "other" not in log


def test_workers_measure_each_point_once(swept: Suite) -> None:
    ran, sweep, log = run(swept, BATCHES.format("True"), "-n2")
    ran.assert_outcomes(passed=4)
    assert sorted(log) == ["16", "32", "8", "other"]
    assert sorted(orders(sweep).values()) == [[0], [1], [2]]
    assert sweep["seed"] == 1
    assert sweep["notes"] == [ONCE]


def test_a_trace_holds_the_first_measurements_and_is_played_back(swept: Suite) -> None:
    _, live, _ = run(swept, BATCHES.format("True"), "--energy-trace=traces")
    (trace,) = (swept.path / "traces").iterdir()
    ran, played, _ = run(swept, BATCHES.format("True"), f"--energy-meter=replay:{trace}")
    ran.assert_outcomes(passed=4)
    assert played["notes"] == ["replayed: a trace holds the first measurement of each point alone"]
    first = [point["passes"][0]["joules_per_unit"] for point in live["points"]]
    assert [at["joules_per_unit"] for point in played["points"] for at in point["passes"]] == pytest.approx(first)


def test_without_energy_every_test_runs_once_in_its_order(swept: Suite) -> None:
    swept.write(BATCHES.format("True"), prelude=PRELUDE)
    swept.pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=4)
    assert (swept.path / "log").read_text().split() == ["8", "16", "32", "other"]


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("latency='fast'", "*test_it.py::test_it[[]8[]]: energy_sweep: latency='fast' is no latency: *"),
        (
            "default=True",
            "ERROR: energy_sweep: *test_it[[]8[]] and *test_it[[]16[]] are both the default of group *",
        ),
    ],
)
def test_a_wrong_marker_is_named_at_collection(swept: Suite, mark: str, complaint: str) -> None:
    ran, _, log = run(swept, BATCHES.format("True").replace("energy_sweep", f"energy_sweep({mark})"))
    assert ran.ret != 0
    assert log == []
    (ran.stderr if complaint.startswith("ERROR") else ran.stdout).fnmatch_lines([complaint])


def test_a_function_is_a_point_of_one_group_and_a_class_gives_the_usual_one(swept: Suite) -> None:
    test = """
    class TestIt:
        pytestmark = pytest.mark.energy_sweep("of the class")

        @pytest.mark.energy_sweep("a", latency="call_p95")
        @pytest.mark.energy_sweep({})
        @pytest.mark.parametrize("batch", [8, 16])
        def test_it(self, energy, batch):
            measure(energy, batch)
    """
    ran, _, _ = run(swept, test.format("'b'"))
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(
        [
            "*TestIt::test_it[[]8[]]: energy_sweep: two groups, 'b' and 'a', and a test is a point of one: "
            "give one group; another latency: pytest-joules frontier --latency"
        ]
    )
    for same in ("'a'", "unit='token'"):
        ran, sweep, _ = run(swept, test.format(same), "--energy-sweep-once")
        ran.assert_outcomes(passed=2)
        assert sweep["group"] == "a"


def test_conditions_without_a_sweep_are_told(swept: Suite) -> None:
    ran = run(swept, "def test_it(): pass", "--energy-slo=call < 1 s")[0]
    ran.stdout.fnmatch_lines(["energy: 0 budgets; no energy_sweep to hold to --energy-slo"])
