"""Scores from verdicts: pass@k and how sure one may be of it.  Pure functions of counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054
"""Standard normal quantile of 97.5 %."""

RESAMPLES = 10_000


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that one of ``k`` samples passes, when ``c`` of ``n`` did (Chen et al. 2021, eq. 1).

    The unbiased 1 - C(n-c, k) / C(n, k), by logarithms, so that no large binomial is formed.

    Raises:
        ValueError: ``k`` > ``n``, for which there is no unbiased estimate, or counts that cannot be.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {c} in {n} samples: 0 <= c <= n and 1 <= k <= n are needed")
    if n - c < k:
        return 1.0
    return -math.expm1(math.fsum(math.log1p(-k / i) for i in range(n - c + 1, n + 1)))


def wilson(passed: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): right also near 0 and 1 and for few problems."""
    share, z2 = passed / n, Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def bootstrap(values: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean over problems, by drawing as many problems with replacement."""
    drawn = np.random.default_rng(seed)
    array = np.asarray(values, dtype=np.float64)
    means = [drawn.choice(array, len(array)).mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
