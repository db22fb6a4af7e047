"""Which rules account for a change, and for how much of it.  Pure functions.

A cause is *recorded* (a setting or a fact about the work differs), or *seen* (all signs of a mechanism are there).
Each has a range of what it can account for.  Together they account for the change with one share of every range, so
that the order of the rules decides nothing; what lies beyond all ranges stays unexplained.  A mechanism in which a
recorded cause shows itself is evidence of that cause.  Where signals are missing, rules that nothing contradicts are
named together, and claim nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_joules.diagnosis.incomparable import incomparable
from pytest_joules.diagnosis.observation import Observation
from pytest_joules.diagnosis.quantities import ENABLE, QUANTITIES, TEXTS, Comparison, Scale
from pytest_joules.diagnosis.rules import BY_NAME, RULES, Rule, Sign, Way, Where
from pytest_joules.diagnosis.seen import signal_changes
from pytest_joules.diagnosis.sizes import Range, Settings, estimated_work, unknown, widths
from pytest_joules.diagnosis.splits import exact_splits
from pytest_joules.facts import FACTS, WEIGHTS, changed
from pytest_joules.model import LIMIT_WATTS, Cause, Conditions, Diagnosis, least_along

BESIDE = 0.5
"""A quantity that moved by less than half of another one stayed level beside it."""

NEARLY_FULL = 0.9
"""Share of the KV cache from which memory, not the load, sets the batch: vLLM preempts when no block is left."""

MOST_TOGETHER = 4
"""More rules that nothing tells apart say nothing."""

ALWAYS_KNOWN = frozenset({"watts", "seconds"})
"""What alone names no mechanism."""

FIRST = frozenset({"gpu-model", "gpu-count"})
"""Rules that come first whatever they account for: numbers of other hardware are no change of one thing."""

MOVES = frozenset({Way.UP, Way.DOWN, Way.HIGH})
"""Ways of a sign that is itself to be seen."""

ALONE = frozenset({"versions", "setting"})
"""Rules that nothing has to show itself for."""

LARGEST_SIZE = 100.0
"""Of a cause that somebody else found, in log joules per unit; the exponential of a larger one may be no number."""

BUSY = frozenset({"more-work", "memory-bound", "tensor-cores"})
"""Mechanisms of one part of the joules, that of SMs at work: what was recorded for one of them has it."""


def explain(
    before: Observation,
    after: Observation,
    noise: float,
    extra: Sequence[Cause] = (),
    then: Conditions | None = None,
) -> Diagnosis:
    """Why ``after`` does not cost what ``before`` did.

    Args:
        before: What is compared with.
        after: The side to explain; of the same unit.
        noise: Change of log joules per unit that noise alone makes; a change within it has no cause.
        extra: Causes that somebody else found; those with a range or an explained part take part in the accounting.
        then: What was seen before, to print, where ``before`` was taken to what is expected.
    """
    c = Comparison(before, after, noise)
    differences = incomparable(before, after)
    diagnosis = Diagnosis(
        change=c.change,
        noise=noise,
        splits=exact_splits(before, after),
        unexplained=c.change,
        incomparable=differences,
        signals=signal_changes(then or before.conditions, after.conditions),
    )
    if abs(c.change) <= noise:
        return diagnosis
    findings = _Findings.of(c)
    causes = _accounted(findings, c, extra)
    unexplained = c.change - sum(cause.explains or 0.0 for cause in causes)
    undecided: list[Rule] = []
    if abs(unexplained) > noise and unexplained * c.change > 0:
        undecided = findings.undecided({cause.rule for cause in causes})
    unsized = findings.unsized(causes)
    causes += [cause for cause in unsized if findings.is_knob(cause)]
    causes += [_merged(undecided, c)] if 0 < len(undecided) <= MOST_TOGETHER else []
    causes += [cause for cause in unsized if not findings.is_knob(cause)]
    causes += [cause for cause in extra if cause.bounds is None]
    return replace(
        diagnosis,
        causes=tuple(sorted(causes, key=lambda cause: (cause.rule not in FIRST, -abs(cause.explains or 0.0)))),
        unexplained=unexplained,
        missing=_missing(undecided, c, unexplained),
    )


# What differs, and what is seen.


def settings_that_differ(before: Observation, after: Observation) -> dict[str, tuple[str, str]]:
    """Settings that both sides know and that differ, before and after; also of the hardware, by their names here."""
    then, now = _settings(before), _settings(after)
    differ = {name: (values[0], value) for name, (value, values) in changed(now, [then]).items()}
    if "device" in differ or "num_gpus" in differ:
        differ.pop("power_limit", None)
    return differ


def _settings(side: Observation) -> dict[str, str]:
    # Sessions of earlier versions have "torch.bfloat16" where later ones have "bfloat16".
    told = {n: value.removeprefix("torch.") for n, value in side.conditions.configuration.items() if n != WEIGHTS}
    told |= {f"version of {name}": value for name, value in side.conditions.versions.items()}
    told |= {"device": side.device} if side.device else {}
    told |= {"version of the driver": side.driver} if side.driver else {}
    told["num_gpus"] = str(side.count)
    if side.power_limit_watts is not None:
        told["power_limit"] = f"{round(side.power_limit_watts / LIMIT_WATTS) * LIMIT_WATTS:g} W"
    return told


def facts_that_differ(c: Comparison) -> list[str]:
    """Facts about the work that differ by more than two sessions of the same work may."""
    differ = []
    for fact in FACTS:
        if not fact.told and fact.name != f"flops_per_{c.before.unit}":
            continue  # The bytes follow from the arithmetic and its precision.
        values = c.values(fact.name)
        if values is not None and abs(values[1] - values[0]) > fact.least(*values):
            differ.append(fact.name)
    return differ


def seen(rule: Rule, c: Comparison, way: int) -> bool | None:
    """Whether the signs of a rule are there for a rise (``way`` = 1) or a fall (-1); ``None`` if nobody knows."""
    if not rule.signs or (rule.units and c.before.unit not in rule.units) or not _applies(rule.where, c):
        return False
    states = [_any(_holds(sign, c, way) for sign in alternatives) for alternatives in _looked_at(rule, c)]
    return False if False in states else None if None in states else True


def _looked_at(rule: Rule, c: Comparison) -> list[tuple[Sign, ...]]:
    """Those signs of a rule that matter here."""
    return [signs for signs in rule.signs if all(_applies(sign.where, c) for sign in signs)]


def _applies(where: Where, c: Comparison) -> bool:
    return where is Where.ANYWHERE or (c.several if where is Where.SEVERAL else c.engine)


def _signs(rule: Rule, c: Comparison) -> Iterable[Sign]:
    return itertools.chain.from_iterable(_looked_at(rule, c))


def _any(states: Iterable[bool | None]) -> bool | None:
    known = list(states)
    return True if True in known else None if None in known else False


def _holds(sign: Sign, c: Comparison, way: int) -> bool | None:
    if sign.way is Way.HIGH:
        level = QUANTITIES[sign.quantity].of(c.after if way > 0 else c.before)
        return None if level is None else level >= (sign.least or 0.0)
    moved = c.moved(sign.quantity)
    quantity = QUANTITIES[c.compute if sign.quantity == "compute_cycles" else sign.quantity]
    least = c.least(sign.quantity) if sign.least is None else sign.least
    if quantity.scale is Scale.RATIO and (sign.beside or sign.way is Way.LEVEL):
        other = c.moved(sign.beside or "seconds")
        if other is None:
            return None
        least = max(least, BESIDE * abs(other))
    if moved is None:
        return None
    oriented = way * moved
    return {
        Way.UP: oriented >= least,
        Way.DOWN: oriented <= -least,
        Way.LEVEL: abs(moved) < least,
        Way.NOT_UP: oriented < least,
        Way.NOT_DOWN: oriented > -least,
    }[sign.way]


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A rule whose settings or facts differ."""

    rule: Rule
    settings: Settings
    facts: tuple[str, ...]

    @property
    def chosen(self) -> bool:
        """Whether somebody may have chosen it; how many requests ran may merely follow from their pace."""
        return bool(self.settings) or self.facts != ("running_requests",)

    @property
    def told(self) -> tuple[str, ...]:
        return tuple(f"{name}: {then} -> {now}" for name, (then, now) in self.settings.items())


