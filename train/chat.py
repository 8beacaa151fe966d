"""Dialogues as packed rows: written by DeepSeek's template, loss on answers alone, each by itself.

The rows are a ``tokens`` table like any other, with one more part: which tokens are predicted.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import polars as pl
from tokenizers import Tokenizer

import corpus
from corpus import Refusal
from train import dialogues, pack, placement, template, tokenizer
from train.config import Chat, Pack
from train.dialogues import Dialogue

MODE = "chat"
"""Mode and language of these pieces in ``spans``."""


def pins(settings: Chat) -> dict[str, str]:
    """What each source is, to the byte; refuses none at all."""
    if not settings.dialogues:
        raise Refusal('give dialogues: [train.chat] dialogues = ["FILE.jsonl"] or --dialogues FILE.jsonl.')
    return {f"dialogues_{n}": dialogues.pin(source) for n, source in enumerate(settings.dialogues)}


def write(out: corpus.Output, words: corpus.Table, pinned: Mapping[str, str], settings: Chat) -> corpus.Table:
    """Fill and seal the ``tokens`` table.

    Args:
        words: The ``tokenizer`` table.
        pinned: What ``pins`` gave.
    """
    if settings.length < pack.SHORTEST:
        raise Refusal(f"--length {settings.length} is too short: give at least {pack.SHORTEST}.")
    loaded = tokenizer.load(words.path)
    rows: list[tuple[object, ...]] = []
    dropped: list[tuple[str, str, str | None, int, int]] = []
    ids, answers = [np.zeros(0, np.uint32)], [np.zeros(0, np.bool_)]
    offset = 0
    for dialogue in _all(settings.dialogues, pinned.values()):
        size = sum(len(turn.text) for turn in dialogue.turns)
        told = _fitting(dialogue, loaded, settings)
        if isinstance(told, str):
            dropped.append((dialogue.key, told, None, 1, size))
            continue
        where = ("", dialogue.key, dialogue.key, MODE, 0, 0, size, MODE, None, None, False)
        rows.append((*where, offset, len(told[0])))
        ids.append(told[0])
        answers.append(told[1])
        offset += len(told[0])
    pieces = pl.DataFrame(rows, schema=pack.PIECES, orient="row")
    plan = Pack(length=settings.length, valid_share=settings.valid_share, seed=settings.seed)
    placed = placement.plan(pieces, placement.hold_out(sorted(pieces["repo"].unique()), plan), plan)
    if placed.is_empty():
        raise Refusal(f"none of {len(dropped)} dialogues can be trained on: look at the rejects' reasons.")
    pack.write_rows(
        out, {"": np.concatenate(ids)}, placed, settings.length, loaded, {"": np.concatenate(answers)}
    )
    contents = {"rejects": corpus.rejects(dropped, out.made_by)}
    out.write("dialogues", contents, came_in=len(rows) + len(dropped), went_out=len(rows))
    shares = {"answers": round(float(np.concatenate(answers).mean()), 4)}
    return out.seal(template=settings.template, **shares, **pack.facts(placed, plan))


def _all(sources: Iterable[str], pins: Iterable[str]) -> Iterator[Dialogue]:
    for number, (source, pin) in enumerate(zip(sources, pins, strict=True)):
        for dialogue in dialogues.read(source, pin):
            yield dialogue._replace(key=f"{number}/{dialogue.key}")


def _fitting(dialogue: Dialogue, words: Tokenizer, settings: Chat) -> tuple[np.ndarray, np.ndarray] | str:
    """Ids of the first turns that fit into a row and which are predicted, or why there are none."""
    if dialogue.reason is not None:
        return dialogue.reason
    system, most = len(dialogue.turns) % 2, len(dialogue.turns) // 2

    def encoded(pairs: int) -> tuple[np.ndarray, np.ndarray]:
        turns = dialogue.turns[: system + 2 * pairs]  # a question with its answer is a pair
        return template.encode(template.parts(turns, settings.template), words)

    whole = encoded(most)
    if len(whole[0]) <= settings.length + 1:
        return whole
    # By bisection: of a hostile million of turns each length is measured in seconds.
    fitting = bisect.bisect_right(range(1, most), settings.length + 1, key=lambda n: len(encoded(n)[0]))
    return encoded(fitting) if fitting else "too_long"
