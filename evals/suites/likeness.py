"""How alike two texts are: exact match and edit similarity, for suites that run nothing."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import NamedTuple

LONGEST = 2_000
"""Characters that are compared; a statement has some fifty, and the time taken grows with the square."""


class Match(NamedTuple):
    """How near a text came to the one that was asked for."""

    as_published: bool
    """Equal under the benchmark's own rule."""
    strict: bool
    """Equal as a whole."""
    similarity: float | None = None
    """Edit similarity from 0 to 1, where the benchmark reports one."""


def edit_similarity(answer: str, reference: str) -> float:
    """From 0 to 1: fuzzywuzzy's ``ratio`` without its compiled part, rounded to a hundredth as there.

    CrossCodeEval and Qwen's FIM scripts use it on texts stripped at both ends.
    """
    one, other = answer.strip()[:LONGEST], reference.strip()[:LONGEST]
    return round(100 * SequenceMatcher(None, one, other).ratio()) / 100


def first_line(text: str) -> str:
    """The first line that holds anything, stripped; empty where none does."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
