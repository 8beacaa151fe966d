"""Answers about a result: why a row went, what was lost where, and what a run would cost."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

import corpus
import passes
from corpus import Refusal
from dedup import passages
from dedup.config import Scan, resolve
from dedup.index import texts
from dedup.input import Columns, columns_of, metadata_of, open_source, request

LINES = 60
"""Lines of a diff that are shown."""

# CPU seconds, measured with one worker on 0.1 to 1.9 GB of code on shared processors (EPYC, Zen 4).
SECONDS_PER_GB = 11.0
SECONDS_PER_MILLION_ROWS = 25.0
BYTES_PER_ROW = 256 + 247 + 200
"""Of memory: signature, place in the tables of bands, and what is remembered while it is decided about."""
BASE_BYTES = 450 << 20
SCRATCH_PER_ROW = 256 + 60
"""Bytes beside the output: signature, and its names compressed."""
SCRATCH = 0.8
"""Bytes of shingles laid aside for comparisons, per byte of text."""


def explain(table: str | Path, row: str, other: str | None = None) -> str:
    """Why a row was dropped, or what was dropped for it; with ``other``, how the two differ.

    Args:
        table: What ``dedup scan`` or ``dedup substrings`` wrote.
        row: An id.
        other: Another id to compare with, in place of the row's keeper.
    """
    done = corpus.read(Path(table))
    if done.manifest["made_by"] == "dedup substrings":
        return passages.explain(done, row, _find(done, [row]).get(row))
    clusters = done.scan("clusters").filter((pl.col("id") == row) | (pl.col("keeper") == row)).collect()
    mine = clusters.filter(pl.col("id") == row)
    if mine.is_empty():
        _find(done, [row])  # refuses an id that there never was
        head = f"{row} was kept: it has no duplicate at or above the thresholds."
    elif mine["kept"][0]:
        head = "\n".join(_followers(row, clusters.filter(~pl.col("kept"))))
    else:
        head = _reason(mine.to_dicts()[0])
    against = other or (mine["keeper"][0] if len(mine) and mine["level"][0] != "near_repo" else row)
    return head if against == row else f"{head}\n\n{_difference(done, row, str(against))}"


def stats(table: str | Path, top: int = 10) -> str:
    """The largest clusters, the losses by reason, repo and language, and how similar what went was."""
    done = corpus.read(Path(table))
    if done.manifest["made_by"] == "dedup substrings":
        return passages.stats(done, top)
    clusters = done.scan("clusters").filter(~pl.col("kept")).collect()
    rejects = done.scan("rejects").collect()
    counts = done.counts
    share = 1 - counts["out"] / max(1, counts["in"])
    parts = [f"{counts['in']:,} rows in, {counts['out']:,} kept, {share:.1%} dropped"]
    parts += _lines(
        "By reason", rejects.group_by("reason").agg(pl.len(), pl.col("bytes").sum()), "reason", top
    )
    biggest = clusters.group_by("cluster").agg(pl.len(), pl.col("similarity").min().alias("least"))
    parts += ["", "Largest clusters (dropped rows; least similarity to the keeper)"]
    for row in biggest.sort(["len", "cluster"], descending=[True, False]).head(top).to_dicts():
        parts.append(f"  {row['len']:>9,}  {row['least']:.3f}  {row['cluster']}")
    parts += _by_source(done, rejects, top)
    parts += ["", "Similarity of near copies to their keepers"]
    near = clusters.filter(pl.col("level") != "exact")["similarity"]
    for low in range(50, 100, 5):
        inside = near.is_between(low / 100, (low + 5) / 100, closed="both" if low == 95 else "left").sum()
        if inside:
            bar = "#" * max(1, round(40 * inside / len(near)))
            parts.append(f"  {low / 100:.2f}-{(low + 5) / 100:.2f}  {inside:>9,}  {bar}")
    return "\n".join(parts)


def plan(sources: Sequence[str | Path], settings: Scan | None = None, workers: int = 0) -> str:
    """What a scan of parquet sources would take: seconds, memory, disk.  Reads their footers only."""
    settings = resolve(settings or Scan())
    paths = [Path(path) for path in sources]
    others = [path for path in paths if path.is_file() and path.suffix != ".parquet"]
    if others:
        raise Refusal(f"{others[0]} is not parquet, so its size in rows is not known before it is read.")
    units = open_source(request(paths), settings, Path("nowhere")).units
    columns = columns_of(metadata_of(units[0].path).schema.to_arrow_schema(), settings, units[0].path)
    rows = sum(unit.rows for unit in units)
    text, stored = _sizes([unit.path for unit in units], columns)
    workers = workers or passes.cores()
    cpu = SECONDS_PER_GB * text / 1e9 + SECONDS_PER_MILLION_ROWS * rows / 1e6 + 1
    wall = cpu / workers
    return "\n".join(
        [
            f"{rows:,} rows, {text / 1e9:,.2f} GB of text in {len(units):,} units",
            f"CPU      {cpu:,.0f} s, about {wall:,.0f} s on {workers} cores",
            f"memory   {(BASE_BYTES * workers + BYTES_PER_ROW * rows) / 1e9:,.1f} GB",
            f"scratch  {(SCRATCH_PER_ROW * rows + SCRATCH * text) / 1e9:,.1f} GB beside the output meanwhile",
            f"output   at most {stored / 1e9:,.2f} GB",
        ]
    )


def _sizes(paths: list[Path], columns: Columns) -> tuple[int, int]:
    """Bytes of text, as parquet counts them decompressed, and bytes of the files."""
    text = 0
    for path in dict.fromkeys(paths):
        about = metadata_of(path)
        for group in range(about.num_row_groups):
            for column in range(about.num_columns):
                chunk = about.row_group(group).column(column)
                if chunk.path_in_schema == columns.text:
                    text += chunk.total_uncompressed_size
    return text, sum(path.stat().st_size for path in dict.fromkeys(paths))


def _reason(row: dict[str, object]) -> str:
    how = "compared shingle by shingle" if row["exact"] else "estimated from the signatures"
    if row["level"] == "near_repo":
        return (
            f"{row['id']} was dropped with its whole repo, which is {row['similarity']:.3f} similar "
            f"to the repo {row['keeper']} ({how})."
        )
    kind = "an exact copy" if row["level"] == "exact" else f"{row['similarity']:.3f} similar ({how})"
    return f"{row['id']} was dropped for {row['keeper']}: {kind}."


def _followers(row: str, dropped: pl.DataFrame) -> Iterator[str]:
    yield f"{row} was kept; dropped for it: {len(dropped):,}"
    for member in dropped.sort("similarity", descending=True).head(20).to_dicts():
        yield f"  {member['similarity']:.3f} {member['level']:<9} {member['id']}"


def _difference(done: corpus.Table, row: str, other: str) -> str:
    texts = _find(done, [other, row])
    if len(texts) < 2:
        gone = row if row not in texts else other
        return f"(the text of {gone} is no longer where it was read from)"
    lines = [
        *difflib.unified_diff(
            texts[other].splitlines(), texts[row].splitlines(), other, row, lineterm="", n=1
        )
    ]
    more = [f"… {len(lines) - LINES:,} more lines"] if len(lines) > LINES else []
    return "\n".join([*lines[:LINES], *more]) if lines else "(the texts are equal)"


def _find(done: corpus.Table, ids: list[str]) -> dict[str, str]:
    """The texts of some ids, from the result or from its sources as far as they are still there."""
    given = done.manifest["settings"]
    settings = Scan(text=given["text"], id=given["id"])
    found: dict[str, str] = {}
    for place in (done.path, *map(Path, done.manifest.get("sources", []))):
        for file in _files(place):
            columns = columns_of(metadata_of(file).schema.to_arrow_schema(), settings, file)
            if columns.id:
                key = pl.col(columns.id).cast(pl.String)
                wanted = pl.scan_parquet(file, glob=False).filter(key.is_in(ids)).select(key, columns.text)
                found |= dict(wanted.collect().iter_rows())
    known = done.scan("clusters").filter(pl.col("id").is_in(ids)).select("id").collect()["id"]
    if "index" in done.manifest and (Path(done.manifest["index"]) / "index.json").exists():
        missing = [name for name in ids if name not in found]
        found |= texts(Path(done.manifest["index"]), missing)
    for name in ids:
        if name not in found and name not in known:
            raise Refusal(f"{done.path} never had a row {name}: give one of its ids.")
    return found


def _files(place: Path) -> list[Path]:
    """The parquet files of a source, as far as it is there and parquet."""
    if (place / "manifest.json").exists():
        return [place / shard.name for shard in corpus.read(place).shards()]
    return sorted(place.rglob("*.parquet")) if place.is_dir() else [place] * (place.suffix == ".parquet")


def _by_source(done: corpus.Table, rejects: pl.DataFrame, top: int) -> list[str]:
    """Losses by repo and by language, as far as the sources can still be read."""
    settings = Scan(**done.manifest["settings"])
    files = [file for path in done.manifest.get("sources", []) for file in _files(Path(path))]
    if not files:
        return []
    columns = columns_of(metadata_of(files[0]).schema.to_arrow_schema(), settings, files[0])
    lines: list[str] = []
    for title, name in (("By repo", columns.repo), ("By language", columns.language)):
        if name and columns.id:
            rows = (
                pl.scan_parquet(files, glob=False)
                .select(pl.col(columns.id).cast(pl.String).alias("key"), name)
                .collect()
            )
            losses = rows.join(rejects.select("key", "bytes"), on="key", how="left").group_by(name)
            table = losses.agg(
                pl.col("bytes").is_not_null().sum().alias("len"), pl.col("bytes").sum(), pl.len().alias("all")
            )
            lines += _lines(title, table.filter(pl.col("len") > 0), name, top)
    return lines


def _lines(title: str, table: pl.DataFrame, key: str, top: int) -> list[str]:
    lines = ["", f"{title} (rows dropped, share of its rows, bytes)" if "all" in table.columns else title]
    for row in table.sort(["len", key], descending=[True, False]).head(top).to_dicts():
        share = f"{row['len'] / row['all']:>6.1%}  " if "all" in row else ""
        lines.append(f"  {row['len']:>9,}  {share}{row['bytes']:>13,}  {row[key]}")
    return lines
