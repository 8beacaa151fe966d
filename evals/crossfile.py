"""Cross-file completion from our own corpus: held-out repos, cut where they use what another file defines.

The rows have CrossCodeEval's form (``suites/crosscodeeval.py`` reads both), so the two are asked and scored
alike.  A crawl knows no dates of files, so repos are held out by a hash of their names, the same ones in
every crawl; ``crawl screen`` keeps the lines around each cut, and with them the file, out of the corpus.

A cut stands before the first use of a name that the importing file does not define and an imported one
does; the rest of the statement is asked for, if it stands nowhere else in the repo's documents.  The
context is CrossCodeEval's: chunks of ten lines from the repo's other files, ranked by BM25 against the
last ten lines before the cut, each replaced by the chunk that follows it (its prompt_builder).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

import corpus
from evals.config import Crossfile, check

CHUNK_LINES = 10
QUERY_LINES = 10
CHUNKS = 5
MOST_CHUNKS = 1_000
LEAST_PROMPT = 200
"""Characters before a cut."""
ANSWER = (8, 120)
"""Characters of what is asked for."""

LANGUAGES = ("python", "java", "javascript", "typescript", "c-sharp", "php", "go", "rust", "cpp", "c")

_DEFINED = re.compile(
    r"^[ \t]*(?:export |public |static |final |abstract |async |pub |default )*"
    r"(?:class|def|interface|enum|struct|function|fn|func|trait|type)\s+([A-Za-z]\w{3,})",
    re.MULTILINE,
)
_NO_USE = re.compile(
    r"\s*(?:import\b|from\b|using\b|use\b|require|include|package\b|#|//|/?\*|export .* from)"
)


class Text(NamedTuple):
    """One file of a document."""

    path: str
    text: str


def write_crossfile(src: Path, dst: Path, settings: Crossfile) -> corpus.Table:
    """Problems of held-out repos as JSON lines, in the order of the documents."""
    check(settings)
    documents = corpus.read(src, "documents")
    with corpus.building(
        dst, "crossfile", made_by="evals crossfile", settings=settings, inputs=[documents]
    ) as out:
        if isinstance(out, corpus.Table):
            return out
        repos = list(held_out(documents, settings.one_in))
        rows = [row for repo, files, edges in repos for row in of_repo(repo, files, edges, settings.per_repo)]
        content = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        if out.left(["rows"]):
            content_of = {"line_completion.jsonl": content.encode()}
            out.write("rows", content_of, came_in=len(repos), went_out=len(repos))
        return out.seal(problems=len(rows), repos=[repo for repo, _, _ in repos])


def is_held_out(repo: str, one_in: int) -> bool:
    """Whether a repo's name falls into the share that no model may be trained on."""
    return int.from_bytes(hashlib.sha256(repo.encode()).digest()[:8], "big") % one_in == 0


Edges = set[tuple[str, str]]


def held_out(documents: corpus.Table, one_in: int) -> Iterator[tuple[str, dict[str, list[Text]], Edges]]:
    """The held-out repos: their files by language, and which imports which."""
    names = documents.scan().select("repo").unique().collect()["repo"]
    chosen = sorted(repo for repo in names if is_held_out(repo, one_in))
    edges = documents.scan("edges").filter(pl.col("repo").is_in(chosen)).collect()
    imports: dict[str, Edges] = defaultdict(set)
    for repo, importer, imported in edges.select("repo", "importer", "imported").iter_rows():
        imports[repo].add((importer, imported))
    columns = documents.scan().filter(pl.col("repo").is_in(chosen)).sort("repo", "id")
    rows = columns.select("repo", "language", "text", "files").collect()
    for repo in chosen:
        files: dict[str, list[Text]] = defaultdict(list)
        for _, language, text, spans in rows.filter(pl.col("repo") == repo).iter_rows():
            files[language] += [Text(span["path"], text[span["start"] : span["end"]]) for span in spans]
        yield repo, files, imports[repo]


def of_repo(repo: str, files: dict[str, list[Text]], edges: Edges, most: int) -> Iterator[dict[str, Any]]:
    """The rows of one repo: at most one a file, those files whose names hash lowest."""
    for language in sorted(files.keys() & set(LANGUAGES)):
        texts = {file.path: file.text for file in files[language]}
        paths = sorted(texts, key=lambda path: hashlib.sha256(f"{repo}:{path}".encode()).digest())
        near = defaultdict(list)
        for importer, imported in sorted(edges):
            if imported in texts:
                near[importer].append(texts[imported])
        everything, found = "\n".join(texts.values()), 0
        for path in paths:
            cut = _cut(texts[path], near[path], everything, language) if path in near else None
            if cut is not None:
                found += 1
                yield _row(repo, path, texts, language, *cut)
            if found == most:
                break


