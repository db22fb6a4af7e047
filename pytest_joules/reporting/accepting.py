"""What accepting a run did to the baselines, on the terminal."""

from __future__ import annotations

from collections import Counter

from pytest_joules.accepting import Accepted
from pytest_joules.reporting.terminal import changes


def report(accepted: Accepted, place: str, *, dry: bool) -> list[str]:
    """Old and new of every series, what was stored already, and what was not stored.

    ``place`` is what the directory of the baseline files is called; ``dry`` says that nothing was written.
    """
    lines = [f"not stored: {text}" for text in dict.fromkeys(accepted.refused)]
    for key, count in Counter(accepted.known).items():
        lines.append(f"stored already: {key}" + (f", {count} times" if count > 1 else ""))
    if accepted.changes:
        lines += [f"baselines that would be written in {place}:" if dry else f"baselines written in {place}:"]
        lines += changes(accepted.changes)
    else:
        lines.append(f"nothing {'would be' if dry else 'was'} written in {place}")
    if dry and accepted.changes:
        lines.append("a dry run: nothing was written")
    return lines
