"""Running git against servers and repositories that nobody vouches for.

git sees none of the machine's configuration, asks nobody for a password, and is killed when it takes
too long, fills the disk or says too much.  Only ssh, where a URL asks for it, goes by the user's own keys
and configuration.  A server that is busy or drops a connection is asked again
after a pause that all requests to its host keep.  Tokens come from ``FATHOM_GIT_TOKEN`` or the pool in
``FATHOM_GITHUB_TOKENS`` and reach git through its environment, so that they stand in no argument list,
file or log.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from corpus import Refusal
from crawl.sources.entry import OutOfReach

SCHEMES = ("https", "http", "ssh", "file")

SECONDS = 600.0
"""For one git command."""

MAX_OUTPUT = 64 << 20
"""Bytes of one answer: a hundred trees that name one another ten times each list 10**100 files."""

PAUSES = (2.0, 8.0, 30.0, 120.0)
"""Seconds between tries.  After a 429 fifteen times as long: GitHub asks for half an hour in the end."""

_STATUS = re.compile(r"(?:returned error: |HTTP )(\d{3})")
_DROPPED = re.compile(
    r"RPC failed|early EOF|hung up|disconnect|transfer closed|reset by peer|timed out|too slow|Empty reply|"
    r"Unable to create|cannot lock ref"  # a git that a killed run has left is about to end
)


class TooMuch(Exception):
    """git wrote more to the disk, or said more, than it was allowed."""


class _Busy(Exception):
    """The server may answer if it is asked again."""

    def __init__(self, detail: str, slow_down: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.slow_down = slow_down


def local(
    words: list[str], folder: Path | None = None, *, given: Iterable[str] = (), most: int | None = None
) -> bytes:
    """Run git on what is on the disk.  It talks to no one, even about an object that it lacks.

    Args:
        words: The command and its arguments.
        folder: The bare repository.
        given: Lines for its standard input.
        most: Bytes that it may say; ``MAX_OUTPUT`` if not given.

    Raises:
        OutOfReach: git failed; its last words are the detail.
        TooMuch: It said too much.
    """
    environment = {**_environment({}), "GIT_ALLOW_PROTOCOL": ""}
    return _run(words, folder, environment, given, SECONDS, 1 << 62, MAX_OUTPUT if most is None else most)


def remote(
    words: list[str],
    url: str,
    folder: Path | None = None,
    *,
    given: Iterable[str] = (),
    seconds: float | None = None,
    disk: int = 1 << 62,
) -> bytes:
    """Run git against the server of ``url``, which it knows as the remote ``origin``; asks again if busy.

    The URL is no argument, so nothing in it can be taken for one.

    Args:
        words, folder, given: As for ``local``.
        seconds: For each try; ``SECONDS`` if not given.
        disk: Bytes that ``folder`` may grow to.

    Raises:
        OutOfReach: It failed, for good or too often.
        TooMuch: It wrote or said too much.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    for pause in (*PAUSES, None):
        _wait_for(host)
        try:
            return _run(
                words, folder, _environment(_origin(url)), given, seconds or SECONDS, disk, MAX_OUTPUT
            )
        except _Busy as busy:
            if pause is None:
                raise OutOfReach("unreachable", busy.detail) from None
            _hold(host, pause * 15 if busy.slow_down else pause)
    raise AssertionError("the last try returns or raises")


def offline() -> dict[str, str]:
    """An environment for a git process that reads the disk alone."""
    return {**_environment({}), "GIT_ALLOW_PROTOCOL": ""}


# --------------------------------------------------------------------------------------- processes


def _run(
    words: list[str],
    folder: Path | None,
    environment: dict[str, str],
    given: Iterable[str],
    seconds: float,
    disk: int,
    most: int,
) -> bytes:
    # Without a folder of ours: git must not take the remotes of whatever repository this runs in.
    where = ["--git-dir", str(folder) if folder is not None else os.devnull]
    with (
        tempfile.TemporaryFile() as told,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        told.writelines(f"{line}\n".encode() for line in given)
        told.seek(0)
        try:
            process = subprocess.Popen(
                ["git", *where, *words],
                stdin=told,
                stdout=output,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Refusal("git is not installed: install it, or list packages and folders only.") from None

        def too_much() -> bool:
            said = max(os.fstat(file.fileno()).st_size for file in (output, errors))
            return said > most or (folder is not None and disk < 1 << 62 and _size(folder) > disk)

        _watch(process, seconds, too_much)
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4096))
        if process.returncode != 0:
            raise _failure(errors.read().decode("utf-8", "replace"))
        output.seek(0)
        return output.read()


