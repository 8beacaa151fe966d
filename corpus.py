"""What flows between stages: the tables, how one is written, sealed, and read back.

A table is a directory of parquet shards (or other files) and a ``manifest.json`` that is written
last.  A directory with a manifest is finished; one without is not, and nothing reads it.

Promises:

* Shards are written under another name and renamed, so a file with a final name is whole.
* The manifest records schema, settings, the digests of the inputs, the hash of every shard, and the
  counts in, out and rejected by reason.  ``digest`` depends on the content alone, not on clocks.
* A killed verb resumes at the next unit of work, provided that its settings and inputs are the same.
* Where a verb says what each unit was made from, the units that would come out the same are kept (`reuse`).
* The same rows give the same bytes, whatever the number of workers.

``docs/contract.md`` explains every column in words; a test holds the two together.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import guards
import reuse
from guards import LOCK as LOCK
from guards import only_writer as only_writer
from guards import sealed_by_a_verb as sealed_by_a_verb
from refusal import VERSION as VERSION
from refusal import Refusal as Refusal
from schemas import SCHEMA_VERSION, SCHEMAS
from shards import ROW_GROUP_BYTES as ROW_GROUP_BYTES
from shards import conform as conform
from shards import encodings as encodings
from shards import write_parquet as write_parquet

log = logging.getLogger(__name__)

MEASURED = "measured"
"""The part for seconds and bytes of memory.  It is hashed like any other but is no part of the digest, so
that two runs with the same outcome have the same digest."""


# ---------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Shard:
    """One file of a table: its name below the table, how many rows it has (0 if not counted)."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Table:
    """A finished directory.  ``part("rejects")`` and the like are its neighbouring tables."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return str(self.manifest["digest"])

    @property
    def counts(self) -> Mapping[str, Any]:
        counts: Mapping[str, Any] = self.manifest["counts"]
        return counts

    def shards(self, part: str = "") -> list[Shard]:
        """The shards of the table itself, or of one of its parts, in name order."""
        return [Shard(**shard) for shard in self.manifest["parts"].get(part, ())]

    def file(self, shard: Shard) -> Path:
        """The path of a shard after its hash was checked; refuses a file that changed since."""
        path = self.path / shard.name
        if sha256_of(path) != shard.sha256:
            raise Refusal(
                f"{path} is not the file that {self.manifest['made_by']} wrote (its hash differs "
                f"from the manifest): delete {self.path} and run again to rebuild it."
            )
        return path

    def frame(self, shard: Shard) -> pl.DataFrame:
        """One shard in memory."""
        frame = pl.from_arrow(pq.read_table(self.file(shard)))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def batches(self, shard: Shard, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """One shard as Arrow batches of bounded size, for tables larger than memory."""
        yield from pq.ParquetFile(self.file(shard)).iter_batches(batch_size=1024, columns=columns)

    def scan(self, part: str = "") -> pl.LazyFrame:
        """All shards of a part, lazily."""
        paths = [self.file(shard) for shard in self.shards(part) if shard.name.endswith(".parquet")]
        if not paths:
            schema = SCHEMAS[part or str(self.manifest["table"]).split("/")[0]]
            empty = pl.from_arrow(schema.empty_table())
            assert isinstance(empty, pl.DataFrame)
            return empty.lazy()
        return pl.scan_parquet(paths, glob=False)


def read(path: Path, table: str | None = None) -> Table:
    """The finished table at ``path``; refuses a missing, unfinished, damaged or different one.

    Args:
        path: Directory of the table.
        table: Name of the table that is wanted, a key of ``SCHEMAS`` or "tokens", "model", …
    """
    manifest_path = path / "manifest.json"
    if not path.is_dir():
        raise Refusal(f"{path} does not exist: run the verb that writes it, or `make` for all of them.")
    if not manifest_path.exists():
        raise Refusal(
            f"{path} has no manifest.json: the verb that writes it has not finished there. "
            "Run it again; it resumes."
        )
    try:
        manifest = json.loads(manifest_path.read_text())
        found = Table(path, manifest)
        sizes = [(shard, path / shard.name) for part in manifest["parts"] for shard in found.shards(part)]
        kind = manifest["table"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refusal(f"{manifest_path} is damaged ({error!r}): delete {path} and run again.") from None
    if table is not None and kind != f"{table}/{SCHEMA_VERSION}":
        raise Refusal(f"{path} holds {kind}, but {table}/{SCHEMA_VERSION} is wanted here.")
    for shard, file in sizes:
        if not file.exists() or file.stat().st_size != shard.bytes:
            raise Refusal(
                f"{file} is missing or not the size that its manifest states: "
                f"delete {path} and run again to rebuild it."
            )
    return found


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------------------------------- writing

Content: TypeAlias = pl.DataFrame | pa.Table | np.ndarray[Any, Any] | bytes | Path
"""What a unit of work may write: rows, an array (.npy), bytes, or a finished file to move in."""


@dataclass(frozen=True)
class Output:
    """A table being written.  Picklable: worker processes write their units through it."""

    path: Path
    table: str
    made_by: str
    settings: Mapping[str, Any]
    inputs: list[dict[str, str]]
    started: float

    def left(self, units: Iterable[str]) -> list[str]:
        """The units that no earlier, interrupted run has already finished."""
        return [unit for unit in units if not self._record(unit).exists()]

    def notebook(self, name: str) -> Path:
        """A file in which a verb may note what it has learned; it is there until the table is sealed."""
        return self.path / ".units" / f"{name}.jsonl"

    def write(
        self,
        unit: str,
        contents: Mapping[str, Content],
        *,
        came_in: int = 0,
        went_out: int | None = None,
    ) -> None:
        """Write all that one unit of work yields, then its record; until then it counts as not done.

        Args:
            unit: A file-name-safe name, unique in the table.
            contents: By part: "" is the table itself, "rejects" and the like its neighbours.  Rows are
                checked against the part's schema and become ``<part>/<unit>.parquet``, an array
                ``.npy``.  A key that holds a dot is a plain file of that name, in the part that is
                its folder.
            came_in: Rows, or files where rows are joined, that the unit was given.
            went_out: The same for what it kept; the rows of the main part if not given.
        """
        shards: list[tuple[str, Shard]] = []
        reasons: Counter[str] = Counter()
        kept = 0
        for part, content in contents.items():
            if isinstance(content, pl.DataFrame):
                content = content.to_arrow()
            if isinstance(content, pa.Table):
                shard = self._write_rows(part, unit, content)
                if part == "rejects":
                    reasons.update(_reasons(content))
            else:
                shard = self._write_file(part, unit, content)
            if part == "":
                kept = shard.rows
            shards.append((part if "." not in part else part.rpartition("/")[0], shard))
        record = {
            "shards": [(part, asdict(shard)) for part, shard in shards],
            "in": came_in,
            "out": kept if went_out is None else went_out,
            "rejected": dict(sorted(reasons.items())),
        }
        write_aside(self._record(unit), json.dumps(record).encode())

    def seal(self, **more: Any) -> Table:
        """Write the manifest: from here on the table is finished.

        Args:
            more: Further facts for the manifest; they are no part of the digest.
        """
        parts: dict[str, list[dict[str, Any]]] = {}
        counts: dict[str, Any] = {"in": 0, "out": 0, "rejected": Counter()}
        records = {file.stem: json.loads(file.read_text()) for file in (self.path / ".units").glob("*.json")}
        for _, record in sorted(records.items()):
            counts["in"] += record["in"]
            counts["out"] += record["out"]
            counts["rejected"].update(record["rejected"])
            for part, shard in record["shards"]:
                parts.setdefault(part, []).append(shard)
        for shards in parts.values():
            shards.sort(key=lambda shard: shard["name"])
        counts["rejected"] = dict(sorted(counts["rejected"].items()))
        content = [f"{self.table}/{SCHEMA_VERSION}"]
        content += [
            f"{s['name']} {s['sha256']}" for part in sorted(parts) if part != MEASURED for s in parts[part]
        ]
        finished = time.time()
        manifest = {
            "table": f"{self.table}/{SCHEMA_VERSION}",
            "made_by": self.made_by,
            "fathom": VERSION,
            "settings": self.settings,
            "inputs": self.inputs,
            "digest": hashlib.sha256("\n".join(content).encode()).hexdigest(),
            "counts": counts,
            "parts": {part: parts[part] for part in sorted(parts)},
            "started": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "finished": datetime.fromtimestamp(finished, UTC).isoformat(timespec="seconds"),
            "seconds": round(finished - self.started, 3),
            **reuse.told(self.path, records),
            **more,
        }
        write_aside(self.path / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
        shutil.rmtree(self.path / ".units")
        for left in self.path.rglob(".*.part"):
            left.unlink(missing_ok=True)
        for name in (".plan.json", reuse.ORIGINS):
            (self.path / name).unlink(missing_ok=True)
        return Table(self.path, manifest)

    def _record(self, unit: str) -> Path:
        return self.path / ".units" / f"{unit}.json"

    def _write_rows(self, part: str, unit: str, rows: pa.Table) -> Shard:
        schema = SCHEMAS.get(part or self.table)
        if schema is not None:
            rows = conform(rows, schema, f"{self.made_by}: {part or self.table}")
        name = f"{part}/{unit}.parquet" if part else f"{unit}.parquet"
        final = self.path / name
        final.parent.mkdir(parents=True, exist_ok=True)
        aside = unfinished(final)
        write_parquet(aside, rows)
        return self._publish(aside, final, rows.num_rows)

    def _write_file(self, part: str, unit: str, content: np.ndarray | bytes | Path) -> Shard:
        is_array = isinstance(content, np.ndarray)
        named = part if "." in part else (f"{part}/{unit}" if part else unit) + (".npy" if is_array else "")
        final = self.path / named
        final.parent.mkdir(parents=True, exist_ok=True)
        aside = unfinished(final)
        if isinstance(content, np.ndarray):
            with aside.open("wb") as file:
                np.save(file, content)
        elif isinstance(content, Path):
            content.replace(aside)
        else:
            aside.write_bytes(content)
        return self._publish(aside, final, len(content) if isinstance(content, np.ndarray) else 0)

    def _publish(self, aside: Path, final: Path, rows: int) -> Shard:
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        name = final.relative_to(self.path).as_posix()
        shard = Shard(name, rows, aside.stat().st_size, sha256_of(aside))
        aside.replace(final)
        return shard


@contextmanager
def building(
    path: Path,
    table: str,
    origins: Mapping[str, str] | None = None,
    /,
    *,
    made_by: str,
    settings: Any,
    inputs: Iterable[Table] = (),
    precious: str = "",
    **pins: str,
) -> Iterator[Output | Table]:
    """Open ``path`` for writing: yields the finished ``Table`` if it is up to date, else an ``Output``.

    A table is up to date if it was made by the same verb and version from the same settings and the
    same inputs.  An unfinished one of the same plan is taken up where it stopped; anything else that a
    verb left at ``path`` is cleared.

    Args:
        origins: All that decides each unit besides the settings, as a hash by unit, if the units are
            independent of one another: of an older table the units with the same hash stay as they are.
        settings: The verb's settings dataclass; it must hold nothing that does not change the result.
        inputs: The tables that are read.
        precious: A pattern below ``path`` of what is not cleared if it is of another plan, but refused.
        pins: Hashes of inputs that are not tables, by name (a list of packages, a folder).
    """
    inputs, keys = list(inputs), ("table", "made_by", "digest")
    sources = [{key: str(source.manifest[key]) for key in keys} for source in inputs]
    sources += [{"table": name, "made_by": "", "digest": pin} for name, pin in sorted(pins.items())]
    resolved = json.loads(json.dumps(_as_dict(settings), default=str))
    plan = {
        "table": f"{table}/{SCHEMA_VERSION}",
        "made_by": made_by,
        "fathom": VERSION,
        "settings": resolved,
        "inputs": sources,
    }
    guards.refuse_foreign(path)
    guards.refuse_inputs(path, [source.path for source in inputs])
    path.mkdir(parents=True, exist_ok=True)
    with only_writer(path):
        if (path / "manifest.json").exists():
            try:
                done = read(path, table)
            except Refusal:
                done = None
            if done is not None and all(done.manifest.get(key) == plan[key] for key in plan):
                os.utime(path / "manifest.json")
                log.info("%s: %s is up to date", made_by, path)
                yield done
                return
        plan_file = path / ".plan.json"
        if not plan_file.exists() or plan_file.read_text() != json.dumps(plan):
            guards.refuse_loss(path, precious, plan_file, plan)
            kept = reuse.records(path, plan, origins or {})
            # What vouches for the rest goes first: a kill in between must not leave a false witness.
            for name in ("manifest.json", ".plan.json"):
                (path / name).unlink(missing_ok=True)
            guards.clear(path, {shard["name"] for record in kept.values() for _, shard in record["shards"]})
            write_aside(plan_file, json.dumps(plan).encode())
            (path / ".units").mkdir()
            for unit, record in kept.items():
                write_aside(path / ".units" / f"{unit}.json", json.dumps(record).encode())
        (path / ".units").mkdir(exist_ok=True)
        if origins is not None:
            write_aside(path / reuse.ORIGINS, json.dumps(origins).encode())
        yield Output(path, table, made_by, resolved, sources, time.time())


def _as_dict(settings: Any) -> Any:
    return asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else settings


def rejects(rows: Iterable[tuple[str, str, str | None, int, int]], verb: str) -> pa.Table:
    """Rows (key, reason, detail, files, bytes) as a rejects table of ``verb``, sorted by key."""
    columns = list(zip(*sorted(rows, key=lambda row: (row[0], row[1])), strict=True)) or [()] * 5
    key, reason, detail, files, size = columns
    return pa.table([key, [verb] * len(key), reason, detail, files, size], schema=SCHEMAS["rejects"])


def _reasons(rows: pa.Table) -> Counter[str]:
    counts = rows["reason"].value_counts().to_pylist()
    return Counter({row["values"]: row["counts"] for row in counts})


def unfinished(final: Path) -> Path:
    """A name of this process's own: a worker that outlives a killed run by a moment disturbs nobody."""
    return final.with_name(f".{final.name}.{os.uname().nodename}.{os.getpid()}.part")


def write_aside(final: Path, content: bytes) -> None:
    aside = unfinished(final)
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(final)
