"""Several processes are one run: the same bits, and checkpoints that any number of them reads."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

import corpus
from tests.waiting import until
from train import cli, shard
from train.config import Machine, Pretrain

from .conftest import TRAIN

PROGRAM = """
import hashlib, json, pathlib, sys, torch
torch.set_num_threads(1)
import runfile
from train import cli, loop
from train.config import Machine, Pretrain

advance = loop.advance

def noting(run, train, rows, asked=()):
    # Which tokens this process took for its share of the step.
    ids = [hashlib.sha256(train.tokens(row)).hexdigest() for row in run.group.share(rows)]
    with pathlib.Path(sys.argv[-1] + ".batches").open("a") as file:
        file.write(json.dumps([run.step, ids]) + "\\n")
    return advance(run, train, rows, asked)

loop.advance = noting
{trouble}
try:
    paths = map(pathlib.Path, sys.argv[1:])
    cli.pretrain(*paths, start={origin!r}, settings={settings!r}, machine={layout!r})
except cli.corpus.Refusal as refusal:
    sys.exit(f"refused: {{refusal}}")
"""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]


class Training:
    """Starts runs over the same rows."""

    def __init__(self, folder: Path, tokens: corpus.Table, words: corpus.Table) -> None:
        self.folder, self.sources = folder, [str(tokens.path), str(words.path)]
        self.origin = self.trouble = ""

    def command(self, name: str, processes: int, layout: Machine = Machine(), **given: object) -> list[str]:
        """Of one process of a run."""
        settings = Pretrain(**{**TRAIN.__dict__, **given})
        program = self.folder / f"{name}-{processes}.py"
        facts = {"origin": self.origin, "settings": settings, "layout": layout, "trouble": self.trouble}
        program.write_text(PROGRAM.format(**facts))
        return [str(program), *self.sources, str(self.folder / name)]

    def start(
        self, name: str, processes: int, layout: Machine = Machine(), **given: object
    ) -> subprocess.Popen[str]:
        launcher = [*TORCHRUN, f"--nproc-per-node={processes}"] if processes > 1 else []
        command = [sys.executable, *launcher, *self.command(name, processes, layout, **given)]
        quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=quiet)

    def run(self, name: str, processes: int, layout: Machine = Machine(), **given: object) -> corpus.Table:
        process = self.start(name, processes, layout, **given)
        assert process.wait(300) == 0, process.stderr and process.stderr.read()
        return corpus.read(self.folder / name, "model")

    def stop(self, name: str, step: int, how: signal.Signals, processes: int, **given: object) -> str:
        """Send ``how`` to all processes of a run once it has a checkpoint of ``step``."""
        process = self.start(name, processes, **{"checkpoint_every": 1, **given})
        until(process, self.folder / name, f"running/step-{step:08d}")
        process.send_signal(how)
        assert process.stderr is not None
        return process.communicate()[1]


@pytest.fixture
def training(tmp_path: Path, tokens: corpus.Table, words: corpus.Table) -> Training:
    return Training(tmp_path, tokens, words)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_processes_give_the_bits_of_one_with_two_micro_batches(
    training: Training, precision: str
) -> None:
    sizes = {"batch": 2, "micro_batch": 1, "tokens": 6 * 2 * 127, "precision": precision}
    one, two = (training.run(f"model-{count}", count, **sizes) for count in (1, 2))
    assert two.manifest["processes"] == 2 and two.digest == one.digest


def test_two_processes_start_from_a_model_and_its_states_with_the_bits_of_one(training: Training) -> None:
    sizes = {"batch": 2, "micro_batch": 1, "tokens": 3 * 2 * 127, "keep_optimizer": True}
    training.origin = str(training.run("base", 2, **sizes).path)
    one, two = (training.run(f"next-{count}", count, **sizes) for count in (1, 2))
    assert two.manifest["processes"] == 2 and two.digest == one.digest  # weights and states


def test_a_run_of_two_processes_goes_on_in_one_and_that_in_two(training: Training) -> None:
    sizes = {"batch": 4, "micro_batch": 1, "tokens": 8 * 4 * 127}
    whole = training.run("whole", 1, **sizes)
    training.stop("cut", 2, signal.SIGKILL, 2, **sizes)
    training.stop("cut", 5, signal.SIGKILL, 1, **sizes)
    cut = training.run("cut", 2, **sizes, checkpoint_every=1)
    losses = [
        [json.loads(line)["loss"] for line in (table.path / "metrics.jsonl").read_text().splitlines()]
        for table in (whole, cut)
    ]
    assert len(losses[1]) == 8 and losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert batches(cut) == batches(whole) and {len(ids) for ids in batches(cut).values()} == {4}


def batches(table: corpus.Table) -> dict[int, set[str]]:
    """The rows of every step, as hashes of their tokens: all that any process ever took."""
    found: dict[int, set[str]] = {}
    for line in Path(f"{table.path}.batches").read_text().splitlines():
        step, ids = json.loads(line)
        found.setdefault(step, set()).update(ids)
    return found


def test_a_run_asked_to_end_saves_its_step_and_goes_on_to_the_same_bits(training: Training) -> None:
    said = training.stop("asked", 3, signal.SIGTERM, 1)
    assert "asked to end after step" in said and not (training.folder / "asked" / "manifest.json").exists()
    assert (
        training.run("asked", 1, checkpoint_every=1).digest
        == training.run("calm", 1, checkpoint_every=1).digest
    )


def test_a_batch_that_does_not_divide_is_refused_once(training: Training) -> None:
    process = training.start("odd", 2, batch=3)
    assert process.stderr is not None
    said = process.communicate()[1]
    assert process.returncode != 0
    assert said.count("batch is 3: give a multiple of 2, the number of processes.") == 1


TROUBLES = {
    "token 65535, but the model knows": """