@dataclass(frozen=True, slots=True)
class _Findings:
    """What rules found.

    Attributes:
        c: The two sides.
        recorded: Rules whose settings or facts differ, with a range or without.
        seen: Rules whose signs are all there.
        possible: Rules that no sign contradicts.
    """

    c: Comparison
    recorded: tuple[tuple[_Recorded, Range | None], ...]
    seen: tuple[str, ...]
    possible: tuple[str, ...]

    @classmethod
    def of(cls, c: Comparison) -> _Findings:
        way = 1 if c.up else -1
        states = {rule.name: seen(rule, c, way) for rule in RULES}
        certain = tuple(name for name, state in states.items() if state)
        undecided = [BY_NAME[name] for name, state in states.items() if state is None]
        guessed = (rule for rule in undecided if any(rule.brief))
        likely = [rule for rule in guessed if all(_holds(sign, c, way) is not False for sign in rule.plausible)]
        possible = tuple(rule.name for rule in likely) if any(_told(rule, c, way) for rule in likely) else ()
        told = tuple(name for name in possible if _moved_as(BY_NAME[name], c, way))
        recorded = _recorded(c, certain, told)
        return cls(c, tuple(_sized(recorded, c, (*certain, *told))), certain, possible)

    def undecided(self, named: set[str]) -> list[Rule]:
        """Rules that nothing contradicts and nothing proves."""
        absorbed = {way for name in named if name in BY_NAME for way in BY_NAME[name].ways}
        settled = {one.rule.name for one, size in self.recorded if size is not None}
        return [BY_NAME[name] for name in self.possible if name not in named | absorbed | settled]

    def is_knob(self, cause: Cause) -> bool:
        """Whether a setting that differs may have brought the change about, for all that is known."""
        if cause.bounds is not None or cause.rule == "versions":
            return False
        level = cause.rule == "batch" and self.c.moved("running_requests") is not None
        return not level and any(one.rule.name == cause.rule and one.settings for one, _ in self.recorded)

    def unsized(self, causes: Sequence[Cause]) -> list[Cause]:
        """What differs and accounts for nothing that is known."""
        named = {cause.rule for cause in causes}
        return [
            _cause(one.rule, self.c, one, *(size or (None, None)), settled=False)
            for one, size in self.recorded
            if (one.rule.name not in named or one.rule.name in ALONE) and one.chosen
        ]


