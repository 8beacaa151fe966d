"""How slots are started in tiers that this machine may not have."""

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from corpus import Refusal
from evals import launch, tiers
from evals.sandbox import Limits, Sandbox, Test
from evals.view import view


@pytest.fixture(params=["pidfd", "no pidfd"])
def piped(request):
    """A sandbox without walls, on a line of two pipes as docker's, on a kernel that may lack pidfd_open."""

    def command(shown, folder):
        *run, code = launch.python(shown, folder)
        code = code if request.param == "pidfd" else f"import os; del os.pidfd_open; {code}"
        return ["sh", "-c", f"cat | {shlex.join([*run, code])} | cat"]

    with Sandbox(Limits(cpu_seconds=1.0, memory_bytes=256 << 20)) as box:
        box._tiers = [replace(tiers.find("none"), stream=True, command=command)]
        yield box


def test_line_of_pipes_carries_the_same_jobs(piped):
    assert piped.run("print('é' * 9)").output == "é" * 9 + "\n"
    assert piped.run("x = 1  #" + "x" * 1_000_000).verdict == "passed"
    assert piped.run("import os\nos._exit(0)").verdict == "failed"
    assert piped.run("import time\ntime.sleep(60)", limits=Limits(cpu_seconds=0.3)).verdict == "timeout"
    test = Test("assert f(1) == 2", ["f"])
    assert piped.run("def f(n): return n + 1", test=test).verdict == "passed"
    assert piped.run("echo $((6 * 7))", language="bash").output == "42\n"


def test_memory_of_one_that_nobody_could_look_at_counts_at_its_end(piped):
    held = "held = bytearray(b'x') * (400 << 20)"
    assert piped.run(held).verdict == "memory" and piped.run("x = 1").verdict == "passed"


def test_lesser_tier_is_taken_only_with_a_word_about_the_better_one(caplog):
    better = replace(tiers.find("none"), name="better", missing=lambda: "not here")
    with Sandbox() as box:
        box._tiers = [better, tiers.find("none")]
        assert box.run("x = 1").tier == "none"
        box.run("import numpy")
    assert caplog.messages == ["sandbox: none, for there is no better one (better: not here)"]


def test_folder_of_packages_that_is_not_there_is_one_line(tmp_path):
    with Sandbox(packages=tmp_path / "none") as box, pytest.raises(Refusal, match="none is not a folder"):
        box.run("x = 1")


def test_profile_of_macos_refuses_what_it_does_not_name(tmp_path):
    (tmp_path / 'a "b').mkdir()
    (tmp_path / "site-packages/numpy").mkdir(parents=True)
    readable = {path: str(tmp_path / path) for path in ('a "b', "site-packages/numpy")}
    shown = view() | {"readable": readable, "hidden": [str(tmp_path / "site-packages")]}
    rules = launch.profile(shown, "/private/tmp/fathom-x").splitlines()
    assert rules[:2] == ["(version 1)", "(deny default)"]
    assert (
        f'(subpath "{tmp_path}/a \\"b")' in rules[7]
        and "network" not in str(rules)
        and "mach" not in str(rules)
    )
    hidden = rules.index(f'(deny file-read* (subpath "{tmp_path}/site-packages"))')
    assert rules.index(f'(allow file-read* (subpath "{tmp_path}/site-packages/numpy"))') > hidden
    writable = [rule for rule in rules if rule.startswith("(allow file-write")]
    assert writable == ['(allow file-write* (subpath "/private/tmp/fathom-x/work") (literal "/dev/null"))']


def test_slot_s_code_can_be_imported_where_libc_has_no_calls_of_linux():
    bare = "import ctypes, types\nctypes.CDLL = lambda *_, **more: types.SimpleNamespace()\n"
    subprocess.run(
        [sys.executable, "-c", f"{bare}import evals.slot.main"],
        check=True,
        cwd=Path(__file__).resolve().parents[3],
    )


def test_container_s_image_is_made_here_or_not_at_all(monkeypatch):
    monkeypatch.setattr(launch, "_image", lambda: "image")
    for runtime in ("", "runsc"):
        command = launch.docker(runtime, view(), "")
        assert command[command.index("--pull") + 1] == "never" and "image" in command


def test_container_sees_what_a_private_root_would():
    shown = view()
    command = launch.bwrap(shown, "")
    bound = {(command[n + 2], command[n + 1]) for n, word in enumerate(command) if word == "--ro-bind"}
    assert set(shown["readable"].items()) <= bound
    assert {inside for inside, _ in bound} - set(shown["readable"]) == {
        command[command.index("--chdir") + 2],
        "/fathom/evals/slot",
        "/fathom/evals/__init__.py",
    }
