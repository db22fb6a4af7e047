"""A pytest plugin that says at the end what measuring did to the test process: nothing, it should be.

PYTHONPATH=benchmarks/h200 pytest -p process_check --energy examples/vllm/test_offline.py

vLLM forks its engine only from a process without a CUDA context, and sets
``VLLM_WORKER_MULTIPROCESSING_METHOD=spawn`` where it finds one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator

import psutil
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After every measured call, while its engine lives."""
    outcome = yield
    torch = sys.modules.get("torch")
    print(f"\nprocess check after {item.name}:")
    print("  CUDA context in the test process:", torch is not None and torch.cuda.is_initialized())
    print("  how vLLM starts processes:", os.environ.get("VLLM_WORKER_MULTIPROCESSING_METHOD", "fork (its default)"))
    print("  children:", [child.name() for child in psutil.Process().children(recursive=True)])
    return outcome
