"""The training loop: fetch, forward, backward, norm, check, step, log, save.

One code path for CPU and CUDA.  Weights, gradients and optimizer states are fp32, arithmetic bf16 or fp32.
A step's gradient is that of the sum of all token losses in its batch, divided once by their number, so how
many rows go through the model at a time does not matter.

Killed and started again, a run goes on from its last checkpoint with the same bits, on the same machine
with the same number of threads and processes.  Asked to end (SIGTERM), it finishes its step and saves.
Seconds are kept apart from metrics, so equal runs have equal digests.
"""

from __future__ import annotations

import itertools
import logging
import math
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)

import corpus
from corpus import MEASURED, Refusal
from train import checkpoint, flops, journal, machine, model, optim, shard, sinks, tokenizer, validation
from train.batches import Batch, Rows
from train.config import Machine, Pretrain, Watch
from train.journal import Journal
from train.order import Order
from train.shard import Group

log = logging.getLogger(__name__)


class Step(NamedTuple):
    """What became of a step of the optimizer."""

    facts: dict[str, Any]
    """For the journal: the same in equal runs."""
    tokens: int
    """Of all processes, padding included."""
    flops: float
    """Model FLOPs of one process, on average."""
    data_wait: float
    """Seconds that went into fetching rows."""
    ending: bool
    """Whether any process was asked to end."""


