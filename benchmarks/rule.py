"""The rule on simulated sessions: how often it is wrong, and when it says that it cannot tell.

    python benchmarks/rule.py [--only table|outlying|anchor]

Sessions differ by 0.1 to 1 % and their blocks by 0.2 %; a baseline of a few
sessions is drawn, then a run whose true rise is none or twice the tolerance,
looked at as the sampler does, a REGRESSED confirmed on fresh blocks of the
same session.  The window stands alone, among eight others as noisy as itself,
or among eight quiet ones (0.15 %), which is the hardest: they vouch for it.

*False alarms* are REGRESSED without a rise, *misses* PASS with one of twice
the tolerance; everything else that is not decided is INCONCLUSIVE.

Two short tables follow, of four times as many unchanged runs: a noisy window
among quiet ones with and without the F test that sets it apart, and a window
with and without pinned sessions, at a tolerance that hides nothing.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean
from unittest.mock import patch

from tabulate import tabulate

from pytest_joules.decision import ALPHA, LOOKS, Terms, decide
from pytest_joules.history import Suite
from pytest_joules.model import (
    BaselineKey,
    Block,
    Conditions,
    Device,
    Measurement,
    Session,
    Verdict,
    VerdictKind,
    WindowKind,
)
from pytest_joules.recorder import RECORDED_BLOCKS

TOLERANCE = 0.02
BLOCK_SD = 0.002
QUIET_SD = 0.0015
NEIGHBOURS = 8
SESSION_SDS = (0.001, 0.002, 0.003, 0.005, 0.007, 0.01)
NOISY_SD = 0.01
ANCHOR_SDS = (0.003, 0.005, 0.01)
ANCHOR_SESSIONS = 20
PINNED = 10
HIDES_NOTHING = 1e-6
SECTIONS = ("table", "outlying", "anchor")
DEVICE = Device(0, "NVIDIA H200", "abc")


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table: the window's noise, its baseline, and its company."""

    session_sd: float
    sessions: int
    company: str


def blocks(random_: random.Random, level: float, count: int) -> tuple[Block, ...]:
    """Blocks of half a second around a session's level."""
    return tuple(Block(50.0 * math.exp(random_.gauss(level, BLOCK_SD)), 1000.0, 0.5) for _ in range(count))


def sessions(random_: random.Random, count: int, sd: float) -> list[Session]:
    """Recorded sessions of one window."""
    return [Session("now", ("abc",), blocks(random_, random_.gauss(0, sd), RECORDED_BLOCKS)) for _ in range(count)]


def judged(random_: random.Random, level: float, baseline: Sequence[Session], terms: Terms) -> tuple[Verdict, int]:
    """The verdict on one stretch of blocks, and how many it took."""
    taken = blocks(random_, level, LOOKS[-1])
    for look in LOOKS:
        measured = Measurement(
            "main", WindowKind.REPEATED, (DEVICE,), {"call": taken[:look]}, 1.0, 0.0, Conditions(None)
        )
        verdict = decide(measured, baseline, terms)
        if not verdict.more_gpu_time_helps:
            break
    return verdict, look


def confirmed(
    random_: random.Random, level: float, baseline: Sequence[Session], terms: Terms
) -> tuple[VerdictKind, int]:
    """The final verdict of a run, and its blocks."""
    verdict, taken = judged(random_, level, baseline, terms)
    if verdict.kind is VerdictKind.REGRESSED:
        verdict, again = judged(random_, level, baseline, terms)
        taken += again
    return verdict.kind, taken


def one_run(random_: random.Random, setting: Setting, rise: float) -> tuple[VerdictKind, int]:
    """The final verdict of one simulated run, and its blocks."""
    own = sessions(random_, setting.sessions, setting.session_sd)
    entries = {BaselineKey("own", "main", "call"): own}
    if setting.company != "alone":
        sd = setting.session_sd if setting.company == "alike" else QUIET_SD
        for number in range(NEIGHBOURS):
            entries[BaselineKey(f"other {number}", "main", "call")] = sessions(random_, setting.sessions, sd)
    suite = Suite(entries).without("own", "main", WindowKind.REPEATED)
    terms = Terms("call", TOLERANCE, family=len(entries), suite=suite)
    level = math.log1p(rise) + random_.gauss(0, setting.session_sd)
    return confirmed(random_, level, own, terms)


