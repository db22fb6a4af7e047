"""Every format that a stored run can be turned into: each a module of this package with ``render(run) -> str``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from pytest_joules.model import RunResult

Render = Callable[[RunResult], str]

FORMATS: Mapping[str, str] = {
    "html": "html",
    "markdown": "markdown",
    "github": "github",
    "openmetrics": "openmetrics",
    "bmf": "bmf",
    "hud": "hud",
    "csv": "csv",
    "junit": "junit",
    "custom-smaller-is-better": "smaller_is_better",
}
"""What a format is called, and the module that writes it."""

EXTRAS: Mapping[str, Sequence[str]] = {"html": ("jinja2", "plotly")}
"""What a format needs that only the extra of its name installs."""


class FormatError(Exception):
    """A format that cannot be written here; the message says what to install."""


def renderer(name: str) -> Render:
    """The function that writes a format; its module is loaded now.

    Raises:
        FormatError: if what the format needs is not installed.
    """
    check(name)
    return cast("Render", import_module(f"pytest_joules.reporting.{FORMATS[name]}").render)


def check(name: str) -> None:
    """See that a format can be written here, without loading what it needs.

    Raises:
        FormatError: if it cannot.
    """
    if lacking := [needed for needed in EXTRAS.get(name, ()) if find_spec(needed) is None]:
        raise FormatError(f"{name} needs {lacking[0]}: pip install 'pytest-joules[{name}]'")
