"""Where the files went: what came in, stayed or was dropped at every verb, and in which languages.

Tables in, plain values out, for the report to print; nothing here knows about the page.  Tables are
looked up by the verb that made them, and a verb that is not there is left out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import polars as pl

from corpus import Table

Tables: TypeAlias = Mapping[str, Table]
"""Finished tables by the verb that made them."""

FUNNEL = ("crawl fetch", "crawl filter", "crawl redact", "crawl order", "dedup scan", "crawl screen")
"""The verbs that a file goes through, in order; each may drop it."""

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


def parsed(tables: Tables) -> dict[str, int]:
    """Files by what became of parsing them."""
    if "crawl parse" not in tables:
        return {}
    rows = tables["crawl parse"].scan().group_by("status").len().collect()
    return dict(rows.sort(["len", "status"], descending=[True, False]).iter_rows())


def licences(table: Table) -> list[tuple[str, int]]:
    """Bytes of text by licence, the largest first."""
    sums = (
        table.scan().group_by("license").agg(pl.col("bytes").sum()).sort("bytes", descending=True).collect()
    )
    return sorted(
        ((name or "not stated", size) for name, size in sums.iter_rows()), key=lambda one: (-one[1], one[0])
    )


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
