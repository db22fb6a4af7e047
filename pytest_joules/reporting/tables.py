"""Tables on the terminal: columns as wide as what is in them, and no wider."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import SEPARATING_LINE, DataRow, Line, TableFormat, tabulate

# tabulate makes a column two characters wider than its heading, so that headings go in as a row.
_ROW = DataRow("", "  ", "")
_FORMAT = TableFormat(None, Line("", "-", "  ", ""), None, None, _ROW, _ROW, padding=0, with_header_hide=None)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Headings, a rule and the rows, line by line."""
    return tabulate([headings, SEPARATING_LINE, *rows], tablefmt=_FORMAT, disable_numparse=True).splitlines()
