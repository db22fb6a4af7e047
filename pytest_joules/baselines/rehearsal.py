"""Baseline files as an update would leave them: what a dry run writes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pytest_joules.baselines.store import Addition, BaselineError, BaselineFile, BaselineStore, added
from pytest_joules.model import BaselineChange, BaselineKey


class Rehearsal(BaselineStore):
    """A directory of baseline files whose updates stay in memory."""

    def __init__(self, directory: Path) -> None:
        """Nothing is changed yet."""
        super().__init__(directory)
        self._changed: dict[str, BaselineFile] = {}

    def load(self, sku: str) -> BaselineFile:
        """One SKU's file, with the updates so far."""
        return self._changed[sku] if sku in self._changed else super().load(sku)

    def update(
        self, sku: str, device: str, simulated: bool, additions: Mapping[BaselineKey, Addition]
    ) -> tuple[BaselineChange, ...]:
        """What an update would change; nothing is written."""
        if simulated != sku.startswith("simulated-"):
            raise BaselineError(f"{self.path(sku)}: simulated joules are never written beside real ones")
        stored = self.load(sku)
        stored = replace(stored, device=stored.device or device, simulated=simulated)
        self._changed[sku], changes = added(stored, additions, self.path(sku))
        return changes
