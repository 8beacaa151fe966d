"""Completions by a causal language model that transformers can load: batched, cached, repeatable.

Shapes: B sequences, U different prompts among them, T tokens so far, V the vocabulary.

* Prompts are padded on the left, so every sequence ends in the same column; padding is masked out and
  does not count in positions.  The samples of one prompt share its prefill.
* A sequence ends for itself: at an end token, at a stop string in its decoded text, or at its limit.  It
  then leaves the batch, and the others go on without it.
* Each sample draws from its own random stream, keyed by (seed, suite, problem, sample), one number a
  token.  Batch and order change nothing but the last bits of the arithmetic.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils import logging as hub_logging

from corpus import Refusal
from evals import prompts
from evals.backends import Completion, Request, digest
from evals.config import Sample
from evals.prompts import Prompt
from evals.suites.problem import Problem

log = logging.getLogger(__name__)

TAIL_TOKENS = 8
"""Tokens decoded at each step beyond the length of the longest stop string, every token being at least
one byte: enough to see a stop that began in an earlier token."""


SMALL = 20_000_000
"""Parameters below which one thread does it: a step is then too short to share out (16 sequences of a
small model took 2.1 s with one thread and 12.8 s with two on a busy machine of two cores)."""

hub_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


class _Row(NamedTuple):
    """A sequence that is growing."""

    request: Request
    new: list[int]
    stream: torch.Generator
    limit: int
    ends: frozenset[int]


class Local:
    """A folder with a model and its tokenizer, ready to complete prompts."""

    def __init__(self, path: Path, settings: Sample) -> None:
        self.path, self.settings = path, settings
        self.device = _device(settings.device)
        self.tokenizer = tokenizer_at(path)
        self.context = context_of(config_at(path))
        self.identity = {
            "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "device": self.device.split(":")[0],
            "dtype": settings.dtype,
            "batch": str(settings.batch),
            **tokenizer_identity(self.tokenizer),
        }

    @cached_property
    def model(self) -> Any:
        """The weights, loaded when the first token is asked for."""
        path, dtype = self.path, self.settings.dtype
        model: Any = _loaded(
            path, lambda: AutoModelForCausalLM.from_pretrained(path, local_files_only=True, dtype=dtype)
        )
        model.to(self.device).train(False)
        size = sum(weight.numel() for weight in model.parameters())
        if self.device == "cpu" and size < SMALL:
            torch.set_num_threads(1)
        log.info("%s: %s parameters, %s on %s", path, f"{size:,}", model.dtype, self.device)
        return model

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end any completion."""
        ends = self.model.generation_config.eos_token_id
        named = ends if isinstance(ends, list) else [ends]
        return frozenset({self.tokenizer.eos_token_id, *named} - {None})

    def prompt(self, problem: Problem, max_new_tokens: int) -> Prompt:
        """The problem in tokens; of a prompt too long for the context, what fits."""
        return prompts.encode(self.tokenizer, problem, prompts.room(self.context, max_new_tokens))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion]]:
        """Each request with its completion, as they finish."""
        # Like lengths together waste the least on padding; long ones first show a lack of memory early.
        ordered = sorted(requests, key=lambda one: (-len(one.prompt.ids), one.prompt.ids, one.sample))
        for start in range(0, len(ordered), self.settings.batch):
            try:
                yield from self._draw(ordered[start : start + self.settings.batch])
            except torch.OutOfMemoryError:
                raise Refusal(
                    f"{self.device} has no memory for {self.settings.batch} sequences at once: "
                    "give a smaller --batch and run again."
                ) from None

    @torch.inference_mode()
    def _draw(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion]]:
        """One completion for each request."""
        live = [self._row(request) for request in requests]
        cache = DynamicCache(config=self.model.config)
        logits_BV, mask_BT = self._prefill(requests, cache)
        while True:
            picked = self._pick(logits_BV, live)
            ended = [self._grow(row, token) for row, token in zip(live, picked, strict=True)]
            for row, finish in zip(live, ended, strict=True):
                if finish is not None:
                    yield row.request, self._completion(row, finish)
            staying = [column for column, finish in enumerate(ended) if finish is None]
            if not staying:
                return
            if len(staying) < len(live):
                cache.batch_select_indices(torch.tensor(staying, device=self.device))
                mask_BT = mask_BT[staying]
                live = [live[column] for column in staying]
            ids_BT = torch.tensor([[row.new[-1]] for row in live], device=self.device)
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(live), 1)], dim=1)
            logits_BV = self._next(ids_BT, mask_BT, cache)

    def _row(self, request: Request) -> _Row:
        limit = max(min(request.max_new_tokens, self.context - len(request.prompt.ids)), 1)
        stream = torch.Generator().manual_seed(request.seed)
        return _Row(request, [], stream, limit, self.ends | set(request.prompt.ends))

    def _prefill(self, requests: Sequence[Request], cache: DynamicCache) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and mask of every sequence, each different prompt having been read once."""
        different = list(dict.fromkeys(request.prompt.ids for request in requests))
        place = {ids: number for number, ids in enumerate(different)}
        ids_UT, mask_UT = self._padded(different)
        logits_UV = self._next(ids_UT, mask_UT, cache)
        if len(different) == len(requests):
            return logits_UV, mask_UT
        of_B = torch.tensor([place[request.prompt.ids] for request in requests], device=self.device)
        cache.batch_select_indices(of_B)
        return logits_UV[of_B], mask_UT[of_B]

    def _padded(self, rows: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, rows))
        ids_BT = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=self.device)
        mask_BT = torch.tensor(
            [[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self.device
        )
        return ids_BT, mask_BT

    def _next(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """Logits of the next token; ``ids_BT`` holds the tokens that the cache does not."""
        position_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
        logits_BV: torch.Tensor = self.model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=position_BT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return logits_BV

    def _pick(self, logits_BV: torch.Tensor, rows: Sequence[_Row]) -> list[int | None]:
        """The next token of each row; None where the logits allow no choice."""
        # A model may rule tokens out by -inf; NaN, +inf and nothing but -inf are a model that broke.
        fit_B = ~(logits_BV.isnan() | logits_BV.isposinf()).any(1) & logits_BV.isfinite().any(1)
        if self.settings.temperature <= 0:
            picked = logits_BV.argmax(dim=1).tolist()
        else:
            sane_BV = torch.where(fit_B[:, None], logits_BV, 0.0).double()
            probabilities_BV = (sane_BV / self.settings.temperature).softmax(dim=1).cpu()
            picked = [
                draw(row_V, self.settings.top_p, row.stream)
                for row_V, row in zip(probabilities_BV, rows, strict=True)
            ]
        return [token if fit else None for token, fit in zip(picked, fit_B.tolist(), strict=True)]

    def _grow(self, row: _Row, token: int | None) -> str | None:
        """Add a token to a row; how the row ends with it, if it does."""
        if token is None:
            return "not_finite"
        if token in row.ends:
            return "eos"
        row.new.append(token)
        if self._stopped(row.request, row.new):
            return "stop"
        return "length" if len(row.new) == row.limit else None

    def _stopped(self, request: Request, ids: list[int]) -> bool:
        longest = max((len(stop.encode()) for stop in request.stop), default=0)
        tail = self._decode(ids[-longest - TAIL_TOKENS :])
        if not any(stop in tail for stop in request.stop):
            return False
        text = self._text(request.prompt.ids, ids)
        return any(stop in text for stop in request.stop)

    def _completion(self, row: _Row, finish: str) -> Completion:
        seed = row.request.seed if self.settings.temperature > 0 else None
        detail = f"logits not finite after {len(row.new)} tokens" if finish == "not_finite" else None
        return Completion(self._text(row.request.prompt.ids, row.new), finish, len(row.new), seed, detail)

    def _text(self, prompt: Sequence[int], ids: list[int]) -> str:
        """What the model added: the text of all tokens less the text of the prompt's."""
        before, whole = self._decode(prompt), self._decode([*prompt, *ids])
        return whole[len(before) :] if whole.startswith(before) else self._decode(ids)

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


