"""Scores from verdicts: pass@k and how sure one may be of it.  Pure functions of counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054
"""Standard normal quantile of 97.5 %."""

RESAMPLES = 10_000

EXACT = 16
"""Differences up to which all 2**n assignments of signs are gone through."""


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


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided p of McNemar's test (1947): how likely a fair coin splits the pairs so unevenly.

    Args:
        better: Problems that only the one run solves.
        worse: Problems that only the other solves.
    """
    pairs = better + worse
    tail = sum(math.comb(pairs, i) for i in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / (1 << pairs))


def permutation(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p of the mean of paired differences, each of which might as well have the other sign.

    All assignments of signs to up to ``EXACT`` differences other than 0, else ``RESAMPLES`` draws, of which
    the observed one counts as one (Phipson and Smyth 2010), so that p is never 0.
    """
    array = np.asarray([x for x in differences if x], dtype=np.float64)
    seen = abs(array.sum()) - 1e-9
    if len(array) <= EXACT:
        signs = (np.arange(2 ** len(array))[:, None] >> np.arange(len(array)) & 1) * 2 - 1
        return float((np.abs(signs @ array) >= seen).mean())
    drawn = np.random.default_rng(seed)
    sums = [abs(array @ (drawn.integers(0, 2, len(array)) * 2 - 1)) for _ in range(RESAMPLES)]
    return float((1 + (np.asarray(sums) >= seen).sum()) / (1 + RESAMPLES))


def smallest_difference(pairs: int) -> int:
    """Problems by which two runs must differ to be told apart at 95 % if they differ on ``pairs`` of them.

    Fewer than six can never show a difference: then six, all for the same run, are what is wanted.
    """
    for net in range(pairs % 2, pairs + 1, 2):
        if mcnemar((pairs + net) // 2, (pairs - net) // 2) <= 0.05:
            return net
    return 6
