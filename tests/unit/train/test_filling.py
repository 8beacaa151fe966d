"""Rows that best fit leaves half empty are filled with cut text, and no token is lost, moved or made up."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

import corpus
from train import cli, filling, placement, tokenizer, trace
from train.config import Pack

from .conftest import PACK, document, write_corpus

LENGTH = 511
MODES = ("text", "text", "psm")
Lengths = st.lists(st.tuples(st.integers(2, LENGTH + 1), st.sampled_from(MODES)), min_size=1, max_size=60)


def pieces(given: list[tuple[int, str]]) -> tuple[pl.DataFrame, filling.Texts]:
    """Pieces of so many tokens, whose ids are their numbers; every third begins within a character."""
    sizes = [size for size, _ in given]
    rows = pl.DataFrame({
        "shard": "s", "document": [f"d{n}" for n in range(len(given))], "repo": "r", "number": 0,
        "mode": [mode for _, mode in given], "text_start": 0, "tokens": sizes,
        "offset": np.cumsum([0, *sizes[:-1]]),
    })  # fmt: skip
    opens = np.arange(sum(sizes)) % 3 > 0
    texts = filling.Texts({"s": np.arange(sum(sizes))}, opens.astype(np.uint16), opens)
    characters = [
        texts.within("s", at, at + size) for at, size in rows.select("offset", "tokens").iter_rows()
    ]
    return rows.with_columns(text_end=pl.Series(characters, dtype=pl.Int64)), texts


@given(Lengths)
def test_every_token_is_in_one_place_and_only_text_is_cut(lengths: list[tuple[int, str]]) -> None:
    rows, texts = pieces(lengths)
    placed = placement.plan(rows, [], Pack(length=LENGTH), texts)
    assert sorted(placed["sequence"].unique()) == list(range(placed["sequence"].n_unique()))
    for _, row in placed.group_by("sequence"):
        ends = row.sort("start").select("start", end=pl.col("start") + pl.col("tokens"))
        assert ends["start"].to_list() == [0, *ends["end"].to_list()[:-1]] and ends["end"][-1] <= LENGTH + 1
    for (key,), parts in placed.sort("offset").group_by("document"):
        size, mode = lengths[int(str(key)[1:])]
        assert len(parts) == 1 or mode == "text"
        assert parts["again"].to_list() == [False] + [True] * (len(parts) - 1)
        own = parts["tokens"] - parts["again"]
        assert own.sum() == size and parts["token"].to_list() == [0, *own.cum_sum().to_list()[:-1]]
        assert (parts["offset"] - parts["offset"][0]).to_list() == parts["token"].to_list()
        assert parts["text_start"].to_list() == [0, *parts["text_end"].to_list()[:-1]]
        assert all(texts.opens[at] for at in parts["offset"][1:])
        for at, count, low, high in parts.select("offset", own, "text_start", "text_end").iter_rows():
            assert high - low == texts.within("s", at, at + count)


def test_documents_that_best_fit_cannot_pair_fill_rows_all_the_same() -> None:
    draw, length = random.Random(0), 16_383
    lengths = [(draw.randint(8700, 10_900), draw.choice(MODES)) for _ in range(1500)]
    rows, texts = pieces(lengths)
    fills, cut = {}, {}
    for share in (0.0, 0.99, 0.998):
        placed = placement.plan(rows, [], Pack(length=length, fill=share), texts)
        fills[share] = placed["tokens"].sum() / (placed["sequence"].n_unique() * (length + 1))
        cut[share] = placed["document"].is_duplicated().sum()
    assert fills[0.0] < 0.62 and 0.99 <= fills[0.99] < 0.998 <= fills[0.998]
    assert cut[0.0] == 0 and cut[0.99] <= cut[0.998]


def test_parts_are_traced_to_their_characters_and_begin_with_bos(words: corpus.Table, tmp_path: Path) -> None:
    draw = random.Random(1)
    letters = "abcdefgh_ ()=\n你好é𝕏"
    texts = {f"{n}.py": "".join(draw.choices(letters, k=250)) for n in range(80)}
    shards = {
        "00000": [document(f"pypi/p{n}", 0, {path: text}) for n, (path, text) in enumerate(texts.items())]
    }
    documents = write_corpus(tmp_path / "corpus", shards)
    tables = {
        fill: cli.pack(
            documents.path,
            words.path,
            tmp_path / str(fill),
            settings=replace(PACK, length=LENGTH, fim_rate=0.2, fill=fill),
        )
        for fill in (0.0, 0.999)
    }
    whole, filled = (tables[fill].manifest["train"] for fill in (0.0, 0.999))
    assert (
        whole["split_documents"] < filled["split_documents"] and whole["fill"] < 0.9 < 0.95 < filled["fill"]
    )
    loaded = tokenizer.load(words.path)
    bos, eos = (tokenizer.special(loaded, name) for name in (tokenizer.BOS, tokenizer.EOS))
    written = dict(documents.scan().select("id", "text").collect().iter_rows())
    table = tables[0.999]
    spans = table.scan("spans").filter(split="train", mode="text").sort("document", "token").collect()
    told: dict[str, str] = dict.fromkeys(spans["document"].unique(), "")
    for span in spans.iter_rows(named=True):
        row = np.load(table.file(next(s for s in table.shards() if s.name.startswith("train"))))
        ids = row[span["sequence"], span["start"] : span["end"]].tolist()
        assert ids[0] == bos and not {bos, eos} & set(ids[1:-1])
        part = written[span["document"]][span["text_start"] : span["text_end"]]
        assert loaded.decode(ids) == part
        told[span["document"]] += part
    assert told == {key: written[key] for key in told}
    for sequence in range(table.manifest["train"]["sequences"]):
        trace.origins(table, documents, "train", sequence)  # it adds up the bytes
