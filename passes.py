"""One pass over a table: the same function for every unit of work, in any number of processes.

A unit is a name; what it reads and writes follows from the name alone, so the result does not depend
on how many processes there are or on which of them took which unit.  A unit that fails does not stop
the others: they finish (and are not done again on resume), then the first failure is raised.  With one
worker there are no others: the failure is raised at once.

Here the processes are this machine's own.  ``executors`` has datatrove run the same passes on this
machine, on Ray or on Slurm; a verb does not see the difference.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeAlias, TypeVar

from printable import log_to_stderr
from refusal import Refusal

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0
"""Without a terminal, progress is a line now and then."""


def cores() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Work: TypeAlias = Callable[[str], None]
"""Picklable: a module's function, or a ``functools.partial`` of one."""


class Parent(Protocol):
    """The process that started this one, as ``multiprocessing.parent_process`` gives it."""

    def join(self) -> None:
        """Wait for its end."""


Runner: TypeAlias = Callable[[Work, Sequence[str], str, int], None]
"""Runs a pass, given what ``each`` was given."""


def each(work: Work, units: Sequence[str], *, label: str, workers: int = 0) -> None:
    """Run ``work(unit)`` for every unit, showing progress on stderr.

    Args:
        label: What is being done, for the progress line.
        workers: Processes; 0 is one per processor, 1 runs in this process.
    """
    if units:
        _runner.get()(work, units, label, workers)


@contextmanager
def run_by(runner: Runner) -> Iterator[None]:
    """While this is open, ``runner`` runs the passes."""
    token = _runner.set(runner)
    try:
        yield
    finally:
        _runner.reset(token)


def in_processes(work: Work, units: Sequence[str], label: str, workers: int) -> None:
    """What ``each`` does unless told otherwise: processes of this machine, or this very one."""
    workers = min(workers or cores(), len(units))
    if workers <= 1:
        for unit in progress(units, label=label, total=len(units)):
            work(unit)
        return
    failures: list[BaseException] = []
    with pool(workers) as processes:
        try:
            for unit, failure in progress(outcomes(processes, work, units), label=label, total=len(units)):
                failures += note(label, unit, failure)
        except KeyboardInterrupt:
            processes.shutdown(wait=False, cancel_futures=True)
            raise
    if failures:
        raise_first(failures, label)


_runner: ContextVar[Runner] = ContextVar("runner", default=in_processes)


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes that end with this one."""
    # Not fork: polars and torch hold threads and locks that a forked child would wait for.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)


def outcomes(
    processes: ProcessPoolExecutor, work: Work, units: Sequence[str]
) -> Iterator[tuple[str, BaseException | None]]:
    """Every unit as it comes to an end, with its failure if it failed."""
    futures: dict[Future[None], str] = {processes.submit(work, unit): unit for unit in units}
    for future in as_completed(futures):
        yield futures[future], future.exception()


def note(label: str, unit: str, failure: BaseException | None) -> list[BaseException]:
    """Log a failure; gives it back as a list of one, or of none."""
    if failure is None:
        return []
    if not isinstance(failure, BrokenProcessPool):
        log.error("%s: unit %s failed: %s", label, unit, failure)
    return [failure]


def raise_first(failures: Sequence[BaseException], label: str) -> None:
    """Raise the first failure; a worker that was killed is a matter of the machine, not a bug."""
    if isinstance(failures[0], BrokenProcessPool):
        raise Refusal(
            f"{label}: a worker process was killed, most likely for want of memory: "
            "run again with fewer --workers; finished units are kept."
        )
    raise failures[0]


def progress(items: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` and say on stderr how far they got: a bar on a terminal, else a line at times."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            yield from bar.track(items, total=total, description=label)
        return
    last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            log.info("%s: %s of %s", label, f"{done:,}", f"{total:,}" if total is not None else "?")


def end_with(parent: Parent | None) -> None:
    """End this process when ``parent`` ends.

    A worker whose parent was killed would wait for work, and hold its sandboxes, for ever.
    """

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _begin() -> None:
    """What every worker does first."""
    log_to_stderr("WARNING")
    end_with(multiprocessing.parent_process())
