"""``dedup scan``: the algorithm, pass by pass.

1. *Sketch* every row (``sketch``): content hash, signature, rank; repos' sketches come from their rows'.
2. *Choose*, best row first: whole repos, then exact copies, then near copies (``keep``), comparing
   texts where signatures leave a doubt (``verify``).
3. *Write* the kept rows shard by shard, and who was dropped for whom.

Everything lies in ``DST/.work`` until then; a run that was killed takes up at the unit where it stopped.
With an index (``index``) the sketches lie there and stay, and its rows take part as if they had come along.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

import corpus
import passes
from corpus import Refusal
from dedup import bands, keep
from dedup.config import Scan, resolve
from dedup.index import Index, forgotten, opened
from dedup.input import Source, Unit, open_source, request
from dedup.order import Order
from dedup.rows import refuse_twins
from dedup.sketch import Sketches, sketch
from dedup.verify import Texts

Ints = NDArray[np.int64]

FATE = {
    "row": pl.Int64,
    "keeper": pl.String,
    "keeper_row": pl.Int64,
    "level": pl.String,
    "similarity": pl.Float32,
    "exact": pl.Boolean,
}
"""What became of every row that is dropped: its number, the id it was dropped for (or the repo, whose best
row then gives the number), and why."""


def scan(
    sources: Sequence[str | Path],
    dst: str | Path,
    settings: Scan | None = None,
    workers: int = 0,
    index: str | Path | None = None,
) -> corpus.Table:
    """Keep one of every set of duplicates; see ``dedup.cli.scan``."""
    settings = resolve(settings or Scan())
    dst = Path(dst)
    work = dst / ".work"
    if index and Path(index).resolve().is_relative_to(dst.resolve()):
        raise Refusal(f"{index} lies in {dst}, which a new result clears: give another directory.")
    asked = request(Path(path) for path in sources)
    with ExitStack() as stack:
        past = stack.enter_context(opened(Path(index), settings, asked)) if index else None
        pins = asked.pins | ({"index": past.state} if past else {})
        out = stack.enter_context(
            corpus.building(
                dst, asked.table, made_by="dedup scan", settings=settings, inputs=asked.tables, **pins
            )
        )
        unknown = past is not None and past.added is None
        if isinstance(out, corpus.Table):
            if unknown:
                raise Refusal(
                    f"{dst} is finished, but {index} does not have its rows: give a new destination."
                )
            return out
        work.mkdir(exist_ok=True)
        source = open_source(asked, settings, work)
        left = out.left([unit.name for unit in source.units])
        if left or unknown:
            place = _decide(source, settings, work, past, workers)
            if not place.heads.exists():
                _publish(_heads(pl.read_parquet(place.fates, glob=False)), place.heads)
            passes.each(partial(_write, out, place), left, label="writing", workers=workers)
        shutil.rmtree(work, ignore_errors=True)
        where = {"index": str(past.path.absolute())} if past else {}
        return out.seal(sources=[str(path.absolute()) for path in asked.paths], **where)


@dataclass(frozen=True)
class Decided:
    """What is to be written: the rows, and where their sketches and fates lie."""

    source: Source
    sketches: Path
    fates: Path
    heads: Path
    past: Index | None


def _decide(source: Source, settings: Scan, work: Path, past: Index | None, workers: int) -> Decided:
    """Make sure that the fate of every row is on disk."""
    order = Order.of(settings.priority, source)
    heads = work / "heads.parquet"
    place = Decided(source, work, work / "fates.parquet", heads, None)
    if past:
        place = Decided(past.joined(source, order.terms), past.path, past.fates, heads, past)
    if not place.fates.exists():
        sketches = sketch(place.source, settings, place.sketches, work / "shingles", workers)
        _publish(_fates(settings, order, sketches, past), place.fates)
    if past:
        past.add(place.source, order.terms, workers)
    return place


def _fates(settings: Scan, order: Order, sketches: Sketches, past: Index | None) -> pl.DataFrame:
    """Decide about every row: one row of ``FATE`` for each that is dropped.

    Unless they are to be reconsidered, the rows of an index are the best ones and keep their fates.
    """
    known, rows = pl.DataFrame(schema=FATE), sketches.rows()
    settled = past is not None and not settings.reconsider
    if past:
        rows = rows.join(forgotten(past.path), on="row", how="anti", maintain_order="left")
        known = pl.concat([known, *([past.before()] if settled and past.batches else [])])
    refuse_twins(rows)
    ranked = order.ranked(rows, ("batch",) if settled else ())
    del rows  # a corpus is many rows: what has ranked them is not kept while they are decided about
    ranked = ranked.select(
        pl.exclude("^term_.*$"),
        settled=pl.col("batch") < sketches.source.units[-1].batch if settled else pl.lit(False),
    )
    ranked = ranked.join(known.filter(pl.col("level") == "near_repo"), on="row", how="anti")
    repos = _repos(settings, sketches, ranked)
    left = ranked.join(pl.concat([known, repos]), on="row", how="anti")
    del ranked
    if settings.level == "repo":
        left = left.filter(~pl.col("whole"))
    left = left.drop("repo", "whole", "batch")
    return pl.concat([known, repos, _rows(settings, sketches, left)]).sort("row")


def _repos(settings: Scan, sketches: Sketches, ranked: pl.DataFrame) -> pl.DataFrame:
    """Drop whole repos; a repo ranks as its best row does."""
    assert settings.repo_threshold is not None
    whole = ranked.filter("whole")
    members = whole.group_by("batch", "repo", maintain_order=True).agg(
        "row", pl.col("shingles").sum(), pl.col("settled").first()
    )
    members = members.filter(pl.col("shingles") >= max(1, settings.min_shingles or 1))
    if len(members) < 2:
        return pl.DataFrame(schema=FATE)
    merged = sketches.repos()
    keys = members.select("batch", "repo").iter_rows()
    signatures = np.stack([merged[repo] for repo in keys]).astype(np.uint8)  # the low 8 bits
    bounds = np.concatenate([[0], np.cumsum(members["row"].list.len().to_numpy())]).astype(np.int64)
    rows = members["row"].explode(empty_as_null=False).to_numpy().astype(np.int64)
    shape, items = _shape(settings, settings.repo_threshold), np.arange(len(members))
    settled = members["settled"].to_numpy()
    with closing(Texts(sketches, rows, bounds)) as texts:
        choice = keep.choose(signatures, items, settings.repo_threshold, shape, texts, settled)
    best = members["row"].list.first().cast(pl.Int64)
    dropped = _dropped(choice, members["repo"], best)
    fates = dropped.with_columns(row=members["row"].gather(dropped["item"]), level=pl.lit("near_repo"))
    return fates.explode("row").select(pl.col(name).cast(kind) for name, kind in FATE.items())


def _rows(settings: Scan, sketches: Sketches, left: pl.DataFrame) -> pl.DataFrame:
    """Drop exact copies, then near copies among the rest; a copy follows its original to its keeper."""
    assert settings.threshold is not None
    left = left.with_columns(
        original=pl.col("id").first().over("hash_high", "hash_low"),
        original_row=pl.col("row").first().over("hash_high", "hash_low").cast(pl.Int64),
    )
    copy = pl.col("original_row") != pl.col("row")
    unique = left.filter(~copy & (pl.col("shingles") >= max(1, settings.min_shingles or 1)))
    numbers = unique["row"].to_numpy().astype(np.int64)
    shape, settled = _shape(settings, settings.threshold), unique["settled"].to_numpy()
    with closing(Texts(sketches, numbers, np.arange(len(numbers) + 1))) as texts:
        choice = keep.choose(sketches.signatures, numbers, settings.threshold, shape, texts, settled)
    dropped = _dropped(choice, unique["id"], pl.Series(numbers))
    dropped = dropped.with_columns(original_row=pl.Series(numbers[dropped["item"]]))
    # A copy goes for what its original went for, so that every keeper is kept.
    fates = left.join(dropped, on="original_row", how="left").filter(pl.col("keeper").is_not_null() | copy)
    return fates.select(
        pl.col("row").cast(pl.Int64),
        pl.coalesce("keeper", "original").alias("keeper"),
        pl.coalesce("keeper_row", "original_row").alias("keeper_row"),
        pl.when(pl.col("keeper").is_null()).then(pl.lit("exact")).otherwise(pl.lit("near")).alias("level"),
        pl.col("similarity").fill_null(1.0),
        pl.col("exact").fill_null(True),
    )


def _dropped(choice: keep.Choice, names: pl.Series, rows: pl.Series) -> pl.DataFrame:
    """What a choice drops: item (its number), keeper, keeper_row, similarity, exact."""
    gone = np.flatnonzero(choice.keeper != np.arange(len(names)))
    return pl.DataFrame(
        {
            "item": gone,
            "keeper": names.gather(choice.keeper[gone]),
            "keeper_row": rows.gather(choice.keeper[gone]),
            "similarity": choice.similarity[gone],
            "exact": choice.exact[gone],
        },
        schema={"item": pl.Int64}
        | {name: kind for name, kind in FATE.items() if name not in ("row", "level")},
    )


def _shape(settings: Scan, threshold: float) -> bands.Shape:
    if settings.bands is not None and settings.rows is not None:
        return bands.Shape(settings.bands, settings.rows)
    return bands.shape_for(threshold)


def _heads(fates: pl.DataFrame) -> pl.DataFrame:
    """The rows and repos that others go for, by row, so that a unit finds its own."""
    of_repo = pl.col("level") == "near_repo"
    heads = fates.group_by("keeper_row", "keeper", repo=of_repo).agg(
        pl.col("level").sort().first()  # "exact" comes before "near"
    )
    return heads.sort("keeper_row", "keeper", "repo")


def _write(out: corpus.Output, place: Decided, name: str) -> None:
    """Write one unit: its kept rows, its rejects, its part of the clusters."""
    source, unit = place.source, place.source.unit(name)
    mine = _of_unit(unit, place.fates, "row")
    facts = place.sketches / "rows" / unit.sketched
    rows = pl.read_parquet(facts, columns=["id", "files", "bytes"], glob=False)
    numbers = pl.int_range(unit.base, unit.base + unit.rows, dtype=pl.Int64)
    dropped = mine.join(rows.with_columns(row=numbers), on="row").sort("id", "level")
    keeps = np.ones(unit.rows, np.bool_)
    keeps[mine["row"].to_numpy() - unit.base] = False
    kept = [
        table.filter(pl.Series(keeps[base : base + table.num_rows]).to_arrow())
        for base, table in source.groups(unit, source.schema.names)
    ]
    contents: dict[str, corpus.Content] = {
        "": pa.concat_tables([pa.Table.from_batches([], source.schema), *kept]),
        "rejects": _rejects(dropped),
        "clusters": _clusters(dropped, _of_unit(unit, place.heads, "keeper_row")),
    }
    if place.past and name == min(unit.name for unit in source.units if unit.batch == source.units[-1].batch):
        contents["revised"] = place.past.revised(pl.read_parquet(place.fates, glob=False))
    out.write(name, contents, came_in=unit.rows)


def _of_unit(unit: Unit, file: Path, column: str) -> pl.DataFrame:
    """The rows of ``file``, sorted by ``column``, that belong to a unit; the rest of the file is not read."""
    inside = pl.col(column).is_between(unit.base, unit.base + unit.rows, closed="left")
    return pl.scan_parquet(file, glob=False).filter(inside).collect()


def _rejects(dropped: pl.DataFrame) -> pl.DataFrame:
    """The table of rejects; its detail is the keeper and the similarity, to three places."""
    thousandths = (pl.col("similarity").cast(pl.Float64) * 1000).round().cast(pl.Int64)
    places = (thousandths % 1000).cast(pl.String).str.zfill(3)
    return dropped.select(
        "files",
        "bytes",
        key="id",
        verb=pl.lit("dedup scan"),
        reason="level",
        detail=pl.format("{} {}.{}", "keeper", thousandths // 1000, places),
    )


def _clusters(dropped: pl.DataFrame, heads: pl.DataFrame) -> pl.DataFrame:
    """One row for every dropped row of the unit, and one for every row of it that others went for."""
    here = heads.select(
        "keeper", "level", id="keeper", kept=True, similarity=pl.lit(1, pl.Float32), exact=True
    )
    members = dropped.select("keeper", "level", "id", kept=False, similarity="similarity", exact="exact")
    both = pl.concat([here, members]).with_columns(cluster="keeper")
    return both.sort("cluster", "kept", "id", descending=[False, True, False])


def _publish(frame: pl.DataFrame, final: Path) -> None:
    aside = corpus.unfinished(final)
    frame.write_parquet(aside, row_group_size=1 << 16)
    aside.replace(final)
