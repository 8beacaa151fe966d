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
from crawl.optouts import Entry, Optouts
from schemas import SCHEMAS, RejectRow

COPY = 0.5
"""A repo is a copy of another if at least this share of its bytes is in files that the other has too."""

FETCH = "crawl fetch"

KEPT = ("settings", "units", "counts", "traffic")
"""What of the manifest of the table of files is needed to write it again."""

MIN_BYTES = 256
"""Smaller files are alike everywhere and make no copy."""


def opt_out(listed: Path, out: Path) -> str:
    """Apply the list at ``listed`` to the run at ``out``; the answer says what went and what must follow."""
    wishes = optouts.read(listed)
    files, staged = out / "files", out / ".optout"
    repos = corpus.read(out / "repos", "repos")
    resumed = None
    if not (files / "manifest.json").exists() and (staged / "manifest.json").exists():
        left = corpus.read(staged)
        optouts.refuse_shrunk(left, wishes)  # the list may have grown meanwhile: first what was begun
        begun = Optouts(wishes.entries[: left.manifest["optouts"]])
        resumed = _install(left, files, repos, begun, out)
    table = corpus.read(files, "files")
    if chain.verb(table) != FETCH or "units" not in table.manifest:
        raise Refusal(f"{files} was not made by `crawl fetch` of this version: run `make` first.")
    optouts.refuse_shrunk(table, wishes)
    wishes = _with_copies(table, wishes, listed)
    if optouts.applied(table) == wishes.pin:
        shutil.rmtree(staged, ignore_errors=True)
        return resumed or f"{files} is as the list wants it: {len(wishes.entries):,} entries, nothing new."
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
    if found:
        _add(listed, found)
    return Optouts([*wishes.entries, *(Entry("repo", repo) for repo, _ in found)])


def _add(listed: Path, found: list[tuple[str, float]]) -> None:
    """Write the copies into the list, all at once: a part of a line would be no entry."""
    lines = [
        f"# {part:.0%} of its bytes are in files of a repository above\nrepo {repo}\n" for repo, part in found
    ]
    start = "" if listed.read_text().endswith("\n") else "\n"
    try:
        with listed.open("a") as file:
            file.write(start + "".join(lines))
    except OSError as error:
        raise Refusal(
            f"{listed} cannot be written to ({error.strerror}), and {found[0][0]} belongs there, for it is a "
            "copy of what `forks` names: make it writable."
        ) from None


def _stage(table: Table, repos: Table, wishes: Optouts, staged: Path) -> Table:
    """The shards that change, in a table of their own."""
    origins = {Path(shard.name).stem: shard.sha256 for shard in table.shards()}
    building = corpus.building(
        staged,
        "files",
        origins,
        made_by="crawl optout",
        settings={},
        inputs=[table],
        optouts=wishes.pin,
    )
    with building as out:
        if isinstance(out, Table):
            return out
        rows = repos.scan().select("repo", "revision", "bytes").collect().iter_rows()
        listed = {unit_of(row[0]): row for row in rows}
        for shard in table.shards():
            _without(out, table, shard, wishes, listed[Path(shard.name).stem])
        fetched = {key: table.manifest[key] for key in KEPT}
        return out.seal(fetched=fetched, optouts=len(wishes.entries))


def _without(
    out: Output, table: Table, shard: Shard, wishes: Optouts, listed: tuple[str, str, int | None]
) -> None:
    """Write what `crawl fetch` would write in place of a shard; nothing if it stays as it is."""
    repo, revision, size = listed
    unit = Path(shard.name).stem
    whole = wishes.of_repo(repo, revision)
    if whole is None and not any(wishes.of_files(_columns(table, shard, ["repo", "path", "sha256"]))):
        return
    files, others = table.frame(shard), _others(table, unit)
    rejects: list[RejectRow] = (
        others.pop("rejects").select("key", "reason", "detail", "files", "bytes").rows()
    )
    came_in = table.manifest["units"][unit]["in"]
    if whole is not None:
        files, rejects, came_in = files.clear(), [(repo, optouts.REASON, whole, 1, size or 0)], 1
    else:
        files, rejects = optouts.apply(files, rejects, wishes)
    left = pl.col("path").is_in(files["path"].implode())
    tables = {part: frame.filter(left) for part, frame in others.items()}
    out.write(unit, {"": files, "rejects": corpus.rejects(rejects, FETCH), **tables}, came_in=came_in)


def _others(table: Table, unit: str) -> dict[str, pl.DataFrame]:
    """What stands beside a shard, by part."""
    parts = (part for part in table.manifest["parts"] if part)
    found = ((part, shard) for part in parts for shard in table.shards(part))
    return {part: table.frame(shard) for part, shard in found if Path(shard.name).stem == unit}


def _install(staged: Table, files: Path, repos: Table, wishes: Optouts, out: Path) -> str:
    """Bring the staged shards into the table of files; whatever kills this, the next call goes on."""
    fetched = staged.manifest["fetched"]
    shards = {Path(shard.name).stem: shard for shard in staged.shards()}
    origins = {
        unit: reuse.hash_of([record["from"], wishes.pin]) if unit in shards else record["from"]
        for unit, record in fetched["units"].items()
    }
    building = corpus.building(
        files,
        "files",
        origins,
        made_by=FETCH,
        settings=fetched["settings"],
        inputs=[repos],
        optouts=wishes.pin,
    )
    with building as output:
        if isinstance(output, Output):
            _refuse_loss(set(output.left(origins)) - shards.keys(), files)
            for unit in output.left(shards):
                tables = {"": staged.frame(shards[unit]), **_others(staged, unit)}
                output.write(unit, tables, came_in=staged.manifest["units"][unit]["in"])
            output.seal(traffic=fetched["traffic"], optouts=len(wishes.entries))
    shutil.rmtree(staged.path)
    before, after = fetched["counts"]["out"], corpus.read(files).counts["out"]
    return _answer(before - after, len(shards), files, out)


def _refuse_loss(lost: set[str], files: Path) -> None:
    """Where a call was killed just as the old manifest went, nothing vouches for the shards that stay."""
    if lost:
        raise Refusal(
            f"{files}: a call that was killed left {len(lost):,} shards that nothing vouches for: "
            "run `crawl fetch` with this list of opt-outs; it reads them from the cache."
        )


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
