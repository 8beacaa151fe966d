"""The driver's side: lay a pass out, have datatrove's executor run it, and say what became of it.

A verb is a sequence of passes with decisions between them, so the driver waits for each.  It holds a
folder of its own below ``Executor.folder`` while it runs; the next driver there clears up after one that
was killed, and takes its jobs out of Slurm's queue before it looks at any table.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import multiprocess
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.executor.ray import RayPipelineExecutor
from loguru import logger

import passes
from executors import slurm
from executors.config import Executor
from executors.step import Pass
from refusal import Refusal

SECONDS_BETWEEN_LOOKS = 1.0


@contextmanager
def running(settings: Executor, verb: str) -> Iterator[None]:
    """While this is open, datatrove runs the passes.

    Args:
        verb: What the driver's folder, and with Slurm its jobs, are called after.
    """
    # Its progress is told by ours; the ranks' logs keep all of it.
    logger.disable("datatrove")
    with (
        _folder(settings.folder, verb) as folder,
        ExitStack() as ends,
        passes.run_by(partial(_run, settings, folder, ends)),
    ):
        yield


def _run(
    settings: Executor,
    home: Path,
    ends: ExitStack,
    work: passes.Work,
    units: Sequence[str],
    label: str,
    workers: int,
) -> None:
    """Run one pass."""
    folder = Path(tempfile.mkdtemp(prefix=label.replace(" ", "-") + "-", dir=home))
    step = Pass(folder, work, units, label, settings.cpus)
    with _telling(step, label, len(units)):
        _START[settings.kind](settings, step, workers, ends)
    failures = [one for unit, failure in step.failures() for one in passes.note(label, unit, failure)]
    if failures:
        passes.raise_first(failures, label)
    if left := len(units) - len(step.ended()):
        raise Refusal(
            f"{label}: ranks ended before {left:,} of {len(units):,} units had: killed, or out of time or "
            f"memory.  Their logs are in {folder} until the next run; it takes up at the units that are left."
        )
    shutil.rmtree(folder)


@contextmanager
def _folder(root: Path, verb: str) -> Iterator[Path]:
    """A folder of this driver's own; what a pass that failed left in it stays until the next driver comes."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        for left in root.glob("*/driver.lock"):
            _clear(left)
        folder = Path(tempfile.mkdtemp(prefix=f"{verb.replace(' ', '-')}-", dir=root))
        lock = (folder / "driver.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        try:
            yield folder
        finally:
            if not any(left.is_dir() for left in folder.iterdir()):
                shutil.rmtree(folder)


def _clear(lock: Path) -> None:
    """Remove the folder of a driver that is no more, and its jobs."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        slurm.clear(lock.parent)
        shutil.rmtree(lock.parent)


@contextmanager
def _telling(step: Pass, label: str, total: int) -> Iterator[None]:
    """Show progress, from another thread, while an executor has this one."""
    over = threading.Event()

    def arrivals() -> Iterator[int]:
        told, last = 0, False
        while told < total and not last:
            last = over.wait(SECONDS_BETWEEN_LOOKS)
            done = len(step.ended())
            yield from range(told, done)
            told = done

    def tell() -> None:
        for _ in passes.progress(arrivals(), label=label, total=total):
            pass

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Local(LocalPipelineExecutor):  # type: ignore[misc]
    """Ranks speak into their logs alone: stderr is for the progress."""

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        logger.enable("datatrove")
        try:
            return super()._run_for_rank(rank, local_rank + 1, node_rank)  # the one that is 0 speaks up
        finally:
            logger.disable("datatrove")


def _local(settings: Executor, step: Pass, workers: int, ends: ExitStack) -> None:
    # datatrove asks for a manager process in the default way, which is fork: see passes.pool.  What its
    # forkserver starts must not outlive a driver that is killed.
    multiprocess.set_start_method("forkserver", force=True)
    multiprocess.set_forkserver_preload(["executors.orphans"])
    workers = workers or max(1, passes.cores() // settings.cpus)
    _Local([step], step.ranks(settings.tasks or workers), workers, logging_dir=step.folder).run()


def _ray(settings: Executor, step: Pass, workers: int, ends: ExitStack) -> None:
    try:
        ray: Any = import_module("ray")
    except ModuleNotFoundError:
        raise Refusal("[executor] kind ray needs Ray: pip install 'fathom-coder[ray]'.") from None
    if not ray.is_initialized():
        _connect(ray, settings, workers)
        ends.callback(ray.shutdown)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    need = {"CPU": settings.cpus, "memory": settings.memory_gb * settings.cpus << 30}
    if not any(all(node.get(name, 0) >= much for name, much in need.items()) for node in nodes):
        raise Refusal(
            f"no node of the Ray cluster has {settings.cpus} processors with {settings.memory_gb} GB each: "
            "set cpus and memory_gb of [executor] lower."
        )
    workers = workers or max(1, int(ray.cluster_resources()["CPU"]) // settings.cpus)
    RayPipelineExecutor(
        [step],
        step.ranks(settings.tasks or workers),
        workers,
        logging_dir=step.folder,
        cpus_per_task=settings.cpus,
        mem_per_cpu_gb=settings.memory_gb,
    ).run()


def _slurm(settings: Executor, step: Pass, workers: int, ends: ExitStack) -> None:
    slurm.run(settings, step, workers)


_START = {"local": _local, "ray": _ray, "slurm": _slurm}


def _connect(ray: Any, settings: Executor, workers: int) -> None:
    """Join the cluster, or start one of this machine alone."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    address = settings.address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address, **quiet)
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    ray.init(
        "local",
        num_cpus=(workers or passes.cores()) * settings.cpus,
        object_store_memory=128 << 20,  # ranks exchange paths
        include_dashboard=False,
        **quiet,
    )
