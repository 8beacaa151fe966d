"""Git repositories by URL: the tree first, then only the blobs that are wanted and not there yet.

Nothing is ever checked out, so no hook, filter, attribute or configuration of a repository takes
effect, and no file of it is written under its own name.  One fetch brings the commit and its trees,
one more brings the missing blobs by id.  All repositories share one store of objects, so a blob that
several of them hold travels once, and a later revision brings only what is new.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlsplit

from corpus import Refusal
from crawl.sources import gitrun, gitstore
from crawl.sources.entry import BadRepo, Caps, Entry, OutOfReach, Repo, tidy

MAX_CLONE = 4 << 30
"""Bytes on disk; a larger repository is given up."""

EXPECTED = (64 << 20, 64 << 10)
"""Bytes that a fetch of blobs may bring, in all and for each: more means that a giant is among them."""

NAMES = 512
"""Bytes of a tree's listing for each file that ``Caps.files`` allows."""

_SUFFIXES = """
7z a aac ai apk avi bin bmp bz2 class db deb dll dmg doc docx dylib ear eot eps exe flac gif gz h5 icns ico
idx iso jar jks jpeg jpg ko lib lz4 m4a m4v mkv mov mp3 mp4 mpeg mpg msi npy npz o odp ods odt ogg onnx otf
parquet pdb pdf pickle pkl png ppt pptx psd pt pth pyc pyd rar rpm safetensors so sqlite sqlite3 swf tar
tflite tgz tif tiff ttc ttf war wasm wav webm webp whl wmv woff woff2 xls xlsx xz zip zst
"""
BINARY = frozenset(_SUFFIXES.split())
"""Suffixes of files that are no text, whatever is in them: their blobs are not fetched."""

COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
"""An id of a commit, by SHA-1 or SHA-256."""

_NOT_BY_ID = re.compile("not our ref|unadvertised object")
_KINDS = {"120000": "symlink", "160000": "submodule"}


def list_repo(url: str) -> Repo:
    """Resolve a URL, optionally with @REVISION, to a repo at one commit (asks the server)."""
    address, wanted = split(url)
    name = key(address)
    if COMMIT.fullmatch(wanted):
        return Repo(name, wanted, "git", address)
    # A tag that is an object of its own has its commit beside it, under the same name and "^{}".
    tried = [f"refs/heads/{wanted}", f"refs/tags/{wanted}^{{}}", f"refs/tags/{wanted}"]
    tried = ["HEAD"] if wanted == "HEAD" else tried
    try:
        said = gitrun.remote(["ls-remote", "origin", *tried], address)
    except (OutOfReach, gitrun.TooMuch) as error:
        detail = error.detail if isinstance(error, OutOfReach) else "too many refs"
        raise Refusal(f"{address}: {detail}: check the URL and the network.") from None
    lines = [line.split("\t", 1) for line in said.decode("ascii", "replace").splitlines() if "\t" in line]
    commits = {ref: commit for commit, ref in lines}
    for ref in tried:
        if COMMIT.fullmatch(commits.get(ref, "")):
            return Repo(name, commits[ref], "git", address)
    raise Refusal(f"{address} has no revision {wanted!r}: give a branch, a tag or a commit after '@'.")


def has(repo: Repo, cache: Path) -> bool:
    """Whether the commit and its trees are there; blobs that other caps left out may be missing."""
    return (_folder(repo, cache) / gitstore.ref(repo.revision)).exists()


def obtain(repo: Repo, cache: Path, caps: Caps) -> int:
    """Bring the commit, its trees and its wanted blobs into the store; returns the bytes of their packs."""
    folder, store = _folder(repo, cache), gitstore.of(cache)
    folder.parent.mkdir(parents=True, exist_ok=True)
    brought = 0
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if repo.revision not in gitstore.prepare(folder, store):
                _fetch_trees(repo, folder, caps)
                brought += gitstore.share(folder, store)
            return brought + _fetch_blobs(repo, folder, store, caps)
        except gitrun.TooMuch:
            raise BadRepo("too_large", "more than a repository may have") from None


