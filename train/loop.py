"""The training loop: fetch, forward, backward, norm, check, step, log, save.

One code path for CPU and CUDA.  Weights, gradients and optimizer states are fp32, arithmetic bf16 or fp32.
A step's gradient is that of the sum of all token losses in its batch, divided once by their number, so how
many rows go through the model at a time does not matter.

Killed and started again, a run goes on from its last checkpoint with the same bits, on the same machine
with the same number of threads and processes.  Asked to end (SIGTERM), it finishes its step and saves.
Seconds are kept apart from metrics, so equal runs have equal digests.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import corpus
from corpus import Refusal
from train import checkpoint, export, flops, journal, optim, parent, shard, sinks, validation
from train.batches import Batch, Rows
from train.config import Machine, Pretrain, Watch
from train.journal import Journal
from train.order import Order
from train.run import Run, Sources, start
from train.shard import Group

log = logging.getLogger(__name__)

SHOWN = 12
"""Rows or documents named in a line."""


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


def write(
    out: corpus.Output | None,
    running: Path,
    sources: Sources,
    settings: Pretrain,
    layout: Machine,
    watch: Watch,
    group: Group,
) -> corpus.Table | None:
    """Train, or go on training, and seal the ``model`` table.

    Args:
        out: The table, in the first process; None in the others.
        running: Where the journal and checkpoints lie meanwhile.
    """
    tokens = sources.tokens
    train, valid = (Rows(tokens, split, settings.attend) for split in ("train", "valid"))
    order = Order([table.digest for table in tokens], train.sizes, settings.seed, settings.mixture)
    run = start(sources, settings, group, layout)
    saved = checkpoint.newest(running)
    if saved is not None:
        run.take(*saved)
        log.info("going on after step %s of %s", f"{run.step:,}", f"{run.steps:,}")
    elif sources.origin is not None:
        parent.give(sources.origin, run.trainee, run.optimizer, alone=group.size == 1)
    fit(run, train, valid, order, running, watch)
    return export.write(out, run, sources.words, train, running, watch)


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
                raise Refusal(f"asked to end after step {run.step}; saved. Run again to go on.")
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
    everyones = run.group.gathered([*mine, max(int(batch.ids_T.max()) for batch in batches)])
    _refuse_ids(int(max(theirs[3] for theirs in everyones)), rows, run)
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
            f"step {run.step + 1} has loss {total / labelled} and gradient norm {norm}; nothing was updated. "
            f"Lower lr, or look at its documents: {_few(train.documents(rows))}."
        )
    rate = optim.rate(run.step, run.steps, run.settings)
    optim.set_rate(run.optimizer, rate)
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


def _micro(rows: Rows, wanted: list[int], run: Run) -> list[Batch]:
    size = run.settings.micro_batch
    return [rows.batch(wanted[at : at + size], run.device) for at in range(0, len(wanted), size)]


def _refuse_ids(largest: int, rows: list[int], run: Run) -> None:
    """By all processes together: one that stopped alone would leave the others waiting for it."""
    if largest >= (ids := run.trainee.llama.config.vocab_size):
        raise Refusal(
            f"one of rows {_few(rows)} holds token {largest}, but the model knows 0 to {ids - 1}: "
            "pack them anew."
        )


def _few(names: Sequence[object]) -> str:
    more = f" and {len(names) - SHOWN:,} more (`train trace` names those of a row)"
    return ", ".join(map(str, names[:SHOWN])) + (more if len(names) > SHOWN else "")
