"""``train check-gpu``: what ``train plan`` foretells beside what this machine does, line by line.

Measured is the loop of ``train pretrain`` itself on random tokens: weights, sharding, recomputation, the
optimizer's step.  Under ``torchrun`` all its processes share the model, as they do in training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from transformers import LlamaConfig

from corpus import Refusal
from train import footprint, loop, machine, model, optim, plan
from train.batches import Batch, Rows
from train.config import Machine, Plan, Pretrain, Recompute
from train.footprint import GIB
from train.loss import IGNORED
from train.run import Run
from train.shard import Group

ON_GPUS: tuple[tuple[str, int, Recompute, bool], ...] = (
    ("1.3b", 4096, "none", False),
    ("1.3b", 4096, "none", True),
    ("1.3b", 16_384, "selective", False),
    ("1.3b", 16_384, "full", False),
    ("6.7b", 16_384, "selective", False),
    ("6.7b", 16_384, "selective", True),
    ("6.7b", 16_384, "full", False),
    ("33b", 16_384, "full", False),
)
"""Model, length, recompute, compile."""
ON_CPU: tuple[tuple[str, int, Recompute, bool], ...] = (("nano", 256, "none", False),)
"""To see that the measuring itself works."""

WARM, TIMED = 2, 5
"""Steps that are not looked at, then those that are."""


class Line(NamedTuple):
    """A prediction and, where the model fits, the measurement."""

    name: str
    foretold: plan.Line
    gpus: int
    measured: tuple[int, float] | None = None
    """Bytes allocated at most, tokens a second on each GPU."""


class Drawn:
    """Random tokens in place of the rows of a table: each row is one document."""

    def __init__(self, vocabulary: int, length: int) -> None:
        self._ids = torch.randint(0, vocabulary, (length,))

    def batch(self, rows: list[int], device: torch.device) -> Batch:
        length = len(self._ids)
        labels = torch.cat([self._ids[1:], torch.tensor([IGNORED])])
        parts = (self._ids, labels, torch.arange(length))
        ids, labels, positions = (part.repeat(len(rows)).to(device) for part in parts)
        ends = [length * (number + 1) for number in range(len(rows))]
        return Batch(ids, labels, positions, ends, len(rows) * (length - 1))


def kind(device: torch.device) -> str:
    """The type of a GPU, as ``train plan`` knows it; refuses what no data sheet is known of."""
    name = torch.cuda.get_device_name(device)
    found = next((known for known in plan.GPUS if known in name), None)
    if found is None:
        raise Refusal(f"{name} is none of {', '.join(plan.GPUS)}: add its data sheet to train/plan.py.")
    return found


def foretold(gpus: int, gpu: str | None) -> list[tuple[Plan, Line]]:
    """The lines for so many GPUs of a type, or for a CPU; before any process is joined."""
    lines = []
    for name, length, recompute, compiled in ON_GPUS if gpu else ON_CPU:
        precision = "bf16" if gpu else "fp32"
        settings = Plan(
            model=name,
            length=length,
            gpu=gpu or "H100",
            gpus=gpus,
            compile=compiled,
            precision=cast("Any", precision),
        )
        title = f"{name}, {length:,}, {recompute}{', compiled' if compiled else ''}"
        lines.append(
            (settings, Line(title, plan.line(plan.configuration(settings), settings, recompute), gpus))
        )
    return lines


def measure(lines: Sequence[tuple[Plan, Line]], group: Group) -> Iterator[Line]:
    """The same lines, run where they fit."""
    for settings, line in lines:
        fits = line.foretold.fits
        yield line._replace(measured=_run(settings, line.foretold.recompute, group)) if fits else line


def begin(config: LlamaConfig, settings: Pretrain, layout: Machine, group: Group) -> Run:
    """A run without tables."""
    trainee = model.Trainee(config, settings.seed)
    machine.prepare(trainee, settings, layout, group)
    return Run(trainee, optim.adamw(trainee, settings.states), settings, 10**9, group, plan.IDS)


def _run(settings: Plan, recompute: Recompute, group: Group) -> tuple[int, float]:
    config = plan.configuration(settings)
    trained = Pretrain(model=settings.model, precision=settings.precision, micro_batch=settings.micro_batch)
    run = begin(config, trained, Machine(recompute=recompute, compile=settings.compile), group)
    rows = cast("Rows", Drawn(config.vocab_size, settings.length))
    step = list(range(2 * settings.micro_batch * group.size))  # two passes each, as the prediction has it
    if group.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        for _ in range(WARM):
            loop.advance(run, rows, step)
        peak = torch.cuda.max_memory_allocated()
    else:
        with footprint.Live(run.trainee.parameters()) as live:
            for _ in range(WARM):
                loop.advance(run, rows, step)
        peak = live.peak
    began = time.perf_counter()
    for _ in range(TIMED):
        tokens = loop.advance(run, rows, step).tokens  # it reads the loss, so the device has finished
    return peak, tokens * TIMED / group.size / (time.perf_counter() - began)


def table(lines: Sequence[Line], device: str) -> str:
    """The lines as a table in Markdown, to be added to docs/benchmarks.md."""
    head = ["line", "GiB foretold", "measured", "tokens/s/GPU foretold", "measured", "MFU"]
    rows = [f"{device}, torch {torch.__version__}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for line in lines:
        memory, speed = f"{line.foretold.need.peak / GIB:.2f}", f"{line.foretold.speed:,.0f}"
        if line.measured is None:
            rows.append(f"| {line.name} | {memory} | does not fit | {speed} | | |")
            continue
        peak, rate = line.measured
        known = device.startswith("cpu")
        mfu = "" if known else f"{line.foretold.mfu * rate / line.foretold.speed:.0%}"
        rows.append(
            f"| {line.name} | {memory} | {peak / GIB:.2f} | {'' if known else speed} | {rate:,.0f} | {mfu} |"
        )
    return "\n".join(rows)
