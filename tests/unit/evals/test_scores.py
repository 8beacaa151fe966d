"""Scores are exact, intervals hold what they should."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import scores


@st.composite
def counts(draw):
    n = draw(st.integers(1, 1000))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@given(counts())
def test_pass_at_k_is_exact_to_1e15(ncK):
    n, c, k = ncK
    exact = 1 - Fraction(comb(n - c, k), comb(n, k))
    assert abs(Fraction(scores.pass_at_k(n, c, k)) - exact) <= exact * Fraction(1, 10**15)


def test_pass_at_1_is_the_share_that_passed():
    assert scores.pass_at_k(200, 50, 1) == pytest.approx(0.25, abs=1e-15)
    assert scores.pass_at_k(20, 3, 10) == pytest.approx(0.8947368421052632, abs=1e-15)  # biased: 0.803


@pytest.mark.parametrize(("n", "c", "k"), [(5, 1, 6), (5, 6, 1), (5, 1, 0), (5, -1, 1)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(ValueError, match="needed"):
        scores.pass_at_k(n, c, k)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_in_0_to_1(cn):
    low, high = scores.wilson(*cn)
    assert 0 <= low <= cn[0] / cn[1] + 1e-12 and cn[0] / cn[1] - 1e-12 <= high <= 1


def test_wilson_agrees_with_published_values():
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert scores.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert scores.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_bootstrap_is_repeatable_and_near_the_normal_interval():
    values = [1.0] * 40 + [0.0] * 60
    low, high = scores.bootstrap(values)
    assert (low, high) == scores.bootstrap(values)
    assert low == pytest.approx(0.4 - 1.96 * 0.049, abs=0.01) and high == pytest.approx(
        0.4 + 1.96 * 0.049, abs=0.01
    )


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_share_of_coin_throws_at_least_as_uneven(better, worse):
    n, uneven = better + worse, abs(better - worse)
    share = sum(comb(n, i) for i in range(n + 1) if abs(n - 2 * i) >= uneven) / 2**n
    assert scores.mcnemar(better, worse) == pytest.approx(share)


def test_permutation_of_single_samples_is_mcnemar_and_draws_are_near_the_whole():
    few = [1.0] * 9 + [-1.0] * 3 + [0.0] * 50
    assert scores.permutation(few) == pytest.approx(scores.mcnemar(9, 3))
    many = [1.0] * 30 + [-1.0] * 12
    assert scores.permutation(many) == pytest.approx(scores.mcnemar(30, 12), abs=0.004)
    assert scores.permutation([]) == scores.permutation([0.0]) == 1.0


@given(st.integers(0, 200))
def test_the_smallest_difference_is_significant_and_the_next_smaller_is_not(pairs):
    least = scores.smallest_difference(pairs)
    if pairs < 6:
        assert least == 6
    else:
        assert scores.mcnemar((pairs + least) // 2, (pairs - least) // 2) <= 0.05
        assert scores.mcnemar((pairs + least) // 2 - 1, (pairs - least) // 2 + 1) > 0.05
