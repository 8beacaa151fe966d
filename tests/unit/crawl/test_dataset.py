"""Published tables of code become repos again, whatever their form, and wherever their rows stand."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
import pytest

from corpus import Refusal
from crawl.config import Fetch, List
from crawl.fetch import fetch_repos
from crawl.listing import list_repos
from crawl.sources import columns, dataset
from crawl.sources.entry import BadRepo, Caps, Entry, OutOfReach

CAPS = Caps(file_bytes=1000, repo_bytes=1 << 20, files=100, ratio=100)

FLAT = [
    {"repo_name": "o/a", "path": "a.py", "code": "a = 1\n", "license": "mit", "stars": None},
    {"repo_name": "o/b", "path": "b.py", "code": "b = 1\n", "license": None, "stars": 5},
    {"repo_name": "o/a", "path": "c.py", "code": "c = 1\n", "license": None, "stars": 3},
    {"repo_name": "o/a", "path": "../x.py", "code": "x = 1\n", "license": None, "stars": 3},
    {"repo_name": None, "path": None, "code": None, "license": None, "stars": None},
]
STACK = [
    {
        "max_stars_repo_name": row["repo_name"] or "unknown",
        "max_stars_repo_path": row["path"] or "unknown",
        "content": row["code"] or "",
        "max_stars_repo_licenses": [row["license"]] if row["license"] else [],
        "max_stars_count": row["stars"],
    }
    for row in FLAT
]
NESTED = [
    {
        "repo_name": name,
        "license": "mit" if name == "o/a" else None,
        "stars": stars,
        "files": [
            {"path": row["path"] or "unknown", "content": row["code"] or "", "language": "Python"}
            for row in FLAT
            if (row["repo_name"] or "unknown") == name
        ],
    }
    for name, stars in (("o/b", 5), ("o/a", 3), ("unknown", None), ("o/empty", 0))
]


def written(folder: Path, form: str, rows: list[dict[str, Any]]) -> Path:
    """The rows in two files of a form."""
    folder.mkdir(parents=True)
    for number, part in enumerate((rows[:2], rows[2:])):
        lines = "".join(json.dumps(row) + "\n" for row in part).encode()
        if form == "parquet":
            pl.DataFrame(part, infer_schema_length=None).write_parquet(folder / f"{number}.parquet")
        elif form == "gz":
            (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress(lines))
        else:
            (folder / f"{number}.jsonl").write_bytes(lines)
    return folder


def read(folder: Path, cache: Path) -> dict[str, dict[str, Entry]]:
    repos = dataset.list_repos(str(folder), cache)
    return {repo.repo: {e.path: e for e in dataset.entries(repo, cache, CAPS)} for repo in repos}


@pytest.mark.parametrize("form", ["parquet", "jsonl", "gz"])
@pytest.mark.parametrize("rows", [FLAT, STACK, NESTED], ids=["flat", "stack", "nested"])
def test_every_form_of_a_table_gives_the_same_repos(
    tmp_path: Path, form: str, rows: list[dict[str, Any]]
) -> None:
    folder = written(tmp_path / "code", form, rows)
    repos = {repo.repo: repo for repo in dataset.list_repos(str(folder), tmp_path / "cache")}
    assert sorted(repos) == ["table/code/o/a", "table/code/o/b", "table/code/unknown"]
    assert (repos["table/code/o/a"].license, repos["table/code/o/a"].stars) == ("MIT", 3)
    found = read(folder, tmp_path / "cache")
    assert {path: entry.data for path, entry in found["table/code/o/a"].items()} == {
        "a.py": b"a = 1\n",
        "c.py": b"c = 1\n",
        "../x.py": b"x = 1\n",
    }


def test_several_licences_are_all_of_them() -> None:
    rows = {"repo": ["r"], "path": ["p"], "content": ["c"], "licenses": [["mit", "Odd-1.0", "MIT"]]}
    assert columns.plain(pl.DataFrame(rows))["license"].to_list() == ["MIT AND Odd-1.0"]


def test_a_table_goes_through_fetch_like_any_source(tmp_path: Path) -> None:
    folder = written(tmp_path / "code", "parquet", FLAT)
    listed = list_repos(tmp_path / "repos", List(datasets=(str(folder),)), tmp_path / "cache")
    files = fetch_repos(listed.path, tmp_path / "files", Fetch(), tmp_path / "other-cache", 1)
    assert sorted(files.scan().collect()["path"]) == ["a.py", "b.py", "c.py"]
    assert files.counts["rejected"] == {"bad_path": 1, "no_language": 1}


def test_many_repos_are_told_apart_and_the_caps_hold(tmp_path: Path) -> None:
    rows = [
        {"repo": f"o/{n % 700}", "path": f"{n}.py", "content": f"x = {n}\n" * (300 if n == 0 else 1)}
        for n in range(2100)
    ]
    folder = written(tmp_path / "code", "parquet", rows)
    repos = dataset.list_repos(str(folder), tmp_path / "cache")
    sizes = {repo.repo: len(list(dataset.entries(repo, tmp_path / "cache", CAPS))) for repo in repos}
    assert (len(sizes), set(sizes.values())) == (700, {3})
    (first,) = [repo for repo in repos if repo.repo == "table/code/o/0"]
    assert next(iter(dataset.entries(first, tmp_path / "cache", CAPS))).data is None  # too large
    for caps, reason in (
        (Caps(1000, 100, 9, 9), "too_large"),
        (Caps(1000, 1 << 20, 2, 9), "too_many_files"),
    ):
        with pytest.raises(BadRepo, match=reason):
            list(dataset.entries(first, tmp_path / "cache", caps))


def test_what_was_half_dealt_out_is_done_again_and_a_changed_table_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "code", "jsonl", FLAT)
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "_gather", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            read(folder, tmp_path / "cache")
    assert len(read(folder, tmp_path / "cache")) == 3
    repos = dataset.list_repos(str(folder), tmp_path / "cache")
    (folder / "0.jsonl").write_text(json.dumps(FLAT[0]))
    with pytest.raises(OutOfReach, match="list again"):
        dataset.obtain(repos[0], tmp_path / "fresh", CAPS)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"repo": "o/a", "path": "a.py", "blob_id": "1"}\n', "no column of content"),
        ('{"repo": "o/a", "path"', "code"),
        ("", "has no rows"),
        (None, "no file of parquet or jsonl"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_a_line(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    (tmp_path / "code").mkdir()
    if content is not None:
        (tmp_path / "code/a.jsonl").write_text(content)
    with pytest.raises(Refusal, match=complaint) as refusal:
        dataset.list_repos(str(tmp_path / "code"), tmp_path / "cache")
    assert "\n" not in str(refusal.value)


class Hub(BaseHTTPRequestHandler):
    """The little of the hub's protocol that a dataset is streamed by."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        resolved = path.removeprefix(f"/datasets/o/n/resolve/{COMMIT}/")
        if resolved in self.files:
            self.answer(self.files[resolved], {"X-Repo-Commit": COMMIT, "ETag": '"1"'})
        elif path.startswith("/api/datasets/o/n/tree/"):
            files = [
                {"type": "file", "path": name, "size": len(data), "oid": COMMIT}
                for name, data in self.files.items()
            ]
            tree = files if path.endswith("/data") else [{"type": "directory", "path": "data", "oid": COMMIT}]
            self.answer(json.dumps(tree).encode())
        elif path in (
            "/api/datasets/o/n",
            "/api/datasets/o/n/revision/main",
            f"/api/datasets/o/n/revision/{COMMIT}",
        ):
            siblings = [{"rfilename": name} for name in self.files]
            self.answer(json.dumps({"id": "o/n", "sha": COMMIT, "siblings": siblings}).encode())
        else:
            self.answer(b'{"error": "not found"}', {"X-Error-Code": "EntryNotFound"}, 404)

    do_HEAD = do_GET

    def answer(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and status == 200:
            start, end = int(asked[1]), min(int(asked[2]), len(body) - 1)
            headers = (headers or {}) | {"Content-Range": f"bytes {start}-{end}/{len(body)}"}
            body, status = body[start : end + 1], 206
        self.send_response(status)
        for key, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("address", ["hf://datasets/o/n@main", "hf://datasets/o/n/data/0.parquet"])
def test_a_dataset_on_the_hub_is_streamed_at_a_commit(tmp_path: Path, address: str) -> None:
    written(tmp_path / "data", "parquet", STACK)
    Hub.files = {f"data/{file.name}": file.read_bytes() for file in (tmp_path / "data").iterdir()}
    script = "import sys, pathlib, crawl.sources.dataset as d\n"
    script += (
        "print(*[f'{r.repo} {r.revision}' for r in d.list_repos(sys.argv[1], pathlib.Path(sys.argv[2]))])"
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        hub = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", script, address, str(tmp_path / "cache")]
        # A process of its own: huggingface_hub reads its address when it is imported.
        done = subprocess.run(command, env=os.environ | hub, capture_output=True, text=True)
        server.shutdown()
    names = ["hf/o/n/o/a", "hf/o/n/o/b", "hf/o/n/unknown"]
    there = names[:2] if address.endswith("0.parquet") else names
    assert done.stdout.split() == [word for name in there for word in (name, COMMIT)], done.stderr


def test_a_name_that_no_dataset_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="is no dataset"):
        dataset.list_repos("hf://datasets/--x", tmp_path)


def test_questions_and_answers_become_markdown_files(tmp_path: Path) -> None:
    answers = [{"text": "Use `sorted`.", "score": 3}, {"text": "Or `list.sort`."}]
    rows = [{"title": f"Sort {n}?", "body": f"How do I sort list {n}?", "answers": answers} for n in range(3)]
    (tmp_path / "stack.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "plain.jsonl").write_text(json.dumps({"text": "Only prose, of one sentence."}) + "\n")
    settings = List(datasets=(str(tmp_path / "stack.jsonl"), str(tmp_path / "plain.jsonl")))
    listed = list_repos(tmp_path / "repos", settings, tmp_path / "cache")
    files = fetch_repos(listed.path, tmp_path / "files", Fetch(), tmp_path / "cache", 1).scan().collect()
    assert set(files["language"]) == {"markdown"} and files.height == 4
    assert "# Sort 1?\n\nHow do I sort list 1?\n\nUse `sorted`.\n\nOr `list.sort`." in set(files["text"])


def test_prose_that_only_begins_like_json_stays_as_it_is() -> None:
    deep = '{"a":' * 100_000
    assert columns.plain(pl.DataFrame({"body": [deep, "{x}"]}))["content"].to_list() == [deep, "{x}"]
