"""Sources that are not parquet become parquet beside the output, as a stream: jsonl, Arrow, folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corpus import Refusal
from dedup.config import Scan


def parquet_files(path: Path, settings: Scan, work: Path) -> Iterator[tuple[str, Path]]:
    """The parquet files that hold the rows of ``path``, each with a name for its shard."""
    if path.is_file() and path.suffix == ".parquet":
        yield path.stem, path
        return
    found = sorted(path.rglob("*.parquet"))
    if not found:
        raise Refusal(f"{path} holds no parquet files.")
    for file in found:
        yield "-".join(file.relative_to(path).with_suffix("").parts), file
