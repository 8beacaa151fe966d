"""Packages by name: what a registry says is their source archive, its version and its hash.

A name may have a version, after ``@``; without one it is the newest that is released.  What comes out
are rows like those of a pinned list, so a run is pinned by its table of repos.
"""

from __future__ import annotations

import base64
import binascii
import lzma
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from packaging.utils import InvalidSdistFilename, parse_sdist_filename
from packaging.version import InvalidVersion, Version

from corpus import Refusal
from crawl.sources import mirrors, packages
from crawl.sources.entry import OutOfReach, Repo

MAX_INDEX = 1 << 30
"""Bytes of Debian's index of sources, unpacked; in 2026 it has 60 MB."""

AT_A_TIME = 8

_SPEC = re.compile(r"(?P<name>(?:@[\w.-]+/)?[A-Za-z0-9][\w.+-]*)(?:@(?P<version>[A-Za-z0-9][\w.+~:-]*))?")
_SPDX = re.compile(r"[A-Za-z0-9.+() -]{1,200}")
_UNPACKED = re.compile(r"\.tar\.(gz|bz2|xz|zst)$|\.tgz$|\.zip$")


class Wanted(NamedTuple):
    """A name and, if it was given, a version."""

    name: str
    version: str | None


def list_repos(
    pypi: tuple[str, ...], npm: tuple[str, ...], debian: tuple[str, ...], suite: str
) -> list[Repo]:
    """Every named package at one version; refuses names that their registry does not know."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = list(pool.map(lambda word: _asked("pypi", word, _on_pypi), pypi))
        found += pool.map(lambda word: _asked("npm", word, _on_npm), npm)
    return found + (_on_debian([_wanted(word) for word in debian], suite) if debian else [])


def _asked(registry: str, word: str, resolve: Callable[[Wanted], Repo]) -> Repo:
    try:
        return resolve(_wanted(word))
    except OutOfReach as failure:
        raise Refusal(
            f"{registry} package {word}: {failure.detail}: check its name and the network."
        ) from None


def _wanted(word: str) -> Wanted:
    found = _SPEC.fullmatch(word)
    if not found:
        raise Refusal(f"{word!r} is no package: give a name, or name@version.")
    return Wanted(found["name"], found["version"])


# ------------------------------------------------------------------------------------------- PyPI


def _on_pypi(wanted: Wanted) -> Repo:
    """From the index in its JSON form (PEP 691), which mirrors have too."""
    project = re.sub(r"[-_.]+", "-", wanted.name).lower()
    answer = mirrors.ask(f"{mirrors.index()}/{project}/", accept=mirrors.SIMPLE)
    try:
        files = answer.json()["files"]
        releases = {version: file for file in files if (version := _sdist(file, wanted)) is not None}
        if not releases:
            raise OutOfReach("unreachable", "it has no source archive of that version")
        version = max(releases)
        file = releases[version]
        row = {"name": wanted.name, "version": str(version), "file": file["filename"]}
        row |= {"sha256": file["hashes"]["sha256"], "bytes": str(file.get("size") or "")}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OutOfReach("unreachable", "the index is no index in JSON") from None
    return packages.repo({"registry": "pypi", **row}, f"pypi package {wanted.name}")


def _sdist(file: Mapping[str, Any], wanted: Wanted) -> Version | None:
    """The version that a file is the source archive of, if it is one that may be taken."""
    try:
        _, version = parse_sdist_filename(file["filename"])
        if wanted.version is not None:
            return version if version == Version(wanted.version) else None
    except (InvalidSdistFilename, InvalidVersion):
        return None
    return None if version.is_prerelease or file.get("yanked") else version


# -------------------------------------------------------------------------------------------- npm


def _on_npm(wanted: Wanted) -> Repo:
    name = quote(wanted.name, safe="@")
    answer = mirrors.ask(f"{mirrors.npm_registry()}/{name}/{quote(wanted.version or 'latest')}")
    try:
        about = answer.json()
        digest = _sha512(about["dist"])
        file = unquote(urlsplit(about["dist"]["tarball"]).path.rsplit("/", 1)[-1])
        row = {"name": wanted.name, "version": about["version"], "file": file, "sha512": digest}
        license_ = about.get("license")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OutOfReach("unreachable", "the answer describes no package") from None
    if isinstance(license_, str) and _SPDX.fullmatch(license_):
        row["license"] = license_
    return packages.repo({"registry": "npm", **row}, f"npm package {wanted.name}")


def _sha512(dist: Mapping[str, Any]) -> str:
    """The registry's own hash (subresource integrity); npm states no SHA-256."""
    for word in str(dist.get("integrity", "")).split():
        if word.startswith("sha512-"):
            try:
                return base64.b64decode(word.removeprefix("sha512-"), validate=True).hex()
            except binascii.Error:
                break
    raise OutOfReach("unreachable", "the registry states no SHA-512 of it")


