"""The ``train`` command: tokenizer, packed rows, model.  Heavy imports happen inside the verbs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import corpus
import runfile
import train
from printable import visible
from train.config import Ablate, Chat, Instruct, Machine, Pack, Plan, Pretrain, Tokenizer, Watch

app = runfile.stage("train", train.__doc__ or "")


@app.command
def tokenizer(src: Path, dst: Path, /, *, start: str = "", settings: Tokenizer = Tokenizer()) -> corpus.Table:
    """Train a byte-level BPE tokenizer with DeepSeek's pieces and special tokens, or take another model's.

    Args:
        src: Table of the corpus.
        dst: Where the tokenizer goes: a folder that AutoTokenizer loads.
        start: Model (a folder, or a name on the hub) whose tokenizer is taken; nothing is learned then.
    """
    from train import tokenizer as words

    if start:
        return words.adopt(start, dst, settings)
    documents = corpus.read(src, "corpus")
    with corpus.building(
        dst, "tokenizer", made_by="train tokenizer", settings=settings, inputs=[documents]
    ) as out:
        if isinstance(out, corpus.Table):
            return out
        chosen = words.sample(documents, settings.sample_bytes, settings.seed)
        trained = words.train(words.texts(documents, chosen), settings.vocabulary)
        out.write("tokenizer", words.files(trained), came_in=len(chosen), went_out=len(chosen))
        return out.seal(vocabulary=trained.get_vocab_size())


@app.command
def pack(
    src: Path,
    words: Path,
    dst: Path,
    /,
    *,
    settings: Pack = Pack(),
    parsed: Path | None = None,
    workers: int = 0,
) -> corpus.Table:
    """Cut documents for fill-in-the-middle, tokenise them and pack them into rows.

    Args:
        src: Table of the corpus.
        words: Table of the tokenizer.
        dst: Where the rows go.
        parsed: What `crawl parse` found in the files; read where cuts are made around nodes.
        workers: Processes; 0 is one per processor.
    """
    from train import pack as packing

    inputs = [corpus.read(src, "corpus"), corpus.read(words, "tokenizer")]
    if settings.fim_cuts == "node":
        inputs.append(packing.with_nodes(parsed))
    with corpus.building(dst, "tokens", made_by="train pack", settings=settings, inputs=inputs) as out:
        return out if isinstance(out, corpus.Table) else packing.write(out, inputs, settings, workers)


@app.command
def pretrain(
    *paths: Path,
    start: str = "",
    settings: Pretrain = Pretrain(),
    machine: Machine = Machine(),
    watch: Watch = Watch(),
) -> corpus.Table | None:
    """Train a model on packed rows; a killed run goes on from its last checkpoint, to the bit.

    Started as `torchrun --nproc-per-node 8 --no-python -- train pretrain …`, eight processes share the work.

    Args:
        paths: ROWS… WORDS DST: one or more tables of packed tokens, the table of the tokenizer that made
            them, and where the model goes: a folder that AutoModelForCausalLM and AutoTokenizer load.
        start: Model to start from, if not from chance: a model's table, a folder, or a name on the hub.
    """
    return _train("pretrain", paths, start, settings, machine, watch)


@app.command
def chat(words: Path, dst: Path, /, *, settings: Chat = Chat()) -> corpus.Table:
    """Pack dialogues into rows by DeepSeek's template; only answers are predicted.

    Args:
        words: Table of the tokenizer.
        dst: Where the rows go.
    """
    from train import chat as packing

    tokens, pins = corpus.read(words, "tokenizer"), packing.pins(settings)
    with corpus.building(
        dst, "tokens", made_by="train chat", settings=settings, inputs=[tokens], **pins
    ) as out:
        return out if isinstance(out, corpus.Table) else packing.write(out, tokens, pins, settings)


@app.command
def instruct(
    *paths: Path,
    start: str = "",
    settings: Instruct = Instruct(),
    machine: Machine = Machine(),
    watch: Watch = Watch(),
) -> corpus.Table | None:
    """Go on training a model on dialogues, as `train pretrain` does, with the paper's settings for it.

    Args:
        paths: ROWS… WORDS DST: one or more tables of `train chat`, the table of the tokenizer that made
            them, and where the model goes; its chat template is that of the rows.
        start: Model to start from: a model's table, a folder, or a name on the hub.
    """
    if not start:
        raise corpus.Refusal("give the model to start from: train instruct ROWS… WORDS DST --start MODEL.")
    return _train("instruct", paths, start, settings, machine, watch)


@app.command
def preset(model: str, tokens: int, /, *, length: int = 4096) -> None:
    """Print a run file's learning rate and batch for a model, by DeepSeek LLM's scaling law.

    Args:
        model: Shape of the model, as in `train pretrain --model`.
        tokens: Tokens to train on.
        length: Predicted tokens per sequence.
    """
    from train import scaling
    from train.model import SHAPES

    if model not in SHAPES:
        raise corpus.Refusal(f"{model} is unknown: give one of {', '.join(SHAPES)}.")
    if min(tokens, length) < 1:
        raise corpus.Refusal(f"{tokens} tokens in rows of {length}: give at least 1 of each.")
    print(scaling.toml(model, tokens, length), end="")


@app.command
def ablate(
    recipe: Path, tables: Path, dst: Path, /, *, settings: Ablate = Ablate(), workers: int = 0
) -> corpus.Table:
    """Compare data recipes by small models of the same number of tokens, with intervals over seeds.

    Args:
        recipe: Run file whose settings hold wherever the grid does not say otherwise.
        tables: Folder of that run's tables, as `make train` leaves it.
        dst: Where the answers go; DST.cells keeps the models, so that a larger grid takes up finished ones.
        workers: Processes; 0 is one per processor.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from train import ablate as comparing

    table = comparing.write(recipe, tables, dst, settings, workers)
    print((table.path / "effects.md").read_text(), end="")
    return table


