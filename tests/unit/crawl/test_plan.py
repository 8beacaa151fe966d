"""What a fetch would cost, told before anything travels."""

from __future__ import annotations

import subprocess
from pathlib import Path

import polars as pl
import pytest

import corpus
from crawl import plan
from crawl.config import Fetch, List
from crawl.fetch import fetch_repos
from crawl.listing import list_repos
from crawl.sources.entry import Repo


def listed(path: Path, repos: list[Repo]) -> Path:
    """A table of repos that no server was asked about."""
    columns = pl.DataFrame(corpus.SCHEMAS["repos"].empty_table()).schema
    with corpus.building(path, "repos", made_by="crawl list", settings={}) as out:
        assert isinstance(out, corpus.Output)
        out.write("repos", {"": pl.DataFrame([vars(repo) for repo in repos], schema=columns)})
        out.seal()
    return path


def package(n: int, size: int | None) -> Repo:
    return Repo(f"npm/p{n}@1", f"sha512:{n:0128x}", "npm", f"pkg:npm/p{n}@1?file_name=p.tgz", bytes=size)


def test_stated_sizes_are_summed_within_the_caps_and_the_rest_is_guessed(tmp_path: Path) -> None:
    repos = [package(1, 1000), package(2, 5_000_000_000), package(3, None)]
    repos += [
        Repo(f"github.com/o/{n}", f"{n:040x}", "git", f"https://github.com/o/{n}.git") for n in range(9)
    ]
    src = listed(tmp_path / "repos", repos)
    git, npm = plan.estimate(src, Fetch(max_repo_bytes=1 << 30), tmp_path / "cache", None)
    guess = plan.RATES["npm"].bytes
    assert (npm.requests, npm.bytes) == (3, 1000 + (1 << 30) + guess)
    assert npm.known == pytest.approx(1 - guess / npm.bytes)
    assert (git.requests, git.bytes, git.known) == (36, 9 * plan.RATES["git"].bytes, 0)
    assert git.hours == pytest.approx((36 * plan.SECONDS + git.bytes / plan.SPEED) / 8 / 3600)
    last = plan.table([git, npm]).splitlines()[-1].split()
    assert last[:4] == ["all", "12", "0", "39"]


def test_an_earlier_fetch_gives_the_rates_and_what_it_fetched_costs_nothing(tmp_path: Path) -> None:
    work = tmp_path / "owner/one"
    work.mkdir(parents=True)
    (work / "a.py").write_text("x = 1\n" * 1000)
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t", "commit", "-qm1"],
    ):
        subprocess.run(["git", *words], cwd=work, check=True)
    cache = tmp_path / "cache"
    repos = list_repos(tmp_path / "repos", List(git=(work.as_uri(),), folders=(work,)), cache)
    before = plan.estimate(repos.path, Fetch(), cache, None)
    assert [cost.cached for cost in before] == [1, 0]
    files = fetch_repos(repos.path, tmp_path / "files", Fetch(), cache, 1)
    sums = files.manifest["traffic"]["git"]
    assert 0 < sums["bytes"] < 6000  # packed
    again = plan.estimate(repos.path, Fetch(), cache, files.path)
    assert [(cost.cached, cost.requests, cost.bytes) for cost in again] == [(1, 0, 0), (1, 0, 0)]
    other = listed(
        tmp_path / "other", [Repo("github.com/o/n", "1" * 40, "git", "https://github.com/o/n.git")]
    )
    assert plan.estimate(other, Fetch(), cache, files.path)[0].bytes == sums["bytes"]
