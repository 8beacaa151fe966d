"""Waiting for what another process writes, so that it can be ended at that moment."""

import glob
import subprocess
import time
from pathlib import Path


def until(process: subprocess.Popen[str] | subprocess.Popen[bytes], folder: Path, *patterns: str) -> None:
    """Return once a file or folder below ``folder`` matches a pattern, or the process is over.

    ``Path.glob`` would raise if a folder is renamed while it is read; ``glob.glob`` passes over it.
    """
    while process.poll() is None and not any(
        glob.glob(one, root_dir=folder)  # noqa: PTH207
        for one in patterns
    ):
        time.sleep(0.001)
