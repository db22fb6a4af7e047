"""Tables on the terminal: columns as wide as what is in them, and no wider."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from tabulate import SEPARATING_LINE, DataRow, Line, TableFormat, tabulate

TEST = "test"
"""Heading of the column that names tests."""

# tabulate makes a column two characters wider than its heading, so that headings go in as a row.
_ROW = DataRow("", "  ", "")
_FORMAT = TableFormat(None, Line("", "-", "  ", ""), None, None, _ROW, _ROW, padding=0, with_header_hide=None)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Headings, a rule and the rows, line by line; above them the directory, file or class that all tests are in."""
    if TEST not in headings:
        return _table(headings, rows)
    at = headings.index(TEST)
    place = _place([row[at] for row in rows])
    named = [[*row[:at], row[at].removeprefix(place), *row[at + 1 :]] for row in rows]
    return [*([f"{place.rstrip('/:')}:"] if place else []), *_table(headings, named)]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return tabulate([headings, SEPARATING_LINE, *rows], tablefmt=_FORMAT, disable_numparse=True).splitlines()


def _place(tests: Sequence[str]) -> str:
    """``tests/test_llm.py::``, of all node ids the part that they share."""
    heads = (re.split(r"(?<=/)|(?<=::)", test.partition("[")[0])[:-1] for test in tests)
    return "".join(parts[0] for parts in takewhile(lambda parts: len({*parts}) == 1, zip(*heads, strict=False)))
