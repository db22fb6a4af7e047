"""Processor time of a process tree, seen from outside."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import psutil

WALK_SECONDS = 1.0
"""How often the tree is looked through for new processes; the clocks of known ones are read each time."""


class HostCpu:
    """Processor time of a process tree, without the calling process.

    A process that begins and ends between two walks is never seen.
    """

    def __init__(self, root: int) -> None:
        """Count from now on."""
        self._root = root
        self._clocks: dict[int, float] = {}
        self._walked = -WALK_SECONDS
        self._spent = 0.0
        self.seconds()
        self._spent = 0.0

    def seconds(self) -> float:
        """Processor seconds spent since the beginning."""
        now = time.monotonic()
        if now - self._walked >= WALK_SECONDS:
            self._walked = now
            # What is new began since the last walk, so that all of its time counts.
            self._clocks = {pid: self._clocks.get(pid, 0.0) for pid in self._tree()}
        for pid, before in self._clocks.items():
            with contextlib.suppress(OSError, psutil.Error):
                clock = _processor_seconds(pid)
                self._spent += max(0.0, clock - before)
                self._clocks[pid] = clock
        return self._spent

    def _tree(self) -> list[int]:
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self._root).children(recursive=True)
            return [self._root, *(child.pid for child in children if child.pid != os.getpid())]
        return []


def _processor_seconds(pid: int) -> float:
    if hasattr(time, "clock_gettime") and Path("/proc/self").exists():
        # Linux numbers a process's processor clock so; it counts nanoseconds where /proc counts 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
