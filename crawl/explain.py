"""``crawl explain``: a file's whole life, from the list to its tokens, with what decided at each verb.

Reads the tables of a run as they stand on disk, whatever verbs wrote them: a table with rows of files, or
one with documents that say which files they hold, or one with rejects.  The first reject ends a life; of
a document, the life of all its files.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from corpus import Refusal, Table
from crawl import chain, packed
from printable import visible
from schemas import SCHEMAS

HIDDEN = ("repo", "path", "text", "files", "id", "imports")
"""Columns that say nothing more about a file, or too much for a line."""

SHOWN = 12
"""Names in a list on one line; the rest is counted."""


class Step(NamedTuple):
    """What became of a file in one table."""

    verb: str
    fate: str
    """kept, or dropped."""
    why: str


class Place(NamedTuple):
    """Where a file stands in a document."""

    document: str
    text: str
    start: int
    end: int


def explain(out: Path, name: str) -> str:
    """The life of ``REPO`` or ``REPO:PATH`` in the run at ``out``, a line a step."""
    tables = chain.tables_of(out)
    repo, path = named(tables, name)
    if path is None:
        lines = [f"{verb:<16} {what}" for verb, what in of_repo(tables, repo)]
    else:
        steps = list(life(tables, repo, path))
        lines = [f"{step.verb:<16} {step.fate:<8} {step.why}".rstrip() for step in steps]
        if not steps or (len(steps) == 1 and steps[0].verb == "crawl list"):
            raise Refusal(f"{out}: no table tells of {name}: {_nearest(tables, repo, path)}.")
    old = [
        f"{table.path} was made from a table that is no longer there: make again."
        for table in chain.stale(tables)
    ]
    return "\n".join(visible(line) for line in [*lines, *old])


def named(tables: Sequence[Table], name: str) -> tuple[str, str | None]:
    """REPO and PATH; a repo's name may hold a colon, so what is known decides where it ends."""
    repos = set(_repos(tables))
    if name in repos:
        return name, None
    cuts = [at for at, char in enumerate(name) if char == ":" and name[:at] in repos]
    if not cuts:
        close = difflib.get_close_matches(name.partition(":")[0], sorted(repos), 3, 0.3)
        raise Refusal(f"no repo of this run is called {name}; its repos have names like {', '.join(close)}.")
    return name[: cuts[-1]], name[cuts[-1] + 1 :]


def life(tables: Sequence[Table], repo: str, path: str) -> Iterator[Step]:
    """What every table says of a file, in the order of the pipeline, until one drops it."""
    place: Place | None = None
    known: dict[str, Any] = {}
    for table in tables:
        keys = [f"{repo}:{path}", repo, *([place.document] if place else [])]
        if reject := _reject(table, keys):
            yield Step(chain.verb(table), "dropped", reject)
            return
        kind = chain.kind(table)
        if kind == "tokens" and place is not None:
            yield Step(chain.verb(table), "kept", _runs(table, place))
        elif kind in ("documents", "corpus"):
            if found := _document(table, repo, path):
                place, document = found
                yield Step(chain.verb(table), "kept", _position(table, repo, path, place, document))
        elif kind in SCHEMAS and "repo" in SCHEMAS[kind].names and (row := _row(table, repo, path)):
            new = _facts({name: value for name, value in row.items() if known.get(name) != value})
            yield Step(
                chain.verb(table), "kept", "; ".join(filter(None, [new, _redacted(table, repo, path)]))
            )
            known |= row


def of_repo(tables: Sequence[Table], repo: str) -> Iterator[tuple[str, str]]:
    """For every verb, how many of a repo's files came through and for what reasons the others went."""
    documents: list[str] = []
    for table in tables:
        verb, kind = chain.verb(table), chain.kind(table)
        keys = (
            pl.col("key").str.starts_with(f"{repo}:")
            | (pl.col("key") == repo)
            | pl.col("key").is_in(documents)
        )
        gone = table.scan("rejects").filter(keys).select("reason", "files").collect()
        reasons = Counter[str]()
        for reason, files in gone.iter_rows():
            reasons[reason] += files
        told = [f"{count:,} {reason}" for reason, count in sorted(reasons.items())]
        dropped = f"; dropped {', '.join(told)}" if told else ""
        if kind == "tokens":
            spans = table.scan("spans").filter(pl.col("document").is_in(documents)).collect()
            rows = spans.select("split", "sequence").n_unique()
            yield verb, f"{(spans['end'] - spans['start']).sum():,} tokens in {rows:,} sequences{dropped}"
        elif kind in SCHEMAS and "repo" in SCHEMAS[kind].names:
            rows_of = table.scan().filter(repo=repo)
            if kind in ("documents", "corpus"):
                held = rows_of.select("id", pl.col("files").list.len()).collect()
                documents = held["id"].to_list()
                yield verb, f"{held['files'].sum():,} files in {held.height:,} documents{dropped}"
            elif kind == "repos":
                row = rows_of.collect()
                yield verb, _facts(row.row(0, named=True)) if row.height else "not listed"
            else:
                yield verb, f"{rows_of.select(pl.len()).collect().item():,} files{dropped}"


