"""From listed repos to kept files: nothing is lost, nothing depends on chance."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest

import corpus
from corpus import Refusal
from crawl import fetch
from crawl.config import Fetch, Filter, List
from crawl.fetch import fetch_repos, read_repo
from crawl.filter import filter_files
from crawl.listing import list_repos
from crawl.sources.entry import Entry, Repo
from tests.waiting import until

MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software\n"
GPL = "# This file is under the terms of the GNU General Public License version 3\n"
REPO = Repo("pypi/x@1.0", "sha256:0", "pypi", "pkg:pypi/x@1.0", "MIT")


def entry(path: str, data: bytes | None = b"x = 1\n", kind: str = "file") -> Entry:
    return Entry(path, kind, len(data or b""), data)


def test_every_entry_becomes_a_row_or_one_reject() -> None:
    entries = [
        entry("x-1.0/a.py"),
        entry("x-1.0/A.py"),
        entry("x-1.0/vendor/gpl.py", GPL.encode()),
        entry("x-1.0/deep/LICENSE", MIT.encode()),
        entry("x-1.0/deep/b.py"),
        entry("x-1.0/logo.png", b"\x89PNG\0"),
        entry("x-1.0/odd.py", bytes(range(128, 256)) * 9),
        entry("x-1.0/notes.xyz"),
        entry("x-1.0/header.h", b"@interface X\n"),
        entry("x-1.0/big.py", None),
        entry("x-1.0/link.py", None, "symlink"),
        entry("x-1.0/module", None, "submodule"),
        entry("x-1.0/.git/config"),
        entry("x-1.0/data.json", b"version https://git-lfs.github.com/spec/v1\n"),
        entry("x-1.0/../../evil.py"),
    ]
    files, _, rejected = read_repo(REPO, entries)
    assert files.select("path", "license").rows() == [
        ("a.py", "MIT"),
        ("deep/b.py", "MIT"),
        ("vendor/gpl.py", "GPL-3.0-only"),
    ]
    assert {key.removeprefix("pypi/x@1.0:"): reason for key, reason, *_ in rejected} == {
        "A.py": "duplicate_path",
        "deep/LICENSE": "no_language",
        "logo.png": "binary",
        "odd.py": "encoding",
        "notes.xyz": "no_language",
        "header.h": "no_language",
        "big.py": "too_large",
        "link.py": "symlink",
        "module": "submodule",
        ".git/config": "vcs",
        "data.json": "lfs_pointer",
        "x-1.0/../../evil.py": "bad_path",
    }
    assert files.height + len(rejected) == len(entries)


def test_a_row_says_what_its_bytes_were() -> None:
    files, *_ = read_repo(REPO, [entry("a.py", "é = 1\r\nb\n".encode("utf-16"))])
    row = files.row(0, named=True)
    assert (row["text"], row["encoding"], row["bytes"], row["lines"]) == ("é = 1\r\nb\n", "utf-16", 20, 2)


def test_only_a_directory_that_holds_everything_is_dropped_from_paths() -> None:
    files, *_ = read_repo(REPO, [entry("a/x.py"), entry("a/y.py")])
    assert files["path"].to_list() == ["x.py", "y.py"]
    files, *_ = read_repo(REPO, [entry("a/x.py"), entry("b/y.py")])
    assert files["path"].to_list() == ["a/x.py", "b/y.py"]


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six folders with files of every fate, listed."""
    root = tmp_path_factory.mktemp("fetch")
    folders = []
    for number in range(6):
        folder = root / f"repo{number}"
        (folder / "src").mkdir(parents=True)
        for name in range(40):
            (folder / f"src/m{name}.py").write_text(f"value_{name} = {number}\n" * 30)
        (folder / "LICENSE").write_text(MIT)
        (folder / "src/gpl.py").write_text(GPL)
        (folder / "src/blob.py").write_bytes(bytes(100))
        (folder / "src/long.py").write_text("x" * 2000)
        (folder / "src/link.py").symlink_to("m0.py")
        folders.append(folder)
    list_repos(root / "repos", List(folders=tuple(folders)))
    return root / "repos"


def fetched(listed: Path, dst: Path, workers: int = 1, **settings: int) -> corpus.Table:
    return fetch_repos(listed, dst, Fetch(**settings), dst.parent / "cache", workers)  # type: ignore[arg-type]


def test_what_came_in_goes_out_or_is_rejected(listed: Path, tmp_path: Path) -> None:
    files = fetched(listed, tmp_path / "files")
    assert files.counts == {
        "in": 6 * 45,
        "out": 6 * 42,
        "rejected": {"binary": 6, "no_language": 6, "symlink": 6},
    }
    kept = filter_files(tmp_path / "files", tmp_path / "kept", Filter(), 1)
    assert kept.counts == {"in": 6 * 42, "out": 6 * 40, "rejected": {"license": 6, "longest_line": 6}}
    details = kept.scan("rejects").collect()
    assert set(details.filter(pl.col("reason") == "license")["detail"]) == {"GPL-3.0-only"}
    assert [shard.name for shard in kept.shards()] == [shard.name for shard in files.shards()]


