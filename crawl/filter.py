"""`crawl filter`: what may stay, by licence first, then by rule; whatever goes leaves its reason."""

from __future__ import annotations

from functools import cache as once
from functools import partial
from pathlib import Path

import pyarrow as pa

import corpus
import passes
import schemas
from crawl import licenses, rules
from crawl.config import Filter

VERB = "crawl filter"

_LOOKED_AT = ("repo", "path", "language", "license", "bytes", "text")


def filter_files(src: Path, dst: Path, settings: Filter, workers: int) -> corpus.Table:
    """Write the files of ``src`` that pass, shard by shard."""
    files = corpus.read(src, "files")
    with corpus.building(dst, "files", made_by=VERB, settings=settings, inputs=[files]) as out:
        if isinstance(out, corpus.Table):
            return out
        units = out.left(Path(shard.name).stem for shard in files.shards())
        work = partial(_filter_shard, out=out, src=src, digest=files.digest, settings=settings)
        passes.each(work, units, label="filtering", workers=workers)
        return out.seal()


def failed(file: rules.File, license_: str | None, settings: Filter) -> tuple[str, str | None] | None:
    """Why a file must go, as reason and detail, or None if it may stay."""
    if license_ is None and not settings.keep_unlicensed:
        return "unlicensed", None
    if license_ is not None and not licenses.permits(license_, settings.allow):
        return "license", license_
    chosen = rules.PAPER
    chosen += (rules.generated,) if settings.drop_generated else ()
    chosen += (rules.vendored,) if settings.drop_vendored else ()
    return rules.first_failed(file, chosen)


def _filter_shard(unit: str, *, out: corpus.Output, src: Path, digest: str, settings: Filter) -> None:
    files = _files(src, digest)
    shard = next(shard for shard in files.shards() if Path(shard.name).stem == unit)
    kept: list[pa.RecordBatch] = []
    rejected: list[tuple[str, str, str | None, int, int]] = []
    for batch in files.batches(shard):
        columns = [batch.column(name).to_pylist() for name in _LOOKED_AT]
        stays = []
        for repo, path, language, license_, size, text in zip(*columns, strict=True):
            failure = failed(rules.File(path, language, text), license_, settings)
            stays.append(failure is None)
            if failure is not None:
                rejected.append((f"{repo}:{path}", *failure, 1, size))
        kept.append(batch.filter(pa.array(stays)))
    rows = pa.Table.from_batches(kept, schema=schemas.SCHEMAS["files"])
    out.write(unit, {"": rows, "rejects": corpus.rejects(rejected, VERB)}, came_in=shard.rows)


@once
def _files(src: Path, digest: str) -> corpus.Table:
    """The table of that digest, opened once in every process."""
    return corpus.read(src, "files")