def row(setting: Setting, runs: int) -> tuple[str, ...]:
    """The setting's line."""
    random_ = random.Random(repr(setting))
    level = Counter(kind for kind, _ in (one_run(random_, setting, 0.0) for _ in range(runs)))
    risen = [one_run(random_, setting, 2 * TOLERANCE + TOLERANCE**2) for _ in range(runs)]
    found = Counter(kind for kind, _ in risen)
    return (
        f"{setting.session_sd:.1%}",
        str(setting.sessions),
        setting.company,
        f"{level[VerdictKind.REGRESSED] / runs:.1%}",
        f"{found[VerdictKind.PASS] / runs:.1%}",
        f"{level[VerdictKind.PASS] / runs:.0%}",
        f"{found[VerdictKind.REGRESSED] / runs:.0%}",
        f"{level[VerdictKind.INCONCLUSIVE] / runs:.0%}",
        f"{found[VerdictKind.INCONCLUSIVE] / runs:.0%}",
        f"{fmean(taken for _, taken in risen):.1f}",
    )


def outlying_row(sessions: int, runs: int) -> tuple[str, ...]:
    """False alarms of a noisy window among quiet ones, with and without the F test."""
    setting = Setting(NOISY_SD, sessions, "quiet")

    def share() -> str:
        random_ = random.Random(repr(setting))
        kinds = Counter(one_run(random_, setting, 0.0)[0] for _ in range(runs))
        return f"{kinds[VerdictKind.REGRESSED] / runs:.1%}"

    tested = share()
    with patch("pytest_joules.statistics.OUTLYING", 1.0):
        return f"{NOISY_SD:.1%}", str(sessions), tested, share()


def anchor_row(session_sd: float, runs: int) -> tuple[str, ...]:
    """False alarms without and with pinned sessions, on the same sessions and blocks."""
    random_ = random.Random(f"anchor {session_sd}")
    terms = Terms("call", HIDES_NOTHING)
    alone = together = 0
    for _ in range(runs):
        own = sessions(random_, ANCHOR_SESSIONS, session_sd)
        pinned = [replace(session, anchor=number < PINNED) for number, session in enumerate(own)]
        level, seed = random_.gauss(0, session_sd), random_.random()
        alone += confirmed(random.Random(seed), level, own, terms)[0] is VerdictKind.REGRESSED
        together += confirmed(random.Random(seed), level, pinned, terms)[0] is VerdictKind.REGRESSED
    return f"{session_sd:.1%}", f"{alone / runs:.2%}", f"{together / runs:.2%}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="of each kind and setting")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="print this one; may be repeated")
    options = parser.parse_args()
    chosen, runs = options.only or SECTIONS, options.runs
    with ProcessPoolExecutor() as pool:
        if "table" in chosen:
            settings = [Setting(sd, k, c) for c, k, sd in product(("alone", "alike", "quiet"), (3, 10), SESSION_SDS)]
            rows = list(pool.map(row, settings, [runs] * len(settings)))
            headers = ("session sd", "sessions", "company", "false alarms", "misses", "PASS at 0", "REGRESSED at 2T")
            print(tabulate(rows, headers=(*headers, "INC. at 0", "INC. at 2T", "blocks at 2T"), tablefmt="github"))
            print(
                f"\n(tolerance {TOLERANCE:.0%}, {runs} runs of each kind; the promise: false alarms up to {ALPHA:.0%})"
            )
        if "outlying" in chosen:
            print(f"\nfalse alarms among quiet windows, {4 * runs} runs:\n")
            rows = list(pool.map(outlying_row, (3, 10), [4 * runs] * 2))
            print(tabulate(rows, headers=("session sd", "sessions", "F test", "without it"), tablefmt="github"))
        if "anchor" in chosen:
            print(f"\nfalse alarms, {PINNED} of {ANCHOR_SESSIONS} sessions pinned or none, {4 * runs} runs:\n")
            rows = list(pool.map(anchor_row, ANCHOR_SDS, [4 * runs] * len(ANCHOR_SDS)))
            print(tabulate(rows, headers=("session sd", "none", "pinned"), tablefmt="github"))


if __name__ == "__main__":
    main()
