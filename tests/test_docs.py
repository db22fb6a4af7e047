"""The documentation names everything and nothing else, its links lead somewhere, and its commands exist."""

from __future__ import annotations

import argparse
import ast
import gzip
import inspect
import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import outside_pytest

from pytest_joules import Window, cli, hookspec, plugin, testing
from pytest_joules.budget import EnergyBudget
from pytest_joules.commands import shared
from pytest_joules.fixture import Energy
from pytest_joules.grouping import EnergySweep
from pytest_joules.markers import SIGNATURE, SWEEP_SIGNATURE
from pytest_joules.model import VerdictKind
from pytest_joules.options import COLUMNS, SIMULATED_FAULTS, SIMULATED_MOST, SORTS, WITHHOLDABLE
from pytest_joules.reporting import openmetrics
from pytest_joules.reporting.formats import FORMATS
from pytest_joules.serving.server import Server
from pytest_joules.units import ENERGY_UNITS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = (DOCS / "reference.md").read_text(encoding="utf-8")
PAGES = (*sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("*.md")), *sorted((ROOT / "examples").rglob("*.md")))
CODE = re.compile(r"`([^`]+)`")

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


class Flags:
    """Stands for pytest's parser, and keeps what the plugin adds to it."""

    def __init__(self) -> None:
        self.flags: dict[str, dict[str, Any]] = {}
        self.ini: set[str] = set()

    def getgroup(self, name: str, description: str = "") -> Flags:
        return self

    def addoption(self, flag: str, **attributes: Any) -> None:
        self.flags[flag] = attributes

    def addini(self, name: str, **_: Any) -> None:
        self.ini.add(name)


def plugin_flags() -> Flags:
    flags = Flags()
    plugin.pytest_addoption(flags)  # type: ignore[arg-type]
    return flags


def commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = (
        action.choices
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)  # the class has no public name
    )
    return dict(choices)


def section(title: str, text: str = REFERENCE) -> str:
    """What stands below a heading, up to the next one."""
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(text: str) -> list[list[str]]:
    """The cells of each row of all tables, heads left out."""
    bodies = re.findall(r"^\|.*\|\n\|[ :|-]+\|\n((?:\|.*(?:\n|\Z))*)", text, re.MULTILINE)
    lines = (line for body in bodies for line in body.splitlines())
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def named(cell: str) -> str:
    """The first thing in backticks, without its arguments."""
    found = CODE.search(cell)
    return re.split(r"[ (]", found[1])[0] if found else cell


def parameters(function: Callable[..., Any], *, without: Sequence[str] = ("self",)) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in without]


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def test_every_flag_and_ini_key_has_its_row_and_no_other_has() -> None:
    flags, table = plugin_flags(), rows(section("Flags and ini"))
    assert sorted(named(row[0]) for row in table) == sorted(flags.flags)
    assert sorted(named(row[1]) for row in table if row[1]) == sorted(flags.ini)
    for row in table:
        attributes = flags.flags[named(row[0])]
        assert (attributes.get("metavar") or "") in row[0], "the metavar of --help"
        if row[1]:
            assert named(row[1]) == attributes["dest"]
        if default := re.search(r"\(default: ([^)]+)\)", attributes["help"].replace("%%", "%")):
            assert default[1] in row[2], "the default of --help"


def test_every_command_and_its_options_have_their_row_and_no_other_has() -> None:
    table = rows(section("Command"))
    found = [row[0].strip("`").split()[1] for row in table]
    assert sorted(found) == sorted(commands())
    for row, name in zip(table, found, strict=True):
        options = {
            text
            for action in commands()[name]._actions
            for text in action.option_strings
            if not isinstance(action, argparse._HelpAction)
            and (text.startswith("--") or len(action.option_strings) == 1)
        }
        told = {*re.findall(r"(?<![\w-])--?[a-z][a-z-]*", CODE.findall(row[0])[0])} - {"-joules"}
        assert told == options, name


