"""What a run would take: memory, tokens a second, days and money, for GPUs that need not be there.

Memory comes from ``train.footprint``.  Time is arithmetic over how fast arithmetic is done: a GPU reaches
a share of its peak in matrix products and a smaller one in attention.  Both shares were fitted to five
published runs (tests/unit/train/test_plan.py); those, and what was measured on an H100 and an H200 since, lie
within ``BAND`` of what is computed here, where a pass has at least ``FULL`` tokens.  Moving
weights between GPUs overlaps with that and counts only where it takes longer.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

from transformers import LlamaConfig

from corpus import Refusal
from train import flops, footprint, model
from train.config import Machine, Plan, Pretrain, Recompute
from train.footprint import GIB, Footprint


class Gpu(NamedTuple):
    """What data sheets say of a GPU, as far as it matters here; its peak is in ``flops.PEAKS``."""

    memory: float
    """GiB that a process can have."""
    link: float
    """Bytes a second to its neighbours in a node."""
    single: float
    """FLOPs a second in fp32: torch does not use TF32 unless told to, and is not told to here."""


GPUS = {
    "A100": Gpu(79.1, 300e9, 19.5e12),
    "A800": Gpu(79.1, 200e9, 19.5e12),
    "H100 PCIe": Gpu(79.1, 64e9, 51e12),
    "H100": Gpu(79.1, 450e9, 67e12),
    "H800": Gpu(79.1, 200e9, 67e12),
    "H200": Gpu(139.8, 450e9, 67e12),
    "B200": Gpu(178.0, 900e9, 75e12),
    "L40S": Gpu(44.4, 32e9, 91.6e12),
    "4090": Gpu(23.6, 32e9, 82.6e12),
}
NODE = 8
"""GPUs whose links are fast; beyond, each has a network card of 400 Gb/s."""
NETWORK = 50e9
LINKED = 0.7
"""Share of a link that collectives reach."""

EAGER, COMPILED = 0.41, 0.48
"""Share of the peak in matrix products, with all that lies between them."""
QUICKER = {"fp8": 1.33}
"""How much faster products are than in bf16; of int8 nobody published such a figure, so no gain counts."""
ATTENTION, REPEATED = 0.35, 0.20
"""The same for variable-length flash attention, forward and backward; and where it adds up in one order, as
measured on an H100 at 16,384 tokens (docs/benchmarks.md)."""
BAND = (0.65, 1.4)
"""Measured speed over predicted, lowest and highest among the published runs and ours."""
FULL = 16_384
"""Tokens of a pass from which on a fast GPU is busy: with fewer it waits for its kernels to be launched."""

VOCABULARY = 32_022
IDS = model.SpecialIds(32013, 32014, 32018)


class Line(NamedTuple):
    """One way to run it."""

    recompute: Recompute
    need: Footprint
    fits: bool
    speed: float
    """Tokens a second on each GPU."""
    mfu: float
    days: float
    cost: float
    """Dollars."""


def lines(settings: Plan) -> list[Line]:
    """The run under each checkpointing policy, the fastest first; refuses what cannot be looked up."""
    _check(settings)
    config = configuration(settings)
    return [line(config, settings, policy) for policy in get_args(Recompute)]


def line(config: LlamaConfig, settings: Plan, recompute: Recompute) -> Line:
    """The run under one policy."""
    layout = Machine(recompute=recompute, compile=settings.compile, replicas=settings.replicas)
    # 8-bit products are traced as bf16: what is kept for the backward pass is the same.
    traced: Literal["fp32", "bf16"] = "fp32" if settings.precision == "fp32" else "bf16"
    trained, tokens = (
        Pretrain(precision=traced, states=settings.states),
        settings.length * settings.micro_batch,
    )
    need = footprint.of_step(config, trained, layout, settings.gpus, tokens)
    speed = tokens_a_second(config, settings, recompute)
    days = settings.tokens / (speed * settings.gpus) / 86_400
    return Line(
        recompute,
        need,
        need.budget <= memory(settings) * GIB,
        speed,
        _flops(config, settings) * speed / flops.PEAKS[settings.gpu],
        days,
        days * 24 * settings.gpus * settings.price,
    )


def tokens_a_second(config: LlamaConfig, settings: Plan, recompute: Recompute) -> float:
    """Per GPU: tokens of a forward and backward pass over the longer of its arithmetic and its traffic."""
    tokens, linear = settings.length * settings.micro_batch, 6.0 * flops.matrices(config)
    attention = _flops(config, settings) - linear
    again = 4 / 3 if recompute == "full" else 1.0  # one forward pass more, where three passes' worth was due
    share = (COMPILED if settings.compile else EAGER) * QUICKER.get(settings.precision, 1.0)
    attending = ATTENTION if settings.nondeterministic else REPEATED
    per_token = again * (linear / share + attention / attending) / _peak(settings)
    return tokens / max(per_token * tokens, traffic(config, settings))


def traffic(config: LlamaConfig, settings: Plan) -> float:
    """Seconds to gather the weights twice, in the precision of arithmetic, and to sum the gradients in fp32.

    Across nodes, a ring through all GPUs is as fast as its slowest part, the network.
    """
    parameters, replicas = footprint.parameters_of(config), settings.replicas
    shards = settings.gpus // replicas
    width = 4 if settings.precision == "fp32" else 2
    gathered = (2 * width + 4) * parameters * (shards - 1) / shards
    summed = 2 * 4 * parameters / shards * (replicas - 1) / replicas
    link = GPUS[settings.gpu].link
    inner, outer = (link if size <= NODE else min(link, NETWORK) for size in (shards, settings.gpus))
    return (gathered / inner + summed / outer) / LINKED


def ways_out(least: Line, settings: Plan) -> Iterator[str]:
    """What would make a run fit that does not, each with the memory it would then need.

    Args:
        least: The run with full recomputation.
    """
    for name, gpu in GPUS.items():
        if least.need.budget <= gpu.memory * GIB and gpu.memory > memory(settings):
            yield _way("gpu", name, least)
    config, more = configuration(settings), (settings.gpus * 2**power for power in range(1, 7))
    changes: list[dict[str, Any]] = [{"states": "8bit"}, {"replicas": 1}, {"micro_batch": 1}]
    changes.append({"length": settings.length // 4})
    for change in itertools.chain(changes, ({"gpus": count} for count in more)):
        ((name, value),) = change.items()
        if getattr(settings, name) == value:
            continue
        found = line(config, replace(settings, **change), "full")
        if found.fits:
            yield _way(name, value, found)
            if name == "gpus":
                return


def table(found: list[Line], settings: Plan) -> str:
    """The lines for people, and which to take."""
    rows = [("recompute", "peak GiB", "wanted GiB", "fits", "tokens/s/GPU", "MFU", "days", "cost $")]
    for one in found:
        low, high = (one.speed * factor for factor in BAND)
        rows.append((
            one.recompute, f"{one.need.peak / GIB:.1f}", f"{one.need.budget / GIB:.1f}",
            "yes" if one.fits else "no", f"{one.speed:,.0f} ({low:,.0f} to {high:,.0f})",
            f"{one.mfu:.0%}", f"{one.days:,.1f}", f"{one.cost:,.0f}",
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    body = ["  ".join(cell.rjust(wide) for cell, wide in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([_head(settings), "", *body, "", verdict(found, settings)])


def jsonl(found: list[Line]) -> str:
    """The lines for programs; memory in bytes."""
    facts = [line._asdict() | {"need": line.need._asdict() | {"budget": line.need.budget}} for line in found]
    return "\n".join(map(json.dumps, facts))


def verdict(found: list[Line], settings: Plan) -> str:
    """Which line to take, or what to change."""
    fitting = [line for line in found if line.fits]
    if fitting:
        said = f"Take --recompute {fitting[0].recompute}: the least recomputation that fits."
        if (tokens := settings.length * settings.micro_batch) < FULL:
            said += (
                f"\nPasses of {tokens:,} tokens leave a fast GPU waiting, and the speeds are too high: with "
                f"--micro-batch {-(-FULL // settings.length)} they are within reach, if it still fits."
            )
        return said
    ways = "\n".join(f"  {way}" for way in ways_out(found[-1], settings))
    return f"It does not fit {settings.gpus} x {settings.gpu}. Ways out:\n{ways or '  a smaller model'}"


def configuration(settings: Plan) -> LlamaConfig:
    """The shape that the plan is for, with the paper's vocabulary."""
    return model.configuration(Pretrain(model=settings.model), VOCABULARY, settings.length, IDS)


