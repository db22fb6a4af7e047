"""Small files in the forms of the ML.ENERGY Benchmark, with the fields of the real ones.

Rows are those of the leaderboard's task files of 2026-02 (leaderboard v3, H100 and B200), where they are not made up.
"""

from __future__ import annotations

from typing import Any

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
FLUX = "black-forest-labs/FLUX.1-dev"

CHAT_ROWS = (
    # GPU, max_num_seqs, J/token, median ITL in ms
    ("B200", 64, 0.1213, 7.3),
    ("B200", 512, 0.0600, 40.0),
    ("B200", 1024, 0.054922598342342914, 87.12003598338924),
    ("H100", 8, 0.4547982611462042, 7.316111586987972),
    ("H100", 128, 0.09510991243206074, 16.482017002999783),
    ("H100", 192, 0.08369519184258482, 20.908080972731113),
    ("H100", 256, 0.0766413032348523, 26.12623802269809),
    ("H100", 384, 0.07423418180476347, 37.70148498006165),
    ("H100", 512, 0.07019449941326049, 47.40760399727151),
    ("H100", 768, 0.07134822942888495, 62.930971500463784),
)


def chat_row(gpu: str, max_num_seqs: int, joules: float, itl_ms: float, **fields: Any) -> dict[str, Any]:
    """A configuration of a task file of an LLM; one GPU of 600 W, and requests of 300 tokens."""
    return {
        "activated_params_billions": 8.0,
        "architecture": "Dense Transformer",
        "avg_batch_size": 0.99 * max_num_seqs,
        "avg_output_len": 300.0,
        "avg_power_watts": 600.0,
        "data_parallel": 1,
        "energy_per_request_joules": 300.0 * joules,
        "energy_per_token_joules": joules,
        "expert_parallel": 1,
        "gpu_model": gpu,
        "max_num_batched_tokens": None,
        "max_num_seqs": max_num_seqs,
        "median_itl_ms": itl_ms,
        "model_id": LLAMA,
        "nickname": "Llama 3.1 8B Instruct",
        "num_gpus": 1,
        "output_throughput_tokens_per_sec": 600.0 / joules,
        "p90_itl_ms": 1.2 * itl_ms,
        "p95_itl_ms": 1.3 * itl_ms,
        "p99_itl_ms": 2 * itl_ms,
        "tensor_parallel": 1,
        "total_params_billions": 8.0,
        "weight_precision": "bfloat16",
        **fields,
    }


def image_row(gpu: str, num_gpus: int, batch_size: int, joules: float, seconds: float) -> dict[str, Any]:
    """A configuration of a task file of a text-to-image model."""
    return {
        "activated_params_billions": 12.0,
        "avg_power_watts": joules * batch_size / seconds,
        "batch_latency_s": seconds,
        "batch_size": batch_size,
        "energy_per_image_joules": joules,
        "gpu_model": gpu,
        "image_height": 1024,
        "image_width": 1024,
        "inference_steps": 50,
        "model_id": FLUX,
        "nickname": "FLUX.1 Dev",
        "num_gpus": num_gpus,
        "ring_degree": 1,
        "throughput_images_per_sec": batch_size / seconds,
        "total_params_billions": 12.0,
        "ulysses_degree": num_gpus,
        "weight_precision": "bfloat16",
    }


def video_row() -> dict[str, Any]:
    """A configuration of a task file of a text-to-video model."""
    return {
        "activated_params_billions": 1.3,
        "avg_power_watts": 1332.760150935351,
        "batch_latency_s": 55.86138582229614,
        "batch_size": 1,
        "energy_per_video_joules": 74449.82899998128,
        "fps": 15,
        "gpu_model": "H100",
        "inference_steps": 50,
        "model_id": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        "nickname": "Wan 2.1 1.3B",
        "num_frames": 81,
        "num_gpus": 2,
        "ring_degree": 2,
        "throughput_videos_per_sec": 0.017901453486692174,
        "total_params_billions": 1.3,
        "ulysses_degree": 1,
        "video_height": 480,
        "video_width": 832,
        "weight_precision": "bfloat16",
    }


def task_file(task: str, *rows: dict[str, Any]) -> dict[str, Any]:
    """A task file of the leaderboard."""
    head = {"architecture": "diffusion"} if task.startswith("text-to") else {}
    return {**head, "configurations": list(rows), "task": task, "task_display_name": task.title()}


def chat_file() -> dict[str, Any]:
    """Llama 3.1 8B at ``lm-arena-chat``."""
    return task_file("lm-arena-chat", *(chat_row(*row) for row in CHAT_ROWS))


def image_file() -> dict[str, Any]:
    """FLUX.1-dev at ``text-to-image``: one GPU, and two of a B200 host."""
    return task_file(
        "text-to-image",
        image_row("B200", 1, 1, 6678.806750014424, 7.754932522773743),
        image_row("B200", 2, 1, 7412.0, 4.6),
        image_row("B200", 1, 2, 6610.0, 15.3),
        image_row("H100", 1, 1, 7948.585000000894, 11.639200150966644),
    )


