"""How well one SKU's joules tell another's: each published pair of H100 and B200 in turn is predicted from others.

    python benchmarks/cross_sku.py FILE... [--out benchmarks/results/cross-sku.json]

A file is a task file of the ML.ENERGY leaderboard.  A pair is one model, task, precision, batch cap or size, steps,
number of GPUs and parallelism that was measured on both GPUs, and stands for a test that is stored for both; GPUs are
another SKU for each number of them, as they are in baselines.  Both directions count.  What is predicted is left out of
what it is predicted from, alone or with every pair of its model; a user has fewer pairs than the leaderboard, so some
are drawn.  An interval covers if the published number lies in it; its width is the ratio of its ends.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from pathlib import Path
from statistics import fmean, linear_regression, median, stdev
from typing import Any
from unittest.mock import patch

from tabulate import tabulate

from pytest_joules import estimating
from pytest_joules.estimating import (
    ALIKE,
    FEWEST_TESTS,
    SLOPE_SD,
    SPREAD_DF,
    SPREAD_SD,
    SURE,
    WIDEST,
    Prediction,
    Twin,
    predict,
)
from pytest_joules.model import Reference
from pytest_joules.references.mlenergy import Told, read_mlenergy
from pytest_joules.references.names import RUN

PUBLISHED = date(2026, 2, 13)

LIMITS = {"H100": 700.0, "B200": 1000.0}
"""Power limits of the boards, W."""

WAITING = 0.5
"""Share of its limit below which a GPU mostly waits, for its host or for other GPUs."""

SMALL_BATCH = 64
"""Batch cap up to which decoding is bound by memory; nobody published utilization."""

DRAWS = 4000
SIZES = (3, 5, 9, 20)
FEW = SIZES[:3]


@dataclass(frozen=True)
class Pair:
    """One configuration on two SKUs, in one direction.

    Attributes:
        model: The model.
        task: The workload.
        work: What makes it the same test on whatever SKU.
        gpus: How many GPUs of either kind.
        there: The SKU that it is predicted from.
        here: The SKU that it is predicted for.
        twin: What is known of it.
        kind: What it is bound by, as far as batch and power tell.
    """

    model: str
    task: str
    work: tuple[str, ...]
    gpus: tuple[int, int]
    there: str
    here: str
    twin: Twin
    kind: str

    @property
    def skus(self) -> tuple[str, str]:
        """The file that has a baseline, and the one that has none."""
        return f"{self.there}+x{self.gpus[0]}", f"{self.here}+x{self.gpus[1]}"


@dataclass(frozen=True)
class Case:
    """One prediction, and what was published."""

    pair: Pair
    found: Prediction

    @property
    def covers(self) -> bool:
        """Whether the published number lies in the interval."""
        return abs(self.pair.twin.change - self.found.change) <= self.found.half

    @property
    def width(self) -> float:
        """The ratio of the interval's ends."""
        return math.exp(2 * self.found.half)


Way = Callable[[Sequence[Pair], Pair], Prediction]


def by_line(shared: Sequence[Pair], target: Pair) -> Prediction:
    """As the plugin does."""
    return predict([pair.twin for pair in shared], target.twin.power)


def by_mean(shared: Sequence[Pair], target: Pair) -> Prediction:
    """Whatever the work draws."""
    return predict([replace(pair.twin, power=0.0) for pair in shared], 0.0)


def by_kind(shared: Sequence[Pair], target: Pair) -> Prediction:
    """Through work that is bound by the same, if there are three of it, else through all."""
    same = [pair for pair in shared if pair.kind == target.kind]
    return by_mean(same if len(same) >= FEWEST_TESTS else shared, target)