def memory(settings: Plan) -> float:
    """GiB of each GPU."""
    return settings.memory or GPUS[settings.gpu].memory


def _way(name: str, value: Any, found: Line) -> str:
    flag = f"--{name.replace('_', '-')} {value}"
    return f"{flag} with --recompute full: {found.need.budget / GIB:.0f} GiB on each GPU"


def _head(settings: Plan) -> str:
    parameters = footprint.parameters_of(configuration(settings))
    return (
        f"{settings.model}, {parameters / 1e9:.3g} B parameters; {settings.tokens / 1e9:,.4g} B tokens, "
        f"rows of {settings.length:,}, {settings.micro_batch} at a time; {settings.gpus} x {settings.gpu} of "
        f"{memory(settings):.0f} GiB, {settings.precision}{', compiled' if settings.compile else ''}"
    )


def _flops(config: LlamaConfig, settings: Plan) -> float:
    """Model FLOPs of a token, forward and backward."""
    attended = min(settings.document or settings.length, settings.length)
    return flops.of_pieces(config, [attended]) / attended


def _peak(settings: Plan) -> float:
    """FLOPs a second."""
    return GPUS[settings.gpu].single if settings.precision == "fp32" else flops.PEAKS[settings.gpu]


def _check(settings: Plan) -> None:
    if settings.gpu not in GPUS:
        raise Refusal(f"--gpu {settings.gpu} is unknown: give one of {', '.join(GPUS)}.")
    for name in ("gpus", "length", "micro_batch", "replicas", "tokens"):
        if getattr(settings, name) < 1:
            raise Refusal(f"{name} is {getattr(settings, name)}: give at least 1.")
    for name in ("document", "memory", "price"):
        if getattr(settings, name) < 0:
            raise Refusal(f"{name} is {getattr(settings, name)}: give 0 or more.")
    if settings.gpus % settings.replicas:
        raise Refusal(
            f"replicas is {settings.replicas}: give a divisor of {settings.gpus}, the number of GPUs."
        )
