"""Completions by vLLM's offline engine, which has to be installed beside Fathom (``pip install vllm``).

Prompts go in as token ids made here, so that nothing is added to them, and every request has its own
seed.  vLLM repeats itself on one machine, version and batch plan only: scheduling is kept in this process
for that reason, and what remains stands in the manifest.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from corpus import Refusal
from evals import prompts
from evals.backends import REFUSED, Completion, Request
from evals.backends.local import config_at, context_of, tokenizer_at, tokenizer_identity
from evals.config import Sample
from evals.prompts import Prompt
from evals.suites.problem import Problem

AT_ONCE = 256
"""Requests handed over together; what a killed run has to do again."""


class Vllm:
    """A folder with a model and its tokenizer, run by vLLM."""

    def __init__(self, path: Path, settings: Sample) -> None:
        # Before vLLM is imported: its scheduler is repeatable in this process only
        # (docs.vllm.ai, "Reproducibility").
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        try:
            self.vllm: Any = importlib.import_module("vllm")
        except ImportError as error:
            raise Refusal(
                f"--engine vllm: vLLM does not load here ({error}): pip install vllm, "
                "or serve the model elsewhere and give its URL as MODEL."
            ) from None
        self.path, self.settings = path, settings
        self.tokenizer = tokenizer_at(path)
        self.context = context_of(config_at(path))
        self.identity = {
            "engine": f"vllm {self.vllm.__version__}",
            "dtype": settings.dtype,
            **tokenizer_identity(self.tokenizer),
        }

    @cached_property
    def engine(self) -> Any:
        """The weights, loaded when the first token is asked for."""
        return self.vllm.LLM(model=str(self.path), dtype=self.settings.dtype, seed=self.settings.seed)

    def prompt(self, problem: Problem, max_new_tokens: int) -> Prompt:
        """The problem in tokens; of a prompt too long for the context, what fits."""
        return prompts.encode(self.tokenizer, problem, prompts.room(self.context, max_new_tokens))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion]]:
        """Each request with its completion, a few hundred at a time."""
        for start in range(0, len(requests), AT_ONCE):
            some = requests[start : start + AT_ONCE]
            outputs = self.engine.generate(
                [{"prompt_token_ids": list(request.prompt.ids)} for request in some],
                [self.vllm.SamplingParams(**sampling(request, self.settings)) for request in some],
                use_tqdm=False,
            )
            for request, output in zip(some, outputs, strict=True):
                yield request, completion(output.outputs[0], request, self.settings)


def sampling(request: Request, settings: Sample) -> dict[str, Any]:
    """The arguments of ``SamplingParams`` for a request.  The stop string stays: the judge cuts."""
    return {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "seed": request.seed,
        "max_tokens": request.max_new_tokens,
        "stop": list(request.stop),
        "stop_token_ids": list(request.prompt.ends),
        "include_stop_str_in_output": True,
        "skip_special_tokens": True,
    }


def completion(output: Any, request: Request, settings: Sample) -> Completion:
    """What a ``CompletionOutput`` says: ``stop_reason`` is the stop string, a token's id, or None at EOS."""
    finish = output.finish_reason
    if finish == "stop":
        finish = "stop" if isinstance(output.stop_reason, str) else "eos"
    seed = request.seed if settings.temperature > 0 else None
    if finish not in ("stop", "eos", "length"):
        return Completion(output.text, REFUSED, len(output.token_ids), seed, f"vLLM ended it: {finish}")
    return Completion(output.text, finish, len(output.token_ids), seed)
