"""A trained model as a table: weights, tokenizer, journal, and the optimizer's states if they are wanted."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

import corpus
from corpus import MEASURED
from train import checkpoint, journal, lora, model, parent, template, tokenizer
from train.batches import Rows
from train.config import Watch
from train.run import Run


def write(
    out: corpus.Output | None, run: Run, words: corpus.Table, train: Rows, running: Path, watch: Watch
) -> corpus.Table | None:
    """Gather the model from all processes; the first one moves it and its journal into ``out``, and seals it.

    Args:
        words: The tokenizer, which goes along.
        running: Where the journal and checkpoints lie; it is removed.
    """
    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(run.trainee, options=whole)
    kept = (
        run.settings.keep_optimizer and not run.settings.lora_rank
    )  # an adapter's states fit no plain model
    states = parent.states(run.trainee, run.optimizer) if kept else {}
    if out is None:
        return None
    table = _seal(out, run, weights, states, words, train, running)
    checkpoint.keep(running, out.path / "checkpoints", watch.keep_every)
    shutil.rmtree(running)  # only now: a run killed in here has its result, or all it needs to go on
    return table


def unigram_entropy(counts: np.ndarray, unpredicted: Sequence[int], mixture: Sequence[float] = ()) -> float:
    """Nats per token of the best predictor that ignores all context: what a trained model must beat.

    Args:
        counts: (tables, ids) how often each id occurs.
        unpredicted: Ids that are never a label: BOS begins pieces and padding is masked.
        mixture: How often each table is drawn from; none is by their rows.
    """
    counts = counts.astype(np.float64)
    counts[:, list(unpredicted)] = 0
    if mixture:
        counts *= np.array(mixture)[:, None] / counts.sum(axis=1, keepdims=True).clip(1)
    seen = counts.sum(axis=0)
    shares = seen[seen > 0] / seen.sum()
    return float(-(shares * np.log(shares)).sum())


def _seal(
    out: corpus.Output,
    run: Run,
    weights: dict[str, Any],
    states: dict[str, Any],
    words: corpus.Table,
    train: Rows,
    running: Path,
) -> corpus.Table:
    metrics, seconds = running / "metrics.jsonl", running / "seconds.jsonl"
    config = run.trainee.llama.config
    lines, timings = journal.read(metrics), journal.read(seconds)
    speeds = sorted(line["tokens_per_second"] for line in timings)
    facts = {
        "shape": model.shape_of(config),
        "parameters": sum(p.numel() for p in run.trainee.parameters()),
        "steps": run.steps,
        "epochs": round(run.steps * run.settings.batch / len(train), 3),
        "unigram_entropy": unigram_entropy(
            train.counts(config.vocab_size), (run.special.bos, run.special.pad), run.settings.mixture
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
    if run.settings.lora_rank:
        plain = lora.merged(plain, run.settings.lora_rank, run.settings.lora_alpha)
    model.save(run.trainee.llama, folder, plain)
    contents: dict[str, corpus.Content] = {path.name: path for path in sorted(folder.iterdir())}
    contents |= {part.name: words.file(part).read_bytes() for part in words.shards()}
    if run.template is not None:
        contents |= tokenizer.for_chat(contents, template.jinja(run.template), template.EOT)
    if states:
        file = parent.save_states(states, running)
        contents[f"{parent.STATES}/{file.name}"] = file
    contents["metrics.jsonl"] = metrics.read_bytes()
    contents[f"{MEASURED}/seconds.jsonl"] = seconds.read_bytes()
    out.write("model", contents, came_in=len(train), went_out=len(train))
    return out.seal(**facts)
