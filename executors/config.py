"""The table ``[executor]`` of a run file: who runs the passes of every verb.

None of it changes a result, so none of it enters a manifest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.config import Toml
from cyclopts.validators import Number

from refusal import Refusal

Kind = Literal["processes", "local", "ray", "slurm"]
Positive = Annotated[int, Parameter(validator=Number(gte=1))]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Executor:
    kind: Kind = "processes"
    """Fathom's own processes on this machine, or datatrove's executor of that name."""
    folder: Path = Path("out/executor")
    """Where ranks find their work and leave what became of it; every node must see it, and the tables."""
    tasks: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """Ranks that share out the units of a pass; 0 is one for every worker, or where --workers does not
    limit those of Slurm, one for every unit."""
    cpus: Positive = 1
    """Processors of a rank, which has a unit at work on each."""
    memory_gb: Positive = 2
    """Memory for each of them that Ray and Slurm set aside."""
    address: str = ""
    """Ray: the cluster's, such as "auto"; if not given RAY_ADDRESS, else a cluster of this machine alone."""
    partition: str = ""
    """Slurm: where the jobs go; there is no default."""
    time: str = "24:00:00"
    """Slurm: limit of a rank."""
    qos: str = ""
    """Slurm: quality of service, where the cluster wants one named."""
    setup: str = ""
    """Slurm: a shell line before each rank.  By default the driver's environment is put on the PATH."""
    sbatch: dict[str, str] = field(default_factory=dict)
    """Slurm: further options of sbatch, such as account = "code"."""


def read(run: Path | None, kind: Kind | None = None) -> Executor:
    """The settings in the run file, which a ``kind`` from the command line wins over.

    A value or a name that cannot be ends the program, as it does in the table of a verb.

    Raises:
        Refusal: Slurm without a partition.
    """
    app = App(name="executor", result_action="return_value", default_parameter=Parameter(negative=()))

    @app.default
    def given(*, settings: Executor = Executor()) -> Executor:
        return settings

    if run is not None:
        app.config = Toml(run, root_keys="executor", search_parents=False)
    settings: Executor = app(["--kind", kind] if kind else [])
    if settings.kind == "slurm" and not settings.partition:
        raise Refusal('[executor] names no partition: say where the jobs go, as in partition = "cpu".')
    return settings
