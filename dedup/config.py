"""The settings of ``dedup``: what changes a result, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from cyclopts import Parameter

from refusal import Refusal

Level = Literal["row", "repo", "both"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Scan:
    preset: Literal["code", "bigcode", "datatrove", "deepseek"] = "code"
    """Values of the settings below that are not given: our own, or those of The Stack (BigCode),
    of datatrove's defaults, of DeepSeek-Coder."""
    level: Level | None = None
    """What is compared: every row; every repo as a whole; or first repos, then the rows that are left.
    Rows whose `level` column says "file" are always compared as rows."""
    threshold: float | None = None
    """Jaccard similarity of their shingles from which two rows are duplicates."""
    repo_threshold: float | None = None
    """The same for two repos."""
    ngram: int | None = None
    """Words per shingle."""
    bands: int | None = None
    """Bands of a signature: two rows meet if they agree in one.  By default so many that 99.9 % of the
    pairs at the threshold meet."""
    rows: int | None = None
    """Bins per band; bands x rows is at most 256."""
    min_shingles: int | None = None
    """Rows with fewer shingles are compared exactly only."""
    licence_headers: bool = False
    """Compare the comment with the licence at the head of a file, too; else it is left out of the
    comparison (never out of the text)."""
    priority: str = ""
    """Which duplicate is kept: SQL terms over the columns and text_bytes, as after ORDER BY, best first:
    for example "license IS NULL, stars DESC, length(path)".  By default, of the columns that there are:
    a known licence, no fork, more stars, no vendored path, more bytes.  Ties go by content, then by id."""
    reconsider: bool = False
    """With an index: let priority decide between its rows and the new ones, so that rows it kept may go
    and others come back (part `revised`); by default its rows come first and nothing changes for them."""
    text: str = ""
    """Column that holds the text.  By default the first there is of: text, content, code."""
    id: str = ""
    """Column that holds a unique name of the row.  By default id, hexsha, blob_id; else file and number."""
    repo: str = ""
    """Column that holds the repo.  By default repo, repo_name, repository_name, max_stars_repo_name."""
    language: str = ""
    """Column that holds the language.  By default language, lang."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Substrings:
    words: int = 50
    """Words in a row from which on a repeat counts."""
    mask: bool = False
    """Write the rows, too, without their repeats: only where it stands first does each stay.  Rows of
    which no word is left are dropped."""
    placeholder: str = ""
    """What is put in place of each repeat that is cut out."""
    licence_headers: bool = False
    """Look for repeats in the comment with the licence at the head of a file, too; else it is left alone."""
    priority: str = ""
    """Which occurrence is the first: that in the best row, by SQL terms as for scan; there, the leftmost."""
    text: str = ""
    """Column that holds the text.  By default the first there is of: text, content, code."""
    id: str = ""
    """Column that holds a unique name of the row.  By default id, hexsha, blob_id; else file and number."""


_OURS = {"level": "both", "threshold": 0.7, "repo_threshold": 0.85, "ngram": 5, "min_shingles": 1}

PRESETS: dict[str, dict[str, Any]] = {
    "code": _OURS,
    # bigcode-dataset, near_deduplication/minhash_deduplication.py: 5 words, 256 permutations, 0.7 -> 25 x 10.
    "bigcode": _OURS | {"level": "row", "bands": 25, "rows": 10},
    # datatrove 0.10, MinhashConfig(): 5 words, 14 buckets of 8 hashes, whose curve is steepest at 0.72.
    "datatrove": _OURS | {"level": "row", "threshold": 0.72, "bands": 14, "rows": 8},
    # DeepSeek-Coder, section 2.3 and issue 43: whole repos for the languages that are parsed, files for the
    # others; "the same near-dedup as The Stack", no numbers published: BigCode's 5 words and 0.7.
    "deepseek": _OURS | {"level": "repo", "repo_threshold": 0.7},
}

BINS = 256


def resolve(settings: Scan) -> Scan:
    """``settings`` with every open value filled in from the preset; refuses what cannot be."""
    preset = PRESETS[settings.preset]
    given = {f.name: getattr(settings, f.name) for f in fields(settings)}
    full = replace(settings, **{name: value for name, value in preset.items() if given[name] is None})
    for name in ("threshold", "repo_threshold"):
        if not 0.3 <= getattr(full, name) <= 1:
            raise Refusal(f"{name} is {getattr(full, name)}: give a similarity from 0.3 to 1.")
    if not 1 <= (full.ngram or 0) <= 64:
        raise Refusal(f"ngram is {full.ngram}: give a number of words from 1 to 64.")
    if (full.bands is None) != (full.rows is None):
        raise Refusal("bands and rows go together: give both, or neither.")
    if full.bands is not None and full.rows is not None and not 1 <= full.bands * full.rows <= BINS:
        raise Refusal(
            f"{full.bands} bands of {full.rows} rows are not between 1 and {BINS} bins: give fewer."
        )
    return full


MOST_WINDOW = 1024


def resolve_substrings(settings: Substrings) -> Substrings:
    """Refuses settings that cannot be."""
    if not 2 <= settings.words <= MOST_WINDOW:
        raise Refusal(f"words is {settings.words}: give a number of words from 2 to {MOST_WINDOW}.")
    if settings.placeholder and not settings.mask:
        raise Refusal("a placeholder stands where a repeat is cut out: give --mask, too, or no placeholder.")
    return settings
