"""Downloads from a real server that misbehaves, and folders."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from corpus import Refusal
from crawl.config import Fetch, List
from crawl.fetch import fetch_repos
from crawl.listing import list_repos
from crawl.sources import archive, folder, mirrors, packages
from crawl.sources.entry import BadRepo, Caps, OutOfReach, Repo

CAPS = Caps(file_bytes=1 << 20, repo_bytes=1 << 20, files=100, ratio=100)
ARCHIVE = b"an archive, as far as a download is concerned\n" * 1000
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()


class Registry(ThreadingHTTPServer):
    """A simple index and its files; what goes wrong is said by the project's name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        times = sum(path == self.path for path, _ in self.server.asked)
        start = self.headers.get("Range")
        self.server.asked.append((self.path, start))
        project = self.path.strip("/").split("/")[-1] if self.path.startswith("/simple/") else ""
        if project == "html":
            self.answer(
                200, b'<a href="../../files/html-1.0.tar.gz#sha256=0">html-1.0.tar.gz</a>', "text/html"
            )
        elif project == "nonsense":
            self.answer(200, b'{"files": [3]}', "application/json")
        elif project:
            file = {"filename": f"{project}-1.0.tar.gz", "url": f"../../files/{project}-1.0.tar.gz"}
            kind = "application/vnd.pypi.simple.v1+json"
            self.answer(200, json.dumps({"files": [file]}).encode(), kind)
        elif "absent" in self.path or ("busy" in self.path and times == 0):
            self.answer(404 if "absent" in self.path else 503, b"")
        elif "other" in self.path:
            self.answer(200, b"something else")
        elif "cut" in self.path and times == 0:
            self.answer(200, ARCHIVE[:20_000], length=len(ARCHIVE))
        elif start is not None:
            self.answer(206, ARCHIVE[int(start.removeprefix("bytes=").removesuffix("-")) :])
        else:
            self.answer(200, ARCHIVE)

    def answer(
        self, status: int, body: bytes, kind: str = "application/gzip", length: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with Registry() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        monkeypatch.setenv("npm_config_registry", server.url)
        monkeypatch.setenv("DEBIAN_MIRROR", server.url)
        yield server
        server.shutdown()


def repo(name: str, registry: str = "pypi") -> Repo:
    url = {
        "pypi": f"pkg:pypi/{name}@1.0?file_name={name}-1.0.tar.gz",
        "npm": f"pkg:npm/%40scope/{name}@1.0?file_name={name}-1.0.tgz",
        "debian": f"pkg:deb/debian/{name}@1.0-1?file_name={name}_1.0.orig.tar.gz",
    }[registry]
    name = f"@scope/{name}" if registry == "npm" else name
    return Repo(f"{registry}/{name}@1.0", f"sha256:{SHA256}", registry, url)


def cached(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["plain", "html", "busy"])
def test_a_download_lands_under_its_hash(registry: Registry, tmp_path: Path, name: str) -> None:
    packages.obtain(repo(name), tmp_path, CAPS)
    assert [path.name for path in cached(tmp_path)] == [SHA256]
    packages.obtain(repo(name), tmp_path, CAPS)
    assert len([path for path, _ in registry.asked if path.startswith("/files/")]) == (
        2 if name == "busy" else 1
    )


def test_a_cut_download_is_taken_up_where_it_stopped(registry: Registry, tmp_path: Path) -> None:
    packages.obtain(repo("cut"), tmp_path, CAPS)
    ranges = [start for path, start in registry.asked if path.startswith("/files/")]
    assert ranges == [None, "bytes=20000-"]
    assert cached(tmp_path)[0].read_bytes() == ARCHIVE


def test_a_rest_that_does_not_fit_is_downloaded_anew(registry: Registry, tmp_path: Path) -> None:
    archive = tmp_path / "archives" / SHA256[:2] / SHA256
    archive.parent.mkdir(parents=True)
    archive.with_name(f"{SHA256}.part").write_bytes(b"the beginning of something else")
    packages.obtain(repo("plain"), tmp_path, CAPS)
    assert archive.read_bytes() == ARCHIVE


@pytest.mark.parametrize(
    ("name", "reason", "detail"),
    [("absent", "unreachable", "http 404"), ("other", "hash_mismatch", "expected sha256:")],
)
def test_what_cannot_be_had_says_why(
    registry: Registry, tmp_path: Path, name: str, reason: str, detail: str
) -> None:
    with pytest.raises(OutOfReach) as failure:
        packages.obtain(repo(name), tmp_path, CAPS)
    assert failure.value.reason == reason
    assert detail in failure.value.detail
    assert not [path for path in cached(tmp_path) if path.stat().st_size]


def test_an_archive_that_is_longer_than_was_stated_is_not_read_to_its_end(
    registry: Registry, tmp_path: Path
) -> None:
    stated = replace(repo("plain"), bytes=1000)
    with pytest.raises(OutOfReach, match="more than the 1000 bytes expected"):
        packages.obtain(stated, tmp_path, CAPS)


def test_a_server_that_is_not_there_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setattr(mirrors, "ATTEMPTS", 2)
    with pytest.raises(OutOfReach, match="ConnectError"):
        packages.obtain(repo("plain"), tmp_path, CAPS)


@pytest.mark.parametrize("index", ["http://x:secret@[", "http://127.0.0.1:9\x00"])
def test_an_address_that_is_none_is_given_up_without_naming_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    monkeypatch.setattr(mirrors, "index", lambda: index)
    monkeypatch.setattr(mirrors, "ATTEMPTS", 1)
    with pytest.raises(OutOfReach) as failure:
        packages.obtain(repo("plain"), tmp_path, CAPS)
    assert "secret" not in failure.value.detail


def test_an_index_that_is_none_is_out_of_reach(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(OutOfReach, match="is no index"):
        packages.obtain(repo("nonsense"), tmp_path, CAPS)


def test_a_broken_configuration_of_pip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text("nonsense")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with pytest.raises(Refusal, match="pip's configuration is broken"):
        mirrors.index()


@pytest.mark.parametrize(
    ("source", "name", "path"),
    [
        ("npm", "lib", "/@scope/lib/-/lib-1.0.tgz"),
        ("debian", "thing", "/pool/main/t/thing/thing_1.0.orig.tar.gz"),
        ("debian", "libxml", "/pool/main/libx/libxml/libxml_1.0.orig.tar.gz"),
    ],
)
def test_every_registry_has_its_own_addresses(
    registry: Registry, tmp_path: Path, source: str, name: str, path: str
) -> None:
    packages.obtain(repo(name, source), tmp_path, CAPS)
    assert [asked for asked, _ in registry.asked] == [path]


def test_a_damaged_cache_is_noticed_and_filled_anew(registry: Registry, tmp_path: Path) -> None:
    packages.obtain(repo("plain"), tmp_path, CAPS)
    whole = cached(tmp_path)[0].read_bytes()
    cached(tmp_path)[0].write_bytes(b"rot")
    with pytest.raises(Refusal, match="damaged"):
        list(packages.entries(repo("plain"), tmp_path, CAPS))
    assert packages.obtain(repo("plain"), tmp_path, CAPS) > 0
    assert cached(tmp_path)[0].read_bytes() == whole


HEADER = "registry\tname\tversion\tfile\tsha256\tlicense\n"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (f"pypi\t--help\t1\ta.tar.gz\t{SHA256}\tMIT", "is no name"),
        (f"pypi\ta\t1\t../a.tar.gz\t{SHA256}\tMIT", "is no file"),
        ("pypi\ta\t1\ta.tar.gz\tabc\tMIT", "is no sha256"),
        (f"cargo\ta\t1\ta.tar.gz\t{SHA256}\tMIT", "is no registry"),
        ("pypi\ta", "is no version"),
    ],
)
def test_a_row_of_a_list_that_makes_no_sense_is_named(tmp_path: Path, row: str, complaint: str) -> None:
    (tmp_path / "list.tsv").write_text(f"# a comment\n{HEADER}{row}\n")
    with pytest.raises(Refusal, match=rf"row 1: .*{complaint}"):
        packages.list_repos(tmp_path / "list.tsv")


