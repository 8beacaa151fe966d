"""Where PyPI, npm and Debian are for this machine, and asking them with patience.

``PIP_INDEX_URL`` or pip's configuration, ``npm_config_registry`` and ``DEBIAN_MIRROR`` name mirrors.
"""

from __future__ import annotations

import configparser
import os
import ssl
import sys
import time
from collections.abc import Callable
from functools import cache as once
from pathlib import Path
from typing import IO, TypeVar

import httpx

from corpus import Refusal
from crawl.sources.entry import OutOfReach

PYPI = "https://pypi.org/simple"
SIMPLE = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
"""PyPI's index in JSON (PEP 691), or in HTML where a mirror has no other."""

ATTEMPTS = 5

MAX_ANSWER = 64 << 20
"""Bytes of an answer that is not a file; the index of PyPI's largest projects has some 10 MB."""

SECONDS = 300.0
"""For one answer: a server may send a byte a second and never be idle."""

T = TypeVar("T")


class Absent(OutOfReach):
    """The server has nothing under that address (404)."""


@once
def client() -> httpx.Client:
    # The system's certificates, as pip and npm use them, so that a mirror with its own works.
    return httpx.Client(
        verify=ssl.create_default_context(),
        timeout=httpx.Timeout(60, connect=20),
        follow_redirects=True,
        headers={"User-Agent": "fathom-coder", "Accept-Encoding": "identity"},
    )


def patiently(attempt: Callable[[], T]) -> T:
    """What ``attempt`` gives, tried again where the server or the network may do better later.

    Raises:
        OutOfReach: They did not, or no try can help.
    """
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            _wait_or_give_up(error, number)
        except (httpx.RequestError, httpx.InvalidURL) as error:  # redirects without end, for one
            raise OutOfReach("unreachable", type(error).__name__) from None
    raise AssertionError("the last try returns or raises")


def ask(url: str, accept: str = "*/*") -> httpx.Response:
    """What a registry answers; raises ``OutOfReach``."""

    return patiently(lambda: asked_once(url, accept))


def asked_once(url: str, accept: str = "*/*") -> httpx.Response:
    """The answer of one try, read up to a limit of bytes and seconds; raises httpx's errors, too."""
    until, body = time.monotonic() + SECONDS, bytearray()
    with client().stream("GET", url, headers={"Accept": accept}) as response:
        response.raise_for_status()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MAX_ANSWER or time.monotonic() > until:
                raise OutOfReach("unreachable", f"more than {MAX_ANSWER:,} bytes or {SECONDS:.0f} seconds")
    headers = {"Content-Type": response.headers.get("Content-Type", "")}
    return httpx.Response(
        response.status_code, headers=headers, content=bytes(body), request=response.request
    )


def download(url: str, file: IO[bytes], limit: int) -> None:
    """A whole file, as it is stored; raises ``OutOfReach``, also where it has more than ``limit`` bytes."""

    def attempt() -> None:
        file.seek(0)
        file.truncate()
        with client().stream("GET", url) as response:
            response.raise_for_status()
            for piece in response.iter_raw():
                file.write(piece)
                if file.tell() > limit:
                    raise OutOfReach("unreachable", f"more than {limit} bytes")

    patiently(attempt)


def _wait_or_give_up(error: httpx.HTTPError, attempt: int) -> None:
    """Back off before another try; raise ``OutOfReach`` where none is worth it."""
    status, seconds = "", 0.5 * 2**attempt
    if isinstance(error, httpx.HTTPStatusError):
        status = f"http {error.response.status_code}"
        if error.response.status_code == 404:
            raise Absent("unreachable", status) from None
        if error.response.status_code < 500 and error.response.status_code not in (408, 425, 429):
            raise OutOfReach("unreachable", status) from None
        after = error.response.headers.get("Retry-After", "")
        seconds = max(seconds, min(float(after), 60.0)) if after.isdecimal() else seconds
    if attempt + 1 == ATTEMPTS:
        raise OutOfReach("unreachable", status or type(error).__name__) from None
    time.sleep(seconds)


# ------------------------------------------------------------------------------------------ where


def npm_registry() -> str:
    """npm's registry, or the mirror that npm is configured with in the environment."""
    # npm reads it in either case, and sets the lower one.
    named = {key.lower(): value for key, value in os.environ.items()}.get("npm_config_registry")
    return (named or "https://registry.npmjs.org").rstrip("/")


def debian_mirror() -> str:
    """Debian's archive."""
    return os.environ.get("DEBIAN_MIRROR", "https://deb.debian.org/debian").rstrip("/")


def index() -> str:
    """The index that pip is configured with; a URL that may hold a password, so it is never shown."""
    url = os.environ.get("PIP_INDEX_URL")
    config = configparser.ConfigParser(interpolation=None)
    files: list[str | Path] = [
        "/etc/pip.conf",
        Path.home() / ".pip/pip.conf",
        Path.home() / ".config/pip/pip.conf",
        Path(sys.prefix) / "pip.conf",
        os.environ.get("PIP_CONFIG_FILE", ""),
    ]
    try:
        config.read(files)
    except configparser.Error as error:
        raise Refusal(f"pip's configuration is broken: {str(error).splitlines()[0]}") from None
    return (url or config.get("global", "index-url", fallback="") or PYPI).rstrip("/")
