"""What the installed plugin adds to an empty pytest run without ``--energy``.

    python benchmarks/startup.py

Interleaved runs of an empty suite with this plugin alone and with none; the
difference of the two minima is what the plugin itself costs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 12


def seconds(directory: Path, *arguments: str) -> float:
    """One run of pytest, s."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the two minima and their difference."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "test_empty.py").write_text("def test_nothing():\n    pass\n")
        seconds(directory, "-p", "pytest_joules.plugin")  # compiles everything once
        with_plugin, without = [], []
        for _ in range(RUNS):
            with_plugin.append(seconds(directory, "-p", "pytest_joules.plugin"))
            without.append(seconds(directory))
    added = min(with_plugin) - min(without)
    print(f"with pytest-joules {1000 * min(with_plugin):.0f} ms, without {1000 * min(without):.0f} ms: ", end="")
    print(f"{1000 * added:+.1f} ms added (minima of {RUNS} interleaved runs)")


if __name__ == "__main__":
    main()
