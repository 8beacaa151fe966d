#!/usr/bin/env python3
"""Slurm's commands for a cluster that is this machine: a stand-in for the cluster, not for our code.

Called as sbatch it runs the tasks of an array job in the background, two at a time, as a node would: the
script under bash, the task's number and the nodes in the environment.  ``$CLUSTER`` holds its jobs.
"""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

JOBS = Path(os.environ["CLUSTER"])


def sbatch(*words: str) -> None:
    script = Path(words[-1]).read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", script, re.M))
    assert options["partition"] and options["time"] and options["mem-per-cpu"], options
    number = len(list(JOBS.iterdir())) + 1
    job = JOBS / str(number)
    job.mkdir()
    (job / "script").write_text(script)
    (job / "name").write_text(options["job-name"])
    first, last = options["array"].partition("%")[0].split("-")
    exported = dict(re.findall(r"(RUN_OFFSET)=(\d+)", " ".join(words)))
    node = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "node", str(job), first, last, options["output"]],
        env=os.environ | exported | {"SLURM_NODELIST": "here", "SLURM_ARRAY_JOB_ID": str(number)},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    (job / "pid").write_text(str(node.pid))
    print(f"Submitted batch job {number}")


def node(job: str, first: str, last: str, output: str) -> None:
    def task(number: int) -> None:
        with Path(output.replace("%A", Path(job).name).replace("%a", str(number))).open("w") as log:
            environment = os.environ | {"SLURM_ARRAY_TASK_ID": str(number)}
            subprocess.run(["bash", f"{job}/script"], env=environment, stdout=log, stderr=log)

    with ThreadPoolExecutor(2) as tasks:
        list(tasks.map(task, range(int(first), int(last) + 1)))
    (Path(job) / "over").touch()


def _named(words: tuple[str, ...]) -> list[Path]:
    (name,) = [word.removeprefix("--name=") for word in words if word.startswith("--name=")]
    return [job for job in JOBS.iterdir() if (job / "name").read_text() == name]


def squeue(*words: str) -> None:
    for job in _named(words):
        if not (job / "over").exists():
            print(job.name)


def scancel(*words: str) -> None:
    for job in _named(words):
        if not (job / "over").exists():
            os.killpg(int((job / "pid").read_text()), signal.SIGKILL)
            (job / "over").touch()


def srun(*words: str) -> None:
    command = words[words.index("-n") + 2 :]
    os.execvp(command[0], command)


def scontrol(*words: str) -> None:
    print(words[-1])


if __name__ == "__main__":
    called, words = Path(sys.argv[0]).name, sys.argv[1:]
    if called == "cluster.py":
        called, words = words[0], words[1:]
    {f.__name__: f for f in (sbatch, node, squeue, scancel, srun, scontrol)}[called](*words)
