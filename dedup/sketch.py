"""First pass: every row's signature and facts, its repo's sketch, and its shingles, in case of doubt.

``signatures.u8`` holds 256 bytes a row, by number; for each unit there is one table of its rows' facts and
one of its repos' sketches.  A unit whose table of rows is there is done.  Its shingles (8 bytes each, row
after row) lie in a file of their own beside the output, whether the rest goes there or into an index.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import corpus
import passes
from dedup import kernel, shingles
from dedup.config import Scan
from dedup.input import Columns, Source, Unit
from dedup.order import Order
from dedup.rows import facts_of
from dedup.shingles import How

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Sketches:
    """What the first pass left in ``work``, and its shingles in ``aside``."""

    work: Path
    aside: Path
    how: How
    source: Source

    def rows(self) -> pl.DataFrame:
        """What ranks and names every row of the source, in their order, with its number as ``row``."""
        frames = [
            self._facts(unit).drop("files", "bytes").with_columns(batch=pl.lit(unit.batch, pl.Int32))
            for unit in self.source.units
        ]
        return pl.concat(frames, how="vertical_relaxed").with_row_index("row")

    @cached_property
    def signatures(self) -> NDArray[np.uint8]:
        """uint8 [rows, 256], not in memory until it is touched."""
        if self.source.rows == 0:
            return np.empty((0, kernel.BINS), np.uint8)
        return np.memmap(self.work / "signatures.u8", np.uint8, "r", shape=(self.source.rows, kernel.BINS))

    def laid_aside(self, unit: Unit) -> tuple[Path, Ints]:
        """The file of a unit's shingles, made anew if it is not there or cut off; by row, how many there are.

        A text that an index was made to forget is empty by then and has none, whatever it had.
        """
        final = _shingle_file(self.aside, unit)
        counts = self._facts(unit, "shingles")["shingles"].to_numpy()
        if not final.exists() or final.stat().st_size != 8 * counts.sum():
            columns, found = unit.columns or self.source.columns, [np.empty(0, np.int64)]
            with final.open("wb") as file:
                for _, table in self.source.groups(unit, self.how.columns(columns)):
                    groups = np.full(table.num_rows, -1)
                    found.append(_sign(columns, self.how, table, groups, 0, file.fileno())[1])
            counts = np.concatenate(found)
        return final, counts

    def _facts(self, unit: Unit, *columns: str) -> pl.DataFrame:
        return pl.read_parquet(self.work / "rows" / unit.sketched, columns=list(columns) or None, glob=False)

    def repos(self) -> dict[tuple[int, str], Words]:
        """By batch and name, the sketch of every repo: the least of its rows' sketches, bin by bin."""
        merged: dict[tuple[int, str], Words] = {}
        for unit in self.source.units:
            with pq.ParquetFile(self.work / "repos" / unit.sketched) as file:  # read_table loads much more
                table = file.read()
            for name, sketch in zip(table["repo"].to_pylist(), table["sketch"], strict=True):
                repo, bins = (unit.batch, name), np.frombuffer(sketch.as_buffer(), np.uint64)
                merged[repo] = np.minimum(merged[repo], bins) if repo in merged else bins
        return merged


def sketch(source: Source, settings: Scan, work: Path, aside: Path, workers: int) -> Sketches:
    """Sketch every unit that is not done yet."""
    assert settings.ngram is not None
    how, order = How(settings.ngram, settings.licence_headers), Order.of(settings.priority, source)
    for folder in (work / "rows", work / "repos", aside):
        folder.mkdir(parents=True, exist_ok=True)
    with (work / "signatures.u8").open("ab") as file:
        file.truncate(source.rows * kernel.BINS)
    left = [unit.name for unit in source.units if not (work / "rows" / unit.sketched).exists()]
    found = Sketches(work, aside, how, source)
    passes.each(
        partial(_sketch_unit, found, order, settings.level != "row"), left, label="sketching", workers=workers
    )
    return found


