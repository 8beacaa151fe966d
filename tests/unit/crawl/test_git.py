"""Real repositories, real servers, and what a hostile one must not be able to do."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from corpus import Refusal
from crawl.sources import git
from crawl.sources.entry import BadRepo, Caps, OutOfReach

CAPS = Caps(file_bytes=1000, repo_bytes=1 << 20, files=100, ratio=100)


def run(*words: str, cwd: Path) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *words], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with everything that is no plain file, under a name like a flag."""
    root = tmp_path_factory.mktemp("git")
    work = root / "work"
    (work / "pkg").mkdir(parents=True)
    run("init", "--quiet", cwd=work)
    (work / "pkg/a.py").write_text("first = 1\n")
    run("add", ".", cwd=work)
    run("commit", "--quiet", "-m", "first", cwd=work)
    run("tag", "-a", "v1", "-m", "one", cwd=work)
    (work / "pkg/a.py").write_text("second = 2\n")
    (work / "--help.py").write_text("flag = 3\n")
    (work / "big.txt").write_text("x" * 2000)
    (work / "link").symlink_to("/etc/passwd")
    (work / ".gitattributes").write_text("*.py filter=evil export-ignore\n")
    run("add", ".", cwd=work)
    run("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},module", cwd=work)
    run("commit", "--quiet", "-m", "second", cwd=work)
    run("clone", "--quiet", "--bare", str(work), str(root / "--upload-pack=touch pwned.git"), cwd=root)
    bare = root / "--upload-pack=touch pwned.git"
    run("config", "uploadpack.allowFilter", "true", cwd=bare)
    (bare / "hooks/post-checkout").write_text(f"#!/bin/sh\ntouch {root}/hooked\n")
    (bare / "hooks/post-checkout").chmod(0o755)
    return bare


class Backend(BaseHTTPRequestHandler):
    """`git http-backend` behind Python's web server."""

    protocol_version = "HTTP/1.1"
    root: Path
    headers_seen: list[str]

    def do_GET(self) -> None:
        type(self).headers_seen += [f"{key}: {value}" for key, value in self.headers.items()]
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        self.send_response(next((int(value[:3]) for key, value in fields if key == "Status"), 200))
        for key, value in fields:
            if key != "Status":
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(upstream: Path) -> Iterator[str]:
    """The repository over http."""
    served = upstream.parent / "served.git"
    if not served.exists():
        served.symlink_to(upstream)
    Backend.root, Backend.headers_seen = upstream.parent, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/served.git"
        server.shutdown()


def test_a_repository_over_http_is_read_without_a_checkout(
    address: str, upstream: Path, tmp_path: Path
) -> None:
    listed = git.list_repo(address)
    git.obtain(listed, tmp_path)
    found = {entry.path: entry for entry in git.entries(listed, tmp_path, CAPS)}
    assert listed.repo == "127.0.0.1/served"
    assert listed.revision == run("rev-parse", "HEAD", cwd=upstream)
    assert found["pkg/a.py"].data == b"second = 2\n"  # in spite of export-ignore
    assert found["--help.py"].data == b"flag = 3\n"
    assert (found["link"].kind, found["module"].kind) == ("symlink", "submodule")
    assert (found["big.txt"].size, found["big.txt"].data) == (2000, None)
    assert not list(tmp_path.rglob("*.py"))
    assert not (upstream.parent / "hooked").exists()


@pytest.mark.parametrize("revision", ["v1", "main", "{first}"])
def test_a_revision_may_be_a_tag_a_branch_or_a_commit(
    address: str, upstream: Path, tmp_path: Path, revision: str
) -> None:
    commits = run("rev-list", "main", cwd=upstream).split()
    listed = git.list_repo(f"{address}@{revision.format(first=commits[1])}")
    git.obtain(listed, tmp_path)
    assert listed.revision == commits[0 if revision == "main" else 1]
    assert "pkg/a.py" in {entry.path for entry in git.entries(listed, tmp_path, CAPS)}


def test_blobs_that_did_not_travel_are_too_large_and_are_never_asked_for(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "BLOB_LIMIT", "1k")
    listed = git.list_repo(address)
    git.obtain(listed, tmp_path)
    Backend.headers_seen.clear()
    found = {entry.path: entry for entry in git.entries(listed, tmp_path, CAPS)}
    assert found["big.txt"].data is None
    assert found["pkg/a.py"].data == b"second = 2\n"
    assert Backend.headers_seen == []


def test_a_name_like_a_flag_is_a_name(upstream: Path, tmp_path: Path) -> None:
    listed = git.list_repo(f"file://{upstream}")
    git.obtain(listed, tmp_path)
    assert len(list(git.entries(listed, tmp_path, CAPS))) == 6
    assert not list(upstream.parent.rglob("pwned*"))


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch pwned",
        "-u",
        "ext::sh -c touch% pwned",
        "https://ext::x/y",
        "git@github.com:owner/name",
        "ssh://-oProxyCommand=touch/x",
        "https://user:secret@example.org/x",
        "https://example.org/x@--force",
        "https://example.org/x@a b",
    ],
)
def test_an_address_that_git_might_misread_is_refused(url: str) -> None:
    with pytest.raises(Refusal) as refusal:
        git.list_repo(url)
    assert "secret" not in str(refusal.value)


def test_a_revision_or_server_that_is_not_there_is_refused(address: str) -> None:
    with pytest.raises(Refusal, match="no revision 'v9'"):
        git.list_repo(f"{address}@v9")
    with pytest.raises(Refusal, match="check the URL"):
        git.list_repo("http://127.0.0.1:9/x.git")


def test_a_commit_that_is_gone_is_out_of_reach_and_leaves_no_clone(address: str, tmp_path: Path) -> None:
    listed = git.list_repo(f"{address}@{'2' * 40}")
    with pytest.raises(OutOfReach):
        git.obtain(listed, tmp_path)
    assert not list(tmp_path.rglob("*.git"))
    git.obtain(git.list_repo(address), tmp_path)


def test_the_caps_hold_for_git_too(address: str, tmp_path: Path) -> None:
    listed = git.list_repo(address)
    git.obtain(listed, tmp_path)
    for caps, reason in (
        (Caps(1000, 1000, 100, 9), "too_large"),
        (Caps(1000, 1 << 20, 3, 9), "too_many_files"),
    ):
        with pytest.raises(BadRepo, match=reason):
            list(git.entries(listed, tmp_path, caps))


def test_a_token_goes_to_its_own_host_through_the_environment_only(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FATHOM_GIT_TOKEN", "s3cret")
    git.obtain(git.list_repo(address), tmp_path)
    assert not [header for header in Backend.headers_seen if header.startswith("Authorization")]
    for host, sent in (("https://github.com/a/b", True), ("https://example.org/a/b", False)):
        ask = ["git", "config", "--get-urlmatch", "http.extraHeader", host]
        asked = subprocess.run(ask, env=git._environment(), capture_output=True, text=True)
        assert ("Authorization: Basic" in asked.stdout) is sent
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"s3cret" not in stored
    assert b"Authorization" not in stored


def test_trees_that_list_more_than_memory_holds_are_given_up(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = run("rev-parse", "HEAD", cwd=upstream)
    repo = git.Repo("t", revision, "git", upstream.as_uri())
    git.obtain(repo, tmp_path)
    monkeypatch.setattr(git, "MAX_OUTPUT", 10)
    with pytest.raises(BadRepo, match="too large"):
        list(git.entries(repo, tmp_path, CAPS))
