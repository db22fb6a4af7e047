"""``examples/vllm/test_server.py``, with a stand-in behind the command ``vllm``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import outside_pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
STAND_IN = TESTS / "engines" / "openai_server.py"

VLLM = f"""#!{sys.executable}
import json, os, sys

port = int(sys.argv[sys.argv.index("--port") + 1])
os.execv(sys.executable, [sys.executable, {str(STAND_IN)!r}, json.dumps({{"port": port, "scale": 2}})])
"""


def test_the_example_measures_what_it_serves(tmp_path: Path) -> None:
    (tmp_path / "vllm").write_text(VLLM)
    (tmp_path / "vllm").chmod(0o755)
    report = tmp_path / "report.json"
    # The example skips without vLLM: what it would import is a stand-in, too.
    paths = (str(TESTS / "engines"), str(ROOT), os.environ.get("PYTHONPATH", ""))
    environment = outside_pytest()
    environment |= {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(paths)}
    environment |= {"NEW_TOKENS": "12", "LOAD_RECORDS": str(tmp_path / "records")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--energy", "--energy-meter", "simulated"]
    command += ["--energy-missing", "warn", f"--energy-json={report}", "-k", "8", "examples/vllm/test_server.py"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == pytest.ExitCode.OK, ran.stdout + ran.stderr
    (result,) = (found for found in json.loads(report.read_text())["results"] if found["measurement"])
    assert result["verdict"]["kind"] == "NO_BASELINE"
    assert result["key"]["unit"] == "token"
    assert len(result["measurement"]["blocks"]["token"]) >= 3
    configuration = result["measurement"]["conditions"]["configuration"]
    assert configuration["weights"] == "random"
    assert configuration["max_num_seqs"] == "256"
    assert (tmp_path / "records" / "batch-8.json").exists()
