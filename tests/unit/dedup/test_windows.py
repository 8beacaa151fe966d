"""Windows: the compiled loops and their numpy twin give the same bits, and find what a reader would."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import twin_windows, windows

WORD = re.compile(rb"[0-9A-Za-z_\x80-\xff]+")
texts = st.lists(
    st.lists(
        st.sampled_from(
            [b"a", b"b", b"bc", b" ", b" ", b"\n", b"(", b"long_word_of_some_bytes", b"\xc3\xa9"]
        ),
        max_size=60,
    ).map(b"".join),
    min_size=1,
    max_size=4,
)


@pytest.fixture(params=["compiled", "twin"])
def engine(request, monkeypatch):
    if request.param == "twin":
        monkeypatch.setattr(windows, "engine", twin_windows)


def whole(rows: list[bytes], cut: int = 1 << 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts laid end to end, where each starts and ends, and their stretches of at most ``cut`` bytes."""
    ends = np.cumsum([len(row) for row in rows])
    bounds = np.stack([ends - [len(row) for row in rows], ends], axis=1)
    stretches = [
        (row, start, start, end, begin, min(begin + cut, end))
        for row, (start, end) in enumerate(bounds.tolist())
        for begin in range(start, max(end, start + 1), cut)
    ]
    return np.frombuffer(b"".join(rows), np.uint8), bounds, np.array(stretches, np.int64)


def read(text: bytes, words: int) -> list[tuple[int, int, bytes]]:
    """Start, end and bytes of every window."""
    found = [match.span() for match in WORD.finditer(text)]
    pairs = zip(found, found[words - 1 :], strict=False)
    return [(first[0], last[1], text[first[0] : last[1]]) for first, last in pairs]


def spans_of(rows: list[bytes], words: int, cut: int = 1 << 30, ranks=None, weak: int = 0) -> np.ndarray:
    """The spans of some texts, with hashes of which ``weak`` bits are taken away."""
    data, bounds, stretches = whole(rows, cut)
    records = windows.windows(data, stretches, words)
    records[:, 0] >>= np.uint64(weak)
    firsts = windows.firsts(records, np.arange(len(rows)) if ranks is None else ranks)
    again = firsts != records[:, 1]
    repeats = np.stack([records[again, 1], firsts[again]], axis=1)
    return windows.cover(data, bounds, stretches, repeats, words)


def covered(rows: list[bytes], spans: np.ndarray) -> list[set[int]]:
    """The bytes of each row that lie in a span."""
    return [{at for row, start, end in spans[:, :3].tolist() if row == i for at in range(start, end)}
            for i in range(len(rows))]  # fmt: skip


def expected(rows: list[bytes], words: int, ranks: list[int]) -> list[set[int]]:
    """By reading everything: bytes of windows that stand before, without overlapping where they do first."""
    first: dict[bytes, tuple[int, int]] = {}
    inside: list[set[int]] = [set() for _ in rows]
    for row in sorted(range(len(rows)), key=ranks.__getitem__):
        for start, end, window in read(rows[row], words):
            there, at = first.setdefault(window, (row, start))
            if there != row or at + len(window) <= start:
                inside[row].update(range(start, end))
    return inside


@settings(deadline=None, max_examples=80)
@given(texts, st.integers(1, 4), st.sampled_from([1, 7, 1 << 30]))
def test_the_kernel_gives_the_twins_windows_firsts_and_spans(rows, words, cut):
    data, _, stretches = whole(rows, cut)
    answers = []
    for engine in (windows.engine, twin_windows):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windows, "engine", engine)
            records = windows.windows(data, stretches, words)
            dealt, sizes = windows.deal(records, 8)
            ends = np.arange(len(data) + 1)
            counts = windows.characters(data, np.zeros(len(ends), np.int64), ends)
            ranks = np.arange(len(rows))[::-1].copy()
            found = windows.firsts(records, ranks), spans_of(rows, words, cut, ranks)
            answers.append([records, dealt, sizes, counts, *found])
    for one, other in zip(*answers, strict=True):
        assert np.array_equal(one, other)


