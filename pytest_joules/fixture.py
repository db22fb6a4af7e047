"""The ``energy`` fixture: what a test calls.

Without ``--energy`` it runs everything once and measures nothing; nothing
outside the standard library is imported then.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from numbers import Integral, Real
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from pytest_joules.workloads.counts import WindowError, checked_counts, refuse_undone
from pytest_joules.workloads.observer import CountedStream, Declared
from pytest_joules.workloads.work import Call, Work

if TYPE_CHECKING:
    import subprocess

    from pytest_joules.model import Measurement
    from pytest_joules.recorder import Recorder
    from pytest_joules.sampling import OneShot, Sampler
    from pytest_joules.serving.server import Server

# What a measured function raises is read in the test's lines: pytest leaves a module's own out of a traceback by this.
__tracebackhide__ = True

READY_SECONDS = 600.0
"""How long a server may take until it answers: loading a large model and capturing its graphs takes minutes."""

P = ParamSpec("P")
T = TypeVar("T")
Stream = TypeVar("Stream", bound="Iterator[Any] | AsyncIterator[Any]")


class Energy:
    """Measures the GPU joules of what one test does.

    Attributes:
        extra_info: JSON values to keep in the reports beside this test's numbers.
    """

    def __init__(self, recorder: Recorder | None) -> None:
        """Tests get one from the fixture; ``recorder`` is ``None`` without ``--energy``."""
        self._recorder = recorder
        self.extra_info: dict[str, Any] = {}

    def __call__(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``fn`` until its joules are decided, and return the last call's result.

        What is to be awaited is measured the same way: ``await energy(fn, ...)``.
        """
        return self.repeat(fn, args, kwargs)

    def repeat(
        self,
        fn: Callable[..., T],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        work: Declared | None = None,
        setup: Callable[[], Any] | None = None,
        rounds: int | None = None,
        warmup: int | None = None,
        max_seconds: float | None = None,
        window: str = "main",
    ) -> T:
        """The explicit form of calling the fixture.

        Args:
            fn: What to measure; called again and again, without a gap.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            work: What one call produces, by unit, e.g. ``{"token": 512}``; or a function of the result.
            setup: Called before every call, inside the measured stretch (joules cannot be split finer
                than a tick of the counter), so keep it cheap; may return ``(args, kwargs)`` for the call.
            rounds: Exactly so many measured calls, instead of as many as the verdict takes.
            warmup: Exactly so many warm-up calls, instead of warming up until power is steady.
            max_seconds: Most seconds of measuring, instead of ``--energy-max-seconds``.
            window: The window's name; a test that measures several names each.

        Returns:
            The last call's result.

        Raises:
            ValueError: for a window measured twice or inside another, arguments out of range, work
                that is not counts, and a result that is still to be consumed (a generator).
        """
        _check_number("rounds", rounds, 1, whole=True)
        _check_number("warmup", warmup, 0, whole=True)
        _check_number("max_seconds", max_seconds, 0, whole=False)
        calls = _Calls(Call(fn, tuple(args), dict(kwargs or {})), setup)
        recorder = self._recorder
        sampler = recorder.sampler(window, calls.latest, work, rounds, warmup, max_seconds) if recorder else None
        return cast("T", self._repeated(calls, sampler, window))

    def _repeated(self, calls: _Calls, sampler: Sampler | None, window: str) -> Any:
        run = _Run(self._recorder, sampler, window, calls)
        with run.broken_off_by_errors():
            result = calls()
            # Not every function that is to be awaited is a coroutine function: its result tells.
            if inspect.isawaitable(result):
                return _repeat_async(result, calls, run)
            while run.take(result):
                result = calls()
            return result

    def phases(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Measure ``fn`` as calling the fixture does, and its two phases apart.

        The first phase is measured by itself, then the whole call; the other phase is the difference.
        For text they are the windows ``"prefill"`` (joules per prompt token: the same prompts with one new
        token each) and ``"decode"`` (joules per further output token); for diffusion pipelines ``"denoise"`` and
        ``"vae_decode"``.  Each can have a budget: ``energy_budget(..., window="prefill")``.

        Returns:
            The last whole call's result.

        Raises:
            ValueError: with ``--energy``, if ``fn`` is not a call whose phases are known.
        """
        recorder = self._recorder
        if recorder is None:
            return self.repeat(fn, args, kwargs)
        whole = Call(fn, args, dict(kwargs))
        split = recorder.split(whole)
        # The whole comes last, since it is then that the rest is known, and can ask for more calls.
        for window, call in ((split.first, split.call), ("main", whole)):
            result = self._repeated(_Calls(call, None), recorder.sampler(window, call, split=split), window)
        recorder.add_rest(split)
        return cast("T", result)

    def window(self, name: str) -> Window:
        """Measure a stretch of the test once: ``with energy.window("prefill") as window: ...``.

        Also works with ``async with``.
        """
        return Window(self._recorder, name)

    def server(
        self,
        url: str,
        *,
        concurrency: int | None = None,
        pid: int | subprocess.Popen[Any] | None = None,
        window: str = "main",
        ready_seconds: float = READY_SECONDS,
        configuration: Mapping[str, object] | None = None,
    ) -> Server:
        """Measure a running server in its steady state, under whatever load the test gives it meanwhile.

        ``with energy.server("http://localhost:8000", concurrency=64): ...``, or ``async with``.  Work is counted by
        the server's own metrics, between the time at which its batch is full and that at which it drains.
        Charged are the GPUs of the server's process tree.

        Args:
            url: Where it listens, on this machine; it is waited for.
            concurrency: How many requests the load keeps in flight, and so a full batch; the plateau that is
                found if not given.
            pid: The server's process, if the test knows it; else it is found by its port.
            window: The window's name.
            ready_seconds: Longest wait until it answers.
            configuration: Settings to keep with the measurement.

        Raises:
            RuntimeError: on entering, if the server does not become ready, dies, or is not on this machine.
            ValueError: for arguments that make no sense.
        """
        from pytest_joules.serving.server import Server

        return Server(
            self._recorder,
            url,
            concurrency=concurrency,
            pid=pid,
            window=window,
            ready_seconds=ready_seconds,
            configuration=configuration,
        )

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What was measured so far, in order; empty without ``--energy``."""
        return tuple(self._recorder.measurements) if self._recorder else ()

    @property
    def joules(self) -> float:
        """Joules of all measured blocks so far; 0 without ``--energy``."""
        return sum(measurement.joules for measurement in self.measurements)


class Window:
    """One measured stretch; count the work that it did with :meth:`count`."""

    def __init__(self, recorder: Recorder | None, name: str) -> None:
        """Made by :meth:`Energy.window`."""
        self.name = name
        self._recorder = recorder
        self._shot: OneShot | None = None
        self._work = Work()
        self._streams: list[CountedStream] = []

    def count(self, *results: object, **units: float) -> None:
        """Add to the work that this window did.

        Args:
            results: What calls returned, of types that an adapter or the hook knows: ``window.count(outputs)``.
            units: Work by unit: ``window.count(token=512)``.

        Raises:
            ValueError: for a count that is not a finite number, or below zero, for ``call``, and for a
                result of a type that nobody knows.
        """
        if self._recorder is None:
            return
        for result in results:
            refuse_undone(result)
            self._add(self._recorder.work_of(result))
        self._add(Work(checked_counts(units)))

    def stream(self, items: Stream) -> Stream:
        """Count what a stream yields: ``async for output in window.stream(engine.generate(...))``.

        Tokens are counted from what the items say, never from their number:
        one may hold several.  Several streams may run at once.

        Args:
            items: An iterator, or an asynchronous one, of vLLM's outputs or of chunks of an OpenAI-compatible
                server that tell their usage.

        Returns:
            An iterator of the same items, of the same kind.

        Raises:
            ValueError: if ``items`` is neither, or, while it is consumed, if nobody can count its items.
        """
        if not isinstance(items, (Iterator, AsyncIterator)):
            raise WindowError(f"window.stream({type(items).__qualname__}): give it what 'for' or 'async for' consumes")
        if self._recorder is None:
            return items
        counted = self._recorder.stream()
        self._streams.append(counted)
        through = counted.through if isinstance(items, Iterator) else counted.through_async
        return cast("Stream", through(cast("Any", items)))

    def _add(self, work: Work) -> None:
        self._work = self._work.plus(work)

    def __enter__(self) -> Window:
        if self._recorder is not None:
            self._shot = self._recorder.open_shot(self.name)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._recorder is None or self._shot is None:
            return
        if kind is None:
            for stream in self._streams:
                stream.close()
                self._add(stream.work())
            self._recorder.close_shot(self.name, self._shot, self._work)
        else:
            self._recorder.break_off()

    async def __aenter__(self) -> Window:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, tb)


