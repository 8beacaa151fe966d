"""Discovery on GitHub: which repositories there are, and at which commit each stands.

Three ways to names: a search, cut into slices of creation time until each has fewer than the 1,000
results that a search gives; a list; and GH Archive's hourly events, for what was pushed to.  A look-up
then gives each its facts and its commit.  What is found is a git repository like any other: ``git``
fetches it.

Counts drift between calls, so every slice is recorded with the count it had; what was found is kept in
a notebook until the table is sealed, so a listing that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import corpus
import passes
from corpus import Refusal
from crawl.config import GitHub
from crawl.sources import events, git, githubfacts
from crawl.sources.entry import Repo
from crawl.sources.githubapi import Api

MOST = 1000
"""Results that GitHub gives of one search, however many it counts."""

PAGE = 100

TRIES = 3
"""At a search that GitHub says it could not finish in time; then it is cut as if it had too many results."""

AT_A_TIME = 8
"""Requests; GitHub's secondary limit is 100."""

NAME = events.NAME


class Slice(NamedTuple):
    """One question and what it gave: a search, or an hour of events.

    Attributes:
        results: What the server counted.
        listed: How many names it gave; None where it was cut into two further slices.
    """

    query: str
    results: int
    listed: int | None


class Found(NamedTuple):
    """Repos, what was found and is none (name, reason, detail), and the slices."""

    repos: list[Repo]
    rejected: list[tuple[str, str, str | None]]
    slices: list[Slice]


class Notebook:
    """What was answered so far, a line each, so that a listing that was stopped asks for the rest only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Any] = {}
        self._lock = threading.Lock()
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
            try:
                asked, answer = json.loads(line)
            except ValueError:
                os.truncate(path, whole)  # the line that was being written
                break
            self.known[asked] = answer
            whole += len(line)

    def add(self, asked: str, answer: Any) -> Any:
        """Note an answer; gives it back."""
        with self._lock, self.path.open("a") as file:
            file.write(json.dumps([asked, answer]) + "\n")
            self.known[asked] = answer
        return answer


def is_asked(settings: GitHub) -> bool:
    """Whether the settings name anything to be found."""
    return bool(settings.languages or settings.repos or settings.events or settings.known)


def pins(settings: GitHub) -> list[str]:
    """The content of what the settings name by path."""
    known = [] if settings.known is None else [corpus.read(settings.known, "repos").digest]
    return known + _listed(settings.repos)


def find_repos(settings: GitHub, notebook: Notebook, api: Api) -> Found:
    """All repos that the settings name, in order of their names."""
    git.split(f"{settings.clone}/owner/name")  # refuses what is no address, or holds credentials
    slices = [*_search_all(settings, notebook, api), *_event_hours(settings, notebook)]
    found = {name for slice_ in slices for name in notebook.known[slice_.query]["names"] or ()}
    known, listed = _known(settings), set(_listed(settings.repos))
    unchanged: dict[str, Repo] = {}
    if known and settings.events:
        unchanged = {name: repo for name, repo in known.items() if name not in found | listed}
        found &= known.keys()
    named = listed | known.keys()
    facts = _look_up(sorted((found | named) - unchanged.keys()), notebook, api)
    reasons = {name: _unwanted(fact, None if name in named else settings) for name, fact in facts.items()}
    rejected = [(_key(name, settings), *reason) for name, reason in reasons.items() if reason is not None]
    wanted = [_repo(facts[name], settings) for name, reason in reasons.items() if reason is None]
    # By name: a repo that is found under its old name and its new one is one.
    repos = {repo.repo: repo for repo in (*unchanged.values(), *wanted)}
    return Found([repos[name] for name in sorted(repos)], rejected, slices)


# --------------------------------------------------------------------------------------- searching


def _search_all(settings: GitHub, notebook: Notebook, api: Api) -> Iterator[Slice]:
    start, end = _day(settings.created_from), _day(settings.created_until) + timedelta(days=1, seconds=-1)
    for language in passes.progress(settings.languages, label="searching", total=len(settings.languages)):
        words = [f'language:"{language}"', f"stars:>={settings.stars}", *["fork:true"] * settings.forks]
        yield from _search(" ".join(words), start, end, notebook, api)


def _search(words: str, start: datetime, end: datetime, notebook: Notebook, api: Api) -> Iterator[Slice]:
    """A slice, or its halves where it has more results than one search gives."""
    query = f"{words} created:{start:%Y-%m-%dT%H:%M:%SZ}..{end:%Y-%m-%dT%H:%M:%SZ}"
    if (found := notebook.known.get(query)) is None:
        found = notebook.add(query, _results(query, start < end, api))
    names = found["names"]
    yield Slice(query, found["results"], None if names is None else len(names))
    if names is None:
        middle = start + timedelta(seconds=(end - start).total_seconds() // 2)
        yield from _search(words, start, middle, notebook, api)
        yield from _search(words, middle + timedelta(seconds=1), end, notebook, api)


def _results(query: str, may_be_cut: bool, api: Api) -> dict[str, Any]:
    """The count, and the names on all pages; None for names where it must be cut."""
    page = partial(api.search, "/search/repositories", q=query, sort="stars", order="desc", per_page=PAGE)
    for _ in range(TRIES):
        first = page(page=1)
        if first is None or not isinstance(first.get("items"), list):
            raise Refusal(f"{api.base} does not answer searches as GitHub does: check github.api.")
        if whole := not first.get("incomplete_results"):
            break
    count = int(first["total_count"])
    if (count > MOST or not whole) and may_be_cut:
        return {"results": count, "names": None}
    items = list(first["items"])
    for number in range(2, -(-min(count, MOST) // PAGE) + 1):
        items += (page(page=number) or {}).get("items", [])
    return {
        "results": count,
        "names": sorted({name for item in items if NAME.fullmatch(name := item["full_name"])}),
    }


# ------------------------------------------------------------------------------ events, lists, tables


def _event_hours(settings: GitHub, notebook: Notebook) -> Iterator[Slice]:
    hours = events.hours(settings.events) if settings.events else []
    for hour in passes.progress(hours, label="reading events", total=len(hours)):
        if (found := notebook.known.get(f"events {hour}")) is None:
            names = events.pushed(hour, settings.archive)
            found = notebook.add(f"events {hour}", {"results": len(names), "names": names})
        yield Slice(f"events {hour}", found["results"], len(found["names"]))


def _listed(path: Path | None) -> list[str]:
    """The names in a file, one a line; ``#`` begins a comment."""
    if path is None:
        return []
    try:
        lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise Refusal(f"{path}: {said}: give a file with an owner/name a line.") from None
    for line in filter(None, lines):
        if not NAME.fullmatch(line):
            raise Refusal(f"{path}: {line[:80]!r} is no owner/name of a repository.")
    return [line for line in lines if line]