def pairs(rows: Sequence[Reference], free: Collection[str]) -> list[Pair]:
    """Rows of two SKUs that are alike but for the GPUs, in both directions.

    ``free`` names settings that may differ, as those do that share the work out; several rows of one SKU that differ
    by nothing else are the cheapest of them.
    """
    groups: dict[tuple[str, ...], dict[tuple[str, int], Reference]] = {}
    for row in rows:
        told = (f"{name}={value}" for name, value in sorted(row.settings.items()) if name not in free)
        sku, group = (row.gpu, int(row.settings["num_gpus"])), groups.setdefault((row.model, row.task, *told), {})
        group[sku] = min(group.get(sku, row), row, key=_joules)
    return [
        _pair(work, there, here)
        for work, group in groups.items()
        for there, here in product(group.values(), repeat=2)
        if there is not here
    ]


def _pair(work: tuple[str, ...], there: Reference, here: Reference) -> Pair:
    watts = there.watts or math.nan
    gpus = int(there.settings["num_gpus"]), int(here.settings["num_gpus"])
    twin = Twin(f"{there.model}[{'-'.join(work)}]", math.log(_joules(here) / _joules(there)), math.log(watts))
    if watts / gpus[0] < WAITING * LIMITS[there.gpu]:
        kind = "waits"
    else:
        kind = "memory-bound" if int(there.settings.get("max_num_seqs", 1_000_000)) <= SMALL_BATCH else "compute-bound"
    return Pair(there.model, there.task, work, gpus, there.gpu, here.gpu, twin, kind)


def _joules(row: Reference) -> float:
    return next(iter(row.joules.values()))


def others(all_pairs: Sequence[Pair], target: Pair, *, models: bool) -> list[Pair]:
    """What a pair can be predicted from: the same two SKUs, without itself, or without its model."""
    return [
        pair
        for pair in all_pairs
        if pair.skus == target.skus and pair is not target and not (models and pair.model == target.model)
    ]


def left_out(all_pairs: Sequence[Pair], way: Way, *, models: bool) -> list[Case]:
    """Every pair in turn, from all others, or from all of other models."""
    known = ((target, others(all_pairs, target, models=models)) for target in all_pairs)
    return [Case(target, way(shared, target)) for target, shared in known if len(shared) >= FEWEST_TESTS]


def drawn(
    all_pairs: Sequence[Pair], count: int, *, models: bool = True, of_models: int | None = None, way: Way = by_line
) -> list[Case]:
    """What users with so many shared tests would see; ``of_models``, of so many models alone."""
    rng = random.Random(count)
    cases: list[Case] = []
    pools = {id(pair): others(all_pairs, pair, models=models) for pair in all_pairs}
    while len(cases) < DRAWS:
        target = rng.choice(all_pairs)
        pool = pools[id(target)]
        if of_models is not None:
            names = sorted({pair.model for pair in pool})
            chosen = set(rng.sample(names, min(of_models, len(names))))
            pool = [pair for pair in pool if pair.model in chosen]
        if len(pool) >= count:
            cases.append(Case(target, way(rng.sample(pool, count), target)))
    return cases


def told(cases: Sequence[Case]) -> dict[str, float | int | None]:
    """Coverage and width of all intervals, and of those that are narrow enough to be shown."""
    shown = [case for case in cases if case.width <= WIDEST]
    return {
        "cases": len(cases),
        "coverage": round(fmean(case.covers for case in cases), 3),
        "median_width": round(median(case.width for case in cases), 2),
        "shown": round(len(shown) / len(cases), 3),
        "coverage_of_shown": round(fmean(case.covers for case in shown), 3) if shown else None,
        "median_width_of_shown": round(median(case.width for case in shown), 2) if shown else None,
    }


def split(cases: Sequence[Case], by: Callable[[Pair], str]) -> Iterator[tuple[str, dict[str, float | int | None]]]:
    """The same for each part of the cases."""
    for name in sorted({by(case.pair) for case in cases}):
        yield name, told([case for case in cases if by(case.pair) == name])


