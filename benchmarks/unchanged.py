"""Whether work that did not change gets a mechanism: A/A pairs of what was measured on H200s.

    python benchmarks/unchanged.py --baselines baselines/nvidia-h200.json \
        $(find benchmarks/results -name '*unchanged-*.json' -o -name 'record-*.json')

All pairs that can be formed, in both directions: two stored sessions of one window on one device, each as if it were
today's and the other one the baseline; every report of unchanged work with its stored sessions; and every two reports,
as ``pytest-joules explain`` has them, of one device or of two of one SKU.  The noise is half the width of a verdict's
interval, in which 98 of 100 pairs lie, or that of ``explain``.

Since most pairs lie within it, each is explained once more as if its change were just outside: that tries the signs of
the rules by themselves.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_joules.baselines import store
from pytest_joules.decision import Terms, decide
from pytest_joules.diagnosis.explain import explain
from pytest_joules.diagnosis.observation import Observation
from pytest_joules.explaining import explain_sides, read_side
from pytest_joules.history import Suite
from pytest_joules.model import BaselineKey, Device, Diagnosis, Measurement, Session, VerdictKind
from pytest_joules.reporting.json import read

JUST_OUTSIDE = 0.999
"""Share of a change that is taken for its noise."""


@dataclass(frozen=True)
class Pair:
    """One comparison of unchanged work."""

    name: str
    before: Observation
    after: Observation
    noise: float

    @property
    def diagnosis(self) -> Diagnosis:
        """Why the two differ."""
        return explain(self.before, self.after, self.noise)

    @property
    def outside(self) -> bool:
        """Whether the interval does not hold the change."""
        return abs(self.diagnosis.change) > self.noise

    @property
    def doubted(self) -> Diagnosis:
        """The same as if the change were just outside the noise."""
        return explain(self.before, self.after, JUST_OUTSIDE * abs(self.diagnosis.change))


def of_sessions(file: store.BaselineFile, tolerance: float = 0.02) -> Iterator[Pair]:
    """Every two sessions of a window on one device, both ways."""
    suite = Suite(file.entries)
    for key, sessions in file.entries.items():
        for then, now in itertools.permutations(sessions, 2):
            if then.devices == now.devices and then.kind is now.kind:
                measured = _measured(key, now, file.device)
                terms = Terms(key.unit, tolerance, suite=suite.without(key.test, key.window, now.kind))
                verdict = decide(measured, [then], terms)
                if verdict.ratio is None or verdict.ratio_high is None:
                    raise ValueError(f"{key}: {verdict.kind.value}: {verdict.reason}")
                noise = math.log(verdict.ratio_high / verdict.ratio)
                before = Observation.of_sessions([then], key.unit, file.device)
                yield Pair(str(key), before, Observation.of_measurement(measured, key.unit), noise)


def _measured(key: BaselineKey, session: Session, name: str) -> Measurement:
    """A stored session as if it had just been measured."""
    return Measurement(
        window=key.window,
        kind=session.kind,
        devices=tuple(Device(i, name, identity, driver=session.driver) for i, identity in enumerate(session.devices)),
        blocks={key.unit: session.blocks},
        calls=1.0,
        warmup_seconds=0.0,
        conditions=session.conditions,
    )


def of_report(path: Path, file: store.BaselineFile) -> Iterator[Pair]:
    """The budgets of a report of unchanged work, each with the stored sessions of its device."""
    for result in read(path).results:
        verdict, measured, key = result.verdict, result.measurement, result.key
        known = None not in (verdict.ratio, verdict.ratio_high)
        if measured is None or key is None or not known or verdict.kind is VerdictKind.INVALID:
            continue
        devices = tuple(device.identity for device in measured.devices)
        stored = [s for s in file.entries.get(key, ()) if s.devices == devices and s.kind is measured.kind]
        if stored:
            before = Observation.of_sessions(stored, key.unit, file.device)
            noise = math.log((verdict.ratio_high or 1.0) / (verdict.ratio or 1.0))
            yield Pair(f"{path.name}: {key}", before, Observation.of_measurement(measured, key.unit), noise)


def of_reports(paths: Sequence[Path], one_device: bool) -> Iterator[Pair]:
    """Every two reports that share a series, both ways: those of one device, or those of two."""
    sides = [read_side(str(path)) for path in paths]
    for before, after in itertools.permutations(sides, 2):
        if before.series.keys() & after.series.keys():
            for found in explain_sides(before, after).series:
                then, now = (side.series[found.after].measurement for side in (before, after))
                assert then is not None
                assert now is not None
                if ([d.identity for d in then.devices] == [d.identity for d in now.devices]) is not one_device:
                    continue
                unit = found.after.unit
                yield Pair(
                    f"{before.name} -> {after.name}: {found.after}",
                    Observation.of_measurement(then, unit),
                    Observation.of_measurement(now, unit),
                    found.diagnosis.noise,
                )


def summary(what: str, pairs: Sequence[Pair]) -> str:
    """How many lie outside the noise, and how many were given a cause, and would be if all lay outside."""
    named = [pair for pair in pairs if pair.diagnosis.causes]
    doubted = [pair.doubted.causes for pair in pairs]
    mechanisms = sum(any(cause.explains is not None for cause in causes) for causes in doubted)
    lines = [
        f"{what}: {len(pairs)} pairs, {sum(p.outside for p in pairs)} outside the noise, {len(named)} given a cause",
        f"  just outside the noise: {mechanisms} given a mechanism, {sum(map(bool, doubted)) - mechanisms} a choice of "
        "several that missing signals leave open",
    ]
    return "\n".join(lines + [f"  {pair.name}: {pair.diagnosis.causes[0].text}" for pair in named])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each kind of pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="*", type=Path)
    parser.add_argument("--baselines", type=Path, required=True)
    options = parser.parse_args(arguments)
    file = store.read(options.baselines)
    if file is None:
        parser.error(f"no file {options.baselines}")
    print(summary("stored sessions", list(of_sessions(file))))
    print(summary("reports and sessions", [pair for path in options.reports for pair in of_report(path, file)]))
    print(summary("reports of one device", list(of_reports(options.reports, one_device=True))))
    print(summary("reports of two devices", list(of_reports(options.reports, one_device=False))))


if __name__ == "__main__":
    main()
