"""Completions by a causal language model that transformers can load: batched, cached, repeatable.

Shapes: B sequences, T tokens so far, V the vocabulary.

* Prompts are padded on the left, so every sequence ends in the same column; padding is masked out and
  does not count in positions.
* A sequence ends for itself: at an end token, at a stop string in its decoded text, or at the limit.  It
  then leaves the batch, and the others go on without it.
* Each sample draws from its own random stream, keyed by (seed, suite, problem, sample), one number a
  token.  Batch and order change nothing but the last bits of the arithmetic.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils import logging as hub_logging

from corpus import Refusal
from evals.config import Sample
from evals.sample import Completion
from evals.suites.problem import Problem

log = logging.getLogger(__name__)

TAIL_TOKENS = 8
"""Tokens decoded at each step beyond the length of the longest stop string, every token being at least
one byte: enough to see a stop that began in an earlier token."""


SMALL = 20_000_000
"""Parameters below which one thread does it: a step is then too short to share out (16 sequences of a
small model took 2.1 s with one thread and 12.8 s with two on a busy machine of two cores)."""

hub_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


class Request(NamedTuple):
    """One sample to draw."""

    key: tuple[int, int]
    """Position of the problem, number of the sample."""
    ids: list[int]
    stop: list[str]
    seed: int


class Generator:
    """A model and its tokenizer, ready to complete problems."""

    def __init__(self, path: Path, settings: Sample) -> None:
        self.settings = settings
        self.device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            line = str(error).strip().split("\n")[0]
            raise Refusal(f"--device {self.device} is not to be had: {line}") from None
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True)
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                path, local_files_only=True, dtype=settings.dtype
            )
        except (OSError, ValueError, KeyError) as error:
            line = str(error).strip().split("\n")[0]
            raise Refusal(f"{path} is not a model that transformers can load: {line}") from None
        self.model.to(self.device)  # type: ignore[arg-type]
        self.model.train(False)
        ends = self.model.generation_config.eos_token_id
        self.ends = {self.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        self.context = int(getattr(self.model.config, "max_position_embeddings", 1 << 20))
        size = sum(weight.numel() for weight in self.model.parameters())
        if self.device == "cpu" and size < SMALL:
            torch.set_num_threads(1)
        log.info("%s: %s parameters, %s on %s", path, f"{size:,}", self.model.dtype, self.device)

    def complete(self, problems: list[Problem]) -> list[list[Completion]]:
        """The completions of each problem, in the order of the problems."""
        drawn: dict[tuple[int, int], Completion] = {}
        # Like lengths together waste the least on padding; long ones first show a lack of memory early.
        requests = sorted(self._requests(problems), key=lambda request: (-len(request.ids), request.key))
        for start in range(0, len(requests), self.settings.batch):
            batch = requests[start : start + self.settings.batch]
            drawn |= zip((request.key for request in batch), self._draw(batch), strict=True)
        return [[drawn[at, number] for number in range(self.settings.samples)] for at in range(len(problems))]

    def _requests(self, problems: list[Problem]) -> list[Request]:
        requests = []
        for at, problem in enumerate(problems):
            ids = self.prompt_ids(problem.prompt)
            for number in range(self.settings.samples):
                seed = seed_of(self.settings.seed, problem.suite, problem.problem, number)
                requests.append(Request((at, number), ids, problem.stop, seed))
        return requests

    def prompt_ids(self, prompt: str) -> list[int]:
        """The prompt as the tokenizer gives it, without its beginning where the context is too short."""
        ids: list[int] = self.tokenizer(prompt)["input_ids"]
        begin = self.tokenizer.bos_token_id
        if begin is not None and ids[:2] == [begin, begin]:
            raise Refusal("the tokenizer begins a prompt with two BOS tokens: its settings add one too many.")
        if not ids:
            raise Refusal("the tokenizer makes no token of a prompt: it is not the tokenizer of this model.")
        room = max(self.context - self.settings.max_new_tokens, self.context // 2)
        return ids[-room:]

    @torch.inference_mode()
    def _draw(self, requests: list[Request]) -> list[Completion]:
        """One completion for each request."""
        new: list[list[int]] = [[] for _ in requests]
        finish = ["length"] * len(requests)
        streams = [torch.Generator().manual_seed(request.seed) for request in requests]
        live = list(range(len(requests)))
        ids_BT, mask_BT = self._padded([request.ids for request in requests])
        limit = min(self.settings.max_new_tokens, max(self.context - ids_BT.shape[1], 1))
        cache = DynamicCache(config=self.model.config)
        for _ in range(limit):
            logits_BV = self._next(ids_BT, mask_BT, cache)
            picked = self._pick(logits_BV, [streams[row] for row in live])
            staying = []
            for column, row in enumerate(live):
                if picked[column] in self.ends:
                    finish[row] = "eos"
                    continue
                new[row].append(picked[column])
                if self._stopped(requests[row], new[row]):
                    finish[row] = "stop"
                else:
                    staying.append(column)
            if not staying:
                break
            if len(staying) < len(live):
                cache.batch_select_indices(torch.tensor(staying, device=self.device))
                mask_BT = mask_BT[staying]
                live = [live[column] for column in staying]
            ids_BT = torch.tensor([[picked[column]] for column in staying], device=self.device)
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(staying), 1)], dim=1)
        return [
            Completion(
                self._text(request.ids, ids),
                end,
                len(ids),
                request.seed if self.settings.temperature > 0 else None,
            )
            for request, ids, end in zip(requests, new, finish, strict=True)
        ]

    def _padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, rows))
        ids_BT = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=self.device)
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
        if not torch.isfinite(logits_BV).any(dim=1).all():
            raise Refusal(
                "the model gives no finite logit: its weights are broken, or --dtype does not suit them."
            )
        return logits_BV

    def _pick(self, logits_BV: torch.Tensor, streams: list[torch.Generator]) -> list[int]:
        if self.settings.temperature <= 0:
            likeliest: list[int] = logits_BV.argmax(dim=1).tolist()
            return likeliest
        probabilities_BV = (logits_BV.double() / self.settings.temperature).softmax(dim=1).cpu()
        return [
            draw(row_V, self.settings.top_p, stream)
            for row_V, stream in zip(probabilities_BV, streams, strict=True)
        ]

    def _stopped(self, request: Request, ids: list[int]) -> bool:
        longest = max((len(stop.encode()) for stop in request.stop), default=0)
        tail = self.tokenizer.decode(ids[-longest - TAIL_TOKENS :], skip_special_tokens=True)
        if not any(stop in tail for stop in request.stop):
            return False
        text = self._text(request.ids, ids)
        return any(stop in text for stop in request.stop)

    def _text(self, prompt: list[int], ids: list[int]) -> str:
        """What the model added: the text of all tokens less the text of the prompt's."""
        before: str = self.tokenizer.decode(prompt, skip_special_tokens=True)
        whole: str = self.tokenizer.decode(prompt + ids, skip_special_tokens=True)
        if whole.startswith(before):
            return whole[len(before) :]
        alone: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return alone


def seed_of(seed: int, suite: str, problem: str, sample: int) -> int:
    """The seed of one sample's random stream: 63 bits that depend on nothing but its key."""
    digest = hashlib.sha256(f"{seed}\0{suite}\0{problem}\0{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def draw(probabilities_V: torch.Tensor, top_p: float, stream: torch.Generator) -> int:
    """A token by one uniform number, from the likeliest ones that together hold ``top_p``."""
    sorted_V, order_V = probabilities_V.sort(descending=True, stable=True)
    total_V = sorted_V.cumsum(0)
    kept = int((total_V < top_p).sum()) + 1
    chosen = torch.rand((), generator=stream, dtype=torch.float64) * total_V[:kept][-1]
    return int(order_V[min(int((total_V <= chosen).sum()), kept - 1)])
