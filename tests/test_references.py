"""Reference files: kept, named by a test, and beside its joules."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import mlenergy_files
import pytest
from conftest import Suite
from hypothesis import given, settings
from hypothesis import strategies as st
from mlenergy_files import FLUX, LLAMA
from runs import run_of

from pytest_joules.arguments import MarkerError
from pytest_joules.baselines.store import BaselineFile
from pytest_joules.budget import EnergyBudget
from pytest_joules.frontier import frontier_of
from pytest_joules.judging import Bar
from pytest_joules.model import (
    BaselineKey,
    Block,
    BudgetResult,
    Conditions,
    Device,
    Measurement,
    Reference,
    Verdict,
    VerdictKind,
    WindowKind,
)
from pytest_joules.options import COLUMNS, Options
from pytest_joules.references import store as store_module
from pytest_joules.references.configuration import told_apart
from pytest_joules.references.lookup import LookupFault, find, same_gpu, with_reference
from pytest_joules.references.mlenergy import Told, read_mlenergy
from pytest_joules.references.names import ReferenceNameError, parse_reference
from pytest_joules.references.store import (
    ReferenceFile,
    ReferenceFileError,
    ReferenceStore,
    is_reference,
    merge,
    parse,
    render,
)
from pytest_joules.references.sweeps import SweepError, references_sweeps
from pytest_joules.rejudging import judged_again
from pytest_joules.reporting import csv as csv_report
from pytest_joules.reporting import html, markdown, terminal
from pytest_joules.reporting import json as json_report
from pytest_joules.reporting.references import beside
from pytest_joules.slo import parse_slo

H100 = Device(0, "NVIDIA H100 80GB HBM3", "a")
H200 = Device(0, "NVIDIA H200", "b")
SIMULATED = replace(H100, simulated=True)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reference, ...]:
    """Those of the small task files."""
    directory = tmp_path_factory.mktemp("leaderboard")
    paths = []
    for content in (mlenergy_files.chat_file(), mlenergy_files.image_file()):
        paths.append(directory / f"{content['task']}.json")
        paths[-1].write_text(json.dumps(content))
    return read_mlenergy(paths, Told(date(2026, 2, 13))).references


# -- files --

names = st.text(st.characters(exclude_categories=["C"], exclude_characters=",="), min_size=1, max_size=20)
amounts = st.floats(1e-15, 1e24)
references = st.builds(
    Reference,
    model=names,
    task=names,
    gpu=st.just("H100"),
    settings=st.dictionaries(st.sampled_from(["num_gpus", "max_num_seqs", "größe"]), names),
    source=names,
    date=st.dates().map(date.isoformat),
    joules=st.dictionaries(names, amounts, min_size=1, max_size=3),
    seconds=st.dictionaries(names, amounts, max_size=3),
    watts=st.none() | amounts,
    facts=st.dictionaries(names, amounts, max_size=2),
)
files = st.lists(references, max_size=6).map(lambda found: ReferenceFile("H100", told_apart(found)))


def by_repr(found: Sequence[Reference]) -> list[str]:
    return sorted(map(repr, found))


@settings(max_examples=40)
@given(files)
def test_what_is_written_is_read_back_and_fits_the_schema(file: ReferenceFile) -> None:
    text = render(file)
    jsonschema.validate(json.loads(text), store_module.schema())
    again = parse(text.encode(), "file")
    assert by_repr(again.references) == by_repr(file.references)
    assert render(again) == text


@settings(max_examples=40)
@given(files, files)
def test_an_import_replaces_its_own_and_keeps_all_else(stored: ReferenceFile, new: ReferenceFile) -> None:
    merged, change = merge(stored, new.references, Path("h100.json"))
    found = by_repr(merged.references)
    assert len(merged.references) == len(change.added) + len(change.changed) + change.same + change.kept
    assert {*found} <= {*by_repr(stored.references), *by_repr(new.references)}
    again, nothing = merge(merged, new.references, Path("h100.json"))
    assert by_repr(again.references) == found
    assert (nothing.added, nothing.changed, nothing.dropped) == ((), (), ())


@settings(max_examples=60)
@given(files, st.data())
def test_damage_is_the_files_fault_and_no_other(file: ReferenceFile, data: st.DataObject) -> None:
    text = render(file)
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from(['"', "{", "]", ",", "NaN", "1e999", "\\ud800", ""]))
    with contextlib.suppress(ReferenceFileError):
        parse((text[:at] + put + text[at + 1 :]).encode(), "file")


MEASUREMENT = '{"settings": {"a": "1"}, "source": "s", "date": "2026-01-01", "joules": {"token": 0.1}}'
FILE = '{"schema": 1, "gpu": "H100", "models": {"m": {"t": [\n%s\n]}}}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: not JSON"),
        ("[]", ":1: the file: [] is not of type 'object'; restore it from git"),
        (FILE % MEASUREMENT.replace("0.1", "NaN"), ":2: holds the number NaN"),
        (FILE % MEASUREMENT.replace("0.1", "0"), ":2: models/m/t/0/joules/token: 0 is less than the minimum of 1e-15"),
        (FILE % MEASUREMENT.replace("0.1", '"0.1"'), "joules/token: '0.1' is not of type 'number'"),
        (FILE % MEASUREMENT.replace('"a": "1"', '"a": "1", "a": "2"'), ":2: holds the key 'a' twice"),
        (FILE % MEASUREMENT.replace('"1"', '"1,2"'), "settings/a: '1,2' does not match"),
        (FILE % MEASUREMENT.replace('"source": "s", ', ""), "'source' is a required property"),
        (FILE % MEASUREMENT.replace("2026-01-01", "today"), "date: 'today' does not match"),
        (FILE % f"{MEASUREMENT},\n{MEASUREMENT}", ": m, t, a=1, gpu=H100, source=s is there twice"),
        (FILE.replace("1", "2", 1) % MEASUREMENT, "schema 2 was written by a newer pytest-joules"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_not_sound_is_an_error_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ReferenceFileError) as caught:
        parse(text.encode(), "h100.json")
    assert str(caught.value).startswith("h100.json")
    assert said in str(caught.value)


def test_a_file_that_is_called_after_another_gpu_is_refused(tmp_path: Path, published: tuple[Reference, ...]) -> None:
    store = ReferenceStore(tmp_path / "references")
    assert store.all() == ()
    store.update("H100", [reference for reference in published if reference.gpu == "H100"])
    store.path("H100").rename(store.path("B200"))
    with pytest.raises(ReferenceFileError, match=r"b200\.json: holds measurements on 'H100'; rename it to h100\.json"):
        store.all()


# -- names --


@pytest.mark.parametrize(
    ("text", "model", "task", "settings"),
    [
        (f"{LLAMA}, lm-arena-chat", LLAMA, "lm-arena-chat", {}),
        (f" {LLAMA},lm-arena-chat ,max_num_seqs = 512 ", LLAMA, "lm-arena-chat", {"max_num_seqs": "512"}),
        ("m, t, gpu=B200, source=a b", "m", "t", {"gpu": "B200", "source": "a b"}),
    ],
)
def test_a_name_is_a_model_a_task_and_settings(text: str, model: str, task: str, settings: dict[str, str]) -> None:
    name = parse_reference(text)
    assert (name.model, name.task, name.settings) == (model, task, settings)
    assert parse_reference(str(name)) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no model; write it like 'meta-llama/"),
        (LLAMA, "has no task"),
        (f"{LLAMA}, max_num_seqs=512", "has no task"),
        (f"{LLAMA}, lm-arena-chat, 512", "'512' is no setting like max_num_seqs=512"),
        (f"{LLAMA}, lm-arena-chat,", "'' is no setting"),
        (f"{LLAMA}, lm-arena-chat, a=1=2", "'a=1=2' is no setting"),
        (f"{LLAMA}, lm-arena-chat, a=1, a=2", "a is '1' and '2'; keep one"),
        (f"{LLAMA}, lm-arena\0chat", "has no task"),
        (7, "must be text like 'meta-llama/"),
    ],
)
def test_a_name_that_is_none_is_a_budget_error(text: Any, said: str) -> None:
    with pytest.raises(MarkerError) as caught:
        EnergyBudget.from_marker((), {"reference": text})
    assert str(caught.value).startswith("reference")
    assert said in str(caught.value)


@given(st.text())
def test_any_text_is_a_name_or_a_fault(text: str) -> None:
    with contextlib.suppress(ReferenceNameError):
        assert parse_reference(str(parse_reference(text))) == parse_reference(text)


# -- looking one up --


@pytest.mark.parametrize(
    ("published_as", "device", "same"),
    [
        ("H100", H100, True),
        ("H100", H200, False),
        ("B200", replace(H100, name="NVIDIA GB200"), False),
        ("H100", SIMULATED, False),
        ("Simulated H100", SIMULATED, True),
        ("Simulated H100", H100, False),
        ("A100 40GB", replace(H100, name="NVIDIA A100-SXM4-40GB"), True),
        ("A100 80GB", replace(H100, name="NVIDIA A100-SXM4-40GB"), False),
    ],
)
def test_a_device_is_what_its_publisher_calls_it(published_as: str, device: Device, same: bool) -> None:
    assert same_gpu(published_as, device) is same


def test_a_name_means_the_measurement_on_todays_gpu(published: tuple[Reference, ...]) -> None:
    text = f"{LLAMA}, lm-arena-chat, max_num_seqs=512"
    here = find(parse_reference(text), published, [H100])
    assert here is not None
    assert (here.gpu, here.joules["token"]) == ("H100", 0.0701945)
    there = find(parse_reference(f"{text}, gpu=b200"), published, [H100])
    assert there is not None
    assert (there.gpu, there.joules["token"]) == ("B200", 0.06)
    assert find(parse_reference(text), published, [H200]) is None
    assert find(parse_reference(f"{text}, gpu=b200"), published, [SIMULATED]) is None, "they never mix"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{LLAMA}, gpqa", f"there is no reference '{LLAMA}, gpqa'; the nearest are '{LLAMA}, lm-arena-chat'; '{FLUX}"),
        ("Llama-3.1-8B, lm-arena-chat", f"; the nearest are '{LLAMA}, lm-arena-chat'; '{FLUX}, text-to-image'"),
        (
            f"{LLAMA}, lm-arena-chat, max_num_seqs=500",
            f"the nearest are '{LLAMA}, lm-arena-chat, max_num_seqs=512, gpu=H100'; "
            f"'{LLAMA}, lm-arena-chat, max_num_seqs=512, gpu=B200'; '{LLAMA}, lm-arena-chat, max_num_seqs=",
        ),
        (
            f"{LLAMA}, lm-arena-chat",
            f"'{LLAMA}, lm-arena-chat' is 7 measurements: add max_num_seqs=8|128|192|256|384|512|768",
        ),
        (f"{FLUX}, text-to-image, gpu=B200", "is 3 measurements: add num_gpus=1|2 and batch_size=1|2"),
    ],
)
def test_a_name_that_does_not_mean_one_lists_what_would(published: tuple[Reference, ...], text: str, said: str) -> None:
    with pytest.raises(LookupFault) as caught:
        find(parse_reference(text), published, [H100])
    assert said in str(caught.value)


def test_without_a_file_the_import_is_named() -> None:
    with pytest.raises(LookupFault, match=r"nothing was imported; pytest-joules import mlenergy FILE"):
        find(parse_reference("m, t"), [], [H100])


def test_measurements_of_two_sources_are_told_apart(published: tuple[Reference, ...]) -> None:
    both = [*published, *(replace(reference, source="mine") for reference in published)]
    text = f"{LLAMA}, lm-arena-chat, max_num_seqs=512"
    with pytest.raises(LookupFault, match=r"2 measurements: add source=ML.ENERGY leaderboard\|mine"):
        find(parse_reference(text), both, [H100])
    assert find(parse_reference(f"{text}, source=mine"), both, [H100]) is not None


# -- beside a test's joules --


def measured(text: str | None, unit: str = "token", device: Device = H100, **settings: str) -> BudgetResult:
    conditions = Conditions(configuration=settings)
    blocks = {unit: (Block(75.1, 1000.0, 0.5),)}
    measurement = Measurement("main", WindowKind.REPEATED, (device,), blocks, 0.0, 0.0, conditions)
    verdict = Verdict(VerdictKind.PASS, joules_per_unit=0.0751)
    key = BaselineKey("test_it.py::test_chat", "main", unit)
    budget = EnergyBudget(reference=text)
    return BudgetResult("test_it.py::test_chat", budget, True, verdict, key=key, measurement=measurement)


NAME = f"{LLAMA}, lm-arena-chat, max_num_seqs=512"


def noted(result: BudgetResult, published: Sequence[Reference], devices: Sequence[Device] = (H100,)) -> BudgetResult:
    assert result.budget.reference is not None
    return with_reference(result, find(parse_reference(result.budget.reference), published, devices))


def test_yours_over_published(published: tuple[Reference, ...]) -> None:
    result = noted(measured(NAME), published)
    assert result.over_reference == pytest.approx(0.0751 / 0.0701945)
    assert beside(result) == (
        f"1.070 times the published 70.19 mJ/token: {NAME} (ML.ENERGY leaderboard, 2026-02-13, H100)"
    )
    assert result.verdict.notes == ()
    assert with_reference(measured(None), None) == measured(None)


def test_joules_per_request_are_beside_those_per_request(published: tuple[Reference, ...]) -> None:
    result = noted(measured(NAME, "request"), published)
    assert result.over_reference == pytest.approx(0.0751 / 21.0583)


@pytest.mark.parametrize(
    ("result", "note"),
    [
        (measured(NAME, "call"), "published per token and per request, not per call"),
        (measured(NAME, max_num_seqs="256"), "published with max_num_seqs=512, measured with 256"),
        (measured(f"{NAME}, gpu=B200"), "published for B200, measured on NVIDIA H100 80GB HBM3"),
    ],
)
def test_what_makes_it_another_thing_is_noted(
    published: tuple[Reference, ...], result: BudgetResult, note: str
) -> None:
    found = noted(result, published)
    assert found.verdict.notes == (f"reference: {note}",)
    assert found.reference is not None
    assert bool(beside(found)) == ("per call" not in note)


def test_a_gpu_that_nobody_measured_is_noted(published: tuple[Reference, ...]) -> None:
    result = noted(measured(NAME, device=H200), published, [H200])
    assert result.verdict.notes == (f"reference: nothing is published of {NAME!r} on NVIDIA H200",)
    assert (result.reference, result.over_reference, beside(result)) == (None, None, "")


def test_every_report_shows_it(published: tuple[Reference, ...]) -> None:
    run = run_of(noted(measured(NAME), published), measured(None))
    first, second = csv.DictReader(csv_report.render(run).splitlines())
    assert (first["published_joules_per_unit"], first["over_published"][:6]) == ("0.0701945", "1.0698")
    assert (second["published_joules_per_unit"], second["over_published"]) == ("", "")
    assert "### Beside published numbers" in markdown.render(run)
    assert "1.070 times the published 70.19 mJ/token" in markdown.render(run)
    page = html.render(run)
    assert "70.19 mJ / token (ML.ENERGY leaderboard, 2026-02-13, H100)" in page
    heading, *_ = terminal.table(run.results, COLUMNS, "test")[1:]
    assert "/ published" in heading
    assert "/ published" not in terminal.table(run.results[1:], COLUMNS, "test")[1]


def test_a_stored_run_keeps_it_when_it_is_judged_again(published: tuple[Reference, ...], tmp_path: Path) -> None:
    result = noted(measured(NAME, max_num_seqs="256"), published)
    json_report.write(run_of(result), tmp_path / "energy.json")
    again = judged_again(json_report.read(tmp_path / "energy.json"), Bar.of(BaselineFile, Options(enabled=True)))
    assert again.results[0].reference == result.reference
    assert again.results[0].over_reference == pytest.approx(result.over_reference)
    assert result.verdict.notes[0] in again.results[0].verdict.notes


def test_published_numbers_beyond_arithmetic_are_refused(published: tuple[Reference, ...], tmp_path: Path) -> None:
    result = noted(measured(NAME), published)
    assert result.reference is not None
    wrong = replace(result, reference=replace(result.reference, joules={"token": 1e-300}))
    json_report.write(run_of(wrong), tmp_path / "energy.json")
    with pytest.raises(json_report.ReportError, match="published token of 1e-300"):
        json_report.read(tmp_path / "energy.json")


# -- as a sweep --


@pytest.mark.parametrize(
    ("model", "gpu", "slo", "name", "joules"),
    [
        (LLAMA, "", "itl_p50 < 100 ms", "max_num_seqs=1024, gpu=B200", 0.0549226),
        (LLAMA, "H100", "itl_p50 < 50 ms", "max_num_seqs=512", 0.0701945),
        (LLAMA, "H100", "itl_p50 < 25 ms", "max_num_seqs=192", 0.0836952),
        (FLUX, "", "call < 10 s", "num_gpus=1, batch_size=1, ulysses_degree=1, gpu=B200", 6678.81),
    ],
)
def test_published_numbers_have_a_frontier(
    published: tuple[Reference, ...], model: str, gpu: str, slo: str, name: str, joules: float
) -> None:
    (sweep,) = references_sweeps([found for found in published if found.model == model and gpu in found.gpu])
    found = frontier_of(sweep, parse_slo(slo))
    assert found.recommendation is not None, found.nothing
    assert found.recommendation.name == name
    (point,) = (placed for placed in found.points if placed.point.name == name)
    assert point.joules is not None
    assert (point.joules.value, point.joules.error) == (joules, 0.0)


def test_a_sweep_says_whose_its_points_are(published: tuple[Reference, ...]) -> None:
    chat, image = references_sweeps(published)
    assert (chat.group, chat.unit, chat.latency) == (f"{LLAMA}, lm-arena-chat", "token", "itl_p50")
    assert (image.group, image.unit, image.latency) == (f"{FLUX}, text-to-image", "image", "call")
    point = chat.points[0]
    assert (point.name, point.settings) == ("max_num_seqs=64, gpu=B200", {"max_num_seqs": "64", "gpu": "B200"})
    assert (point.sku, point.source) == ("B200", "ML.ENERGY leaderboard, 2026-02-13")
    assert (point.passes[0].error, point.passes[0].watts) == (None, 600.0)


def test_other_work_is_another_sweep_and_steps_are_a_knob(tmp_path: Path) -> None:
    row = mlenergy_files.video_row()
    small = {**row, "video_height": 256, "video_width": 256, "num_frames": 17, "energy_per_video_joules": 4000.0}
    rows = [row, {**row, "gpu_model": "B200"}, small, {**small, "inference_steps": 30}]
    path = tmp_path / "video.json"
    path.write_text(json.dumps(mlenergy_files.task_file("text-to-video", *rows)))
    large, little = references_sweeps(read_mlenergy([path], Told(date(2026, 2, 13))).references)
    name = f"{row['model_id']}, text-to-video"
    assert large.group == f"{name}, height=480, width=832, num_frames=81"
    assert little.group == f"{name}, height=256, width=256, num_frames=17"
    assert [dict(point.settings) for point in large.points] == [{"gpu": "H100"}, {"gpu": "B200"}]
    assert [dict(point.settings) for point in little.points] == [{"inference_steps": "50"}, {"inference_steps": "30"}]


def test_of_several_units_the_one_counts_that_all_have(published: tuple[Reference, ...]) -> None:
    one, other = (replace(published[0], gpu=gpu) for gpu in ("B200", "H100"))
    (sweep,) = references_sweeps([one, replace(other, joules={"image": 1.0, "token": 2.0})])
    assert sweep.unit == "token"
    assert [point.passes[0].joules_per_unit for point in sweep.points] == [one.joules["token"], 2.0]


def test_what_does_not_compare_makes_no_sweep(published: tuple[Reference, ...]) -> None:
    one = published[0]
    with pytest.raises(SweepError, match="lm-arena-chat: measurements per request and per token do not compare"):
        references_sweeps([replace(one, joules={"token": 1.0}), replace(one, joules={"request": 1.0})])
    with pytest.raises(SweepError, match="share none of the latencies itl_p50 and call"):
        references_sweeps([one, replace(one, seconds={"ttft_p50": 1.0})])


def test_nothing_is_read_of_what_is_no_file_and_depth_is_no_reference(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    assert not is_reference(tmp_path / "pipe.json")
    (tmp_path / "deep.json").write_text('{"gpu":' + "[" * 100_000 + "]" * 100_000 + ',"models":1}')
    assert not is_reference(tmp_path / "deep.json")


# -- in a run --

TEST = """
    import pytest
    from pytest_joules import testing

    @pytest.mark.energy_budget("1 kJ/token", reference="{name}")
    def test_chat(energy):
        energy.repeat(lambda: testing.launch(flops=4e12, bytes=5e9), work={{"token": 100}})
