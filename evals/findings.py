"""What the tables of a corpus tell: where the files went, languages, duplicates, dependency order.

Tables in, plain values out, for the report to print; nothing here knows about the page.  Tables are
looked up by the verb that made them, and whatever is not there is ``None``.  Examples are chosen by a
rule that the page states, so that the same tables show the same examples.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from corpus import Table

Tables: TypeAlias = Mapping[str, Table]
"""Finished tables by the verb that made them."""

FUNNEL = ("crawl fetch", "crawl filter", "crawl order", "dedup scan", "crawl screen")
"""The verbs that a file goes through, in order; each may drop it."""

BINS = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0]
"""Edges of the similarity histogram; what is less similar yet is counted with the first bin."""

FILES_SHOWN = (8, 25)
"""Size of the document whose order is drawn: large enough to have a shape, small enough to read."""

LINES_COMPARED = 400
LINES_SHOWN = 60
"""Bounds of the example diff: its cost is quadratic in lines, and it has to fit on the page."""

PAPER = tomllib.loads((Path(__file__).parent / "paper.toml").read_text())


class Reason(NamedTuple):
    """All that one verb dropped for one reason."""

    reason: str
    files: int
    bytes: int
    examples: list[dict[str, Any]]


class Step(NamedTuple):
    """One verb's account of files.  ``came_in`` is what its input held, ``None`` if that is not given."""

    verb: str
    came_in: int | None
    files: int
    bytes: int
    reasons: list[Reason]

    @property
    def dropped(self) -> int:
        return sum(reason.files for reason in self.reasons)

    @property
    def dropped_bytes(self) -> int:
        return sum(reason.bytes for reason in self.reasons)

    @property
    def missing(self) -> int | None:
        """Files that neither stayed nor left a reject: 0, or something is wrong."""
        return None if self.came_in is None else self.came_in - self.files - self.dropped


class Language(NamedTuple):
    """A row of the paper's Table 1, ours beside theirs; ``paper`` is (GB, thousand files, percent)."""

    name: str
    files: int
    bytes: int
    share: float
    paper: tuple[float, int, float] | None


class Side(NamedTuple):
    """A line of one side of a diff, or the gap opposite a line that only the other side has."""

    number: int | None
    text: str


class Pair(NamedTuple):
    """A dropped row and its keeper, side by side; ``lines`` are (kind, kept line, dropped line)."""

    dropped: str
    keeper: str
    level: str
    similarity: float
    exact: bool
    lines: list[tuple[str, Side, Side]]
    cut: bool


class Duplicates(NamedTuple):
    """What ``dedup scan`` found."""

    clusters: int
    levels: list[dict[str, Any]]
    histogram: list[int]
    largest: list[dict[str, Any]]
    pair: Pair | None
    why_no_pair: str


class Order(NamedTuple):
    """How imports lie in the documents, and one document to look at."""

    edges: int
    places: dict[str, int]
    repo: str
    files: list[str]
    arcs: list[tuple[int, int]]

    def imports_of(self, file: int) -> list[int]:
        """The numbers of the files that a file imports."""
        return sorted(imported for imported, importer in self.arcs if importer == file)


# ------------------------------------------------------------------------------------------- files


def funnel(tables: Tables) -> list[Step]:
    """The account of every verb that is here, in the order of the pipeline."""
    outputs = {verb: _size(tables[verb]) for verb in FUNNEL if verb in tables}
    given = {tables[verb].digest: files for verb, (files, _) in outputs.items()}
    return [_step(tables[verb], given, *outputs[verb]) for verb in outputs]


def rejects(tables: Tables) -> list[tuple[str, list[Reason]]]:
    """What every verb of the funnel dropped, and what any other verb that keeps rejects did."""
    keeping = [verb for verb, one in tables.items() if verb in FUNNEL or "rejects" in one.manifest["parts"]]
    return [(verb, list(_reasons(tables[verb]))) for verb in keeping]


def languages(table: Table) -> list[Language]:
    """Bytes and files by language, the largest first, as Table 1 of the paper counts them."""
    rows = (
        table.scan()
        .group_by("language")
        .agg(pl.col("bytes").sum(), _files(table).alias("files"))
        .sort(["bytes", "language"], descending=[True, False])
        .collect()
    )
    total = max(1, int(rows["bytes"].sum()))
    return [
        _language(key, files, size, total)
        for key, files, size in rows.select("language", "files", "bytes").iter_rows()
    ]


def last_of(tables: Tables) -> Table | None:
    """The table that went furthest down the funnel: the corpus, if the run is whole."""
    return next((tables[verb] for verb in reversed(FUNNEL) if verb in tables), None)


def _size(table: Table) -> tuple[int, int]:
    """Files in a table, and bytes of text."""
    row = table.scan().select(_files(table).alias("files"), pl.col("bytes").sum()).collect().row(0)
    return int(row[0] or 0), int(row[1] or 0)


def _files(table: Table) -> pl.Expr:
    joined = str(table.manifest["table"]).split("/")[0] in ("documents", "corpus")
    return pl.col("files").list.len().sum() if joined else pl.len()


def _step(table: Table, given: Mapping[str, int], files: int, size: int) -> Step:
    manifest = table.manifest
    came_in = next((given[one["digest"]] for one in manifest["inputs"] if one["digest"] in given), None)
    if manifest["made_by"] == "crawl fetch":  # its input is archives: it alone counts what they hold
        came_in = table.counts["in"]
    return Step(manifest["made_by"], came_in, files, size, list(_reasons(table)))


