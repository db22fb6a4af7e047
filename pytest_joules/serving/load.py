"""A closed-loop load: so many requests in flight, until all were sent.

Runs in a process of its own (``python -m pytest_joules.serving.load``, a
:class:`Spec` as JSON in, the records as JSON out), so that it neither slows the
side that measures nor is slowed by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_joules.latency import Timings
from pytest_joules.serving.requirements import ServerError, httpx_module

if TYPE_CHECKING:
    import httpx

SILENCE_SECONDS = 600.0
"""A server that sends nothing for so long is taken for dead."""

MOST_ERROR_TEXT = 200
"""Characters of a server's answer that an error quotes."""

BUSY = 0.8
"""A load that takes more of its core than this may hold the server up."""

Prompt = str | Sequence[int]


@dataclass(frozen=True, slots=True)
class Spec:
    """What to send.

    Attributes:
        url: The server, without ``/v1``.
        prompts: Texts, or lists of token ids; taken in turn.
        requests: How many requests in all.
        concurrency: How many of them are in flight.
        max_tokens: New tokens of each request, taken in turn.
        model: The model's name; ``None`` to ask the server.
        stream: Whether tokens are sent as they come.
        stagger: Whether the first requests end one after the other.
        body: Further fields of each request.
    """

    url: str
    prompts: Sequence[Prompt]
    requests: int
    concurrency: int
    max_tokens: Sequence[int]
    model: str | None = None
    stream: bool = True
    stagger: bool = True
    body: Mapping[str, Any] = field(default_factory=dict)

    def tokens_of(self, number: int) -> int:
        """How many new tokens request ``number`` asks for.

        Requests of one length that begin together would end together, and all
        prefills come at once; so the first ones get shorter, evenly.
        """
        tokens = self.max_tokens[number % len(self.max_tokens)]
        if not self.stagger or number >= self.concurrency or self.requests <= self.concurrency:
            return tokens
        return max(1, math.ceil(tokens * (number + 1) / self.concurrency))


