"""A program of any language: its files in an empty directory, then one confined command after another.

All processes of a command are killed before the next one starts, so a compiler leaves nothing running
beside the program.  The word that a test says at its end is never known to this process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals.slot import job, kernel, watch
from evals.slot.room import WORK


def run(
    request: dict[str, Any], files: list[int], slot: job.Slot, control: socket.socket, null: int
) -> dict[str, Any]:
    """What became of each command, up to the first that did not end with status 0."""
    done: list[dict[str, Any]] = []
    wanted = [(command, job.Limits(**limits)) for command, limits in request["commands"]]
    with _directory(wanted[0][1], slot) as place:
        for name, file in zip(request["names"], files, strict=True):
            _write(name, file)
        environment = {"HOME": place, "TMPDIR": place} | request["environment"]
        for command, limits in wanted:
            done.append(_step(command, environment, limits, slot, control, null))
            if done[-1]["stopped"] or done[-1]["status"] != 0:
                break
    return {"commands": done}


@contextlib.contextmanager
def _directory(limits: job.Limits, slot: job.Slot) -> Iterator[str]:
    """An empty working directory that all commands of one program share."""
    if slot.walls:
        job.mount_directory(limits)
    else:
        os.chdir(tempfile.mkdtemp(prefix="fathom-"))
    place = str(Path.cwd())
    try:
        yield place
    finally:
        os.chdir("/")
        if slot.walls:
            kernel.detach(WORK)
        else:
            shutil.rmtree(place, ignore_errors=True)


def _write(name: str, file: int) -> None:
    with open(file, "rb") as source, open(name, "xb") as copy:  # noqa: PTH123
        shutil.copyfileobj(source, copy)


def _step(
    command: list[str],
    environment: dict[str, str],
    limits: job.Limits,
    slot: job.Slot,
    control: socket.socket,
    null: int,
) -> dict[str, Any]:
    pipes = {name: os.pipe() for name in ("stdout", "stderr", "report")}
    places = {job.STDIN: null}
    for place, name in ((job.STDOUT, "stdout"), (job.STDERR, "stderr"), (job.REPORT, "report")):
        places[place] = pipes[name][1]
    child = job.execute(command, environment, slot, limits, places)
    for _, written in pipes.values():
        os.close(written)
    outcome = watch.until_done(
        [child],
        limits,
        {name: read for name, (read, _) in pipes.items()},
        control=control.fileno(),
        proc=slot.proc,
        walls=slot.walls,
    )
    said = {name: data.decode("utf-8", "replace") for name, data in outcome.said.items()}
    return said | {
        "stopped": outcome.stopped,
        "status": outcome.statuses.get(child),
        "cpu_seconds": outcome.cpu_seconds,
        "wall_seconds": outcome.wall_seconds,
        "memory_bytes": outcome.memory_bytes,
    }
