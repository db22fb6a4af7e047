"""The libraries that measuring a server needs, loaded when they are used."""

from __future__ import annotations

import importlib
from types import ModuleType


class ServerError(RuntimeError):
    """A server cannot be measured or loaded; the message says why and what to do."""


def httpx_module() -> ModuleType:
    """``httpx``.

    Raises:
        ServerError: if it is missing.
    """
    return _needed("httpx")


def prometheus_parser() -> ModuleType:
    """``prometheus_client.parser``.

    Raises:
        ServerError: if it is missing.
    """
    return _needed("prometheus_client.parser")


def _needed(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("_", "-")
        raise ServerError(f"energy.server needs {package}: pip install 'pytest-joules[server]'") from error
