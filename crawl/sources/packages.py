"""Source archives of packages, pinned by hash: PyPI sdists, npm tarballs, Debian's upstream tarballs.

No package code runs: nothing is built or installed, an archive is a file with a hash.  Downloads are
kept under that hash, so a pinned list gives the same repos on every machine, from any mirror.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import html
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urljoin, urlsplit

import httpx

from corpus import Refusal
from crawl import archives
from crawl.sources import mirrors
from crawl.sources.entry import Caps, Entry, OutOfReach, Repo

log = logging.getLogger(__name__)

REGISTRIES = ("pypi", "npm", "debian")
COLUMNS = ("registry", "name", "version", "file", "sha256")
MAX_ARCHIVE = 4 << 30
"""Bytes that are downloaded at most where the list does not say how many there are."""

_NAME = re.compile(r"(@[\w.-]+/)?[A-Za-z0-9][\w.+-]*")
_VERSION = re.compile(r"[A-Za-z0-9][\w.+~-]*")  # without Debian's epoch: a colon ends a repo's name
_FILE = re.compile(r"[A-Za-z0-9][\w.+~-]*")
_HASHES = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}


# ---------------------------------------------------------------------------------------- listing


def list_repos(packages: Path) -> list[Repo]:
    """The rows of a pinned list: tab-separated, a header line, ``#`` begins a comment.

    Columns: registry, name, version, file, sha256, and, if known, bytes and license.
    """
    try:
        lines = [line for line in packages.read_text().splitlines() if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise Refusal(f"{packages}: {said}: give a list such as runs/demo-packages.tsv.") from None
    table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    if lacking := set(COLUMNS) - set(table.fieldnames or ()):
        raise Refusal(f"{packages} has no column {min(lacking)!r} in its header line.")
    return [repo(row, f"{packages}, row {number}") for number, row in enumerate(table, 1)]


def repo(row: Mapping[str, str | None], where: str) -> Repo:
    """A row of a list, or of what a registry says, as a repo; refuses what makes no sense.

    ``sha512`` may stand for ``sha256``: npm states no other hash that is fit for use.
    """
    values = {key: value or "" for key, value in row.items() if isinstance(value, str | None)}
    digest = "sha512" if "sha512" in values else "sha256"
    checks = {"name": _NAME, "version": _VERSION, "file": _FILE, digest: _HASHES[digest]}
    for column, pattern in checks.items():
        if not pattern.fullmatch(values[column]):
            raise Refusal(f"{where}: {values[column]!r} is no {column}.")
    registry, name, version = values["registry"], values["name"], values["version"]
    if registry not in REGISTRIES:
        raise Refusal(f"{where}: {registry!r} is no registry; there are {', '.join(REGISTRIES)}.")
    kind = "deb/debian" if registry == "debian" else registry
    size = values.get("bytes", "")
    return Repo(
        repo=f"{registry}/{name}@{version}",
        revision=f"{digest}:{values[digest]}",
        source=registry,
        # A package URL (purl), which names the archive whatever the mirror.
        url=f"pkg:{kind}/{quote(name, safe='/')}@{quote(version)}?file_name={quote(values['file'])}",
        license=values.get("license") or None,
        bytes=int(size) if size.isdecimal() else None,
    )


# ---------------------------------------------------------------------------------------- reading


def has(repo: Repo, cache: Path) -> bool:
    """Whether the archive is there; its hash is checked on reading."""
    return _archive(repo, cache).exists()


def obtain(repo: Repo, cache: Path, caps: Caps) -> int:
    """Download the archive if the cache does not hold it whole; returns its bytes."""
    archive = _archive(repo, cache)
    if archive.exists():
        if _hash(archive, repo) == archive.name:
            return 0
        log.warning("%s is damaged: downloading it anew", archive)
        archive.unlink(missing_ok=True)
    archive.parent.mkdir(parents=True, exist_ok=True)
    _download(repo, archive)
    return archive.stat().st_size


def entries(repo: Repo, cache: Path, caps: Caps) -> Iterator[Entry]:
    """The members of the archive, after its hash was checked."""
    archive = _archive(repo, cache)
    if _hash(archive, repo) != archive.name:
        raise Refusal(f"{archive} is damaged (its hash differs): delete it and run again.")
    yield from archives.entries(archive, caps)


def _archive(repo: Repo, cache: Path) -> Path:
    digest = repo.revision.partition(":")[2]
    return cache / "archives" / digest[:2] / digest


def _hash(path: Path, repo: Repo) -> str:
    """A file's digest by the algorithm of the repo's revision."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, repo.revision.partition(":")[0]).hexdigest()


