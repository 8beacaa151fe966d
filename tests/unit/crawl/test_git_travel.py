"""What travels of git repositories, and when; servers that fail, change or bomb."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crawl.config import Fetch, List
from crawl.fetch import fetch_repos
from crawl.listing import list_repos
from crawl.sources import git, gitrun
from crawl.sources.entry import BadRepo, Caps, Entry, OutOfReach, Repo, tidy
from tests.unit.crawl.gitserver import CAPS, Backend, asked, commit, run, serving


@pytest.fixture
def forge(tmp_path: Path) -> Path:
    """A folder of repositories to be: ``commit`` puts files into one of them."""
    (tmp_path / "forge").mkdir()
    return tmp_path / "forge"


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