def _told(rule: Rule, c: Comparison, way: int) -> bool:
    """Whether a sign beyond watts and time speaks for a rule."""
    return any(_holds(sign, c, way) for sign in _signs(rule, c) if sign.quantity not in ALWAYS_KNOWN)


def _moved_as(rule: Rule, c: Comparison, way: int) -> bool:
    """Whether something beside time moved as a rule has it: what stayed level contradicts nothing and shows nothing."""
    return any(_holds(sign, c, way) for sign in _signs(rule, c) if sign.quantity != "seconds" and sign.way in MOVES)


def _recorded(c: Comparison, certain: Sequence[str], told: Sequence[str]) -> list[_Recorded]:
    """Every rule with what was recorded for it.

    A setting goes to the mechanism that it brought about: one that is certain, or that a sign speaks for, or the one
    whose size is known without (that of arithmetic is known from the arithmetic, not from a setting).
    """
    settings: dict[str, dict[str, tuple[str, str]]] = {}
    for name, pair in settings_that_differ(c.before, c.after).items():
        rules = [rule for rule in RULES if name in rule.settings]
        sized = [rule.name for rule in rules if rule.size not in (unknown, estimated_work) or not rule.signs]
        shown = [rule.name for known in (certain, told) for rule in rules if rule.name in known]
        kind = "versions" if name.startswith("version of ") else "setting"
        settings.setdefault(next(iter((*shown, *sized)), kind), {})[name] = pair
    facts: dict[str, list[str]] = {}
    for fact in facts_that_differ(c):
        for rule in RULES:
            if fact in rule.facts and (not rule.units or c.before.unit in rule.units):
                facts.setdefault(rule.name, []).append(fact)
    if "model-size" in settings and "output-length" in facts:
        facts.setdefault("model-size", []).extend(facts.pop("output-length"))  # Another model answers at other lengths.
    if facts.keys() - {"more-work"}:
        facts.pop("more-work", None)  # Another amount of arithmetic follows from any other difference of the work.
    if (batch := c.moved("running_requests")) and abs(batch) >= c.least("running_requests"):
        facts.setdefault("batch", []).append("running_requests")
    return [
        _Recorded(rule, settings.get(rule.name, {}), tuple(facts.get(rule.name, ())))
        for rule in RULES
        if rule.name in settings or rule.name in facts
    ]


