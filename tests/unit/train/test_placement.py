"""The plan of packing: nothing overlaps, little is wasted, and every choice is by hash."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from train import placement
from train.config import Pack


@given(st.lists(st.integers(1, 64), max_size=200))
def test_pieces_in_a_row_neither_overlap_nor_overflow(lengths: list[int]) -> None:
    rows: dict[int, list[tuple[int, int]]] = {}
    for (row, start), length in zip(
        zip(*placement.best_fit(np.array(lengths, dtype=np.int64), 64), strict=True), lengths, strict=True
    ):
        rows.setdefault(row, []).append((start, start + length))
    assert sorted(rows) == list(range(len(rows)))
    for spans in rows.values():
        spans.sort()
        assert spans[0][0] == 0 and spans[-1][1] <= 64
        assert all(before[1] == after[0] for before, after in pairwise(spans))


def test_rows_are_999_permille_full_on_a_corpus_of_mixed_lengths() -> None:
    lengths = np.clip(np.random.RandomState(0).lognormal(6.3, 1.2, 20_000), 8, 4097).astype(int)
    rows = 1 + max(placement.best_fit(lengths, 4097)[0])
    assert lengths.sum() / (rows * 4097) > 0.999


@given(st.sets(st.text(max_size=4), max_size=12), st.floats(0, 1), st.integers(0, 5))
def test_some_repo_is_held_out_and_never_all(repos: set[str], share: float, seed: int) -> None:
    held_out = placement.hold_out(sorted(repos), Pack(valid_share=share, seed=seed))
    assert set(held_out) <= repos
    assert (0 < len(held_out) < len(repos)) == (share > 0 and len(repos) > 1)


def test_a_repo_stays_held_out_when_others_are_added() -> None:
    few, many = [f"r{n}" for n in range(50)], [f"r{n}" for n in range(500)]
    settings = Pack(valid_share=0.2)
    assert set(placement.hold_out(few, settings)) == set(placement.hold_out(many, settings)) & set(few)


def test_a_budget_takes_whole_documents_by_hash_on_both_sides() -> None:
    rows = pl.DataFrame(
        [(f"d{n}", f"r{n % 20}", piece, 50) for n in range(200) for piece in range(2)],
        schema=["document", "repo", "number", "tokens"],
        orient="row",
    )
    settings = Pack(length=63, max_tokens=2_050, valid_share=0.3)
    placed = placement.plan(rows, placement.hold_out([f"r{n}" for n in range(20)], settings), settings)
    sizes = dict(placed.group_by("split").agg(pl.col("tokens").sum()).iter_rows())
    assert sizes == {"train": 2_000, "valid": 200}
    assert placed.group_by("document").len()["len"].unique().to_list() == [2]


def test_what_is_tokenised_covers_the_budget_and_little_more() -> None:
    documents = pl.DataFrame(
        [(f"d{n}", f"r{n % 20}", 400) for n in range(500)], schema=["id", "repo", "bytes"], orient="row"
    )
    settings = Pack(max_tokens=10_000)
    assert placement.candidates(documents, ["r3"], Pack()) == set(documents["id"])
    chosen = placement.candidates(documents, ["r3"], settings)
    sides = [key for key in chosen if int(key[1:]) % 20 == 3]
    assert (len(chosen) - len(sides), len(sides)) == (100, 10)