@app.command
def trace(
    rows: Path,
    src: Path,
    sequence: int,
    position: int | None = None,
    /,
    *,
    split: Literal["train", "valid"] = "train",
) -> None:
    """Say which file of which repo and revision the tokens of a row come from.

    Args:
        rows: Table of packed tokens.
        src: Table of the corpus that they were packed from.
        sequence: Number of the row in its split.
        position: One token of the row; without it, the whole row is told run by run.
        split: The training or the held-out rows.
    """
    from train import trace as tracing

    found = tracing.origins(corpus.read(rows, "tokens"), corpus.read(src, "corpus"), split, sequence)
    for origin in tracing.runs(found) if position is None else tracing.at(found, position):
        print(visible(tracing.line(origin)))


@app.command
def plan(*, settings: Plan = Plan(), json: bool = False) -> None:
    """Say what a run would take on GPUs that need not be there: memory, speed, days, money; and what fits.

    Args:
        json: One JSON object per checkpointing policy, instead of a table.
    """
    from train import plan as planning

    found = planning.lines(settings)
    print(planning.jsonl(found) if json else planning.table(found, settings))


@app.command
def check_gpu(*, cpu: bool = False) -> None:
    """Measure on the GPUs here what `train plan` foretells for them, line by line, in a table to hand on.

    Started as `torchrun --nproc-per-node 8 --no-python -- train check-gpu`, eight share the models.

    Args:
        cpu: Run a small line on the processor instead, to see that the measuring works.
    """
    import torch

    from train import check, shard

    if not (cpu or torch.cuda.is_available()):
        raise corpus.Refusal("no GPU is here to be measured: `train plan` says what one would do.")
    gpu = None if cpu else check.kind(torch.device("cuda"))
    lines = check.foretold(int(os.environ.get("WORLD_SIZE", 1)), gpu)
    with shard.joined() as group:
        device = f"{group.size} x {torch.cuda.get_device_name()}" if gpu else "cpu"
        for row in check.table(check.measure(lines, group), device):
            if group.rank == 0:
                print(row, flush=True)


def _train(
    verb: str, paths: tuple[Path, ...], start: str, settings: Pretrain, machine: Machine, watch: Watch
) -> corpus.Table | None:
    if len(paths) < 3:
        raise corpus.Refusal(f"give rows, their tokenizer and where to go: train {verb} ROWS… WORDS DST.")
    *rows, words, dst = paths
    # Before torch loads: threads that wait by spinning starve one another on a machine with other work
    # (ten times slower at a load of three on two cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from train import loop, parent, shard
    from train.run import Sources

    origin = parent.found(start) if start else None
    tokens, tokenizer = [corpus.read(path, "tokens") for path in rows], corpus.read(words, "tokenizer")
    sources = Sources(tokens, tokenizer, origin)
    running = dst / "running"
    with shard.joined(machine.replicas) as group:
        if group.rank > 0:
            try:
                if group.told() == "train":
                    loop.write(None, running, sources, settings, machine, watch, group)
            except corpus.Refusal:
                raise SystemExit(1) from None  # the first process says it
            return None
        inputs = [*tokens, tokenizer, *([origin.table] if origin and origin.table else [])]
        pins = {"start": origin.pin} if origin and origin.pin else {}
        with corpus.building(
            dst,
            "model",
            made_by=f"train {verb}",
            settings=settings,
            inputs=inputs,
            precious="*/step-*",
            **pins,
        ) as out:
            if isinstance(out, corpus.Table):
                group.told("up to date")
                return out
            running.mkdir(exist_ok=True)
            group.told("train")
            return loop.write(out, running, sources, settings, machine, watch, group)
