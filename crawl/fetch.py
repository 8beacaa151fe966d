"""`crawl fetch`: the repos' archives and clones into the cache, then their files as text into a table.

Downloads run in threads, reading in processes, one unit of work a repo.  Everything in a repo that is
not a directory becomes a row of files, or one reject with its reason; a repo that cannot be had or is
broken is one reject.  What a repo yields depends on its revision and the settings alone.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache as once
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import polars as pl

import corpus
import passes
import reuse
import schemas
from crawl import encodings, evidence, languages, optouts
from crawl.config import Fetch
from crawl.optouts import Optouts
from crawl.sources import SOURCES, cache_folder
from crawl.sources.entry import BadRepo, Caps, Entry, OutOfReach, Repo, printable, tidy

log = logging.getLogger(__name__)

VERB = "crawl fetch"

DOWNLOADS = 8
"""At a time."""

_VCS = {".git", ".hg", ".svn", "CVS", ".bzr"}
_LFS = b"version https://git-lfs.github.com/spec/"

Failure = BadRepo | OutOfReach
Traffic = dict[str, dict[str, float]]
"""By source, what travelled: repos, bytes, seconds of one connection.  `crawl plan` reads it."""


def fetch_repos(
    src: Path, dst: Path, settings: Fetch, cache: Path | None, workers: int, unwanted: Path | None = None
) -> corpus.Table:
    """Write the table of files of all repos listed at ``src``, but what the list ``unwanted`` opts out."""
    repos = corpus.read(src, "repos")
    listed = _listed(src, repos.digest)
    cache = cache_folder(cache)
    wishes = optouts.read(unwanted)
    _refuse_shrunk(dst, wishes)
    origins = {unit: reuse.hash_of([repr(repo), wishes.pin]) for unit, repo in listed.items()}
    building = corpus.building(
        dst, "files", origins, made_by=VERB, settings=settings, inputs=[repos], optouts=wishes.pin
    )
    with building as out:
        if isinstance(out, corpus.Table):
            return out
        left = out.left(sorted(listed))
        failed = _opted_out({unit: listed[unit] for unit in left}, wishes)
        wanted = {unit: listed[unit] for unit in left if unit not in failed}
        missed, traffic = _obtain(wanted, cache, _caps(settings))
        failed |= missed
        _refuse_too_few(failed, listed, settings.missing)
        read = partial(_read_unit, src=src, digest=repos.digest, caps=_caps(settings), cache=cache)
        work = partial(read, out=out, failed=failed, wishes=wishes)
        passes.each(work, left, label="reading repos", workers=workers)
        return out.seal(traffic=traffic, optouts=len(wishes.entries))


class Read(NamedTuple):
    """What a repo holds: rows of ``files`` and ``licenses``, and a reject for all that is no source text."""

    files: pl.DataFrame
    licenses: pl.DataFrame
    rejects: list[schemas.RejectRow]


def read_repo(repo: Repo, entries: Iterable[Entry]) -> Read:
    """The files of a repo, each with its language and its licence.

    Raises:
        BadRepo: From ``entries``: nothing of the repo is kept.
    """
    found = _sort(entries)
    top = _top_directory([*found.files, *found.rejected_paths()]) if repo.source in _PACKED else ""
    settled = languages.settle({path: file.candidates for path, file in found.files.items()})
    said = evidence.gather({path.removeprefix(top): text for path, text in found.notes.items()}, repo.license)
    rows, licensed = [], []
    for path, file in sorted(found.files.items()):
        if language := settled[path]:
            inner = path.removeprefix(top)
            verdict = evidence.of(inner, file.text, said)
            rows.append(_row(repo, inner, file, language, verdict.license))
            stated = [one._asdict() for one in verdict.evidence]
            licensed.append((repo.repo, inner, verdict.license, verdict.state, stated))
        else:
            found.rejected.append((path, "no_language", None, file.size))
    rejected = [
        (f"{repo.repo}:{path.removeprefix(top) if tidy(path) else path}", reason, detail, 1, size)
        for path, reason, detail, size in found.rejected
    ]
    files = pl.DataFrame(rows, schema=_COLUMNS, orient="row")
    return Read(files, pl.DataFrame(licensed, schema=_LICENSES, orient="row"), rejected)


_PACKED = ("pypi", "npm", "debian", "archive")

_COLUMNS = pl.DataFrame(schemas.SCHEMAS["files"].empty_table()).schema
_LICENSES = pl.DataFrame(schemas.SCHEMAS["licenses"].empty_table()).schema


class _File(NamedTuple):
    text: str
    encoding: str
    candidates: tuple[str, ...]
    sha256: str
    size: int


@dataclass
class _Contents:
    """A repo's entries, sorted into text, the texts of licence files, and the rest."""

    files: dict[str, _File] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    rejected: list[tuple[str, str, str | None, int]] = field(default_factory=list)

    def rejected_paths(self) -> list[str]:
        return [path for path, *_ in self.rejected]


