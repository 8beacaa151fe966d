"""What a sandbox answers, and that it leaves nothing behind."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from evals import slots
from evals.sandbox import Limits, Sandbox, Test, Unavailable
from evals.slot import seccomp


@pytest.fixture(scope="module")
def box():
    with Sandbox(Limits(cpu_seconds=1.0, memory_bytes=256 << 20)) as opened:
        yield opened


def world():
    """Processes below this one, its descriptors, its mounts."""
    return (
        sorted(path.name for path in Path("/proc/self/fd").iterdir()),
        Path("/proc/self/mountinfo").read_text(),
        children(os.getpid()),
    )


def state(pid):
    """How many descriptors a process holds, and its mounts."""
    mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), len(mounts)


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_failure_names_the_exception_and_its_line(box):
    verdict = box.run("x = 1\nassert x == 2, 'no'")
    assert (verdict.verdict, verdict.detail) == (
        "failed",
        "AssertionError: no (line 2: assert x == 2, 'no')",
    )


def test_output_is_kept_up_to_a_bound(box):
    verdict = box.run("print('é' * 100_000)")
    assert verdict.verdict == "passed" and verdict.output.startswith("éé") and len(verdict.output) <= 4096


@pytest.mark.parametrize(("over", "verdict"), [(-64, "passed"), (1, "output_limit")])
def test_output_beyond_the_limit_is_no_pass_however_soon_the_program_ends(box, over, verdict):
    limits = Limits(output_bytes=1 << 20)  # of which the mark of a pass takes 32
    written = (
        f"import os\nleft = {(1 << 20) + over}\nwhile left:\n    left -= os.write(1, b'x' * min(left, 4096))"
    )
    assert box.run(written, limits=limits).verdict == verdict


def test_time_and_memory_are_measured(box):
    verdict = box.run("import time\nheld = bytearray(b'x') * (100 << 20)\ntime.sleep(0.3)")
    assert verdict.verdict == "passed"
    assert verdict.memory_bytes > 100 << 20 and 0 < verdict.cpu_seconds < verdict.wall_seconds + 0.1


def test_wall_time_stops_a_program_that_waits_and_not_one_that_lacks_a_processor(box):
    limits = Limits(cpu_seconds=0.8)
    some = "while t() < end: pass\n    time.sleep(0.12)\n"
    program = f"import time\nt = time.process_time\nwhile t() < 0.3:\n    end = t() + 0.01\n    {some}"
    works, waits = box.run(program, limits=limits), box.run("import time\ntime.sleep(60)", limits=limits)
    assert works.verdict == "passed" and works.wall_seconds > limits.wall_seconds
    assert waits.verdict == "timeout" and waits.wall_seconds < limits.longest_seconds


def test_program_runs_as_in_human_eval_not_as_main(box):
    assert box.run("assert __name__ == 'builtins'\nimport random\nrandom.random()").verdict == "passed"
    assert box.run("input()").detail.startswith("EOFError")


def test_random_numbers_and_hashes_are_the_same_each_time(box):
    draw = "import random\nprint(random.random(), hash('fathom'), list({'a', 'b', 'c'}))"
    with Sandbox() as other:
        assert box.run(draw).output == box.run(draw).output == other.run(draw).output


@pytest.mark.parametrize(
    "text", ["", "# coding: latin-1\nx = 'é'", "x = '\ud800'", "\0", "(" * 10_000, "x = 1\r\ny = 2\r\n"]
)
def test_odd_texts_get_a_verdict(box, text):
    assert box.run(text).verdict in ("passed", "failed")


def test_test_apart_sees_results_and_exceptions(box):
    program = "def half(n):\n    if n % 2:\n        raise ValueError('odd')\n    return n // 2"
    test = (
        "assert half(4) == 2\ntry:\n    half(3)\nexcept ValueError as error:\n    assert 'odd' in str(error)"
    )
    assert box.run(program, test=Test(test, ["half"])).verdict == "passed"


def test_crash_apart_from_the_test_is_a_crash(box):
    program = "import ctypes\ndef f(): ctypes.string_at(0)"
    assert box.run(program, test=Test("f()", ["f"])).verdict == "crashed"
    assert box.run("def f():\n    while True: pass", test=Test("f()", ["f"])).verdict == "timeout"


def test_slot_that_is_killed_is_started_again():
    with Sandbox() as box:
        assert box.run("x = 1").verdict == "passed"
        box._slots["python"].process.kill()
        assert box.run("x = 1").verdict == "passed"


def test_hundreds_of_jobs_leave_nothing_behind():
    before = world()
    programs = [
        "x = 1",
        "1 / 0",
        "import os\nos._exit(1)",
        "import os\nos.fork()",
        "open('f', 'w').write('x')",
    ]
    with Sandbox(Limits(cpu_seconds=1.0)) as box:
        box.run("x = 1")
        (first,) = children(box._slots["python"].process.pid)
        inside = state(first)
        for n in range(300):
            box.run(programs[n % len(programs)])
        for _ in range(20):
            box.run("def f(): return 1", test=Test("assert f() == 1", ["f"]))
        assert box.run("import os\nassert os.listdir() == []").verdict == "passed"
        assert children(first) == []
        assert state(first) == inside
    assert world() == before


def test_slot_ends_when_the_harness_is_killed(tmp_path):
    code = (
        "import os, time\nfrom evals.sandbox import Sandbox\nbox = Sandbox()\nbox.start()\n"
        "print(box._slots['python'].process.pid, flush=True)\nbox.run('while True: pass')"
    )
    harness = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    keeper = int(harness.stdout.readline())
    (first,) = children(keeper)
    harness.kill()
    harness.communicate()
    last = os.pidfd_open(int(first)) if Path(f"/proc/{first}").exists() else None
    if last is not None:
        import select

        assert select.select([last], [], [], 30)[0], "process 1 of the slot outlived the harness"
        os.close(last)


def test_without_walls_the_limits_still_hold():
    with Sandbox(Limits(cpu_seconds=1.0), walls=False) as box:
        assert box.run("x = 1").verdict == "passed"
        assert box.run("import os\nos._exit(0)").verdict == "failed"
        assert box.run("while True: pass").verdict == "timeout"


def test_refused_namespace_is_named_and_nothing_runs(tmp_path):
    """A user who may make no namespace, as in many containers: here because of a filter of our own."""
    code = (
        "from evals.slot import kernel, seccomp\nkernel.no_new_privileges()\n"
        "kernel.install_filter(seccomp.build())\n"
        "from evals import sandbox\nprint(sandbox.probe())\nsandbox.require(unsafe=True)\n"
        "try:\n    sandbox.require(unsafe=False)\nexcept sandbox.Refusal as refusal:\n    print(refusal)\n"
    )
    # The filter refuses new sockets, but a pair, all that the harness needs, stays allowed.
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.splitlines()
    assert "unshare: Operation not permitted" in said[0]
    assert said[1].startswith("no sandbox on this machine") and "--unsafe-no-sandbox" in said[1]


def test_filters_exist_for_both_machines_and_differ():
    assert seccomp.build("x86_64") != seccomp.build("aarch64")
    with pytest.raises(KeyError, match="riscv64"):
        seccomp.build("riscv64")


def test_unavailable_is_raised_where_no_slot_starts(monkeypatch):
    monkeypatch.setattr(slots, "_START", "import sys; sys.exit(1) # {}")
    with pytest.raises(Unavailable, match="did not start"):
        Sandbox().run("x = 1")


def test_an_interpreter_below_tmp_has_a_sandbox_too():
    """A checkout in /tmp, with its environment beside it, is what a careful stranger starts with."""
    venv = Path(tempfile.mkdtemp(dir="/tmp")) / "venv"
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        program = (
            "from evals.sandbox import Sandbox\n"
            "if __name__ == '__main__':\n"
            "    with Sandbox() as box:\n"
            '        print(box.run(\'import numpy, colorsys\\nopen("/tmp/x", "w").close()\'))\n'
        )
        root = Path(__file__).resolve().parents[3]
        environment = {"PYTHONPATH": os.pathsep.join([str(root), *(p for p in sys.path if "-packages" in p)])}
        run = [str(venv / "bin/python"), "-c", program]
        done = subprocess.run(run, capture_output=True, text=True, env=environment)
        assert "verdict='passed'" in done.stdout, done.stdout + done.stderr
    finally:
        shutil.rmtree(venv.parent)
