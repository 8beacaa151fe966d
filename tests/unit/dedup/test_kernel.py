"""The compiled kernel and its numpy twin give the same bits; signatures estimate the exact similarity."""

import re
from tempfile import TemporaryFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import bands, kernel, twin

ALPHABETS = (b"ab _\n", bytes(range(256)), b"aZ09_ ;{}(\xc3\xa9", b"#/*licence copyright \n-<!>?;%")
texts = st.sampled_from(ALPHABETS).flatmap(
    lambda alphabet: st.lists(
        st.builds(
            lambda letters, times: bytes(letters) * times,
            st.lists(st.sampled_from(list(alphabet)), max_size=90),
            st.sampled_from([1, 1, 1, 47, 500]),
        ),
        min_size=1,
        max_size=5,
    )
)


def laid_out(parts: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ends = np.cumsum([len(part) for part in parts]).astype(np.int64)
    return np.frombuffer(b"".join(parts), np.uint8), ends - [len(part) for part in parts], ends


@pytest.fixture(params=["compiled", "twin"])
def engine(request, monkeypatch):
    if request.param == "twin":
        monkeypatch.setattr(kernel, "engine", twin)
    return request.param


def test_the_kernel_was_compiled_here():
    assert kernel.COMPILED, "no C compiler at install time: the tests below compare the twin with itself"


@settings(deadline=None, max_examples=150)
@given(texts, st.sampled_from([1, 2, 5, 64]))
def test_signatures_shingles_and_headers_are_the_twins_bit_for_bit(parts, ngram):
    data, starts, ends = laid_out(parts)
    for module in (kernel.engine, twin):
        mine = starts.copy()
        module.behead(data, mine, ends)
        rows = np.array([0, len(parts) // 2, len(parts)])
        signatures, counts = np.empty((2, 256), np.uint8), np.empty(2, np.uint64)
        sketches = np.full((1, 256), 2**64 - 1, np.uint64)
        results = mine, signatures, counts, sketches
        with TemporaryFile() as file:
            module.sign(data, mine, ends, rows, np.array([0, 0]), *results[1:], ngram, file.fileno())
            file.seek(0)
            written = file.read()
        shingles = np.zeros(len(data) + 9, np.uint64)
        n = module.shingle(data, mine, ends, shingles, ngram)
        assert written == shingles[:n].tobytes()
        results = [*results, shingles, n]
        if module is kernel.engine:
            expected = results
    for got, wanted in zip(results, expected, strict=True):
        assert np.array_equal(got, wanted)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([2, 100]), st.sampled_from([5, 60]))
def test_the_choice_is_the_twins(seed, bucket, families):
    random = np.random.default_rng(seed)
    n = 80
    signatures = random.integers(0, 250, (n, 256), dtype=np.uint8)
    for row in range(families, n):  # rows with many or few bins in common
        signatures[row] = signatures[random.integers(row)]
        signatures[row, random.permutation(256)[: random.integers(120)]] = random.integers(250)
    slots, settled = random.permutation(n), random.random(n) < 0.1

    def compare(row, others):
        found = np.frombuffer(others, np.uint32)
        similar = np.flatnonzero((found + row) % 3 == 0)
        return (int(similar[0]), 0.75) if len(similar) else (-1, 0.0)

    answers = []
    for module in (kernel.engine, twin):
        found = np.empty(n, np.int64), np.empty(n, np.float64), np.empty(n, np.bool_)
        module.choose(signatures, slots, settled, *found, 16, 3, 140, 220, bucket, compare)
        answers.append(found)
    for got, wanted in zip(*answers, strict=True):
        assert np.array_equal(got, wanted)
    assert (answers[0][0][settled] == np.flatnonzero(settled)).all()


def test_what_a_comparison_raises_reaches_the_caller(engine):
    signatures = np.zeros((2, 256), np.uint8)
    signatures[1, 200:] = 1
    rows, settled = np.arange(2), np.zeros(2, np.bool_)
    with pytest.raises((ValueError, IndexError)):
        kernel.choose(
            signatures, rows, settled, lambda *_: (7, 1.0), bands=9, rows=9, limits=(9, 255), bucket=9
        )
    with pytest.raises(ZeroDivisionError):
        kernel.choose(
            signatures, rows, settled, lambda *_: 1 // 0, bands=9, rows=9, limits=(9, 255), bucket=9
        )


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 30), max_size=40), min_size=2, max_size=6))
def test_similarity_is_that_of_the_sets(lists):
    sets = [np.array(items, np.uint64) * np.uint64(0x9E3779B97F4A7C15) for items in lists]
    ends = np.cumsum([len(items) for items in sets])
    starts = ends - [len(items) for items in sets]
    left, right = (grid.ravel() for grid in np.meshgrid(np.arange(len(sets)), np.arange(len(sets))))
    for module in (kernel.engine, twin):
        found = np.empty(len(left))
        module.jaccard(np.concatenate(sets), starts, ends, left.copy(), right.copy(), found)
        for a, b, similarity in zip(left, right, found, strict=True):
            x, y = set(lists[a]), set(lists[b])
            assert similarity == (len(x & y) / len(x | y) if x | y else 1)


