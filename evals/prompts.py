"""What a model is given for a problem: its text as it stands, a gap to fill, or a user's turn in a chat.

Text becomes token ids here and nowhere else, so that a begin-of-text token is there once or not at all,
and no text is taken for the marks around it.  (What a chat template makes is one text, marks included.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from corpus import Refusal
from evals.suites.problem import Problem


class Prompt(NamedTuple):
    """A problem as a model is asked it."""

    text: str
    """The problem's own; the prefix where there is a suffix, the user's turn in a chat."""
    suffix: str | None = None
    chat: bool = False
    ids: tuple[int, ...] = ()
    """All of it for the model, marks included; empty where nobody here knows the tokenizer."""
    ends: tuple[int, ...] = ()
    """Further tokens that end a completion."""


class Marks(NamedTuple):
    """The tokens that announce a gap, in this order: begin, prefix, hole, suffix, end."""

    begin: str
    hole: str
    end: str
    stops: tuple[str, ...] = ()
    """Tokens by which the model says that the gap is filled, beside its end of text."""


FIM = {
    "DeepSeek-Coder": Marks("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    "Qwen2.5-Coder": Marks(
        "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", ("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>")
    ),
    "StarCoder": Marks("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    "SantaCoder": Marks("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    "CodeLlama": Marks("▁<PRE>", "▁<SUF>", "▁<MID>", ("▁<EOT>",)),
}
"""Fill-in-the-middle by family, as each model card gives it: DeepSeek-Coder's README ("Code Insertion"),
Qwen2.5-Coder's README ("Fill in the middle"), StarCoder (arXiv 2305.06161, also StarCoder2), SantaCoder
(arXiv 2301.03988), CodeLlama (arXiv 2308.12950, 2.3).  CodeGemma has Qwen's."""


def encode(tokenizer: Any, problem: Problem, room: int) -> Prompt:
    """The problem in the tokens of a model.

    Args:
        tokenizer: As transformers loads it.
        room: Tokens that the prompt may have; a longer one loses its beginning, and a suffix its end.

    Raises:
        Refusal: the tokenizer has no fill-in-the-middle tokens or no chat template but the problem needs
            them, or it is not the tokenizer of a language model.
    """
    if problem.suffix is not None:
        ids, ends = _gap(tokenizer, problem.prompt, problem.suffix, room)
    else:
        ids, ends = _chat(tokenizer, problem) if problem.chat else _ids(tokenizer, problem.prompt), []
    begin = tokenizer.bos_token_id
    if begin is not None and ids[:2] == [begin, begin]:
        raise Refusal("the tokenizer begins a prompt with two BOS tokens: its settings add one too many.")
    if not ids:
        raise Refusal("the tokenizer makes no token of a prompt: it is not the tokenizer of this model.")
    if len(ids) > room:
        first = [begin] if ids[0] == begin else []
        ids = first + ids[len(ids) - room + len(first) :]
    return Prompt(problem.prompt, problem.suffix, problem.chat, tuple(ids), tuple(ends))


def _chat(tokenizer: Any, problem: Problem) -> list[int]:
    """One user's turn, and the beginning of the answer."""
    if not tokenizer.chat_template:
        raise Refusal(
            f"{problem.suite} asks in a chat, but this tokenizer has no chat template: "
            "choose its base protocol, or give an instruct model."
        )
    turn = [{"role": "user", "content": problem.prompt}]
    text = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _gap(tokenizer: Any, prefix: str, suffix: str, room: int) -> tuple[list[int], list[int]]:
    """The ids of a prompt with a gap, and the tokens that end what fills it."""
    marks, known = family(tokenizer)
    before = _ids(tokenizer, prefix)
    after = _continued(tokenizer, suffix)
    begin = before[:1] if before[:1] == [tokenizer.bos_token_id] else []
    before = before[len(begin) :]
    spare = max(room - len(begin) - 3, 2)
    # The text next to the gap says most; each side may take what the other leaves.
    right = min(len(after), max(spare // 2, spare - len(before)))
    left = before[max(len(before) - (spare - right), 0) :]
    ids = [*begin, known[marks.begin], *left, known[marks.hole], *after[:right], known[marks.end]]
    return ids, [known[stop] for stop in marks.stops if stop in known]


def family(tokenizer: Any) -> tuple[Marks, dict[str, int]]:
    """The fill-in-the-middle marks that a tokenizer knows, and its vocabulary."""
    known: dict[str, int] = tokenizer.get_vocab()
    for marks in FIM.values():
        if all(mark in known for mark in marks[:3]):
            return marks, known
    raise Refusal(
        f"the tokenizer has no fill-in-the-middle tokens (none of {', '.join(FIM)}): "
        "this model cannot be asked to fill gaps, choose suites without them."
    )


def _continued(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text that follows another: SentencePiece puts a space before whatever comes first."""
    mark = _ids(tokenizer, "\N{WHITE SMILING FACE}", add_special_tokens=False)
    ids = _ids(tokenizer, f"\N{WHITE SMILING FACE}{text}", add_special_tokens=False)
    if ids[: len(mark)] == mark:
        return ids[len(mark) :]
    return _ids(tokenizer, text, add_special_tokens=False)


def _ids(tokenizer: Any, text: str, **more: bool) -> list[int]:
    """The ids of a text; what looks like a special token in it stays text."""
    ids: list[int] = tokenizer(text, split_special_tokens=True, **more)["input_ids"]
    return ids


def room(context: int, max_new_tokens: int) -> int:
    """Tokens that a prompt may have; at least half of the context, however long the answer may get."""
    return max(context - max_new_tokens, context // 2)
