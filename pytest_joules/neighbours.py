"""The baselines of other SKUs, beside which a window can be placed that has none of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache

from pytest_joules.baselines.store import BaselineError, BaselineFile
from pytest_joules.estimating import Twin, alike, expectation, twins
from pytest_joules.model import BaselineKey, Expectation, Measurement


class Neighbours:
    """The baseline files beside each other; each is read when it is first asked for, and once."""

    def __init__(self, skus: Callable[[], Iterable[str]], load: Callable[[str], BaselineFile]) -> None:
        """Nothing is read yet.

        Args:
            skus: The SKUs that there are files of.
            load: Reads one SKU's file.  Both may raise BaselineError.
        """
        self._skus = skus
        self._load = load
        self._read = cache(self._read_others)
        self._twins = cache(self._find_twins)

    def expectation(self, sku: str, key: BaselineKey, measurement: Measurement) -> Expectation | None:
        """What a window ought to cost on ``sku``, which stores nothing of it; ``None`` if no other SKU can tell.

        Of several the narrowest counts.
        """
        found = [
            expected
            for other, file in self._read(sku)[0].items()
            if (stored := file.sessions(key))
            and alike(measurement, stored)
            and (expected := expectation(other, stored, self._twins(sku, other)))
        ]
        return min(found, key=lambda expected: expected.high / expected.low, default=None)

    def problems(self, sku: str) -> tuple[str, ...]:
        """Plain sentences on what cannot be read of other SKUs."""
        return self._read(sku)[1]

    def _read_others(self, sku: str) -> tuple[Mapping[str, BaselineFile], tuple[str, ...]]:
        files: dict[str, BaselineFile] = {}
        problems: list[str] = []
        simulated = _simulated(sku)
        try:
            others = [other for other in self._skus() if other != sku and _simulated(other) == simulated]
        except BaselineError as error:
            others, problems = [], [str(error)]
        for other in others:
            try:
                files[other] = self._load(other)
            except BaselineError as error:
                problems.append(str(error))
        return files, tuple(f"nothing expected by another SKU's baseline: {problem}" for problem in problems)

    def _find_twins(self, sku: str, other: str) -> tuple[Twin, ...]:
        return twins(self._load(sku).entries, self._read(sku)[0][other].entries)


def _simulated(sku: str) -> bool:
    return sku.startswith("simulated-")
