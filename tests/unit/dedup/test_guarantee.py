"""What `dedup scan` promises, held against all pairs by plain Python sets, on corpora made to break it."""

import re
from itertools import combinations
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpus
import dedup

HEADER = "/* Copyright 20{} the authors.  Licensed under the terms of the licence, without warranty. */\n"

NEVER_MISSED = 0.12
"""So far above the threshold, fewer than one pair in a million never meets."""


class Row(NamedTuple):
    header: str
    body: str


def words(dice: Random, count: int) -> list[str]:
    return [f"w{dice.randrange(10**6)}" for _ in range(count)]


def edited(dice: Random, text: list[str], changes: int) -> list[str]:
    places = dice.sample(range(len(text)), changes)
    return [f"x{dice.randrange(10**6)}" if i in places else word for i, word in enumerate(text)]


def plain(*texts: list[str]) -> list[Row]:
    return [Row("", " ".join(text)) for text in texts]


def chain(dice: Random) -> list[Row]:
    """Every link is like the next, the ends are not alike."""
    links = [words(dice, 80)]
    for _ in range(12):
        links.append(edited(dice, links[-1], 2))
    return plain(*links)


def clique(dice: Random) -> list[Row]:
    """All pairs are about equally alike: some families just above the thresholds, some just below."""
    core = words(dice, 100)
    tail = dice.choice([10, 18, 24, 40, 60])  # similarities of 0.85, 0.74, 0.69, 0.55, 0.45
    return plain(*(core + words(dice, tail) for _ in range(12)))


def giant(dice: Random) -> list[Row]:
    """One generated file in a hundred versions."""
    base = words(dice, 60)
    return plain(*(edited(dice, base, dice.randrange(3)) for _ in range(100)))


def short(dice: Random) -> list[Row]:
    """No words, fewer words than a shingle has, one shingle, two."""
    texts = [
        "",
        " \n\t",
        "();",
        "a",
        "b",
        "a b",
        "a b c d",
        "a b c d e",
        "A B c d e",
        "b c d e f",
        "a b c d e f",
    ]
    return [Row("", dice.choice(texts)) for _ in range(20)]


def licensed(dice: Random) -> list[Row]:
    """The header is longer than the code: it makes nothing alike, and keeps nothing apart."""
    bodies = [" ".join(words(dice, 12)) for _ in range(6)]
    return [Row(HEADER.format(dice.randrange(10, 13)), dice.choice(bodies)) for _ in range(15)]


def copies(dice: Random) -> list[Row]:
    text = words(dice, 30)
    return plain(*[text] * 5, edited(dice, text, 1), [word.upper() for word in text])


def foreign(dice: Random) -> list[Row]:
    """Words of other scripts, lines of any ending."""
    text = [dice.choice(["größe", "длина", "長さ", "x"]) + str(dice.randrange(50)) for _ in range(40)]
    return [Row("", dice.choice("\n\r\t ;").join(edited(dice, text, n))) for n in (0, 0, 1, 2, 30)]


KINDS = [chain, clique, giant, short, licensed, copies, foreign]


@st.composite
def corpora(draw: st.DrawFn) -> list[Row]:
    dice = Random(draw(st.integers(0, 2**32)))
    rows = [
        row for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5)) for row in kind(dice)
    ]
    dice.shuffle(rows)
    return rows


def shingles(row: Row) -> frozenset[tuple[bytes, ...]]:
    found = re.findall(rb"[0-9a-z_\x80-\xff]+", row.body.encode().lower())
    return frozenset(tuple(found[i : i + 5]) for i in range(max(1, len(found) - 4))) if found else frozenset()


def jaccard(a: frozenset, b: frozenset) -> float:
    return len(a & b) / len(a | b) if a and b else 0.0


def table_of(rows: list[Row]) -> pl.DataFrame:
    """Rows whose ids are in the order in which they are preferred."""
    ids, texts = [f"{n:04d}" for n in range(len(rows))], [row.header + row.body for row in rows]
    return pl.DataFrame({"id": ids, "text": texts}, schema={"id": pl.String, "text": pl.String})


def scanned(frame: pl.DataFrame, shards: int = 2, **given: object) -> tuple[set[str], pl.DataFrame]:
    """The ids that are kept, and the clusters."""
    with TemporaryDirectory() as folder:
        src = Path(folder) / "rows"
        src.mkdir()
        for shard in range(shards):
            corpus.write_parquet(src / f"{shard}.parquet", frame[shard::shards].to_arrow())
        table = dedup.scan([src], Path(folder) / "out", dedup.Scan(priority="id", **given), workers=1)
        kept = pl.concat([table.frame(shard) for shard in table.shards()])["id"]
        return set(kept), table.scan("clusters").collect()


