"""Where completions come from: one small protocol, and what goes into a back end and comes out of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from evals.prompts import Prompt
from evals.suites.problem import Problem

REFUSED = "refused"
MARKED = ("not_finite", REFUSED, "too_large", "missing")
"""How a completion finishes that is none: it counts as a sample, and it cannot pass."""


LARGEST_TEXT = 1 << 20
"""Characters of a completion; a longer one is marked, not kept."""


class Request(NamedTuple):
    """One sample to draw: all that its text depends on, beside the model and how it is sampled."""

    suite: str
    problem: str
    sample: int
    prompt: Prompt
    stop: tuple[str, ...]
    max_new_tokens: int
    seed: int


class Completion(NamedTuple):
    """One completion, whole: the judge cuts it at its first stop string."""

    text: str
    finish: str
    """stop, eos or length; given where no model was asked; or one of ``MARKED``."""
    tokens: int | None = None
    seed: int | None = None
    detail: str | None = None
    """Why a sample is marked; what a replayed file says became of it."""


class Backend(Protocol):
    """Something that completes prompts."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What completions depend on beside the request: model, tokenizer, template, engine and version."""

    def prompt(self, problem: Problem, max_new_tokens: int) -> Prompt:
        """The problem as this model is asked it, shortened to leave room for the answer."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion]]:
        """Each request with its completion, as they finish."""


def seed_of(seed: int, suite: str, problem: str, sample: int) -> int:
    """The seed of one sample's random stream: 63 bits that depend on nothing but its key."""
    digest = hashlib.sha256(f"{seed}\0{suite}\0{problem}\0{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def digest(*parts: object) -> str:
    """One sha256 of plain data: what a completion is called by, and what stands for many prompts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