def _sized(
    recorded: Sequence[_Recorded], c: Comparison, shown: Iterable[str]
) -> Iterator[tuple[_Recorded, Range | None]]:
    """What was recorded with its range: the published one, that of a mechanism that shows itself, or both."""
    names = set(shown)
    for one in recorded:
        size = one.rule.size(c, one.settings)
        part = one.rule.part(c, one.settings) if one.rule.name in names else None
        yield one, _overlap(size, part) if size and part else size or part


def _overlap(size: Range, part: Range) -> Range:
    """What both allow; the first if there is nothing."""
    low, high = max(size[0], part[0]), min(size[1], part[1])
    return (low, high) if low <= high else size


# Accounting.


@dataclass(frozen=True, slots=True)
class _Claim:
    """A cause, the range that it may account for, and whether more was claimed for it than there is room for."""

    cause: Cause
    range: Range
    exceeds: bool = False


def _accounted(findings: _Findings, c: Comparison, extra: Sequence[Cause]) -> list[Cause]:
    """The causes that account for something, each with how much."""
    recorded = [
        _Claim(_cause(one.rule, c, one, *size, settled=True), size)
        for one, size in findings.recorded
        if size is not None and _in_direction(size, c.change)
    ]
    names = {claim.cause.rule for claim in recorded}
    mechanisms = []
    for name in findings.seen:
        size = BY_NAME[name].part(c, {})
        if name not in names and size is not None and _in_direction(size, c.change) and max(map(abs, size)) > c.noise:
            mechanisms.append(_Claim(_cause(BY_NAME[name], c, None, *size, settled=True), size))
    inner = {way for claim in mechanisms for way in BY_NAME[claim.cause.rule].ways if way != claim.cause.rule}
    mechanisms = [claim for claim in mechanisms if claim.cause.rule not in inner]
    shown = {way for name in names for way in BY_NAME[name].ways} | (BUSY if names & BUSY else frozenset())
    separate = [claim for claim in mechanisms if claim.cause.rule not in shown]
    claims = [*recorded, *separate, *_beside([*recorded, *separate], c, extra)]
    shares = allocate([claim.range for claim in claims], c.change)
    if abs(c.change - sum(shares)) > c.noise:
        # What was recorded is not enough: the mechanisms in which it shows itself have other causes, too.
        claims = [*recorded, *mechanisms, *_beside([*recorded, *mechanisms], c, extra)]
        shares = allocate([claim.range for claim in claims], c.change)
    else:
        hidden = [claim.cause for claim in mechanisms if claim not in separate]
        claims = [_with_evidence(claim, hidden) if claim in recorded else claim for claim in claims]
    telling = [
        claim
        for claim, share in zip(claims, shares, strict=True)
        if abs(share) > (c.noise if claim in mechanisms else 0) or claim.exceeds
    ]
    shares = allocate([claim.range for claim in telling], c.change)
    return [
        replace(claim.cause, explains=share)
        for claim, share in zip(telling, shares, strict=True)
        if share or claim.exceeds
    ]


