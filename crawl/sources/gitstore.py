"""One store of objects for all git repositories, and what of it is missing or on its way.

A repository is a bare folder with its refs and shallow boundary; what it fetches lands there first, so
that its size can be watched, and moves into the store, which git finds as its alternate.  The name of
an object is a hash of its content: no repository can put anything under another's name.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from crawl.sources import gitrun
from crawl.sources.entry import OutOfReach, Repo

UNINDEXED = (64, 0.1)
"""Packs, and share of all packs, that may stand outside of the one index before it is written anew."""

_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
"""A fetch notes there whom to ask for what is missing; without the note git says that it is missing."""

_ALTERNATES = "objects/info/alternates"

_PARTS = (".pack", ".promisor", ".rev", ".idx")
"""Of a pack, the one by which git finds it last."""


def of(cache: Path) -> Path:
    """The store of a cache: a folder of objects, without refs."""
    return cache / "git" / "objects"


def prepare(folder: Path, store: Path) -> set[str]:
    """Make ``folder`` a bare repository that sees the store; returns the revisions whose trees are here.

    One whose objects are gone from the store, because somebody has tidied up, begins anew.
    """
    (store / "pack").mkdir(parents=True, exist_ok=True)
    if (folder / _ALTERNATES).exists():
        (folder / "config").write_text(_CONFIG)
        _clear(folder)
        with contextlib.suppress(OutOfReach):
            return _revisions(folder)
    shutil.rmtree(folder, ignore_errors=True)
    gitrun.local(["init", "--quiet", "--bare", "--template=", "--", str(folder)])
    (folder / _ALTERNATES).parent.mkdir(exist_ok=True)
    (folder / "config").write_text(_CONFIG)
    (folder / _ALTERNATES).write_text("../../../../objects\n")
    return set()


def fetch(
    words: list[str], repo: Repo, folder: Path, *, disk: int, seconds: float, given: Iterable[str] = ()
) -> None:
    """Fetch from the repository's server; raises as ``gitrun.remote`` does and leaves nothing half-done."""
    quiet = ["--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
    # No negotiation about blobs: the server would take all blobs of a commit that we have for ours.
    plain = ["-c", "fetch.negotiationAlgorithm=noop"] if "--stdin" in words or "--refetch" in words else []
    try:
        gitrun.remote(
            [*plain, "fetch", *quiet, *words], repo.url, folder, given=given, seconds=seconds, disk=disk
        )
    finally:
        (folder / "config").write_text(_CONFIG)
        _clear(folder)


def share(folder: Path, store: Path) -> int:
    """Move a repository's packs into the store; returns their bytes."""
    packs = folder / "objects" / "pack"
    size = sum(pack.stat().st_size for pack in packs.glob("*.pack"))
    for suffix in _PARTS:
        for part in packs.glob(f"*{suffix}"):
            part.replace(store / "pack" / part.name)
    _index(folder, store)
    return size


def ref(revision: str) -> str:
    """The ref that says: this commit and its trees are here."""
    return f"refs/fathom/{revision}"


def sizes(folder: Path, blobs: set[str]) -> dict[str, int]:
    """The bytes of those that the repository or the store holds; nothing is unpacked for that."""
    ordered = sorted(blobs)
    words = ["cat-file", "--batch-check=%(objecttype) %(objectsize)"]
    answers = gitrun.local(words, folder, given=ordered, most=(1 << 10) + 96 * len(ordered)) if blobs else b""
    pairs = zip(ordered, (answer.split() for answer in answers.splitlines()), strict=True)
    return {name: int(answer[1]) for name, answer in pairs if answer[0] == b"blob"}


def missing(folder: Path, blobs: set[str]) -> set[str]:
    """Those that neither the repository nor the store holds."""
    return blobs - sizes(folder, blobs).keys()


def _clear(folder: Path) -> None:
    """Remove what a fetch that was stopped has left behind."""
    for left in (*folder.rglob("tmp_*"), *folder.rglob("*.lock")):
        left.unlink(missing_ok=True)


def _revisions(folder: Path) -> set[str]:
    words = ["for-each-ref", "--format=%(objecttype) %(objectname)", ref("")]  # the type needs the object
    said = gitrun.local(words, folder).decode("ascii")
    return {line.split()[1] for line in said.splitlines()}


_indexing = threading.Lock()


def _index(folder: Path, store: Path) -> None:
    """One index for all packs, now and then: git looks through every pack for what it does not have."""
    packs = sum(1 for _ in (store / "pack").glob("*.idx"))
    note = store / "pack" / "indexed"
    indexed = int(note.read_text()) if note.exists() else 0
    if packs - indexed > max(UNINDEXED[0], UNINDEXED[1] * packs) and _indexing.acquire(blocking=False):
        try:
            gitrun.local(["multi-pack-index", f"--object-dir={store}", "write"], folder)
            note.write_text(str(packs))
        finally:
            _indexing.release()


# ---------------------------------------------------------------------------------------- in flight

_claims: dict[str, threading.Event] = {}
_claiming = threading.Lock()


@contextlib.contextmanager
def claimed(blobs: set[str]) -> Iterator[tuple[set[str], set[threading.Event]]]:
    """Of ``blobs``, those that this thread is to fetch while the block runs, and the events after which
    the others have come, or not, by other threads.

    To wait for them is safe after the block only: nobody waits who holds a claim.
    """
    done = threading.Event()
    with _claiming:
        theirs = {_claims[blob] for blob in blobs if blob in _claims}
        ours = {blob for blob in blobs if blob not in _claims}
        _claims.update(dict.fromkeys(ours, done))
    try:
        yield ours, theirs
    finally:
        with _claiming:
            for blob in ours:
                del _claims[blob]
        done.set()
