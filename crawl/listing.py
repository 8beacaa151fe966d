"""`crawl list`: every source's repos in one table, each at one revision."""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import polars as pl

import corpus
import passes
import schemas
from crawl.config import List
from crawl.sources import archive, cache_folder, dataset, folder, git, github, packages, registries
from crawl.sources.entry import OutOfReach, Repo
from crawl.sources.githubapi import Api

VERB = "crawl list"

AT_A_TIME = 8
"""Git servers that are asked."""


def list_repos(dst: Path, settings: List, cache: Path | None = None) -> corpus.Table:
    """Write the table of repos.

    Asks registries for versions, git servers what a branch stands for, and GitHub which repositories
    there are; a list that was stopped goes on where it was.
    """
    listed = [] if settings.packages is None else packages.list_repos(settings.packages)
    listed += [folder.list_repo(path) for path in settings.folders]
    listed += [archive.list_repo(path) for path in settings.archives]
    by_name = settings.pypi, settings.npm, settings.debian
    on_github = github.is_asked(settings.github)
    if not (listed or any(by_name) or settings.git or settings.datasets or on_github):
        raise corpus.Refusal("nothing to list: give packages, git or folders (see crawl list --help).")
    # What the settings only name is pinned by its content, so a changed list is not taken for up to date.
    named_content = [*map(repr, listed), *github.pins(settings.github)]
    pin = hashlib.sha256(repr(sorted(named_content)).encode()).hexdigest()
    with corpus.building(dst, "repos", made_by=VERB, settings=settings, listed=pin) as out:
        if isinstance(out, corpus.Table):
            return out
        listed += registries.list_repos(*by_name, settings.debian_suite)
        for address in passes.progress(settings.datasets, label="reading tables"):
            listed += dataset.list_repos(address, cache_folder(cache))
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            answers = pool.map(git.list_repo, settings.git)
            listed += passes.progress(answers, label="asking git servers", total=len(settings.git))
        found = _on_github(settings, out, cache_folder(cache)) if on_github else github.Found([], [], [])
        repos = sorted(listed + found.repos, key=lambda repo: repo.repo)
        _refuse_twins(repos)
        rejected = [(name, reason, detail, 1, 0) for name, reason, detail in found.rejected]
        contents = {
            "": pl.DataFrame([asdict(repo) for repo in repos], schema=_COLUMNS),
            "rejects": corpus.rejects(rejected, VERB),
            "slices": pl.DataFrame(found.slices, schema=list(github.Slice._fields), orient="row"),
        }
        out.write("repos", contents, came_in=len(repos) + len(rejected))
        return out.seal()


_COLUMNS = pl.DataFrame(schemas.SCHEMAS["repos"].empty_table()).schema


def _on_github(settings: List, out: corpus.Output, cache: Path) -> github.Found:
    notebook = github.Notebook(out.notebook("github"))
    try:
        return github.find_repos(settings.github, notebook, Api(settings.github.api, cache))
    except OutOfReach as failure:
        raise corpus.Refusal(f"GitHub: {failure.detail}: run again later; it resumes.") from None


def _refuse_twins(repos: list[Repo]) -> None:
    counts = Counter(repo.repo for repo in repos)
    if twins := [name for name, count in counts.items() if count > 1]:
        raise corpus.Refusal(f"{twins[0]} is listed {counts[twins[0]]} times: leave one of them.")
