"""Discovery against a server that answers as GitHub's documentation says, limits and failures included."""

from __future__ import annotations

import gzip
import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import corpus
from corpus import Refusal
from crawl import cli
from crawl.config import Fetch, GitHub, List
from crawl.fetch import fetch_repos
from crawl.listing import list_repos
from crawl.sources import events, github, mirrors
from crawl.sources.entry import OutOfReach
from crawl.sources.githubapi import LONGEST, Api
from tests.unit.crawl.githubserver import FIRST, Clock, Forge


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forge]:
    monkeypatch.setenv("FATHOM_GITHUB_TOKENS", "t0ken-a")
    with Forge() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def clock(forge: Forge) -> Clock:
    clock = Clock()
    forge.now = clock
    return clock


def settings(forge: Forge, **more: Any) -> GitHub:
    return GitHub(api=forge.url, archive=forge.url, **more)


def find(forge: Forge, clock: Clock, folder: Path, asked: GitHub, seconds: float = 60.0) -> github.Found:
    folder.mkdir(exist_ok=True)
    api = Api(forge.url, folder / "cache", seconds=seconds, clock=clock, sleep=clock.sleep)
    return github.find_repos(asked, github.Notebook(folder / "notes.jsonl"), api)


PYTHON = {"languages": ("Python",), "stars": 5, "created_until": "2016-12-31"}


def expected(forge: Forge) -> set[str]:
    return {
        f"github.com/{repo['full_name']}"
        for repo in forge.repositories
        if repo["language"] == "Python"
        and repo["stargazers_count"] >= 5
        and repo["created_at"] < "2017"
        and not repo["fork"]
        and repo["commit"]
    }


def test_a_search_is_sliced_until_nothing_is_hidden_and_every_slice_is_recorded(
    forge: Forge, clock: Clock, tmp_path: Path
) -> None:
    found = find(forge, clock, tmp_path, settings(forge, **PYTHON))
    assert {repo.repo for repo in found.repos} == expected(forge)
    leaves = [slice_ for slice_ in found.slices if slice_.listed is not None]
    assert all(slice_.listed == slice_.results <= 1000 for slice_ in leaves)
    assert all(slice_.results > 1000 for slice_ in found.slices if slice_.listed is None)
    assert sum(slice_.results for slice_ in leaves) == found.slices[0].results == len(found.repos)
    assert len(forge.asked) < 80  # look-ups go by the hundred


def test_a_search_that_does_not_end_in_time_is_cut(forge: Forge, clock: Clock, tmp_path: Path) -> None:
    forge.hard = "2015-01-04T05:06:07Z"
    found = find(forge, clock, tmp_path, settings(forge, **PYTHON))
    assert {repo.repo for repo in found.repos} == expected(forge)
    assert any(slice_.results <= 1000 for slice_ in found.slices if slice_.listed is None)


def test_facts_become_columns(forge: Forge, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "names").write_text("owner1/repo-1  # a comment\n")
    repo = find(forge, clock, tmp_path, settings(forge, repos=tmp_path / "names")).repos[0]
    assert (repo.id, repo.stars, repo.forks, repo.license) == (1001, 1, 1, "MIT")
    assert (repo.is_fork, repo.archived) == (False, False)
    assert (repo.created, repo.pushed) == (
        FIRST + timedelta(minutes=4),
        datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
    )
    assert (repo.repo, repo.url) == ("github.com/owner1/repo-1", "https://github.com/owner1/repo-1.git")


FAULTS = ["primary", "retry-after", "502", "secondary", "cut", "no json", "503", "slow", "500"]
FAULTS += ["no gzip", "deep"]


def test_limits_and_failures_change_nothing_but_the_time(forge: Forge, clock: Clock, tmp_path: Path) -> None:
    calm = find(forge, clock, tmp_path / "calm", settings(forge, **PYTHON))
    forge.faults = [word for fault in FAULTS for word in (fault, "")]
    rough = find(forge, clock, tmp_path / "rough", settings(forge, **PYTHON), seconds=0.4)
    assert rough == calm
    assert forge.faults == []
    assert max(clock.slept) > 850  # until the reset of the primary limit
    assert any(76 < seconds <= 77 for seconds in clock.slept)  # Retry-After
    assert any(59 < seconds <= 60 for seconds in clock.slept)  # a secondary limit that says nothing


@pytest.mark.parametrize("fault", ["circle", "304"])
def test_what_no_further_try_can_help_is_out_of_reach(
    forge: Forge, clock: Clock, tmp_path: Path, fault: str
) -> None:
    forge.faults = [fault]
    with pytest.raises(OutOfReach):
        Api(forge.url, tmp_path, clock=clock, sleep=clock.sleep).get("/repos/owner1/repo-1")


