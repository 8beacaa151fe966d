"""The index: what earlier scans saw, so that a new crawl is compared with it and not only with itself.

    INDEX/index.json       settings and batches, one a scan: written last, so whatever it names is whole
    INDEX/signatures.u8    256 bytes a row, through all batches
    INDEX/rows repos texts one file for each unit of each batch
    INDEX/fates            what had become of every row by the end of each batch
    INDEX/forgotten.parquet  rows that count no longer
    INDEX/wiping           there while something of their texts may be left

Row numbers run through all batches and never change.  The texts are kept (compressed), because a pair in
doubt is compared exactly, and the crawl it came from may be gone.  Files that ``index.json`` does not name
are those of a scan that was killed: the same scan takes them up, another one clears them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import corpus
import passes
from corpus import Refusal
from dedup import kernel
from dedup.config import Scan
from dedup.input import Columns, Request, Source, Unit, metadata_of

FORMAT = 1
WIPING = "wiping"
FOLDERS = ("rows", "repos", "texts", "fates")

COMPARES = (
    *("level", "threshold", "repo_threshold", "bands", "rows"),
    *("ngram", "min_shingles", "licence_headers"),
)
"""Settings in which all scans of an index agree; that they rank rows alike is seen from their terms."""

READS = ("text", "id", "repo", "priority", "reconsider")
"""Settings in which they may differ; with others, the same source is another scan."""


@dataclass(frozen=True)
class Batch:
    """What one scan added."""

    name: str
    request: str
    """Digest of what was scanned and how."""
    before: str
    """State of the index that it was compared with."""
    terms: tuple[str, ...]
    """By what its rows are ranked."""
    units: tuple[tuple[str, int], ...]
    """Name and number of rows."""
    signatures: str
    """sha256 of its part of ``signatures.u8``."""
    sizes: dict[str, int]
    """Bytes of each of its files in ``rows`` and ``fates``, which never change."""

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self.units)


@dataclass(frozen=True)
class Index:
    """An index as one scan sees it: what was there before, and the batch that the scan adds."""

    path: Path
    settings: dict[str, Any]
    batches: tuple[Batch, ...]
    request: str
    state: str
    """Digest of what the scan is compared with."""
    added: Batch | None
    """The scan's own batch, if an earlier run got as far as adding it."""

    @property
    def name(self) -> str:
        """Of the batch that is being added; other for another state, so that nothing stale is taken up."""
        key = hashlib.sha256(f"{self.request} {self.state}".encode()).hexdigest()
        return self.added.name if self.added else f"{len(self.batches) + 1:04d}-{key[:12]}"

    @property
    def fates(self) -> Path:
        """Where the scan's fates are kept."""
        return self.path / "fates" / f"{self.name}.parquet"

    def before(self) -> pl.DataFrame:
        """What had become of the rows of the index before the scan; there must be some."""
        return pl.read_parquet(self.path / "fates" / f"{self.batches[-1].name}.parquet", glob=False)

    def revised(self, fates: pl.DataFrame) -> pl.DataFrame:
        """The rows of the index that are dropped now and were not before, or the other way round."""
        ids = ids_of(self.path, units_of(self.path, self.batches))
        ids = ids.join(forgotten(self.path), on="row", how="anti")
        was = self.before() if self.batches else fates.clear()
        falls, rises = fates.join(was, on="row", how="anti"), was.join(fates, on="row", how="anti")
        turned = [
            ids.join(falls, on="row").with_columns(kept=pl.lit(False)),
            ids.join(rises.select("row"), on="row").with_columns(kept=pl.lit(True)),
        ]
        both = pl.concat(turned, how="diagonal").sort("id", "row")
        return both.select("id", "kept", "keeper", "level", "similarity", "exact")

    def joined(self, new: Source, terms: tuple[str, ...]) -> Source:
        """The rows of the index, then those of the scan, which are ranked by ``terms``."""
        ranked = self.batches[0].terms if self.batches else terms
        if ranked != terms:
            raise Refusal(
                f"{self.path} ranks rows by {', '.join(ranked)}, and this scan by {', '.join(terms)}: "
                "give the same --priority, over columns that both have."
            )
        old = list(units_of(self.path, self.batches))
        base = sum(unit.rows for unit in old)
        added = [
            replace(unit, base=base + unit.base, batch=len(self.batches), stored=f"{self.name}-{unit.name}")
            for unit in new.units
        ]
        return replace(new, units=(*old, *added))

    def add(self, source: Source, terms: tuple[str, ...], workers: int) -> None:
        """Keep the texts of the scan's rows and count them in; the sketches and fates are there already."""
        if self.added is not None:
            return
        mine = [unit for unit in source.units if unit.batch == len(self.batches)]
        keep = partial(_keep_texts, self.path, source)
        passes.each(keep, [unit.name for unit in mine], label="indexing", workers=workers)
        first, rows = mine[0].base, sum(unit.rows for unit in mine)
        files = [f"rows/{unit.sketched}" for unit in mine] + [f"fates/{self.name}.parquet"]
        batch = Batch(
            self.name,
            self.request,
            self.state,
            terms,
            tuple((unit.stored, unit.rows) for unit in mine),
            _sha256(self.path / "signatures.u8", first, rows),
            {name: (self.path / name).stat().st_size for name in files},
        )
        _save(self.path, self.settings, (*self.batches, batch))


