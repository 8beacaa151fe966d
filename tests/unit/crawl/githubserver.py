"""A stand-in for GitHub's API that gives its documented answers, limits and errors."""

from __future__ import annotations

import hashlib
import json
import re
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
