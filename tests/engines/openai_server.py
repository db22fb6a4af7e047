"""A stand-in for ``vllm serve``: completions and vLLM's metrics, on the simulated GPU, in a process of its own.

    python openai_server.py '{"port": 8000}'

Every step of the engine is 20 ms of declared work, and gives each running
request a token; what the server does wrong is set by its :class:`Settings`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_joules.testing import launch, synchronize

STEP_SECONDS = 0.02
BYTES_PER_SECOND = 3.0e12
BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, math.inf)


@dataclass
class Settings:
    """How this server works.

    Attributes:
        port: Where it listens.
        metrics: ``vllm``, ``none`` (no such page), ``others`` (a page without the names) or ``old`` (older names).
        max_num_seqs: Most requests that run at once.
        chunk: Tokens in a chunk of a stream.
        devices: The simulated GPUs that it works on.
        scale: Work of a step, in terms of what fills it.
        loading: Seconds of ``/health`` saying 503.
        dies_after: Tokens after which the process ends with code 3.
        restarts_after: Tokens after which the counters begin anew.
        generates: Whether tokens are made at all.
        cached: Share of the prompt tokens that the prefix cache serves.
        refuses: Whether completions are answered with 400; or ``with a page``, that of some proxy.
        engines: Engines whose metrics are told apart by a label.
        key: What ``/v1`` wants to be given; empty for nothing.
        slow: Seconds that ``/metrics`` takes.
        moved: Whether ``/metrics`` is only found behind a redirect.
    """

    port: int
    metrics: str = "vllm"
    max_num_seqs: int = 256
    chunk: int = 3
    devices: Sequence[int] = (0,)
    scale: float = 1.0
    loading: float = 0.0
    dies_after: int = 10**9
    restarts_after: int = 10**9
    generates: bool = True
    cached: float = 0.0
    refuses: bool | str = False
    engines: int = 1
    key: str = ""
    slow: float = 0.0
    moved: bool = False


@dataclass
class Request:
    """One completion that was asked for."""

    prompt_tokens: int
    max_tokens: int
    began: float = field(default_factory=time.monotonic)
    tokens: int = 0
    updates: asyncio.Queue[int] = field(default_factory=asyncio.Queue)


class Engine:
    """Steps for as long as there are requests."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self.totals = dict.fromkeys(("generation_tokens", "prompt_tokens", "request_success", "hits"), 0.0)
        self.observed = {name: [0] * len(BOUNDS) for name in ("ttft", "itl", "e2e")}
        self.ever = 0

    async def run(self) -> None:
        while True:
            while self.waiting and len(self.running) < self.settings.max_num_seqs:
                request = self.waiting.pop(0)
                self.totals["prompt_tokens"] += request.prompt_tokens
                self.totals["hits"] += self.settings.cached * request.prompt_tokens
                self.running.append(request)
            if not self.running:
                await asyncio.sleep(STEP_SECONDS / 4)
                continue
            for device in self.settings.devices:
                launch(bytes=self.settings.scale * STEP_SECONDS * BYTES_PER_SECOND, device=device)
            await asyncio.to_thread(synchronize)
            self._step()

    def _step(self) -> None:
        now = time.monotonic()
        for request in list(self.running):
            request.tokens += 1
            if self.settings.generates:
                self.totals["generation_tokens"] += 1
                self.ever += 1
            if request.tokens > 1:
                self._observe("itl", STEP_SECONDS)
            else:
                self._observe("ttft", now - request.began)
            done = request.tokens >= request.max_tokens
            if done:
                self.running.remove(request)
                self.totals["request_success"] += 1
                self._observe("e2e", now - request.began)
            if done or request.tokens == 1 or request.tokens % self.settings.chunk == 0:
                request.updates.put_nowait(request.tokens)
        if self.ever >= self.settings.dies_after:
            os._exit(3)
        if self.ever >= self.settings.restarts_after:
            self.settings.restarts_after = 10**9
            self.totals = dict.fromkeys(self.totals, 0.0)

    def _observe(self, name: str, seconds: float) -> None:
        self.observed[name] = [n + (seconds <= bound) for n, bound in zip(self.observed[name], BOUNDS, strict=True)]

    def metrics(self) -> str:
        """What vLLM 0.23 would say, as far as it is read."""
        if self.settings.metrics == "others":
            return '# HELP python_info Python platform information\npython_info{version="3"} 1.0\n'
        old = self.settings.metrics == "old"
        itl = "time_per_output_token_seconds" if old else "inter_token_latency_seconds"
        usage = "gpu_cache_usage_perc" if old else "kv_cache_usage_perc"
        lines = []
        for number in range(self.settings.engines):
            share = 1 / self.settings.engines
            labels = f'engine="{number}",model_name="stand-in"'
            gauges = {"num_requests_running": len(self.running), "num_requests_waiting": len(self.waiting)}
            lines += [f"vllm:{name}{{{labels}}} {value * share}" for name, value in gauges.items()]
            lines.append(f"vllm:{usage}{{{labels}}} 0.25")
            counters = {
                "generation_tokens": self.totals["generation_tokens"],
                "prompt_tokens": self.totals["prompt_tokens"],
                "prefix_cache_queries": self.totals["prompt_tokens"],
                "prefix_cache_hits": self.totals["hits"],
                "num_preemptions": 0.0,
            }
            lines += [f"vllm:{name}_total{{{labels}}} {value * share}" for name, value in counters.items()]
            lines += [f"vllm:{name}_created{{{labels}}} 1.7e9" for name in counters]
            for reason, value in (("length", self.totals["request_success"]), ("stop", 0.0), ("abort", 0.0)):
                lines.append(f'vllm:request_success_total{{{labels},finished_reason="{reason}"}} {value * share}')
            histograms = {"time_to_first_token_seconds": "ttft", itl: "itl", "e2e_request_latency_seconds": "e2e"}
            for name, key in histograms.items():
                for bound, count in zip(BOUNDS, self.observed[key], strict=True):
                    text = "+Inf" if math.isinf(bound) else str(bound)
                    lines.append(f'vllm:{name}_bucket{{{labels},le="{text}"}} {count * share}')
        return "\n".join(["# TYPE vllm:generation_tokens_total counter", *lines]) + "\n"


