"""Real repositories, real servers, and what a hostile one must not be able to do."""

from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from corpus import Refusal
from crawl.config import Fetch, List
from crawl.fetch import fetch_repos
from crawl.listing import list_repos
from crawl.sources import git, gitrun
from crawl.sources.entry import BadRepo, Caps, Entry, OutOfReach, Repo, tidy

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
    wants: list[str]
    sent: int
    old = False
    """Whether it speaks the first protocol alone, by which no blob is had by its id."""
    faults: list[int | str]
    """What the next requests meet: a status, or "cut" for half an answer."""

    def do_GET(self) -> None:
        type(self).headers_seen += [f"{key}: {value}" for key, value in self.headers.items()]
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        type(self).wants += [want.decode() for want in re.findall(rb"want ([0-9a-f]{40})", asked)]
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
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
            "GIT_PROTOCOL": "" if self.old else self.headers.get("Git-Protocol", ""),
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
        type(self).sent += len(content)
        self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
        self.close_connection = fault == "cut"

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(upstream: Path) -> Iterator[str]:
    """The repository over http."""
    served = upstream.parent / "served.git"
    if not served.exists():
        served.symlink_to(upstream)
    with serving(upstream.parent) as base:
        yield f"{base}/served.git"


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """Everything below ``root`` over http; what was asked and sent is counted from here."""
    Backend.root, Backend.headers_seen, Backend.wants, Backend.sent, Backend.faults = root, [], [], 0, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()  # a server whose socket is closed would spin beside every later test


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


# ------------------------------------------------------------------------------ what travels, and when


@pytest.fixture
def forge(tmp_path: Path) -> Path:
    """A folder of repositories to be: ``commit`` puts files into one of them."""
    (tmp_path / "forge").mkdir()
    return tmp_path / "forge"


def commit(forge: Path, name: str, files: dict[str, bytes]) -> str:
    """One more commit on a bare repository that allows partial clones; returns the commit."""
    work = forge / f"{name}-work"
    if not work.exists():
        run("init", "--quiet", "--bare", f"{name}.git", cwd=forge)
        run("config", "uploadpack.allowFilter", "true", cwd=forge / f"{name}.git")
        run("clone", "--quiet", f"{name}.git", work.name, cwd=forge)
    for path, content in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(content)
    run("add", ".", cwd=work)
    run("commit", "--quiet", "--allow-empty", "-m", "more", cwd=work)
    run("push", "--quiet", "--force", "origin", "HEAD:main", cwd=work)
    return run("rev-parse", "HEAD", cwd=work)


def blob(content: bytes) -> str:
    done = subprocess.run(["git", "hash-object", "--stdin"], input=content, capture_output=True, check=True)
    return done.stdout.decode().strip()


def crawl(url: str, cache: Path, caps: Caps = CAPS) -> dict[str, Entry]:
    """List, obtain and read; only what ``obtain`` asks for is counted."""
    listed = git.list_repo(url)
    Backend.headers_seen.clear()
    Backend.wants.clear()
    Backend.sent = 0
    git.obtain(listed, cache, caps)
    return {entry.path: entry for entry in git.entries(listed, cache, caps)}


def sources(number: int, size: int = 700) -> dict[str, bytes]:
    rng = random.Random(number)
    return {f"src/{number}-{n}.py": b"x = 1\n" + rng.randbytes(size).hex().encode() for n in range(5)}


def test_only_wanted_blobs_travel(forge: Path, tmp_path: Path) -> None:
    files = sources(1, 200) | {"logo.png": random.Random(2).randbytes(400_000), ".git2/x.py": b"a = 1\n"}
    commit(forge, "a", files)
    with serving(forge) as base:
        found = crawl(f"{base}/a.git", tmp_path / "cache")
        assert (found["logo.png"].kind, found["src/1-0.py"].data) == ("binary", files["src/1-0.py"])
        assert set(Backend.wants[1:]) == {blob(data) for path, data in files.items() if path != "logo.png"}
        assert Backend.sent < 10_000
        assert crawl(f"{base}/a.git", tmp_path / "cache") == found
        assert (Backend.sent, Backend.headers_seen) == (0, [])


def test_a_server_that_gives_no_blob_by_its_id_gives_all(
    forge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backend, "old", True)
    commit(forge, "a", sources(1, 200) | {"big.py": b"x" * 2000})
    with serving(forge) as base:
        found = crawl(f"{base}/a.git", tmp_path / "cache")
    assert sorted(entry.data is None for entry in found.values()) == [False] * 5 + [True]


