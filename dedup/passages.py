"""Answers about repeated passages: what of a row stands elsewhere, and what is copied most."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

import corpus

SHOWN = 20
"""Repeats of a row that are listed."""

LETTERS = 60
"""Of each, so much of its text."""


def explain(done: corpus.Table, row: str, text: str | None) -> str:
    """The repeats of a row, each with where it stands first, and who repeats the row.

    Args:
        done: What ``dedup substrings`` wrote.
        row: An id.
        text: The row's text as it was, if it can still be read.
    """
    repeats = done.scan("repeats").filter((pl.col("id") == row) | (pl.col("first") == row)).collect()
    own = repeats.filter(pl.col("id") == row).sort("start")
    others = repeats.filter((pl.col("first") == row) & (pl.col("id") != row))
    lines = [
        f"{row}: {len(own):,} repeats; {len(others):,} in {others['id'].n_unique():,} other rows repeat it"
    ]
    for span in own.head(SHOWN).to_dicts():
        passage = " ".join(text[span["start"] : span["end"]][: 2 * LETTERS].split())[:LETTERS] if text else ""
        where = f"{span['start']:,}-{span['end']:,}"
        lines.append(
            f"  {where:>17}  {span['words']:>6,} words  {span['first']} at {span['first_start']:,}  {passage}"
        )
    if len(own) > SHOWN:
        lines.append(f"  … {len(own) - SHOWN:,} more")
    return "\n".join(line.rstrip() for line in lines)


def stats(done: corpus.Table, top: int) -> str:
    """How much is repeated, how long repeats are, and the passages that are copied most."""
    repeats, rows = done.scan("repeats").collect(), done.counts
    lines = [
        f"{rows['in']:,} rows, {repeats['id'].n_unique():,} of them with {len(repeats):,} repeats "
        f"of {repeats['words'].sum():,} words",
        *(f"{count:,} rows dropped: no word was left" for count in rows["rejected"].values()),
        *_passages(repeats, top),
        "",
        "Length of repeats in words",
    ]
    lengths = (
        repeats.group_by((pl.col("words").log(2).floor()).cast(pl.Int64).alias("power")).len().sort("power")
    )
    for power, count in lengths.iter_rows():
        bar = "#" * max(1, round(40 * count / len(repeats)))
        lines.append(f"  {f'{2**power:,}-{2 ** (power + 1) - 1:,}':>17}  {count:>9,}  {bar}")
    return "\n".join(lines)


def _passages(repeats: pl.DataFrame, top: int) -> Iterator[str]:
    copies = repeats.group_by("first", "first_start").agg(pl.len(), pl.col("words").max())
    yield from ("", "Most copied passages (copies, words at most, where they stand first)")
    for row in (
        copies.sort(["len", "first", "first_start"], descending=[True, False, False]).head(top).to_dicts()
    ):
        yield f"  {row['len']:>9,}  {row['words']:>9,}  {row['first']} at {row['first_start']:,}"
