"""What an adapter is: a small file that knows one library's results and objects by their types.

Nothing here, and no adapter, imports a library: what is not loaded gave no
result.  Tests without ``--energy`` load this, so that it needs nothing but the
standard library.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_joules.latency import Timings


@dataclass(frozen=True, slots=True)
class Work:
    """What one call, or one stream, produced.

    Attributes:
        counts: Work by unit; the first unit is the one that joules are divided by if nothing else is said.
        facts: What tells whether two sessions did the same work, as amounts that add up from call to
            call, e.g. the prompt tokens that a cache served.  See :mod:`pytest_joules.facts`.
    """

    counts: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)

    def or_else(self, other: Work) -> Work:
        """This work, with what only ``other`` counted added."""
        return Work({**self.counts, **_missing(other.counts, self.counts)}, {**other.facts, **self.facts})

    def plus(self, other: Work) -> Work:
        """Both works together."""
        return Work(_sum(self.counts, other.counts), _sum(self.facts, other.facts))


def _missing(more: Mapping[str, float], known: Mapping[str, float]) -> dict[str, float]:
    return {unit: count for unit, count in more.items() if unit not in known}


def _sum(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {**a, **{name: a.get(name, 0.0) + amount for name, amount in b.items()}}


@dataclass(frozen=True, slots=True)
class Call:
    """A function and what it is called with."""

    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> Any:
        """What is called in the end: ``fn``, or what is inside :func:`functools.partial`."""
        return _unwrapped(self.fn)[0]

    @property
    def method(self) -> tuple[object, str]:
        """The object that ``fn`` is a method of, and the method's name; ``(None, "")`` for a plain function."""
        fn = self.called
        return (fn.__self__, fn.__name__) if inspect.ismethod(fn) else (None, "")

    def bound(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, those of :func:`functools.partial` included."""
        _, partials = _unwrapped(self.fn)
        args, kwargs = self.args, dict(self.kwargs)
        for partial in partials:
            args, kwargs = (*partial.args, *args), {**partial.keywords, **kwargs}
        return args, kwargs

    def objects(self) -> Iterator[object]:
        """What the call can be seen to use: the function, its object, its arguments, and what a closure names."""
        fn = self.called
        args, kwargs = self.bound()
        yield from (fn, getattr(fn, "__self__", None), *args, *kwargs.values())
        fn = inspect.unwrap(getattr(fn, "__func__", fn))  # as of torch.inference_mode()
        if inspect.isfunction(fn):
            try:
                names = inspect.getclosurevars(fn)
            except ValueError:  # a variable of the enclosing function that is not set yet
                return
            yield from (*names.nonlocals.values(), *names.globals.values())


def _unwrapped(fn: Callable[..., Any]) -> tuple[Any, list[functools.partial[Any]]]:
    """The function inside partials, and those, outermost first."""
    partials = []
    while isinstance(fn, functools.partial):
        partials.append(fn)
        fn = fn.func
    return fn, partials


@dataclass(frozen=True, slots=True)
class Split:
    """How the work of a call falls into two phases: what it does at first, and the rest.

    Attributes:
        first: The window of the first phase, e.g. ``"prefill"``.
        first_unit: What its joules are divided by if nothing else is said, e.g. ``"prompt_token"``.
        rest: The window of the rest, e.g. ``"decode"``.
        rest_unit: What its joules are divided by if nothing else is said.
        call: The same call, ended after the first phase.
    """

    first: str
    first_unit: str
    rest: str
    rest_unit: str
    call: Call


class Override:
    """An attribute of one object, replaced until it is restored."""

    def __init__(self, owner: Any, name: str, value: object) -> None:
        """Replace it now."""
        self._owner = owner
        self._name = name
        self._before = {name: vars(owner)[name]} if name in vars(owner) else {}
        setattr(owner, name, value)

    def restore(self) -> None:
        """Put back what was there, also if that was the class's."""
        delattr(self._owner, self._name)
        for name, value in self._before.items():
            setattr(self._owner, name, value)


class Watch(Protocol):
    """Looks at one object while a window is measured."""

    notes: tuple[str, ...]
    """What a reader of the number must know, such as what this object does not tell."""

    configuration: Mapping[str, str]
    """Settings of the object that are kept with a measurement."""

    timings: Timings
    """How long requests took, on ``time.monotonic()``; empty if nobody can tell."""

    def work(self) -> Work:
        """What it saw since the last time."""
        ...

    def close(self) -> None:
        """Look no more, and leave no trace on the object."""
        ...


class Stream(Protocol):
    """Adds up the items that a streaming call yields."""

    lazy: bool
    """Whether the request is sent when its first item is asked for, and not before."""

    def add(self, item: object) -> tuple[str, int] | None:
        """Take the next item; returns the request that it is of, and how many tokens of that have come, if it tells."""
        ...

    def work(self) -> Work:
        """The work of all items so far."""
        ...


class Adapter(Protocol):
    """Knows one library."""

    def count(self, result: object, call: Call | None) -> Work | None:
        """The work in ``result``, which ``call`` gave if it is known; ``None`` if it is not the library's."""
        ...

    def watch(self, call: Call) -> Watch | None:
        """Watch an object of the library that ``call`` uses; ``None`` if it uses none."""
        ...

    def stream(self, item: object) -> Stream | None:
        """Begin to count a stream whose first item is ``item``; ``None`` for a type that is not the library's."""
        ...

    def split(self, call: Call) -> Split | None:
        """The phases of ``call``; ``None`` if it is not the library's, or has none."""
        ...


def distinct(values: Iterable[Any]) -> list[Any]:
    """Every object once, in the order in which they come."""
    return list({id(value): value for value in values}.values())


def type_name(value: object) -> str:
    """The type of ``value`` as a message names it: ``package.module.Class``."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def is_a(value: object, library: str, *names: str) -> bool:
    """Whether ``value`` is of a class called one of ``names``, or derived from one, in ``library`` or below it."""
    return any(
        kind.__name__ in names and (kind.__module__ == library or kind.__module__.startswith(f"{library}."))
        for kind in type(value).__mro__
    )
