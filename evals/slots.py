"""The harness's end of a slot: start one, hand it a job, hear what became of it, end it."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["Slot", "Unavailable"]

SECONDS_TO_START = 60.0

_START = "import sys; sys.path.insert(0, {!r}); from evals.slot.main import main; main()"


class Unavailable(Exception):
    """This machine allows no sandbox; says which call was refused."""


class Slot:
    """One slot (``evals.slot``): a fresh interpreter that runs one job after another.

    Args:
        view: What its programs may read (``evals.view``).
        walls: Whether it builds walls around itself before it runs anything.

    Raises:
        Unavailable: it cannot be started on this machine.
    """

    def __init__(self, view: dict[str, Any], *, walls: bool) -> None:
        self._control, theirs = socket.socketpair()
        command = [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", "-c"]
        self.process = subprocess.Popen(
            [*command, _START.format(str(Path(__file__).parent.parent))],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the harness, which then closes the slot
        )
        theirs.close()
        with contextlib.suppress(ConnectionError):
            self._control.sendall(json.dumps({"walls": walls, **view}).encode() + b"\n")
        reply = self._receive(SECONDS_TO_START)
        if "ready" not in reply:
            self.close()
            raise Unavailable(str(reply.get("refused") or reply.get("broken") or "the slot did not start"))

    def ask(self, request: dict[str, Any], files: Sequence[IO[bytes]], seconds: float) -> dict[str, Any]:
        """The reply to one job; empty if the slot died or did not answer in time."""
        try:
            self.send(request, [file.fileno() for file in files])
        except OSError:
            return {}
        return self._receive(seconds)

    def send(self, request: dict[str, Any], files: Sequence[int]) -> None:
        """Hand over a job without waiting for its end."""
        socket.send_fds(self._control, [json.dumps(request).encode()], files)

    def close(self) -> None:
        """End the slot and all that runs in it."""
        self._control.close()
        # Closing the control socket ends process 1, and the keeper with it; a hung one is killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0)
        self.process.kill()
        self.process.wait()

    def _receive(self, seconds: float) -> dict[str, Any]:
        """One line of JSON from the slot; empty if it died or did not answer in time."""
        deadline, data = time.monotonic() + seconds, bytearray()
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([self._control], [], [], max(deadline - time.monotonic(), 0))
            piece = b""
            with contextlib.suppress(ConnectionError):
                piece = self._control.recv(1 << 16) if ready else b""
            if not piece:
                return {}
            data += piece
        reply: dict[str, Any] = json.loads(data)
        return reply
