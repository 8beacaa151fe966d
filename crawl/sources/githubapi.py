"""Asking GitHub's API, or one that answers like it, within its limits.

Tokens are a pool, from ``FATHOM_GITHUB_TOKENS`` (or ``GITHUB_TOKEN``); each request goes by one that may
still ask, and where none may it waits for the first.  Limits are the server's own words: primary
(``X-RateLimit-*``), secondary (403 or 429, with or without ``Retry-After``).  Answers are kept with
their ETags, so what has not changed costs nothing of the limit (304).  A token goes to the API's own
host alone and stands in no log, file or message.

Documented at docs.github.com/en/rest/using-the-rest-api (rate limits, best practices), read in 2026.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import httpx

from corpus import Refusal, write_aside
from crawl.sources.entry import OutOfReach, printable

log = logging.getLogger(__name__)

ATTEMPTS = 6
"""At one request that fails by the server's or the network's fault."""

LIMITS = 60
"""Times that one request may meet a limit: with an hour between them, more than two days."""

SECONDARY = 60.0
"""Seconds to wait at a secondary limit that does not say how long; doubled at each further one."""

LONGEST = 3700.0
"""Seconds: GitHub's limits are by the hour, so nobody waits longer for what an answer claims."""

MAX_BODY = 32 << 20
"""Bytes of one answer."""

GONE = (403, 404, 409, 410, 451)
"""Blocked (a 403 that is no limit), not there, empty (409), removed, withheld for legal reasons."""


@dataclass
class Token:
    """A token and when it may ask again, by the resource that GitHub counts (core, search, graphql)."""

    secret: str = field(repr=False)
    free_at: dict[str, float] = field(default_factory=dict)

    def free(self, resource: str) -> float:
        """Seconds since the epoch."""
        return max(self.free_at.get(resource, 0.0), self.free_at.get("", 0.0))


def tokens(base: str) -> list[Token]:
    """The pool; a single nameless one without any, by which GitHub answers 60 times an hour.

    ``GITHUB_TOKEN`` is set for GitHub by whoever set it, so no other host that a run file names gets it.
    """
    words = os.environ.get("FATHOM_GITHUB_TOKENS", "")
    if not words and urlsplit(base)[:2] == ("https", "api.github.com"):
        words = os.environ.get("GITHUB_TOKEN", "")
    return [Token(secret) for secret in re.split(r"[\s,]+", words) if secret] or [Token("")]


