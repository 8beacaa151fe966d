"""Models and datasets by their name on the Hugging Face hub: ``owner/name``, or ``owner/name@revision``.

A name is resolved to a commit first, so that what was judged can be had again; files come through
``huggingface_hub``, which keeps them, resumes and checks them.  Only data are fetched: configuration,
tokenizer and safetensors, neither code nor pickled weights.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from corpus import Refusal

WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
"""Of a model: shapes, tokenizers, templates, weights."""

DATA = ["*.json", "*.jsonl", "*.jsonl.gz", "*.parquet", "README.md"]
"""Of a dataset: rows, and the page whose head says which files are which split."""

_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def named(model: str) -> bool:
    """Whether this can be a model of the hub, no file of that name being there."""
    file = model.endswith((".json", ".jsonl", ".gz"))
    return not file and _NAME.fullmatch(model) is not None and not Path(model.split("@")[0]).exists()


def commit_of(model: str, kind: Literal["model", "dataset"] = "model") -> str:
    """``owner/name@commit``: what the name of a model or a dataset stands for today.

    Raises:
        Refusal: the hub is out of reach, or has no such model, or keeps it from us.
    """
    from huggingface_hub import HfApi

    name, revision = _parts(model)
    if re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        return f"{name}@{revision}"
    try:
        found = HfApi(endpoint=_endpoint()).repo_info(name, repo_type=kind, revision=revision, timeout=20.0)
    except Exception as error:
        raise _refusal(model, error) from None
    return f"{name}@{found.sha}"


def fetched(model: str, kind: Literal["model", "dataset"] = "model") -> Path:
    """The folder of a model or a dataset whose commit is known, downloaded if it is not there yet."""
    from huggingface_hub import snapshot_download

    name, revision = _parts(model)
    try:
        found = snapshot_download(
            name,
            repo_type=kind,
            revision=revision,
            allow_patterns=WANTED if kind == "model" else DATA,
            endpoint=_endpoint(),
        )
    except Exception as error:
        raise _refusal(model, error) from None
    return Path(str(found))


def _parts(model: str) -> tuple[str, str | None]:
    found = _NAME.fullmatch(model)
    assert found is not None
    return found[1], found[2]


def _endpoint() -> str | None:
    """The hub's address; huggingface_hub reads the variable once, when it is imported."""
    return os.environ.get("HF_ENDPOINT") or None


def _refusal(model: str, error: Exception) -> Refusal:
    """huggingface_hub raises some thirty kinds, its HTTP client's among them: all are about the hub."""
    line = " ".join(str(error).split())[:150] or type(error).__name__
    return Refusal(
        f"{model} is no file here and cannot be had from the hub ({line}): check the name, the network and "
        "$HF_TOKEN, or give a folder."
    )