def _sort(entries: Iterable[Entry]) -> _Contents:
    found = _Contents()
    seen: set[str] = set()
    for entry in entries:
        path = tidy(entry.path)
        reason = _unwanted(entry, path, seen)
        if path is None or entry.data is None or reason is not None:
            assert reason is not None, "what has no path or no data is unwanted"
            found.rejected.append((path or printable(entry.path), *reason, entry.size))
            continue
        seen.add(path.lower())
        if evidence.is_evidence(path):
            found.notes[path] = entry.data[:100_000].decode("utf-8", "replace")
        read = _read(path, entry.data)
        if isinstance(read, _File):
            found.files[path] = read
        else:
            found.rejected.append((path, *read, entry.size))
    return found


def _unwanted(entry: Entry, path: str | None, seen: set[str]) -> tuple[str, str | None] | None:
    """Why an entry is not even read, or None."""
    if path is None:
        return ("bad_path", None)
    if entry.kind != "file":
        return (entry.kind, None)
    if not _VCS.isdisjoint(path.split("/")):
        return ("vcs", None)
    if path.lower() in seen:  # the first of a name wins, also where only the case differs
        return ("duplicate_path", None)
    if entry.data is None:
        return ("too_large", str(entry.size))
    if entry.data.startswith(_LFS):
        return ("lfs_pointer", None)
    return None


def _read(path: str, data: bytes) -> _File | tuple[str, str | None]:
    decoded = encodings.decode(data)
    if isinstance(decoded, encodings.Undecodable):
        return (decoded.reason, decoded.detail)
    options = languages.candidates(path, decoded.text)
    # What is no source text needs no memory while the rest of the repo is read.
    if not options:
        return ("no_language", None)
    return _File(decoded.text, decoded.encoding, options, hashlib.sha256(data).hexdigest(), len(data))


def _row(repo: Repo, path: str, file: _File, language: str, license_: str | None) -> tuple[Any, ...]:
    lines = file.text.count("\n") + (not file.text.endswith("\n") and file.text != "")
    head = (repo.repo, path, repo.revision, language, license_, repo.stars)
    return (*head, file.encoding, file.text, file.sha256, file.size, lines)


def _top_directory(paths: list[str]) -> str:
    """The one directory that everything in an archive is below, with its slash; else nothing."""
    tops = {PurePosixPath(path).parts[0] for path in paths if tidy(path)}
    lone = next(iter(tops)) if len(tops) == 1 else ""
    return f"{lone}/" if lone and all(path.startswith(f"{lone}/") for path in paths if tidy(path)) else ""


# ------------------------------------------------------------------------------------------- units


def _read_unit(
    unit: str,
    *,
    out: corpus.Output,
    src: Path,
    digest: str,
    caps: Caps,
    cache: Path,
    failed: dict[str, Failure],
    wishes: Optouts,
) -> None:
    repo = _listed(src, digest)[unit]
    try:
        if unit in failed:
            raise failed[unit]
        entries = _Counted(SOURCES[repo.source].entries(repo, cache, caps))
        read = _wanted(read_repo(repo, entries), wishes)
        came_in = entries.count
    except (BadRepo, OutOfReach) as failure:
        log.warning("%s: %s (%s)", repo.repo, failure.reason, failure.detail)
        rejected: list[schemas.RejectRow] = [(repo.repo, failure.reason, failure.detail, 1, repo.bytes or 0)]
        read = Read(pl.DataFrame(schema=_COLUMNS), pl.DataFrame(schema=_LICENSES), rejected)
        came_in = 1
    rows = {"": read.files, "rejects": corpus.rejects(read.rejects, VERB), "licenses": read.licenses}
    out.write(unit, rows, came_in=came_in)


