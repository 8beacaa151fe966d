"""The paper's shapes, attention that stays inside documents, and a checkpoint that others read."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

import corpus
from corpus import Refusal
from train import loss, model
from train.batches import Batch, Rows
from train.config import Pretrain
from train.run import Run

IDS = model.SpecialIds(32013, 32014, 32018)


@pytest.mark.parametrize(
    ("name", "parameters", "ids", "rows"),
    [
        ("1.3b", 1.3465e9, 32_022, 32_256),
        ("5.7b-mqa", 5.7003e9, 32_022, 32_256),
        ("6.7b", 6.7405e9, 32_022, 32_256),
        ("33b", 33.343e9, 32_022, 32_256),
        ("llm-7b", 6.910e9, 102_400, 102_400),
        ("llm-67b", 67.42e9, 102_400, 102_400),
    ],
)
def test_presets_have_the_parameters_of_the_published_models(
    name: str, parameters: float, ids: int, rows: int
) -> None:
    config = model.configuration(Pretrain(model=name), ids, 16_384, IDS)
    with torch.device("meta"):
        built = LlamaForCausalLM(config)
    assert config.vocab_size == rows
    assert sum(p.numel() for p in built.parameters()) == pytest.approx(parameters, rel=1e-4)


def test_an_unknown_shape_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Refusal, match=r"--model 7b is unknown: give one of 1\.3b"):
        model.configuration(Pretrain(model="7b"), 300, 128, IDS)


def test_another_document_in_the_row_does_not_move_a_bit(run: Run) -> None:
    torch.manual_seed(0)
    ids = torch.randint(0, 600, (90,))
    other = ids.clone()
    other[:40] = torch.randint(0, 600, (40,))
    places = torch.cat([torch.arange(40), torch.arange(50)])
    one, two = (run.trainee.hidden(row, places, [40, 90]) for row in (ids, other))
    assert torch.equal(one[40:], two[40:]) and not torch.equal(one[:40], two[:40])
    labels = torch.cat([torch.full((40,), loss.IGNORED), ids[41:], ids[:1]])
    gradients = []
    for row in (ids, other):
        run.trainee.zero_grad()
        run.trainee(row, labels, places, [40, 90]).backward()
        gradients.append([parameter.grad.clone() for parameter in run.trainee.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_packed_documents_have_the_loss_and_gradients_of_separate_ones(run: Run, rows: Rows) -> None:
    batch = next(b for b in (rows.batch([r], run.device) for r in range(len(rows))) if len(b.ends) > 2)
    run.trainee(batch.ids_T, batch.labels_T, batch.positions_T, batch.ends).backward()
    together = [p.grad.clone() for p in run.trainee.parameters()]
    run.trainee.zero_grad()
    for start, end in zip([0, *batch.ends], batch.ends, strict=False):
        part = slice(start, end)
        places = torch.arange(end - start)
        run.trainee(batch.ids_T[part], batch.labels_T[part], places, [end - start]).backward()
    padded = _padded(run, batch)
    for whole, parameter, theirs in zip(together, run.trainee.parameters(), padded, strict=True):
        torch.testing.assert_close(parameter.grad, whole, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(theirs, whole, rtol=1e-4, atol=1e-4)


def _padded(run: Run, batch: Batch) -> list[torch.Tensor]:
    """Gradients of transformers' own model on the same pieces, one a row, padded to the longest."""
    spans = list(itertools.pairwise([0, *batch.ends]))
    longest = max(end - start for start, end in spans)
    ids, mask = torch.zeros((2, len(spans), longest), dtype=torch.long)
    labels = torch.full((len(spans), longest), loss.IGNORED)
    for row, (start, end) in enumerate(spans):
        ids[row, : end - start], labels[row, : end - start] = (
            batch.ids_T[start:end],
            batch.labels_T[start:end],
        )
        mask[row, : end - start] = 1
    plain = LlamaForCausalLM(copy.deepcopy(run.trainee.llama.config))
    plain.set_attn_implementation("sdpa")
    plain.load_state_dict(run.trainee.llama.state_dict())
    logits = plain(input_ids=ids, attention_mask=mask, use_cache=False).logits
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum").backward()
    return [parameter.grad for parameter in plain.parameters()]


def test_the_loss_of_a_document_is_that_of_transformers_own_model(run: Run) -> None:
    ids = torch.randint(0, 600, (64,))
    labels = torch.cat([ids[1:], torch.tensor([-100])])
    ours = run.trainee(ids, labels, torch.arange(64), [64]) / 63
    plain = LlamaForCausalLM(copy.deepcopy(run.trainee.llama.config))
    plain.set_attn_implementation("sdpa")
    plain.load_state_dict(run.trainee.llama.state_dict())
    torch.testing.assert_close(ours, plain(input_ids=ids[None], labels=ids[None]).loss)


def test_the_exported_folder_gives_the_logits_of_the_trained_model(
    trained: corpus.Table, words: corpus.Table, run: Run
) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(trained.path)
    run.trainee.llama.load_state_dict(loaded.state_dict())
    ids = torch.tensor(AutoTokenizer.from_pretrained(trained.path)("def f(x):\n    return 1").input_ids)
    with torch.no_grad():
        hidden = run.trainee.hidden(ids, torch.arange(len(ids)), [len(ids)])
        torch.testing.assert_close(run.trainee.llama.lm_head(hidden), loaded(ids[None]).logits[0])
    for shard in words.shards():
        assert (trained.path / shard.name).read_bytes() == (words.path / shard.name).read_bytes()


@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_both_styles_of_rope_keys_are_written_and_read(tmp_path: Path, factor: float) -> None:
    settings = Pretrain(model="nano", rope_theta=100_000.0, rope_factor=factor)
    built = model.Trainee(model.configuration(settings, 300, 128, model.SpecialIds(290, 291, 292)), 0)
    model.save(built.llama, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 100_000
    assert config["rope_scaling"] == (None if factor == 1 else {"type": "linear", "factor": 4.0})
    read = AutoModelForCausalLM.from_pretrained(tmp_path)
    wanted = 100_000.0 ** -(torch.arange(0, 32, 2) / 32) / factor
    torch.testing.assert_close(read.model.rotary_emb.inv_freq, wanted)
