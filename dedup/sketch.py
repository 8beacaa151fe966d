"""First pass: every row's signature, content hash, place in the order of preference, and its repo's sketch.

Beside the output, in ``.work``: ``signatures.u8`` (256 bytes a row, by number), and for each unit one
table of its rows and one of its repos' sketches.  A unit whose table of rows is there is done.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

import passes
from corpus import Refusal
from dedup import kernel, shingles
from dedup.config import Scan
from dedup.input import Source, Unit
from dedup.order import Order
from dedup.shingles import How


@dataclass(frozen=True)
class Sketches:
    """What the first pass left in ``work``."""

    work: Path
    how: How
    units: tuple[Unit, ...]

    @cached_property
    def rows(self) -> pl.DataFrame:
        """One row for every row of the source, in their order, with its number as ``row``."""
        frames = [
            pl.read_parquet(self.work / "rows" / unit.sketched, glob=False).with_columns(
                batch=pl.lit(unit.batch, pl.Int32)
            )
            for unit in self.units
        ]
        return pl.concat(frames, how="vertical_relaxed").with_row_index("row")

    @cached_property
    def shingles(self) -> NDArray[np.int64]:
        """How many shingles each row has."""
        return self.rows["shingles"].to_numpy()

    @cached_property
    def signatures(self) -> NDArray[np.uint8]:
        """uint8 [rows, 256], not in memory until it is touched."""
        if len(self.rows) == 0:
            return np.empty((0, kernel.BINS), np.uint8)
        return np.memmap(self.work / "signatures.u8", np.uint8, "r", shape=(len(self.rows), kernel.BINS))

    def repos(self) -> dict[tuple[int, str], NDArray[np.uint64]]:
        """By batch and name, the sketch of every repo: the least of its rows' sketches, bin by bin."""
        merged: dict[tuple[int, str], NDArray[np.uint64]] = {}
        for unit in self.units:
            table = pq.read_table(self.work / "repos" / unit.sketched)
            for name, sketch in zip(table["repo"].to_pylist(), table["sketch"], strict=True):
                repo, bins = (unit.batch, name), np.frombuffer(sketch.as_buffer(), np.uint64)
                merged[repo] = np.minimum(merged[repo], bins) if repo in merged else bins
        return merged


