"""Checkpoints of a run: written aside, published by a rename, checked by hash before they are believed.

A kill at any moment leaves either the new checkpoint or the one before.  The newest whole one counts;
there is no pointer file that could lie.  A checkpoint is weights, optimizer states and the number of
steps done: the order of the data is a function of the step and needs no state.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch

import corpus

log = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints that stay: the newest and, in case it is damaged, the one before."""


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Publish ``state`` after ``step`` steps as ``folder/step-<step>`` and drop old ones."""
    final = folder / f"step-{step:08d}"
    aside = folder / f".{final.name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    torch.save(state, aside / "state.pt")
    facts = {"step": step, "bytes": (aside / "state.pt").stat().st_size, "sha256": _sync(aside / "state.pt")}
    (aside / "manifest.json").write_text(json.dumps(facts))
    _sync(aside / "manifest.json")
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)
    for old in _found(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def newest(folder: Path, device: torch.device) -> tuple[int, dict[str, Any]] | None:
    """Steps done and state of the newest checkpoint that is whole; None if there is none."""
    for candidate in reversed(_found(folder)):
        try:
            facts = json.loads((candidate / "manifest.json").read_text())
            whole = corpus.sha256_of(candidate / "state.pt") == facts["sha256"]
        except (OSError, ValueError, KeyError):
            whole = False
        if whole:
            state = torch.load(candidate / "state.pt", map_location=device, weights_only=True)
            return int(facts["step"]), state
        log.warning("checkpoint %s is torn or damaged: taking the one before", candidate)
    return None


def _found(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def _sync(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return corpus.sha256_of(path)