@pytest.mark.parametrize("content", [None, b"registry\tname\n", b"\xff\xfe"])
def test_a_list_that_is_no_list_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "list.tsv").write_bytes(content)
    with pytest.raises(Refusal, match=r"list\.tsv"):
        packages.list_repos(tmp_path / "list.tsv")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "--help"  # a folder named like a flag is a name like any other
    (root / "src").mkdir(parents=True)
    (root / "src/a.py").write_text("x = 1\n")
    (root / ".git").mkdir()
    (root / ".git/config").write_text("[core]\n")
    (root / "link.py").symlink_to("/etc/passwd")
    (root / "up").symlink_to("..")
    return root


def test_a_folder_is_read_without_following_links(project: Path, tmp_path: Path) -> None:
    listed = folder.list_repo(project)
    found = list(folder.entries(listed, tmp_path, CAPS))
    assert listed.repo == "folder/--help"
    assert [(entry.path, entry.kind) for entry in found] == [
        ("link.py", "symlink"),
        ("up", "symlink"),
        ("src/a.py", "file"),
    ]


def test_links_in_a_circle_are_links(tmp_path: Path) -> None:
    root = tmp_path / "circle"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/up").symlink_to(root / "a")
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    found = list(folder.entries(folder.list_repo(root), tmp_path, CAPS))
    assert sorted((entry.path, entry.kind) for entry in found) == [
        ("a/b/up", "symlink"),
        ("one", "symlink"),
        ("two", "symlink"),
    ]


def test_a_folder_that_changed_since_it_was_listed_is_rejected(project: Path, tmp_path: Path) -> None:
    listed = folder.list_repo(project)
    (project / "src/a.py").write_text("x = 2\n")
    assert folder.list_repo(project).revision != listed.revision
    with pytest.raises(BadRepo, match="changed"):
        list(folder.entries(listed, tmp_path, CAPS))


def test_an_archive_on_the_disk_is_read_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "name 1:0.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(__file__, "name/a.py")
    listed = list_repos(tmp_path / "repos", List(archives=(path,)))
    files = fetch_repos(listed.path, tmp_path / "files", Fetch(), tmp_path / "cache", 1)
    assert files.scan().select("repo", "path").collect().rows() == [("archive/name 1_0.tar.gz", "a.py")]
    repo = archive.list_repo(path)
    path.write_bytes(b"another")
    with pytest.raises(BadRepo, match="changed"):
        list(archive.entries(repo, tmp_path, CAPS))
    with pytest.raises(Refusal, match="not a file"):
        archive.list_repo(tmp_path / "nowhere.zip")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="not a directory"):
        folder.list_repo(tmp_path / "nowhere")


def test_a_folder_whose_path_is_no_text_is_refused(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"odd\xff")
    odd.mkdir()
    with pytest.raises(Refusal, match="rename the directory"):
        folder.list_repo(odd)
