"""The languages that programs are run in: how each is compiled and run, and with which tools of this machine.

    >>> toolchain("bash").version
    'GNU bash, version 5.2.15(1)-release (x86_64-pc-linux-gnu)'

A language is one row of ``RUNTIMES``.  Commands are those of DeepSeek's harness (``human_eval/execution.py``
of its repository) for its eight languages, and of MultiPL-E's evaluators for the further ones; what is added
makes a start cheaper or bounds threads, and changes no result.  A tool that is missing is told
as such: a language is then *not run*, which is never a score of 0.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corpus import Refusal

__all__ = ["RUNTIMES", "Missing", "Runtime", "Toolchain", "runtime", "toolchain"]

SECONDS_FOR_A_VERSION = 30.0


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How programs of one language become processes.  Commands start with a tool's name."""

    source: str
    """Name of the program's file in its working directory."""
    run: tuple[str, ...]
    compile: tuple[str, ...] = ()
    """Run first, if there is any; the options of a call come last."""
    options: tuple[str, ...] = ()
    """Options of the compiler (of ``run`` where nothing is compiled) unless a call gives others."""
    tools: tuple[str, ...]
    """What must be found on the PATH; the first one is asked for its version."""
    version: tuple[str, ...] = ("--version",)
    report: str
    """A statement that writes the text ``{word}`` to descriptor 3: what a test says at its very end."""
    readable: tuple[str, ...] = ()
    """Directories and files beside the tools and /usr/lib that programs may read, where they exist."""
    environment: Mapping[str, str] = field(default_factory=dict)
    package: str
    """What to install where a tool is missing; Debian's name unless it says otherwise."""


@dataclass(frozen=True)
class Toolchain:
    """The tools of one language as found on this machine."""

    paths: Mapping[str, str]
    """Where each tool really lies, links followed."""
    version: str
    """First line that the main tool says of itself."""


class Missing(Exception):
    """A tool of a language is not on this machine; says which, and what to install."""


_JAVA = ("-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
"""A short life: no collector threads, no optimising compiler, no file for monitors."""

RUNTIMES: dict[str, Runtime] = {
    "cpp": Runtime(
        source="test.cpp",
        compile=("g++", "-std=c++17", "test.cpp"),
        run=("./a.out",),
        tools=("g++", "as", "ld"),
        readable=("/usr/include", "/usr/local/include"),
        report='{{ FILE* end = fdopen(3, "w"); fputs("{word}", end); fclose(end); }}',
        package="g++",
    ),
    "java": Runtime(
        source="Problem.java",
        compile=("javac", *(f"-J{flag}" for flag in _JAVA), "-proc:none", "-cp", ".:*", "Problem.java"),
        run=("java", *_JAVA, "-ea", "-cp", ".:*", "Problem"),
        tools=("javac", "java"),
        readable=("/etc/java-*", "/etc/ssl/certs/java"),
        report='try (var end = new java.io.FileOutputStream("/dev/fd/3")) '
        '{{ end.write("{word}".getBytes()); }} catch (java.io.IOException error) {{ }}',
        package="openjdk-17-jdk-headless",
    ),
    "javascript": Runtime(
        source="test.js",
        run=("node", "test.js"),
        tools=("node",),
        report="require('fs').writeSync(3, '{word}');",
        package="nodejs",
    ),
    "typescript": Runtime(
        source="test.ts",
        compile=("node", "{tsc}", "test.ts"),
        options=("--target", "ES2015", "--lib", "ES2015,DOM"),
        run=("node", "test.js"),
        tools=("tsc", "node"),
        report="eval('require')('fs').writeSync(3, '{word}');",
        package="nodejs, then npm install -g typescript@5.4",
    ),
    "php": Runtime(
        source="test.php",
        run=("php", "-f", "test.php"),
        tools=("php",),
        readable=("/etc/php", "/usr/share/php"),
        report="file_put_contents('php://fd/3', '{word}');",
        package="php-cli",
    ),
    "csharp": Runtime(
        source="Program.cs",
        compile=("mcs", "-d:DEBUG", "Program.cs"),
        options=("-r:System.Numerics.dll",),
        run=("mono", "Program.exe"),
        tools=("mcs", "mono", "sh"),
        readable=("/etc/mono",),
        # DeepSeek's: failed assertions go to stderr, which its pass rule reads.
        environment={"MONO_TRACE_LISTENER": "Console.Error"},
        report='System.IO.File.WriteAllText("/dev/fd/3", "{word}");',
        package="mono-mcs",
    ),
    "bash": Runtime(
        source="test.sh",
        run=("bash", "test.sh"),
        tools=("bash", "bc"),  # without bc 4 of 158 programs of one model changed their verdict
        readable=("/usr/bin", "/bin", "/etc/alternatives", "/usr/share/awk"),
        report="printf %s '{word}' >&3",
        package="bash and bc",
    ),
}
"""The languages by name: the paper's first, then MultiPL-E's further ones."""


def runtime(language: str) -> Runtime:
    """The runtime of a language, or a refusal that lists the names."""
    if language not in RUNTIMES:
        raise Refusal(f"{language} is no language that can be run: give python, {', '.join(RUNTIMES)}.")
    return RUNTIMES[language]


@functools.cache
def toolchain(language: str) -> Toolchain:
    """The tools of a language on this machine.

    Raises:
        Missing: one of them is not there.
    """
    need = runtime(language)
    paths = {}
    for tool in need.tools:
        found = shutil.which(tool)
        if found is None:
            raise Missing(f"{tool} is not installed: {need.package}")
        paths[tool] = os.path.realpath(found)
    return Toolchain(paths, _version(shutil.which(need.tools[0]) or "", need.version))


def _version(tool: str, ask: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            [tool, *ask], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS_FOR_A_VERSION
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{tool} does not say its version: {error}") from None
    lines = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in lines if line.strip()), "")


def commands(language: str, options: Sequence[str] | None = None) -> list[list[str]]:
    """The commands of a program, in order, as paths that exist in a sandbox (see ``readable``)."""
    need, found = runtime(language), toolchain(language).paths
    options = need.options if options is None else tuple(options)
    wanted = [need.compile + options, need.run] if need.compile else [need.run + options]
    return [[_located(word, found) for word in command] for command in wanted]


def environment(language: str) -> dict[str, str]:
    """The whole environment of the commands, but for HOME and TMPDIR, which are the working directory."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"} | dict(runtime(language).environment)


def _located(word: str, found: Mapping[str, str]) -> str:
    if word.startswith("{"):
        return found[word[1:-1]]
    return found.get(word, word)


def readable(language: str) -> dict[str, str]:
    """What of this machine a program of the language may read, by its path in the sandbox.

    A tool in a bin directory that others share is shown alone, under its own path and in /usr/bin; one in
    an installation of its own (``/opt/node-20/bin/node``) brings that installation.
    """
    shown: dict[str, str] = {}
    for name, path in toolchain(language).paths.items():
        shown[f"/usr/bin/{name}"] = path
        shown |= {place: place for place in [_installation(Path(path))]}
    for pattern in (*runtime(language).readable, _TIME_ZONES):
        shown |= {str(place): str(place) for place in Path("/").glob(pattern[1:])}
    return shown


def _installation(tool: Path) -> str:
    prefix = tool.parent.parent
    own = tool.parent.name == "bin" and prefix not in _SHARED and prefix != Path.home()
    return str(prefix if own else tool)


_TIME_ZONES = "/usr/share/zoneinfo"
_SHARED = {Path("/"), Path("/usr"), Path("/usr/local"), Path.home() / ".local"}
