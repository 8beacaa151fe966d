"""Git repositories by URL, read from the object store of a bare clone: nothing is ever checked out.

So no hook, filter, attribute or configuration of the repository takes effect, and no file of it is
written under its own name.  The clone is shallow and leaves out blobs that are larger than the cap,
where the server can do so.  A token comes from ``FATHOM_GIT_TOKEN`` and goes to git through its
environment, so that it stands in no argument list, file or log.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from corpus import Refusal
from crawl.sources.entry import BadRepo, Caps, Entry, OutOfReach, Repo

BLOB_LIMIT = "10m"
"""Blobs above this do not travel; ``Caps.file_bytes`` rejects them anyway."""

SECONDS = 600
"""For one git command."""

MAX_CLONE = 4 << 30
"""Bytes on disk; a larger clone is given up."""

MAX_OUTPUT = 64 << 20
"""Bytes of one answer: a hundred trees that name one another ten times each list 10**100 files."""

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SCHEMES = ("https", "http", "ssh", "file")
_KINDS = {"120000": "symlink", "160000": "submodule"}


def list_repo(url: str) -> Repo:
    """Resolve a URL, optionally with @REVISION, to a repo at one commit (asks the server)."""
    address, wanted = _split(url)
    key = _key(address)
    if _COMMIT.fullmatch(wanted):
        return Repo(key, wanted, "git", address)
    # A tag that is an object of its own has its commit beside it, under the same name and "^{}".
    names = [f"refs/heads/{wanted}", f"refs/tags/{wanted}^{{}}", f"refs/tags/{wanted}"]
    names = ["HEAD"] if wanted == "HEAD" else names
    try:
        refs = _git(["ls-remote", "--", address, *names]).decode("ascii", "replace").splitlines()
    except OutOfReach as error:
        raise Refusal(f"{address}: {error.detail}: check the URL and the network.") from None
    commits = {name: commit for commit, name in (line.split("\t", 1) for line in refs)}
    for name in names:
        if _COMMIT.fullmatch(commits.get(name, "")):
            return Repo(key, commits[name], "git", address)
    raise Refusal(f"{address} has no revision {wanted!r}: give a branch, a tag or a commit after '@'.")


def obtain(repo: Repo, cache: Path) -> None:
    """Fetch the one commit into a bare clone in the cache."""
    clone = _clone(repo, cache)
    clone.parent.mkdir(parents=True, exist_ok=True)
    with clone.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if clone.exists():
            return
        aside = clone.with_suffix(".part")
        shutil.rmtree(aside, ignore_errors=True)
        _git(["init", "--quiet", "--bare", "--template=", "--", str(aside)])
        fetch = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules"]
        _git([*fetch, f"--filter=blob:limit={BLOB_LIMIT}", "--", repo.url, repo.revision], aside)
        aside.replace(clone)


def entries(repo: Repo, cache: Path, caps: Caps) -> Iterator[Entry]:
    """The tree of the commit, in path order, blobs read in one stream."""
    clone = _clone(repo, cache)
    try:
        listing = _git(["ls-tree", "-r", "-z", "--full-tree", repo.revision], clone)
        objects = _git(["rev-list", "--objects", "--missing=print", "--no-walk", repo.revision], clone)
    except OutOfReach as error:
        raise BadRepo("broken_clone", error.detail) from None
    absent = {line[1:] for line in objects.decode("utf-8", "replace").splitlines() if line.startswith("?")}
    rows = [_row(line) for line in listing.split(b"\0") if line]
    if len(rows) > caps.files:
        raise BadRepo("too_many_files", f"more than {caps.files}")
    with _Blobs(clone, caps) as blobs:
        for mode, blob, path in rows:
            if mode in _KINDS:
                yield Entry(path, _KINDS[mode], 0)
            elif blob in absent:
                yield Entry(path, "file", caps.file_bytes + 1)
            else:
                size, data = blobs.read(blob)
                yield Entry(path, "file", size, data)


class _Blobs:
    """A running ``git cat-file --batch``: asks for a blob, reads it, within the caps."""

    def __init__(self, clone: Path, caps: Caps) -> None:
        self.caps = caps
        self.total = 0
        command = ["git", "--git-dir", str(clone), "cat-file", "--batch"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_offline()
        )

    def __enter__(self) -> _Blobs:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def read(self, blob: str) -> tuple[int, bytes | None]:
        """Size and content, which is None where it is larger than the cap."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # git died: then it answers nothing
            self.process.stdin.write(f"{blob}\n".encode())
            self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 3 or answer[1] != b"blob":
            raise BadRepo("broken_clone", f"no blob {blob}")
        size = int(answer[2])
        self.total += size
        if self.total > self.caps.repo_bytes:
            raise BadRepo("too_large", f"more than {self.caps.repo_bytes} bytes")
        keep = size <= self.caps.file_bytes
        pieces: list[bytes] = []
        left = size
        while left:
            piece = self.process.stdout.read(min(left, 1 << 16))
            if not piece:
                raise BadRepo("broken_clone", f"blob {blob} ends early")
            left -= len(piece)
            if keep:
                pieces.append(piece)
        self.process.stdout.read(1)  # the line's end after every object
        return size, b"".join(pieces) if keep else None


