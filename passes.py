"""One pass over a table: the same function for every unit of work, in any number of processes.

A unit is a name; what it reads and writes follows from the name alone, so the result does not depend
on how many processes there are or on which of them took which unit.  A unit that fails does not stop
the others: they finish (and are not done again on resume), then the first failure is raised.  With one
worker there are no others: the failure is raised at once.
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
from typing import TypeVar

from refusal import Refusal

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0
"""Without a terminal, progress is a line now and then."""


def cores() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(work: Callable[[str], None], units: Sequence[str], *, label: str, workers: int = 0) -> None:
    """Run ``work(unit)`` for every unit, showing progress on stderr.

    Args:
        work: Picklable: a module's function, or a ``functools.partial`` of one.
        label: What is being done, for the progress line.
        workers: Processes; 0 is one per processor, 1 runs in this process.
    """
    workers = min(workers or cores(), len(units))
    if workers <= 1:
        for unit in progress(units, label=label, total=len(units)):
            work(unit)
        return
    # Not fork: polars and torch hold threads and locks that a forked child would wait for.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        futures: dict[Future[None], str] = {pool.submit(work, unit): unit for unit in units}
        first: BaseException | None = None
        try:
            for future in progress(as_completed(futures), label=label, total=len(futures)):
                failure = future.exception()
                if failure is not None and not isinstance(failure, BrokenProcessPool):
                    log.error("%s: unit %s failed: %s", label, futures[future], failure)
                first = first or failure
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if isinstance(first, BrokenProcessPool):
        raise Refusal(
            f"{label}: a worker process was killed, most likely for want of memory: "
            "run again with fewer --workers; finished units are kept."
        )
    if first is not None:
        raise first


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


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work, and hold its sandboxes, for ever."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
