"""A run can be watched while it goes, and nothing of that changes what becomes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

import corpus
from train import cli, flops, journal, loop, model, sinks
from train.config import Pretrain, Watch

from .conftest import TRAIN


def test_tensorboard_and_wandb_get_every_number_of_every_step_and_move_none(
    trained: corpus.Table,
    tokens: corpus.Table,
    words: corpus.Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from wandb.proto import wandb_internal_pb2 as records
    from wandb.sdk.internal.datastore import DataStore

    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    watch = Watch(watch=("tensorboard", "wandb"), keep_every=6)
    watched = cli.pretrain(tokens.path, words.path, tmp_path / "model", settings=TRAIN, watch=watch)
    assert watched is not None and watched.digest == trained.digest
    lines = journal.read(watched.path / "metrics.jsonl")
    events = EventAccumulator(str(watched.path / "logs")).Reload()
    told = [(one.step, one.value) for one in events.Scalars("loss")]
    assert told == [(line["step"], pytest.approx(line["loss"])) for line in lines]
    assert {"valid_loss_by/language/python", "data_wait"} <= set(events.Tags()["scalars"])
    (file,) = (watched.path / "logs").rglob("*.wandb")
    store, losses = DataStore(), []
    store.open_for_scan(str(file))
    while (data := store.scan_data()) is not None:
        items = records.Record.FromString(data).history.item
        losses += [json.loads(item.value_json) for item in items if [*item.nested_key, item.key][0] == "loss"]
    assert losses == [line["loss"] for line in lines]
    assert [path.name for path in (watched.path / "checkpoints").iterdir()] == ["step-00000006"]
    with pytest.raises(corpus.Refusal, match=r"holds step-\* of a run with other lr: give another"):
        cli.pretrain(tokens.path, words.path, watched.path, settings=replace(TRAIN, lr=1e-3))


def test_a_sink_that_is_not_installed_is_refused_with_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['wandb'] = None\n"
    program += "from pathlib import Path; from train import sinks\n"
    program += f"sinks.opened(['wandb'], Path({str(tmp_path)!r}), Path({str(tmp_path)!r}), 0, {{}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ)
    assert "watch wandb needs wandb: pip install 'fathom-coder[watch]'" in done.stderr


def test_a_journal_taken_up_forgets_what_came_after_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = journal.clocks(2.0, 0.5, 1000, 4e12, 1e13)
    assert clocks["mfu"] == 0.2 and clocks["tokens_per_second"] == 500
    # A kill while the file is written anew would lose steps that are done: it is only ever cut short.
    monkeypatch.delattr(Path, "write_text")
    for done, steps in ((0, [1, 2, 3]), (2, [3])):
        with journal.opened(tmp_path, done) as lines:
            for step in steps:
                lines.add({"step": step, "loss": 1.0 / step}, clocks, 4)
    assert [line["step"] for line in journal.read(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert "MFU 20.0%" in journal.progress({"step": 3, "loss": 2.0}, clocks, 4)
    assert "25.0% of it waiting for data" in journal.progress({"step": 3, "loss": 2.0}, clocks, 4)


def test_flops_are_six_for_every_parameter_but_the_embedding_and_attention_besides() -> None:
    config = model.configuration(Pretrain(model="6.7b"), 32_022, 16_384, model.SpecialIds(1, 2, 3))
    with torch.device("meta"):
        built = LlamaForCausalLM(config)
    norms = sum(p.numel() for p in built.parameters() if p.ndim == 1)
    rest = sum(p.numel() for p in built.parameters()) - built.model.embed_tokens.weight.numel() - norms
    assert flops.matrices(config) == rest
    # 4.0e10 a token for the matrices and 1.3e10 for causal attention over 16,384 tokens.
    assert flops.of_pieces(config, [16_384]) / 16_384 == pytest.approx(3.96e10 + 1.29e10, rel=0.01)
    assert flops.peak(torch.device("cpu")) is None


def test_only_numbers_go_to_sinks_each_under_its_path() -> None:
    assert dict(sinks.flat({"a": 1, "b": {"c": {"d": 2.0}}, "e": None})) == {"a": 1, "b/c/d": 2.0}


def test_the_checkpoints_of_every_so_many_steps_stay(
    tokens: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    from train import checkpoint

    from .conftest import ALONE

    saver = checkpoint.Saver(tmp_path, ALONE, newest=1, every=3)
    for step in range(1, 9):
        saver.save(step, {"weights": torch.full((4,), step)})
    saver.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{n:08d}" for n in (3, 6, 8)]
    with pytest.raises(loop.Refusal, match="keep at least 1"):
        checkpoint.Saver(tmp_path, ALONE, newest=0)
