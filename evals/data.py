"""The files that suites are made from: the user's, an installed package's, or their publisher's, by hash.

Nothing of them is shipped.  A file is looked for in the folder that the user gives, then in the package
that carries it, then in the cache, and at last it is downloaded from where its owners publish it.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import httpx

from corpus import Refusal

log = logging.getLogger(__name__)

LARGEST = 256 << 20
"""Bytes of a file, packed or not; the largest of a suite is some 20 MB."""
TIMEOUT = httpx.Timeout(20.0, connect=10.0)

DEEPSEEK = (
    "https://raw.githubusercontent.com/deepseek-ai/DeepSeek-Coder/"
    "2f9fd85927c669dae3c0fbb2d607274023af243e/Evaluation"
)
"""DeepSeek's harness with its data, at the commit that all its suites are taken from."""


@dataclass(frozen=True)
class Source:
    """One file of a suite as its owners publish it."""

    path: str
    """Its place below the user's folder, where it may be gzipped and then also end in ``.gz``."""
    url: str
    sha256: str | None
    """Of the file unpacked: gzip's header differs from one packer to the next.  None if it is not known:
    then the file is the user's to give, and never downloaded."""
    package: str | None = None
    """Where an installed package carries it: ``module/path/in/it``."""


class Absent(Exception):
    """A file that can be had nowhere; says what was tried."""


def read(source: Source, folder: Path | None, mirror: str, cache: Path | None) -> bytes:
    """The unpacked bytes of a file.

    Args:
        folder: The user's own files; one whose hash is not the published one is used, and said so.
        mirror: Downloads ``mirror/path`` in place of the publisher's URL.
        cache: Where downloads are kept.

    Raises:
        Absent: it is neither there nor to be downloaded.
    """
    given = _given(source, folder)
    if given is not None:
        return given
    if source.sha256 is None:
        raise Absent(f"{source.url} has it, but no hash of it is known to check a download by")
    for path in (_packaged(source), kept := (cache or _default_cache()) / "suites" / source.sha256):
        if path is not None and path.exists():
            data = _unpacked(path.read_bytes(), path)
            if hashlib.sha256(data).hexdigest() == source.sha256:
                return data
    data = _download(source, f"{mirror.rstrip('/')}/{source.path}" if mirror else source.url)
    kept.parent.mkdir(parents=True, exist_ok=True)
    aside = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    aside.write_bytes(data)
    aside.replace(kept)
    return data


def _given(source: Source, folder: Path | None) -> bytes | None:
    if folder is None:
        return None
    if not folder.is_dir():
        raise Refusal(f"{folder} is not a folder: give the one that holds {source.path}, or leave out data.")
    for path in (folder / source.path, folder / f"{source.path}.gz"):
        if path.exists():
            data = _unpacked(path.read_bytes(), path)
            if source.sha256 not in (None, hashlib.sha256(data).hexdigest()):
                log.warning("%s is not the file as published: scores may not compare.", path)
            return data
    return None


def _packaged(source: Source) -> Path | None:
    if source.package is None:
        return None
    module, _, path = source.package.partition("/")
    found = importlib.util.find_spec(module)
    return Path(found.origin).parent / path if found is not None and found.origin is not None else None


def _default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "fathom"


def _unpacked(data: bytes, name: Path | str) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            unpacked = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Refusal(f"{name} is a damaged gzip file ({error}): fetch it again.") from None
    if len(unpacked) > LARGEST:
        raise Refusal(f"{name} unpacks to more than {LARGEST >> 20} MiB: that is no file of a suite.")
    return unpacked


def _download(source: Source, url: str) -> bytes:
    """The file at ``url`` if it is the one that was published."""
    packed = bytearray()
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT, follow_redirects=True) as response:
            response.raise_for_status()
            for piece in response.iter_bytes():
                packed += piece
                if len(packed) > LARGEST:
                    raise Absent(f"{url}: more than {LARGEST >> 20} MiB came")
        data = _unpacked(bytes(packed), url)
    except (httpx.HTTPError, httpx.InvalidURL, Refusal) as error:
        raise Absent(f"{url}: {error}") from None
    if (found := hashlib.sha256(data).hexdigest()) != source.sha256:
        raise Absent(f"{url}: its sha256 is {found}, not that of the file as published")
    return data