@contextmanager
def opened(path: Path, settings: Scan, asked: Request) -> Iterator[Index]:
    """The index at ``path``, made if there is none, for one scan; refuses one of other settings."""
    path.mkdir(parents=True, exist_ok=True)
    held = {file.name for file in path.iterdir()}
    is_table = bool(held & {"manifest.json", ".plan.json"})
    if "index.json" not in held and held and (is_table or corpus.LOCK not in held):
        raise Refusal(f"{path} holds files that are not an index: give an empty or a new directory.")
    with corpus.only_writer(path):
        same = {name: asdict(settings)[name] for name in COMPARES}
        if not (path / "index.json").exists():
            _save(path, same, ())
        if (path / WIPING).exists():
            raise Refusal(f"`dedup forget` was stopped in {path}: run it again with the same ids first.")
        found, batches = load(path)
        for name in COMPARES:
            if found[name] != same[name]:
                raise Refusal(
                    f"{path} was made with {name} = {found[name]!r}, not {same[name]!r}: "
                    "give the same settings, or another index."
                )
        inputs = [table.digest for table in asked.tables] + sorted(asked.pins.values())
        reads = [asdict(settings)[name] for name in READS]
        request = hashlib.sha256(json.dumps([inputs, reads]).encode()).hexdigest()
        added = next((batch for batch in batches if batch.request == request), None)
        earlier = batches[: batches.index(added)] if added else batches
        index = Index(path, found, earlier, request, added.before if added else _state(path, batches), added)
        _clear(path, {batch.name for batch in batches} | {index.name})
        for folder in FOLDERS:
            (path / folder).mkdir(exist_ok=True)
        yield index


def texts(path: Path, ids: list[str]) -> dict[str, str]:
    """The texts of some ids, as far as the index has them."""
    _, batches = load(path)
    units = tuple(units_of(path, batches))
    rows = ids_of(path, units).filter(pl.col("id").is_in(ids)).join(forgotten(path), on="row", how="anti")
    found: dict[str, str] = {}
    for unit in units:
        mine = rows.filter(pl.col("row").is_between(unit.base, unit.base + unit.rows, closed="left"))
        if len(mine):
            column = pq.read_table(unit.path, columns=["text"])["text"]
            found |= {name: column[row - unit.base].as_py() for name, row in mine.iter_rows()}
    return found


def units_of(path: Path, batches: tuple[Batch, ...]) -> Iterator[Unit]:
    """The units of some batches, as sources of rows."""
    base = 0
    for number, batch in enumerate(batches):
        for name, rows in batch.units:
            file = path / "texts" / f"{name}.parquet"
            if not file.exists():
                raise Refusal(f"{file} is missing: the index is damaged; make it again from its sources.")
            about = metadata_of(file)
            columns = Columns("text", files="files" if "files" in about.schema.names else "")
            groups = tuple(range(about.num_row_groups))
            # No unit of a source has a name with a slash, whatever its files are called.
            yield Unit(f"index/{name}", file, groups, base, rows, batch=number, stored=name, columns=columns)
            base += rows