import numpy, os
from train.batches import Rows
if os.environ["RANK"] == "1":
    Rows.tokens = lambda self, row: numpy.full(128, 65535, numpy.uint16)
""",
    "a checkpoint could not be written": """
import errno, os
from train.checkpoint import Saver
def full(self, aside, step):
    raise OSError(errno.ENOSPC, "no space left")
if os.environ["RANK"] == "0":
    Saver._name = full
""",
}


@pytest.mark.parametrize("told", TROUBLES)
def test_trouble_of_one_process_ends_all_of_them(training: Training, told: str) -> None:
    """Started without torchrun, which would end the others when one has failed."""
    training.trouble = TROUBLES[told]
    sizes = {"batch": 2, "micro_batch": 1, "tokens": 4 * 2 * 127, "checkpoint_every": 1}
    command = [sys.executable, *training.command("troubled", 2, **sizes)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    both = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **meet, "RANK": rank})
        for rank in ("0", "1")
    ]
    try:
        said = [process.communicate(timeout=240)[1] for process in both]
        assert told in said[0] and said[1] == "", said  # the first process speaks for all
        assert all(process.returncode for process in both)
    finally:
        for process in both:
            process.kill()


def test_two_replicas_of_two_shards_train_as_one_process(training: Training) -> None:
    sizes = {"batch": 4, "micro_batch": 1, "tokens": 4 * 4 * 127}
    one = training.run("one", 1, **sizes)
    four = training.run("four", 4, layout=Machine(replicas=2), **sizes)
    assert four.manifest["processes"] == 4
    losses = [table.manifest["loss"] for table in (one, four)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_replicas_that_do_not_divide_the_processes_are_refused() -> None:
    wanted = "replicas is 2: give a divisor of 1, the number of processes"
    with pytest.raises(corpus.Refusal, match=wanted), shard.joined(2):
        pass


def test_torchrun_leaves_our_flags_alone_in_the_command_that_is_documented() -> None:
    documented = re.search(r"`torchrun (.*) …`", cli.pretrain.__doc__ or "")
    assert documented is not None
    given = ["--run", "run.toml", "--start", "model", "--phase", "long"]
    parsed = get_args_parser().parse_args([*documented[1].split(), *given])
    assert [parsed.training_script, *parsed.training_script_args] == ["train", "pretrain", *given]
