"""``crawl parse``: every kept file goes through its grammar once; later verbs read what was found.

One pass yields the share of a file that does not parse, its imports and its package.  Nothing is
rejected here: a file without a grammar, or one that its grammar cannot bear, is a row that says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

import corpus
import passes
import reuse
from corpus import Output, Refusal, Shard, Table
from crawl import watched
from crawl.config import Parse
from crawl.syntax import Outcome, grammar_of
from schemas import SCHEMAS

SLOW = {"csharp", "fortran", "fsharp", "haskell", "kotlin", "perl", "swift", "verilog"}
"""Grammars under 3 MB/s, an order of magnitude below the others."""


class Row(NamedTuple):
    """One row of ``parsed``."""

    repo: str
    path: str
    language: str
    outcome: Outcome


def parse_files(src: Path, dst: Path, settings: Parse, workers: int) -> Table:
    """Write the table ``parsed`` of the table ``files`` at ``src``, shard by shard."""
    if settings.nodes < 0:
        raise Refusal(f"nodes is {settings.nodes}: give 0 (none is kept) or more.")
    files = corpus.read(src, "files")
    origins = reuse.by_shard([files])
    building = corpus.building(
        dst, "parsed", origins, made_by="crawl parse", settings=settings, inputs=[files]
    )
    with building as out:
        if isinstance(out, Table):
            return out
        shards = {Path(shard.name).stem: shard for shard in files.shards()}
        work = partial(parse_shard, out, files, shards, settings)
        passes.each(work, out.left(shards), label="crawl parse", workers=workers)
        return out.seal()


def parse_shard(out: Output, files: Table, shards: dict[str, Shard], settings: Parse, unit: str) -> None:
    """One shard."""
    rows = list(_rows(files, shards[unit], settings))
    out.write(unit, {"": _table(rows)}, came_in=len(rows))


def _rows(files: Table, shard: Shard, settings: Parse) -> Iterator[Row]:
    parser = watched.parser(settings.seconds, settings.nodes)
    for batch in files.batches(shard, ["repo", "path", "language", "text"]):
        listed = [(file, grammar_for(file, settings)) for file in batch.to_pylist()]
        looked = parser.look_all(
            (file["text"].encode(), grammar) for file, grammar in listed if isinstance(grammar, str)
        )
        for file, grammar in listed:
            outcome = next(looked) if isinstance(grammar, str) else grammar
            yield Row(file["repo"], file["path"], file["language"], outcome)


def grammar_for(file: dict[str, str], settings: Parse) -> str | Outcome:
    """The grammar to parse a file with, or why it is not parsed."""
    grammar = grammar_of(file["language"], file["path"])
    if grammar is None:
        return Outcome("no_grammar")
    most = settings.max_slow_bytes if grammar in SLOW else settings.max_bytes
    return Outcome("too_large") if len(file["text"].encode()) > most else grammar


def _table(rows: list[Row]) -> pa.Table:
    columns = {
        "repo": [row.repo for row in rows],
        "path": [row.path for row in rows],
        "language": [row.language for row in rows],
        "status": [row.outcome.status for row in rows],
        "error_share": [row.outcome.error_share for row in rows],
        "imports": [list(row.outcome.imports) for row in rows],
        "mentions": [list(row.outcome.mentions) for row in rows],
        "defines": [list(row.outcome.defines) for row in rows],
        "declares": [row.outcome.declares for row in rows],
        "nodes": [list(row.outcome.nodes) for row in rows],
    }
    schema = SCHEMAS["parsed"]
    return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names})