def _beside(own: Sequence[_Claim], c: Comparison, extra: Sequence[Cause]) -> list[_Claim]:
    """Causes that somebody else found, in what the least of our own leaves of the change: they displace none of these.

    Where they claim more together, each has its part of that; where it is more by more than the noise, it says so.
    """
    way = 1.0 if c.up else -1.0
    claims = [_Claim(cause, bounds) for cause in extra if (bounds := cause.bounds) is not None]
    room = max(0.0, abs(c.change) - sum(least_along(claim.range, way) for claim in own))
    claimed = sum(least_along(claim.range, way) for claim in claims)
    if claimed <= room:
        return claims
    exceeds = claimed > room + c.noise
    return [_shrunk(claim, room / claimed, exceeds) if least_along(claim.range, way) else claim for claim in claims]


def _shrunk(claim: _Claim, share: float, exceeds: bool) -> _Claim:
    cause, (low, high) = claim.cause, claim.range
    if exceeds:
        sizes = dict.fromkeys(f"{math.exp(min(bound, LARGEST_SIZE)):.3g}" for bound in (low, high))
        told = f"its rule's size, a factor of {' to '.join(sizes)}, is more than there is left to explain"
        cause = replace(cause, evidence=(*cause.evidence, told))
    return _Claim(cause, (low * share, high * share), exceeds)


def _with_evidence(claim: _Claim, mechanisms: Sequence[Cause]) -> _Claim:
    """A recorded cause with the evidence of the mechanisms in which it shows itself."""
    ways = BY_NAME[claim.cause.rule].ways
    lines = [line for cause in mechanisms if cause.rule in ways for line in cause.evidence]
    return replace(claim, cause=replace(claim.cause, evidence=_distinct((*claim.cause.evidence, *lines))))


def allocate(ranges: Sequence[Range], change: float) -> list[float]:
    """What each range accounts for of a change: all to the same share of their widths.

    A range that reaches to both sides of 0 may work either way: it accounts for what the others leave.  If all of them
    do not reach the change, each accounts for its most; if their least is more than it, each for its part of it.
    """
    way = 1.0 if change > 0 else -1.0
    bounds = [(min(way * low, way * high), max(way * low, way * high)) for low, high in ranges]
    either = [low < 0 < high for low, high in bounds]
    directed = _shares([(0.0, 0.0) if both else bound for both, bound in zip(either, bounds, strict=True)], abs(change))
    left = max(0.0, abs(change) - sum(directed))
    others = _shares(
        [(0.0, bound[1]) if both else (0.0, 0.0) for both, bound in zip(either, bounds, strict=True)], left
    )
    return [way * (part + other) for part, other in zip(directed, others, strict=True)]


def _shares(bounds: Sequence[Range], aim: float) -> list[float]:
    least, most = sum(low for low, _ in bounds), sum(high for _, high in bounds)
    if aim >= most:
        return [high for _, high in bounds]
    if aim >= least:
        share = (aim - least) / (most - least)
        return [low + share * (high - low) for low, high in bounds]
    against = sum(min(low, 0.0) for low, _ in bounds)
    share = max(0.0, (aim - against) / (least - against))
    return [low * share if low > 0 else low for low, _ in bounds]


def _in_direction(bounds: Range, change: float) -> bool:
    return max(bounds[0] * change, bounds[1] * change) > 0


# Words.


def _cause(
    rule: Rule, c: Comparison, recorded: _Recorded | None, low: float | None, high: float | None, *,
    settled: bool,
) -> Cause:  # fmt: skip
    way = 1 if c.up else -1
    text = rule.rise if way > 0 else rule.fall
    if rule.name == "batch" and _out_of_memory(c):
        text += ": there is no memory for more" if way > 0 else ": memory had forced a smaller one"
    if recorded is not None and not settled and rule.name not in ALONE:
        what = _listed([*recorded.settings, *(QUANTITIES[name].text for name in recorded.facts)])
        text = f"{what} differ{'s' if len(recorded.settings) + len(recorded.facts) == 1 else ''}, and "
        if low is None or high is None:
            level = rule.name == "batch" and c.moved("running_requests") is not None
            text += "as many requests ran at once as before" if level else "what that accounts for is not known"
        elif _in_direction((low, high), c.change):
            text += "other causes leave nothing to account for"
        else:
            text += "that ought to move joules the other way"
    if recorded is not None and settled and rule.name == "tensor-cores":
        bits = widths(c, recorded.settings)
        if bits is not None and way * (bits[1] - bits[0]) < 0:
            text = f"narrower numbers {'cost more than they save' if way > 0 else 'had cost more than they saved'}"
    facts = tuple(c.evidence(name) for name in (recorded.facts if recorded else ()))
    quantities = [sign.quantity for sign in _signs(rule, c) if _holds(sign, c, way)]
    measured = [c.evidence(name) for name in (*quantities, *(n for n in rule.shows if _moved(n, c)))]
    if rule.name == "batch":
        measured += [c.evidence(name) for name in ("waiting_requests", "kv_cache_usage") if _out_of_memory(c)]
    return Cause(
        rule=rule.name,
        text=text,
        evidence=_distinct((*(recorded.told if recorded else ()), *facts, *(measured if settled else ()))),
        advice=rule.advice,
        source=rule.source,
        low=low,
        high=high,
    )


