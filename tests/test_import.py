"""``pytest-joules import mlenergy``: each real form, read into reference files and back."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import mlenergy_files as mlenergy
import pyarrow as pa
import pytest
from mlenergy_files import FLUX, LLAMA
from pyarrow import parquet

from pytest_joules.cli import main
from pytest_joules.model import Reference
from pytest_joules.references.mlenergy import MlEnergyError, Told, between_tokens, read_mlenergy
from pytest_joules.references.store import ReferenceStore

TOLD = Told(date(2026, 2, 13))


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def table(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def imported(*paths: Path, told: Told = TOLD) -> tuple[Reference, ...]:
    return read_mlenergy(paths, told).references


def refusal(*paths: Path) -> str:
    with pytest.raises(MlEnergyError) as caught:
        read_mlenergy(paths, TOLD)
    return str(caught.value)


def test_a_task_file_of_a_language_model(tmp_path: Path) -> None:
    found = imported(written(tmp_path / "chat.json", mlenergy.chat_file()))
    assert len(found) == len(mlenergy.CHAT_ROWS)
    (one,) = (r for r in found if (r.gpu, r.settings["max_num_seqs"]) == ("H100", "192"))
    assert one == Reference(
        model=LLAMA,
        task="lm-arena-chat",
        gpu="H100",
        settings={
            "num_gpus": "1",
            "max_num_seqs": "192",
            "tensor_parallel": "1",
            "expert_parallel": "1",
            "data_parallel": "1",
            "weight_precision": "bfloat16",
        },
        source="ML.ENERGY leaderboard",
        date="2026-02-13",
        joules={"token": 0.0836952, "request": 25.1086},
        seconds={
            "itl_p50": 0.0209081,
            "itl_p90": 0.0250897,
            "itl_p95": 0.0271805,
            "itl_p99": 0.0418162,
            "unit": 0.000139492,
        },
        watts=600.0,
        facts={"tokens_per_request": 300.0, "running_requests": 190.08},
    )


def test_task_files_of_images_and_videos(tmp_path: Path) -> None:
    video = mlenergy.task_file("text-to-video", mlenergy.video_row())
    image, *_, film = imported(
        written(tmp_path / "image.json", mlenergy.image_file()), written(tmp_path / "video.json", video)
    )
    assert (image.joules, image.seconds["call"]) == ({"image": 6678.81}, 7.75493)
    assert image.settings["height"] == "1024"
    assert film.joules == {"video": 74449.8}
    assert film.settings == {
        "num_gpus": "2",
        "batch_size": "1",
        "inference_steps": "50",
        "ulysses_degree": "1",
        "ring_degree": "2",
        "weight_precision": "bfloat16",
        "height": "480",
        "width": "832",
        "num_frames": "81",
        "fps": "15",
    }


def test_tables_of_the_data_set(tmp_path: Path) -> None:
    chat, pictures = table(tmp_path / "a", mlenergy.chat_table()), table(tmp_path / "b", mlenergy.picture_table())
    found = read_mlenergy([chat, pictures], TOLD)
    assert found.notes == (f"{chat}: 1 run left out, which the data set calls unstable",)
    one, other, image, video = found.references
    assert [one.settings["max_num_seqs"], other.settings["max_num_seqs"]] == ["8", "128"]
    assert one.source == "mlenergy-data"
    # The same configuration as in the leaderboard's files, but for whether it was compiled, which those leave out.
    (leaderboard,) = (r for r in imported(written(tmp_path / "c", mlenergy.chat_file())) if r.joules == one.joules)
    assert (one.settings, one.seconds) == (leaderboard.settings, leaderboard.seconds)
    *_, drawn = imported(written(tmp_path / "d", mlenergy.image_file()))
    assert (image.joules, image.settings) == (drawn.joules, {**drawn.settings, "use_torch_compile": "false"})
    assert (video.joules, video.settings["num_frames"]) == ({"video": 74449.8}, "81")


def test_a_table_without_pyarrow_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path / "llm.parquet", mlenergy.chat_table())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal(path) == f"{path}: a Parquet file needs pyarrow: pip install 'pytest-joules[parquet]'"


def test_a_run_of_a_language_model(tmp_path: Path) -> None:
    place = "run/llm/lm-arena-chat/results/meta-llama/Llama-3.1-8B-Instruct/H100/num_gpus+1/results.json"
    (found,) = imported(written(tmp_path / place, mlenergy.chat_run()))
    assert (found.model, found.task, found.gpu, found.date) == (LLAMA, "lm-arena-chat", "H100", "2025-11-30")
    assert found.settings == {"num_gpus": "1", "max_num_seqs": "192"}
    assert found.joules == {"token": 0.08, "request": 24.0}
    assert found.watts == 600.0
    # 60 kJ at 0.08 J/token are 750,000 tokens in 100 s.
    assert found.seconds["unit"] == pytest.approx(100 / 750_000, rel=1e-5)
    # Every token took 20 ms: pieces share their time, and the first piece has none.
    assert {found.seconds[f"itl_p{p}"] for p in (50, 90, 95, 99)} == {0.02}
    assert (found.seconds["ttft_p50"], found.seconds["e2e_p95"]) == (0.9, 7.0)


@pytest.mark.parametrize(
    ("itl", "gaps"),
    [
        ([], []),
        ([0, 0], []),
        ([0, 0.03], [0.03]),
        ([0.04, 0], [0.02, 0.02]),
        ([0, 0, 0.06, 0, 0, 0.01], [0.02, 0.02, 0.02, 0.01]),
    ],
)
def test_tokens_in_one_piece_share_its_time(itl: list[float], gaps: list[float]) -> None:
    assert list(between_tokens(itl)) == pytest.approx(gaps)


def test_a_run_of_a_diffusion_model(tmp_path: Path) -> None:
    place = "3.0/diffusion/b200/current/run/diffusion/text-to-image/black-forest-labs/FLUX.1-dev/batch-2/results.json"
    (found,) = imported(written(tmp_path / place, mlenergy.picture_run()))
    assert (found.model, found.task, found.gpu, found.date) == (FLUX, "text-to-image", "B200", "2025-10-15")
    assert found.joules == {"image": 8000.0}  # (15 kJ + 17 kJ) / 2 batches / 2 images
    assert found.seconds == {"call": 10.0, "unit": 5.0}
    assert found.watts == 1600.0
    assert found.settings["num_gpus"] == "2"
    film = written(tmp_path / "results.json", mlenergy.picture_run(num_frames=81, fps=15))
    (video,) = imported(film, told=Told(date(2026, 2, 13), gpu="H100"))
    assert (video.task, video.gpu, video.joules) == ("text-to-video", "H100", {"video": 8000.0})


def test_what_no_path_tells_has_to_be_said(tmp_path: Path) -> None:
    chat = written(tmp_path / "chat.json", mlenergy.chat_run())
    assert refusal(chat) == f"{chat}: neither it nor its path tells the task: give --task, like --task lm-arena-chat"
    (found,) = imported(chat, told=Told(date(2026, 2, 13), task="gpqa"))
    assert found.task == "gpqa"
    picture = written(tmp_path / "picture.json", mlenergy.picture_run())
    assert refusal(picture) == f"{picture}: neither it nor its path tells the GPU: give --gpu, like --gpu H100"


def test_what_a_file_tells_itself_is_not_taken_from_flags_and_that_is_said(tmp_path: Path) -> None:
    told = Told(date(2026, 2, 13), task="gpqa", gpu="B200")
    chat, pictures = mlenergy.chat_file(), mlenergy.picture_table()
    place = tmp_path / "lm-arena-chat/results.json"
    for path, flags in (
        (written(tmp_path / "chat.json", chat), ("--gpu B200", "--task gpqa")),
        (table(tmp_path / "p.parquet", pictures), ("--gpu B200", "--task gpqa")),
        (written(place, mlenergy.chat_run()), ("--gpu B200",)),
        (written(tmp_path / "picture.json", mlenergy.picture_run()), ("--task gpqa",)),
    ):
        found = read_mlenergy([path], told)
        assert found.notes[: len(flags)] == tuple(f"{path}: {flag} not used: it tells its own" for flag in flags)
        assert ("B200" in {one.gpu for one in found.references}) == (path.name in ("chat.json", "picture.json"))


def test_runs_that_are_no_good_are_left_out(tmp_path: Path) -> None:
    short = written(tmp_path / "gpqa" / "short.json", mlenergy.chat_run(steady_state_duration=12.0))
    failed = written(tmp_path / "gpqa" / "failed.json", mlenergy.chat_run(completed=900))
    none = written(tmp_path / "gpqa" / "none.json", mlenergy.chat_run(completed=0, steady_state_duration=0.0))
    idle = written(tmp_path / "gpqa" / "idle.json", mlenergy.chat_run(steady_state_duration=0.0))
    empty = written(tmp_path / "gpqa" / "empty" / "results.json", mlenergy.chat_run())
    full = written(tmp_path / "gpqa" / "full" / "results.json", mlenergy.chat_run())
    for run, running in ((empty, 100.0), (full, 190.5)):
        stats = {"vllm:num_requests_running": running, "vllm:kv_cache_usage_perc": 0.5}
        written(run.with_name("prometheus.json"), {"collection_interval": 1.0, "steady_state_stats": stats})
    found = read_mlenergy([short, failed, none, idle, empty, full], TOLD)
    (one,) = found.references
    assert one.facts == {"tokens_per_request": 300.0, "running_requests": 190.5}
    assert found.notes == (
        f"{short}: left out, its steady state of 12 s is under 20 s",
        f"{failed}: left out, only 900 of 1000 requests were answered",
        f"{none}: left out, only 0 of 1000 requests were answered",
        f"{idle}: left out, its steady state of 0 s is under 20 s",
        f"{empty}: left out, only 100 of 192 requests ran at a time",
    )


def test_nan_is_no_value_of_a_field_that_may_be_missing(tmp_path: Path) -> None:
    row = {**ROW, "avg_output_len": math.nan, "max_num_batched_tokens": math.nan}
    (found,) = imported(written(tmp_path / "chat.json", mlenergy.task_file("gpqa", row)))
    assert "tokens_per_request" not in found.facts
    assert "max_num_batched_tokens" not in found.settings
    rows = [{**each, "energy_per_token_joules": math.nan} for each in mlenergy.chat_table()]
    path = table(tmp_path / "llm.parquet", rows)
    assert refusal(path) == f"{path}: row 0: 'energy_per_token_joules' is 'nan', not a number above zero"


def test_runs_that_nothing_tells_apart_are_numbered(tmp_path: Path) -> None:
    rows = [mlenergy.chat_row("H100", 256, joules, 30.0) for joules in (0.133, 0.147)]
    path = written(tmp_path / "chat.json", mlenergy.task_file("lm-arena-chat", *rows))
    found = imported(path, path)  # a file that is named twice is one
    assert [(r.settings["run"], r.joules["token"]) for r in found] == [("1", 0.133), ("2", 0.147)]


ROW = mlenergy.chat_row("H100", 8, 0.4, 7.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty; download it again"),
        (" \n", "empty; download it again"),
        ("energy: 1", "neither JSON nor Parquet: JSON is malformed"),
        ("[" * 5000, "neither JSON nor Parquet"),
        ("PAR1, or so", "no sound Parquet file"),
        ([], "neither a task file of the leaderboard, nor a table of mlenergy-data, nor a results.json"),
        ({"models": {}, "tasks": ["gpqa"], "last_updated": "2026-02-13"}, "no 'configurations')"),
        ({"configurations": [ROW]}, "no 'task': another version of the format, or not the whole file; take it from"),
        (mlenergy.task_file("length-control", ROW), "unknown task 'length-control'; known are lm-arena-chat, gpqa,"),
        (mlenergy.task_file("gpqa"), "'configurations' is '[]', not a list with something in it"),
        (mlenergy.task_file("gpqa", ROW, 7), "configurations[1]: '7' is no object"),  # type: ignore[arg-type]
        (mlenergy.task_file("gpqa", {**ROW, "median_itl_ms": "7 ms"}), "'median_itl_ms' is '7 ms', not a number"),
        (mlenergy.task_file("gpqa", {**ROW, "avg_power_watts": -1}), "'avg_power_watts' is '-1', not a number"),
        (
            mlenergy.task_file("gpqa", {**ROW, "model_id": "a, b"}),
            "'model_id' is 'a, b', not a whole number, or a name",
        ),
        (mlenergy.task_file("gpqa", {**ROW, "num_gpus": 1.5}), "configurations[0]: 'num_gpus' is '1.5', not a whole"),
        (mlenergy.task_file("gpqa", mlenergy.video_row()), "configurations[0]: no 'energy_per_token_joules': another"),
        (mlenergy.task_file("text-to-image", mlenergy.video_row()), "configurations[0]: no 'energy_per_image_joules'"),
        (
            mlenergy.task_file("gpqa", {**ROW, "energy_per_token_joules": math.nan}),
            "configurations[0]: 'energy_per_token_joules' is 'nan', not a number above zero",
        ),
        (
            mlenergy.task_file("gpqa", {**ROW, "median_itl_ms": math.inf}),
            "'median_itl_ms' is 'inf', not a number above",
        ),
        (mlenergy.task_file("gpqa", {**ROW, "num_gpus": math.nan}), "'num_gpus' is 'nan', not a whole number"),
        ('{"task": NaN, "configurations": ', "neither JSON nor Parquet: JSON is malformed"),
        ({"task": "gpqa", "configurations": ROW}, ", not a list with something in it"),
        (mlenergy.chat_run(steady_state_energy="5"), "'steady_state_energy' is '5', not a number above zero"),
        (mlenergy.chat_run(completed=-1), "'completed' is '-1', not a number"),
        (mlenergy.picture_run(configurations={"ring_degree": 1}), "configurations: no 'ulysses_degree'"),
        (mlenergy.picture_run(iteration_energy_measurements=[{"time": 1}]), "[0]: no 'gpu_energy'"),
        (mlenergy.picture_run(date="yesterday"), "'date' is 'yesterday', not a time like 20251130-235959"),
    ],
)
def test_another_version_is_an_error_that_names_the_field(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "gpqa/diffusion/h100/current/run/diffusion/file.json"
    path.parent.mkdir(parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert said in message


@pytest.mark.parametrize("name", sorted(ROW.keys() - {"max_num_batched_tokens", "avg_output_len", "avg_batch_size"}))
def test_every_field_that_is_read_is_missed(tmp_path: Path, name: str) -> None:
    row = {key: value for key, value in ROW.items() if key != name}
    path = written(tmp_path / "chat.json", mlenergy.task_file("gpqa", row))
    if name in ("nickname", "architecture", "energy_per_request_joules") or name.endswith("_params_billions"):
        assert len(imported(path)) == 1
    else:
        assert refusal(path).startswith(f"{path}: configurations[0]: no {name!r}: ")


def test_fields_of_a_later_version_are_told(tmp_path: Path) -> None:
    path = written(tmp_path / "chat.json", mlenergy.task_file("gpqa", {**ROW, "kv_cache": "fp8", "p50_ttft_ms": 3}))
    assert read_mlenergy([path], TOLD).notes == (f"{path}: fields left out: kv_cache, p50_ttft_ms",)


def test_the_command_writes_a_file_for_each_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "references"
    files = [written(tmp_path / "chat.json", mlenergy.chat_file()), written(tmp_path / "i.json", mlenergy.image_file())]
    command = ["import", "mlenergy", *map(str, files), "-o", str(target), "--date", "2026-02-13"]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == [f"{target}/b200.json: 6 new", f"{target}/h100.json: 8 new"]
    stored = {repr(reference) for reference in ReferenceStore(target).all()}
    assert stored == {repr(reference) for reference in imported(*files)}

    before = (target / "h100.json").read_text()
    assert main([*command[:-1], "2026-03-01"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"{target}/h100.json: 8 as before"
    assert (target / "h100.json").read_text() == before, "what was published before has its first day"

    rows = [mlenergy.chat_row("H100", 8, 0.5, 7.0), mlenergy.chat_row("H100", 4, 0.9, 6.0)]
    written(files[0], mlenergy.task_file("lm-arena-chat", *rows))
    assert main(command) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1] == f"{target}/h100.json: 1 new, 1 changed, 1 as before, 6 kept"
    assert told[2].startswith(f"  {LLAMA}, lm-arena-chat, num_gpus=1, max_num_seqs=8, ")
    assert told[2].endswith(": 454.8 mJ -> 500.0 mJ/token (+9.94%)")


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = written(tmp_path / "chat.json", mlenergy.chat_file())
    command = ["import", "mlenergy", "-o", str(tmp_path / "references")]
    for path, fault in ((tmp_path, "is a directory; name a file in it"), (tmp_path / "x", "there is no such file")):
        assert main([*command, str(good), str(path)]) == 2
        assert capsys.readouterr().err == f"pytest-joules: {path}: {fault}\n"
    assert not (tmp_path / "references").exists(), "all is read before anything is written"
    (tmp_path / "references").mkdir()
    (tmp_path / "references" / "h100.json").write_text("{}")
    assert main([*command, str(good)]) == 2
    assert "h100.json:1: the file: 'schema' is a required property; restore it from git" in capsys.readouterr().err
    for arguments, fault in (
        ([str(good), "--date", "soon"], "'soon' is not a day like 2026-02-13"),
        ([], "the following arguments are required: FILE"),
    ):
        with pytest.raises(SystemExit):
            main([*command, *arguments])
        assert fault in capsys.readouterr().err