def test_a_later_revision_brings_only_what_is_new(forge: Path, tmp_path: Path) -> None:
    commit(forge, "a", sources(1, 200))
    with serving(forge) as base:
        crawl(f"{base}/a.git", tmp_path / "cache")
        newer = commit(forge, "a", {"src/new.py": b"new = 1\n"})
        found = crawl(f"{base}/a.git", tmp_path / "cache")
        assert len(found) == 6
        assert Backend.wants == [newer, blob(b"new = 1\n")]


def test_a_cache_that_was_tidied_up_is_filled_again(forge: Path, tmp_path: Path) -> None:
    commit(forge, "a", sources(1, 200))
    cache = tmp_path / "cache"
    with serving(forge) as base:
        crawl(f"{base}/a.git", cache)
        shutil.rmtree(cache / "git/objects")
        commit(forge, "a", {"src/new.py": b"new = 1\n"})
        found = crawl(f"{base}/a.git", cache)
    assert all(entry.data for entry in found.values()) and len(found) == 6


def test_equal_blobs_of_several_repositories_travel_once(forge: Path, tmp_path: Path) -> None:
    shared = sources(1, 200)
    for name in "abc":
        commit(forge, name, shared | {"own.py": f"name = {name!r}\n".encode()})
    with serving(forge) as base:
        listed = [git.list_repo(f"{base}/{name}.git") for name in "abc"]
        with ThreadPoolExecutor(3) as pool:  # at once: what one is fetching the others wait for
            list(pool.map(lambda repo: git.obtain(repo, tmp_path / "cache", CAPS), listed))
        assert sorted(Backend.wants) == sorted(
            [repo.revision for repo in listed]
            + [blob(data) for data in shared.values()]
            + [blob(f"name = {name!r}\n".encode()) for name in "abc"]
        )
        read = [list(git.entries(repo, tmp_path / "cache", CAPS)) for repo in listed]
    assert [sum(entry.data is not None for entry in entries) for entries in read] == [6, 6, 6]


def test_what_another_repository_failed_to_bring_is_fetched(forge: Path, tmp_path: Path) -> None:
    repos = [commit(forge, name, sources(1, 200)) for name in "ab"]
    with serving(forge) as base:
        cache = tmp_path / "cache"
        lost = Repo("lost", repos[0], "git", f"{base}/a.git")
        Backend.faults = [200, 404]
        with pytest.raises(OutOfReach):
            git.obtain(lost, cache, CAPS)
        assert len(crawl(f"{base}/b.git", cache)) == 5
        git.obtain(lost, cache, CAPS)
        assert Backend.wants[-1] == repos[0]  # its trees alone: the blobs have come


@pytest.mark.parametrize("fault", [500, 503, 429, "cut"])
def test_a_busy_server_is_asked_again(
    forge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int | str
) -> None:
    monkeypatch.setattr(gitrun, "PAUSES", (0.01, 0.01))
    commit(forge, "a", sources(1, 200))
    with serving(forge) as base:
        listed = git.list_repo(f"{base}/a.git")
        Backend.faults = [fault, fault]
        git.obtain(listed, tmp_path / "cache", CAPS)
        assert len(list(git.entries(listed, tmp_path / "cache", CAPS))) == 5


@pytest.mark.parametrize(("fault", "asked"), [(401, 2), (404, 1), (503, 3)])
def test_a_server_that_will_not_answer_is_out_of_reach(
    forge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int, asked: int
) -> None:
    monkeypatch.setattr(gitrun, "PAUSES", (0.01, 0.01))
    commit(forge, "a", sources(1, 200))
    with serving(forge) as base:
        listed = git.list_repo(f"{base}/a.git")
        Backend.headers_seen.clear()
        Backend.faults = [fault] * 9
        with pytest.raises(OutOfReach, match=r"not found|503|Authentication"):
            git.obtain(listed, tmp_path / "cache", CAPS)
        assert 9 - len(Backend.faults) == asked


