"""What the ``openai`` client gives: tokens by the usage that the server states, never by the number of chunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pytest_joules.workloads.counts import WindowError
from pytest_joules.workloads.work import Call, Work, is_a

_RESULTS = ("Completion", "ChatCompletion", "ChatCompletionChunk", "Response")
_EVENTS = ("ResponseCreatedEvent",)
_UNFINISHED = (None, "abort", "error", "queued", "in_progress", "cancelled", "failed")
"""Reasons to finish, and states of a ``Response``, of a request that did not come to its own end."""


class OpenAiAdapter:
    """Results of ``completions``, ``chat.completions`` and ``responses``, whole or streamed."""

    def count(self, result: object, call: Call | None) -> Work | None:
        """Tokens and requests of a result, of a list of them, or of a consumed stream's chunks."""
        del call
        results: Sequence[Any] = result if isinstance(result, (list, tuple)) else (result,)
        if not results or not is_a(results[0], "openai", *_RESULTS, *_EVENTS):
            return None
        stream = ChunkStream()
        for item in results:
            stream.add(item)
        return stream.work()

    def watch(self, call: Call) -> None:
        """The engine is in another process: see :meth:`pytest_joules.Energy.server`."""

    def stream(self, item: object) -> ChunkStream | None:
        """Count the chunks of ``create(..., stream=True)``."""
        return ChunkStream() if is_a(item, "openai", *_RESULTS, *_EVENTS) else None

    def split(self, call: Call) -> None:
        """A server does both phases at once."""


class ChunkStream:
    """Adds up results, and chunks of results; all chunks of one have its id.

    Some servers give the same id to several: a whole one after a whole one is another.
    """

    lazy = False

    def __init__(self) -> None:
        """No chunk was seen yet."""
        self._answers: list[_Answer] = []
        self._latest: dict[str, _Answer] = {}

    def add(self, item: Any) -> tuple[str, int] | None:
        """Take the next result, chunk or event."""
        # Events of the Responses API hold the whole response where it begins and where it ends.
        whole = item if is_a(item, "openai", *_RESULTS) else getattr(item, "response", None)
        if whole is None:
            return None
        if whole.id not in self._latest or self._latest[whole.id].ends_before(whole):
            self._answers.append(_Answer())
            self._latest[whole.id] = self._answers[-1]
        self._latest[whole.id].add(whole)
        tokens = self._latest[whole.id].told
        return None if tokens is None else (whole.id, tokens)

    def work(self) -> Work:
        """The work of all that was seen.

        Raises:
            WindowError: if its tokens cannot be known.
        """
        answers = self._answers
        counts = {
            "token": float(sum(answer.tokens for answer in answers)),
            "prompt_token": float(_sum(answer.prompt_tokens for answer in answers) or 0.0),
            "request": float(len(answers)),
        }
        facts = {"finished_request": float(sum(answer.finished for answer in answers))}
        if (cached := _sum(answer.cached for answer in answers)) is not None:
            facts["cached_prompt_token"] = cached
        return Work({unit: count for unit, count in counts.items() if count or unit != "prompt_token"}, facts)


class _Answer:
    """What came of one request."""

    def __init__(self) -> None:
        self._usage: Any = None
        self._ids: int | None = None
        self._prompt_ids: int | None = None
        self._ends: dict[int, str | None] = {}

    def add(self, part: Any) -> None:
        # Stated as it grows or once at the end: the latest is the whole.
        self._usage = getattr(part, "usage", None) or self._usage
        if is_a(part, "openai", "Response"):
            self._ends[0] = part.status
            return
        for choice in part.choices:
            self._ends[choice.index] = choice.finish_reason or self._ends.get(choice.index)
            # vLLM's extension, with return_token_ids=True.
            if (ids := getattr(choice, "token_ids", None)) is not None:
                self._ids = (self._ids or 0) + len(ids)
            for holder in (part, choice):
                if (ids := getattr(holder, "prompt_token_ids", None)) is not None:
                    self._prompt_ids = len(ids)

    def ends_before(self, part: Any) -> bool:
        """Whether this is a whole answer, and ``part`` another one."""
        if self._usage is None or part.usage is None or is_a(part, "openai", "ChatCompletionChunk", "Response"):
            return False
        return any(choice.finish_reason and self._ends.get(choice.index) for choice in part.choices)

    @property
    def told(self) -> int | None:
        """Its tokens so far, if the server tells."""
        return self._ids if self._usage is None else int(_either(self._usage, "completion_tokens", "output_tokens"))

    @property
    def tokens(self) -> int:
        if (tokens := self.told) is None:
            raise WindowError(
                "the server stated no usage, and chunks are not tokens (one may hold several): "
                "pass stream_options={'include_usage': True} and consume the stream to its end"
            )
        return tokens

    @property
    def prompt_tokens(self) -> int | None:
        if self._usage is not None:
            return int(_either(self._usage, "prompt_tokens", "input_tokens"))
        return self._prompt_ids

    @property
    def cached(self) -> int | None:
        details = _either(self._usage, "prompt_tokens_details", "input_tokens_details")
        return getattr(details, "cached_tokens", None)

    @property
    def finished(self) -> bool:
        return bool(self._ends) and not any(end in _UNFINISHED for end in self._ends.values())


def _either(value: Any, *names: str) -> Any:
    return next((found for name in names if (found := getattr(value, name, None)) is not None), None)


def _sum(counts: Iterable[int | None]) -> float | None:
    """The sum, if all are known."""
    known = list(counts)
    return None if None in known else float(sum(count or 0 for count in known))
