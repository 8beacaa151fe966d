"""The same rows in the same order give the loss curve of Hugging Face's Trainer."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset
from transformers import LlamaForCausalLM, Trainer, TrainingArguments

import corpus
from train import loop, optim
from train.batches import Rows
from train.order import Order

from .conftest import ALONE, PACK, TRAIN

STEPS = 50
SETTINGS = replace(
    TRAIN, tokens=STEPS * 2 * PACK.length, batch=2, schedule="constant", warmup_steps=1, lr=1e-3
)


class Steps(IterableDataset):  # type: ignore[type-arg]
    """Our batches as transformers takes packed rows: positions that begin anew, labels already shifted."""

    def __init__(self, rows: Rows, order: Order) -> None:
        self.rows, self.order = rows, order

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for step in range(STEPS):
            batch = self.rows.batch(self.order.of(step, SETTINGS.batch), torch.device("cpu"))
            labels = batch.labels_T[None]
            yield {
                "input_ids": batch.ids_T[None],
                "position_ids": batch.positions_T[None],
                "labels": labels,
                "shift_labels": labels,
            }


class Noting(Trainer):
    """Keeps the loss of every step as it is, where the log rounds it."""

    noted: list[float]

    def compute_loss(self, *args: Any, **more: Any) -> Any:
        loss = super().compute_loss(*args, **more)
        self.noted.append(loss.item())
        return loss


def test_fifty_steps_of_hf_trainer_have_our_losses(
    tokens: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    rows = Rows([tokens], "train")
    order = Order([tokens.digest], rows.sizes, SETTINGS.seed)
    run = loop.start(loop.Sources([tokens], words), SETTINGS, ALONE)
    theirs = LlamaForCausalLM(copy.deepcopy(run.trainee.llama.config))
    theirs.load_state_dict(run.trainee.llama.state_dict())
    theirs.set_attn_implementation("sdpa")
    theirs.config.use_cache = False  # with a cache, packed rows see one another
    ours = [loop.advance(run, rows, order.of(step, SETTINGS.batch)).facts["loss"] for step in range(STEPS)]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=STEPS, per_device_train_batch_size=1, learning_rate=SETTINGS.lr,
        lr_scheduler_type="constant", adam_beta1=optim.BETAS[0], adam_beta2=optim.BETAS[1],
        weight_decay=optim.WEIGHT_DECAY, max_grad_norm=optim.CLIP, use_cpu=True, report_to=[],
        save_strategy="no", disable_tqdm=True, logging_strategy="no", remove_unused_columns=False,
    )  # fmt: skip
    trainer = Noting(theirs, arguments, lambda items: items[0], Steps(rows, order))
    trainer.noted = []
    trainer.train()
    assert ours[-1] < ours[0] - 1
    assert trainer.noted == pytest.approx(ours, abs=1e-4)
