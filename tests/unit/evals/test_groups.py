"""What the kernel counts of a sandbox in a control group, where this user may make one."""

import glob
import os
import signal
import subprocess
import sys

import pytest

from evals import groups
from evals.sandbox import Limits, Sandbox
from evals.slot import group as inside

UNSEEN = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        end = time.process_time() + 0.01
        while time.process_time() < end:
            pass
        os._exit(0)
    time.sleep(0.012)
"""
"""Children that end before anybody looks, and whose time no parent is told, for none waits for them."""


def left(harness):
    """Groups of a process that are still there; unlike Path.rglob, glob passes over others' that vanish."""
    return glob.glob(f"/sys/fs/cgroup/**/fathom-{harness}-*", recursive=True)  # noqa: PTH207


@pytest.fixture(params=[1, 2])
def version(request, monkeypatch):
    """Only groups of one version; skips where this user can make none."""
    bases = [base for base in groups._bases() if base[0] == request.param]
    monkeypatch.setattr(groups, "_bases", lambda: bases)
    made = groups.Group()
    made.hand_over()
    made.remove()
    if not made.controllers:
        pytest.skip(f"no control group of version {request.param} can be made here")
    return request.param


def test_processor_time_is_counted_that_no_parent_is_told_of(version):
    with Sandbox(Limits(cpu_seconds=0.5)) as box:
        verdict = box.run(UNSEEN)
        assert verdict.verdict == "timeout" and verdict.cpu_seconds > 0.5
        assert "control group cpu" in box.counted_by() and left(os.getpid())
        assert box.run("import time\ntime.sleep(0.2)").cpu_seconds < 0.1
    assert left(os.getpid()) == []


def test_memory_of_all_processes_is_bounded_at_once(version):
    made = groups.Group()
    try:
        if "limit" not in made.files:
            pytest.skip(f"version {version} does not bound memory here")
        counted = inside.Group(made.files)
        if (child := os.fork()) == 0:
            counted.join()
            counted.begin(64 << 20, 10)
            if os.fork() == 0:
                held = bytearray(b"x") * (200 << 20)
                os._exit(len(held) & 1)
            _, status = os.wait()
            os._exit(counted.is_full() and os.waitstatus_to_exitcode(status) == -signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    finally:
        made.hand_over()
        made.remove()
    assert left(os.getpid()) == []


def test_group_that_a_slot_could_not_join_counts_nothing(monkeypatch):
    def unjoinable(self, *, made):
        self.controllers, self._folders = ["control group cpu (version 2)"], []
        self.files = {"join": [os.open("/dev/full", os.O_RDWR)]}

    monkeypatch.setattr(groups.Group, "__init__", unjoinable)
    with Sandbox(tier="none") as box:
        assert box.counted_by() == "a look at /proc every 25 to 50 ms"
        assert box.run("x = 1").verdict == "passed"


def test_process_that_cannot_be_named_is_not_killed_in_place_of_ours(tmp_path, monkeypatch):
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(pid))
    monkeypatch.setattr(groups, "_SECONDS_TO_END", 0.01)
    (tmp_path / "cgroup.procs").write_text("0\n123456789\n")
    made = groups.Group(made=False)
    made._folders.append(tmp_path)
    made.remove()
    assert set(killed) == {123456789}


@pytest.mark.skipif(not list(groups._bases()) or os.getuid() != 0, reason="no control group can be made here")
def test_groups_of_a_harness_that_was_killed_are_swept():
    code = (
        "import os, signal\nfrom evals.sandbox import Sandbox\nbox = Sandbox()\nbox.start()\n"
        "print(os.getpid(), flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    with Sandbox() as box:
        for _ in range(100):
            box.start()
            box.close()
            if not (found := left(killed)):
                break
    assert killed and found == []


def test_version_2_is_used_where_controllers_were_handed_down(tmp_path):
    own = tmp_path / "app.slice/terminal.scope"
    own.mkdir(parents=True)
    for folder in (own, own.parent):
        (folder / "cgroup.procs").touch()
        (folder / "cgroup.subtree_control").write_text("")
    assert list(groups._handed_down(own)) == [("cpu", own)]
    (own.parent / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert list(groups._handed_down(own)) == [(name, own.parent) for name in ("cpu", "memory", "pids")]


def test_files_of_version_2_are_understood(tmp_path):
    texts = {
        "processor": "usage_usec 2500000\nuser_usec 1\n",
        "kills": "low 0\noom 4\noom_kill 3\n",
        "usage": "7\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = {name: [os.open(tmp_path / name, os.O_RDWR)] for name in texts}
    counted = inside.Group(files)
    counted.begin(100, 10)
    assert not counted.is_full() and counted.cpu_seconds() < 0.1
    (tmp_path / "processor").write_text("usage_usec 62500000\n")
    (tmp_path / "kills").write_text("low 0\noom 5\noom_kill 4\n")
    assert counted.is_full() and 59 < counted.cpu_seconds() <= 60
