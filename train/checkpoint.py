"""Checkpoints of a run: written aside while training goes on, published by a rename, checked by hash.

A kill at any moment leaves either the new checkpoint or the one before.  The newest whole one counts;
there is no pointer file that could lie.  A checkpoint is weights, optimizer states and the number of
steps done: the order of the data is a function of the step and needs no state.  Every process writes its
shards; any number of processes reads them (torch.distributed.checkpoint).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load as read
from torch.distributed.checkpoint.state_dict_saver import async_save

import corpus
from corpus import Refusal
from train import quantise
from train.shard import Group

log = logging.getLogger(__name__)

warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)  # as in a run of one process


class Saver:
    """Writes checkpoints of one run, one at a time, in the background."""

    def __init__(self, folder: Path, group: Group, newest: int = 2, every: int = 0) -> None:
        """Checkpoints go below ``folder``; what stays is the ``newest`` and those of every so many steps."""
        if newest < 1 or every < 0:
            raise Refusal(f"keep is {newest} and keep_every {every}: keep at least 1, every 0 or more steps.")
        self._folder, self._group = folder, group
        self._newest, self._every = newest, every
        if group.rank == 0:
            for torn in folder.glob(".step-*.part"):
                shutil.rmtree(torn)
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Copy ``state`` after ``step`` steps and begin to write it, once the save before has ended."""
        self.wait()
        aside = self._folder / f".step-{step:08d}.part"
        failed = ""
        if self._group.rank == 0:
            try:
                shutil.rmtree(aside, ignore_errors=True)
                aside.mkdir(parents=True)
            except OSError as error:
                failed = str(error)
        if failed := self._group.told(failed):
            raise self._refusal(failed)
        alone = self._group.size == 1
        written = async_save(
            quantise.opened(state), checkpoint_id=aside, process_group=self._group.saving, no_dist=alone
        )
        assert isinstance(written, Future)
        self._pending = self._thread.submit(self._publish, written, aside, step)

    def wait(self) -> None:
        """Until the last save is published; refuses if it could not be written."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except (OSError, RuntimeError, CheckpointException) as error:
            for torn in self._folder.glob(".step-*.part"):
                shutil.rmtree(torn, ignore_errors=True)  # the disk may be full of it
            raise self._refusal(str(error) or repr(error)) from None

    def _refusal(self, error: str) -> Refusal:
        return Refusal(
            f"{self._folder}: a checkpoint could not be written ({error.strip().splitlines()[-1]}): "
            "the one before is whole; make room and run again."
        )

    def _publish(self, written: Future[Any], aside: Path, step: int) -> None:
        """Fails in all processes or in none, for one that goes on alone waits for the others for ever."""
        written.result()
        if self._group.saving is not None:
            dist.barrier(self._group.saving)
        failed = [""]
        if self._group.rank == 0:
            try:
                self._name(aside, step)
            except OSError as error:
                failed = [str(error) or repr(error)]
        if self._group.saving is not None:
            dist.broadcast_object_list(failed, src=0, group=self._group.saving)
        if failed[0]:
            raise OSError(failed[0])

    def _name(self, aside: Path, step: int) -> None:
        """Give the new checkpoint its name, and drop those that it replaces."""
        hashes = {path.name: corpus.sha256_of(path) for path in sorted(aside.iterdir())}
        (aside / "manifest.json").write_text(json.dumps({"step": step, "sha256": hashes}))
        with (aside / "manifest.json").open("rb") as file:
            os.fsync(file.fileno())
        final = self._folder / f"step-{step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        for old in _found(self._folder)[: -self._newest]:
            if not _stays(old, self._every):
                shutil.rmtree(old)


def keep(folder: Path, place: Path, every: int) -> None:
    """Move the checkpoints of every so many steps to ``place``, for their run has ended; 0 keeps none."""
    for kept in (path for path in _found(folder) if _stays(path, every)):
        place.mkdir(exist_ok=True)
        shutil.rmtree(place / kept.name, ignore_errors=True)
        kept.rename(place / kept.name)


def _stays(place: Path, every: int) -> bool:
    return every > 0 and int(place.name.removeprefix("step-")) % every == 0


def newest(folder: Path) -> tuple[int, Path] | None:
    """Steps done and place of the newest checkpoint that is whole; None if there is none."""
    for candidate in reversed(_found(folder)):
        try:
            facts = json.loads((candidate / "manifest.json").read_text())
            whole = all(
                corpus.sha256_of(candidate / name) == wanted for name, wanted in facts["sha256"].items()
            )
        except (OSError, ValueError, KeyError, AttributeError):
            whole = False
        if whole:
            return int(facts["step"]), candidate
        log.warning("checkpoint %s is torn or damaged: taking the one before", candidate)
    return None


def load(place: Path, state: dict[str, Any], group: Group) -> None:
    """Fill ``state``, whose tensors are in place, with what a checkpoint holds."""
    read(quantise.opened(state), checkpoint_id=place, no_dist=group.size == 1)


def _found(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir())