def _known(settings: GitHub) -> dict[str, Repo]:
    if settings.known is None:
        return {}
    rows = corpus.read(settings.known, "repos").scan().collect().to_dicts()
    base = f"{settings.clone}/"
    repos = [Repo(**row) for row in rows if row["url"].startswith(base)]
    return {repo.url.removeprefix(base).removesuffix(".git"): repo for repo in repos}


# ------------------------------------------------------------------------------------------ repos


def _look_up(names: list[str], notebook: Notebook, api: Api) -> dict[str, Any]:
    """By name, what GitHub knows of a repo, or None if it is gone."""
    left = [name for name in names if f"repo {name}" not in notebook.known]
    size = githubfacts.size(api)
    batches = [left[start : start + size] for start in range(0, len(left), size)]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        answers = pool.map(lambda batch: githubfacts.ask(batch, api), batches)
        for answer in passes.progress(answers, label="looking up repos", total=len(batches)):
            for name, facts in answer.items():
                notebook.add(f"repo {name}", facts)
    return {name: notebook.known[f"repo {name}"] for name in names}


def _unwanted(facts: Any, settings: GitHub | None) -> tuple[str, str | None] | None:
    """Why a repo is not listed; one that was named by the user (no settings) is asked less."""
    if facts is None:
        return "gone", None
    if not git.COMMIT.fullmatch(facts["commit"] or ""):
        return "empty", None
    if settings is None:
        return None
    if facts["is_fork"] and not settings.forks:
        return "fork", None
    if facts["stars"] < settings.stars:
        return "few_stars", str(facts["stars"])
    if not settings.created_from <= facts["created"][:10] <= settings.created_until:
        return "created_outside", facts["created"][:10]
    return None


def _repo(facts: dict[str, Any], settings: GitHub) -> Repo:
    license_ = facts["license"]
    return Repo(
        repo=_key(facts["name"], settings),
        revision=facts["commit"],
        source="git",
        url=f"{settings.clone}/{facts['name']}.git",
        license=None if license_ in (None, "NOASSERTION", "OTHER") else license_,
        stars=facts["stars"],
        id=facts["id"],
        forks=facts["forks"],
        is_fork=facts["is_fork"],
        archived=facts["archived"],
        created=_time(facts["created"]),
        pushed=_time(facts["pushed"]),
    )


def _key(name: str, settings: GitHub) -> str:
    return git.key(f"{settings.clone}/{name}")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Refusal(f"{text!r} is no day: write it as 2023-01-31.") from None
