"""Where the baselines come from that a stored run is judged by: a directory, one file, or another commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pytest_joules.baselines.at_ref import BaselinesAtRef
from pytest_joules.baselines.store import BaselineError, BaselineFile, BaselineStore, of_sku, read

USUAL = Path("baselines")


@dataclass(frozen=True, slots=True)
class Source:
    """Baseline files by their SKU.

    Attributes:
        name: What reports call the place that they are in.
        load: Reads one SKU's file, each but once; a missing one is empty.  It may raise BaselineError.
        sku: The SKU that was named with its file; ``None`` where a directory was.
        here: The work tree's files.
        base: Those of another commit, where these judge; what is new since then is judged by the work tree's.
    """

    name: str
    load: Callable[[str], BaselineFile]
    sku: str | None
    here: BaselineStore
    base: BaselinesAtRef | None = None

    def skus(self) -> tuple[str, ...]:
        """The SKUs that there are files of.

        Raises:
            BaselineError: if nobody can tell.
        """
        return (self.base or self.here).skus()

    @classmethod
    def find(cls, place: Path | None, ref: str | None, beside: Path) -> Source:
        """The baselines that a user means.

        Args:
            place: A directory of baseline files, or one of them, which then counts alone; ``None`` for ``baselines`` in
                the current directory, else beside the result.
            ref: The commit whose files they are; ``None`` for those of the work tree.  A file that is named has to be
                there, and those beside it count, too.
            beside: The result.

        Raises:
            BaselineError: if there are none, or the one file cannot be used.
        """
        if ref is not None:
            named = place if place is not None and place.suffix == ".json" and not place.is_dir() else None
            directory = (named.parent if named is not None else place or USUAL).absolute()
            here, base = BaselineStore(directory), BaselinesAtRef(directory, ref, Path.cwd())
            sku = None if named is None else named.stem
            if sku is not None and base.data(sku) is None:
                raise BaselineError(f"{base.shown(sku)}: there is no such file in that commit")
            return cls(base.revision.shown(directory), cache(base.load), sku, here, base)
        if place is None:
            place = next((found for found in (USUAL, beside.parent / USUAL) if found.is_dir()), None)
            if place is None:
                raise BaselineError(f"no baselines in ./{USUAL}; name them with --baseline DIR, or record some")
        if place.is_dir():
            store = BaselineStore(place)
            return cls(str(place), cache(store.load), None, store)
        file = read(place)
        if file is None:
            raise BaselineError(f"{place}: there is no such file or directory")
        file = of_sku(file, file.sku, place)
        here = BaselineStore(place.parent)
        return cls(str(place.parent), lambda sku: file if sku == file.sku else BaselineFile(sku), file.sku, here)
