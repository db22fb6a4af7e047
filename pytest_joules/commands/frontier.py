"""``pytest-joules frontier``: which configuration to choose, of what runs measured or others published."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_joules.commands.shared import (
    FINE,
    REGRESSED,
    CommandError,
    Commands,
    add_json,
    add_only,
    add_settings,
    check_place,
    described,
    show,
)
from pytest_joules.files import shared_place, write_whole
from pytest_joules.gathering import GatherError, Part, gathered, only, with_default, with_latency
from pytest_joules.model import Rates, Reference, RunResult, Sweep
from pytest_joules.units import utc_now

if TYPE_CHECKING:
    from pytest_joules.frontier import Frontier
    from pytest_joules.slo import Condition

MOST_GROUPS = 4
"""Groups whose points are printed; of more, what to choose of each."""


def add(commands: Commands) -> None:
    """``frontier FILE... [--slo EXPR]`` and what to take from the files."""
    parser = commands.add_parser(
        "frontier",
        help="name the configuration of least energy under a latency limit, of stored sweeps",
        usage="pytest-joules frontier FILE... [--slo EXPR] [--latency NAME] [-k TEXT] [options]",
        **described(
            "Weigh the joules of configurations against their latency, and name the one to choose.\n"
            "Each FILE is a JSON report (pytest --energy --energy-json) of tests that carry an\n"
            "energy_sweep, or a file of published references. Files are put together: where they\n"
            "are of several GPUs or commits, each point says which it is of.\n"
            "Exit codes: 0 fine, 1 nothing meets the limit, 2 wrong use or a bad file.",
            'frontier energy.json --slo "itl_p95 < 50 ms"',
            "frontier h100.json b200.json --default sku=nvidia-h100,max_num_seqs=256",
            'frontier energy.json --price "0.30 EUR/kWh" --html frontier.html',
        ),
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="report, or file of references")
    add_settings(parser, "slo")
    parser.add_argument(
        "--latency", metavar="NAME", help="weigh joules against this one, e.g. itl_p95 (default: the sweep's own)"
    )
    add_only(parser, "groups, or points of them, that")
    parser.add_argument(
        "--default",
        metavar="TEXT",
        help="the configuration in use today, by what its name or settings hold, e.g. max_num_seqs=256",
    )
    add_settings(parser, "price", "carbon")
    add_json(parser, "write frontier and recommendation as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write them as one HTML page")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read the files, put their sweeps together, and print what to choose."""
    from pytest_joules.reporting import frontier as words
    from pytest_joules.reporting.formats import FormatError, check

    for flag in ("json", "html"):
        check_place(f"--{flag}", getattr(options, flag), options.files)
    if fault := shared_place({"--json": options.json, "--html": options.html}):
        raise CommandError(fault)
    try:
        if options.html is not None:
            check("html")
    except FormatError as error:
        raise CommandError(f"--html: {error}") from error
    found, frontiers = _asked(options)
    if found.meter is not None and found.meter.simulated:
        show([_simulated(found.sweeps), ""])
    if len(frontiers) > MOST_GROUPS:
        show([*words.brief(frontiers, found.rates), f"{len(frontiers)} groups: -k TEXT shows the points of some"])
    else:
        for number, frontier in enumerate(frontiers):
            show([*([""] if number else []), *words.report(frontier, found.rates)])
    if options.json is not None:
        words.write_json(frontiers, found.rates, options.json)
    if options.html is not None:
        from pytest_joules.reporting.html import render

        write_whole(render(found, frontiers), options.html)
    return FINE if all(frontier.recommendation for frontier in frontiers) else REGRESSED


def _simulated(sweeps: Sequence[Sweep]) -> str:
    """What to say of simulated joules; published ones beside them are real."""
    measured = [sweep.group for sweep in sweeps if not all(point.source for point in sweep.points)]
    which = "these joules say" if len(measured) == len(sweeps) else f"the joules of {'; '.join(measured)} say"
    return f"simulated: {which} nothing of hardware"


def _asked(options: argparse.Namespace) -> tuple[RunResult, list[Frontier]]:
    """The sweeps of all files as one run, as the flags want them, and what they come to.

    A report's conditions and meter are those of its own groups, as far as any of them is left.
    """
    from pytest_joules.frontier import frontier_of
    from pytest_joules.rejudging import ResultError, together

    parts, runs = _read(options.files)
    try:
        sweeps = gathered(parts, latency=options.latency)
        sweeps = only(sweeps, options.only) if options.only else sweeps
        sweeps = sweeps if options.latency is None else with_latency(sweeps, options.latency)
        sweeps = sweeps if options.default is None else with_default(sweeps, options.default)
        groups = {sweep.group for sweep in sweeps}
        left = [run for run in runs if any(sweep.group in groups for sweep in run.sweeps)]
        whole = (
            together([replace(run, sweeps=()) for run in left])
            if left
            else RunResult(utc_now(), version("pytest-joules"))
        )
    except (GatherError, ResultError) as error:
        raise CommandError(str(error)) from error
    frontiers = [frontier_of(sweep, _conditions(options, sweep.group, left)) for sweep in sweeps]
    return replace(whole, results=(), sweeps=sweeps, rates=_rates(options, whole.rates)), frontiers


def _read(paths: Sequence[Path]) -> tuple[list[Part], list[RunResult]]:
    """The sweeps of each report and, of all reference files together, one for each model and task; and the reports."""
    from pytest_joules.references.store import ReferenceFileError, is_reference, read
    from pytest_joules.references.sweeps import SweepError, references_sweeps
    from pytest_joules.rejudging import ResultError, read_result

    parts: list[Part] = []
    runs: list[RunResult] = []
    references: list[Reference] = []
    try:
        for number, path in enumerate(paths):
            if path in paths[:number]:
                raise CommandError(f"{path}: given twice")
            if (published := read(path) if is_reference(path) else None) is not None:
                references += published.references
                continue
            runs.append(read_result(path))
            parts.append(Part(str(path), runs[-1].sweeps))
            if not runs[-1].sweeps:
                raise CommandError(
                    f"{path}: no sweep in it: mark a parametrized test with @pytest.mark.energy_sweep, and measure it "
                    "with pytest --energy --energy-json"
                )
        if references:
            parts.append(Part("the reference files", references_sweeps(references)))
    except (ReferenceFileError, ResultError, SweepError) as error:
        raise CommandError(str(error)) from error
    return parts, runs


def _conditions(options: argparse.Namespace, group: str, runs: Sequence[RunResult]) -> tuple[Condition, ...]:
    """What is asked for, else what the reports of a group were made under."""
    from pytest_joules.slo import parse_slo

    if options.slo is not None:
        return tuple(options.slo)
    asked = dict.fromkeys(run.slo for run in runs if any(sweep.group == group for sweep in run.sweeps))
    if len(asked) > 1:
        told = "; ".join(slo or "none" for slo in asked)
        raise CommandError(f"group {group!r}: the reports were made under different conditions ({told}): give --slo")
    return tuple(condition for slo in asked if slo for condition in parse_slo(slo))


def _rates(options: argparse.Namespace, told: Rates) -> Rates:
    """What is asked for, else what the reports say."""
    return Rates(
        told.price if options.price is None else options.price,
        told.carbon if options.carbon is None else options.carbon,
    )