def test_sets_of_millions_of_shingles_are_compared_in_parts():
    numbers = np.arange(6_000_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert kernel.similarity(numbers[:5_000_000], numbers[4_000_000:]) == 1_000_000 / 6_000_000
    assert kernel.similarity(numbers[:5_000_000], numbers[:0]) == 0
    even = np.arange(8_300_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) * np.uint64(2)
    assert kernel.similarity(even[:4_150_000], even[4_150_000:]) == 0, "no text puts all into one part"


def test_shingles_are_windows_of_lower_cased_words(engine):
    text = b"Def  f(x):\n\treturn caf\xc3\xa9_1 + X" + b" 7" * 3000
    words = [word.lower() for word in re.findall(rb"[0-9A-Za-z_\x80-\xff]+", text)]
    windows = {b" ".join(words[i : i + 3]) for i in range(len(words) - 2)}
    data, starts, ends = laid_out([text, b" ".join(words)])
    found = kernel.shingle(data, starts, ends, 3, len(data))
    half = len(words) - 2
    assert len(found) == 2 * half and np.array_equal(found[:half], found[half:])
    assert len(set(found.tolist())) == len(windows)


def test_a_licence_header_is_skipped_and_other_comments_are_not(engine):
    body = b"int main;"
    heads = [
        b"/* Copyright me */\n",
        b"#!/bin/sh\n\n# SPDX-License: X\n",
        b"// a\n// licence\n",
        b"<!-- Licence -->",
    ]
    plain = [b"/* what it does */\n", b"", b"# how\n", b"/* open Copyright"]
    for head in heads:
        data, starts, ends = laid_out([head + body])
        kernel.behead(data, starts, ends)
        assert data[starts[0] :].tobytes().lstrip() == body
    for head in plain:
        data, starts, ends = laid_out([head + body])
        kernel.behead(data, starts, ends)
        assert starts[0] == 0


def test_the_least_of_two_sketches_is_the_sketch_of_the_union():
    random = np.random.default_rng(5)
    words = [f"w{number}".encode() for number in random.integers(0, 4000, 3000)]
    parts = [b" ".join(words[:1000]), b" ".join(words[1000:1100]), b" ".join(words[1100:])]
    data, starts, ends = laid_out(parts)
    apart = kernel.sign(data, starts, ends, np.arange(4), np.zeros(3, np.int64), 1, 5)[2]
    together = kernel.sign(data, starts, ends, np.array([0, 3]), np.zeros(1, np.int64), 1, 5)[2]
    assert np.array_equal(apart, together)


@pytest.mark.parametrize("size", [3, 40, 400, 20_000])
@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.9])
def test_estimates_keep_to_the_promised_deviation(size, similarity):
    """The share of equal bins of 60 pairs of texts lies about the exact similarity as a binomial would."""
    random, errors = np.random.default_rng(size), []
    common = round(2 * size * similarity / (1 + similarity))
    for _ in range(60):
        words = [b"%x" % number for number in random.integers(1 << 40, 1 << 50, 2 * size - common)]
        data, starts, ends = laid_out([b" ".join(words[:size]), b" ".join(words[size - common :])])
        signatures = kernel.sign(data, starts, ends, np.arange(3), np.array([-1, -1]), 0, 1)[0]
        equal = (signatures[0] == signatures[1]).sum(keepdims=True)
        errors.append(bands.similarity(equal)[0] - common / (2 * size - common))
    spread = (similarity * (1 - similarity) / 256) ** 0.5
    assert abs(np.mean(errors)) < 4 * spread / 60**0.5 + 0.002
    assert np.std(errors) < 1.3 * spread


def test_sizes_that_do_not_fit_are_refused():
    data = np.zeros(4, np.uint8)
    one, five = np.array([0]), np.array([5])
    with pytest.raises(ValueError, match="sizes"):
        kernel.shingle(data, one, five, 5, 4)
    with pytest.raises(ValueError, match="sizes"):
        kernel.sign(data, one, five, np.array([0, 1]), np.array([-1]), 0, 5)
    with pytest.raises(OSError, match="Bad file"):
        kernel.sign(
            np.frombuffer(b"a b", np.uint8), one, np.array([3]), np.array([0, 1]), np.array([-1]), 0, 5, 10**6
        )
    for members, bounds, starts in (([5], [0, 1], [0, 0]), ([0], [0, 9], [0, 0]), ([0], [0, 1], [4, 0])):
        arrays = [np.array(given) for given in (members, bounds, [0], starts)]
        with pytest.raises(ValueError, match="sizes"):
            kernel.first_similar(*arrays, np.zeros(1, np.int32), b"", 0, 0.5, int)
    with pytest.raises(ValueError, match="room"):
        kernel.shingle(np.frombuffer(b"a b c d e f", np.uint8), one, np.array([11]), 1, 2)
