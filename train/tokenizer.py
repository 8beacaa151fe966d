"""Byte-level BPE with DeepSeek-Coder's pieces and special tokens, trained on a sample of the corpus.

Every text comes back exactly (bytes are the alphabet), and no text can produce a special token: see
``load``.  The trainer counts whole words, so neither the number of threads nor the order of documents
changes the result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import corpus
import hub
from corpus import Refusal
from train.config import Tokenizer as Settings

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
FIM_HOLE = "<｜fim▁hole｜>"
FIM_BEGIN = "<｜fim▁begin｜>"
FIM_END = "<｜fim▁end｜>"
PAD = "<pad>"
SPECIALS = (BOS, EOS, FIM_HOLE, FIM_BEGIN, FIM_END, PAD, "<|User|>", "<|Assistant|>", "<|EOT|>")
"""In the order of DeepSeek's ids 32013 to 32021; the bars of the first five are U+FF5C."""

PIECES = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+")
"""What BPE never merges across, as llama.cpp carries it for "deepseek-coder"; digits stand alone."""


DIRECT = {*range(33, 127), *range(161, 173), *range(174, 256)}
"""Bytes that byte-level BPE spells as the character of that number; the others as those from 256 on."""
_OTHERS = [byte for byte in range(256) if byte not in DIRECT]
WITHIN = frozenset(chr(byte if byte in DIRECT else 256 + _OTHERS.index(byte)) for byte in range(0x80, 0xC0))
"""Letters for the bytes that go on with a character of UTF-8."""

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
"""What a tokenizer's table holds; the last two may be missing in other people's."""


def train(texts: Iterator[str], vocabulary: int) -> Tokenizer:
    """A tokenizer with at most ``vocabulary`` BPE tokens; the ids of the specials follow them."""
    tokenizer = Tokenizer(models.BPE())
    splits = [pre_tokenizers.Split(Regex(piece), "isolated") for piece in PIECES]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *splits,
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def sample(table: corpus.Table, budget: int, seed: int) -> set[str]:
    """Ids of the documents to learn from: in the order of a hash, each that still fits ``budget`` bytes."""
    sizes = table.scan().select("id", "bytes").collect()
    ranked = sorted((_rank(seed, key), size, key) for key, size in sizes.iter_rows())
    chosen: set[str] = set()
    for _, size, key in ranked:
        if size <= budget:
            budget -= size
            chosen.add(key)
    if not chosen:
        raise Refusal(
            f"no document of {table.path} fits into sample_bytes={budget}: "
            "raise it, or look into the funnel of the corpus."
        )
    return chosen


def texts(table: corpus.Table, chosen: set[str]) -> Iterator[str]:
    """The chosen documents' texts, in the order of the table."""
    for shard in table.shards():
        for batch in table.batches(shard, ["id", "text"]):
            for key, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
                if key in chosen:
                    yield text


def files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """The files of a folder that ``AutoTokenizer`` loads, in transformers 4 as well as 5."""
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "additional_special_tokens": [text for text in SPECIALS if text not in (BOS, EOS, PAD)],
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 16384,
    }
    names = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
    return {
        FILES[0]: tokenizer.to_str(pretty=True).encode(),
        FILES[1]: json.dumps(settings, indent=2, ensure_ascii=False).encode(),
        FILES[2]: json.dumps(names, indent=2, ensure_ascii=False).encode(),
    }


