"""Where ``decision.LOOKS_CORRECTION`` and ``pairing.LOOKS_CORRECTION`` come from.

    python benchmarks/looks.py

Looking at a growing sample at several sizes finds an extreme more often than
one look.  With blocks (or pairs) that are independent and normal, the bound
that the largest of the z-values exceeds with 1 % probability, over the bound
of one look, is the widening that is needed (Pocock, *Biometrika* 64 (1977)
191).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from pytest_joules import decision, pairing

SAMPLES = 1_000_000
TABLES = (
    ("blocks", decision.LOOKS, decision.LOOKS_CORRECTION),
    ("pairs", pairing.LOOKS, pairing.LOOKS_CORRECTION),
)


def pocock(looks: tuple[int, ...]) -> float:
    """The constant bound on z for these looks at one-sided :data:`decision.ALPHA`."""
    random = np.random.default_rng(1)
    total = np.zeros(SAMPLES)
    largest = np.full(SAMPLES, -np.inf)
    for count in range(1, looks[-1] + 1):
        total += random.standard_normal(SAMPLES)
        if count in looks:
            np.maximum(largest, total / np.sqrt(count), out=largest)
    return float(np.quantile(largest, 1 - decision.ALPHA))


def main() -> None:
    """Print each table's bound and its ratio to a single look's."""
    single = float(ndtri(1 - decision.ALPHA))
    for name, looks, in_use in TABLES:
        bound = pocock(looks)
        print(f"{name} {looks}: bound {bound:.3f}, one look {single:.3f}, ratio {bound / single:.3f}", end=" ")
        print(f"(in use: {in_use})")


if __name__ == "__main__":
    main()
