"""How readable and modular a file is, as figures, and a score that is learned from labelled samples.

The figures are features of Buse and Weimer ("Learning a metric for code readability", 2010: lengths of
lines and identifiers, indentation, blanks, comments, branches, numbers, punctuation, each a line's mean or
the file's maximum) and of the SIG maintainability model (Heitlager, Kuipers and Visser, 2007): size and
complexity of units, where a unit is what a line like ``def …`` or ``fn …`` begins, and complexity is McCabe's
(1976), one and the branches.  They are counted by words and lines, not by a parser, so every language has
them; they are rough.

The score is logistic regression over these and over hashed words and pairs of words.  DeepSeek names a
learned quality model and publishes neither data nor features (section 2.4); this one is what the user
labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import re2

from crawl import languages
from crawl.contamination import ngrams, split

Vector = npt.NDArray[np.float64]
Buckets = npt.NDArray[np.int64]

BITS = 16
"""Words and pairs of words are hashed into 2**16 buckets."""

RATE = 0.1
EPOCHS = 5
DECAY = 1e-6


class Quality(NamedTuple):
    """One file's figures, a line's mean where nothing else is said."""

    line_length: float
    word_length: float
    longest_word: int
    words_a_line: float
    indentation: float
    deepest_indentation: int
    blank_lines: float
    comment_lines: float
    numbers: float
    punctuation: float
    branches: float
    unit_size: float
    """Lines for every unit."""
    unit_complexity: float
    """1 and branches for every unit."""


class Scorer(NamedTuple):
    """Weights of the buckets; of the figures, with their means and scales; and the bias."""

    buckets: Vector
    figures: Vector
    means: Vector
    scales: Vector
    bias: float

    def score(self, text: str, language: str) -> float:
        """From 0 to 1: how much a file is like those that were labelled good."""
        return float(_sigmoid(self.logit(_buckets(text), np.array(measure(text, language), float))))

    def logit(self, buckets: Buckets, figures: Vector) -> float:
        words = self.buckets[buckets].sum() / np.sqrt(max(len(buckets), 1))
        return float(words + self.figures @ ((figures - self.means) / self.scales) + self.bias)

    def packed(self) -> Vector:
        """All numbers in one array, for a file."""
        return np.concatenate([self.buckets, self.figures, self.means, self.scales, [self.bias]])

    @classmethod
    def of_packed(cls, packed: Vector) -> Scorer:
        count = len(Quality._fields)
        buckets, figures, means, scales, bias = np.split(packed, np.cumsum([1 << BITS, count, count, count]))
        return cls(buckets, figures, means, scales, float(bias[0]))


def measure(text: str, language: str) -> Quality:
    """The figures of one file."""
    data = text.encode()
    lines = data.split(b"\n")
    count = len(lines)
    words = split(data)
    lengths = words.ends - words.starts if len(words.starts) else np.zeros(1, np.int64)
    bodies = [line for line in lines if line.strip()]
    indents = [len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip()) for line in bodies] or [0]
    branches = _count(_BRANCH, data)
    units = 1 + _count(_UNIT, data)
    marks = _comment_marks(language)
    return Quality(
        line_length=sum(map(len, bodies)) / max(len(bodies), 1),
        word_length=float(lengths.mean()),
        longest_word=int(lengths.max()),
        words_a_line=len(words.starts) / count,
        indentation=sum(indents) / len(indents),
        deepest_indentation=max(indents),
        blank_lines=1 - len(bodies) / count,
        comment_lines=sum(line.lstrip().startswith(marks) for line in bodies) / count,
        numbers=_count(_NUMBER, data) / count,
        punctuation=len(data.translate(None, _NO_PUNCTUATION)) / count,
        branches=branches / count,
        unit_size=count / units,
        unit_complexity=1 + branches / units,
    )


def learn(samples: Sequence[tuple[str, str, bool]], seed: int = 0) -> Scorer:
    """A scorer from (text, language, good): AdaGrad, in an order that the seed gives.

    The same samples and seed give the same weights.
    """
    labels = np.array([good for _, _, good in samples], float)
    sparse = [_buckets(text) for text, _, _ in samples]
    dense = np.array([measure(text, language) for text, language, _ in samples], float)
    means, scales = dense.mean(axis=0), dense.std(axis=0) + 1e-9
    count = len(Quality._fields)
    weights, seen = np.zeros((1 << BITS) + count + 1), np.full((1 << BITS) + count + 1, 1e-8)
    tail = np.arange(1 << BITS, len(weights))
    draw = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        for row in draw.permutation(len(samples)):
            at = np.concatenate([sparse[row], tail])
            share = np.full(len(sparse[row]), 1 / np.sqrt(max(len(sparse[row]), 1)))
            values = np.concatenate([share, (dense[row] - means) / scales, [1.0]])
            error = _sigmoid(float(weights[at] @ values)) - labels[row]
            slope = error * values + DECAY * weights[at]
            seen[at] += slope**2
            weights[at] -= RATE * slope / np.sqrt(seen[at])
    figures = weights[1 << BITS : -1]
    return Scorer(weights[: 1 << BITS], figures, means, scales, float(weights[-1]))


def area(scores: Vector, good: npt.NDArray[np.bool_]) -> float:
    """The area under the ROC curve: how often a good file has a higher score than a bad one."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    wins = ranks[good].sum() - good.sum() * (good.sum() + 1) / 2
    return float(wins / max(good.sum() * (~good).sum(), 1))


def _buckets(text: str) -> Buckets:
    """The buckets of a text's words and pairs of words, once each."""
    hashes = [found >> np.uint64(64 - BITS) for n, found in ngrams(split(text.encode()).hashes, 2)]
    return np.unique(np.concatenate(hashes)).astype(np.int64)


def _sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


def _comment_marks(language: str) -> tuple[bytes, ...]:
    known = languages.LANGUAGES.get(language)
    marks = [known.line, *(known.block or ())] if known else []
    return tuple(mark.encode() for mark in marks if mark) or (b"\0",)


def _count(pattern: re2._Regexp, data: bytes) -> int:
    return sum(1 for _ in pattern.finditer(data))


def _compiled(pattern: bytes) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes of UTF-8
    return re2.compile(pattern, options)


_BRANCH = _compiled(
    rb"(?i)\b(?:if|elsif|elif|unless|for|foreach|while|until|case|when|catch|except|rescue)\b|&&|\|\||\?\?"
)
_UNIT = _compiled(
    rb"(?im)^[ \t]*(?:(?:pub|public|private|protected|internal|static|export|default|async|virtual|override|"
    rb"final|abstract|inline|const|local)(?:\(\w+\))?[ \t]+)*(?:def|defp|class|function|func|fun|fn|sub|proc|"
    rb"procedure|struct|interface|trait|impl|module|method|subroutine)\b"
)
_NUMBER = _compiled(rb"\b[0-9][\w.]*")
_NO_PUNCTUATION = bytes(code for code in range(256) if chr(code) not in "!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~")