@dataclass
class Run:
    """A model in training: everything that a step changes."""

    trainee: model.Trainee
    optimizer: torch.optim.AdamW
    settings: Pretrain
    steps: int
    group: Group
    special: model.SpecialIds
    step: int = 0

    @property
    def device(self) -> torch.device:
        return self.group.device

    def flops(self, batch: Batch) -> float:
        """Model FLOPs of a forward and backward pass."""
        lengths = (end - start for start, end in itertools.pairwise([0, *batch.ends]))
        return flops.of_pieces(self.trainee.llama.config, lengths)

    def state(self) -> dict[str, Any]:
        weights, optimizer = get_state_dict(self.trainee, self.optimizer)
        return {"model": weights, "optimizer": optimizer}

    def take(self, step: int, place: Path) -> None:
        """Become what a checkpoint holds."""
        state = self.state()
        checkpoint.load(place, state, self.group)
        set_state_dict(
            self.trainee,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
        self.step = step


def write(
    out: corpus.Output | None,
    running: Path,
    tokens: Sequence[corpus.Table],
    words: corpus.Table,
    settings: Pretrain,
    watch: Watch,
    group: Group,
    layout: Machine = Machine(),
) -> corpus.Table | None:
    """Train, or go on training, and seal the ``model`` table.

    Args:
        out: The table, in the first process; None in the others.
        running: Where the journal and checkpoints lie meanwhile.
        tokens: The ``tokens`` tables, all of one length.
        words: The ``tokenizer`` table that they were made with.
    """
    length = _length(tokens, words)
    train, valid = (Rows(tokens, split, settings.attend) for split in ("train", "valid"))
    order = Order([table.digest for table in tokens], train.sizes, settings.seed, settings.mixture)
    run = start(words, settings, length, group, layout)
    saved = checkpoint.newest(running)
    if saved is not None:
        run.take(*saved)
        log.info("pretrain: going on after step %s of %s", f"{run.step:,}", f"{run.steps:,}")
    fit(run, train, valid, order, running, watch)
    weights = get_model_state_dict(
        run.trainee, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    return _export(out, run, weights, words, train, running, watch) if out else None


def _length(tokens: Sequence[corpus.Table], words: corpus.Table) -> int:
    """Predicted tokens per row; refuses tables that do not go together."""
    for table in tokens:
        if words.digest not in {source["digest"] for source in table.manifest["inputs"]}:
            raise Refusal(f"{table.path} was not made with {words.path}: give the tokenizer that packed it.")
    lengths = {int(table.manifest["length"]) for table in tokens}
    if len(lengths) > 1:
        raise Refusal(f"the tables of rows have lengths {sorted(lengths)}: a phase has one; pack them alike.")
    return lengths.pop()


def start(
    words: corpus.Table, settings: Pretrain, length: int, group: Group, layout: Machine = Machine()
) -> Run:
    """A fresh model and optimizer, laid out on the machine; refuses sizes below one."""
    for name in ("tokens", "batch", "micro_batch", "valid_sequences", "valid_every", "checkpoint_every"):
        if getattr(settings, name) < 1:
            raise Refusal(f"{name} is {getattr(settings, name)}: give at least 1.")
    loaded = tokenizer.load(words.path)
    ids = model.SpecialIds(
        *(tokenizer.special(loaded, n) for n in (tokenizer.BOS, tokenizer.EOS, tokenizer.PAD))
    )
    config = model.configuration(settings, loaded.get_vocab_size(), length, ids)
    trainee = model.Trainee(config, settings.seed).to(group.device)
    machine.prepare(trainee, settings, layout, group)
    steps = math.ceil(settings.tokens / (settings.batch * length))
    return Run(trainee, optim.adamw(trainee), settings, steps, group, ids)


def fit(run: Run, train: Rows, valid: Rows, order: Order, running: Path, watch: Watch) -> None:
    """Steps until the end, with checkpoints and validations between them; a SIGTERM ends with a save."""
    settings = run.settings
    saver = checkpoint.Saver(running, run.group, watch.keep, watch.keep_every)
    peak = flops.peak(run.device)
    with _asked_to_end() as asked, _journal(run, running, watch) as lines:
        while run.step < run.steps:
            began = time.monotonic()
            rows = order.of(run.step, settings.batch)
            step = advance(run, train, rows, asked)
            seconds = time.monotonic() - began
            last = run.step == run.steps
            if len(valid) and (last or run.step % settings.valid_every == 0):
                step.facts.update(
                    validation.validate(run.trainee, valid, settings.valid_sequences, run.group)
                )
            if lines:
                clocks = journal.clocks(seconds, step.data_wait, step.tokens, step.flops, peak)
                lines.add(step.facts, clocks, run.steps)
            if not last and (step.ending or _due(run.step, settings.checkpoint_every, watch.keep_every)):
                saver.save(run.step, run.state())
            if step.ending and not last:
                saver.wait()
                raise Refusal(f"pretrain: asked to end after step {run.step}; saved. Run again to go on.")
        saver.wait()


def _due(step: int, *every: int) -> bool:
    return any(steps and step % steps == 0 for steps in every)


def _journal(run: Run, running: Path, watch: Watch) -> AbstractContextManager[Journal | None]:
    """Only the first process keeps one."""
    if run.group.rank > 0:
        return nullcontext()
    watched_by = sinks.opened(watch.watch, running.parent, running, run.step, asdict(run.settings))
    return journal.opened(running, run.step, watched_by)


@contextmanager
def _asked_to_end() -> Iterator[list[int]]:
    """A list that is empty until this process gets a SIGTERM; saving waits for the end of the step."""
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def advance(run: Run, train: Rows, rows: list[int], asked: Sequence[int] = ()) -> Step:
    """One step of the optimizer over ``rows``, of which each process takes its share.

    It stops before the update if the loss or the norm is not finite.
    """
    run.trainee.train()
    run.optimizer.zero_grad(set_to_none=True)
    began = time.monotonic()
    batches = _micro(train, run.group.share(rows), run)
    data_wait = time.monotonic() - began
    mine = [sum(batch.labelled for batch in batches), len(asked), sum(run.flops(batch) for batch in batches)]
    everyones = run.group.gathered(mine)
    labelled = int(sum(theirs[0] for theirs in everyones))
    total = 0.0
    for batch in batches:
        loss = run.trainee(batch.ids_T, batch.labels_T, batch.positions_T, batch.ends)
        (loss / labelled).backward()
        total += float(loss.detach())
    total = sum(theirs[0] for theirs in run.group.gathered([total]))
    parameters = list(run.trainee.parameters())
    norm = optim.clip(parameters, shard.squares(parameters, run.group))
    if not (math.isfinite(total) and math.isfinite(norm)):
        raise Refusal(
            f"pretrain: step {run.step + 1} has loss {total / labelled} and gradient norm {norm}; "
            f"nothing was updated. Look at its documents, or lower lr: {', '.join(train.documents(rows))}."
        )
    rate = optim.rate(run.step, run.steps, run.settings)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.step()
    run.step += 1
    tokens = run.group.size * sum(len(batch.ids_T) for batch in batches)
    facts = {
        "step": run.step,
        "tokens": run.step * tokens,
        "loss": total / labelled,
        "lr": rate,
        "norm": norm,
        "fill": labelled / tokens,
    }
    work = sum(theirs[2] for theirs in everyones) / run.group.size
    return Step(facts, tokens, work, data_wait, any(theirs[1] for theirs in everyones))


def unigram_entropy(counts: np.ndarray, unpredicted: Sequence[int]) -> float:
    """Nats per token of the best predictor that ignores all context: what a trained model must beat.

    Args:
        counts: How often each id occurs.
        unpredicted: Ids that are never a label: BOS begins pieces and padding is masked.
    """
    counts = counts.astype(np.float64)
    counts[list(unpredicted)] = 0
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _micro(rows: Rows, wanted: list[int], run: Run) -> list[Batch]:
    size = run.settings.micro_batch
    return [rows.batch(wanted[at : at + size], run.device) for at in range(0, len(wanted), size)]


def _export(
    out: corpus.Output,
    run: Run,
    weights: dict[str, Any],
    words: corpus.Table,
    train: Rows,
    running: Path,
    watch: Watch,
) -> corpus.Table:
    """Move the model, its tokenizer and its journal into the table, and seal it."""
    metrics, seconds = running / "metrics.jsonl", running / "seconds.jsonl"
    config = run.trainee.llama.config
    lines, timings = journal.read(metrics), journal.read(seconds)
    speeds = sorted(line["tokens_per_second"] for line in timings)
    facts = {
        "shape": run.settings.model,
        "parameters": sum(p.numel() for p in run.trainee.parameters()),
        "steps": run.steps,
        "epochs": round(run.steps * run.settings.batch / len(train), 3),
        "unigram_entropy": unigram_entropy(
            train.counts(config.vocab_size), (run.special.bos, run.special.pad)
        ),
        "loss": lines[-1]["loss"],
        "valid_loss": lines[-1].get("valid_loss"),
        "tokens_per_second": round(speeds[len(speeds) // 2]),
        "device": str(run.device),
        "threads": torch.get_num_threads(),
        "processes": run.group.size,
    }
    folder = running / "export"
    plain = {name.removeprefix("llama."): tensor for name, tensor in weights.items()}
    model.save(run.trainee.llama, folder, plain)
    contents: dict[str, corpus.Content] = {path.name: path for path in sorted(folder.iterdir())}
    contents |= {part.name: words.file(part).read_bytes() for part in words.shards()}
    contents["metrics.jsonl"] = metrics.read_bytes()
    contents[f"{MEASURED}/seconds.jsonl"] = seconds.read_bytes()
    out.write("model", contents, came_in=len(train), went_out=len(train))
    table = out.seal(**facts)
    checkpoint.keep(running, out.path / "checkpoints", watch.keep_every)
    shutil.rmtree(running)  # only now: a run killed in here has its result, or all it needs to go on
    return table
