"""How rows become one parquet shard: checked against their schema, in row groups of bounded bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_BYTES = 64 << 20
"""Row groups are cut by bytes: whole repositories in one row group overflowed the 2 GB offsets of
other corpora (stack-v3-train, discussion 1)."""

LONG = 1024
"""Bytes a value, on average, above which a column holds texts and not names."""


def conform(rows: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """``rows`` with exactly the columns and types of ``schema``; a wrong column is a bug of the caller."""
    missing = set(schema.names) ^ set(rows.column_names)
    assert not missing, f"{where}: columns differ from the schema: {sorted(missing)}"
    for field in schema:
        assert field.nullable or rows[field.name].null_count == 0, f"{where}: null in column {field.name}"
    return rows.select(schema.names).cast(schema)


def write_parquet(path: Path, rows: pa.Table) -> None:
    """zstd parquet whose row groups stay under ``ROW_GROUP_BYTES`` of data (or hold a single row)."""
    with pq.ParquetWriter(path, rows.schema, compression="zstd", **encodings(rows)) as writer:
        for group in _groups(rows):
            writer.write_table(group)


def encodings(rows: pa.Table) -> dict[str, Any]:
    """Options of a parquet writer: long values are neither put into a dictionary nor ranked as least and
    greatest, for both copy them, and a value may be a text of a gigabyte."""
    if any(pa.types.is_nested(kind) for kind in rows.schema.types):
        return {}  # columns inside of others are not told apart here
    short = [name for name in rows.column_names if rows[name].nbytes <= LONG * max(1, rows.num_rows)]
    return {"use_dictionary": short or False, "write_statistics": short or False}


def _groups(rows: pa.Table) -> Iterator[pa.Table]:
    start = 0
    while start < rows.num_rows or start == 0:
        length = rows.num_rows - start
        while length > 1 and rows.slice(start, length).nbytes > ROW_GROUP_BYTES:
            length = (length + 1) // 2
        yield rows.slice(start, length)
        start += max(length, 1)
