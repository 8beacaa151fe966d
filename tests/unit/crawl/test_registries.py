"""Names become pinned archives, as registries describe them; a registry that talks nonsense is refused."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import lzma
import tarfile
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from corpus import Refusal
from crawl.config import Fetch, List
from crawl.fetch import fetch_repos
from crawl.listing import list_repos
from crawl.sources import mirrors, registries
from crawl.sources.entry import OutOfReach


def archive(text: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        member = tarfile.TarInfo("pkg-1/a.py")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


PYPI, NPM, DEBIAN = archive("pypi = 1\n"), archive("npm = 1\n"), archive("debian = 1\n")


def file(name: str, **more: Any) -> dict[str, Any]:
    hashes = {"sha256": hashlib.sha256(PYPI).hexdigest()}
    return {"filename": name, "url": f"/files/{name}", "hashes": hashes, "size": len(PYPI), **more}


SIMPLE = {
    "files": [
        file("pkg-1.9-py3-none-any.whl"),
        file("pkg-1.9.tar.gz"),
        file("pkg-1.10.tar.gz"),
        file("pkg-2.0rc1.tar.gz"),
        file("pkg-3.0.tar.gz", yanked="broken"),
        file("other stuff"),
    ]
}
MANIFEST = {
    "version": "4.5.6",
    "license": "MIT",
    "dist": {
        "tarball": "http://elsewhere/@scope/lib/-/lib-4.5.6.tgz",
        "integrity": "sha512-" + base64.b64encode(hashlib.sha512(NPM).digest()).decode(),
    },
}
SOURCES = f"""Package: zlib
Version: 1:1.3+x-1
Checksums-Sha256:
 {"0" * 64} 2009 zlib_1.3+x-1.dsc
 {hashlib.sha256(DEBIAN).hexdigest()} {len(DEBIAN)} zlib_1.3+x.orig.tar.gz
 {"1" * 64} 2009 zlib_1.3+x.orig.tar.gz.asc
 {"2" * 64} 2009 zlib_1.3+x-1.debian.tar.xz
Directory: pool/main/z/zlib

Package: only-binary
Version: 1-1
"""
ANSWERS = {
    "/simple/pkg/": json.dumps(SIMPLE).encode(),
    "/simple/wheels/": json.dumps({"files": SIMPLE["files"][:1]}).encode(),
    "/simple/nonsense/": b'{"files": [3]}',
    "/@scope%2Flib/latest": json.dumps(MANIFEST).encode(),
    "/@scope%2Flib/9": b"[]",
    "/weak/latest": json.dumps(MANIFEST | {"dist": {"tarball": "x.tgz", "shasum": "0"}}).encode(),
    "/flag/latest": json.dumps(MANIFEST | {"version": "--help"}).encode(),
    "/dists/stable/main/source/Sources.xz": lzma.compress(SOURCES.encode()),
    "/dists/broken/main/source/Sources.xz": lzma.compress(SOURCES.encode())[:-9],
    "/files/pkg-1.10.tar.gz": PYPI,
    "/@scope/lib/-/lib-4.5.6.tgz": NPM,
    "/pool/main/z/zlib/zlib_1.3+x.orig.tar.gz": DEBIAN,
}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = ANSWERS.get(self.path)
        self.send_response(404 if body is None else 200)
        kind = "application/vnd.pypi.simple.v1+json" if "/simple/" in self.path else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")
        monkeypatch.setenv("npm_config_registry", url)
        monkeypatch.setenv("DEBIAN_MIRROR", url)
        yield
        server.shutdown()


def test_names_are_listed_at_their_newest_release_and_read(tmp_path: Path) -> None:
    asked = List(pypi=("Pkg",), npm=("@scope/lib",), debian=("zlib",))
    listed = list_repos(tmp_path / "repos", asked, tmp_path / "cache")
    rows = {row["repo"]: row for row in listed.scan().collect().to_dicts()}
    assert sorted(rows) == ["debian/zlib@1.3+x-1", "npm/@scope/lib@4.5.6", "pypi/Pkg@1.10"]
    assert rows["npm/@scope/lib@4.5.6"]["revision"] == f"sha512:{hashlib.sha512(NPM).hexdigest()}"
    assert (rows["npm/@scope/lib@4.5.6"]["license"], rows["pypi/Pkg@1.10"]["bytes"]) == ("MIT", len(PYPI))
    files = fetch_repos(listed.path, tmp_path / "files", Fetch(), tmp_path / "cache", 1)
    assert sorted(files.scan().collect()["text"]) == ["debian = 1\n", "npm = 1\n", "pypi = 1\n"]


def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "MAX_ANSWER", 100)
    with pytest.raises(OutOfReach, match="more than 100 bytes"):
        mirrors.ask(f"{mirrors.index()}/pkg/")


def test_a_version_may_be_asked_for() -> None:
    (repo,) = registries.list_repos(("pkg@1.9",), (), (), "stable")
    assert repo.repo == "pypi/pkg@1.9"


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"pypi": ("pkg@1.8",)}, "no source archive of that version"),
        ({"pypi": ("wheels",)}, "no source archive"),
        ({"pypi": ("nonsense",)}, "is no index in JSON"),
        ({"pypi": ("absent",)}, "http 404"),
        ({"pypi": ("--index-url",)}, "is no package"),
        ({"npm": ("@scope/lib@9",)}, "describes no package"),
        ({"npm": ("weak",)}, "no SHA-512"),
        ({"npm": ("flag",)}, "'--help' is no version"),
        ({"debian": ("absent",)}, "has no source package absent"),
        ({"debian": ("zlib@2",)}, r"it has 1:1\.3"),
        ({"debian": ("only-binary",)}, "no source archive"),
        ({"debian": ("zlib",), "suite": "broken"}, "is broken"),
        ({"debian": ("zlib",), "suite": "absent"}, "http 404"),
        ({"debian": ("zlib",), "suite": "../x"}, "is no suite"),
    ],
)
def test_what_a_registry_cannot_give_is_refused_in_a_line(asked: dict[str, Any], complaint: str) -> None:
    words = {"pypi": (), "npm": (), "debian": (), "suite": "stable"} | asked
    with pytest.raises(Refusal, match=complaint):
        registries.list_repos(**words)


def test_an_index_that_unpacks_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "MAX_INDEX", 300)
    with pytest.raises(Refusal, match="more than 300 bytes"):
        registries.list_repos((), (), ("zlib",), "stable")


@pytest.mark.net
def test_the_public_registries_answer_as_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "npm_config_registry", "DEBIAN_MIRROR"):
        monkeypatch.delenv(name)
    try:
        mirrors.ask(f"{mirrors.npm_registry()}/lodash/latest")
    except OutOfReach:
        warnings.warn("the registries are out of reach: nothing checked", stacklevel=1)
        return
    found = registries.list_repos(("attrs@25.3.0",), ("lodash@4.17.21",), (), "stable")
    assert [repo.revision[:15] for repo in found] == ["sha256:75d7cefc", "sha512:bf690311"]
