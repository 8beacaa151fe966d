"""Which documents are packed, on which side of the split, and where in which row: a plan from lengths.

Best fit keeps whole what fits into a row; doing it inside shuffled windows keeps neighbours random (one
plan over the whole corpus would sort rows by length).  All choices are by hash, so they hold when
shards, workers or the rest of the corpus change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from train import filling
from train.config import Pack
from train.filling import Texts

BYTES_PER_TOKEN = 4
"""About what BPE reaches on code; where it reaches more, a little of the budget stays unused."""

WORD = 128
"""Bits in one number of the index of free rooms: about the square root of the longest rows."""

VALID_BUDGET = 10
"""The held-out split gets at most a tenth of ``max_tokens``."""


def candidates(documents: pl.DataFrame, held_out: Sequence[str], settings: Pack) -> frozenset[str]:
    """Ids of the documents worth tokenising: in the order of their hash, until their bytes cover the budget.

    Args:
        documents: ``id``, ``repo`` and ``bytes`` of every document of the kind that is packed.
        held_out: The repos of the validation split.
    """
    if not settings.max_tokens:
        return frozenset(documents["id"])
    chosen: set[str] = set()
    for side, budget in _sides(documents, held_out, settings):
        left = budget * BYTES_PER_TOKEN
        for _, key, size in _by_hash(side.select("id", "bytes"), settings):
            if left > 0:
                left -= size
                chosen.add(key)
    return frozenset(chosen)


def plan(
    rows: pl.DataFrame, held_out: Sequence[str], settings: Pack, texts: Texts | None = None
) -> pl.DataFrame:
    """The pieces that are packed, with their place, in the order of the rows.

    Args:
        rows: One row per piece: ``document``, ``repo``, ``number`` in the document, ``tokens`` (a count).
        held_out: The repos of the validation split.
        texts: Their tokens; without, no piece is cut to fill a row.

    Returns:
        The rows given, less those of documents that the budget leaves out and with those that were cut in
        parts, with ``split``, ``sequence`` and ``start`` (where the piece stands), ``token`` (how many of the
        document's come before it) and ``again`` (``train.filling``).
    """
    before = pl.col("tokens").cum_sum() - pl.col("tokens")
    opens = pl.col("document").ne_missing(pl.col("document").shift())
    rows = rows.sort("document", "number").with_columns(
        token=before - pl.when(opens).then(before).forward_fill(),
        split=pl.when(pl.col("repo").is_in(list(held_out))).then(pl.lit("valid")).otherwise(pl.lit("train")),
    )
    if settings.max_tokens:
        rows = pl.concat(
            [_affordable(side, budget, settings) for side, budget in _sides(rows, held_out, settings)]
        )
    return pl.concat([place(rows.filter(split=split), settings, texts) for split in ("train", "valid")])


def hold_out(repos: Sequence[str], settings: Pack) -> list[str]:
    """The repos of the validation split: hash below the share; at least one of two or more, never all."""
    if settings.valid_share <= 0 or len(repos) < 2:
        return []
    ranked = sorted((_hash(settings.seed, "repo", repo), repo) for repo in repos)
    below = [repo for rank, repo in ranked if rank < settings.valid_share * 2**64]
    return (below or [ranked[0][1]])[: len(repos) - 1]


def place(rows: pl.DataFrame, settings: Pack, texts: Texts | None = None) -> pl.DataFrame:
    """Shuffle pieces by hash, then pack them by best fit, window by window."""
    capacity = settings.length + 1
    pieces = rows.select(pl.format("{}:{}", "document", "number")).to_series()
    ranks = pl.Series("rank", [_hash(settings.seed, "piece", piece) for piece in pieces], pl.UInt64)
    rows = rows.with_columns(ranks).sort("rank", "document", "number").drop("rank")
    base, windows = 0, []
    for window in rows.iter_slices(settings.window):
        places = np.array(best_fit(window["tokens"].to_numpy(), capacity))
        placed = window.with_columns(
            sequence=pl.Series(places[0], dtype=pl.Int64),
            start=pl.Series(places[1], dtype=pl.Int32),
            again=pl.lit(False),
        )
        if texts is not None:
            placed = filling.fill(placed, capacity, texts, settings.fill)
        windows.append(placed.with_columns(pl.col("sequence") + base))
        base += placed["sequence"].n_unique()
    empty = rows.clear().with_columns(
        sequence=pl.lit(0, pl.Int64), start=pl.lit(0, pl.Int32), again=pl.lit(False)
    )
    return pl.concat([empty, *windows]).sort("sequence", "start")


def best_fit(lengths: np.ndarray, capacity: int) -> tuple[list[int], list[int]]:
    """The row of each piece and its start there: longest first, each into the fullest row with room for it.

    Args:
        lengths: Tokens per piece, each at most ``capacity``.
    """
    placed, starts = [0] * len(lengths), [0] * len(lengths)
    rows_by_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    # Bit r % WORD of words[r // WORD]: some row has exactly r tokens free.  Bit w of inhabited: words[w] is
    # not empty.  So the smallest room that fits is found in two numbers, however long the rows are.
    words, inhabited, rows = [0] * (capacity // WORD + 1), 0, 0
    order = np.argsort(-lengths, kind="stable")
    for piece, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        word, bit = divmod(length, WORD)
        if fitting := words[word] >> bit:
            room = length + _lowest(fitting)
        elif further := inhabited >> (word + 1):
            word += 1 + _lowest(further)
            room = word * WORD + _lowest(words[word])
        else:
            room = -1
        if room < 0:
            room, row, rows = capacity, rows, rows + 1
        else:
            row = rows_by_room[room].pop()
            if not rows_by_room[room]:
                words[word] ^= 1 << room % WORD
                inhabited ^= (not words[word]) << word
        placed[piece], starts[piece] = row, capacity - room
        if room > length:
            word, bit = divmod(room - length, WORD)
            rows_by_room[room - length].append(row)
            words[word] |= 1 << bit
            inhabited |= 1 << word
    return placed, starts


def _lowest(bits: int) -> int:
    """The place of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1


def _sides(rows: pl.DataFrame, held_out: Sequence[str], settings: Pack) -> list[tuple[pl.DataFrame, int]]:
    """What is trained on and what is held out, each with its budget of tokens."""
    held, budget = pl.col("repo").is_in(list(held_out)), settings.max_tokens
    return [(rows.filter(~held), budget), (rows.filter(held), budget // VALID_BUDGET)]


def _affordable(rows: pl.DataFrame, budget: int, settings: Pack) -> pl.DataFrame:
    """The pieces of the documents that the budget takes: in the order of their hash, each that still fits."""
    taken: list[str] = []
    for _, key, tokens in _by_hash(rows.group_by("document").agg(pl.col("tokens").sum()), settings):
        if tokens <= budget:
            budget -= tokens
            taken.append(key)
    return rows.filter(pl.col("document").is_in(taken))


def _by_hash(sizes: pl.DataFrame, settings: Pack) -> list[tuple[int, str, int]]:
    """(hash, key, size) of documents, in the order of their hash."""
    return sorted((_hash(settings.seed, "budget", key), key, size) for key, size in sizes.iter_rows())


def _hash(seed: int, what: str, key: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{what}:{seed}:{key}".encode(), digest_size=8).digest())
