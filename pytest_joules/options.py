"""What the user asked for: frozen :class:`Options` from flags and ini.

Every setting is a :class:`Setting`: one row gives the flag, its ini twin, the
parser for both and the help text, so the two cannot drift apart.  This room
knows no pytest; ``plugin.py`` hands in two look-ups.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_joules.latency import TIMED

if TYPE_CHECKING:
    from pytest_joules.model import Price, Rates
    from pytest_joules.slo import Condition

COLUMNS = (
    "test",
    "window",
    "sku",
    "joules",
    "watts",
    "seconds",
    "baseline",
    "ratio",
    "reference",
    "verdict",
    "detectable",
)
"""Columns of the terminal table, in their default order."""

_ALSO = "latencies, such as call_p95 or itl_p95"

SORTS = ("test", "verdict", "ratio", "joules", "watts", "seconds")
"""What the terminal table may be sorted by."""

GITHUB = ("auto", "on", "off")
"""Whether a run speaks to GitHub Actions; ``auto`` does where it runs there."""

SIMULATED_SKUS = ("h100-sxm", "h200", "b200")

SIMULATED_FAULTS = (
    "none",
    "no-permission",
    "lost",
    "reset",
    "stuck",
    "zero",
    "mig",
    "no-counter",
    "thermal",
    "foreign",
    "hidden",
    "part-time",
    "vgpu",
)
"""What can be made to go wrong on a simulated GPU, in the order of their codes in its shared state."""

SIMULATED_MOST = {"gpus": 64, "seed": 2**63 - 1, "cap": 1000, "limit": 1000, "mhz": 1980, "celsius": 90}
"""The largest numbers that the settings of a simulated GPU may have."""

SIMULATED_LEAST = {"gpus": 0, "seed": 0, "cap": 300, "limit": 300, "mhz": 600, "celsius": 20}
"""The smallest ones."""

WITHHOLDABLE = ("gpm", "slowdown", "reasons", "memory", "clocks", "temperature", "host")
"""Groups of signals that a simulated GPU can be made not to tell, in the order of their bits in its shared state."""


class OptionError(ValueError):
    """A flag or ini value that cannot be used; the message names it and the fix."""


def percent(text: str) -> float:
    """Read ``2%`` or ``2`` as the fraction 0.02.

    Raises:
        OptionError: for anything else, and outside (0, 100) %.
    """
    from pytest_joules.units import UnitError, parse_percent

    try:
        return parse_percent(text if text.rstrip().endswith("%") else f"{text}%")
    except UnitError:
        raise OptionError(f"{text!r} is not a percentage between 0% and 100%; write it like 2%") from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise OptionError(f"{text!r} is not a time above zero; give seconds, like 10")
    return value


def _moment(text: str) -> str:
    """Read a time, in UTC unless it says otherwise, and write it as stored sessions have it."""
    from datetime import datetime, timezone

    from pytest_joules.units import format_time

    try:
        moment = datetime.fromisoformat(text)
        return format_time(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
    except (ValueError, OverflowError):
        raise OptionError(f"{text!r} is not a time; write it like 2026-05-01T12:00:00") from None


def _price(text: str) -> Price:
    from pytest_joules.costs import parse_price

    return parse_price(text)


def _carbon(text: str) -> float:
    from pytest_joules.costs import parse_carbon

    return parse_carbon(text)


def _slo(text: str) -> tuple[Condition, ...]:
    from pytest_joules.slo import parse_slo

    return parse_slo(text)


def _seed(text: str) -> int:
    # Python reads no whole number of thousands of digits.
    if not (text.isdecimal() and len(text) < 20):
        raise OptionError(f"{text!r} is not a seed; give a whole number, as a run reports it")
    return int(text)


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise OptionError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("", "0", "false", "no", "off"):
        return False
    raise OptionError(f"{text!r} is neither true nor false")


def _ref(text: str) -> str:
    if not text or text.startswith("-") or not text.isprintable() or " " in text:
        raise OptionError(f"{text!r} is not a branch, tag or commit; write it like origin/main")
    return text


def in_ci(environment: Mapping[str, str]) -> bool:
    """Whether a CI runs this, by the variable that all of them set."""
    return environment.get("CI", "").strip().lower() not in ("", "0", "false", "no", "off")


def _devices(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise OptionError(f"{text!r} is not a list of different devices; write it like 0,1")
    return names


def _columns(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in (*COLUMNS, *TIMED)]
    if unknown:
        raise OptionError(f"unknown column {unknown[0]!r}; choose from {', '.join(COLUMNS)}, and {_ALSO}")
    return names


@dataclass(frozen=True, slots=True)
class MeterChoice:
    """Which meter to open: ``kind`` is ``auto``, ``zeus``, ``simulated`` or ``replay``.

    Attributes:
        kind: Where joules come from.
        sku: The simulated SKU.
        settings: Further settings of the simulated device, such as ``seed``.
        trace: The trace to replay.
    """

    kind: str = "auto"
    sku: str = SIMULATED_SKUS[0]
    settings: tuple[tuple[str, str], ...] = ()
    trace: Path | None = None

    @classmethod
    def parse(cls, text: str) -> MeterChoice:
        """Read ``auto``, ``zeus``, ``simulated[:SKU[,gpus=N][,seed=N][,fault=NAME]]`` or ``replay:FILE``."""
        kind, _, rest = text.partition(":")
        if kind in ("auto", "zeus") and not rest:
            return cls(kind)
        if kind == "replay":
            if not rest:
                raise OptionError(f"{text!r} names no trace; write it like replay:traces/trace.json.gz")
            return cls(kind, trace=Path(rest))
        if kind != "simulated":
            raise OptionError(
                f"{text!r} is not a meter; use auto, zeus, simulated[:{'|'.join(SIMULATED_SKUS)}] or replay:FILE"
            )
        sku, *pairs = rest.split(",") if rest else (SIMULATED_SKUS[0],)
        if sku not in SIMULATED_SKUS:
            raise OptionError(f"unknown simulated SKU {sku!r}; use one of {', '.join(SIMULATED_SKUS)}")
        settings = []
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if name not in ("fault", "withhold", *SIMULATED_MOST) or not equals:
                raise OptionError(
                    f"{pair!r} is not a setting of a simulated GPU; use "
                    f"{', '.join(f'{number}=N' for number in SIMULATED_MOST)}, fault=NAME or withhold=NAME+NAME"
                )
            if name == "withhold":
                if unknown := [group for group in value.split("+") if group not in WITHHOLDABLE]:
                    groups = "+".join(WITHHOLDABLE)
                    raise OptionError(
                        f"a simulated GPU has no signals {unknown[0]!r} to withhold; use some of {groups}"
                    )
            elif name == "fault":
                if value not in SIMULATED_FAULTS:
                    raise OptionError(
                        f"a simulated GPU has no fault {value!r}; use one of {', '.join(SIMULATED_FAULTS)}"
                    )
            # Python reads no whole number of thousands of digits.
            elif not (
                value.isdecimal() and len(value) < 20 and SIMULATED_LEAST[name] <= int(value) <= SIMULATED_MOST[name]
            ):
                between = f"at most {SIMULATED_MOST[name]} and at least {SIMULATED_LEAST[name]}"
                raise OptionError(f"{pair!r} must give a whole number, {between}")
            settings.append((name, value))
        return cls(kind, sku, tuple(settings))


class Setting(NamedTuple):
    """One setting: its flag is ``--energy-NAME``, its ini key ``energy_NAME``.

    What ``parse`` does not understand it raises ValueError over, which names the text and the fix.
    """

    name: str
    parse: Callable[[str], Any]
    metavar: str | None
    help: str

    @property
    def dest(self) -> str:
        return f"energy_{self.name}"

    @property
    def flag(self) -> str:
        return f"--energy-{self.name.replace('_', '-')}"


SETTINGS = (
    Setting("baselines", Path, "DIR", "directory of the baseline files, one per GPU SKU (default: baselines)"),
    Setting("references", Path, "DIR", "directory of the reference files, one per GPU (default: references)"),
    Setting(
        "meter",
        MeterChoice.parse,
        "METER",
        f"where joules come from: auto, zeus, simulated[:{'|'.join(SIMULATED_SKUS)}], "
        "or replay:FILE, a trace of --energy-trace (default: auto)",
    ),
    Setting(
        "devices",
        _devices,
        "0,1",
        "charge exactly these CUDA devices (indices or UUIDs; or 'cpu' for Zeus' CPU and DRAM joules); "
        "default: those that the test's processes run on",
    ),
    Setting("tolerance", percent, "PCT", "accepted rise of joules per unit where the marker gives none (default: 2%)"),
    Setting("max_seconds", _seconds, "S", "most seconds of measuring for one window after warm-up (default: 10)"),
    Setting(
        "max_tolerance",
        percent,
        "PCT",
        "widest tolerance that a test may claim; a wider one is refused before anything is judged",
    ),
    Setting(
        "baseline_ref",
        _ref,
        "REF",
        "judge by the baseline files of this branch, tag or commit, e.g. origin/main, whatever the work tree's say",
    ),
    Setting("missing", _choice("fail", "warn"), "fail|warn", "what a budget without a baseline does (default: fail)"),
    Setting(
        "inconclusive",
        _choice("fail", "warn"),
        "fail|warn",
        "what a budget does that could not be decided within the time (default: warn)",
    ),
    Setting("strict", _boolean, None, "fail the run if any budget, or any stored baseline's test, was not decided"),
    Setting(
        "github",
        _choice(*GITHUB),
        "|".join(GITHUB),
        "write GitHub's step summary and annotations: auto does so where GITHUB_ACTIONS is set (default: auto)",
    ),
    Setting("price", _price, "PRICE", "what energy costs, like '0.30 EUR/kWh': reports then tell what work costs"),
    Setting(
        "carbon", _carbon, "CO2E", "what energy emits, like '350 g/kWh' of CO2e: reports then tell what work emits"
    ),
    Setting(
        "slo",
        _slo,
        "EXPR",
        "what a configuration of a sweep has to meet to be recommended, e.g. 'itl_p95 < 50 ms, throughput >= 1000'",
    ),
    Setting(
        "sweep_seconds",
        _seconds,
        "S",
        "most seconds of each sweep, with the set-up of its tests; points near the frontier are measured again within "
        "them (default: as long as one pass over all points, and as many measurements again)",
    ),
    Setting(
        "sweep_seed",
        _seed,
        "N",
        "what the order of a sweep's points is drawn from (default: a new one, which is reported)",
    ),
    Setting("sweep_once", _boolean, None, "measure every point of a sweep once, and none again"),
    Setting("sort", _choice(*SORTS), "COLUMN", f"sort the table by: {', '.join(SORTS)} (default: test)"),
    Setting("columns", _columns, "A,B", f"columns of the table, from: {', '.join(COLUMNS)}, and {_ALSO}"),
)


ACTIONS = (
    "energy_update",
    "energy_update_new",
    "energy_update_in_ci",
    "energy_anchor",
    "energy_only",
    "energy_json",
    "energy_html",
    "energy_trace",
)
"""Flags without an ini twin that ask for something to be done."""


_CHOOSING = ("baselines", "meter", "devices")
"""What could lead a run that another commit judges to other baselines, or to other joules."""

_CHOOSING_FLAGS = tuple(setting.flag for setting in SETTINGS if setting.name in _CHOOSING)


PATH_FLAGS = ("--energy-baselines", "--energy-references", "--energy-json", "--energy-html", "--energy-trace")


def misread_flag(arguments: Sequence[str]) -> str | None:
    """The flag whose path pytest takes for a test's when it looks for its root directory.

    Without an ini file the root is the common ancestor of all arguments that exist, and a flag's value
    behind a space is one of them.
    """
    for flag, value in itertools.pairwise(map(str, arguments)):
        if flag in PATH_FLAGS and Path(value).exists():
            return f"{flag} {value}"
    return None


@dataclass(frozen=True, slots=True)
class Options:
    """All options of one run; see :data:`SETTINGS` for what each means."""

    enabled: bool = False
    update: bool = False
    update_new: bool = False
    anchor: str | None = None
    only: bool = False
    json: Path | None = None
    html: Path | None = None
    trace: Path | None = None
    baselines: Path = Path("baselines")
    references: Path = Path("references")
    meter: MeterChoice = MeterChoice()
    devices: tuple[str, ...] | None = None
    tolerance: float = 0.02
    max_tolerance: float | None = None
    baseline_ref: str | None = None
    max_seconds: float = 10.0
    missing: str = "fail"
    inconclusive: str = "warn"
    strict: bool = False
    github: str = "auto"
    price: Price | None = None
    carbon: float | None = None
    slo: tuple[Condition, ...] = ()
    sweep_seconds: float | None = None
    sweep_seed: int | None = None
    sweep_once: bool = False
    sort: str = "test"
    columns: tuple[str, ...] = COLUMNS

    @property
    def rates(self) -> Rates:
        """What energy costs."""
        from pytest_joules.model import Rates

        return Rates(self.price, self.carbon)

    @property
    def writes_baselines(self) -> bool:
        return self.update or self.update_new

    def too_wide(self, tolerance: float | None) -> str:
        """What is wrong with a tolerance that is wider than any may be; empty if nothing is."""
        widest = self.max_tolerance
        if tolerance is None or widest is None or tolerance <= widest:
            return ""
        return (
            f"a tolerance of {100 * tolerance:g}% is wider than max-tolerance allows: "
            f"at most {100 * widest:g}%, or have that raised"
        )

    @classmethod
    def resolve(
        cls,
        flag: Callable[[str], Any],
        ini: Callable[[str], str],
        root: Path,
        *,
        ci: bool = False,
        addopts: Sequence[str] = (),
    ) -> Options:
        """Combine flags (which win) with their ini twins.

        Args:
            flag: Gives a flag's value by its ``dest``, or ``None`` if it was not given.
            ini: Gives an ini value as text, empty if it was not given.
            root: What relative directories of baselines and references are relative to.
            ci: Whether a CI runs this: baselines are then written only when asked for by name.
            addopts: Flags that an ini file gives; ``flag`` has them, too, and does not tell them from others.

        Raises:
            OptionError: naming the flag or ini key, the text at fault and the fix.
        """
        values: dict[str, Any] = {
            "enabled": bool(flag("energy")),
            "update": bool(flag("energy_update")),
            "update_new": bool(flag("energy_update_new")),
            "only": bool(flag("energy_only")),
            "json": Path(flag("energy_json")) if flag("energy_json") else None,
            "html": Path(flag("energy_html")) if flag("energy_html") else None,
            "trace": Path(flag("energy_trace")) if flag("energy_trace") else None,
        }
        if (since := flag("energy_anchor")) is not None:
            try:
                values["anchor"] = _moment(since)
            except OptionError as error:
                raise OptionError(f"--energy-anchor: {error}") from error
        for setting in SETTINGS:
            given, text = flag(setting.dest), ini(setting.dest)
            source = setting.flag if given is not None else f"ini option {setting.dest}"
            if given is None and not text:
                continue
            if given is True:
                values[setting.name] = True
                continue
            try:
                values[setting.name] = setting.parse(given if given is not None else text)
            except ValueError as error:
                raise OptionError(f"{source}: {error}") from error
        options = cls(**values)
        idle = [f"--{dest.replace('_', '-')}" for dest in ACTIONS if flag(dest)]
        idle += [setting.flag for setting in SETTINGS if flag(setting.dest) is not None]
        if idle and not options.enabled:
            needs = "needs" if len(idle) == 1 else "need"
            raise OptionError(f"{', '.join(idle)} {needs} --energy; a setting for every run belongs in the ini file")
        if options.update and options.update_new:
            raise OptionError("give --energy-update or --energy-update-new, not both")
        if options.anchor is not None and not options.update:
            raise OptionError("--energy-anchor needs --energy-update: it pins the sessions that an update stores")
        if options.meter.kind == "replay" and options.writes_baselines:
            raise OptionError("replayed joules are stored already or were not meant to be: drop --energy-update")
        if options.meter.kind == "replay" and options.trace:
            raise OptionError("a replay is a trace already: drop --energy-trace")
        if options.writes_baselines:
            # What starts afresh and what is added is decided by the file that is written.
            if flag("energy_baseline_ref") is not None:
                raise OptionError(
                    "an update judges by the file that it writes, not by another commit's: "
                    "drop --energy-baseline-ref or --energy-update"
                )
            options = replace(options, baseline_ref=None)
        if flag("energy_baseline_ref") is not None:
            for setting in SETTINGS:
                if setting.name in _CHOOSING and flag(setting.dest) is None and (text := ini(setting.dest)):
                    raise OptionError(
                        f"ini option {setting.dest}: with --energy-baseline-ref it has to be a flag, since an ini "
                        f"file is the work tree's own: {setting.flag}={text}"
                    )
            if hidden := [word for word in addopts if word.startswith(("@", *_CHOOSING_FLAGS))]:
                raise OptionError(
                    f"ini option addopts: {hidden[0]}: with --energy-baseline-ref it has to be on the command line, "
                    "since an ini file is the work tree's own"
                )
        if flag("energy_update_in_ci") and not options.writes_baselines:
            raise OptionError("--energy-update-in-ci needs --energy-update or --energy-update-new")
        if ci and options.writes_baselines and not flag("energy_update_in_ci"):
            raise OptionError(
                "CI is set, and CI does not write the baselines that it is judged by; where it is meant to, "
                "add --energy-update-in-ci"
            )
        if fault := options.too_wide(options.tolerance):
            raise OptionError(f"--energy-tolerance: {fault}")
        return replace(options, baselines=root / options.baselines, references=root / options.references)
