"""``dedup substrings``: every run of words that stands somewhere before, byte for byte.

1. *Lay out*, by unit: hash every window of ``words`` words (``pieces``), dealt into bins by hash.
2. *Match*, by bins: where does each window stand first, in order of preference?
3. *Cover*, by unit: make spans of windows and compare them byte by byte with where they stand first
   (``spans``); write the report, and the rows without their repeats if asked (``mask``).

Everything lies in ``DST/.work`` until then; a run that was killed takes up at the unit where it stopped.
Memory is bounded by some millions of windows a worker and a few numbers per row, whatever the corpus.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

import corpus
import passes
from dedup import mask, spans, windows
from dedup.config import Scan, Substrings, resolve_substrings
from dedup.exchange import grouped
from dedup.input import Source, metadata_of, open_source, request
from dedup.kernel import Ints, Words
from dedup.order import Order
from dedup.pieces import Pieces, lay_out
from dedup.rows import refuse_twins
from dedup.shingles import How

HELD = 4 << 20
"""Windows that are matched at a time: 64 MB, and as much again twice for the tables."""

BIN_WINDOWS, BYTES_PER_WORD, MOST_BINS = 1 << 20, 9, 1 << 16
"""Windows that a bin should get, about; bytes of code per word, with what stands between; a limit."""


def substrings(
    sources: Sequence[str | Path], dst: str | Path, settings: Substrings | None = None, workers: int = 0
) -> corpus.Table:
    """Find what is repeated; see ``dedup.cli.substrings``."""
    settings = resolve_substrings(settings or Substrings())
    dst = Path(dst)
    work = dst / ".work"
    asked = request(Path(path) for path in sources)
    table = asked.table if settings.mask else "repeats"
    with corpus.building(
        dst, table, made_by="dedup substrings", settings=settings, inputs=asked.tables, **asked.pins
    ) as out:
        if isinstance(out, corpus.Table):
            return out
        work.mkdir(exist_ok=True)
        source = open_source(asked, Scan(text=settings.text, id=settings.id), work)
        pieces = Pieces(work, tuple(unit.name for unit in source.units), settings.words, _bins(source))
        left = out.left(pieces.units)
        if left:
            _lay_out(source, settings, pieces, workers)
            _match(pieces, workers)
            write = partial(_write, out, source, settings, pieces)
            passes.each(write, left, label="writing", workers=workers)
        done = out.seal(sources=[str(path.absolute()) for path in asked.paths])
        shutil.rmtree(work, ignore_errors=True)
        return done


def _bins(source: Source) -> int:
    """A power of two, so that a bin gets about ``BIN_WINDOWS`` windows."""
    stored, bins = 0, 1
    for path in dict.fromkeys(unit.path for unit in source.units):
        about = metadata_of(path)
        groups = [about.row_group(group) for group in range(about.num_row_groups)]
        columns = [group.column(i) for group in groups for i in range(about.num_columns)]
        mine = [column for column in columns if column.path_in_schema == source.columns.text]
        stored += sum(column.total_uncompressed_size for column in mine)
    while bins < MOST_BINS and stored > bins * BIN_WINDOWS * BYTES_PER_WORD:
        bins *= 2
    return bins


def _lay_out(source: Source, settings: Substrings, pieces: Pieces, workers: int) -> None:
    """First pass; when all units are done, what is known of all rows: ``Pieces.rows``."""
    if pieces.rows_file.exists():
        return
    order = Order.of(settings.priority, source)
    left = [unit for unit in pieces.units if not pieces.unit_file(unit).exists()]
    work = partial(lay_out, source, How(1, settings.licence_headers), order, pieces)
    passes.each(work, left, label="reading windows", workers=workers)
    rows = pl.concat([pieces.unit_rows(unit) for unit in pieces.units]).with_row_index("row")
    rows = rows.with_columns(batch=0)
    refuse_twins(rows)
    ranks = np.empty(len(rows), np.int64)
    ranks[order.ranked(rows)["row"].to_numpy()] = np.arange(len(rows))
    pieces.keep_rows(rows.with_columns(rank=pl.Series(ranks, dtype=pl.Int64)))


def _match(pieces: Pieces, workers: int) -> None:
    """Second pass: for every window that is not the first of its kind, its place and the first's."""
    names = pieces.names()
    sizes = np.zeros(pieces.bins, np.int64)
    for name in names:
        sizes += pieces.windows.sizes(name)
    groups = [f"{low}-{high}" for low, high in grouped(sizes, HELD)]
    left = [group for group in groups if not pieces.repeats.has(group)]
    passes.each(partial(_match_bins, pieces), left, label="matching windows", workers=workers)


def _match_bins(pieces: Pieces, group: str) -> None:
    low, high = map(int, group.split("-"))
    names, ranks = pieces.names(), pieces.rows()["rank"].to_numpy()
    counts = np.diff(pieces.windows.bounds(names, low, high))[:, 0]
    chunks = [names[start:stop] for start, stop in grouped(counts, HELD)]
    known = np.empty((0, 2), np.uint64)
    for chunk in chunks if len(chunks) > 1 else []:
        # Too many for one go, as where one window is repeated without end: find the first of each kind.
        records = np.concatenate([known, pieces.windows.read(chunk, low, high)[0]])
        known = records[windows.firsts(records, ranks) == records[:, 1]]
    found = (_matched(*pieces.windows.read(chunk, low, high), known, ranks) for chunk in chunks)
    pieces.repeats.write(group, found)


def _matched(records: Words, counts: Ints, known: Words, ranks: Ints) -> tuple[Words, Ints]:
    """The repeats among the windows of some pieces, and how many there are in each of these.

    Args:
        records: The windows of all the pieces.
        counts: How many each piece has.
        known: Windows to look among, too.
    """
    both = np.concatenate([known, records]) if len(known) else records
    firsts, places = windows.firsts(both, ranks)[len(known) :], records[:, 1]
    again = np.flatnonzero(firsts != places)
    sizes = np.diff(np.searchsorted(again, np.cumsum(counts)), prepend=0)
    return np.stack([places[again], firsts[again]], axis=1), sizes


def _write(out: corpus.Output, source: Source, settings: Substrings, pieces: Pieces, name: str) -> None:
    """Third pass: one unit's repeats, and its rows without them if they are to be masked."""
    unit = source.unit(name)
    found = spans.of(pieces, name)
    contents: dict[str, corpus.Content] = {"repeats": found.report}
    if settings.mask:
        bare = np.zeros(unit.rows, np.bool_)
        bare[found.bare() - unit.base] = True
        masked = [source.schema.empty_table()]
        for base, table in source.groups(unit, source.schema.names):
            cuts = found.cuts(unit.base + base, table.num_rows)
            masked.append(mask.without(table, source.columns, cuts, settings.placeholder))
        contents[""] = pa.concat_tables(masked).filter(pa.array(~bare))
        contents["rejects"] = _rejects(pieces.unit_rows(name).filter(pl.Series(bare)), found.report)
    out.write(name, contents, came_in=unit.rows, went_out=None if settings.mask else unit.rows)


def _rejects(rows: pl.DataFrame, report: pa.Table) -> pa.Table:
    """Rows of which no word is left, each with the row that has its first repeat first."""
    whose = dict(zip(report["id"].to_pylist()[::-1], report["first"].to_pylist()[::-1], strict=True))
    reasons = (
        (name, "repeated", whose[name], files, size)
        for name, files, size in rows.select("id", "files", "bytes").iter_rows()
    )
    return corpus.rejects(reasons, "dedup substrings")
