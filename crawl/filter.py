"""`crawl filter`: what may stay, by licence first, then by rule; whatever goes leaves its reason.

The part ``signals`` keeps what was measured of every file that came in, so that other rules can be tried
without reading a text again: ``crawl rules`` does.
"""

from __future__ import annotations

from functools import cache as once
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa

import corpus
import passes
import reuse
import schemas
from crawl import licenses, rules, signals
from crawl.config import Filter, Rules

VERB = "crawl filter"


def filter_files(src: Path, dst: Path, settings: Filter, workers: int) -> corpus.Table:
    """Write the files of ``src`` that pass, shard by shard."""
    rules.of(settings.profiles)
    files = corpus.read(src, "files")
    pins = {"rules": str(rules.version())}
    origins = reuse.by_shard([files], *pins.values())
    building = corpus.building(dst, "files", origins, made_by=VERB, settings=settings, inputs=[files], **pins)
    with building as out:
        if isinstance(out, corpus.Table):
            return out
        units = out.left(Path(shard.name).stem for shard in files.shards())
        work = partial(_filter_shard, out=out, src=src, digest=files.digest, settings=settings)
        passes.each(work, units, label="filtering", workers=workers)
        return out.seal()


def try_rules(src: Path, settings: Rules) -> str:
    """What every rule of the profiles would do to the files at ``src``, to print; nothing is written."""
    chosen = rules.of(settings.profiles)
    files = corpus.read(src, "files")
    if files.shards("signals"):
        return rules.printed(rules.effects(files.scan("signals"), chosen))
    shards = passes.progress(files.shards(), label="measuring", total=len(files.shards()))
    measured = pa.concat_tables([signals.table(files.batches(shard)) for shard in shards])
    return rules.printed(rules.effects(pl.LazyFrame(measured), chosen))


def stated(license_: str | None, settings: Filter) -> tuple[str, str | None] | None:
    """Why a file must go for its licence, as reason and detail, or None if it may stay."""
    if license_ is None:
        return None if settings.keep_unlicensed else ("unlicensed", None)
    return None if licenses.permits(license_, settings.allow) else ("license", license_)


def _filter_shard(unit: str, *, out: corpus.Output, src: Path, digest: str, settings: Filter) -> None:
    files = _files(src, digest)
    shard = next(shard for shard in files.shards() if Path(shard.name).stem == unit)
    batches = list(files.batches(shard))
    measured = signals.table(batches)
    rows = pa.Table.from_batches(batches, schema=schemas.SCHEMAS["files"])
    judged = rules.judge(pl.LazyFrame(measured), rules.of(settings.profiles)).collect()
    stays, rejected = [], []
    facts = judged.select("repo", "path", "bytes", "reason", "measure").iter_rows()
    for license_, (repo, path, size, reason, measure) in zip(rows["license"].to_pylist(), facts, strict=True):
        why = stated(license_, settings) or (reason and (reason, f"{measure:.6g}"))
        stays.append(why is None)
        if why is not None:
            rejected.append((f"{repo}:{path}", *why, 1, size))
    kept = rows.filter(pa.array(stays, pa.bool_()))
    tables = {"": kept, "rejects": corpus.rejects(rejected, VERB), "signals": measured}
    out.write(unit, tables, came_in=shard.rows)


@once
def _files(src: Path, digest: str) -> corpus.Table:
    """The table of that digest, opened once in every process."""
    return corpus.read(src, "files")