def _reasons(table: Table) -> Iterator[Reason]:
    rows = table.scan("rejects").sort("reason", "key")
    sums = rows.group_by("reason").agg(pl.col("files").sum(), pl.col("bytes").sum())
    examples = rows.group_by("reason", maintain_order=True).head(2).collect()
    for reason, files, size in sums.sort(["files", "reason"], descending=[True, False]).collect().iter_rows():
        shown = examples.filter(reason=reason).select("key", "detail").to_dicts()
        yield Reason(reason, files, size, shown)


def _language(key: str, files: int, size: int, total: int) -> Language:
    row = PAPER["languages"].get(key)
    return Language(row[0] if row else key, files, size, size / total, tuple(row[1:]) if row else None)


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
    near = dropped.filter(pl.col("level") != "exact")["similarity"].clip(BINS[0], BINS[-1])
    pair, why_no_pair = _pair(tables, table, dropped)
    return Duplicates(
        clusters=rows["cluster"].n_unique(),
        levels=levels.sort("level").to_dicts(),
        histogram=np.histogram(near, BINS)[0].tolist(),
        largest=_largest(rows),
        pair=pair,
        why_no_pair=why_no_pair,
    )


def _largest(rows: pl.DataFrame) -> list[dict[str, Any]]:
    clusters = rows.group_by("cluster").agg(
        pl.len().alias("members"),
        pl.col("kept").sum(),
        pl.col("level").unique().sort().str.join(", ").alias("levels"),
        pl.col("id").filter(~pl.col("kept")).sort().head(3).alias("examples"),
    )
    return clusters.sort(["members", "cluster"], descending=[True, False]).head(8).to_dicts()


def _pair(tables: Tables, table: Table, dropped: pl.DataFrame) -> tuple[Pair | None, str]:
    """Of the near duplicates that fit on the page, the least similar one: where the decision was closest."""
    sources = {one["digest"] for one in table.manifest["inputs"]}
    source = next((one for one in tables.values() if one.digest in sources), None)
    if source is None:
        return None, "The texts that were compared are not among the tables given here."
    near = dropped.filter(pl.col("level") == "near").sort("similarity", "id").head(200)
    wanted = pl.Series([*near["id"], *near["keeper"]]).unique().to_list()
    texts = dict(_texts(source, wanted))
    for row in near.iter_rows(named=True):
        kept, gone = (texts.get(row[key], "").splitlines() for key in ("keeper", "id"))
        if 10 <= len(kept) <= LINES_COMPARED and 10 <= len(gone) <= LINES_COMPARED:
            lines = list(side_by_side(kept, gone))
            where = (row["id"], row["keeper"], row["level"], row["similarity"], row["exact"])
            return Pair(*where, lines[:LINES_SHOWN], len(lines) > LINES_SHOWN), ""
    return None, f"No near duplicate has 10 to {LINES_COMPARED} lines on both sides."


def _texts(source: Table, ids: list[str]) -> Iterator[tuple[str, str]]:
    rows = source.scan()
    joined = "id" in rows.collect_schema().names()
    key = pl.col("id") if joined else pl.col("repo") + ":" + pl.col("path")
    yield from rows.select(key.alias("id"), "text").filter(pl.col("id").is_in(ids)).collect().iter_rows()


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


def parsed(tables: Tables) -> dict[str, int]:
    """Files by what became of parsing them."""
    if "crawl parse" not in tables:
        return {}
    rows = tables["crawl parse"].scan().group_by("status").len().collect()
    return dict(rows.sort(["len", "status"], descending=[True, False]).iter_rows())


def order(tables: Tables) -> Order | None:
    """Where imported files stand before their importers, and the document with the most imports inside.

    The document that is drawn is, of those with 8 to 25 files, the one with the most imports between its
    own files, the first by id among equals.
    """
    if "crawl order" not in tables:
        return None
    table = tables["crawl order"]
    placed = _placed(table)
    one, other = (
        placed.rename({"path": "importer", "at": "to"}),
        placed.rename({"path": "imported", "at": "from"}),
    )
    edges = (
        table.scan("edges")
        .collect()
        .join(one, on=["repo", "importer"], how="left")
        .join(other, on=["repo", "imported"], how="left", suffix="_imported")
        .with_columns(place=_place())
    )
    inside = edges.filter(pl.col("place").is_in(["earlier", "later"]))
    sizes = placed.group_by("id").len().filter(pl.col("len").is_between(*FILES_SHOWN))
    ranked = inside.join(sizes, on="id").group_by("id").len().sort(["len", "id"], descending=[True, False])
    places = dict(edges["place"].value_counts().sort("place").iter_rows())
    if ranked.is_empty():
        return Order(edges.height, places, "", [], [])
    chosen = ranked["id"][0]
    files = placed.filter(id=chosen).sort("at")
    arcs = inside.filter(id=chosen).select("from", "to").unique().sort("from", "to")
    return Order(edges.height, places, files["repo"][0], files["path"].to_list(), list(arcs.iter_rows()))


def _placed(table: Table) -> pl.DataFrame:
    """Every file with its document and its place there."""
    return (
        table.scan()
        .select("id", "repo", path=pl.col("files").list.eval(pl.element().struct.field("path")))
        .with_columns(at=pl.int_ranges(pl.col("path").list.len()))
        .explode("path", "at")
        .collect()
    )


def _place() -> pl.Expr:
    return (
        pl.when(pl.col("id").is_null() | pl.col("id_imported").is_null())
        .then(pl.lit("dropped"))
        .when(pl.col("id") != pl.col("id_imported"))
        .then(pl.lit("elsewhere"))
        .when(pl.col("from") < pl.col("to"))
        .then(pl.lit("earlier"))
        .when(pl.col("from") == pl.col("to"))
        .then(pl.lit("itself"))
        .otherwise(pl.lit("later"))
    )
