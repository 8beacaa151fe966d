"""Figures are what their definitions say, and a scorer learns what it is shown."""

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crawl.config import Learn
from crawl.learn import learn_scorer
from crawl.quality import Scorer, area, learn, measure
from crawl.screen import scorer_of
from refusal import Refusal

PYTHON = """# Shapes.
def area(width, height):
    if width < 0 or height < 0:
        raise ValueError("negative")

    return width * height


class Box:
    pass
"""
WORDS = ["width", "height", "total", "value", "result", "items", "queue", "index", "buffer", "parser"]


def written(draw: random.Random) -> str:
    """Small functions with names and comments."""
    pairs = pairwise([draw.choice(WORDS) for _ in range(40)])
    return "\n\n".join(f"def {a}_{b}({a}, {b}):\n    # {a} by {b}\n    return {a} + {b}" for a, b in pairs)


def squeezed(draw: random.Random) -> str:
    """The same without names, comments or functions."""
    return "\n".join(
        "=".join(f"{draw.choice('abcxyz')}{draw.randrange(99)}" for _ in range(12)) for _ in range(40)
    )


@pytest.fixture(scope="module")
def samples() -> list[tuple[str, str, bool]]:
    draw = random.Random(0)
    return [(written(draw), "python", True) for _ in range(60)] + [
        (squeezed(draw), "python", False) for _ in range(60)
    ]


def test_figures_are_counted_as_defined() -> None:
    found = measure(PYTHON, "python")
    assert (found.longest_word, found.deepest_indentation) == (len("ValueError"), 8)
    assert found.comment_lines == 1 / 11 and found.blank_lines == 4 / 11
    assert found.branches == 1 / 11 and found.unit_size == 11 / 3 and found.unit_complexity == 1 + 1 / 3


@pytest.mark.parametrize("text", ["", "\n", "é", "\t" * 1000, "def " * 5000])
def test_any_text_has_figures(text: str) -> None:
    assert np.isfinite(np.array(measure(text, "python"), float)).all()


def test_a_scorer_tells_what_it_was_shown_from_what_it_was_not(samples: list[tuple[str, str, bool]]) -> None:
    scorer = learn(samples[:40] + samples[60:100])
    rest = samples[40:60] + samples[100:]
    scores = np.array([scorer.score(text, language) for text, language, _ in rest])
    assert area(scores, np.array([good for *_, good in rest])) > 0.95


def test_the_area_counts_the_pairs_that_are_in_order() -> None:
    good = np.array([True, False, True, False])
    assert area(np.array([0.9, 0.1, 0.8, 0.2]), good) == 1.0
    assert area(np.array([0.1, 0.9, 0.2, 0.8]), good) == 0.0
    assert area(np.array([0.5, 0.5, 0.5, 0.5]), good) == 0.5


def test_the_order_of_the_samples_moves_no_weight_and_the_manifest_says_their_worth(
    samples: list[tuple[str, str, bool]], tmp_path: Path
) -> None:
    digests = []
    for name, rows in (("a", samples), ("b", samples[::-1])):
        pl.DataFrame(rows, schema=["text", "language", "good"], orient="row").write_ndjson(
            tmp_path / f"{name}.jsonl"
        )
        table = learn_scorer(tmp_path / f"{name}.jsonl", tmp_path / name, Learn())
        digests.append(table.digest)
        assert table.manifest["area_under_curve"] > 0.95 and table.manifest["held_out"] > 10
    assert digests[0] == digests[1]
    scorer = scorer_of(tmp_path / "a", digests[0])
    again = Scorer.of_packed(scorer.packed())
    assert again.score(PYTHON, "python") == scorer.score(PYTHON, "python")


def test_samples_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a", "language": "python"}\n')
    with pytest.raises(Refusal, match="no column 'good'"):
        learn_scorer(tmp_path / "x.jsonl", tmp_path / "out", Learn())
    (tmp_path / "x.jsonl").write_text('{"text": "a", "language": "python", "good": true}\n')
    with pytest.raises(Refusal, match="1 good and 0 bad"):
        learn_scorer(tmp_path / "x.jsonl", tmp_path / "out", Learn())
    with pytest.raises(Refusal, match="no parquet"):
        learn_scorer(tmp_path / "none.parquet", tmp_path / "out", Learn())
