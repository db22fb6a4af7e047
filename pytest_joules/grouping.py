"""Sweeps: what ``energy_sweep`` markers say, and which tests are the points of one group.  Pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from numbers import Number
from string import Formatter
from typing import Any

from pytest_joules.arguments import MarkerError, by_name, name_of, truth_of
from pytest_joules.slo import LATENCIES, is_latency

_KEYWORDS = ("latency", "unit", "window", "default")

TEST = "test"
"""The setting that tells apart the tests that a group spans."""

LONGEST_SETTING = 80
"""Characters of a parameter that is named by its text; a longer one, such as a prompt, is named by its id."""


@dataclass(frozen=True, slots=True)
class EnergySweep:
    """What the markers of one test say.

    Attributes:
        group: The sweep's name; ``None`` for the test function's.  ``{prompt}`` in it stands for a parameter, each
            value of which makes a sweep of its own.
        latency: The latency that joules are weighed against, e.g. ``itl_p95``.
        unit: The unit of work; ``None`` for the one that the window counts first.
        window: The window to take; ``None`` for the main one, else the test's only one.
        default: How many markers, such as those of several parameters, say that this is the configuration in use today.
    """

    group: str | None = None
    latency: str = "call"
    unit: str | None = None
    window: str | None = None
    default: int = 0

    @classmethod
    def from_markers(cls, marks: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]) -> EnergySweep:
        """Check and merge the arguments of a test's markers, the closest first.

        Raises:
            MarkerError: naming the argument, the text at fault and the fix.
        """
        given: dict[str, Any] = {}
        defaults = 0
        for args, kwargs in reversed(marks):
            its = by_name(args, kwargs, "group", _KEYWORDS)
            given |= its
            default = truth_of("default", its.get("default", False))
            defaults = defaults + default if given.get("default") else 0
        group, unit, window = (name_of(name, given.get(name)) for name in ("group", "unit", "window"))
        return cls(group, _latency(given.get("latency", "call")), unit, window, defaults)


def _latency(value: object) -> str:
    if not isinstance(value, str) or not is_latency(value):
        names = ", ".join(LATENCIES)
        raise MarkerError(f"latency={value!r} is no latency: use one of {names}, each also with a percentile (itl_p95)")
    return value


@dataclass(frozen=True, slots=True)
class Member:
    """One test, as a point of its group.

    Attributes:
        test: Its node id.
        function: The same without parameters.
        marked: What its markers say.
        settings: Its parameters as text, by name.
    """

    test: str
    function: str
    marked: EnergySweep
    settings: Mapping[str, str]

    @property
    def group(self) -> str:
        """The name of its sweep."""
        return self.marked.group or self.function


def settings_of(params: Mapping[str, object], identity: str) -> dict[str, str]:
    """A test's parameters as text.

    A mapping tells its own settings by their names, those that are taken behind its own name: a parameter's name is
    its own, wherever it stands.  What has no good text is named by its part of the test's id.

    Args:
        params: By argument or fixture.
        identity: The id that pytest gave the parameters, as it stands in the node id.
    """
    parts = identity.split("-")
    names = dict(zip(params, parts, strict=True)) if len(parts) == len(params) else dict.fromkeys(params, identity)
    settings: dict[str, str] = {}
    for name, value in params.items():
        inner = value if isinstance(value, Mapping) and value else {name: value}
        for key, each in inner.items():
            taken = str(key) in settings or str(key) in params.keys() - {name}
            settings[f"{name}.{key}" if taken else str(key)] = _text(each) or names[name]
    return settings


def _text(value: object) -> str:
    """What says all of a value; empty if nothing short does."""
    if isinstance(value, Enum):
        return str(value.name)
    plain = value is None or isinstance(value, (str, Number))
    text = str(value) if plain else ""
    return text if text.isprintable() and len(text) <= LONGEST_SETTING else ""


def grouped(members: Sequence[Member]) -> dict[str, tuple[Member, ...]]:
    """The members of each group, in their order, with one default at most, and settings that tell them apart.

    Raises:
        MarkerError: naming the tests at fault, for units, windows or latencies mixed in a group, two defaults, and two
            points with one name or with the same settings.
    """
    groups: dict[str, list[Member]] = defaultdict(list)
    for member in map(_told_by_group, members):
        groups[member.group].append(member)
    return {group: tuple(_settled(found)) for group, found in groups.items()}


def _told_by_group(member: Member) -> Member:
    """With its own parameters in the group's name; those that the name tells are no settings in the group.

    Raises:
        MarkerError: if the name holds what is no parameter.
    """
    name, settings = member.marked.group, member.settings
    if name is None:
        return member
    try:
        group, told = name.format_map(settings), {field for _, field, _, _ in Formatter().parse(name)}
    except (LookupError, ValueError, AttributeError, TypeError):
        known = ", ".join(settings) or "none"
        raise MarkerError(
            f"{member.test}: group={name!r}: the test's parameters are {known}; write {{{{ for a brace"
        ) from None
    left = {setting: text for setting, text in settings.items() if setting not in told}
    return replace(member, settings=left, marked=replace(member.marked, group=group))


def _settled(members: Sequence[Member]) -> list[Member]:
    first = members[0]
    for argument in ("latency", "unit", "window"):
        for member in members:
            one, other = getattr(first.marked, argument), getattr(member.marked, argument)
            if one != other:
                raise MarkerError(
                    f"{member.test}: {argument}={other!r}, but {first.test} of the same group {first.group!r} has "
                    f"{argument}={one!r}: give both the same, or each a group of its own"
                )
    named = _with_test_names(members)
    _refuse_twins(named, "name", lambda member: member.test)
    _refuse_twins(named, "settings", lambda member: str(dict(sorted(member.settings.items()))))
    return _with_default(named)


def _refuse_twins(members: Sequence[Member], what: str, of: Callable[[Member], str]) -> None:
    seen: dict[str, str] = {}
    for member in members:
        if (told := of(member)) in seen:
            raise MarkerError(
                f"{member.test} and {seen[told]} of group {member.group!r} have the same {what}, {told}: "
                "no report could tell one from the other"
            )
        seen[told] = member.test


def _with_test_names(members: Sequence[Member]) -> list[Member]:
    """With the test's name among the settings, where the group spans several."""
    functions = list(dict.fromkeys(member.function for member in members))
    if len(functions) == 1:
        return list(members)
    short = {function: function.rpartition("::")[2] for function in functions}
    names = short if len({*short.values()}) == len(functions) else {function: function for function in functions}
    return [replace(member, settings={TEST: names[member.function], **member.settings}) for member in members]


def _with_default(members: Sequence[Member]) -> list[Member]:
    """With one default at most.

    It is the one that is marked, by most of its parameters if several are; else the only one without parameters beside
    others that have some.
    """
    most = max(member.marked.default for member in members)
    defaults = [member for member in members if member.marked.default == most > 0]
    if len(defaults) > 1:
        raise MarkerError(
            f"{defaults[0].test} and {defaults[1].test} are both the default of group {defaults[0].group!r}: mark one "
            "value of each parameter, as in pytest.param(256, marks=pytest.mark.energy_sweep(default=True))"
        )
    plain = [member for member in members if member.test == member.function]
    if not defaults and len(plain) == 1 and len(members) > 1:
        defaults = plain
    return [replace(member, marked=replace(member.marked, default=int(member in defaults))) for member in members]
