"""A LLaMA-architecture model from its shape, and the folder that ``transformers`` loads it from.

The classes are transformers' own; ours are the shapes, the loss and the attention (``train.attention``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from corpus import Refusal
from train import attention, loss
from train.config import Pretrain


class Shape(NamedTuple):
    """Sizes of a model."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int


SHAPES = {
    # DeepSeek-Coder, Table 2; the KV heads are those of the published configurations (33B: 8 groups).
    "1.3b": Shape(2048, 5504, 24, 16, 16),
    "5.7b-mqa": Shape(4096, 11008, 32, 32, 1),
    "6.7b": Shape(4096, 11008, 32, 32, 32),
    "33b": Shape(7168, 19200, 62, 56, 8),
    # DeepSeek LLM, Table 2; the widths of the feed-forward layers are those of the published configurations.
    "llm-7b": Shape(4096, 11008, 30, 32, 32),
    "llm-67b": Shape(8192, 22016, 95, 64, 8),
    # Ours, with the same proportions: for a CPU in minutes, and for tests in seconds.
    "small": Shape(512, 1376, 8, 8, 8),
    "tiny": Shape(256, 704, 4, 2, 2),
    "nano": Shape(64, 176, 2, 2, 1),
}

THETA = 10_000.0
"""Base of the rotary embedding before the long-context phase (paper, 3.6)."""

ROW_MULTIPLE = 256
"""Embedding rows are rounded up, as 32,022 ids became 32,256 rows."""


class SpecialIds(NamedTuple):
    """Ids that the configuration of a checkpoint names."""

    bos: int
    eos: int
    pad: int


def configuration(settings: Pretrain, vocabulary: int, length: int, special: SpecialIds) -> LlamaConfig:
    """The model's configuration; refuses an unknown shape.

    Args:
        vocabulary: Ids of the tokenizer.
        length: Longest sequence it is trained on.
    """
    if settings.model not in SHAPES:
        raise Refusal(f"--model {settings.model} is unknown: give one of {', '.join(SHAPES)}.")
    shape = SHAPES[settings.model]
    return LlamaConfig(
        vocab_size=-(-vocabulary // ROW_MULTIPLE) * ROW_MULTIPLE,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=length,
        initializer_range=settings.init_std,
        rms_norm_eps=1e-6,
        rope_parameters=rope(
            THETA if settings.rope_theta is None else settings.rope_theta,
            1.0 if settings.rope_factor is None else settings.rope_factor,
        ),
        tie_word_embeddings=False,
        bos_token_id=special.bos,
        eos_token_id=special.eos,
        pad_token_id=special.pad,
        dtype="float32",
    )


def shape_of(config: LlamaConfig) -> str:
    """The name of a configuration's shape, or its sizes if it is none of ours."""
    shape = Shape(
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads or config.num_attention_heads,
    )
    sizes = ", ".join(f"{name} {size:,}" for name, size in shape._asdict().items())
    return next((name for name, known in SHAPES.items() if known == shape), sizes)


def rope(theta: float, factor: float) -> dict[str, Any]:
    """Rotary embedding of this base, with positions divided by ``factor``."""
    if factor == 1:
        return {"rope_type": "default", "rope_theta": theta}
    return {"rope_type": "linear", "factor": factor, "rope_theta": theta}


class Trainee(nn.Module):
    """The model with its loss inside ``forward``, so that what shards modules also sees the head's use."""

    def __init__(self, config: LlamaConfig, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.llama = LlamaForCausalLM(config)
        self.llama.set_attn_implementation(attention.NAME)

    def forward(
        self, ids_T: Tensor, labels_T: Tensor, positions_T: Tensor, ends: list[int], *, each: bool = False
    ) -> Tensor:
        """Summed loss of pieces that stand one after another; ``ends`` says where each ends.

        With ``each``, the (T,) losses of the tokens instead, without gradients.
        """
        losses = loss.each if each else loss.summed
        return losses(self.hidden(ids_T, positions_T, ends), self.llama.lm_head.weight, labels_T)

    def hidden(self, ids_T: Tensor, positions_T: Tensor, ends: list[int]) -> Tensor:
        """(T, C) last hidden states."""
        pieces = attention.Pieces(ends, ids_T.device)
        out = self.llama.model(
            input_ids=ids_T[None], position_ids=positions_T[None], use_cache=False, pieces=pieces
        )
        hidden: Tensor = out.last_hidden_state[0]
        return hidden


def save(model: LlamaForCausalLM, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
    """Write config.json, generation_config.json and model.safetensors into ``folder``.

    Args:
        weights: Of the whole model, where ``model`` holds only a part of each.

    transformers 5 writes ``rope_parameters`` alone, which 4.x ignores without a word (theta 10,000, no
    scaling); with both styles in the file each version reads what was trained.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model.save_pretrained(folder, state_dict=weights)
    config = model.config
    special = {name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    GenerationConfig(**special).save_pretrained(folder)  # type: ignore[no-untyped-call]
    path = folder / "config.json"
    written = json.loads(path.read_text())
    rope = written["rope_parameters"]
    written["rope_theta"] = rope["rope_theta"]
    kind, rest = rope["rope_type"], {k: v for k, v in rope.items() if k not in ("rope_type", "rope_theta")}
    written["rope_scaling"] = None if kind == "default" else {"type": kind, **rest}
    written["torch_dtype"] = written["dtype"]
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
