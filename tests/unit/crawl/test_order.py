"""The order of files is Algorithm 1 of the paper, with ties settled by path, in near-linear time."""

import random
from collections.abc import Iterable
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawl.order import Strategy, orders

Pairs = list[tuple[str, str]]

STRATEGIES = get_args(Strategy)
NAMES = [f"{letter}.py" for letter in "abcdefghijkl"]
GRAPHS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=40)


def order_files(paths: Iterable[str], edges: Pairs) -> list[list[str]]:
    return orders(paths, edges)["topological"]


def algorithm_1(paths: list[str], edges: Pairs) -> list[list[str]]:
    """The paper's own steps, quadratic as printed; the smaller path wins a tie."""
    pairs = {(a, b) for a, b in edges if a != b}
    results, seen = [], set()
    for first in sorted(paths):
        if first in seen:
            continue
        group, growing = {first}, True
        while growing:
            more = {x for pair in pairs if set(pair) & group for x in pair} - group
            group, growing = group | more, bool(more)
        seen |= group
        degree = {path: sum(importer == path for importer, _ in pairs) for path in paths}
        result: list[str] = []
        while len(result) < len(group):
            file = min((path for path in group if path not in result), key=lambda p: (degree[p], p))
            for importer, imported in pairs:
                degree[importer] -= imported == file
            result.append(file)
        results.append(result)
    return results


@given(GRAPHS)
@settings(max_examples=300, deadline=None)
def test_any_graph_gives_what_the_paper_s_algorithm_gives(edges: Pairs) -> None:
    assert order_files(NAMES, edges) == algorithm_1(NAMES, edges)


@given(GRAPHS)
def test_without_cycles_every_file_comes_after_all_that_it_imports(edges: Pairs) -> None:
    acyclic = [(max(a, b), min(a, b)) for a, b in edges if a != b]
    shuffled = random.Random(len(edges)).sample(NAMES, len(NAMES))
    rename = dict(zip(NAMES, shuffled, strict=True))
    renamed = [(rename[a], rename[b]) for a, b in acyclic]
    place = {path: i for i, path in enumerate(p for part in order_files(NAMES, renamed) for p in part)}
    assert all(place[imported] < place[importer] for importer, imported in renamed)


@given(GRAPHS, st.randoms(use_true_random=False))
def test_the_order_of_the_input_means_nothing(edges: Pairs, rng: random.Random) -> None:
    paths = rng.sample(NAMES, len(NAMES))
    assert order_files(paths, rng.sample(edges, len(edges))) == order_files(NAMES, edges)


@given(GRAPHS, st.sampled_from(STRATEGIES))
def test_other_strategies_order_the_same_components_differently(edges: Pairs, strategy: Strategy) -> None:
    topological = order_files(NAMES, edges)
    other = orders(NAMES, edges, "7")[strategy]
    assert [sorted(part) for part in other] == [sorted(part) for part in topological]
    if strategy == "path":
        assert all(part == sorted(part) for part in other)


@pytest.mark.parametrize("strategy", ["random", "mixed"])
def test_an_order_by_chance_changes_with_the_seed_and_not_between_runs(strategy: Strategy) -> None:
    names = [f"{name[0]}/{name}" for name in NAMES]
    ring = list(zip(names, names[1:] + names[:1], strict=True))
    assert orders(names, ring, "1")[strategy] == orders(names, ring, "1")[strategy]
    assert orders(names, ring, "1")[strategy] != orders(names, ring, "2")[strategy]


def test_mixed_keeps_the_files_of_a_directory_together_and_in_dependency_order() -> None:
    edges = [("x/a", "x/b"), ("x/b", "y/c"), ("y/c", "y/d"), ("x/a", "z")]
    [ordered] = orders({path for edge in edges for path in edge}, edges, "1")["mixed"]
    folders = [path.rpartition("/")[0] for path in ordered]
    assert len([1 for a, b in pairwise(folders) if a != b]) == 2
    assert ordered.index("x/b") < ordered.index("x/a") and ordered.index("y/d") < ordered.index("y/c")


def test_a_cycle_is_broken_at_the_file_with_fewest_imports() -> None:
    edges = [("b", "a"), ("a", "c"), ("c", "b"), ("c", "d")]
    assert order_files("abcd", edges) == [["d", "a", "b", "c"]]


def test_a_long_chain_of_files_is_placed_in_its_order() -> None:
    rng = random.Random(0)
    paths = [f"{n:06}.py" for n in range(20_000)]
    edges = [(paths[n], paths[rng.randrange(n)]) for n in range(1, 20_000) for _ in range(3)]
    [ordered] = order_files(paths, edges)
    assert ordered == paths  # every file imports one before it, so the smallest path is always free
