"""How files relate: those that are duplicates of one another, and those that import one another.

Tables in, plain values out, like ``account``; ``None`` where a verb's table is not there.  Examples are
chosen by a rule that the page states, so that the same tables show the same examples.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from corpus import Table
from evals.account import Tables

BINS = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0]
"""Edges of the similarity histogram; what is less similar yet is counted with the first bin."""

FILES_SHOWN = (8, 25)
"""Size of the document whose order is drawn: large enough to have a shape, small enough to read."""

IMPORTS_SHOWN = 2
"""At most so many imports for each of its files, so that the arcs can be told apart."""

PAIRS_READ = 5000
PAIRS_TRIED = 400
LINES_COMPARED = (20, 400)
LINES_SHOWN = 60
"""Bounds of the example diff: texts stand in memory, cost is quadratic in lines, the page is small."""

_PATH = pl.element().struct.field("path")


class Side(NamedTuple):
    """A line of one side of a diff, or the gap opposite a line that only the other side has."""

    number: int | None
    text: str


class Pair(NamedTuple):
    """A dropped row and its keeper, side by side; ``lines`` are (kind, kept line, dropped line)."""

    dropped: str
    keeper: str
    dropped_path: str
    keeper_path: str
    similarity: float
    exact: bool
    lines: list[tuple[str, Side, Side]]


class Duplicates(NamedTuple):
    """What ``dedup scan`` found."""

    clusters: int
    levels: list[dict[str, Any]]
    edges: list[float]
    histogram: list[int]
    largest: list[dict[str, Any]]
    pair: Pair | None
    why_no_pair: str


class Order(NamedTuple):
    """How imports lie in the documents, and one document to look at."""

    places: dict[str, int]
    reach: list[dict[str, Any]]
    repo: str
    files: list[str]
    arcs: list[tuple[int, int]]

    def imports_of(self, file: int) -> list[int]:
        """The numbers of the files that a file imports."""
        return sorted(imported for imported, importer in self.arcs if importer == file)


# -------------------------------------------------------------------------------------- duplicates


def duplicates(tables: Tables) -> Duplicates | None:
    """Clusters by level, their similarities, the largest ones, and one pair to look at."""
    if "dedup scan" not in tables:
        return None
    table = tables["dedup scan"]
    rows = table.scan("clusters").collect()
    dropped = rows.filter(~pl.col("kept"))
    levels = dropped.group_by("level").agg(
        pl.len().alias("dropped"),
        pl.col("cluster").n_unique().alias("clusters"),
        pl.col("similarity").min().alias("lowest"),
    )
    near = dropped.filter(pl.col("level") != "exact")["similarity"].cast(pl.Float64).round(6)
    counts = np.histogram(near.clip(BINS[0], BINS[-1]), BINS)[0].tolist()
    first = next((number for number, count in enumerate(counts) if count), 0)
    source = _source(tables, table)
    pair, why_no_pair = _pair(source, dropped)
    return Duplicates(
        clusters=rows["cluster"].n_unique(),
        levels=levels.sort("level").to_dicts(),
        edges=BINS[first:],
        histogram=counts[first:],
        largest=_largest(source, rows),
        pair=pair,
        why_no_pair=why_no_pair,
    )


def _source(tables: Tables, table: Table) -> pl.LazyFrame | None:
    """The id, language, text and paths of the rows that ``dedup scan`` read, if their table is here."""
    read = {one["digest"] for one in table.manifest["inputs"]}
    source = next((one for one in tables.values() if one.digest in read), None)
    if source is None:
        return None
    if "id" in source.scan().collect_schema().names():
        return source.scan().select("id", "language", "text", paths=pl.col("files").list.eval(_PATH))
    key = pl.col("repo") + ":" + pl.col("path")
    return source.scan().select(key.alias("id"), "language", "text", paths=pl.concat_list("path"))


def _largest(source: pl.LazyFrame | None, rows: pl.DataFrame) -> list[dict[str, Any]]:
    clusters = rows.group_by("cluster").agg(
        pl.len().alias("members"),
        pl.col("level").unique().sort().str.join(", ").alias("levels"),
        pl.col("id").filter(~pl.col("kept")).sort().head(2).alias("examples"),
    )
    largest = clusters.sort(["members", "cluster"], descending=[True, False]).head(8).to_dicts()
    wanted = [name for one in largest for name in (one["cluster"], *one["examples"])]
    paths = _paths(source, wanted)
    for one in largest:
        one["examples"] = [(name, paths.get(name, "")) for name in one["examples"]]
        one["path"] = paths.get(one["cluster"], "")
    return largest


def _paths(source: pl.LazyFrame | None, ids: list[str]) -> dict[str, str]:
    """By id the path of its file, or of its first and how many more there are."""
    if source is None:
        return {}
    rows = source.filter(pl.col("id").is_in(ids)).select("id", "paths").collect().iter_rows()
    return {name: paths[0] + (f" and {len(paths) - 1} more" if paths[1:] else "") for name, paths in rows}


def _pair(source: pl.LazyFrame | None, dropped: pl.DataFrame) -> tuple[Pair | None, str]:
    """The least similar near duplicate that fits on the page: where the decision was closest.

    Those in the language of which most text was dropped as near come first: code, in most corpora.
    """
    if source is None:
        return None, "The texts that were compared are not among the tables given here."
    near = dropped.filter(pl.col("level") == "near").sort("similarity", "id").head(PAIRS_READ)
    wanted = pl.concat([near["id"], near["keeper"]]).unique().implode()
    found = source.filter(pl.col("id").is_in(wanted)).collect()
    texts = dict(found.select("id", "text").iter_rows())
    weight = pl.col("text").str.len_bytes().sum().over("language").alias("weight")
    ranked = near.join(found.filter(pl.col("id").is_in(near["id"].implode())).with_columns(weight), on="id")
    ranked = ranked.sort(["weight", "similarity", "id"], descending=[True, False, False]).head(PAIRS_TRIED)
    for row in ranked.iter_rows(named=True):
        lines = _differences(texts.get(row["keeper"], ""), row["text"])
        if lines:
            paths = _first(found, row["id"]), _first(found, row["keeper"])
            return Pair(row["id"], row["keeper"], *paths, row["similarity"], row["exact"], lines), ""
    return None, "No near duplicate is short enough for this page."


def _first(found: pl.DataFrame, name: str) -> str:
    paths = found.filter(id=name)["paths"]
    return str(paths[0][0]) if len(paths) else ""


def _differences(kept: str, gone: str) -> list[tuple[str, Side, Side]]:
    """Both sides of the diff, or nothing if a text is trivial, too long to compare, or too different."""
    both, (low, high) = (kept.splitlines(), gone.splitlines()), LINES_COMPARED
    if not all(low <= len(lines) <= high for lines in both):
        return []
    lines = list(side_by_side(*both))
    return lines if len(lines) <= LINES_SHOWN else []


def side_by_side(kept: list[str], gone: list[str]) -> Iterator[tuple[str, Side, Side]]:
    """The differing lines with two lines around them: (same, changed, gap; kept line; dropped line)."""
    nothing = Side(None, "")
    groups = difflib.SequenceMatcher(None, kept, gone, autojunk=False).get_grouped_opcodes(2)
    for group in groups:
        yield "gap", nothing, nothing
        for kind, a, b, c, d in group:
            for offset in range(max(b - a, d - c)):
                left = Side(a + offset + 1, kept[a + offset]) if a + offset < b else nothing
                right = Side(c + offset + 1, gone[c + offset]) if c + offset < d else nothing
                yield "same" if kind == "equal" else "changed", left, right


# ------------------------------------------------------------------------------------------- order


def order(tables: Tables) -> Order | None:
    """Where imported files stand before their importers, and the document with the most imports inside.

    The document that is drawn is, of those with 8 to 25 files and at most twice as many imports between
    them, the one with the most imports, the first by id among equals.
    """
    if "crawl order" not in tables:
        return None
    table = tables["crawl order"]
    placed = _placed(table)
    one = placed.rename({"path": "importer", "at": "to"})
    other = placed.rename({"path": "imported", "at": "from"})
    edges = (
        table.scan("edges")
        .collect()
        .join(one, on=["repo", "importer"], how="left")
        .join(other, on=["repo", "imported"], how="left", suffix="_imported")
        .with_columns(place=_place())
    )
    places = dict(edges["place"].value_counts().sort("place").iter_rows())
    inside = edges.filter(pl.col("place").is_in(["earlier", "later"])).unique(["id", "from", "to"])
    files = placed.group_by("id").agg(files=pl.len()).filter(pl.col("files").is_between(*FILES_SHOWN))
    ranked = (
        inside.join(files, on="id")
        .group_by("id", "files")
        .len()
        .filter(pl.col("len") <= IMPORTS_SHOWN * pl.col("files"))
        .sort(["len", "id"], descending=[True, False])
    )
    if ranked.is_empty():
        return Order(places, _reach(table), "", [], [])
    chosen = placed.filter(id=ranked["id"][0]).sort("at")
    arcs = inside.filter(id=ranked["id"][0]).select("from", "to").sort("from", "to")
    return Order(places, _reach(table), chosen["repo"][0], chosen["path"].to_list(), list(arcs.iter_rows()))


def _reach(table: Table) -> list[dict[str, Any]]:
    """What each strategy would satisfy, the one that was taken marked; none where nothing is imported."""
    taken = table.manifest["settings"].get("strategy")
    totals = table.scan("reach").group_by("strategy").agg(pl.col("imports", "earlier", "near").sum())
    rows = totals.sort("near", "strategy", descending=[True, False]).collect()
    return [row | {"taken": row["strategy"] == taken} for row in rows.iter_rows(named=True)]


def _placed(table: Table) -> pl.DataFrame:
    """Every file with its document and its place there."""
    return (
        table.scan()
        .select("id", "repo", "part", path=pl.col("files").list.eval(_PATH))
        .with_columns(at=pl.int_ranges(pl.col("path").list.len()))
        .explode("path", "at")
        .collect()
    )


def _place() -> pl.Expr:
    """Where an import leads; a document that was too large goes on in one with a higher part number."""
    whole = pl.col("id") == pl.col("id_imported")
    return (
        pl.when(pl.col("id").is_null() | pl.col("id_imported").is_null())
        .then(pl.lit("dropped"))
        .when(whole & (pl.col("from") < pl.col("to")))
        .then(pl.lit("earlier"))
        .when(whole & (pl.col("from") == pl.col("to")))
        .then(pl.lit("itself"))
        .when(whole)
        .then(pl.lit("later"))
        .when(pl.col("part_imported") < pl.col("part"))
        .then(pl.lit("earlier_part"))
        .otherwise(pl.lit("later_part"))
    )