def _moved(name: str, c: Comparison) -> bool:
    moved = c.moved(name)
    return moved is not None and abs(moved) >= c.least(name)


def _out_of_memory(c: Comparison) -> bool:
    """Whether memory sets the batch on the side that takes more joules."""
    usage, waits = c.costly.signal("kv_cache_usage"), c.costly.signal("waiting_requests")
    preempted = c.costly.conditions.facts.get("preemptions_per_request", 0.0)
    full = usage is not None and usage >= NEARLY_FULL
    return preempted >= QUANTITIES["preemptions_per_request"].least or (full and ((waits or 0.0) >= 1 or preempted > 0))


def _merged(rules: Sequence[Rule], c: Comparison) -> Cause:
    """One cause of several rules that the known signals do not tell apart."""
    way = 1 if c.up else -1
    texts = [rule.brief[0 if way > 0 else 1] for rule in rules]
    lacking = [_text(name) for name in _unknown(rules, c, way)]
    either = f"either {', or '.join(texts)}" if len(texts) > 1 else f"perhaps {texts[0]}"
    one = _cause(rules[0], c, None, None, None, settled=True)
    evidence = [line for rule in rules for line in _cause(rule, c, None, None, None, settled=True).evidence]
    return replace(
        one,
        rule=" or ".join(rule.name for rule in rules),
        text=f"{either}: {_listed(lacking)} {'is' if len(lacking) == 1 else 'are'} unavailable",
        evidence=_distinct(evidence),
        advice="; or ".join(rule.advice for rule in rules),
        source="; ".join(_distinct(rule.source for rule in rules)),
    )


def _unknown(rules: Sequence[Rule], c: Comparison, way: int) -> list[str]:
    """Signals that keep rules from being decided."""
    names = []
    for rule in rules:
        for sign in _signs(rule, c):
            if _holds(sign, c, way) is None:
                quantities = [name for name in (sign.quantity, sign.beside) if name]
                names += [need for name in quantities for need in _needs(name, c)]
    return list(dict.fromkeys(names))


def _needs(name: str, c: Comparison) -> list[str]:
    needs = ("tensor_active", "fp32_active", "sm_clock_mhz") if name == "compute_cycles" else QUANTITIES[name].needs
    return [need for need in needs if c.before.signal(need) is None or c.after.signal(need) is None]


TELLING = ("sm_active", "tensor_active", "fp32_active", "dram_bytes_per_second")
"""Signals that most mechanisms are told by."""


def _missing(undecided: Sequence[Rule], c: Comparison, unexplained: float) -> tuple[str, ...]:
    """Signals that would tell more, by what makes them available."""
    names = _unknown(undecided, c, 1 if c.up else -1)
    if abs(unexplained) > c.noise and not undecided:
        names += [name for name in TELLING if c.before.signal(name) is None or c.after.signal(name) is None]
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(ENABLE[name], []).append(_text(name))
    rules = _listed([rule.name for rule in undecided])
    apart = f"would tell {rules} apart" if len(undecided) > 1 else "would tell more"
    return tuple(f"{_listed(texts)} {apart}: {enable}" for enable, texts in groups.items())


def _text(name: str) -> str:
    return TEXTS[name].removesuffix(", all devices")


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def _distinct(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for line in lines if line))
