"""A real corpus of the standard library's own sources, and what each verb makes of it, once per session."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import torch

import corpus
from train import cli
from train.batches import Rows
from train.config import Pack, Pretrain, Tokenizer
from train.run import Run, Sources, start
from train.shard import Group

torch.set_num_threads(1)  # what is compared to the bit: with more, a busy machine may take fewer

HOSTILE = "x = '<｜fim▁hole｜>' # <｜end▁of▁sentence｜><pad><|EOT|> é 你好，世界\r\n\t𝕏  ー1234\n" * 3

ALONE = Group(torch.device("cpu"))

PACK = Pack(length=127, valid_share=0.2, min_tokens=8)
TRAIN = Pretrain(
    model="nano",
    tokens=12 * 4 * 127,
    batch=4,
    micro_batch=2,
    lr=3e-3,
    warmup_steps=3,
    init_std=0.02,
    precision="fp32",
    valid_sequences=4,
    valid_every=5,
    checkpoint_every=4,
)


def document(repo: str, part: int, files: dict[str, str], language: str = "python") -> dict[str, object]:
    """A row of the corpus whose files are headed by a comment, as the crawl joins them."""
    text, spans = "", []
    for path, content in files.items():
        text += f"# {path}\n"
        spans.append({"path": path, "start": len(text), "end": len(text) + len(content)})
        text += content + "\n"
    return {
        "id": f"{repo}@1#{part}", "repo": repo, "revision": "1", "part": part, "level": "repo",
        "language": language, "license": "PSF-2.0", "stars": None, "text": text, "files": spans,
        "bytes": len(text.encode()),
    }  # fmt: skip


def write_corpus(path: Path, shards: dict[str, list[dict[str, object]]]) -> corpus.Table:
    with corpus.building(path, "corpus", made_by="crawl screen", settings={}) as out:
        assert isinstance(out, corpus.Output)
        for unit, rows in shards.items():
            frame = pl.DataFrame(rows, schema_overrides={"stars": pl.Int32, "part": pl.Int32})
            out.write(unit, {"": frame}, came_in=len(rows))
        return out.seal()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="session")
def documents(place: Path) -> corpus.Table:
    library = Path(json.__file__).parent.parent
    shards: dict[str, list[dict[str, object]]] = {}
    for number, package in enumerate(("json", "wsgiref", "importlib", "dbm")):
        sources = {p.name: p.read_text()[:9000] for p in sorted((library / package).glob("*.py"))[:5]}
        pairs = [dict(list(sources.items())[at : at + 2]) for at in range(0, len(sources), 2)]
        shards[f"{number:05d}"] = [document(f"pypi/{package}", n, files) for n, files in enumerate(pairs)]
    hostile = [document("pypi/evil", 0, {"a.py": HOSTILE}), document("pypi/evil", 1, {"b": ""}, "yaml")]
    hostile.append(document("pypi/evil", 2, {"c.md": HOSTILE}, "markdown"))
    return write_corpus(place / "corpus", {**shards, "00009": hostile})


@pytest.fixture(scope="session")
def words(documents: corpus.Table, place: Path) -> corpus.Table:
    return cli.tokenizer(documents.path, place / "tokenizer", settings=Tokenizer(vocabulary=600))


@pytest.fixture(scope="session")
def tokens(documents: corpus.Table, words: corpus.Table, place: Path) -> corpus.Table:
    return cli.pack(documents.path, words.path, place / "tokens", settings=PACK, workers=1)


@pytest.fixture(scope="session")
def trained(tokens: corpus.Table, words: corpus.Table, place: Path) -> corpus.Table:
    return cli.pretrain(tokens.path, words.path, place / "model", settings=TRAIN)


@pytest.fixture(scope="session")
def sources(tokens: corpus.Table, words: corpus.Table) -> Sources:
    return Sources([tokens], words)


@pytest.fixture
def run(sources: Sources) -> Run:
    return start(sources, TRAIN, ALONE)


@pytest.fixture(scope="session")
def rows(tokens: corpus.Table) -> Rows:
    return Rows([tokens], "train")
