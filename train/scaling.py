"""Learning rate and batch from a budget of compute, by DeepSeek LLM's scaling law (arXiv 2401.02954, 3.1).

Fitted there on 1e17 to 2e19 FLOPs and checked at 1e20; with 2 T tokens it gives Table 2 of DeepSeek-Coder
within 1.3 % for 6.7B and 33B, and for 1.3B 4 % less rate and a third more batch than they took.
"""

from __future__ import annotations

from typing import NamedTuple

from train.model import SHAPES, Shape


class Preset(NamedTuple):
    """What the law says of a model and a number of tokens."""

    compute: float
    """C = M D in FLOPs: M per token, D tokens."""
    lr: float
    batch: int
    """Sequences per step."""


def flops_per_token(shape: Shape, length: int) -> int:
    """M: training FLOPs a token, attention included, embeddings not (equation 2 there).

    They write 72 L d^2 + 12 L d l, which is 6 a weight where a layer has 12 d^2 of them; here its weights
    are counted, because 33B has other proportions.
    """
    hidden, groups = shape.hidden, shape.kv_heads / shape.heads
    weights = round(hidden**2 * (2 + 2 * groups)) + 3 * hidden * shape.intermediate
    return shape.layers * (6 * weights + 12 * hidden * length)


def preset(shape: Shape, tokens: int, length: int) -> Preset:
    """Near-optimal rate, 0.3118 C^-0.125, and batch in tokens, 0.2920 C^0.3271 (equation 1 there)."""
    compute = float(flops_per_token(shape, length) * tokens)
    return Preset(compute, 0.3118 * compute**-0.125, max(1, round(0.2920 * compute**0.3271 / length)))


def toml(model: str, tokens: int, length: int) -> str:
    """The lines of a run file for a shape of ours."""
    found = preset(SHAPES[model], tokens, length)
    lines = (
        f"# DeepSeek LLM's scaling law at {found.compute:.2e} FLOPs; fitted on 1e17 to 2e19.",
        "[train.pretrain]",
        f'model = "{model}"',
        f"tokens = {tokens:_}",
        f"batch = {found.batch}",
        f"lr = {found.lr:.2e}",
    )
    return "\n".join(lines) + "\n"
