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
    server: str = ""
    """File in ``evals/compilers`` of a compiler that stays warm, if there is one."""
    serve: tuple[str, ...] = ()
    """The command of that, to which the compiler's options are added."""
    tools: tuple[str, ...]
    """What must be found on the PATH; the first one is asked for its version."""
    version: tuple[str, ...] = ("--version",)
    library: tuple[str, ...] = ()
    """A command that fails where a library is missing that the benchmarks' tests load."""
    home: tuple[str, ...] = ()
    """A command that prints the tools' own installation, where the PATH only leads to a launcher."""
    report: str
    """A statement that writes the text ``{word}`` to descriptor 3: what a test says at its very end."""
    readable: tuple[str, ...] = ()
    """Directories and files beside the tools and /usr/lib that programs may read, where they exist."""
    environment: Mapping[str, str] = field(default_factory=dict)
    open_files: int = 128
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

_SHELL = ("/usr/bin", "/bin", "/etc/alternatives")
"""What a shell script may call: all of the system's programs, none of which gains a privilege."""

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
        server="WarmJavac.java",
        serve=("java", *_JAVA, "WarmJavac.java", "-proc:none", "-cp", ".:*"),
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
        server="warm_tsc.js",
        serve=("node", "warm_tsc.js", "{tsc}"),
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
        readable=(*_SHELL, "/usr/share/awk"),
        report="printf %s '{word}' >&3",
        package="bash and bc",
    ),
    "go": Runtime(
        # DeepSeek and MultiPL-E call `go test`, which does the same two things but keeps descriptor 3.
        source="main_test.go",
        compile=("go", "test", "-c", "-o", "main.test", "main_test.go"),
        run=("./main.test",),
        tools=("go",),
        version=("version",),
        readable=("/usr/share/go-*",),
        environment={"GOMAXPROCS": "2", "GOTOOLCHAIN": "local", "GOFLAGS": "-p=2"},
        report='{{ end := os.NewFile(3, "end"); end.WriteString("{word}"); end.Close() }}',
        package="golang-go",
    ),
    "rust": Runtime(
        source="test.rs",
        compile=("rustc", "-o", "test", "test.rs"),
        run=("./test",),
        tools=("rustc", "cc", "as", "ld"),
        home=("rustc", "--print", "sysroot"),
        report='{{ use std::io::Write; let _ = std::fs::File::create("/dev/fd/3")'
        '.and_then(|mut end| end.write_all(b"{word}")); }}',
        package="rustc",
    ),
    "ruby": Runtime(
        source="test.rb",
        run=("ruby", "test.rb"),
        tools=("ruby",),
        library=("ruby", "-e", "require 'test/unit/assertions'"),
        readable=("/usr/share/rubygems-integration", "/usr/share/ruby"),
        report="IO.new(3).syswrite('{word}')",
        package="ruby and ruby-test-unit",
    ),
    "perl": Runtime(
        source="test.pl",
        run=("perl", "test.pl"),
        tools=("perl",),
        library=("perl", "-MTest::Deep", "-e", "1"),
        readable=("/usr/share/perl", "/usr/share/perl5"),
        report='open(my $end, ">&=", 3); print $end "{word}"; close($end);',
        package="perl and libtest-deep-perl",
    ),
    "lua": Runtime(
        source="test.lua",
        run=("lua", "test.lua"),
        tools=("lua",),
        version=("-v",),
        library=("lua", "-e", "require('luaunit')"),
        readable=("/usr/share/lua",),
        report='do local to = io.open("/dev/fd/3", "w"); to:write("{word}"); to:close() end',
        package="lua5.4 and lua-unit",
    ),
    "r": Runtime(
        source="test.r",
        run=("Rscript", "test.r"),
        tools=("Rscript",),
        open_files=1024,  # it refuses to start with the usual 128
        readable=(*_SHELL, "/etc/R", "/usr/share/R"),
        report='local({{ end <- file("/dev/fd/3", "wb", raw = TRUE); '
        'writeChar("{word}", end, eos = NULL); close(end) }})',
        package="r-base-core",
    ),
    "d": Runtime(
        source="test.d",
        compile=("gdc", "-funittest", "-fmain", "-o", "test", "test.d"),
        run=("./test",),
        tools=("gdc", "as", "ld"),
        report='{{ import std.stdio; auto end = File("/dev/fd/3", "w"); end.write("{word}"); }}',
        package="gdc",
    ),
    "ocaml": Runtime(
        source="test.ml",
        run=("ocaml", "test.ml"),
        tools=("ocaml", "ocamlrun"),
        version=("-version",),
        report='let () = let to_ = open_out "/dev/fd/3" in output_string to_ "{word}"; close_out to_',
        package="ocaml-nox",
    ),
    "racket": Runtime(
        source="test.rkt",
        run=("racket", "test.rkt"),
        tools=("racket",),
        readable=("/usr/share/racket", "/etc/racket"),
        report='(with-output-to-file "/dev/fd/3" #:exists (quote append) (lambda () (display "{word}")))',
        package="racket",
    ),
    "scala": Runtime(
        source="Problem.scala",
        compile=("scalac", "Problem.scala"),
        run=("scala", "-cp", ".", "Problem"),
        tools=("scalac", "scala", "java"),
        version=("-version",),
        environment={"JAVA_OPTS": " ".join(_JAVA)},
        readable=(*_SHELL, "/etc/java-*", "/usr/share/scala*", "/usr/share/java"),
        report='{{ val end = new java.io.FileOutputStream("/dev/fd/3"); '
        'end.write("{word}".getBytes); end.close() }}',
        package="scala",
    ),
    "haskell": Runtime(
        source="test.hs",
        compile=("ghc", "-O0", "-o", "test", "test.hs"),
        run=("./test",),
        tools=("ghc", "cc", "as", "ld", "sh"),
        readable=("/usr/include",),
        report='writeFile "/dev/fd/3" "{word}"',
        package="ghc",
    ),
    "julia": Runtime(
        source="test.jl",
        run=("julia", "--startup-file=no", "test.jl"),
        tools=("julia",),
        report='write("/dev/fd/3", "{word}")',
        package="julia, from julialang.org (Debian has none)",
    ),
    "swift": Runtime(
        source="test.swift",
        compile=("swiftc", "-o", "test", "test.swift"),
        run=("./test",),
        tools=("swiftc", "cc", "ld"),
        readable=("/usr/include",),
        report='FileHandle(fileDescriptor: 3).write("{word}".data(using: .utf8)!)  // needs Foundation',
        package="swift, from swift.org (Debian has none)",
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
        Missing: one of them is not there, or a library that tests need.
    """
    need = runtime(language)
    paths = {}
    for tool in need.tools:
        found = shutil.which(tool)
        if found is None:
            raise Missing(f"{tool} is not installed: {need.package}")
        paths[tool] = os.path.realpath(found)
    if need.library and (why := _complaint(*need.library)):
        raise Missing(f"{' '.join(need.library)} fails ({why}): install {need.package}")
    main = need.tools[0]
    if need.home:
        paths[main] = os.path.realpath(Path(_answer(*need.home)) / "bin" / main)
    return Toolchain(paths, _answer(main, *need.version))


def _answer(*command: str) -> str:
    """The first line that a tool of this machine prints."""
    return _called(*command)[1]


def _complaint(*command: str) -> str:
    """The first line of a tool that fails, nothing of one that does not."""
    status, line = _called(*command)
    return (line or f"status {status}") if status else ""


def _called(*command: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS_FOR_A_VERSION
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{' '.join(command)} gives no answer: {error}") from None
    lines = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    return done.returncode, next((line.strip() for line in lines if line.strip()), "")


def commands(language: str, options: Sequence[str] | None = None) -> list[list[str]]:
    """The commands of a program, in order, as paths that exist in a sandbox (see ``readable``)."""
    need, found = runtime(language), toolchain(language).paths
    options = need.options if options is None else tuple(options)
    wanted = [need.compile + options, need.run] if need.compile else [need.run + options]
    return [[_located(word, found) for word in command] for command in wanted]


def server(language: str, options: Sequence[str] | None = None) -> list[str]:
    """The command of a language's warm compiler."""
    need, found = runtime(language), toolchain(language).paths
    wanted = need.serve + (need.options if options is None else tuple(options))
    return [_located(word, found) for word in wanted]


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
