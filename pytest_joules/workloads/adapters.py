"""The adapters of all libraries that pytest-joules knows."""

from __future__ import annotations

from pytest_joules.workloads.diffusers import DiffusersAdapter
from pytest_joules.workloads.openai import OpenAiAdapter
from pytest_joules.workloads.torch import TorchAdapter
from pytest_joules.workloads.transformers import TransformersAdapter
from pytest_joules.workloads.vllm import VllmAdapter
from pytest_joules.workloads.work import Adapter

ADAPTERS: tuple[Adapter, ...] = (
    VllmAdapter(),
    OpenAiAdapter(),
    DiffusersAdapter(),
    TransformersAdapter(),
    TorchAdapter(),
)
