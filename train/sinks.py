"""Where a run can be watched besides its journal: TensorBoard and Weights & Biases.

Each is imported only where it is asked for.  Both are fed from the journal's lines and nothing is read
back from them: without either, every plot can be drawn from ``metrics.jsonl``.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from corpus import Refusal

Name = Literal["tensorboard", "wandb"]


class Sink(Protocol):
    """What takes the numbers of a step."""

    def add(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


def opened(
    names: Sequence[Name], dst: Path, running: Path, done: int, settings: Mapping[str, Any]
) -> list[Sink]:
    """The sinks asked for; refuses one whose package is not installed.

    Args:
        dst: The model's folder; events go to ``logs`` below it.
        running: What of the run is gone once it has ended.
        done: Steps that an earlier life of this run has done and saved.
        settings: Of the run, to be shown with it.
    """
    sinks: list[Sink] = []
    for name in dict.fromkeys(names):
        try:
            if name == "tensorboard":
                sinks.append(TensorBoard(dst / "logs", done))
            else:
                sinks.append(Wandb(dst, running, settings))
        except ModuleNotFoundError as missing:
            raise Refusal(f"watch {name} needs {missing.name}: pip install 'fathom-coder[watch]'.") from None
    return sinks


def flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Numbers by path.

    >>> dict(flat({"step": 1, "valid_loss_by": {"mode": {"psm": 2.5}}}))
    {'step': 1, 'valid_loss_by/mode/psm': 2.5}
    """
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}/")
        elif value is not None:
            yield above + name, value


class TensorBoard:
    """Event files for ``tensorboard --logdir``."""

    def __init__(self, folder: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Whatever a killed life of this run has written after its checkpoint is hidden.
        self._writer = SummaryWriter(folder, purge_step=done + 1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run at wandb.ai, or, where nobody is logged in there, on disk for ``wandb sync``."""

    def __init__(self, dst: Path, running: Path, settings: Mapping[str, Any]) -> None:
        import wandb

        known = running / "wandb-id"  # one run there for all lives of this one
        if not known.exists():
            known.write_text(uuid.uuid4().hex[:12])
        mode: Literal["offline"] | None = None
        if "WANDB_MODE" not in os.environ and not wandb.api.api_key:
            mode = "offline"
        folder = dst / "logs"
        folder.mkdir(exist_ok=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "fathom"),
            name=dst.name,
            id=known.read_text(),
            resume="allow",
            config=dict(settings),
            dir=folder,
            mode=mode,
            settings=wandb.Settings(console="off", x_disable_stats=True),
        )

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
