"""``energy.server(url)``: the joules of a server in its steady state, whatever load it is under.

Without ``--energy`` it waits for the server, and nothing of what measures is imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_joules.serving.load import BUSY, LoadResult, Prompt, Spec, run
from pytest_joules.serving.requirements import ServerError, httpx_module, prometheus_parser
from pytest_joules.units import format_percent
from pytest_joules.workloads.counts import WindowError, checked_counts
from pytest_joules.workloads.work import Work

if TYPE_CHECKING:
    from pytest_joules.recorder import Recorder
    from pytest_joules.sampling import OneShot
    from pytest_joules.serving.process import ServerProcess
    from pytest_joules.serving.scrape import Scrape, Scraper
    from pytest_joules.serving.steady import SteadyWork

ASK_SECONDS = 0.5

NO_METRICS = "work was counted by the client: the server's /metrics {}"


class Server:
    """A running server, measured from entering to leaving; works with ``with`` and ``async with``."""

    def __init__(
        self,
        recorder: Recorder | None,
        url: str,
        *,
        concurrency: int | None,
        pid: int | subprocess.Popen[Any] | None,
        window: str,
        ready_seconds: float,
        configuration: Mapping[str, object] | None,
    ) -> None:
        """Made by :meth:`pytest_joules.Energy.server`."""
        if not _is_base_url(url):
            raise WindowError(f"energy.server({url!r}): write it like 'http://localhost:8000'")
        if pid is not None and not (pid > 0 if isinstance(pid, int) else isinstance(pid, subprocess.Popen)):
            raise WindowError(f"energy.server(pid={pid!r}): must be a process id, or what subprocess.Popen gave")
        if concurrency is not None and concurrency < 1:
            raise WindowError(f"energy.server(concurrency={concurrency!r}): must be a whole number of at least 1")
        self.url = url.rstrip("/").removesuffix("/v1")
        self._recorder = recorder
        self._concurrency = concurrency
        self._pid = pid
        self._window = window
        self._ready_seconds = ready_seconds
        self._configuration = {name: str(value)[:80] for name, value in (configuration or {}).items()}
        self._counted = Work()
        self._loads: list[LoadResult] = []
        self._process: ServerProcess | None = None
        self._scraper: Scraper | None = None
        self._cancelled = threading.Event()
        self._by_hand = False
        self._shot: OneShot | None = None
        self._version = ""

    def count(self, **units: float) -> None:
        """Count work by hand, for a server that tells no metrics: ``server.count(token=n, request=m)``.

        Raises:
            ValueError: for a count that is not a finite number, or below zero.
        """
        if self._recorder is not None:
            self._counted = self._counted.plus(Work(checked_counts(units)))

    def load(
        self,
        prompts: Sequence[Prompt],
        *,
        requests: int,
        max_tokens: int | Sequence[int],
        concurrency: int | None = None,
        model: str | None = None,
        stream: bool = True,
        stagger: bool = True,
        body: Mapping[str, Any] | None = None,
        records: str | Path | None = None,
    ) -> LoadResult:
        """Keep ``concurrency`` completions in flight until ``requests`` were sent, from another process.

        Args:
            prompts: Texts, or lists of token ids; taken in turn.
            requests: How many to send; several times ``concurrency``, for a steady state.
            max_tokens: New tokens of each (``ignore_eos`` is set); several numbers are taken in turn.
            concurrency: How many are in flight; that of :meth:`pytest_joules.Energy.server` if not given.
            model: The model's name; the first that the server lists if not given.
            stream: Whether tokens are sent as they come, as most clients want it; without, there are no
                latencies of tokens, and much less to do for server and client.
            stagger: Whether the first requests end one after the other, so that prefills come evenly
                from the beginning and not all at once.
            body: Further fields of each request.
            records: A file that keeps when each request's tokens came.

        Raises:
            RuntimeError: if a request failed; it says how, and whether the server died.
            ValueError: for arguments that make no sense.
        """
        concurrency = concurrency if concurrency is not None else self._concurrency
        lengths = (max_tokens,) if isinstance(max_tokens, int) else tuple(max_tokens)
        if isinstance(prompts, str):
            raise WindowError("server.load(): give a list of prompts; a text alone would be taken letter by letter")
        if concurrency is None:
            raise WindowError("server.load(): give concurrency= to it or to energy.server(...)")
        if min(requests, concurrency, *lengths, len(prompts), len(lengths)) < 1:
            raise WindowError("server.load(): prompts, requests=, max_tokens= and concurrency= must hold at least one")
        spec = Spec(self.url, prompts, requests, concurrency, lengths, model, stream, stagger, body or {})
        try:
            result = run(spec, None if records is None else Path(records))
        except ServerError as error:
            died = self._process.death() if self._process is not None else ""
            raise ServerError(f"{error}; {died}" if died else str(error)) from None
        self._loads.append(result)
        return result

    def __enter__(self) -> Server:
        if self._recorder is None or self._recorder.replays:
            self._wait_until_ready()
            if self._recorder is not None:
                self._recorder.open_steady(self._window)
            return self
        from pytest_joules.serving.process import ServerProcess, is_local
        from pytest_joules.serving.scrape import Scraper
        from pytest_joules.serving.timeline import parse

        prometheus_parser()  # a missing library is better told before the load than after it
        # A process of this machine may have an address of its own, in a container.
        if self._pid is None and not is_local(self.url):
            raise ServerError(
                f"{self.url} is not on this machine, and its GPUs cannot be measured from here; "
                "if it runs in a container of this machine, give its pid="
            )
        self._process = ServerProcess.of(self._pid)
        self._wait_until_ready()
        if died := self._process.death():
            raise ServerError(f"{died}, yet {self.url} answers: another server listens there; stop it, or correct pid=")
        if self._pid is None:
            self._process = ServerProcess.listening(self.url)
        self._version = self._told_version()
        scraper = Scraper(f"{self.url}/metrics", time.monotonic)
        try:
            if parse([scraper.first]) is None:
                # Nobody may count the tokens as they come; then the stretch is measured as one.
                self._by_hand = True
                self._shot = self._recorder.open_shot(self._window, self._process.roots)
            else:
                self._recorder.open_steady(self._window)
        except BaseException:
            scraper.stop()
            raise
        self._scraper = scraper
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        recorder = self._recorder
        scrapes = self._scraper.stop() if self._scraper is not None else []
        if recorder is None:
            return
        if kind is not None:
            recorder.break_off()
            return
        roots = self._process.roots if self._process is not None else ()
        if self._by_hand and self._shot is None:
            return  # the meter failed on entering, and the window says so
        if self._shot is not None and not self._loads and self._counted.counts:
            note = NO_METRICS.format(_missing(scrapes))
            recorder.close_shot(self._window, self._shot, self._counted, (note,))
            return
        recorder.close_steady(self._window, lambda: self._work(scrapes), roots)

    async def __aenter__(self) -> Server:
        # The server may live in this very loop.
        try:
            return await asyncio.to_thread(self.__enter__)
        finally:
            self._cancelled.set()  # no loop ends before its threads

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, tb)

    def _work(self, scrapes: Sequence[Scrape]) -> SteadyWork:
        """What the server did.

        Raises:
            NotSteady: if that cannot be known, or was not steady.
        """
        from pytest_joules.serving.steady import client_timeline, steady_work
        from pytest_joules.serving.timeline import NotSteady, parse
        from pytest_joules.workloads.vllm import OF_EACH_GPU
        from pytest_joules.workloads.vllm_settings import gpus_of_replica

        if died := self._process.death() if self._process is not None else "":
            raise NotSteady(f"{died} before the window ended; its log says why")
        timeline = parse(scrapes)
        # Of several, that of the steady state: the longest.
        load = max(self._loads, key=lambda result: result.seconds, default=None)
        notes = []
        if timeline is None:
            if load is None:
                raise NotSteady(
                    f"nothing was counted: the server's /metrics {_missing(scrapes)}; "
                    "count by hand, as in server.count(token=n), or use server.load(...)"
                )
            timeline = client_timeline(load)
            notes.append(NO_METRICS.format(_missing(scrapes)))
        elif scrapes[-1].error:
            raise NotSteady(f"the server stopped answering: /metrics {_missing(scrapes[-1:])}")
        elif self._counted.counts:
            notes.append("server.count(...) was left out: the server's own metrics count its work")
        target = self._concurrency if self._concurrency is not None or load is None else load.concurrency
        work = steady_work(timeline, target, load)
        told = self._told_configuration()
        amounts = {
            name: amount * (gpus_of_replica(told) if name in OF_EACH_GPU else 1)
            for name, amount in work.amounts.items()
        }
        if load is not None and load.busy > BUSY:
            notes.append(
                f"the load was busy for {format_percent(load.busy)} of its time and may have held the server up: "
                "compare with server.load(stream=False)"
            )
        return replace(
            work,
            amounts=amounts,
            notes=(*work.notes, *notes),
            versions={timeline.engine: self._version} if self._version and timeline.engine else {},
            configuration={
                **told,
                **({} if target is None else {"concurrency": str(target)}),
                **self._configuration,
            },
        )

    def _told_configuration(self) -> dict[str, str]:
        from pytest_joules.serving.settings import settings_in

        return settings_in(self._process.arguments()) if self._process is not None else {}

    def _wait_until_ready(self) -> None:
        httpx = httpx_module()
        deadline = time.monotonic() + self._ready_seconds
        with httpx.Client(base_url=self.url, timeout=ASK_SECONDS * 10, trust_env=False) as client:
            while last := _why_not_ready(client):
                if died := self._process.death() if self._process is not None else "":
                    raise ServerError(f"{self.url} never became ready: {died} ({last}); its log says why")
                if time.monotonic() >= deadline:
                    raise ServerError(
                        f"{self.url} did not become ready within {self._ready_seconds:g} s: {last}; "
                        "see its log, or give ready_seconds="
                    )
                if self._cancelled.wait(ASK_SECONDS):
                    raise ServerError(f"waiting for {self.url} was cancelled")

    def _told_version(self) -> str:
        with contextlib.suppress(httpx_module().HTTPError, ValueError, KeyError, TypeError):
            return str(httpx_module().get(f"{self.url}/version", timeout=5.0, trust_env=False).json()["version"])[:80]
        return ""


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return False
    return bool(fits) and not (parts.query or parts.fragment or parts.path.rstrip("/").endswith("/completions"))


def _why_not_ready(client: Any) -> str:
    """What the server said in place of being ready; empty if it is.

    A server without ``/health`` is ready once it lists its models, or wants a key for that.
    """
    path = "/health"
    try:
        status = client.get(path).status_code
        if status == 404:
            path = "/v1/models"
            status = client.get(path).status_code
    except httpx_module().HTTPError as error:
        return f"{type(error).__name__}: {error}"
    return "" if status < 400 or status in (401, 403) else f"GET {path}: HTTP {status}"


def _missing(scrapes: Sequence[Scrape]) -> str:
    last = scrapes[-1] if scrapes else None
    if last is not None and last.error:
        return f"does not answer ({last.error})"
    return "has none of the names that are known here"