def entries(repo: Repo, cache: Path, caps: Caps) -> Iterator[Entry]:
    """The tree of the commit, in path order, blobs read in one stream.

    A blob above ``Caps.file_bytes`` counts as one byte above it, whether it travelled or not, and is
    never unpacked.
    """
    folder = _folder(repo, cache)
    try:
        rows = _tree(repo, folder, caps)
        sizes = gitstore.sizes(folder, _wanted(rows))
    except OutOfReach as error:
        raise BadRepo("broken_clone", error.detail) from None
    with _Blobs(folder, caps) as blobs:
        for mode, blob, path in rows:
            if mode in _KINDS:
                yield Entry(path, _KINDS[mode], 0)
            elif _is_binary(path):
                yield Entry(path, "binary", 0)
            elif tidy(path) is None:
                yield Entry(path, "file", 0)
            elif sizes.get(blob, caps.file_bytes + 1) > caps.file_bytes:
                yield Entry(path, "file", caps.file_bytes + 1)
            else:
                yield Entry(path, "file", sizes[blob], blobs.read(blob, sizes[blob]))


# ---------------------------------------------------------------------------------------- fetching


def _fetch_trees(repo: Repo, folder: Path, caps: Caps) -> None:
    """The commit and its trees: about a fortieth of a whole shallow clone."""
    ref = f"{repo.revision}:{gitstore.ref(repo.revision)}"
    words = ["--depth=1", "--filter=blob:none", "origin", ref]
    gitstore.fetch(words, repo, folder, seconds=caps.seconds, disk=MAX_CLONE)


def _fetch_blobs(repo: Repo, folder: Path, store: Path, caps: Caps) -> int:
    """What the tree names, is wanted, and is neither in the store nor on its way into it."""
    wanted = _wanted(_tree(repo, folder, caps)) - _giants(folder, caps)
    with gitstore.claimed(gitstore.missing(folder, wanted)) as (ours, others):
        # Asked again: what another thread brought meanwhile is claimed by nobody any more.
        _fetch_named(repo, folder, caps, gitstore.missing(folder, ours))
        brought = gitstore.share(folder, store)
    if others:
        for event in others:
            event.wait()
        _fetch_named(repo, folder, caps, gitstore.missing(folder, wanted - ours))
        brought += gitstore.share(folder, store)
    return brought


def _fetch_named(repo: Repo, folder: Path, caps: Caps, blobs: set[str]) -> None:
    """Blobs by id; all of them where there is a giant among these, or the server gives none by its id."""
    if not blobs:
        return
    disk = EXPECTED[0] + EXPECTED[1] * len(blobs)
    words = ["--filter=blob:none", "--stdin", "origin"]
    try:
        gitstore.fetch(words, repo, folder, given=sorted(blobs), seconds=caps.seconds, disk=disk)
    except (gitrun.TooMuch, OutOfReach) as failure:
        if isinstance(failure, OutOfReach) and not _NOT_BY_ID.search(failure.detail):
            raise
        _fetch_by_size(repo, folder, caps)
        left = _giants(folder, caps) | gitstore.missing(folder, blobs)
        _giants_file(folder, caps).write_text("\n".join(sorted(left)))
        return
    if left := gitstore.missing(folder, blobs):
        raise OutOfReach("unreachable", f"the server left out {len(left)} of {len(blobs)} blobs")


def _fetch_by_size(repo: Repo, folder: Path, caps: Caps) -> None:
    """All blobs up to the cap on files, as the server knows their sizes and we do not."""
    limit = f"--filter=blob:limit={caps.file_bytes + 1}"
    words = ["--refetch", "--depth=1", limit, "origin", repo.revision]
    gitstore.fetch(words, repo, folder, seconds=caps.seconds, disk=MAX_CLONE)


def _giants(folder: Path, caps: Caps) -> set[str]:
    """Blobs that did not travel because the server knows them to be above the cap."""
    file = _giants_file(folder, caps)
    return set(file.read_text().split()) if file.exists() else set()


def _giants_file(folder: Path, caps: Caps) -> Path:
    return folder / f"larger-than-{caps.file_bytes}"


