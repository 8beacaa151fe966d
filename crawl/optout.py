"""``crawl optout``: take what somebody wants out of a finished run, and write only the shards it stood in.

The table of files becomes, byte for byte, what `crawl fetch` would have written with the same list: shards
that hold nothing of it stay as they are, the others are written again without it.  The later tables then
follow by `make`: their verbs keep every shard whose sources did not change.  The rewritten shards are
first laid out beside the table, so that a run that is killed goes on where it was, and no archive is
fetched or read again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa

import corpus
import reuse
from corpus import Output, Refusal, Shard, Table
from crawl import chain, optouts
from crawl.fetch import unit_of
from crawl.optouts import Entry, Optouts, Reject
from schemas import SCHEMAS

COPY = 0.5
"""A repo is a copy of another if at least this share of its bytes is in files that the other has too."""

MIN_BYTES = 256
"""Smaller files are alike everywhere and make no copy."""


def opt_out(listed: Path, out: Path) -> str:
    """Apply the list at ``listed`` to the run at ``out``; the answer says what went and what must follow."""
    wishes = optouts.read(listed)
    files, staged = out / "files", out / ".optout"
    repos = corpus.read(out / "repos", "repos")
    if not (files / "manifest.json").exists() and (staged / "manifest.json").exists():
        return _install(corpus.read(staged), files, repos, wishes, out)
    table = corpus.read(files, "files")
    if chain.verb(table) != "crawl fetch" or "units" not in table.manifest:
        raise Refusal(f"{files} was not made by `crawl fetch` of this version: run `make` first.")
    optouts.refuse_shrunk(table, wishes)
    wishes = _with_copies(table, wishes, listed)
    if optouts.applied(table) == wishes.pin:
        return f"{files} is as the list wants it: {len(wishes.entries):,} entries, nothing new."
    return _install(_stage(table, repos, wishes, staged), files, repos, wishes, out)


def _with_copies(table: Table, wishes: Optouts, listed: Path) -> Optouts:
    """The list with an entry for every copy of a repo under `forks`; they are written into it as well."""
    wanted = [entry.what.casefold() for entry in wishes.entries if entry.kind == "forks"]
    if not wanted:
        return wishes
    name = pl.col("repo").str.to_lowercase()
    facts = (
        table.scan()
        .select("repo", "revision", "sha256", "bytes")
        .filter(pl.col("bytes") >= MIN_BYTES)
        .collect()
    )
    theirs = facts.filter(name.is_in(wanted) | name.str.replace("@[^@]*$", "").is_in(wanted))[
        "sha256"
    ].unique()
    inside = pl.when(pl.col("sha256").is_in(theirs.implode())).then("bytes").otherwise(0).sum()
    share = facts.group_by("repo", "revision").agg(share=inside / pl.col("bytes").sum()).sort("repo")
    found = [
        (repo, part)
        for repo, revision, part in share.filter(pl.col("share") >= COPY).iter_rows()
        if wishes.of_repo(repo, revision) is None
    ]
    with listed.open("a") as file:
        for repo, part in found:
            file.write(f"# {part:.0%} of its bytes are in files of a repository above\nrepo {repo}\n")
    return Optouts([*wishes.entries, *(Entry("repo", repo) for repo, _ in found)])


def _stage(table: Table, repos: Table, wishes: Optouts, staged: Path) -> Table:
    """The shards that change, in a table of their own."""
    origins = {Path(shard.name).stem: shard.sha256 for shard in table.shards()}
    building = corpus.building(
        staged,
        "files",
        made_by="crawl optout",
        settings={},
        inputs=[table],
        origins=origins,
        optouts=wishes.pin,
    )
    with building as out:
        if isinstance(out, Table):
            return out
        rows = repos.scan().select("repo", "revision", "bytes").collect().iter_rows()
        listed = {unit_of(row[0]): row for row in rows}
        for shard in table.shards():
            if changed := _without(table, shard, wishes, listed[Path(shard.name).stem]):
                rows, rejects, came_in = changed
                tables = {"": rows, "rejects": corpus.rejects(rejects, "crawl fetch")}
                out.write(Path(shard.name).stem, tables, came_in=came_in)
        return out.seal(
            fetched={key: table.manifest[key] for key in ("settings", "units", "counts", "traffic")}
        )


def _without(
    table: Table, shard: Shard, wishes: Optouts, listed: tuple[str, str, int | None]
) -> tuple[pl.DataFrame, list[Reject], int] | None:
    """What `crawl fetch` would write in place of a shard: rows, rejects, files in.  None if it stays."""
    repo, revision, size = listed
    if whole := wishes.of_repo(repo, revision):
        return table.frame(shard).clear(), [(repo, optouts.REASON, whole, 1, size or 0)], 1
    facts = _columns(table, shard, ["repo", "path", "sha256"])
    if not any(wishes.of_files(facts)):
        return None
    unit = Path(shard.name).stem
    twin = next(other for other in table.shards("rejects") if Path(other.name).stem == unit)
    before = table.frame(twin).select("key", "reason", "detail", "files", "bytes").rows()
    rows, rejects = optouts.apply(table.frame(shard), before, wishes)
    return rows, rejects, table.manifest["units"][unit]["in"]


def _install(staged: Table, files: Path, repos: Table, wishes: Optouts, out: Path) -> str:
    """Bring the staged shards into the table of files; whatever kills this, the next call goes on."""
    fetched = staged.manifest["fetched"]
    shards = {Path(shard.name).stem: shard for shard in staged.shards()}
    rejects = {Path(shard.name).stem: shard for shard in staged.shards("rejects")}
    origins = {
        unit: reuse.hash_of([record["from"], wishes.pin]) if unit in shards else record["from"]
        for unit, record in fetched["units"].items()
    }
    building = corpus.building(
        files,
        "files",
        made_by="crawl fetch",
        settings=fetched["settings"],
        inputs=[repos],
        origins=origins,
        optouts=wishes.pin,
    )
    with building as output:
        if isinstance(output, Output):
            for unit in output.left(shards):
                tables = {"": staged.frame(shards[unit]), "rejects": staged.frame(rejects[unit])}
                output.write(unit, tables, came_in=staged.manifest["units"][unit]["in"])
            output.seal(traffic=fetched["traffic"], optouts=len(wishes.entries))
    shutil.rmtree(staged.path)
    before, after = fetched["counts"]["out"], corpus.read(files).counts["out"]
    return _answer(before - after, len(shards), files, out)


def _answer(gone: int, rewritten: int, files: Path, out: Path) -> str:
    names = [table.path.name for table in chain.stale(chain.tables_of(out))]
    lines = [f"{gone:,} files taken out of {files}; {rewritten:,} shards written again."]
    if names:
        lines.append(
            f"These still hold what was made of them: {', '.join(names)}. Run make: it rebuilds them."
        )
    return "\n".join(lines)


def _columns(table: Table, shard: Shard, names: list[str]) -> pl.DataFrame:
    schema = pa.schema([SCHEMAS["files"].field(name) for name in names])
    frame = pl.from_arrow(pa.Table.from_batches(table.batches(shard, names), schema=schema))
    assert isinstance(frame, pl.DataFrame)
    return frame