# ------------------------------------------------------------------------------------ one table each


def _reject(table: Table, keys: list[str]) -> str | None:
    rows = table.scan("rejects").filter(pl.col("key").is_in(keys)).collect()
    if rows.is_empty():
        return None
    row = rows.sort("key", descending=True).row(0, named=True)
    whole = "" if row["key"] == keys[0] else f" (all of {row['key']})"
    detail = f": {row['detail']}" if row["detail"] else ""
    return f"{row['reason']}{detail}{whole}"


def _row(table: Table, repo: str, path: str) -> dict[str, Any] | None:
    columns = SCHEMAS[chain.kind(table)].names
    rows = table.scan().filter(repo=repo)
    if "path" in columns:
        rows = rows.filter(path=path)
    found = rows.drop("text", strict=False).head(1).collect()
    return found.row(0, named=True) if found.height else None


def _facts(row: Mapping[str, Any]) -> str:
    told = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
        if name not in HIDDEN and isinstance(value, str | int | float)
    ]
    return ", ".join(told + ([f"imports {_few(row['imports'])}"] if row.get("imports") else []))


def _redacted(table: Table, repo: str, path: str) -> str:
    """What placeholders stand for in the file, if `crawl redact` wrote the table."""
    if "secrets" not in table.manifest["parts"]:
        return ""
    kinds = table.scan("secrets").filter(repo=repo, path=path).group_by("kind").len().sort("kind").collect()
    return ", ".join(f"{count} {kind} redacted" for kind, count in kinds.iter_rows())


def _document(table: Table, repo: str, path: str) -> tuple[Place, list[str]] | None:
    """The document that holds a file, and the paths in it."""
    holds = pl.col("files").list.eval(pl.element().struct.field("path") == path).list.any()
    rows = table.scan().filter(repo=repo).filter(holds).select("id", "text", "files").collect()
    if rows.is_empty():
        return None
    document, text, files = rows.row(0)
    span = next(span for span in files if span["path"] == path)
    return Place(document, text, span["start"], span["end"]), [span["path"] for span in files]


def _position(table: Table, repo: str, path: str, place: Place, paths: Sequence[str]) -> str:
    told = f"{place.document}, file {paths.index(path) + 1} of {len(paths)}"
    told += f", characters {place.start}-{place.end}"
    edges = table.scan("edges").filter(repo=repo)
    for title, mine, theirs in (("imports", "importer", "imported"), ("imported by", "imported", "importer")):
        if others := edges.filter(pl.col(mine) == path).collect()[theirs].sort().to_list():
            told += f"; {title} {_few(others)}"
    return told


def _runs(table: Table, place: Place) -> str:
    runs = list(packed.runs_of(table, place.document, place.text, place.start, place.end))
    if not runs:
        return "in no sequence: another part of its document was packed"
    told = [f"{run.split} {run.sequence}, tokens {run.start}-{run.end} ({run.mode})" for run in runs]
    return f"{sum(run.end - run.start for run in runs):,} tokens: {'; '.join(told)}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return " ".join(names[:SHOWN]) + more


def _repos(tables: Sequence[Table]) -> list[str]:
    kinds = [
        table
        for table in tables
        if chain.kind(table) in SCHEMAS and "repo" in SCHEMAS[chain.kind(table)].names
    ]
    return (
        pl.concat(table.scan().select("repo").unique() for table in kinds)
        .unique()
        .collect()["repo"]
        .to_list()
    )


def _nearest(tables: Sequence[Table], repo: str, path: str) -> str:
    names = [
        name
        for table in tables
        if chain.kind(table) == "files"
        for name in table.scan().filter(repo=repo).select("path").collect()["path"]
    ]
    close = difflib.get_close_matches(path, sorted(set(names)), 3, 0.3)
    return f"{repo} has files like {', '.join(close)}" if close else f"{repo} has no file that came through"
