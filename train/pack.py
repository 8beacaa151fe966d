"""The corpus as rows of tokens: tokenise shard by shard, plan from the lengths, write rows and spans.

A row is ``length + 1`` tokens: inputs are all but its last token, labels all but its first.  What no
piece fills is padding.  For each piece in a row, ``spans`` says which characters of which document it
is, so any token can be traced (``train.trace``).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tokenizers import Tokenizer

import corpus
import passes
from corpus import Refusal
from schemas import SCHEMAS
from train import fim, pieces, tokenizer
from train.config import Pack
from train.filling import Texts
from train.placement import candidates, hold_out, plan

log = logging.getLogger(__name__)

SEQUENCES_PER_SHARD = 8192
"""At 4,096 tokens of two bytes a shard is 64 MiB."""

SHORTEST = 63
"""In shorter rows the special tokens of a piece would outweigh its text."""

PIECES = {
    "shard": pl.String,
    "document": pl.String,
    "repo": pl.String,
    "language": pl.String,
    "number": pl.Int64,
    "text_start": pl.Int64,
    "text_end": pl.Int64,
    "mode": pl.String,
    "cut": pl.Int64,
    "hole": pl.Int64,
    "node": pl.Boolean,
    "offset": pl.Int64,
    "tokens": pl.Int64,
}
"""The intermediate table: a piece's tokens are ``tokens`` many from ``offset`` in the array of its shard."""


def with_nodes(path: Path | None) -> corpus.Table:
    """The ``parsed`` table at ``path``; refuses one that keeps no nodes."""
    if path is None:
        raise Refusal("fim_cuts is node: give --parsed, the table that `crawl parse` wrote.")
    table = corpus.read(path, "parsed")
    if not table.manifest["settings"].get("nodes"):
        raise Refusal(f"{path} keeps no nodes: set nodes in [crawl.parse] (64, say) and make it again.")
    return table


def write(
    out: corpus.Output, inputs: Sequence[corpus.Table], settings: Pack, workers: int = 0
) -> corpus.Table:
    """Fill and seal the ``tokens`` table; a killed run takes up tokenising at the next corpus shard.

    Args:
        inputs: The ``corpus`` and the ``tokenizer`` tables and, for cuts around nodes, the ``parsed`` one.
    """
    src, words = inputs[:2]
    if settings.length < SHORTEST:
        raise Refusal(f"--length {settings.length} is too short: give at least {SHORTEST}.")
    if settings.window < 1:
        raise Refusal(f"--window is {settings.window}: give at least 1.")
    if not 0 <= settings.fill <= 1:
        raise Refusal(f"--fill is {settings.fill}: give a share from 0 to 1.")
    sizes = src.scan().select("id", "repo", "bytes", "language").collect()
    held_out = hold_out(sorted(sizes["repo"].unique()), settings)
    wanted = candidates(sizes.filter(_of_kind(settings)), held_out, settings)
    cut = _tokenised(out, inputs, settings, wanted, workers)
    rows = cut.scan("pieces").collect()
    loaded = tokenizer.load(words.path)
    arrays = {Path(shard.name).stem: np.load(cut.file(shard), mmap_mode="r") for shard in cut.shards()}
    texts = Texts(arrays, *tokenizer.characters(loaded))
    placed = plan(rows, held_out, settings, texts)
    if placed.filter(split="train").is_empty():
        raise Refusal(
            f"no document of {src.path} is left to train on: look at kind, max_tokens and min_tokens."
        )
    lengths = tokenizer.byte_lengths(loaded)
    write_rows(out, arrays, placed, settings.length, loaded)
    rejected = _rejects(out, cut, src, placed, settings)
    documents = placed["document"].n_unique()
    contents = {"rejects": rejected, "vocabulary": lengths}
    out.write("documents", contents, came_in=sizes.height, went_out=documents)
    table = out.seal(**facts(placed, settings))
    shutil.rmtree(cut.path)  # only now: a run killed in here has its result, or all it needs to go on
    return table


