"""Discovery against a server that answers as GitHub's documentation says, limits and failures included."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

import corpus
from corpus import Refusal
from crawl import cli
from crawl.config import Fetch, GitHub, List
from crawl.fetch import fetch_repos
from crawl.listing import list_repos
from crawl.sources import events, github
from crawl.sources.entry import OutOfReach
from crawl.sources.githubapi import LONGEST, Api

COUNT = 2600
FIRST = datetime(2015, 1, 1, tzinfo=UTC)


def repository(n: int) -> dict[str, Any]:
    """A repository as the REST API describes it; most were created within one week."""
    created = FIRST + (timedelta(minutes=4 * n) if n < 2500 else timedelta(days=30 * (n - 2490)))
    return {
        "id": 1000 + n,
        "full_name": f"owner{n % 7}/repo-{n}",
        "stargazers_count": n % 50,
        "forks_count": n % 3,
        "fork": n % 90 == 89,
        "archived": False,
        "created_at": f"{created:%Y-%m-%dT%H:%M:%SZ}",
        "pushed_at": "2024-05-06T07:08:09Z",
        "license": {"spdx_id": "MIT"} if n % 2 else None,
        "language": "Elm" if n % 10 == 0 else "Python",
        "commit": None if n == 2550 else hashlib.sha1(str(n).encode()).hexdigest(),
    }


class Forge(ThreadingHTTPServer):
    """GitHub, as far as it is documented."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories = [repository(n) for n in range(COUNT)]
        self.faults: list[str] = []
        """What the next requests meet."""
        self.asked: list[tuple[str, str, int]] = []
        """Path, authorization and status of every request."""
        self.now = time.time
        self.hours: dict[str, bytes] = {}
        self.refused: set[str] = set()
        self.hard = "never"
        """A moment around which larger searches do not end in time."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def counted(self) -> int:
        """Requests that cost something of the limit."""
        return sum(status == 200 for _, _, status in self.asked)


class Answer(BaseHTTPRequestHandler):
    server: Forge

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        fault = self.server.faults.pop(0) if self.server.faults else ""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self.server.refused:
            self.answer(401, {"message": "Bad credentials"})
        elif fault:
            self.fail(fault)
        else:
            self.succeed(urlsplit(self.path), body)

    do_POST = do_GET

    def fail(self, fault: str) -> None:
        reset = str(int(self.server.now()) + 900)
        if fault == "primary":
            headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
            self.answer(403, {"message": "API rate limit exceeded for user ID 1."}, headers)
        elif fault == "retry-after":
            headers = {"Retry-After": "77", "X-RateLimit-Remaining": "4000"}
            self.answer(429, {"message": "You have exceeded a secondary rate limit."}, headers)
        elif fault == "secondary":
            self.answer(403, {"message": "You have exceeded a secondary rate limit. Please wait."})
        elif fault == "blocked":
            self.answer(403, {"message": "Repository access blocked", "block": {"reason": "tos"}})
        elif fault == "half" and self.path == "/graphql":
            self.answer(200, {"data": {"r0": None}, "errors": [{"message": "Something went wrong"}]})
        elif fault == "cut":
            self.answer(200, {"total_count": 3, "items": []}, length=9999)
        elif fault == "no json":
            self.answer(200, None)
        elif fault == "no gzip":
            self.raw(200, b"{}", {"Content-Encoding": "gzip"})
        elif fault == "deep":
            self.raw(200, b"[" * 200_000, {})
        elif fault == "circle":
            self.server.faults.insert(0, "circle")  # before the answer, which the client follows at once
            self.raw(302, b"", {"Location": self.path})
        elif fault == "slow":
            time.sleep(1)
        else:
            self.answer(int(fault), {"message": "Server Error"})

    def succeed(self, url: Any, body: str) -> None:
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/search/repositories":
            self.answer(200, self.found(query))
        elif url.path == "/graphql":
            asked = re.findall(
                r'(r\d+): repository\(owner: "(\S+)", name: "(\S+)"\)', json.loads(body)["query"]
            )
            assert len(asked) <= 100
            data = {alias: self.node(self.named(f"{owner}/{name}")) for alias, owner, name in asked}
            errors = [{"type": "NOT_FOUND", "path": [alias]} for alias, node in data.items() if node is None]
            self.answer(200, {"data": data, "errors": errors})
        elif url.path.endswith(".json.gz"):
            hour = self.server.hours.get(url.path.strip("/").removesuffix(".json.gz"))
            self.raw(404 if hour is None else 200, hour or b"", {})
        else:
            self.rest(url.path.removeprefix("/repos/"))

    def rest(self, path: str) -> None:
        repo = self.named("/".join(path.split("/")[:2]))
        if repo is None:
            self.answer(404, {"message": "Not Found"})
        elif path.endswith("/commits") and repo["commit"] is None:
            self.answer(409, {"message": "Git Repository is empty."})
        else:
            found = [{"sha": repo["commit"]}] if path.endswith("/commits") else repo
            etag = f'W/"{hashlib.sha1(repr(found).encode()).hexdigest()}"'
            if self.headers.get("If-None-Match") == etag:
                self.raw(304, b"", {"ETag": etag})
            else:
                self.answer(200, found, {"ETag": etag})

    def named(self, name: str) -> dict[str, Any] | None:
        return next((repo for repo in self.server.repositories if repo["full_name"] == name), None)

    def node(self, repo: dict[str, Any] | None) -> dict[str, Any] | None:
        return repo and {
            "databaseId": repo["id"],
            "nameWithOwner": repo["full_name"],
            "stargazerCount": repo["stargazers_count"],
            "forkCount": repo["forks_count"],
            "isFork": repo["fork"],
            "isArchived": repo["archived"],
            "createdAt": repo["created_at"],
            "pushedAt": repo["pushed_at"],
            "licenseInfo": repo["license"] and {"spdxId": repo["license"]["spdx_id"]},
            "defaultBranchRef": repo["commit"] and {"target": {"oid": repo["commit"]}},
        }

    def found(self, query: dict[str, str]) -> dict[str, Any]:
        """No more than a thousand results, a hundred a page, no forks unless they are asked for."""
        asked = re.fullmatch(r'language:"(.+)" stars:>=(\d+)( fork:true)? created:(\S+)\.\.(\S+)', query["q"])
        assert asked
        language, stars, forks, start, end = asked.groups()
        items = [
            repo
            for repo in self.server.repositories
            if repo["language"] == language
            and repo["stargazers_count"] >= int(stars)
            and start <= repo["created_at"] <= end
            and (forks or not repo["fork"])
        ]
        size, page = int(query["per_page"]), int(query["page"])
        assert size <= 100
        assert size * page <= 1000
        return {
            "total_count": len(items),
            "incomplete_results": start <= self.server.hard <= end and len(items) > 300,
            "items": items[size * (page - 1) : size * page],
        }

    def answer(
        self, status: int, body: Any, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        text = b"<html>" if body is None else json.dumps(body).encode()
        self.raw(status, text, headers or {}, length)

    def raw(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization", ""), status))
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if status != 304:
            self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Clock:
    """Time that passes by waiting only."""

    def __init__(self) -> None:
        self.now = time.time()
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


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
    monkeypatch.setattr(events.time, "sleep", lambda _: None)
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
    assert files.scan().collect()["path"].to_list() == ["a.py", "a.py", "b.py"]
    assert b"t0ken" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert corpus.read(second.path).scan("slices").collect().rows() == [("events 2026-01-01-0", 2, 2)]
