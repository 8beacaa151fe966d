"""The model that a phase starts from: the table of the phase before, any LLaMA folder, or a name on the hub.

Weights are safetensors, read straight into the shards of whatever processes there are; pickles are never
opened.  A table of ours may also hold the optimizer's states (``keep_optimizer``), and then the next phase
goes on with them; otherwise AdamW starts afresh.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as read
from transformers import LlamaConfig

import corpus
import hub
from corpus import Refusal
from train import lora, tokenizer
from train.config import Pretrain
from train.model import SpecialIds, Trainee, rope

log = logging.getLogger(__name__)

STATES = "optimizer"
"""Folder of a model's table; no reader of weights looks into it."""

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


class Parent(NamedTuple):
    """A folder of weights; ``table`` if a verb of ours made it, else ``pin``, which says what it was."""

    name: str
    folder: Path
    table: corpus.Table | None
    pin: str | None


def found(name: str) -> Parent:
    """The model of this name; refuses what is no LLaMA with safetensors."""
    if hub.named(name):
        if Path(name).parent.is_dir() and Path(name).parent != Path():
            raise Refusal(f"{name} is not there, but its folder is: give a model's folder or its hub name.")
        commit = hub.commit_of(name)
        parent = Parent(name, hub.fetched(commit), None, commit)
    elif (Path(name) / "manifest.json").exists():
        parent = Parent(name, Path(name), _whole(Path(name)), None)
    else:
        parent = Parent(name, Path(name), None, "")
    if not (parent.folder / "config.json").exists() or not list(parent.folder.glob("*.safetensors")):
        raise Refusal(f"{name} has no config.json with *.safetensors: give a model's folder or its hub name.")
    kind = _config(parent.folder).get("model_type")
    if kind != "llama":
        raise Refusal(f"{name} is of type {kind}: only models of type llama are trained here.")
    return parent._replace(pin=_hashes(parent.folder)) if parent.pin == "" else parent


def configuration(
    parent: Parent, settings: Pretrain, words: Path, ids: int, length: int, special: SpecialIds
) -> LlamaConfig:
    """The parent's configuration with what this phase changes; refuses a tokenizer that is not its own.

    Args:
        words: Folder of the tokenizer of the rows.
        ids: How many that has.
        length: Longest sequence of the phase.
    """
    try:
        config = LlamaConfig.from_pretrained(parent.folder)
    except Exception as error:  # its checks raise some ten kinds, which have only their texts in common
        reason = " ".join(str(error).split())[:200]
        raise Refusal(f"{parent.name}: its config.json describes no model ({reason}).") from None
    _refuse_tokenizer(parent, words, ids, config.vocab_size)
    before: dict[str, Any] = {k: v for k, v in (config.rope_parameters or {}).items() if k != "type"}  # 4.x's
    config.rope_parameters = before
    if settings.rope_theta is not None or settings.rope_factor is not None:
        theta, factor = settings.rope_theta, settings.rope_factor
        kind = before.get("rope_type", "default")
        if kind not in ("default", "linear") and None in (theta, factor):
            raise Refusal(
                f"{parent.name} has RoPE of type {kind}: give both rope_theta and rope_factor, or none."
            )
        config.rope_parameters = rope(
            before["rope_theta"] if theta is None else theta,
            before.get("factor", 1.0) if factor is None else factor,
        )
    config.max_position_embeddings = max(config.max_position_embeddings, length)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = special
    config.tie_word_embeddings = False  # a tied head is copied by `give`, and trained as one of its own
    config.dtype = torch.float32
    return config


def give(parent: Parent, trainee: Trainee, optimizer: torch.optim.Optimizer, alone: bool) -> None:
    """Load the weights, and the optimizer's states where the parent has them, in place.

    Args:
        alone: Whether this process trains by itself.
    """
    weights, states = get_state_dict(trainee, optimizer)
    named: dict[str, Any] = {
        name.removeprefix("llama.").replace(lora.BASE, ".weight"): tensor
        for name, tensor in weights.items()
        if ".lora_" not in name
    }
    tied = _config(parent.folder).get("tie_word_embeddings", False)
    if tied:
        head = named.pop(HEAD)
    _load(parent, parent.folder, named, alone)
    if tied:
        with torch.no_grad():
            head.copy_(named[EMBEDDING])
    # Adapters and 8-bit moments have states of their own.
    alike = len(named) == len(weights) and isinstance(optimizer, torch.optim.AdamW)
    if alike and (parent.folder / STATES).is_dir():
        _load(parent, parent.folder / STATES, _flat(states), alone)
        set_optimizer_state_dict(trainee, optimizer, states)
    else:
        optimizer.state.clear()
        log.info("no optimizer states are taken from %s: AdamW starts afresh", parent.name)


def states(trainee: Trainee, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's states, whole and on the CPU in the first process; every process must ask."""
    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return _flat(get_optimizer_state_dict(trainee, optimizer, options=whole))


def save_states(flat: dict[str, Tensor], folder: Path) -> Path:
    """Write them as a file that ``give`` reads."""
    file = folder / f"{STATES}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in flat.items()}, file)
    return file


def _flat(states: Mapping[str, Any]) -> dict[str, Tensor]:
    return {
        f"{name.removeprefix('llama.')}.{kind}": tensor
        for name, kinds in states.get("state", {}).items()  # whole, in the first process alone
        for kind, tensor in kinds.items()
    }


def _load(parent: Parent, folder: Path, tensors: dict[str, Any], alone: bool) -> None:
    try:
        read(tensors, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=alone)
    except (RuntimeError, ValueError, OSError, SafetensorError, CheckpointException) as error:
        reason = str(error).strip().splitlines()[-1]
        raise Refusal(f"{parent.name}: its weights do not fit its config.json ({reason}).") from None


def _refuse_tokenizer(parent: Parent, words: Path, ids: int, rows: int) -> None:
    if ids > rows:
        raise Refusal(
            f"{words} has {ids:,} ids, but {parent.name} has {rows:,} rows of embeddings: "
            "pack with the model's own tokenizer (`train tokenizer --start`)."
        )
    theirs = parent.folder / "tokenizer.json"
    if not theirs.exists():
        log.warning("%s has no tokenizer.json: that %s is its tokenizer is not checked", parent.name, words)
        return
    vocabularies = [tokenizer.parsed(file).get_vocab() for file in (theirs, words / "tokenizer.json")]
    if vocabularies[0] != vocabularies[1]:
        raise Refusal(
            f"{words} is not the tokenizer of {parent.name}: its ids would mean other texts. "
            "Pack with the model's own (`train tokenizer --start`)."
        )


def _whole(path: Path) -> corpus.Table:
    """A model's table whose files were all checked by their hashes."""
    table = corpus.read(path, "model")
    for part in ("", STATES):
        for shard in table.shards(part):
            table.file(shard)
    return table


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text())
        return dict(found)
    except (ValueError, TypeError):
        raise Refusal(f"{folder / 'config.json'} is no JSON object: the model is damaged.") from None


def _hashes(folder: Path) -> str:
    """What a folder that no verb sealed holds: the hashes of its configuration and weights."""
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return " ".join(f"{file.name}:{corpus.sha256_of(file)}" for file in files)
