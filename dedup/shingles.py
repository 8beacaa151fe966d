"""What is compared: the words of a row's text, without path comments and licence headers.

A row is one text, or, where a ``files`` column gives spans, several: then its shingles are those of its
files, so the order of the files, their paths and the seams between them do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus import Refusal
from dedup import kernel
from dedup.input import Columns

Ints = NDArray[np.int64]


class How(NamedTuple):
    """What makes a shingle."""

    ngram: int
    licence_headers: bool

    def columns(self, columns: Columns) -> Iterator[str]:
        """The columns that are read for it."""
        yield columns.text
        if columns.files:
            yield columns.files


class Texts(NamedTuple):
    """The texts of some rows: row i has the segments ``rows[i]:rows[i + 1]``, bytes start:end of ``data``."""

    data: NDArray[np.uint8]
    offsets: Ints
    """Where each row's text starts in ``data``, and the end of the last."""
    starts: Ints
    ends: Ints
    rows: Ints


def texts_of(table: pa.Table, columns: Columns, how: How) -> Texts:
    """The segments of every row of ``table`` that count for similarity."""
    data, offsets = buffers(table[columns.text])
    starts, ends, rows = offsets[:-1].copy(), offsets[1:].copy(), np.arange(len(offsets))
    if columns.files:
        starts, ends, rows = _spans(table[columns.text], table[columns.files], data, offsets)
    if not how.licence_headers:
        kernel.behead(data, starts, ends)
    return Texts(data, offsets, starts, ends, rows)


def buffers(column: pa.ChunkedArray) -> tuple[NDArray[np.uint8], Ints]:
    """The bytes of a text column without a copy, and the n + 1 offsets of its rows."""
    if len(column) == 0:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    text = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if not (pa.types.is_string(text.type) or pa.types.is_large_string(text.type)):
        text = text.cast(pa.large_string())
    _, offsets, data = text.buffers()
    width = np.int32 if pa.types.is_string(text.type) else np.int64
    places = np.frombuffer(offsets, width)[text.offset : text.offset + len(text) + 1].astype(np.int64)
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), places


def _spans(
    text: pa.ChunkedArray, files: pa.ChunkedArray, data: NDArray[np.uint8], offsets: Ints
) -> tuple[Ints, Ints, Ints]:
    """Segments from the spans of ``files``, which count characters, in bytes of ``data``."""
    lists = files.combine_chunks()
    spans = lists.flatten()
    counts = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.concatenate([[0], np.cumsum(counts)])
    owner = np.repeat(np.arange(len(counts)), counts)
    starts = pc.struct_field(spans, "start").to_numpy(zero_copy_only=False).astype(np.int64)
    ends = pc.struct_field(spans, "end").to_numpy(zero_copy_only=False).astype(np.int64)
    characters = pc.utf8_length(text).to_numpy().astype(np.int64)
    if ((starts < 0) | (starts > ends) | (ends > characters[owner])).any():
        raise Refusal("column files has spans that leave their text: they count characters; mend them.")
    for row in np.flatnonzero(characters != np.diff(offsets)):  # not ASCII: count the leading bytes
        body = data[offsets[row] : offsets[row + 1]]
        place = np.append(np.flatnonzero((body & 0xC0) != 0x80), len(body))
        mine = slice(int(rows[row]), int(rows[row + 1]))
        starts[mine], ends[mine] = place[starts[mine]], place[ends[mine]]
    return starts + offsets[owner], ends + offsets[owner], rows