def spreads(all_pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Where the priors come from: a line over log watts, and how changes spread around it, for each two SKUs."""
    found = {}
    for skus in sorted({pair.skus for pair in all_pairs}):
        some = [pair for pair in all_pairs if pair.skus == skus]
        slope, level = linear_regression([p.twin.power for p in some], [p.twin.change for p in some])
        left = [pair.twin.change - level - slope * pair.twin.power for pair in some]
        found[" -> ".join(skus)] = {
            "pairs": len(some),
            "sd": round(stdev(pair.twin.change for pair in some), 3),
            "slope": round(slope, 3),
            "sd_around_line": round(math.sqrt(math.fsum(one * one for one in left) / (len(left) - 2)), 3),
            "correlation_within_model": round(within([pair.model for pair in some], left), 2),
        }
    return found


def within(groups: Sequence[str], values: Sequence[float]) -> float:
    """The intraclass correlation, by one-way analysis of variance (Fisher, *Statistical Methods*, 1925, chapter 7)."""
    members = [[value for group, value in zip(groups, values, strict=True) if group == name] for name in {*groups}]
    total, count, mean = len(values), len(members), fmean(values)
    size = (total - sum(len(some) ** 2 for some in members) / total) / (count - 1)
    between = math.fsum(len(some) * (fmean(some) - mean) ** 2 for some in members) / (count - 1)
    inside = math.fsum((value - fmean(some)) ** 2 for some in members for value in some) / (total - count)
    return (between - inside) / (between + (size - 1) * inside)


def worth(sds: Iterable[float]) -> float:
    """Degrees of freedom whose variances differ as much as these: 2 over their squared coefficient of variation."""
    variances = [sd**2 for sd in sds]
    return 2 * (fmean(variances) / stdev(variances)) ** 2


def of_several(all_pairs: Sequence[Pair], count: int) -> dict[str, list[Case]]:
    """One target, predicted from every other SKU by ``count`` shared tests of other models: all, and the narrowest."""
    rng = random.Random(count)
    pools: dict[tuple[str, str], list[Pair]] = {}
    for pair in all_pairs:
        pools.setdefault(pair.skus, []).append(pair)
    targets: dict[tuple[tuple[str, ...], str], list[Pair]] = {}
    for pair in all_pairs:
        targets.setdefault((pair.work, pair.skus[1]), []).append(pair)
    every: list[Case] = []
    narrowest: list[Case] = []
    for known in targets.values():
        cases = []
        for pair in known:
            pool = [other for other in pools[pair.skus] if other.model != pair.model]
            if len(pool) >= count:
                cases.append(Case(pair, by_line(rng.sample(pool, count), pair)))
        if len(cases) > 1:
            every += cases
            narrowest.append(min(cases, key=lambda case: case.width))
    return {"every other SKU": every, "the narrowest of them": narrowest}


PARTS: Mapping[str, Callable[[Pair], str]] = {
    "direction": lambda pair: f"{pair.there} -> {pair.here}",
    "GPUs": lambda pair: str(pair.gpus[0]),
    "task": lambda pair: pair.task,
    "what it is bound by": lambda pair: pair.kind,
}
BOUND = PARTS["what it is bound by"]


def results(rows: Sequence[Reference]) -> dict[str, Any]:
    """All figures."""
    same = [pair for pair in pairs(rows, (RUN,)) if pair.there != pair.here and pair.gpus[0] == pair.gpus[1]]
    whole, models = left_out(same, by_line, models=False), left_out(same, by_line, models=True)
    found: dict[str, Any] = {
        "pairs": len(same) // 2,
        "models": len({pair.model for pair in same}),
        "priors": priors(same),
        "one pair left out": told(whole),
        "one model left out": told(models),
    }
    for name, by in PARTS.items():
        found[f"one pair left out, by {name}"] = dict(split(whole, by))
        found[f"one model left out, by {name}"] = dict(split(models, by))
    ways = {
        "the mean of all": left_out(same, by_mean, models=True),
        "the mean of a kind": left_out(same, by_kind, models=True),
        "a line over watts": models,
    }
    found["other ways, one model left out"] = {
        name: {"all": told(cases), **dict(split(cases, BOUND))} for name, cases in ways.items()
    }
    users = {str(count): drawn(same, count) for count in SIZES}
    found["shared tests of any other model"] = {count: told(cases) for count, cases in users.items()}
    found["shared tests of any other model, by what it is bound by"] = {
        count: dict(split(cases, BOUND)) for count, cases in users.items()
    }
    found["shared tests, its model's among them"] = {str(n): told(drawn(same, n, models=False)) for n in SIZES}
    found["shared tests of one other model"] = {str(n): told(drawn(same, n, of_models=1)) for n in FEW}
    found["shared tests of two other models"] = {str(n): told(drawn(same, n, of_models=2)) for n in FEW}
    diffusion = [pair for pair in same if pair.task == "text-to-image"]
    # Of the others, those on eight GPUs are of one model.
    tokens = [pair for pair in same if pair.task != "text-to-image" and pair.gpus[0] == 1]
    found["three shared tests, with the spread of the other tasks as prior"] = {
        "lm-arena-chat and sourcegraph-fim": told(with_prior(tokens, priors(diffusion)["sd"])),
        "text-to-image": told(with_prior(diffusion, priors(tokens)["sd"])),
    }
    shares = {name for row in rows for name in row.settings if name.endswith(("parallel", "degree"))}
    several = pairs(rows, {"num_gpus", RUN, *shares})
    found["several SKUs"] = {str(n): {name: told(cases) for name, cases in of_several(several, n).items()} for n in FEW}
    return found


def with_prior(some: Sequence[Pair], sd: float) -> list[Case]:
    """What users with three shared tests would see if the prior came from elsewhere."""
    with patch.object(estimating, "SPREAD_SD", sd):
        return drawn(some, 3)


def priors(some: Sequence[Pair]) -> dict[str, Any]:
    """What the constants of the plugin are if they come from these pairs, and from what."""
    lines = spreads(some)
    sds = [line["sd_around_line"] for line in lines.values()]
    return {
        "lines": lines,
        "sd": round(_rms(sds), 3),
        "df": round(worth(sds), 1),
        "slope_sd": round(_rms(line["slope"] for line in lines.values()), 2),
        "correlation_within_model": round(fmean(line["correlation_within_model"] for line in lines.values()), 2),
    }


def _rms(values: Iterable[float]) -> float:
    return math.sqrt(fmean(value * value for value in values))


def tables(found: Mapping[str, Any]) -> Iterator[str]:
    """A table for each group of figures, the first one for those that are alone."""
    groups = {name: figures for name, figures in found.items() if isinstance(figures, dict) and name != "priors"}
    alone = {name: figures for name, figures in groups.items() if "cases" in figures}
    yield _table("left out", alone)
    for name, group in groups.items():
        if name not in alone:
            yield _table(name, dict(_flat(group)))


def _flat(group: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, figures in group.items():
        if "cases" in figures:
            yield prefix + name, figures
        else:
            yield from _flat(figures, f"{prefix}{name}, ")


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    heads = (title, "cases", "coverage", "width, median", "shown", "coverage of shown", "width of shown")
    cells = [
        (name, row["cases"], _percent(row["coverage"]), f"x {row['median_width']:.2f}", _percent(row["shown"]),
         _percent(row["coverage_of_shown"]), f"x {row['median_width_of_shown']:.2f}" if row["shown"] else "-")
        for name, row in rows.items()
    ]  # fmt: skip
    return tabulate(cells, heads, tablefmt="github", disable_numparse=True)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and write the figures if somebody wants them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    rows = read_mlenergy(options.files, Told(PUBLISHED)).references
    found = results(rows)
    print(f"{found['pairs']} pairs of {found['models']} models; interval {SURE:.0%}, shown below x {WIDEST}")
    for name, used in (
        ("sd", SPREAD_SD), ("df", SPREAD_DF), ("slope_sd", SLOPE_SD), ("correlation_within_model", ALIKE),
    ):  # fmt: skip
        print(f"prior {name}: {found['priors'][name]} here, {used} in use")
    for table in tables(found):
        print(f"\n{table}")
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