@pytest.mark.parametrize(("signature", "kind"), [(SIGNATURE, EnergyBudget), (SWEEP_SIGNATURE, EnergySweep)])
def test_the_markers_have_all_arguments_and_no_other(signature: str, kind: type) -> None:
    assert signature.partition(": ")[0] in REFERENCE
    arguments = [name.strip().partition("=")[0] for name in signature.partition("(")[2].partition(")")[0].split(",")]
    arguments.remove("*")
    told = [named(row[0]) for row in rows(section("Marker"))]
    at = told.index(arguments[0])
    assert told[at : at + len(arguments)] == arguments
    assert {*arguments} >= {*inspect.signature(kind).parameters}


def test_every_unit_of_energy_is_told() -> None:
    (told,) = re.findall(r"Energy units of a limit: ([^.]+)\.", REFERENCE)
    assert told.split(", ") == list(ENERGY_UNITS)


def test_every_method_is_told_with_its_arguments_and_no_other() -> None:
    table = [CODE.findall(row[0]) for row in rows(section("Fixture"))]
    told = {text.partition("(")[0]: text for row in table for text in row}
    code: dict[str, Any] = {"energy": Energy.__call__, "energy.extra_info": None, "window.name": None}
    for prefix, kind in (("energy", Energy), ("window", Window), ("server", Server)):
        code |= {f"{prefix}.{name}": value for name, value in public(kind).items()}
    told = {name: text for name, text in told.items() if name in code or "(" in text or "." in name}
    assert {name for name in told if name not in ("energy.window", "energy.server") or told[name].endswith(")")} == {
        *code
    }
    for name, text in told.items():
        if inspect.isfunction(code[name]):
            inside = text.partition("(")[2].rpartition(")")[0]
            given = [re.split("=", part.strip().lstrip("*"))[0] for part in inside.split(",")]
            assert [part for part in given if part] == parameters(code[name]), name
    for tool in (testing.launch, testing.synchronize, testing.inject):
        assert f"`{tool.__name__}({', '.join(parameters(tool))})`" in REFERENCE


def test_every_hook_is_told_with_its_arguments_and_no_other() -> None:
    hooks = {name: hook for name, hook in vars(hookspec).items() if name.startswith("pytest_joules_")}
    assert [row[0] for row in rows(section("Hooks"))] == [
        f"`{name}({', '.join(parameters(hook))})`" for name, hook in hooks.items()
    ]


def test_every_verdict_has_its_row_and_no_other_has() -> None:
    assert sorted(row[0] for row in rows(section("Verdicts"))) == sorted(kind.value for kind in VerdictKind)


def test_every_exit_code_is_told() -> None:
    pytests, ours = section("Exit codes").split("| `pytest-joules` |")
    told = [int(code) for row in rows(pytests) for code in row[0].split(", ")]
    assert told == sorted(pytest.ExitCode)[:6], "a seventh came with pytest 9"
    assert [int(row[0]) for row in rows(f"| `pytest-joules` |{ours}")] == [shared.FINE, shared.REGRESSED, shared.USAGE]


def test_every_format_and_metric_has_its_row_and_no_other_has() -> None:
    text = (DOCS / "reports.md").read_text(encoding="utf-8")
    assert {named(row[0]) for row in rows(text) if len(row) == 3} - {"terminal"} == {*FORMATS} | {"--energy-json"}
    metrics = {name for name, *_ in openmetrics._FAMILIES} | {openmetrics.LATENCY, "energy_budgets"}
    told = {name for row in rows(section("OpenMetrics", text)) for name in CODE.findall(row[0])}
    assert told == metrics


def test_every_column_and_sort_is_told() -> None:
    for word in (*COLUMNS, *SORTS):
        assert word in section("Flags and ini")


def test_every_setting_of_the_simulated_gpu_is_told() -> None:
    text = (DOCS / "simulated.md").read_text(encoding="utf-8")
    for word in (*SIMULATED_MOST, *SIMULATED_FAULTS[1:], *WITHHOLDABLE):
        assert re.search(rf"`[^`]*\b{re.escape(word)}\b[^`]*`", text), word


def test_every_environment_variable_is_told() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "pytest_joules").rglob("*.py"))
    read = {*re.findall(r'environ(?:ment)?(?:\.get\(|\.pop\(|\[)"([A-Z_]+)"', source)}
    read |= {*re.findall(r'"((?:CI|CUDA|GITHUB|GITLAB|OPENAI|XDG|PYTEST_JOULES)(?:_[A-Z_]+)?)"', source)}
    told = {name for row in rows(section("Environment")) for name in CODE.findall(row[0])}
    assert told == read - {"PYTHONPATH"}


