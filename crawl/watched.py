"""A child process that parses for us and may be killed: hangs and crashes become answers.

``Parser.parse`` cannot be interrupted: it holds the GIL and takes no timeout.  So each worker keeps one
child, gives it some files at a time and, when one was too much for it, starts another that gets them one
by one.

The limit is CPU time, kept by the kernel (``ITIMER_PROF``), so that the answer does not depend on how
busy the machine is; a far larger limit of wall-clock time is there for a child that sleeps.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import cache as once
from functools import partial
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from crawl import syntax
from crawl.syntax import Outcome

MEMORY_BYTES = 4 << 30
"""Address space of the child; the tree of a 1 MB file takes some 100 MB."""

WALL = 20
"""Wall-clock seconds granted for every CPU second: a machine under load, a process put to sleep."""

BATCH = 256 << 10
"""Bytes of files that are sent together, unless one alone has more."""

File = tuple[bytes, str]
"""A source in UTF-8, and its grammar."""

Look = Callable[[bytes, str], Outcome]


@once
def parser(seconds: float, nodes: int = 0) -> Watched:
    """The parsing process for all that this process reads; it ends with it."""
    return Watched(seconds, partial(syntax.look, nodes=nodes))


class Watched:
    """``look`` in a process of its own.

    Args:
        seconds: CPU time for one file.
        look: What the child does; a module's function, since it is sent by name.
    """

    def __init__(self, seconds: float, look: Look = syntax.look):
        self.seconds = seconds
        self._look = look
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def look(self, source: bytes, grammar: str) -> Outcome:
        """What the child answers; status ``timeout`` or ``crashed`` if it does not.

        A child that has read other files before may fail where a new one would not, for want of memory;
        so a new one has the last word, and the answer depends on the file alone.
        """
        new = self._new
        answer = self._ask([(source, grammar)])
        if isinstance(answer, str) and not new:
            answer = self._ask([(source, grammar)])
        return Outcome(answer) if isinstance(answer, str) else answer[0]

    def look_all(self, files: Iterable[File]) -> Iterator[Outcome]:
        """The same of many, in their order.

        They are sent together: with a message each, `crawl parse` takes a seventh more.
        """
        for batch in _batches(files):
            answer = self._ask(batch)
            yield from (self.look(*file) for file in batch) if isinstance(answer, str) else answer

    def _ask(self, files: list[File]) -> list[Outcome] | str:
        """An outcome for each file; or how the child failed, and then there is a new one."""
        self._new = False
        header = json.dumps([(grammar, len(source)) for source, grammar in files]).encode()
        try:
            self._pipe.send_bytes(b"\n".join((header, *(source for source, _ in files))))
            if self._pipe.poll(self.seconds * WALL):
                return [_outcome(answer) for answer in json.loads(self._pipe.recv_bytes())]
            status = "timeout"
        except (EOFError, OSError):
            self._child.join(self.seconds * WALL)
            status = "timeout" if self._child.exitcode == -signal.SIGPROF else "crashed"
        self._stop()
        self._start()
        return status

    def _start(self) -> None:
        self._new = True
        # Not fork: the parent holds the threads of polars and arrow.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=_serve, args=(theirs, self.seconds, self._look), daemon=True)
        self._child.start()
        theirs.close()

    def _stop(self) -> None:
        self._pipe.close()
        self._child.kill()
        self._child.join()
        self._child.close()


def _batches(files: Iterable[File]) -> Iterator[list[File]]:
    batch: list[File] = []
    size = 0
    for file in files:
        if batch and size + len(file[0]) > BATCH:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += len(file[0])
    if batch:
        yield batch


def _serve(pipe: Connection, seconds: float, look: Look) -> None:
    """The child: answer until the parent hangs up.  Answers are JSON, for the parent unpickles nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(EOFError, OSError):
        while True:
            answers = [_answer(look, *file, seconds) for file in _files(pipe.recv_bytes())]
            pipe.send_bytes(json.dumps(answers).encode())


def _files(message: bytes) -> Iterator[File]:
    header, _, _ = message.partition(b"\n")
    at = len(header)
    for grammar, size in json.loads(header):
        yield message[at + 1 : at + 1 + size], grammar
        at += 1 + size


def _answer(look: Look, source: bytes, grammar: str, seconds: float) -> Outcome | str:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return look(source, grammar)
    except MemoryError:
        os._exit(1)
    except Exception:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _outcome(answer: list[Any] | str) -> Outcome:
    """An exception of the child is a bug of ours, not odd data: it is raised here again."""
    if isinstance(answer, str):
        raise RuntimeError(f"in the parsing process: {answer}")
    status, share, imports, mentions, defines, declares, nodes = answer
    return Outcome(status, share, tuple(imports), tuple(mentions), tuple(defines), declares, tuple(nodes))