"""


def test_a_run_shows_yours_over_published(suite: Suite, published: tuple[Reference, ...]) -> None:
    simulated = [replace(found, gpu="Simulated H100") for found in published if found.gpu == "H100"]
    ReferenceStore(suite.pytester.path / "references").update("Simulated H100", simulated)
    suite.write(TEST.format(name=NAME))
    ran = suite.run("--energy-json=energy.json", "-v")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*/ published*", f"  reference  *times the published 70.19 mJ/token: {NAME} (*"])
    data = json.loads((suite.pytester.path / "energy.json").read_text())
    assert data["results"][0]["reference"]["joules"]["token"] == 0.0701945
    assert data["results"][0]["budget"]["reference"] == NAME


def test_a_name_that_means_nothing_ends_the_run_at_once(suite: Suite, published: tuple[Reference, ...]) -> None:
    ReferenceStore(suite.pytester.path / "elsewhere").update("H100", [f for f in published if f.gpu == "H100"])
    suite.write(TEST.format(name=NAME.replace("512", "500")))
    ran = suite.pytester.runpytest_inprocess(
        "--energy", "--energy-meter=simulated:h100-sxm", "--energy-references=elsewhere", "-p", "no:cacheprovider"
    )
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: test_it.py::test_chat: energy_budget: in elsewhere, there is no reference*512*"])