def written_flags(text: str) -> Iterator[str]:
    yield from re.findall(r"--energy(?:-[a-z]+)*(?!\w|-?\*)", text)


@page
def test_no_page_names_a_flag_that_does_not_exist(page: Path) -> None:
    known = {*plugin_flags().flags} | {option for one in commands().values() for option in one._option_string_actions}
    wrong = {flag for flag in written_flags(page.read_text(encoding="utf-8")) if flag not in known}
    assert not wrong


@page
def test_no_page_names_a_command_that_does_not_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert {*re.findall(r"`pytest-joules ([a-z]+)", text)} <= {*commands()}


def console_lines(text: str) -> Iterator[list[str]]:
    """The commands of all console blocks, as words."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for command in line.split(" && "):
                words = shlex.split(command.removeprefix("$ "), comments=True)
                if words and "..." not in words:
                    yield words


@page
def test_console_examples_are_commands_that_exist(page: Path) -> None:
    for words in console_lines(page.read_text(encoding="utf-8")):
        if words[0] == "pytest-joules":
            options = cli._parser().parse_args(cli._split(words[1:])[0])
            assert options.run
            words = ["pytest", *cli._split(words[1:])[1]]
        if words[0] == "pytest":
            flags = plugin_flags().flags
            given = [word.partition("=")[0] for word in words if word.startswith("--energy")]
            assert {*given} <= {*flags}, words
            for word, after in zip(words, [*words[1:], "--"], strict=True):
                if word in flags and flags[word].get("metavar"):
                    assert not after.startswith("--"), words
            for word in words[1:]:
                if word.startswith("examples/") and page.parent == ROOT:
                    assert (ROOT / word.partition("::")[0]).exists(), words


@page
def test_python_examples_are_python_and_use_what_there_is(page: Path) -> None:
    there = {
        "energy": {*public(Energy), "extra_info"},
        "window": {*public(Window), "name"},
        "server": {*public(Server)},
    }
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        code = textwrap.dedent(block)
        # A marker may stand for itself.
        tree = ast.parse(f"{code}def test(): ..." if code.splitlines()[-1].startswith("@") else code)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in there:
                assert node.attr in there[node.value.id]
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "energy_budget"
            ):
                given = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg}
                EnergyBudget.from_marker(tuple(map(ast.literal_eval, node.args)), given)


def shape(block: str) -> list[list[str]]:
    """Of printed text the headings of tables and the names of a failure's lines, which are the same in every run."""
    lines = block.splitlines()
    headings = [heading.split() for heading, rule in pairwise(lines) if rule.startswith("---")]
    return headings + [line.split()[:1] for line in lines if re.match(r"  \w+ {2,}", line)]


