"""A run as GitHub's Markdown: a table, the worst first, and why each failure failed.

The language is "GitHub Flavored Markdown Spec"; GitLab and others read it, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from pytest_joules.model import BudgetResult, RunResult, VerdictKind
from pytest_joules.reporting import advice, diagnosis, frontier, references, terminal
from pytest_joules.reporting.escape import markdown, markdown_block, markdown_code, short, short_lines
from pytest_joules.reporting.rows import Row, rows, worst_first
from pytest_joules.units import format_joules, format_percent

LONGEST_COMMENT = 65_000
"""Bytes of a comment on GitHub, which takes 65,536 characters; GitLab takes more."""

TABLE_SHARE = 0.6
"""Share of the bytes that the table may take where there are failures to explain, too."""

LONGEST_STORY = 4000
"""Characters of what is told of one failure."""

MOST_LINES = 20
"""Lines of what happened to the baselines."""

MARKS = {
    VerdictKind.REGRESSED: "❌",
    VerdictKind.OVER_LIMIT: "❌",
    VerdictKind.INVALID: "❌",
    VerdictKind.UNMEASURED: "⚪",
    VerdictKind.NO_BASELINE: "⚪",
    VerdictKind.INCONCLUSIVE: "❔",
    VerdictKind.IMPROVED: "✅",
    VerdictKind.PASS: "✅",
}

_HEAD = ("| verdict | test | joules | against | change | power |", "|:--|:--|--:|--:|--:|--:|")

Fold = Callable[[Row, Sequence[str]], str]
"""From a row and what is told of it to Markdown."""


def render(run: RunResult, *, largest: int = LONGEST_COMMENT) -> str:
    """The run as a comment on a pull or merge request, of at most ``largest`` bytes of UTF-8."""
    return page(run, largest, _under_heading)


def page(run: RunResult, largest: int, fold: Fold) -> str:
    """Heading, table, baselines and failures, as much of it as fits into ``largest`` bytes; empty if nothing does."""
    found = worst_first(rows(run))
    failed = [row for row in found if row.failed]
    lines = [f"## {markdown(_heading(run))}", "", _origin(run), ""]
    beside = [line for title, told in _beside(run) if told for line in ("", f"### {title}", "", _listed(told))]
    room = largest - _size(lines) - _size(beside) - 800  # of which lines below tell what was left out
    if found:
        shown = _fitting(chain(_HEAD, map(_table_row, found)), int(room * (TABLE_SHARE if failed else 1.0)))
        # A heading without a row is no table.
        lines += shown if len(shown) > len(_HEAD) else []
        lines += _left_out(found[max(0, len(shown) - len(_HEAD)) :], "row")
        stories = (fold(row, short_lines(story(row.result, run), LONGEST_STORY)) for row in failed)
        told = _fitting(stories, room - _size(shown))
        beside += [*told, *_left_out(failed[len(told) :], "explanation")]
    page = "\n".join([*lines, *beside]).rstrip() + "\n"
    return page if len(page.encode()) <= largest else ""


def story(result: BudgetResult, run: RunResult) -> list[str]:
    """What a failure comes to, line by line: the numbers, three lines of why, and what to do next."""
    lines = [terminal.headline(result)]
    if told := terminal.expected(result):
        lines.append(f"  expected   {told}")
    if result.diagnosis is not None:
        lines += diagnosis.brief(result.diagnosis)
    if result.verdict.crept:
        lines.append(f"  because    {result.verdict.reason}")
    lines += [f"  reference  {line}" for line in [references.beside(result)] if line]
    lines += [f"  next       {step}" for step in advice.steps(result, run)]
    return [*lines, *(f"  note       {note}" for note in terminal.notes(result))]


def _heading(run: RunResult) -> str:
    kinds = [kind for kind in ("simulated", "replayed") if run.meter and getattr(run.meter, kind)]
    line = terminal.summary_line(run.results)
    return line.replace("energy:", f"Energy ({', '.join(kinds)}):" if kinds else "Energy:", 1)


def _origin(run: RunResult) -> str:
    parts = [markdown(short(terminal.device_label(run.meter.devices)))] if run.meter else []
    parts += [f"commit {markdown_code(run.commit)}"] if run.commit else []
    parts += [markdown(short(f"pytest-joules {run.version}")), markdown(short(run.created))]
    return ", ".join(part for part in parts if part)


def _table_row(row: Row) -> str:
    verdict = row.verdict.value.replace("_", " ")
    if row.failed and row.verdict in (VerdictKind.UNMEASURED, VerdictKind.NO_BASELINE, VerdictKind.INCONCLUSIVE):
        mark = "❌"
    elif row.failed or row.verdict not in (VerdictKind.REGRESSED, VerdictKind.OVER_LIMIT, VerdictKind.INVALID):
        mark = MARKS[row.verdict]
    else:
        mark = "⚠️"
    cells = (
        f"{mark} {verdict}" if row.declared else f"({verdict})",
        markdown_code(row.name),
        _joules(row.joules_per_unit, row.unit),
        _against(row),
        _change(row),
        "" if row.watts is None else f"{row.watts:.0f} W",
    )
    return f"| {' | '.join(cells)} |"


def _joules(value: float | None, unit: str) -> str:
    return "" if value is None else format_joules(value) + (f"/{markdown(short(unit, 40))}" if unit else "")


def _against(row: Row) -> str:
    if row.limit is not None and (row.verdict is VerdictKind.OVER_LIMIT or row.baseline is None):
        return f"limit {_joules(row.limit, '')}"
    return _joules(row.baseline, "")


def _change(row: Row) -> str:
    if row.ratio is None:
        return ""
    change = format_percent(row.ratio - 1, signed=True)
    if row.ratio_low is None or row.ratio_high is None:
        return change
    low, high = (format_percent(end - 1, signed=True) for end in (row.ratio_low, row.ratio_high))
    return f"{change} ({low} to {high})"


def _under_heading(row: Row, told: Sequence[str]) -> str:
    return f"\n### {markdown_code(row.name)}\n\n{markdown_block(told)}"


def _beside(run: RunResult) -> Sequence[tuple[str, Sequence[str]]]:
    """What to choose of each sweep, what happened to the stored sessions, and what others published: a heading each."""
    return (
        ("Sweeps", frontier.brief(frontier.frontiers(run), run.rates)),
        ("Baselines under review", terminal.review(run.review, run.results) if run.review else ()),
        ("Baselines written", terminal.changes(run.changes)),
        ("Beside published numbers", [*_published(run)]),
        ("Cheaper than stored", () if run.changes else [*_cheaper(run)]),
        ("Stored, but not measured", terminal.stale(run)),
    )


def _published(run: RunResult) -> Iterator[str]:
    for result in run.results:
        if line := references.beside(result):
            yield f"{result.test}: {line}"


def _cheaper(run: RunResult) -> Iterator[str]:
    """What holds each new level, without which the saving could be lost again and every run would pass."""
    for result in run.results:
        if result.verdict.kind is VerdictKind.IMPROVED:
            yield from (f"{result.test}: {step}" for step in advice.steps(result, run))


def _listed(told: Sequence[str]) -> str:
    more = [f"... and {len(told) - MOST_LINES} more"] if len(told) > MOST_LINES else []
    return markdown_block([*(short(line) for line in told[:MOST_LINES]), *more])


def _left_out(missing: Sequence[Row], what: str) -> list[str]:
    """How many were cut off, and of what kind."""
    if not missing:
        return []
    counts = Counter(row.verdict for row in missing)
    kinds = ", ".join(f"{count} {kind.value.replace('_', ' ')}" for kind, count in counts.items())
    plural = "s" if len(missing) > 1 else ""
    return ["", f"{len(missing)} more {what}{plural} left out ({kinds}); the JSON report has all."]


def _fitting(lines: Iterable[str], largest: int) -> list[str]:
    """As many of the lines as fit, from the first; those behind are not even made."""
    kept: list[str] = []
    for line in lines:
        largest -= _size([line])
        if largest < 0:
            break
        kept.append(line)
    return kept


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode("utf-8", "surrogatepass")) + 1 for line in lines)
