"""What explain, stats and plan say about a result."""

import polars as pl
import pytest

import corpus
import dedup
from corpus import Refusal

BODY = " ".join(f"word{n} = call{n}(value{n})\n" for n in range(60))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    rows = pl.DataFrame(
        {
            "id": ["best", "copy", "near", "other"],
            "repo": ["a", "b", "b", "c"],
            "text": [BODY + "x = 1", BODY + "x = 1", BODY.replace("call7(", "kall7("), BODY[::-1]],
            "stars": [9, 1, 1, 1],
        }
    )
    (folder / "rows").mkdir()
    corpus.write_parquet(folder / "rows" / "part.parquet", rows.to_arrow())
    return dedup.scan([folder / "rows"], folder / "unique", dedup.Scan(level="row"), workers=1)


def test_explain_names_the_keeper_the_similarity_and_the_difference(done):
    said = dedup.explain(done.path, "near")
    assert said.startswith("near was dropped for best: 0.9")
    assert "-word7 = call7(value7)" in said.replace("- word", "-word")
    assert "+word7 = kall7(value7)" in said.replace("+ word", "+word")
    assert "copy was dropped for best: an exact copy." in dedup.explain(done.path, "copy")


def test_explain_lists_what_went_for_a_kept_row(done):
    said = dedup.explain(done.path, "best")
    assert "best was kept; dropped for it: 2" in said and "near      near" in said
    assert "other was kept: it has no duplicate" in dedup.explain(done.path, "other")
    assert "word7" in dedup.explain(done.path, "best", "near")
    with pytest.raises(Refusal, match="never had a row nobody"):
        dedup.explain(done.path, "nobody")


def test_stats_add_up(done):
    said = dedup.stats(done.path)
    assert "4 rows in, 2 kept, 50.0% dropped" in said
    assert "2  0.9" in said, "the cluster of best, with its least similarity"
    assert "100.0%" in said, "repo b lost all its rows"


def test_plan_counts_rows_from_the_footers(done):
    said = dedup.plan([done.path.parent / "rows"], workers=2)
    assert said.startswith("4 rows, ") and "on 2 cores" in said
