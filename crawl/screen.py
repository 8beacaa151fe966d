"""``crawl screen``: contaminated and broken files are cut out of their documents (section 2.4).

The unit is the file, found by its span: the rest of a document stays, with spans recomputed, and a
document of which nothing stays disappears.  Three reasons: ``contaminated`` (see `contamination`),
``syntax_error`` (too much of the file stands under error nodes of its grammar) and, where a scorer is given,
``low_quality`` (see `quality`).  The paper also names a compiler check, and publishes no more of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

import corpus
import passes
import reuse
from corpus import Output, Refusal, Shard, Table
from crawl import quality
from crawl.config import Screen
from crawl.contamination import Hit, Index, Protected
from schemas import SCHEMAS, RejectRow

Span = dict[str, Any]
"""An element of the column ``files``: path, start, end."""

"""A row of the table ``rejects``: key, reason, detail, files, bytes."""


class Parse(NamedTuple):
    """What `crawl parse` says of a file."""

    language: str
    error_share: float | None


class Rejected(NamedTuple):
    """Why a file is cut out."""

    reason: str
    detail: str


def screen_documents(
    src: Path,
    parsed: Path,
    problems: Path,
    dst: Path,
    settings: Screen,
    workers: int,
    scorer: Path | None = None,
) -> Table:
    """Write the table ``corpus``: the documents at ``src`` without the files that must not stay."""
    documents = corpus.read(src, "documents")
    found, protected = corpus.read(parsed, "parsed"), corpus.read(problems, "problems")
    learned = None if scorer is None else corpus.read(scorer, "scorer")
    inputs = [documents, found, protected, *([learned] if learned else [])]
    origins = reuse.by_shard(inputs)
    building = corpus.building(
        dst, "corpus", origins, made_by="crawl screen", settings=settings, inputs=inputs
    )
    with building as out:
        if isinstance(out, Table):
            return out
        shards = {Path(shard.name).stem: shard for shard in documents.shards()}
        work = partial(screen_shard, out, documents, found, protected, learned, shards, settings)
        passes.each(work, out.left(shards), label="crawl screen", workers=workers)
        return out.seal()


def screen_shard(
    out: Output,
    documents: Table,
    found: Table,
    protected: Table,
    learned: Table | None,
    shards: dict[str, Shard],
    settings: Screen,
    unit: str,
) -> None:
    """The documents of one shard."""
    rows = documents.frame(shards[unit]).to_dicts()
    parses = _parses(found, unit)
    index = index_of(
        protected.path, protected.digest, settings.ngram, settings.shortest, tuple(settings.allow)
    )
    hits = index.search(text for row in rows for text in texts_of(row["text"], row["files"]))
    scorer = None if learned is None else scorer_of(learned.path, learned.digest)
    found_hits: list[dict[str, Any]] = []
    measured: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    rejects: list[RejectRow] = []
    for row in rows:
        verdicts: dict[str, Rejected | None] = {}
        for span, text in zip(row["files"], texts_of(row["text"], row["files"]), strict=True):
            hit, path = next(hits), span["path"]
            parse = _parse_of(parses, row["repo"], path)
            verdicts[path] = judge(hit, parse, settings)
            key = {"repo": row["repo"], "path": path}
            found_hits += [key | hit._asdict()] if hit else []
            if scorer is not None:
                score = scorer.score(text, parse.language)
                measured.append(key | {"score": score} | quality.measure(text, parse.language)._asdict())
                verdicts[path] = verdicts[path] or too_poor(score, settings)
        clean, dropped = screen(row, verdicts)
        rejects += dropped
        kept += [clean] if clean is not None else []
    files_in = sum(len(row["files"]) for row in rows)
    tables = {"": _table(kept), "rejects": corpus.rejects(rejects, "crawl screen")}
    tables["hits"] = pa.Table.from_pylist(found_hits, schema=SCHEMAS["hits"])
    if scorer is not None:
        tables["quality"] = pa.Table.from_pylist(measured, schema=SCHEMAS["quality"])
    out.write(unit, tables, came_in=files_in, went_out=sum(len(row["files"]) for row in kept))


def judge(hit: Hit | None, parse: Parse, settings: Screen) -> Rejected | None:
    """Why a file may not stay, if so.  A file that could not be parsed is not judged by its syntax."""
    if hit is not None:
        return Rejected("contaminated", f"{hit.problem}: {hit.words}")
    limit = settings.max_error_share.get(parse.language, 1.0)
    if parse.error_share is not None and parse.error_share > limit:
        return Rejected("syntax_error", f"{parse.error_share:.3f} of the bytes, limit {limit:g}")
    return None


def too_poor(score: float, settings: Screen) -> Rejected | None:
    """Why a file with this score may not stay, if so."""
    if score >= settings.min_score:
        return None
    return Rejected("low_quality", f"score {score:.3f}, at least {settings.min_score:g} is asked for")


def screen(
    row: dict[str, Any], verdicts: dict[str, Rejected | None]
) -> tuple[dict[str, Any] | None, list[RejectRow]]:
    """One document without its rejected files, None if nothing is left; and the rows of rejects."""
    why = {path: verdict for path, verdict in verdicts.items() if verdict is not None}
    if not why:
        return row, []
    text, files = cut(row["text"], row["files"], why)
    if not any(part.strip() for part in texts_of(text, files)):
        why |= {span["path"]: Rejected("empty", "the rest of its document was rejected") for span in files}
        text, files = "", []
    sizes = {
        span["path"]: len(part.encode())
        for span, part in zip(row["files"], texts_of(row["text"], row["files"]), strict=True)
    }
    rejects: list[RejectRow] = [
        (f"{row['repo']}:{path}", verdict.reason, verdict.detail, 1, sizes[path])
        for path, verdict in why.items()
    ]
    clean = row | {"text": text, "files": files, "bytes": len(text.encode())}
    return (clean if files else None), rejects


def cut(text: str, files: Sequence[Span], drop: Collection[str]) -> tuple[str, list[Span]]:
    """A document without the files in ``drop``: each goes with the comment above it and its last line end."""
    pieces: list[str] = []
    spans: list[Span] = []
    length = begin = 0
    for file in files:
        end = min(file["end"] + 1, len(text))
        if file["path"] not in drop:
            pieces.append(text[begin:end])
            moved = length - begin
            spans.append({**file, "start": file["start"] + moved, "end": file["end"] + moved})
            length += end - begin
        begin = end
    return "".join(pieces), spans


def texts_of(text: str, files: Sequence[Span]) -> Iterator[str]:
    """The files' own texts."""
    return (text[file["start"] : file["end"]] for file in files)


