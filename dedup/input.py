"""Where rows come from: whatever the source, it is read as parquet, in units of bounded size.

A unit is the part of a source that one worker takes at a time, and one shard of the output.  Rows are
numbered through all units, so a number below stands for a row everywhere in ``dedup``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import corpus
from corpus import Refusal
from dedup import convert
from dedup.config import Scan

UNIT_BYTES = 64 << 20
"""Row groups of foreign files are taken together up to this size (as parquet counts it, decompressed)."""

BATCH_BYTES = 16 << 20
"""Rows are read in batches of about this size, however large the row groups are…"""

BATCH_ROWS = 1 << 16
"""…and of at most so many rows."""

TEXT = ("text", "content", "code")
ID = ("id", "hexsha", "blob_id")
REPO = ("repo", "repo_name", "repository_name", "max_stars_repo_name")
LANGUAGE = ("language", "lang")


@dataclass(frozen=True)
class Columns:
    """Which column holds what; "" where there is none."""

    text: str
    id: str = ""
    repo: str = ""
    language: str = ""
    level: str = ""
    files: str = ""


@dataclass(frozen=True)
class Unit:
    """Some row groups of a parquet file."""

    name: str
    path: Path
    groups: tuple[int, ...]
    base: int
    """Number of its first row."""
    rows: int
    first: int = 0
    """Number of its first row within its file."""
    batch: int = 0
    """Which scan of an index brought it; 0 without an index."""
    stored: str = ""
    """What its sketches are filed under; its name if not given."""
    columns: Columns | None = None
    """Where its columns have names of their own."""

    @property
    def sketched(self) -> str:
        """Name of the files that hold its sketches."""
        return f"{self.stored or self.name}.parquet"


@dataclass(frozen=True)
class Source:
    """All rows that are compared, in a fixed order."""

    units: tuple[Unit, ...]
    columns: Columns
    schema: pa.Schema

    @property
    def rows(self) -> int:
        return sum(unit.rows for unit in self.units)

    def unit(self, name: str) -> Unit:
        return next(unit for unit in self.units if unit.name == name)

    def groups(self, unit: Unit, columns: Iterable[str]) -> Iterator[tuple[int, pa.Table]]:
        """Batches of a unit's rows, each with the number of its first row within the unit."""
        with pq.ParquetFile(unit.path) as file:
            at = 0
            for group in unit.groups:
                about = file.metadata.row_group(group)
                size = max(1, about.num_rows * BATCH_BYTES // max(1, about.total_byte_size))
                size = min(size, BATCH_ROWS)
                try:
                    for batch in file.iter_batches(
                        size, row_groups=[group], columns=list(columns), use_threads=False
                    ):
                        yield at, pa.Table.from_batches([batch])
                        at += batch.num_rows
                except (pa.ArrowException, OSError) as error:
                    raise _damaged(unit.path, error) from None


@dataclass(frozen=True)
class Request:
    """What was asked for, before anything of it is read."""

    paths: tuple[Path, ...]
    tables: tuple[corpus.Table, ...]
    pins: dict[str, str]

    @property
    def table(self) -> str:
        """Name of the table that is written: that of the sources if they are tables of one kind."""
        kinds = {str(table.manifest["table"]).split("/")[0] for table in self.tables}
        return kinds.pop() if len(kinds) == 1 and not self.pins else "unique"


def request(paths: Iterable[Path]) -> Request:
    """Tell finished tables from other sources."""
    given = tuple(paths)
    sealed = [(path / "manifest.json").exists() or (path / corpus.LOCK).exists() for path in given]
    tables = tuple(corpus.read(path) for path, is_table in zip(given, sealed, strict=True) if is_table)
    others = [path for path, is_table in zip(given, sealed, strict=True) if not is_table]
    return Request(given, tables, {f"source {i}": _pin(path) for i, path in enumerate(others)})


def open_source(asked: Request, settings: Scan, work: Path) -> Source:
    """Find the rows and the columns of a request.

    Args:
        settings: Names of columns.
        work: Where files that are not parquet are converted to.
    """
    tables = {table.path: table for table in asked.tables}
    units: list[Unit] = []
    for number, path in enumerate(asked.paths):
        if path in tables:
            shards = tables[path].shards()
            units += [_whole(Path(shard.name).stem, tables[path].file(shard)) for shard in shards]
        else:
            for name, file in convert.parquet_files(path, work / f"source-{number}"):
                units.extend(_parts(name, file))
    if not units:
        raise Refusal(
            "there are no rows to compare: give a finished table, parquet, jsonl or a folder of code."
        )
    schema = _one_schema(units)
    return Source(tuple(_numbered(units)), columns_of(schema, settings, units[0].path), schema)


def columns_of(schema: pa.Schema, settings: Scan, where: Path) -> Columns:
    """Which of the columns of ``schema`` hold what; refuses names that are not there."""

    def find(option: str, given: str, usual: tuple[str, ...]) -> str:
        if given and given not in schema.names:
            raise Refusal(f"{where} has no column {given}: give --{option} one of {', '.join(schema.names)}.")
        return given or next((name for name in usual if name in schema.names), "")

    text = find("text", settings.text, TEXT)
    if not text:
        raise Refusal(f"{where} has no column {', '.join(TEXT)}: name the text with --text.")
    if not _is_text(schema.field(text).type):
        raise Refusal(f"{where}: column {text} holds {schema.field(text).type}: name the text with --text.")
    spans = schema.field("files").type if "files" in schema.names else None
    has_spans = (
        spans is not None
        and (pa.types.is_list(spans) or pa.types.is_large_list(spans))
        and pa.types.is_struct(spans.value_type)
        and {"start", "end"} <= {field.name for field in spans.value_type}
    )
    return Columns(
        text,
        find("id", settings.id, ID),
        find("repo", settings.repo, REPO),
        find("language", settings.language, LANGUAGE),
        "level" if "level" in schema.names and _is_text(schema.field("level").type) else "",
        "files" if has_spans else "",
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def metadata_of(path: Path) -> pq.FileMetaData:
    """The footer of a parquet file; refuses one that is none, or cut off."""
    try:
        return pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> Refusal:
    what = str(error).split(". ")[0].splitlines()[0]
    return Refusal(f"{path} is damaged or not parquet ({what}): replace it or leave it out.")


def _whole(name: str, path: Path) -> Unit:
    about = metadata_of(path)
    return Unit(name, path, tuple(range(about.num_row_groups)), 0, about.num_rows)


def _parts(name: str, path: Path) -> Iterator[Unit]:
    about = metadata_of(path)
    groups: list[int] = []
    size = rows = first = count = 0
    for group in range(about.num_row_groups):
        more = about.row_group(group)
        if groups and size + more.total_byte_size > UNIT_BYTES:
            yield Unit(f"{name}-{count:05d}", path, tuple(groups), 0, rows, first)
            first, count, size, rows, groups = first + rows, count + 1, 0, 0, []
        groups, size, rows = [*groups, group], size + more.total_byte_size, rows + more.num_rows
    yield Unit(f"{name}-{count:05d}" if count else name, path, tuple(groups), 0, rows, first)


def _numbered(units: list[Unit]) -> Iterator[Unit]:
    """Units in order of name, rows numbered through; equal names of different files get a number."""
    base, seen = 0, dict.fromkeys([unit.name for unit in units], 0)
    for unit in sorted(units, key=lambda unit: (unit.name, str(unit.path))):
        seen[unit.name] += 1
        name = unit.name if seen[unit.name] == 1 else f"{unit.name}~{seen[unit.name]}"
        yield replace(unit, name=name, base=base)
        base += unit.rows


def _one_schema(units: list[Unit]) -> pa.Schema:
    first: pa.Schema | None = None
    for path in dict.fromkeys(unit.path for unit in units):
        schema = metadata_of(path).schema.to_arrow_schema()
        if first is None:
            first, where = schema, path
        elif not schema.equals(first):
            odd = next(
                (f"column {field.name}" for field in schema if field not in first),
                f"columns {', '.join(schema.names)}",
            )
            raise Refusal(f"{path} differs from {where} in {odd}: make their columns and types the same.")
    assert first is not None
    return first


def _pin(path: Path) -> str:
    """Changes when a file below ``path`` does: by name, size and time of change."""
    if not path.exists():
        raise Refusal(f"{path} does not exist: give a finished table, parquet, jsonl or a folder of code.")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    facts = [(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()
