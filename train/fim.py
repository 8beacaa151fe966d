"""Fill-in-the-middle: a text is cut in two places and its middle moved to the end (paper, 3.1.2).

The cuts fall between any two characters, so that the model also learns to go on inside a word; or, if
that is asked for, only where a line begins, or around a whole node of the syntax tree.
Everything is a pure function of a key and a seed: there is no generator whose state could be lost.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

Mode = Literal["text", "psm", "spm"]
Cuts = Literal["character", "line", "node"]

LINE_END = re.compile(r"\r\n|\r|\n")

NOT_CODE = frozenset(
    {"html", "json", "jupyter-notebook", "markdown", "restructuredtext", "rmarkdown", "yaml"}
)
"""Languages that stay left-to-right: prose, pages and data; infilling is a skill for code."""


class Draw(NamedTuple):
    """What is decided for a text: its mode, and the two cuts as shares of its length."""

    mode: Mode
    low: float
    high: float


class Sentinels(NamedTuple):
    """Ids of the three special tokens."""

    begin: int
    hole: int
    end: int


def draw(key: str, seed: int, rate: float, spm_rate: float = 0.0) -> Draw:
    """Decide for the text of this key, by hash.

    Args:
        key: Names the text, such as a document's id.
        rate: Share of texts that are cut (0.5 in the paper).
        spm_rate: Share of those that begin with the suffix (none in the paper).
    """
    digest = hashlib.blake2b(f"fim:{seed}:{key}".encode(), digest_size=32).digest()
    cut, order, one, two = (int.from_bytes(digest[at : at + 8]) / 2**64 for at in (0, 8, 16, 24))
    mode: Mode = "text" if cut >= rate else "spm" if order < spm_rate else "psm"
    return Draw(mode, min(one, two), max(one, two))


def is_code(language: str) -> bool:
    """Whether documents of this language are cut at all."""
    return language not in NOT_CODE


def cuts(
    text: str, drawn: Draw, at: Cuts = "character", nodes: Sequence[tuple[int, int]] = ()
) -> tuple[int, int]:
    """Where the middle of a text begins and ends; each of the three parts may be empty.

    Args:
        at: "line" cuts where a line begins or the text ends, "node" around one of ``nodes``, each of which
            is as likely as the others; without any, between characters.
        nodes: Where nodes of the syntax tree stand in the text.
    """
    if at == "node" and nodes:
        return nodes[int(drawn.low * len(nodes))]
    if at != "line":
        return int(drawn.low * (len(text) + 1)), int(drawn.high * (len(text) + 1))
    begins = [0, *(end.end() for end in LINE_END.finditer(text))]
    places = begins if begins[-1] == len(text) else [*begins, len(text)]
    return places[int(drawn.low * len(places))], places[int(drawn.high * len(places))]


def arrange(
    text: str, cut: int, hole: int, mode: Mode, encode: Callable[[str], list[int]], sentinels: Sentinels
) -> list[int]:
    """Token ids of a cut text, without BOS and EOS; the three parts are tokenised apart.

    PSM: ``<begin> prefix <hole> suffix <end> middle``.  SPM keeps the sentinels' meaning and swaps
    the order: ``<hole> suffix <begin> prefix <end> middle``, so that the middle goes on after the prefix.
    """
    prefix, middle, suffix = encode(text[:cut]), encode(text[cut:hole]), encode(text[hole:])
    begin, missing, end = sentinels
    if mode == "psm":
        return [begin, *prefix, missing, *suffix, end, *middle]
    assert mode == "spm", f"{mode} has no holes"
    return [missing, *suffix, begin, *prefix, end, *middle]