def sketch_repos_again(work: Path, unit: Unit, how: How) -> None:
    """Make the sketches of one unit's repos anew from its texts."""
    assert unit.columns is not None
    names, groups = _grouped(
        pl.read_parquet(work / "rows" / unit.sketched, columns=["repo", "whole"], glob=False)
    )
    source = Source((unit,), unit.columns, pa.schema([]))
    merged = np.full((len(names), kernel.BINS), np.iinfo(np.uint64).max, np.uint64)
    for base, table in source.groups(unit, how.columns(unit.columns)):
        mine = groups[base : base + table.num_rows]
        merged = np.minimum(merged, _sign(unit.columns, how, table, mine, len(names), -1)[2])
    _publish_repos(dict(zip(names, merged, strict=True)), work / "repos" / unit.sketched)


def _sketch_unit(into: Sketches, order: Order, by_repo: bool, name: str) -> None:
    source, unit = into.source, into.source.unit(name)
    columns = source.columns
    wanted = [*into.how.columns(columns), columns.id, columns.repo, columns.level, *order.columns]
    none = facts_of(source, order, unit, 0, pa.Table.from_batches([], source.schema), by_repo)
    tables = [none.with_columns(shingles=pl.lit(0, pl.Int64))]
    repos: dict[str, Words] = {}
    with (
        (into.work / "signatures.u8").open("r+b") as file,
        _shingle_file(into.aside, unit).open("wb") as aside,
    ):
        file.seek(unit.base * kernel.BINS)
        for base, table in source.groups(unit, dict.fromkeys(column for column in wanted if column)):
            rows = facts_of(source, order, unit, base, table, by_repo)
            names, groups = _grouped(rows)
            signatures, counts, sketches = _sign(columns, into.how, table, groups, len(names), aside.fileno())
            file.write(signatures.data)
            tables.append(rows.with_columns(shingles=pl.Series(counts)))
            for repo, bins in zip(names, sketches, strict=True):
                repos[repo] = np.minimum(repos[repo], bins) if repo in repos else bins
        file.flush()
        os.fsync(file.fileno())
    _publish_repos(repos, into.work / "repos" / unit.sketched)
    _publish(pl.concat(tables), into.work / "rows" / unit.sketched)


def _grouped(rows: pl.DataFrame) -> tuple[list[str], Ints]:
    """The names of the repos that are compared whole, and by row the number of its repo, -1 for none."""
    whole = rows.select(pl.when("whole").then("repo"))["repo"]
    names = whole.drop_nulls().unique(maintain_order=True)
    if not len(names):
        return [], np.full(len(rows), -1)
    groups = whole.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64)
    return names.to_list(), groups.to_numpy()


def _sign(
    columns: Columns, how: How, table: pa.Table, groups: Ints, groups_count: int, file: int
) -> tuple[NDArray[np.uint8], Ints, Words]:
    """Signatures of a batch, counts of shingles, sketches of its groups; ``file`` gets the shingles."""
    texts = shingles.texts_of(table, columns, how)
    signatures, counts, sketches = kernel.sign(
        texts.data, texts.starts, texts.ends, texts.rows, groups.copy(), groups_count, how.ngram, file
    )
    return signatures, counts.astype(np.int64), sketches


def _shingle_file(aside: Path, unit: Unit) -> Path:
    return aside / f"{unit.sketched.removesuffix('.parquet')}.u64"


def _publish_repos(repos: dict[str, Words], final: Path) -> None:
    names = sorted(repos)
    sketches: Any = [repos[name].tobytes() for name in names]
    _publish(
        pl.DataFrame({"repo": names, "sketch": sketches}, {"repo": pl.String, "sketch": pl.Binary}), final
    )


def _publish(table: pl.DataFrame, final: Path) -> None:
    aside = corpus.unfinished(final)
    table.write_parquet(aside, compression="zstd", compression_level=1, statistics=False)
    aside.replace(final)