def tokenizer_at(path: Path) -> Any:
    """The tokenizer in a folder."""
    return _loaded(path, lambda: AutoTokenizer.from_pretrained(path, local_files_only=True))


def config_at(path: Path) -> Any:
    """The shape of the model in a folder."""
    return _loaded(path, lambda: AutoConfig.from_pretrained(path, local_files_only=True))


def context_of(config: Any) -> int:
    """Tokens that a model can look at."""
    return int(getattr(config, "max_position_embeddings", 1 << 20))


def tokenizer_identity(tokenizer: Any) -> dict[str, str]:
    """Hashes of what makes tokens of a text, and a prompt of a chat."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    added = [tokenizer.bos_token, tokenizer.eos_token]
    return {"tokenizer": digest(words, added), "template": digest(tokenizer.chat_template)}


def _loaded(path: Path, load: Any) -> Any:
    try:
        return load()
    except (OSError, ValueError, KeyError, ImportError) as error:
        line = str(error).strip().split("\n")[0]
        raise Refusal(f"{path} is not a model that transformers can load: {line}") from None


def _device(name: str) -> str:
    device = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        line = str(error).strip().split("\n")[0]
        raise Refusal(f"--device {device} is not to be had: {line}") from None
    return device


def draw(probabilities_V: torch.Tensor, top_p: float, stream: torch.Generator) -> int:
    """A token by one uniform number, from the likeliest ones that together hold ``top_p``."""
    sorted_V, order_V = probabilities_V.sort(descending=True, stable=True)
    total_V = sorted_V.cumsum(0)
    kept = int((total_V < top_p).sum()) + 1
    chosen = torch.rand((), generator=stream, dtype=torch.float64) * total_V[:kept][-1]
    return int(order_V[min(int((total_V <= chosen).sum()), kept - 1)])
