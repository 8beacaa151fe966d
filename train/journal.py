"""What a run writes down while it goes: one JSON line per step, and now and then a line for people.

``metrics.jsonl`` holds what equal runs have equal; ``seconds.jsonl`` what clocks say.  They are kept apart
so that equal runs have equal digests.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from train import sinks
from train.sinks import Sink

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


class Journal:
    """The journal of a run that is under way; only its first process keeps one."""

    def __init__(self, folder: Path, done: int, watched_by: Sequence[Sink] = ()) -> None:
        """Open the files in ``folder``, without the lines after step ``done`` that a killed run left.

        Args:
            watched_by: Where the numbers of every step go besides.
        """
        self.metrics, self.seconds = folder / "metrics.jsonl", folder / "seconds.jsonl"
        for path in (self.metrics, self.seconds):
            path.touch()
            lines = path.read_bytes().splitlines(keepends=True)
            # Cut short and not written anew: a kill in between would lose what is before.
            os.truncate(path, sum(map(len, lines[:done])))
        self._sinks = watched_by
        self._told = time.monotonic()

    def add(self, facts: Mapping[str, Any], clocks: Mapping[str, float], steps: int) -> None:
        """Append a step, and say now and then how it goes.

        Args:
            facts: The same in equal runs: step, tokens so far, loss, …
            clocks: ``seconds`` of the step, ``data_wait`` (seconds of it spent on fetching rows),
                ``tokens_per_second``, ``tflops`` (model FLOPs a second of each device, in 10^12) and,
                where the device's limit is known, ``mfu`` (their share of it).
            steps: Of the whole run.
        """
        timing = {"step": facts["step"], **{name: float(f"{value:.4g}") for name, value in clocks.items()}}
        for path, line in ((self.metrics, facts), (self.seconds, timing)):
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        for sink in self._sinks:
            sink.add(facts["step"], dict(sinks.flat({**facts, **clocks})))
        if time.monotonic() - self._told > SECONDS_BETWEEN_LINES or "valid_loss" in facts:
            self._told = time.monotonic()
            log.info("%s", progress(facts, clocks, steps))


@contextmanager
def opened(folder: Path, done: int, watched_by: Sequence[Sink] = ()) -> Iterator[Journal]:
    """A journal whose sinks are closed however the run ends."""
    try:
        yield Journal(folder, done, watched_by)
    finally:
        for sink in watched_by:
            sink.close()


def clocks(
    seconds: float, data_wait: float, tokens: int, flops: float, peak: float | None
) -> dict[str, float]:
    """What the clocks of a step tell.

    Args:
        tokens: Of all devices, padding included.
        flops: Model FLOPs of one device.
        peak: Most FLOPs a second of a device, if that is known.
    """
    told = {"seconds": seconds, "data_wait": data_wait, "tokens_per_second": tokens / seconds}
    told["tflops"] = flops / seconds / 1e12
    return told if peak is None else {**told, "mfu": flops / seconds / peak}


def progress(facts: Mapping[str, Any], clocks: Mapping[str, float], steps: int) -> str:
    """Where a run stands, in a line."""
    told = [f"step {facts['step']:,} of {steps:,}", f"loss {facts['loss']:.3f}"]
    if "valid_loss" in facts:
        told.append(f"held out {facts['valid_loss']:.3f}")
    told.append(f"{clocks['tokens_per_second']:,.0f} tokens/s")
    told.append(f"MFU {clocks['mfu']:.1%}" if "mfu" in clocks else f"{clocks['tflops']:.3f} TFLOP/s")
    told.append(f"{clocks['data_wait'] / clocks['seconds']:.1%} of it waiting for data")
    told.append(f"{(steps - facts['step']) * clocks['seconds'] / 60:.1f} min left")
    return ", ".join(told)


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` or ``seconds.jsonl``."""
    return [json.loads(line) for line in path.read_text().splitlines()]