def chat_table() -> list[dict[str, Any]]:
    """Rows of ``runs/llm.parquet``: the columns of ``LLMRun``, and two paths."""
    named = {"max_num_batched_tokens", "p90_itl_ms"}
    rows = []
    for stable, (gpu, seqs, joules, itl) in zip((True, True, False), CHAT_ROWS[3:], strict=False):
        row = {name: value for name, value in chat_row(gpu, seqs, joules, itl).items() if name not in named}
        rows.append(
            {
                "domain": "llm",
                "task": "lm-arena-chat",
                **row,
                "seed": 48105,
                "num_request_repeats": 1,
                "steady_state_energy_joules": 60_000.0,
                "steady_state_duration_seconds": 100.0,
                "request_throughput_req_per_sec": row["output_throughput_tokens_per_sec"] / 300,
                "total_output_tokens": 300_000.0,
                "completed_requests": 1000.0,
                "mean_itl_ms": 1.1 * itl,
                "p50_itl_ms": itl,
                "p90_itl_ms": 1.2 * itl,
                "is_stable": stable,
                "unstable_reason": "" if stable else "low_batch_utilization:0.8",
                "results_path": "llm/h100/current/run/results.json",
                "prometheus_path": "llm/h100/current/run/prometheus.json",
            }
        )
    return rows


def picture_table() -> list[dict[str, Any]]:
    """Rows of ``runs/diffusion.parquet``: an image and a video, so that columns have gaps."""
    shared = {"domain": "diffusion", "weight_precision": "bfloat16", "gpu_model": "H100", "inference_steps": 50}
    shared |= {"total_params_billions": 12.0, "activated_params_billions": 12.0, "use_torch_compile": False}
    image = {"task": "text-to-image", "model_id": FLUX, "nickname": "FLUX.1 Dev", "num_gpus": 1, "batch_size": 1}
    image |= {"height": 1024, "width": 1024, "num_frames": None, "fps": None, "ulysses_degree": 1, "ring_degree": 1}
    image |= {"batch_latency_s": 11.639200150966644, "avg_power_watts": 682.9150540332239}
    image |= {"energy_per_generation_joules": 7948.585, "throughput_generations_per_sec": 0.08591655672464309}
    row = video_row()
    video = {name: value for name, value in row.items() if not name.startswith(("video_", "energy_", "throughput_"))}
    video |= {"task": "text-to-video", "height": row["video_height"], "width": row["video_width"]}
    video |= {"energy_per_generation_joules": row["energy_per_video_joules"]}
    video |= {"throughput_generations_per_sec": row["throughput_videos_per_sec"]}
    return [{**shared, **image, "results_path": "a"}, {**shared, **video, "results_path": "b"}]


def chat_run(**fields: Any) -> dict[str, Any]:
    """``results.json`` of an LLM: 1,000 requests of 300 tokens, two of which are told in full."""
    energy = {"time": 100.0, "gpu_energy": {"0": 60_000.0}, "cpu_energy": None, "dram_energy": None}
    percentiles = {
        f"{kind}_{name}_ms": value
        for name, value in (("ttft", 900.0), ("tpot", 21.0), ("itl", 20.0), ("e2el", 7000.0))
        for kind in ("mean", "median", "std", "p50", "p90", "p95", "p99")
    }
    request = {"prompt": "Hello", "output_text": "Hi", "reasoning_output_text": "", "input_len": 20, "output_len": 5}
    request |= {"dataset_output_len": 5, "latency": 1.0, "ttft": 0.9, "success": True, "error": "", "energy": 0.4}
    return {
        "date": "20251130-235959",
        "endpoint_type": "openai-chat",
        "model_id": LLAMA,
        "seed": 48105,
        "num_unique_prompts": 1000,
        "num_prompts": 1000,
        "num_request_repeats": 1,
        "gpu_model": "H100",
        "num_gpus": 1,
        "max_num_seqs": 192,
        "max_num_batched_tokens": None,
        "request_rate": "inf",
        "burstiness": 1.0,
        "max_concurrency": None,
        "max_output_tokens": 4096,
        "duration": 130.0,
        "completed": 1000,
        "steady_state_duration": 100.0,
        "steady_state_energy": 60_000.0,
        "steady_state_energy_per_token": 0.08,
        "total_input_tokens": 20_000,
        "total_output_tokens": 300_000,
        "request_throughput": 7.7,
        "output_throughput": 2308.0,
        "total_token_throughput": 2461.0,
        "steady_state_measurement": energy,
        "entire_benchmark_measurement": energy,
        "timeline": {"steady_state_start_time": 10.0, "steady_state_end_time": 110.0},
        **percentiles,
        "results": [
            # Tokens in one piece: the first two without a time, later ones sharing theirs.
            {**request, "itl": [0, 0, 0.04, 0, 0.02]},
            {**request, "itl": [0, 0.02, 0.02]},
            {**request, "itl": [], "success": False, "output_len": 0},
        ],
        **fields,
    }


def picture_run(**fields: Any) -> dict[str, Any]:
    """``results.json`` of a diffusion model: two batches of two images on two GPUs."""
    return {
        "date": "20251015-120000",
        "model_id": FLUX,
        "batch_size": 2,
        "num_iterations": 2,
        "height": 1024,
        "width": 1024,
        "inference_steps": 50,
        "seed": 48105,
        "total_images": 4,
        "total_time": 21.0,
        "throughput_images_per_sec": 0.19,
        "avg_time_per_image": 5.2,
        "total_energy": 33_000.0,
        "energy_per_image": 8250.0,
        "iteration_energy_measurements": [
            {"time": 9.0, "gpu_energy": {"0": 7000.0, "1": 8000.0}, "cpu_energy": None, "dram_energy": None},
            {"time": 11.0, "gpu_energy": {"0": 8000.0, "1": 9000.0}, "cpu_energy": None, "dram_energy": None},
        ],
        "configurations": {"ulysses_degree": 2, "ring_degree": 1, "use_torch_compile": False},
        **fields,
    }
