"""``make bench-train``: the training loop beside HF Trainer, litgpt, a bare loop and padding to the longest.

CPU seconds of one thread, ours and theirs step about: in one process where they share a model class, else
in processes that wait for one another (``train_peers``).  A figure is the median ratio of the pairs.

    python tests/bench/train_bench.py [--environments DIR] [--only LINE …]

DIR holds a virtual environment per rival: ``hftrainer`` (torch, transformers, accelerate) and ``litgpt``.
Lines whose rival is not installed are said to be missing.  The table goes to stdout.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from train_peers import LR, llama, packed_step
from transformers import LlamaConfig

import corpus
from train import check, cli, footprint, journal, loop, loss, placement
from train import tokenizer as words
from train.batches import Rows
from train.config import Machine, Pack, Pretrain, Tokenizer
from train.pieces import Encoder
from train.run import Run
from train.shard import Group

PAIRS = 7
CPU = torch.device("cpu")
SHAPE = {
    "vocab_size": 8192, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 4,
}  # fmt: skip


class Result(NamedTuple):
    """A line of the table."""

    line: str
    wanted: str
    here: str
    met: bool | None


def feed(tokens: int, documents: int = 1) -> check.Drawn:
    """In place of ``Rows``: random tokens of so many documents."""
    return check.Drawn(SHAPE["vocab_size"], tokens, tokens // documents)


def ours(length: int) -> Run:
    """A run as ``train pretrain`` has it, without tables."""
    config = LlamaConfig(
        **SHAPE, max_position_embeddings=length, rms_norm_eps=1e-6, tie_word_embeddings=False
    )
    settings = Pretrain(precision="fp32", lr=LR, warmup_steps=0, schedule="constant", micro_batch=1)
    return check.begin(config, settings, Machine(), Group(CPU))


def clock(step: Callable[[], object]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


def paired(mine: Callable[[], object], theirs: Callable[[], object], pairs: int = PAIRS) -> list[float]:
    """Their time over ours, pair by pair, each first in turn; the first pair warms up."""
    ratios = []
    for number in range(pairs + 1):
        if number % 2:
            other, own = clock(theirs), clock(mine)
        else:
            own, other = clock(mine), clock(theirs)
        ratios.append(other / own)
    return ratios[1:]


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} pairs)"


def packed(tokens: int, documents: int, wanted: float, pairs: int = PAIRS) -> Result:
    """The whole step on documents of one length, against transformers' own way to pack."""
    rows, run = feed(tokens, documents), ours(tokens)
    other = llama(SHAPE | {"max_position_embeddings": tokens})
    theirs = packed_step(other, lambda: rows.batch([0], CPU))
    ratios = paired(lambda: loop.advance(run, rows, [0]), theirs, pairs)
    name = f"whole step, {tokens:,} tokens of {documents} documents, against the same HF model's packed path"
    return Result(name, f">= {wanted}x", spread(ratios), statistics.median(ratios) >= wanted)


def overhead() -> Result:
    """``loop.advance`` and the journal, against the least that trains the same model."""
    rows, run, bare = feed(1024), ours(1024), ours(1024)
    with tempfile.TemporaryDirectory() as folder:
        lines = journal.Journal(Path(folder), 0)

        def mine() -> None:
            step = loop.advance(run, rows, [0])
            lines.add(step.facts, journal.clocks(1.0, step.data_wait, step.tokens, step.flops, None), 10**9)

        def theirs() -> None:
            held = rows.batch([0], CPU)
            (bare.trainee(held.ids_T, held.labels_T, held.positions_T, held.ends) / held.labelled).backward()
            torch.nn.utils.clip_grad_norm_(bare.trainee.parameters(), 1.0)
            bare.optimizer.step()
            bare.optimizer.zero_grad()

        ratios = [1 / ratio for ratio in paired(mine, theirs, 15)]
    return Result(
        "loop overhead over a bare loop, 1,024 tokens",
        "<= 1.02x",
        spread(ratios),
        statistics.median(ratios) <= 1.02,
    )


