"""The tokenizer gives every text back and no text can speak in special tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

import corpus
from corpus import Refusal
from train import cli, tokenizer
from train.tokenizer import SPECIALS

SNIPPETS = [" ", "\n", "\r\n", "\t", "def", "0", "42", "é", "你好", "。", "<pad>", *SPECIALS]


@pytest.fixture(scope="module")
def loaded(words: corpus.Table) -> Tokenizer:
    return tokenizer.load(words.path)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"])) | st.lists(st.sampled_from(SNIPPETS)).map("".join)
)
def test_every_text_comes_back_exactly_and_without_special_tokens(loaded: Tokenizer, text: str) -> None:
    ids = loaded.encode(text, add_special_tokens=False).ids
    assert loaded.decode(ids, skip_special_tokens=False) == text
    assert not set(ids) & {loaded.token_to_id(name) for name in SPECIALS}


def test_special_tokens_are_single_ids_after_the_vocabulary_in_deepseeks_order(loaded: Tokenizer) -> None:
    ids = [loaded.token_to_id(name) for name in SPECIALS]
    assert ids == list(range(ids[0], ids[0] + 9)) and ids[-1] == loaded.get_vocab_size() - 1


def test_digits_stand_alone_and_nothing_merges_across_a_line_end(loaded: Tokenizer) -> None:
    pieces = [loaded.id_to_token(i) for i in loaded.encode("x1234\n\n\n", add_special_tokens=False).ids]
    assert pieces == ["x", "1", "2", "3", "4", "Ċ", "Ċ", "Ċ"]


def test_bytes_per_token_add_up_to_the_bytes_of_the_text(loaded: Tokenizer) -> None:
    text = "def naïve(x):  # 你好 𝕏\n\treturn 12"
    lengths = tokenizer.byte_lengths(loaded)
    assert lengths[loaded.encode(text, add_special_tokens=False).ids].sum() == len(text.encode())


def test_transformers_loads_the_folder_with_the_same_ids_behind_bos(
    words: corpus.Table, loaded: Tokenizer
) -> None:
    auto = AutoTokenizer.from_pretrained(words.path)
    text = "def f(x):\n    return 10"
    plain = loaded.encode(text, add_special_tokens=False).ids
    assert auto(text).input_ids == [auto.bos_token_id, *plain]
    assert auto(SPECIALS[3], add_special_tokens=False).input_ids == [loaded.token_to_id(SPECIALS[3])]
    assert (auto.bos_token, auto.eos_token, auto.pad_token) == (SPECIALS[0], SPECIALS[1], SPECIALS[5])


@pytest.mark.parametrize("threads", ["1", "3"])
def test_neither_threads_nor_the_order_of_documents_change_a_byte(
    documents: corpus.Table, words: corpus.Table, threads: str
) -> None:
    program = (
        "import sys, corpus, pathlib\n"
        "from train import tokenizer as t\n"
        "table = corpus.read(pathlib.Path(sys.argv[1]))\n"
        "texts = reversed(list(t.texts(table, t.sample(table, 1 << 30, 0))))\n"
        "sys.stdout.buffer.write(t.files(t.train(texts, 600))['tokenizer.json'])\n"
    )
    command = [sys.executable, "-c", program, str(documents.path)]
    made = subprocess.run(
        command, env={**os.environ, "RAYON_NUM_THREADS": threads}, capture_output=True, check=True
    )
    assert made.stdout == (words.path / "tokenizer.json").read_bytes()


def test_the_sample_stays_within_its_bytes_and_is_refused_when_nothing_fits(documents: corpus.Table) -> None:
    sizes = dict(documents.scan().select("id", "bytes").collect().iter_rows())
    chosen = tokenizer.sample(documents, 20_000, 0)
    assert 0 < sum(sizes[key] for key in chosen) <= 20_000
    with pytest.raises(Refusal, match="sample_bytes=1"):
        tokenizer.sample(documents, 1, 0)


def test_another_models_tokenizer_is_taken_as_it_is_and_one_without_sentinels_is_not(
    words: corpus.Table, loaded: Tokenizer, tmp_path: Path
) -> None:
    theirs = Tokenizer.from_file(str(words.path / "tokenizer.json"))
    theirs.add_tokens(["õ"])  # as DeepSeek's has: a character beside BPE, no special token
    (tmp_path / "theirs").mkdir()
    theirs.save(str(tmp_path / "theirs" / "tokenizer.json"))
    taken = cli.tokenizer(tmp_path, tmp_path / "taken", start=str(tmp_path / "theirs"))
    again = tokenizer.load(taken.path)
    text = "õ = 'ñõ'  # <pad>"
    ids = again.encode(text, add_special_tokens=False).ids
    assert theirs.token_to_id("õ") in ids and tokenizer.byte_lengths(again)[ids].sum() == len(text.encode())
    for name in ("tokenizer_config.json", "tokenizer.json"):
        (tmp_path / "theirs" / name).write_text("{")
        with pytest.raises(Refusal, match=f"{name} is no"):
            cli.tokenizer(tmp_path, tmp_path / "other", start=str(tmp_path / "theirs"))
    loaded.save(str(tmp_path / "theirs" / "tokenizer.json"))
    (tmp_path / "theirs" / "tokenizer_config.json").write_text("[]")
    with pytest.raises(Refusal, match=r"tokenizer_config.json is no JSON object"):
        cli.tokenizer(tmp_path, tmp_path / "other", start=str(tmp_path / "theirs"))
    (tmp_path / "theirs" / "tokenizer_config.json").unlink()
    plain = Tokenizer(loaded.model)
    plain.save(str(tmp_path / "theirs" / "tokenizer.json"))
    with pytest.raises(Refusal, match="has no token"):
        cli.tokenizer(tmp_path, tmp_path / "other", start=str(tmp_path / "theirs"))


def test_a_tokenizer_without_the_special_tokens_is_refused() -> None:
    from tokenizers import models

    with pytest.raises(Refusal, match="has no token"):
        tokenizer.special(Tokenizer(models.BPE()), tokenizer.EOS)


def test_the_specials_are_deepseeks_to_the_code_point() -> None:
    assert [name.encode("unicode_escape").decode() for name in SPECIALS[:5]] == [
        rf"<\uff5c{name}\uff5c>"
        for name in (
            r"begin\u2581of\u2581sentence",
            r"end\u2581of\u2581sentence",
            r"fim\u2581hole",
            r"fim\u2581begin",
            r"fim\u2581end",
        )
    ]
