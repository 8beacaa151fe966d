"""The settings of every verb of ``evals``: what changes a result, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Report:
    samples: int = 1000
    """Samples shown in full; the first one of every problem comes first, all are counted."""
    characters: int = 2000
    """A longer prompt, completion or program is shown without its middle."""
