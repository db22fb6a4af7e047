"""What a server's command line tells of how it works: nothing that names a path, a host or a person."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_joules.workloads.settings import UNSET, kept
from pytest_joules.workloads.vllm_settings import SETTINGS, with_weights

_NAMES = {name: setting.name for setting in SETTINGS for name in (setting.name, *setting.paths, *setting.flags)}
"""What a command line may call each setting."""

_OF_PYTHON = ("-u", "-E", "-I", "-s", "-B", "-O")
"""Python's own flags that take no value."""

_OBJECTS = {"cc": "compilation_config", "ac": "attention_config", "sc": "speculative_config"}
"""Short flags that take JSON."""


def settings_in(arguments: Sequence[str]) -> dict[str, str]:
    """The kept settings among a command's arguments: ``--name value``, ``--name=value``, ``--name``, ``--no-name``.

    Those of a flag that takes JSON are found in it, or by their path: ``--compilation-config.cudagraph_mode NONE``.
    What is not on vLLM's command line is unset.
    """
    found: dict[str, object] = {}
    for flag, value in _flags(arguments):
        for name, given in _named(flag, value):
            if name in _NAMES:
                found[_NAMES[name]] = given
            elif name.startswith("no_") and name[3:] in _NAMES:
                found[_NAMES[name[3:]]] = False
    settings = kept(found)
    if _is_whole(arguments):
        settings |= {each.name: UNSET for each in SETTINGS if each.chosen and each.name not in found}
    return with_weights(settings)


def _is_whole(arguments: Sequence[str]) -> bool:
    """Whether that is vLLM's own command line, and no file or script holds others of its settings."""
    words = [*arguments]
    if words and re.fullmatch(r"python[\d.]*", Path(words[0]).name):
        words = [*itertools.dropwhile(_OF_PYTHON.__contains__, words[1:])]
    serves = [Path(word).name for word in words[:2]] == ["vllm", "serve"]
    module = words[:1] == ["-m"] and words[1:2] != [] and words[1].partition(".")[0] == "vllm"
    return (serves or module) and not any(word.partition("=")[0] == "--config" for word in words)


def _flags(arguments: Sequence[str]) -> Iterator[tuple[str, str | bool]]:
    for argument, following in zip(arguments, (*arguments[1:], "--"), strict=False):
        flag, given, value = argument.partition("=")
        if level := re.fullmatch(r"-O=?(\d)", argument):  # the one flag whose value may be attached
            yield "O", level[1]
        elif flag.startswith("-"):
            named = flag.lstrip("-").replace("-", "_")
            yield named, value if given else True if following.startswith("-") else following


def _named(flag: str, value: str | bool) -> Iterator[tuple[str, object]]:
    """What one flag sets, by its names: itself, or what the JSON holds that it is given."""
    short, dot, rest = flag.partition(".")
    name = _OBJECTS.get(short, short) + dot + rest
    yield name, value
    if isinstance(value, str) and value.startswith("{"):
        try:
            held = json.loads(value)
        except ValueError:
            return
        yield from ((f"{name}.{key}", inner) for key, inner in held.items())
