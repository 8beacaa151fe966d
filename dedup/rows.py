"""What is remembered of a row besides its signature: its names, its content hash, what ranks it."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus import Refusal
from dedup import shingles
from dedup.input import Source, Unit
from dedup.order import Order


def facts_of(
    source: Source, order: Order, unit: Unit, base: int, table: pa.Table, by_repo: bool
) -> pl.DataFrame:
    """One row for each row of a batch; refuses rows without a name, and text that is none.

    Args:
        base: Number of the batch's first row within its unit.
        by_repo: Whether repos are compared whole.
    """
    columns = source.columns
    _refuse_odd(table[columns.text], unit, base)
    data, offsets = shingles.buffers(table[columns.text])
    high, low = _hashes(data, offsets)
    sizes = pl.Series(np.diff(offsets), dtype=pl.Int64)
    given = {"id": _ids(table, columns.id, unit, base)}
    if columns.repo:
        given["repo"] = _series(table[columns.repo])
    if columns.level:
        given["level"] = _series(table[columns.level])
    if columns.files:
        given["files"] = _series(pc.list_value_length(table[columns.files]))
    missing = {"repo": pl.lit(None), "level": pl.lit(None), "files": pl.lit(1)}
    frame = pl.DataFrame(given).with_columns(**{n: value for n, value in missing.items() if n not in given})
    repo, level = pl.col("repo").cast(pl.String), pl.col("level").cast(pl.String)
    return frame.select(
        "id",
        pl.col("files").cast(pl.Int64).fill_null(0),
        repo=repo,
        whole=level.ne_missing("file") & repo.is_not_null() & by_repo,
        bytes=sizes,
        hash_high=high,
        hash_low=low,
        **order.keys(table, sizes),
    )


def refuse_twins(rows: pl.DataFrame) -> None:
    """Refuse ids that stand for more than one row of a scan, or for another text in the index."""
    shared = rows.filter(pl.col("id").is_duplicated()).select("batch", "id", "hash_high", "hash_low")
    twice = shared.filter(pl.struct("batch", "id").is_duplicated())["id"]
    if len(twice):
        raise Refusal(
            f"id {twice.sort()[0]} stands for more than one row ({len(twice):,} rows share ids): "
            "name a column of unique ids with --id, or make them unique."
        )
    texts = shared.select("id", "hash_high", "hash_low").unique()
    other = texts.filter(pl.col("id").is_duplicated())["id"].unique().sort()
    if len(other):
        raise Refusal(
            f"id {other[0]} stands for another text in the index ({len(other):,} such ids): "
            "`dedup forget` them there first, or leave them out."
        )


def _hashes(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[pl.Series, pl.Series]:
    """The first 16 bytes of each text's sha256, in two halves.

    A quicker hash would save a few seconds in a hundred, but texts are written by strangers, and whoever
    could make two of them meet would decide which of other people's files are dropped.
    """
    view, sha256 = data.data, hashlib.sha256
    spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    hashes = b"".join([sha256(view[start:end]).digest()[:16] for start, end in spans])
    halves = np.frombuffer(hashes, ">u8").reshape(-1, 2).astype(np.uint64)
    return pl.Series(halves[:, 0]), pl.Series(halves[:, 1])


def _series(column: pa.ChunkedArray) -> pl.Series:
    found = pl.from_arrow(column)
    assert isinstance(found, pl.Series)
    return found


def _ids(table: pa.Table, column: str, unit: Unit, base: int) -> pl.Series:
    first = unit.first + base
    if not column:
        numbers = pl.int_range(first, first + table.num_rows, eager=True)
        return pl.select(pl.format("{}:{}", pl.lit(unit.path.name), numbers)).to_series()
    ids = _series(table[column]).cast(pl.String)
    if ids.null_count():
        row = first + ids.is_null().to_list().index(True)
        raise Refusal(f"{unit.path}: row {row} has no {column}: give it one.")
    return ids


def _refuse_odd(text: pa.ChunkedArray, unit: Unit, base: int) -> None:
    """Refuse text that is null or not UTF-8: naming the first such row."""
    if text.null_count:
        row = text.is_null().index(True).as_py()
        raise Refusal(f"{unit.path}: row {unit.first + base + row} has no text: drop such rows first.")
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        raise Refusal(
            f"{unit.path}: the text of a row from {unit.first + base} on is not UTF-8: decode it first."
        ) from None