def test_getting_started_as_it_is_written(tmp_path: Path) -> None:
    """Files are made and commands run up to where a GPU is needed; a comment says which exit code to expect."""
    text = (DOCS / "getting-started.md").read_text(encoding="utf-8").partition("## 4.")[0]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said, shown = "", list[list[str]]()
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if name := re.match(r"# (\S+)\n", block):
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
        for line in block.splitlines() if language == "console" else ():
            if line.startswith(("pip", "mkdir")):
                continue
            expected = re.search(r"# exit code (\d)", line)
            ran = subprocess.run(
                ["bash", "-c", line],
                cwd=tmp_path,
                env=outside_pytest() | {"PATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == (int(expected[1]) if expected else 0), f"{line}\n{ran.stdout}{ran.stderr}"
            for word in re.findall(r"[A-Z_]{9,}", line.partition("#")[2]):
                assert word in ran.stdout
            said += ran.stdout
        if language == "text":
            shown += shape(block)
    assert "more device memory traffic" in said
    lines = [line.split() for line in said.splitlines()]
    for words in shown:
        assert any(line[: len(words)] == words for line in lines), f"no longer printed: {' '.join(words)}"
    assert "energy: 1 passed, 0 regressed, 0 inconclusive, 0 unmeasured" in said


def test_the_first_example_is_what_the_code_says_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real H200 runs that README shows, judged once more."""
    monkeypatch.chdir(tmp_path)
    results = ROOT / "benchmarks" / "results" / "h200-why" / "offline"
    assert cli.main(["merge", *map(str, sorted(results.glob("record-*.json"))), "-o", "baselines"]) == 0
    assert cli.main(["compare", str(results / "eager-1.json")]) == 1
    said = capsys.readouterr().out
    for page in (ROOT / "README.md", DOCS / "index.md"):
        (block,) = re.findall(
            r"^```text\n(REGRESSED.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        assert block in said, page.name


def test_extras_that_are_named_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    recipes = [path for path in (ROOT / "examples" / "ci").rglob("*") if path.is_file()]
    for path in (*PAGES, *recipes):
        for extras in re.findall(r"(?:pytest-joules|\.)\[([a-z,]+)\]", path.read_text(encoding="utf-8")):
            for extra in extras.split(","):
                assert re.search(rf"^{extra} = \[", project, re.MULTILINE), f"{path.name}: {extra}"


def test_every_extra_is_told() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (extras,) = re.findall(r"^\[project\.optional-dependencies\]\n(.*?)^\[", project, re.MULTILINE | re.DOTALL)
    told = {name for row in rows(section("Extras")) for name in CODE.findall(row[0])}
    assert told == {*re.findall(r"^(\w+) = \[", extras, re.MULTILINE)}


@pytest.mark.parametrize(
    ("tool", "target"),
    [("diagnosis_table", "diagnosis.md"), ("format_reference", "formats.md")],
)
def test_tables_are_what_the_code_says(tool: str, target: str) -> None:
    made = runpy.run_path(str(ROOT / "tools" / f"{tool}.py"))
    text = (DOCS / target).read_text(encoding="utf-8")
    assert made["page"](text) == text, f"run python tools/{tool}.py"


def test_every_field_of_a_published_format_has_a_meaning() -> None:
    for row in rows((DOCS / "formats.md").read_text(encoding="utf-8")):
        assert row[-1], row


def anchors(path: Path) -> set[str]:
    """Where a link may lead on a page: headings, as GitHub names them, and anchors of its own."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in plain} | {
        *re.findall(r'<a id="([^"]+)"', text)
    }


@page
def test_links_within_the_repository_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        path = (page.parent / target) if target else page
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{target}#{anchor}"


@page
def test_files_that_are_named_exist(page: Path) -> None:
    for text in CODE.findall(page.read_text(encoding="utf-8")):
        if re.fullmatch(
            r"(benchmarks|docs|examples|pytest_joules|tests/test_|tools)/?[\w/.-]*\.(py|md|json|yml)", text
        ):
            assert (ROOT / text).exists(), text


def test_every_room_has_its_place_in_the_architecture_and_no_other_has() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "pytest_joules"
    modules = {path for path in package.rglob("*.py") if path.name != "__init__.py"}
    for path in modules:
        whole = path.parent.name in ("commands", "reporting", "workloads")
        assert f"`{path.parent.name}/`" in text if whole else f"`{path.name}`" in text, path
    assert {*re.findall(r"`([\w]+\.py)`", text)} <= {path.name for path in modules}


def test_only_the_rooms_that_are_said_to_know_pytest_import_it() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"Only ([^.]*\.py[^:]*?) know pytest\.", text)
    source = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "pytest_joules").rglob("*.py")}
    knowing = {
        name for name, code in source.items() if re.search(r"^\s*(?:import|from) _?pytest\b", code, re.MULTILINE)
    }
    assert {*CODE.findall(told)} == knowing


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert built.returncode == 0, built.stderr
    for made in (tmp_path / "site").rglob("*.html"):
        outside = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="?(https?:[^" >]+)', made.read_text("utf-8"))
        assert not outside, "the site fetches nothing from other hosts"


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    for path in DOCS.glob("*.md"):
        assert path.name == "index.md" or f"]({path.name})" in index


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    private = re.compile(r"/(?:root|home|work|Users)/\w")
    for name in listed:
        content = (ROOT / name).read_bytes()
        text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
        assert not private.search(text), name
