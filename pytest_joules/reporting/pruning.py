"""Series that are deleted, or would be, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_joules.pruning import Entry
from pytest_joules.units import plural


def report(chosen: Sequence[Entry], stored: int, *, deleted: bool) -> list[str]:
    """A line for each series, and how many they are of all that are ``stored``."""
    lines = [
        f"  {entry.sku}: {entry.key}: {plural(len(entry.sessions), 'session')}, "
        f"the last of {entry.sessions[-1].recorded[:10]}"
        for entry in chosen
    ]
    if not chosen:
        return [f"nothing to delete: {stored} series stored, none of them stale"]
    counted = f"{len(chosen)} of {stored} series"
    if deleted:
        return [f"deleted {counted}:", *lines]
    return [f"{counted} would be deleted:", *lines, "nothing was deleted; add --yes to delete them"]