def test_a_server_that_never_answers_is_given_up(forge: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.git"
        caps = Caps(1000, 1 << 20, 100, 9, seconds=0.5)
        with pytest.raises(OutOfReach, match="no end after"):
            git.obtain(Repo("a", "1" * 40, "git", url), tmp_path / "cache", caps)


def test_a_repository_that_changes_during_the_crawl_is_read_as_it_was_listed(
    forge: Path, tmp_path: Path
) -> None:
    commit(forge, "a", {"a.py": b"before = 1\n"})
    with serving(forge) as base:
        listed = git.list_repo(f"{base}/a.git")
        commit(forge, "a", {"a.py": b"after = 1\n"})
        git.obtain(listed, tmp_path / "cache", CAPS)
        assert [entry.data for entry in git.entries(listed, tmp_path / "cache", CAPS)] == [b"before = 1\n"]


def test_a_blob_that_unpacks_to_a_giant_is_never_unpacked(
    forge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(forge, "a", {"bomb.py": bytes(50_000_000), "a.py": b"a = 1\n"})  # 50 kB in the pack
    asked: list[str] = []
    read = git._Blobs.read
    monkeypatch.setattr(git._Blobs, "read", lambda *words: asked.append(words[1]) or read(*words))
    with serving(forge) as base:
        found = crawl(f"{base}/a.git", tmp_path / "cache")
    assert (found["bomb.py"].data, found["a.py"].data) == (None, b"a = 1\n")
    assert asked == [blob(b"a = 1\n")]


def test_of_a_repository_with_too_many_files_no_blob_travels(forge: Path, tmp_path: Path) -> None:
    revision = commit(forge, "a", {f"{n}.py": b"%d\n" % n for n in range(101)})
    with serving(forge) as base:
        with pytest.raises(BadRepo, match="too_many_files"):
            crawl(f"{base}/a.git", tmp_path / "cache")
        assert Backend.wants == [revision]


def test_names_that_are_no_text_or_leave_the_repository_are_no_names(forge: Path, tmp_path: Path) -> None:
    commit(forge, "a", {"\udcff\udcfe.py": b"odd = 1\n", "a.py": b"a = 1\n"})
    work = forge / "a-work"
    tree = run("ls-tree", "HEAD", cwd=work).splitlines()[-1].split()[2]
    (work / ".git/evil").write_bytes(
        b"100644 ..\0" + bytes.fromhex(tree) + b"100644 a\nb.py\0" + bytes.fromhex(tree)
    )
    evil = run("hash-object", "-t", "tree", "-w", "--literally", ".git/evil", cwd=work)
    head = run("commit-tree", "-m", "evil", evil, cwd=work)
    run("push", "--quiet", "--force", "origin", f"{head}:refs/heads/main", cwd=work)
    with serving(forge) as base:
        odd = crawl(f"{base}/a.git@{run('rev-parse', 'HEAD', cwd=work)}", tmp_path / "cache")
        assert {tidy(path) for path in odd} == {None, "a.py"}
        hostile = crawl(f"{base}/a.git", tmp_path / "cache")
        assert {tidy(path) for path in hostile} == {None}
    assert not list(tmp_path.rglob("b.py"))


def test_a_crawl_that_is_killed_anywhere_goes_on(forge: Path, tmp_path: Path) -> None:
    files = {f"{n}.py": random.Random(n).randbytes(400).hex().encode() for n in range(60)}
    commit(forge, "a", files)
    script = "import sys, pathlib; from crawl.sources import git; from crawl.sources.entry import Caps\n"
    script += "git.obtain(git.Repo('a', sys.argv[1], 'git', sys.argv[2]), pathlib.Path(sys.argv[3]),"
    script += " Caps(1000, 1 << 20, 100, 100))"
    with serving(forge) as base:
        listed = git.list_repo(f"{base}/a.git")
        command = [sys.executable, "-c", script, listed.revision, listed.url, str(tmp_path / "cache")]
        for requests in (1, 2, 3, 4):  # killed while the server answers so many of them
            before = len(Backend.headers_seen)
            process = subprocess.Popen(command)
            while process.poll() is None and asked(before) < requests:
                time.sleep(0.005)
            process.kill()
            process.wait()
        git.obtain(listed, tmp_path / "cache", CAPS)
    found = {entry.path: entry.data for entry in git.entries(listed, tmp_path / "cache", CAPS)}
    assert found == files


def asked(since: int) -> int:
    return sum(header.startswith("Host:") for header in Backend.headers_seen[since:])


def test_what_a_repo_yields_depends_on_nothing_that_the_cache_holds(forge: Path, tmp_path: Path) -> None:
    for name in "abc":
        commit(forge, name, sources(1) | {"big.py": b"x = 1\n" * 1000, f"{name}.py": name.encode()})
    urls = tuple((forge / f"{name}.git").as_uri() for name in "abc")
    listed = list_repos(tmp_path / "repos", List(git=urls)).path
    small = Fetch(max_file_bytes=4000)
    fetch_repos(listed, tmp_path / "all", Fetch(), tmp_path / "full", 1)
    runs = [
        fetch_repos(listed, tmp_path / f"files{workers}{cache}", small, tmp_path / cache, workers).digest
        for workers, cache in ((1, "full"), (1, "fresh"), (2, "other"), (2, "other"))
    ]
    assert len(set(runs)) == 1
