"""Fill-in-the-middle moves the middle and loses nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train import fim

SENTINELS = fim.Sentinels(-1, -2, -3)


def letters(text: str) -> list[int]:
    return [ord(character) for character in text]


@given(st.text(max_size=50), st.text(max_size=5), st.integers(0, 9))
def test_the_three_parts_are_the_text_again(text: str, key: str, seed: int) -> None:
    drawn = fim.draw(key, seed, rate=1.0)
    cut, hole = fim.cuts(text, drawn)
    assert 0 <= cut <= hole <= len(text)
    ids = fim.arrange(text, cut, hole, "psm", letters, SENTINELS)
    missing, end = ids.index(-2), ids.index(-3)
    prefix, suffix, middle = ids[1:missing], ids[missing + 1 : end], ids[end + 1 :]
    assert ids[0] == -1 and prefix + middle + suffix == letters(text)


def test_the_suffix_comes_first_in_spm() -> None:
    ids = fim.arrange("abc", 1, 2, "spm", letters, SENTINELS)
    assert ids == [-2, ord("c"), -1, ord("a"), -3, ord("b")]


@pytest.mark.parametrize(("rate", "spm_rate"), [(0.5, 0.0), (0.9, 0.5)])
def test_modes_come_at_the_rates_asked_for(rate: float, spm_rate: float) -> None:
    modes = [fim.draw(str(n), 0, rate, spm_rate).mode for n in range(4000)]
    assert modes.count("text") / 4000 == pytest.approx(1 - rate, abs=0.03)
    assert modes.count("spm") / 4000 == pytest.approx(rate * spm_rate, abs=0.03)


def test_cuts_are_uniform_over_all_places() -> None:
    places = [place for n in range(4000) for place in fim.cuts("x" * 9, fim.draw(str(n), 1, 1.0))]
    shares = [places.count(place) / len(places) for place in range(10)]
    assert shares == pytest.approx([0.1] * 10, abs=0.02)


@given(st.text("ab\r\n", max_size=30), st.integers(0, 99))
def test_line_cuts_fall_where_a_line_begins_or_the_text_ends(text: str, seed: int) -> None:
    begins = {0, len(text), *itertools.accumulate(len(line) for line in text.splitlines(keepends=True))}
    cut, hole = fim.cuts(text, fim.draw("x", seed, 1.0), "line")
    assert cut <= hole and {cut, hole} <= begins


def test_prose_and_data_are_no_code() -> None:
    assert fim.is_code("python") and fim.is_code("css") and not fim.is_code("markdown")