def by_brute_force(sets: list[frozenset], rows: list[Row], threshold: float) -> set[str]:
    kept: list[int] = []
    for n, found in enumerate(sets):
        if not any(rows[n] == rows[k] or jaccard(found, sets[k]) >= threshold - 1e-9 for k in kept):
            kept.append(n)
    return {f"{n:04d}" for n in kept}


@settings(deadline=None, max_examples=25, derandomize=True)
@given(corpora(), st.sampled_from([0.5, 0.7, 0.85]))
def test_who_is_dropped_has_a_kept_partner_and_who_is_kept_has_none(
    rows: list[Row], threshold: float
) -> None:
    kept, clusters = scanned(table_of(rows), level="row", threshold=threshold)
    sets = [shingles(row) for row in rows]
    dropped = clusters.filter(~pl.col("kept"))
    assert kept.isdisjoint(dropped["id"]) and len(kept) + len(dropped) == len(rows)
    for row in dropped.to_dicts():
        gone, keeper = int(row["id"]), int(row["keeper"])
        alike = 1.0 if rows[gone] == rows[keeper] else jaccard(sets[gone], sets[keeper])
        assert row["keeper"] in kept and keeper < gone and alike >= threshold - 1e-9
        assert abs(row["similarity"] - alike) < (1e-6 if row["exact"] else 0.13)
    left = sorted(map(int, kept))
    similar = [jaccard(sets[a], sets[b]) for i, a in enumerate(left) for b in left[i + 1 :]]
    assert max(similar, default=0) < threshold + NEVER_MISSED
    missed = sum(alike >= threshold for alike in similar)
    assert missed <= len(rows) // 100
    if not missed:  # then the choice is that of a reader of all pairs
        assert kept == by_brute_force(sets, rows, threshold)


@st.composite
def repositories(draw: st.DrawFn) -> list[list[Row]]:
    """Repositories, and forks of some of them that lost or changed a file or two."""
    rows, dice = draw(corpora()), Random(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 6))
    repos = [rows[n::count] for n in range(count)]
    for _ in range(draw(st.integers(1, 4))):
        fork = list(dice.choice(repos))
        for _ in range(dice.randrange(3)):
            fork[dice.randrange(len(fork))] = Row("", " ".join(words(dice, dice.randrange(40))))
        repos.append(fork)
    return repos


@settings(deadline=None, max_examples=15, derandomize=True)
@given(repositories(), st.integers(0, 2**32))
def test_whole_repos_go_only_for_a_repo_as_alike_and_in_whatever_order_they_come(
    repos: list[list[Row]], seed: int
) -> None:
    frame = table_of([row for repo in repos for row in repo])
    owners = [f"r{n}" for n, repo in enumerate(repos) for _ in repo]
    frame = frame.with_columns(repo=pl.Series(owners, dtype=pl.String))
    kept, clusters = scanned(frame)
    found = {f"r{n}": frozenset().union(*map(shingles, repo)) for n, repo in enumerate(repos)}
    whole = clusters.filter(level="near_repo", kept=False).join(frame, on="id")
    assert kept.isdisjoint(whole["id"]) and set(whole["keeper"]).isdisjoint(whole["repo"])
    for row in whole.unique("repo").to_dicts():
        assert jaccard(found[row["repo"]], found[row["keeper"]]) >= 0.85 - 1e-9
        assert set(frame.filter(repo=row["repo"])["id"]) <= set(whole["id"]), (
            "a repo goes whole or not at all"
        )
    for a, b in combinations(sorted(set(owners) - set(whole["repo"])), 2):
        assert jaccard(found[a], found[b]) < 0.85 + NEVER_MISSED
    again, same = scanned(frame.sample(fraction=1, shuffle=True, seed=seed), shards=5)
    order = ["cluster", "id"]
    assert again == kept and same.sort(order).equals(clusters.sort(order))


@pytest.mark.parametrize("size", [1, 2])
def test_a_row_alone_or_with_its_copy(size: int) -> None:
    kept, clusters = scanned(table_of([Row("", "one two three four five six")] * size), shards=1)
    assert kept == {"0000"} and len(clusters) == (0 if size == 1 else 2)