@settings(deadline=None, max_examples=200)
@given(texts, st.integers(1, 4), st.randoms(use_true_random=False))
def test_spans_cover_what_a_reader_of_everything_finds_and_nothing_else(rows, words, random):
    ranks = random.sample(range(len(rows)), len(rows))
    spans = spans_of(rows, words, ranks=np.array(ranks))
    assert covered(rows, spans) == expected(rows, words, ranks)
    for row, start, end, first, length in spans.tolist():
        there, at = first >> 32, first & 0xFFFFFFFF
        assert rows[there][at : at + end - start] == rows[row][start:end]
        assert length == len(WORD.findall(rows[row][start:end])) >= words
        assert (ranks[there], at) < (ranks[row], start)


@settings(deadline=None, max_examples=100)
@given(texts, st.integers(1, 3), st.integers(1, 30))
def test_a_text_that_is_read_in_parts_has_the_same_windows_and_repeats(rows, words, cut):
    data, _, stretches = whole(rows, cut)
    assert np.array_equal(
        windows.windows(data, stretches, words), windows.windows(data, whole(rows)[2], words)
    )
    assert covered(rows, spans_of(rows, words, cut)) == covered(rows, spans_of(rows, words))


@settings(deadline=None, max_examples=100)
@given(texts, st.integers(1, 3))
def test_windows_whose_hashes_collide_are_told_apart_by_their_bytes(rows, words):
    for row, start, end, first, _ in spans_of(rows, words, weak=61).tolist():
        there, at = first >> 32, first & 0xFFFFFFFF
        assert rows[there][at : at + end - start] == rows[row][start:end]
        assert (there, at) < (row, start)


@pytest.mark.parametrize("engine", ["compiled", "twin"], indirect=True)
def test_a_repeat_that_runs_into_itself_keeps_its_first_place(engine):
    assert spans_of([b"a " * 40], 5)[:, 1:].tolist() == [[10, 79, 0, 35]]
    assert len(spans_of([b"a " * 9], 5)) == 0, "nothing but overlaps of the first"
    starts = [0, 8, 16, 24, 32, 40, 48, 56, 64, 70]
    assert spans_of([b"a " * 5, b"a " * 40], 5)[:, 1:3].tolist() == [[n, n + 9] for n in starts]
    assert spans_of([b"a " * 40, b"a " * 30], 5)[1:, :4].tolist() == [[1, 0, 59, 0]]


@pytest.mark.parametrize("engine", ["compiled", "twin"], indirect=True)
def test_equal_means_equal_bytes_not_equal_words(engine):
    assert len(spans_of([b"x = a + b", b"x = a - b"], 3)) == 0
    assert len(spans_of([b"x = a + b", b"X = a + b"], 3)) == 0
    assert spans_of([b"x = a + b", b"if (x = a + b)"], 3)[:, :3].tolist() == [[1, 4, 13]]


def test_words_longer_than_a_chunk_and_texts_of_blanks_are_windows_like_any_other():
    rows = [b"w" * 9000 + b" " * 9000 + b"v", b"(" * 5000 + b"w" * 9000 + b" " * 9000 + b"v)"]
    assert spans_of(rows, 2)[:, :3].tolist() == [[1, 5000, 23001]]
    assert spans_of(rows, 2, cut=100)[:, :3].tolist() == [[1, 5000, 23001]]


def test_sizes_that_do_not_fit_are_refused():
    data, bounds, stretches = whole([b"a b c"])
    with pytest.raises(ValueError, match="sizes"):
        windows.windows(data, stretches + 3, 1)
    with pytest.raises(ValueError, match="sizes"):
        windows.windows(data, stretches, 5000)
    with pytest.raises(ValueError, match="sizes"):
        windows.firsts(np.array([[1, 5 << 32]], np.uint64), np.zeros(5, np.int64))
    lost = np.array([[0, 9 << 32], [2, 4 << 32]], np.uint64)
    assert len(windows.cover(data, bounds, stretches, lost, 1)) == 0
