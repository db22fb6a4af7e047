"""Results of the real ``openai`` client's types, counted by what the server states."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseCompletedEvent, ResponseCreatedEvent

from pytest_joules.workloads.counts import WindowError
from pytest_joules.workloads.observer import Observer
from pytest_joules.workloads.openai import OpenAiAdapter
from pytest_joules.workloads.work import Work

USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 64},
}
BASE = {"created": 1, "model": "m"}


def validated(kind: Any, **fields: Any) -> Any:
    return kind.model_validate({**BASE, **fields})


def whole(id: str = "a") -> Any:
    choice = {"index": 0, "text": "x", "finish_reason": "length", "logprobs": None}
    return validated(Completion, id=id, object="text_completion", choices=[choice], usage=USAGE)


def chat_chunk(tokens: int | None, finish: str | None = None, **choice: Any) -> Any:
    """One chunk that may hold any number of tokens."""
    choices = [{"index": 0, "delta": {"content": "several tokens"}, "finish_reason": finish, **choice}]
    usage = None if tokens is None else {**USAGE, "completion_tokens": tokens}
    return validated(ChatCompletionChunk, id="c", object="chat.completion.chunk", choices=choices, usage=usage)


def response(status: str, tokens: int | None) -> Response:
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 3}}
    usage = {"input_tokens": 9, "output_tokens": tokens, "total_tokens": 0, **details} if tokens else None
    return Response.construct(id="r", status=status, usage=usage and validated_usage(usage))


def validated_usage(usage: dict[str, Any]) -> Any:
    from openai.types.responses import ResponseUsage

    return ResponseUsage.construct(**usage)


def count(result: object) -> Work | None:
    return OpenAiAdapter().count(result, None)


def test_chunks_that_tell_their_tokens_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()  # a second for every look at it
    monkeypatch.setattr("pytest_joules.workloads.observer.time", SimpleNamespace(monotonic=lambda: next(clock)))
    observer = Observer([OpenAiAdapter()], lambda result, call: None)
    list(observer.stream().through(iter([chat_chunk(tokens) for tokens in (0, 1, 5, 6)])))
    # The first chunk holds no token, and when the request was sent is not known.
    assert observer.latencies(0.0, 10.0) == {"itl_p50": 0.25}
    list(observer.stream().through(iter([chat_chunk(None), chat_chunk(None), chat_chunk(20)])))
    assert observer.latencies(4.0, 20.0) == {}


def streamed(*items: object) -> Work:
    stream = Observer([OpenAiAdapter()], lambda result, call: None).stream()
    assert list(stream.through(iter(items))) == list(items)
    return stream.work()


def test_whole_results_and_lists_of_them() -> None:
    one = count(whole())
    assert one is not None
    assert dict(one.counts) == {"token": 20, "prompt_token": 100, "request": 1}
    assert dict(one.facts) == {"finished_request": 1, "cached_prompt_token": 64}
    three = count([whole("a"), whole("b"), whole("c")])
    assert three is not None
    assert dict(three.counts) == {"token": 60, "prompt_token": 300, "request": 3}
    # Ollama draws ids from 999, and TGI gives none.
    assert count([whole("a"), whole("a"), whole("a")]) == three
    message = {"role": "assistant", "content": "x"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
    chat = count(validated(ChatCompletion, id="a", object="chat.completion", choices=choices, usage=USAGE))
    assert chat is not None
    assert chat == one
    of_response = count(response("completed", 7))
    assert of_response is not None
    assert dict(of_response.counts) == {"token": 7, "prompt_token": 9, "request": 1}
    assert of_response.facts["finished_request"] == 1


def test_what_is_not_of_this_library() -> None:
    class Completion:
        usage = None

    for other in (Completion(), None, [], [1], "text"):
        assert count(other) is None
    assert OpenAiAdapter().stream(Completion()) is None


def test_a_stream_is_counted_by_its_usage_and_not_by_its_chunks() -> None:
    last = validated(ChatCompletionChunk, id="c", object="chat.completion.chunk", choices=[], usage=USAGE)
    at_the_end = streamed(chat_chunk(None), chat_chunk(None, "length"), last)
    assert dict(at_the_end.counts) == {"token": 20, "prompt_token": 100, "request": 1}
    assert at_the_end.facts["finished_request"] == 1
    # Continuous usage tells also of a stream that was left in the middle.
    left = streamed(chat_chunk(1), chat_chunk(9), chat_chunk(13))
    assert left.counts["token"] == 13
    assert left.facts["finished_request"] == 0
    # Usage may come with a choice that has ended.
    assert streamed(chat_chunk(7), chat_chunk(9, "stop"), chat_chunk(20, "stop")).counts["token"] == 20
    # Two choices end one after the other.
    ends = [chat_chunk(None, "stop", index=0), chat_chunk(None, "stop", index=1), last]
    assert streamed(chat_chunk(None, index=1), *ends).counts["request"] == 1
    # A consumed stream is a list of chunks with one id.
    assert count([chat_chunk(1), chat_chunk(20, "stop")]) == streamed(chat_chunk(1), chat_chunk(20, "stop"))


def test_a_stream_without_usage() -> None:
    with pytest.raises(WindowError, match=r"chunks are not tokens .*stream_options=\{'include_usage': True\}"):
        streamed(chat_chunk(None), chat_chunk(None, "stop"))
    ids = streamed(chat_chunk(None, token_ids=[1, 2, 3]), chat_chunk(None, "stop", token_ids=[4]))
    assert dict(ids.counts) == {"token": 4, "request": 1}


def test_a_stream_of_the_responses_api() -> None:
    created = ResponseCreatedEvent.construct(type="response.created", response=response("in_progress", None))
    completed = ResponseCompletedEvent.construct(type="response.completed", response=response("completed", 12))
    work = streamed(created, completed)
    assert dict(work.counts) == {"token": 12, "prompt_token": 9, "request": 1}
    assert work.facts["finished_request"] == 1
    assert (
        streamed(created, ResponseCompletedEvent.construct(response=response("failed", 2))).facts["finished_request"]
        == 0
    )
