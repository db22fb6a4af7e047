"""Sweeps inside pytest: the order of the points, and further measurements after the first pass.

The first pass is pytest's own: the tests of a group run in an order drawn from
a seed, as far as tests that share an expensive fixture stay together.  After the
last of them those points are run again that could change the answer.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from secrets import randbelow
from typing import Any

import pytest

from pytest_joules.arguments import MarkerError
from pytest_joules.grouping import Member, grouped, settings_of
from pytest_joules.markers import SWEEP, sweep_of
from pytest_joules.model import Measurement, Sweep
from pytest_joules.options import Options
from pytest_joules.sweeps import Attempt, affordable, planned
from pytest_joules.sweeps import sweep_of as made
from pytest_joules.units import plural

SEED = "pytest_joules_seed"
"""Under this name the controller of pytest-xdist tells its workers the seed: all must come to the same order."""

AGAIN = "pytest_joules_again"
"""Marks the reports of a further measurement."""

SEEDS = 2**31

AHEAD = 4
"""Measurements that are planned at a time, so that those of one engine come together."""


class Sweeper:
    """Orders the points of sweeps, runs some of them again, and puts together what they come to.

    Attributes:
        members: The tests that are points, by group, in the order of the tests.
        groups: The group of each of them, by node id.
        again: Whether a test runs that has run before: it is measured and not judged.
    """

    def __init__(
        self, config: pytest.Config, options: Options, faults: Callable[[str], str], once: Callable[[], str]
    ) -> None:
        """Nothing is collected yet.

        Args:
            config: The run's.
            options: Its options.
            faults: Why a test, by its node id, can be no point that is chosen; empty if it can.
            once: Why every point is measured only once; empty if it is not.
        """
        self._options = options
        self._faults = faults
        self._once = once
        drawn = randbelow(SEEDS) if options.sweep_seed is None else options.sweep_seed
        self.seed: int = getattr(config, "workerinput", {}).get(SEED, drawn)
        self.members: dict[str, tuple[Member, ...]] = {}
        self.groups: dict[str, str] = {}
        self.again = False
        self._taken = False
        self._items: dict[str, pytest.Item] = {}
        self._closing: dict[str, tuple[str, ...]] = {}
        self._together: dict[str, tuple[str, ...]] = {}
        self._attempts: defaultdict[str, list[tuple[int, Attempt]]] = defaultdict(list)
        self._number = itertools.count()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._runs: Counter[str] = Counter()
        self._unreached: dict[str, str] = {}
        self._wide: set[str] = set()
        self._failed_again: dict[str, str] = {}
        self._deselected: Counter[str] = Counter()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[SEED] = self.seed

    # -- order --

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Before pytest puts those together that share a parametrized fixture of a class, module or session."""
        found = [member for item in items if (member := _member(item)) is not None]
        try:
            self.join(grouped(found))
        except MarkerError as error:
            raise pytest.UsageError(f"{SWEEP}: {error}") from error
        if self.members:
            items[:] = shuffled(items, self.groups, self.seed)

    def join(self, members: Mapping[str, tuple[Member, ...]]) -> None:
        """Take groups: those of this process, or those that a worker collected."""
        self.members.update(members)
        self.groups = {member.test: group for group, found in self.members.items() for member in found}

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        gone = {item.nodeid for item in items}
        self._deselected.update(self.groups[test] for test in gone & self.groups.keys())
        self.join(
            {g: tuple(member for member in found if member.test not in gone) for g, found in self.members.items()}
        )

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        tests = [item.nodeid for item in session.items]
        self._items = dict(zip(tests, session.items, strict=True))
        self._closing = {
            tests[at]: groups for at, groups in closings([self.groups.get(test) for test in tests]).items()
        }
        self._together = {group: groups for groups in self._closing.values() for group in groups}

    def told(self) -> str:
        """What there is to sweep, for the line below the collected tests; empty if nobody asked."""
        points = [f"{group!r} of {plural(len(members), 'point')}" for group, members in self.members.items() if members]
        if not points:
            return f"no {SWEEP} to hold to --energy-slo" if self._options.slo else ""
        return f"{plural(len(points), 'sweep')}: {', '.join(points)}, seed {self.seed}"

    # -- further measurements --

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        groups = self._closing.get(item.nodeid)
        if groups is None or self._taken or self._once():
            return None
        self._taken = True
        try:
            self._close(groups, item, nextitem)
        finally:
            self._taken = self.again = False
        return True

    def _close(self, groups: Sequence[str], current: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Run the last test of the groups' first pass, then whatever is worth measuring again.

        What follows is chosen before the current test is torn down, as if it came out as before, so that fixtures that
        both use stay.
        """
        while True:
            following = self._next(groups, current, running=True)
            self._run(current, nextitem if following is None else following)
            self.again = True
            if current.session.shouldfail or current.session.shouldstop:
                return
            if following is None:
                following = self._next(groups, current, running=False)
                # What was kept for the next test would be in the way of one that shares less.
                if following is None or _shared(current, following) < _shared(current, nextitem):
                    return
            current = following

    def _run(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        if nextitem is item:
            # Before itself a test keeps its own fixtures; before its nearest neighbour as many of the others as can be.
            others = (other for other in self._items.values() if other is not item)
            nextitem = max(others, key=lambda other: _shared(item, other), default=None)
        item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)

    def _next(self, groups: Sequence[str], current: pytest.Item, *, running: bool) -> pytest.Item | None:
        """The test to measure next, after ``current`` or, while that runs, as if it came out as the last time.

        Of what is worth measuring soon, whatever needs no other engine than ``current`` comes first, and of that the
        group that ran least.
        """
        test = current.nodeid if running else None
        least = sorted(groups, key=lambda group: sum(self._runs[member.test] for member in self.members[group]))
        wanted = [self._items[name] for group in least for name in self._planned(group, test)]
        engine = self._engine(current)
        return next((item for item in wanted if self._engine(item) == engine), wanted[0] if wanted else None)

    def _planned(self, group: str, running: str | None) -> list[str]:
        """The points of a group that are worth measuring next."""
        members, attempts = self.members[group], self._attempts_of(group)
        known = {attempt.test for attempt in attempts}
        if not known:
            return []
        if running is not None and self.groups[running] == group:
            # One that runs for the first time is taken for like the last.
            like = [attempt for attempt in attempts if attempt.test == running] or attempts
            attempts.append(replace(like[-1], test=running))
        runs = [self._runs[member.test] + (member.test == running) for member in members]
        # The one that runs takes as long as those before it.
        begun = sum(self._runs[member.test] for member in members)
        spent = self._spent(group) * sum(runs) / begun
        many = affordable(runs, spent, self._options.sweep_seconds)
        told = {*known, running}
        sweep = self._sweep([member for member in members if member.test in told], attempts)
        return [name for name in planned(sweep, self._options.slo, many, AHEAD) if name in known]

    def _engine(self, item: pytest.Item) -> tuple[object, dict[str, int]]:
        """What an item shares its wider fixtures by: its file, and its parameters of those."""
        indices: Mapping[str, int] = getattr(getattr(item, "callspec", None), "indices", {})
        return item.path, {name: index for name, index in indices.items() if name in self._wide}

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        if fixturedef.scope != "function":
            self._wide.add(fixturedef.argname)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        seconds, group = self._options.sweep_seconds, self.groups.get(item.nodeid)
        if seconds is None or group is None or self.again or self._once() or self._spent(group) < seconds:
            return
        self._unreached[item.nodeid] = f"not reached: --energy-sweep-seconds={seconds:g} were over"
        pytest.skip(self._unreached[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        report = yield
        if self.again and item.nodeid in self.groups:
            report.__dict__[AGAIN] = True
            # Those of the item tell of the first measurement.
            report.user_properties = [("energy_measured_again", "true")]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        if report.when == "setup" and report.nodeid not in self._unreached:
            self._runs[report.nodeid] += 1
        if report.failed and hasattr(report, AGAIN):
            self._failed_again[report.nodeid] = f"failed in {report.when} when it was measured again"

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        again = hasattr(report, AGAIN) and report.when == "call" and report.passed
        return ("measured again", "m", "MEASURED AGAIN") if again else None

    # -- results --

    def measured(self, test: str, windows: Sequence[Measurement]) -> None:
        """Take what one run of a test measured."""
        if windows:
            self._attempts[test].append((next(self._number), Attempt(test, tuple(windows))))

    def forget(self, test: str) -> None:
        """Drop what an earlier attempt at a test found."""
        self._attempts.pop(test, None)

    def sweeps(self, commit: str | None) -> tuple[Sweep, ...]:
        """What all groups came to."""
        return tuple(
            self._sweep(members, self._attempts_of(group), commit, self._notes(group))
            for group, members in self.members.items()
            if members
        )

    def _sweep(
        self,
        members: Sequence[Member],
        attempts: Sequence[Attempt],
        commit: str | None = None,
        notes: Sequence[str] = (),
    ) -> Sweep:
        tests = [member.test for member in members]
        own = {**self._failed_again, **self._unreached}
        ran = {attempt.test for attempt in attempts} | self._runs.keys()
        faults = {at: own.get(at) or (self._faults(at) if at in ran else "the test did not run") for at in tests}
        spent = self._spent(members[0].group)
        return made(members, attempts, faults, seed=self.seed, spent_seconds=spent, commit=commit, notes=notes)

    def _notes(self, group: str) -> list[str]:
        members, notes = self.members[group], [self._once()]
        if unreached := sum(member.test in self._unreached for member in members):
            notes.append(f"{unreached} of {plural(len(members), 'point')} not reached: raise --energy-sweep-seconds")
        if gone := self._deselected[group]:
            notes.append(f"{plural(gone, 'further test')} of the group not selected")
        return [note for note in notes if note]

    def _attempts_of(self, group: str) -> list[Attempt]:
        """In the order of the measuring."""
        found = [each for member in self.members[group] for each in self._attempts.get(member.test, ())]
        return [attempt for _, attempt in sorted(found, key=itemgetter(0))]

    def _spent(self, group: str) -> float:
        """What a group took, s; groups that overlap have shared their engines, and so share what these took."""
        together = self._together.get(group, (group,))
        tests = (member.test for each in together for member in self.members[each])
        return sum(self._seconds[test] for test in tests) / len(together)


def _shared(one: pytest.Item, other: pytest.Item | None) -> int:
    """How many collectors, such as file and class, hold both."""
    return 0 if other is None else sum(a is b for a, b in zip(one.listchain(), other.listchain(), strict=False))


def _member(item: pytest.Item) -> Member | None:
    """The item as a point of its group; ``None`` if no marker says so."""
    marked = sweep_of(item)
    if marked is None:
        return None
    called = getattr(item, "callspec", None)
    if called is None:
        return Member(item.nodeid, item.nodeid, marked, {})
    function = item.nodeid.removesuffix(f"[{called.id}]")
    return Member(item.nodeid, function, marked, settings_of(called.params, called.id))


def shuffled(items: Sequence[pytest.Item], groups: Mapping[str, str], seed: int) -> list[pytest.Item]:
    """The items of each group side by side, in an order drawn from ``seed``, at the place of the group's first.

    Those of one file stay together, and in it those of one class: they may share an engine that no parameter tells of.
    """
    order: list[pytest.Item] = []
    for group, found in _by(lambda item: groups.get(item.nodeid, f"\0{item.nodeid}"), items).items():
        # A group's order hangs on no other group.
        random.Random(f"{seed} {group}").shuffle(found)
        for of_file in _by(lambda item: item.path, found).values():
            order += itertools.chain(*_by(lambda item: item.parent, of_file).values())
    return order


def _by(owner: Callable[[pytest.Item], object], items: Sequence[pytest.Item]) -> dict[Any, list[pytest.Item]]:
    """The items of each owner, in their order."""
    owned: dict[Any, list[pytest.Item]] = {}
    for item in items:
        owned.setdefault(owner(item), []).append(item)
    return owned


def closings(order: Sequence[str | None]) -> dict[int, tuple[str, ...]]:
    """After which test the first pass of which groups is over; groups that overlap are over together.

    Args:
        order: The group of each test, in the order of the run.
    """
    last = {group: at for at, group in enumerate(order)}
    over: dict[int, tuple[str, ...]] = {}
    begun: list[str] = []
    for at, group in enumerate(order):
        if group is not None and group not in begun:
            begun.append(group)
        if begun and at == max(last[each] for each in begun):
            over[at], begun = tuple(begun), []
    return over
