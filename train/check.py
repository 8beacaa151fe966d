"""``train check-gpu``: what ``train plan`` foretells beside what this machine does, line by line.

Measured is the loop of ``train pretrain`` itself on random tokens: weights, sharding, recomputation, the
optimizer's step.  Under ``torchrun`` all its processes share the model, as they do in training.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import NamedTuple, cast

import torch
from transformers import LlamaConfig

from corpus import Refusal
from train import footprint, loop, machine, model, optim, plan
from train.batches import Batch, Rows
from train.config import Machine, Plan, Precision, Pretrain, Recompute
from train.footprint import GIB
from train.loss import IGNORED
from train.run import Run
from train.shard import Group

log = logging.getLogger(__name__)


class Case(NamedTuple):
    """What is measured in one line."""

    model: str
    length: int
    recompute: Recompute = "none"
    compile: bool = False
    precision: Precision = "bf16"
    document: int = 0
    """Tokens of each document in a row; 0: the row is one."""
    nondeterministic: bool = False

    @property
    def title(self) -> str:
        words = [self.model, f"{self.length:,}", self.recompute]
        words += [f"documents of {self.document:,}"] * bool(self.document)
        words += ["compiled"] * self.compile + [self.precision] * (self.precision != "bf16")
        return ", ".join(words + ["nondeterministic"] * self.nondeterministic)


ON_GPUS = (
    Case("1.3b", 4096),
    Case("1.3b", 4096, compile=True),
    Case("1.3b", 4096, compile=True, nondeterministic=True),
    Case("1.3b", 4096, compile=True, precision="fp8"),
    Case("1.3b", 16_384, "selective"),
    Case("1.3b", 16_384, "selective", nondeterministic=True),
    Case("1.3b", 16_384, "full"),
    Case("1.3b", 16_384, compile=True),
    Case("1.3b", 16_384, compile=True, document=2048),
    Case("1.3b", 4096, precision="fp32"),
    Case("6.7b", 16_384, "selective"),
    Case("6.7b", 16_384, "selective", compile=True),
    Case("6.7b", 16_384, "full"),
    Case("33b", 16_384, "full"),
)
ON_CPU = (Case("nano", 256, precision="fp32"),)
"""To see that the measuring itself works."""

WARM, TIMED = 2, 5
"""Steps that are not looked at, then those that are."""


class Measured(NamedTuple):
    """What a device did."""

    peak: int
    """Bytes allocated at most."""
    reserved: int
    """Bytes that the allocator held for them at most; on a CPU the same."""
    speed: float
    """Tokens a second on each device."""


class Line(NamedTuple):
    """A prediction and, where the model fits, the measurement."""

    case: Case
    foretold: plan.Line
    measured: Measured | str = "does not fit"
    """Or why there is none."""


class Drawn:
    """Random tokens in place of the rows of a table, each cut into documents of one length."""

    def __init__(self, vocabulary: int, length: int, document: int) -> None:
        self._ids, self._document = torch.randint(0, vocabulary, (length,)), document or length

    def batch(self, rows: list[int], device: torch.device) -> Batch:
        length = len(self._ids)
        places, labels = torch.arange(length) % self._document, self._ids.roll(-1)
        ends = [*range(self._document, length, self._document), length]
        labels[[end - 1 for end in ends]] = IGNORED
        ids, labels, positions = (part.repeat(len(rows)).to(device) for part in (self._ids, labels, places))
        all_ends = [length * number + end for number in range(len(rows)) for end in ends]
        return Batch(ids, labels, positions, all_ends, len(rows) * length - len(all_ends))


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
    for case in ON_GPUS if gpu else ON_CPU:
        settings = Plan(
            model=case.model,
            length=case.length,
            document=case.document,
            gpu=gpu or "H100",
            gpus=gpus,
            compile=case.compile,
            nondeterministic=case.nondeterministic,
            precision=case.precision,
        )
        lines.append(
            (settings, Line(case, plan.line(plan.configuration(settings), settings, case.recompute)))
        )
    return lines


def measure(lines: Sequence[tuple[Plan, Line]], group: Group) -> Iterator[Line]:
    """The same lines, run where they fit; what cannot be run says why, and the others go on."""
    for settings, line in lines:
        if not line.foretold.fits:
            yield line
            continue
        log.info("measuring %s", line.case.title)
        try:
            yield line._replace(measured=_run(settings, line.case, group))
        except Refusal as refusal:
            yield line._replace(measured=str(refusal))
        except torch.OutOfMemoryError:
            if group.size > 1:
                raise  # the others wait for this process
            yield line._replace(measured="ran out of memory")


def begin(config: LlamaConfig, settings: Pretrain, layout: Machine, group: Group) -> Run:
    """A run without tables."""
    trainee = model.Trainee(config, settings.seed)
    machine.prepare(trainee, settings, layout, group)
    return Run(trainee, optim.adamw(trainee, settings.states), settings, 10**9, group, plan.IDS)


def _run(settings: Plan, case: Case, group: Group) -> Measured:
    config, cuda = plan.configuration(settings), group.device.type == "cuda"
    trained = Pretrain(model=case.model, precision=case.precision, micro_batch=settings.micro_batch)
    layout = Machine(recompute=case.recompute, compile=case.compile, nondeterministic=case.nondeterministic)
    gc.collect()  # the run of the line before holds itself: hooks of its layers know their model
    torch.compiler.reset()  # else lengths of the lines before would make those of this one symbols
    # A GPU that will hold the whole model anyway draws its weights itself, many times faster.
    with group.device if cuda and group.size == 1 else nullcontext():
        run = begin(config, trained, layout, group)
    rows = cast("Rows", Drawn(config.vocab_size, settings.length, case.document))
    step = list(range(2 * settings.micro_batch * group.size))  # two passes each, as the prediction has it
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        for _ in range(WARM):
            loop.advance(run, rows, step)
        peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    else:
        with footprint.Live(run.trainee.parameters()) as live:
            for _ in range(WARM):
                loop.advance(run, rows, step)
        peak = reserved = live.peak
    began = time.perf_counter()
    for _ in range(TIMED):
        tokens = loop.advance(run, rows, step).tokens  # it reads the loss, so the device has finished
    return Measured(peak, reserved, tokens * TIMED / group.size / (time.perf_counter() - began))


def table(lines: Iterable[Line], device: str) -> Iterator[str]:
    """The lines as those of a table in Markdown, to be added to docs/benchmarks.md; each once it is known."""
    head = ["line", "GiB foretold", "measured", "reserved", "tokens/s/GPU foretold", "measured", "MFU"]
    yield f"{device}, torch {torch.__version__}\n\n| {' | '.join(head)} |\n{'|---' * len(head)}|"
    known = not device.startswith("cpu")
    for line in lines:
        memory = f"{line.foretold.need.peak / GIB:.2f}"
        speed = f"{line.foretold.speed:,.0f}" if known else ""
        cells = [line.case.title, memory, str(line.measured), "", speed, "", ""]
        if isinstance(line.measured, Measured):
            cells[2:4] = f"{line.measured.peak / GIB:.2f}", f"{line.measured.reserved / GIB:.2f}"
            cells[5] = f"{line.measured.speed:,.0f}"
            cells[6] = f"{line.foretold.mfu * line.measured.speed / line.foretold.speed:.0%}" if known else ""
        yield f"| {' | '.join(cells)} |"
