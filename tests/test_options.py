"""Options from flags and their ini twins, with plain look-ups in place of pytest's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_joules.model import Price
from pytest_joules.options import COLUMNS, SETTINGS, SIMULATED_SKUS, SORTS, MeterChoice, OptionError, Options, in_ci
from pytest_joules.slo import Condition

ROOT = Path("/root-of-suite")


def resolve(flags: dict[str, Any] | None = None, ini: dict[str, str] | None = None) -> Options:
    flag_values = {"energy": True, **(flags or {})}
    return Options.resolve(flag_values.get, lambda name: (ini or {}).get(name, ""), ROOT)


GOOD: dict[str, list[tuple[str, object]]] = {
    "baselines": [("here", ROOT / "here"), ("/elsewhere", Path("/elsewhere"))],
    "references": [("here", ROOT / "here"), ("/elsewhere", Path("/elsewhere"))],
    "meter": [
        ("auto", MeterChoice()),
        ("zeus", MeterChoice("zeus")),
        ("simulated", MeterChoice("simulated", "h100-sxm")),
        ("simulated:b200,seed=3", MeterChoice("simulated", "b200", (("seed", "3"),))),
        ("simulated:h200,gpus=2,fault=lost", MeterChoice("simulated", "h200", (("gpus", "2"), ("fault", "lost")))),
        ("simulated:h200,seed=9223372036854775807", MeterChoice("simulated", "h200", (("seed", str(2**63 - 1)),))),
    ],
    "devices": [("0, 1", ("0", "1")), ("GPU-5a", ("GPU-5a",))],
    "tolerance": [("3", 0.03), ("3%", 0.03), ("0.5 %", 0.005)],
    "max_tolerance": [("5", 0.05), ("2%", 0.02)],
    "baseline_ref": [("origin/main", "origin/main"), ("v1.0~2", "v1.0~2")],
    "max_seconds": [("2.5", 2.5), ("1e3", 1000.0)],
    "missing": [("warn", "warn"), ("fail", "fail")],
    "inconclusive": [("fail", "fail"), ("warn", "warn")],
    "strict": [("yes", True), ("TRUE", True), ("1", True), ("off", False), ("0", False)],
    "github": [("auto", "auto"), ("on", "on"), ("off", "off")],
    "price": [
        ("0.30 EUR/kWh", Price(0.3, "EUR")),
        (" 95USD / MWh", Price(0.095, "USD")),
        ("0 EUR/kWh", Price(0.0, "EUR")),
    ],
    "carbon": [("350 g/kWh", 350.0), (".35 kg/kWh", 350.0), ("350kg / MWh", 350.0)],
    "slo": [("itl_p95 < 50 ms", (Condition("itl_p95", 0.05),))],
    "sweep_seconds": [("600", 600.0)],
    "sweep_once": [("true", True), ("no", False)],
    "sweep_seed": [("0", 0), ("1438125010", 1438125010)],
    "sort": [(sort, sort) for sort in SORTS],
    "columns": [
        ("test,ratio", ("test", "ratio")),
        (", ".join(COLUMNS), COLUMNS),
        ("call, itl_p95", ("call", "itl_p95")),
    ],
}
"""For each setting, texts and what they mean."""

BAD: dict[str, list[tuple[str, str]]] = {
    "meter": [
        ("simulatd", "use auto, zeus, simulated"),
        ("zeus:h200", "use auto, zeus, simulated"),
        ("simulated:h300", "use one of h100-sxm, h200, b200"),
        ("simulated:h200,speed=2", "mhz=N, celsius=N, fault=NAME or withhold=NAME+NAME"),
        ("simulated:h200,seed", "mhz=N, celsius=N, fault=NAME or withhold=NAME+NAME"),
        ("simulated:h200,mhz=100", "at least 600"),
        ("simulated:h200,withhold=gpm+all", "no signals 'all' to withhold; use some of gpm+slowdown+reasons+memory"),
        ("simulated:h200,seed=x", "must give a whole number"),
        ("simulated:h200,seed=-1", "must give a whole number"),
        ("simulated:h200,seed=9223372036854775808", "must give a whole number, at most 9223372036854775807"),
        (f"simulated:h200,seed={'9' * 5000}", "must give a whole number"),
        ("simulated:h200,gpus=65", "must give a whole number, at most 64"),
        ("simulated:h200,fault=bogus", "no fault 'bogus'; use one of none, no-permission, lost, reset, stuck"),
    ],
    "devices": [("0,,1", "write it like 0,1"), ("0,0", "list of different devices"), (",", "write it like 0,1")],
    "tolerance": [(text, "write it like 2%") for text in ("0", "100", "200%", "x", "nan", "-1%", "2%%", "2% foo")],
    "max_tolerance": [("0", "write it like 2%"), ("wide", "write it like 2%")],
    "baseline_ref": [(text, "write it like origin/main") for text in ("-h", "--upload-pack=x", "a b", "a\n", "a\0")],
    "max_seconds": [(text, "give seconds, like 10") for text in ("0", "-1", "soon", "inf", "nan", "1e999", "10 s")],
    "missing": [("ignore", "not one of fail, warn"), ("FAIL", "not one of fail, warn")],
    "inconclusive": [("pass", "not one of fail, warn")],
    "strict": [("perhaps", "neither true nor false")],
    "github": [("yes", "not one of auto, on, off"), ("ON", "not one of auto, on, off")],
    "price": [
        (text, "write it like '0.30 EUR/kWh'")
        for text in (
            "0.30",
            "0.30 EUR",
            "EUR/kWh",
            "-1 EUR/kWh",
            "1e3 EUR/kWh",
            "0.3 eur/kWh",
            "0.3 EUR/J",
            "nan EUR/kWh",
        )
    ],
    "carbon": [(text, "like '350 g/kWh'") for text in ("350", "350 g", "350 mg/kWh", "-1 g/kWh", "350 g/kWh extra")],
    "slo": [("fast", "write it like 'itl_p95 < 50 ms'"), ("itl > 5 ms", "a latency is held to the most")],
    "sweep_seconds": [("0", "give seconds, like 10"), ("soon", "give seconds, like 10")],
    "sweep_once": [("maybe", "neither true nor false")],
    "sweep_seed": [(text, "give a whole number") for text in ("-1", "1.5", "x", "9" * 5000)],
    "sort": [("colour", "not one of test, verdict")],
    "columns": [("test,colour", "unknown column 'colour'; choose from test,"), ("test,", "unknown column ''")],
}
"""For each setting, texts that cannot be used, and the fix that is named."""

good = [(name, text, value) for name, cases in GOOD.items() for text, value in cases]
bad = [(name, text, fix) for name, cases in BAD.items() for text, fix in cases]


def test_every_setting_has_a_case() -> None:
    assert set(GOOD) == {setting.name for setting in SETTINGS}
    assert set(BAD) == set(GOOD) - {"baselines", "references"}


def test_flag_and_ini_names_are_twins() -> None:
    for setting in SETTINGS:
        assert setting.dest == f"energy_{setting.name}"
        assert setting.flag == f"--{setting.dest.replace('_', '-')}"


@pytest.mark.parametrize(("name", "text", "value"), good)
def test_flag_and_ini_twin_read_the_same(name: str, text: str, value: object) -> None:
    by_flag = resolve(flags={f"energy_{name}": text})
    assert getattr(by_flag, name) == value
    assert resolve(ini={f"energy_{name}": text}) == by_flag


@pytest.mark.parametrize(("name", "text", "fix"), bad)
def test_bad_texts_name_flag_or_ini_key_and_the_fix(name: str, text: str, fix: str) -> None:
    sources: list[tuple[str, dict[str, Any]]] = [
        (f"--energy-{name.replace('_', '-')}: ", {"flags": {f"energy_{name}": text}}),
        (f"ini option energy_{name}: ", {"ini": {f"energy_{name}": text}}),
    ]
    for source, where in sources:
        with pytest.raises(OptionError) as caught:
            resolve(**where)
        assert str(caught.value).startswith(source)
        assert fix in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"baselines", "references", "strict", "sweep_once"}))
def test_an_empty_flag_is_refused_but_an_empty_ini_value_is_absent(name: str) -> None:
    with pytest.raises(OptionError, match=f"--energy-{name.replace('_', '-')}: "):
        resolve(flags={f"energy_{name}": ""})
    assert resolve(ini={f"energy_{name}": ""}) == resolve()


@pytest.mark.parametrize("name", sorted(GOOD))
def test_the_flag_wins_over_its_ini_twin(name: str) -> None:
    texts = [text for text, _ in GOOD[name]]
    both = resolve(flags={f"energy_{name}": texts[0]}, ini={f"energy_{name}": texts[-1]})
    assert both == resolve(flags={f"energy_{name}": texts[0]})


def test_nothing_given_is_the_defaults() -> None:
    options = Options.resolve(lambda name: None, lambda name: "", ROOT)
    assert options == Options(baselines=ROOT / "baselines", references=ROOT / "references")
    assert not options.enabled
    assert (options.tolerance, options.max_seconds) == (0.02, 10.0)
    assert (options.missing, options.inconclusive, options.strict) == ("fail", "warn", False)


def test_a_switch_is_on_by_flag_alone_and_stays_on_over_a_false_ini() -> None:
    assert resolve(flags={"energy_strict": True}).strict
    assert resolve(flags={"energy_strict": True}, ini={"energy_strict": "false"}).strict


@pytest.mark.parametrize(
    ("flags", "writes"),
    [({"energy_update": True}, True), ({"energy_update_new": True}, True), ({"energy_only": True}, False), ({}, False)],
)
def test_actions(flags: dict[str, Any], writes: bool) -> None:
    options = resolve(flags={**flags, "energy_json": "out.json"})
    assert options.writes_baselines is writes
    assert options.json == Path("out.json")
    assert options.only is bool(flags.get("energy_only"))


@pytest.mark.parametrize(
    "flags",
    [
        {"energy_update": True},
        {"energy_update_new": True},
        {"energy_anchor": "2026-05-01"},
        {"energy_only": True},
        {"energy_json": "out.json"},
        *({f"energy_{name}": cases[0][0]} for name, cases in GOOD.items()),
    ],
)
def test_flags_need_the_run_and_ini_values_do_not(flags: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"needs? --energy"):
        resolve(flags={"energy": False, **flags})
    assert not resolve(flags={"energy": False}, ini=flags).enabled


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("2026-05-01T12:00:00+00:00", "2026-05-01T12:00:00+00:00"),
        ("2026-05-01T12:00:00", "2026-05-01T12:00:00+00:00"),
        ("2026-05-01T14:00:00.75+02:00", "2026-05-01T12:00:00+00:00"),
        ("2026-05-01", "2026-05-01T00:00:00+00:00"),
    ],
)
def test_the_anchors_time_is_read_as_sessions_have_it(text: str, since: str) -> None:
    assert resolve(flags={"energy_update": True, "energy_anchor": text}).anchor == since


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "0001-01-01T00:00:00+23:59", "12:00"])
def test_an_anchor_without_a_time_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"--energy-anchor: .* is not a time; write it like 2026-05-01T12:00:00"):
        resolve(flags={"energy_update": True, "energy_anchor": text})


@pytest.mark.parametrize("flags", [{}, {"energy_update_new": True}])
def test_an_anchor_needs_an_update(flags: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="--energy-anchor needs --energy-update"):
        resolve(flags={**flags, "energy_anchor": "2026-05-01"})


def test_updates_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="not both"):
        resolve(flags={"energy_update": True, "energy_update_new": True})


@pytest.mark.parametrize(
    "name", ["energy", "energy_update", "energy_update_new", "energy_only", "energy_json", "energy_anchor"]
)
def test_actions_have_no_ini_twin(name: str) -> None:
    assert resolve(ini={name: "true"}) == resolve()


@given(st.sampled_from(sorted(GOOD)), st.text(max_size=12), st.booleans())
def test_any_text_gives_options_or_an_option_error(name: str, text: str, by_flag: bool) -> None:
    where = {f"energy_{name}": text}
    try:
        options = resolve(flags=where) if by_flag else resolve(ini=where)
    except OptionError:
        return
    assert 0 < options.tolerance < 1
    assert 0 < options.max_seconds < float("inf")
    assert options.columns
    assert options.meter.sku in SIMULATED_SKUS


UPDATES = ({"energy_update": True}, {"energy_update_new": True})


@pytest.mark.parametrize("update", UPDATES)
def test_in_a_ci_an_update_is_asked_for_by_name(update: dict[str, Any]) -> None:
    def asked(**more: Any) -> Options:
        return Options.resolve({"energy": True, **update, **more}.get, lambda name: "", ROOT, ci=True)

    with pytest.raises(OptionError, match="add --energy-update-in-ci"):
        asked()
    assert asked(energy_update_in_ci=True).writes_baselines
    with pytest.raises(OptionError, match="--energy-update-in-ci needs --energy-update"):
        resolve({"energy_update_in_ci": True})


@pytest.mark.parametrize(
    "word", ["--energy-meter=simulated", "--energy-meter", "--energy-baselines=mine", "--energy-devices=0", "@its.txt"]
)
def test_what_another_commit_judges_is_chosen_by_no_ini_file(word: str) -> None:
    flags = {"energy": True, "energy_meter": "simulated"}
    judged = {**flags, "energy_baseline_ref": "main"}
    in_ini = ["-q", word]
    assert Options.resolve(flags.get, lambda name: "", ROOT, addopts=in_ini).meter.kind == "simulated"
    assert Options.resolve(judged.get, lambda name: "", ROOT, addopts=["-q"]).meter.kind == "simulated"
    with pytest.raises(OptionError, match=f"addopts: {word}: .* since an ini file is the work tree's own"):
        Options.resolve(judged.get, lambda name: "", ROOT, addopts=in_ini)


@pytest.mark.parametrize("update", UPDATES)
def test_what_another_commit_judges_is_not_stored(update: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="drop --energy-baseline-ref or --energy-update"):
        resolve({**update, "energy_baseline_ref": "main"})
    assert resolve(update, ini={"energy_baseline_ref": "main"}).baseline_ref is None


def test_the_default_tolerance_keeps_to_the_widest() -> None:
    with pytest.raises(
        OptionError, match="--energy-tolerance: a tolerance of 2% is wider than max-tolerance allows: at most 1"
    ):
        resolve({"energy_max_tolerance": "1%"})
    assert resolve({"energy_max_tolerance": "1%", "energy_tolerance": "1%"}).tolerance == 0.01


@pytest.mark.parametrize(("value", "ci"), [("true", True), ("1", True), ("woodpecker", True), ("false", False)])
def test_a_ci_is_known_by_its_variable(value: str, ci: bool) -> None:
    assert in_ci({"CI": value}) is ci
    assert not in_ci({})


@pytest.mark.parametrize(("name", "text"), [("baselines", "mine"), ("meter", "simulated"), ("devices", "7")])
def test_a_work_tree_does_not_choose_what_another_commit_judges(name: str, text: str) -> None:
    ini = {f"energy_{name}": text}
    with pytest.raises(OptionError, match=f"ini option energy_{name}: .* flag, .*: --energy-{name}={text}"):
        resolve({"energy_baseline_ref": "main"}, ini)
    assert resolve({"energy_baseline_ref": "main", f"energy_{name}": text}, ini) == resolve(
        {"energy_baseline_ref": "main", f"energy_{name}": text}
    )
    resolve(ini={**ini, "energy_baseline_ref": "main"})
