"""What a run tells GitHub and JUnit by itself, also from workers and after reruns."""

from __future__ import annotations

from collections import defaultdict

import pytest
from conftest import Suite
from junitparser import JUnitXml, Properties
from test_escape import github_commands

SUITE = """
    @pytest.mark.energy_budget
    def test_step(energy, record_property):
        record_property("mine", "kept")
        energy.repeat(step, work=tokens)

    @pytest.mark.energy_budget
    def test_forgotten():
        pass

    @pytest.mark.energy_budget
    @pytest.mark.skip(reason="not today\\n::error::owned")
    def test_skipped(energy):
        energy(step)
"""


@pytest.fixture
def on_github(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "summary.md"))
    (suite.path / ".git").mkdir()
    tests = suite.path / "sub"
    tests.mkdir()
    suite.write(SUITE, "sub/test_it.py")
    return suite


def properties(suite: Suite) -> list[tuple[str, dict[str, list[str]]]]:
    """What pytest's own report says of each attempt at a test, by name."""
    (cases,) = JUnitXml.fromfile(str(suite.path / "junit.xml"))
    found = []
    for case in cases:
        named: dict[str, list[str]] = defaultdict(list)
        for told in case.child(Properties) or ():  # type: ignore[no-untyped-call]
            named[told.name].append(told.value)
        found.append((case.name, dict(named)))
    return found


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "workers"])
def test_run_on_github(on_github: Suite, workers: tuple[str, ...]) -> None:
    on_github.store_baseline(0.05, test="sub/test_it.py::test_step")
    ran, report = on_github.report("--junitxml=junit.xml", *workers)
    ran.assert_outcomes(failed=2, skipped=1)
    commands = github_commands(ran.stdout.str())
    assert [(name, values["file"], values["line"]) for name, values, _ in commands] == [
        ("error", "sub/test_it.py", "14"),
        ("error", "sub/test_it.py", "19"),
    ]
    assert commands[0][1]["title"] == "REGRESSED: sub/test_it.py::test_step"
    assert "the test carries a budget but does not use the energy fixture" in commands[1][2]
    summary = (on_github.path / "summary.md").read_text(encoding="utf-8")
    assert "## Energy (simulated): 0 passed, 1 regressed, 0 inconclusive, 2 unmeasured" in summary
    assert summary.count("<details>") == 2
    assert {r["test"]: r["place"] for r in report["results"]} == {
        "sub/test_it.py::test_step": {"file": "sub/test_it.py", "line": 14},
        "sub/test_it.py::test_forgotten": {"file": "sub/test_it.py", "line": 19},
        "sub/test_it.py::test_skipped": {"file": "sub/test_it.py", "line": 23},
    }
    found = dict(properties(on_github))
    step = found["test_step"]
    assert step["energy_verdict"] == ["REGRESSED"]
    assert float(step["energy_joules_per_token"][0]) == pytest.approx(0.0645, rel=0.02)
    assert float(step["energy_ratio_per_token"][0]) > 1.2
    assert step["energy_sku"] == ["simulated-nvidia-h100-80gb-hbm3"]
    assert step["mine"] == ["kept"]
    assert found["test_forgotten"]["energy_verdict"] == ["UNMEASURED"]
    assert found["test_skipped"]["energy_verdict"] == ["UNMEASURED"]


def test_rerun_leaves_the_last_attempts_properties_and_off_is_silent(on_github: Suite) -> None:
    on_github.write(
        """
        @pytest.mark.energy_budget(gate=False)
        def test_flaky(energy, tmp_path_factory):
            energy.repeat(step, work=tokens)
            marker = tmp_path_factory.getbasetemp().parent / "ran"
            if not marker.exists():
                marker.touch()
                assert False, "once"
        """,
        "sub/test_it.py",
    )
    ran = on_github.run("--reruns=1", "--junitxml=junit.xml", "--energy-github=off")
    ran.assert_outcomes(passed=1)
    assert github_commands(ran.stdout.str()) == []
    assert not (on_github.path / "summary.md").exists()
    assert [(name, told["energy_verdict"]) for name, told in properties(on_github)] == [
        ("test_flaky", ["UNMEASURED"]),
        ("test_flaky", ["NO_BASELINE"]),
    ]


def test_what_cannot_be_written_is_said_and_costs_nothing(on_github: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(on_github.path))
    ran = on_github.run("--energy-github=on", "-k", "skipped")
    ran.assert_outcomes(skipped=1, deselected=2)
    ran.stdout.fnmatch_lines(["energy: no step summary written: *Is a directory*"])