def facts(placed: pl.DataFrame, settings: Pack) -> dict[str, Any]:
    """What the manifest tells about the rows: sizes, fill, FIM and languages."""
    told: dict[str, Any] = {"length": settings.length}
    for split in ("train", "valid"):
        part = placed.filter(split=split)
        sequences = part["sequence"].n_unique()
        tokens = int(part["tokens"].sum())
        told[split] = {
            "sequences": sequences,
            "tokens": tokens,
            "documents": part["document"].n_unique(),
            "split_documents": part.group_by("document").len().filter(pl.col("len") > 1).height,
            "fill": round(tokens / max(1, sequences * (settings.length + 1)), 5),
            "fim_share": round(part.filter(pl.col("mode") != "text")["tokens"].sum() / max(1, tokens), 4),
            "node_share": round(part.filter("node")["tokens"].sum() / max(1, tokens), 4),
        }
    languages = placed.group_by("language").agg(pl.col("tokens").sum(), pl.col("document").n_unique())
    ranked = languages.sort(["tokens", "language"], descending=[True, False]).iter_rows()
    told["languages"] = {name: {"tokens": n, "documents": documents} for name, n, documents in ranked}
    return told


# ------------------------------------------------------------------------------------ tokenising


def _tokenised(
    out: corpus.Output,
    inputs: Sequence[corpus.Table],
    settings: Pack,
    wanted: frozenset[str],
    workers: int,
) -> corpus.Table:
    """The pieces of all documents, in a table below ``out`` that goes when the rows are written."""
    opened = corpus.building(
        out.path / "pieces", "pieces", made_by=out.made_by, settings=settings, inputs=inputs
    )
    with opened as aside:
        if isinstance(aside, corpus.Table):
            return aside
        units = aside.left(sorted(Path(shard.name).stem for shard in inputs[0].shards()))
        work = partial(_tokenise, aside, inputs, settings, wanted)
        passes.each(work, units, label="tokenise", workers=workers)
        return aside.seal()


def _tokenise(
    out: corpus.Output,
    inputs: Sequence[corpus.Table],
    settings: Pack,
    wanted: frozenset[str],
    unit: str,
) -> None:
    """One shard of the corpus as an array of tokens and a row per piece."""
    src, words = inputs[:2]
    encoder = pieces.Encoder.of(tokenizer.load(words.path))
    found = _Nodes(inputs[2] if len(inputs) > 2 else None)
    rows: list[tuple[Any, ...]] = []
    dropped: list[tuple[str, str, str | None, int, int]] = []
    tokens: list[np.ndarray] = [np.zeros(0, np.uint32)]
    offset = documents = 0
    for document in _documents(src, unit):
        if document["id"] not in wanted:
            continue
        documents += 1
        key, text, language = document["id"], document["text"], document["language"]
        nodes = found.of(document)
        made = list(pieces.cut(key, text, fim.is_code(language), encoder, settings, nodes))
        if sum(len(piece.tokens) for piece in made) < settings.min_tokens:
            dropped.append((key, "too_short", None, len(document["files"]), document["bytes"]))
            continue
        for number, (*where, ids) in enumerate(made):
            whole = tuple(where[-2:]) in nodes
            rows.append((unit, key, document["repo"], language, number, *where, whole, offset, len(ids)))
            tokens.append(np.array(ids, np.uint32))
            offset += len(ids)
    contents = {
        "": np.concatenate(tokens),
        "pieces": pl.DataFrame(rows, schema=PIECES, orient="row"),
        "rejects": corpus.rejects(dropped, out.made_by),
    }
    out.write(unit, contents, came_in=documents, went_out=documents - len(dropped))


class _Nodes:
    """Where nodes of the syntax tree stand in documents, read repo by repo."""

    def __init__(self, parsed: corpus.Table | None) -> None:
        self._parsed, self._repo = parsed, ""
        self._files: dict[str, list[int]] = {}

    def of(self, document: Mapping[str, Any]) -> list[tuple[int, int]]:
        if self._parsed is None:
            return []
        if document["repo"] != self._repo:
            self._repo = document["repo"]
            rows = self._parsed.scan().filter(repo=self._repo).select("path", "nodes").collect()
            self._files = dict(rows.iter_rows())
        return [
            (file["start"] + low, file["start"] + high)
            for file in document["files"]
            for low, high in _pairs(self._files.get(file["path"], []))
            if file["start"] + high <= file["end"]
        ]