def _watch(process: subprocess.Popen[bytes], seconds: float, too_much: Callable[[], bool]) -> None:
    """Wait for the end of a process, or kill it and all it started."""
    deadline = time.monotonic() + seconds
    for wait in itertools.chain((0.02, 0.05, 0.1, 0.2), itertools.repeat(0.5)):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
        ended = process.poll() is not None
        if too_much():
            _kill(process)
            raise TooMuch
        if ended:
            return
        if time.monotonic() > deadline:
            _kill(process)
            raise OutOfReach("unreachable", f"no end after {seconds:.0f} seconds")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failure(said: str) -> Exception:
    """What git's last words mean: worth another try, or not."""
    statuses = [int(status) for status in _STATUS.findall(said)]
    lines = said.strip().splitlines() or ["git failed"]
    detail = f"http {statuses[-1]}" if statuses else lines[-1][:200]
    if statuses and (statuses[-1] >= 500 or statuses[-1] in (408, 429)):
        return _Busy(detail, slow_down=statuses[-1] == 429)
    if not statuses and _DROPPED.search(said):
        return _Busy(detail, slow_down=False)
    return OutOfReach("unreachable", detail)


def _size(folder: Path) -> int:
    total = 0
    for place, folders, files in os.walk(folder):  # passes over a folder that git has removed meanwhile
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):  # and git renames and deletes
                total += os.lstat(f"{place}/{name}").st_size
    return total


# ---------------------------------------------------------------------------------------- patience

_free_at: defaultdict[str, float] = defaultdict(float)
_gate = threading.Lock()


def _hold(host: str, seconds: float) -> None:
    """No request goes to ``host`` before so many seconds have passed, from whichever thread."""
    with _gate:
        _free_at[host] = max(_free_at[host], time.monotonic() + seconds)


def _wait_for(host: str) -> None:
    while (left := _free_at[host] - time.monotonic()) > 0:
        time.sleep(left)


# ------------------------------------------------------------------------------------- environment


def _origin(url: str) -> dict[str, str]:
    return {"remote.origin.url": url, "remote.origin.promisor": "true"}


_turn = itertools.count()


def _token(host: str) -> str | None:
    """The token for a host, GitHub's in turn where there are several."""
    if host == os.environ.get("FATHOM_GIT_TOKEN_HOST", "github.com") and os.environ.get("FATHOM_GIT_TOKEN"):
        return os.environ["FATHOM_GIT_TOKEN"]
    pool = [token for token in re.split(r"[\s,]+", os.environ.get("FATHOM_GITHUB_TOKENS", "")) if token]
    return pool[next(_turn) % len(pool)] if pool and host == "github.com" else None


def _environment(remote: dict[str, str]) -> dict[str, str]:
    """git without the machine's configuration, prompts and helpers, and with the token if there is one."""
    settings = {
        "protocol.allow": "never",
        **{f"protocol.{scheme}.allow": "always" for scheme in SCHEMES},
        "core.hooksPath": os.devnull,
        "credential.helper": "",
        "http.lowSpeedLimit": "1000",
        "http.lowSpeedTime": "60",
        "fetch.unpackLimit": "1",
        "gc.auto": "0",
        "maintenance.auto": "false",
        **remote,
    }
    for host in {os.environ.get("FATHOM_GIT_TOKEN_HOST", "github.com"), "github.com"}:
        if token := _token(host):
            # git sends nothing to a public repository of its own accord, and anonymous clones are throttled.
            basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
            settings[f"http.https://{host}/.extraHeader"] = f"Authorization: Basic {basic}"
    kept = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "SSH_AUTH_SOCK")
    proxies = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "no_proxy")]
    environment = {name: os.environ[name] for name in (*kept, *proxies) if name in os.environ}
    environment |= {
        "HOME": os.devnull,  # curl would take names and passwords from ~/.netrc
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes",
        "GIT_CONFIG_COUNT": str(len(settings)),
        "LC_ALL": "C",
    }
    for number, (key, value) in enumerate(settings.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment
