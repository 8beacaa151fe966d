"""DeepSeek-Coder's two prompt formats, and which of their tokens are learned.

"chat" is the template of the published tokenizer, "script" what the published fine-tuning script writes;
they differ in the system prompt (spelling and a full stop), in whether a custom one is followed by a line
end, in whether questions are stripped, and in a line end after the last answer.  Loss is taken on answers
alone: their text, the line end after it, and EOT.

Texts of dialogues are never read as special tokens, whatever they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from train import tokenizer
from train.dialogues import Turn

Template = Literal["chat", "script"]

EOT = "<|EOT|>"

SYSTEM = {
    "chat": "You are an AI programming assistant, utilizing the Deepseek Coder model, developed by Deepseek "
    "Company, and you only answer questions related to computer science. For politically sensitive "
    "questions, security and privacy issues, and other non-computer science questions, you will refuse to "
    "answer",
    "script": "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by "
    "DeepSeek Company, and you only answer questions related to computer science. For politically sensitive "
    "questions, security and privacy issues, and other non-computer science questions, you will refuse to "
    "answer.",
}
"""tokenizer_config.json of deepseek-coder-6.7b-instruct; finetune/finetune_deepseekcoder.py."""


class Part(NamedTuple):
    """Text, or the name of a special token, and whether its tokens are predicted."""

    text: str
    answer: bool = False
    special: bool = False


def parts(turns: Sequence[Turn], template: Template) -> list[Part]:
    """A dialogue as it is written: [system], then questions and answers in turn."""
    given = turns[0].role == "system"
    written = [Part(tokenizer.BOS, special=True)]
    written.append(Part(turns[0].text if given else SYSTEM[template]))
    if not given or template == "script":
        written.append(Part("\n"))
    for turn in turns[given:]:
        if turn.role == "user":
            asked = turn.text.strip() if template == "script" else turn.text
            written.append(Part(f"### Instruction:\n{asked}\n"))
        else:
            written += [Part("### Response:\n"), Part(f"{turn.text}\n", answer=True)]
            written += [Part(EOT, answer=True, special=True), Part("\n")]
    return written if template == "chat" else written[:-1]


def encode(written: Sequence[Part], words: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """(T,) ids, and (T,) whether each is predicted.

    Neighbouring texts are tokenised as one, as whoever prompts the model will; a token across a border
    counts as of the part in which it begins.
    """
    ids: list[int] = []
    answer: list[bool] = []
    at = 0
    while at < len(written):
        if written[at].special:
            ids.append(tokenizer.special(words, written[at].text))
            answer.append(written[at].answer)
            at += 1
            continue
        end = next((n for n in range(at, len(written)) if written[n].special), len(written))
        texts = written[at:end]
        encoded = words.encode("".join(part.text for part in texts), add_special_tokens=False)
        begins = np.cumsum([0, *(len(part.text) for part in texts)])
        of = np.searchsorted(begins, [start for start, _ in encoded.offsets], side="right") - 1
        ids += encoded.ids
        answer += [texts[min(int(part), len(texts) - 1)].answer for part in of]
        at = end
    return np.array(ids, np.uint32), np.array(answer, bool)


def jinja(template: Template) -> str:
    """The same format as a chat template of transformers, for whoever prompts the trained model."""
    system, asked = SYSTEM[template], "message['content']"
    end_of_system = "" if template == "chat" else " + '\\n'"
    if template == "script":
        asked += ".strip()"
    after = "{{ '\\n' }}" if template == "chat" else "{% if not loop.last %}{{ '\\n' }}{% endif %}"
    return (
        "{{ bos_token }}"
        "{% if messages[0]['role'] != 'system' %}{{ '" + system + "\\n' }}{% endif %}"
        "{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ message['content']" + end_of_system + " }}"
        "{% elif message['role'] == 'user' %}{{ '### Instruction:\\n' + " + asked + " + '\\n' }}"
        "{% else %}{{ '### Response:\\n' + message['content'] + '\\n" + EOT + "' }}" + after + "{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
    )
