"""A phase starts from the very weights and states of the one before, or from other people's weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import corpus
from corpus import Refusal
from train import cli, loop, parent
from train.batches import Rows
from train.config import Pretrain, Tokenizer
from train.run import Run, Sources, start

from .conftest import ALONE, PACK, TRAIN

LONG = replace(
    TRAIN, model="unused", rope_theta=100_000.0, rope_factor=4.0, schedule="constant", warmup_steps=0
)


@pytest.fixture(scope="module")
def kept(tokens: corpus.Table, words: corpus.Table, tmp_path_factory: pytest.TempPathFactory) -> corpus.Table:
    folder = tmp_path_factory.mktemp("kept") / "model"
    return cli.pretrain(tokens.path, words.path, folder, settings=replace(TRAIN, keep_optimizer=True))


def begun(sources: Sources, name: Path, settings: Pretrain = LONG) -> Run:
    origin = parent.found(str(name))
    run = start(sources._replace(origin=origin), settings, ALONE)
    parent.give(origin, run.trainee, run.optimizer, alone=True)
    return run


def test_another_phase_goes_on_with_the_weights_and_the_states_to_the_bit(
    kept: corpus.Table, sources: Sources, rows: Rows
) -> None:
    one, two = begun(sources, kept.path), begun(sources, kept.path)
    states = parent.states(one.trainee, one.optimizer)
    assert {name.rpartition(".")[2] for name in states} == {"step", "exp_avg", "exp_avg_sq"}
    assert all(float(tensor) == 12 for name, tensor in states.items() if name.endswith(".step"))
    for run in (one, two):
        loop.advance(run, rows, [0, 1, 2, 3])
    for ours, theirs in zip(one.trainee.parameters(), two.trainee.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    fresh = begun(sources, kept.path)
    fresh.optimizer.state.clear()
    loop.advance(fresh, rows, [0, 1, 2, 3])
    assert not torch.equal(next(fresh.trainee.parameters()), next(one.trainee.parameters()))


def test_the_rope_of_a_phase_is_its_own_or_that_of_the_model_before(
    kept: corpus.Table, sources: Sources, tmp_path: Path
) -> None:
    paths = [sources.tokens[0].path, sources.words.path]
    long = cli.pretrain(*paths, tmp_path / "long", start=str(kept.path), settings=LONG)
    assert kept.digest in {source["digest"] for source in long.manifest["inputs"]}
    assert long.manifest["shape"] == "nano"
    first = json.loads((long.path / "metrics.jsonl").read_text().splitlines()[0])
    assert first["lr"] == LONG.lr and first["loss"] < 6  # from chance it is 6.6
    after = begun(sources, long.path, TRAIN).trainee.llama.config.rope_parameters
    assert after == {"rope_type": "linear", "factor": 4.0, "rope_theta": 100_000.0}
    assert not (long.path / parent.STATES).exists()


def test_half_a_rope_is_not_mixed_with_one_of_another_type(
    kept: corpus.Table, sources: Sources, tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(kept.path / name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    yarn = {"rope_type": "yarn", "factor": 8.0, "rope_theta": 1e4, "original_max_position_embeddings": 16}
    del config["rope_theta"], config["rope_scaling"]
    (tmp_path / "config.json").write_text(json.dumps({**config, "rope_parameters": yarn}))
    with pytest.raises(Refusal, match="RoPE of type yarn: give both"):
        begun(sources, tmp_path, replace(TRAIN, rope_theta=1e5))


def test_code_and_prose_are_trained_on_by_weight(
    documents: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    tables = [
        cli.pack(
            documents.path, words.path, tmp_path / kind, settings=replace(PACK, kind=kind, seed=4), workers=1
        )
        for kind in ("code", "prose")
    ]
    settings = replace(TRAIN, mixture=(3.0, 1.0), tokens=4 * 4 * 127)
    model = cli.pretrain(*(t.path for t in tables), words.path, tmp_path / "model", settings=settings)
    assert {table.digest for table in tables} <= {source["digest"] for source in model.manifest["inputs"]}
    assert len((model.path / "metrics.jsonl").read_text().splitlines()) == 4
    short = cli.pack(
        documents.path, words.path, tmp_path / "short", settings=replace(PACK, length=63), workers=1
    )
    with pytest.raises(Refusal, match=r"lengths \[63, 127\]"):
        Sources([tables[0], short], words).length()


@pytest.mark.parametrize("tied", [False, True])
def test_other_peoples_folders_of_many_files_in_bf16_give_their_own_logits(
    sources: Sources, tmp_path: Path, tied: bool
) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=640, num_key_value_heads=1, tie_word_embeddings=tied, **sizes)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    run = begun(sources, tmp_path)
    ids = torch.arange(50)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    theirs.model.rotary_emb = run.trainee.llama.model.rotary_emb  # the phase has another
    hidden = run.trainee.hidden(ids, ids, [50])
    torch.testing.assert_close(run.trainee.llama.lm_head(hidden), theirs(ids[None]).logits[0])
    assert not run.optimizer.state and next(run.trainee.parameters()).dtype == torch.float32
    assert run.trainee.llama.lm_head.weight is not run.trainee.llama.model.embed_tokens.weight


def test_tokenizers_that_are_not_the_models_are_refused(
    documents: corpus.Table, kept: corpus.Table, tmp_path: Path
) -> None:
    small = cli.tokenizer(documents.path, tmp_path / "small", settings=Tokenizer(vocabulary=400))
    large = cli.tokenizer(documents.path, tmp_path / "large", settings=Tokenizer(vocabulary=900))
    for other, reason in ((small, "is not the tokenizer of"), (large, r"has 909 ids, but .* has 768 rows")):
        rows = cli.pack(documents.path, other.path, tmp_path / "rows", settings=PACK, workers=1)
        with pytest.raises(Refusal, match=reason):
            begun(Sources([rows], other), kept.path)


def test_what_is_no_llama_or_has_no_safe_weights_is_refused(kept: corpus.Table, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="has no config"):
        parent.found(str(tmp_path))
    shutil.copy(kept.path / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"never opened")
    with pytest.raises(Refusal, match="safetensors"):
        parent.found(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(Refusal, match="of type gpt2"):
        parent.found(str(tmp_path))


def test_damaged_models_are_refused_in_a_line(kept: corpus.Table, sources: Sources, tmp_path: Path) -> None:
    shutil.copytree(kept.path, tmp_path / "table")
    with (tmp_path / "table" / "model.safetensors").open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"damaged!")
    with pytest.raises(Refusal, match="its hash differs"):
        parent.found(str(tmp_path / "table"))
    (tmp_path / "table" / "manifest.json").unlink()
    whole = (kept.path / "model.safetensors").read_bytes()
    for length in (len(whole) // 2, 100, 4):
        (tmp_path / "table" / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(Refusal, match="do not fit its config"):
            begun(sources, tmp_path / "table")
    config = json.loads((kept.path / "config.json").read_text())
    for wrong in ({"hidden_size": "wide"}, {"num_attention_heads": 3}, {"rope_parameters": 5}):
        (tmp_path / "table" / "config.json").write_text(json.dumps({**config, **wrong}))
        with pytest.raises(Refusal, match="describes no model"):
            begun(sources, tmp_path / "table")
    (tmp_path / "table" / "config.json").write_text("[")
    with pytest.raises(Refusal, match="no JSON object"):
        parent.found(str(tmp_path / "table"))


def test_weights_that_do_not_fit_the_configuration_are_refused(
    kept: corpus.Table, sources: Sources, tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(kept.path / name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(Refusal, match="do not fit its config"):
        begun(sources, tmp_path)
