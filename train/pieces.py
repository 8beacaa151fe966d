"""A document becomes pieces that fit into a row: tokenised, some of them cut for fill-in-the-middle.

A document that fits is one piece, as in the paper.  A longer one is split where a row is full, and
each piece is drawn for FIM on its own, because a hole whose prefix stands in another row teaches
nothing ("context was cut first, then FIM applied": DeepSeek-Coder, issue 113).

A piece is ``<bos> text`` or ``<bos> <begin> prefix <hole> suffix <end> middle <eos>``.  Left-to-right
pieces end with EOS only where the document ends; the end of a middle is always an end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tokenizers import Tokenizer

from train import fim, tokenizer
from train.config import Pack

SLACK = 4
"""Tokens left free at first for the words that two cuts break; if they need more, the piece is shortened."""


class Piece(NamedTuple):
    """``text[start:end]`` of a document as ``tokens``; ``text[cut:hole]`` is the middle, if there is one."""

    start: int
    end: int
    mode: fim.Mode
    cut: int | None
    hole: int | None
    tokens: list[int]


@dataclass(frozen=True)
class Encoder:
    """The tokenizer and the ids that structure needs."""

    tokenizer: Tokenizer
    bos: int
    eos: int
    sentinels: fim.Sentinels

    @classmethod
    def of(cls, loaded: Tokenizer) -> Encoder:
        """Refuses a tokenizer that lacks one of DeepSeek's special tokens."""
        names = (tokenizer.BOS, tokenizer.EOS, tokenizer.FIM_BEGIN, tokenizer.FIM_HOLE, tokenizer.FIM_END)
        bos, eos, begin, hole, end = (tokenizer.special(loaded, name) for name in names)
        return cls(loaded, bos, eos, fim.Sentinels(begin, hole, end))

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, without any special token."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def cut(
    key: str,
    text: str,
    code: bool,
    encoder: Encoder,
    settings: Pack,
    nodes: Sequence[tuple[int, int]] = (),
) -> Iterator[Piece]:
    """The pieces of a document in order; together they hold every character of ``text`` once.

    Args:
        key: The document's id; with the number of the piece and the seed it decides about FIM.
        code: Whether FIM is wanted at all.
        nodes: Where nodes of the syntax tree stand in ``text``.
    """
    plain = encoder.tokenizer.encode(text, add_special_tokens=False)
    borders = _Borders(plain.ids, plain.offsets, len(text))
    at = number = 0
    while at < len(borders.ids):
        drawn = fim.draw(
            f"{key}:{number}", settings.seed, settings.fim_rate if code else 0, settings.spm_rate
        )
        if drawn.mode == "text":
            piece, at = _straight(borders, at, encoder, settings.length + 1)
        else:
            piece, at = _holed(text, borders, at, drawn, encoder, settings, nodes)
        number += 1
        yield piece


class _Borders(NamedTuple):
    """The plain tokens of a document and the characters each stands for."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    characters: int

    def character(self, token: int) -> int:
        return self.offsets[token][0] if token < len(self.ids) else self.characters

    def before(self, token: int) -> int:
        """The nearest token, at most this one, that begins with a whole character."""
        while 0 < token < len(self.ids) and self.offsets[token][0] < self.offsets[token - 1][1]:
            token -= 1  # one character of several bytes may be several tokens
        return token


def _straight(borders: _Borders, at: int, encoder: Encoder, capacity: int) -> tuple[Piece, int]:
    end = len(borders.ids)
    last = end - at <= capacity - 2
    if not last:
        end = borders.before(min(at + capacity - 1, end - 1))
    tokens = [encoder.bos, *borders.ids[at:end], *([encoder.eos] if last else [])]
    return Piece(borders.character(at), borders.character(end), "text", None, None, tokens), end


def _holed(
    text: str,
    borders: _Borders,
    at: int,
    drawn: fim.Draw,
    encoder: Encoder,
    settings: Pack,
    nodes: Sequence[tuple[int, int]],
) -> tuple[Piece, int]:
    start, end, capacity = borders.character(at), len(borders.ids), settings.length + 1
    if end - at > capacity - 5:
        end = borders.before(at + capacity - 5 - SLACK)
    while True:
        stop = borders.character(end)
        inside = [(low - start, high - start) for low, high in nodes if start <= low and high <= stop]
        low, high = fim.cuts(text[start:stop], drawn, settings.fim_cuts, inside)
        arranged = fim.arrange(text[start:stop], low, high, drawn.mode, encoder.ids, encoder.sentinels)
        over = len(arranged) + 2 - capacity
        if over <= 0:
            tokens = [encoder.bos, *arranged, encoder.eos]
            return Piece(start, stop, drawn.mode, start + low, start + high, tokens), end
        end = borders.before(end - over)
        assert end > at, "a row holds no piece: length is too small"
