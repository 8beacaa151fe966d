"""Rows without their repeats: spans are cut out of the text, and where its files lie is moved along."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dedup.input import Columns

Ints = NDArray[np.int64]


class Cuts(NamedTuple):
    """What is cut out of a text, in characters, in order and apart from each other."""

    starts: Ints
    ends: Ints

    @staticmethod
    def of(starts: Ints, ends: Ints) -> Cuts:
        """The union of spans that are in order of their starts and of their ends."""
        apart = np.ones(len(starts) + 1, np.bool_)
        apart[1:-1] = starts[1:] > ends[:-1]
        return Cuts(starts[apart[:-1]], ends[apart[1:]])

    def out_of(self, text: str, placeholder: str) -> str:
        """The text with ``placeholder`` where the cuts were."""
        kept = zip([0, *self.ends.tolist()], [*self.starts.tolist(), len(text)], strict=True)
        return placeholder.join(text[start:end] for start, end in kept)

    def moved(self, position: int, width: int) -> int:
        """Where a position that is in no cut went; each cut left ``width`` characters."""
        before = int(np.searchsorted(self.ends, position, side="right"))
        return position - int((self.ends[:before] - self.starts[:before]).sum()) + width * before


def without(table: pa.Table, columns: Columns, cuts: dict[int, Cuts], placeholder: str) -> pa.Table:
    """The rows of ``table`` with the cuts made, by number of the row.

    All other columns stay as they are, but for the ``bytes`` of documents, which are those of the text.
    """
    if not cuts:
        return table
    texts = table[columns.text].to_pylist()
    for row, cut in cuts.items():
        texts[row] = cut.out_of(texts[row], placeholder)
    table = _replaced(table, columns.text, texts)
    if columns.files:
        files = table[columns.files].to_pylist()
        for row, cut in cuts.items():
            files[row] = [_moved(file, cut, len(placeholder)) for file in files[row]]
        table = _replaced(table, columns.files, files)
        if "bytes" in table.schema.names:
            table = _replaced(table, "bytes", [len(text.encode()) for text in texts])
    return table


def _moved(file: dict[str, Any], cut: Cuts, width: int) -> dict[str, Any]:
    return file | {name: cut.moved(file[name], width) for name in ("start", "end")}


def _replaced(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    at, field = table.schema.get_field_index(name), table.schema.field(name)
    return table.set_column(at, field, pa.array(values, field.type))