# ----------------------------------------------------------------------------------------- Debian


def _on_debian(wanted: list[Wanted], suite: str) -> list[Repo]:
    """From the index of a suite's sources: upstream's own archive, without Debian's changes."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", suite):
        raise Refusal(f"{suite!r} is no suite of Debian: give a name such as stable.")
    names = {one.name for one in wanted}
    try:
        found = {}
        for stanza in _stanzas(f"{mirrors.debian_mirror()}/dists/{suite}/main/source/Sources.xz"):
            if stanza.get("Package") in names:
                found[stanza["Package"], stanza["Version"]] = stanza
    except OutOfReach as failure:
        raise Refusal(
            f"Debian's index of {suite}: {failure.detail}: check the suite and the network."
        ) from None
    return [_debian_repo(one, found, suite) for one in wanted]


def _debian_repo(wanted: Wanted, found: dict[tuple[str, str], dict[str, str]], suite: str) -> Repo:
    # A suite may hold several versions of a package while one replaces the other: the last in the index.
    versions = [version for name, version in found if name == wanted.name]
    version = wanted.version or (versions[-1] if versions else "")
    if version not in versions:
        has = f" (it has {', '.join(versions)})" if versions else ""
        raise Refusal(f"Debian {suite} has no source package {wanted.name} {version}".rstrip() + f"{has}.")
    upstream = version.split(":", 1)[-1]
    start = f"{wanted.name}_{upstream.rsplit('-', 1)[0]}"
    for line in found[wanted.name, version].get("Checksums-Sha256", "").splitlines():
        sha256, size, file = (*line.split(), "", "", "")[:3]
        if file.startswith((f"{start}.orig.tar.", f"{start}.tar.")) and _UNPACKED.search(file):
            row = {"name": wanted.name, "version": upstream, "file": file, "sha256": sha256, "bytes": size}
            return packages.repo({"registry": "debian", **row}, f"Debian package {wanted.name}")
    raise Refusal(f"Debian package {wanted.name} {version} has no source archive that can be read.")


def _stanzas(url: str) -> Iterator[dict[str, str]]:
    """The paragraphs of an index: fields by name, continued lines joined."""
    with tempfile.TemporaryFile() as file:
        mirrors.download(url, file, limit=MAX_INDEX)
        file.seek(0)
        try:
            yield from _paragraphs(file)
        except (lzma.LZMAError, EOFError):
            raise OutOfReach("unreachable", "it is broken") from None


def _paragraphs(file: IO[bytes]) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    name, read = "", 0
    with lzma.open(file) as lines:
        for line in lines:
            read += len(line)
            if read > MAX_INDEX:
                raise OutOfReach("unreachable", f"it has more than {MAX_INDEX} bytes")
            text = line.decode("utf-8", "replace").rstrip("\n")
            if not text:
                if fields:
                    yield fields
                fields, name = {}, ""
            elif text[0] in " \t":
                fields[name] = fields.get(name, "") + "\n" + text.strip()
            else:
                name, _, value = text.partition(":")
                fields[name] = value.strip()
    if fields:
        yield fields