def _pairs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    return zip(numbers[::2], numbers[1::2], strict=True)


def _documents(src: corpus.Table, unit: str) -> Iterator[dict[str, Any]]:
    shard = next(shard for shard in src.shards() if Path(shard.name).stem == unit)
    for batch in src.batches(shard, ["id", "repo", "language", "text", "files", "bytes"]):
        yield from batch.to_pylist()


# --------------------------------------------------------------------------------------- writing


def write_rows(
    out: corpus.Output,
    arrays: Mapping[str, np.ndarray],
    placed: pl.DataFrame,
    length: int,
    words: Tokenizer,
    answers: Mapping[str, np.ndarray] | None = None,
) -> None:
    """The rows and their spans, a shard at a time.

    Args:
        arrays: (tokens,) ids by the name that ``placed`` has in ``shard``.
        placed: Pieces with their place, as ``placement.plan`` gives them.
        answers: Which of these tokens are predicted; without, all are.
    """
    kind = np.uint16 if words.get_vocab_size() <= 1 << 16 else np.uint32
    padding, bos = (tokenizer.special(words, name) for name in (tokenizer.PAD, tokenizer.BOS))
    numbered = placed.with_columns(number=pl.col("sequence") // SEQUENCES_PER_SHARD)
    for (split, number), part in numbered.group_by("split", "number", maintain_order=True):
        assert isinstance(number, int)
        unit = f"{split}-{number:05d}"
        if not out.left([unit]):
            continue
        first = number * SEQUENCES_PER_SHARD
        spans = part.with_columns(end=(pl.col("start") + pl.col("tokens")).cast(pl.Int32))
        contents: dict[str, corpus.Content] = {
            "": _filled(arrays, part, first, length, (padding, bos), kind),
            "spans": spans.select(SCHEMAS["spans"].names),
        }
        if answers is not None:
            contents["answers"] = _filled(answers, part, first, length, (0, 0), np.bool_)
        out.write(unit, contents, went_out=0)


def _filled(
    arrays: Mapping[str, np.ndarray],
    placed: pl.DataFrame,
    first: int,
    length: int,
    added: tuple[int, int],
    kind: type[np.generic],
) -> np.ndarray:
    """(rows, length + 1) with every piece in its place; the first row is number ``first``.

    Args:
        added: What stands where no piece does, and what before a part that begins anew.
    """
    padding, opening = added
    rows = np.full((placed["sequence"].n_unique(), length + 1), padding, kind)
    wanted = placed.select("shard", "sequence", "start", "offset", "tokens", "again").iter_rows()
    for shard, sequence, start, offset, count, again in wanted:
        row = rows[sequence - first, start : start + count]
        row[again:] = arrays[shard][offset : offset + count - again]
        row[:again] = opening
    return rows


def _of_kind(settings: Pack) -> pl.Expr:
    """Whether a document is of the kind that is packed."""
    prose = pl.col("language").is_in(sorted(fim.NOT_CODE))
    return {"all": pl.lit(True), "code": ~prose, "prose": prose}[settings.kind]


def _rejects(
    out: corpus.Output, cut: corpus.Table, src: corpus.Table, placed: pl.DataFrame, settings: Pack
) -> Any:
    """A row for each document that is in no row of tokens."""
    short = cut.scan("rejects").select("key", "reason", "detail", "files", "bytes").collect()
    accounted = pl.concat([placed["document"], short["key"].cast(pl.String)]).unique()
    rest = src.scan().filter(~pl.col("id").is_in(accounted.implode()))
    reason = pl.when(_of_kind(settings)).then(pl.lit("token_budget")).otherwise(pl.lit("other_kind"))
    rest = rest.select(
        "id",
        reason.alias("reason"),
        pl.lit(None, pl.String).alias("detail"),
        pl.col("files").list.len().cast(pl.Int64),
        "bytes",
    )
    rows = [*short.iter_rows(), *rest.collect().iter_rows()]
    return corpus.rejects(rows, out.made_by)
