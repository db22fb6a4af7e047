"""Baseline files as a commit has them: what a pull request is judged by, whatever it does to its own copies."""

from __future__ import annotations

from pathlib import Path

from pytest_joules.baselines.store import (
    BaselineError,
    BaselineFile,
    BaselineStore,
    is_sku,
    of_sku,
    parse,
)
from pytest_joules.stored import LARGEST_FILE
from pytest_joules.vcs import RefError, Revision


class BaselinesAtRef:
    """A directory of baseline files at one commit; it can be read only."""

    def __init__(self, directory: Path, ref: str, start: Path) -> None:
        """Find the commit; no file is read yet.

        Args:
            directory: The directory as it is in the work tree; it need not exist there.
            ref: A branch, tag or commit.
            start: Where the user is; its repository has the commit, unless ``directory`` lies outside of it.

        Raises:
            BaselineError: if git cannot tell; it says what to do.
        """
        self._places = BaselineStore(directory)
        self._data: dict[str, bytes | None] = {}
        self._loaded: dict[str, BaselineFile] = {}
        try:
            self.revision = Revision.find(ref, directory / "file", start)
        except RefError as error:
            raise BaselineError(str(error)) from error

    def shown(self, sku: str) -> str:
        """``origin/main:baselines/nvidia-h200.json``."""
        return self.revision.shown(self._places.path(sku))

    def load(self, sku: str) -> BaselineFile:
        """Read one SKU's file; a missing one is empty.

        Raises:
            BaselineError: if it is not a sound baseline file of this SKU.
        """
        # A commit does not change.
        if sku not in self._loaded:
            name, data = self.shown(sku), self.data(sku)
            self._loaded[sku] = BaselineFile(sku) if data is None else of_sku(parse(data, name), sku, name)
        return self._loaded[sku]

    def data(self, sku: str) -> bytes | None:
        """The bytes of one SKU's file; ``None`` if the commit has none.

        Raises:
            BaselineError: if it is no regular file, or not here.
        """
        try:
            if sku not in self._data:
                self._data[sku] = self.revision.read(self._places.path(sku), LARGEST_FILE)
        except RefError as error:
            raise BaselineError(str(error)) from error
        return self._data[sku]

    def skus(self) -> tuple[str, ...]:
        """The SKUs that the commit has files of."""
        try:
            names = self.revision.names(self._places.directory)
        except RefError as error:
            raise BaselineError(str(error)) from error
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return tuple(stem for stem in stems if is_sku(stem))