def _split(url: str) -> tuple[str, str]:
    """An address and the revision wanted; refuses what git would take for a flag or a helper."""
    cut = url.rfind("@")
    address, wanted = (url[:cut], url[cut + 1 :]) if cut > url.rfind("/") else (url, "HEAD")
    parts = urlsplit(address)
    if parts.scheme not in _SCHEMES or (parts.hostname or "").startswith("-") or "::" in address:
        raise Refusal(f"{address!r} is no git URL: it must begin with {', '.join(_SCHEMES)}, then ://.")
    if parts.password or (parts.username and parts.scheme in ("http", "https")):
        raise Refusal(f"The git URL for {parts.hostname} holds credentials: put a token in FATHOM_GIT_TOKEN.")
    if not wanted or wanted.startswith("-") or not re.fullmatch(r"[\w./+-]+", wanted):
        raise Refusal(f"{wanted!r} is no revision: give a branch, a tag or a commit after '@'.")
    return address, wanted


def _key(address: str) -> str:
    parts = urlsplit(address)
    path = parts.path.rstrip("/").removesuffix(".git").lstrip("/").replace(":", "_")
    return f"{parts.hostname or 'file'}/{path}"


def _clone(repo: Repo, cache: Path) -> Path:
    name = hashlib.sha256(f"{repo.url} {repo.revision}".encode()).hexdigest()
    return cache / "git" / name[:2] / f"{name}.git"


def _row(line: bytes) -> tuple[str, str, str]:
    """Mode, object and path of a line of ``git ls-tree``."""
    facts, path = line.split(b"\t", 1)
    mode, _, blob = facts.decode("ascii").split()
    return mode, blob, path.decode("utf-8", "surrogateescape")


def _git(words: list[str], clone: Path | None = None) -> bytes:
    """Run git, within limits of time and disk; raises ``OutOfReach`` with git's last words."""
    where = ["--git-dir", str(clone)] if clone is not None else []
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                ["git", *where, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=_environment(),
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Refusal("git is not installed: install it, or list packages and folders only.") from None
        deadline = time.monotonic() + SECONDS
        running = True
        while running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
            running = process.poll() is None
            said = max(os.fstat(file.fileno()).st_size for file in (output, errors))
            large = said > MAX_OUTPUT or (running and clone is not None and _size(clone) > MAX_CLONE)
            if large or (running and time.monotonic() > deadline):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise OutOfReach("unreachable", "too large" if large else "timed out")
        output.seek(0)
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4096))
        if process.returncode != 0:
            lines = errors.read().decode("utf-8", "replace").strip().splitlines() or ["git failed"]
            raise OutOfReach("unreachable", lines[-1][:200])
        return output.read()


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink())


def _environment() -> dict[str, str]:
    """git without the machine's configuration, prompts and helpers, and with the token if there is one."""
    settings = {
        "protocol.allow": "never",
        **{f"protocol.{scheme}.allow": "always" for scheme in _SCHEMES},
        "core.hooksPath": os.devnull,
        "credential.helper": "",
        "http.lowSpeedLimit": "1000",
        "http.lowSpeedTime": "60",
        "gc.auto": "0",
    }
    if token := os.environ.get("FATHOM_GIT_TOKEN"):
        # git sends nothing to a public repository of its own accord, and anonymous clones are throttled.
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        host = os.environ.get("FATHOM_GIT_TOKEN_HOST", "github.com")
        settings[f"http.https://{host}/.extraHeader"] = f"Authorization: Basic {basic}"
    kept = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "SSH_AUTH_SOCK")
    proxies = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "no_proxy")]
    environment = {name: os.environ[name] for name in (*kept, *proxies) if name in os.environ}
    environment |= {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (key, value) in enumerate(settings.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


def _offline() -> dict[str, str]:
    """An environment in which git talks to no one, even about a blob that it lacks."""
    return {**_environment(), "GIT_ALLOW_PROTOCOL": ""}
