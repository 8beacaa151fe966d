"""Low-rank adapters (LoRA, by peft) on every linear layer: only they are trained, and exported merged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from corpus import Refusal

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

log = logging.getLogger(__name__)

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""As QLoRA found: adapters on all linear layers match full fine-tuning, those on attention alone do not."""

NAME = "default"
BASE, DOWN, UP = ".base_layer.weight", f".lora_A.{NAME}.weight", f".lora_B.{NAME}.weight"


def adapt(llama: LlamaForCausalLM, rank: int, alpha: int, seed: int) -> None:
    """Put adapters into ``llama``, in place, and freeze the rest.

    Args:
        alpha: The product of the two matrices counts ``alpha / rank``.
        seed: Of the first matrix; the second is 0, so the model is at first what it was.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError:
        raise Refusal("lora_rank needs peft: pip install 'fathom-coder[lora]'.") from None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapters = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(LAYERS))
        inject_adapter_in_model(adapters, llama, adapter_name=NAME)
    trained = sum(p.numel() for p in llama.parameters() if p.requires_grad)
    log.info("LoRA: %s of %s parameters are trained", f"{trained:,}", f"{llama.num_parameters():,}")


def merged(weights: dict[str, Tensor], rank: int, alpha: int) -> dict[str, Tensor]:
    """Whole weights of a model with adapters as those of a plain one; without adapters, as they are."""
    plain = {name: tensor for name, tensor in weights.items() if ".lora_" not in name}
    for name in [name for name in plain if name.endswith(BASE)]:
        layer = name.removesuffix(BASE)
        update = weights[layer + UP] @ weights[layer + DOWN] * (alpha / rank)
        plain[f"{layer}.weight"] = plain.pop(name) + update
    return plain