@dataclass
class _Counted:
    """Entries, counted as they come: what came in is not derived from what went out."""

    entries: Iterable[Entry]
    count: int = 0

    def __iter__(self) -> Iterator[Entry]:
        for entry in self.entries:
            self.count += 1
            yield entry


@once
def _listed(src: Path, digest: str) -> dict[str, Repo]:
    """The listed repos by the name of their unit of work, which does not depend on the other repos.

    ``digest`` is the table's, so that a table that was written anew is read anew.
    """
    rows = corpus.read(src, "repos").scan().collect().to_dicts()
    return {unit_of(row["repo"]): Repo(**row) for row in rows}


def unit_of(repo: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9._+-]+", "-", repo).strip("-.")[:80]
    return f"{readable}-{hashlib.sha256(repo.encode()).hexdigest()[:8]}"


def _caps(settings: Fetch) -> Caps:
    return Caps(
        settings.max_file_bytes,
        settings.max_repo_bytes,
        settings.max_repo_files,
        settings.max_ratio,
        settings.max_repo_seconds,
    )


def _refuse_shrunk(dst: Path, wishes: Optouts) -> None:
    """A crawl that opt-outs were applied to is never run again without them."""
    try:
        before = corpus.read(dst, "files")
    except corpus.Refusal:
        return  # nothing is finished there
    if "optouts" in before.manifest:
        optouts.refuse_shrunk(before, wishes)


def _wanted(read: Read, wishes: Optouts) -> Read:
    """What a repo holds without the files that were opted out of."""
    files, rejects = optouts.apply(read.files, read.rejects, wishes)
    return Read(files, read.licenses.filter(pl.col("path").is_in(files["path"].implode())), rejects)


def _opted_out(repos: dict[str, Repo], wishes: Optouts) -> dict[str, Failure]:
    """The repos that must not even be downloaded, by unit."""
    found = {unit: wishes.of_repo(repo.repo, repo.revision) for unit, repo in repos.items()}
    return {unit: BadRepo(optouts.REASON, entry) for unit, entry in found.items() if entry}


class _Obtained(NamedTuple):
    """How it went with one repo: the bytes that travelled, the seconds it took, and why it failed."""

    unit: str
    bytes: int
    seconds: float
    failure: Failure | None


def _obtain(repos: dict[str, Repo], cache: Path, caps: Caps) -> tuple[dict[str, Failure], Traffic]:
    """Bring all repos into the cache; returns those that could not be had, by unit, and what travelled."""

    def obtain(unit: str) -> _Obtained:
        start = time.monotonic()
        try:
            size = SOURCES[repos[unit].source].obtain(repos[unit], cache, caps)
        except (BadRepo, OutOfReach) as failure:
            return _Obtained(unit, 0, 0.0, failure)
        return _Obtained(unit, size, time.monotonic() - start, None)

    failed: dict[str, Failure] = {}
    traffic: Traffic = {}
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        for one in passes.progress(pool.map(obtain, repos), label="downloading", total=len(repos)):
            if one.failure is not None:
                failed[one.unit] = one.failure
            elif one.bytes:
                sums = traffic.setdefault(repos[one.unit].source, {"repos": 0, "bytes": 0, "seconds": 0.0})
                sums["repos"] += 1
                sums["bytes"] += one.bytes
                sums["seconds"] = round(sums["seconds"] + one.seconds, 3)
    return failed, traffic


def _refuse_too_few(failed: dict[str, Failure], listed: dict[str, Repo], share: float) -> None:
    """Out of reach may be the network's fault and is not recorded lightly; a bad repo is its own."""
    missing = {unit: failure for unit, failure in failed.items() if isinstance(failure, OutOfReach)}
    if not missing or (len(missing) <= share * len(listed) and len(missing) < len(listed)):
        return
    unit, failure = min(missing.items())
    counts = Counter(failure.reason for failure in missing.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    raise corpus.Refusal(
        f"{len(missing)} of {len(listed)} repos could not be had ({reasons}), the first of them "
        f"{listed[unit].repo}: {failure.detail}. Check the network and the list and run again "
        "(it resumes), or let --missing SHARE of them become rejects."
    )