def _row(repo: str, path: str, texts: dict[str, str], language: str, start: int, end: int) -> dict[str, Any]:
    text = texts[path]
    others = [Text(other, texts[other]) for other in sorted(texts) if other != path]
    return {
        "prompt": text[:start],
        "groundtruth": text[start:end],
        "right_context": text[end:],
        "crossfile_context": {"text": context(text[:start], others, language)},
        "metadata": {"task_id": f"{repo}:{path}", "repository": repo, "file": path, "language": language},
    }


def _cut(text: str, imported: list[str], everything: str, language: str) -> tuple[int, int] | None:
    """Where what is asked for starts and ends: the first use of an imported name that will do."""
    own = set(_DEFINED.findall(text))
    names = {name for other in imported for name in _DEFINED.findall(other)} - own
    if not names:
        return None
    use = re.compile(rf"(?<![\w.\"'])(?:{'|'.join(sorted(map(re.escape, names)))})\b")
    place = 0
    for line in text.splitlines(keepends=True):
        found = None if _NO_USE.match(line) else use.search(line)
        if found is not None and place + found.start() >= LEAST_PROMPT:
            answer = statement(line[found.start() :].rstrip(), language)
            if answer and ANSWER[0] <= len(answer) <= ANSWER[1] and everything.count(answer) == 1:
                return place + found.start(), place + found.start() + len(answer)
        place += len(line)
    return None


def statement(rest: str, language: str) -> str | None:
    """What belongs to the statement in the rest of a line; None if it goes on below."""
    if language != "python":
        end = re.search(r"[;{}]", rest)
        return rest[: end.end()] if end else None
    depth = sum(rest.count(bracket) for bracket in "([{") - sum(rest.count(bracket) for bracket in ")]}")
    return rest if depth <= 0 and not rest.endswith(("\\", ",")) else None


# ----------------------------------------------------------------------------------------- context


def context(prompt: str, others: list[Text], language: str) -> str:
    """What the repo's other files have to say, as comments, the likeliest first."""
    chunks = [(file.path, chunk) for file in others for chunk in _chunks(file.text)][:MOST_CHUNKS]
    query = [line for line in prompt.split("\n") if line.strip()][-QUERY_LINES:]
    scores = bm25(_words("\n".join(query)), [_words(chunk) for _, chunk in chunks])
    ranked = sorted(range(len(chunks)), key=lambda at: (-scores[at], at))
    chosen: dict[tuple[str, str], None] = {}
    for at in ranked:
        following = at + 1 if at + 1 < len(chunks) and chunks[at + 1][0] == chunks[at][0] else at
        chosen[chunks[following]] = None
        if len(chosen) == CHUNKS:
            break
    mark = "#" if language == "python" else "//"
    told = [f"{mark} Here are some relevant code fragments from other files of the repo:\n\n"]
    for path, chunk in chosen:
        lines = "\n".join(f"{mark} {line}" for line in chunk.strip("\n").splitlines())
        told.append(f"{mark} the below code fragment can be found in:\n{mark} {path}\n{lines}\n\n")
    return "".join(told) if chosen else ""


def _chunks(text: str) -> Iterator[str]:
    lines = [line for line in text.split("\n") if line.strip()]
    for start in range(0, len(lines), CHUNK_LINES):
        yield "\n".join(lines[start : start + CHUNK_LINES])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def bm25(query: list[str], texts: list[list[str]], k1: float = 1.5, b: float = 0.75) -> list[float]:
    """Okapi BM25 of each text, as the package rank_bm25 computes it.

    A word that most texts hold would weigh less than nothing; it has a quarter of the mean weight.
    """
    counts = [Counter(words) for words in texts]
    shown = Counter(word for count in counts for word in count)
    weights = {word: math.log(len(texts) - n + 0.5) - math.log(n + 0.5) for word, n in shown.items()}
    floor = 0.25 * sum(weights.values()) / max(len(weights), 1)
    mean = sum(map(len, texts)) / max(len(texts), 1)
    scores = []
    for words, count in zip(texts, counts, strict=True):
        length = k1 * (1 - b + b * len(words) / max(mean, 1))
        used = (word for word in query if word in count)
        scores.append(
            sum(
                (weights[word] if weights[word] >= 0 else floor)
                * (count[word] * (k1 + 1) / (count[word] + length))
                for word in used
            )
        )
    return scores
