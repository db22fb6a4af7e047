"""What GitHub Actions shows of a run: the step's summary, and annotations at the tests' lines.

The formats are those of GitHub's "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from pytest_joules.model import BudgetResult, Place, RunResult, VerdictKind
from pytest_joules.reporting import advice, diagnosis, markdown, terminal
from pytest_joules.reporting.escape import (
    github_data,
    github_property,
    markdown_block,
    markdown_code,
    short,
    short_lines,
)
from pytest_joules.reporting.rows import Row, rows, worst_first

LARGEST_SUMMARY = 1024 * 1024
"""Bytes of a step's summary; GitHub shows nothing of a larger one."""

MOST_ANNOTATIONS = 9
"""GitHub shows ten annotations of a kind in a step; the tenth says how many more there are."""

LONGEST_MESSAGE, LONGEST_TITLE = 2000, 200

_WORTH_A_WARNING = (
    VerdictKind.REGRESSED,
    VerdictKind.OVER_LIMIT,
    VerdictKind.INVALID,
    VerdictKind.NO_BASELINE,
    VerdictKind.INCONCLUSIVE,
)


def wanted(setting: str, environment: Mapping[str, str]) -> bool:
    """Whether to speak to GitHub, by ``--energy-github``: ``auto`` does where a runner says that it is one."""
    return setting == "on" or (setting == "auto" and environment.get("GITHUB_ACTIONS") == "true")


def summary_file(environment: Mapping[str, str]) -> Path | None:
    """Where the runner takes the step's summary from."""
    name = environment.get("GITHUB_STEP_SUMMARY", "")
    return Path(name) if name else None


def summary(run: RunResult, *, largest: int = LARGEST_SUMMARY - 1) -> str:
    """The step's summary, of at most ``largest`` bytes of UTF-8; why a test failed is folded away."""
    return markdown.page(run, largest, _folded)


def render(run: RunResult) -> str:
    """The step's summary, as ``pytest-joules report --to github`` writes it where no runner wants it."""
    return summary(run)


def append_summary(run: RunResult, file: Path) -> None:
    """Add the summary to what the step has written so far; together they stay below GitHub's limit.

    Raises:
        OSError: if it cannot be written.
    """
    there = file.stat().st_size if file.exists() else 0
    if text := summary(run, largest=LARGEST_SUMMARY - 2 - there):
        with file.open("a", encoding="utf-8", newline="\n") as opened:
            opened.write(f"\n{text}" if there else text)


def commands(run: RunResult) -> list[str]:
    """Annotations as workflow commands, a line each, the worst first: an error for what fails, else a warning."""
    telling = [row for row in worst_first(rows(run)) if row.failed or (row.declared and _is_warning(row))]
    lines = [_annotation(row, run) for row in telling[:MOST_ANNOTATIONS]]
    if rest := telling[MOST_ANNOTATIONS:]:
        lines.append(_command("error" if any(row.failed for row in rest) else "warning", {}, [_and_more(rest)]))
    return lines


def _is_warning(row: Row) -> bool:
    return row.verdict in _WORTH_A_WARNING


def _annotation(row: Row, run: RunResult) -> str:
    title = f"{row.verdict.value}: {short(row.name, LONGEST_TITLE)}"
    message = short_lines(_message(row.result, run), LONGEST_MESSAGE)
    return _command("error" if row.failed else "warning", {**_where(row.place), "title": title}, message)


def _message(result: BudgetResult, run: RunResult) -> Iterator[str]:
    yield terminal.headline(result)
    if result.diagnosis is not None and not diagnosis.is_level(result.diagnosis):
        yield f"why: {diagnosis.why(result.diagnosis)}"
    yield from advice.steps(result, run)


def _where(place: Place | None) -> dict[str, str]:
    """The file and line, unless a stored result names a place outside of the repository."""
    if place is None:
        return {}
    path = PurePosixPath(place.file)
    if path.is_absolute() or ".." in path.parts:
        return {}
    return {"file": place.file} | ({} if place.line is None else {"line": str(place.line)})


def _and_more(rest: Sequence[Row]) -> str:
    return (
        f"energy: and {len(rest)} more: {terminal.counted(row.verdict for row in rest)}; this step's summary has them"
    )


def _command(name: str, properties: Mapping[str, str], message: Iterable[str]) -> str:
    listed = ",".join(f"{key}={github_property(value)}" for key, value in properties.items())
    return f"::{name}{f' {listed}' if listed else ''}::{github_data(message)}"


def _folded(row: Row, told: Sequence[str]) -> str:
    heading = f"{markdown.MARKS[row.verdict]} {row.verdict.value.replace('_', ' ')} {_as_html(row.name)}"
    return f"\n<details><summary>{heading}</summary>\n\n{markdown_block(told)}\n\n</details>"


def _as_html(name: str) -> str:
    """A name inside of an HTML block, where Markdown's own code spans are not read."""
    code = markdown_code(name)
    return f"<code>{code[1:-1]}</code>" if code.startswith("`") else code