def test_a_file_that_gets_lost_shows_in_the_account(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(repo: Repo, entries: Iterable[Entry]) -> fetch.Read:
        read = read_repo(repo, entries)
        return read._replace(files=read.files.head(-1))

    monkeypatch.setattr(fetch, "read_repo", forgetful)
    counts = fetched(listed, tmp_path / "files").counts
    assert counts["in"] == counts["out"] + sum(counts["rejected"].values()) + 6


def test_one_worker_and_two_give_the_same_bytes(listed: Path, tmp_path: Path) -> None:
    tables = [fetched(listed, tmp_path / f"files{n}", n) for n in (1, 2)]
    assert tables[0].digest == tables[1].digest
    kept = [filter_files(tmp_path / "files1", tmp_path / f"kept{n}", Filter(), n) for n in (1, 2)]
    assert kept[0].digest == kept[1].digest


def test_a_killed_fetch_resumes_to_the_same_bytes(listed: Path, tmp_path: Path) -> None:
    whole = fetched(listed, tmp_path / "whole").digest
    command = [sys.executable, "-c", "import sys; from crawl.cli import app; app.meta(sys.argv[1:])"]
    words = [
        "fetch",
        str(listed),
        str(tmp_path / "cut"),
        "--workers",
        "1",
        "--cache",
        str(tmp_path / "cache"),
    ]
    process = subprocess.Popen([*command, *words], stderr=subprocess.DEVNULL)
    until(process, tmp_path / "cut", ".units/*.json")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(Refusal, match="not finished"):
        corpus.read(tmp_path / "cut")
    assert fetched(listed, tmp_path / "cut").digest == whole


def test_a_repo_that_changed_or_bursts_the_caps_is_one_reject(listed: Path, tmp_path: Path) -> None:
    files = fetched(listed, tmp_path / "files", max_repo_files=10)
    assert files.counts == {"in": 6, "out": 0, "rejected": {"too_many_files": 6}}
    assert files.scan("rejects").collect()["key"][0] == "folder/repo0"


TSV = "registry\tname\tversion\tfile\tsha256\nnpm\ta\t1\ta-1.tgz\t{0}\nnpm\tb\t1\tb-1.tgz\t{1}\n"


@pytest.fixture
def half_missing(tmp_path: Path) -> Path:
    """A list of one package that is in the cache and one whose registry does not answer."""
    data = b"no archive at all"
    digest = hashlib.sha256(data).hexdigest()
    archive = tmp_path / "cache/archives" / digest[:2] / digest
    archive.parent.mkdir(parents=True)
    archive.write_bytes(data)
    (tmp_path / "list.tsv").write_text(TSV.format(digest, "f" * 64))
    list_repos(tmp_path / "repos", List(packages=tmp_path / "list.tsv"))
    return tmp_path


def test_missing_repos_refuse_the_run_unless_they_are_allowed(
    half_missing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setattr("crawl.sources.mirrors.ATTEMPTS", 1)
    work = half_missing
    with pytest.raises(Refusal, match=r"1 of 2 repos could not be had .*npm/b@1: ConnectError"):
        fetch_repos(work / "repos", work / "files", Fetch(), work / "cache", 1)
    files = fetch_repos(work / "repos", work / "files", Fetch(missing=0.5), work / "cache", 1)
    assert files.counts == {"in": 2, "out": 0, "rejected": {"broken_archive": 1, "unreachable": 1}}


def test_when_everything_is_missing_no_share_allows_it(
    half_missing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setattr("crawl.sources.mirrors.ATTEMPTS", 1)
    work = half_missing
    with pytest.raises(Refusal, match="2 of 2 repos"):
        fetch_repos(work / "repos", work / "files", Fetch(missing=1.0), work / "other-cache", 1)


def test_a_list_is_up_to_date_until_its_content_changes(tmp_path: Path) -> None:
    pinned = tmp_path / "list.tsv"
    pinned.write_text(TSV.format("0" * 64, "1" * 64))
    first = list_repos(tmp_path / "repos", List(packages=pinned))
    assert list_repos(tmp_path / "repos", List(packages=pinned)).manifest == first.manifest
    pinned.write_text(TSV.format("0" * 64, "2" * 64))
    assert list_repos(tmp_path / "repos", List(packages=pinned)).digest != first.digest


def test_an_empty_or_doubled_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="nothing to list"):
        list_repos(tmp_path / "repos", List())
    (tmp_path / "same").mkdir()
    with pytest.raises(Refusal, match="folder/same is listed 2 times"):
        list_repos(tmp_path / "repos", List(folders=(tmp_path / "same", tmp_path / "same")))


def test_unlicensed_files_stay_only_if_asked_for(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/a.py").write_text("value = 1\n")
    list_repos(tmp_path / "repos", List(folders=(tmp_path / "plain",)))
    fetched(tmp_path / "repos", tmp_path / "files")
    kept = filter_files(tmp_path / "files", tmp_path / "kept", Filter(), 1)
    assert kept.counts["rejected"] == {"unlicensed": 1}
    kept = filter_files(tmp_path / "files", tmp_path / "kept", Filter(keep_unlicensed=True), 1)
    assert kept.counts["out"] == 1
