"""The documentation names everything, and its links lead somewhere."""

from __future__ import annotations

import gzip
import re
import runpy
import subprocess
from pathlib import Path

import pytest

from pytest_joules import hookspec
from pytest_joules.markers import SIGNATURE
from pytest_joules.model import VerdictKind
from pytest_joules.options import COLUMNS, SETTINGS, SORTS

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def test_every_flag_is_in_the_reference() -> None:
    for setting in SETTINGS:
        assert f"`{setting.flag}" in REFERENCE
        assert f"`{setting.dest}`" in REFERENCE
    for action in (
        "--energy",
        "--energy-update",
        "--energy-update-new",
        "--energy-anchor",
        "--energy-only",
        "--energy-json",
    ):
        assert f"`{action}" in REFERENCE


def test_every_verdict_hook_and_column_is_in_the_reference() -> None:
    hooks = [name for name in vars(hookspec) if name.startswith("pytest_joules_")]
    for word in (*(kind.value for kind in VerdictKind), *hooks, *COLUMNS, *SORTS):
        assert word in REFERENCE
    assert SIGNATURE.partition(":")[0] in REFERENCE


def test_the_table_of_mechanisms_is_what_the_rules_say() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "diagnosis_table.py"))
    text = (ROOT / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    assert made["page"](text) == text


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").glob("*.md")), *ROOT.glob("*.md")], ids=lambda page: page.name
)
def test_relative_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    private = re.compile(r"/(?:root|home|work|Users)/\w")
    for name in listed:
        content = (ROOT / name).read_bytes()
        text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
        assert not private.search(text), name
