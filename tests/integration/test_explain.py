"""Every file's life can be told, whatever became of it.

Of the small world, or of any finished run: ``pytest tests/integration/test_explain.py --tables out/small``.
"""

import hashlib
from pathlib import Path

import polars as pl
import pytest

import corpus
from corpus import Refusal
from crawl import chain, packed
from crawl.explain import explain, life, named
from train import trace

ORDER = ["files", "kept", "redacted", "documents", "unique", "corpus", "tokens"]
ASKED = 120
"""Of a larger run, so many files are asked about, and so many rows of tokens."""


def fates(out: Path) -> dict[str, tuple[str, str]]:
    """Every file that was ever seen, by key: the verb that had it last, and the reason if it was dropped."""
    found: dict[str, tuple[str, str]] = {}
    files_of: dict[str, list[str]] = {}
    for name in ORDER:
        table = corpus.read(out / name)
        if name in ("files", "kept", "redacted"):
            keys = table.scan().select(pl.format("{}:{}", "repo", "path")).collect().to_series()
            found |= dict.fromkeys(keys, (chain.verb(table), ""))
        elif name != "tokens":
            for row in table.scan().collect().iter_rows(named=True):
                files_of[row["id"]] = [f"{row['repo']}:{file['path']}" for file in row["files"]]
                found |= dict.fromkeys(files_of[row["id"]], (chain.verb(table), ""))
        else:
            packed_ones = set(table.scan("spans").collect()["document"])
            for document in packed_ones:
                found |= dict.fromkeys(files_of[document], (chain.verb(table), ""))
        for key, reason in table.scan("rejects").select("key", "reason").collect().iter_rows():
            found |= dict.fromkeys(files_of.get(key, [key]), (chain.verb(table), reason))
    return found


def some(known: dict[str, tuple[str, str]]) -> list[str]:
    """Files by a hash of their names: an equal number of every fate, as far as there are so many."""
    by_fate: dict[tuple[str, str], list[str]] = {}
    for key in sorted(known, key=lambda key: hashlib.sha256(key.encode()).digest()):
        by_fate.setdefault(known[key], []).append(key)
    each = 1
    while sum(len(keys[:each]) for keys in by_fate.values()) < min(ASKED, len(known)):
        each += 1
    return [key for keys in by_fate.values() for key in keys[:each]]


def test_files_of_every_fate_are_told_to_their_end(finished: Path) -> None:
    tables, known = chain.tables_of(finished), fates(finished)
    asked = some(known)
    assert {known[key] for key in asked} == set(known.values()) and len(set(known.values())) >= 8
    for key in asked:
        repo, path = named(tables, key)
        if path is None:  # a repo that could not be read
            assert known[key][1] in explain(finished, key)
            continue
        steps = list(life(tables, repo, path))
        verb, reason = known[key]
        assert (steps[-1].verb, steps[-1].fate) == (verb, "dropped" if reason else "kept"), key
        assert steps[-1].why.startswith(reason) and all(step.fate == "kept" for step in steps[:-1])
        assert explain(finished, key).count("\n") + 1 == len(steps)


def test_the_tokens_of_a_file_are_those_that_train_trace_gives_back_to_it(finished: Path) -> None:
    tokens, documents = corpus.read(finished / "tokens"), corpus.read(finished / "corpus")
    theirs: dict[str, set[tuple[str, int, int]]] = {}
    rows = sorted(tokens.scan("spans").select("split", "sequence").unique().collect().iter_rows())
    asked = set(rows[:: max(1, len(rows) // ASKED)])
    for split, sequence in sorted(asked):
        for origin in trace.origins(tokens, documents, split, sequence):
            if origin.path is not None:
                theirs.setdefault(f"{origin.repo}:{origin.path}", set()).add((split, sequence, origin.start))
    assert theirs
    for row in documents.scan().collect().iter_rows(named=True):
        for file in row["files"]:
            known = theirs.get(f"{row['repo']}:{file['path']}", set())
            if not known and len(asked) < len(rows):
                continue
            runs = packed.runs_of(tokens, row["id"], row["text"], file["start"], file["end"])
            places = {(run.split, run.sequence, at) for run in runs for at in range(run.start, run.end)}
            ours = {place for place in places if place[:2] in asked}
            # A token on the border to the path comment holds characters of both; trace gives it to one.
            assert known <= ours and len(ours - known) <= 2 * len({one[:2] for one in ours}) * 3


def test_a_repo_is_told_by_counts_that_add_up(made: Path) -> None:
    told = explain(made, "folder/numbers")
    assert "contaminated" in told and "tokens in" in told and "no_language" in told


def test_names_that_are_not_there_are_one_line_with_names_that_are(made: Path) -> None:
    with pytest.raises(Refusal, match=r"names like .*folder/shapes"):
        explain(made, "folder/shape:pkg/point.py")
    with pytest.raises(Refusal, match=r"folder/shapes has files like .*pkg/point.py"):
        explain(made, "folder/shapes:pkg/pont.py")
