"""`crawl list`: every source's repos in one table, each at one revision."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import polars as pl

import corpus
import passes
from crawl.config import List
from crawl.sources import folder, git, packages
from crawl.sources.entry import Repo


def list_repos(dst: Path, settings: List) -> corpus.Table:
    """Write the table of repos; asks git servers what a branch stands for, and nobody else."""
    listed = [] if settings.packages is None else packages.list_repos(settings.packages)
    listed += [folder.list_repo(path) for path in settings.folders]
    if not listed and not settings.git:
        raise corpus.Refusal("nothing to list: give packages, git or folders (see crawl list --help).")
    # What the settings only name is pinned by its content, so a changed list is not taken for up to date.
    pin = hashlib.sha256(repr(sorted(map(repr, listed))).encode()).hexdigest()
    with corpus.building(dst, "repos", made_by="crawl list", settings=settings, listed=pin) as out:
        if isinstance(out, corpus.Table):
            return out
        asked = passes.progress(settings.git, label="asking git servers", total=len(settings.git))
        repos = sorted(listed + [git.list_repo(url) for url in asked], key=lambda repo: repo.repo)
        _refuse_twins(repos)
        rows = pl.DataFrame([asdict(repo) for repo in repos], schema_overrides=_TYPES)
        out.write("repos", {"": rows}, came_in=len(repos))
        return out.seal()


_TYPES = {"license": pl.String, "stars": pl.Int32, "bytes": pl.Int64}


def _refuse_twins(repos: list[Repo]) -> None:
    counts = Counter(repo.repo for repo in repos)
    if twins := [name for name, count in counts.items() if count > 1]:
        raise corpus.Refusal(f"{twins[0]} is listed {counts[twins[0]]} times: leave one of them.")
