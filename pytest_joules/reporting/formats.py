"""Every format that a stored run can be turned into: each a module of this package with ``render(run) -> str``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
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

EXTRAS: Mapping[str, str] = {"html": "html"}
"""The extra of this package that a format needs."""


class FormatError(Exception):
    """A format that cannot be written here; the message says what to install."""


def renderer(name: str) -> Render:
    """The function that writes a format; its module is loaded now.

    Raises:
        FormatError: if what the format needs is not installed.
    """
    try:
        module = import_module(f"pytest_joules.reporting.{FORMATS[name]}")
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(name)
        if extra is None:
            raise
        raise FormatError(f"{name} needs {error.name}: pip install 'pytest-joules[{extra}]'") from error
    return cast("Render", module.render)
