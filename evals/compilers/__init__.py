"""Compilers that stay warm: one process in a slot of its own compiles one program after another.

A start of tsc or javac costs more than a hundred programs once it runs.  The server sees programs as text
and gives back files as bytes; what it compiles never runs there.  It only makes things faster: whenever it
dies, takes too long or answers nonsense, the language's ordinary commands decide.

Frames, all numbers four bytes, big-endian.  A request is the program's length and its bytes.  An answer is
the exit status, microseconds of processor time, the message (length, bytes), the number of files, and for
each its name and its data (length, bytes).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from evals import runtimes
from evals.slot.job import Limits
from evals.slots import Slot
from evals.view import view

MOST_BYTES = 16 << 20
"""A longer message or file is nonsense."""

MOST_FILES = 12
"""Files of one program; a program with more classes goes to the ordinary compiler."""

MOST_PROGRAMS = 500
"""Then a new server starts, so that nothing can pile up in it."""

SECONDS = 30.0
"""Wall time after which the ordinary compiler, with its own limits, takes over."""

LIFE = Limits(cpu_seconds=86_400.0, memory_bytes=2 << 30, open_files=1024)


@dataclass(frozen=True)
class Compiled:
    """What a compiler made of one program."""

    status: int
    """As the command's exit status."""
    message: str
    files: dict[str, bytes]
    cpu_seconds: float
    wall_seconds: float


class Broken(Exception):
    """The server gave no answer that can be used."""


Start = Callable[[dict[str, Any]], Slot]
Key = tuple[str, tuple[str, ...] | None, tuple[tuple[str, Path], ...]]


class Compilers:
    """The warm compilers of one sandbox; each starts with the second program that it is good for.

    Args:
        start: Starts a slot with what its programs may read.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._servers: dict[Key, Server | None] = {}

    def compile(
        self, program: str, language: str, options: Sequence[str] | None, beside: Mapping[str, Path]
    ) -> Compiled | None:
        """What a warm compiler makes of a program; None where the ordinary commands must do it."""
        if not runtimes.runtime(language).server:
            return None
        key = language, None if options is None else tuple(options), tuple(sorted(beside.items()))
        if key not in self._servers:
            self._servers[key] = None
            return None
        server = self._servers[key] or Server(*key, self._start)
        self._servers[key] = server if server.programs < MOST_PROGRAMS else None
        try:
            return server.compile(program, SECONDS)
        except Broken:
            self._servers[key] = None
            return None
        finally:
            if self._servers[key] is None:
                server.close()

    def close(self) -> None:
        """End them."""
        for server in self._servers.values():
            if server is not None:
                server.close()
        self._servers.clear()


class Server:
    """A warm compiler in its own slot.

    Args:
        options: The compiler's, in place of the language's own.
        beside: Files that programs may refer to, by the name they have in the working directory.
    """

    def __init__(
        self,
        language: str,
        options: tuple[str, ...] | None,
        beside: tuple[tuple[str, Path], ...],
        start: Start,
    ) -> None:
        self._slot = start(view(tools=runtimes.readable(language)))
        self._channel, theirs = socket.socketpair()
        self.programs = 0
        source = Path(__file__).with_name(runtimes.runtime(language).server)
        files: dict[str, Path] = {source.name: source, **dict(beside)}
        request = {
            "commands": [[runtimes.server(language, options), asdict(LIFE)]],
            "names": list(files),
            "environment": runtimes.environment(language),
            "channel": True,
        }
        with contextlib.ExitStack() as stack:
            opened: list[IO[bytes]] = [stack.enter_context(path.open("rb")) for path in files.values()]
            self._slot.send(request, [*(file.fileno() for file in opened), theirs.fileno()])
        theirs.close()

    def compile(self, program: str, seconds: float) -> Compiled:
        """The program's files, or why there are none.

        Raises:
            Broken: no answer in time, or none that could be read.
        """
        self.programs += 1
        started = time.monotonic()
        self._deadline = started + seconds
        text = program.encode("utf-8", "replace")
        try:
            self._channel.settimeout(seconds)
            self._channel.sendall(struct.pack(">I", len(text)) + text)
            status, microseconds = self._number(), self._number()
            message = self._bytes().decode("utf-8", "replace")
            count = self._number()
            if count > MOST_FILES:
                raise Broken(f"{count} files")
            files = {self._bytes().decode("ascii"): self._bytes() for _ in range(count)}
        except (OSError, ValueError) as error:
            raise Broken(str(error)) from None
        if any("/" in name or name.startswith(".") for name in files):
            raise Broken("a file that does not lie beside the program")
        return Compiled(status, message, files, microseconds / 1e6, time.monotonic() - started)

    def close(self) -> None:
        """End it and its slot."""
        self._channel.close()
        self._slot.close()

    def _number(self) -> int:
        (value,) = struct.unpack(">I", self._exactly(4))
        return int(value)

    def _bytes(self) -> bytes:
        length = self._number()
        if length > MOST_BYTES:
            raise Broken(f"{length:,} bytes")
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            self._channel.settimeout(max(self._deadline - time.monotonic(), 0.001))
            piece = self._channel.recv(min(length - len(data), 1 << 20))
            if not piece:
                raise Broken("it has ended")
            data += piece
        return bytes(data)
