"""Problems, and a model too small to know anything but real to the last file."""

import warnings
from pathlib import Path

import pytest

from evals import data
from evals.config import Judge, Problems
from evals.problems import problems_of, write_problems
from evals.rules import judge_one
from evals.sandbox import Sandbox
from evals.suites import SUITES

SHARED = Path(__file__).resolve().parents[4] / "shared"
DATA = SHARED / "data/eval"


def mbpp_rows():
    """974 made-up rows in MBPP's form: what the suite does with them does not depend on their words."""
    import json

    rows = [
        {
            "task_id": n,
            "text": f"Write a function to add {n}.",
            "code": f"def add_{n}(x):\r\n\treturn x + {n}",
            "test_setup_code": "",
            "test_list": [f"assert add_{n}({m}) == {m + n}" for m in range(3)],
            "challenge_test_list": [],
        }
        for n in range(1, 975)
    ]
    return "\n".join(map(json.dumps, rows)).encode()


@pytest.fixture(scope="session")
def problems(tmp_path_factory):
    """All of HumanEval and 500 made-up problems in MBPP's place."""
    folder = tmp_path_factory.mktemp("problems")
    (folder / "mbpp").mkdir()
    (folder / "mbpp/mbpp.jsonl").write_bytes(mbpp_rows())
    return write_problems(folder / "problems", Problems(data=folder), folder / "cache")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A random Llama of two layers over single bytes, as a folder that transformers loads."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    marks = ["<|bos|>", "<|eos|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bare = Tokenizer(models.BPE(vocab={mark: n for n, mark in enumerate(marks)}, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=bare, bos_token=marks[0], eos_token=marks[1]).save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(marks),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def real_mbpp():
    """MBPP as published, or None beside a checkout that has no shared data."""
    return published("mbpp") if DATA.exists() else None


def published(suite, **settings):
    """The problems of a suite, from its package or from the data beside the checkout."""
    files = [
        data.read(source, DATA if DATA.exists() else None, "", None) for source in SUITES[suite].sources()
    ]
    return problems_of(suite, files, Problems(**settings))


@pytest.fixture(scope="module")
def box():
    with Sandbox() as opened:
        yield opened


def real(suite):
    """The problems of a suite from the data beside the checkout; without that none, and a warning."""
    if DATA.exists():
        return published(suite)
    warnings.warn(f"{DATA} absent: {suite} is not checked", stacklevel=2)
    return []


def outcome(box, problems, answer):
    """The problems that are passed and those that are not, both by either rule."""
    judged = {p.problem: judge_one(box, p, answer(p), Judge(memory_mb=2048)) for p in problems}
    passed = [name for name, one in judged.items() if (one.as_published, one.strict) == ("passed", "passed")]
    failed = [name for name, one in judged.items() if "passed" not in (one.as_published, one.strict)]
    return passed, failed


def right_and_wrong(box, problems):
    """How many reference solutions pass, and how many spoiled ones fail."""
    passed, _ = outcome(box, problems, lambda p: p.reference)
    _, failed = outcome(box, problems, lambda p: SUITES[p.suite].spoiled(p))
    return len(passed), len(failed)