def test_where_one_token_has_reached_its_limit_another_asks(
    forge: Forge, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FATHOM_GITHUB_TOKENS", "t0ken-a, t0ken-b t0ken-c")
    forge.refused = {"t0ken-c"}
    forge.faults = ["primary", "retry-after"]
    forge.repositories = forge.repositories[:30]
    find(forge, clock, tmp_path, settings(forge, languages=("Elm",)))
    assert {secret for _, secret, _ in forge.asked} >= {"Bearer t0ken-a", "Bearer t0ken-b"}
    assert max(clock.slept) < 100


def test_the_token_of_github_goes_to_no_other_host(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FATHOM_GITHUB_TOKENS")
    monkeypatch.setenv("GITHUB_TOKEN", "t0ken-of-github")
    assert Api("https://api.github.com", tmp_path).has_tokens
    for elsewhere in (forge.url, "http://api.github.com", "https://api.github.com.example.org"):
        assert not Api(elsewhere, tmp_path).has_tokens


def test_nobody_waits_for_years_because_an_answer_says_so(forge: Forge, clock: Clock, tmp_path: Path) -> None:
    api = Api(forge.url, tmp_path, clock=clock, sleep=clock.sleep)
    token = api.pool[0]
    for claim in ("Retry-After", "X-RateLimit-Reset"):
        answer = httpx.Response(403, headers={"X-RateLimit-Remaining": "0", claim: "9" * 400})
        api._note(answer, token, "core")
        api._hold(answer, token, "core", 1)
        assert token.free("core") <= clock.now + LONGEST


def test_tokens_that_are_not_accepted_are_refused_and_not_shown(
    forge: Forge, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forge.refused = {"t0ken-a"}
    with pytest.raises(Refusal, match="none of the tokens") as refusal:
        find(forge, clock, tmp_path, settings(forge, languages=("Elm",)))
    assert "t0ken" not in str(refusal.value) + caplog.text + repr(Api(forge.url, tmp_path).pool)


def test_what_has_not_changed_costs_nothing(
    forge: Forge, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FATHOM_GITHUB_TOKENS")
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    (tmp_path / "names").write_text("\n".join(f"owner{n % 7}/repo-{n}" for n in range(10)))
    first = find(forge, clock, tmp_path, settings(forge, repos=tmp_path / "names"))
    (tmp_path / "notes.jsonl").unlink()  # a later run
    forge.repositories[3]["commit"] = "3" * 40
    before = forge.counted()
    second = find(forge, clock, tmp_path, settings(forge, repos=tmp_path / "names"))
    assert forge.counted() - before == 2  # the repo that changed, and its commits
    assert [repo.revision for repo in second.repos if repo not in first.repos] == ["3" * 40]


def test_a_listing_that_was_stopped_asks_only_for_the_rest(
    forge: Forge, clock: Clock, tmp_path: Path
) -> None:
    calm = find(forge, clock, tmp_path / "calm", settings(forge, **PYTHON))
    whole = len(forge.asked)
    forge.asked.clear()
    forge.faults = [""] * 30 + ["500"] * 6
    with pytest.raises(OutOfReach):
        find(forge, clock, tmp_path / "stopped", settings(forge, **PYTHON))
    notes = tmp_path / "stopped/notes.jsonl"
    notes.write_text(notes.read_text() + '["half a li')
    forge.faults.clear()
    assert find(forge, clock, tmp_path / "stopped", settings(forge, **PYTHON)) == calm
    assert forge.counted() < whole + 12  # the slice that broke off is asked for again
    forge.asked.clear()
    assert find(forge, clock, tmp_path / "stopped", settings(forge, **PYTHON)) == calm
    assert forge.asked == []


def test_what_is_gone_empty_or_not_wanted_is_a_reject(forge: Forge, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "names").write_text("nobody/nothing\nowner2/repo-2550\nowner5/repo-89\n")
    found = find(forge, clock, tmp_path, settings(forge, repos=tmp_path / "names"))
    assert [repo.repo for repo in found.repos] == ["github.com/owner5/repo-89"]  # a fork, but asked for
    assert [row[:2] for row in found.rejected] == [
        ("github.com/nobody/nothing", "gone"),
        ("github.com/owner2/repo-2550", "empty"),
    ]


def test_half_an_answer_to_a_batch_is_no_answer(forge: Forge, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "names").write_text("owner1/repo-1\n")
    forge.faults = ["half", "half"]
    assert len(find(forge, clock, tmp_path, settings(forge, repos=tmp_path / "names")).repos) == 1


def test_a_blocked_repo_is_gone_and_a_senseless_search_is_refused(
    forge: Forge, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "names").write_text("owner1/repo-1\n")
    forge.faults = ["422"]
    with pytest.raises(Refusal, match=r'cannot make sense of .*language:"Nonesuch"'):
        find(forge, clock, tmp_path, settings(forge, languages=("Nonesuch",)))
    monkeypatch.delenv("FATHOM_GITHUB_TOKENS")
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    forge.faults = ["blocked"]
    found = find(forge, clock, tmp_path, settings(forge, repos=tmp_path / "names"))
    assert found.rejected == [("github.com/owner1/repo-1", "gone", None)]


def test_discovery_has_a_table_in_the_run_file(forge: Forge, tmp_path: Path) -> None:
    (tmp_path / "names").write_text("owner1/repo-1\n")
    run = f'[crawl.list.github]\nrepos = "{tmp_path}/names"\napi = "{forge.url}"\n'
    (tmp_path / "run.toml").write_text(run)
    words = ["list", str(tmp_path / "repos"), "--run", str(tmp_path / "run.toml"), "--cache", str(tmp_path)]
    cli.app.meta(words)
    assert corpus.read(tmp_path / "repos", "repos").scan().collect()["id"].to_list() == [1001]


def hour(*names: str) -> bytes:
    lines = [{"type": "PushEvent", "repo": {"id": 1, "name": name}} for name in names]
    lines += [{"type": "WatchEvent", "repo": {"name": "owner6/repo-6"}}, {"type": "PushEvent"}]
    return gzip.compress("\n".join(map(json.dumps, lines)).encode() + b"\n{broken\n")


def test_events_list_what_was_pushed_to(forge: Forge, clock: Clock, tmp_path: Path) -> None:
    forge.hours = {"2026-01-01-23": hour("owner1/repo-1", "a/../b"), "2026-01-02-0": hour("owner5/repo-89")}
    found = find(forge, clock, tmp_path, settings(forge, events="2026-01-01-22/2026-01-02-0"))
    assert [repo.repo for repo in found.repos] == ["github.com/owner1/repo-1"]
    assert found.rejected == [("github.com/owner5/repo-89", "fork", None)]
    assert [slice_.results for slice_ in found.slices] == [0, 1, 1]  # the archive lacks the first hour


def test_an_hour_that_is_cut_is_asked_for_again_and_then_refused(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors.time, "sleep", lambda _: None)
    forge.hours = {"2026-01-01-1": hour("owner1/repo-1")}
    forge.faults = ["503", "cut"]
    assert events.pushed("2026-01-01-1", forge.url) == ["owner1/repo-1"]
    forge.hours = {"2026-01-01-1": hour("owner1/repo-1")[:-9]}
    with pytest.raises(OutOfReach):
        events.pushed("2026-01-01-1", forge.url)


def git(*words: str, cwd: Path) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *words], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_recrawl_asks_about_what_was_pushed_to_and_fetches_what_is_new(
    forge: Forge, tmp_path: Path
) -> None:
    for n in (1, 2):
        work = tmp_path / f"forge/owner{n}/repo-{n}.git"
        work.mkdir(parents=True)
        git("init", "--quiet", cwd=work)
        (work / "a.py").write_text(f"first = {n}\n")
        git("add", ".", cwd=work)
        git("commit", "--quiet", "-m", "one", cwd=work)
        forge.repositories[n]["commit"] = git("rev-parse", "HEAD", cwd=work)
    (tmp_path / "names").write_text("owner1/repo-1\nowner2/repo-2\n")
    asked = settings(forge, repos=tmp_path / "names", clone=(tmp_path / "forge").as_uri())
    cache = tmp_path / "cache"
    first = list_repos(tmp_path / "repos", List(github=asked), cache)
    fetch_repos(first.path, tmp_path / "files", Fetch(), cache, 1)
    (work / "b.py").write_text("second = 2\n")
    git("add", ".", cwd=work)
    git("commit", "--quiet", "-m", "two", cwd=work)
    forge.repositories[2]["commit"] = git("rev-parse", "HEAD", cwd=work)
    forge.hours = {"2026-01-01-0": hour("owner2/repo-2", "owner9/other")}
    forge.asked.clear()
    again = replace(asked, repos=None, known=first.path, events="2026-01-01-0/2026-01-01-0")
    second = list_repos(tmp_path / "repos2", List(github=again), cache)
    assert [path for path, _, _ in forge.asked] == ["/2026-01-01-0.json.gz", "/graphql"]
    files = fetch_repos(second.path, tmp_path / "files2", Fetch(), cache, 1)
    assert sorted(files.scan().collect()["path"]) == ["a.py", "a.py", "b.py"]
    assert b"t0ken" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert corpus.read(second.path).scan("slices").collect().rows() == [("events 2026-01-01-0", 2, 2)]
