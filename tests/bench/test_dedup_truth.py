"""The truth that tools are judged by is that of plain sets of words."""

import sys
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import dedup_truth


def texts() -> list[str]:
    """Families around every threshold, copies, short texts, texts without words."""
    dice, found = Random(1), ["", "();", "();", "a", "A", "a b", "a b c d e", "a b c d e f"]
    for changes in (0, 1, 2, 3, 5, 8):
        base = [f"w{dice.randrange(500)}" for _ in range(60)]
        for _ in range(12):
            copy = list(base)
            for place in dice.sample(range(60), changes):
                copy[place] = f"ß{dice.randrange(500)}"
            found.append(" ".join(copy))
    return found


def similarity(a: str, b: str) -> float:
    left, right = (
        {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))} if words else {text}
        for text in (a, b)
        for words in [text.lower().replace("();", "").split()]
    )
    return len(left & right) / len(left | right)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.85, 1.0])
def test_all_pairs_are_found_and_no_others(tmp_path: Path, threshold: float) -> None:
    rows = texts()
    pq.write_table(pa.table({"text": rows}), tmp_path / "0.parquet")
    truth = dedup_truth.true_pairs(tmp_path, threshold)
    of = truth.classes
    joined = {(a, b) for a, b in zip(truth.left.tolist(), truth.right.tolist(), strict=True)}
    found = {
        (a, b)
        for a, b in combinations(range(len(rows)), 2)
        if of[a] == of[b] or (of[a], of[b]) in joined or (of[b], of[a]) in joined
    }
    wanted = {
        (a, b)
        for a, b in combinations(range(len(rows)), 2)
        if similarity(rows[a], rows[b]) >= threshold - 1e-9
    }
    assert found == wanted and truth.pairs == len(wanted)


def test_precision_counts_drops_without_a_kept_partner_and_recall_the_surplus() -> None:
    """Rows 0 and 1 are one class; class 0 is like class 1, which is like class 2; class 3 is alone."""
    truth = dedup_truth.Truth(np.array([0, 0, 1, 2, 3]), np.array([0, 1]), np.array([1, 2]))
    assert truth.pairs == 1 + 2 + 1
    for kept, quality in (
        ([1, 0, 0, 1, 1], (1, 1)),
        ([1, 0, 0, 0, 1], (2 / 3, 1)),  # row 3 has nobody left
        ([1, 1, 0, 1, 1], (1, 1 / 2)),  # row 1 should go
        ([1, 1, 1, 1, 1], (0, 0)),
    ):
        assert dedup_truth.judge(np.array(kept, bool), truth) == quality
