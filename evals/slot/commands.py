"""A program of any language: its files in an empty directory, then one confined command after another.

All processes of a command are killed before the next one starts, so a compiler leaves nothing running
beside the program.  The word that a test says at its end is never known to this process.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from evals.slot import directory, job, watch


def run(request: dict[str, Any], files: list[int], slot: job.Slot, control: int, null: int) -> dict[str, Any]:
    """What became of each command, up to the first that did not end with status 0."""
    channel = files.pop() if request.get("channel") else None
    done: list[dict[str, Any]] = []
    wanted = [(command, job.Limits(**limits)) for command, limits in request["commands"]]
    size, count = wanted[0][1].disk_bytes, wanted[0][1].disk_files
    with directory.empty(size, count, slot.folder) as place:
        for name, file in zip(request["names"], files, strict=True):
            _write(name, file)
        environment = {"HOME": place, "TMPDIR": place} | request["environment"]
        for command, limits in wanted:
            done.append(_step(command, environment, limits, slot, control, null, channel))
            if done[-1]["stopped"] or done[-1]["status"] != 0:
                break
            if slot.rules >= 0:
                _make_executable(place)
    return {"commands": done}


def _make_executable(place: str) -> None:
    """What a linker does to its output, where programs may not change modes (``seccomp.METADATA``)."""
    for path in Path(place).iterdir():
        if stat.S_ISREG(path.lstat().st_mode):
            path.chmod(0o700)


def _write(name: str, file: int) -> None:
    """The harness's file under its name here; it is closed."""
    with os.fdopen(file, "rb") as given, open(name, "xb") as copy:  # noqa: PTH123  (a descriptor)
        while block := given.read(1 << 20):
            copy.write(block)


def _step(
    command: list[str],
    environment: dict[str, str],
    limits: job.Limits,
    slot: job.Slot,
    control: int,
    null: int,
    channel: int | None,
) -> dict[str, Any]:
    """Run one command; a channel takes the place of its standard input and output."""
    pipes = {name: os.pipe() for name in ("stdout", "stderr", "report")}
    places = {job.STDIN: null}
    for place, name in ((job.STDOUT, "stdout"), (job.STDERR, "stderr"), (job.REPORT, "report")):
        places[place] = pipes[name][1]
    if channel is not None:
        places |= {job.STDIN: channel, job.STDOUT: channel}
    slot.group.begin(limits.memory_bytes + limits.disk_bytes, limits.processes)
    child = job.execute(command, environment, slot, limits, places)
    if channel is not None:
        os.close(channel)  # so that the other side sees when the command has ended
    for _, written in pipes.values():
        os.close(written)
    outcome = watch.until_done(
        [child],
        limits,
        {name: read for name, (read, _) in pipes.items()},
        control=control,
        slot=slot,
    )
    said = {name: data.decode("utf-8", "replace") for name, data in outcome.said.items()}
    return said | {
        "stopped": outcome.stopped,
        "status": outcome.statuses.get(child),
        "cpu_seconds": outcome.cpu_seconds,
        "wall_seconds": outcome.wall_seconds,
        "memory_bytes": outcome.memory_bytes,
    }
