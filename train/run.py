"""A model in training: what it is made of, how it begins, and what a checkpoint holds of it."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

import corpus
from corpus import Refusal
from train import checkpoint, flops, lora, machine, model, optim, parent, quantise, template, tokenizer
from train.batches import Batch
from train.config import Machine, Pretrain
from train.parent import Parent
from train.shard import Group
from train.template import Template

log = logging.getLogger(__name__)


class Sources(NamedTuple):
    """What a run reads."""

    tokens: Sequence[corpus.Table]
    """The ``tokens`` tables, all of one length."""
    words: corpus.Table
    """The ``tokenizer`` table that they were made with."""
    origin: Parent | None = None
    """The model to start from, if not from chance."""

    def length(self) -> int:
        """Predicted tokens per row; refuses tables that do not go together."""
        for table in self.tokens:
            if self.words.digest not in {source["digest"] for source in table.manifest["inputs"]}:
                raise Refusal(
                    f"{table.path} was not made with {self.words.path}: give the tokenizer that packed it."
                )
        lengths = {int(table.manifest["length"]) for table in self.tokens}
        if len(lengths) > 1:
            raise Refusal(f"tables of rows have lengths {sorted(lengths)}: a phase has one; pack them alike.")
        return lengths.pop()

    def template(self) -> Template | None:
        """The format of the dialogues, if the rows are such; refuses a mixture of formats."""
        forms = {table.manifest.get("template") for table in self.tokens}
        if len(forms) > 1:
            raise Refusal(f"the tables of rows have templates {sorted(map(str, forms))}: give rows of one.")
        return cast("Template | None", forms.pop())


@dataclass
class Run:
    """A model in training: everything that a step changes."""

    trainee: model.Trainee
    optimizer: torch.optim.Optimizer
    settings: Pretrain
    steps: int
    group: Group
    special: model.SpecialIds
    template: Template | None = None
    """Of the dialogues, if it learns from such."""
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


def start(sources: Sources, settings: Pretrain, group: Group, layout: Machine = Machine()) -> Run:
    """A model, of the shape of the one to start from if there is one, and its optimizer, laid out.

    Its weights are still those of chance.  Refuses settings that cannot be.
    """
    _check(settings)
    length = sources.length()
    if settings.precision == "fp8":
        quantise.refuse_tokens(length * settings.micro_batch, group.device)
    loaded = tokenizer.load(sources.words.path)
    form = sources.template()
    ends = template.EOT if form else tokenizer.EOS
    ids = model.SpecialIds(*(tokenizer.special(loaded, n) for n in (tokenizer.BOS, ends, tokenizer.PAD)))
    size = loaded.get_vocab_size()
    if sources.origin is None:
        config = model.configuration(settings, size, length, ids)
    else:
        config = parent.configuration(sources.origin, settings, sources.words.path, size, length, ids)
    trainee = model.Trainee(config, settings.seed)
    if settings.lora_rank:
        lora.adapt(trainee.llama, settings.lora_rank, settings.lora_alpha, settings.seed)
    machine.warn(settings, group)
    machine.prepare(trainee, settings, layout, group)
    steps = math.ceil(settings.tokens / (settings.batch * length))
    if steps < settings.warmup_steps:
        log.warning(
            "%s steps are fewer than warmup_steps (%s): the rate never reaches lr",
            f"{steps:,}",
            f"{settings.warmup_steps:,}",
        )
    return Run(trainee, optim.adamw(trainee, settings.states), settings, steps, group, ids, form)


def _check(settings: Pretrain) -> None:
    for name in ("tokens", "batch", "micro_batch", "valid_sequences", "valid_every", "checkpoint_every"):
        if getattr(settings, name) < 1:
            raise Refusal(f"{name} is {getattr(settings, name)}: give at least 1.")
    for name in ("rope_theta", "rope_factor"):
        if (given := getattr(settings, name)) is not None and not given > 0:
            raise Refusal(f"{name} is {given}: give a number above 0.")
    if settings.init_std < 0:
        raise Refusal(f"init_std is {settings.init_std}: give 0 or more.")
    if settings.lora_rank < 0:
        raise Refusal(f"lora_rank is {settings.lora_rank}: give 0 (all weights are trained) or more.")
    if settings.keep_optimizer and settings.states == "8bit":
        raise Refusal("keep_optimizer keeps moments in fp32 and states is 8bit: give one of the two.")