@dataclass(frozen=True, slots=True)
class Record:
    """One request; times in s on ``time.monotonic()``, which all processes of a machine share.

    Attributes:
        start: When it was sent.
        end: When its answer was complete.
        chunks: When tokens came, with how many there were by then.
        prompt_tokens: Tokens of its prompt.
        cached_prompt_tokens: How many of these a cache served; ``None`` if the server does not say.
        streamed: Whether the first of ``chunks`` is the time of the first token.
    """

    start: float
    end: float
    chunks: tuple[tuple[float, int], ...]
    prompt_tokens: int
    cached_prompt_tokens: int | None = None
    streamed: bool = True

    @property
    def tokens(self) -> int:
        """New tokens."""
        return self.chunks[-1][1]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load did.

    Attributes:
        records: One for each request, in the order of their ends.
        concurrency: How many were in flight.
        busy: Share of its core that the load itself took.
    """

    records: tuple[Record, ...]
    concurrency: int
    busy: float

    @property
    def tokens(self) -> int:
        """New tokens of all requests."""
        return sum(record.tokens for record in self.records)

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens of all requests."""
        return sum(record.prompt_tokens for record in self.records)

    @property
    def seconds(self) -> float:
        """From the first request sent to the last answer."""
        return max(r.end for r in self.records) - min(r.start for r in self.records)

    @property
    def settled(self) -> float:
        """When the requests that were in flight first had all ended (s)."""
        return max(record.end for record in sorted(self.records, key=lambda r: r.start)[: self.concurrency])

    def latencies(self, since: float = -math.inf, until: float = math.inf) -> dict[str, float]:
        """Percentiles (s) of what came in that stretch: ``ttft_p50``, ``itl_p95``, ``e2e_p99``..."""
        timings = Timings()
        for record in self.records:
            timings.add("e2e", record.end, record.end - record.start)
            if record.streamed:
                timings.add("ttft", record.chunks[0][0], record.chunks[0][0] - record.start)
                timings.add_chunks(record.chunks)
        return timings.percentiles(since, until)

    def to_json(self) -> str:
        """Everything, as :meth:`from_json` reads it."""
        records = [_fields(record) for record in self.records]
        return json.dumps({**_fields(self), "records": records}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> LoadResult:
        """What :meth:`to_json` wrote."""
        data = json.loads(text)
        records = [{**r, "chunks": tuple((time, tokens) for time, tokens in r["chunks"])} for r in data["records"]]
        return cls(tuple(Record(**record) for record in records), data["concurrency"], data["busy"])


def _fields(value: Spec | Record | LoadResult) -> dict[str, Any]:
    # dataclasses.asdict() would copy every number of a million.
    return {name: getattr(value, name) for name in value.__slots__}


def run(spec: Spec, records: Path | None = None) -> LoadResult:
    """Send a load from another process, and wait for its end; ``records`` keeps its result.

    Raises:
        ServerError: if a request failed, naming the server's answer.
    """
    httpx_module()  # a missing library is better told here, and a missing directory before the load than after it
    if records is not None:
        records.parent.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        [sys.executable, "-m", __name__], input=json.dumps(_fields(spec)), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise ServerError(ran.stdout.strip() or ran.stderr.strip() or f"the load's process {ran.returncode}")
    if records is not None:
        records.write_text(ran.stdout)
    return LoadResult.from_json(ran.stdout)


async def send(spec: Spec) -> tuple[Record, ...]:
    """Send everything that ``spec`` asks for.

    Raises:
        ServerError: at the first request that fails.
    """
    records: list[Record] = []
    numbers = iter(range(spec.requests))
    httpx = httpx_module()
    timeout = httpx.Timeout(SILENCE_SECONDS)
    key = os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        base_url=spec.url, headers=headers, timeout=timeout, limits=limits, trust_env=False
    ) as client:
        model = spec.model or await _served_model(client)
        slots = min(spec.concurrency, spec.requests)
        tasks = [asyncio.ensure_future(_slot(client, spec, model, numbers, records)) for _ in range(slots)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
    return tuple(records)


async def _served_model(client: httpx.AsyncClient) -> str:
    with _told_of("GET /v1/models"):
        response = await client.get("/v1/models")
        if response.status_code != 200:
            raise ServerError(_answer(response.status_code, response.text))
        return str(response.json()["data"][0]["id"])


async def _slot(
    client: httpx.AsyncClient, spec: Spec, model: str, numbers: Iterator[int], records: list[Record]
) -> None:
    """One of the requests in flight: as it ends, the next one is sent."""
    for number in numbers:
        body = {
            "model": model,
            "prompt": spec.prompts[number % len(spec.prompts)],
            "max_tokens": spec.tokens_of(number),
            "ignore_eos": True,
            "temperature": 0.0,
            **spec.body,
        }
        with _told_of(f"request {number} of {spec.requests}"):
            records.append(await (_streamed(client, body) if spec.stream else _whole(client, body)))


async def _whole(client: httpx.AsyncClient, body: Mapping[str, Any]) -> Record:
    start = time.monotonic()
    response = await client.post("/v1/completions", json=body)
    end = time.monotonic()
    if response.status_code != 200:
        raise ServerError(_answer(response.status_code, response.text))
    usage = response.json().get("usage") or {}
    return _record(start, end, [(end, _counted(usage))], usage, streamed=False)


async def _streamed(client: httpx.AsyncClient, body: Mapping[str, Any]) -> Record:
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = {"stream": True, "stream_options": options, **body}
    arrivals: list[tuple[float, int | None]] = []
    usage: Mapping[str, Any] = {}
    start = time.monotonic()
    async with client.stream("POST", "/v1/completions", json=body) as response:
        if response.status_code != 200:
            raise ServerError(_answer(response.status_code, (await response.aread()).decode(errors="replace")))
        async for now, chunk in _events(response):
            if "error" in chunk:
                raise ServerError(f"error in mid-stream: {str(chunk['error'])[:MOST_ERROR_TEXT]}")
            usage = chunk.get("usage") or usage
            if chunk.get("choices"):
                arrivals.append((now, chunk["usage"]["completion_tokens"] if chunk.get("usage") else None))
    end = time.monotonic()
    return _record(start, end, _cumulative(arrivals, end, _counted(usage)), usage)


async def _events(response: httpx.Response) -> AsyncIterator[tuple[float, dict[str, Any]]]:
    """The chunks of a stream of server-sent events, with when they came."""
    rest = b""
    async for data in response.aiter_bytes():
        now = time.monotonic()
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            text = line.strip()
            if text.startswith(b"data:") and text != b"data: [DONE]":
                yield now, json.loads(text[5:])


def _cumulative(arrivals: Sequence[tuple[float, int | None]], end: float, tokens: int) -> list[tuple[float, int]]:
    """When there were how many tokens, as far as the server told while it streamed; the first chunk held one at least.

    A chunk without tokens, such as one that only ends the stream, adds nothing.
    """
    told: list[tuple[float, int]] = []
    for moment, count in arrivals:
        known = 1 if count is None and not told else count
        if known is not None and known > (told[-1][1] if told else 0):
            told.append((moment, known))
    if not told or told[-1][1] < tokens:
        told.append((arrivals[-1][0] if arrivals else end, tokens))
    return told


def _counted(usage: Mapping[str, Any]) -> int:
    if "completion_tokens" not in usage:
        raise ServerError("the server's answer tells no usage, so that its tokens cannot be counted")
    return int(usage["completion_tokens"])


def _record(
    start: float, end: float, chunks: Sequence[tuple[float, int]], usage: Mapping[str, Any], *, streamed: bool = True
) -> Record:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return Record(start, end, tuple(chunks), int(usage.get("prompt_tokens", 0)), cached, streamed)


def _answer(status: int, text: str) -> str:
    advice = {401: "; set OPENAI_API_KEY to the server's key", 404: "; give the name of its model as model="}
    return f"HTTP {status}: {text.strip()[:MOST_ERROR_TEXT]}{advice.get(status, '')}"


@contextlib.contextmanager
def _told_of(request: str) -> Iterator[None]:
    """Every failure of ``request`` as a ServerError that names it."""
    try:
        yield
    except ServerError as error:
        raise ServerError(f"{request}: {error}") from error
    except httpx_module().HTTPError as error:
        raise ServerError(f"{request}: {type(error).__name__}: {str(error) or 'the connection broke'}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ServerError(f"{request}: the answer is not that of an OpenAI-compatible server: {error!r}") from error


def main() -> int:
    """Send the load that stands on standard input."""
    spec = Spec(**json.load(sys.stdin))
    started, worked = time.monotonic(), time.process_time()
    try:
        records = asyncio.run(send(spec))
    except ServerError as error:
        print(error)
        return 1
    busy = (time.process_time() - worked) / max(time.monotonic() - started, 1e-9)
    print(LoadResult(records, spec.concurrency, busy).to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
