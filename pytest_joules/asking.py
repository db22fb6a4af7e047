"""Asking the hooks that conftests and plugins implement.

What a hook raises is its own fault, pytest's outcomes (``pytest.skip``, ``pytest.fail``...) and ``SystemExit`` too:
none stands in the place of a verdict.  Only ``KeyboardInterrupt`` and ``pytest.exit``, which end the run, go through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from textwrap import shorten
from typing import Any

import pytest

from pytest_joules.codec import CodecError, one_line
from pytest_joules.places import shown

ENDS_RUN = (KeyboardInterrupt, pytest.exit.Exception)
"""What a hook raises to end the run, and not only itself."""

LONGEST_FAULT = 500
"""Characters of what a hook raised."""


class HookFault(Exception):
    """A hook that raised instead of giving what a number rests on; the message names it."""


def ask_first(config: pytest.Config, name: str, /, **given: Any) -> Any:
    """What the first plugin gives that gives anything, of what the run cannot do without.

    Raises:
        HookFault: if one raises.
    """
    hook = getattr(config.hook, name)
    try:
        return hook(**given)
    except ENDS_RUN:
        raise
    except BaseException as error:
        raise HookFault(_fault(config, name, (found.plugin for found in hook.get_hookimpls()), error)) from error


def ask_each(
    config: pytest.Config, name: str, take: Callable[[list[Any]], object] = lambda _: None, /, **given: Any
) -> list[str]:
    """Ask every plugin by itself, so that a fault has a name and keeps no other from being asked.

    Each has a copy of its own of what is ``given``: what it changes there, it changes for itself.

    Args:
        config: Of the run.
        name: The hook's.
        take: Takes what one plugin gave; it may raise CodecError.
        given: Values of the model.

    Returns:
        The faults, a line each.
    """
    manager = config.pluginmanager
    plugins = [found.plugin for found in reversed(getattr(config.hook, name).get_hookimpls())]  # as pytest asks them
    faults = []
    for plugin in plugins:
        alone = manager.subset_hook_caller(name, [other for other in plugins if other is not plugin])
        try:
            take(alone(**deepcopy(given)))
        except ENDS_RUN:
            raise
        except BaseException as error:
            faults.append(_fault(config, name, [plugin], error))
    return faults


def _fault(config: pytest.Config, name: str, plugins: Iterable[object], error: BaseException) -> str:
    names = [config.pluginmanager.get_name(plugin) or "?" for plugin in plugins]
    of = ", ".join(shown(Path(plugin), config.rootpath) for plugin in names)
    what = str(error) if isinstance(error, CodecError) else f"{type(error).__name__}: {error}"
    return f"{name} of {of}: {shorten(one_line(what), LONGEST_FAULT)}"
