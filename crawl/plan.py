"""`crawl plan`: what a fetch would cost in requests, bytes and hours, before anything travels.

The table of repos says how many there are and, where a registry told it, how large; what the cache
holds already costs nothing.  The rest is a mean per repo: of an earlier fetch, if one is given, else
``RATES``.  Means of others' repos are a guess at yours; fetch a hundred of them and plan from those.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import corpus
from crawl.config import Fetch
from crawl.fetch import DOWNLOADS
from crawl.sources import SOURCES, cache_folder
from crawl.sources.entry import Repo


class Rate(NamedTuple):
    """What one repo of a source costs on average: bytes that travel, and seconds of one connection."""

    bytes: float
    seconds: float | None


RATES = {
    "pypi": Rate(1_370_000, None),
    "npm": Rate(326_000, None),
    "debian": Rate(1_290_000, None),
    "git": Rate(1_500_000, None),
}
"""Means over `runs/small.toml`, 2026-11-26; for git assumed."""

SECONDS = 0.5
"""For a request, assumed where no earlier fetch tells."""

SPEED = 2e6
"""Bytes a second of one connection, assumed likewise."""

REQUESTS = {"pypi": 2, "npm": 1, "debian": 1, "git": 4}
"""HTTP requests for one repo: PyPI's index and file; for git two fetches of two requests each."""


class Cost(NamedTuple):
    """What one source of a run would cost.

    Attributes:
        cached: Repos that are in the cache.
        known: Share of the bytes that the list states; the rest is a mean.
        hours: With ``DOWNLOADS`` connections at a time.
    """

    source: str
    repos: int
    cached: int
    requests: int
    bytes: int
    known: float
    hours: float


def estimate(src: Path, settings: Fetch, cache: Path | None, like: Path | None) -> list[Cost]:
    """The cost of fetching the repos listed at ``src``, by source.

    Args:
        like: An earlier table of files, whose measured rates are taken instead of ``RATES``.
    """
    rates = RATES | ({} if like is None else measured(corpus.read(like, "files").manifest))
    repos: defaultdict[str, list[Repo]] = defaultdict(list)
    for row in corpus.read(src, "repos").scan().collect().to_dicts():
        repos[row["source"]].append(Repo(**row))
    folder = cache_folder(cache)
    return [_cost(source, repos[source], settings, folder, rates) for source in sorted(repos)]


def measured(manifest: Mapping[str, object]) -> dict[str, Rate]:
    """What one repo cost in an earlier fetch, by source; sources of which nothing travelled are not there."""
    traffic = manifest.get("traffic")
    if not isinstance(traffic, dict):
        return {}
    return {
        source: Rate(sums["bytes"] / sums["repos"], sums["seconds"] / sums["repos"])
        for source, sums in traffic.items()
        if sums["repos"]
    }


def table(costs: list[Cost]) -> str:
    """The costs as lines to print, with their sum."""
    total = Cost(
        "all",
        sum(cost.repos for cost in costs),
        sum(cost.cached for cost in costs),
        sum(cost.requests for cost in costs),
        sum(cost.bytes for cost in costs),
        sum(cost.known * cost.bytes for cost in costs) / max(1, sum(cost.bytes for cost in costs)),
        sum(cost.hours for cost in costs),
    )
    lines = [("source", "repos", "cached", "requests", "MB", "stated", "hours")]
    lines += [
        (
            cost.source,
            f"{cost.repos:,}",
            f"{cost.cached:,}",
            f"{cost.requests:,}",
            f"{cost.bytes / 1e6:,.1f}",
            f"{cost.known:.0%}",
            f"{cost.hours:,.2f}",
        )
        for cost in (*costs, total)
    ]
    wide = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(wide[0]) if n == 0 else cell.rjust(wide[n]) for n, cell in enumerate(line))
        for line in lines
    )


def _cost(source: str, repos: list[Repo], settings: Fetch, cache: Path, rates: Mapping[str, Rate]) -> Cost:
    left = [repo for repo in repos if not SOURCES[source].has(repo, cache)]
    rate = rates.get(source, Rate(0, None))
    stated = sum(min(repo.bytes, settings.max_repo_bytes) for repo in left if repo.bytes is not None)
    guessed = rate.bytes * sum(repo.bytes is None for repo in left)
    requests = REQUESTS.get(source, 0) * len(left)
    assumed = SECONDS * requests + (stated + guessed) / SPEED
    seconds = assumed if rate.seconds is None else rate.seconds * len(left)
    return Cost(
        source=source,
        repos=len(repos),
        cached=len(repos) - len(left),
        requests=requests,
        bytes=round(stated + guessed),
        known=stated / max(1, stated + guessed),
        hours=seconds / DOWNLOADS / 3600,
    )
