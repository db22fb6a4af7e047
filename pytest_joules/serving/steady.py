"""Joules of a server's steady state: what it did at the times it was seen, cut into blocks of whole ticks."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_joules.attribution import attribute
from pytest_joules.latency import of_histogram
from pytest_joules.meters.base import Meter
from pytest_joules.model import Block, Measurement, WindowKind
from pytest_joules.powertrace import power_trace
from pytest_joules.sampling import (
    conditions,
    first_edge,
    least_duty,
    look_back,
    no_joules,
    no_work,
    sampled,
    seen,
    spoiled,
    tick_blocks,
    wait_for_tick,
)
from pytest_joules.serving.load import LoadResult
from pytest_joules.serving.scrape import INTERVAL_SECONDS
from pytest_joules.serving.timeline import LEAST_FILLED, NotSteady, Stretch, Timeline, drawn, steady_stretch
from pytest_joules.units import format_percent, format_seconds

STEADY_BLOCK_TICKS = 10
"""Ticks in a block.  Counters advance by a whole step of the engine, so that a block's tokens are off by up to the
tokens of one: with steps of 20 ms half as much in a second as in half of one."""

UNITS = ("token", "prompt_token", "request")
"""What is divided by, the natural unit first: of tokens every stretch holds some."""

RARELY = 1.0
"""Seconds between two looks at a server above which a reader is told."""

LEVEL = 0.05
"""Tokens per second of the two halves of a steady state that differ by more are told of."""


@dataclass(frozen=True, slots=True)
class SteadyWork:
    """What a server did in its steady state.

    Attributes:
        times: When it was seen (s, on the meter's clock).
        totals: For every unit, the work done by each of those times.
        amounts: Work and other amounts from the first request to the last: there every request is whole, so
            that their ratios tell whether two sessions did the same work.
        warmup_seconds: From when half of the batch ran to the steady state.
        latencies: Percentiles, s.
        signals: What the engine did in the steady state, by the names of :data:`pytest_joules.signals.SIGNALS`.
        versions: Of the engine.
        configuration: Settings of the engine.
        notes: What a reader of the number must know.
    """

    times: Sequence[float]
    totals: Mapping[str, Sequence[float]]
    amounts: Mapping[str, float] = field(default_factory=dict)
    warmup_seconds: float = 0.0
    latencies: Mapping[str, float] = field(default_factory=dict)
    signals: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def steady_work(timeline: Timeline, target: float | None, load: LoadResult | None) -> SteadyWork:
    """The steady part of ``timeline``.

    Args:
        timeline: What was seen of the server.
        target: How many requests are a full batch; ``None`` for the plateau that is found.
        load: What the built-in load saw, if it ran; its latencies are finer than a server's histograms.

    Raises:
        NotSteady: if there is no steady part, its work cannot be counted, or there is no work in it.
    """
    times, running = timeline.times, timeline.gauges["running"]
    if (moment := timeline.restart()) is not None:
        raise NotSteady(
            f"the server's counters went back {moment - times[0]:.1f} s after the window began: it was restarted, and "
            "what it did before is lost"
        )
    if not timeline.rise().get("token"):
        raise NotSteady("the server generated no token in this window: send it a load inside 'with energy.server(...)'")
    shown = drawn(times, running, target)
    try:
        stretch = steady_stretch(times, running, target, load.settled if load is not None else -math.inf)
    except NotSteady as error:
        raise NotSteady(f"no steady state: {error}. {_advice(timeline, target)} ({shown})") from None
    part = slice(stretch.first, stretch.last + 1)
    totals = {
        unit: [total - timeline.counters[unit][stretch.first] for total in timeline.counters[unit][part]]
        for unit in UNITS
        if timeline.rise(stretch).get(unit)
    }
    if "token" not in totals:
        raise NotSteady(f"the server generated no token while its batch was full ({shown})")
    since, until = times[stretch.first], times[stretch.last]
    latencies = (load.latencies(since, until) if load is not None else {}) or {
        name: seconds
        for histogram, buckets in timeline.histograms.items()
        for name, seconds in of_histogram(histogram, buckets[stretch.first], buckets[stretch.last]).items()
    }
    return SteadyWork(
        times=times[part],
        totals=totals,
        amounts=_amounts(timeline),
        warmup_seconds=stretch.warmup_seconds,
        latencies=latencies,
        signals=_signals(timeline, stretch),
        notes=_notes(timeline, stretch, totals["token"], latencies),
    )


def client_timeline(load: LoadResult) -> Timeline:
    """What a load saw of its server, at the times at which the server would have been asked."""
    opened, closed = min(r.start for r in load.records), max(r.end for r in load.records)
    count = max(2, math.ceil((closed - opened) / INTERVAL_SECONDS) + 1)
    times = tuple(opened + (closed - opened) * index / (count - 1) for index in range(count))
    chunks = sorted(
        (moment, tokens - before)
        for record in load.records
        for (moment, tokens), before in zip(record.chunks, (0, *(n for _, n in record.chunks)), strict=False)
    )
    firsts = sorted((r.chunks[0][0] if r.streamed else r.start, 1.0) for r in load.records)
    prompts = sorted((r.chunks[0][0] if r.streamed else r.end, float(r.prompt_tokens)) for r in load.records)
    ends = sorted((record.end, 1.0) for record in load.records)
    begun, ended = _running_sum(firsts, times), _running_sum(ends, times)
    counters = {"token": _running_sum(chunks, times), "prompt_token": _running_sum(prompts, times), "request": ended}
    if all(record.cached_prompt_tokens is not None for record in load.records):
        cached = sorted((r.end, float(r.cached_prompt_tokens or 0)) for r in load.records)
        counters["cache_hit"], counters["cache_query"] = _running_sum(cached, times), counters["prompt_token"]
    return Timeline(times, counters, {"running": tuple(b - e for b, e in zip(begun, ended, strict=True))})


def _running_sum(events: Sequence[tuple[float, float]], times: Sequence[float]) -> tuple[float, ...]:
    """The sum of what came by each of ``times``; ``events`` are in order."""
    sums = [0.0]
    for _, amount in events:
        sums.append(sums[-1] + amount)
    moments = [moment for moment, _ in events]
    return tuple(sums[bisect_right(moments, time)] for time in times)


def measure_steady(
    meter: Meter, window: str, work: SteadyWork, wanted: Sequence[str] | None, roots: Sequence[int]
) -> Measurement:
    """The joules of ``work``.

    Args:
        meter: Whose ticks were taken meanwhile.
        window: The window's name.
        work: What the server did.
        wanted: Explicit devices; ``None`` for those that the server computes on.
        roots: The server's processes.

    Raises:
        MeterError: if the counter has failed, or a wanted device does not exist.
    """
    since, until = work.times[0], work.times[-1]
    attribution = attribute(meter, wanted, roots)
    devices = attribution.devices
    wait_for_tick(meter, devices, until)
    ticks = [meter.ticks(device, since) for device in devices]
    least = math.ceil(STEADY_BLOCK_TICKS / (least_duty(devices) or 1.0))
    blocks = {}
    for unit in work.totals:
        # Each block holds some of its unit, so that those of other units than tokens may be longer.
        totals = {name: work.totals[name] for name in ("token", unit)}
        blocks[unit] = tuple(tick_blocks(ticks, work.times, totals, least)[unit])
    opened, first = since - work.warmup_seconds, first_edge(ticks, work.times, least)
    before = look_back(meter, devices, since, until)
    told = seen(meter, devices, since, until)
    state = conditions(devices, told, before.idle_watts, work.amounts)
    found = sampled(meter, devices, before, since, until)
    period = max(meter.period(device) for device in devices)
    worthless = spoiled(meter, devices, attribution.foreign, told)
    if attribution.foreign:
        worthless += "; if that is the server itself, name its own process with energy.server(pid=...)"
    return Measurement(
        window=window,
        kind=WindowKind.STEADY,
        devices=devices,
        blocks=blocks,
        calls=sum(block.units for block in blocks.get("request", ())),
        warmup_seconds=work.warmup_seconds,
        conditions=replace(
            state,
            versions=work.versions,
            configuration={**state.configuration, **work.configuration},
            signals={**found, **work.signals},
        ),
        notes=tuple(note for note in (_throughput(blocks["token"]), *work.notes, attribution.note) if note),
        latencies=work.latencies,
        invalid=worthless
        or no_work({unit: totals[-1] for unit, totals in work.totals.items()})
        or _too_short(blocks, work.times, least * period)
        or no_joules(blocks, "the energy counter rose by 0 J in a block: no joules is never a pass"),
        trace=power_trace(meter, devices, opened, until, first, blocks["token"]),
    )


def _too_short(blocks: Mapping[str, Sequence[Block]], times: Sequence[float], block: float) -> str:
    if any(blocks.values()):
        return ""
    return (
        f"the steady state of {times[-1] - times[0]:.1f} s, seen {len(times)} times, "
        f"holds no whole block of {block:.1f} s: send more requests, or let each generate more tokens"
    )


def _amounts(timeline: Timeline) -> dict[str, float]:
    """What tells whether two sessions did the same work, by the names of :data:`pytest_joules.facts.FACTS`."""
    rise = timeline.rise()
    hits, queries = rise.pop("cache_hit", None), rise.pop("cache_query", 0.0)
    if hits is not None and queries:
        rise["cached_prompt_token"] = rise.get("prompt_token", 0.0) * hits / queries
    moved = [rise.pop(name) for name in ("read_byte", "written_byte") if name in rise]
    return {**rise, **({"byte": sum(moved)} if moved else {})}


_GAUGES = {"running_requests": "running", "waiting_requests": "waiting", "kv_cache_usage": "kv_usage"}
"""Signals, and the gauges whose means they are."""


def _signals(timeline: Timeline, stretch: Stretch) -> dict[str, float]:
    means = {signal: timeline.mean(gauge, stretch) for signal, gauge in _GAUGES.items()}
    return {signal: mean for signal, mean in means.items() if mean is not None}


def _notes(
    timeline: Timeline, stretch: Stretch, tokens: Sequence[float], latencies: Mapping[str, float]
) -> tuple[str, ...]:
    waiting, usage = timeline.mean("waiting", stretch), timeline.mean("kv_usage", stretch)
    batch = [f"{timeline.mean('running', stretch):.1f} of {stretch.target:g} requests ran"]
    batch += [f"{waiting:.1f} waited"] if waiting is not None else []
    batch += [f"KV cache {format_percent(usage)} used"] if usage is not None else []
    told = {name: format_seconds(seconds) for name, seconds in latencies.items() if name.endswith(("p50", "p99"))}
    times = timeline.times[stretch.first : stretch.last + 1]
    slowest = max(b - a for a, b in itertools.pairwise(times))
    rarely = f"the server's metrics came up to {slowest:.1f} s apart: tokens in between are interpolated"
    return (
        ", ".join(batch),
        ", ".join(f"{name} {seconds}" for name, seconds in told.items()),
        _uneven(times, tokens),
        rarely if slowest > RARELY else "",
    )


def _uneven(times: Sequence[float], tokens: Sequence[float]) -> str:
    middle = len(times) // 2
    if middle < 2:
        return ""
    earlier = (tokens[middle] - tokens[0]) / (times[middle] - times[0])
    later = (tokens[-1] - tokens[middle]) / (times[-1] - times[middle])
    change = later / earlier - 1 if earlier else math.inf
    if abs(change) <= LEVEL:
        return ""
    return f"tokens per second in the second half of the steady state: {format_percent(change, signed=True)}"


def _throughput(blocks: Sequence[Block]) -> str:
    """Tokens per second, watts, and tokens per second per watt."""
    tokens, joules, seconds = (sum(getattr(b, name) for b in blocks) for name in ("units", "joules", "seconds"))
    if not joules or not seconds:
        return ""
    return (
        f"{tokens / seconds:.0f} tokens/s at {joules / seconds:.0f} W: {tokens / joules:.3g} tokens per second per watt"
    )


def _advice(timeline: Timeline, target: float | None) -> str:
    """What to do about a batch that was never steadily full."""
    running = timeline.gauges["running"]
    waited = timeline.gauges.get("waiting") or (0.0,) * len(running)
    usage = max(timeline.gauges.get("kv_usage", (0.0,)), default=0.0)
    most, waiting = max(running), max(waited)
    # At one moment: who waits now may be who runs next.
    in_flight = max(map(sum, zip(running, waited, strict=True)))
    if target is not None and most < LEAST_FILLED * target <= in_flight:
        cache = f", with up to {format_percent(usage)} of its KV cache used" if usage else ""
        return (
            f"Up to {waiting:g} requests waited{cache}: the server runs no more at once (max_num_seqs, or memory); "
            "lower concurrency=, or let it run more"
        )
    as_many = "the same number" if target is None else "as many"
    says = "" if target is None else " as concurrency= says, or correct concurrency="
    return f"Keep the batch full for seconds: send more requests, and keep {as_many} in flight{says}"
