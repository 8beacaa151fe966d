"""The slot's end of the line to the harness: one request at a time, one line of JSON as its answer.

Over a Unix socket the texts of a request come as open files beside it, which the slot need not read.  Where
the line is a pair of pipes (the harness speaks through docker) they follow it as bytes.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from typing import Any

MOST_FILES = 16
"""Open files that may come with a request."""


class Control:
    """The line that this process finds as its standard input, and where that is a pipe, its output."""

    def __init__(self) -> None:
        given = os.dup(0)
        is_socket = stat.S_ISSOCK(os.fstat(given).st_mode)
        self._socket = socket.socket(fileno=given) if is_socket else None
        self._lines = os.fdopen(os.dup(given) if is_socket else given, "rb")
        self._out = -1 if is_socket else os.dup(1)

    def fileno(self) -> int:
        """A descriptor that hangs up when the harness goes away."""
        return (self._socket or self._lines).fileno()

    def first(self) -> dict[str, Any]:
        """What the harness asks of this slot, which comes before any request and without files."""
        asked: dict[str, Any] = json.loads(self._lines.readline())
        return asked

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next request and its files; None when the harness has gone."""
        if self._socket is not None:
            message, files, _, _ = socket.recv_fds(self._socket, 1 << 16, MOST_FILES)
            return (json.loads(message), files) if message else None
        line = self._lines.readline()
        if not line:
            return None
        request = json.loads(line)
        return request, [_file(self._lines.read(size)) for size in request.pop("sizes")]

    def answer(self, reply: dict[str, Any]) -> None:
        """Say what became of it."""
        line = json.dumps(reply).encode() + b"\n"
        if self._socket is not None:
            self._socket.sendall(line)
        while self._socket is None and line:
            line = line[os.write(self._out, line) :]


def _file(content: bytes) -> int:
    """A file in memory, without a name."""
    file = os.memfd_create("text")
    with os.fdopen(os.dup(file), "wb") as to:
        to.write(content)
    os.lseek(file, 0, os.SEEK_SET)
    return file