def ids_of(path: Path, units: Iterable[Unit]) -> pl.DataFrame:
    """The id and the number of every row."""
    frames = [
        pl.read_parquet(path / "rows" / unit.sketched, columns=["id"], glob=False).with_columns(
            row=pl.int_range(unit.base, unit.base + unit.rows, dtype=pl.Int64)
        )
        for unit in units
    ]
    return pl.concat([pl.DataFrame(schema={"id": pl.String, "row": pl.Int64}), *frames])


def _keep_texts(path: Path, source: Source, name: str) -> None:
    """Copy what is compared of one unit's rows."""
    unit, columns = source.unit(name), source.columns
    final = path / "texts" / unit.sketched
    aside = corpus.unfinished(final)
    schema = pa.schema([("text", pa.large_string())])
    if columns.files:
        schema = schema.append(pa.field("files", source.schema.field(columns.files).type))
    wanted = [columns.text, *([columns.files] if columns.files else [])]
    with pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        for _, table in source.groups(unit, wanted):
            writer.write_table(table.select(wanted).rename_columns(schema.names).cast(schema))
    aside.replace(final)


def load(path: Path) -> tuple[dict[str, Any], tuple[Batch, ...]]:
    """Settings and batches; refuses an index that is damaged."""
    try:
        stored = json.loads((path / "index.json").read_text())
        if stored["format"] != FORMAT:
            raise Refusal(f"{path} is an index of format {stored['format']}, not {FORMAT}: make a new one.")
        batches = tuple(
            Batch(**batch | {"units": tuple(map(tuple, batch["units"])), "terms": tuple(batch["terms"])})
            for batch in stored["batches"]
        )
        settings = dict(stored["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{path / 'index.json'} is damaged ({error!r}): make the index again.") from None
    first = 0
    for batch in batches:
        for name, size in batch.sizes.items():
            if not (path / name).exists() or (path / name).stat().st_size != size:
                raise Refusal(f"{path / name} is missing or changed: make the index again from its sources.")
        if _sha256(path / "signatures.u8", first, batch.rows) != batch.signatures:
            raise Refusal(f"{path / 'signatures.u8'} is missing or changed: make the index again.")
        first += batch.rows
    return settings, batches


def _save(path: Path, settings: dict[str, Any], batches: tuple[Batch, ...]) -> None:
    content = {
        "format": FORMAT,
        "fathom": corpus.VERSION,
        "settings": settings,
        "batches": [*map(asdict, batches)],
    }
    corpus.write_aside(path / "index.json", (json.dumps(content, indent=1) + "\n").encode())


def _state(path: Path, batches: tuple[Batch, ...]) -> str:
    content = json.dumps([[batch.name for batch in batches], forgotten(path)["row"].to_list()])
    return hashlib.sha256(content.encode()).hexdigest()


def forgotten(path: Path) -> pl.DataFrame:
    if not (path / "forgotten.parquet").exists():
        return pl.DataFrame(schema={"id": pl.String, "row": pl.Int64})
    return pl.read_parquet(path / "forgotten.parquet", glob=False)


def _clear(path: Path, names: set[str]) -> None:
    """Remove what killed scans of other requests left."""
    for file in path.glob(".*.part"):
        file.unlink()
    for folder in FOLDERS:
        for file in (path / folder).glob("*"):
            if not any(file.name.startswith((f"{name}-", f"{name}.")) for name in names):
                file.unlink()


def _sha256(path: Path, first: int, rows: int) -> str:
    """Of some rows' signatures; "" if they are not all there."""
    digest, left = hashlib.sha256(), rows * kernel.BINS
    if left == 0:
        return digest.hexdigest()
    if not path.exists() or path.stat().st_size < (first + rows) * kernel.BINS:
        return ""
    with path.open("rb") as file:
        file.seek(first * kernel.BINS)
        while left:
            piece = file.read(min(left, 1 << 24))
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def publish(frame: pl.DataFrame, final: Path) -> None:
    aside = corpus.unfinished(final)
    frame.write_parquet(aside)
    aside.replace(final)