class Server:
    """Just enough of HTTP."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.began = time.monotonic()

    async def serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.settings.port)
        async with server:
            await self.engine.run()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *fields = head.decode().split("\r\n")
                method, path, _ = line.split(" ")
                lengths = [int(f.partition(":")[2]) for f in fields if f.lower().startswith("content-length:")]
                body = json.loads(await reader.readexactly(lengths[0])) if lengths and lengths[0] else {}
                key = f"bearer {self.settings.key}" if self.settings.key and path.startswith("/v1") else ""
                if key not in head.decode().lower():
                    await _send(writer, '{"error":"Unauthorized"}', 401)
                else:
                    await self._answer(method, path, body, writer)
        writer.close()

    async def _answer(self, method: str, path: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        loading = time.monotonic() - self.began < self.settings.loading
        if path == "/health":
            await _send(writer, "", 503 if loading else 200)
        elif path == "/metrics" and self.settings.moved:
            await _send(writer, "", 307, "Location: /metrics/\r\n")
        elif path.rstrip("/") == "/metrics" and self.settings.metrics != "none":
            await asyncio.sleep(self.settings.slow)
            await _send(writer, self.engine.metrics())
        elif path == "/version":
            await _send(writer, json.dumps({"version": "0.23.0"}))
        elif path == "/v1/models":
            await _send(writer, json.dumps({"data": [{"id": "stand-in"}]}))
        elif (method, path) == ("POST", "/v1/completions"):
            if self.settings.refuses == "with a page":
                await _send(writer, "data: <html>\n")
            elif self.settings.refuses:
                await _send(writer, json.dumps({"error": {"message": "prompt is too long"}}), 400)
            else:
                await self._complete(body, writer)
        else:
            await _send(writer, '{"detail":"Not Found"}', 404)

    async def _complete(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        request = Request(len(body["prompt"]), body["max_tokens"])
        self.engine.waiting.append(request)
        options = body.get("stream_options", {}) if body.get("stream") else {}
        if body.get("stream"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        tokens = 0
        while tokens < request.max_tokens:
            tokens = await request.updates.get()
            if body.get("stream"):
                chunk: dict[str, Any] = {"object": "text_completion", "choices": [{"index": 0, "text": "x"}]}
                if options.get("continuous_usage_stats"):
                    chunk["usage"] = self._usage(request, tokens)
                _event(writer, json.dumps(chunk))
                await writer.drain()
        if not body.get("stream"):
            answer = {"choices": [{"text": "x"}], "usage": self._usage(request, tokens)}
            await _send(writer, json.dumps(answer))
            return
        if options.get("include_usage"):
            _event(writer, json.dumps({"choices": [], "usage": self._usage(request, tokens)}))
        _event(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _usage(self, request: Request, tokens: int) -> dict[str, int]:
        made = tokens if self.settings.generates else 0
        return {"prompt_tokens": request.prompt_tokens, "completion_tokens": made}


def _event(writer: asyncio.StreamWriter, data: str) -> None:
    event = f"data: {data}\n\n".encode()
    writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")


async def _send(writer: asyncio.StreamWriter, text: str, status: int = 200, fields: str = "") -> None:
    body = text.encode()
    writer.write(f"HTTP/1.1 {status} -\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()


if __name__ == "__main__":
    asyncio.run(Server(Settings(**json.loads(sys.argv[1]))).serve())
