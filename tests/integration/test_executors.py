"""Whoever runs the passes, the tables are the same, and nothing is lost when something is killed."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import polars as pl
import pytest

import corpus
import dedup
import passes
from corpus import Refusal
from executors import launch
from executors.config import Executor, read

ROOT = Path(__file__).resolve().parents[2]
DEDUP = "from dedup.cli import app\nif __name__ == '__main__':\n    app.meta()\n"
SHARDS = 6


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards; every text has a near copy in the next one, similar enough to be compared exactly."""
    folder = tmp_path_factory.mktemp("source")
    for shard in range(SHARDS):
        words = [[f"w{n}x{i}" for i in range(60)] for n in range(shard * 10, shard * 10 + 20)]
        texts = [" ".join([*text[:53], *(f"s{shard}" for _ in range(7))]) for text in words]
        rows = {"id": [f"{shard}-{n}" for n in range(20)], "text": texts}
        pl.DataFrame(rows).write_parquet(folder / f"{shard}.parquet")
    return folder


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> corpus.Table:
    """What Fathom's own processes make of it."""
    return dedup.scan([source], tmp_path_factory.mktemp("own") / "unique", workers=1)


def start(source: Path, dst: Path, kind: str, *more: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own; its folder is beside ``dst``."""
    run = dst.with_name("run.toml")
    run.write_text(f'[executor]\nkind = "{kind}"\nfolder = "{dst.parent}/ranks"\npartition = "cpu"\n')
    words = ["scan", str(source), str(dst), "--run", str(run), *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", DEDUP, *words], env=environment, start_new_session=True)


def kill_in_the_middle(driver: subprocess.Popen[bytes], dst: Path) -> dict[str, int]:
    """SIGKILL the driver once a shard is sketched; gives the shards that are, and when they were."""
    rows = dst / ".work" / "rows"
    while not (done := list(rows.glob("[0-9]*.parquet"))):
        assert driver.poll() is None
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    assert not (dst / "manifest.json").exists()
    return {path.name: path.stat().st_mtime_ns for path in done}


def touch(folder: Path, unit: str) -> None:
    if unit == "bad":
        raise ValueError("this unit is broken")
    if unit == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / unit).touch()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands of a cluster that is this machine."""
    for name in ("bin", "jobs"):
        (tmp_path / name).mkdir()
    for command in ("sbatch", "squeue", "scancel", "srun", "scontrol"):
        (tmp_path / "bin" / command).symlink_to(ROOT / "tests/data/slurm/cluster.py")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("CLUSTER", str(tmp_path / "jobs"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path / "jobs"


@pytest.mark.parametrize("workers", [1, 3])
def test_local_ranks_write_the_same_bytes(
    source: Path, expected: corpus.Table, tmp_path: Path, workers: int
) -> None:
    with launch.running(Executor(kind="local", folder=tmp_path / "ranks"), "dedup scan"):
        table = dedup.scan([source], tmp_path / "unique", workers=workers)
    assert table.digest == expected.digest and table.manifest["settings"] == expected.manifest["settings"]
    assert not [path for path in (tmp_path / "ranks").rglob("*") if path.name != ".lock"]


def test_a_local_run_whose_driver_was_killed_goes_on(
    source: Path, expected: corpus.Table, tmp_path: Path
) -> None:
    dst = tmp_path / "unique"
    driver = start(source, dst, "local", "--workers", "1")
    kill_in_the_middle(driver, dst)
    for _ in range(200):
        if not ended(driver.pid):
            break
        time.sleep(0.05)
    assert not ended(driver.pid), "still there ten seconds after their driver"
    assert start(source, dst, "local", "--workers", "2").wait() == 0
    assert corpus.read(dst).digest == expected.digest


def ended(session: int) -> list[str]:
    """The processes of a session that are still there."""
    listed = subprocess.run(["ps", "-o", "args=", "-s", str(session)], capture_output=True, text=True)
    return listed.stdout.splitlines()


def test_ray_goes_on_where_a_killed_driver_stopped_and_writes_the_same_bytes(
    source: Path, expected: corpus.Table, tmp_path: Path
) -> None:
    dst = tmp_path / "unique"
    done = kill_in_the_middle(start(source, dst, "ray", "--workers", "1"), dst)
    driver = start(source, dst, "ray", "--workers", "2")
    while not (dst / ".work" / "fates.parquet").exists():
        assert driver.poll() is None
        time.sleep(0.01)
    rows = dst / ".work" / "rows"
    assert {name: (rows / name).stat().st_mtime_ns for name in done} == done
    assert driver.wait() == 0
    assert corpus.read(dst).digest == expected.digest


def test_slurm_runs_the_generated_script_and_the_bytes_are_the_same(
    slurm: Path, source: Path, expected: corpus.Table, tmp_path: Path
) -> None:
    settings = Executor(
        kind="slurm", folder=tmp_path / "ranks", partition="cpu", tasks=2, sbatch={"account": "a"}
    )
    with launch.running(settings, "dedup scan"):
        table = dedup.scan([source], tmp_path / "unique")
    assert table.digest == expected.digest
    scripts = [(job / "script").read_text() for job in sorted(slurm.iterdir())]
    assert len(scripts) >= 2 and all("#SBATCH --account=a\n" in script for script in scripts)
    assert "#SBATCH --array=0-1\n" in scripts[0]


def test_jobs_of_a_killed_driver_leave_the_queue_before_the_next_one_starts(
    slurm: Path, source: Path, expected: corpus.Table, tmp_path: Path
) -> None:
    dst = tmp_path / "unique"
    kill_in_the_middle(start(source, dst, "slurm"), dst)
    with launch.running(Executor(kind="local", folder=tmp_path / "ranks"), "dedup scan"):
        assert all((job / "over").exists() for job in slurm.iterdir())
    assert dedup.scan([source], dst, workers=1).digest == expected.digest


def test_a_failing_unit_is_raised_with_its_reason_after_the_others_have_finished(tmp_path: Path) -> None:
    settings = Executor(kind="local", folder=tmp_path / "ranks", tasks=2)
    with pytest.raises(ValueError, match="this unit is broken"), launch.running(settings, "test"):
        passes.each(partial(touch, tmp_path), ["bad", *"abc"], label="touch", workers=2)
    assert all((tmp_path / unit).exists() for unit in "abc")


def test_a_unit_that_is_killed_fails_and_nobody_waits_for_it(tmp_path: Path) -> None:
    settings = Executor(kind="local", folder=tmp_path / "ranks", tasks=3)
    with pytest.raises(Refusal, match="a worker process was killed"), launch.running(settings, "test"):
        passes.each(partial(touch, tmp_path), ["a", "killed", "b"], label="touch", workers=2)
    assert (tmp_path / "a").exists() and (tmp_path / "b").exists()


def test_slurm_wants_a_partition_and_its_commands(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="names no partition"):
        read(None, "slurm")
    settings = Executor(kind="slurm", folder=tmp_path / "ranks", partition="cpu")
    with pytest.raises(Refusal, match="sbatch is not on the PATH"), launch.running(settings, "test"):
        passes.each(partial(touch, tmp_path), ["a"], label="touch")


def test_a_run_file_names_the_executor_and_a_flag_wins(tmp_path: Path) -> None:
    run = tmp_path / "run.toml"
    run.write_text('[executor]\nkind = "slurm"\npartition = "cpu"\nsbatch = { mail-type = "END" }\n')
    assert (read(run).kind, read(run).sbatch) == ("slurm", {"mail-type": "END"})
    assert read(run, "local").kind == "local"
    assert read(None).kind == "processes"
