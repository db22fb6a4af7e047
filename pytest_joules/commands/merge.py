"""``pytest-joules merge``: baselines and results of several machines, as one baseline file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_joules.commands.shared import FINE, CommandError, Commands, check_place, counting, described, say


def add(commands: Commands) -> None:
    """``merge FILE... [-o FILE]``."""
    parser = commands.add_parser(
        "merge",
        help="put baselines and results of several machines of one SKU into one baseline file",
        usage="pytest-joules merge FILE... [-o FILE]",
        **described(
            "Put baselines and results of several machines of one SKU into one baseline file.\n"
            "Each FILE is a baseline file or a JSON report (pytest --energy --energy-json). A\n"
            "series has the sessions of all devices, oldest first, each once: the last ten,\n"
            "and those that are pinned. Different SKUs are refused.",
            "merge runner-a/nvidia-h200.json runner-b/nvidia-h200.json -o baselines",
            "merge baselines/nvidia-h200.json energy-*.json -o baselines",
        ),
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="baseline file or report")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="a .json file, or the directory of baselines to put it in (default: standard output); "
        "a file that exists has to be one of FILE",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read all files, merge them, and write the one."""
    from pytest_joules.explaining import is_baseline
    from pytest_joules.files import is_one_of, write_whole
    from pytest_joules.merging import MergeError, merge_parts, read_part, text_of
    from pytest_joules.units import plural

    try:
        parts = [read_part(path) for path in counting(options.files, "files read")]
        merged = merge_parts(parts)
        target: Path | None = options.output
        if target is not None and target.suffix != ".json":
            target.mkdir(exist_ok=True)
            target = target / f"{merged.file.sku}.json"
        text = text_of(merged, str(target or "standard output"))
        if target is not None:
            named = is_one_of(target, options.files)
            # A baseline file that is named gets what the others have; a report would lose all else that it tells.
            check_place("-o", target, options.files if named and not is_baseline(target) else [])
            if target.exists() and not named:
                raise MergeError(f"{target}: exists, and is none of the files: name it, too, or move it away")
            write_whole(text, target)
    except (MergeError, OSError) as error:
        raise CommandError(str(error)) from error
    for part in parts:
        for line in part.left_out:
            say(f"left out: {line}")
    say(
        f"{merged.file.sku}: {len(merged.file.entries)} series, {plural(merged.sessions, 'session')} of "
        f"{plural(merged.devices, 'device')} from {plural(len(parts), 'file')}; "
        f"{plural(merged.duplicates, 'duplicate')}, {plural(merged.dropped, 'old one')} left out"
    )
    if target is None:
        sys.stdout.write(text)
    return FINE