def adopt(name: str, dst: Path, settings: Settings) -> corpus.Table:
    """The tokenizer of another model as a table; refuses one that lacks a token that rows are made with."""
    pin = hub.commit_of(name) if hub.named(name) else ""
    folder = hub.fetched(pin) if pin else Path(name)
    found = {file: folder / file for file in FILES if (folder / file).exists()}
    if FILES[0] not in found:
        raise Refusal(f"{name} has no {FILES[0]}: give a model with a tokenizer of that form.")
    loaded = parsed(found[FILES[0]])
    for file in found.values():
        _refuse_damaged(file)
    for text in (BOS, EOS, FIM_HOLE, FIM_BEGIN, FIM_END, PAD):
        if loaded.encode(text, add_special_tokens=False).ids != [special(loaded, text)]:
            raise Refusal(f"{name} reads {text} as several tokens: it is no special token there.")
    pin = pin or " ".join(corpus.sha256_of(path) for path in found.values())
    with corpus.building(dst, "tokenizer", made_by="train tokenizer", settings=settings, start=pin) as out:
        if isinstance(out, corpus.Table):
            return out
        out.write("tokenizer", {file: path.read_bytes() for file, path in found.items()})
        return out.seal(vocabulary=loaded.get_vocab_size())


def parsed(file: Path) -> Tokenizer:
    """Somebody's tokenizer.json; refuses one that the library cannot read."""
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing more precise
        raise Refusal(f"{file} is no tokenizer ({str(error)[:150]}): give another model.") from None


def _refuse_damaged(file: Path) -> None:
    """What is exported with a model is read then: better to know before it is trained."""
    try:
        whole = isinstance(json.loads(file.read_text()), dict)
    except ValueError:
        whole = False
    if not whole:
        raise Refusal(f"{file} is no JSON object: the tokenizer is damaged.")


def for_chat(contents: Mapping[str, corpus.Content], form: str, end: str) -> dict[str, bytes]:
    """A tokenizer's files as an instruction-tuned model has them: with a chat template that ``end`` ends.

    Args:
        contents: The files by name; those not given here stay as they are.
        form: The template, for jinja.
    """
    changed: dict[str, bytes] = {"chat_template.jinja": form.encode()}
    for name in FILES[1:]:
        given = contents.get(name, b"{}")
        assert isinstance(given, bytes)
        told = json.loads(given) | {"eos_token": end} | ({"chat_template": form} if name == FILES[1] else {})
        changed[name] = json.dumps(told, indent=2, ensure_ascii=False).encode()
    return changed


def load(table: Path) -> Tokenizer:
    """The tokenizer for documents: a special token's name in their text is text like any other.

    Crawled documents may hold ``<｜fim▁hole｜>`` and the like, by chance or to do harm; here they
    become ordinary tokens.  ``AutoTokenizer`` reads the same names as special tokens, as a prompt wants.
    """
    tokenizer = Tokenizer.from_file(str(table / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def special(tokenizer: Tokenizer, name: str) -> int:
    """The single id of a special token; refuses a tokenizer that lacks it."""
    token = tokenizer.token_to_id(name)
    if token is None:
        raise Refusal(f"the tokenizer has no token {name}: make one with `train tokenizer`.")
    return int(token)


def byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """How many bytes of text each id stands for, (ids,) uint16; specials stand for none."""
    lengths = np.zeros(tokenizer.get_vocab_size(), np.uint16)
    for text, token in tokenizer.get_vocab().items():
        lengths[token] = len(text)  # one character of the alphabet per byte
    for token, added in tokenizer.get_added_tokens_decoder().items():
        # DeepSeek's tokenizer has thirteen characters outside of BPE, spelled as themselves.
        lengths[token] = 0 if added.special else len(added.content.encode())
    return lengths


def characters(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """How many characters begin in each id, (ids,) uint16; whether it begins with one, (ids,) bool."""
    counts = np.zeros(tokenizer.get_vocab_size(), np.uint16)
    opens = np.zeros(len(counts), np.bool_)
    for text, token in tokenizer.get_vocab().items():
        begins = [letter not in WITHIN for letter in text]
        counts[token], opens[token] = sum(begins), begins[0]
    for token, added in tokenizer.get_added_tokens_decoder().items():
        counts[token], opens[token] = 0 if added.special else len(added.content), True
    return counts, opens


def _rank(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"tokenizer:{seed}:{key}".encode(), digest_size=16).digest()
