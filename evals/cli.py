"""The verbs of ``evals``: what each reads and writes.  The work is in the modules they import."""

from __future__ import annotations

from pathlib import Path

import corpus
import evals
import runfile
from evals.config import Report

app = runfile.stage("evals", evals.__doc__ or "")


@app.command
def report(*paths: Path, settings: Report = Report()) -> corpus.Table:
    """Draw one self-contained page about a run from any of its tables.

    Args:
        paths: The tables, in any order, then the directory to write index.html to.
    """
    from evals import report as reporting

    if len(paths) < 2:
        raise corpus.Refusal("report: give one or more tables, then the directory of the report.")
    table = reporting.write_report(paths[:-1], paths[-1], settings)
    print(reporting.answer(table))
    return table
