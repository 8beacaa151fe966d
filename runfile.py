"""One TOML file describes a run: the table ``[dedup.scan]`` holds the settings of ``dedup scan``, and
``[executor]`` says who runs the passes of all verbs.

A verb that a run calls more than once has phases: with ``--phase long``, ``train pack`` takes what
``[train.pack.phases.long]`` says, and the rest from ``[train.pack]``.

Every verb has the form ``stage verb SRC… DST --run FILE``.  A flag wins over the file, the file over
the default.  Answers go to stdout, progress and the closing table to stderr.  What the person at the
keyboard can put right is one line and exit code 1; a usage error exits with 2; a bug shows its
traceback.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import tomllib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.config import Dict

from executors import config
from executors.config import Kind
from printable import log_to_stderr, visible
from refusal import VERSION, Refusal

if TYPE_CHECKING:
    import corpus

STAGES = ("crawl", "dedup", "train", "evals")


def stage(name: str, about: str) -> App:
    """A stage's command line, whose flags can also be set in the stage's tables of a run file."""
    app = App(
        name=name,
        help=about,
        version=VERSION,
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )

    @app.meta.default
    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        run: Annotated[Path | None, Parameter(help="Run file; flags given here win over it.")] = None,
        phase: Annotated[str | None, Parameter(help="Which of the verb's phases in the run file.")] = None,
        executor: Annotated[Kind | None, Parameter(help="Who runs the passes: docs/executors.md.")] = None,
    ) -> None:
        log_to_stderr("INFO")
        for chatty in ("httpx", "httpcore", "datasets", "transformers", "filelock"):
            logging.getLogger(chatty).setLevel("WARNING")
        try:
            if run is not None:
                settings = _of_phase(_checked(run, app), phase, run)
                app.config = Dict(settings, source=str(run))
            elif phase is not None:
                raise Refusal(f"--phase {phase} names a table of a run file: give the file with --run.")
            with _executor(run, executor, " ".join((name, *words[:1]))):
                result = app(words)
        except Refusal as refusal:
            _stop(f"{name}: {refusal}", 1)
        except KeyboardInterrupt:
            _stop(f"{name}: stopped; run again to resume.", 130)
        except BrokenPipeError:
            _stop("", 141)
        except Exception as error:
            if trouble := _disk_trouble(error):
                _stop(f"{name}: {trouble}", 1)
            raise
        if isinstance(result, int):
            raise SystemExit(result)
        if result is not None:
            print(visible(closing(result)), file=sys.stderr)

    return app


def _disk_trouble(error: Exception) -> str | None:
    """What the person can put right about a disk, in a line; polars says it in words, without an errno."""
    code, file = getattr(error, "errno", None), getattr(error, "filename", None)
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
        where = f" while writing {file}" if file else ""
        return f"no space left on the disk{where}: free some and run again; it resumes."
    if code in (errno.EACCES, errno.EPERM, errno.EROFS) and file:
        return f"{file}: {os.strerror(code)}: give a place that you may use."
    return None


def closing(table: corpus.Table) -> str:
    """What every verb ends with: in, out, dropped by reason, seconds."""
    counts, manifest = table.counts, table.manifest
    facts = {"in": f"{counts['in']:,}", "out": f"{counts['out']:,}"}
    facts |= {reason: f"{count:,}" for reason, count in counts["rejected"].items()}
    facts |= {"seconds": f"{manifest['seconds']:,.1f}"}
    wide = max(map(len, facts))
    return "\n".join(
        [
            f"{manifest['made_by']}  {table.path}",
            *(f"  {name:<{wide}}  {fact}" for name, fact in facts.items()),
        ]
    )


def _checked(run: Path, app: App) -> dict[str, dict[str, Any]]:
    """The tables of this stage's verbs; refuses a file that cannot be read and tables that nobody would."""
    try:
        tables: dict[str, Any] = tomllib.loads(run.read_text())
    except OSError as error:
        raise Refusal(
            f"{run}: {error.strerror}: give the path of a run file, such as runs/tiny.toml."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refusal(f"{run} is not TOML: {error}.") from None
    tables.pop("executor", None)  # its reader checks it
    for stage_name, verb_tables in tables.items():
        inner = verb_tables.values() if isinstance(verb_tables, dict) else [None]
        if not all(isinstance(table, dict) for table in inner):
            raise Refusal(f"{run}: [{stage_name}] holds a bare value: settings stand in [stage.verb] tables.")
    if stray := sorted(set(tables) - set(STAGES)):
        raise Refusal(f"{run} has a table [{stray[0]}], but the stages are: {', '.join(STAGES)}.")
    verbs = sorted(verb for verb in app if not verb.startswith("-"))
    mine: dict[str, dict[str, Any]] = tables.get(app.name[0], {})
    if stray := sorted(set(mine) - set(verbs)):
        raise Refusal(f"{run} has [{app.name[0]}.{stray[0]}], but the verbs are: {', '.join(verbs)}.")
    return mine


def _of_phase(tables: dict[str, dict[str, Any]], phase: str | None, run: Path) -> dict[str, dict[str, Any]]:
    """Each verb's settings in this phase; refuses one that no verb of the stage has."""
    phases = {verb: table.get("phases", {}) for verb, table in tables.items()}
    for verb, named in phases.items():
        if not isinstance(named, dict) or not all(isinstance(table, dict) for table in named.values()):
            raise Refusal(
                f"{run}: {verb}.phases holds a bare value: settings stand in {verb}.phases.NAME tables."
            )
    known = sorted({name for named in phases.values() for name in named})
    if phase is not None and phase not in known:
        raise Refusal(f"{run} has no phase {phase} here: it has {', '.join(known) or 'none'}.")
    return {
        verb: {key: value for key, value in table.items() if key != "phases"}
        | phases[verb].get(phase or "", {})
        for verb, table in tables.items()
    }


def _executor(run: Path | None, kind: Kind | None, verb: str) -> AbstractContextManager[None]:
    """Who runs the passes of this verb.  datatrove is imported only if it is asked for."""
    settings = config.read(run, kind)
    if settings.kind == "processes":
        return nullcontext()
    try:
        from executors import launch
    except ModuleNotFoundError as missing:
        raise Refusal(
            f"[executor] kind {settings.kind} needs {missing.name}: pip install 'fathom-coder[executors]'."
        ) from None
    return launch.running(settings, verb)


def _stop(message: str, code: int) -> None:
    if message:
        print(visible(message), file=sys.stderr)
    raise SystemExit(code)
