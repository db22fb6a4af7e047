"""Where ``decision.LOOKS_CORRECTION`` comes from.

    python benchmarks/looks.py

Looking at a growing sample at several sizes finds an extreme more often than
one look.  With blocks that are independent and normal, the bound that the
largest of the eight z-values exceeds with 1 % probability, over the bound of
one look, is the widening that the within-session part needs (Pocock,
*Biometrika* 64 (1977) 191).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from pytest_joules.decision import ALPHA, LOOKS, LOOKS_CORRECTION

SAMPLES = 1_000_000


def main() -> None:
    """Print the bound and its ratio to a single look's."""
    random = np.random.default_rng(1)
    total = np.zeros(SAMPLES)
    largest = np.full(SAMPLES, -np.inf)
    for count in range(1, LOOKS[-1] + 1):
        total += random.standard_normal(SAMPLES)
        if count in LOOKS:
            np.maximum(largest, total / np.sqrt(count), out=largest)
    bound = float(np.quantile(largest, 1 - ALPHA))
    single = float(ndtri(1 - ALPHA))
    print(f"looks {LOOKS}: bound {bound:.3f}, one look {single:.3f}, ratio {bound / single:.3f}", end=" ")
    print(f"(in use: {LOOKS_CORRECTION})")


if __name__ == "__main__":
    main()
