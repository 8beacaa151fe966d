"""A pass as a step of a datatrove pipeline: what a rank does, and how the driver learns what came of it.

The pass lies in a folder that driver and ranks see: the pickled work, and an outcome for every unit that
came to an end, empty or with the failure.  Rank r of n has the units r, r + n, r + 2n, …  They run in
processes of the rank's own, so that a unit that is killed fails (datatrove's pools would wait for it for
ever) and no unit runs in a process that Ray forked while its threads held locks.

datatrove marks ranks as completed, which says nothing about units once the number of ranks has changed:
a pass never meets those marks, for its folder is new.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from pathlib import Path
from typing import Any

import multiprocess
from datatrove.pipeline.base import PipelineStep

import passes


class Pass(PipelineStep):  # type: ignore[misc]
    """One pass of a verb.

    Args:
        folder: The pass's own; ranks may have another working directory, so it becomes absolute.
        cpus: Units that a rank has at work at a time.
    """

    type = "Fathom"

    def __init__(self, folder: Path, work: passes.Work, units: Sequence[str], label: str, cpus: int):
        self.name = label
        super().__init__()
        self.folder, self.home = str(folder.absolute()), str(Path.cwd())
        self.cpus = cpus
        self._outcomes.mkdir()
        (folder / "work.pickle").write_bytes(pickle.dumps(work))
        (folder / "units").write_text("\n".join(units))

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Bring the rank's units to an end; a unit that fails is an outcome, never the end of the rank."""
        os.chdir(self.home)
        _end_with_parent()
        ended = self.ended()
        mine = [unit for unit in self.units()[rank::world_size] if unit not in ended]
        with passes.pool(self.cpus) as processes:
            for unit, failure in passes.outcomes(processes, partial(_do, Path(self.folder)), mine):
                self.stat_update("units" if failure is None else "failures")
                self._write(unit, failure)

    def units(self) -> list[str]:
        """All units of the pass."""
        return (Path(self.folder) / "units").read_text().split("\n")

    def ranks(self, wanted: int) -> int:
        """How many ranks to have: as many as wanted, but none without a unit; 0 is one for every unit."""
        return min(wanted or len(self.units()), len(self.units()))

    def ended(self) -> set[str]:
        """The units that have an outcome."""
        return {outcome.name for outcome in self._outcomes.iterdir() if not outcome.name.startswith(".")}

    def failures(self) -> Iterator[tuple[str, BaseException]]:
        """The units that failed, in order, and why."""
        for unit in self.units():
            outcome = self._outcomes / unit
            if outcome.exists() and (content := outcome.read_bytes()):
                yield unit, pickle.loads(content)  # noqa: S301  our own ranks wrote it

    @property
    def _outcomes(self) -> Path:
        return Path(self.folder) / "outcomes"

    def _write(self, unit: str, failure: BaseException | None) -> None:
        aside = self._outcomes / f".{unit}.{os.uname().nodename}.{os.getpid()}"
        aside.write_bytes(b"" if failure is None else _pickled(failure))
        aside.replace(self._outcomes / unit)


def _do(folder: Path, unit: str) -> None:
    _work(folder)(unit)


@cache
def _work(folder: Path) -> passes.Work:
    """Loaded in the process that does it: the rank itself stays free of what it imports."""
    work: passes.Work = pickle.loads((folder / "work.pickle").read_bytes())  # noqa: S301  our driver wrote it
    return work


@cache
def _end_with_parent() -> None:
    passes.end_with(multiprocess.parent_process())


def _pickled(failure: BaseException) -> bytes:
    """The failure with its traceback as a note, which pickle would drop; what cannot travel is described."""
    if failure.__cause__ is not None and not isinstance(failure, BrokenProcessPool):
        failure.add_note(str(failure.__cause__))
    try:
        content = pickle.dumps(failure)
        pickle.loads(content)  # noqa: S301  made in the line before
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(failure).__name__}: {failure}"))
    return content