def loss_memory() -> Result:
    """What the loss allocates, against logits that are all there."""
    hidden, head = torch.randn(4096, 256, requires_grad=True), torch.randn(32_256, 256, requires_grad=True)
    labels = torch.randint(0, 32_256, (4096,))

    def full() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(hidden @ head.T, labels, reduction="sum")

    peaks = []
    for one in (lambda: loss.summed(hidden, head, labels), full):
        hidden.grad = head.grad = None
        with footprint.Live() as live:
            one().backward()
        peaks.append(live.peak)
    ratio = peaks[0] / peaks[1]
    here = f"{ratio:.2f} ({peaks[0] / 2**20:.0f} of {peaks[1] / 2**20:.0f} MiB)"
    return Result("peak memory of the loss at 4,096 x 32,256", "<= 0.25", here, ratio <= 0.25)


def packing_plan() -> Result:
    """A million pieces, lengths log-normal with a median of 545 tokens, in rows of 16,384."""
    lengths = (
        np.random.default_rng(0).lognormal(np.log(545), 1.2, 1_000_000).clip(16, 16_385).astype(np.int64)
    )
    keys = [f"repo{n // 20}@1#{n % 20}" for n in range(len(lengths))]
    pieces = pl.DataFrame(
        {"document": keys, "repo": [key.split("@")[0] for key in keys], "number": 0, "tokens": lengths}
    )
    seconds = []
    for _ in range(3):
        seconds.append(clock(lambda: placement.plan(pieces, ["repo1"], Pack(length=16_384))))
    here = f"{statistics.median(seconds):.1f} CPU s ({min(seconds):.1f} to {max(seconds):.1f}, 3 runs)"
    return Result("packing plan of 1 M documents", "<= 5 CPU s", here, statistics.median(seconds) <= 5)


def library(folder: Path, length: int) -> corpus.Table:
    """Python's own library as packed rows, by the real verbs."""
    sources = (path for path in Path(os.__file__).parent.rglob("*.py") if "site-packages" not in path.parts)
    documents = folder / "corpus"
    with corpus.building(documents, "corpus", made_by="crawl screen", settings={}) as out:
        if isinstance(out, corpus.Output):
            rows = [document(path) for path in sorted(sources) if path.stat().st_size]
            frame = pl.DataFrame(rows, schema_overrides={"stars": pl.Int32, "part": pl.Int32})
            out.write("00000", {"": frame}, came_in=len(rows))
            out.seal()
    words = folder / "words"
    cli.tokenizer(documents, words, settings=Tokenizer(vocabulary=4096, sample_bytes=2_000_000))
    settings = Pack(length=length, valid_share=0.02)
    return cli.pack(documents, words, folder / f"rows-{length}", settings=settings, workers=1)


def document(path: Path) -> dict[str, object]:
    """A row of the corpus."""
    text, name = path.read_text(errors="replace"), str(path)
    return {
        "id": f"{name}@1#0", "repo": name, "revision": "1", "part": 0, "level": "repo", "language": "python",
        "license": "PSF-2.0", "stars": None, "text": text,
        "files": [{"path": name, "start": 0, "end": len(text)}], "bytes": len(text.encode()),
    }  # fmt: skip


def rows_served(folder: Path) -> Result:
    """Rows from disk to tensors, one process."""
    rows = Rows([library(folder, 16_384)], "train")
    order = list(range(len(rows))) * 3
    random.Random(0).shuffle(order)
    speeds = []
    for at in range(0, min(len(order), 7 * 20) - 20, 20):
        seconds = clock(lambda at=at: [rows.batch([row], CPU) for row in order[at : at + 20]])
        speeds.append(20 * 16_384 / seconds)
    here = f"{statistics.median(speeds) / 1e6:.1f} M tokens/s ({len(speeds)} times 20 rows of 16,384)"
    return Result(
        "rows served by one rank on one core", ">= 1 M tokens/s", here, statistics.median(speeds) >= 1e6
    )


