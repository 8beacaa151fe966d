"""A pass runs every unit once, in any number of processes, and one failure stops no other unit."""

import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import passes
from corpus import Refusal


def touch(folder: Path, unit: str) -> None:
    if unit == "bad":
        raise ValueError("this unit is broken")
    if unit == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    with (folder / unit).open("a") as file:
        file.write("once")


@pytest.mark.parametrize("workers", [1, 3])
def test_every_unit_is_done_exactly_once(tmp_path: Path, workers: int) -> None:
    units = [f"{n:02}" for n in range(20)]
    passes.each(partial(touch, tmp_path), units, label="touch", workers=workers)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(units, "once")


def test_a_failing_unit_is_raised_after_the_others_have_finished(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="this unit is broken"):
        passes.each(partial(touch, tmp_path), ["bad", *"abcdef"], label="touch", workers=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == list("abcdef")


def test_a_worker_that_is_killed_ends_in_one_line_of_advice(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="fewer --workers"):
        passes.each(partial(touch, tmp_path), ["a", "killed", "b"], label="touch", workers=2)


def warn(unit: str) -> None:
    logging.getLogger("crawl").warning("%s is odd", unit)


def test_what_workers_warn_of_is_told_without_escapes() -> None:
    script = (
        "import passes; from tests.unit.test_passes import warn\n"
        "if __name__ == '__main__':\n"
        "    passes.each(warn, ['a\\x1b[2J', 'b'], label='warn', workers=2)\n"
    )
    root = Path(passes.__file__).parent
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert r"a\x1b[2J is odd" in told.stderr and "\x1b" not in told.stderr


def test_no_units_is_no_work(tmp_path: Path) -> None:
    passes.each(partial(touch, tmp_path), [], label="touch", workers=2)
    assert not list(tmp_path.iterdir())


def test_progress_passes_every_item_on() -> None:
    assert list(passes.progress(iter("abc"), label="letters")) == ["a", "b", "c"]


def note_and_sleep(folder: Path, unit: str) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def test_workers_end_when_the_run_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from functools import partial; from pathlib import Path; import passes, test_passes\n"
        "if __name__ == '__main__':\n"
        "    work = partial(test_passes.note_and_sleep, Path(sys.argv[1]))\n"
        "    passes.each(work, list('abcd'), label='sleep', workers=2)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)])
    workers: list[int] = []
    while len(workers) < 2:
        assert run.poll() is None
        workers = [int(path.name) for path in tmp_path.iterdir()]
        time.sleep(0.05)
    run.kill()
    run.wait()
    for _ in range(200):
        if not any(Path(f"/proc/{pid}").exists() for pid in workers):
            return
        time.sleep(0.05)
    raise AssertionError(f"still there ten seconds after their parent: {workers}")