class Api:
    """An API and what is known of its patience.  Safe for threads.

    Args:
        base: Its URL, ``https://api.github.com`` for GitHub itself.
        cache: Where answers are kept with their ETags.
        seconds: A request that says nothing for so long has failed.
        clock, sleep: What time it is, and what waiting is.
    """

    def __init__(
        self,
        base: str,
        cache: Path,
        *,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise Refusal("github.api must be an http(s) URL without credentials: tokens are environment.")
        self.base = base.rstrip("/")
        self.cache = cache / "github"
        self.pool = tokens(self.base)
        self.clock, self.sleep = clock, sleep
        self.asked = 0
        """Requests sent, 304s included."""
        self._lock = threading.Lock()
        self._client = httpx.Client(
            verify=ssl.create_default_context(),
            timeout=httpx.Timeout(seconds, connect=20),
            follow_redirects=True,
        )

    @property
    def has_tokens(self) -> bool:
        return bool(self.pool[0].secret)

    def search(self, path: str, **parameters: str | int) -> Any:
        """The JSON of a search, which has a limit of its own (30 a minute) and is not kept."""
        response = self._ask("GET", str(httpx.URL(f"{self.base}{path}", params=parameters)), "search")
        return response.json() if response is not None else None

    def get(self, path: str, **parameters: str | int) -> Any:
        """The JSON at a path; None if it is gone.  An unchanged answer comes from the cache.

        Raises:
            OutOfReach: The server failed ``ATTEMPTS`` times, or does not accept the request.
        """
        url = str(httpx.URL(f"{self.base}{path}", params=parameters))
        kept = self._kept(url)
        headers = {"If-None-Match": kept["etag"]} if kept else {}
        response = self._ask("GET", url, "core", headers=headers)
        if response is None:
            return None
        if response.status_code == 304:
            if kept is None:
                raise OutOfReach("unreachable", "http 304 for what it never told")
            return kept["body"]
        body = response.json()
        if etag := response.headers.get("ETag"):
            write_aside(self._file(url), json.dumps({"url": url, "etag": etag, "body": body}).encode())
        return body

    def graphql(self, query: str) -> Mapping[str, Any]:
        """The data of a GraphQL query; what the server could not find is None in it.  Needs a token."""
        # An enterprise server has its REST API at /api/v3 and this one at /api/graphql.
        url = f"{self.base.removesuffix('/v3')}/graphql"
        for _ in range(ATTEMPTS):
            response = self._ask("POST", url, "graphql", json={"query": query})
            answer = response.json() if response is not None else {}
            failed = {error.get("type") for error in answer.get("errors", ())} - {"NOT_FOUND", "FORBIDDEN"}
            if isinstance(answer.get("data"), dict) and not failed:
                data: Mapping[str, Any] = answer["data"]
                return data
            # Limits and time-outs are a 200 with errors inside, and null is no answer then.
            self.sleep(2.0)
        raise OutOfReach("unreachable", "graphql: no whole answer")

    # ---------------------------------------------------------------------------------- requests

    def _ask(self, method: str, url: str, resource: str, **more: Any) -> httpx.Response | None:
        """One answer with a whole JSON body, a 304, or None for what is gone."""
        failures = limited = 0
        while True:
            token = self._token(resource)
            try:
                response = self._send(method, url, token, **more)
            except (httpx.RequestError, ValueError, RecursionError) as error:  # a body that is no JSON
                said = type(error).__name__
            else:
                self._note(response, token, resource)
                if self._is_limit(response):
                    limited += 1
                    self._hold(response, token, resource, limited)
                    continue
                if response.status_code == 401:
                    self._drop(token)
                    continue
                if response.status_code < 500:
                    return _final(response, url)
                said = f"http {response.status_code}"
            failures += 1
            if failures == ATTEMPTS:
                raise OutOfReach("unreachable", said)
            self.sleep(2.0**failures)

    def _send(self, method: str, url: str, token: Token, **more: Any) -> httpx.Response:
        headers = {
            "User-Agent": "fathom-coder",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            **more.pop("headers", {}),
        }
        if token.secret:
            headers["Authorization"] = f"Bearer {token.secret}"
        self.asked += 1
        with self._client.stream(method, url, headers=headers, **more) as response:
            body = b""
            for piece in response.iter_bytes():
                body += piece
                if len(body) > MAX_BODY:
                    raise OutOfReach("unreachable", f"an answer of more than {MAX_BODY} bytes")
        whole = httpx.Response(
            response.status_code,
            headers={k: v for k, v in response.headers.items() if k.lower() not in _ENCODED},
            content=body,
        )
        if whole.status_code == 200:
            whole.json()
        return whole

    # ------------------------------------------------------------------------------------ limits

    def _token(self, resource: str) -> Token:
        """The token that may ask first; waits until it may."""
        while True:
            with self._lock:
                token = min(self.pool, key=lambda token: token.free(resource))
                wait = token.free(resource) - self.clock()
            if wait <= 0:
                return token
            if wait > 30:
                log.info("GitHub's limit on %s is reached: waiting %.0f s", resource, wait)
            self.sleep(wait)

    def _note(self, response: httpx.Response, token: Token, resource: str) -> None:
        """A token that has asked its last until the reset rests until then."""
        remaining = response.headers.get("X-RateLimit-Remaining", "")
        reset = response.headers.get("X-RateLimit-Reset", "")
        if remaining == "0" and reset.isdecimal():
            with self._lock:
                token.free_at[response.headers.get("X-RateLimit-Resource", resource)] = min(
                    float(reset) + 1, self.clock() + LONGEST
                )

    def _is_limit(self, response: httpx.Response) -> bool:
        """Limits are 403 or 429; a 403 without a sign of one is a plain no."""
        if response.status_code == 429:
            return True
        signs = "Retry-After" in response.headers or response.headers.get("X-RateLimit-Remaining") == "0"
        return response.status_code == 403 and (signs or "rate limit" in response.text.lower())

    def _hold(self, response: httpx.Response, token: Token, resource: str, times: int) -> None:
        """The token rests for as long as the server says, or longer each time where it does not say."""
        if times > LIMITS:
            raise OutOfReach("unreachable", f"{LIMITS} times at a limit with one request")
        after = response.headers.get("Retry-After", "")
        if not after.isdecimal() and token.free(resource) > self.clock():
            return  # primary: noted already
        seconds = float(after) if after.isdecimal() else SECONDARY * 2 ** min(times - 1, 5)
        with self._lock:
            until = self.clock() + min(seconds, LONGEST)
            token.free_at[""] = max(token.free_at.get("", 0.0), until)

    def _drop(self, token: Token) -> None:
        with self._lock:
            if token in self.pool:
                self.pool.remove(token)
                log.warning("GitHub does not accept one of the tokens (401): it is left out")
            if not self.pool:
                raise Refusal("GitHub accepts none of the tokens in the environment: renew or unset them.")

    # ------------------------------------------------------------------------------------- cache

    def _file(self, url: str) -> Path:
        name = hashlib.sha256(url.encode()).hexdigest()
        folder = self.cache / name[:2]
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.json"

    def _kept(self, url: str) -> Any:
        try:
            return json.loads(self._file(url).read_text())
        except (FileNotFoundError, ValueError):
            return None


def _final(response: httpx.Response, url: str) -> httpx.Response | None:
    """What an answer means that no further try will change."""
    if response.status_code in (200, 304):
        return response
    if response.status_code in GONE:
        return None
    if response.status_code == 422:
        raise Refusal(f"GitHub cannot make sense of {printable(unquote_plus(url))}: check the settings.")
    raise OutOfReach("unreachable", f"http {response.status_code}")


_ENCODED = ("content-encoding", "content-length", "transfer-encoding")
