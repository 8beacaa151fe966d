"""The verbs of ``evals``: what each reads and writes.  The work is in the modules they import."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import corpus
import evals
import runfile
from evals.config import Crossfile, Explain, Judge, Problems, Report, Run, Sample

app = runfile.stage("evals", evals.__doc__ or "")


@app.command
def problems(
    dst: Path,
    /,
    *,
    settings: Problems = Problems(),
    cache: Annotated[Path | None, Parameter(env_var="FATHOM_CACHE")] = None,
) -> corpus.Table:
    """Write down the problems of the suites, and what must therefore not be in the training data.

    Args:
        dst: The table of problems to write.
        cache: Where downloads are kept; ~/.cache/fathom if not given.
    """
    from evals import problems as asked

    return asked.write_problems(dst, settings, cache)


@app.command
def sample(
    src: Path,
    model: str,
    dst: Path,
    /,
    *,
    settings: Sample = Sample(),
    cache: Path | None = None,
) -> corpus.Table:
    """Complete every problem, by a model or from another source.

    Args:
        src: The table of problems.
        model: A folder that AutoModelForCausalLM loads; owner/name on the Hugging Face hub; the URL of a
            server that speaks OpenAI's protocol (http://localhost:8000/v1); a samples file or folder of
            human-eval, EvalPlus, bigcode, MultiPL-E or Qwen; with --source reference and spoiled any word.
        dst: The table of samples to write.
        cache: Folder where finished samples are kept by content, for other runs to find; none if not given.
    """
    # Before torch loads: threads that wait by spinning starve one another on a machine with other work
    # (ten times slower at a load of three on two cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from evals import sample as sampling

    return sampling.write_samples(src, model, dst, settings, cache)


@app.command
def judge(
    src: Path, samples: Path, dst: Path, /, *, settings: Judge = Judge(), workers: int = 0
) -> corpus.Table:
    """Run every sample in a sandbox and write down what became of it, and the scores.

    Args:
        src: The table of problems.
        samples: The table of samples.
        dst: The table of verdicts to write.
        workers: Sandboxes at work; 0 is one per processor.
    """
    from evals import judge as judging

    return judging.judge_samples(src, samples, dst, settings, workers)


@app.command
def explain(
    a: str,
    b: str,
    samples: Path,
    /,
    *,
    settings: Explain = Explain(),
    cache: Annotated[Path | None, Parameter(env_var="FATHOM_CACHE")] = None,
) -> None:
    """Judge the same completions under two presets, and name the rule that moved each verdict.

    Args:
        a: A preset, such as deepseek-v1.
        b: Another, such as bigcode.
        samples: The table of samples; make it with --stops=false, so that all of the text is there.
        cache: Where downloads are kept; ~/.cache/fathom if not given.
    """
    from evals import explain as explaining

    print("\n".join(explaining.explain(a, b, samples, settings, cache)))


@app.command
def compare(a: Path, b: Path, /) -> None:
    """Say which of two runs is better, how sure that is, and which problems they solve differently.

    Args:
        a: A table of verdicts.
        b: Another, on the same suites.
    """
    from evals import compare as comparing

    print("\n".join(comparing.compare(a, b)))


@app.command
def run(program: Path, /, *, settings: Run = Run()) -> None:
    """Run one program in a sandbox and print its verdict as JSON.

    Args:
        program: File of the program.
    """
    from evals import doctor

    print(json.dumps(doctor.run_file(program, settings), indent=1))


@app.command
def doctor(*, tier: str = "") -> int:
    """Say which sandbox this machine has, why no better one, what would give one, and check that it holds.

    Args:
        tier: Kind of sandbox to check; the best that this machine has if not given.
    """
    from evals import doctor as checking

    lines, sound = checking.examine(tier)
    print("\n".join(lines))
    return 0 if sound else 1


@app.command
def crossfile(src: Path, dst: Path, /, *, settings: Crossfile = Crossfile()) -> corpus.Table:
    """Cut problems of cross-file completion out of held-out repos of a crawl.

    Args:
        src: The documents that crawl order wrote.
        dst: The folder to write line_completion.jsonl to: DIR/crossfile, for evals problems --data DIR.
    """
    from evals import crossfile as cutting

    return cutting.write_crossfile(src, dst, settings)


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
