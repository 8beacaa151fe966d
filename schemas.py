"""The columns of every table: the interface between stages, and between people.

``docs/contract.md`` says in words what each column holds; a test holds the two together.  Columns are
non-null unless declared as a one-element tuple.  Text is ``large_string``: one shard may hold more than
the 2 GB that 32-bit offsets reach.
"""

from __future__ import annotations

import pyarrow as pa

TEXT = pa.large_string()
TIME = pa.timestamp("us", tz="UTC")

SCHEMA_VERSION = 1


def _table(**columns: pa.DataType | tuple[pa.DataType]) -> pa.Schema:
    """Columns are non-null; a one-element tuple marks a nullable one."""
    return pa.schema(
        pa.field(name, kind[0] if isinstance(kind, tuple) else kind, nullable=isinstance(kind, tuple))
        for name, kind in columns.items()
    )


SPAN = pa.struct(
    [
        pa.field("path", TEXT, nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
    ]
)
"""Where a file's own text stands in its document: ``document[start:end]``, in Unicode characters."""

EVIDENCE = pa.struct([pa.field(name, TEXT, nullable=False) for name in ("source", "where", "license")])
"""What says which licence a file is under: the kind of source, its path, the SPDX expression."""

_DOCUMENT = {
    "id": TEXT,
    "repo": TEXT,
    "revision": TEXT,
    "part": pa.int32(),
    "level": TEXT,
    "language": TEXT,
    "license": (TEXT,),
    "stars": (pa.int32(),),
    "text": TEXT,
    "files": pa.list_(pa.field("element", SPAN, nullable=False)),
    "bytes": pa.int64(),
}

RejectRow = tuple[str, str, str | None, int, int]
"""A row of the table ``rejects`` less its verb: key, reason, detail, files, bytes."""

SCHEMAS: dict[str, pa.Schema] = {
    "repos": _table(
        repo=TEXT,
        revision=TEXT,
        source=TEXT,
        url=TEXT,
        license=(TEXT,),
        stars=(pa.int32(),),
        bytes=(pa.int64(),),
        id=(pa.int64(),),
        forks=(pa.int32(),),
        is_fork=(pa.bool_(),),
        archived=(pa.bool_(),),
        created=(TIME,),
        pushed=(TIME,),
    ),
    "slices": _table(query=TEXT, results=pa.int64(), listed=(pa.int64(),)),
    "files": _table(
        repo=TEXT,
        path=TEXT,
        revision=TEXT,
        language=TEXT,
        license=(TEXT,),
        stars=(pa.int32(),),
        encoding=TEXT,
        text=TEXT,
        sha256=TEXT,
        bytes=pa.int64(),
        lines=pa.int32(),
    ),
    "licenses": _table(
        repo=TEXT,
        path=TEXT,
        license=(TEXT,),
        state=TEXT,
        evidence=pa.list_(pa.field("element", EVIDENCE, nullable=False)),
    ),
    "signals": _table(
        repo=TEXT,
        path=TEXT,
        language=TEXT,
        extension=TEXT,
        bytes=pa.int64(),
        characters=pa.int64(),
        lines=pa.int64(),
        longest_line=pa.int64(),
        mean_line=pa.float64(),
        alphabetic=pa.float64(),
        alphanumeric=pa.float64(),
        digits=pa.float64(),
        blank=pa.float64(),
        xml_declared=pa.bool_(),
        visible=(pa.int64(),),
        visible_share=(pa.float64(),),
        words=pa.int64(),
        mean_word=pa.float64(),
        duplicate_lines=pa.float64(),
        hex_words=pa.float64(),
        encoded=pa.float64(),
        longest_encoded=pa.int64(),
        assert_lines=pa.float64(),
        todo_lines=pa.float64(),
        import_lines=(pa.float64(),),
        pass_lines=(pa.float64(),),
        print_lines=(pa.float64(),),
        vendored=pa.bool_(),
        generated=pa.bool_(),
        minified=pa.bool_(),
        documentation=pa.bool_(),
        test=pa.bool_(),
        data=pa.bool_(),
    ),
    "secrets": _table(
        repo=TEXT,
        path=TEXT,
        kind=TEXT,
        start=pa.int64(),
        end=pa.int64(),
        hash=TEXT,
        placeholder=TEXT,
    ),
    "parsed": _table(
        repo=TEXT,
        path=TEXT,
        language=TEXT,
        status=TEXT,
        error_share=(pa.float32(),),
        imports=pa.list_(pa.field("element", TEXT, nullable=False)),
        mentions=pa.list_(pa.field("element", TEXT, nullable=False)),
        defines=pa.list_(pa.field("element", TEXT, nullable=False)),
        declares=(TEXT,),
        nodes=pa.list_(pa.field("element", pa.uint32(), nullable=False)),
    ),
    "quality": _table(
        repo=TEXT,
        path=TEXT,
        score=pa.float64(),
        line_length=pa.float64(),
        word_length=pa.float64(),
        longest_word=pa.int64(),
        words_a_line=pa.float64(),
        indentation=pa.float64(),
        deepest_indentation=pa.int64(),
        blank_lines=pa.float64(),
        comment_lines=pa.float64(),
        numbers=pa.float64(),
        punctuation=pa.float64(),
        branches=pa.float64(),
        unit_size=pa.float64(),
        unit_complexity=pa.float64(),
    ),
    "hits": _table(repo=TEXT, path=TEXT, problem=TEXT, words=TEXT, start=pa.int64(), end=pa.int64()),
    "documents": _table(**_DOCUMENT),
    "corpus": _table(**_DOCUMENT),
    "edges": _table(repo=TEXT, importer=TEXT, imported=TEXT),
    "reach": _table(repo=TEXT, strategy=TEXT, imports=pa.int64(), earlier=pa.int64(), near=pa.int64()),
    "rejects": _table(key=TEXT, verb=TEXT, reason=TEXT, detail=(TEXT,), files=pa.int64(), bytes=pa.int64()),
    "clusters": _table(
        id=TEXT,
        cluster=TEXT,
        kept=pa.bool_(),
        keeper=TEXT,
        level=TEXT,
        similarity=pa.float32(),
        exact=pa.bool_(),
    ),
    "revised": _table(
        id=TEXT,
        kept=pa.bool_(),
        keeper=(TEXT,),
        level=(TEXT,),
        similarity=(pa.float32(),),
        exact=(pa.bool_(),),
    ),
    "repeats": _table(
        id=TEXT,
        start=pa.int64(),
        end=pa.int64(),
        words=pa.int64(),
        first=TEXT,
        first_start=pa.int64(),
    ),
    "spans": _table(
        split=TEXT,
        sequence=pa.int64(),
        start=pa.int32(),
        end=pa.int32(),
        document=TEXT,
        language=TEXT,
        text_start=pa.int64(),
        text_end=pa.int64(),
        token=pa.int64(),
        mode=TEXT,
        cut=(pa.int64(),),
        hole=(pa.int64(),),
    ),
    "ablation": _table(
        order=TEXT,
        dedup=TEXT,
        fim_rate=pa.float64(),
        attend=TEXT,
        seed=pa.int64(),
        probe=TEXT,
        loss=pa.float64(),
        tokens=pa.int64(),
    ),
    "problems": _table(
        suite=TEXT,
        problem=TEXT,
        language=TEXT,
        prompt=TEXT,
        chat=pa.bool_(),
        suffix=(TEXT,),
        header=TEXT,
        test=TEXT,
        entry_point=(TEXT,),
        stop=pa.list_(pa.field("element", TEXT, nullable=False)),
        extract=TEXT,
        max_new_tokens=pa.int32(),
        seconds=pa.float64(),
        reference=(TEXT,),
        text=TEXT,
    ),
    "samples": _table(
        suite=TEXT,
        problem=TEXT,
        sample=pa.int32(),
        completion=TEXT,
        finish=TEXT,
        tokens=(pa.int32(),),
        seed=(pa.int64(),),
        detail=(TEXT,),
    ),
    "verdicts": _table(
        suite=TEXT,
        problem=TEXT,
        sample=pa.int32(),
        as_published=TEXT,
        strict=TEXT,
        flagged=pa.bool_(),
        detail=(TEXT,),
        similarity=(pa.float32(),),
        program=TEXT,
    ),
    "measured": _table(
        suite=TEXT,
        problem=TEXT,
        sample=pa.int32(),
        cpu_seconds=pa.float32(),
        wall_seconds=pa.float32(),
        memory_bytes=pa.int64(),
    ),
}
"""The tables.  Tables that hold no parquet (tokenizer, tokens, model, report) have a name only."""
