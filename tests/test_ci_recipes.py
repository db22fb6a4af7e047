"""The recipes of examples/ci: sound for the linters of their systems, and every command in them runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import outside_pytest

RECIPES = Path(__file__).parents[1] / "examples" / "ci"
WORKFLOWS = sorted((RECIPES / "github").glob("*.yml"))
PIPELINES = sorted((RECIPES / "gitlab").glob("*.yml"))
JENKINSFILE = RECIPES / "jenkins" / "Jenkinsfile"

SUITE = """
    import pytest
    from pytest_joules.testing import launch, synchronize

    def step():
        launch(bytes=0.01 * 3.0e12)
        synchronize()
        return {"token": 64}

    @pytest.mark.energy_budget(tolerance="3%")
    def test_decode(energy):
        energy.repeat(step, work=lambda result: result)
"""

VARIABLES = {
    "BASE": "main",
    "CHANGE_TARGET": "main",
    "CI": "true",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
    "GITHUB_ACTIONS": "true",
    "GITHUB_BASE_REF": "main",
    "SESSIONS": "3",
    "SKU": "h100",
}
"""What the systems and the recipes themselves set."""


def loaded(path: Path) -> Any:
    return pytest.importorskip("ruamel.yaml").YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def scripts() -> Iterator[str]:
    """Every piece of shell in the recipes."""
    for path in WORKFLOWS:
        for job in loaded(path)["jobs"].values():
            yield from (step["run"] for step in job["steps"] if "run" in step)
    for path in PIPELINES:
        for job in loaded(path).values():
            for part in ("before_script", "script", "after_script"):
                yield from job.get(part, ())
    yield from re.findall(r"sh '''(.*?)'''", JENKINSFILE.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> list[str]:
    """Every command line of ours, with the variables that are known, once."""
    lines = (line.strip() for script in scripts() for line in script.replace("\\\n", " ").splitlines())
    ours = (re.sub(r"\s+", " ", line) for line in lines if re.match(r"pytest(-joules)? ", line))
    # What happens when a command fails is not of the command.
    alone = (line.partition(" || ")[0] for line in ours)
    filled = (re.sub(r"\$(\w+)", lambda name: VARIABLES.get(name[1], name[0]), line) for line in alone)
    return list(dict.fromkeys(line.replace('"', "") for line in filled))


def checked(command: Sequence[str]) -> None:
    tool = shutil.which(command[0], path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        pytest.skip(f"needs {command[0]}")
    ran = subprocess.run([tool, *command[1:]], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_github_workflows_fit_their_schema() -> None:
    checked(["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)])


def test_gitlab_pipelines_fit_their_schema() -> None:
    checked(["check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", *map(str, PIPELINES)])


def test_github_workflows_have_no_security_findings() -> None:
    checked(["zizmor", "--offline", "--no-progress", "--persona", "pedantic", *map(str, WORKFLOWS)])


def test_shell_in_the_recipes_is_sound(tmp_path: Path) -> None:
    for number, script in enumerate(scripts()):
        (tmp_path / f"{number:02}.sh").write_text(f"{textwrap.dedent(script)}\n", encoding="utf-8")
    # SC1091: an activated environment is not ours to read.
    checked(["shellcheck", "--shell=bash", "--exclude=SC1091", *map(str, sorted(tmp_path.iterdir()))])


def test_what_runs_code_of_a_pull_request_has_neither_secrets_nor_write_access() -> None:
    for path in WORKFLOWS:
        workflow = loaded(path)
        assert workflow["permissions"] == {}
        # YAML 1.2 as ruamel reads it: "on" is a string.
        triggers = workflow["on"]
        assert "pull_request_target" not in triggers
        if "pull_request" in triggers:
            for job in workflow["jobs"].values():
                assert job["permissions"] == {"contents": "read"}
                assert "secrets." not in json.dumps(job)
        if "workflow_run" in triggers:
            steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
            checkouts = [step["with"] for step in steps if "actions/checkout" in step.get("uses", "")]
            assert all(not {"ref", "repository"} & {*given} for given in checkouts), "this repository's own branch"


def test_actions_are_pinned_and_one_hash_has_one_version() -> None:
    used = re.findall(r"uses: (\S+)@(\S+) # (v\S+)", "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS))
    assert used
    assert all(re.fullmatch(r"[0-9a-f]{40}", commit) for _, commit, _ in used)
    assert len({action for action, _, _ in used}) == len({*used})


def test_braces_of_the_jenkinsfile_match() -> None:
    text = re.sub(
        r"'''.*?'''|'[^'\n]*'|\"[^\"\n]*\"|//[^\n]*", "", JENKINSFILE.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    depth = 0
    for brace in re.findall(r"[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0


def test_every_command_of_the_recipes_runs_on_the_simulated_gpu(tmp_path: Path) -> None:
    """In a repository whose base branch has what the recipes for recording stored."""
    tests = tmp_path / "tests" / "energy"
    tests.mkdir(parents=True)
    (tests / "test_it.py").write_text(textwrap.dedent(SUITE), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nenergy_meter = simulated\n", encoding="utf-8")
    environment = {
        **outside_pytest(),
        **VARIABLES,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "RUNNER_TEMP": str(tmp_path),
    }

    def run(command: str, *codes: int) -> str:
        ran = subprocess.run(
            ["bash", "-euc", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode in (codes or (0,)), f"{command}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    found = commands()
    recording = [command for command in found if command.startswith("pytest-joules record")]
    measuring = [command for command in found if command.startswith("pytest ")]
    assert recording
    assert measuring
    git = "git -c user.name=ci -c user.email=ci@example.com"
    run("git init -q -b main")
    for command in recording:
        run(command)
    run(f"git add tests pytest.ini baselines && {git} commit -qm base && git update-ref refs/remotes/origin/main HEAD")
    for command in measuring:
        # Judged by a base, no ini file may choose the meter.
        assert "energy: 1 passed, 0 regressed" in run(f"{command} --energy-meter=simulated")
    (tmp_path / "results" / "energy-h100").mkdir(parents=True)
    shutil.copy(tmp_path / "energy.json", tmp_path / "results" / "energy-h100")
    for command in found:
        if command.startswith("pytest-joules doctor"):
            # The doctor is no pytest, and reads no ini file; a machine that tests keep busy may deserve its warning.
            run(f"{command} --energy-meter simulated", 0, 1)
        elif command not in (*recording, *measuring) and "$judged" not in command:
            run(command)
    # Of two GPUs that a pull request is to be judged on, one has sent no result.
    (judging,) = (script for script in scripts() if "compare" in script)
    for product in re.findall(r"\w+=(nvidia-h100\S*)", judging):
        judging = judging.replace(product, f"simulated-{product}")
    run(f"export GITHUB_OUTPUT=output\n{judging}")
    assert (tmp_path / "output").read_text() == "state=failure\n"
    comment = (tmp_path / "comment.md").read_text()
    assert "1 passed, 0 regressed" in comment
    assert comment.endswith("**b200**: no result that can be judged; the log of this job says why.\n")
    assert json.loads((tmp_path / "energy.json").read_text())["results"]
