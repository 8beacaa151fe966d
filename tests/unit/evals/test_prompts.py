"""A model is given exactly the tokens that its family asks for, or the run says in one line why not."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import corpus
from evals.prompts import FIM, encode
from evals.suites.problem import Problem


def tokenizer(*marks, spaced=False, template=None):
    """Bytes as tokens, or characters with SentencePiece's space in front; begins texts with <s>."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet()) if not spaced else ["▁", "☺", *"abcdefgh()\n"]
    words = ["<s>", "</s>", *marks, *letters]
    bare = Tokenizer(models.BPE(vocab={word: n for n, word in enumerate(words)}, merges=[]))
    if spaced:
        bare.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        bare.decoder = decoders.Metaspace(prepend_scheme="first")
    else:
        bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bare.decoder = decoders.ByteLevel()
    bare.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    found = PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token="<s>", eos_token="</s>", additional_special_tokens=list(marks)
    )
    found.chat_template = template
    return found


def asked(prompt, **named):
    return Problem(suite="s", problem="p", prompt=prompt, stop=[], reference=None, text="", **named)


@pytest.mark.parametrize("name", [name for name in FIM if name != "CodeLlama"])
def test_gap_is_announced_by_the_marks_of_the_family(name):
    begin, hole, end, stops = FIM[name]
    known = tokenizer(begin, hole, end, *stops)
    prompt = encode(known, asked("def f(", suffix=")\n  <s>"), 1000)
    assert known.decode(prompt.ids) == f"<s>{begin}def f({hole})\n  <s>{end}"
    assert prompt.ids.count(0) == 1  # the suffix's own <s> is text, not the token
    assert [known.convert_ids_to_tokens(end) for end in prompt.ends] == list(stops)


def test_codellama_puts_no_space_before_the_suffix():
    begin, hole, end, stops = FIM["CodeLlama"]
    known = tokenizer(begin, hole, end, *stops, spaced=True)
    prompt = encode(known, asked("abc", suffix="def"), 1000)
    assert known.convert_ids_to_tokens(list(prompt.ids)) == ["<s>", begin, "▁", *"abc", hole, *"def", end]


def test_what_is_next_to_the_gap_is_kept_when_the_context_is_short():
    known = tokenizer(*FIM["StarCoder"][:3])
    text = known.decode(encode(known, asked("a" * 50 + "bc", suffix="de" + "f" * 50), 20).ids)
    assert text == "<s><fim_prefix>aaaaaabc<fim_suffix>deffffff<fim_middle>"
    text = known.decode(encode(known, asked("a" * 50, suffix="de"), 20).ids)
    assert text == f"<s><fim_prefix>{'a' * 14}<fim_suffix>de<fim_middle>"


def test_tokenizer_without_fim_tokens_or_template_is_one_line():
    with pytest.raises(corpus.Refusal, match=r"no fill-in-the-middle tokens.*DeepSeek-Coder") as refused:
        encode(tokenizer(), asked("a", suffix="b"), 100)
    assert "\n" not in str(refused.value)
    with pytest.raises(corpus.Refusal, match="s asks in a chat, but this tokenizer has no chat template"):
        encode(tokenizer(), asked("a", chat=True), 100)


def test_chat_template_is_filled_and_bos_is_there_once():
    turns = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    template = "{{ bos_token }}" + turns + "{% if add_generation_prompt %}[a]{% endif %}"
    known = tokenizer(template=template)
    prompt = encode(known, asked("hi", chat=True), 100)
    assert known.decode(prompt.ids) == "<s>[user]hi[a]" and prompt.ids.count(0) == 1
    known = tokenizer(template="{{ bos_token }}" + template)
    with pytest.raises(corpus.Refusal, match="two BOS"):
        encode(known, asked("hi", chat=True), 100)


def test_tokenizer_of_nothing_is_refused():
    silent = type("", (), {"bos_token_id": None, "__call__": lambda self, text, **named: {"input_ids": []}})()
    with pytest.raises(corpus.Refusal, match="makes no token of a prompt"):
        encode(silent, asked("x"), 9)
