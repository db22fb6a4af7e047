"""Counting the work of one window: with the adapters, the user's hook, and what the test declares."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any, TypeVar

from pytest_joules.latency import Timings
from pytest_joules.workloads.counts import WindowError, checked_counts
from pytest_joules.workloads.work import Adapter, Call, Stream, Watch, Work, is_a, type_name

T = TypeVar("T")
Declared = Mapping[str, float] | Callable[[Any], Mapping[str, float]]
"""Work of one call by unit, or a function of the call's result that gives it."""

Hook = Callable[[object, Call | None], object]
"""Counts the work of a result, and of the call that gave it if it is known."""

NO_CALL = Call(lambda: None)
"""Stands for the stretch of a test, of which nobody knows what it calls."""

_LOOKED_AT = 8
"""Items of a container whose types are looked at: the others are of the same kind."""


class Observer:
    """Counts what the calls of one window produced."""

    def __init__(
        self,
        adapters: Sequence[Adapter],
        hook: Hook,
        call: Call = NO_CALL,
        declared: Declared | None = None,
        natural: str = "call",
    ) -> None:
        """Begin to watch what ``call`` uses.

        Args:
            adapters: Those of all libraries.
            hook: Counts for the user, as ``pytest_joules_count_work`` does.
            call: What will be called.
            declared: The work that the test declares; it wins over all others for the units that it names.
            natural: The unit that comes first, if it is counted at all.
        """
        self._adapters = adapters
        self._hook = hook
        self._declared = declared
        self._natural = natural
        watches = [adapter.watch(call) for adapter in adapters]
        self._watches: list[Watch] = [watch for watch in watches if watch is not None]
        self._streamed = Timings()
        self.unknown = ""
        """The latest result's type, if nobody knew it."""

    def work(self, result: object, call: Call | None = None) -> Work:
        """The work of ``call``, which gave ``result``.

        Raises:
            WindowError: if the declared work or the hook's is not a mapping of names to numbers.
        """
        work = _declared(self._declared, result).or_else(self._hooked(result, call))
        work = work.or_else(self._counted(result, call))
        work = work.or_else(self.watched())
        if self._natural in work.counts:
            work = Work({self._natural: work.counts[self._natural]}, {}).or_else(work)
        known = bool(work.counts) or _tells_of_no_work(result)
        self.unknown = "" if known else type_name(result)
        return work

    def watched(self) -> Work:
        """What was seen of the work since the last time."""
        return functools.reduce(Work.or_else, (watch.work() for watch in self._watches), Work())

    def _hooked(self, result: object, call: Call | None) -> Work:
        counted = self._hook(result, call)
        return Work() if counted is None else Work(checked_counts(counted, "what pytest_joules_count_work returned,"))

    def _counted(self, result: object, call: Call | None) -> Work:
        found = (adapter.count(result, call) for adapter in self._adapters)
        return next((work for work in found if work is not None), Work())

    def stream(self) -> CountedStream:
        """What adds up the work in a stream's items."""
        return CountedStream(self._adapters, self._streamed)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the number must know."""
        unknown = f"nobody knows what work a {self.unknown} is: it counts as one 'call'; declare it with work="
        return (*((unknown,) if self.unknown else ()), *(note for watch in self._watches for note in watch.notes))

    @property
    def configuration(self) -> dict[str, str]:
        """Settings of what was watched; the first adapter that knows one knows it best."""
        return {name: value for watch in reversed(self._watches) for name, value in watch.configuration.items()}

    def latencies(self, since: float, until: float) -> dict[str, float]:
        """Percentiles (s) of what was over between two times; the first adapter that knows one knows it best."""
        known = (self._streamed, *(watch.timings for watch in reversed(self._watches)))
        return {name: told for timings in known for name, told in timings.percentiles(since, until).items()}

    def close(self) -> None:
        """Stop watching."""
        while self._watches:
            self._watches.pop().close()


def _tells_of_no_work(result: object) -> bool:
    """Whether a call is all that there is to count: ``None``, numbers, arrays, and what holds nothing else."""
    if is_a(result, "transformers", "ModelOutput"):  # of a forward; may hold a cache, too
        return True
    if isinstance(result, Mapping):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return all(map(_tells_of_no_work, result[:_LOOKED_AT]))
    arrays = (("torch", "Tensor"), ("numpy", "ndarray"), ("numpy", "generic"), ("jaxlib", "ArrayImpl"))
    return result is None or isinstance(result, Number) or any(is_a(result, *array) for array in arrays)


def _declared(declared: Declared | None, result: object) -> Work:
    return Work() if declared is None else Work(checked_counts(declared(result) if callable(declared) else declared))


class CountedStream:
    """Passes a stream's items on, adds up the work in them, and times its requests as who takes the items sees them."""

    def __init__(self, adapters: Sequence[Adapter], timings: Timings) -> None:
        """Which adapter knows the items is seen from the first; ``timings`` takes how long requests took."""
        self._adapters = adapters
        self._timings = timings
        self._stream: Stream | None = None
        self._chunks: dict[str, list[tuple[float, int]]] = {}
        self._closed = False

    def through(self, items: Iterator[T]) -> Iterator[T]:
        """The same items, counted."""
        begun = time.monotonic()
        for item in items:
            self._add(item)
            yield item
        self._time(begun)

    async def through_async(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """The same items, counted."""
        begun = time.monotonic()
        async for item in items:
            self._add(item)
            yield item
        self._time(begun)

    def close(self) -> None:
        """The window has ended: a later item is refused."""
        self._closed = True

    def work(self) -> Work:
        """The work of all items so far."""
        return Work() if self._stream is None else self._stream.work()

    def _add(self, item: object) -> None:
        if self._closed:
            raise WindowError("a stream goes on after its window has ended: consume it inside the window")
        if self._stream is None:
            begun = (adapter.stream(item) for adapter in self._adapters)
            self._stream = next((stream for stream in begun if stream is not None), None)
        if self._stream is None:
            raise WindowError(
                f"nobody knows how to count a stream of {type_name(item)}: "
                "consume it and count what it held, as in window.count(token=n)"
            )
        told = self._stream.add(item)
        if told is not None and told[1] > 0:
            request, tokens = told
            self._chunks.setdefault(request, []).append((time.monotonic(), tokens))

    def _time(self, begun: float) -> None:
        """The stream, of which the first item was asked for then, is at its end."""
        for chunks in self._chunks.values():
            self._timings.add_chunks(chunks)
            if self._stream is not None and self._stream.lazy:
                (first, _), (last, _) = chunks[0], chunks[-1]
                self._timings.add("ttft", first, first - begun)
                self._timings.add("e2e", last, last - begun)