def sketch(source: Source, settings: Scan, work: Path, workers: int) -> Sketches:
    """Sketch every unit that is not done yet."""
    assert settings.ngram is not None
    how, order = How(settings.ngram, settings.licence_headers), Order.of(settings.priority, source)
    for folder in ("rows", "repos"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    with (work / "signatures.u8").open("ab") as file:
        file.truncate(source.rows * kernel.BINS)
    left = [unit.name for unit in source.units if not (work / "rows" / unit.sketched).exists()]
    unit = partial(_sketch_unit, source, how, order, work, settings.level != "row")
    passes.each(unit, left, label="sketching", workers=workers)
    return Sketches(work, how, source.units)


def _sketch_unit(source: Source, how: How, order: Order, work: Path, by_repo: bool, name: str) -> None:
    unit = source.unit(name)
    columns = source.columns
    wanted = [
        *how.columns(columns),
        columns.id,
        columns.repo,
        columns.level,
        columns.language,
        *order.columns,
    ]
    tables: list[pl.DataFrame] = []
    repos: dict[str, NDArray[np.uint64]] = {}
    with (work / "signatures.u8").open("r+b") as file:
        for base, table in source.groups(unit, dict.fromkeys(column for column in wanted if column)):
            rows, signatures, sketches = _sketch_batch(source, how, order, by_repo, unit, base, table)
            file.seek((unit.base + base) * kernel.BINS)
            file.write(signatures.tobytes())
            tables.append(rows)
            for repo, bins in sketches.items():
                repos[repo] = np.minimum(repos[repo], bins) if repo in repos else bins
        file.flush()
        os.fsync(file.fileno())
    _publish_repos(repos, work / "repos" / unit.sketched)
    empty = _rows_frame(source, order, unit, 0, source.schema.empty_table(), np.empty(0, np.uint64), by_repo)
    _publish(pl.concat([empty, *tables]).to_arrow(), work / "rows" / unit.sketched)


def _sketch_batch(
    source: Source, how: How, order: Order, by_repo: bool, unit: Unit, base: int, table: pa.Table
) -> tuple[pl.DataFrame, NDArray[np.uint8], dict[str, NDArray[np.uint64]]]:
    """The rows, signatures and repo sketches of one batch."""
    _refuse_odd(table[source.columns.text], unit, base)
    texts = shingles.texts_of(table, source.columns, how)
    frame = _rows_frame(source, order, unit, base, table, np.zeros(table.num_rows, np.uint64), by_repo)
    names = frame.filter("whole")["repo"].unique(maintain_order=True)
    group = (
        pl.when("whole")
        .then(pl.col("repo").replace_strict(names, range(len(names)), default=-1))
        .otherwise(-1)
    )
    groups = (
        frame.select(group.cast(pl.Int64))["repo"]
        if len(names)
        else pl.Series([-1] * len(frame), dtype=pl.Int64)
    )
    signatures, counts, sketches = kernel.sign(
        texts.data, texts.starts, texts.ends, texts.rows, groups.to_numpy().copy(), len(names), how.ngram
    )
    frame = frame.with_columns(pl.Series("shingles", counts.astype(np.int64)))
    return frame, signatures, dict(zip(names.to_list(), sketches, strict=True))


def _rows_frame(
    source: Source, order: Order, unit: Unit, base: int, table: pa.Table, counts: Any, by_repo: bool
) -> pl.DataFrame:
    """What is remembered of each row of a batch besides its signature."""
    columns, n = source.columns, table.num_rows
    frame = pl.DataFrame({"id": _ids(table, columns.id, unit, base)}, schema={"id": pl.String})

    def column(name: str) -> pl.Series:
        if not name:
            return pl.Series([None] * n, dtype=pl.String)
        return pl.Series(table[name].cast(pa.large_string()).to_pylist(), dtype=pl.String)

    data, offsets = shingles.buffers(table[columns.text])
    view = data.data
    hashes = b"".join(
        hashlib.sha256(view[start:end]).digest()[:16]
        for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    )
    halves = np.frombuffer(hashes, ">u8").reshape(-1, 2).astype(np.uint64)
    sizes = pl.Series(np.diff(offsets), dtype=pl.Int64)
    repo = column(columns.repo)
    level = column(columns.level)
    whole = (
        (level.ne_missing("file") & repo.is_not_null())
        if by_repo
        else pl.Series([False] * n, dtype=pl.Boolean)
    )
    files = pc.list_value_length(table[columns.files]) if columns.files else pa.array([1] * n, pa.int64())
    return frame.with_columns(
        repo=repo,
        language=column(columns.language),
        whole=whole,
        files=pl.Series(files.to_pylist(), dtype=pl.Int64),
        bytes=sizes,
        hash_high=pl.Series(halves[:, 0]),
        hash_low=pl.Series(halves[:, 1]),
        shingles=pl.Series(counts.astype(np.int64)),
        **order.keys(table, sizes),
    )


def _ids(table: pa.Table, column: str, unit: Unit, base: int) -> list[str]:
    if not column:
        first = unit.first + base
        return [f"{unit.path.name}:{number}" for number in range(first, first + table.num_rows)]
    ids: list[str | None] = table[column].cast(pa.large_string()).to_pylist()
    if None in ids:
        raise Refusal(f"{unit.path}: row {unit.first + base + ids.index(None)} has no {column}: give it one.")
    return [str(name) for name in ids]


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


def refuse_twins(rows: pl.DataFrame) -> None:
    """Refuse ids that stand for more than one row of a scan, or for another text in the index."""
    twice = rows.filter(pl.struct("batch", "id").is_duplicated())["id"]
    if len(twice):
        raise Refusal(
            f"id {twice.sort()[0]} stands for more than one row ({len(twice):,} rows share ids): "
            "name a column of unique ids with --id, or make them unique."
        )
    shared = rows.filter(pl.col("id").is_duplicated()).select("id", "hash_high", "hash_low").unique()
    other = shared.filter(pl.col("id").is_duplicated())["id"].unique().sort()
    if len(other):
        raise Refusal(
            f"id {other[0]} stands for another text in the index ({len(other):,} such ids): "
            "`dedup forget` them there first, or leave them out."
        )


def sketch_repos_again(work: Path, unit: Unit, how: How) -> None:
    """Make the sketches of one unit's repos anew from its texts."""
    assert unit.columns is not None
    rows = pl.read_parquet(work / "rows" / unit.sketched, columns=["repo", "whole"], glob=False)
    whole = rows.with_columns(pl.when("whole").then("repo"))["repo"]
    names = whole.drop_nulls().unique().sort()
    groups = whole.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64)
    source = Source((unit,), unit.columns, pa.schema([]))
    merged = np.full((len(names), kernel.BINS), np.iinfo(np.uint64).max, np.uint64)
    for base, table in source.groups(unit, how.columns(unit.columns)):
        texts = shingles.texts_of(table, unit.columns, how)
        mine = groups[base : base + table.num_rows].to_numpy().copy()
        sketches = kernel.sign(texts.data, texts.starts, texts.ends, texts.rows, mine, len(names), how.ngram)[
            2
        ]
        merged = np.minimum(merged, sketches)
    _publish_repos(dict(zip(names.to_list(), merged, strict=True)), work / "repos" / unit.sketched)


def _publish_repos(repos: dict[str, NDArray[np.uint64]], final: Path) -> None:
    names = sorted(repos)
    table = pa.table(
        [names, [repos[name].tobytes() for name in names]],
        schema=pa.schema([("repo", pa.large_string()), ("sketch", pa.binary(8 * kernel.BINS))]),
    )
    _publish(table, final)


def _publish(table: pa.Table, final: Path) -> None:
    aside = final.with_name(f".{final.name}.part")
    pq.write_table(table, aside, compression="zstd")
    aside.replace(final)
