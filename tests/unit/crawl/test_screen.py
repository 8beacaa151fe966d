"""Files are cut out of documents so that the rest stands as if they had never been there."""

from hypothesis import given
from hypothesis import strategies as st

from crawl.config import Screen
from crawl.contamination import Hit
from crawl.documents import File, join
from crawl.screen import Parse, Rejected, cut, judge, screen

FILES = st.lists(st.tuples(st.text("ab\né ", max_size=20), st.booleans()), min_size=1, max_size=8)


def document(files: list[tuple[str, bool]]) -> tuple[list[File], dict[str, object], set[str]]:
    parts = [File(f"{n}.py", "python", None, text, 0) for n, (text, _) in enumerate(files)]
    text, spans = join(parts)
    row = {"repo": "r", "text": text, "files": [span._asdict() for span in spans], "bytes": 0}
    return parts, row, {f"{n}.py" for n, (_, drop) in enumerate(files) if drop}


@given(FILES)
def test_cutting_gives_the_document_of_the_files_that_stay(files: list[tuple[str, bool]]) -> None:
    parts, row, drop = document(files)
    text, spans = join([part for part in parts if part.path not in drop])
    assert cut(row["text"], row["files"], drop) == (text, [span._asdict() for span in spans])  # type: ignore[arg-type]


@given(FILES)
def test_every_file_stays_or_has_one_row_of_rejects(files: list[tuple[str, bool]]) -> None:
    parts, row, drop = document(files)
    verdicts = {p.path: Rejected("contaminated", "p") if p.path in drop else None for p in parts}
    clean, rejects = screen(row, verdicts)
    kept = [span["path"] for span in clean["files"]] if clean else []
    assert sorted(kept + [key.removeprefix("r:") for key, *_ in rejects]) == sorted(p.path for p in parts)
    assert clean is None or clean is row or clean["bytes"] == len(clean["text"].encode())


def test_a_document_of_which_only_blank_files_stay_disappears() -> None:
    _, row, _ = document([("", False), ("code", True)])
    clean, rejects = screen(row, {"0.py": None, "1.py": Rejected("contaminated", "p")})
    assert clean is None
    assert [(key, reason, size) for key, reason, _, _, size in rejects] == [
        ("r:1.py", "contaminated", 4),
        ("r:0.py", "empty", 0),
    ]


def test_the_share_of_errors_is_judged_by_the_limit_of_the_language() -> None:
    settings = Screen(max_error_share={"python": 0.02})
    assert judge(None, Parse("python", 0.02), settings) is None
    assert judge(None, Parse("python", 0.03), settings) == Rejected(
        "syntax_error", "0.030 of the bytes, limit 0.02"
    )
    assert judge(None, Parse("sql", 1.0), settings) is None
    assert judge(None, Parse("python", None), settings) is None


def test_contamination_is_the_reason_of_a_file_that_is_broken_too() -> None:
    rejected = judge(Hit("humaneval/0", "a b c", 0, 5), Parse("python", 1.0), Screen())
    assert rejected == Rejected("contaminated", "humaneval/0: a b c")
