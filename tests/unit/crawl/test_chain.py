"""Tables are told apart and ordered by what made them, also where a verb changed nothing."""

from pathlib import Path

import corpus
from crawl import chain


def write(path: Path, verb: str, inputs: list[corpus.Table], content: str = "") -> corpus.Table:
    with corpus.building(path, "edges", made_by=verb, settings={"of": content}, inputs=inputs) as out:
        assert isinstance(out, corpus.Output)
        rows = {"repo": ["r"], "importer": [content], "imported": ["b"]}
        out.write("one", {"": corpus.pa.table(rows).cast(corpus.SCHEMAS["edges"])})
        return out.seal()


def test_verbs_that_changed_nothing_are_told_apart_and_what_is_old_is_named(tmp_path: Path) -> None:
    first = write(tmp_path / "z", "crawl one", [])
    second = write(tmp_path / "a", "crawl two", [first])
    third = write(tmp_path / "m", "crawl three", [second])
    aside = write(tmp_path / "b", "crawl four", [])
    assert first.digest == second.digest == third.digest == aside.digest
    tables = chain.tables_of(tmp_path)
    assert [table.path.name for table in tables] == ["z", "a", "b", "m"]
    assert [table.path.name for table in chain.upstream(third, tables)] == ["z", "a", "m"]
    write(tmp_path / "a", "crawl two", [first], "new")
    assert [table.path.name for table in chain.stale(chain.tables_of(tmp_path))] == ["m"]
