"""What a proxy model is asked: losses on held-out text that no recipe moves.

All on the same tokens for every model.  ``left_to_right``: text as it stands.  ``infill``: the middles of
texts cut for fill-in-the-middle.  ``cross_file``: files behind a file that they import;
``cross_file_alone``: the same tokens of the same files with nothing before them; ``cross_file_gain``:
the first less the second, which how good a model is on the whole moves little.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from transformers import LlamaForCausalLM

import corpus
from corpus import Refusal
from train import loss, tokenizer
from train.batches import Rows
from train.pieces import Encoder
from train.validation import evenly


class Importer(NamedTuple):
    """A file and one that it imports, as token ids, each with its path comment."""

    imported: list[int]
    heading: list[int]
    text: list[int]


class Mean(NamedTuple):
    """Loss per token, in nats, and the number of tokens."""

    loss: float
    tokens: int


class Yardstick(NamedTuple):
    """What every model is asked."""

    text: Rows
    """Held-out rows as they stand."""
    holed: Rows
    """The same documents, cut for fill-in-the-middle."""
    importers: list[Importer]
    rows: int
    """How many rows of each are asked."""
    repos: frozenset[str]
    """Whose files these are: no model may have been trained on them."""
    bos: int
    end: int
    """Of the sentinel before a middle."""


def yardstick(
    text: corpus.Table,
    holed: corpus.Table,
    documents: corpus.Table,
    words: corpus.Table,
    edges: pl.DataFrame,
    rows: int,
    files: int,
) -> Yardstick:
    """Find what is to be asked.

    Args:
        text: Rows of ``documents`` without fill-in-the-middle.
        holed: The same with nothing else.
        edges: Which file of a repo imports which.
        rows: How many rows to ask.
        files: How many files behind others.
    """
    encoder = Encoder.of(tokenizer.load(words.path))
    plain, cut = Rows([text], "valid"), Rows([holed], "valid")
    if not len(plain) or not len(cut):
        raise Refusal(f"{text.path} holds nothing out: [train.pack] wants a valid_share and two repos.")
    packed = text.scan("spans").filter(split="valid").select(pl.col("document").unique())
    by_id = documents.scan().select("id", "repo").join(packed, left_on="id", right_on="document")
    repos = frozenset(by_id.collect()["repo"])
    held_out = documents.scan().filter(pl.col("repo").is_in(list(repos))).collect()
    half = (int(text.manifest["length"]) - 1) // 2
    importers = list(_importers(held_out, edges, encoder, files, half))
    return Yardstick(plain, cut, importers, rows, repos, encoder.bos, encoder.sentinels.end)


def ask(model: Path, yard: Yardstick) -> dict[str, Mean]:
    """The losses of the model in a folder, in fp32 on this machine's processor."""
    llama = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
    llama.train(False)
    sums: dict[str, list[np.ndarray]] = defaultdict(list)
    for row in evenly(len(yard.text), yard.rows):
        for piece in yard.text.placed(row):
            sums["left_to_right"].append(losses(llama, yard.text.tokens(row)[piece.start : piece.end]))
    for row in evenly(len(yard.holed), yard.rows):
        for piece in yard.holed.placed(row):
            ids = yard.holed.tokens(row)[piece.start : piece.end]
            if piece.mode == "psm":
                sums["infill"].append(losses(llama, ids)[int(np.argmax(ids == yard.end)) :])
    for file in yard.importers:
        alone = [yard.bos, *file.heading, *file.text]
        behind = [yard.bos, *file.imported, *alone[1:]]
        sums["cross_file"].append(losses(llama, np.array(behind))[-len(file.text) :])
        sums["cross_file_alone"].append(losses(llama, np.array(alone))[-len(file.text) :])
    found = {name: _mean(parts) for name, parts in sums.items()}
    if yard.importers:
        behind_it, by_itself = found["cross_file"], found["cross_file_alone"]
        found["cross_file_gain"] = Mean(behind_it.loss - by_itself.loss, behind_it.tokens)
    return found


@torch.no_grad()
def losses(llama: LlamaForCausalLM, ids: np.ndarray) -> np.ndarray:
    """(T - 1,) -log p of the tokens after the first of a piece of T that stands by itself, in nats."""
    ids_T = torch.from_numpy(ids.astype(np.int64))
    inputs, labels = ids_T[:-1], ids_T[1:]
    hidden = llama.model(input_ids=inputs[None], use_cache=False).last_hidden_state[0]
    found: np.ndarray = loss.each(hidden, llama.lm_head.weight, labels).double().numpy()
    return found


def _mean(parts: list[np.ndarray]) -> Mean:
    tokens = sum(map(len, parts))
    return Mean(math.fsum(math.fsum(part) for part in parts) / max(1, tokens), tokens)


def _importers(
    documents: pl.DataFrame, edges: pl.DataFrame, encoder: Encoder, most: int, half: int
) -> Iterator[Importer]:
    """Files by a hash of their names, each with the nearest file before it that it imports.

    Args:
        half: Tokens of the imported file, of which the end counts, and of its importer, at most.
    """
    imports = set(edges.select("repo", "importer", "imported").iter_rows())
    found = []
    for document in documents.iter_rows(named=True):
        repo, files = document["repo"], document["files"]
        for number, file in enumerate(files):
            earlier = [n for n in range(number) if (repo, file["path"], files[n]["path"]) in imports]
            if earlier:
                rank = hashlib.sha256(f"{repo}:{file['path']}".encode()).digest()
                found.append((rank, document["text"], files, number, earlier[-1]))
    for _, text, files, number, before in sorted(found, key=lambda one: one[0])[:most]:
        (above, imported), (heading, own) = (_with_heading(text, files, n) for n in (before, number))
        ids = encoder.ids(above + imported)[-half:], encoder.ids(heading), encoder.ids(own)
        if room := half - len(ids[1]):
            yield Importer(ids[0], ids[1], ids[2][:room])


def _with_heading(text: str, files: list[dict[str, int]], number: int) -> tuple[str, str]:
    """What stands between a file and the one before it, which names its path, and its own text."""
    begins = files[number - 1]["end"] if number else 0
    return text[begins : files[number]["start"]], text[files[number]["start"] : files[number]["end"]]
