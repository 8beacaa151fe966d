"""From a token back to the file it came from: row, span, characters of a document, then repo and path.

A span says which characters of a document its tokens are.  How many bytes each token stands for is kept
with the rows, so the tokenizer is not needed: byte after byte, the arranged text (prefix, suffix,
middle) is walked along, and each byte is carried back to where it stood in the document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

import corpus
from corpus import Refusal


@dataclass(frozen=True)
class Origin:
    """Tokens ``start`` to ``end`` of a row and where their text stands.

    ``path`` is None for what is no file's own text: special tokens, padding, and what joins files in
    a document.  ``first`` and ``last`` count characters, of the file where there is a path, else of the
    document; both are None for tokens without text.
    """

    start: int
    end: int
    mode: str
    document: str | None
    repo: str | None
    revision: str | None
    path: str | None
    first: int | None
    last: int | None


def origins(tokens: corpus.Table, documents: corpus.Table, split: str, sequence: int) -> list[Origin]:
    """One origin per token of a row, in order.

    Args:
        tokens: The ``tokens`` table.
        documents: The ``corpus`` table that it was packed from; another one is refused.
        split: "train" or "valid".
    """
    if documents.digest not in {source["digest"] for source in tokens.manifest["inputs"]}:
        raise Refusal(f"{tokens.path} was not packed from {documents.path}: give the corpus that it was.")
    row = _row(tokens, split, sequence)
    lengths = np.load(tokens.file(tokens.shards("vocabulary")[0]))
    spans = tokens.scan("spans").filter(split=split, sequence=sequence).sort("start").collect().to_dicts()
    wanted = documents.scan().filter(pl.col("id").is_in([span["document"] for span in spans]))
    by_id = {document["id"]: document for document in wanted.collect().iter_rows(named=True)}
    found: list[Origin] = []
    for span in spans:
        widths = lengths[row[span["start"] : span["end"]]].tolist()
        found += _of_span(span, by_id[span["document"]], widths)
    nothing = (None,) * 6
    found += [Origin(at, at + 1, "pad", *nothing) for at in range(len(found), len(row))]
    return found


def at(found: list[Origin], position: int) -> list[Origin]:
    """The origin of one token; refuses a position beyond the row."""
    if not 0 <= position < len(found):
        raise Refusal(f"position {position} is not in the row: it has tokens 0 to {len(found) - 1}.")
    return [found[position]]


def runs(found: list[Origin]) -> Iterator[Origin]:
    """Neighbouring tokens of one file, joined as long as their characters follow one another."""
    before: Origin | None = None
    for origin in found:
        if before is not None and _follows(before, origin):
            before = replace(before, end=origin.end, last=origin.last)
            continue
        if before is not None:
            yield before
        before = origin
    if before is not None:
        yield before


def line(origin: Origin) -> str:
    """An origin for people: tokens, mode, repo@revision, path, characters; tabs between."""
    where = "-" if origin.first is None else f"{origin.first}-{origin.last}"
    source = f"{origin.repo}@{origin.revision}" if origin.repo else "-"
    return "\t".join((f"{origin.start}-{origin.end}", origin.mode, source, origin.path or "-", where))


def _row(tokens: corpus.Table, split: str, sequence: int) -> np.ndarray:
    first = 0
    for shard in tokens.shards():
        if not shard.name.startswith(f"{split}-"):
            continue
        if first <= sequence < first + shard.rows:
            row: np.ndarray = np.load(tokens.file(shard), mmap_mode="r")[sequence - first]
            return row
        first += shard.rows
    raise Refusal(f"{tokens.path} has {first} rows in {split}, numbered from 0: there is no {sequence}.")


def _of_span(span: Mapping[str, Any], document: Mapping[str, Any], widths: list[int]) -> Iterator[Origin]:
    text: str = document["text"]
    characters = _characters(text, span)
    byte = 0
    for at, width in enumerate(widths, span["start"]):
        here = characters[byte : byte + width]
        byte += width
        path, first, last = (
            _file_of(document["files"], int(here.min()), int(here.max()) + 1) if width else (None,) * 3
        )
        yield Origin(
            at,
            at + 1,
            span["mode"],
            document["id"],
            document["repo"],
            document["revision"],
            path,
            first,
            last,
        )
    assert byte == len(characters), f"{document['id']}: tokens and text differ"


def _characters(text: str, span: Mapping[str, Any]) -> np.ndarray:
    """For each byte of the span's text, in the order of its tokens, its character in the document."""
    start, end, cut, hole = (span[name] for name in ("text_start", "text_end", "cut", "hole"))
    prefix, middle, suffix = (start, cut), (cut, hole), (hole, end)
    arranged = {
        "text": [(start, end)],
        "psm": [prefix, suffix, middle],
        "spm": [suffix, prefix, middle],
    }[span["mode"]]
    places = [np.arange(low, high) for low, high in arranged]
    widths = [[len(character.encode()) for character in text[low:high]] for low, high in arranged]
    return np.repeat(np.concatenate(places), np.concatenate([np.array(w, np.int64) for w in widths]))


def _file_of(files: list[dict[str, Any]], first: int, last: int) -> tuple[str | None, int, int]:
    """The file whose text holds the token's first character, and the token's characters in it."""
    for file in files:
        if file["start"] <= first < file["end"]:
            return file["path"], first - file["start"], min(last, file["end"]) - file["start"]
    return None, first, last


def _follows(before: Origin, after: Origin) -> bool:
    same = (before.mode, before.document, before.path) == (after.mode, after.document, after.path)
    if before.first is None or after.first is None:
        return same and before.first is after.first
    # The bytes of one character may be several tokens.
    return same and before.last is not None and before.first <= after.first <= before.last
