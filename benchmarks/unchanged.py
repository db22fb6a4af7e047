"""Whether work that did not change gets a mechanism: A/A pairs of what was measured on H200s.

    python benchmarks/unchanged.py --baselines baselines/nvidia-h200.json benchmarks/results/*/unchanged-*.json \
        benchmarks/results/h200-engines/*/unchanged-*.json

Every two stored sessions of one window on one device are compared in both directions, each as if it were today's and
the other one the baseline; and every report of unchanged work with its stored sessions.  The noise is what a verdict
takes: half the width of its interval.
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
from pytest_joules.history import Suite
from pytest_joules.model import BaselineKey, Device, Diagnosis, Measurement, Session, VerdictKind
from pytest_joules.reporting.json import read


@dataclass(frozen=True)
class Pair:
    """One comparison of unchanged work."""

    name: str
    diagnosis: Diagnosis

    @property
    def outside(self) -> bool:
        """Whether the verdict's interval does not hold it."""
        return abs(self.diagnosis.change) > self.diagnosis.noise


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
                yield Pair(str(key), explain(before, Observation.of_measurement(measured, key.unit), noise))


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
            yield Pair(f"{path.name}: {key}", explain(before, Observation.of_measurement(measured, key.unit), noise))


def summary(what: str, pairs: Sequence[Pair]) -> str:
    """How many were given a cause, and how many had a change outside the noise."""
    named = [pair for pair in pairs if pair.diagnosis.causes]
    outside = sum(pair.outside for pair in pairs)
    lines = [f"{what}: {len(pairs)} pairs, {outside} outside the noise, {len(named)} given a cause"]
    return "\n".join(lines + [f"  {pair.name}: {pair.diagnosis.causes[0].text}" for pair in named])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for sessions and one for reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="*", type=Path)
    parser.add_argument("--baselines", type=Path, required=True)
    options = parser.parse_args(arguments)
    file = store.read(options.baselines)
    if file is None:
        parser.error(f"no file {options.baselines}")
    print(summary("stored sessions", list(of_sessions(file))))
    print(summary("reports of unchanged work", [pair for path in options.reports for pair in of_report(path, file)]))


if __name__ == "__main__":
    main()