# ------------------------------------------------------------------------------------ downloading


def _download(repo: Repo, archive: Path) -> None:
    """Download aside, resuming what is there; it gets its name once its hash is right."""
    aside = archive.with_name(f"{archive.name}.part")
    with aside.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be at the same archive
        if archive.exists():
            return
        while True:
            resumed = mirrors.patiently(lambda: _receive(_address(repo), aside, repo.bytes or MAX_ARCHIVE))
            found = _hash(aside, repo)
            if found == archive.name:
                aside.replace(archive)
                return
            os.truncate(aside, 0)  # not deleted: the lock is on this very file
            if not resumed:
                raise OutOfReach("hash_mismatch", f"expected {repo.revision}, got {found}")


def _receive(url: str, aside: Path, limit: int) -> bool:
    """Append what is missing of a file; returns whether some of it was there."""
    have = aside.stat().st_size
    headers = {"Range": f"bytes={have}-"} if have else {}
    with mirrors.client().stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # all of it is there already, or it is something else: the hash will tell
        response.raise_for_status()
        resumes = response.status_code == httpx.codes.PARTIAL_CONTENT
        with aside.open("ab" if resumes else "wb") as file:
            for piece in response.iter_raw():
                file.write(piece)
                if file.tell() > limit:
                    raise OutOfReach("hash_mismatch", f"more than the {limit} bytes expected")
    return have > 0 and resumes


# -------------------------------------------------------------------------------------- addresses


def _address(repo: Repo) -> str:
    """Where the archive is, on the mirror that this machine uses."""
    name, file = _name_and_file(repo)
    if repo.source == "pypi":
        return _pypi_address(name, file)
    if repo.source == "npm":
        version = repo.repo.rsplit("@", 1)[1]
        return f"{mirrors.npm_registry()}/{name}/-/{name.rsplit('/', 1)[-1]}-{version}.tgz"
    pool = name[:4] if name.startswith("lib") else name[:1]
    return f"{mirrors.debian_mirror()}/pool/main/{pool}/{name}/{file}"


def _name_and_file(repo: Repo) -> tuple[str, str]:
    parts = urlsplit(repo.url)
    name = unquote(parts.path.split("/", 2 if repo.source == "debian" else 1)[-1].rsplit("@", 1)[0])
    return name, parse_qs(parts.query)["file_name"][0]


def _pypi_address(name: str, file: str) -> str:
    """Look the file up in the simple index, in its JSON form or, on older mirrors, in HTML."""
    project = re.sub(r"[-_.]+", "-", name).lower()
    response = mirrors.asked_once(f"{mirrors.index()}/{project}/", mirrors.SIMPLE)
    if "json" in response.headers.get("Content-Type", ""):
        try:
            found = {str(entry["filename"]): str(entry["url"]) for entry in response.json()["files"]}
        except (ValueError, KeyError, TypeError):
            raise OutOfReach("unreachable", "the index is no index") from None
    else:
        links = [html.unescape(link) for link in re.findall(r'href="([^"]+)"', response.text)]
        found = {unquote(urlsplit(link).path.rsplit("/", 1)[-1]): link for link in links}
    if file not in found:
        raise OutOfReach("unreachable", "not in the index")
    return urljoin(str(response.url), found[file])
