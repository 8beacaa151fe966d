"""The choice of what is kept is the one a reader of all pairs would make."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import bands, keep, kernel


class Sets:
    """Texts as sets of shingles, in order of preference."""

    def __init__(self, sets: list[set[int]]) -> None:
        self.sets = sets
        self.asked = 0

    def signatures(self) -> np.ndarray:
        words = [" ".join(f"w{item}" for item in sorted(items)).encode() for items in self.sets]
        ends = np.cumsum([len(text) for text in words])
        starts = ends - [len(text) for text in words]
        rows, groups = np.arange(len(words) + 1), np.full(len(words), -1)
        return kernel.sign(np.frombuffer(b"".join(words), np.uint8), starts, ends, rows, groups, 0, 1)[0]

    def similarity(self, a: int, b: int) -> float:
        self.asked += 1
        return len(self.sets[a] & self.sets[b]) / len(self.sets[a] | self.sets[b])

    def first_similar(self, row: int, others: bytes, threshold: float) -> tuple[int, float]:
        for place, other in enumerate(memoryview(others).cast("I")):
            if (found := self.similarity(row, other)) >= threshold - 1e-9:
                return place, found
        return -1, 0.0


def brute_force(texts: Sets, threshold: float) -> list[int]:
    kept: list[int] = []
    for row in range(len(texts.sets)):
        if all(texts.similarity(row, other) < threshold - 1e-9 for other in kept):
            kept.append(row)
    return kept


def choose(texts: Sets, threshold: float) -> keep.Choice:
    rows = np.arange(len(texts.sets))
    return keep.choose(texts.signatures(), rows, threshold, bands.shape_for(threshold), texts)


def family(random: np.random.Generator, count: int, size: int, change: float) -> list[set[int]]:
    """Texts that stem from one another, each with a share of its shingles replaced."""
    sets = [set(random.integers(0, 1 << 40, size).tolist())]
    while len(sets) < count:
        parent = sorted(sets[random.integers(len(sets))])
        stay = [item for item in parent if random.random() > change]
        sets.append({*stay, *random.integers(0, 1 << 40, len(parent) - len(stay)).tolist()})
    return sets


def check_guarantee(texts: Sets, choice: keep.Choice, threshold: float) -> None:
    gone = np.flatnonzero(choice.keeper != np.arange(len(texts.sets)))
    for row in gone:
        keeper = choice.keeper[row]
        assert choice.keeper[keeper] == keeper, "a keeper is kept"
        assert keeper < row, "the better one is kept"
        similarity = texts.similarity(row, keeper)
        assert similarity >= threshold - 1e-9
        assert abs(choice.similarity[row] - similarity) < (1e-6 if choice.exact[row] else 0.13)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.85, 0.95, 1.0])
@pytest.mark.parametrize("change", [0.02, 0.1, 0.18, 0.3])
def test_the_kept_are_those_of_brute_force(threshold, change):
    random = np.random.default_rng(int(100 * threshold + 1000 * change))
    sets = [s for size in (5, 60, 700) for _ in range(6) for s in family(random, 12, size, change)]
    texts = Sets([sets[i] for i in random.permutation(len(sets))])
    choice = choose(texts, threshold)
    check_guarantee(texts, choice, threshold)
    kept = np.flatnonzero(choice.keeper == np.arange(len(texts.sets))).tolist()
    wrong = set(kept) ^ set(brute_force(texts, threshold))
    assert len(wrong) <= len(texts.sets) // 100, "no more than the stated recall allows"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 0.7, 0.9]), st.floats(0, 0.5))
def test_every_dropped_row_has_a_kept_partner(seed, threshold, change):
    random = np.random.default_rng(seed)
    texts = Sets(family(random, 40, int(random.integers(1, 200)), change))
    check_guarantee(texts, choose(texts, threshold), threshold)


def test_a_chain_is_not_pulled_down_link_by_link():
    """Each link is 0.8 like the next: components would keep one of 60, far links have nothing in common."""
    texts = Sets([set(range(11 * i, 11 * i + 100)) for i in range(60)])
    choice = choose(texts, 0.75)
    check_guarantee(texts, choice, 0.75)
    kept = np.flatnonzero(choice.keeper == np.arange(60))
    assert kept.tolist() == brute_force(texts, 0.75) == list(range(0, 60, 2))


def test_a_large_cluster_costs_its_size_and_not_its_square():
    random = np.random.default_rng(3)
    core = random.integers(0, 1 << 40, 300).tolist()
    texts = Sets([{*core, int(random.integers(1 << 41, 1 << 42))} for _ in range(3000)])
    choice = choose(texts, 0.7)
    assert (choice.keeper == 0).all()
    assert texts.asked < 3000


def test_rows_that_differ_just_below_the_threshold_stay_and_are_bounded():
    """All pairs are 0.65 alike: none may go, and no row asks for more than its share of comparisons."""
    random = np.random.default_rng(4)
    core = random.integers(0, 1 << 40, 394).tolist()
    texts = Sets([{*core, *random.integers(1 << 41, 1 << 60, 106).tolist()} for _ in range(400)])
    choice = choose(texts, 0.7)
    assert (choice.keeper == np.arange(400)).all()
    assert texts.asked <= 400 * 128


def test_a_cluster_just_above_the_threshold_is_compared_with_its_keeper_and_not_with_itself():
    """All pairs are 0.73 alike, so signatures decide nothing: nearly every row asks for one comparison."""
    random = np.random.default_rng(7)
    core = random.integers(0, 1 << 40, 422).tolist()
    texts = Sets([{*core, *random.integers(1 << 41, 1 << 60, 78).tolist()} for _ in range(1500)])
    choice = choose(texts, 0.7)
    assert (choice.keeper == np.arange(1500)).sum() <= 8
    assert texts.asked < 2 * 1500


def test_rows_that_are_settled_are_kept_and_are_partners_of_others():
    random = np.random.default_rng(8)
    texts = Sets(family(random, 1, 200, 0) * 3)
    rows = np.arange(3)
    choice = keep.choose(texts.signatures(), rows, 0.7, bands.shape_for(0.7), texts, rows < 2)
    assert choice.keeper.tolist() == [0, 1, 0]


def test_bands_let_all_but_the_stated_share_meet():
    assert bands.shape_for(0.7) == (42, 6)
    for threshold in (0.3, 0.5, 0.7, 0.85, 0.99, 1.0):
        shape = bands.shape_for(threshold)
        assert shape.bands * shape.rows <= kernel.BINS
        assert (1 - threshold**shape.rows) ** shape.bands <= bands.MISSED