class Peer:
    """A rival in its own process, one step at a time."""

    def __init__(self, environments: Path, name: str, who: str, length: int) -> None:
        python = environments / name / "bin" / "python"
        if not python.exists():
            raise FileNotFoundError(f"{python}: not installed")
        shape = json.dumps(SHAPE | {"max_position_embeddings": length})
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("train_peers.py"), who, shape],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._before = self._said()

    def _said(self) -> float:
        assert self._process.stdout is not None
        return float(json.loads(self._process.stdout.readline())["cpu"])

    def step(self, rows: list[list[int]]) -> float:
        """CPU seconds until it asks for more; one that fetches ahead answers for the step before."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(rows) + "\n")
        self._process.stdin.flush()
        now = self._said()
        spent, self._before = now - self._before, now
        return spent

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def unpacked(environments: Path, name: str, who: str) -> Result:
    """Two rows of 1,024 tokens a step, nothing packed: ours over theirs."""
    peer, run, two = Peer(environments, name, who, 1024), ours(1024), feed(2048, documents=2)
    rows = [torch.randint(0, SHAPE["vocab_size"], (1025,)).tolist() for _ in range(2)]
    for _ in range(3):
        peer.step(rows)
        loop.advance(run, two, [0])
    ratios = []
    for _ in range(9):
        theirs = peer.step(rows)
        ratios.append(clock(lambda: loop.advance(run, two, [0])) / theirs)
    peer.close()
    return Result(
        f"no packing, same model, time over {who}'s",
        "<= 1.05x",
        spread(ratios),
        statistics.median(ratios) <= 1.05,
    )


def length_mix(environments: Path, folder: Path) -> Result:
    """Useful tokens a second on Python's library, against batches of four padded to the longest.

    The script that DeepSeek published for fine-tuning cuts every text off at the model's length.
    """
    length = 8192
    table = library(folder, length)
    rows, run = Rows([table], "train"), ours(length)
    peer = Peer(environments, "hftrainer", "hf-padded", length)
    encoder = Encoder.of(words.load(folder / "words"))
    documents = corpus.read(folder / "corpus").scan().select("text").collect()["text"].to_list()
    random.Random(0).shuffle(documents)
    texts = ([encoder.bos, *encoder.ids(text)][: length + 1] for text in documents)
    fours = iter(lambda: list(itertools.islice(texts, 4)), [])
    peer.step(next(fours))
    loop.advance(run, rows, [0])
    ratios, padded = [], []
    for number in range(1, 8):
        theirs, useful = 0.0, 0
        for _ in range(2):
            four = next(fours)
            theirs += peer.step(four)
            useful += sum(len(text) - 1 for text in four)
            padded.append(sum(map(len, four)) / (4 * max(map(len, four))))
        labelled = rows.batch([number], CPU).labelled
        mine = clock(lambda number=number: loop.advance(run, rows, [number]))
        ratios.append((labelled / mine) / (useful / theirs))
    peer.close()
    fill = table.manifest["train"]["fill"]
    here = f"{spread(ratios)}; padding keeps {statistics.mean(padded):.0%}, packing {fill:.2%}"
    return Result(
        "useful tokens/s on a corpus' length mix, against padding to the longest",
        ">= 2.2x",
        here,
        statistics.median(ratios) >= 2.2,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environments", type=Path, default=Path("out/bench-train/environments"))
    parser.add_argument("--work", type=Path, default=Path("out/bench-train"), help="packed rows stay here")
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.work.mkdir(parents=True, exist_ok=True)
    lines: dict[str, Callable[[], Result]] = {
        "packed-4k": lambda: packed(4096, 8, 2.3),
        "packed-16k": lambda: packed(16_384, 32, 4.0, 5),
        "length-mix": lambda: length_mix(given.environments, given.work),
        "hf-trainer": lambda: unpacked(given.environments, "hftrainer", "hf-trainer"),
        "litgpt": lambda: unpacked(given.environments, "litgpt", "litgpt"),
        "overhead": overhead,
        "loss": loss_memory,
        "plan": packing_plan,
        "rows": lambda: rows_served(given.work),
    }
    for name in given.only or lines:
        try:
            found = lines[name]()
        except FileNotFoundError as missing:
            found = Result(name, "", f"not run: {missing}", None)
        met = {True: "met", False: "**missed**", None: ""}[found.met]
        print(f"| {found.line} | {found.wanted} | {found.here} | {met} |", flush=True)


if __name__ == "__main__":
    main()
