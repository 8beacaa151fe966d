"""Run a program that nobody vouches for, and say what became of it.

    >>> with Sandbox() as sandbox:
    ...     sandbox.run("print(1 / 0)").verdict
    'failed'

A sandbox is one warm slot (``evals.slot``): a fresh interpreter behind namespaces, which forks a confined
child for each program.  What it holds and what it does not is in ``docs/evals.md``.

* ``run(program)`` executes the text as it is; it passed if it ran to its end.
* ``run(program, test=Test(...))`` keeps the test in a process of its own and lets it call the program's
  functions over a border that only plain data cross, so a program cannot touch what decides about it.

Where the machine allows no walls, a sandbox refuses to start.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import select
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from corpus import Refusal
from evals.slot.job import Limits

__all__ = ["Limits", "Sandbox", "Test", "Unavailable", "Verdict", "probe", "require"]

VERDICTS = ("passed", "failed", "timeout", "memory", "output_limit", "crashed", "error")

SECONDS_TO_START = 60.0
GRACE_SECONDS = 15.0
"""Beyond the wall limit, before a slot that does not answer is killed."""

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_PACKAGES = "/packages"
_START = "import sys; sys.path.insert(0, {!r}); from evals.slot.main import main; main()"


@dataclass(frozen=True)
class Test:
    """A test that runs apart from the program it tests."""

    __test__ = False  # not a test of ours, whatever pytest thinks of the name

    text: str
    """What is executed; raising nothing is a pass."""
    calls: Sequence[str]
    """Names of the program's functions that the text calls."""
    given: str = ""
    """Executed first on the test's side: imports, helpers that belong to the problem."""


@dataclass(frozen=True)
class Verdict:
    """What became of a program."""

    verdict: str
    """One of ``VERDICTS``; ``unfit`` if its test cannot be run apart from it."""
    detail: str | None
    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int
    """Peak of all its processes together."""
    output: str = ""
    """The first 4 KiB that it printed."""


class Unavailable(Exception):
    """This machine allows no sandbox; says which call was refused."""


class Sandbox:
    """One slot.  It starts with the first program, and again after a crash.

    Args:
        limits: What each program may use.
        walls: False runs programs with limits but without walls: never for programs you do not trust.
    """

    def __init__(self, limits: Limits | None = None, *, walls: bool = True) -> None:
        self.limits = limits or Limits()
        self.walls = walls
        self._slot: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, program: str, *, test: Test | None = None) -> Verdict:
        """What becomes of ``program``, by itself or under a test.

        Raises:
            Unavailable: no slot can be started on this machine.
        """
        texts = [program]
        if test is not None:
            texts.append(json.dumps({"given": test.given, "calls": list(test.calls), "test": test.text}))
        for _ in range(2):  # a slot may have died or been spoiled by an earlier program; twice is a finding
            reply = self._ask(texts)
            if reply.get("verdict", "error") != "error":
                break
            self.close()
        if "verdict" in reply:
            said = {name: reply[name] and _storable(reply[name]) for name in ("detail", "output")}
            return Verdict(**reply | said)
        return Verdict("error", f"the slot died: {reply.get('broken', 'no answer')}"[-500:], 0.0, 0.0, 0)

    def start(self) -> dict[str, Any]:
        """Start the slot if it does not run; what it says of itself."""
        if self._slot is not None:
            return {}
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", "-c"]
        self._slot = subprocess.Popen(
            [*command, _START.format(str(Path(__file__).parent.parent))],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the harness, which then closes the slot
        )
        theirs.close()
        self._control = ours
        with contextlib.suppress(ConnectionError):
            ours.sendall(json.dumps({"walls": self.walls, **_view(walls=self.walls)}).encode() + b"\n")
        reply = self._receive(SECONDS_TO_START)
        if "ready" not in reply:
            self.close()
            raise Unavailable(str(reply.get("refused") or reply.get("broken") or "the slot did not start"))
        return dict(reply["ready"])

    def close(self) -> None:
        """End the slot and all that runs in it."""
        if self._control is not None:
            self._control.close()
        if self._slot is not None:
            # Closing the control socket ends process 1, and the keeper with it; a hung one is killed.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._slot.wait(2.0)
            self._slot.kill()
            self._slot.wait()
        self._control = self._slot = None

    def _ask(self, texts: list[str]) -> dict[str, Any]:
        self.start()
        assert self._control is not None
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(_file_of(text)) for text in texts]
            request = json.dumps({"limits": asdict(self.limits)}).encode()
            try:
                socket.send_fds(self._control, [request], [file.fileno() for file in files])
            except OSError:
                return {}
        return self._receive(self.limits.wall_seconds + GRACE_SECONDS)

    def _receive(self, seconds: float) -> dict[str, Any]:
        """One line of JSON from the slot; empty if it died or did not answer in time."""
        assert self._control is not None
        deadline, data = time.monotonic() + seconds, b""
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


def probe() -> str | None:
    """Why this machine allows no sandbox; None if it does."""
    if sys.platform != "linux":
        return f"walls are built from Linux namespaces, and this is {sys.platform}"
    with Sandbox() as sandbox:
        try:
            sandbox.start()
        except Unavailable as reason:
            return str(reason)
    return None


def require(*, unsafe: bool) -> None:
    """Refuse in one line if there can be no sandbox, unless the user insists."""
    reason = None if unsafe else probe()
    if reason is not None:
        raise Refusal(
            f"no sandbox on this machine ({reason}): `evals doctor` says more; "
            "--unsafe-no-sandbox runs the programs all the same, and marks the result."
        )


def _storable(text: str) -> str:
    """Text without lone surrogates, which no file and no table can hold."""
    return text.encode("utf-8", "replace").decode()


def _file_of(text: str) -> IO[bytes]:
    """An open file without a name, which the child that needs it reads and closes."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    file.write(text.encode("utf-8", "surrogatepass"))
    file.seek(0)
    return file


def _view(*, walls: bool) -> dict[str, Any]:
    """What programs may read: host paths by their path inside, what is hidden of them, the import path.

    To be seen: the interpreter, its libraries, numpy.  Not to be seen: other installed packages, one of
    which holds the tests and the answers of HumanEval.
    """
    paths = [sysconfig.get_path("stdlib"), f"{sys.base_prefix}/lib", *_LIBRARIES]
    path = [sysconfig.get_path("stdlib"), str(sysconfig.get_config_var("DESTSHARED"))]
    readable: dict[str, str] = {}
    for found in sorted({found for found in paths if Path(found).is_dir()}):
        if not any(found.startswith(f"{above}/") for above in readable):
            readable[found] = found
    patterns = ("*-packages", "python*/*-packages")
    hidden = {str(found) for above in readable for one in patterns for found in Path(above).glob(one)}
    numpy = importlib.util.find_spec("numpy")
    if numpy is not None and numpy.origin is not None:
        package = Path(numpy.origin).parent
        folders = [one for one in (package, package.with_name("numpy.libs")) if one.is_dir()]
        # Under a name of their own: the environment may lie below /tmp, where programs write.
        readable |= {f"{_PACKAGES}/{one.name}": str(one) for one in folders}
        path.append(_PACKAGES if walls else str(package.parent))
    return {"readable": readable, "hidden": sorted(hidden), "path": path}
