"""The order of rows is a function of the step: every row in turn, tables by weight, nothing remembered."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import Refusal
from train.order import SLOTS, Order, slots


def test_every_epoch_takes_every_row_once_in_another_order() -> None:
    order = Order(["digest"], [10], 0)
    epochs = [order.of(2 * epoch, 5) + order.of(2 * epoch + 1, 5) for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs) and len({*map(tuple, epochs)}) == 3
    assert Order(["digest"], [10], 0).of(3, 5) == order.of(3, 5) != Order(["digest"], [10], 1).of(3, 5)


def test_the_papers_mixture_is_exact_and_in_every_batch() -> None:
    order = Order(["code", "english", "chinese"], [5000, 400, 30], 0, (87, 10, 3))
    rows = [row for step in range(10) for row in order.of(step, 100)]
    assert Counter(0 if row < 5000 else 1 if row < 5400 else 2 for row in rows) == {0: 870, 1: 100, 2: 30}
    for step in range(10):
        batch = order.of(step, 100)
        assert 85 <= sum(row < 5000 for row in batch) <= 89 and sum(row >= 5400 for row in batch) >= 2
    assert len({row for row in rows if row < 5000}) == 870  # none twice while there are others


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(0, 10**6))
def test_any_step_is_the_same_alone_as_in_sequence(weights: list[float], step: int) -> None:
    digests, sizes = [str(n) for n in range(len(weights))], [7 + n for n in range(len(weights))]
    order = Order(digests, sizes, 3, weights)
    batches = [order.of(at, 4) for at in (step, step + 1)]
    assert batches == [Order(digests, sizes, 3, weights).of(at, 4) for at in (step, step + 1)]
    assert Counter(slots(weights, len(weights)).tolist()).total() == SLOTS


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ((1.0,), "1 weights for 2"),
        ((1.0, 0.0), "above 0"),
        ((1.0, float("nan")), "above 0"),
        ((1e6, 1), "less"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: tuple[float, ...], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        Order(["a", "b"], [5, 5], 0, weights)


def test_without_weights_every_row_of_every_table_comes_once_an_epoch() -> None:
    order = Order(["large", "small"], [4999, 1], 0)
    assert sorted(order.of(0, 5000)) == list(range(5000))
    with pytest.raises(Refusal, match="no row to train on"):
        Order(["empty"], [0], 0)
