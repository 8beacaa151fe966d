"""``make bench-gpu``: a whole step on a GPU beside transformers' ways to keep packed documents apart.

Both step on the same packed row in bf16 over fp32 weights, in one process, in turns; theirs by autocast, as
its Trainer has it.  A figure is the median of the ratios of the pairs, with the peak of memory of each.

    python tests/bench/gpu_bench.py [--layers 12] [--pairs 7]

The model has the width of the paper's 1.3B and as many layers as leave room for two of it.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from train_peers import LR, packed_step
from transformers import LlamaForCausalLM

from train import check, loop, plan, shard
from train.batches import Rows
from train.config import Machine, Plan, Pretrain
from train.footprint import GIB

CASES = ((4096, 8), (16_384, 32), (16_384, 1))
"""Tokens of a row, documents in it."""
WAYS = ("sdpa", "flex_attention")


def clock(step: Callable[[], object]) -> tuple[float, int]:
    """Seconds, and bytes allocated at most."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - began, torch.cuda.max_memory_allocated()


def line(tokens: int, documents: int, way: str, layers: int, pairs: int) -> str:
    config = plan.configuration(Plan(model="1.3b", length=tokens))
    config.num_hidden_layers = layers
    rows = check.Drawn(config.vocab_size, tokens, tokens // documents)
    name = f"| {tokens:,} tokens, documents of {tokens // documents:,} | {way} "
    gc.collect()  # the models of the line before
    torch.compiler.reset()
    with shard.joined() as group:
        with group.device:
            run = check.begin(config, Pretrain(lr=LR, warmup_steps=0, schedule="constant"), Machine(), group)
        before = torch.cuda.memory_allocated()
        with group.device:
            other = LlamaForCausalLM(config)
        other.set_attn_implementation(way)
        batch = partial(rows.batch, [0], group.device)
        theirs = packed_step(other, batch, torch.autocast("cuda", torch.bfloat16))
        after = torch.cuda.memory_allocated()
        ours = partial(loop.advance, run, cast("Rows", rows), [0])
        found = []
        try:
            for number in range(pairs + 2):
                each = [clock(step) for step in ((theirs, ours) if number % 2 else (ours, theirs))]
                found.append(each[::-1] if number % 2 else each)
        except Exception as error:  # a rival that cannot is told, and the others go on
            return f"{name}| {type(error).__name__}: {str(error).splitlines()[0][:80]} | | |"
    ratios = [theirs / mine for (mine, _), (theirs, _) in found[2:]]
    mine, peer = (statistics.median(each[which][0] for each in found[2:]) for which in (0, 1))
    peaks = [max(each[which][1] for each in found[2:]) for which in (0, 1)]
    held = (peaks[0] - (after - before)) / GIB, (peaks[1] - before) / GIB
    return (
        f"{name}| {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}) | "
        f"{mine * 1e3:,.0f} and {peer * 1e3:,.0f} ms | {held[0]:.1f} and {held[1]:.1f} GiB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=7)
    given = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {given.layers} layers of the 1.3B\n")
    print("| row | against | their time over ours | step, ours and theirs | memory, likewise |")
    print("|---" * 5 + "|")
    for way, (tokens, documents) in itertools.product(WAYS, CASES):
        print(line(tokens, documents, way, given.layers, given.pairs), flush=True)


if __name__ == "__main__":
    main()
