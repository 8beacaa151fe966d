"""Completions by any server that speaks OpenAI's HTTP protocol: vLLM, llama.cpp, TGI, a provider.

Prompts go to ``/completions``, as token ids where the model's tokenizer is at hand (``--tokenizer``), else
as text; a user's turn without ids goes to ``/chat/completions``.  One request is one sample with its own
seed, so order and resumption change nothing that the server does not change by itself.

What the server says about a request (400, 413, 422: too long, say) marks that sample.  What keeps it from
answering (refused connections, silence, 429, 5xx, garbage) is tried again with growing pauses; if it stays,
the run stops with one line and keeps what it has.

The key comes from the environment, travels in a header, and is written nowhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import httpx

from corpus import Refusal
from evals import prompts
from evals.backends import LARGEST_TEXT, REFUSED, Completion, Request
from evals.config import Sample
from evals.prompts import Prompt
from evals.suites.problem import Problem
from printable import storable

LARGEST = 16 << 20
"""Bytes of an answer; a completion has some kilobytes."""
STOPS = 4
"""Stop strings that OpenAI's servers take; the text is cut here at all of them."""
PAUSES = (1.0, 60.0)
"""Seconds of the first pause, doubled each time, and of the longest."""
FAILURES = 3
"""Requests in a row that fail for good before the server is taken for down."""
FINAL = (400, 413, 422)
"""Statuses that are about the request itself."""
HOPELESS = (401, 403, 404, 405)
"""Statuses that no other request would change either."""


class _Unanswered(Exception):
    """Nothing usable came; says what did.  Worth another try, after ``pause`` seconds at least."""

    def __init__(self, what: str, pause: float = 0.0) -> None:
        super().__init__(what)
        self.pause = pause


