"""However often a run is killed, and whenever, it ends with the bits of an undisturbed one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import corpus
from train.config import Pretrain

from .conftest import TRAIN

LIVES = """
# Forks one life of the run after another, so that PyTorch is loaded once, and ends each at some moment.
import glob, json, os, pathlib, random, signal, sys, time
import torch
torch.set_num_threads(1)
from train import cli
from train.config import Pretrain
from train import loop, parent, shard  # once for all lives
*sources, whole, killed = map(pathlib.Path, sys.argv[1:])

def life(place):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(place.with_suffix(".said"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        try:
            cli.pretrain(*sources, place, settings={settings!r})
        except cli.corpus.Refusal as refusal:
            os.write(2, f"refused: {{refusal}}\\n".encode())
            os._exit(1)
        os._exit(0)
    return child

def over(child):
    # Waits for nothing and leaves the child's end to be told.
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

def there(pattern):
    # Unlike Path.glob it passes over a folder that is renamed while it is read.
    return set(glob.glob(pattern, root_dir=killed))

os.waitpid(life(whole), 0)
draw, told = random.Random(0), {{"kills": 0, "in_save": 0, "asked": 0}}
for number in range({kills}):
    saving = number % 2  # every other life ends while a checkpoint is being written
    wanted = "running/.step-*.part/*" if saving else "running/step-*"
    before = there(wanted)  # what the life before has left
    child = life(killed)
    while not over(child) and not there(wanted) - before:
        time.sleep(0.0005)
    time.sleep(draw.uniform(0, 0.004 if saving else 0.03))
    if not over(child):
        told["in_save"] += bool(there("running/.step-*.part"))
        told["asked" if number in {asked!r} else "kills"] += 1
        os.kill(child, signal.SIGTERM if number in {asked!r} else signal.SIGKILL)
    os.waitpid(child, 0)
told["status"] = os.waitstatus_to_exitcode(os.waitpid(life(killed), 0)[1])
print(json.dumps(told))
"""


def lives(
    folder: Path, sources: list[corpus.Table], settings: Pretrain, kills: int, asked: tuple[int, ...] = ()
) -> dict[str, int]:
    """Train ``folder/whole`` in one life and ``folder/killed`` in many; tells how those ended."""
    program = LIVES.format(settings=settings, kills=kills, asked=asked)
    places = [str(table.path) for table in sources] + [str(folder / "whole"), str(folder / "killed")]
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *places], capture_output=True, text=True, env=quiet, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_twenty_kills_at_any_moment_move_no_bit(
    tokens: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    settings = replace(TRAIN, tokens=90 * 2 * 127, batch=2, checkpoint_every=1, valid_every=20)
    told = lives(tmp_path, [tokens, words], settings, 26, asked=(7, 13))
    assert told["kills"] >= 20 and told["asked"] == 2 and told["in_save"] >= 1 and told["status"] == 0
    whole, killed = (corpus.read(tmp_path / name, "model") for name in ("whole", "killed"))
    assert killed.digest == whole.digest  # weights and every line of the metrics
    assert (tmp_path / "killed.said").read_text().count("saved. Run again to go on.") == 2
