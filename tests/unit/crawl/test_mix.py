"""Every language keeps to its budget, whoever works on it; the paper's shares are the paper's."""

import tomllib
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import corpus
from corpus import Refusal
from crawl.config import Mix
from crawl.mix import budgets, chosen, mix, shares_of
from schemas import SCHEMAS

ROOT = Path(__file__).resolve().parents[3]


def document(number: int, language: str, size: int) -> dict[str, object]:
    text = "x" * size
    fixed = {"repo": "folder/r", "revision": "1", "part": 0, "level": "file", "license": "MIT", "stars": None}
    files = [{"path": f"{number}.x", "start": 0, "end": size}]
    return fixed | {"id": f"{number:03}", "language": language, "text": text, "files": files, "bytes": size}


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with corpus.building(path, "corpus", made_by="crawl screen", settings={}) as out:
        assert isinstance(out, corpus.Output)
        for unit in range(3):
            table = pa.Table.from_pylist(rows[unit::3], SCHEMAS["corpus"])
            out.write(f"{unit}", {"": table}, came_in=table.num_rows)
        out.seal()


def test_languages_keep_to_their_shares_and_what_goes_is_a_reject(tmp_path: Path) -> None:
    rows = [document(n, "python" if n % 3 else "go", 10) for n in range(90)]
    write(tmp_path / "corpus", rows)
    settings = Mix(shares={"python": 1, "go": 3}, total=400, caps={"go": 250})
    tables = [mix(tmp_path / "corpus", tmp_path / f"mix{n}", settings, workers=n) for n in (1, 2)]
    assert tables[0].digest == tables[1].digest
    kept = tables[0].scan().collect()
    assert Counter(kept["language"]) == {"python": 10, "go": 25}
    gone = tables[0].scan("rejects").collect()
    assert set(gone["reason"]) == {"over_budget"}
    assert tables[0].counts["in"] == 90 == kept.height + gone["files"].sum()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 50)), max_size=30), st.integers(0, 400))
def test_a_smaller_budget_keeps_a_part_of_what_a_larger_one_keeps(
    rows: list[tuple[str, int]], limit: int
) -> None:
    facts = pl.DataFrame(
        {
            "id": [str(n) for n in range(len(rows))],
            "language": [a for a, _ in rows],
            "bytes": [b for _, b in rows],
        },
        schema={"id": pl.String, "language": pl.String, "bytes": pl.Int64},
    )
    small, large = (chosen(facts, {"a": cap, "b": cap}, 0) for cap in (limit, 2 * limit))
    assert small <= large
    sizes = facts.filter(pl.col("id").is_in(list(small))).group_by("language").agg(pl.col("bytes").sum())
    assert all(size <= limit for _, size in sizes.iter_rows())


def test_the_preset_is_the_table_of_the_paper_that_the_report_prints_too() -> None:
    paper = tomllib.loads((ROOT / "evals/paper.toml").read_text())["languages"]
    shares = shares_of(Mix(preset="deepseek"))
    assert shares == {key: row[1] for key, row in paper.items()} and len(shares) == 87
    assert all(abs(100 * shares[key] / sum(shares.values()) - row[3]) < 0.011 for key, row in paper.items())
    assert budgets({"java": 1000, "cobol": 10}, Mix(preset="deepseek", total=1000)) == {
        "cobol": 0,
        "java": 186,
    }


@pytest.mark.parametrize("settings", [Mix(shares={"klingon": 1}), Mix(preset="x"), Mix(cap=-1)])
def test_a_mix_that_makes_no_sense_is_refused(tmp_path: Path, settings: Mix) -> None:
    write(tmp_path / "corpus", [document(0, "go", 1)])
    with pytest.raises(Refusal):
        mix(tmp_path / "corpus", tmp_path / "mix", settings, 1)
