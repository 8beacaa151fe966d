"""Other trainers, a step at a time, each in a Python of its own: what ``train_bench.py`` measures against.

    PYTHON train_peers.py WHO SHAPE     with WHO one of hf-trainer, litgpt, hf-padded

Every trainer runs its own loop.  Where that asks for its next batch, it waits: a JSON line with the CPU
seconds so far goes out, the rows for the next step come in (a list of lists of ids), and nothing is
counted meanwhile.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

LR = 1e-4
SAID = sys.stdout


def asked() -> Iterator[torch.Tensor]:
    """The rows of one step after another, (B, T + 1); shorter ones are padded with -1."""
    while True:
        print(json.dumps({"cpu": time.process_time()}), file=SAID, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        rows = [torch.tensor(row) for row in json.loads(line)]
        yield torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


def llama(shape: dict[str, int], attention: str = "sdpa") -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**shape, tie_word_embeddings=False, rms_norm_eps=1e-6, attn_implementation=attention)
    torch.manual_seed(0)
    return LlamaForCausalLM(config)


def packed_step(model: Any, batch: Callable[[], Any], under: Any = None) -> Callable[[], None]:
    """A step of transformers' own way to pack, on what ``batch`` gives (a ``train.batches.Batch``).

    Args:
        under: A context for the forward pass, such as autocast.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step() -> None:
        held = batch()
        with under or nullcontext():
            # Labels are shifted already; without a mask and a cache the pieces are found by their positions.
            lost = model(
                input_ids=held.ids_T[None], position_ids=held.positions_T[None], use_cache=False,
                labels=held.ids_T[None], shift_labels=held.labels_T[None],
            ).loss  # fmt: skip
        lost.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def hf_trainer(shape: dict[str, int]) -> None:
    """transformers' Trainer with accelerate; plain rows, no packing."""
    from transformers import Trainer, TrainingArguments

    class Rows(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
            for batch in asked():
                yield from ({"input_ids": row[:-1], "labels": row[:-1]} for row in batch)

    with tempfile.TemporaryDirectory() as folder:
        given = TrainingArguments(
            folder, per_device_train_batch_size=2, max_steps=10_000, learning_rate=LR, weight_decay=0.1,
            adam_beta2=0.95, max_grad_norm=1.0, report_to=[], use_cpu=True, save_strategy="no",
            logging_steps=1, disable_tqdm=True, optim="adamw_torch_fused", lr_scheduler_type="constant",
        )  # fmt: skip
        Trainer(model=llama(shape), args=given, train_dataset=Rows()).train()


def hf_padded(shape: dict[str, int]) -> None:
    """The scheme of DeepSeek-Coder's finetune script: documents padded to the longest of their batch."""
    model = llama(shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    for batch in asked():
        there = batch >= 0
        labels = batch.masked_fill(~there, -100)
        loss = model(input_ids=batch.clamp(min=0), attention_mask=there.long(), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def litgpt(shape: dict[str, int]) -> None:
    """litgpt's model in the loop of its ``pretrain``."""
    import lightning
    from litgpt import GPT, Config
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.pretrain import fit

    class Rows:
        def __iter__(self) -> Iterator[torch.Tensor]:
            return asked()

    heads, length = shape["num_attention_heads"], shape["max_position_embeddings"]
    config = Config(
        block_size=length, padded_vocab_size=shape["vocab_size"], vocab_size=shape["vocab_size"],
        n_layer=shape["num_hidden_layers"], n_head=heads, n_query_groups=heads, n_embd=shape["hidden_size"],
        intermediate_size=shape["intermediate_size"], rotary_percentage=1.0, parallel_residual=False,
        bias=False, norm_class_name="RMSNorm", norm_eps=1e-6, mlp_class_name="LLaMAMLP",
    )  # fmt: skip
    fabric = lightning.Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    model = GPT(config)
    model.max_seq_length = length
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    model, optimizer = fabric.setup(model), fabric.setup_optimizers(optimizer)
    state = {"model": model, "optimizer": optimizer, "iter_num": 0, "step_count": 0}
    sizes = TrainArgs(
        save_interval=None, log_interval=1, global_batch_size=2, micro_batch_size=2, max_tokens=10**9,
        max_norm=1.0, min_lr=LR, lr_warmup_steps=0,
    )  # fmt: skip
    checks = [torch.zeros(2, length + 1, dtype=torch.long)]
    never = EvalArgs(interval=10**9, initial_validation=False, final_validation=False, max_iters=1)
    fit(fabric, 1, state, Rows(), checks, Path(tempfile.gettempdir()), None, sizes, never)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.stdout = sys.stderr  # trainers print
    torch.set_num_threads(1)
    peers = {"hf-trainer": hf_trainer, "hf-padded": hf_padded, "litgpt": litgpt}
    peers[sys.argv[1]](json.loads(sys.argv[2]))
