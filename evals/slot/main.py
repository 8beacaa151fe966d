"""The slot's life: walls, warm-up, then one job after another until the harness goes away.

The harness speaks over a line that the slot finds as its standard input (``control``).  No job ever holds it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from dataclasses import replace
from typing import Any

from evals.slot import commands, directory, job, kernel, processes, walls, watch
from evals.slot.control import Control
from evals.slot.group import Group
from evals.slot.room import NoWalls

# fmt: off
WARM = (
    "abc", "array", "ast", "bisect", "calendar", "cmath", "collections", "collections.abc", "contextlib",
    "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq",
    "io", "itertools", "json", "math", "numbers", "operator", "os", "random", "re", "statistics", "string",
    "struct", "sys", "textwrap", "time", "traceback", "types", "typing",
)
# fmt: on
"""Imported once, so that no program pays for them.  Every page that these touch makes each fork dearer:
asyncio, logging and unittest, which few programs use, would add a third to the price of a fork."""


def main() -> None:
    """Serve jobs on standard input until it closes."""
    control = Control()
    null = os.open(os.devnull, os.O_RDWR)
    for place in (0, 1, 2):
        os.dup2(null, place)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asked = control.first()
    try:
        group = Group(asked["group"])
        group.join()
        entered = replace(walls.enter(asked, control.fileno()), group=group)
    except NoWalls as reason:
        return control.answer({"refused": str(reason)})
    try:
        slot = _warm_up(asked, entered)
        control.answer({"ready": True, "grouped": bool(group.files)})
        do = commands.run if asked["commands"] else _do
        while (received := control.receive()) is not None:
            control.answer(do(*received, slot, control.fileno(), null))
    except BaseException:
        with contextlib.suppress(OSError):
            control.answer({"broken": traceback.format_exc()})
    return None


def _warm_up(asked: dict[str, Any], slot: job.Slot) -> job.Slot:
    sys.path[:] = asked["path"]
    if slot.alone:
        kernel.bar_capabilities()
    if slot.exposed:
        kernel.set_dumpable(False)  # this process must be closed to programs that see it in /proc
    if asked["commands"]:
        return slot
    for name in (*WARM, *asked["warm"]):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    os.environ.clear()
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page it shares with the slot
    return replace(slot, address_space=processes.address_space(slot.proc))


def _do(request: dict[str, Any], files: list[int], slot: job.Slot, control: int, null: int) -> dict[str, Any]:
    """One job: start its children, wait for the end, say what became of it."""
    limits = job.Limits(**request["limits"])
    with directory.empty(limits.disk_bytes, limits.disk_files, slot.folder):
        slot.group.begin(limits.memory_bytes + limits.disk_bytes, limits.processes)
        children, sources, mark = _start(files, slot, limits, null)
        outcome = watch.until_done(children, limits, sources, control=control, slot=slot)
    verdict, detail = judge(outcome, mark, children, limits)
    return {
        "verdict": verdict,
        "detail": detail,
        "cpu_seconds": outcome.cpu_seconds,
        "wall_seconds": outcome.wall_seconds,
        "memory_bytes": outcome.memory_bytes,
        "output": outcome.said["output"].decode("utf-8", "replace"),
    }


def _start(
    files: list[int], slot: job.Slot, limits: job.Limits, null: int
) -> tuple[list[int], dict[str, int], str]:
    """The children of a job, the one that decides last; where the slot hears them; the mark of a pass."""
    (output, out), (report, reported) = os.pipe(), os.pipe()
    places = {job.STDIN: null, job.STDOUT: out, job.STDERR: out, job.TEXT: files[0]}
    ours, children = [*files, out, reported], []
    if len(files) == 2:
        near, far = (end.detach() for end in socket.socketpair())
        ours += [near, far]
        children.append(job.start(job.serve, slot, limits, places | {job.CHANNEL: far}))
        places |= {job.TEXT: files[1], job.CHANNEL: near}
    mark = os.urandom(16).hex()  # after the fork above: the process that serves never knows it
    part = job.test if children else job.run
    children.append(job.start(part, slot, limits, places | {job.REPORT: reported}, proof=mark))
    for file in ours:
        os.close(file)
    return children, {"report": report, "output": output}, mark


def judge(
    outcome: watch.Outcome, mark: str, children: list[int], limits: job.Limits
) -> tuple[str, str | None]:
    """The verdict and its detail.  Only the mark is a pass; an exit status never is."""
    if outcome.stopped is not None:
        return outcome.stopped, None
    if outcome.said["report"] == mark.encode():
        return "passed", None
    said = _parsed(outcome.said["report"])
    # Only a test that runs apart is believed to be unfit: elsewhere the program itself may have written it.
    if said and said["verdict"] in ("failed", "memory", "error", *["unfit"][: len(children) - 1]):
        return str(said["verdict"]), said["detail"] and str(said["detail"])
    status = outcome.statuses.get(children[0], 0)  # of the process that ran the program
    if status == job.NOT_CONFINED:
        return "error", "the sandbox could not confine the program"
    if status == -signal.SIGXCPU or (status == -signal.SIGKILL and outcome.cpu_seconds >= limits.cpu_seconds):
        return "timeout", None
    if status < 0:
        return "crashed", watch.signal_name(-status)
    return "failed", f"the program left before its end (exit status {status})"


def _parsed(report: bytes) -> dict[str, Any] | None:
    """What a child reported; anything may stand there, since a program can write to its own pipe."""
    try:
        said = json.loads(report)
        return said if isinstance(said, dict) and {"verdict", "detail"} <= set(said) else None
    except (ValueError, RecursionError):
        return None
