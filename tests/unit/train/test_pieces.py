"""A document's pieces fit their row, hold all of its text, and say which part of it they are."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpus
from train import pieces, tokenizer
from train.config import Pack


@pytest.fixture(scope="module")
def encoder(words: corpus.Table) -> pieces.Encoder:
    return pieces.Encoder.of(tokenizer.load(words.path))


WORDS = st.lists(
    st.sampled_from(["def f(x):\n", "    return 1\n", "你好，", "𝕏", "<pad>", "zqj" * 9]), max_size=80
)


@settings(max_examples=60, deadline=None)
@given(text=WORDS.map("".join), key=st.text(max_size=3), spm=st.sampled_from([0.0, 1.0]))
def test_pieces_hold_every_character_once_and_fit(
    encoder: pieces.Encoder, text: str, key: str, spm: float
) -> None:
    made = list(pieces.cut(key, text, True, encoder, Pack(length=63, spm_rate=spm)))
    assert "".join(text[piece.start : piece.end] for piece in made) == text
    assert all(before.end == after.start for before, after in pairwise(made))
    for piece in made:
        assert len(piece.tokens) <= 64 and piece.tokens[0] == encoder.bos
        cut, hole = (piece.cut, piece.hole) if piece.cut is not None else (piece.end, piece.end)
        prefix, middle, suffix = text[piece.start : cut], text[cut:hole], text[hole : piece.end]
        order = (suffix, prefix, middle) if piece.mode == "spm" else (prefix, suffix, middle)
        assert encoder.tokenizer.decode(piece.tokens) == "".join(order)


def test_left_to_right_pieces_end_with_eos_only_where_the_document_ends(encoder: pieces.Encoder) -> None:
    made = list(pieces.cut("k", "return 1\n" * 200, False, encoder, Pack(length=63)))
    assert len(made) > 3 and {piece.mode for piece in made} == {"text"}
    assert [piece.tokens[-1] == encoder.eos for piece in made] == [False] * (len(made) - 1) + [True]


def test_the_same_key_and_seed_give_the_same_pieces_and_another_seed_does_not(
    encoder: pieces.Encoder,
) -> None:
    text = "value = 1\n" * 300
    first, again, other = (
        list(pieces.cut("k", text, True, encoder, Pack(length=63, seed=seed))) for seed in (1, 1, 2)
    )
    assert first == again != other
