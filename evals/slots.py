"""The harness's end of a slot: start one, hand it a job, hear what became of it, end it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from corpus import Refusal
from evals.groups import Group
from evals.slot import directory
from evals.tiers import Tier
from evals.view import PACKAGES_INSIDE as PACKAGES

__all__ = ["Slot", "Unavailable"]

SECONDS_TO_START = 60.0
SECONDS_TO_END = 5.0


class Unavailable(Refusal):
    """This machine allows no sandbox; says which call was refused."""


class Slot:
    """One slot (``evals.slot``): a fresh interpreter that runs one job after another.

    Args:
        view: What its programs may read (``evals.view``).
        tier: The walls around it.

    Raises:
        Unavailable: it cannot be started on this machine; says which call was refused.
    """

    def __init__(self, view: dict[str, Any], tier: Tier) -> None:
        reason = tier.missing()
        if reason is not None:
            raise Unavailable(reason)
        self._control, theirs = socket.socketpair()
        self._folder = _folder(view) if tier.folder else None
        self._stream = tier.stream
        self.group = Group(made=not tier.stream)
        files = self.group.files
        self.process = subprocess.Popen(
            tier.command(view, self._folder or ""),
            stdin=theirs.fileno(),
            stdout=theirs.fileno() if tier.stream else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ if tier.stream else {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
            cwd="/",
            pass_fds=[file for use in files.values() for file in use],
            start_new_session=True,  # Ctrl-C is for the harness, which then closes the slot
        )
        theirs.close()
        asked = {"walls": tier.walls, "folder": self._folder, "group": files, **view}
        if self._folder:
            asked["path"] = [path.replace(PACKAGES, f"{self._folder}/packages") for path in view["path"]]
        with contextlib.suppress(ConnectionError):
            self._control.sendall(json.dumps(asked).encode() + b"\n")
        self.group.hand_over()
        reply = self._receive(SECONDS_TO_START)
        if "ready" not in reply:
            self.close()
            said = self._said.splitlines()[-1][:300] if self._said else "the slot did not start"
            raise Unavailable(str(reply.get("refused") or reply.get("broken") or said))
        if not reply["grouped"]:  # it was made, but the slot could not join
            self.group.controllers.clear()

    def ask(self, request: dict[str, Any], files: Sequence[IO[bytes]], seconds: float) -> dict[str, Any]:
        """The reply to one job; empty if the slot died or did not answer in time."""
        try:
            self.send(request, [file.fileno() for file in files])
        except OSError:
            return {}
        return self._receive(seconds)

    def send(self, request: dict[str, Any], files: Sequence[int]) -> None:
        """Hand over a job without waiting for its end."""
        if not self._stream:
            socket.send_fds(self._control, [json.dumps(request).encode()], files)
            return
        texts = [os.pread(file, os.fstat(file).st_size, 0) for file in files]
        line = json.dumps(request | {"sizes": list(map(len, texts))}).encode() + b"\n"
        self._control.sendall(b"".join([line, *texts]))

    def close(self) -> None:
        """End the slot and all that runs in it."""
        self._control.close()
        # Closing the control socket ends process 1, and the keeper with it; a hung one is killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_END)
        self.process.kill()
        assert self.process.stderr is not None
        with self.process.stderr as said:
            self._said = said.read().decode("utf-8", "replace").strip()
        self.process.wait()
        self.group.remove()
        if self._folder is not None:
            with contextlib.suppress(OSError):  # a keeper was there before
                directory.clear(self._folder)
                Path(self._folder).rmdir()

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


def _folder(view: Mapping[str, Any]) -> str:
    """A folder of the host for a slot's jobs, with links to the packages that they may import."""
    folder = Path(tempfile.mkdtemp(prefix="fathom-"))
    folder.chmod(0o755)
    for name in ("work", "packages"):
        (folder / name).mkdir()
    for inside, path in view["readable"].items():
        if inside.startswith(f"{PACKAGES}/"):
            (folder / inside.lstrip("/")).symlink_to(path)
    return str(folder)