@lru_cache(maxsize=1)
def scorer_of(path: Path, digest: str) -> quality.Scorer:
    """The scorer of that digest, read once in every process."""
    table = corpus.read(path, "scorer")
    return quality.Scorer.of_packed(np.load(table.file(table.shards()[0])))


@lru_cache(maxsize=1)
def index_of(problems: Path, digest: str, ngram: int, shortest: int, allow: tuple[str, ...]) -> Index:
    """All that the problems protect: their text, and their reference as a string of its own.

    Kept for the shards that the same process screens next; ``digest`` tells one table from another.
    """
    rows = corpus.read(problems, "problems").scan().select("suite", "problem", "text", "reference").collect()
    protected = [
        Protected(f"{suite}/{problem}", string)
        for suite, problem, *strings in rows.iter_rows()
        for string in strings
        if string
    ]
    return Index(protected, ngram=ngram, shortest=shortest, allow=allow)


def _parses(found: Table, unit: str) -> dict[tuple[str, str], Parse]:
    """What was parsed in the shard of the same name, which holds the same repos."""
    twins = [found.frame(shard) for shard in found.shards() if Path(shard.name).stem == unit]
    columns = pl.concat(twins) if twins else found.scan().collect()
    rows = columns.select("repo", "path", "language", "error_share").iter_rows()
    return {(repo, path): Parse(*parse) for repo, path, *parse in rows}


def _parse_of(parses: dict[tuple[str, str], Parse], repo: str, path: str) -> Parse:
    if (repo, path) not in parses:
        raise Refusal(
            f"{repo}:{path} was not parsed: give the table that `crawl parse` made of the same files."
        )
    return parses[repo, path]


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMAS["corpus"])
