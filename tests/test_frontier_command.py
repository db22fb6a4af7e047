"""``pytest-joules frontier``: sweeps of several files put together, and what to choose of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_joules.cli import main
from pytest_joules.frontier import frontier_of
from pytest_joules.gathering import GatherError, Part, gathered, only, picked, with_default, with_latency
from pytest_joules.model import MeterInfo, Pass, Price, Rates, Reference, RunResult, Sweep, SweepPoint
from pytest_joules.references.store import ReferenceStore
from pytest_joules.reporting import json as json_report
from pytest_joules.reporting.frontier import report, words
from pytest_joules.slo import parse_slo

CREATED = "2026-11-21T10:00:00+00:00"

LLAMA = {
    "B200": {512: (0.0602, 0.0502), 1024: (0.0549, 0.0871)},
    "H100": {192: (0.0837, 0.0209), 512: (0.0702, 0.0474), 768: (0.0714, 0.0629)},
}
"""Llama-3.1-8B, lm-arena-chat, ML.ENERGY Leaderboard v3: J/token and median ITL (s) by GPU and ``max_num_seqs``."""


def point(size: int, joules: float = 0.1, itl: float = 0.02, **more: object) -> SweepPoint:
    passes = tuple(
        Pass(joules * way, 0.001, {"itl_p50": itl * way, "unit": 1e-4, "call": 1.0}, 600.0, order=order)
        for order, way in enumerate((0.999, 1.001, 1.0, 1.0))
    )
    name = f"test_llm.py::test_decode[{size}]"
    return SweepPoint(name, {"max_num_seqs": str(size)}, passes, **more)  # type: ignore[arg-type]


def sweep(points: Sequence[SweepPoint], group: str = "chat decode", **more: object) -> Sweep:
    return Sweep(group, "token", "itl_p50", tuple(points), **more)  # type: ignore[arg-type]


def of_gpu(gpu: str) -> Sweep:
    return sweep([point(size, *numbers, sku=gpu, commit="abc") for size, numbers in LLAMA[gpu].items()])


def written(path: Path, *sweeps: Sweep, **known: object) -> str:
    known = {"meter": MeterInfo("Zeus", False, ()), **known}
    run = RunResult(CREATED, "1", sweeps=sweeps, **known)  # type: ignore[arg-type]
    json_report.write(run, path)
    return str(path)


# -- put together --


def test_points_of_several_gpus_say_which_they_are_of() -> None:
    (found,) = gathered([Part("h.json", (of_gpu("H100"),)), Part("b.json", (of_gpu("B200"),))])
    assert len(found.points) == 5
    assert found.points[0].name == "test_llm.py::test_decode[192] @ H100"
    assert found.points[0].settings == {"sku": "H100", "max_num_seqs": "192"}
    assert all("commit" not in each.settings for each in found.points)


def test_points_of_several_commits_say_which_they_are_of() -> None:
    parts = [Part(commit, (sweep([point(8, sku="H100", commit=commit)]),)) for commit in ("a" * 40, "b" * 40)]
    (found,) = gathered(parts)
    assert [each.settings["commit"] for each in found.points] == ["a" * 12, "b" * 12]


def test_one_file_of_several_gpus_stays_as_it_is() -> None:
    whole = sweep([point(1, sku="h100"), point(2, sku="2x-h100")])
    assert gathered([Part("a.json", (whole,))]) == (whole,)


def test_the_same_measured_again_is_one_point_of_more_passes() -> None:
    once = sweep([point(8, default=True), point(16)], seed=3, spent_seconds=10.0)
    again = sweep(
        [point(16, default=True, invalid="the test failed")], seed=4, spent_seconds=5.0, notes=("time was up",)
    )
    (found,) = gathered([Part("a.json", (once,)), Part("b.json", (again,))])
    eight, sixteen = found.points
    assert [each.order for each in sixteen.passes] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert sixteen.invalid == "the test failed"
    assert (eight.default, sixteen.default) == (True, False), "that of the first file"
    assert (found.seed, found.spent_seconds) == (None, 15.0)
    assert found.notes == ("time was up", "1 configuration measured in several files: all measurements count")


def test_groups_stay_apart() -> None:
    parts = [
        Part("a.json", (sweep([point(1)], "one"), sweep([point(1)], "two"))),
        Part("b.json", (sweep([point(2)], "two"),)),
    ]
    assert [(each.group, len(each.points)) for each in gathered(parts)] == [("one", 1), ("two", 2)]


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (sweep([point(8)]), "b.json holds the measurements of a.json once more: give one of them"),
        (Sweep("chat decode", "image", "itl_p50", (point(1),)), "'token' in a.json and 'image' in b.json"),
        (
            Sweep("chat decode", "token", "call", (point(1),)),
            "'itl_p50' in a.json and 'call' in b.json: give --latency",
        ),
        (
            sweep([point(1), point(1)]),
            r"b.json: group 'chat decode' has two points called 'test_llm.py::test_decode\[1\]'",
        ),
    ],
)
def test_what_does_not_compare_is_refused(other: Sweep, complaint: str) -> None:
    with pytest.raises(GatherError, match=complaint):
        gathered([Part("a.json", (sweep([point(8)]),)), Part("b.json", (other,))])


# -- picked --


def test_settings_pick_before_texts_do() -> None:
    found = sweep([point(8), point(80)])
    assert [each.settings["max_num_seqs"] for each in picked(found, "max_num_seqs=8")] == ["8"]
    assert [each.settings["max_num_seqs"] for each in picked(found, "seqs=8")] == ["8"]
    assert [each.settings["max_num_seqs"] for each in picked(found, "seqs")] == ["8", "80"]


def test_a_group_is_picked_whole_and_points_one_by_one() -> None:
    sweeps = (sweep([point(8), point(16)], "chat"), sweep([point(8), point(32)], "code"))
    assert only(sweeps, "chat") == sweeps[:1]
    assert [len(each.points) for each in only(sweeps, "max_num_seqs=8")] == [1, 1]
    assert only(sweeps, "") == sweeps
    with pytest.raises(GatherError, match="-k video: no group and no point of that name; the groups are: chat; code"):
        only(sweeps, "video")


def test_the_default_and_the_latency_can_be_named() -> None:
    sweeps = (sweep([point(8, default=True), point(16)]),)
    (found,) = with_default(sweeps, "max_num_seqs=16")
    assert [each.default for each in found.points] == [False, True]
    assert with_latency(sweeps, "call")[0].latency == "call"
    told = replace(sweeps[0].points[0].passes[0], seconds={"ttft_p50": 1.0})
    images = sweep([replace(sweeps[0].points[0], passes=(told,))], "images")
    kept = with_latency((*sweeps, images), "call")[1]
    assert (kept.latency, kept.notes) == ("itl_p50", ("weighed against itl_p50: no point tells call",))
    with pytest.raises(GatherError, match="--default max_num_seqs=1: no such point"):
        with_default(sweeps, "max_num_seqs=1")
    with pytest.raises(GatherError, match="--default 64: no such point; there are: test_llm"):
        with_default(sweeps, "64")
    with pytest.raises(GatherError, match="--default decode: 'chat decode' has several"):
        with_default(sweeps, "decode")
    with pytest.raises(GatherError, match="--latency ttft_p50: no point tells it; use one of itl_p50; unit; call"):
        with_latency(sweeps, "ttft_p50")


def test_words_are_no_wider_than_a_terminal() -> None:
    wide = sweep([replace(point(8), settings={f"knob_{n}": "a value" for n in range(9)}), point(16)])
    lines = report(frontier_of(wide, parse_slo("itl_p50 < 1 s")), Rates())
    told = lines[lines.index("") + 1 :]
    assert max(map(len, told)) <= 126
    assert any(line.startswith(" " * 14 + "knob_") for line in told)


# -- the command --


@pytest.mark.parametrize(
    ("slo", "chosen"),
    [
        ("itl_p50 < 100 ms", "sku=B200, max_num_seqs=1024: 54.90 mJ/token"),
        ("itl_p50 < 50 ms", "sku=H100, max_num_seqs=512: 70.20 mJ/token"),
        ("itl_p50 < 25 ms", "sku=H100, max_num_seqs=192: 83.70 mJ/token"),
    ],
)
def test_it_says_whether_another_gpu_would_pay(
    slo: str, chosen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [written(tmp_path / f"{gpu}.json", of_gpu(gpu)) for gpu in LLAMA]
    assert main(["frontier", *files, "--slo", slo, "--default", "sku=H100, max_num_seqs=768"]) == 0
    told = capsys.readouterr().out
    assert f"recommended {chosen}" in told
    assert f"for {slo}" in told
    assert "the default, sku=H100, max_num_seqs=768" in told


def published(directory: Path) -> list[str]:
    """The same numbers as reference files, and those of FLUX.1-dev on one B200, text-to-image: 6,679 J in 7.75 s."""
    store = ReferenceStore(directory)
    for gpu, sizes in LLAMA.items():
        llama = [
            Reference(
                model="meta-llama/Llama-3.1-8B-Instruct",
                task="lm-arena-chat",
                gpu=gpu,
                settings={"num_gpus": "1", "max_num_seqs": str(size)},
                source="ML.ENERGY leaderboard",
                date="2026-02-13",
                joules={"token": joules},
                seconds={"itl_p50": itl},
            )
            for size, (joules, itl) in sizes.items()
        ]
        flux = replace(
            llama[0],
            model="black-forest-labs/FLUX.1-dev",
            task="text-to-image",
            settings={"num_gpus": "1"},
            joules={"image": 6679.0 if gpu == "B200" else 7949.0},
            seconds={"call": 7.75 if gpu == "B200" else 11.6},
        )
        store.update(gpu, [*llama, flux])
    return [str(directory / f"{gpu.lower()}.json") for gpu in LLAMA]


def test_published_references_are_weighed_like_measurements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = published(tmp_path)
    assert main(["frontier", *files, "-k", "lm-arena-chat", "--slo", "itl_p50 < 50 ms"]) == 0
    told = capsys.readouterr().out
    assert "recommended max_num_seqs=512, gpu=H100: 70.20 mJ/token" in told
    assert "published numbers without a variance" in told
    assert main(["frontier", *files, "-k", "FLUX", "--slo", "call < 10 s", "--html", str(tmp_path / "f.html")]) == 0
    assert "recommended gpu=B200: 6.679 kJ/image" in capsys.readouterr().out
    assert "Published numbers: nothing was measured." in (tmp_path / "f.html").read_text(encoding="utf-8")


def test_of_many_groups_the_choices_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = [sweep([point(8), point(16, 0.05, 0.03)], f"group {number}") for number in range(5)]
    assert main(["frontier", written(tmp_path / "a.json", *many)]) == 0
    told = capsys.readouterr().out
    assert told.count("recommended max_num_seqs=16") == 5
    assert "standing" not in told
    assert "5 groups: -k TEXT shows the points of some" in told


def test_money_is_told_where_a_price_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "a.json", of_gpu("H100"), rates=Rates(Price(0.3, "EUR")))
    flags = ["--default", "max_num_seqs=192", "--carbon", "350 g/kWh"]
    assert main(["frontier", file, *flags, "--json", str(tmp_path / "f.json")]) == 0
    told = capsys.readouterr().out
    assert "16.1% (" in told
    assert "that is 13.5 kJ, 3.75 Wh, 0.00112 EUR, 1.31 g CO2e for 1,000,000 tokens" in told
    assert "x 0.3 EUR/kWh and x 350 g CO2e/kWh; no host, cooling or embodied carbon" in told
    data = json.loads((tmp_path / "f.json").read_text())
    assert data["rates"]["price"] == {"amount": 0.3, "currency": "EUR"}
    assert data["frontiers"][0]["recommendation"]["name"] == "test_llm.py::test_decode[512]"


def test_another_latency_is_weighed_whatever_the_reports_weighed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [
        written(tmp_path / "a.json", sweep([point(8)])),
        written(tmp_path / "b.json", Sweep("chat decode", "token", "call", (point(16),))),
    ]
    assert main(["frontier", *files]) == 2
    assert "give --latency" in capsys.readouterr().err
    assert main(["frontier", *files, "--latency", "unit"]) == 0
    assert "chat decode: J/token against unit, 2 points" in capsys.readouterr().out


def test_of_each_knob_the_next_step_is_told() -> None:
    points = [
        SweepPoint(
            f"{size} {dtype}",
            {"size": str(size), "dtype": dtype},
            (Pass(joules, seconds={"call": seconds}),),
            source="x",
        )
        for size, dtype, joules, seconds in (
            (8, "bf16", 1.0, 0.010),
            (16, "bf16", 0.8, 0.013),
            (32, "bf16", 0.6, 0.020),
            (8, "fp32", 1.5, 0.009),
            (4, "bf16", 1.6, 0.014),
        )
    ]
    frontier = frontier_of(Sweep("g", "token", "call", tuple(points)), parse_slo("call < 12 ms"))
    assert [text for label, text in words(frontier, Rates()) if label == "next"] == [
        "size 8 -> 16 would save 20.0%, at call 13.0 ms: not within the limit",
        "dtype bf16 -> fp32 would cost 50.0% more, at call 9.00 ms",
    ]


def test_a_default_that_misses_the_limit_is_no_alternative() -> None:
    points = [point(8, 0.2, 0.010), point(16, 0.1, 0.020, default=True)]
    frontier = frontier_of(sweep(points), parse_slo("itl_p50 < 15 ms"))
    (costs,) = (text for label, text in words(frontier, Rates()) if label == "costs")
    assert costs.endswith(
        "more than the default, max_num_seqs=16, which cannot be chosen: 20.0 ms misses itl_p50 < 15 ms"
    )


def test_a_missed_throughput_reads_as_in_the_table() -> None:
    lines = report(frontier_of(sweep([point(8), point(16)]), parse_slo("throughput > 20000")), Rates())
    row = next(line for line in lines if line.startswith("1"))
    assert "  10,000  " in row
    assert "10,000/s misses throughput > 20000" in row


def test_a_limit_that_nobody_meets_is_not_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "a.json", of_gpu("H100"), slo="itl_p50 < 1 ms")
    assert main(["frontier", file]) == 1, "the report's own condition"
    assert "recommended nothing: " in capsys.readouterr().out
    assert main(["frontier", file, "--slo", "itl_p50 < 1 s"]) == 0


def test_conditions_and_banner_of_a_report_are_those_of_its_own_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meter = MeterInfo("simulated", True, ())
    file = written(tmp_path / "a.json", of_gpu("H100"), meter=meter, slo="itl_p50 < 30 ms, call < 2 s")
    files = [file, *published(tmp_path / "references")]
    page = tmp_path / "f.html"
    assert main(["frontier", *files, "-k", "Llama", "--html", str(page)]) == 0
    told = capsys.readouterr().out
    assert "simulated" not in told
    assert "recommended max_num_seqs=1024, gpu=B200: 54.90 mJ/token, 18.2 tokens/s/W, itl_p50 87.1 ms\n" in told
    assert "30 ms" not in told + page.read_text(encoding="utf-8")

    assert main(["frontier", *files]) == 0
    banner = "simulated: the joules of chat decode say nothing of hardware\n\nchat decode: "
    assert capsys.readouterr().out.startswith(banner)
    assert main(["frontier", *files, "--json", str(tmp_path / "f.json")]) == 0
    found = json.loads((tmp_path / "f.json").read_text())["frontiers"]
    assert [len(each["conditions"]) for each in found] == [2, 0, 0]
    capsys.readouterr()
    assert main(["frontier", *files, "--slo", "itl_p50 < 50 ms"]) == 1, "asked of all groups"
    assert main(["frontier", file]) == 0
    assert "simulated: these joules say nothing of hardware" in capsys.readouterr().out


def test_reports_of_other_groups_keep_their_own_conditions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = written(tmp_path / "a.json", sweep([point(8), point(16, 0.05, 0.03)], "one"), slo="itl_p50 < 25 ms")
    two = written(tmp_path / "b.json", sweep([point(8), point(16, 0.05, 0.03)], "two"))
    assert main(["frontier", one, two]) == 0
    told = capsys.readouterr().out
    assert ("recommended max_num_seqs=8" in told, "recommended max_num_seqs=16" in told) == (True, True)


def test_a_latency_is_called_as_in_conditions_and_told_of_the_groups_that_are_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = SweepPoint("t[1]", {"n": "1"}, (Pass(9.0, seconds={"e2e_p50": 1.0, "call": 1.0}),))
    file = written(tmp_path / "a.json", sweep([point(8)]), Sweep("images", "image", "call", (images,)))
    assert main(["frontier", file, "--latency", "itl"]) == 0
    told = capsys.readouterr().out
    assert "chat decode: J/token against itl, 1 point" in told
    assert "weighed against call: no point tells itl" in told
    assert main(["frontier", file, "--latency", "itl", "-k", "images"]) == 2
    assert "--latency itl: no point tells it; use one of e2e_p50; call\n" in capsys.readouterr().err


def files_at_fault(tmp_path: Path) -> Mapping[str, list[str]]:
    whole = written(tmp_path / "a.json", sweep([point(8)]))
    other = written(tmp_path / "b.json", sweep([point(16)]), slo="call < 1 s")
    stored = tmp_path / "of.json"
    stored.write_text(
        json.dumps({"schema": 1, "sku": "nvidia-h200", "device": "H200", "simulated": False, "entries": {}})
    )
    return {
        "no sweep in it: mark a parametrized test with @pytest.mark.energy_sweep": [written(tmp_path / "none.json")],
        "of.json: a baseline file, and no report: give what pytest --energy --energy-json wrote": [str(stored)],
        "there is no such file": [str(tmp_path / "missing.json")],
        "different conditions (none; call < 1 s): give --slo": [whole, other],
        "a.json: given twice": [whole, whole],
        "rates: a price of -1": [written(tmp_path / "price.json", rates=Rates(Price(-1.0, "EUR")))],
        "-k image: no group and no point": [whole, "-k", "image"],
        "--html": [whole, "--html", str(tmp_path / "no" / "page.html")],
    }


def test_what_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for complaint, arguments in files_at_fault(tmp_path).items():
        assert main(["frontier", *arguments]) == 2
        told = capsys.readouterr()
        assert complaint in told.err
        assert told.err.count("\n") == 1
        assert not told.out


def test_a_wrong_condition_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["frontier", str(tmp_path / "a.json"), "--slo", "itl_p95 > 50"])
    assert "itl_p95" in capsys.readouterr().err
