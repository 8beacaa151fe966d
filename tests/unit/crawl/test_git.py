"""Real repositories, real servers, and what a hostile one must not be able to do."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from corpus import Refusal
from crawl.sources import git, gitrun
from crawl.sources.entry import BadRepo, Caps, OutOfReach, Repo
from tests.unit.crawl.gitserver import CAPS, Backend, run, serving


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


@pytest.fixture
def address(upstream: Path) -> Iterator[str]:
    """The repository over http."""
    served = upstream.parent / "served.git"
    if not served.exists():
        served.symlink_to(upstream)
    with serving(upstream.parent) as base:
        yield f"{base}/served.git"


def test_a_repository_over_http_is_read_without_a_checkout(
    address: str, upstream: Path, tmp_path: Path
) -> None:
    listed = git.list_repo(address)
    git.obtain(listed, tmp_path, CAPS)
    found = {entry.path: entry for entry in git.entries(listed, tmp_path, CAPS)}
    assert listed.repo == "127.0.0.1/served"
    assert listed.revision == run("rev-parse", "HEAD", cwd=upstream)
    assert found["pkg/a.py"].data == b"second = 2\n"  # in spite of export-ignore
    assert found["--help.py"].data == b"flag = 3\n"
    assert (found["link"].kind, found["module"].kind) == ("symlink", "submodule")
    assert (found["big.txt"].size, found["big.txt"].data) == (1001, None)
    assert not list(tmp_path.rglob("*.py"))
    assert not (upstream.parent / "hooked").exists()


@pytest.mark.parametrize("revision", ["v1", "main", "{first}"])
def test_a_revision_may_be_a_tag_a_branch_or_a_commit(
    address: str, upstream: Path, tmp_path: Path, revision: str
) -> None:
    commits = run("rev-list", "main", cwd=upstream).split()
    listed = git.list_repo(f"{address}@{revision.format(first=commits[1])}")
    git.obtain(listed, tmp_path, CAPS)
    assert listed.revision == commits[0 if revision == "main" else 1]
    assert "pkg/a.py" in {entry.path for entry in git.entries(listed, tmp_path, CAPS)}


def test_a_giant_does_not_travel_and_is_never_asked_for_again(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "EXPECTED", (0, 0))
    listed = git.list_repo(address)
    git.obtain(listed, tmp_path, CAPS)
    Backend.headers_seen.clear()
    git.obtain(listed, tmp_path, CAPS)
    found = {entry.path: entry for entry in git.entries(listed, tmp_path, CAPS)}
    assert found["big.txt"].data is None
    assert found["pkg/a.py"].data == b"second = 2\n"
    assert Backend.headers_seen == []


def test_a_name_like_a_flag_is_a_name(upstream: Path, tmp_path: Path) -> None:
    listed = git.list_repo(f"file://{upstream}")
    git.obtain(listed, tmp_path, CAPS)
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


@pytest.mark.parametrize(
    ("url", "address", "revision"),
    [
        ("https://h.org/o/n", "https://h.org/o/n", "HEAD"),
        ("https://h.org/o/n.git@v1.2", "https://h.org/o/n.git", "v1.2"),
        ("https://h.org/o/n@feature/x", "https://h.org/o/n", "feature/x"),
        ("ssh://git@h.org/o/n", "ssh://git@h.org/o/n", "HEAD"),
        ("ssh://git@h.org/o/n@main", "ssh://git@h.org/o/n", "main"),
        ("https://h.org/@o/n", "https://h.org/@o/n", "HEAD"),
    ],
)
def test_what_follows_the_last_sign_in_the_path_is_the_revision(
    url: str, address: str, revision: str
) -> None:
    assert git.split(url) == (address, revision)


def test_a_revision_or_server_that_is_not_there_is_refused(address: str) -> None:
    with pytest.raises(Refusal, match="no revision 'v9'"):
        git.list_repo(f"{address}@v9")
    with pytest.raises(Refusal, match="check the URL"):
        git.list_repo("http://127.0.0.1:9/x.git")


def test_a_commit_that_is_gone_is_out_of_reach_and_leaves_no_clone(address: str, tmp_path: Path) -> None:
    listed = git.list_repo(f"{address}@{'2' * 40}")
    with pytest.raises(OutOfReach):
        git.obtain(listed, tmp_path, CAPS)
    assert not list(tmp_path.rglob("*.pack"))
    git.obtain(git.list_repo(address), tmp_path, CAPS)
    assert list(tmp_path.rglob("*.pack"))


def test_the_repository_that_fathom_runs_in_is_not_asked(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("init", "--quiet", cwd=tmp_path)
    run("remote", "add", "origin", "https://localhost:1/elsewhere.git", cwd=tmp_path)
    listed = git.list_repo(address)
    monkeypatch.chdir(tmp_path)
    assert git.list_repo(address) == listed
    git.obtain(listed, tmp_path / "cache", CAPS)
    assert list(git.entries(listed, tmp_path / "cache", CAPS))


def test_the_caps_hold_for_git_too(address: str, tmp_path: Path) -> None:
    listed = git.list_repo(address)
    git.obtain(listed, tmp_path, CAPS)
    for caps, reason in (
        (Caps(1000, 20, 100, 9), "too_large"),
        (Caps(1000, 1 << 20, 3, 9), "too_many_files"),
    ):
        with pytest.raises(BadRepo, match=reason):
            list(git.entries(listed, tmp_path, caps))


def test_a_token_goes_to_its_own_host_through_the_environment_only(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FATHOM_GIT_TOKEN", "s3cret")
    git.obtain(git.list_repo(address), tmp_path, CAPS)
    assert not [header for header in Backend.headers_seen if header.startswith("Authorization")]
    for host, sent in (("https://github.com/a/b", True), ("https://example.org/a/b", False)):
        ask = ["git", "config", "--get-urlmatch", "http.extraHeader", host]
        asked = subprocess.run(ask, env=gitrun._environment({}), capture_output=True, text=True)
        assert ("Authorization: Basic" in asked.stdout) is sent
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"s3cret" not in stored
    assert b"Authorization" not in stored


class Jealous(BaseHTTPRequestHandler):
    """Asks for a password."""

    told: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.told.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_asks_for_a_password_gets_none_of_the_machine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), Jealous) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(OutOfReach):
            gitrun.remote(["ls-remote", "origin"], f"http://127.0.0.1:{server.server_port}/a.git", tmp_path)
        server.shutdown()
    assert Jealous.told and not any(Jealous.told)


def test_tokens_of_a_pool_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FATHOM_GIT_TOKEN", raising=False)
    monkeypatch.setenv("FATHOM_GITHUB_TOKENS", "one, two")
    ask = ["git", "config", "--get-urlmatch", "http.extraHeader", "https://github.com/a/b"]
    said = {subprocess.check_output(ask, env=gitrun._environment({})) for _ in range(4)}
    assert len(said) == 2


def test_trees_that_list_more_than_memory_holds_are_given_up(upstream: Path, tmp_path: Path) -> None:
    """Six trees, each a hundred times in the next: a million million files, in a few kilobytes."""

    def write(kind: str, lines: str) -> str:
        words = ["git", "mktree"] if kind == "tree" else ["git", "hash-object", "-w", "--stdin"]
        done = subprocess.run(words, input=lines, cwd=upstream, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    entry = f"100644 blob {write('blob', 'x = 1')}"
    for _ in range(6):
        tree = write("tree", "".join(f"{entry}\t{n}.py\n" for n in range(100)))
        entry = f"040000 tree {tree}"
    revision = run("commit-tree", "-m", "many", tree, cwd=upstream)
    with pytest.raises(BadRepo, match="too_many_files"):
        git.obtain(Repo("t", revision, "git", upstream.as_uri()), tmp_path, CAPS)


def test_folders_that_git_removes_while_they_are_measured_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "held").write_bytes(bytes(5000))
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            for name in "abcdefgh":
                (tmp_path / name).mkdir()
            for name in "abcdefgh":
                (tmp_path / name).rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        assert all(gitrun._size(tmp_path) >= 5000 for _ in range(500))
    finally:
        over.set()
        thread.join()