class Server:
    """A server and the name of a model there."""

    def __init__(self, url: str, settings: Sample) -> None:
        self.url, self.settings = _checked(url), settings
        self.name = settings.name or asyncio.run(self._only_model())
        self.identity = {"engine": f"server {self.url}", "name": self.name}
        self.tokenizer: Any = None
        if settings.tokenizer is not None:
            from evals.backends.local import tokenizer_at, tokenizer_identity

            self.tokenizer = tokenizer_at(settings.tokenizer)
            self.identity |= tokenizer_identity(self.tokenizer)

    def prompt(self, problem: Problem, max_new_tokens: int) -> Prompt:
        """The problem, in tokens if the tokenizer is at hand; a server shortens nothing."""
        if self.tokenizer is None:
            return Prompt(problem.prompt, problem.suffix, problem.chat)
        return prompts.encode(self.tokenizer, problem, 1 << 30)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion]]:
        """Each request with its completion, as they finish."""
        with asyncio.Runner() as runner:  # which cancels what is under way when it is left
            answers = self._answers(requests)
            while (pair := runner.run(_next(answers))) is not None:
                yield pair

    async def _answers(self, requests: Sequence[Request]) -> AsyncIterator[tuple[Request, Completion]]:
        failed: list[_Unanswered] = []
        in_a_row = 0
        gate = asyncio.Semaphore(self.settings.batch)
        async with self._client() as client:
            asked = [asyncio.ensure_future(self._complete(client, gate, request)) for request in requests]
            for finished in asyncio.as_completed(asked):
                try:
                    yield await finished
                    in_a_row = 0
                except _Unanswered as error:
                    failed.append(error)
                    in_a_row += 1
                    if in_a_row >= FAILURES:
                        break
            for task in asked:
                task.cancel()
        if failed:
            raise Refusal(
                f"{self.url} did not answer {len(failed)} of {len(requests)} requests ({failed[-1]}): "
                "see to the server and run again; finished samples are kept."
            )

    def _client(self) -> httpx.AsyncClient:
        key = os.environ.get(self.settings.key_variable, "")
        # Redirects are not followed: the key must not travel to another host.
        return httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self.settings.timeout, connect=min(self.settings.timeout, 10.0)),
            limits=httpx.Limits(max_connections=self.settings.batch),
        )

    async def _complete(
        self, client: httpx.AsyncClient, gate: asyncio.Semaphore, request: Request
    ) -> tuple[Request, Completion]:
        """One completion; asked for again while nothing usable comes."""
        async with gate:
            for attempt in range(self.settings.retries):
                try:
                    return request, await self._asked(client, request)
                except _Unanswered as error:
                    pause = min(PAUSES[0] * 2**attempt * random.uniform(0.5, 1), PAUSES[1])  # noqa: S311
                    await asyncio.sleep(max(pause, error.pause))
            return request, await self._asked(client, request)

    async def _asked(self, client: httpx.AsyncClient, request: Request) -> Completion:
        path, body = payload(request, self.name, self.settings)
        status, answer = await self._sent(client, path, body)
        seed = request.seed if self.settings.temperature > 0 else None
        if status in FINAL:
            return Completion("", REFUSED, None, seed, f"HTTP {status}: {_said(answer)}")
        return completion(answer, request, seed)

    async def _sent(
        self, client: httpx.AsyncClient, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, Any]:
        """Status and JSON of an answer, within one deadline and a bounded size."""
        method = "GET" if body is None else "POST"
        data = bytearray()
        try:
            async with (
                asyncio.timeout(self.settings.timeout),
                client.stream(method, f"{self.url}{path}", json=body) as response,
            ):
                async for piece in response.aiter_bytes():
                    data += piece
                    if len(data) > LARGEST:
                        raise _Unanswered(f"more than {LARGEST >> 20} MiB came")
        except (TimeoutError, httpx.TimeoutException):
            raise _Unanswered(f"no answer within {self.settings.timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise _Unanswered(str(error) or type(error).__name__) from None
        status, answer = response.status_code, _parsed(bytes(data))
        if status in HOPELESS:
            raise Refusal(
                f"{self.url}{path}: HTTP {status}: {_said(answer)}: check the URL (it often ends in /v1), "
                f"--name, and the key in ${self.settings.key_variable}."
            )
        if status != 200 and status not in FINAL:
            pause = _seconds(response.headers.get("retry-after", ""))
            raise _Unanswered(f"HTTP {status}: {_said(answer)}", pause)
        return status, answer

    async def _only_model(self) -> str:
        """The name of the model, if the server has just one."""
        try:
            async with self._client() as client:
                _, answer = await self._sent(client, "/models", None)
            names = [str(model["id"]) for model in answer["data"]]
        except (_Unanswered, KeyError, TypeError) as error:
            raise Refusal(f"{self.url}/models names no model ({error}): give --name.") from None
        if len(names) != 1:
            raise Refusal(f"{self.url} has {len(names)} models ({', '.join(names[:9])}): give --name.")
        return names[0]


async def _next(
    answers: AsyncIterator[tuple[Request, Completion]],
) -> tuple[Request, Completion] | None:
    return await anext(answers, None)


def payload(request: Request, name: str, settings: Sample) -> tuple[str, dict[str, Any]]:
    """Where a request goes, and its body."""
    prompt = request.prompt
    body: dict[str, Any] = {
        "model": name,
        "max_tokens": request.max_new_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "n": 1,
        "seed": request.seed & 0x7FFF_FFFF,  # llama.cpp's seeds have 32 bits, others' a sign
    }
    if request.stop:
        body["stop"] = list(request.stop[:STOPS])
    if prompt.chat and not prompt.ids:
        return "/chat/completions", body | {"messages": [{"role": "user", "content": prompt.text}]}
    body["prompt"] = list(prompt.ids) or prompt.text
    if prompt.suffix is not None and not prompt.ids:
        body["suffix"] = prompt.suffix
    return "/completions", body


def completion(answer: Any, request: Request, seed: int | None) -> Completion:
    """The completion in an answer.

    Raises:
        _Unanswered: it holds none, or not exactly one.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        count = len(choices) if isinstance(choices, list) else "no"
        raise _Unanswered(f"an answer with {count} choices: {_said(answer)}")
    choice = choices[0]
    message = choice.get("message")
    # A chat's content is null where a model thought until its limit: an empty answer, not a broken one.
    text = (message.get("content") or "") if isinstance(message, dict) else choice.get("text")
    if not isinstance(text, str):
        raise _Unanswered(f"an answer without text: {_said(answer)}")
    if len(text) > LARGEST_TEXT:
        return Completion("", "too_large", None, seed, f"{len(text):,} characters")
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if not isinstance(tokens, int) or not 0 <= tokens < 1 << 31:
        tokens = None
    return Completion(storable(text), _finish(choice, text, request.stop), tokens, seed)


def _finish(choice: Mapping[str, Any], text: str, stops: Sequence[str]) -> str:
    """stop, eos or length.  Servers leave the stop string out, and most do not say which it was."""
    if any(stop in text for stop in stops):
        return "stop"
    if choice.get("finish_reason") == "length":
        return "length"
    return "eos" if "stop_reason" in choice and choice["stop_reason"] is None else "stop"


def _checked(url: str) -> str:
    """The URL without its last slash; refuses one that carries a password into manifests and logs."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Refusal(f"{url!r} is not a URL: {error}.") from None
    if parts.userinfo or parts.query:
        raise Refusal("the server's URL holds a user, a password or a query: give the key by --key-variable.")
    return url.rstrip("/")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data[:200].decode(errors="replace")


def _said(answer: Any) -> str:
    """What a server says went wrong, in one short line."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    message = error.get("message", error) if isinstance(error, dict) else error
    return " ".join(str(message).split())[:200]


def _seconds(retry_after: str) -> float:
    """How long a server asks to be left alone, within reason."""
    return min(float(retry_after), PAUSES[1]) if retry_after.isascii() and retry_after.isdigit() else 0.0
