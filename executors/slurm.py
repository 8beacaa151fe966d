"""Slurm: every pass is an array job that the driver submits and waits for.

The driver's jobs bear the name of its folder, which nobody else's do: by it they are waited for, and
taken out of the queue when the driver stops or was killed.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from datatrove.executor.slurm import SlurmPipelineExecutor

from executors.config import Executor
from executors.step import Pass
from refusal import Refusal

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = (0.5, 15.0)
"""At the queue: at first, and in the long run."""


class _Slurm(SlurmPipelineExecutor):  # type: ignore[misc]
    def launch_merge_stats(self) -> None:
        """No further job for what the driver reads itself."""


def run(settings: Executor, step: Pass, workers: int) -> None:
    """Submit a pass and return when no job of it is left.

    Args:
        workers: Ranks at a time; 0 leaves that to Slurm.
    """
    _refuse_absent()
    _forget_own_job()
    name = Path(step.folder).parent.name
    executor = _Slurm(
        [step],
        step.ranks(settings.tasks or workers),
        settings.time,
        settings.partition,
        cpus_per_task=settings.cpus,
        mem_per_cpu_gb=settings.memory_gb,
        workers=workers or -1,
        job_name=name,
        qos=settings.qos,
        env_command=settings.setup or f'export PATH="{Path(sys.executable).parent}:$PATH"',
        sbatch_args=settings.sbatch,
        logging_dir=step.folder,
    )
    try:
        executor.run()
        _wait(name)
    except subprocess.CalledProcessError as error:
        raise Refusal(f"sbatch refused the job ({error}): see [executor] and the lines above.") from None
    except BaseException:
        _cancel(name)
        raise


def clear(folder: Path) -> None:
    """Take the jobs of a driver that was killed out of the queue, and wait until none runs any more."""
    if next(folder.glob("*/launch_script.slurm"), None) is not None:
        _refuse_absent()
        _cancel(folder.name)
        _wait(folder.name)


def _wait(name: str) -> None:
    pause, longest = SECONDS_BETWEEN_LOOKS
    while _queued(name):
        time.sleep(pause)
        pause = min(1.5 * pause, longest)


def _queued(name: str) -> bool:
    """Whether a job of that name waits or runs.  A controller that does not answer is asked again."""
    asked = subprocess.run(["squeue", "--noheader", f"--name={name}"], capture_output=True, text=True)
    if asked.returncode != 0:
        log.warning("squeue: %s", asked.stderr.strip())
    return asked.returncode != 0 or bool(asked.stdout.strip())


def _cancel(name: str) -> None:
    subprocess.run(["scancel", f"--name={name}"], check=False)


def _refuse_absent() -> None:
    for command in ("sbatch", "squeue", "scancel"):
        if shutil.which(command) is None:
            raise Refusal(f"{command} is not on the PATH: start the run where Slurm's commands are.")


def _forget_own_job() -> None:
    """A driver that is a job itself must not hand its own limits, or its rank, down to those it submits."""
    for variable in [name for name in os.environ if name.startswith("SLURM_") and name != "SLURM_CONF"]:
        del os.environ[variable]