class _Calls:
    """Makes the calls of one window."""

    def __init__(self, call: Call, setup: Callable[[], Any] | None) -> None:
        self._call = call
        self._setup = setup
        self.latest = call

    def __call__(self) -> Any:
        prepared = self._setup() if self._setup is not None else None
        if prepared is not None:
            if not (isinstance(prepared, Sequence) and len(prepared) == 2):
                raise WindowError(f"setup gave {prepared!r:.60}: it may return (args, kwargs) for the call, or None")
            args, kwargs = prepared
            self.latest = Call(self._call.fn, tuple(args), dict(kwargs))
        return self.latest.fn(*self.latest.args, **self.latest.kwargs)


class _Run:
    """Feeds the results of calls to the sampler; without one it wants a single call."""

    def __init__(self, recorder: Recorder | None, sampler: Sampler | None, window: str, calls: _Calls) -> None:
        self._recorder = recorder
        self._sampler = sampler
        self._window = window
        self._calls = calls

    def take(self, result: Any) -> bool:
        """Take one call's result; whether another call is wanted."""
        refuse_undone(result)
        if self._recorder is None or self._sampler is None:
            return False  # unmeasured, or the meter failed: the test goes on
        return self._recorder.take(self._sampler, self._window, self._calls.latest, result)

    @contextlib.contextmanager
    def broken_off_by_errors(self) -> Generator[None]:
        """A test that catches the error may measure another window."""
        try:
            yield
        except BaseException:
            if self._recorder is not None:
                self._recorder.break_off()
            raise


async def _repeat_async(first: Awaitable[Any], calls: _Calls, run: _Run) -> Any:
    with run.broken_off_by_errors():
        result = await first
        while run.take(result):
            result = await calls()
        return result


def _check_number(name: str, value: float | None, least: int, *, whole: bool) -> None:
    what, fits = ("whole number", isinstance(value, Integral)) if whole else ("number", isinstance(value, Real))
    if value is not None and not (fits and least <= value < math.inf):
        raise ValueError(f"energy.repeat({name}={value!r}): must be a {what} of at least {least}")