# ----------------------------------------------------------------------------------------- reading


class _Row(NamedTuple):
    mode: str
    blob: str
    path: str


def _tree(repo: Repo, folder: Path, caps: Caps) -> list[_Row]:
    """Everything but directories; raises ``BadRepo`` where it is more than the caps allow."""
    words = ["ls-tree", "-r", "-z", "--full-tree", repo.revision]
    try:
        listing = gitrun.local(words, folder, most=(1 << 20) + NAMES * caps.files)
    except gitrun.TooMuch:
        raise BadRepo("too_many_files", f"more than {caps.files}") from None
    lines = [line for line in listing.split(b"\0") if line]
    if len(lines) > caps.files:
        raise BadRepo("too_many_files", f"more than {caps.files}")
    return [_row(line) for line in lines]


def _row(line: bytes) -> _Row:
    facts, path = line.split(b"\t", 1)
    mode, _, blob = facts.decode("ascii").split()
    return _Row(mode, blob, path.decode("utf-8", "surrogateescape"))


def _wanted(rows: Iterable[_Row]) -> set[str]:
    files = [row for row in rows if row.mode not in _KINDS and tidy(row.path) is not None]
    return {row.blob for row in files if not _is_binary(row.path)}


def _is_binary(path: str) -> bool:
    return PurePosixPath(path).suffix.lower().removeprefix(".") in BINARY


class _Blobs:
    """A running ``git cat-file --batch``: asks for a blob, reads it, within the caps."""

    def __init__(self, folder: Path, caps: Caps) -> None:
        self.caps = caps
        self.total = 0
        command = ["git", "--git-dir", str(folder), "cat-file", "--batch"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=gitrun.offline(),
        )

    def __enter__(self) -> _Blobs:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def read(self, blob: str, size: int) -> bytes:
        """The content of a blob of a known size."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.total += size
        if self.total > self.caps.repo_bytes:
            raise BadRepo("too_large", f"more than {self.caps.repo_bytes} bytes")
        with contextlib.suppress(BrokenPipeError):  # git died: then it answers nothing
            self.process.stdin.write(f"{blob}\n".encode())
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        data = self.process.stdout.read(size + 1)  # with the line's end after every object
        if answer != f"{blob} blob {size}\n".encode() or len(data) != size + 1:
            raise BadRepo("broken_clone", f"no blob {blob} of {size} bytes")
        return data[:-1]


# ------------------------------------------------------------------------------------------- names


def split(url: str) -> tuple[str, str]:
    """An address and the revision wanted; refuses what git would take for a flag or a helper."""
    cut, path = url.rfind("@"), url.find("/", url.find("://") + 3)
    named = cut > path > 0 and url[cut - 1] != "/"  # neither a user before the host nor one in the path
    address, wanted = (url[:cut], url[cut + 1 :]) if named else (url, "HEAD")
    parts = urlsplit(address)
    if parts.scheme not in gitrun.SCHEMES or (parts.hostname or "").startswith("-") or "::" in address:
        raise Refusal(f"{address!r} is no git URL: it must begin with {', '.join(gitrun.SCHEMES)}, then ://.")
    if parts.password or (parts.username and parts.scheme in ("http", "https")):
        raise Refusal(f"The git URL for {parts.hostname} holds credentials: put a token in FATHOM_GIT_TOKEN.")
    if not wanted or wanted.startswith("-") or not re.fullmatch(r"[\w./+-]+", wanted):
        raise Refusal(f"{wanted!r} is no revision: give a branch, a tag or a commit after '@'.")
    return address, wanted


def key(address: str) -> str:
    """The name of the repo at an address: its host and path."""
    parts = urlsplit(address)
    path = parts.path.rstrip("/").removesuffix(".git").lstrip("/").replace(":", "_")
    return f"{parts.hostname or 'file'}/{path}"


def _folder(repo: Repo, cache: Path) -> Path:
    name = hashlib.sha256(repo.url.encode()).hexdigest()
    return cache / "git" / "repos" / name[:2] / f"{name}.git"
