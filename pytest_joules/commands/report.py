"""``pytest-joules report``: a stored run in another format."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pytest_joules.commands.shared import FINE, CommandError, Commands, check_place, described
from pytest_joules.files import write_whole


def add(commands: Commands) -> None:
    """``report RESULT.json --to FORMAT [-o FILE]``."""
    from pytest_joules.reporting.formats import FORMATS

    parser = commands.add_parser(
        "report",
        help="turn a stored result into another format, for people or for another tool",
        usage="pytest-joules report RESULT.json --to FORMAT [-o FILE]",
        **described(
            "Turn what pytest --energy --energy-json stored into another format.\n"
            "  html        a page of its own\n"
            "  markdown    a comment for a pull or merge request, at most 65 kB\n"
            "  github      on a runner: the step's summary, and annotations as output\n"
            "  openmetrics GitLab's metrics reports, Prometheus\n"
            "  bmf         Bencher Metric Format\n"
            "  hud         records of PyTorch's benchmark database\n"
            "  csv         a row for each budget\n"
            "  junit       JUnit XML, a test case for each budget\n"
            "  custom-smaller-is-better\n"
            "              github-action-benchmark\n"
            "Without -o it goes to standard output; github appends to $GITHUB_STEP_SUMMARY\n"
            "if that is set.",
            "report energy.json --to markdown",
            "report energy.json --to openmetrics -o metrics.txt",
        ),
    )
    parser.add_argument("result", type=Path, metavar="RESULT.json", help="what --energy-json wrote")
    parser.add_argument("--to", choices=tuple(FORMATS), required=True, metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to FILE")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read the result, check it, and write it as asked."""
    from pytest_joules.reporting import github
    from pytest_joules.reporting import json as json_report
    from pytest_joules.reporting.formats import FormatError, renderer

    check_place("-o", options.output, [options.result])
    try:
        render = renderer(options.to)
        run = json_report.read(options.result)
    except (FormatError, json_report.ReportError) as error:
        raise CommandError(str(error)) from error
    summary = github.summary_file(os.environ) if options.to == "github" and options.output is None else None
    try:
        if summary is not None:
            github.append_summary(run, summary)
        elif options.output is not None:
            write_whole(render(run), options.output)
        else:
            _print(render(run))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"{summary or options.output or 'standard output'}: {error.strerror or error}") from error
    if options.to == "github":
        _print("".join(f"{line}\n" for line in github.commands(run)))
    return FINE


def _print(text: str) -> None:
    """UTF-8, whatever the locale: that is what every format here is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.flush()
