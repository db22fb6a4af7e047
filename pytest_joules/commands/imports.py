"""``pytest-joules import``: published measurements as reference files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_joules.commands.shared import FINE, CommandError, Commands, described, say, show, working
from pytest_joules.units import format_joules, format_percent, plural

if TYPE_CHECKING:
    from pytest_joules.model import Reference
    from pytest_joules.references.store import ReferenceChange

MOST_LINES = 10
"""Measurements of each file that are told apart; its diff has all."""


def add(commands: Commands) -> None:
    """``import mlenergy FILE... [-o DIR]``."""
    parser = commands.add_parser(
        "import",
        help="read published measurements into reference files, to compare one's own with",
        usage="pytest-joules import mlenergy FILE... [-o DIR] [--date YYYY-MM-DD] [--task TASK] [--gpu GPU]",
        **described(
            "Read published measurements of the ML.ENERGY Benchmark into a reference file for each\n"
            "GPU. Each FILE is a task file of the leaderboard (public/data/tasks/*.json of its\n"
            "repository), a table of its data set (runs/*.parquet, which needs pyarrow), or a\n"
            "run's results.json; the content tells which. What was imported before is replaced\n"
            "where the source has it again, and kept elsewhere.",
            "import mlenergy lm-arena-chat.json text-to-image.json --date 2026-02-13",
            "import mlenergy runs/llm.parquet -o references",
            "import mlenergy run/llm/gpqa/results/Qwen/Qwen3-8B/H100/*/results.json",
        ),
    )
    parser.add_argument("publisher", choices=("mlenergy",), metavar="mlenergy", help="whose measurements")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="task file, table or run")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("references"),
        metavar="DIR",
        help="directory of the reference files (default: references)",
    )
    parser.add_argument(
        "--date",
        type=_date,
        metavar="YYYY-MM-DD",
        help="when the files were published, which only a run's tells (default: today)",
    )
    parser.add_argument("--task", metavar="TASK", help="task of a run, where its path does not tell")
    parser.add_argument("--gpu", metavar="GPU", help="GPU of a run of a diffusion model, where its path does not tell")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read all files before one is written."""
    from pytest_joules.baselines.keys import slug
    from pytest_joules.references.mlenergy import MlEnergyError, Told, read_mlenergy
    from pytest_joules.references.store import ReferenceFileError, ReferenceStore

    told = Told(options.date or datetime.now(timezone.utc).date(), options.task, options.gpu)
    try:
        with working(f"{plural(len(options.files), 'file')} read"):
            imported = read_mlenergy(options.files, told)
        by_file: dict[str, list[Reference]] = {}
        for reference in imported.references:
            by_file.setdefault(slug(reference.gpu), []).append(reference)
        changes = [ReferenceStore(options.output).update(found[0].gpu, found) for _, found in sorted(by_file.items())]
    except (MlEnergyError, ReferenceFileError) as error:
        raise CommandError(str(error)) from error
    for note in imported.notes:
        say(note)
    if not changes:
        raise CommandError("nothing to import: no measurement is left")
    for change in changes:
        show(_told(change))
    return FINE


def _told(change: ReferenceChange) -> Iterator[str]:
    counts = {
        "new": len(change.added),
        "changed": len(change.changed),
        "dropped": len(change.dropped),
        "as before": change.same,
        "kept": change.kept,
    }
    yield f"{change.path}: {', '.join(f'{count} {what}' for what, count in counts.items() if count)}"
    lines = [*(_moved(*pair) for pair in change.changed), *(f"{_name(gone)}: dropped" for gone in change.dropped)]
    yield from (f"  {line}" for line in lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        yield f"  and {len(lines) - MOST_LINES} more"


def _moved(was: Reference, now: Reference) -> str:
    unit, joules = next(iter(now.joules.items()))
    before = was.joules.get(unit)
    if before is None:
        return f"{_name(now)}: new, {format_joules(joules)}/{unit}"
    change = format_percent(joules / before - 1, signed=True, digits=2)
    return f"{_name(now)}: {format_joules(before)} -> {format_joules(joules)}/{unit} ({change})"


def _name(reference: Reference) -> str:
    from pytest_joules.references.names import written

    return written(reference.model, reference.task, reference.settings)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day like 2026-02-13") from None
