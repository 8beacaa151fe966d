"""A scan that is killed, or runs out of disk, wherever that happens, leaves nothing that looks finished."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import corpus
import dedup

DRIVER = """
import os, shutil, signal, sys
import dedup

src, dst, states, fatal = sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3], sys.argv[4]
moments = 0

def watch(event, arguments):
    global moments
    if event == "os.rename":
        name = arguments[1]
    elif event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        name = arguments[0]
    else:
        return
    if not isinstance(name, int) and os.path.abspath(os.fspath(name)).startswith(dst):
        if fatal and os.fspath(name).endswith(fatal):
            os.kill(os.getpid(), signal.SIGKILL)
        if states and os.path.isdir(dst):
            moments, now = moments + 1, moments
            shutil.copytree(dst, f"{states}/{now:03d}", dirs_exist_ok=True)

sys.addaudithook(watch)
dedup.scan([src], dst, dedup.Scan(), workers=1)
"""
"""Scans, and by Python's audit hook, without one in the product, sees every file that is about to be opened
for writing or to get its final name: each time it saves what is on disk, or kills itself at the fatal one."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jsonl, which is converted first; forks and near copies, so that texts are compared."""
    folder = tmp_path_factory.mktemp("interrupted")
    rows = []
    for n in range(60):
        family, fork = divmod(n, 3)
        words = [f"f{family}_{i}" for i in range(40 + family)]
        words[7] = f"only_{n}"
        repo = f"repo{family % 5}" + ("-fork" if fork == 1 else "-other" if fork == 2 else "")
        rows.append({"id": f"{n:03d}", "repo": repo, "text": " ".join(words)})
    for part in range(2):
        pl.DataFrame(rows[part::2]).write_ndjson(folder / f"part-{part}.jsonl")
    return folder


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> corpus.Table:
    return dedup.scan([source], tmp_path_factory.mktemp("undisturbed") / "out", workers=1)


def driven(source: Path, dst: Path, states: Path | str = "", fatal: str = "") -> int:
    command = [sys.executable, "-c", DRIVER, *map(str, (source, dst, states, fatal))]
    return subprocess.run(command, check=False).returncode


def test_what_a_kill_leaves_at_any_moment_resumes_to_the_same_bytes(
    source: Path, undisturbed: corpus.Table, tmp_path: Path
) -> None:
    """A process that is killed leaves what it had written by then, which is what was saved there."""
    states = tmp_path / "states"
    assert driven(source, tmp_path / "out", states=states) == 0
    left = sorted(states.iterdir())
    assert len(left) > 20
    for state in left:
        assert not (state / "manifest.json").exists()
        assert dedup.scan([source], state, workers=1).digest == undisturbed.digest
        assert not (state / ".work").exists() and not list(state.rglob(".*.part"))


def test_a_run_killed_in_every_pass_resumes_to_the_same_bytes(
    source: Path, undisturbed: corpus.Table, tmp_path: Path
) -> None:
    dst = tmp_path / "out"
    for fatal in (
        "source-0/part-1.parquet", "signatures.u8", "rows/part-1.parquet", "fates.parquet",
        ".units/part-1.json", "manifest.json",
    ):  # fmt: skip
        assert driven(source, dst, fatal=fatal) == -signal.SIGKILL, f"it never came to {fatal}"
        assert not (dst / "manifest.json").exists()
    assert dedup.scan([source], dst, workers=1).digest == undisturbed.digest


FILLING = """
mount -t tmpfs none "$1" || exit 77
for size in 24k 64k 112k 9m; do
    mount -o remount,size=$size "$1"
    "$2" -c "from dedup.cli import app; app.meta()" scan "$3" "$1/out" --workers 1 2>"$4/said" >&2
    echo "$? $(test -e "$1/out/manifest.json" && echo finished)"
    grep -v "^\\[" "$4/said" | tr "\\n" " "
    echo
done
cp "$1/out/manifest.json" "$4"
"""
"""Scans onto a disk that is too small, again and again, until it is large enough."""


def test_a_full_disk_is_one_line_wherever_it_strikes_and_a_larger_one_resumes(
    source: Path, undisturbed: corpus.Table, tmp_path: Path
) -> None:
    disk, notes = tmp_path / "disk", tmp_path / "notes"
    disk.mkdir(), notes.mkdir()
    command = ["unshare", "-Umr", "sh", "-c", FILLING, "sh", *map(str, (disk, sys.executable, source, notes))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no user namespaces here, so no small disk")
    lines = done.stdout.splitlines()
    *full, enough = list(zip(lines[::2], lines[1::2], strict=True))
    for status, said in full:
        assert status.split() == ["1"], said
        assert said == "dedup: no space left on the disk: free some and run again; it resumes. "
    assert enough[0] == "0 finished"
    assert json.loads((notes / "manifest.json").read_text())["digest"] == undisturbed.digest
