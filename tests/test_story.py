"""The story of a gate on pull requests, on the simulated GPU: what each of its people sees.

A repository has a baseline on main.  A pull request costs 5 % more; one also hides that; another saves 5 %; a
maintainer accepts the first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import DEVICE, PRODUCT, SKU, STEP_JOULES_PER_TOKEN, Suite

from pytest_joules.baselines.store import Addition
from pytest_joules.model import BaselineKey, Block, Session

KEY = BaselineKey("test_it.py::test_step", "main", "token")
BASE = ("--energy-baseline-ref=main", "--energy-max-tolerance=25%", "--energy-strict")
HTML = find_spec("jinja2") is not None and find_spec("plotly") is not None
"""Whether the extra is there."""

TEST = """
    @pytest.mark.energy_budget(tolerance={tolerance!r}{more})
    def test_step(energy):
        energy.repeat(lambda: step({scale}), work=tokens)
"""


class Story:
    """A repository whose main branch has a test of a decode step and its baseline."""

    def __init__(self, suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
        self.suite, self.monkeypatch = suite, monkeypatch
        self.git("init", "--quiet", "--initial-branch=main")
        self.write()
        self.store(STEP_JOULES_PER_TOKEN)
        self.commit("A decode step and its baseline")

    def git(self, *arguments: str) -> None:
        who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
        subprocess.run(["git", *who, "-C", str(self.suite.path), *arguments], check=True, capture_output=True)

    def commit(self, message: str) -> None:
        self.git("add", "test_it.py", "baselines")
        self.git("commit", "--quiet", f"--message={message}")

    def pull_request(self, name: str) -> None:
        self.git("checkout", "--quiet", "--force", "-b", name, "main")

    def write(self, scale: float = 1.0, tolerance: str = "2%", more: str = "", *, marks: str = "") -> None:
        self.suite.write(marks + TEST.format(scale=scale, tolerance=tolerance, more=more))

    def store(self, joules: float, tolerance: float = 0.02) -> None:
        """Three sessions that spread by 0.1 %, in place of what is there."""
        self.suite.store.path(SKU).unlink(missing_ok=True)
        for minute in range(3):
            level = joules * (1 + 0.001 * (minute - 1))
            blocks = tuple(Block(level * 3200 * (1 + wiggle), 3200, 0.5) for wiggle in (-0.0005, 0.0005, 0.0))
            stored = Session(f"2026-11-21T00:0{minute}:00+00:00", (DEVICE,), blocks, tolerance=tolerance)
            self.suite.store.update(SKU, PRODUCT, True, {KEY: Addition(stored)})

    def measure(self, name: str) -> pytest.RunResult:
        """The measuring job; what it writes is called ``name``."""
        runner = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(self.suite.path / f"{name}.md")}
        for variable, value in runner.items():
            self.monkeypatch.setenv(variable, value)
        outputs = [f"--energy-json={name}.json", f"--junitxml={name}.xml"]
        outputs += [f"--energy-html={name}.html"] if HTML else []
        return self.suite.run(*BASE, *outputs)

    def joules(self, *arguments: str) -> pytest.RunResult:
        """``pytest-joules``, by somebody without a GPU."""
        self.monkeypatch.delenv("CI", raising=False)
        return self.suite.pytester.run(sys.executable, "-m", "pytest_joules.cli", *arguments)

    def text(self, name: str) -> str:
        return Path(self.suite.path, name).read_text(encoding="utf-8")


def test_a_gate_on_pull_requests(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(suite, monkeypatch)

    # 1. A pull request costs 5 %: red.
    story.pull_request("slower")
    story.write(scale=1.05)
    story.commit("Simpler")
    ran = story.measure("slower")
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        [
            f"energy: baselines main:baselines/{SKU}.json (1 series) at *",
            "REGRESSED: * is +[45].* tolerance 2.0%)",
            "  next       if this is intended: a maintainer stores it at main (pytest-joules accept RESULT.json)",
            "baselines against main (*):",
            "  no change",
            "::error file=test_it.py,line=*,title=REGRESSED%3A test_it.py%3A%3Atest_step::REGRESSED: *",
        ]
    )
    assert "| ❌ REGRESSED | `test_it.py::test_step` |" in story.text("slower.md")
    assert "<failure" in story.text("slower.xml")
    assert "REGRESSED" in story.text("slower.xml")
    assert not HTML or "REGRESSED" in story.text("slower.html")

    # 2. It edits its baseline, widens its tolerance, drops its gate and expects to fail: still red.
    story.pull_request("sly")
    story.store(1.05 * STEP_JOULES_PER_TOKEN, tolerance=0.2)
    story.write(1.05, "20%", ", gate=False", marks="    @pytest.mark.xfail(strict=False)")
    story.commit("Simpler, and nothing to see")
    ran = story.measure("sly")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.assert_outcomes(xfailed=1)
    ran.stdout.fnmatch_lines(
        [
            "test_it.py::test_step: REGRESSED: * tolerance 2.0%)",
            f"  {SKU}: test_it.py::test_step [[]main]: 64.45 mJ -> 67.67 mJ/token (+5.00%), 3 sessions rewritten, "
            "tolerance 2% -> 20%",
            "  wider here, where the base's counts: test_it.py::test_step: tolerance 2% -> 20%",
            "  wider here, where the base's counts: test_it.py::test_step: gate on -> off",
            "test_it.py::test_step: fails the run, whatever the test expects: main judges",
        ]
    )
    report = json.loads(story.text("sly.json"))
    assert "gate on -> off" in story.text("sly.md")
    assert [change["rewritten"] for change in report["review"]["changes"]] == [3]
    assert [change["term"] for change in report["results"][0]["widened"]] == ["tolerance", "gate"]
    # So says the trusted job, which has nothing but the base and that file.
    story.git("checkout", "--quiet", "--force", "main")
    again = story.joules("compare", "sly.json", "--baseline-ref=main", "--strict", "--max-tolerance=25%")
    assert again.ret == 1
    again.stdout.fnmatch_lines(["test_it.py::test_step: REGRESSED: *", "  *gate on -> off"])

    # 3. A pull request saves 5 %: green, with a suggestion.
    story.pull_request("faster")
    story.write(scale=0.95)
    story.commit("Fewer bytes")
    ran = story.measure("faster")
    ran.assert_outcomes(passed=1)
    assert ran.ret == pytest.ExitCode.OK
    ran.stdout.fnmatch_lines(["test_it.py::test_step: IMPROVED: * is -*", "  next       hold the new level: *accept*"])

    # 4. A maintainer accepts what the first one measured, without a GPU: green.
    story.git("checkout", "--quiet", "--force", "main")
    accepted = story.joules("accept", "slower.json")
    assert accepted.ret == 0
    accepted.stdout.fnmatch_lines([f"*{SKU}: test_it.py::test_step [[]main]: 64.45 mJ -> 67.* replaced*"])
    story.commit("Accept the simpler step")
    assert story.joules("compare", "slower.json", "--baseline-ref=main", "--strict").ret == 0
    (stored,) = suite.store.load(SKU).sessions(KEY)
    assert stored.tolerance == 0.02
