"""Matrix products on the first GPU for so many seconds: to heat it, or to be a second process on it.

python benchmarks/h200/why/load.py SECONDS

Prints its process id once the GPU works.  Without a GPU it only waits.
"""

from __future__ import annotations

import os
import sys
import time

import torch

SIZE = 8192


def main() -> None:
    """Work until the time is over."""
    until = time.monotonic() + float(sys.argv[1])
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        a, b = (torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        torch.mm(a, b)
        torch.cuda.synchronize()
    print(os.getpid(), flush=True)
    while time.monotonic() < until:
        if on_gpu:
            for _ in range(8):
                torch.mm(a, b)
            torch.cuda.synchronize()
        else:
            time.sleep(0.05)


if __name__ == "__main__":
    main()
